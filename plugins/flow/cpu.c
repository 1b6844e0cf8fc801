/* flow on the CPU: its numbers in passes over the rows; the causal form's products by the chunked
 * driver, with sigmoids as features and one factor for each row. */
#include "job.h"
#define RAPT_LEVELS_BODY "body.h"
#include "kit/levels.h"

rapt_status flow_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    const int64_t sequences = call->sizes['P'] >= 0 ? call->sizes['P'] - 1 : call->sizes['B'];
    for (int i = FLOW_FINAL_STATE; i <= FLOW_FINAL_SUMS; i++) {
        ndims[i] = 4;
        shapes[i][0] = sequences;
        shapes[i][1] = call->sizes['H'];
        shapes[i][2] = i == FLOW_FINAL_STATE ? call->sizes['D'] : FLOW_SUM_ROWS;
        shapes[i][3] = i == FLOW_FINAL_STATE ? call->sizes['E'] : call->sizes['D'];
    }
    return RAPT_OK;
}

rapt_status flow_supports(rapt_call *call)
{
    const int causal = call->attrs[FLOW_CAUSAL].i[0] != 0;
    if (!causal && (call->outputs[FLOW_FINAL_STATE] || call->outputs[FLOW_FINAL_SUMS]))
        return call->host->error(call, RAPT_INVALID,
                                 "final_state and final_sums exist in the causal form only");
    return RAPT_OK;
}

static const flow_level_code *level_code(const rapt_call *call)
{
    const rapt_cpu_service *cpu = (const rapt_cpu_service *)call->host->service("rapt.cpu", 1);
    const rapt_cpu_level level = cpu ? cpu->level : RAPT_CPU_PORTABLE;
    return RAPT_LEVEL_PICK(level, &flow_code);
}

static void *take(rapt_call *call, int64_t count, size_t size)
{
    return call->host->scratch(call, (size_t)(count + 1) * size);
}

static rapt_status take_numbers(flow_job *job)
{
    rapt_call *call = job->call;
    const int64_t queries = call->sizes['B'] * job->heads * job->n;
    const int64_t keys = call->sizes['B'] * job->heads * job->m;
    float *numbers = (float *)take(call, 3 * (queries + keys), sizeof(float));
    job->at.z = (double *)take(call, job->causal ? queries : 0, sizeof(double));
    if (!numbers || !job->at.z)
        return RAPT_NO_MEMORY;
    job->at.gate = numbers;
    job->at.inc = job->at.gate + queries;
    job->at.cs = job->at.inc + queries;
    job->at.comp = job->at.cs + queries;
    job->at.out = job->at.comp + keys;
    job->at.cr = job->at.out + keys;
    if (job->causal || call->phase != RAPT_BACKWARD)
        return RAPT_OK;
    numbers = (float *)take(call, 2 * (queries + keys), sizeof(float));
    job->slope.inc = numbers;
    job->slope.cs = numbers ? numbers + queries : NULL;
    job->slope.out = numbers ? numbers + 2 * queries : NULL;
    job->slope.cr = numbers ? numbers + 2 * queries + keys : NULL;
    return numbers ? RAPT_OK : RAPT_NO_MEMORY;
}

/* The rows that each sequence owns. Queries are the driver's sequences. */
static rapt_status take_spans(flow_job *job)
{
    rapt_call *call = job->call;
    const rapt_view *borders_q = call->inputs[FLOW_BORDERS_Q];
    const rapt_view *borders_k = call->inputs[FLOW_BORDERS_K];
    rapt_status status = RAPT_OK;
    if (borders_k)
        status = rapt_linear_check(call, "cu_seqlens_k", borders_k, job->m);
    else
        borders_k = borders_q;
    if (status == RAPT_OK)
        status = rapt_linear_sequences(&job->linear, call->sizes['B'], job->n, borders_q);
    if (status != RAPT_OK)
        return status;
    job->spans = job->linear.n_sequences;
    job->span = (flow_span *)take(call, job->spans, sizeof *job->span);
    if (!job->span)
        return RAPT_NO_MEMORY;
    for (int64_t s = 0; s < job->spans; s++) {
        flow_span *span = &job->span[s];
        span->batch = borders_q ? 0 : s;
        span->q = borders_q ? rapt_linear_border(borders_q, s) : 0;
        span->n = borders_q ? rapt_linear_border(borders_q, s + 1) - span->q : job->n;
        span->k = borders_k ? rapt_linear_border(borders_k, s) : 0;
        span->m = borders_k ? rapt_linear_border(borders_k, s + 1) - span->k : job->m;
    }
    return RAPT_OK;
}

