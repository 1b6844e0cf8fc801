/*
 * agent on a Vulkan device (vulkan_plan.h). Each sum has an order that depends on sizes alone, so
 * the same input gives the same bits.
 */
#include "vulkan_convolve.h"

/* Refuses, by name, what the CPU alone computes. */
static rapt_status refuse_options(rapt_call *call)
{
    char name[32];
    for (uint32_t i = AGENT_SINK; i < call->op->n_inputs; i++) {
        if (!call->inputs[i])
            continue;
        rapt_vulkan_spec_name("", RAPT_AT(rapt_arg, call->op->inputs, i)->spec, name, sizeof name);
        return call->host->error(call, RAPT_UNSUPPORTED, "%s is taken on the CPU only", name);
    }
    if (call->attrs[AGENT_SOFTCAP].f > 0)
        return call->host->error(call, RAPT_UNSUPPORTED, "softcap is taken on the CPU only");
    return RAPT_OK;
}

rapt_status agent_vulkan_supports(rapt_call *call)
{
    agent_plan plan;
    rapt_status status = refuse_options(call);
    if (status == RAPT_OK)
        status = agent_supports(call);
    if (status == RAPT_OK)
        status = agent_plan_call(call, &plan);
    for (int i = AGENT_Q; status == RAPT_OK && i <= AGENT_DWC_BIAS; i++) {
        const rapt_view *view = call->inputs[i];
        if (view && rapt_view_dtype(view) != RAPT_F32)
            status = rapt_vulkan_require(&plan.device, RAPT_VULKAN_STORAGE16);
        if (status == RAPT_OK)
            status = rapt_vulkan_fits(call, plan.device.limits, view);
    }
    return status;
}

rapt_status agent_vulkan_coopmat_supports(rapt_call *call)
{
    const rapt_status status = rapt_product_require_coop(call);
    return status == RAPT_OK ? agent_vulkan_supports(call) : status;
}

size_t agent_vulkan_workspace(rapt_call *call)
{
    agent_plan plan;
    return agent_plan_call(call, &plan) == RAPT_OK ? (size_t)plan.bytes : 0;
}

/* --- The agents ------------------------------------------------------------------------------ */

static agent_bins_push bins_push(const agent_plan *plan)
{
    const agent_bins_push push = {(uint32_t)plan->grid[0], (uint32_t)plan->grid[1],
                                  (uint32_t)plan->bins[0], (uint32_t)plan->bins[1]};
    return push;
}

static void pool(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const agent_tensor q = tensor_of(job, plan->call->inputs[AGENT_Q]);
    const agent_pool_push push = {(uint32_t)plan->H, (uint32_t)plan->D, bins_push(plan), q.push,
                                  job->a.base};
    const rapt_vulkan_buffer buffers[2] = {q.buffer, job->a.buffer};
    const uint32_t constants[5] = {job->bf16, is_coop(job), 0, 0, 0};
    run(job, &pool_shader[q.half], constants, plan->A, agent_over(plan->D, 64), plan->units,
        buffers, &push);
}

static void load_agents(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const agent_tensor from = tensor_of(job, plan->call->inputs[AGENT_AGENTS]);
    const agent_load_push push = {(uint32_t)plan->H, (uint32_t)(plan->A * plan->D),
                                  (uint32_t)plan->D, from.push};
    const rapt_vulkan_buffer buffers[2] = {from.buffer, job->a.buffer};
    run(job, &load_shader[from.half], NULL, agent_over(plan->A * plan->D, 64), plan->units, 1,
        buffers, &push);
}

/* --- Forward --------------------------------------------------------------------------------- */

/* The agents as float32, what they gather, and the statistics of it. */
static void place_agents(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    rapt_view *const *saved = plan->call->saved;
    job->a = plan->pooled && saved ? floats_of(job, saved[AGENT_POOLED]) : floats_at(job, plan->a);
    job->u = saved ? floats_of(job, saved[AGENT_GATHERED]) : floats_at(job, plan->u);
    job->gather_most =
        saved ? floats_of(job, saved[AGENT_GATHER_REFERENCE]) : floats_at(job, plan->most);
    job->gather_total =
        saved ? floats_of(job, saved[AGENT_GATHER_SUM]) : floats_at(job, plan->total);
}

