/* The passes of mta that options add: what queries see, and the gradients of what shapes scores. */
#ifndef RAPT_MTA_VULKAN_OPTIONS_PASSES_H
#define RAPT_MTA_VULKAN_OPTIONS_PASSES_H

#include "vulkan_passes.h"

/* Binds what shapes scores and what belongs to the softmax. */
static void take_score_inputs(mta_job *job)
{
    const rapt_call *call = job->plan.call;
    const bool backward = job->plan.backward;
    const rapt_view *bias = call->inputs[MTA_BIAS], *lse = NULL;
    mta_score_inputs *inputs = &job->inputs;
    if (backward)
        lse = call->grad_outputs[MTA_LSE];
    else if (call->phase != RAPT_WEIGHTS)
        lse = call->outputs[MTA_LSE];
    inputs->bias = tensor_of(job, bias);
    if (bias && bias->shape[3] > 1)
        inputs->bias_key = (uint32_t)bias->strides[3];
    inputs->alibi = tensor_of(job, call->inputs[MTA_ALIBI]);
    inputs->sink = tensor_of(job, call->inputs[MTA_SINK]);
    inputs->lse = tensor_of(job, lse);
    inputs->row = lse ? MTA_HAS_LSE : 0;
    if (call->inputs[MTA_SINK])
        inputs->row |= MTA_HAS_SINK;
    if (backward && call->grad_inputs[MTA_SINK])
        inputs->row |= MTA_WANTS_SINK;
}

/* The table of what each query sees, where it cannot be told from its number. */
static void make_sees(mta_job *job)
{
    const mta_plan *plan = &job->plan;
    const mta_options *options = &plan->options;
    if (!options->sight || job->status != RAPT_OK)
        return;
    mta_sees_push push = {.queries = (uint32_t)plan->N,
                          .keys = (uint32_t)plan->M,
                          .left = (int32_t)options->left,
                          .right = (int32_t)options->right,
                          .borders = (uint32_t)options->borders};
    rapt_vulkan_buffer buffers[4] = {
        {0}, {0}, mta_buffer(plan, plan->rising), mta_buffer(plan, plan->sees)};
    if (options->borders) {
        const rapt_view *q = plan->call->inputs[MTA_BORDERS_Q];
        const rapt_view *k = plan->call->inputs[MTA_BORDERS_K];
        const rapt_vulkan_rows borders_q = tensor_of(job, q), borders_k = tensor_of(job, k);
        buffers[0] = borders_q.buffer;
        buffers[1] = borders_k.buffer;
        push.base_q = borders_q.push.base;
        push.step_q = borders_q.push.batch;
        push.wide_q = rapt_view_dtype(q) == RAPT_I64;
        push.base_k = borders_k.push.base;
        push.step_k = borders_k.push.batch;
        push.wide_k = rapt_view_dtype(k) == RAPT_I64;
        push.clean = 1;
        run_of(job, &sees_shader, NULL, 0, 2, 1, 1, buffers, &push);
        push.clean = 0;
    }
    run_of(job, &sees_shader, NULL, 0, rapt_over(plan->N, 128), 1, 1, buffers, &push);
}

/* The gradient of scores becomes that of products with their bias; adds to that of alibi. */
static void shape_back(mta_job *job, const mta_matrix *grad, const mta_matrix *scores)
{
    const mta_plan *plan = &job->plan;
    const mta_stripe *stripe = &job->stripe;
    uint32_t shape = plan->options.shape & MTA_HAS_SOFTCAP;
    if (shape)
        shape |= plan->options.shape & MTA_HAS_ALIBI;
    if (plan->call->grad_inputs[MTA_ALIBI])
        shape |= MTA_WANTS_ALIBI;
    if (!shape)
        return;
    const mta_shape_back_push push = {stripe_push(job),
                                      (int32_t)scores->first,
                                      (int32_t)stripe->own,
                                      (uint32_t)stripe->count,
                                      (uint32_t)plan->slots,
                                      MTA_SLOT_KEYS,
                                      (uint32_t)stripe->stripe_slots,
                                      job->inputs.alibi.push.base,
                                      (int32_t)(plan->M - plan->N),
                                      plan->options.softcap};
    const rapt_vulkan_buffer buffers[5] = {mta_buffer(plan, scores->part),
                                           mta_buffer(plan, grad->part), job->inputs.alibi.buffer,
                                           mta_buffer(plan, plan->d_alibi), sees_buffer(job)};
    run_matrix(job, &shape_back_shader, NULL, 0, shape,
               rapt_over(stripe->count, MTA_SLOT_ROWS) * stripe->stripe_slots, stripe->units, 1,
               buffers, &push);
}

/* Adds to the gradient of the bias. */
static void bias_back(mta_job *job, const mta_matrix *grad)
{
    const mta_plan *plan = &job->plan;
    const mta_stripe *stripe = &job->stripe;
    const mta_options *options = &plan->options;
    if (!plan->call->grad_inputs[MTA_BIAS])
        return;
    mta_bias_back_push push = {.stripe = stripe_push(job),
                               .own = (int32_t)stripe->own,
                               .count = (uint32_t)stripe->count,
                               .units = (uint32_t)stripe->units,
                               .batches = (uint32_t)plan->B,
                               .row_slots = (uint32_t)options->row_slots,
                               .key_slots = (uint32_t)options->key_slots,
                               .slot_keys = MTA_SLOT_KEYS};
    for (int d = 0; d < 4; d++)
        push.bias[d] = (uint32_t)options->bias[d];
    const rapt_vulkan_buffer buffers[3] = {mta_buffer(plan, grad->part),
                                           mta_buffer(plan, plan->d_bias), sees_buffer(job)};
    run_matrix(job, &bias_back_shader, NULL, 0, 0,
               options->bias[3] == 1 ? stripe->stripe_slots : rapt_over(stripe->end, 64),
               options->bias[2] == 1 ? rapt_over(stripe->count, MTA_SLOT_ROWS) : stripe->count,
               options->bias[0] * options->bias[1], buffers, &push);
}

/* The gradients of the options' inputs. */
static void store_options(mta_job *job)
{
    const mta_plan *plan = &job->plan;
    const mta_options *options = &plan->options;
    rapt_view *const *grads = plan->call->grad_inputs;
    store_kernel(job, plan->d_alibi, plan->H, 1, grads[MTA_ALIBI]);
    store_sums(job, plan->d_sink, plan->H, plan->B, plan->rows, 1, grads[MTA_SINK]);
    store_sums(job, plan->d_bias, options->bias[0] * options->bias[1], 1,
               options->row_slots * options->key_slots, options->bias[2] * options->bias[3],
               grads[MTA_BIAS]);
}

#endif
