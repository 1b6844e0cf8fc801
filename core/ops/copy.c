/* Copies into fresh contiguous memory: one tensor, or several joined. */
#include "ops/common.h"

#include <string.h>

/* --- copy ----------------------------------------------------------------------------------- */

#define SIDE     32 /* of a tile of a transposed copy */
#define CAT_MOST 8  /* tensors joined in one call */

static void copy_task(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_walk *walk = context;
    const int64_t first = begin * RAPT_BLOCK, last = end * RAPT_BLOCK;
    (void)worker;
    rapt_walk_copy(walk, first, (last < walk->count ? last : walk->count) - first);
}

/* The last dimension is read with a gap, dimension `dim` without: both are walked in tiles. */
typedef struct transposed {
    rapt_walk outer; /* the other dimensions */
    rapt_walk tile;  /* dim, last */
    int64_t rows, columns;
} transposed;

static void copy_tile(const rapt_walk *at, int64_t row, int64_t rows, int64_t column,
                      int64_t columns)
{
    const rapt_operand *from = &at->operands[0], *to = &at->operands[1];
    const int64_t size = (int64_t)rapt_dtype_size(from->dtype);
    for (int64_t r = row; r < row + rows; r++)
        rapt_copy_run(
            (size_t)size, from->data + (r * from->stride[0] + column * from->stride[1]) * size,
            from->stride[1], to->data + (r * to->stride[0] + column * to->stride[1]) * size,
            to->stride[1], columns);
}

static void tile_task(void *context, int64_t begin, int64_t end, int worker)
{
    const transposed *t = context;
    const int64_t tiles = (t->rows + SIDE - 1) / SIDE;
    (void)worker;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t row = unit % tiles * SIDE, left = t->rows - row;
        rapt_walk at = t->tile;
        rapt_walk_move(&at, &t->outer, unit / tiles);
        for (int64_t column = 0; column < t->columns; column += SIDE) {
            const int64_t right = t->columns - column;
            copy_tile(&at, row, left < SIDE ? left : SIDE, column, right < SIDE ? right : SIDE);
        }
    }
}

/* The dimension that the source walks through without a gap, if it is not the last; -1: none. */
static int32_t inner_dim(const rapt_walk *walk)
{
    const int64_t *stride = walk->operands[0].stride;
    if (stride[walk->ndim - 1] <= 1)
        return -1;
    for (int32_t d = walk->ndim - 2; d >= 0; d--)
        if (stride[d] == 1)
            return d;
    return -1;
}

static rapt_status copy_walk(rapt_call *call, rapt_walk *walk)
{
    rapt_walk_end(walk);
    const int64_t blocks = (walk->count + RAPT_BLOCK - 1) / RAPT_BLOCK;
    const int32_t dim = inner_dim(walk), last = walk->ndim - 1;
    if (blocks == 0)
        return RAPT_OK;
    if (dim < 0) {
        call->host->parallel_for(call, blocks, RAPT_PIECE / RAPT_BLOCK, copy_task, walk);
        return RAPT_OK;
    }
    const uint32_t inner = 1u << dim | 1u << last;
    transposed t = {.rows = walk->shape[dim], .columns = walk->shape[last]};
    rapt_walk_take(&t.outer, walk, ~inner);
    rapt_walk_take(&t.tile, walk, inner);
    call->host->parallel_for(call, t.outer.count * ((t.rows + SIDE - 1) / SIDE),
                             rapt_grain(RAPT_PIECE, SIDE * t.columns), tile_task, &t);
    return RAPT_OK;
}

static rapt_status copy(rapt_call *call, const rapt_view *source, const rapt_view *target)
{
    rapt_walk walk;
    if (rapt_on_vulkan(call))
        return rapt_vulkan_copy(call, source, target);
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    rapt_walk_add(&walk, source);
    rapt_walk_add(&walk, target);
    return copy_walk(call, &walk);
}

static rapt_status copy_forward(rapt_call *call)
{
    return copy(call, call->inputs[0], call->outputs[0]);
}

static rapt_status copy_backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return copy(call, call->grad_outputs[0], call->grad_inputs[0]);
}

/* --- cat ------------------------------------------------------------------------------------ */

static rapt_status cat_dim(rapt_call *call, const rapt_view *first, int32_t *dim)
{
    if (first->ndim == 0)
        return call->host->error(call, RAPT_INVALID,
                                 "a is a scalar, without a dimension to join "
                                 "along");
    return rapt_ops_dim(call, call->attrs[0].i[0], first->ndim, dim);
}

static rapt_status cat_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    const rapt_view *first = call->inputs[0];
    int32_t dim;
    const rapt_status status = cat_dim(call, first, &dim);
    if (status != RAPT_OK)
        return status;
    ndims[0] = first->ndim;
    for (int32_t d = 0; d < first->ndim; d++)
        shapes[0][d] = first->shape[d];
    for (uint32_t i = 1; i < call->op->n_inputs; i++) {
        const rapt_view *other = call->inputs[i];
        if (other == NULL)
            continue;
        if (other->ndim != first->ndim)
            return call->host->error(call, RAPT_INVALID, "input %d has %d dimensions but a has %d",
                                     (int)i + 1, (int)other->ndim, (int)first->ndim);
        for (int32_t d = 0; d < first->ndim; d++)
            if (d != dim && other->shape[d] != first->shape[d])
                return call->host->error(
                    call, RAPT_INVALID,
                    "input %d has size %lld where a has %lld, in a dimension that is not joined",
                    (int)i + 1, (long long)other->shape[d], (long long)first->shape[d]);
        if (__builtin_add_overflow(shapes[0][dim], other->shape[dim], &shapes[0][dim]))
            return call->host->error(call, RAPT_INVALID, "the joined size overflows");
    }
    return RAPT_OK;
}