/* Rows of float32 [B, H, A, width] as a tensor. */
static agent_tensor_push agents_push(const agent_job *job, uint32_t base, int64_t width)
{
    const agent_plan *plan = &job->plan;
    const agent_tensor_push push = {base, (uint32_t)(plan->H * plan->A * width),
                                    (uint32_t)(plan->A * width), (uint32_t)width};
    return push;
}

/* `flag` if four neighbours of each row can be read at once. */
static uint32_t wide(const agent_tensor *tensor, uint32_t flag)
{
    const agent_tensor_push *push = &tensor->push;
    return (push->base | push->batch | push->head | push->row) % 4 == 0 ? flag : 0;
}

/* FORM of attend_coop.comp. */
static uint32_t form_of(int64_t width, int64_t keys)
{
    return (width <= AGENT_TILE ? 1u : 0u) | (keys <= AGENT_TILE ? 2u : 0u);
}

/* Tiles of queries of a unit that have a workgroup each: by cooperative matrices it walks on. */
static int64_t tiles_at_once(const agent_job *job, int64_t tiles, int64_t others)
{
    if (!is_coop(job))
        return tiles;
    return agent_least(tiles, agent_most(1, AGENT_COOP_GROUPS / agent_most(1, others)));
}

static void gather(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const agent_tensor k = tensor_of(job, plan->call->inputs[AGENT_K]);
    const agent_tensor v = tensor_of(job, plan->call->inputs[AGENT_V]);
    const agent_bias bias = bias_of(job, plan->call->inputs[AGENT_AGENT_BIAS], false);
    int64_t each;
    const int64_t splits =
        agent_splits_of(plan, groups_of(job), plan->units, plan->M, plan->E, &each);
    const agent_attend_push push = {(uint32_t)plan->H,
                                    (uint32_t)plan->units,
                                    (uint32_t)plan->A,
                                    (uint32_t)plan->M,
                                    (uint32_t)plan->D,
                                    (uint32_t)plan->E,
                                    agents_push(job, job->a.base, plan->D),
                                    k.push,
                                    v.push,
                                    {0, 0, 0, 0},
                                    bias.push,
                                    (uint32_t)each,
                                    {0, 0},
                                    job->scale,
                                    wide(&k, AGENT_WIDE_K) | wide(&v, AGENT_WIDE_V)};
    const uint32_t constants[5] = {job->bf16, bias.kind, 1, 1, form_of(plan->D, plan->M)};
    const rapt_vulkan_shader *shader = product_way(job, gather_coop_shader, gather_shader, k.half);
    const rapt_vulkan_buffer parts = agent_buffer(plan, plan->parts);
    const rapt_vulkan_buffer most = agent_buffer(plan, plan->part_most);
    const rapt_vulkan_buffer total = agent_buffer(plan, plan->part_total);
    const rapt_vulkan_buffer buffers[9] = {
        job->a.buffer, k.buffer, v.buffer, bias.buffer, bias.buffer, parts, parts, most, total};
    run(job, shader, constants,
        agent_over(plan->A, AGENT_TILE) * agent_most(1, agent_over(plan->E, AGENT_TILE)), splits,
        plan->units, buffers, &push);
    const agent_gathered_push ends = {
        (uint32_t)plan->units, (uint32_t)plan->A, (uint32_t)plan->E,
        (uint32_t)splits,      job->u.base,       {job->gather_most.base, job->gather_total.base}};
    const rapt_vulkan_buffer put[6] = {
        parts, most, total, job->u.buffer, job->gather_most.buffer, job->gather_total.buffer};
    run(job, &gathered_shader, NULL, plan->A, agent_most(1, agent_over(plan->E, 64)), plan->units,
        put, &ends);
}

