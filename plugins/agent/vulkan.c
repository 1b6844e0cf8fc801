/*
 * agent on a Vulkan device (vulkan_plan.h). Each sum has an order that depends on sizes alone, so
 * the same input gives the same bits.
 */
#include "vulkan_fused.h"

rapt_status agent_vulkan_supports(rapt_call *call)
{
    agent_plan plan;
    rapt_status status = agent_supports(call);
    if (status == RAPT_OK)
        status = agent_plan_call(call, &plan);
    for (int i = AGENT_Q; status == RAPT_OK && i < AGENT_INPUTS; i++) {
        const rapt_view *view = call->inputs[i];
        if (view && i < AGENT_SINK && rapt_view_dtype(view) != RAPT_F32)
            status = rapt_vulkan_require(&plan.device, RAPT_VULKAN_STORAGE16);
        if (status == RAPT_OK)
            status = rapt_vulkan_fits(call, plan.device.limits, view);
    }
    return status;
}

rapt_status agent_vulkan_coopmat_supports(rapt_call *call)
{
    const rapt_status status = rapt_product_require_coop(call);
    if (status != RAPT_OK)
        return status;
    if (call->inputs[AGENT_BORDERS_Q])
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "packed sequences are not for cooperative matrices");
    return agent_vulkan_supports(call);
}

size_t agent_vulkan_workspace(rapt_call *call)
{
    agent_plan plan;
    return agent_plan_call(call, &plan) == RAPT_OK ? (size_t)plan.bytes : 0;
}

/* --- Packed sequences ------------------------------------------------------------------------ */

/* Brings the borders into the form that shaders read. */
static void place_borders(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const int64_t counts[2] = {plan->N, plan->M};
    agent_borders_push push = {0, (uint32_t)plan->sequences, {{0, 0, 0, 0}}};
    rapt_vulkan_buffer buffers[3];
    if (!plan->packed)
        return;
    for (int i = 0; i < 2; i++) {
        const rapt_view *view = plan->call->inputs[AGENT_BORDERS_Q + i];
        const agent_floats borders = floats_of(job, view);
        push.given = (uint32_t)view->shape[0];
        push.of[i].base = borders.base;
        push.of[i].row = view->shape[0] > 1 ? (uint32_t)view->strides[0] : 0;
        push.of[i].wide = rapt_view_dtype(view) == RAPT_I64;
        push.of[i].count = (uint32_t)counts[i];
        buffers[i] = borders.buffer;
    }
    if (push.given == 0 && job->status == RAPT_OK)
        job->status = plan->call->host->error(
            plan->call, RAPT_INVALID, "cu_seqlens_q must rise from 0 to N = %lld, but it is empty",
            (long long)plan->N);
    buffers[2] = borders_of(job);
    run(job, &borders_shader, NULL, 2, 1, 1, buffers, &push);
}

/* --- The agents ------------------------------------------------------------------------------ */

static void pool(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const rapt_vulkan_rows q = tensor_of(job, plan->call->inputs[AGENT_Q]);
    const agent_pool_push push = {(uint32_t)plan->H, (uint32_t)plan->D, bins_push(plan), q.push,
                                  job->a.base};
    const rapt_vulkan_buffer buffers[3] = {q.buffer, job->a.buffer, borders_of(job)};
    const uint32_t constants[AGENT_CONSTANTS] = {
        job->bf16, is_coop(job), 0, 0, 0, job->options & AGENT_PACKED};
    run(job, &pool_shader[q.half], constants, plan->A, rapt_over(plan->D, 64), plan->sets, buffers,
        &push);
}

