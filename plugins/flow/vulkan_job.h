/*
 * A call of flow on Vulkan, laid out: the driver's problem for queries and for keys, and the parts
 * of the workspace. Everything but the call's tensors is of the heads in work alone; arrays have
 * room for `x.round` of them ("lanes").
 */
#ifndef RAPT_FLOW_VULKAN_JOB_H
#define RAPT_FLOW_VULKAN_JOB_H

#include "flow.h"
#include "kit/linear_vulkan.h"

#define FLOW_UNIT_LOG 2  /* full form: chunks in one part of a sum, as a power of two */
#define FLOW_NUMBERS  12 /* arrays of numbers by row: shaders/flow/numbers.glsl, both sides */

enum { FLOW_HAS_FROM = 1, FLOW_HAS_TO = 2 };

typedef struct flow_vulkan {
    rapt_linear_vulkan x, keys; /* keys: the same with the keys' length and table; full form */
    bool causal;
    float eps, clamp;
    int64_t lane_rows; /* rows of one lane in an array of numbers */
    int64_t units;     /* full form: parts of a lane */
    rapt_linear_rows q, k, v, d_o;
    rapt_linear_rows dq, dk, dv; /* backward; `wanted` says which there are */
    bool wanted[3];
    rapt_vulkan_buffer numbers;
    /* Full form. */
    rapt_vulkan_buffer parts, totals, extremes, wholes, kv, d_kv, means, mean;
    /* Causal form: [set][side][lane][slot][D], see close.comp; then by slot. */
    rapt_vulkan_buffer sums, pairs, pairs_back, ends, lengths, far_q, far_k, far_v;
} flow_vulkan;

/* Bytes of a set of `sums`, two sides of every lane's slots. */
static inline uint64_t flow_set_bytes(const flow_vulkan *job)
{
    const rapt_linear_vulkan *x = &job->x;
    const uint64_t bytes =
        rapt_vulkan_round((uint64_t)(2 * x->round * x->slots * x->d) * sizeof(float));
    return bytes ? bytes : 256;
}

static inline rapt_vulkan_buffer flow_set(const flow_vulkan *job, int set)
{
    rapt_vulkan_buffer part = job->sums;
    part.bytes = flow_set_bytes(job);
    part.offset += (uint64_t)set * part.bytes;
    return part;
}

static inline rapt_status flow_layout(rapt_call *call, flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    memset(job, 0, sizeof *job);
    job->causal = call->attrs[FLOW_CAUSAL].i[0] != 0 || call->phase == RAPT_STEP;
    job->eps = (float)call->attrs[FLOW_EPS].f;
    job->clamp = (float)call->attrs[FLOW_CLAMP].f;
    x->call = call;
    x->batch = call->sizes['B'];
    x->n = call->sizes['N'];
    x->m = call->sizes['M'];
    x->heads = x->groups = call->sizes['H'];
    x->d = call->sizes['D'];
    x->e = call->sizes['E'];
    x->scale = 1.0f;
    x->borders = call->inputs[FLOW_BORDERS_Q];
    x->borders_k = call->inputs[FLOW_BORDERS_K];
    if (!x->borders_k)
        x->borders_k = x->borders;
    x->state_buffers = job->causal && call->phase == RAPT_BACKWARD ? 2 : 1;
    x->unit_log = job->causal ? 0 : FLOW_UNIT_LOG;
    const int64_t rows = x->n > x->m ? x->n : x->m, wide = x->d > x->e ? x->d : x->e;
    job->lane_rows = x->batch * rows;
    const uint64_t numbers = (uint64_t)job->lane_rows * FLOW_NUMBERS * sizeof(float);
    const uint64_t far = (uint64_t)(x->batch * x->n * wide) * sizeof(float);
    x->sequences = x->borders ? x->borders->shape[0] - 1 : x->batch;
    const int64_t slots = rapt_linear_slots(x, rows);
    const uint64_t sums = (uint64_t)(8 * (slots + x->sequences) * x->d) * sizeof(float);
    x->lane_extra = numbers > sums ? numbers : sums;
    if (job->causal && call->phase == RAPT_BACKWARD && far > x->lane_extra)
        x->lane_extra = far;
    return rapt_linear_plan(x);
}

