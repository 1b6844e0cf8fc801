/*
 * Merging two results of attention over disjoint keys: outputs weighted by what their logarithmic
 * sums say (Dao et al., arXiv 2205.14135; Milakov and Gimelshein, arXiv 1805.02867).
 */
#include "ops/common.h"

#include <math.h>

/* Inputs; operands of forward and backward: rows, and one number a row. */
enum { IN_A, IN_A_LSE, IN_B, IN_B_LSE };
enum { A, B, OUT, DA = 3, DB = 4 }; /* OUT: o, or its gradient */
enum { ROW_A, ROW_B, ROW_OUT, ROW_GRAD, ROW_BUFFERS };

typedef struct merge {
    rapt_lines rows;
    rapt_walk sums;
    bool has_rows, has_sums;            /* OUT is there; the third operand of `sums` is */
    int32_t row_a, row_b, sum_a, sum_b; /* operands of gradients, 0: not wanted */
    float *buffers;                     /* ROW_BUFFERS rows for each worker */
} merge;

/* Shares of the two sums in the whole; both 0 where there is nothing. Returns its logarithm. */
static double weigh(double a, double b, double *share_a, double *share_b)
{
    const double top = fmax(a, b);
    *share_a = *share_b = 0;
    if (top == -INFINITY)
        return top;
    const double part_a = exp(a - top), part_b = exp(b - top), whole = part_a + part_b;
    *share_a = part_a / whole;
    *share_b = part_b / whole;
    return top + log(whole);
}

static double number(const rapt_walk *walk, int k, int64_t i)
{
    float value;
    return (double)*rapt_walk_load(walk, k, i, 1, &value);
}

static void put_number(const rapt_walk *walk, int k, int64_t i, double x)
{
    float value;
    float *target = rapt_walk_target(walk, k, i, &value);
    *target = (float)x;
    rapt_walk_store(walk, k, i, 1, target);
}

static float *buffer(const merge *m, int worker, int which)
{
    return m->buffers + ((int64_t)worker * ROW_BUFFERS + which) * m->rows.length;
}

/* out = share x, and 0 where the share is 0 whatever x is. */
static void scale(const merge *m, double share, const float *x, float *out)
{
    for (int64_t e = 0; e < m->rows.length; e++)
        out[e] = share == 0 ? 0 : (float)share * x[e];
}

static void forward_task(void *context, int64_t begin, int64_t end, int worker)
{
    const merge *m = context;
    for (int64_t i = begin; i < end; i++) {
        double share_a, share_b;
        const double lse =
            weigh(number(&m->sums, 0, i), number(&m->sums, 1, i), &share_a, &share_b);
        if (m->has_sums)
            put_number(&m->sums, 2, i, lse);
        if (!m->has_rows)
            continue;
        const float *a = rapt_line_load(&m->rows, A, i, buffer(m, worker, ROW_A));
        const float *b = rapt_line_load(&m->rows, B, i, buffer(m, worker, ROW_B));
        float *o = rapt_line_target(&m->rows, OUT, i, buffer(m, worker, ROW_OUT));
        scale(m, share_a, a, o);
        for (int64_t e = 0; share_b != 0 && e < m->rows.length; e++)
            o[e] += (float)share_b * b[e];
        rapt_line_store(&m->rows, OUT, i, o);
    }
}

static void put_row(const merge *m, int k, int64_t i, double share, const float *grad, float *row)
{
    float *target;
    if (k == 0)
        return;
    target = rapt_line_target(&m->rows, k, i, row);
    scale(m, share, grad, target);
    rapt_line_store(&m->rows, k, i, target);
}

/* d lse_a = share_a (share_b do.(a - b) + dlse), and the other way round. */
static void backward_task(void *context, int64_t begin, int64_t end, int worker)
{
    const merge *m = context;
    for (int64_t i = begin; i < end; i++) {
        double share_a, share_b, apart = 0;
        weigh(number(&m->sums, 0, i), number(&m->sums, 1, i), &share_a, &share_b);
        const double sum = m->has_sums ? number(&m->sums, 2, i) : 0;
        if (m->has_rows) {
            const float *a = rapt_line_load(&m->rows, A, i, buffer(m, worker, ROW_A));
            const float *b = rapt_line_load(&m->rows, B, i, buffer(m, worker, ROW_B));
            const float *grad = rapt_line_load(&m->rows, OUT, i, buffer(m, worker, ROW_OUT));
            for (int64_t e = 0; share_a != 0 && share_b != 0 && e < m->rows.length; e++)
                apart += (double)grad[e] * ((double)a[e] - (double)b[e]);
            put_row(m, m->row_a, i, share_a, grad, buffer(m, worker, ROW_GRAD));
            put_row(m, m->row_b, i, share_b, grad, buffer(m, worker, ROW_GRAD));
        }
        if (m->sum_a)
            put_number(&m->sums, m->sum_a, i, share_a * (share_b * apart + sum));
        if (m->sum_b)
            put_number(&m->sums, m->sum_b, i, share_b * (sum - share_a * apart));
    }
}

