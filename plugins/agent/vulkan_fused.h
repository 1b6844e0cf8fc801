/* Backward of agent on a Vulkan device in plan->passes passes for each of the two attentions
 * (back_coop.comp; slopes_coop.comp and moved_coop.comp), or else by matrices (vulkan_back.h). */
#ifndef RAPT_AGENT_VULKAN_FUSED_H
#define RAPT_AGENT_VULKAN_FUSED_H

#include "vulkan_back.h"

static int64_t parts_of(const agent_job *job, const agent_half *half)
{
    return half->by_position ? job->plan.hand_parts : job->plan.gather_parts;
}

/* One of the two attentions: `to` is the gradient of half->x, `value` that of values. `floats`: in
 * the place of `to` handing out, of `value` gathering. */
static void run_fused(agent_job *job, const agent_half *half, const rapt_view *to,
                      const rapt_view *value, const rapt_vulkan_range *floats, uint32_t flags)
{
    const agent_plan *plan = &job->plan;
    const bool two = plan->passes == 2;
    const rapt_vulkan_rows to_rows = tensor_of(job, to), value_rows = tensor_of(job, value);
    const uint32_t part0 = half->by_position ? 0 : (uint32_t)plan->hand_parts;
    const agent_back_push push = {
        (uint32_t)plan->H,
        (uint32_t)plan->A,
        (uint32_t)half->length,
        (uint32_t)plan->D,
        (uint32_t)plan->E,
        half->x.push,
        half->y.push,
        to_rows.push,
        value_rows.push,
        job->a.base,
        half->w.base,
        {half->most.base, half->total.base},
        two ? (uint32_t)job->unit0 : part0,
        job->scale,
        job->softcap,
        flags | eights(&half->x, AGENT_BACK_WIDE_X) | eights(&half->y, AGENT_BACK_WIDE_Y) |
            eights(&to_rows, AGENT_BACK_WIDE_TO) | eights(&value_rows, AGENT_BACK_WIDE_VALUE)};
    const uint32_t wide = AGENT_BACK_WIDE_X | AGENT_BACK_WIDE_Y;
    const int64_t run_of = two ? 64 : 16; /* features that are read in turn */
    const bool whole =
        (push.flags & wide) == wide && plan->D % run_of == 0 && plan->E % run_of == 0;
    const uint32_t constants[AGENT_CONSTANTS] = {0,
                                                 agent_blocks(plan->D),
                                                 agent_blocks(plan->E),
                                                 floats != NULL,
                                                 half->by_position,
                                                 job->options | (whole ? AGENT_WHOLE : 0u)};
    const rapt_vulkan_range summed = two ? plan->kept_weights : plan->parts;
    rapt_vulkan_buffer buffers[13] = {half->x.buffer, half->y.buffer,    job->a.buffer,
                                      half->w.buffer, half->most.buffer, half->total.buffer,
                                      to_rows.buffer};
    if (floats)
        buffers[7] = agent_buffer(plan, *floats);
    buffers[8] = agent_buffer(plan, two ? plan->slopes : plan->moved);
    buffers[9] = half->by_position ? agent_buffer(plan, summed) : value_rows.buffer;
    buffers[10] = half->delta.buffer;
    buffers[11] = agent_buffer(plan, plan->drops);
    buffers[12] = agent_buffer(plan, plan->greatest);
    run(job, two ? &slopes_shader[job->way] : &back_shader[job->way], constants,
        parts_of(job, half), job->units, 1, buffers, &push);
}

/* What is summed over the positions: of slopes, or of weights. */
static void run_moved(agent_job *job, const agent_half *half, const rapt_vulkan_rows *x,
                      int64_t width, bool slopes, float scale, int64_t part0,
                      rapt_vulkan_range parts)
{
    const agent_plan *plan = &job->plan;
    const agent_moved_push push = {(uint32_t)plan->H,
                                   (uint32_t)plan->A,
                                   (uint32_t)half->length,
                                   (uint32_t)width,
                                   x->push,
                                   (uint32_t)plan->units,
                                   (uint32_t)job->unit0,
                                   (uint32_t)part0,
                                   scale,
                                   eights(x, AGENT_BACK_WIDE_X)};
    const bool whole = push.flags && width % 16 == 0;
    const uint32_t constants[AGENT_CONSTANTS] = {0, agent_blocks(width), slopes, whole, 0, 0};
    const rapt_vulkan_buffer buffers[5] = {
        x->buffer, agent_buffer(plan, slopes ? plan->slopes : plan->kept_weights),
        agent_buffer(plan, plan->drops), agent_buffer(plan, plan->greatest),
        agent_buffer(plan, parts)};
    run(job, &moved_shader[job->way], constants, parts_of(job, half), job->units, 1, buffers,
        &push);
}

