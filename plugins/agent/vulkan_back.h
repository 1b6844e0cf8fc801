/* Backward of agent on a Vulkan device: chunks of the matrices of agents against positions, and
 * what is made of them. */
#ifndef RAPT_AGENT_VULKAN_BACK_H
#define RAPT_AGENT_VULKAN_BACK_H

#include "vulkan_convolve.h"

/* One of the two attentions in backward: matrices of agents against positions, whose logits are
 * products of `x` (queries or keys) with the agents, and whose gradients of weights are products of
 * `y` (gradients of outputs, or values) with `w` (what was gathered, or its gradient). */
typedef struct agent_half {
    bool by_position; /* the softmax runs over agents */
    int64_t length;
    agent_chunks chunks;
    rapt_vulkan_rows x, y;
    agent_floats w, most, total, delta;
    rapt_vulkan_range w_scale; /* of w as a float16 operand */
    agent_bias bias;
    rapt_vulkan_range bias_grad;
    bool bias_wanted;
} agent_half;

static agent_chunk_push chunk_push(const agent_job *job, const agent_half *half)
{
    const uint32_t sequences = (uint32_t)job->plan.sequences;
    const agent_chunk_push push = {(uint32_t)job->plan.H,
                                   (uint32_t)job->plan.A,
                                   (uint32_t)job->unit0,
                                   (uint32_t)half->length,
                                   (uint32_t)job->first,
                                   (uint32_t)job->count,
                                   sequences,
                                   half->by_position ? 0 : sequences + 1};
    return push;
}

/* Tiles of some positions: of packed sequences one more each, as all may begin within a tile. */
static int64_t tiles_of(const agent_plan *plan, int64_t positions)
{
    const int64_t tiles = rapt_over(positions, AGENT_TILE);
    return plan->packed && positions > 0 ? tiles + plan->sequences : tiles;
}

/* matrix = scale left right^T + bias, of logits with softcap; `left_scale`: of the left operand
 * where it is float16; `of_sequence`: the left operand is one of each packed sequence. */
static void product(agent_job *job, const agent_half *half, const agent_floats *left,
                    const rapt_vulkan_range *left_scale, bool of_sequence,
                    const rapt_vulkan_rows *right, int64_t width, const agent_bias *bias,
                    float scale, bool logits, rapt_vulkan_range matrix)
{
    const agent_plan *plan = &job->plan;
    const bool scaled = left_scale && is_coop(job);
    const agent_product_push push = {chunk_push(job, half),
                                     (uint32_t)width,
                                     left->base,
                                     right->push,
                                     bias->push,
                                     width ? scale : 0.0f,
                                     job->softcap,
                                     of_sequence ? (uint32_t)plan->H : 0u};
    const uint32_t options = logits ? job->options : job->options & AGENT_PACKED;
    const uint32_t constants[AGENT_CONSTANTS] = {job->bf16, bias->kind, scaled, 0, 0, options};
    rapt_vulkan_buffer buffers[7] = {
        left->buffer, right->buffer,  bias->buffer, bias->buffer, agent_buffer(plan, matrix),
        {NULL, 0, 0}, borders_of(job)};
    if (scaled)
        buffers[5] = agent_buffer(plan, *left_scale);
    run(job, product_way(job, product_coop_shader, product_shader, right->half), constants,
        tiles_of(plan, job->count), rapt_over(plan->A, AGENT_TILE), job->units, buffers, &push);
}

/* The bindings that value.glsl declares. */
static void bind_values(const agent_job *job, const agent_half *half, rapt_vulkan_buffer *buffers)
{
    buffers[0] = agent_buffer(&job->plan, job->plan.logits);
    buffers[1] = agent_buffer(&job->plan, job->plan.grads);
    buffers[2] = half->most.buffer;
    buffers[3] = half->total.buffer;
    buffers[4] = half->delta.buffer;
}

/* The same, and the scale of what they are as float16 operands. */
static void bind_operands(const agent_job *job, const agent_half *half, rapt_vulkan_buffer *buffers)
{
    memset(buffers, 0, 11 * sizeof *buffers);
    bind_values(job, half, buffers);
    buffers[9] = agent_buffer(&job->plan, job->plan.scale_grads);
    buffers[10] = borders_of(job);
}

