/*
 * Attention as its definition says, in double, one query at a time: what the score kit's operators
 * are compared with.
 *
 *     o_i  = sum_j f(s_ij) softmax_j(z(s_ij)) tau_v_j v_j
 *     s_ij = cap(scale tau_q_i q_i.k_j + bias_ij) - alibi |i' - j|,  cap(s) = c tanh(s / c)
 *
 * over the keys of the query's sequence that causal order and window let it see; i' is its key
 * position, aligned at the end of the sequence. A sink is one more logit of the softmax.
 */
#ifndef RAPT_TEST_REFERENCE_ATTENTION_H
#define RAPT_TEST_REFERENCE_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

typedef struct reference_variant {
    double (*logit)(double s);
    double (*logit_slope)(double s);
    double (*factor)(double s);
    double (*factor_slope)(double s);
} reference_variant;

/* "softmax" (ssa too), "cog", "capped" (the tests' own plugin). */
const reference_variant *reference_find(const char *op);

/* All arrays are contiguous in B H N D order. NULL: absent, not wanted, or zero (grad_o, grad_lse).
 * Gradients are overwritten. */
typedef struct reference_attention {
    int64_t B, H, G, N, M, D, E;
    double scale;
    bool causal;
    const double *q, *k, *v, *bias;
    int64_t bias_shape[4]; /* each the size or 1 */
    double *o, *lse, *weights;
    const double *grad_o, *grad_lse;
    double *grad_q, *grad_k, *grad_v, *grad_bias;
    /* options; what is 0 or NULL is absent */
    bool windowed;
    int64_t window[2]; /* left, right; negative: no bound */
    double softcap;
    const double *alibi, *sink;  /* H */
    const double *tau_q, *tau_v; /* B H N, B H M */
    const int64_t *cu_q, *cu_k;  /* borders of sequences */
    int64_t borders;
    double *grad_alibi, *grad_sink, *grad_tau_q, *grad_tau_v;
} reference_attention;

/* Forward and backward; false when there is no memory. */
bool reference_attend(const reference_attention *task, const reference_variant *variant);

#endif
