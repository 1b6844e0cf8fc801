/*
 * mta on a Vulkan device: stripes of the matrix (vulkan_plan.h), each by a sequence of passes
 * (vulkan_passes.h). Sums over stripes are added up in their order, so the same input gives the
 * same bits.
 */
#include "vulkan_options_passes.h"

/* The tensors of a call. */
typedef struct mta_tensors {
    rapt_vulkan_rows q, k, v, o, d_o, dq;
} mta_tensors;

static rapt_status begin(rapt_call *call, mta_job *job)
{
    memset(job, 0, sizeof *job);
    job->status = mta_plan_call(call, &job->plan);
    job->scale = (float)call->attrs[MTA_SCALE].f;
    job->bf16 = call->dtype == RAPT_BF16;
    if (job->status == RAPT_OK)
        job->status = mta_check_options(call);
    if (job->status != RAPT_OK)
        return job->status;
    job->way = rapt_product_way(&job->plan.device);
    take_score_inputs(job);
    make_sees(job);
    return job->status;
}

rapt_status mta_vulkan_supports(rapt_call *call)
{
    mta_plan plan;
    rapt_status status = mta_plan_call(call, &plan);
    for (uint32_t i = MTA_Q; status == RAPT_OK && i < MTA_INPUTS; i++) {
        const rapt_view *view = call->inputs[i];
        if (view && i <= MTA_BIAS && rapt_view_dtype(view) != RAPT_F32)
            status = rapt_vulkan_require(&plan.device, RAPT_VULKAN_STORAGE16);
        if (status == RAPT_OK)
            status = rapt_vulkan_fits(call, plan.device.limits, view);
    }
    return status;
}

rapt_status mta_vulkan_coopmat_supports(rapt_call *call)
{
    const rapt_status status = rapt_product_require_coop(call);
    return status == RAPT_OK ? mta_vulkan_supports(call) : status;
}

size_t mta_vulkan_workspace(rapt_call *call)
{
    mta_plan plan;
    return mta_plan_call(call, &plan) == RAPT_OK ? (size_t)plan.bytes : 0;
}

/* --- Forward, weights, step ------------------------------------------------------------------ */

/* Rows `from` to `to` of a matrix, those of them that exist. */
static mta_matrix matrix_at(const mta_plan *plan, rapt_vulkan_range part, int64_t from, int64_t to)
{
    const int64_t first = rapt_most(0, from);
    const mta_matrix matrix = {part, first, rapt_least(plan->N, to) - first, 0, 0, false};
    return matrix;
}

/* The logits of the owned queries, of post.reach before and `ahead` behind them, read as weights;
 * the scores that they came from in *scores. */
static mta_matrix make_weights(mta_job *job, const mta_tensors *tensors, int64_t ahead,
                               mta_matrix *scores)
{
    const mta_plan *plan = &job->plan;
    const int64_t end = job->stripe.own + job->stripe.count + ahead;
    const int64_t from = job->stripe.own - plan->post.reach;
    mta_matrix logits = matrix_at(plan, plan->p, from, end);
    *scores = matrix_at(plan, plan->s, from - plan->qk.reach, end);
    if (!plan->qk.there)
        *scores = logits;
    product(job, &tensors->q, &tensors->k, plan->D, job->scale, plan->options.shape, scores);
    if (plan->qk.there)
        convolve(job, scores, &plan->qk, plan->taps_qk, false, &logits);
    take_stats(job, &logits);
    logits.weights = 1;
    return logits;
}

/* P' of the owned queries, in `room` where it has to be made. */
static mta_matrix smear(mta_job *job, const mta_matrix *weights, rapt_vulkan_range room)
{
    const mta_plan *plan = &job->plan;
    if (!plan->post.there)
        return *weights;
    const mta_matrix smeared =
        matrix_at(plan, room, job->stripe.own, job->stripe.own + job->stripe.count);
    convolve(job, weights, &plan->post, plan->taps_post, false, &smeared);
    return smeared;
}

static void forward_stripe(mta_job *job, const mta_tensors *tensors)
{
    mta_matrix scores;
    const mta_matrix weights = make_weights(job, tensors, 0, &scores);
    mta_matrix final = smear(job, &weights, job->plan.s);
    final.coop = true;
    final.mix = job->plan.mix ? MTA_FORWARD_MIX : MTA_AS_IT_IS;
    if (job->plan.call->phase == RAPT_WEIGHTS)
        show(job, &final, &tensors->o);
    else
        multiply_rows(job, &final, &tensors->v, job->plan.E, 1.0f, &tensors->o);
}