static inline void flow_take_causal(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    const bool backward = x->call->phase == RAPT_BACKWARD;
    const uint64_t rows = (uint64_t)(x->round * x->batch * x->n),
                   slots = (uint64_t)(x->round * x->slots);
    job->sums = rapt_linear_take(x, (backward ? 4 : 2) * flow_set_bytes(job));
    job->pairs = rapt_linear_take(x, slots * 2 * sizeof(float));
    job->ends = rapt_linear_take(x, (uint64_t)(x->round * x->sequences) * 2 * sizeof(float));
    job->pairs_back = job->lengths = job->far_q = job->far_k = job->far_v = x->zeros;
    if (!backward)
        return;
    job->pairs_back = rapt_linear_take(x, slots * 2 * sizeof(float));
    job->lengths = rapt_linear_take(x, slots * sizeof(float));
    job->far_q = rapt_linear_take(x, rows * (uint64_t)x->d * sizeof(float));
    job->far_k = rapt_linear_take(x, rows * (uint64_t)x->d * sizeof(float));
    job->far_v = rapt_linear_take(x, rows * (uint64_t)x->e * sizeof(float));
}

static inline void flow_take_whole(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    const uint64_t lanes = (uint64_t)x->round, sequences = (uint64_t)x->sequences;
    const uint64_t state = (uint64_t)(x->d * x->e) * sizeof(float),
                   row = (uint64_t)x->d * sizeof(float);
    job->units = x->lane_states;
    job->parts = rapt_linear_take(x, 2 * lanes * (uint64_t)job->units * row);
    job->totals = rapt_linear_take(x, 8 * lanes * sequences * row);
    job->extremes = rapt_linear_take(x, lanes * (uint64_t)job->units * 2 * sizeof(float));
    job->wholes = rapt_linear_take(x, lanes * sequences * 2 * sizeof(float));
    job->kv = rapt_linear_take(x, lanes * sequences * state);
    job->d_kv = job->means = job->mean = x->zeros;
    if (x->call->phase == RAPT_BACKWARD) {
        job->d_kv = rapt_linear_take(x, lanes * sequences * state);
        job->means = rapt_linear_take(x, lanes * (uint64_t)x->slots_k * sizeof(float));
    }
    job->mean = rapt_linear_take(x, lanes * sequences * sizeof(float));
}

/* All parts of the workspace. */
static inline rapt_status flow_plan(rapt_call *call, flow_vulkan *job)
{
    const rapt_status status = flow_layout(call, job);
    if (status != RAPT_OK)
        return status;
    rapt_linear_vulkan *x = &job->x;
    job->numbers =
        rapt_linear_take(x, (uint64_t)(x->round * job->lane_rows) * FLOW_NUMBERS * sizeof(float));
    if (job->causal)
        flow_take_causal(job);
    else
        flow_take_whole(job);
    x->factors = job->numbers;
    job->keys = *x;
    job->keys.n = x->m;
    job->keys.slots = x->slots_k;
    if (x->packed && !job->causal) {
        job->keys.table.offset += (uint64_t)x->table_k * 16;
        job->keys.table.bytes -= (uint64_t)x->table_k * 16;
    }
    return RAPT_OK;
}

/* Where the factors of a side's rows begin among the numbers. */
static inline uint32_t flow_factor(const flow_vulkan *job, int side)
{
    return (uint32_t)((2 * 2 + side) * job->x.round * job->lane_rows);
}

/* The inputs, and backward the gradients, laid out; the table of packed sequences recorded. */
static inline rapt_status flow_begin(rapt_call *call, flow_vulkan *job,
                                     const rapt_vulkan_shader *table)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_status status = flow_plan(call, job);
    const bool backward = call->phase == RAPT_BACKWARD;
    const rapt_view *const views[7] = {call->inputs[FLOW_Q],
                                       call->inputs[FLOW_K],
                                       call->inputs[FLOW_V],
                                       backward ? call->grad_outputs[FLOW_O] : NULL,
                                       backward ? call->grad_inputs[FLOW_Q] : NULL,
                                       backward ? call->grad_inputs[FLOW_K] : NULL,
                                       backward ? call->grad_inputs[FLOW_V] : NULL};
    rapt_linear_rows *const rows[7] = {&job->q,  &job->k,  &job->v, &job->d_o,
                                       &job->dq, &job->dk, &job->dv};
    for (int i = 0; status == RAPT_OK && i < 7; i++)
        status = rapt_linear_rows_of(x, views[i], rows[i]);
    for (int i = 0; i < 3; i++)
        job->wanted[i] = views[4 + i] != NULL;
    job->q.sigmoid = job->k.sigmoid = true;
    job->q.factor = flow_factor(job, 0);
    job->v.factor = flow_factor(job, 1);
    if (status == RAPT_OK && backward && !views[3])
        status = rapt_linear_zero(x);
    return status == RAPT_OK ? rapt_linear_begin(x, table) : status;
}

#endif