static void hand_out(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    rapt_view *const *saved = plan->call->saved;
    const agent_tensor q = tensor_of(job, plan->call->inputs[AGENT_Q]);
    const agent_tensor o = tensor_of(job, plan->call->outputs[0]);
    const agent_floats most = saved ? floats_of(job, saved[AGENT_HAND_OUT_REFERENCE]) : job->u;
    const agent_floats total = saved ? floats_of(job, saved[AGENT_HAND_OUT_SUM]) : job->u;
    const agent_bias bias = bias_of(job, plan->call->inputs[AGENT_QUERY_BIAS], false);
    const agent_attend_push push = {(uint32_t)plan->H,
                                    (uint32_t)plan->units,
                                    (uint32_t)plan->N,
                                    (uint32_t)plan->A,
                                    (uint32_t)plan->D,
                                    (uint32_t)plan->E,
                                    q.push,
                                    agents_push(job, job->a.base, plan->D),
                                    agents_push(job, job->u.base, plan->E),
                                    o.push,
                                    bias.push,
                                    (uint32_t)plan->A,
                                    {most.base, total.base},
                                    job->scale,
                                    wide(&q, AGENT_WIDE_Q) | wide(&o, AGENT_WIDE_O)};
    const uint32_t constants[5] = {job->bf16, bias.kind, plan->taps > 0, saved != NULL,
                                   form_of(plan->D, plan->A)};
    const rapt_vulkan_shader *shader =
        product_way(job, hand_out_coop_shader, hand_out_shader, q.half);
    const rapt_vulkan_buffer floats = agent_buffer(plan, plan->o);
    const rapt_vulkan_buffer buffers[9] = {q.buffer,    job->a.buffer, job->u.buffer,
                                           bias.buffer, bias.buffer,   o.buffer,
                                           floats,      most.buffer,   total.buffer};
    const int64_t across = agent_most(1, agent_over(plan->E, AGENT_TILE));
    const int64_t tiles = agent_over(plan->N, AGENT_TILE);
    run(job, shader, constants, tiles_at_once(job, tiles, plan->units * across) * across, 1,
        plan->units, buffers, &push);
    if (plan->taps > 0) {
        const agent_tensor v = tensor_of(job, plan->call->inputs[AGENT_V]);
        const agent_floats add = floats_at(job, plan->o);
        convolve(job, &v, &add, &o, false);
    }
}

rapt_status agent_vulkan_forward(rapt_call *call)
{
    agent_job job;
    if (begin(call, &job) != RAPT_OK)
        return job.status;
    place_agents(&job);
    if (job.plan.pooled)
        pool(&job);
    else
        load_agents(&job);
    gather(&job);
    hand_out(&job);
    return job.status;
}

/* --- Backward -------------------------------------------------------------------------------- */

/* One of the two attentions in backward: matrices of agents against positions, whose logits are
 * products of `x` (queries or keys) with the agents, and whose gradients of weights are products of
 * `y` (gradients of outputs, or values) with `w` (what was gathered, or its gradient). */
typedef struct agent_half {
    bool by_position; /* the softmax runs over agents */
    int64_t length;
    agent_chunks chunks;
    agent_tensor x, y;
    agent_floats w, most, total, delta;
    agent_part w_scale; /* of w as a float16 operand */
    agent_bias bias;
    agent_part bias_grad;
    bool bias_wanted;
} agent_half;

static agent_chunk_push chunk_push(const agent_job *job, const agent_half *half)
{
    const agent_chunk_push push = {(uint32_t)job->plan.H, (uint32_t)job->plan.A,
                                   (uint32_t)job->unit0,  (uint32_t)half->length,
                                   (uint32_t)job->first,  (uint32_t)job->count};
    return push;
}

