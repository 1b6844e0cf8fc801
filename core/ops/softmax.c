/* Softmax and its logarithm over one dimension. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

enum { G = 1, DX = 2 }; /* operands of backward behind y */
enum { ROW_FIRST, ROW_SECOND, ROW_OUT, ROW_BUFFERS };

/* Lines with gaps are taken so many at a time: a cache line of each element. */
#define GROUP 16

typedef struct softmax {
    const rapt_loops *loops;
    rapt_lines lines;
    bool logarithm;
    int64_t group; /* GROUP or 1 */
    float *rows;   /* ROW_BUFFERS groups of lines for each worker */
} softmax;

static float *buffer(const softmax *c, int worker, int which)
{
    return c->rows + ((int64_t)worker * ROW_BUFFERS + which) * c->lines.length * c->group;
}

static void fill(int64_t n, float value, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
}

/* y = x * scale + shift, through the loop of that name. */
static void scale_row(const softmax *c, int64_t n, double scale, double shift, const float *x,
                      float *y)
{
    const rapt_loop_args args = {c->lines.along.math, scale, shift};
    for (int64_t i = 0; i < n; i += RAPT_BLOCK) {
        const float *in = x + i;
        c->loops->elementwise[RAPT_LOOP_scale_add](&args, n - i < RAPT_BLOCK ? n - i : RAPT_BLOCK,
                                                   &in, y + i);
    }
}

/* A line that is -inf throughout has no distribution: 0, or -inf as a logarithm. */
static void softmax_row(const softmax *c, const float *x, float *y)
{
    const int64_t n = c->lines.length;
    const rapt_math_service *math = c->lines.along.math;
    const float top = c->loops->max(n, x);
    if (top == -INFINITY) {
        fill(n, c->logarithm ? -INFINITY : 0, y);
    } else if (c->logarithm) {
        const double total = c->loops->exp_shifted(math, n, x, top, y);
        c->loops->normalise(n, x, top, 1, NULL, NULL, y);
        scale_row(c, n, 1, -log(total), y, y);
    } else {
        const double total = c->loops->exp_shifted(math, n, x, top, y);
        scale_row(c, n, 1 / total, 0, y, y);
    }
}

static void softmax_grad_row(const softmax *c, const float *y, const float *g, float *dx)
{
    const int64_t n = c->lines.length;
    if (c->logarithm && y[0] == -INFINITY && c->loops->max(n, y) == -INFINITY)
        fill(n, 0, dx);
    else if (c->logarithm)
        c->loops->log_softmax_grad(c->lines.along.math, n, y, g, (float)c->loops->sum(n, g), dx);
    else
        c->loops->softmax_grad(n, y, g, (float)c->loops->dot(n, y, g), dx);
}

/* Operands: x and y; or y, the gradient of y, and that of x. */
static void row(const softmax *c, const float *first, const float *second, float *out)
{
    if (c->lines.along.n == 2)
        softmax_row(c, first, out);
    else
        softmax_grad_row(c, first, second, out);
}

static void line_task(void *context, int64_t begin, int64_t end, int worker)
{
    const softmax *c = context;
    const int target = c->lines.along.n - 1;
    for (int64_t i = begin; i < end; i++) {
        const float *first = rapt_line_load(&c->lines, 0, i, buffer(c, worker, ROW_FIRST));
        const float *second =
            target == DX ? rapt_line_load(&c->lines, G, i, buffer(c, worker, ROW_SECOND)) : NULL;
        float *out = rapt_line_target(&c->lines, target, i, buffer(c, worker, ROW_OUT));
        row(c, first, second, out);
        rapt_line_store(&c->lines, target, i, out);
    }
}

static void group_task(void *context, int64_t begin, int64_t end, int worker)
{
    const softmax *c = context;
    const int target = c->lines.along.n - 1;
    float *first = buffer(c, worker, ROW_FIRST), *second = buffer(c, worker, ROW_SECOND);
    float *out = buffer(c, worker, ROW_OUT);
    for (int64_t i = begin; i < end; i += GROUP) {
        const int64_t n = end - i < GROUP ? end - i : GROUP;
        rapt_lines_load(&c->lines, 0, i, n, first);
        if (target == DX)
            rapt_lines_load(&c->lines, G, i, n, second);
        for (int64_t l = 0; l < n * c->lines.length; l += c->lines.length)
            row(c, first + l, second + l, out + l);
        rapt_lines_store(&c->lines, target, i, n, out);
    }
}

