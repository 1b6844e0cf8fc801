/* The causal form: its numbers chunk by chunk with sums carried along, the products by the chunked
 * driver with sigmoids as features and one factor for each row. */
#ifndef RAPT_FLOW_VULKAN_CAUSAL_H
#define RAPT_FLOW_VULKAN_CAUSAL_H

#include "vulkan_full.h"

/* What shaders take wherever sums of sequences come in or go out; shaders/flow/sums.glsl. */
typedef struct flow_sums_push {
    rapt_linear_place from;
    uint32_t to, n, packed, slots, sequences, lanes, width, heads, first_head, flags;
} flow_sums_push;

typedef struct flow_running_push {
    rapt_linear_place q, k;
    flow_sums_push sums;
    uint32_t m, lane_rows;
    float eps, bound;
} flow_running_push;

typedef struct flow_weigh_push {
    flow_sums_push sums;
    uint32_t m, lane_rows;
    float bound;
} flow_weigh_push;

typedef struct flow_vectors_push {
    flow_sums_push sums;
    uint32_t row_q, row_k;
} flow_vectors_push;

typedef struct flow_open_push {
    rapt_linear_place q, v, to;
    uint32_t n, m, packed, slots, lanes, lane_rows, inner, width, flags;
    float bound;
} flow_open_push;

typedef struct flow_close_push {
    rapt_linear_place q, k, to_q, to_k;
    uint32_t n, m, packed, slots, lanes, lane_rows, width, flags, set_size;
    float eps, bound;
} flow_close_push;

RAPT_LINEAR_SHADER(flow, running, 9, sizeof(flow_running_push));
RAPT_LINEAR_SHADER_ONE(flow, weigh, 4, sizeof(flow_weigh_push));
RAPT_LINEAR_SHADER_ONE(flow, pairs, 4, sizeof(flow_sums_push));
RAPT_LINEAR_SHADER_ONE(flow, vectors, 4, sizeof(flow_vectors_push));
RAPT_LINEAR_SHADER_ONE(flow, ends, 5, sizeof(flow_sums_push));
RAPT_LINEAR_SHADER(flow, open, 8, sizeof(flow_open_push));
RAPT_LINEAR_SHADER(flow, close, 9, sizeof(flow_close_push));

/* What is pushed where `from` (sums of all heads, or a gradient of theirs) come in and `to` go out,
 * each or NULL; `buffers` are theirs. */
static inline rapt_status flow_bind(rapt_linear_vulkan *x, const rapt_view *from,
                                    const rapt_view *to, flow_sums_push *push,
                                    rapt_vulkan_buffer buffers[2])
{
    rapt_linear_rows rows;
    const rapt_status status = rapt_linear_rows_of(x, from, &rows);
    if (status != RAPT_OK)
        return status;
    buffers[0] = rows.buffer;
    push->from = rapt_linear_at(x, &rows, false);
    push->n = (uint32_t)x->n;
    push->packed = (uint32_t)x->packed;
    push->slots = (uint32_t)x->slots;
    push->sequences = (uint32_t)x->sequences;
    push->lanes = (uint32_t)x->round;
    push->width = (uint32_t)x->d;
    push->heads = (uint32_t)x->heads;
    push->first_head = (uint32_t)x->first;
    push->flags = (from && x->d > 0 ? FLOW_HAS_FROM : 0u) | (to ? FLOW_HAS_TO : 0u);
    return rapt_vulkan_bind(x->call, x->device.limits, to, &buffers[1], &push->to);
}

/* A stage of running.comp with the sums before (backward: behind) each chunk in `prefix`; what the
 * stage sums goes to `parts`. */
