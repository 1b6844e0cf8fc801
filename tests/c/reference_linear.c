#include "reference_linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int reference_level(int64_t t, int64_t s)
{
    int level = 0;
    for (int64_t differ = t ^ s; differ; differ >>= 1)
        level++;
    return level;
}

static double dot(int64_t n, const double *a, const double *b)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void axpy(int64_t n, double factor, const double *x, double *y)
{
    if (y)
        for (int64_t i = 0; i < n; i++)
            y[i] += factor * x[i];
}

/* One head of one sequence. Rows are at offsets of the arrays, gradients may be NULL. */
typedef struct linear_head {
    const reference_linear *task;
    int64_t n, at_q, at_v, at_state; /* first rows of q and v, state */
    double *sum, *d_sum;             /* decays summed up to each position */
} linear_head;

static double *row(double *base, int64_t at, int64_t width)
{
    return base ? base + at * width : NULL;
}

static void pair(const linear_head *x, int64_t t, int64_t s)
{
    const reference_linear *a = x->task;
    const int level = reference_level(t, s);
    const double *q = a->q + (x->at_q + t) * a->D, *k = a->k + (x->at_q + s) * a->D;
    const double *v = a->v + (x->at_v + s) * a->E;
    const double weight = a->l ? a->l[(x->at_v + t) * a->L + level] : 1;
    const double decay = exp(x->sum[t] - x->sum[s]), product = a->scale * dot(a->D, q, k);
    axpy(a->E, weight * decay * product, v, row(a->o, x->at_v + t, a->E));
    if (!a->grad_o)
        return;
    const double *grad = a->grad_o + (x->at_v + t) * a->E;
    const double said = dot(a->E, grad, v);
    axpy(a->D, a->scale * weight * decay * said, k, row(a->grad_q, x->at_q + t, a->D));
    axpy(a->D, a->scale * weight * decay * said, q, row(a->grad_k, x->at_q + s, a->D));
    axpy(a->E, weight * decay * product, grad, row(a->grad_v, x->at_v + s, a->E));
    x->d_sum[t] += weight * decay * product * said;
    x->d_sum[s] -= weight * decay * product * said;
    if (a->grad_l)
        a->grad_l[(x->at_v + t) * a->L + level] += decay * product * said;
}

/* What the state before gives position t. */
static void from_state(const linear_head *x, int64_t t)
{
    const reference_linear *a = x->task;
    const double *q = a->q + (x->at_q + t) * a->D;
    const double decay = a->scale * exp(x->sum[t]);
    for (int64_t d = 0; d < a->D; d++) {
        const double *state = a->state + x->at_state + d * a->E;
        axpy(a->E, decay * q[d], state, row(a->o, x->at_v + t, a->E));
        if (!a->grad_o)
            continue;
        const double *grad = a->grad_o + (x->at_v + t) * a->E;
        const double said = decay * dot(a->E, state, grad);
        if (a->grad_q)
            a->grad_q[(x->at_q + t) * a->D + d] += said;
        x->d_sum[t] += q[d] * said;
        if (a->grad_state)
            axpy(a->E, decay * q[d], grad, a->grad_state + x->at_state + d * a->E);
    }
}

/* What position s, or the state before for s = -1, gives the state after. */
static void to_state(const linear_head *x, int64_t s)
{
    const reference_linear *a = x->task;
    const int64_t last = x->n - 1;
    const double total = last >= 0 ? x->sum[last] : 0;
    const double decay = exp(total - (s < 0 ? 0 : x->sum[s]));
    for (int64_t d = 0; d < a->D; d++) {
        const double *source =
            s < 0 ? a->state + x->at_state + d * a->E : a->v + (x->at_v + s) * a->E;
        const double key = s < 0 ? 1 : a->k[(x->at_q + s) * a->D + d];
        if (a->final)
            axpy(a->E, decay * key, source, a->final + x->at_state + d * a->E);
        if (!a->grad_final)
            continue;
        const double *grad = a->grad_final + x->at_state + d * a->E;
        const double said = decay * dot(a->E, source, grad);
        if (s >= 0)
            axpy(a->E, decay * key, grad, row(a->grad_v, x->at_v + s, a->E));
        else if (a->grad_state)
            axpy(a->E, decay, grad, a->grad_state + x->at_state + d * a->E);
        if (s >= 0 && a->grad_k)
            a->grad_k[(x->at_q + s) * a->D + d] += said;
        if (last >= 0)
            x->d_sum[last] += key * said;
        if (s >= 0)
            x->d_sum[s] -= key * said;
    }
}

static void one_head(const linear_head *x, int64_t head)
{
    const reference_linear *a = x->task;
    double total = 0;
    for (int64_t t = 0; t < x->n; t++) {
        total += a->g ? a->g[x->at_v + t] : a->slope ? -a->slope[head] : 0;
        x->sum[t] = total;
        x->d_sum[t] = 0;
    }
    for (int64_t t = 0; t < x->n; t++) {
        for (int64_t s = 0; s <= t; s++)
            pair(x, t, s);
        if (a->state)
            from_state(x, t);
    }
    for (int64_t s = a->state ? -1 : 0; s < x->n && (a->final || a->grad_final); s++)
        to_state(x, s);
    double rate = 0;
    for (int64_t t = x->n - 1; t >= 0; t--) {
        rate += x->d_sum[t];
        if (a->grad_g)
            a->grad_g[x->at_v + t] = rate;
        if (a->grad_slope)
            a->grad_slope[head] -= rate;
    }
}

