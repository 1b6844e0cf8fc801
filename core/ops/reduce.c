/* Sums, means and extremes over dimensions, and reductions to a given shape. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

#define DIMS_DOC "dimensions to reduce, counted from 0, negative ones from the end; all if absent"
#define KEEP_DOC "leave reduced dimensions in the shape, with size 1"

static const rapt_attr reduce_attrs[] = {
    RAPT_ATTR("dims", RAPT_ATTR_INTS, NULL, DIMS_DOC, RAPT_DIM_BOUNDS),
    RAPT_ATTR("keepdim", RAPT_ATTR_BOOL, "false", KEEP_DOC),
};
static const rapt_arg reduce_inputs[] = {RAPT_REAL("x: ...", "any shape and strides")};
static const rapt_arg reduce_outputs[] = {RAPT_REAL("y: *", "the dimensions that are left")};

/* Which dimensions of a tensor of `ndim` are reduced. */
static rapt_status reduced_dims(rapt_call *call, int32_t ndim, uint32_t *bits)
{
    const rapt_value *dims = &call->attrs[0];
    *bits = 0;
    if (!dims->present) {
        *bits = (1u << ndim) - 1;
        return RAPT_OK;
    }
    for (int32_t i = 0; i < dims->count; i++) {
        int32_t d;
        const rapt_status status = rapt_ops_dim(call, dims->i[i], ndim, &d);
        if (status != RAPT_OK)
            return status;
        if (*bits >> d & 1)
            return call->host->error(call, RAPT_INVALID, "dims names dimension %d twice", (int)d);
        *bits |= 1u << d;
    }
    return RAPT_OK;
}

static void reduced_shape(const rapt_view *x, uint32_t bits, bool keepdim, int64_t *shape,
                          int32_t *ndim)
{
    *ndim = 0;
    for (int32_t d = 0; d < x->ndim; d++) {
        if ((bits >> d & 1) == 0)
            shape[(*ndim)++] = x->shape[d];
        else if (keepdim)
            shape[(*ndim)++] = 1;
    }
}

static rapt_status reduce_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    uint32_t bits;
    const rapt_status status = reduced_dims(call, call->inputs[0]->ndim, &bits);
    if (status == RAPT_OK)
        reduced_shape(call->inputs[0], bits, call->attrs[1].i[0] != 0, shapes[0], ndims);
    return status;
}

/* Numbers of elements reduced into one. */
static int64_t reduced_count(const rapt_view *x, uint32_t bits)
{
    int64_t count = 1;
    for (int32_t d = 0; d < x->ndim; d++)
        count *= bits >> d & 1 ? x->shape[d] : 1;
    return count;
}

static rapt_status reduce(rapt_call *call, rapt_fold_kind kind, uint32_t bits, double scale)
{
    const rapt_view *x = call->inputs[0], *y = call->outputs[0];
    rapt_fold fold = {
        .reduced = bits, .loop = RAPT_LOOP_copy, .kind = kind, .scale = scale, .out = y};
    rapt_walk_begin(&fold.walk, call, x->ndim, x->shape);
    rapt_walk_add(&fold.walk, x);
    return rapt_fold_run(call, &fold);
}

/* dx = scale * dy, along the reduced dimensions. */
static rapt_status spread(rapt_call *call, uint32_t bits, double scale)
{
    const rapt_view *dx = call->grad_inputs[0];
    const rapt_loop_args args = {.math = rapt_ops_math(call), .a = scale};
    rapt_walk walk;
    rapt_walk_begin(&walk, call, dx->ndim, dx->shape);
    rapt_walk_add_reduced(&walk, call->grad_outputs[0], bits);
    rapt_walk_add(&walk, dx);
    rapt_walk_end(&walk);
    return rapt_map(call, &walk, RAPT_LOOP_scale, &args);
}

/* --- sum, mean ------------------------------------------------------------------------------ */

static rapt_status add_up(rapt_call *call, bool mean)
{
    uint32_t bits;
    const rapt_view *x = call->inputs[0];
    const rapt_status status = reduced_dims(call, x->ndim, &bits);
    if (status != RAPT_OK)
        return status;
    return reduce(call, RAPT_FOLD_SUM, bits, mean ? 1.0 / (double)reduced_count(x, bits) : 1);
}

static rapt_status add_up_backward(rapt_call *call, bool mean)
{
    uint32_t bits;
    const rapt_view *dx = call->grad_inputs[0];
    if (dx == NULL)
        return RAPT_OK;
    const rapt_status status = reduced_dims(call, dx->ndim, &bits);
    if (status != RAPT_OK)
        return status;
    return spread(call, bits, mean ? 1.0 / (double)reduced_count(dx, bits) : 1);
}

