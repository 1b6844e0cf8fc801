/* Running sums. */
#include "ops/common.h"

typedef struct scan {
    rapt_lines lines;
    bool reverse;
    float *rows; /* two lines for each worker */
} scan;

static void scan_task(void *context, int64_t begin, int64_t end, int worker)
{
    const scan *s = context;
    const int64_t n = s->lines.length;
    float *rows = s->rows + (int64_t)worker * 2 * n;
    for (int64_t i = begin; i < end; i++) {
        const float *x = rapt_line_load(&s->lines, 0, i, rows);
        float *y = rapt_line_target(&s->lines, 1, i, rows + n);
        double total = 0;
        for (int64_t j = 0; j < n; j++) {
            const int64_t at = s->reverse ? n - 1 - j : j;
            total += (double)x[at];
            y[at] = (float)total;
        }
        rapt_line_store(&s->lines, 1, i, y);
    }
}

static rapt_status run(rapt_call *call, const rapt_view *source, const rapt_view *target,
                       bool reverse)
{
    scan s = {.reverse = reverse};
    rapt_walk walk;
    int32_t dim;
    const rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], target->ndim, &dim);
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    if (status != RAPT_OK || walk.count == 0)
        return status;
    rapt_walk_add(&walk, source);
    rapt_walk_add(&walk, target);
    rapt_lines_begin(&s.lines, &walk, dim);
    const size_t rows = (size_t)call->host->workers() * 2;
    s.rows = call->host->scratch(call, rows * (size_t)s.lines.length * sizeof(float));
    if (s.rows == NULL)
        return RAPT_NO_MEMORY;
    call->host->parallel_for(call, s.lines.count, rapt_grain(RAPT_PIECE, s.lines.length), scan_task,
                             &s);
    return RAPT_OK;
}

static rapt_status forward(rapt_call *call)
{
    return run(call, call->inputs[0], call->outputs[0], false);
}

static rapt_status backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return run(call, call->grad_outputs[0], call->grad_inputs[0], true);
}

static const rapt_arg inputs[] = {RAPT_REAL("x: ...", "any shape and strides")};
static const rapt_arg outputs[] = {RAPT_REAL("y: ...", "in the shape of x")};
static const rapt_attr attrs[] = {RAPT_ATTR("dim", RAPT_ATTR_INT, "-1",
                                            "the dimension, counted from 0, negative from the end",
                                            RAPT_DIM_BOUNDS)};
static const rapt_kernel kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .keep = "",
     .forward = forward, .backward = backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .keep = "",
     .forward = rapt_vulkan_cumsum_forward, .backward = rapt_vulkan_cumsum_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("cumsum"), .title = "Running sum",
     .doc = "y_i = x_0 + ... + x_i along one dimension, added in float64.", RAPT_INPUTS(inputs),
     RAPT_OUTPUTS(outputs), RAPT_ATTRS(attrs), .flops = "leading", .flops_backward = "leading",
     .example = "...=3,65", RAPT_KERNEL(kernel)},
};

const rapt_group rapt_ops_scan = {operators, RAPT_COUNT(operators)};
