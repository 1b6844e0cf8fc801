#include "ops/walk.h"

#include <string.h>

void rapt_walk_begin(rapt_walk *walk, const rapt_call *call, int32_t ndim, const int64_t *shape)
{
    walk->ndim = ndim;
    walk->count = 1;
    walk->n = 0;
    walk->math = call->host->service("rapt.math", 1);
    for (int32_t d = 0; d < ndim; d++) {
        walk->shape[d] = shape[d];
        walk->count *= shape[d];
    }
}

void rapt_walk_add_strided(rapt_walk *walk, void *data, rapt_dtype dtype, const int64_t *stride)
{
    rapt_operand *operand = &walk->operands[walk->n++];
    operand->data = data;
    operand->view = NULL;
    operand->dtype = dtype;
    operand->linear = false;
    for (int32_t d = 0; d < walk->ndim; d++)
        operand->stride[d] = walk->shape[d] == 1 ? 0 : stride[d];
}

void rapt_walk_add_view(rapt_walk *walk, const rapt_view *view, const int64_t *stride)
{
    const bool host = view->device.type == RAPT_DEVICE_CPU;
    rapt_walk_add_strided(walk, host ? rapt_view_data(view) : NULL, rapt_view_dtype(view), stride);
    walk->operands[walk->n - 1].view = view;
}

void rapt_walk_add(rapt_walk *walk, const rapt_view *view)
{
    int64_t stride[RAPT_MAX_DIMS];
    const int32_t missing = walk->ndim - view->ndim;
    for (int32_t d = 0; d < walk->ndim; d++)
        stride[d] = d < missing || view->shape[d - missing] == 1 ? 0 : view->strides[d - missing];
    rapt_walk_add_view(walk, view, stride);
}

void rapt_walk_add_reduced(rapt_walk *walk, const rapt_view *y, uint32_t bits)
{
    int64_t stride[RAPT_MAX_DIMS];
    const bool kept = y->ndim == walk->ndim;
    int32_t next = 0;
    for (int32_t d = 0; d < walk->ndim; d++) {
        const bool reduced = bits >> d & 1;
        stride[d] = reduced ? 0 : y->strides[kept ? d : next];
        next += !reduced;
    }
    rapt_walk_add_view(walk, y, stride);
}

static bool joins(const rapt_walk *walk, int32_t outer, int32_t inner)
{
    for (int32_t k = 0; k < walk->n; k++) {
        const int64_t *stride = walk->operands[k].stride;
        if (stride[outer] != stride[inner] * walk->shape[inner])
            return false;
    }
    return true;
}

static void move_dimension(rapt_walk *walk, int32_t to, int32_t from)
{
    walk->shape[to] = walk->shape[from];
    for (int32_t k = 0; k < walk->n; k++)
        walk->operands[k].stride[to] = walk->operands[k].stride[from];
}

void rapt_walk_end(rapt_walk *walk)
{
    int32_t kept = 0;
    for (int32_t d = 0; d < walk->ndim; d++) {
        if (walk->shape[d] == 1)
            continue;
        if (kept > 0 && joins(walk, kept - 1, d)) {
            const int64_t outer = walk->shape[kept - 1];
            move_dimension(walk, kept - 1, d);
            walk->shape[kept - 1] *= outer;
        } else {
            move_dimension(walk, kept++, d);
        }
    }
    if (kept == 0) {
        walk->shape[0] = 1;
        for (int32_t k = 0; k < walk->n; k++)
            walk->operands[k].stride[0] = 1;
        kept = 1;
    }
    walk->ndim = kept;
    for (int32_t k = 0; k < walk->n; k++) {
        rapt_operand *operand = &walk->operands[k];
        int64_t expected = 1;
        operand->linear = true;
        for (int32_t d = kept - 1; d >= 0; d--) {
            operand->linear &= operand->stride[d] == expected;
            expected *= walk->shape[d];
        }
    }
}