/* matrix = scale left right^T + bias; `left_scale`: of the left operand where it is float16. */
static void product(agent_job *job, const agent_half *half, const agent_floats *left,
                    const agent_part *left_scale, const agent_tensor *right, int64_t width,
                    const agent_bias *bias, float scale, agent_part matrix)
{
    const agent_plan *plan = &job->plan;
    const bool scaled = left_scale && is_coop(job);
    const agent_product_push push = {chunk_push(job, half), (uint32_t)width, left->base,
                                     right->push,           bias->push,      width ? scale : 0.0f};
    const uint32_t constants[5] = {job->bf16, bias->kind, scaled, 0, 0};
    rapt_vulkan_buffer buffers[6] = {left->buffer, right->buffer, bias->buffer, bias->buffer,
                                     agent_buffer(plan, matrix)};
    if (scaled)
        buffers[5] = agent_buffer(plan, *left_scale);
    run(job, product_way(job, product_coop_shader, product_shader, right->half), constants,
        agent_over(job->count, AGENT_TILE), agent_over(plan->A, AGENT_TILE), job->units, buffers,
        &push);
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
    memset(buffers, 0, 10 * sizeof *buffers);
    bind_values(job, half, buffers);
    buffers[9] = agent_buffer(&job->plan, job->plan.scale_grads);
}

static agent_weight_push weight_push(const agent_half *half)
{
    const agent_weight_push push = {half->most.base, half->total.base};
    return push;
}

/* to (+)= scale times the weights (or gradients of logits) times `right`, for each agent. */
static void multiply_rows(agent_job *job, const agent_half *half, bool gradients,
                          const agent_tensor *right, int64_t width, float scale, bool add,
                          agent_part to)
{
    const agent_plan *plan = &job->plan;
    int64_t each;
    const int64_t splits =
        agent_splits_of(plan, groups_of(job), half->chunks.units, job->count, width, &each);
    const agent_rows_push push = {chunk_push(job, half), weight_push(half),    (uint32_t)width,
                                  right->push,           (uint32_t)job->units, (uint32_t)splits,
                                  (uint32_t)each};
    const uint32_t constants[5] = {job->bf16, half->by_position, gradients, 0, 0};
    rapt_vulkan_buffer buffers[10];
    bind_operands(job, half, buffers);
    buffers[5] = right->buffer;
    buffers[6] = agent_buffer(plan, plan->parts);
    run(job, product_way(job, rows_coop_shader, rows_shader, right->half), constants,
        agent_over(width, AGENT_TILE) * splits, agent_over(plan->A, AGENT_TILE), job->units,
        buffers, &push);
    const int64_t size = plan->A * width;
    const agent_sum_push ends = {(uint32_t)(job->units * size), (uint32_t)splits,
                                 (uint32_t)(job->unit0 * size), scale};
    const uint32_t how[5] = {job->bf16, add, 0, 0, 0};
    const rapt_vulkan_buffer put[2] = {buffers[6], agent_buffer(plan, to)};
    run(job, &sum_shader, how, agent_over(job->units * size, 64), 1, 1, put, &ends);
}

/* to = scale times the transposed weights (or gradients of logits) times `right`, for each
 * position; to the tensor, or to `floats` in its place. */
static void multiply_columns(agent_job *job, const agent_half *half, bool gradients,
                             const agent_floats *right, int64_t width, float scale,
                             const rapt_view *view, const agent_part *floats)
{
    const agent_plan *plan = &job->plan;
    const agent_tensor to = tensor_of(job, view);
    const agent_columns_push push = {chunk_push(job, half), weight_push(half), (uint32_t)width,
                                     right->base,           to.push,           scale};
    const bool scaled = !gradients && is_coop(job);
    const uint32_t constants[5] = {job->bf16, half->by_position, gradients, floats != NULL, scaled};
    rapt_vulkan_buffer buffers[10];
    bind_operands(job, half, buffers);
    if (scaled) /* `right` is half->w then */
        buffers[8] = agent_buffer(plan, half->w_scale);
    buffers[5] = right->buffer;
    buffers[6] = to.buffer;
    buffers[7] = floats ? agent_buffer(plan, *floats) : to.buffer;
    run(job, product_way(job, columns_coop_shader, columns_shader, to.half), constants,
        agent_over(width, AGENT_TILE), agent_over(job->count, AGENT_TILE), job->units, buffers,
        &push);
}

