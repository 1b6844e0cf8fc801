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

/* One query: where its rows begin, the keys begin <= j < end that it sees, its key position. */
typedef struct query {
    const reference_attention *t;
    const reference_variant *f;
    int64_t b, h, i, row, begin, end, place;
    const double *q, *k, *v;
    int64_t kv; /* rows of keys and values before those of its head */
    double most, sum;
} query;

static void look(query *x)
{
    const reference_attention *t = x->t;
    int64_t before = 0, after = t->N;
    x->begin = 0;
    x->end = t->M;
    for (int64_t s = 0; s + 1 < t->borders; s++)
        if (t->cu_q[s] <= x->i && x->i < t->cu_q[s + 1]) {
            before = t->cu_q[s], after = t->cu_q[s + 1];
            x->begin = t->cu_k[s], x->end = t->cu_k[s + 1];
        }
    /* aligned at the ends: the query n before the last stands at the key n before the last */
    x->place = x->begin + (x->i - before) + (x->end - x->begin) - (after - before);
    const int64_t first = x->begin, last = x->end;
    while (x->end > first && t->causal && x->end - 1 > x->place)
        x->end--;
    while (t->windowed && t->window[1] >= 0 && x->end > first &&
           x->end - 1 - x->place > t->window[1])
        x->end--;
    while (t->windowed && t->window[0] >= 0 && x->begin < last &&
           x->place - x->begin > t->window[0])
        x->begin++;
}

static double tau_q(const query *x)
{
    return x->t->tau_q ? x->t->tau_q[x->row] : 1;
}

static double tau_v(const query *x, int64_t j)
{
    return x->t->tau_v ? x->t->tau_v[(x->b * x->t->H + x->h) * x->t->M + j] : 1;
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t d = 0; d < n; d++)
        sum += a[d] * b[d];
    return sum;
}

static double cap_of(const reference_attention *t, double s)
{
    return t->softcap > 0 && s != -INFINITY ? t->softcap * tanh(s / t->softcap) : s;
}

/* The score before softcap. */
static double raw_score(const query *x, int64_t j)
{
    const reference_attention *t = x->t;
    double s = t->scale * tau_q(x) * dot(x->q, x->k + j * t->D, t->D);
    if (t->bias)
        s += *bias_at((double *)(uintptr_t)t->bias, t->bias_shape, x->b, x->h, x->i, j);
    return s;
}

static double distance(const query *x, int64_t j)
{
    return fabs((double)(x->place - j));
}

static void forward(query *x, double *s, double *p)
{
    const reference_attention *t = x->t;
    x->most = t->sink ? t->sink[x->h] : -INFINITY;
    for (int64_t j = x->begin; j < x->end; j++) {
        s[j] = cap_of(t, raw_score(x, j));
        if (t->alibi)
            s[j] -= t->alibi[x->h] * distance(x, j);
        x->most = fmax(x->most, logit_of(x->f, s[j]));
    }
    x->sum = t->sink && x->most != -INFINITY ? exp(t->sink[x->h] - x->most) : 0;
    for (int64_t j = x->begin; j < x->end; j++)
        x->sum += p[j] = x->most == -INFINITY ? 0 : exp(logit_of(x->f, s[j]) - x->most);
    if (t->lse)
        t->lse[x->row] = x->sum > 0 ? x->most + log(x->sum) : -INFINITY;
    for (int64_t e = 0; t->o && e < t->E; e++)
        t->o[x->row * t->E + e] = 0;
    for (int64_t j = 0; t->weights && j < t->M; j++)
        t->weights[x->row * t->M + j] = 0;
    for (int64_t j = x->begin; x->sum > 0 && j < x->end; j++) {
        p[j] /= x->sum;
        const double w = p[j] > 0 ? x->f->factor(s[j]) * p[j] * tau_v(x, j) : 0;
        if (t->weights)
            t->weights[x->row * t->M + j] = w;
        for (int64_t e = 0; t->o && e < t->E; e++)
            t->o[x->row * t->E + e] += w * x->v[j * t->E + e];
    }
}

/* What one visible pair gives: the weight w = f p and the gradient of the score. */
static void backward_pair(const query *x, int64_t j, double w, double ds)
{
    const reference_attention *t = x->t;
    const double *k = x->k + j * t->D, *v = x->v + j * t->E;
    if (t->grad_alibi)
        t->grad_alibi[x->h] -= ds * distance(x, j);
    if (t->softcap > 0) {
        const double u = tanh(raw_score(x, j) / t->softcap);
        ds *= 1 - u * u;
    }
    for (int64_t d = 0; d < t->D; d++) {
        if (t->grad_q)
            t->grad_q[x->row * t->D + d] += t->scale * tau_q(x) * ds * k[d];
        if (t->grad_k)
            t->grad_k[(x->kv + j) * t->D + d] += t->scale * tau_q(x) * ds * x->q[d];
    }
    if (t->grad_tau_q)
        t->grad_tau_q[x->row] += t->scale * ds * dot(x->q, k, t->D);
    for (int64_t e = 0; t->grad_v && t->grad_o && e < t->E; e++)
        t->grad_v[(x->kv + j) * t->E + e] += w * tau_v(x, j) * t->grad_o[x->row * t->E + e];
    if (t->grad_tau_v && t->grad_o)
        t->grad_tau_v[(x->b * t->H + x->h) * t->M + j] +=
            w * dot(t->grad_o + x->row * t->E, v, t->E);
    if (t->grad_bias)
        *bias_at(t->grad_bias, t->bias_shape, x->b, x->h, x->i, j) += ds;
}

static void backward(const query *x, const double *s, const double *p)
{
    const reference_attention *t = x->t;
    const reference_variant *f = x->f;
    double delta = t->grad_lse ? -t->grad_lse[x->row] : 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = x->begin; j < x->end; j++) {
            if (p[j] == 0)
                continue;
            const double dw =
                t->grad_o ? tau_v(x, j) * dot(t->grad_o + x->row * t->E, x->v + j * t->E, t->E) : 0;
            if (pass == 0)
                delta += p[j] * f->factor(s[j]) * dw;
            else
                backward_pair(x, j, f->factor(s[j]) * p[j],
                              p[j] * (f->factor(s[j]) * dw - delta) * f->logit_slope(s[j]) +
                                  p[j] * dw * f->factor_slope(s[j]));
        }
    if (t->grad_sink)
        t->grad_sink[x->h] -= exp(t->sink[x->h] - x->most) / x->sum * delta;
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
    clear(t->grad_alibi, t->H);
    clear(t->grad_sink, t->H);
    clear(t->grad_tau_q, t->B * t->H * t->N);
    clear(t->grad_tau_v, t->B * t->H * t->M);
    for (int64_t row = 0; row < t->B * t->H * t->N; row++) {
        query x = {.t = t, .f = variant, .row = row, .i = row % t->N};
        x.h = row / t->N % t->H;
        x.b = row / t->N / t->H;
        x.kv = (x.b * t->G + x.h * t->G / t->H) * t->M;
        x.q = t->q + row * t->D;
        x.k = t->k + x.kv * t->D;
        x.v = t->v ? t->v + x.kv * t->E : NULL;
        look(&x);
        forward(&x, s, s + t->M);
        if ((t->grad_o || t->grad_lse) && x.sum > 0)
            backward(&x, s, s + t->M);
    }
    free(s);
    return true;
}