int64_t rapt_walk_offset(const rapt_walk *walk, int k, int64_t index)
{
    const int64_t *stride = walk->operands[k].stride;
    int64_t offset = 0;
    for (int32_t d = walk->ndim - 1; d > 0; d--) {
        offset += index % walk->shape[d] * stride[d];
        index /= walk->shape[d];
    }
    return offset + index * stride[0];
}

void rapt_walk_take(rapt_walk *walk, const rapt_walk *from, uint32_t bits)
{
    int32_t n = 0;
    walk->count = 1;
    walk->n = from->n;
    walk->math = from->math;
    for (int32_t d = 0; d < from->ndim; d++) {
        if ((bits >> d & 1) == 0)
            continue;
        for (int k = 0; k < from->n; k++)
            walk->operands[k].stride[n] = from->operands[k].stride[d];
        walk->shape[n++] = from->shape[d];
        walk->count *= from->shape[d];
    }
    walk->ndim = n;
    for (int k = 0; k < from->n; k++) {
        walk->operands[k].data = from->operands[k].data;
        walk->operands[k].view = from->operands[k].view;
        walk->operands[k].dtype = from->operands[k].dtype;
    }
    rapt_walk_end(walk);
}

void rapt_walk_move(rapt_walk *walk, const rapt_walk *by, int64_t index)
{
    for (int k = 0; k < walk->n; k++)
        walk->operands[k].data +=
            rapt_walk_offset(by, k, index) * (int64_t)rapt_dtype_size(walk->operands[k].dtype);
}

/* --- Runs: stretches of the innermost dimension --------------------------------------------- */

typedef struct run {
    const rapt_walk *walk;
    const int64_t *stride;
    int64_t at[RAPT_MAX_DIMS];
    int64_t offset; /* of the next element */
} run;

static run run_begin(const rapt_walk *walk, int k, int64_t index)
{
    run r = {walk, walk->operands[k].stride, {0}, 0};
    for (int32_t d = walk->ndim - 1; d >= 0; d--) {
        r.at[d] = d > 0 ? index % walk->shape[d] : index;
        index /= walk->shape[d];
        r.offset += r.at[d] * r.stride[d];
    }
    return r;
}

/* Length of the run at the cursor, at most n. */
static int64_t run_length(const run *r, int64_t n)
{
    const int32_t last = r->walk->ndim - 1;
    const int64_t left = r->walk->shape[last] - r->at[last];
    return left < n ? left : n;
}

static void run_advance(run *r, int64_t n)
{
    int32_t d = r->walk->ndim - 1;
    r->at[d] += n;
    r->offset += n * r->stride[d];
    while (d > 0 && r->at[d] == r->walk->shape[d]) {
        r->offset += r->stride[d - 1] - r->at[d] * r->stride[d];
        r->at[d] = 0;
        r->at[--d]++;
    }
}

#define GATHER(type, convert)                                                                      \
    do {                                                                                           \
        const type *from = source;                                                                 \
        for (int64_t i = 0; i < n; i++)                                                            \
            to[i] = convert(from[i * stride]);                                                     \
    } while (0)
#define AS_FLOAT(x)  ((float)(x))
#define AS_DOUBLE(x) ((double)(x))

/* Halves with a stride are first brought together: the service converts plain arrays. */
static void gather_half(const rapt_math_service *math, rapt_dtype dtype, const void *source,
                        int64_t stride, int64_t n, float *to)
{
    uint16_t half[RAPT_BLOCK];
    if (stride == 1) {
        math->load(n, dtype, source, to);
        return;
    }
    const uint16_t *from = source;
    for (int64_t i = 0; i < n; i++)
        half[i] = from[i * stride];
    math->load(n, dtype, half, to);
}