static inline rapt_status flow_record_running(flow_vulkan *job, uint32_t stage,
                                              rapt_vulkan_buffer prefix, rapt_vulkan_buffer parts,
                                              rapt_vulkan_buffer pairs)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_vulkan_buffer ends[2];
    flow_running_push push = {
        .q = rapt_linear_at(x, &job->q, false),
        .k = rapt_linear_at(x, &job->k, false),
        .m = (uint32_t)x->m,
        .lane_rows = (uint32_t)job->lane_rows,
        .eps = job->eps,
        .bound = job->clamp,
    };
    const rapt_status status = flow_bind(x, x->call->inputs[FLOW_SUMS], NULL, &push.sums, ends);
    if (status != RAPT_OK)
        return status;
    const rapt_linear_rows *const rows[2] = {&job->q, &job->k};
    uint32_t constants[3] = {0, 0, stage};
    rapt_linear_constants(x, rapt_linear_aligned(x, rows, 2), constants);
    const rapt_vulkan_buffer buffers[] = {job->q.buffer, job->k.buffer, x->table,
                                          job->numbers,  prefix,        parts,
                                          ends[0],       pairs,         job->lengths};
    return rapt_vulkan_run(&x->device, &flow_running_shader[rapt_linear_half(x)], constants, 3,
                           (uint32_t)x->slots, (uint32_t)x->count, 1, buffers, &push, NULL);
}

/* Sums of a set along the sequences; `ends` are of the tensors `sums`, row_q, row_k: which of
 * `sums` the two sides' are. */
static inline rapt_status flow_record_vectors(flow_vulkan *job, int set, bool reverse,
                                              uint32_t row_q, uint32_t row_k,
                                              const rapt_linear_ends *ends)
{
    rapt_linear_vulkan *x = &job->x;
    flow_vectors_push push = {.row_q = row_q, .row_k = row_k};
    rapt_vulkan_buffer buffers[4] = {flow_set(job, set), x->table};
    const uint32_t constants[3] = {0, 0, reverse};
    const rapt_status status = flow_bind(x, ends->from, ends->to, &push.sums, &buffers[2]);
    if (status != RAPT_OK)
        return status;
    return rapt_vulkan_run(&x->device, &flow_vectors_shader, constants, 3,
                           rapt_vulkan_groups(x->d, 64), (uint32_t)(2 * x->round),
                           (uint32_t)x->sequences, buffers, &push, NULL);
}

/* Sums of e^cr, or backward what is said of their inverses, along the sequences; `lead`: those of
 * the tensor `sums`, or its gradient, or NULL. */
static inline rapt_status flow_record_pairs(flow_vulkan *job, rapt_vulkan_buffer pairs,
                                            bool reverse, const rapt_view *lead)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_vulkan_buffer buffers[4] = {pairs, x->table};
    const uint32_t constants[3] = {0, 0, reverse};
    flow_sums_push push;
    const rapt_status status = flow_bind(x, lead, NULL, &push, &buffers[2]);
    buffers[3] = job->ends;
    if (status != RAPT_OK)
        return status;
    return rapt_vulkan_run(&x->device, &flow_pairs_shader, constants, 3, (uint32_t)x->sequences,
                           (uint32_t)x->count, 1, buffers, &push, NULL);
}

/* The last two rows of the sums that go out. */
static inline rapt_status flow_record_ends(flow_vulkan *job, bool reverse,
                                           const rapt_linear_ends *ends)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_vulkan_buffer buffers[5] = {job->ends, x->table};
    const uint32_t constants[3] = {0, 0, reverse};
    flow_sums_push push;
    const rapt_status status = flow_bind(x, ends->from, ends->to, &push, &buffers[2]);
    buffers[4] = job->lengths;
    if (status != RAPT_OK || !ends->to || !x->d)
        return status;
    return rapt_vulkan_run(&x->device, &flow_ends_shader, constants, 3, (uint32_t)x->sequences,
                           (uint32_t)x->count, 1, buffers, &push, NULL);
}

static inline rapt_status flow_record_weigh(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_vulkan_buffer ends[2];
    flow_weigh_push push = {
        .m = (uint32_t)x->m, .lane_rows = (uint32_t)job->lane_rows, .bound = job->clamp};
    const rapt_status status = flow_bind(x, x->call->inputs[FLOW_SUMS], NULL, &push.sums, ends);
    if (status != RAPT_OK)
        return status;
    const rapt_vulkan_buffer buffers[] = {job->pairs, ends[0], x->table, job->numbers};
    return rapt_vulkan_run(&x->device, &flow_weigh_shader, NULL, 0, (uint32_t)x->slots,
                           (uint32_t)x->count, 1, buffers, &push, NULL);
}