static rapt_status sum_forward(rapt_call *call)
{
    return add_up(call, false);
}

static rapt_status sum_backward(rapt_call *call)
{
    return add_up_backward(call, false);
}

static rapt_status mean_forward(rapt_call *call)
{
    return add_up(call, true);
}

static rapt_status mean_backward(rapt_call *call)
{
    return add_up_backward(call, true);
}

/* --- max, min ------------------------------------------------------------------------------- */

static rapt_status extreme_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    uint32_t bits;
    const rapt_view *x = call->inputs[0];
    const rapt_status status = reduced_dims(call, x->ndim, &bits);
    if (status != RAPT_OK)
        return status;
    if (reduced_count(x, bits) == 0 && reduced_count(x, ~bits) != 0)
        return call->host->error(call, RAPT_INVALID,
                                 "nothing has no extreme: a reduced dimension "
                                 "of x has size 0");
    reduced_shape(x, bits, call->attrs[1].i[0] != 0, shapes[0], ndims);
    return RAPT_OK;
}

static rapt_status extreme(rapt_call *call, rapt_fold_kind kind)
{
    uint32_t bits;
    const rapt_status status = reduced_dims(call, call->inputs[0]->ndim, &bits);
    return status != RAPT_OK ? status : reduce(call, kind, bits, 1);
}

/* The gradient of each output goes to the first of its inputs, in row-major order, that equals it
 * (or is the first NaN): the reduced dimensions are walked in order for each kept index. */
typedef struct extreme_grad {
    rapt_walk kept, reduced; /* operands: x, y, dy, dx */
} extreme_grad;

static void extreme_task(void *context, int64_t begin, int64_t end, int worker)
{
    const extreme_grad *e = context;
    float x[RAPT_BLOCK], dx[RAPT_BLOCK], y, g;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        rapt_walk walk = e->reduced;
        bool found = false;
        rapt_walk_move(&walk, &e->kept, i);
        const float best = *rapt_walk_load(&e->kept, 1, i, 1, &y);
        const float slope = *rapt_walk_load(&e->kept, 2, i, 1, &g);
        for (int64_t index = 0; index < walk.count; index += RAPT_BLOCK) {
            const int64_t left = walk.count - index, n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
            const float *at = rapt_walk_load(&walk, 0, index, n, x);
            memset(dx, 0, (size_t)n * sizeof *dx);
            for (int64_t j = 0; j < n && !found; j++) {
                found = at[j] == best || (at[j] != at[j] && best != best);
                dx[j] = found ? slope : 0;
            }
            rapt_walk_store(&walk, 3, index, n, dx);
        }
    }
}

static rapt_status extreme_backward(rapt_call *call, bool largest)
{
    const rapt_view *x = call->inputs[0], *dx = call->grad_inputs[0];
    extreme_grad e;
    rapt_walk all;
    uint32_t bits;
    if (dx == NULL)
        return RAPT_OK;
    const rapt_status status = reduced_dims(call, x->ndim, &bits);
    if (status != RAPT_OK)
        return status;
    if (rapt_on_vulkan(call))
        return rapt_vulkan_extreme_backward(call, bits, largest);
    rapt_walk_begin(&all, call, x->ndim, x->shape);
    rapt_walk_add(&all, x);
    rapt_walk_add_reduced(&all, call->outputs[0], bits);
    rapt_walk_add_reduced(&all, call->grad_outputs[0], bits);
    rapt_walk_add(&all, dx);
    rapt_walk_take(&e.kept, &all, ~bits);
    rapt_walk_take(&e.reduced, &all, bits);
    if (e.kept.count > 0)
        call->host->parallel_for(call, e.kept.count, rapt_grain(RAPT_PIECE, e.reduced.count),
                                 extreme_task, &e);
    return RAPT_OK;
}

static rapt_status max_forward(rapt_call *call)
{
    return extreme(call, RAPT_FOLD_MAX);
}

static rapt_status min_forward(rapt_call *call)
{
    return extreme(call, RAPT_FOLD_MIN);
}

static rapt_status max_backward(rapt_call *call)
{
    return extreme_backward(call, true);
}

static rapt_status min_backward(rapt_call *call)
{
    return extreme_backward(call, false);
}

/* --- argmax --------------------------------------------------------------------------------- */

static const rapt_attr argmax_attrs[] = {
    RAPT_ATTR("dim", RAPT_ATTR_INT, "-1",
              "the dimension along which to look, negative from the end", RAPT_DIM_BOUNDS),
    RAPT_ATTR("keepdim", RAPT_ATTR_BOOL, "false", KEEP_DOC),
};
static const rapt_arg argmax_outputs[] = {
    RAPT_OTHER("y: *", "i64", 0, "positions, counted from 0")};