static rapt_status prepare(rapt_call *call, flow_job *job)
{
    memset(job, 0, sizeof *job);
    job->call = job->linear.call = call;
    job->causal = call->attrs[FLOW_CAUSAL].i[0] != 0 || call->phase == RAPT_STEP;
    job->eps = (float)call->attrs[FLOW_EPS].f;
    job->clamp = (float)call->attrs[FLOW_CLAMP].f;
    job->heads = call->sizes['H'];
    job->n = call->sizes['N'];
    job->m = call->sizes['M'];
    job->d = call->sizes['D'];
    job->e = call->sizes['E'];
    job->ld = flow_padded(job->d);
    job->le = flow_padded(job->e);
    job->q = rapt_rows_of(call->inputs[FLOW_Q]);
    job->k = rapt_rows_of(call->inputs[FLOW_K]);
    job->v = rapt_rows_of(call->inputs[FLOW_V]);
    const int64_t wide = job->ld > job->le ? job->ld : job->le;
    const int64_t floats =
        FLOW_CHUNK * (6 * job->ld + 2 * job->le + wide) + 3 * job->ld * job->le + 21 * job->ld;
    job->scratch_size = LINEAR_ALIGN((int64_t)level_code(call)->tiles_size) +
                        LINEAR_ALIGN(floats * (int64_t)sizeof(float));
    job->scratch = (char *)take(call, job->scratch_size * call->host->workers(), 1);
    if (!job->scratch)
        return RAPT_NO_MEMORY;
    const rapt_status status = take_numbers(job);
    return status == RAPT_OK ? take_spans(job) : status;
}

static void run(flow_job *job, int64_t items, rapt_task task)
{
    if (items > 0)
        job->call->host->parallel_for(job->call, items, 1, task, job);
}

/* Before and after the chunked driver's work on a stretch. */
static void enter(rapt_linear *x)
{
    flow_job *job = (flow_job *)x->owner;
    run(job, x->round_heads * x->n_sequences, level_code(job->call)->running);
}

static void leave(rapt_linear *x)
{
    flow_job *job = (flow_job *)x->owner;
    run(job, x->round_heads * x->n_sequences, level_code(job->call)->running_back);
}

/* The chunked driver's problem: sigmoids as features, gate and comp as factors. */
static rapt_status describe_linear(flow_job *job)
{
    rapt_linear *x = &job->linear;
    x->heads = x->groups = job->heads;
    x->d = job->d;
    x->e = job->e;
    x->scale = 1;
    x->q = job->q;
    x->k = job->k;
    x->v = job->v;
    x->q.feature = x->k.feature = RAPT_FEATURE_SIGMOID;
    x->q.factor = job->at.gate;
    x->v.factor = job->at.comp;
    x->q.heads = x->v.heads = job->heads;
    x->q.length = x->v.length = job->n;
    x->enter = enter;
    x->owner = job;
    x->least_heads = job->call->host->workers();
    job->passing = (double *)take(job->call, 2 * job->heads * (2 + 4 * job->ld), sizeof(double));
    if (!job->passing)
        return RAPT_NO_MEMORY;
    const rapt_view *state = job->call->inputs[FLOW_STATE];
    return state ? rapt_linear_whole(job->call, state, &x->state_in) : RAPT_OK;
}

