/*
 * Agent attention as its definition says, in double: pooling bin by bin, two attentions by
 * reference_attention.h, the depth-wise convolution tap by tap, and the gradients of all that.
 */
#ifndef RAPT_TEST_REFERENCE_AGENT_H
#define RAPT_TEST_REFERENCE_AGENT_H

#include <stdbool.h>
#include <stdint.h>

/* The inputs in the order of the operator's description. */
enum {
    AGENT_Q,
    AGENT_K,
    AGENT_V,
    AGENT_AGENTS,
    AGENT_AGENT_BIAS,
    AGENT_QUERY_BIAS,
    AGENT_DWC_WEIGHT,
    AGENT_DWC_BIAS,
    AGENT_SINK,
    AGENT_INPUTS
};

/* All arrays are contiguous, row major, in the shapes of the description. */
typedef struct reference_agent {
    int64_t B, H, N, M, D, E;
    int64_t A;                         /* agents, given or pooled */
    int64_t grid[2];                   /* 0: none */
    int64_t R;                         /* taps of the convolution; 0: none */
    double scale, softcap;             /* softcap 0: none */
    const double *input[AGENT_INPUTS]; /* NULL: absent */
    const double *grad_o;
    double *o;
    double *weights;            /* [B, H, N, M] to be written, or NULL */
    double *grad[AGENT_INPUTS]; /* overwritten; for each input that is there */
} reference_agent;

/* Forward and backward; false when there is no memory. */
bool reference_agent_run(const reference_agent *task);

#endif
