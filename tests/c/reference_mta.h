/* Multi-token attention as its definition says, in double, with whole matrices: what mta is
 * compared with. */
#ifndef RAPT_TEST_REFERENCE_MTA_H
#define RAPT_TEST_REFERENCE_MTA_H

#include <stdbool.h>
#include <stdint.h>

/* All arrays are contiguous in the order of their shapes. */
typedef struct reference_mta {
    int64_t B, H, G, N, M, D, E;
    double scale;
    bool causal;
    const double *q, *k, *v;
    int64_t a, b, r, s, c;           /* sizes of the kernels */
    const double *qk, *post, *heads; /* [H, a, b], [H, r, s], [H / c, c, c], or NULL */
    /* Options: those that are NULL, 0 or negative are not there. bias [1, H, N, 1]. */
    const double *bias, *alibi, *sink;
    double softcap;
    int64_t left, right;
    double *o, *weights;             /* to be written: [B, H, N, E], [B, H, N, M] */
    double *lse;                     /* to be written, [B, H, N] */
    const double *grad_o, *grad_lse; /* grad_lse NULL: 0 */
    double *grad_bias, *grad_alibi, *grad_sink;
    double *grad_q, *grad_k, *grad_v;         /* to be written */
    double *grad_qk, *grad_post, *grad_heads; /* where there is a kernel */
} reference_mta;

/* Forward and backward; false when there is no memory. */
bool reference_mta_attend(const reference_mta *task);

#endif
