/* The full form: passes over the rows of q and k side by side, sums of their parts, and a D x E
 * matrix of each sequence. */
#ifndef RAPT_FLOW_VULKAN_FULL_H
#define RAPT_FLOW_VULKAN_FULL_H

#include "vulkan_job.h"

typedef struct flow_pass_push {
    rapt_linear_place q, k;
    uint32_t n, m, packed, slots_q, slots_k, table_k, lanes, lane_rows, sequences, width, units,
        unit_log, totals_at;
    float eps, bound;
} flow_pass_push;

typedef struct flow_total_push {
    uint32_t n, m, packed, side_lanes, table_k, sequences, width, units, unit_log, to;
} flow_total_push;

typedef struct flow_compete_push {
    uint32_t n, m, packed, lanes, lane_rows, sequences, units, unit_log;
    float bound;
} flow_compete_push;

typedef struct flow_rows_push {
    rapt_linear_place x, y, to;
    uint32_t n, m, packed, table_k, lanes, lane_rows, sequences, slots, inner, width, totals, flags;
    float eps, bound;
} flow_rows_push;

RAPT_LINEAR_SHADER_LEAN(flow, pass, 8, sizeof(flow_pass_push));
RAPT_LINEAR_SHADER_ONE(flow, total, 3, sizeof(flow_total_push));
RAPT_LINEAR_SHADER_ONE(flow, compete, 4, sizeof(flow_compete_push));
RAPT_LINEAR_SHADER_COOP(flow, rows, 8, sizeof(flow_rows_push));

/* Numbers in one set of totals, of both sides. */
static inline uint32_t flow_totals(const flow_vulkan *job)
{
    return (uint32_t)(2 * job->x.round * job->x.sequences * job->x.d);
}

/* A stage of pass.comp; `reads` is the set of totals that it reads. */
static inline rapt_status flow_record_pass(flow_vulkan *job, uint32_t stage, uint32_t reads,
                                           rapt_vulkan_buffer parts, uint32_t unit_log,
                                           int64_t units)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_linear_rows *const rows[2] = {&job->q, &job->k};
    const flow_pass_push push = {
        .q = rapt_linear_at(x, &job->q, false),
        .k = rapt_linear_at(x, &job->k, false),
        .n = (uint32_t)x->n,
        .m = (uint32_t)x->m,
        .packed = (uint32_t)x->packed,
        .slots_q = (uint32_t)x->slots,
        .slots_k = (uint32_t)x->slots_k,
        .table_k = job->causal ? 0 : x->table_k,
        .lanes = (uint32_t)x->round,
        .lane_rows = (uint32_t)job->lane_rows,
        .sequences = (uint32_t)x->sequences,
        .width = (uint32_t)x->d,
        .units = (uint32_t)units,
        .unit_log = unit_log,
        .totals_at = reads * flow_totals(job),
        .eps = job->eps,
        .bound = job->clamp,
    };
    uint32_t constants[3] = {0, 0, stage};
    rapt_linear_constants(x, rapt_linear_aligned(x, rows, 2), constants);
    const int64_t slots = x->slots > x->slots_k ? x->slots : x->slots_k;
    const rapt_vulkan_buffer totals = job->causal ? x->zeros : job->totals;
    const rapt_vulkan_buffer extremes = job->causal ? x->zeros : job->extremes;
    const rapt_vulkan_buffer mean = job->causal ? x->zeros : job->mean;
    const rapt_vulkan_buffer buffers[] = {job->q.buffer, job->k.buffer, x->table, job->numbers,
                                          totals,        parts,         extremes, mean};
    return rapt_vulkan_run(&x->device, &flow_pass_shader[rapt_linear_lean(x)], constants, 3,
                           (uint32_t)slots, (uint32_t)x->count, 2, buffers, &push, NULL);
}

/* Sums of parts [lane][part][width] of the queries' lanes, then, from `side_lanes` on, the keys'.
 */
