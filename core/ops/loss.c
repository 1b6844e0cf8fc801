/* Cross entropy of logits against class labels. Forward leaves one number a row, not the
 * probabilities: backward makes them again from the logits. */
#include "ops/labels.h"

#include <math.h>
#include <string.h>

enum { REDUCE_MEAN, REDUCE_SUM, REDUCE_NONE };
enum { ATTR_REDUCTION, ATTR_IGNORE };
enum { LOGITS, DLOGITS };

typedef struct cross_entropy {
    const rapt_loops *loops;
    rapt_lines lines;
    rapt_labels labels;
    bool ignores;
    int64_t ignored;
    float *lse;      /* one a row */
    double *losses;  /* forward: one a row */
    rapt_walk grads; /* backward: one operand, the loss's gradient for each row */
    double scale;
    float *rows; /* two for each worker */
} cross_entropy;

static bool is_ignored(const cross_entropy *c, int64_t label)
{
    return c->ignores && label == c->ignored;
}

static float *buffer(const cross_entropy *c, int worker, int which)
{
    return c->rows + ((int64_t)worker * 2 + which) * c->lines.length;
}

/* The pieces that both directions need; the labels are checked here. */
static rapt_status begin(rapt_call *call, cross_entropy *c)
{
    const rapt_view *logits = call->inputs[0], *targets = call->inputs[1];
    rapt_walk walk;
    c->loops = rapt_loops_select(call->host);
    c->ignores = call->attrs[ATTR_IGNORE].present != 0;
    c->ignored = call->attrs[ATTR_IGNORE].i[0];
    rapt_labels_begin(&c->labels, call, targets);
    const rapt_status status =
        rapt_labels_check(call, &c->labels, targets, "targets", logits->shape[logits->ndim - 1],
                          c->ignores ? &c->ignored : NULL);
    if (status != RAPT_OK)
        return status;
    rapt_walk_begin(&walk, call, logits->ndim, logits->shape);
    rapt_walk_add(&walk, logits);
    if (call->phase == RAPT_BACKWARD)
        rapt_walk_add(&walk, call->grad_inputs[0]);
    rapt_lines_begin(&c->lines, &walk, logits->ndim - 1);
    const size_t rows = (size_t)call->host->workers() * 2;
    c->rows = call->host->scratch(call, (rows * (size_t)c->lines.length + 1) * sizeof(float));
    return c->rows != NULL ? RAPT_OK : RAPT_NO_MEMORY;
}

/* Rows that count towards the mean. */
static int64_t counted(const cross_entropy *c)
{
    int64_t count = 0;
    for (int64_t i = 0; i < c->labels.count; i++)
        count += !is_ignored(c, rapt_label(&c->labels, i));
    return count;
}

/* 1 for a sum; for a mean 1 / the rows that count, 0 if there are none. */
static double loss_scale(const rapt_call *call, const cross_entropy *c)
{
    const int64_t count = counted(c);
    if (call->attrs[ATTR_REDUCTION].i[0] != REDUCE_MEAN)
        return 1;
    return count > 0 ? 1 / (double)count : 0;
}

/* --- Forward -------------------------------------------------------------------------------- */

static double log_sum_exp(const cross_entropy *c, const float *x, float *row)
{
    const float top = c->loops->max(c->lines.length, x);
    if (top == -INFINITY)
        return -INFINITY;
    return (double)top +
           log(c->loops->exp_shifted(c->lines.along.math, c->lines.length, x, top, row));
}

static void forward_task(void *context, int64_t first, int64_t last, int worker)
{
    const cross_entropy *c = context;
    for (int64_t i = first; i < last; i++) {
        const int64_t label = rapt_label(&c->labels, i);
        c->losses[i] = 0;
        if (is_ignored(c, label)) {
            if (c->lse != NULL)
                c->lse[i] = 0;
            continue;
        }
        const float *x = rapt_line_load(&c->lines, LOGITS, i, buffer(c, worker, 0));
        const double lse = log_sum_exp(c, x, buffer(c, worker, 1));
        c->losses[i] = lse - (double)x[label];
        if (c->lse != NULL)
            c->lse[i] = (float)lse;
    }
}

static rapt_status forward(rapt_call *call)
{
    cross_entropy c = {.lse = call->saved != NULL && call->saved[0] != NULL
                                  ? rapt_view_data(call->saved[0])
                                  : NULL};
    const rapt_view *loss = call->outputs[0];
    rapt_status status = begin(call, &c);
    if (status != RAPT_OK)
        return status;
    const int64_t rows = c.labels.count;
    c.losses = call->host->scratch(call, (size_t)(rows + 1) * sizeof *c.losses);
    if (c.losses == NULL)
        return RAPT_NO_MEMORY;
    if (rows > 0)
        call->host->parallel_for(call, rows, rapt_grain(RAPT_PIECE, c.lines.length), forward_task,
                                 &c);
    if (call->attrs[ATTR_REDUCTION].i[0] == REDUCE_NONE) {
        if (rows > 0)
            rapt_store_values(rapt_ops_math(call), rapt_view_dtype(loss), rapt_view_data(loss), 0,
                              rows, c.losses);
        return RAPT_OK;
    }
    double total = 0;
    for (int64_t i = 0; i < rows; i++)
        total += c.losses[i];
    total *= loss_scale(call, &c);
    rapt_store_values(rapt_ops_math(call), rapt_view_dtype(loss), rapt_view_data(loss), 0, 1,
                      &total);
    return RAPT_OK;
}