static rapt_status run(rapt_call *call, bool logarithm, const rapt_walk *walk)
{
    softmax c = {.loops = rapt_loops_select(call->host), .logarithm = logarithm};
    int32_t dim;
    const rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], walk->ndim, &dim);
    if (status != RAPT_OK || walk->count == 0)
        return status;
    rapt_lines_begin(&c.lines, walk, dim);
    c.group = rapt_lines_gap(&c.lines) ? GROUP : 1;
    const size_t rows = (size_t)call->host->workers() * ROW_BUFFERS * (size_t)c.group;
    c.rows = call->host->scratch(call, rows * (size_t)c.lines.length * sizeof(float));
    if (c.rows == NULL)
        return RAPT_NO_MEMORY;
    const int64_t grain = rapt_grain(RAPT_PIECE, c.lines.length * c.group) * c.group;
    call->host->parallel_for(call, c.lines.count, grain, c.group > 1 ? group_task : line_task, &c);
    return RAPT_OK;
}

static rapt_status forward(rapt_call *call, bool logarithm)
{
    const rapt_view *x = call->inputs[0];
    rapt_walk walk;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, call->outputs[0]);
    return run(call, logarithm, &walk);
}

static rapt_status backward(rapt_call *call, bool logarithm)
{
    const rapt_view *dx = call->grad_inputs[0];
    rapt_walk walk;
    if (dx == NULL)
        return RAPT_OK;
    rapt_walk_begin(&walk, call, dx->ndim, dx->shape);
    rapt_walk_add(&walk, call->outputs[0]);
    rapt_walk_add(&walk, call->grad_outputs[0]);
    rapt_walk_add(&walk, dx);
    return run(call, logarithm, &walk);
}

static rapt_status softmax_forward(rapt_call *call)
{
    return forward(call, false);
}

static rapt_status softmax_backward(rapt_call *call)
{
    return backward(call, false);
}

static rapt_status log_softmax_forward(rapt_call *call)
{
    return forward(call, true);
}

static rapt_status log_softmax_backward(rapt_call *call)
{
    return backward(call, true);
}

static const rapt_arg inputs[] = {RAPT_REAL("x: ...", "any shape and strides")};
static const rapt_arg outputs[] = {RAPT_REAL("y: ...", "in the shape of x")};
static const rapt_attr attrs[] = {RAPT_ATTR("dim", RAPT_ATTR_INT, "-1",
                                            "the dimension, counted from 0, negative from the end",
                                            RAPT_DIM_BOUNDS)};

#define KERNEL(name)                                                                               \
    static const rapt_kernel name##_kernel[] = {                                                   \
        {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .keep = "y",          \
         .forward = name##_forward, .backward = name##_backward},                                  \
        {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .keep = "y",       \
         .forward = rapt_vulkan_##name##_forward, .backward = rapt_vulkan_##name##_backward}};
KERNEL(softmax)
KERNEL(log_softmax)

static const rapt_operator operators[] = {
    {RAPT_CORE("softmax"), .title = "Softmax over a dimension",
     .doc = "y = exp(x) / sum exp(x) along one dimension. Where all x are -inf, y and its gradient "
            "are 0.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), RAPT_ATTRS(attrs), .flops = "13 * leading",
     .flops_backward = "4 * leading", .example = "...=5,65", RAPT_KERNEL(softmax_kernel)},
    {RAPT_CORE("log_softmax"), .title = "Logarithm of the softmax",
     .doc = "y = x - log sum exp(x) along one dimension, without overflow. Where all x are -inf, "
            "so is y, and the gradient is 0.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), RAPT_ATTRS(attrs), .flops = "14 * leading",
     .flops_backward = "13 * leading", .example = "...=5,65", RAPT_KERNEL(log_softmax_kernel)},
};

const rapt_group rapt_ops_softmax = {operators, RAPT_COUNT(operators)};