static rapt_status argmax_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    const rapt_view *x = call->inputs[0];
    int32_t dim;
    const rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], x->ndim, &dim);
    if (status != RAPT_OK)
        return status;
    if (x->ndim > 0 && x->shape[dim] == 0 && reduced_count(x, ~(1u << dim)) != 0)
        return call->host->error(call, RAPT_INVALID,
                                 "nothing has no extreme: dimension %d of x has size 0", (int)dim);
    reduced_shape(x, 1u << dim, call->attrs[1].i[0] != 0, shapes[0], ndims);
    return RAPT_OK;
}

typedef struct argmax_context {
    rapt_walk kept, reduced;
    int64_t *out;
} argmax_context;

static void argmax_task(void *context, int64_t begin, int64_t end, int worker)
{
    const argmax_context *a = context;
    double buffer[RAPT_BLOCK];
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        rapt_walk walk = a->reduced;
        double best = -INFINITY;
        int64_t where = 0;
        rapt_walk_move(&walk, &a->kept, i);
        for (int64_t index = 0; index < walk.count && best == best; index += RAPT_BLOCK) {
            const int64_t left = walk.count - index, n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
            const double *x = rapt_walk_load_f64(&walk, 0, index, n, buffer);
            for (int64_t j = 0; j < n && best == best; j++)
                if (x[j] > best || x[j] != x[j]) {
                    best = x[j];
                    where = index + j;
                }
        }
        a->out[i] = where;
    }
}

static rapt_status argmax_forward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0];
    argmax_context a = {.out = rapt_view_data(call->outputs[0])};
    rapt_walk all;
    int32_t dim;
    if (rapt_on_vulkan(call))
        return rapt_vulkan_argmax_forward(call);
    const rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], x->ndim, &dim);
    if (status != RAPT_OK)
        return status;
    rapt_walk_begin(&all, call, x->ndim, x->shape);
    rapt_walk_add(&all, x);
    rapt_walk_take(&a.kept, &all, ~(1u << dim));
    rapt_walk_take(&a.reduced, &all, 1u << dim);
    if (a.kept.count > 0)
        call->host->parallel_for(call, a.kept.count, rapt_grain(RAPT_PIECE, a.reduced.count),
                                 argmax_task, &a);
    return RAPT_OK;
}

/* --- sum_to --------------------------------------------------------------------------------- */

static const rapt_attr sum_to_attrs[] = {
    RAPT_ATTR("shape", RAPT_ATTR_INTS, NULL,
              "the shape to arrive at: sizes of x, or 1; leading dimensions may be missing; "
              "absent: a scalar",
              .min = "0"),
};

static rapt_status sum_to_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    const rapt_view *x = call->inputs[0];
    const rapt_value *shape = &call->attrs[0];
    const int32_t n = shape->present ? shape->count : 0, missing = x->ndim - n;
    if (missing < 0)
        return call->host->error(call, RAPT_INVALID, "shape has %d dimensions but x has only %d",
                                 (int)n, (int)x->ndim);
    for (int32_t d = 0; d < n; d++) {
        if (shape->i[d] != 1 && shape->i[d] != x->shape[missing + d])
            return call->host->error(call, RAPT_INVALID,
                                     "size %lld at place %d of shape is neither 1 nor the size of "
                                     "x there, %lld",
                                     (long long)shape->i[d], (int)d,
                                     (long long)x->shape[missing + d]);
        shapes[0][d] = shape->i[d];
    }
    ndims[0] = n;
    return RAPT_OK;
}

static rapt_status sum_to_forward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0];
    return reduce(call, RAPT_FOLD_SUM, rapt_broadcast_dims(call->outputs[0], x->ndim, x->shape), 1);
}

static rapt_status sum_to_backward(rapt_call *call)
{
    const rapt_view *dx = call->grad_inputs[0];
    const rapt_loop_args args = {.math = rapt_ops_math(call)};
    rapt_walk walk;
    if (dx == NULL)
        return RAPT_OK;
    rapt_walk_begin(&walk, call, dx->ndim, dx->shape);
    rapt_walk_add(&walk, call->grad_outputs[0]);
    rapt_walk_add(&walk, dx);
    rapt_walk_end(&walk);
    return rapt_map(call, &walk, RAPT_LOOP_copy, &args);
}

/* --- norm2 ---------------------------------------------------------------------------------- */

static const rapt_arg norm2_outputs[] = {RAPT_OTHER("y:", "f32", RAPT_DIFFERENTIABLE, "a scalar")};

static rapt_status norm2_forward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0];
    rapt_fold fold = {
        .reduced = (1u << x->ndim) - 1, .loop = RAPT_LOOP_mul, .scale = 1, .out = call->outputs[0]};
    rapt_walk_begin(&fold.walk, call, x->ndim, x->shape);
    rapt_walk_add(&fold.walk, x);
    rapt_walk_add(&fold.walk, x);
    return rapt_fold_run(call, &fold);
}