static agent_weight_push weight_push(const agent_job *job, const agent_half *half)
{
    const agent_weight_push push = {half->most.base, half->total.base,
                                    job->softcap > 0 ? 1.0f / job->softcap : 0.0f};
    return push;
}

/* Of what weights and their gradients are made: only gradients know of softcap. */
static uint32_t value_options(const agent_job *job, bool gradients)
{
    return gradients ? job->options : job->options & AGENT_PACKED;
}

/* to (+)= scale times the weights (or gradients of logits) times `right`, for each agent. */
static void multiply_rows(agent_job *job, const agent_half *half, bool gradients,
                          const rapt_vulkan_rows *right, int64_t width, float scale, bool add,
                          rapt_vulkan_range to)
{
    const agent_plan *plan = &job->plan;
    int64_t each;
    const int64_t sets = agent_sets_of(plan, job->units);
    const int64_t splits = agent_splits_of(
        plan, groups_of(job), agent_sets_of(plan, half->chunks.units), job->count, width, &each);
    const agent_rows_push push = {chunk_push(job, half), weight_push(job, half), (uint32_t)width,
                                  right->push,           (uint32_t)sets,         (uint32_t)splits,
                                  (uint32_t)each};
    const uint32_t constants[AGENT_CONSTANTS] = {
        job->bf16, half->by_position, gradients, 0, 0, value_options(job, gradients)};
    rapt_vulkan_buffer buffers[11];
    bind_operands(job, half, buffers);
    buffers[5] = right->buffer;
    buffers[6] = agent_buffer(plan, plan->parts);
    run(job, product_way(job, rows_coop_shader, rows_shader, right->half), constants,
        rapt_over(width, AGENT_TILE) * splits, rapt_over(plan->A, AGENT_TILE), sets, buffers,
        &push);
    const int64_t size = plan->A * width;
    const agent_sum_push ends = {(uint32_t)(sets * size), (uint32_t)splits,
                                 (uint32_t)(job->unit0 * size), scale};
    const uint32_t how[AGENT_CONSTANTS] = {job->bf16, add};
    const rapt_vulkan_buffer put[2] = {buffers[6], agent_buffer(plan, to)};
    run(job, &sum_shader, how, rapt_over(sets * size, 64), 1, 1, put, &ends);
}

/* to = scale times the transposed weights times half->w or, with `gradients`, the transposed
 * gradients of logits times the agents, for each position; to the tensor, or to `floats` in its
 * place. */
static void multiply_columns(agent_job *job, const agent_half *half, bool gradients, int64_t width,
                             float scale, const rapt_view *view, const rapt_vulkan_range *floats)
{
    const agent_plan *plan = &job->plan;
    const rapt_vulkan_rows to = tensor_of(job, view);
    const agent_floats *right = gradients ? &job->a : &half->w;
    const bool of_sequence = !gradients || plan->pooled;
    const agent_columns_push push = {chunk_push(job, half),
                                     weight_push(job, half),
                                     (uint32_t)width,
                                     right->base,
                                     to.push,
                                     scale,
                                     of_sequence ? (uint32_t)plan->H : 0u};
    const bool scaled = !gradients && is_coop(job);
    const uint32_t constants[AGENT_CONSTANTS] = {job->bf16, half->by_position,
                                                 gradients, floats != NULL,
                                                 scaled,    value_options(job, gradients)};
    rapt_vulkan_buffer buffers[11];
    bind_operands(job, half, buffers);
    if (scaled)
        buffers[8] = agent_buffer(plan, half->w_scale);
    buffers[5] = right->buffer;
    buffers[6] = to.buffer;
    buffers[7] = floats ? agent_buffer(plan, *floats) : to.buffer;
    run(job, product_way(job, columns_coop_shader, columns_shader, to.half), constants,
        rapt_over(width, AGENT_TILE), tiles_of(plan, job->count), job->units, buffers, &push);
}

static void add_bias_grad(agent_job *job, const agent_half *half)
{
    const agent_bias_grad_push push = {chunk_push(job, half), weight_push(job, half),
                                       (uint32_t)job->units};
    const uint32_t constants[AGENT_CONSTANTS] = {job->bf16, half->by_position, 1, 0,
                                                 0,         job->options};
    rapt_vulkan_buffer buffers[7];
    if (!half->bias_wanted)
        return;
    bind_values(job, half, buffers);
    buffers[5] = agent_buffer(&job->plan, half->bias_grad);
    buffers[6] = borders_of(job);
    run(job, &bias_grad_shader, constants, rapt_over(job->count, 64), job->plan.A, job->plan.H,
        buffers, &push);
}