static void gather(const rapt_math_service *math, rapt_dtype dtype, const void *source,
                   int64_t stride, int64_t n, float *to)
{
    switch (dtype) {
    case RAPT_F32:
        if (stride == 1)
            memcpy(to, source, (size_t)n * sizeof *to);
        else
            GATHER(float, AS_FLOAT);
        break;
    case RAPT_F16:
    case RAPT_BF16:
        gather_half(math, dtype, source, stride, n, to);
        break;
    case RAPT_F64:
        GATHER(double, AS_FLOAT);
        break;
    case RAPT_I32:
        GATHER(int32_t, AS_FLOAT);
        break;
    case RAPT_I64:
        GATHER(int64_t, AS_FLOAT);
        break;
    default:
        GATHER(uint8_t, AS_FLOAT);
        break;
    }
}

static void gather_f64(const rapt_math_service *math, rapt_dtype dtype, const void *source,
                       int64_t stride, int64_t n, double *to)
{
    float single[RAPT_BLOCK];
    switch (dtype) {
    case RAPT_F64:
        GATHER(double, AS_DOUBLE);
        break;
    case RAPT_I32:
        GATHER(int32_t, AS_DOUBLE);
        break;
    case RAPT_I64:
        GATHER(int64_t, AS_DOUBLE);
        break;
    default:
        gather(math, dtype, source, stride, n, single);
        for (int64_t i = 0; i < n; i++)
            to[i] = (double)single[i];
        break;
    }
}

/* The block's own memory if it is one run of floats without gaps; otherwise NULL. */
static void *in_place(const rapt_walk *walk, int k, int64_t index, int64_t n, rapt_dtype dtype)
{
    const rapt_operand *operand = &walk->operands[k];
    const size_t size = rapt_dtype_size(dtype);
    if (operand->dtype != dtype)
        return NULL;
    if (operand->linear)
        return operand->data + (size_t)index * size;
    if (n == 0 || operand->stride[walk->ndim - 1] != 1)
        return NULL;
    const run r = run_begin(walk, k, index);
    return run_length(&r, n) == n ? operand->data + (size_t)r.offset * size : NULL;
}

const float *rapt_walk_load(const rapt_walk *walk, int k, int64_t index, int64_t n, float *buffer)
{
    const rapt_operand *operand = &walk->operands[k];
    const float *own = in_place(walk, k, index, n, RAPT_F32);
    if (own != NULL)
        return own;
    const size_t size = rapt_dtype_size(operand->dtype);
    if (operand->linear) {
        gather(walk->math, operand->dtype, operand->data + (size_t)index * size, 1, n, buffer);
        return buffer;
    }
    run r = run_begin(walk, k, index);
    for (int64_t done = 0; done < n;) {
        const int64_t length = run_length(&r, n - done);
        gather(walk->math, operand->dtype, operand->data + r.offset * (int64_t)size,
               operand->stride[walk->ndim - 1], length, buffer + done);
        run_advance(&r, length);
        done += length;
    }
    return buffer;
}

float *rapt_walk_edit(const rapt_walk *walk, int k, int64_t index, int64_t n, float *buffer)
{
    float *own = in_place(walk, k, index, n, RAPT_F32);
    if (own != NULL)
        return own;
    rapt_walk_load(walk, k, index, n, buffer);
    return buffer;
}

const double *rapt_walk_load_f64(const rapt_walk *walk, int k, int64_t index, int64_t n,
                                 double *buffer)
{
    const rapt_operand *operand = &walk->operands[k];
    const double *own = in_place(walk, k, index, n, RAPT_F64);
    if (own != NULL)
        return own;
    run r = run_begin(walk, k, index);
    for (int64_t done = 0; done < n;) {
        const int64_t length = run_length(&r, n - done);
        gather_f64(walk->math, operand->dtype,
                   operand->data + r.offset * (int64_t)rapt_dtype_size(operand->dtype),
                   operand->stride[walk->ndim - 1], length, buffer + done);
        run_advance(&r, length);
        done += length;
    }
    return buffer;
}

