#include "reference_agent.h"

#include "reference_attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows that a bin of one axis covers. */
static void bin(int64_t i, int64_t bins, int64_t length, int64_t *first, int64_t *end)
{
    *first = (int64_t)floor((double)(i * length) / (double)bins);
    *end = (int64_t)ceil((double)((i + 1) * length) / (double)bins);
}

/* Forward: agents = averages of q. Backward: q += what agents' gradients say. */
static void pool(const reference_agent *t, double *agents, double *q, bool backward)
{
    const int64_t side = t->grid[0] ? (int64_t)llround(sqrt((double)t->A)) : 1;
    const int64_t across = t->A / side, rows = t->grid[0] ? t->grid[0] : 1;
    const int64_t columns = t->grid[0] ? t->grid[1] : t->N;
    for (int64_t at = 0; at < t->B * t->H * t->A; at++) {
        const int64_t head = at / t->A, a = at % t->A;
        int64_t y0, y1, x0, x1;
        bin(a / across, side, rows, &y0, &y1);
        bin(a % across, across, columns, &x0, &x1);
        const double share = 1 / (double)((y1 - y0) * (x1 - x0));
        for (int64_t y = y0; y < y1; y++)
            for (int64_t x = x0; x < x1; x++)
                for (int64_t d = 0; d < t->D; d++) {
                    double *from = q + ((head * t->N) + y * columns + x) * t->D + d;
                    double *to = agents + at * t->D + d;
                    if (backward)
                        *from += share * *to;
                    else
                        *to += share * *from;
                }
    }
}

/* One channel of one sample: output, or gradients where grad_o is there. */
static void convolve(const reference_agent *t, int64_t b, int64_t h, int64_t e, bool backward)
{
    const int64_t half = t->R / 2, channel = h * t->E + e, base = (b * t->H + h) * t->N;
    const double *kernel = t->input[AGENT_DWC_WEIGHT] + channel * t->R * t->R;
    const double *bias = t->input[AGENT_DWC_BIAS];
    for (int64_t y = 0; y < t->grid[0]; y++)
        for (int64_t x = 0; x < t->grid[1]; x++) {
            const int64_t at = (base + y * t->grid[1] + x) * t->E + e;
            if (bias && backward)
                t->grad[AGENT_DWC_BIAS][channel] += t->grad_o[at];
            else if (bias)
                t->o[at] += bias[channel];
            for (int64_t tap = 0; tap < t->R * t->R; tap++) {
                const int64_t v = y + tap / t->R - half, u = x + tap % t->R - half;
                if (v < 0 || v >= t->grid[0] || u < 0 || u >= t->grid[1])
                    continue;
                const int64_t from = (base + v * t->grid[1] + u) * t->E + e;
                if (!backward) {
                    t->o[at] += kernel[tap] * t->input[AGENT_V][from];
                    continue;
                }
                t->grad[AGENT_V][from] += kernel[tap] * t->grad_o[at];
                t->grad[AGENT_DWC_WEIGHT][channel * t->R * t->R + tap] +=
                    t->input[AGENT_V][from] * t->grad_o[at];
            }
        }
}

static void convolve_all(const reference_agent *t, bool backward)
{
    for (int64_t b = 0; t->R && b < t->B; b++)
        for (int64_t h = 0; h < t->H; h++)
            for (int64_t e = 0; e < t->E; e++)
                convolve(t, b, h, e, backward);
}

typedef struct middle {
    double *agents, *u, *du, *da[2];
} middle;

/* The attention of agents over keys, and that of queries over agents. */
static reference_attention gather(const reference_agent *t, const middle *m)
{
    return (reference_attention){.B = t->B,
                                 .H = t->H,
                                 .G = t->H,
                                 .N = t->A,
                                 .M = t->M,
                                 .D = t->D,
                                 .E = t->E,
                                 .scale = t->scale,
                                 .softcap = t->softcap,
                                 .q = m->agents,
                                 .k = t->input[AGENT_K],
                                 .v = t->input[AGENT_V],
                                 .bias = t->input[AGENT_AGENT_BIAS],
                                 .bias_shape = {1, t->H, t->A, t->M},
                                 .o = m->u};
}

