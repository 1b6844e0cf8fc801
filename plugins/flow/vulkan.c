/* flow on Vulkan. */
#include "kit/linear_vulkan.h"

#include "flow_apply_coop_emulated.h"
#include "flow_apply_coop_khr.h"
#include "flow_apply_coop_nv.h"
#include "flow_apply_f32.h"
#include "flow_apply_half.h"
#include "flow_carry.h"
#include "flow_close_f32.h"
#include "flow_close_half.h"
#include "flow_compete.h"
#include "flow_contribute_coop_emulated.h"
#include "flow_contribute_coop_khr.h"
#include "flow_contribute_coop_nv.h"
#include "flow_contribute_f32.h"
#include "flow_contribute_half.h"
#include "flow_ends.h"
#include "flow_open_f32.h"
#include "flow_open_half.h"
#include "flow_pairs.h"
#include "flow_pass_f32.h"
#include "flow_pass_f32_lean.h"
#include "flow_pass_half.h"
#include "flow_pass_half_lean.h"
#include "flow_rows_coop_emulated.h"
#include "flow_rows_coop_khr.h"
#include "flow_rows_coop_nv.h"
#include "flow_rows_f32.h"
#include "flow_rows_half.h"
#include "flow_running_f32.h"
#include "flow_running_half.h"
#include "flow_single_f32.h"
#include "flow_single_half.h"
#include "flow_step_f32.h"
#include "flow_step_half.h"
#include "flow_table.h"
#include "flow_total.h"
#include "flow_vectors.h"
#include "flow_weigh.h"

/* Of the kit's factors, contribute takes two operands' and apply three's. */
RAPT_LINEAR_SHADER_COOP(flow, contribute, 7, RAPT_LINEAR_CONTRIBUTE_BYTES + 12);
RAPT_LINEAR_SHADER_COOP(flow, apply, 7, RAPT_LINEAR_APPLY_BYTES + 16);
RAPT_LINEAR_SHADER_ONE(flow, carry, 5, sizeof(rapt_linear_carry_push));
RAPT_LINEAR_SHADER_ONE(flow, table, 2, sizeof(rapt_linear_table_push));

#include "vulkan_causal.h"

typedef struct single_push {
    rapt_linear_place q, k, v, d_o, to_q, to_k;
    uint32_t n, m, packed, table_k, inner, width, flags;
    float eps;
} single_push;

typedef struct step_push {
    rapt_linear_step_row q, k, v, o;
    uint32_t state, sums, inner, width, heads;
    float eps, bound;
} step_push;

RAPT_LINEAR_SHADER(flow, single, 7, sizeof(single_push));
RAPT_LINEAR_SHADER(flow, step, 6, sizeof(step_push));

rapt_status flow_vulkan_supports(rapt_call *call)
{
    flow_vulkan job;
    rapt_status status = flow_supports(call);
    if (status == RAPT_OK)
        status = flow_plan(call, &job);
    if (status == RAPT_OK)
        status = rapt_linear_check_borders(call, "cu_seqlens_k", job.x.borders_k, job.x.m);
    return status == RAPT_OK ? rapt_linear_fits(&job.x) : status;
}

size_t flow_vulkan_workspace(rapt_call *call)
{
    flow_vulkan job;
    if (call->phase == RAPT_STEP || flow_plan(call, &job) != RAPT_OK)
        return 0;
    return (size_t)job.x.used;
}

rapt_status flow_vulkan_forward(rapt_call *call)
{
    flow_vulkan job;
    rapt_linear_rows o;
    rapt_status status = flow_begin(call, &job, &flow_table_shader);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(&job.x, call->outputs[FLOW_O], &o);
    while (status == RAPT_OK && rapt_linear_next(&job.x))
        status = job.causal ? flow_causal_forward(&job, &o) : flow_full_forward(&job, &o);
    return status;
}

/* dq and dk of sequences of one query and one key, of which nothing comes before or after. */
static rapt_status record_single(flow_vulkan *job)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_call *call = x->call;
    const bool one = x->packed || (x->n == 1 && x->m == 1);
    if (!one || call->inputs[FLOW_SUMS] || call->grad_outputs[FLOW_FINAL_SUMS] ||
        call->grad_outputs[FLOW_FINAL_STATE])
        return RAPT_OK;
    const single_push push = {
        .q = rapt_linear_at(x, &job->q, false),
        .k = rapt_linear_at(x, &job->k, false),
        .v = rapt_linear_at(x, &job->v, false),
        .d_o = rapt_linear_at(x, &job->d_o, false),
        .to_q = rapt_linear_at(x, &job->dq, false),
        .to_k = rapt_linear_at(x, &job->dk, false),
        .n = (uint32_t)x->n,
        .m = (uint32_t)x->m,
        .packed = (uint32_t)x->packed,
        .table_k = job->causal ? 0 : x->table_k,
        .inner = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .flags = (job->wanted[0] ? 1u : 0u) | (job->wanted[1] ? 2u : 0u),
        .eps = job->eps,
    };
    uint32_t constants[2];
    rapt_linear_constants(x, false, constants);
    const rapt_vulkan_buffer buffers[] = {job->q.buffer,   job->k.buffer,  job->v.buffer,
                                          job->d_o.buffer, job->dq.buffer, job->dk.buffer,
                                          x->table};
    return rapt_vulkan_run(&x->device, &flow_single_shader[rapt_linear_half(x)], constants, 2,
                           (uint32_t)x->sequences, (uint32_t)x->count, 1, buffers, &push, NULL);
}

rapt_status flow_vulkan_backward(rapt_call *call)
{
    flow_vulkan job;
    rapt_status status = flow_begin(call, &job, &flow_table_shader);
    while (status == RAPT_OK && rapt_linear_next(&job.x)) {
        status = job.causal ? flow_causal_backward(&job) : flow_full_backward(&job);
        if (status == RAPT_OK && (job.wanted[0] || job.wanted[1]))
            status = record_single(&job);
    }
    return status;
}

rapt_status flow_vulkan_step(rapt_call *call)
{
    flow_vulkan job;
    const rapt_view *const views[4] = {call->inputs[FLOW_Q], call->inputs[FLOW_K],
                                       call->inputs[FLOW_V], call->outputs[FLOW_O]};
    rapt_linear_vulkan *x = &job.x;
    rapt_status status = flow_layout(call, &job);
    step_push push = {
        .inner = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .heads = (uint32_t)x->heads,
        .eps = job.eps,
        .bound = job.clamp,
    };
    rapt_linear_step_row *const rows[4] = {&push.q, &push.k, &push.v, &push.o};
    rapt_vulkan_buffer buffers[6];
    for (int i = 0; status == RAPT_OK && i < 4; i++)
        status = rapt_linear_step_row_of(x, views[i], &buffers[i], rows[i]);
    if (status == RAPT_OK)
        status =
            rapt_vulkan_bind(call, x->device.limits, call->states[0], &buffers[4], &push.state);
    if (status == RAPT_OK)
        status = rapt_vulkan_bind(call, x->device.limits, call->states[1], &buffers[5], &push.sums);
    if (status != RAPT_OK)
        return status;
    uint32_t constants[2];
    rapt_linear_constants(x, false, constants);
    return rapt_vulkan_run(&x->device, &flow_step_shader[rapt_linear_half(x)], constants, 2,
                           (uint32_t)x->heads, (uint32_t)x->batch, 1, buffers, &push, NULL);
}
