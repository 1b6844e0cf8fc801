/* Softmax and its logarithm over one dimension. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

enum { X, Y = 1, G = 1, DX = 2 };
enum { ROW_FIRST, ROW_SECOND, ROW_OUT, ROW_BUFFERS };

typedef struct softmax {
    const rapt_loops *loops;
    rapt_lines lines;
    bool logarithm;
    float *rows; /* ROW_BUFFERS lines for each worker */
} softmax;

static float *buffer(const softmax *c, int worker, int which)
{
    return c->rows + ((int64_t)worker * ROW_BUFFERS + which) * c->lines.length;
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

static void forward_task(void *context, int64_t first, int64_t last, int worker)
{
    const softmax *c = context;
    for (int64_t i = first; i < last; i++) {
        const float *x = rapt_line_load(&c->lines, X, i, buffer(c, worker, ROW_FIRST));
        float *y = rapt_line_target(&c->lines, Y, i, buffer(c, worker, ROW_OUT));
        softmax_row(c, x, y);
        rapt_line_store(&c->lines, Y, i, y);
    }
}

static void backward_task(void *context, int64_t first, int64_t last, int worker)
{
    const softmax *c = context;
    const int64_t n = c->lines.length;
    for (int64_t i = first; i < last; i++) {
        const float *y = rapt_line_load(&c->lines, X, i, buffer(c, worker, ROW_FIRST));
        const float *g = rapt_line_load(&c->lines, G, i, buffer(c, worker, ROW_SECOND));
        float *dx = rapt_line_target(&c->lines, DX, i, buffer(c, worker, ROW_OUT));
        if (c->logarithm && y[0] == -INFINITY && c->loops->max(n, y) == -INFINITY)
            fill(n, 0, dx);
        else if (c->logarithm)
            c->loops->log_softmax_grad(c->lines.along.math, n, y, g, (float)c->loops->sum(n, g),
                                       dx);
        else
            c->loops->softmax_grad(n, y, g, (float)c->loops->dot(n, y, g), dx);
        rapt_line_store(&c->lines, DX, i, dx);
    }
}

static rapt_status run(rapt_call *call, bool logarithm, const rapt_walk *walk, rapt_task task)
{
    softmax c = {.loops = rapt_loops_select(call->host), .logarithm = logarithm};
    int32_t dim;
    const rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], walk->ndim, &dim);
    if (status != RAPT_OK || walk->count == 0)
        return status;
    rapt_lines_begin(&c.lines, walk, dim);
    const size_t rows = (size_t)call->host->workers() * ROW_BUFFERS;
    c.rows = call->host->scratch(call, rows * (size_t)c.lines.length * sizeof(float));
    if (c.rows == NULL)
        return RAPT_NO_MEMORY;
    call->host->parallel_for(call, c.lines.count, rapt_grain(RAPT_PIECE, c.lines.length), task, &c);
    return RAPT_OK;
}

static rapt_status forward(rapt_call *call, bool logarithm)
{
    const rapt_view *x = call->inputs[0];
    rapt_walk walk;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, call->outputs[0]);
    return run(call, logarithm, &walk, forward_task);
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
    return run(call, logarithm, &walk, backward_task);
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
         .forward = name##_forward, .backward = name##_backward}};
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