static void multiply_logits(agent_job *job, const agent_half *half)
{
    product(job, half, &job->a, NULL, job->plan.pooled, &half->x, job->plan.D, &half->bias,
            job->scale, true, job->plan.logits);
}

/* The matrices of the chunk. */
static void make_matrices(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    static const agent_bias none;
    multiply_logits(job, half);
    product(job, half, &half->w, &half->w_scale, true, &half->y, plan->E, &none, 1.0f, false,
            plan->grads);
}

/* `to` = powers of two for the greatest of `count` numbers of each of some units. */
static void take_scales(agent_job *job, const agent_floats *from, int64_t count, int64_t unit0,
                        int64_t units, rapt_vulkan_range to)
{
    const agent_scale_push push = {(uint32_t)count, from->base, (uint32_t)unit0};
    const rapt_vulkan_buffer buffers[2] = {from->buffer, agent_buffer(&job->plan, to)};
    if (is_coop(job))
        run(job, &scale_shader, NULL, units, 1, 1, buffers, &push);
}

/* The sums of the positions' softmax gradients, and the scales of gradients of logits. */
static void take_deltas(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    const bool greatest = is_coop(job);
    const agent_floats most = floats_at(job, plan->greatest);
    const agent_delta_push push = {chunk_push(job, half), weight_push(job, half),
                                   (uint32_t)rapt_over(job->count, 64)};
    const uint32_t constants[AGENT_CONSTANTS] = {
        job->bf16, half->by_position, 0, greatest, 0, value_options(job, greatest)};
    rapt_vulkan_buffer buffers[6];
    bind_values(job, half, buffers);
    buffers[5] = most.buffer;
    if (half->by_position || greatest)
        run(job, &delta_shader, constants, push.groups, job->units, 1, buffers, &push);
    take_scales(job, &most, push.groups, job->unit0, job->units, plan->scale_grads);
}

static void hand_out_back(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    const rapt_view *dq = plan->call->grad_inputs[AGENT_Q];
    make_matrices(job, half);
    take_deltas(job, half);
    multiply_rows(job, half, false, &half->y, plan->E, 1.0f, job->first > 0, plan->du);
    multiply_rows(job, half, true, &half->x, plan->D, job->scale, job->first > 0, plan->da);
    if (dq)
        multiply_columns(job, half, true, plan->D, job->scale, dq, plan->pooled ? &plan->dq : NULL);
    add_bias_grad(job, half);
}

static void gather_back(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    rapt_view *const *grads = plan->call->grad_inputs;
    make_matrices(job, half);
    take_deltas(job, half);
    multiply_rows(job, half, true, &half->x, plan->D, job->scale, true, plan->da);
    if (grads[AGENT_K])
        multiply_columns(job, half, true, plan->D, job->scale, grads[AGENT_K], NULL);
    if (grads[AGENT_V])
        multiply_columns(job, half, false, plan->E, 1.0f, grads[AGENT_V],
                         plan->taps > 0 ? &plan->dv : NULL);
    add_bias_grad(job, half);
}

/* Each chunk in turn. */
static void walk(agent_job *job, const agent_half *half,
                 void (*chunk)(agent_job *, const agent_half *))
{
    for (int64_t u = 0; u < job->plan.units; u += half->chunks.units)
        for (int64_t i = 0; i < half->length && job->status == RAPT_OK;
             i += half->chunks.positions) {
            job->unit0 = u;
            job->units = rapt_least(half->chunks.units, job->plan.units - u);
            job->first = i;
            job->count = rapt_least(half->chunks.positions, half->length - i);
            chunk(job, half);
        }
}

static void clear(agent_job *job, rapt_vulkan_range part)
{
    const rapt_vulkan_buffer range = agent_buffer(&job->plan, part);
    if (job->status == RAPT_OK)
        job->status = job->plan.device.service->clear(job->plan.call, &range);
}

