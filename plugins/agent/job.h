/*
 * A call of agent, laid out: where the two attentions read and write, the bins that agents are
 * pooled from, and the convolution. What lies between the attentions is float32 and contiguous.
 */
#ifndef RAPT_AGENT_JOB_H
#define RAPT_AGENT_JOB_H

#include "agent.h"
#include "kit/rows.h"
#include "kit/score_split.h"

/* Queries that a task handles together; grid rows that a task convolves. */
enum { AGENT_ROWS = 32, AGENT_GRID_ROWS = 8 };

/* One depth-wise convolution: to = add + kernel * from, both [B,H,N,E]. `add` may be `to`. */
typedef struct agent_convolution {
    rapt_rows from, add, to;
    int flip; /* the transposed convolution, without bias: for gradients */
} agent_convolution;

typedef struct agent_job {
    rapt_call *call;
    int64_t batch, heads, n, m, d, e, agents;
    int64_t ld, le;           /* D and E padded to whole vectors */
    int64_t grid[2], bins[2]; /* without a grid: 1 x N, 1 x A */
    int64_t taps;             /* R, 0 without convolution */
    int pooled;
    const rapt_view *a; /* the agents */
    rapt_view *u, *o;   /* what agents gather; the queries' result, before the convolution */
    rapt_inner gather, hand_out; /* the two attentions */
    rapt_inner_view a_view, u_view, o_view, bias_view[2];
    float *kernels; /* of all heads, [H][R*R + 1][le], the bias last; in backward also gradients */
    agent_convolution convolution;
    /* backward */
    float *da_gather, *da_hand_out; /* gradients of the agents from both attentions, [B,H,A,D] */
    float *da;                      /* pooled: their sum over the queries' number, [B,H,A][ld] */
    rapt_view *dq;                  /* [B,H,N,D], float32 */
    float *scratch;                 /* `scratch_size` floats for each worker */
    int64_t scratch_size;
} agent_job;

/* The bin of an axis: positions first <= i < end of `length`, bin `index` of `count`. A position i
 * lies in the bins first <= b < end that agent_bin(i, length, count) gives. Both sizes are those of
 * tensors with elements in memory: their product is far from overflow. */
static inline void agent_bin(int64_t index, int64_t count, int64_t length, int64_t *first,
                             int64_t *end)
{
    *first = index * length / count;
    *end = ((index + 1) * length + count - 1) / count;
}

/* The queries of an agent: a rectangle of the grid. */
typedef struct agent_area {
    int64_t y0, y1, x0, x1;
} agent_area;

static inline agent_area agent_area_of(const agent_job *job, int64_t agent)
{
    agent_area area;
    agent_bin(agent / job->bins[1], job->bins[0], job->grid[0], &area.y0, &area.y1);
    agent_bin(agent % job->bins[1], job->bins[1], job->grid[1], &area.x0, &area.x1);
    return area;
}

/* 1 over the number of queries in an area; 0 where there are none. */
static inline float agent_share(agent_area area)
{
    const double count = (double)(area.y1 - area.y0) * (double)(area.x1 - area.x0);
    return count > 0 ? (float)(1.0 / count) : 0.0f;
}

/* The tasks of one CPU level, made by body.h, and its score driver. */
typedef struct agent_level_code {
    const rapt_score_code *score;
    rapt_task pool, agent_grad, query_grad, convolve, kernel_grad;
} agent_level_code;

static inline float *agent_kernel_of(const agent_job *job, int64_t head)
{
    return job->kernels + head * (job->taps * job->taps + 1) * job->le;
}

/* One weight of the convolution, one channel of its bias: address of an element. */
static inline void *agent_weight_at(const rapt_view *weight, int64_t channel, int64_t tap)
{
    const int64_t taps = weight->shape[3];
    const int64_t at = channel * weight->strides[0] + tap / taps * weight->strides[2] +
                       tap % taps * weight->strides[3];
    return (char *)rapt_view_data(weight) + at * (int64_t)rapt_dtype_size(rapt_view_dtype(weight));
}

static inline void *agent_bias_at(const rapt_view *bias, int64_t channel)
{
    return (char *)rapt_view_data(bias) +
           channel * bias->strides[0] * (int64_t)rapt_dtype_size(rapt_view_dtype(bias));
}

#endif