static void add_bias_grad(agent_job *job, const agent_half *half)
{
    const agent_bias_grad_push push = {chunk_push(job, half), weight_push(half),
                                       (uint32_t)job->units};
    const uint32_t constants[5] = {job->bf16, half->by_position, 1, 0, 0};
    rapt_vulkan_buffer buffers[6];
    if (!half->bias_wanted)
        return;
    bind_values(job, half, buffers);
    buffers[5] = agent_buffer(&job->plan, half->bias_grad);
    run(job, &bias_grad_shader, constants, agent_over(job->count, 64), job->plan.A, job->plan.H,
        buffers, &push);
}

/* The matrices of the chunk. */
static void make_matrices(agent_job *job, const agent_half *half)
{
    const agent_plan *plan = &job->plan;
    static const agent_bias none;
    product(job, half, &job->a, NULL, &half->x, plan->D, &half->bias, job->scale, plan->logits);
    product(job, half, &half->w, &half->w_scale, &half->y, plan->E, &none, 1.0f, plan->grads);
}

/* `to` = powers of two for the greatest of `count` numbers of each of some units. */
static void take_scales(agent_job *job, const agent_floats *from, int64_t count, int64_t unit0,
                        int64_t units, agent_part to)
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
    const agent_delta_push push = {chunk_push(job, half), weight_push(half),
                                   (uint32_t)agent_over(job->count, 64)};
    const uint32_t constants[5] = {job->bf16, half->by_position, 0, greatest, 0};
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
        multiply_columns(job, half, true, &job->a, plan->D, job->scale, dq,
                         plan->pooled ? &plan->dq : NULL);
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
        multiply_columns(job, half, true, &job->a, plan->D, job->scale, grads[AGENT_K], NULL);
    if (grads[AGENT_V])
        multiply_columns(job, half, false, &half->w, plan->E, 1.0f, grads[AGENT_V],
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
            job->units = agent_least(half->chunks.units, job->plan.units - u);
            job->first = i;
            job->count = agent_least(half->chunks.positions, half->length - i);
            chunk(job, half);
        }
}

static void clear(agent_job *job, agent_part part)
{
    const rapt_vulkan_buffer range = agent_buffer(&job->plan, part);
    if (job->status == RAPT_OK)
        job->status = job->plan.device.service->clear(job->plan.call, &range);
}

/* Float32 of the workspace to a gradient. */
static void store(agent_job *job, agent_part from, const rapt_view *view)
{
    int64_t count = view ? 1 : 0;
    for (int32_t d = 0; view && d < view->ndim; d++)
        count *= view->shape[d];
    if (!count)
        return;
    const agent_floats to = floats_of(job, view);
    const agent_store_push push = {(uint32_t)count, to.base};
    const uint32_t constants[5] = {is_bf16(view), 0, 0, 0, 0};
    const rapt_vulkan_buffer buffers[2] = {agent_buffer(&job->plan, from), to.buffer};
    run(job, &store_shader[is_half(view)], constants, agent_over(count, 64), 1, 1, buffers, &push);
}