/* Lays out rows and numbers; `rows` and `sums` are the output, or its gradient, of either. */
static rapt_status begin(rapt_call *call, merge *m, const rapt_view *rows, const rapt_view *sums,
                         rapt_view *const *grads)
{
    const rapt_view *a = call->inputs[IN_A];
    rapt_walk walk;
    rapt_walk_begin(&walk, call, a->ndim, a->shape);
    rapt_walk_add(&walk, a);
    rapt_walk_add(&walk, call->inputs[IN_B]);
    m->has_rows = rows != NULL;
    rapt_walk_add(&walk, m->has_rows ? rows : a);
    rapt_walk_begin(&m->sums, call, a->ndim - 1, a->shape);
    rapt_walk_add(&m->sums, call->inputs[IN_A_LSE]);
    rapt_walk_add(&m->sums, call->inputs[IN_B_LSE]);
    m->has_sums = sums != NULL;
    rapt_walk_add(&m->sums, m->has_sums ? sums : call->inputs[IN_A_LSE]);
    if (grads && grads[IN_A] && m->has_rows)
        m->row_a = walk.n, rapt_walk_add(&walk, grads[IN_A]);
    if (grads && grads[IN_B] && m->has_rows)
        m->row_b = walk.n, rapt_walk_add(&walk, grads[IN_B]);
    if (grads && grads[IN_A_LSE])
        m->sum_a = m->sums.n, rapt_walk_add(&m->sums, grads[IN_A_LSE]);
    if (grads && grads[IN_B_LSE])
        m->sum_b = m->sums.n, rapt_walk_add(&m->sums, grads[IN_B_LSE]);
    rapt_lines_begin(&m->rows, &walk, a->ndim - 1);
    rapt_walk_end(&m->sums);
    const size_t floats = (size_t)call->host->workers() * ROW_BUFFERS * (size_t)m->rows.length;
    m->buffers = call->host->scratch(call, (floats + 1) * sizeof(float));
    return m->buffers ? RAPT_OK : RAPT_NO_MEMORY;
}

static void run(rapt_call *call, merge *m, rapt_task task)
{
    if (m->rows.count > 0)
        call->host->parallel_for(call, m->rows.count, rapt_grain(RAPT_PIECE, m->rows.length + 1),
                                 task, m);
}

static rapt_status forward(rapt_call *call)
{
    merge m = {0};
    const rapt_status status = begin(call, &m, call->outputs[0], call->outputs[1], NULL);
    if (status == RAPT_OK)
        run(call, &m, forward_task);
    return status;
}

/* Without a gradient of o those of a and b are 0. */
static void clear(rapt_call *call, const rapt_view *view)
{
    rapt_walk walk;
    if (view == NULL)
        return;
    rapt_walk_begin(&walk, call, view->ndim, view->shape);
    rapt_walk_add(&walk, view);
    rapt_walk_end(&walk);
    for (int64_t i = 0; i < walk.count; i += RAPT_BLOCK) {
        float zeros[RAPT_BLOCK];
        const int64_t n = walk.count - i < RAPT_BLOCK ? walk.count - i : RAPT_BLOCK;
        float *target = rapt_walk_target(&walk, 0, i, zeros);
        for (int64_t j = 0; j < n; j++)
            target[j] = 0;
        rapt_walk_store(&walk, 0, i, n, target);
    }
}

static rapt_status backward(rapt_call *call)
{
    merge m = {0};
    const rapt_status status =
        begin(call, &m, call->grad_outputs[0], call->grad_outputs[1], call->grad_inputs);
    if (status != RAPT_OK)
        return status;
    run(call, &m, backward_task);
    if (!m.has_rows) {
        clear(call, call->grad_inputs[IN_A]);
        clear(call, call->grad_inputs[IN_B]);
    }
    return RAPT_OK;
}

/* --- Description ---------------------------------------------------------------------------- */

#define SUM(text, what)                                                                            \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE, .spec = (text), .dtype = "f32",    \
        .doc = (what)                                                                              \
    }
static const rapt_arg inputs[] = {
    RAPT_REAL("a: ... E", "the output over some of the keys"), SUM("a_lse: ...", "its log-sum-exp"),
    RAPT_REAL("b: ... E", "the output over the other keys"), SUM("b_lse: ...", "its log-sum-exp")};
static const rapt_arg outputs[] = {RAPT_REAL("o: ... E", "the output over all keys"),
                                   SUM("lse: ...", "the log-sum-exp over all keys")};
static const rapt_kernel kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .forward = forward,
     .backward = backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES,
     .forward = rapt_vulkan_merge_forward, .backward = rapt_vulkan_merge_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("merge"), .title = "Merge of two attentions",
     .doc =
         "lse = log(e^a_lse + e^b_lse), o = e^(a_lse - lse) a + e^(b_lse - lse) b: what a "
         "normalised attention gives over the keys of both together. Where a log-sum-exp is -inf "
         "its output counts for nothing; where both are, o is 0.",
     .paper = "arXiv 2205.14135", RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs),
     .flops = "leading*(3*E+10)", .flops_backward = "leading*(5*E+20)",
     .example = "...=2,3,33 E=16", RAPT_KERNEL(kernel)},
};

const rapt_group rapt_ops_merge = {operators, RAPT_COUNT(operators)};