static void zero(double *x, int64_t n)
{
    if (x)
        memset(x, 0, sizeof(double) * (size_t)n);
}

bool reference_linear_run(const reference_linear *a)
{
    double *memory = malloc(sizeof(double) * (size_t)(2 * a->N + 1));
    if (!memory)
        return false;
    zero(a->o, a->B * a->H * a->N * a->E);
    zero(a->final, a->sequences * a->H * a->D * a->E);
    zero(a->grad_q, a->B * a->G * a->N * a->D);
    zero(a->grad_k, a->B * a->G * a->N * a->D);
    zero(a->grad_v, a->B * a->H * a->N * a->E);
    zero(a->grad_g, a->B * a->H * a->N);
    zero(a->grad_l, a->B * a->H * a->N * a->L);
    zero(a->grad_slope, a->H);
    zero(a->grad_state, a->sequences * a->H * a->D * a->E);
    for (int64_t i = 0; i < a->sequences; i++)
        for (int64_t h = 0; h < a->H; h++) {
            const int64_t b = a->borders ? 0 : i, first = a->borders ? a->borders[i] : 0;
            const linear_head head = {
                .task = a,
                .n = a->borders ? a->borders[i + 1] - first : a->N,
                .at_q = (b * a->G + h * a->G / a->H) * a->N + first,
                .at_v = (b * a->H + h) * a->N + first,
                .at_state = (i * a->H + h) * a->D * a->E,
                .sum = memory,
                .d_sum = memory + a->N,
            };
            one_head(&head, h);
        }
    free(memory);
    return true;
}

bool reference_linear_long(int64_t n, int64_t d, int64_t e, double slope, const double *q,
                           const double *k, const double *v, double *o)
{
    double *state = calloc((size_t)(d * e), sizeof *state);
    if (!state)
        return false;
    for (int64_t t = 0; t < n; t++) {
        zero(o + t * e, e);
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < e; j++) {
                double *s = &state[i * e + j];
                *s = exp(-slope) * *s + k[t * d + i] * v[t * e + j];
                o[t * e + j] += q[t * d + i] * *s;
            }
    }
    free(state);
    return true;
}

/* --- flow ------------------------------------------------------------------------------------- */

typedef struct flow_numbers {
    double *q, *k;                   /* sigmoids */
    double *inc, *out, *cs, *weight; /* weight: e^clip(cr) */
} flow_numbers;

/* (x + eps) . (sum_{i < n} factor_i y_i + eps), factor NULL: 1 */
static double against(const reference_flow *a, const double *x, int64_t n, const double *factor,
                      const double *y)
{
    double result = 0;
    for (int64_t c = 0; c < a->D; c++) {
        double sum = a->eps;
        for (int64_t i = 0; i < n; i++)
            sum += (factor ? factor[i] : 1) * y[i * a->D + c];
        result += (x[c] + a->eps) * sum;
    }
    return result;
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

static void flow_rows(const reference_flow *a, const flow_numbers *f)
{
    const int64_t D = a->D;
    for (int64_t i = 0; i < a->N; i++)
        f->inc[i] = (a->causal ? (double)(i + 1) : 1) /
                    against(a, f->q + i * D, a->causal ? i + 1 : a->M, NULL, f->k);
    for (int64_t j = 0; j < a->M; j++)
        f->out[j] = (a->causal ? (double)(j + 1) : 1) /
                    against(a, f->k + j * D, a->causal ? j + 1 : a->N, NULL, f->q);
    for (int64_t i = 0; i < a->N; i++)
        f->cs[i] = against(a, f->q + i * D, a->causal ? i + 1 : a->M, f->out, f->k) /
                   (a->causal ? (double)(i + 1) : 1);
    for (int64_t j = 0; j < a->M; j++) {
        const double cr = against(a, f->k + j * D, a->causal ? j + 1 : a->N, f->inc, f->q) /
                          (a->causal ? (double)(j + 1) : 1);
        f->weight[j] = exp(fmin(fmax(cr, -a->clamp), a->clamp));
    }
}

bool reference_flow_run(const reference_flow *a)
{
    const int64_t N = a->N, M = a->M, D = a->D;
    double *memory = malloc(sizeof(double) * (size_t)((N + M) * (D + 2) + 1));
    if (!memory)
        return false;
    flow_numbers f = {.q = memory, .k = memory + N * D, .inc = memory + (N + M) * D};
    f.cs = f.inc + N;
    f.out = f.cs + N;
    f.weight = f.out + M;
    for (int64_t i = 0; i < N * D; i++)
        f.q[i] = logistic(a->q[i]);
    for (int64_t i = 0; i < M * D; i++)
        f.k[i] = logistic(a->k[i]);
    flow_rows(a, &f);
    double total = 0;
    for (int64_t j = 0; j < M; j++)
        total += f.weight[j];
    zero(a->o, N * a->E);
    for (int64_t i = 0; i < N; i++) {
        const double t = a->causal ? (double)(i + 1) : 1;
        const double gate = logistic(a->causal ? f.cs[i] : f.cs[i] * (double)N / (double)M);
        double seen = 0;
        for (int64_t j = 0; j < (a->causal ? i + 1 : M); j++) {
            seen += f.weight[j];
            const double comp =
                a->causal ? (double)(j + 1) * f.weight[j] / seen : (double)M * f.weight[j] / total;
            const double product = dot(D, f.q + i * D, f.k + j * D);
            axpy(a->E, gate * f.inc[i] / t * product * comp, a->v + j * a->E, a->o + i * a->E);
        }
    }
    free(memory);
    return true;
}