static inline rapt_status flow_record_total(flow_vulkan *job, rapt_vulkan_buffer parts,
                                            rapt_vulkan_buffer to, uint32_t to_at, int64_t lanes,
                                            int64_t side_lanes, int64_t units, int64_t width,
                                            uint32_t unit_log)
{
    rapt_linear_vulkan *x = &job->x;
    const flow_total_push push = {
        .n = (uint32_t)x->n,
        .m = (uint32_t)x->m,
        .packed = (uint32_t)x->packed,
        .side_lanes = (uint32_t)side_lanes,
        .table_k = x->table_k,
        .sequences = (uint32_t)x->sequences,
        .width = (uint32_t)width,
        .units = (uint32_t)units,
        .unit_log = unit_log,
        .to = to_at,
    };
    const rapt_vulkan_buffer buffers[] = {parts, x->table, to};
    return rapt_vulkan_run(&x->device, &flow_total_shader, NULL, 0, rapt_vulkan_groups(width, 32),
                           (uint32_t)lanes, (uint32_t)x->sequences, buffers, &push, NULL);
}

/* A pass and the totals of what it sums. */
static inline rapt_status flow_record_sums(flow_vulkan *job, uint32_t stage, uint32_t reads,
                                           uint32_t set)
{
    const int64_t lanes = job->x.round;
    const rapt_status status =
        flow_record_pass(job, stage, reads, job->parts, FLOW_UNIT_LOG, job->units);
    if (status != RAPT_OK)
        return status;
    return flow_record_total(job, job->parts, job->totals, set * flow_totals(job), 2 * lanes, lanes,
                             job->units, job->x.d, FLOW_UNIT_LOG);
}

/* The keys' competition, after stage 2. */
static inline rapt_status flow_record_compete(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->keys;
    const flow_compete_push push = {
        .n = (uint32_t)job->x.n,
        .m = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .lanes = (uint32_t)x->round,
        .lane_rows = (uint32_t)job->lane_rows,
        .sequences = (uint32_t)x->sequences,
        .units = (uint32_t)job->units,
        .unit_log = FLOW_UNIT_LOG,
        .bound = job->clamp,
    };
    const rapt_vulkan_buffer buffers[] = {job->extremes, x->table, job->wholes, job->numbers};
    const uint32_t join[3] = {0, 0, 0}, weigh[3] = {0, 0, 1};
    const rapt_status status =
        rapt_vulkan_run(&x->device, &flow_compete_shader, join, 3, (uint32_t)x->sequences,
                        (uint32_t)job->x.count, 1, buffers, &push, NULL);
    if (status != RAPT_OK)
        return status;
    return rapt_vulkan_run(&x->device, &flow_compete_shader, weigh, 3, (uint32_t)x->slots,
                           (uint32_t)job->x.count, 1, buffers, &push, NULL);
}

/* A D x E matrix of each sequence: of side's rows a and c. */
static inline rapt_status flow_record_matrix(flow_vulkan *job, rapt_linear_vulkan *side,
                                             const rapt_linear_rows *a, const rapt_linear_rows *c,
                                             rapt_vulkan_buffer to)
{
    rapt_linear_vulkan *x = &job->x;
    side->first = x->first;
    side->count = x->count;
    const rapt_status status = rapt_linear_contribute(side, flow_contribute_shader, a, c,
                                                      &x->states, false, FLOW_UNIT_LOG);
    if (status != RAPT_OK)
        return status;
    const bool keys = side == &job->keys;
    return flow_record_total(job, x->states, to, 0, x->count, keys ? 0 : x->round, x->lane_states,
                             x->d * x->e, FLOW_UNIT_LOG);
}

/* The numbers of all rows, and kv. */
static inline rapt_status flow_record_whole(flow_vulkan *job)
{
    rapt_status status = flow_record_sums(job, 0, 0, 0);
    if (status == RAPT_OK)
        status = flow_record_sums(job, 1, 0, 1);
    if (status == RAPT_OK)
        status = flow_record_pass(job, 2, 1, job->parts, FLOW_UNIT_LOG, job->units);
    if (status == RAPT_OK)
        status = flow_record_compete(job);
    if (status == RAPT_OK)
        status = flow_record_matrix(job, &job->keys, &job->k, &job->v, job->kv);
    return status;
}