/* Each stripe in turn. */
static void walk(mta_job *job, const mta_tensors *tensors,
                 void (*stripe)(mta_job *, const mta_tensors *))
{
    const int64_t units = job->plan.B * job->plan.H;
    for (int64_t i = 0; i < mta_blocks(&job->plan); i++) {
        const mta_stripe first = mta_stripe_at(&job->plan, i);
        for (int64_t u = 0; u < units && job->status == RAPT_OK; u += first.units) {
            job->stripe = first;
            job->stripe.unit0 = u;
            job->stripe.units = rapt_least(first.units, units - u);
            stripe(job, tensors);
        }
    }
}

static void load_kernels(mta_job *job)
{
    const rapt_view *const *inputs = job->plan.call->inputs;
    load_kernel(job, inputs[MTA_QK_KERNEL], job->plan.taps_qk);
    load_kernel(job, inputs[MTA_QK_KERNEL_POST], job->plan.taps_post);
    load_kernel(job, inputs[MTA_HEAD_KERNEL], job->plan.mixture);
}

/* Forward in all its forms; q, k and v are the call's, or a step's states. */
static rapt_status run_forward(rapt_call *call, const rapt_view *q, const rapt_view *k,
                               const rapt_view *v)
{
    mta_job job;
    mta_tensors tensors;
    if (begin(call, &job) != RAPT_OK)
        return job.status;
    memset(&tensors, 0, sizeof tensors);
    tensors.q = tensor_of(&job, q);
    tensors.k = tensor_of(&job, k);
    tensors.v = tensor_of(&job, v);
    tensors.o = tensor_of(&job, call->outputs[0]);
    load_kernels(&job);
    walk(&job, &tensors, forward_stripe);
    return job.status;
}

rapt_status mta_vulkan_forward(rapt_call *call)
{
    return run_forward(call, call->inputs[MTA_Q], call->inputs[MTA_K], call->inputs[MTA_V]);
}

rapt_status mta_vulkan_weights(rapt_call *call)
{
    return run_forward(call, call->inputs[MTA_Q], call->inputs[MTA_K], NULL);
}

/* The last query of all so far. Those before it are in the state because the kernels reach them. */
rapt_status mta_vulkan_step(rapt_call *call)
{
    return run_forward(call, call->states[MTA_Q], call->states[MTA_K], call->states[MTA_V]);
}

/* --- Backward -------------------------------------------------------------------------------- */

/* dS of the owned queries from dS', in `room` where it has to be made; the gradient of qk_kernel.
 */
static mta_matrix scores_back(mta_job *job, const mta_matrix *grad, const mta_matrix *scores,
                              rapt_vulkan_range room)
{
    const mta_plan *plan = &job->plan;
    const mta_matrix own =
        matrix_at(plan, room, job->stripe.own, job->stripe.own + job->stripe.count);
    if (plan->call->grad_inputs[MTA_QK_KERNEL])
        correlate(job, scores, grad, &plan->qk, plan->d_qk);
    if (!plan->qk.there)
        return *grad;
    convolve(job, grad, &plan->qk, plan->taps_qk, true, &own);
    return own;
}

static void backward_stripe(mta_job *job, const mta_tensors *tensors)
{
    const mta_plan *plan = &job->plan;
    rapt_view *const *grads = plan->call->grad_inputs;
    const int64_t own = job->stripe.own, end = own + job->stripe.count;
    const int64_t ahead = plan->qk.reach;
    const bool given_o = plan->call->grad_outputs[MTA_O] != NULL;
    mta_matrix scores, g = matrix_at(plan, plan->g, own, end + ahead + plan->post.reach);
    const mta_matrix t = matrix_at(plan, plan->t, own, end + ahead);
    const mta_matrix weights = make_weights(job, tensors, ahead, &scores);
    mta_matrix final = smear(job, &weights, plan->t);
    final.coop = true;
    product(job, &tensors->d_o, &tensors->v, given_o ? plan->E : 0, 1.0f, 0, &g);
    if (grads[MTA_HEAD_KERNEL])
        mix_grad(job, &final, &g, plan->d_mix);
    final.mix = plan->mix ? MTA_FORWARD_MIX : MTA_AS_IT_IS;
    if (grads[MTA_V] && given_o)
        multiply_columns(job, &final, &tensors->d_o, plan->E, plan->dv);
    g.mix = plan->mix ? MTA_BACK_MIX : MTA_AS_IT_IS;
    if (grads[MTA_QK_KERNEL_POST])
        correlate(job, &weights, &g, &plan->post, plan->d_post);
    if (plan->post.there)
        convolve(job, &g, &plan->post, plan->taps_post, true, &t);
    softmax_back(job, &weights, plan->post.there ? &t : &g, &t);
    const mta_matrix ds = scores_back(job, &t, &scores, plan->g);
    shape_back(job, &ds, &scores);
    bias_back(job, &ds);
    if (grads[MTA_Q])
        multiply_rows(job, &ds, &tensors->k, plan->D, job->scale, &tensors->dq);
    if (grads[MTA_K])
        multiply_columns(job, &ds, &tensors->q, plan->D, plan->dk);
}

