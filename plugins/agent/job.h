/*
 * A call of agent, laid out: the two attentions' intermediate tensors, all float32 and contiguous,
 * and the bins that agents are pooled from.
 */
#ifndef RAPT_AGENT_JOB_H
#define RAPT_AGENT_JOB_H

#include "agent.h"
#include "kit/rows.h"
#include "kit/score_inner.h"

typedef struct agent_job {
    rapt_call *call;
    int64_t batch, heads, n, m, d, e, agents;
    int64_t ld, le;           /* D and E padded to whole vectors */
    int64_t grid[2], bins[2]; /* without a grid: 1 x N, 1 x A */
    int64_t taps;             /* R, 0 without convolution */
    int pooled;
    rapt_inner_view pooled_view, u_view, o_view, bias_view[2];
    const rapt_view *a; /* the agents */
    rapt_view *u, *o;   /* what agents gather; the queries' result, before the convolution */
    rapt_inner gather, hand_out; /* the two attentions */
    /* backward */
    float *da_gather, *da_hand_out, *dq; /* [B,H,A,D] twice, [B,H,N,D] */
    float *dv;                           /* [B,H,M,E] */
    char *scratch;
    int64_t scratch_size;
} agent_job;

/* The bin of an axis: positions first <= i < end of `length`, bin `index` of `count`. */
static inline void agent_bin(int64_t index, int64_t count, int64_t length, int64_t *first,
                             int64_t *end)
{
    *first = index * length / count;
    *end = ((index + 1) * length + count - 1) / count;
}

/* The tasks of one CPU level, made by body.h, and its score driver. */
typedef struct agent_level_code {
    const rapt_score_code *score;
    rapt_task pool, query_grad, agent_grad, convolve, value_grad, weight_grad;
} agent_level_code;

static inline const rapt_math_service *agent_math(const agent_job *job)
{
    return (const rapt_math_service *)job->call->host->service("rapt.math", 1);
}

/* One weight of the convolution; one channel of its bias. */
static inline void *agent_tap(const rapt_view *weight, int64_t channel, int64_t y, int64_t x)
{
    const int64_t at =
        channel * weight->strides[0] + y * weight->strides[2] + x * weight->strides[3];
    return (char *)rapt_view_data(weight) + at * (int64_t)rapt_dtype_size(rapt_view_dtype(weight));
}

static inline void *agent_channel(const rapt_view *bias, int64_t channel)
{
    return (char *)rapt_view_data(bias) +
           channel * bias->strides[0] * (int64_t)rapt_dtype_size(rapt_view_dtype(bias));
}

/* The gradients of a head's convolution, [R*R][le] and the bias's behind, to the caller's. */
static inline void agent_store_kernel(const agent_job *job, int64_t head, const float *total)
{
    const rapt_view *weight = job->call->grad_inputs[AGENT_DWC_WEIGHT];
    const rapt_view *bias = job->call->grad_inputs[AGENT_DWC_BIAS];
    const int64_t area = job->taps * job->taps;
    const rapt_math_service *math = agent_math(job);
    for (int64_t e = 0; e < job->e; e++) {
        const int64_t channel = head * job->e + e;
        for (int64_t tap = 0; weight && tap < area; tap++)
            math->store(1, rapt_view_dtype(weight), total + tap * job->le + e,
                        agent_tap(weight, channel, tap / job->taps, tap % job->taps));
        if (bias)
            math->store(1, rapt_view_dtype(bias), total + area * job->le + e,
                        agent_channel(bias, channel));
    }
}

#endif