/* Handing out: gradients of what was gathered, of the agents and of the queries. */
static void back_to_agents(agent_job *job, const agent_tensor *grad)
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
    take_scales(job, &half.w, plan->A * plan->E, 0, plan->units, half.w_scale);
    half.most = floats_of(job, call->saved[AGENT_HAND_OUT_REFERENCE]);
    half.total = floats_of(job, call->saved[AGENT_HAND_OUT_SUM]);
    half.delta = floats_at(job, plan->delta_n);
    half.bias = bias_of(job, call->inputs[AGENT_QUERY_BIAS], true);
    half.bias_grad = plan->query_bias;
    half.bias_wanted = call->grad_inputs[AGENT_QUERY_BIAS] != NULL;
    clear(job, plan->du);
    clear(job, plan->da);
    clear(job, plan->query_bias);
    walk(job, &half, hand_out_back);
    store(job, plan->query_bias, call->grad_inputs[AGENT_QUERY_BIAS]);
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
    take_scales(job, &half.w, plan->A * plan->E, 0, plan->units, half.w_scale);
    half.most = job->gather_most;
    half.total = job->gather_total;
    half.delta = floats_at(job, plan->delta_a);
    half.bias = bias_of(job, call->inputs[AGENT_AGENT_BIAS], false);
    half.bias_grad = plan->agent_bias;
    half.bias_wanted = call->grad_inputs[AGENT_AGENT_BIAS] != NULL;
    const agent_dot_push push = {(uint32_t)plan->E, job->u.base};
    const rapt_vulkan_buffer buffers[3] = {job->u.buffer, half.w.buffer, half.delta.buffer};
    run(job, &dot_shader, NULL, plan->units * plan->A, 1, 1, buffers, &push);
    clear(job, plan->agent_bias);
    walk(job, &half, gather_back);
    store(job, plan->agent_bias, call->grad_inputs[AGENT_AGENT_BIAS]);
}

/* The gradient of queries, of which agents are averages. */
static void unpool(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const rapt_view *dq = plan->call->grad_inputs[AGENT_Q];
    if (!dq)
        return;
    const agent_tensor to = tensor_of(job, dq);
    const agent_unpool_push push = {(uint32_t)plan->H, (uint32_t)plan->D, bins_push(plan), to.push};
    const rapt_vulkan_buffer buffers[3] = {agent_buffer(plan, plan->dq),
                                           agent_buffer(plan, plan->da), to.buffer};
    run(job, &unpool_shader[to.half], NULL, agent_over(plan->N * plan->D, 64), plan->units, 1,
        buffers, &push);
}

static void write_zeros(agent_job *job)
{
    rapt_view *const *grads = job->plan.call->grad_inputs;
    for (int i = AGENT_Q; i <= AGENT_DWC_BIAS; i++) {
        int64_t count = grads[i] ? 1 : 0;
        for (int32_t d = 0; grads[i] && d < grads[i]->ndim; d++)
            count *= grads[i]->shape[d];
        if (!count)
            continue;
        const agent_floats to = floats_of(job, grads[i]);
        const agent_kernel_sum_push push = {(uint32_t)count, 0, 0, 1, 0, to.base};
        const rapt_vulkan_buffer buffers[2] = {agent_buffer(&job->plan, job->plan.parts),
                                               to.buffer};
        run(job, &kernel_sum_shader[is_half(grads[i])], NULL, agent_over(count, 64), 1, 1, buffers,
            &push);
    }
}

rapt_status agent_vulkan_backward(rapt_call *call)
{
    agent_job job;
    rapt_view *const *grads = call->grad_inputs;
    if (begin(call, &job) != RAPT_OK)
        return job.status;
    if (!call->grad_outputs[0]) {
        write_zeros(&job);
        return job.status;
    }
    place_agents(&job);
    if (!job.plan.pooled)
        load_agents(&job);
    const agent_tensor grad = tensor_of(&job, call->grad_outputs[0]);
    back_to_agents(&job, &grad);
    if (grads[AGENT_K] || grads[AGENT_V] || grads[AGENT_AGENTS] || grads[AGENT_AGENT_BIAS] ||
        (job.plan.pooled && grads[AGENT_Q]))
        back_to_keys(&job);
    if (job.plan.pooled)
        unpool(&job);
    else
        store(&job, job.plan.da, grads[AGENT_AGENTS]);
    if (job.plan.taps > 0 && grads[AGENT_V]) {
        const agent_tensor dv = tensor_of(&job, grads[AGENT_V]);
        const agent_floats add = floats_at(&job, job.plan.dv);
        convolve(&job, &grad, &add, &dv, true);
    }
    if (grads[AGENT_DWC_WEIGHT] || grads[AGENT_DWC_BIAS]) {
        const agent_tensor v = tensor_of(&job, call->inputs[AGENT_V]);
        correlate(&job, &v, &grad);
    }
    return job.status;
}