/* Zeros into a contiguous tensor: a merge of no parts. */
static void write_zeros(mta_job *job, const rapt_view *view)
{
    int64_t count = view ? 1 : 0;
    for (int32_t d = 0; view && d < view->ndim; d++)
        count *= view->shape[d];
    if (!count)
        return;
    rapt_vulkan_rows to;
    memset(&to, 0, sizeof to);
    job->status = job->status != RAPT_OK ? job->status
                                         : rapt_vulkan_bind(job->plan.call, job->plan.device.limits,
                                                            view, &to.buffer, &to.push.base);
    const mta_merge_push push = {1, 0, 1, 0, (uint32_t)count, 1, {to.push.base, 0, 0, 1}, 0.0f};
    const rapt_vulkan_buffer buffers[2] = {mta_buffer(&job->plan, job->plan.part), to.buffer};
    run(job, &merge_shader[rapt_view_dtype(view) != RAPT_F32], job->bf16, rapt_over(count, 64), 1,
        buffers, &push);
}

static void clear_sums(mta_job *job)
{
    const rapt_vulkan_range parts[] = {job->plan.dk,     job->plan.dv,    job->plan.d_qk,
                                       job->plan.d_post, job->plan.d_mix, job->plan.d_alibi,
                                       job->plan.d_sink, job->plan.d_bias};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && job->status == RAPT_OK; i++) {
        if (!parts[i].bytes)
            continue;
        const rapt_vulkan_buffer range = mta_buffer(&job->plan, parts[i]);
        job->status = job->plan.device.service->clear(job->plan.call, &range);
    }
}

rapt_status mta_vulkan_backward(rapt_call *call)
{
    mta_job job;
    mta_tensors tensors;
    rapt_view *const *grads = call->grad_inputs;
    if (begin(call, &job) != RAPT_OK)
        return job.status;
    if (!call->grad_outputs[MTA_O] && !call->grad_outputs[MTA_LSE]) {
        for (int i = MTA_Q; i <= MTA_SINK; i++)
            write_zeros(&job, grads[i]);
        return job.status;
    }
    memset(&tensors, 0, sizeof tensors);
    tensors.q = tensor_of(&job, call->inputs[MTA_Q]);
    tensors.k = tensor_of(&job, call->inputs[MTA_K]);
    tensors.v = tensor_of(&job, call->inputs[MTA_V]);
    tensors.d_o = tensor_of(&job, call->grad_outputs[MTA_O]);
    tensors.dq = tensor_of(&job, grads[MTA_Q]);
    load_kernels(&job);
    clear_sums(&job);
    walk(&job, &tensors, backward_stripe);
    gather(&job, job.plan.dk, job.plan.D, job.scale, grads[MTA_K]);
    gather(&job, job.plan.dv, job.plan.E, 1.0f, grads[MTA_V]);
    store_kernel(&job, job.plan.d_qk, job.plan.H, job.plan.qk.rows * job.plan.qk.columns,
                 grads[MTA_QK_KERNEL]);
    store_kernel(&job, job.plan.d_post, job.plan.H, job.plan.post.rows * job.plan.post.columns,
                 grads[MTA_QK_KERNEL_POST]);
    store_kernel(&job, job.plan.d_mix, job.plan.H / job.plan.mixed, job.plan.mixed * job.plan.mixed,
                 grads[MTA_HEAD_KERNEL]);
    store_options(&job);
    return job.status;
}
