/*
 * Attention as its definition says, in double, one query at a time: what the score kit's operators
 * are compared with. o_i = sum_j f(s_ij) softmax_j(z(s_ij)) v_j, s_ij = scale q_i.k_j + bias_ij.
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

/* "softmax", "cog", "capped" (the tests' own plugin). */
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
} reference_attention;

/* Forward and backward; false when there is no memory. */
bool reference_attend(const reference_attention *task, const reference_variant *variant);

#endif