static rapt_status norm2_backward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0], *dx = call->grad_inputs[0];
    float g;
    if (dx == NULL)
        return RAPT_OK;
    if (rapt_on_vulkan(call))
        return rapt_vulkan_norm2_backward(call);
    rapt_loop_args args = {.math = rapt_ops_math(call)};
    rapt_walk walk;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, dx);
    rapt_walk_end(&walk);
    args.math->load(1, RAPT_F32, rapt_view_data(call->grad_outputs[0]), &g);
    args.a = 2 * (double)g;
    return rapt_map(call, &walk, RAPT_LOOP_scale, &args);
}

/* --- Descriptions --------------------------------------------------------------------------- */

/* Of Vulkan: forward is a fold, backward needs none. */
static size_t fold_workspace(rapt_call *call)
{
    return call->phase == RAPT_FORWARD ? rapt_vulkan_fold_workspace(call) : 0;
}

#define KERNEL(name, types, kept, forward_, backward_)                                             \
    static const rapt_kernel name##_kernel[] = {                                                   \
        {RAPT_CPU, .dtypes = (types), .flags = RAPT_ANY_STRIDES, .keep = (kept),                   \
         .forward = (forward_), .backward = (backward_)},                                          \
        {RAPT_VULKAN, .dtypes = (types), .flags = RAPT_ANY_STRIDES, .keep = (kept),                \
         .workspace = fold_workspace, .forward = (forward_), .backward = (backward_)}};
KERNEL(sum, RAPT_DTYPES_REAL, "", sum_forward, sum_backward)
KERNEL(mean, RAPT_DTYPES_REAL, "", mean_forward, mean_backward)
KERNEL(max, RAPT_DTYPES_COMPUTE, "x y", max_forward, max_backward)
KERNEL(min, RAPT_DTYPES_COMPUTE, "x y", min_forward, min_backward)
KERNEL(argmax, RAPT_DTYPES_REAL, NULL, argmax_forward, NULL)
KERNEL(sum_to, RAPT_DTYPES_REAL, "", sum_to_forward, sum_to_backward)
KERNEL(norm2, RAPT_DTYPES_COMPUTE, "x", norm2_forward, norm2_backward)

#define REDUCTION(label, name, heading, what)                                                      \
    RAPT_CORE(label), .title = (heading), .doc = (what), RAPT_INPUTS(reduce_inputs),               \
                      RAPT_KERNEL(name##_kernel), .flops = "leading", .example = "...=3,65"
#define BY_DIMS RAPT_OUTPUTS(reduce_outputs), RAPT_ATTRS(reduce_attrs), .flops_backward = "leading"

static const rapt_operator operators[] = {
    {REDUCTION("sum", sum, "Sum over dimensions",
               "y = sum of x over the given dimensions, or all; 0 over nothing."),
     BY_DIMS, .infer = reduce_infer},
    {REDUCTION("mean", mean, "Mean over dimensions",
               "y = mean of x over the given dimensions, or all; NaN over nothing."),
     BY_DIMS, .infer = reduce_infer},
    {REDUCTION("max", max, "Largest over dimensions",
               "y = the largest x over the given dimensions, or all; NaN if one is NaN. The "
               "gradient goes to the first element, in row-major order, that equals it."),
     BY_DIMS, .infer = extreme_infer},
    {REDUCTION("min", min, "Smallest over dimensions",
               "y = the smallest x over the given dimensions, or all; NaN if one is NaN. The "
               "gradient goes to the first element, in row-major order, that equals it."),
     BY_DIMS, .infer = extreme_infer},
    {REDUCTION("argmax", argmax, "Position of the largest",
               "y = the first position along a dimension where x is largest, or NaN."),
     RAPT_OUTPUTS(argmax_outputs), RAPT_ATTRS(argmax_attrs), .infer = argmax_infer},
    {REDUCTION("sum_to", sum_to, "Sum down to a shape",
               "y = sum of x over the dimensions along which `shape` would be broadcast to that of "
               "x: the reverse of broadcasting."),
     RAPT_OUTPUTS(reduce_outputs), RAPT_ATTRS(sum_to_attrs), .flops_backward = "0",
     .infer = sum_to_infer},
    {REDUCTION("norm2", norm2, "Sum of squares",
               "y = sum of x^2 over all elements, in float32: what clipping by the global norm "
               "adds up."),
     RAPT_OUTPUTS(norm2_outputs), .flops_backward = "leading"},
};

const rapt_group rapt_ops_reduce = {operators, RAPT_COUNT(operators)};
