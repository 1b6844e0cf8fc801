/* The depth-wise convolution of agent on a Vulkan device: it is added to what the queries received,
 * and has gradients of values and of its kernel. */
#ifndef RAPT_AGENT_VULKAN_CONVOLVE_H
#define RAPT_AGENT_VULKAN_CONVOLVE_H

#include "vulkan_job.h"

/* Weights from tap `first` on, `count` of them for each channel; or biases. */
static void load_taps(agent_job *job, const rapt_view *view, int64_t first, int64_t count)
{
    const agent_plan *plan = &job->plan;
    uint32_t strides[RAPT_MAX_DIMS] = {0}, base;
    rapt_vulkan_buffer buffers[2];
    if (!view)
        return;
    if (job->status == RAPT_OK)
        job->status = rapt_vulkan_bind(plan->call, plan->device.limits, view, &buffers[0], &base);
    if (job->status != RAPT_OK)
        return;
    rapt_vulkan_strides(view, strides);
    buffers[1] = agent_buffer(plan, plan->kernel);
    const int64_t channels = plan->H * plan->E;
    const agent_kernel_push push = {
        (uint32_t)channels, (uint32_t)plan->taps, (uint32_t)first, (uint32_t)count, base,
        strides[0],         strides[2],           strides[3]};
    const uint32_t constants[AGENT_CONSTANTS] = {is_bf16(view), 0, 0, 0, 0};
    run(job, &kernel_shader[is_half(view)], constants, rapt_over(channels * count, 64), 1, 1,
        buffers, &push);
}

/* to = add + the convolution of `from`; `back`: the transposed one, for gradients. */
static void convolve(agent_job *job, const rapt_vulkan_rows *from, const agent_floats *add,
                     const rapt_vulkan_rows *to, bool back)
{
    const agent_plan *plan = &job->plan;
    const rapt_view *const *inputs = plan->call->inputs;
    load_taps(job, inputs[AGENT_DWC_WEIGHT], 0, plan->taps * plan->taps);
    load_taps(job, inputs[AGENT_DWC_BIAS], plan->taps * plan->taps, 1);
    const agent_convolve_push push = {(uint32_t)plan->H,
                                      (uint32_t)plan->E,
                                      (int32_t)plan->grid[0],
                                      (int32_t)plan->grid[1],
                                      (int32_t)plan->taps,
                                      inputs[AGENT_DWC_BIAS] != NULL,
                                      from->push,
                                      to->push,
                                      add->base};
    const uint32_t constants[AGENT_CONSTANTS] = {job->bf16, back, 0, 0, 0};
    const rapt_vulkan_buffer buffers[4] = {from->buffer, agent_buffer(plan, plan->kernel),
                                           add->buffer, to->buffer};
    run(job, &convolve_shader[to->half], constants, rapt_over(plan->N * plan->E, 64), plan->units,
        1, buffers, &push);
}

static void store_taps(agent_job *job, const rapt_view *view, int64_t first, int64_t count)
{
    const agent_plan *plan = &job->plan;
    if (!view)
        return;
    const agent_floats to = floats_of(job, view);
    const int64_t channels = plan->H * plan->E;
    const agent_kernel_sum_push push = {
        (uint32_t)channels,    (uint32_t)(plan->taps * plan->taps + 1),
        (uint32_t)first,       (uint32_t)count,
        (uint32_t)plan->slots, to.base};
    const rapt_vulkan_buffer buffers[2] = {agent_buffer(plan, plan->kernels), to.buffer};
    const uint32_t constants[AGENT_CONSTANTS] = {is_bf16(view), 0, 0, 0, 0};
    run(job, &kernel_sum_shader[is_half(view)], constants, rapt_over(channels * count, 64), 1, 1,
        buffers, &push);
}

/* The gradients of weights and biases. */
static void correlate(agent_job *job, const rapt_vulkan_rows *v, const rapt_vulkan_rows *grad)
{
    const agent_plan *plan = &job->plan;
    const int64_t area = plan->taps * plan->taps;
    const agent_kernel_grad_push push = {(uint32_t)plan->H,
                                         (uint32_t)plan->B,
                                         (uint32_t)plan->E,
                                         (int32_t)plan->grid[0],
                                         (int32_t)plan->grid[1],
                                         (int32_t)plan->taps,
                                         (uint32_t)plan->slots,
                                         v->push,
                                         grad->push};
    const rapt_vulkan_buffer buffers[3] = {v->buffer, grad->buffer,
                                           agent_buffer(plan, plan->kernels)};
    run(job, &kernel_grad_shader[v->half], NULL, plan->H * rapt_over(plan->E, 64), area + 1,
        plan->slots, buffers, &push);
    store_taps(job, plan->call->grad_inputs[AGENT_DWC_WEIGHT], 0, area);
    store_taps(job, plan->call->grad_inputs[AGENT_DWC_BIAS], area, 1);
}

#endif
