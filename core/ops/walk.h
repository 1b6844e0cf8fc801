/*
 * Walking over several tensors at once, in blocks.
 *
 * A walk is an index space (the row-major order of one shape) and up to RAPT_MAX_OPERANDS tensors
 * laid over it, each with its own strides; a broadcast dimension has stride 0. Kernels see blocks
 * of at most RAPT_BLOCK consecutive indices as plain float or double arrays: the tensor's own
 * memory where it already is one, otherwise a buffer of the caller's that is filled here. So
 * strides, broadcasting and dtypes are dealt with in this one place.
 */
#ifndef RAPT_OPS_WALK_H
#define RAPT_OPS_WALK_H

#include <rapt/plugin.h>
#include <stdbool.h>

#define RAPT_BLOCK        1024
#define RAPT_MAX_OPERANDS 5

typedef struct rapt_operand {
    char *data;            /* NULL where the host cannot follow the view's data */
    const rapt_view *view; /* that it is of, or NULL */
    rapt_dtype dtype;
    bool linear; /* element i of the space is element i of the memory */
    int64_t stride[RAPT_MAX_DIMS];
} rapt_operand;

typedef struct rapt_walk {
    int32_t ndim; /* at least 1 once ended */
    int64_t shape[RAPT_MAX_DIMS];
    int64_t count;
    int32_t n;
    rapt_operand operands[RAPT_MAX_OPERANDS];
    const rapt_math_service *math;
} rapt_walk;

/* A walk over `shape`; operands are added in order, then it is ended. */
void rapt_walk_begin(rapt_walk *walk, const rapt_call *call, int32_t ndim, const int64_t *shape);
/* `view` is aligned with the last dimensions of the space; sizes of 1 and missing leading
 * dimensions are broadcast. */
void rapt_walk_add(rapt_walk *walk, const rapt_view *view);
/* `y`, whose shape lacks the dimensions of the space whose bits are set (or has them as 1),
 * broadcast along them. */
void rapt_walk_add_reduced(rapt_walk *walk, const rapt_view *y, uint32_t bits);
/* `view` with strides of its own, one for each dimension of the space. */
void rapt_walk_add_view(rapt_walk *walk, const rapt_view *view, const int64_t *stride);
/* The same of plain memory. */
void rapt_walk_add_strided(rapt_walk *walk, void *data, rapt_dtype dtype, const int64_t *stride);
/* An ended walk over those dimensions of `from` (not ended) whose bits are set. */
void rapt_walk_take(rapt_walk *walk, const rapt_walk *from, uint32_t bits);
/* Drops dimensions of size 1 and joins those that every operand walks through without a jump. */
void rapt_walk_end(rapt_walk *walk);

/* Elements index <= i < index + n of operand k, n <= RAPT_BLOCK: its memory, or `buffer`. Integers
 * and bool become their value. [task] */
const float *rapt_walk_load(const rapt_walk *walk, int k, int64_t index, int64_t n, float *buffer);
const double *rapt_walk_load_f64(const rapt_walk *walk, int k, int64_t index, int64_t n,
                                 double *buffer);
/* As rapt_walk_load, of an operand that is read, changed and given to rapt_walk_store. [task] */
float *rapt_walk_edit(const rapt_walk *walk, int k, int64_t index, int64_t n, float *buffer);
/* Where elements of operand k may be written: its memory, or `buffer`, to be given to
 * rapt_walk_store afterwards, which does nothing in the first case. [task] */
float *rapt_walk_target(const rapt_walk *walk, int k, int64_t index, float *buffer);
void rapt_walk_store(const rapt_walk *walk, int k, int64_t index, int64_t n, const float *block);
double *rapt_walk_target_f64(const rapt_walk *walk, int k, int64_t index, double *buffer);
void rapt_walk_store_f64(const rapt_walk *walk, int k, int64_t index, int64_t n,
                         const double *block);

/* Elements index <= i < index + n of operand 0 to operand 1, of the same dtype, bit by bit. [task]
 */
void rapt_walk_copy(const rapt_walk *walk, int64_t index, int64_t n);

/* n elements of `size` bytes, with strides in elements. [task] */
void rapt_copy_run(size_t size, const void *source, int64_t stride, void *target, int64_t step,
                   int64_t n);

/* Offset in elements of index i of the space in operand k. */
int64_t rapt_walk_offset(const rapt_walk *walk, int k, int64_t index);
/* Moves every operand to where index i of the space of `by`, with the same operands, lies. */
void rapt_walk_move(rapt_walk *walk, const rapt_walk *by, int64_t index);

/*
 * Lines: all elements along one dimension, one line for each index of the others. For operators
 * that see a whole row at a time (softmax, norms).
 */
typedef struct rapt_lines {
    rapt_walk outer; /* one index a line */
    rapt_walk along;
    int64_t count, length;
} rapt_lines;

/* From a walk that is begun and filled, not ended. A walk of rank 0 is one line of one element. */
void rapt_lines_begin(rapt_lines *lines, const rapt_walk *walk, int32_t dim);
/* Line i of operand k: its memory, or `buffer` of `length` floats. [task] */
const float *rapt_line_load(const rapt_lines *lines, int k, int64_t i, float *buffer);
/* Whether the lines of some operand have gaps, so that loading several neighbours at once, each
 * element's together, saves memory traffic. */
bool rapt_lines_gap(const rapt_lines *lines);
/* Lines first <= i < first + n of operand k, into n * length floats of `buffer`, one after another;
 * and from there. n is at most RAPT_BLOCK. [task] */
void rapt_lines_load(const rapt_lines *lines, int k, int64_t first, int64_t n, float *buffer);
void rapt_lines_store(const rapt_lines *lines, int k, int64_t first, int64_t n,
                      const float *buffer);
/* Where line i of operand k may be written; afterwards rapt_line_store. [task] */
float *rapt_line_target(const rapt_lines *lines, int k, int64_t i, float *buffer);
void rapt_line_store(const rapt_lines *lines, int k, int64_t i, const float *line);

#endif