/* All numbers of all positions; the sums that go out to `final`, or NULL. */
static inline rapt_status flow_record_numbers(flow_vulkan *job, const rapt_view *final)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_linear_ends ends = {x->call->inputs[FLOW_SUMS], final};
    const rapt_vulkan_buffer rows = flow_set(job, 0), flows = flow_set(job, 1);
    rapt_status status = flow_record_pass(job, 0, 0, rows, 0, x->slots);
    if (status == RAPT_OK)
        status = flow_record_vectors(job, 0, false, FLOW_SUM_Q, FLOW_SUM_K, &ends);
    if (status == RAPT_OK)
        status = flow_record_running(job, 1, rows, flows, job->pairs);
    if (status == RAPT_OK)
        status = flow_record_vectors(job, 1, false, FLOW_SUM_IN, FLOW_SUM_OUT, &ends);
    if (status == RAPT_OK)
        status = flow_record_running(job, 2, flows, x->zeros, job->pairs);
    if (status == RAPT_OK)
        status = flow_record_pairs(job, job->pairs, false, ends.from);
    if (status == RAPT_OK)
        status = flow_record_weigh(job);
    return status == RAPT_OK && final ? flow_record_ends(job, false, &ends) : status;
}

/* The states before each chunk. */
static inline rapt_status flow_record_states(flow_vulkan *job, const rapt_view *final)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_linear_ends ends = {x->call->inputs[FLOW_STATE], final};
    const rapt_status status =
        rapt_linear_contribute(x, flow_contribute_shader, &job->k, &job->v, &x->states, false, 0);
    return status == RAPT_OK ? rapt_linear_carry(x, &flow_carry_shader, &x->states, false, &ends)
                             : status;
}

static inline rapt_status flow_causal_forward(flow_vulkan *job, const rapt_linear_rows *o)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_linear_rows *const abc[3] = {&job->q, &job->k, &job->v};
    rapt_status status = flow_record_numbers(job, x->call->outputs[FLOW_FINAL_SUMS]);
    if (status == RAPT_OK)
        status = flow_record_states(job, x->call->outputs[FLOW_FINAL_STATE]);
    if (status == RAPT_OK)
        status = rapt_linear_apply(x, flow_apply_shader, RAPT_LINEAR_O, abc, o, &x->states,
                                   x->call->inputs[FLOW_STATE] != NULL);
    return status;
}

/* The linear part's gradients, of gate q, k and comp v. */
static inline rapt_status flow_record_far(flow_vulkan *job, const rapt_linear_rows *far_v)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_call *call = x->call;
    const rapt_view *d_final = call->grad_outputs[FLOW_FINAL_STATE];
    const rapt_linear_ends ends = {d_final, call->grad_inputs[FLOW_STATE]};
    const rapt_linear_rows *q = &job->q, *k = &job->k, *v = &job->v, *d_o = &job->d_o;
    const rapt_linear_rows *const dq[3] = {d_o, v, k}, *const dk[3] = {v, d_o, q},
                                  *const dv[3] = {k, q, d_o};
    const rapt_linear_rows far_q = rapt_linear_rows_in(x, job->far_q, x->d);
    const rapt_linear_rows far_k = rapt_linear_rows_in(x, job->far_k, x->d);
    const rapt_linear_ends before = {call->inputs[FLOW_STATE], NULL};
    rapt_status status =
        rapt_linear_contribute(x, flow_contribute_shader, k, v, &x->states, false, 0);
    x->beside = true; /* what runs beside its neighbour reads the same and writes apart */
    if (status == RAPT_OK)
        status = rapt_linear_contribute(x, flow_contribute_shader, q, d_o, &x->reverse, true, 0);
    if (status == RAPT_OK)
        status = rapt_linear_carry(x, &flow_carry_shader, &x->states, false, &before);
    x->beside = true;
    if (status == RAPT_OK)
        status = rapt_linear_carry(x, &flow_carry_shader, &x->reverse, true, &ends);
    if (status == RAPT_OK)
        status = rapt_linear_apply(x, flow_apply_shader, RAPT_LINEAR_DQ, dq, &far_q, &x->states,
                                   call->inputs[FLOW_STATE] != NULL);
    x->beside = true;
    if (status == RAPT_OK)
        status = rapt_linear_apply(x, flow_apply_shader, RAPT_LINEAR_DK, dk, &far_k, &x->reverse,
                                   d_final != NULL);
    x->beside = true;
    if (status == RAPT_OK)
        status = rapt_linear_apply(x, flow_apply_shader, RAPT_LINEAR_DV, dv, far_v, &x->reverse,
                                   d_final != NULL);
    return status;
}