/* Copies between each part and its place in the whole. `sizes`: of the parts along the dimension;
 * a part that is NULL is passed over. */
static rapt_status cat_parts(rapt_call *call, const rapt_view *whole, const rapt_view *const *parts,
                             const int64_t *sizes, bool join)
{
    int64_t start = 0;
    int32_t dim;
    rapt_status status = cat_dim(call, whole, &dim);
    for (uint32_t i = 0; i < call->op->n_inputs && status == RAPT_OK; start += sizes[i++]) {
        const rapt_view *part = parts[i];
        const rapt_dtype dtype = rapt_view_dtype(whole);
        rapt_walk walk;
        if (part == NULL || rapt_elements(part) == 0)
            continue;
        char *place = (char *)rapt_view_data(whole) +
                      start * whole->strides[dim] * (int64_t)rapt_dtype_size(dtype);
        rapt_walk_begin(&walk, call, part->ndim, part->shape);
        if (join)
            rapt_walk_add(&walk, part);
        rapt_walk_add_strided(&walk, place, dtype, whole->strides);
        if (!join)
            rapt_walk_add(&walk, part);
        status = copy_walk(call, &walk);
    }
    return status;
}

static rapt_status cat_forward(rapt_call *call)
{
    int64_t sizes[CAT_MOST] = {0};
    int32_t dim;
    const rapt_status status = cat_dim(call, call->inputs[0], &dim);
    if (status != RAPT_OK)
        return status;
    for (uint32_t i = 0; i < call->op->n_inputs; i++)
        if (call->inputs[i] != NULL)
            sizes[i] = call->inputs[i]->shape[dim];
    if (call->saved != NULL && call->saved[0] != NULL)
        memcpy(rapt_view_data(call->saved[0]), sizes, sizeof sizes);
    return cat_parts(call, call->outputs[0], call->inputs, sizes, true);
}

static rapt_status cat_backward(rapt_call *call)
{
    return cat_parts(call, call->grad_outputs[0], (const rapt_view *const *)call->grad_inputs,
                     rapt_view_data(call->saved[0]), false);
}

/* --- Descriptions --------------------------------------------------------------------------- */

#define EVERY_DTYPE (RAPT_DTYPE_BIT(RAPT_DTYPE_COUNT) - 1)

static const rapt_arg copy_inputs[] = {RAPT_REAL("x: ...", "any shape, strides and dtype")};
static const rapt_arg copy_outputs[] = {
    RAPT_REAL("y: ...", "contiguous, in the shape and dtype of x")};
static const rapt_kernel copy_kernel[] = {
    {RAPT_CPU, .dtypes = EVERY_DTYPE, .flags = RAPT_ANY_STRIDES, .keep = "",
     .forward = copy_forward, .backward = copy_backward},
    {RAPT_VULKAN_COPY, .dtypes = EVERY_DTYPE, .flags = RAPT_ANY_STRIDES, .keep = "",
     .forward = copy_forward, .backward = copy_backward}};

#define FURTHER(name)                                                                              \
    RAPT_OTHER(name ": *", "T", RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,                               \
               "joined next; equal to a in the other dimensions")
static const rapt_arg cat_inputs[CAT_MOST] = {
    RAPT_REAL("a: *", "any dtype; at least one dimension"),
    FURTHER("b"),
    FURTHER("c"),
    FURTHER("d"),
    FURTHER("e"),
    FURTHER("f"),
    FURTHER("g"),
    FURTHER("h"),
};
static const rapt_arg cat_outputs[] = {RAPT_REAL("y: *", "all of them, one after another")};
static const rapt_attr cat_attrs[] = {
    RAPT_ATTR("dim", RAPT_ATTR_INT, "0", "the dimension, counted from 0, negative from the end",
              RAPT_DIM_BOUNDS)};
static const rapt_arg cat_saved[] = {
    RAPT_OTHER("sizes: 8", "i64", 0, "of the inputs along the dimension; 0 for those absent")};
static const rapt_kernel cat_kernel[] = {
    {RAPT_CPU, .dtypes = EVERY_DTYPE, .flags = RAPT_ANY_STRIDES, .keep = "", .saved = cat_saved,
     .n_saved = 1, .forward = cat_forward, .backward = cat_backward},
    {RAPT_VULKAN_COPY, .dtypes = EVERY_DTYPE, .flags = RAPT_ANY_STRIDES, .keep = "",
     .saved = cat_saved, .n_saved = 1, .forward = rapt_vulkan_cat_forward,
     .backward = rapt_vulkan_cat_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("copy"), .title = "Copy", .doc = "y = x, bit by bit, in memory of its own.",
     RAPT_INPUTS(copy_inputs), RAPT_OUTPUTS(copy_outputs), .flops = "0", .flops_backward = "0",
     .example = "...=3,65", RAPT_KERNEL(copy_kernel)},
    {RAPT_CORE("cat"), .title = "Tensors joined along a dimension",
     .doc = "y = a, b, ... one after another along one dimension: up to eight tensors, equal in "
            "all other sizes.",
     RAPT_INPUTS(cat_inputs), RAPT_OUTPUTS(cat_outputs), RAPT_ATTRS(cat_attrs), .flops = "0",
     .flops_backward = "0", RAPT_KERNEL(cat_kernel), .infer = cat_infer},
};

const rapt_group rapt_ops_copy = {operators, RAPT_COUNT(operators)};