rapt_status flow_cpu_forward(rapt_call *call)
{
    flow_job job;
    rapt_status status = prepare(call, &job);
    if (status != RAPT_OK)
        return status;
    job.o = rapt_rows_of(call->outputs[FLOW_O]);
    if (!job.causal) {
        run(&job, job.spans * job.heads, level_code(call)->whole);
        return RAPT_OK;
    }
    const rapt_view *final_state = call->outputs[FLOW_FINAL_STATE];
    const rapt_view *final_sums = call->outputs[FLOW_FINAL_SUMS];
    job.sums_in = call->inputs[FLOW_SUMS];
    job.sums_out = final_sums ? (float *)rapt_view_data(final_sums) : NULL;
    status = describe_linear(&job);
    if (status != RAPT_OK)
        return status;
    job.linear.o = job.o;
    job.linear.state_out = final_state ? (float *)rapt_view_data(final_state) : NULL;
    return rapt_linear_forward(&job.linear);
}

static rapt_status running_backward(flow_job *job)
{
    rapt_call *call = job->call;
    const rapt_view *d_sums = call->grad_inputs[FLOW_SUMS];
    const rapt_view *d_state = call->grad_inputs[FLOW_STATE];
    const rapt_view *d_final = call->grad_outputs[FLOW_FINAL_STATE];
    job->sums_in = call->inputs[FLOW_SUMS];
    job->d_sums_out = call->grad_outputs[FLOW_FINAL_SUMS];
    job->d_sums_in = d_sums ? (float *)rapt_view_data(d_sums) : NULL;
    job->border =
        (float *)take(call, job->linear.n_chunks * job->heads * 4 * job->ld, sizeof(float));
    rapt_status status = job->border ? describe_linear(job) : RAPT_NO_MEMORY;
    if (status == RAPT_OK && d_final)
        status = rapt_linear_whole(call, d_final, &job->linear.d_state_out);
    if (status != RAPT_OK)
        return status;
    job->linear.d_state_in = d_state ? (float *)rapt_view_data(d_state) : NULL;
    job->linear.d_o = job->d_o;
    job->linear.grads_in_tiles = true;
    job->linear.leave = leave;
    return rapt_linear_backward(&job->linear);
}

rapt_status flow_cpu_backward(rapt_call *call)
{
    flow_job job;
    const rapt_status status = prepare(call, &job);
    if (status != RAPT_OK)
        return status;
    job.d_o = rapt_rows_of(call->grad_outputs[FLOW_O]);
    job.dq = rapt_rows_of(call->grad_inputs[FLOW_Q]);
    job.dk = rapt_rows_of(call->grad_inputs[FLOW_K]);
    job.dv = rapt_rows_of(call->grad_inputs[FLOW_V]);
    if (job.causal)
        return running_backward(&job);
    run(&job, job.spans * job.heads, level_code(call)->whole_back);
    return RAPT_OK;
}

/* A position's numbers, as forward would make them, with the state read and written in place. */
rapt_status flow_cpu_step(rapt_call *call)
{
    flow_job job;
    const flow_level_code *code = level_code(call);
    rapt_status status = prepare(call, &job);
    if (status == RAPT_OK)
        status = describe_linear(&job);
    if (status != RAPT_OK)
        return status;
    rapt_linear *x = &job.linear; /* all heads and positions are in work at once */
    x->round_heads = x->heads;
    x->until = x->stretch = x->n_chunks;
    job.o = rapt_rows_of(call->outputs[FLOW_O]);
    job.state = (float *)rapt_view_data(call->states[0]);
    job.sums_in = call->states[1];
    job.sums_out = (float *)rapt_view_data(call->states[1]);
    run(&job, job.spans * job.heads, code->running);
    run(&job, job.spans * job.heads, code->step);
    return RAPT_OK;
}