static inline rapt_status flow_record_open(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_linear_rows *const rows[3] = {&job->q, &job->v, &job->dv};
    const flow_open_push push = {
        .q = rapt_linear_at(x, &job->q, false),
        .v = rapt_linear_at(x, &job->v, false),
        .to = rapt_linear_at(x, &job->dv, false),
        .n = (uint32_t)x->n,
        .m = (uint32_t)x->m,
        .packed = (uint32_t)x->packed,
        .slots = (uint32_t)x->slots,
        .lanes = (uint32_t)x->round,
        .lane_rows = (uint32_t)job->lane_rows,
        .inner = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .flags = job->wanted[2],
        .bound = job->clamp,
    };
    uint32_t constants[2];
    rapt_linear_constants(x, rapt_linear_aligned(x, rows, 3), constants);
    const rapt_vulkan_buffer buffers[] = {job->q.buffer,  job->v.buffer,  x->table,
                                          job->numbers,   job->far_q,     job->far_v,
                                          job->dv.buffer, job->pairs_back};
    return rapt_vulkan_run(&x->device, &flow_open_shader[rapt_linear_half(x)], constants, 2,
                           (uint32_t)x->slots, (uint32_t)x->count, 1, buffers, &push, NULL);
}

static inline rapt_status flow_record_close(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    const flow_close_push push = {
        .q = rapt_linear_at(x, &job->q, false),
        .k = rapt_linear_at(x, &job->k, false),
        .to_q = rapt_linear_at(x, &job->dq, false),
        .to_k = rapt_linear_at(x, &job->dk, false),
        .n = (uint32_t)x->n,
        .m = (uint32_t)x->m,
        .packed = (uint32_t)x->packed,
        .slots = (uint32_t)x->slots,
        .lanes = (uint32_t)x->round,
        .lane_rows = (uint32_t)job->lane_rows,
        .width = (uint32_t)x->d,
        .flags = (job->wanted[0] ? 1u : 0u) | (job->wanted[1] ? 2u : 0u),
        .set_size = (uint32_t)(flow_set_bytes(job) / sizeof(float)),
        .eps = job->eps,
        .bound = job->clamp,
    };
    uint32_t constants[2];
    rapt_linear_constants(x, false, constants);
    const rapt_vulkan_buffer buffers[] = {job->q.buffer, job->k.buffer,  x->table,
                                          job->numbers,  job->sums,      job->far_q,
                                          job->far_k,    job->dq.buffer, job->dk.buffer};
    return rapt_vulkan_run(&x->device, &flow_close_shader[rapt_linear_half(x)], constants, 2,
                           (uint32_t)x->slots * rapt_vulkan_groups(x->d, 64), (uint32_t)x->count, 1,
                           buffers, &push, NULL);
}

static inline rapt_status flow_causal_backward(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_call *call = x->call;
    const rapt_linear_ends ends = {call->grad_outputs[FLOW_FINAL_SUMS],
                                   call->grad_inputs[FLOW_SUMS]};
    const rapt_vulkan_buffer claims = flow_set(job, 2), inverses = flow_set(job, 3);
    const rapt_linear_rows far_v = rapt_linear_rows_in(x, job->far_v, x->e);
    rapt_status status = flow_record_numbers(job, NULL);
    if (status == RAPT_OK)
        status = flow_record_far(job, &far_v);
    if (status == RAPT_OK)
        status = flow_record_open(job);
    if (status == RAPT_OK)
        status = flow_record_pairs(job, job->pairs_back, true, ends.from);
    if (status == RAPT_OK)
        status = flow_record_running(job, 3, x->zeros, claims, job->pairs_back);
    if (status == RAPT_OK)
        status = flow_record_vectors(job, 2, true, FLOW_SUM_OUT, FLOW_SUM_IN, &ends);
    if (status == RAPT_OK)
        status = flow_record_running(job, 4, claims, inverses, job->pairs_back);
    if (status == RAPT_OK)
        status = flow_record_vectors(job, 3, true, FLOW_SUM_K, FLOW_SUM_Q, &ends);
    if (status == RAPT_OK && (job->wanted[0] || job->wanted[1]))
        status = flow_record_close(job);
    return status == RAPT_OK && ends.to ? flow_record_ends(job, true, &ends) : status;
}

#endif
