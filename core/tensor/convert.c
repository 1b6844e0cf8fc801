/* Copies between layouts and dtypes: the loops around the rows of rows.c. */
#include "tensor/convert.h"
#include "tensor/number.h"
#include "tensor/rows.h"

float rapt_f16_to_f32(uint16_t half)
{
    return rapt_number_from_f16(half);
}

uint16_t rapt_f32_to_f16(float value)
{
    return rapt_number_to_f16(value);
}

float rapt_bf16_to_f32(uint16_t half)
{
    return rapt_number_from_bf16(half);
}

uint16_t rapt_f32_to_bf16(float value)
{
    return rapt_number_to_bf16(value);
}

double rapt_element_get(const void *element, rapt_dtype dtype)
{
    double value = 0;
    if ((unsigned)dtype < RAPT_DTYPE_COUNT)
        rapt_row_copy(&value, RAPT_F64, 1, element, dtype, 1, 1);
    return value;
}

void rapt_element_set(void *element, rapt_dtype dtype, double value)
{
    if ((unsigned)dtype < RAPT_DTYPE_COUNT)
        rapt_row_copy(element, dtype, 1, &value, RAPT_F64, 1, 1);
}

typedef struct dimension {
    int64_t size, target, source; /* strides in elements */
} dimension;

typedef struct plan {
    rapt_dtype target_dtype, source_dtype;
    int64_t target_size, source_size; /* of an element */
    int32_t ndim;                     /* outermost first; the last dimension is the row */
    dimension dims[RAPT_MAX_DIMS];
} plan;

/* Dimensions by falling stride of the target, so that memory is written in order; those that step
 * through both sides as one are merged; those of size 1 are dropped. False: there is no element. */
static bool make_plan(plan *p, const rapt_view *target, const rapt_view *source)
{
    p->target_dtype = rapt_view_dtype(target);
    p->source_dtype = rapt_view_dtype(source);
    p->target_size = (int64_t)rapt_dtype_size(p->target_dtype);
    p->source_size = (int64_t)rapt_dtype_size(p->source_dtype);
    p->ndim = 0;
    for (int32_t i = 0; i < target->ndim; i++) {
        const dimension d = {target->shape[i], target->strides[i], source->strides[i]};
        if (d.size == 0)
            return false;
        if (d.size == 1)
            continue;
        int32_t at = p->ndim++;
        for (; at > 0 && p->dims[at - 1].target < d.target; at--)
            p->dims[at] = p->dims[at - 1];
        p->dims[at] = d;
    }
    int32_t kept = 0;
    for (int32_t i = 1; i < p->ndim; i++) {
        dimension *outer = &p->dims[kept];
        const dimension inner = p->dims[i];
        int64_t target_run, source_run;
        if (!__builtin_mul_overflow(inner.size, inner.target, &target_run) &&
            !__builtin_mul_overflow(inner.size, inner.source, &source_run) &&
            outer->target == target_run && outer->source == source_run)
            *outer = (dimension){outer->size * inner.size, inner.target, inner.source};
        else
            p->dims[++kept] = inner;
    }
    if (p->ndim == 0)
        p->dims[0] = (dimension){1, 1, 1};
    p->ndim = kept + 1;
    return true;
}

static void copy_row(const plan *p, char *target, const char *source, int64_t n)
{
    const dimension *row = &p->dims[p->ndim - 1];
    rapt_row_copy(target, p->target_dtype, row->target, source, p->source_dtype, row->source, n);
}

enum { TILE = 64 };

/* Rows `i` to `i + m` and elements `j` to `j + n` of a plane. The source, which runs along the
 * rows' dimension, is first gathered line by line, so that its strides, often a power of two apart,
 * do not throw each other out of the cache. */
static void copy_tile(const plan *p, const dimension *rows, char *target, const char *source,
                      int64_t m, int64_t n)
{
    const dimension *row = &p->dims[p->ndim - 1];
    double tile[TILE * TILE]; /* room and alignment for any element */
    char *const gathered = (char *)tile;
    for (int64_t j = 0; j < n; j++)
        rapt_row_copy(gathered + j * TILE * p->source_size, p->source_dtype, 1,
                      source + j * row->source * p->source_size, p->source_dtype, rows->source, m);
    for (int64_t i = 0; i < m; i++)
        rapt_row_copy(target + i * rows->target * p->target_size, p->target_dtype, row->target,
                      gathered + i * p->source_size, p->source_dtype, TILE, n);
}

/* The row's dimension and the one above it, in tiles. */
static void copy_plane(const plan *p, const dimension *rows, char *target, const char *source)
{
    const dimension *row = &p->dims[p->ndim - 1];
    for (int64_t i = 0; i < rows->size; i += TILE)
        for (int64_t j = 0; j < row->size; j += TILE)
            copy_tile(p, rows, target + (i * rows->target + j * row->target) * p->target_size,
                      source + (i * rows->source + j * row->source) * p->source_size,
                      rows->size - i < TILE ? rows->size - i : TILE,
                      row->size - j < TILE ? row->size - j : TILE);
}

void rapt_view_copy(const rapt_view *target, const rapt_view *source)
{
    plan p;
    if (!make_plan(&p, target, source))
        return;
    char *to = rapt_view_data(target);
    const char *from = rapt_view_data(source);
    const dimension *row = &p.dims[p.ndim - 1];
    /* Where the source is laid out the other way round, the dimension of its least stride goes
     * next to the row, and the two are walked in tiles. */
    int32_t outer = p.ndim - 1, least = p.ndim - 1;
    for (int32_t i = 0; i < p.ndim - 1; i++)
        if (p.dims[i].source > 0 && p.dims[i].source < p.dims[least].source)
            least = i;
    const bool tiled = least != p.ndim - 1;
    if (tiled) {
        const dimension rows = p.dims[least];
        for (int32_t i = least; i + 2 < p.ndim; i++)
            p.dims[i] = p.dims[i + 1];
        p.dims[p.ndim - 2] = rows;
        outer = p.ndim - 2;
    }
    int64_t index[RAPT_MAX_DIMS] = {0};
    for (int32_t d = 0; d >= 0;) {
        if (tiled)
            copy_plane(&p, &p.dims[p.ndim - 2], to, from);
        else
            copy_row(&p, to, from, row->size);
        for (d = outer - 1; d >= 0; d--) {
            const dimension *dim = &p.dims[d];
            to += dim->target * p.target_size;
            from += dim->source * p.source_size;
            if (++index[d] < dim->size)
                break;
            to -= dim->size * dim->target * p.target_size;
            from -= dim->size * dim->source * p.source_size;
            index[d] = 0;
        }
    }
}
