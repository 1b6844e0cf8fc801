/* The linear family as it is defined, in double, by plain loops over pairs of positions. */
#ifndef RAPT_TEST_REFERENCE_LINEAR_H
#define RAPT_TEST_REFERENCE_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * lightning and log_linear:
 *
 *     o_t = scale (sum_{s <= t} w(t,s) exp(g_{s+1} + ... + g_t) (q_t . k_s) v_s
 *                  + exp(g_1 + ... + g_t) q_t . state)
 *     final = exp(g_1 + ... + g_N) state + sum_s exp(g_{s+1} + ... + g_N) k_s^T v_s
 *
 * w = 1, or l[t, level(t,s)]; g from the tensor g, or -slope[h], or 0. Arrays are contiguous: q, k
 * [B,G,N,D], v, o [B,H,N,E], g [B,H,N], l [B,H,N,L], slope [H], states [sequences,H,D,E]. NULL:
 * absent, or not wanted. `borders`: sequences + 1 of them within batch 0, or NULL: every batch is a
 * sequence. Results are overwritten.
 */
typedef struct reference_linear {
    int64_t B, H, G, N, D, E, L, sequences;
    double scale;
    const int64_t *borders;
    const double *q, *k, *v, *g, *l, *slope, *state;
    const double *grad_o, *grad_final;
    double *o, *final;
    double *grad_q, *grad_k, *grad_v, *grad_g, *grad_l, *grad_slope, *grad_state;
} reference_linear;

/* False: out of memory. */
bool reference_linear_run(const reference_linear *task);

/* Bit length of t xor s. */
int reference_level(int64_t t, int64_t s);

/* The causal sums of lightning in time linear in N, one head: o [N,E]. */
bool reference_linear_long(int64_t n, int64_t d, int64_t e, double slope, const double *q,
                           const double *k, const double *v, double *o);

/* flow, one head: q [N,D], k [M,D], v [M,E], o [N,E]. */
typedef struct reference_flow {
    int64_t N, M, D, E;
    bool causal;
    double eps, clamp;
    const double *q, *k, *v;
    double *o;
} reference_flow;

bool reference_flow_run(const reference_flow *task);

#endif