/* --- Backward ------------------------------------------------------------------------------- */

/* dx = (softmax(x) - [label]) * g */
static void backward_task(void *context, int64_t first, int64_t last, int worker)
{
    const cross_entropy *c = context;
    const rapt_math_service *math = c->lines.along.math;
    const int64_t n = c->lines.length;
    for (int64_t i = first; i < last; i++) {
        const int64_t label = rapt_label(&c->labels, i);
        float *dx = rapt_line_target(&c->lines, DLOGITS, i, buffer(c, worker, 1));
        float g;
        if (is_ignored(c, label)) {
            memset(dx, 0, (size_t)n * sizeof *dx);
        } else {
            const float *x = rapt_line_load(&c->lines, LOGITS, i, buffer(c, worker, 0));
            const float slope = *rapt_walk_load(&c->grads, 0, i, 1, &g) * (float)c->scale;
            c->loops->exp_shifted(math, n, x, c->lse[i], dx);
            c->loops->normalise(n, dx, 0, slope, NULL, NULL, dx);
            dx[label] -= slope;
        }
        rapt_line_store(&c->lines, DLOGITS, i, dx);
    }
}

static rapt_status backward(rapt_call *call)
{
    static const int64_t nothing[RAPT_MAX_DIMS];
    const rapt_view *targets = call->inputs[1], *g = call->grad_outputs[0];
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    cross_entropy c = {.lse = rapt_view_data(call->saved[0])};
    const rapt_status status = begin(call, &c);
    if (status != RAPT_OK || c.labels.count == 0)
        return status;
    c.scale = loss_scale(call, &c);
    rapt_walk_begin(&c.grads, call, targets->ndim, targets->shape);
    if (g->ndim == targets->ndim)
        rapt_walk_add(&c.grads, g);
    else
        rapt_walk_add_strided(&c.grads, rapt_view_data(g), rapt_view_dtype(g), nothing);
    rapt_walk_end(&c.grads);
    call->host->parallel_for(call, c.labels.count, rapt_grain(RAPT_PIECE, c.lines.length),
                             backward_task, &c);
    return RAPT_OK;
}

/* --- Description ---------------------------------------------------------------------------- */

static rapt_status infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    const rapt_view *targets = call->inputs[1];
    ndims[0] = 0;
    if (call->attrs[ATTR_REDUCTION].i[0] != REDUCE_NONE)
        return RAPT_OK;
    ndims[0] = targets->ndim;
    for (int32_t d = 0; d < targets->ndim; d++)
        shapes[0][d] = targets->shape[d];
    return RAPT_OK;
}

static const rapt_arg inputs[] = {
    RAPT_REAL("logits: ... V", "unnormalised log-probabilities of V classes"),
    RAPT_OTHER("targets: ...", RAPT_INTEGERS, 0, "class labels, from 0"),
};
static const rapt_arg outputs[] = {
    RAPT_REAL("loss: *", "a scalar, or in the shape of targets without reduction")};
static const rapt_attr attrs[] = {
    RAPT_ATTR("reduction", RAPT_ATTR_CHOICE, "mean", "what becomes of the rows' losses",
              .choices = "mean|sum|none"),
    RAPT_ATTR("ignore_index", RAPT_ATTR_INT, NULL,
              "rows with this label have loss 0, no gradient, and do not count in the mean"),
};
static const rapt_arg saved[] = {
    RAPT_OTHER("lse: ...", "f32", 0, "log sum exp of each row of logits")};
static const rapt_kernel kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .saved = saved, .n_saved = 1, .forward = forward,
     .backward = backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .saved = saved, .n_saved = 1,
     .workspace = rapt_vulkan_cross_entropy_workspace, .forward = rapt_vulkan_cross_entropy_forward,
     .backward = rapt_vulkan_cross_entropy_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("cross_entropy"), .title = "Cross entropy with class labels",
     .doc =
         "loss = log sum_v exp(logits_v) - logits_target for each row, then their mean or sum. "
         "A mean over no rows is 0. Labels must lie within 0 <= label < V. A GPU does not wait for "
         "the labels to be looked at: there the loss of a row with a wrong one is NaN.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), RAPT_ATTRS(attrs), .flops = "13 * leading * V",
     .flops_backward = "13 * leading * V", .example = "...=5 V=65", RAPT_KERNEL(kernel),
     .infer = infer},
};

const rapt_group rapt_ops_loss = {operators, RAPT_COUNT(operators)};