float *rapt_walk_target(const rapt_walk *walk, int k, int64_t index, float *buffer)
{
    const rapt_operand *operand = &walk->operands[k];
    return operand->linear && operand->dtype == RAPT_F32 ? (float *)(void *)operand->data + index
                                                         : buffer;
}

double *rapt_walk_target_f64(const rapt_walk *walk, int k, int64_t index, double *buffer)
{
    const rapt_operand *operand = &walk->operands[k];
    return operand->linear && operand->dtype == RAPT_F64 ? (double *)(void *)operand->data + index
                                                         : buffer;
}

static void scatter(const rapt_walk *walk, const rapt_operand *operand, char *target,
                    int64_t stride, int64_t n, const float *from)
{
    if (operand->dtype == RAPT_F32) {
        float *to = (float *)(void *)target;
        for (int64_t i = 0; i < n; i++)
            to[i * stride] = from[i];
    } else if (operand->dtype == RAPT_F64) {
        double *to = (double *)(void *)target;
        for (int64_t i = 0; i < n; i++)
            to[i * stride] = (double)from[i];
    } else if (stride == 1) {
        walk->math->store(n, operand->dtype, from, target);
    } else {
        uint16_t half[RAPT_BLOCK], *to = (uint16_t *)(void *)target;
        walk->math->store(n, operand->dtype, from, half);
        for (int64_t i = 0; i < n; i++)
            to[i * stride] = half[i];
    }
}

void rapt_walk_store(const rapt_walk *walk, int k, int64_t index, int64_t n, const float *block)
{
    const rapt_operand *operand = &walk->operands[k];
    const size_t size = rapt_dtype_size(operand->dtype);
    if (operand->linear) {
        char *target = operand->data + (size_t)index * size;
        if ((const void *)block != (const void *)target)
            scatter(walk, operand, target, 1, n, block);
        return;
    }
    run r = run_begin(walk, k, index);
    for (int64_t done = 0; done < n;) {
        const int64_t length = run_length(&r, n - done);
        scatter(walk, operand, operand->data + r.offset * (int64_t)size,
                operand->stride[walk->ndim - 1], length, block + done);
        run_advance(&r, length);
        done += length;
    }
}

void rapt_walk_store_f64(const rapt_walk *walk, int k, int64_t index, int64_t n,
                         const double *block)
{
    const rapt_operand *operand = &walk->operands[k];
    double *target = (double *)(void *)operand->data + index;
    if (operand->dtype == RAPT_F64 && operand->linear) {
        if (block != target)
            memcpy(target, block, (size_t)n * sizeof *block);
        return;
    }
    float single[RAPT_BLOCK];
    for (int64_t i = 0; i < n; i++)
        single[i] = (float)block[i];
    rapt_walk_store(walk, k, index, n, single);
}

#define COPY(type)                                                                                 \
    do {                                                                                           \
        const type *from = source;                                                                 \
        type *to = target;                                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            to[i * step] = from[i * stride];                                                       \
    } while (0)

void rapt_copy_run(size_t size, const void *source, int64_t stride, void *target, int64_t step,
                   int64_t n)
{
    if (stride == 1 && step == 1)
        memcpy(target, source, (size_t)n * size);
    else if (size == 8)
        COPY(uint64_t);
    else if (size == 4)
        COPY(uint32_t);
    else if (size == 2)
        COPY(uint16_t);
    else
        COPY(uint8_t);
}

void rapt_walk_copy(const rapt_walk *walk, int64_t index, int64_t n)
{
    const rapt_operand *from = &walk->operands[0], *to = &walk->operands[1];
    const size_t size = rapt_dtype_size(from->dtype);
    const int32_t last = walk->ndim - 1;
    run source = run_begin(walk, 0, index), target = run_begin(walk, 1, index);
    while (n > 0) {
        const int64_t length = run_length(&source, n);
        rapt_copy_run(size, from->data + source.offset * (int64_t)size, from->stride[last],
                      to->data + target.offset * (int64_t)size, to->stride[last], length);
        run_advance(&source, length);
        run_advance(&target, length);
        n -= length;
    }
}