static void load_agents(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const rapt_vulkan_rows from = tensor_of(job, plan->call->inputs[AGENT_AGENTS]);
    const agent_load_push push = {(uint32_t)plan->H, (uint32_t)(plan->A * plan->D),
                                  (uint32_t)plan->D, from.push};
    const rapt_vulkan_buffer buffers[2] = {from.buffer, job->a.buffer};
    run(job, &load_shader[from.half], NULL, rapt_over(plan->A * plan->D, 256), plan->units, 1,
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

/* Rows of float32 [B, H, A, width], or [sequences, H, A, width], as a tensor. */
static rapt_vulkan_rows_push agents_push(const agent_job *job, uint32_t base, int64_t width)
{
    const agent_plan *plan = &job->plan;
    const rapt_vulkan_rows_push push = {base, (uint32_t)(plan->H * plan->A * width),
                                        (uint32_t)(plan->A * width), (uint32_t)width};
    return push;
}

/* The agents: given ones serve all packed sequences. */
static rapt_vulkan_rows_push pooled_push(const agent_job *job)
{
    rapt_vulkan_rows_push push = agents_push(job, job->a.base, job->plan.D);
    if (job->plan.packed && !job->plan.pooled)
        push.batch = 0;
    return push;
}

/* What a workgroup of attend_coop.comp works on; attend.comp has but one form. */
typedef struct agent_form {
    uint32_t d, e, keys; /* runs of 16 features of a tile of keys, of values; of 16 keys */
    uint32_t lanes;
    uint32_t bits; /* FORM */
} agent_form;

/* Shared memory that it declares: lines of keys and values, and the rows' own. */
static uint32_t form_bytes(const agent_job *job, const agent_form *form)
{
    const uint32_t lines = 16 * form->keys * (2 * form->d + 2 * form->e + 2);
    return 16 * (lines + form->lanes / 2 * 5) +
           (job->way == RAPT_VULKAN_EMULATED ? 4 * form->lanes : 0);
}

/* For `keys` keys. If a workgroup keeps all of them, more rows share them; otherwise tiles of keys
 * leave room for a second workgroup. */
static agent_form form_of(const agent_job *job, int64_t keys, bool kept)
{
    const agent_plan *plan = &job->plan;
    const rapt_vulkan_limits *limits = plan->device.limits;
    const uint32_t room = limits->shared_bytes;
    agent_form form = {AGENT_BLOCKS, AGENT_BLOCKS, 4, 2 * AGENT_TILE, 0};
    if (!is_coop(job))
        return form;
    if (plan->D <= AGENT_WIDEST)
        form.d = agent_blocks(rapt_most(1, plan->D));
    form.e = agent_blocks(rapt_most(1, rapt_least(plan->E, AGENT_WIDEST)));
    if (kept && keys <= AGENT_TILE && plan->D <= 16 * form.d) {
        form.keys = keys <= AGENT_TILE / 2 ? 2 : 4;
        form.lanes = limits->invocations < 256 ? 2 * AGENT_TILE : 256;
        if (form_bytes(job, &form) > room)
            form.lanes = 2 * AGENT_TILE;
    } else if (2 * form_bytes(job, &form) > room) {
        form.keys = 2;
    }
    if (form_bytes(job, &form) > room)
        form.keys = 2;
    if (form_bytes(job, &form) > room)
        form.e = form.e < AGENT_BLOCKS ? form.e : AGENT_BLOCKS;
    if (form_bytes(job, &form) > room)
        form.d = form.d < AGENT_BLOCKS ? form.d : AGENT_BLOCKS;
    form.bits = (plan->D <= 16 * form.d ? 1u : 0u) | (keys <= 16 * form.keys ? 2u : 0u) |
                form.d << 2 | form.e << 6 | form.keys << 10;
    return form;
}

/* Tiles of queries of a unit that have a workgroup each: by cooperative matrices it walks on. */
static int64_t tiles_at_once(const agent_job *job, int64_t tiles, int64_t others)
{
    if (!is_coop(job))
        return tiles;
    return rapt_least(tiles, rapt_most(1, groups_of(job) / rapt_most(1, others)));
}

static void gather(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const rapt_vulkan_rows k = tensor_of(job, plan->call->inputs[AGENT_K]);
    const rapt_vulkan_rows v = tensor_of(job, plan->call->inputs[AGENT_V]);
    const agent_bias bias = bias_of(job, plan->call->inputs[AGENT_AGENT_BIAS], false);
    const rapt_vulkan_rows_push agents = pooled_push(job);
    const agent_form form = form_of(job, plan->M, false);
    const int64_t values = 16 * form.e, across = rapt_most(1, rapt_over(plan->E, values));
    int64_t each;
    const int64_t splits =
        agent_splits_of(plan, groups_of(job), plan->sets, plan->M, across * AGENT_TILE, &each);
    const agent_attend_push push = {(uint32_t)plan->H,
                                    (uint32_t)plan->sets,
                                    (uint32_t)plan->A,
                                    (uint32_t)plan->M,
                                    (uint32_t)plan->D,
                                    (uint32_t)plan->E,
                                    agents,
                                    k.push,
                                    v.push,
                                    {0, 0, 0, 0},
                                    bias.push,
                                    (uint32_t)(plan->packed ? splits : each),
                                    {0, 0},
                                    job->scale,
                                    job->softcap,
                                    aligned(&agents, 4, AGENT_WIDE_Q) | eights(&k, AGENT_WIDE_K) |
                                        eights(&v, AGENT_WIDE_V)};
    const uint32_t wide = AGENT_WIDE_K | AGENT_WIDE_V;
    const bool whole = is_coop(job) && (form.bits & 1) && (push.wide & wide) == wide &&
                       plan->D % (16 * form.d) == 0 && plan->E % values == 0;
    const uint32_t constants[AGENT_CONSTANTS] = {
        job->bf16, bias.kind, 1, 1, form.bits, job->options | (whole ? AGENT_WHOLE : 0u),
        form.lanes};
    const rapt_vulkan_shader *shader = product_way(job, gather_coop_shader, gather_shader, k.half);
    const rapt_vulkan_buffer parts = agent_buffer(plan, plan->parts);
    const rapt_vulkan_buffer most = agent_buffer(plan, plan->part_most);
    const rapt_vulkan_buffer total = agent_buffer(plan, plan->part_total);
    const rapt_vulkan_buffer buffers[11] = {
        job->a.buffer, k.buffer, v.buffer, bias.buffer,  bias.buffer,    parts,
        parts,         most,     total,    {NULL, 0, 0}, borders_of(job)};
    run(job, shader, constants, rapt_over(plan->A, AGENT_TILE) * across, splits, plan->sets,
        buffers, &push);
    const agent_gathered_push ends = {
        (uint32_t)plan->sets, (uint32_t)plan->A, (uint32_t)plan->E,
        (uint32_t)splits,     job->u.base,       {job->gather_most.base, job->gather_total.base}};
    const rapt_vulkan_buffer put[6] = {
        parts, most, total, job->u.buffer, job->gather_most.buffer, job->gather_total.buffer};
    run(job, &gathered_shader, NULL, rapt_over(plan->A * rapt_most(1, plan->E), 256), 1, plan->sets,
        put, &ends);
}

/* Handing out `v`, to the output or to `floats`, or what each query takes of each key (weights). */
static void hand_out(agent_job *job, const rapt_vulkan_rows *v, const agent_floats *floats)
{
    const agent_plan *plan = &job->plan;
    rapt_view *const *saved = plan->call->saved;
    const rapt_vulkan_rows q = tensor_of(job, plan->call->inputs[AGENT_Q]);
    rapt_vulkan_rows o = tensor_of(job, floats ? NULL : plan->call->outputs[0]);
    const agent_floats none = {{NULL, 0, 0}, 0};
    const agent_floats most = saved ? floats_of(job, saved[AGENT_HAND_OUT_REFERENCE]) : none;
    const agent_floats total = saved ? floats_of(job, saved[AGENT_HAND_OUT_SUM]) : none;
    const agent_floats sink = floats_of(job, plan->call->inputs[AGENT_SINK]);
    const agent_bias bias = bias_of(job, plan->call->inputs[AGENT_QUERY_BIAS], false);
    const rapt_vulkan_rows_push agents = pooled_push(job);
    const agent_form form = form_of(job, plan->A, true);
    if (floats)
        o.push.base = floats->base;
    const agent_attend_push push = {(uint32_t)plan->H,
                                    (uint32_t)plan->sets,
                                    (uint32_t)plan->N,
                                    (uint32_t)plan->A,
                                    (uint32_t)plan->D,
                                    (uint32_t)plan->E,
                                    q.push,
                                    agents,
                                    v->push,
                                    o.push,
                                    bias.push,
                                    sink.base,
                                    {most.base, total.base},
                                    job->scale,
                                    job->softcap,
                                    eights(&q, AGENT_WIDE_Q) | aligned(&agents, 4, AGENT_WIDE_K) |
                                        aligned(&v->push, 4, AGENT_WIDE_V) |
                                        eights(&o, AGENT_WIDE_O)};
    const uint32_t options = job->options | (plan->call->inputs[AGENT_SINK] ? AGENT_HAS_SINK : 0u) |
                             (plan->weights ? AGENT_WEIGHTS : 0u);
    const bool whole =
        is_coop(job) && (form.bits & 1) && push.wide & AGENT_WIDE_Q && plan->D % 32 == 0;
    const uint32_t constants[AGENT_CONSTANTS] = {
        job->bf16,     bias.kind, floats != NULL,
        saved != NULL, form.bits, options | (whole ? AGENT_WHOLE : 0u),
        form.lanes};
    const rapt_vulkan_shader *shader =
        product_way(job, hand_out_coop_shader, hand_out_shader, q.half);
    const rapt_vulkan_buffer buffers[11] = {q.buffer,
                                            job->a.buffer,
                                            v->buffer,
                                            bias.buffer,
                                            bias.buffer,
                                            o.buffer,
                                            floats ? floats->buffer : o.buffer,
                                            most.buffer,
                                            total.buffer,
                                            sink.buffer,
                                            borders_of(job)};
    const int64_t across = rapt_most(1, rapt_over(plan->E, 16 * form.e));
    const int64_t tiles =
        is_coop(job) ? rapt_over(plan->N, form.lanes / 2) : tiles_of(plan, plan->N);
    run(job, shader, constants, tiles_at_once(job, tiles, plan->units * across) * across, 1,
        plan->units, buffers, &push);
}

rapt_status agent_vulkan_forward(rapt_call *call)
{
    agent_job job;
    if (begin(call, &job) != RAPT_OK)
        return job.status;
    place_borders(&job);
    place_agents(&job);
    if (job.plan.pooled)
        pool(&job);
    else
        load_agents(&job);
    gather(&job);
    const rapt_vulkan_rows u = {job.u.buffer, agents_push(&job, job.u.base, job.plan.E), 0};
    const agent_floats floats = floats_at(&job, job.plan.o);
    hand_out(&job, &u, job.plan.taps > 0 ? &floats : NULL);
    if (job.plan.taps > 0) {
        const rapt_vulkan_rows v = tensor_of(&job, call->inputs[AGENT_V]);
        const rapt_vulkan_rows o = tensor_of(&job, call->outputs[0]);
        convolve(&job, &v, &floats, &o, false);
    }
    return job.status;
}

/* --- Weights --------------------------------------------------------------------------------- */

/* The product of both attentions' weights: what agents have that gathered a unit value at each key
 * is their own weights. */
rapt_status agent_vulkan_weights(rapt_call *call)
{
    agent_job job;
    if (begin(call, &job) != RAPT_OK)
        return job.status;
    const agent_plan *plan = &job.plan;
    place_borders(&job);
    job.a = floats_at(&job, plan->a);
    if (plan->pooled)
        pool(&job);
    else
        load_agents(&job);
    agent_half half;
    memset(&half, 0, sizeof half);
    half.length = job.count = plan->M;
    job.units = plan->units;
    half.x = tensor_of(&job, call->inputs[AGENT_K]);
    half.bias = bias_of(&job, call->inputs[AGENT_AGENT_BIAS], false);
    multiply_logits(&job, &half);
    const agent_weigh_push push = {(uint32_t)plan->H, (uint32_t)plan->A, (uint32_t)plan->M,
                                   (uint32_t)plan->sequences, (uint32_t)plan->sequences + 1};
    const uint32_t constants[AGENT_CONSTANTS] = {job.bf16, 0, 0, 0, 0, job.options & AGENT_PACKED};
    const rapt_vulkan_buffer buffers[2] = {agent_buffer(plan, plan->logits), borders_of(&job)};
    run(&job, &weigh_shader, constants, plan->A, plan->sets, 1, buffers, &push);
    rapt_vulkan_rows u = {buffers[0], agents_push(&job, 0, plan->M), 0};
    if (plan->packed)
        u.push.batch = 0;
    const agent_floats out = floats_of(&job, call->outputs[0]);
    hand_out(&job, &u, &out);
    return job.status;
}

/* --- Backward -------------------------------------------------------------------------------- */

/* The gradient of agents that are given: of packed sequences, the sum. */
static void store_agents(agent_job *job)
{
    const agent_plan *plan = &job->plan;
    const rapt_view *grad = plan->call->grad_inputs[AGENT_AGENTS];
    const agent_floats total = floats_at(job, plan->da_total);
    if (grad && plan->packed)
        sum_runs(job, plan->da, plan->sequences, plan->units * plan->A * plan->D, 1.0f, &total);
    store(job, plan->packed ? plan->da_total : plan->da, grad);
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
    place_borders(&job);
    place_agents(&job);
    if (!job.plan.pooled)
        load_agents(&job);
    const rapt_vulkan_rows grad = tensor_of(&job, call->grad_outputs[0]);
    back_to_agents(&job, &grad);
    const bool both = grads[AGENT_K] || grads[AGENT_V] || grads[AGENT_AGENTS] ||
                      grads[AGENT_AGENT_BIAS] || (job.plan.pooled && grads[AGENT_Q]);
    if (both)
        back_to_keys(&job);
    if (job.plan.passes)
        sum_fused(&job, both);
    if (job.plan.pooled)
        unpool(&job);
    else
        store_agents(&job);
    if (job.plan.taps > 0 && grads[AGENT_V]) {
        const rapt_vulkan_rows dv = tensor_of(&job, grads[AGENT_V]);
        const agent_floats add = floats_at(&job, job.plan.dv);
        convolve(&job, &grad, &add, &dv, true);
    }
    if (grads[AGENT_DWC_WEIGHT] || grads[AGENT_DWC_BIAS]) {
        const rapt_vulkan_rows v = tensor_of(&job, call->inputs[AGENT_V]);
        correlate(&job, &v, &grad);
    }
    return job.status;
}