/* A mode of rows.comp; `to` NULL: what it would write there is not wanted. By cooperative matrices
 * the first alone is faster, and that of wide rows. */
static inline rapt_status flow_record_rows(flow_vulkan *job, uint32_t mode,
                                           const rapt_linear_rows *a, const rapt_linear_rows *y,
                                           const rapt_linear_rows *to, rapt_vulkan_buffer matrix)
{
    rapt_linear_vulkan *x = &job->x;
    const bool keys = mode == 2 || mode == 4;
    const rapt_linear_rows *const rows[3] = {a, y, to ? to : a};
    const flow_rows_push push = {
        .x = rapt_linear_at(x, a, false),
        .y = rapt_linear_at(x, y, false),
        .to = rapt_linear_at(x, rows[2], false),
        .n = (uint32_t)x->n,
        .m = (uint32_t)x->m,
        .packed = (uint32_t)x->packed,
        .table_k = x->table_k,
        .lanes = (uint32_t)x->round,
        .lane_rows = (uint32_t)job->lane_rows,
        .sequences = (uint32_t)x->sequences,
        .slots = (uint32_t)x->slots_k,
        .inner = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .totals = flow_totals(job),
        .flags = to != NULL,
        .eps = job->eps,
        .bound = job->clamp,
    };
    uint32_t constants[3] = {0, 0, mode};
    const bool aligned = rapt_linear_aligned(x, rows, 3);
    const bool coop = mode == 0 && (x->d > RAPT_LINEAR_CHUNK || x->e > RAPT_LINEAR_CHUNK);
    const int form = coop ? rapt_linear_form(x, aligned) : rapt_linear_half(x);
    rapt_linear_constants(x, aligned, constants);
    const rapt_vulkan_buffer buffers[] = {a->buffer,    y->buffer, to ? to->buffer : x->zeros,
                                          job->numbers, matrix,    x->table,
                                          job->totals,  job->means};
    return rapt_vulkan_run(&x->device, &flow_rows_shader[form], constants, 3,
                           (uint32_t)(keys ? x->slots_k : x->slots), (uint32_t)x->count, 1, buffers,
                           &push, NULL);
}

static inline rapt_status flow_full_forward(flow_vulkan *job, const rapt_linear_rows *o)
{
    const rapt_status status = flow_record_whole(job);
    return status == RAPT_OK ? flow_record_rows(job, 0, &job->q, &job->q, o, job->kv) : status;
}

static inline rapt_status flow_full_backward(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_status status = flow_record_whole(job);
    if (status == RAPT_OK)
        status = flow_record_matrix(job, x, &job->q, &job->d_o, job->d_kv);
    if (status == RAPT_OK)
        status = flow_record_rows(job, 1, &job->q, &job->d_o, NULL, job->kv);
    if (status == RAPT_OK)
        status =
            flow_record_rows(job, 2, &job->k, &job->v, job->wanted[2] ? &job->dv : NULL, job->d_kv);
    if (!job->wanted[0] && !job->wanted[1])
        return status;
    if (status == RAPT_OK)
        status = flow_record_total(job, job->means, job->mean, 0, x->count, 0, x->slots_k, 1, 0);
    if (status == RAPT_OK)
        status = flow_record_sums(job, 3, 0, 2);
    if (status == RAPT_OK)
        status = flow_record_sums(job, 4, 2, 3);
    if (status == RAPT_OK && job->wanted[0])
        status = flow_record_rows(job, 3, &job->d_o, &job->q, &job->dq, job->kv);
    if (status == RAPT_OK && job->wanted[1])
        status = flow_record_rows(job, 4, &job->v, &job->k, &job->dk, job->d_kv);
    return status;
}

#endif