/* --- Lines ---------------------------------------------------------------------------------- */

void rapt_lines_begin(rapt_lines *lines, const rapt_walk *walk, int32_t dim)
{
    const uint32_t bit = walk->ndim > 0 ? 1u << dim : 0;
    rapt_walk_take(&lines->outer, walk, ~bit);
    rapt_walk_take(&lines->along, walk, bit);
    lines->count = lines->outer.count;
    lines->length = lines->along.count;
}

static char *line_start(const rapt_lines *lines, int k, int64_t i)
{
    const rapt_operand *operand = &lines->along.operands[k];
    return operand->data +
           rapt_walk_offset(&lines->outer, k, i) * (int64_t)rapt_dtype_size(operand->dtype);
}

const float *rapt_line_load(const rapt_lines *lines, int k, int64_t i, float *buffer)
{
    const rapt_operand *operand = &lines->along.operands[k];
    const size_t size = rapt_dtype_size(operand->dtype);
    const char *start = line_start(lines, k, i);
    if (operand->linear && operand->dtype == RAPT_F32)
        return (const float *)(const void *)start;
    for (int64_t j = 0; j < lines->length; j += RAPT_BLOCK) {
        const int64_t left = lines->length - j, n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
        gather(lines->along.math, operand->dtype, start + j * operand->stride[0] * (int64_t)size,
               operand->stride[0], n, buffer + j);
    }
    return buffer;
}

float *rapt_line_target(const rapt_lines *lines, int k, int64_t i, float *buffer)
{
    const rapt_operand *operand = &lines->along.operands[k];
    return operand->linear && operand->dtype == RAPT_F32 ? (float *)(void *)line_start(lines, k, i)
                                                         : buffer;
}

void rapt_line_store(const rapt_lines *lines, int k, int64_t i, const float *line)
{
    const rapt_operand *operand = &lines->along.operands[k];
    char *start = line_start(lines, k, i);
    if ((const void *)line == (const void *)start)
        return;
    for (int64_t j = 0; j < lines->length; j += RAPT_BLOCK) {
        const int64_t left = lines->length - j, n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
        scatter(&lines->along, operand,
                start + j * operand->stride[0] * (int64_t)rapt_dtype_size(operand->dtype),
                operand->stride[0], n, line + j);
    }
}

bool rapt_lines_gap(const rapt_lines *lines)
{
    for (int k = 0; k < lines->along.n; k++)
        if (lines->length > 1 && lines->along.operands[k].stride[0] != 1)
            return true;
    return false;
}

/* `across` becomes the walk over element j of every line. */
static void take_element(const rapt_lines *lines, rapt_walk *across, int k, int64_t j)
{
    const rapt_operand *along = &lines->along.operands[k];
    across->operands[k].data = lines->outer.operands[k].data +
                               j * along->stride[0] * (int64_t)rapt_dtype_size(along->dtype);
}

void rapt_lines_load(const rapt_lines *lines, int k, int64_t first, int64_t n, float *buffer)
{
    rapt_walk across = lines->outer;
    float step[RAPT_BLOCK];
    for (int64_t j = 0; j < lines->length; j++) {
        take_element(lines, &across, k, j);
        const float *from = rapt_walk_load(&across, k, first, n, step);
        for (int64_t i = 0; i < n; i++)
            buffer[i * lines->length + j] = from[i];
    }
}

void rapt_lines_store(const rapt_lines *lines, int k, int64_t first, int64_t n, const float *buffer)
{
    rapt_walk across = lines->outer;
    float step[RAPT_BLOCK];
    for (int64_t j = 0; j < lines->length; j++) {
        for (int64_t i = 0; i < n; i++)
            step[i] = buffer[i * lines->length + j];
        take_element(lines, &across, k, j);
        rapt_walk_store(&across, k, first, n, step);
    }
}