/* Float32 of the workspace to a gradient. */
static void store(agent_job *job, rapt_vulkan_range from, const rapt_view *view)
{
    int64_t count = view ? 1 : 0;
    for (int32_t d = 0; view && d < view->ndim; d++)
        count *= view->shape[d];
    if (!count)
        return;
    const agent_floats to = floats_of(job, view);
    const agent_store_push push = {(uint32_t)count, to.base};
    const uint32_t constants[AGENT_CONSTANTS] = {is_bf16(view)};
    const rapt_vulkan_buffer buffers[2] = {agent_buffer(&job->plan, from), to.buffer};
    run(job, &store_shader[is_half(view)], constants, rapt_over(count, 64), 1, 1, buffers, &push);
}

/* to = scale times the sum of `count` runs of `size` numbers. */
static void sum_runs(agent_job *job, rapt_vulkan_range from, int64_t count, int64_t size,
                     float scale, const agent_floats *to)
{
    const agent_sum_push push = {(uint32_t)size, (uint32_t)count, to->base, scale};
    const uint32_t constants[AGENT_CONSTANTS] = {job->bf16};
    const rapt_vulkan_buffer buffers[2] = {agent_buffer(&job->plan, from), to->buffer};
    run(job, &sum_shader, constants, rapt_over(size, 64), 1, 1, buffers, &push);
}

/* The gradient of the sink: a logit like those of the agents, whose value is 0. */
static void back_to_sink(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    const rapt_view *grad = plan->call->grad_inputs[AGENT_SINK];
    if (!grad)
        return;
    const agent_floats sink = floats_of(job, plan->call->inputs[AGENT_SINK]);
    const agent_floats to = floats_of(job, grad);
    const int64_t rows = plan->B * plan->N;
    const int64_t slots = rapt_most(1, rapt_least(AGENT_SLOTS, rapt_over(rows, 1024)));
    const agent_sink_grad_push push = {(uint32_t)plan->H, (uint32_t)plan->B,
                                       (uint32_t)plan->N, (uint32_t)rapt_over(rows, slots),
                                       sink.base,         {half->most.base, half->total.base}};
    const rapt_vulkan_buffer buffers[5] = {sink.buffer, half->most.buffer, half->total.buffer,
                                           half->delta.buffer, agent_buffer(plan, plan->sinks)};
    run(job, &sink_grad_shader, NULL, slots, plan->H, 1, buffers, &push);
    sum_runs(job, plan->sinks, slots, plan->H, -1.0f, &to);
}

static agent_bins_push bins_push(const agent_plan *plan)
{
    const agent_bins_push push = {(uint32_t)plan->grid[0], (uint32_t)plan->grid[1],
                                  (uint32_t)plan->bins[0], (uint32_t)plan->bins[1]};
    return push;
}

/* The gradient of queries, of which agents are averages. */
static void unpool(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const rapt_view *dq = plan->call->grad_inputs[AGENT_Q];
    if (!dq)
        return;
    const rapt_vulkan_rows to = tensor_of(job, dq);
    const agent_unpool_push push = {(uint32_t)plan->H, (uint32_t)plan->D, bins_push(plan), to.push,
                                    (uint32_t)plan->sequences};
    const uint32_t constants[AGENT_CONSTANTS] = {job->bf16, 0, 0,
                                                 0,         0, job->options & AGENT_PACKED};
    const rapt_vulkan_buffer buffers[4] = {
        agent_buffer(plan, plan->dq), agent_buffer(plan, plan->da), to.buffer, borders_of(job)};
    run(job, &unpool_shader[to.half], constants, rapt_over(plan->N * plan->D, 64), plan->units, 1,
        buffers, &push);
}

static void write_zeros(agent_job *job)
{
    rapt_view *const *grads = job->plan.call->grad_inputs;
    for (int i = AGENT_Q; i <= AGENT_SINK; i++) {
        int64_t count = grads[i] ? 1 : 0;
        for (int32_t d = 0; grads[i] && d < grads[i]->ndim; d++)
            count *= grads[i]->shape[d];
        if (!count)
            continue;
        const agent_floats to = floats_of(job, grads[i]);
        const agent_kernel_sum_push push = {(uint32_t)count, 0, 0, 1, 0, to.base};
        const rapt_vulkan_buffer buffers[2] = {agent_buffer(&job->plan, job->plan.parts),
                                               to.buffer};
        run(job, &kernel_sum_shader[is_half(grads[i])], NULL, rapt_over(count, 64), 1, 1, buffers,
            &push);
    }
}

#endif
