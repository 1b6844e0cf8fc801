#include "reference_attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double same(double s)
{
    return s;
}

static double one(double s)
{
    (void)s;
    return 1.0;
}

static double zero(double s)
{
    (void)s;
    return 0.0;
}

static double sign(double s)
{
    return s > 0 ? 1.0 : s < 0 ? -1.0 : 0.0;
}

static double cap(double s)
{
    return 4 * tanh(s / 4);
}

static double cap_slope(double s)
{
    return 1 - tanh(s / 4) * tanh(s / 4);
}

static double gate(double s)
{
    return 1 / (1 + exp(-s));
}

static double gate_slope(double s)
{
    return gate(s) * (1 - gate(s));
}

static const reference_variant reference_capped = {cap, cap_slope, gate, gate_slope};
static const reference_variant reference_softmax = {same, one, one, zero};
static const reference_variant reference_cog = {fabs, sign, sign, zero};

static double *bias_at(double *bias, const int64_t *shape, int64_t b, int64_t h, int64_t i,
                       int64_t j)
{
    const int64_t at[4] = {b, h, i, j};
    int64_t offset = 0;
    for (int d = 0; d < 4; d++)
        offset = offset * shape[d] + (shape[d] == 1 ? 0 : at[d]);
    return bias + offset;
}

static void clear(double *x, int64_t n)
{
    if (x)
        memset(x, 0, sizeof(double) * (size_t)n);
}

/* A score of -infinity hides its key. */
static double logit_of(const reference_variant *f, double s)
{
    return s == -INFINITY ? s : f->logit(s);
}

/* One query. `s` and `p` have M entries: scores and softmax, both 0 where a key is hidden. */
static void run_query(const reference_attention *t, const reference_variant *f, int64_t b,
                      int64_t h, int64_t i, double *s, double *p)
{
    const int64_t g = h * t->G / t->H, row = (b * t->H + h) * t->N + i;
    const int64_t end = t->causal ? i + t->M - t->N + 1 : t->M;
    const double *q = t->q + row * t->D, *k = t->k + (b * t->G + g) * t->M * t->D;
    const double *v = t->v ? t->v + (b * t->G + g) * t->M * t->E : NULL;
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < end; j++) {
        s[j] = 0;
        for (int64_t d = 0; d < t->D; d++)
            s[j] += q[d] * k[j * t->D + d];
        s[j] *= t->scale;
        if (t->bias)
            s[j] += *bias_at((double *)(uintptr_t)t->bias, t->bias_shape, b, h, i, j);
        most = fmax(most, logit_of(f, s[j]));
    }
    for (int64_t j = 0; j < end; j++)
        sum += p[j] = most == -INFINITY ? 0 : exp(logit_of(f, s[j]) - most);
    if (t->lse)
        t->lse[row] = sum > 0 ? most + log(sum) : -INFINITY;
    for (int64_t e = 0; t->o && e < t->E; e++)
        t->o[row * t->E + e] = 0;
    for (int64_t j = 0; t->weights && j < t->M; j++)
        t->weights[row * t->M + j] = 0;
    for (int64_t j = 0; sum > 0 && j < end; j++) {
        p[j] /= sum;
        const double w = p[j] > 0 ? f->factor(s[j]) * p[j] : 0;
        if (t->weights)
            t->weights[row * t->M + j] = w;
        for (int64_t e = 0; t->o && e < t->E; e++)
            t->o[row * t->E + e] += w * v[j * t->E + e];
    }
    if ((!t->grad_o && !t->grad_lse) || sum == 0)
        return;
    double delta = t->grad_lse ? -t->grad_lse[row] : 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j < end; j++) {
            double dw = 0;
            if (p[j] == 0)
                continue;
            for (int64_t e = 0; t->grad_o && e < t->E; e++)
                dw += t->grad_o[row * t->E + e] * v[j * t->E + e];
            if (pass == 0) {
                delta += p[j] * f->factor(s[j]) * dw;
                continue;
            }
            const double ds = p[j] * (f->factor(s[j]) * dw - delta) * f->logit_slope(s[j]) +
                              p[j] * dw * f->factor_slope(s[j]);
            for (int64_t d = 0; d < t->D; d++) {
                if (t->grad_q)
                    t->grad_q[row * t->D + d] += t->scale * ds * k[j * t->D + d];
                if (t->grad_k)
                    t->grad_k[((b * t->G + g) * t->M + j) * t->D + d] += t->scale * ds * q[d];
            }
            for (int64_t e = 0; t->grad_v && t->grad_o && e < t->E; e++)
                t->grad_v[((b * t->G + g) * t->M + j) * t->E + e] +=
                    f->factor(s[j]) * p[j] * t->grad_o[row * t->E + e];
            if (t->grad_bias)
                *bias_at(t->grad_bias, t->bias_shape, b, h, i, j) += ds;
        }
}

const reference_variant *reference_find(const char *op)
{
    if (strcmp(op, "capped") == 0)
        return &reference_capped;
    return strcmp(op, "cog") == 0 ? &reference_cog : &reference_softmax;
}

bool reference_attend(const reference_attention *t, const reference_variant *variant)
{
    double *s = calloc((size_t)t->M * 2 + 1, sizeof(double));
    if (!s)
        return false;
    clear(t->grad_q, t->B * t->H * t->N * t->D);
    clear(t->grad_k, t->B * t->G * t->M * t->D);
    clear(t->grad_v, t->B * t->G * t->M * t->E);
    clear(t->grad_bias, t->bias_shape[0] * t->bias_shape[1] * t->bias_shape[2] * t->bias_shape[3]);
    for (int64_t b = 0; b < t->B; b++)
        for (int64_t h = 0; h < t->H; h++)
            for (int64_t i = 0; i < t->N; i++)
                run_query(t, variant, b, h, i, s, s + t->M);
    free(s);
    return true;
}