static reference_attention hand_out(const reference_agent *t, const middle *m)
{
    return (reference_attention){.B = t->B,
                                 .H = t->H,
                                 .G = t->H,
                                 .N = t->N,
                                 .M = t->A,
                                 .D = t->D,
                                 .E = t->E,
                                 .scale = t->scale,
                                 .softcap = t->softcap,
                                 .q = t->input[AGENT_Q],
                                 .k = m->agents,
                                 .v = m->u,
                                 .sink = t->input[AGENT_SINK],
                                 .bias = t->input[AGENT_QUERY_BIAS],
                                 .bias_shape = {1, t->H, t->N, t->A},
                                 .o = t->o};
}

static bool run(const reference_agent *t, middle *m)
{
    const reference_variant *softmax = reference_find("softmax");
    const int64_t heads = t->B * t->H;
    if (t->input[AGENT_AGENTS])
        memcpy(m->agents, t->input[AGENT_AGENTS], sizeof(double) * (size_t)(heads * t->A * t->D));
    else
        pool(t, m->agents, (double *)(uintptr_t)t->input[AGENT_Q], false);
    reference_attention first = gather(t, m), second = hand_out(t, m);
    if (!reference_attend(&first, softmax))
        return false;
    second.grad_o = t->grad_o;
    second.grad_q = t->grad[AGENT_Q];
    second.grad_k = m->da[0];
    second.grad_v = m->du;
    second.grad_bias = t->grad[AGENT_QUERY_BIAS];
    second.grad_sink = t->grad[AGENT_SINK];
    if (!reference_attend(&second, softmax))
        return false;
    first.grad_o = m->du;
    first.grad_q = m->da[1];
    first.grad_k = t->grad[AGENT_K];
    first.grad_v = t->grad[AGENT_V];
    first.grad_bias = t->grad[AGENT_AGENT_BIAS];
    if (!reference_attend(&first, softmax))
        return false;
    for (int64_t i = 0; i < heads * t->A * t->D; i++)
        m->da[0][i] += m->da[1][i];
    if (t->input[AGENT_AGENTS])
        memcpy(t->grad[AGENT_AGENTS], m->da[0], sizeof(double) * (size_t)(heads * t->A * t->D));
    else
        pool(t, m->da[0], t->grad[AGENT_Q], true);
    return true;
}

/* The product of both attentions' weights. */
static bool weigh(const reference_agent *t, const middle *m)
{
    const reference_variant *softmax = reference_find("softmax");
    const int64_t heads = t->B * t->H;
    double *first = calloc((size_t)(heads * t->A * t->M + 1), sizeof *first);
    double *second = calloc((size_t)(heads * t->N * t->A + 1), sizeof *second);
    double *o = calloc((size_t)(heads * t->N * t->E + 1), sizeof *o);
    reference_attention a = gather(t, m), b = hand_out(t, m);
    a.weights = first;
    b.weights = second;
    b.o = o;
    const bool done =
        first && second && o && reference_attend(&a, softmax) && reference_attend(&b, softmax);
    for (int64_t row = 0; done && row < heads * t->N; row++)
        for (int64_t j = 0; j < t->M; j++) {
            double *to = t->weights + row * t->M + j;
            *to = 0;
            for (int64_t at = 0; at < t->A; at++)
                *to += second[row * t->A + at] * first[(row / t->N * t->A + at) * t->M + j];
        }
    free(first);
    free(second);
    free(o);
    return done;
}

bool reference_agent_run(const reference_agent *t)
{
    const size_t features = (size_t)(t->B * t->H * t->A * (t->D > t->E ? t->D : t->E) + 1);
    double *memory = calloc(features * 5, sizeof(double));
    if (!memory)
        return false;
    middle m = {memory,
                memory + features,
                memory + features * 2,
                {memory + features * 3, memory + features * 4}};
    const bool done = run(t, &m) && (!t->weights || weigh(t, &m));
    free(memory);
    if (!done)
        return false;
    const int64_t channels = t->H * t->E;
    if (t->R)
        memset(t->grad[AGENT_DWC_WEIGHT], 0, sizeof(double) * (size_t)(channels * t->R * t->R));
    if (t->input[AGENT_DWC_BIAS])
        memset(t->grad[AGENT_DWC_BIAS], 0, sizeof(double) * (size_t)channels);
    convolve_all(t, false);
    convolve_all(t, true);
    return true;
}