/* All units, some after the other. */
static void walk_fused(agent_job *job, const agent_half *half, const rapt_view *to,
                       const rapt_view *value, const rapt_vulkan_range *floats, uint32_t flags)
{
    const agent_plan *plan = &job->plan;
    const int64_t together = agent_together(plan, half->length);
    if (plan->passes == 2)
        clear(job, plan->greatest);
    for (int64_t u = 0; u < plan->units; u += together) {
        job->unit0 = u;
        job->units = rapt_least(together, plan->units - u);
        run_fused(job, half, to, value, floats, flags);
        if (plan->passes < 2)
            continue;
        if (half->by_position)
            run_moved(job, half, &half->y, plan->E, false, 1.0f, 0, plan->parts);
        run_moved(job, half, &half->x, plan->D, true, job->scale,
                  half->by_position ? 0 : plan->hand_parts, plan->moved);
    }
}

/* Handing out; the agents' gradients are left in parts. */
static void hand_out_fused(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    rapt_view *const *grads = plan->call->grad_inputs;
    const agent_floats du = floats_at(job, plan->du);
    walk_fused(job, half, grads[AGENT_Q], NULL, plan->pooled && grads[AGENT_Q] ? &plan->dq : NULL,
               (grads[AGENT_Q] ? AGENT_BACK_TO : 0u) | (grads[AGENT_SINK] ? AGENT_BACK_VALUE : 0u));
    sum_runs(job, plan->parts, plan->hand_parts, plan->units * plan->A * plan->E, 1.0f, &du);
}

static void gather_fused(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    rapt_view *const *grads = plan->call->grad_inputs;
    walk_fused(job, half, grads[AGENT_K], grads[AGENT_V],
               plan->taps > 0 && grads[AGENT_V] ? &plan->dv : NULL,
               (grads[AGENT_K] ? AGENT_BACK_TO : 0u) | (grads[AGENT_V] ? AGENT_BACK_VALUE : 0u));
}

/* The agents' gradients: of both attentions if `both`, otherwise of handing out. */
static void sum_fused(agent_job *job, bool both)
{
    const agent_plan *plan = &job->plan;
    const agent_floats da = floats_at(job, plan->da);
    sum_runs(job, plan->moved, plan->hand_parts + (both ? plan->gather_parts : 0),
             plan->units * plan->A * plan->D, 1.0f, &da);
}

/* Handing out: gradients of what was gathered, of the agents and of the queries. */
static void back_to_agents(agent_job *job, const rapt_vulkan_rows *grad)
{
    const agent_plan *plan = &job->plan;
    rapt_call *call = plan->call;
    agent_half half;
    memset(&half, 0, sizeof half);
    half.by_position = true;
    half.length = plan->N;
    half.chunks = plan->handing;
    half.x = tensor_of(job, call->inputs[AGENT_Q]);
    half.y = *grad;
    half.w = job->u;
    half.w_scale = plan->scale_u;
    half.most = floats_of(job, call->saved[AGENT_HAND_OUT_REFERENCE]);
    half.total = floats_of(job, call->saved[AGENT_HAND_OUT_SUM]);
    half.delta = floats_at(job, plan->delta_n);
    half.bias = bias_of(job, call->inputs[AGENT_QUERY_BIAS], true);
    half.bias_grad = plan->query_bias;
    half.bias_wanted = call->grad_inputs[AGENT_QUERY_BIAS] != NULL;
    if (plan->passes) {
        hand_out_fused(job, &half);
    } else {
        take_scales(job, &half.w, plan->A * plan->E, 0, plan->units, half.w_scale);
        clear(job, plan->du);
        clear(job, plan->da);
        clear(job, plan->query_bias);
        walk(job, &half, hand_out_back);
        store(job, plan->query_bias, call->grad_inputs[AGENT_QUERY_BIAS]);
    }
    back_to_sink(job, &half);
}

/* Gathering: gradients of the agents, of keys and of values. */
static void back_to_keys(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    rapt_call *call = plan->call;
    agent_half half;
    memset(&half, 0, sizeof half);
    half.length = plan->M;
    half.chunks = plan->gathering;
    half.x = tensor_of(job, call->inputs[AGENT_K]);
    half.y = tensor_of(job, call->inputs[AGENT_V]);
    half.w = floats_at(job, plan->du);
    half.w_scale = plan->scale_du;
    half.most = job->gather_most;
    half.total = job->gather_total;
    half.delta = floats_at(job, plan->delta_a);
    half.bias = bias_of(job, call->inputs[AGENT_AGENT_BIAS], false);
    half.bias_grad = plan->agent_bias;
    half.bias_wanted = call->grad_inputs[AGENT_AGENT_BIAS] != NULL;
    const agent_dot_push push = {(uint32_t)plan->E, job->u.base};
    const rapt_vulkan_buffer buffers[3] = {job->u.buffer, half.w.buffer, half.delta.buffer};
    run(job, &dot_shader, NULL, plan->sets * plan->A, 1, 1, buffers, &push);
    if (plan->passes) {
        gather_fused(job, &half);
        return;
    }
    take_scales(job, &half.w, plan->A * plan->E, 0, plan->units, half.w_scale);
    clear(job, plan->agent_bias);
    walk(job, &half, gather_back);
    store(job, plan->agent_bias, call->grad_inputs[AGENT_AGENT_BIAS]);
}

#endif
