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
    double *o, *weights;             /* to be written: [B, H, N, E], [B, H, N, M] */
    const double *grad_o;
    double *grad_q, *grad_k, *grad_v;         /* to be written */
    double *grad_qk, *grad_post, *grad_heads; /* where there is a kernel */
} reference_mta;

/* Forward and backward; false when there is no memory. */
bool reference_mta_attend(const reference_mta *task);

#endif
