/* agent on the CPU: the score driver twice, with pooling and the depth-wise convolution around it.
 */
#include "job.h"
#include "packed.h"
#define RAPT_LEVELS_BODY "hooks.h"
#include "kit/levels.h"
#define RAPT_LEVELS_BODY "body.h"
#include "kit/levels.h"

static const agent_level_code *level_code(const rapt_call *call)
{
    const rapt_cpu_service *cpu = (const rapt_cpu_service *)call->host->service("rapt.cpu", 1);
    const rapt_cpu_level level = cpu ? cpu->level : RAPT_CPU_PORTABLE;
    return RAPT_LEVEL_PICK(level, &agent_code);
}

/* The whole part of a square root. */
static int64_t root_of(int64_t square)
{
    int64_t root = (int64_t)sqrt((double)square);
    while (root > square / root)
        root--;
    while (root + 1 <= square / (root + 1))
        root++;
    return root;
}

rapt_status agent_supports(rapt_call *call)
{
    const rapt_value *grid = &call->attrs[AGENT_GRID];
    const int64_t agents = call->attrs[AGENT_N_AGENTS].i[0], n = call->sizes['N'];
    if (!grid->present)
        return RAPT_OK;
    if (grid->i[0] > n / grid->i[1] || grid->i[0] * grid->i[1] != n)
        return call->host->error(call, RAPT_INVALID, "grid is %lld x %lld, but N is %lld (from q)",
                                 (long long)grid->i[0], (long long)grid->i[1], (long long)n);
    const int64_t root = root_of(agents);
    if (!call->inputs[AGENT_AGENTS] && root * root != agents)
        return call->host->error(call, RAPT_INVALID,
                                 "n_agents is %lld, but agents pooled from a grid need a square "
                                 "number, like %lld",
                                 (long long)agents, (long long)(root * root));
    return RAPT_OK;
}

/* --- Layout -------------------------------------------------------------------------------- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t padded(int64_t width)
{
    return (width + 15) / 16 * 16;
}

/* a b c d floats, at least one; NULL: the error is said. */
static float *take(rapt_call *call, int64_t a, int64_t b, int64_t c, int64_t d)
{
    int64_t count;
    if (__builtin_mul_overflow(a, b, &count) || __builtin_mul_overflow(count, c, &count) ||
        __builtin_mul_overflow(count, d, &count) || count > INT64_MAX / 8) {
        call->host->error(call, RAPT_NO_MEMORY, "out of memory (%lld x %lld x %lld x %lld floats)",
                          (long long)a, (long long)b, (long long)c, (long long)d);
        return NULL;
    }
    return (float *)call->host->scratch(call, (size_t)(count + 1) * sizeof(float));
}

/* The same as a tensor [B, H, rows, width]. */
static rapt_view *take_view(const agent_job *job, int64_t rows, int64_t width,
                            rapt_inner_view *holder)
{
    float *data = take(job->call, job->batch, job->heads, rows, width);
    return data ? rapt_inner_floats(holder, data, job->batch, job->heads, rows, width) : NULL;
}

/* A bias [H, a, b] as [1, H, a, b]. */
static rapt_view *bias_view(const rapt_view *bias, rapt_inner_view *holder)
{
    if (!bias)
        return NULL;
    holder->view = *bias;
    holder->view.ndim = 4;
    holder->view.shape = holder->shape;
    holder->view.strides = holder->strides;
    holder->shape[0] = 1;
    holder->strides[0] = 0;
    for (int i = 0; i < 3; i++) {
        holder->shape[i + 1] = bias->shape[i];
        holder->strides[i + 1] = bias->strides[i];
    }
    return &holder->view;
}

static void measure(rapt_call *call, agent_job *job)
{
    const rapt_value *grid = &call->attrs[AGENT_GRID];
    memset(job, 0, sizeof *job);
    job->call = call;
    job->batch = call->sizes['B'];
    job->heads = call->sizes['H'];
    job->n = call->sizes['N'];
    job->m = call->sizes['M'];
    job->d = call->sizes['D'];
    job->e = call->sizes['E'];
    job->ld = padded(job->d);
    job->le = padded(job->e);
    job->pooled = !call->inputs[AGENT_AGENTS];
    job->agents = job->pooled ? call->attrs[AGENT_N_AGENTS].i[0] : call->sizes['A'];
    job->taps = call->inputs[AGENT_DWC_WEIGHT] ? call->sizes['R'] : 0;
    job->grid[0] = grid->present ? grid->i[0] : 1;
    job->grid[1] = grid->present ? grid->i[1] : job->n;
    job->bins[0] = grid->present && job->pooled ? root_of(job->agents) : 1;
    job->bins[1] = job->agents / job->bins[0];
}

/* What each worker needs at most: blocks of rows to pool and to convolve. */
static rapt_status take_scratch(agent_job *job)
{
    const int64_t wide = job->ld > job->le ? job->ld : job->le;
    const int64_t grid_rows = least(job->grid[0], AGENT_GRID_ROWS);
    const int64_t around = least(job->grid[0], grid_rows + job->taps - 1);
    int64_t rows = AGENT_ROWS + 2;
    if (job->taps && (grid_rows + around) * job->grid[1] > rows)
        rows = (grid_rows + around) * job->grid[1];
    job->scratch_size = rows * wide;
    job->scratch = take(job->call, job->call->host->workers(), rows, wide, 1);
    return job->scratch ? RAPT_OK : RAPT_NO_MEMORY;
}

static void set_attentions(agent_job *job)
{
    rapt_call *call = job->call;
    const double scale = call->attrs[AGENT_SCALE].f, softcap = call->attrs[AGENT_SOFTCAP].f;
    job->gather =
        (rapt_inner){.outer = call,
                     .scale = scale,
                     .softcap = softcap,
                     .q = job->a,
                     .k = call->inputs[AGENT_K],
                     .v = call->inputs[AGENT_V],
                     .o = job->u,
                     .bias = bias_view(call->inputs[AGENT_AGENT_BIAS], &job->bias_view[0])};
    job->hand_out =
        (rapt_inner){.outer = call,
                     .scale = scale,
                     .softcap = softcap,
                     .sink = call->inputs[AGENT_SINK],
                     .q = call->inputs[AGENT_Q],
                     .k = job->a,
                     .v = job->u,
                     .o = job->o,
                     .bias = bias_view(call->inputs[AGENT_QUERY_BIAS], &job->bias_view[1])};
    if (call->saved) {
        job->gather.row_reference = call->saved[AGENT_GATHER_REFERENCE];
        job->gather.row_sum = call->saved[AGENT_GATHER_SUM];
        job->hand_out.row_reference = call->saved[AGENT_HAND_OUT_REFERENCE];
        job->hand_out.row_sum = call->saved[AGENT_HAND_OUT_SUM];
    }
}

/* Lays out what both passes need. `o` is where the queries' result is to go, or lies; NULL: in
 * memory of this call. */
static rapt_status prepare(rapt_call *call, agent_job *job, rapt_view *o)
{
    measure(call, job);
    if (take_scratch(job) != RAPT_OK)
        return RAPT_NO_MEMORY;
    job->o = o ? o : take_view(job, job->n, job->e, &job->o_view);
    if (call->saved)
        job->u = call->saved[AGENT_GATHERED];
    else
        job->u = take_view(job, job->agents, job->e, &job->u_view);
    if (!job->pooled)
        job->a = call->inputs[AGENT_AGENTS];
    else if (call->saved)
        job->a = call->saved[AGENT_POOLED];
    else
        job->a = take_view(job, job->agents, job->d, &job->a_view);
    if (!job->o || !job->u || !job->a)
        return RAPT_NO_MEMORY;
    set_attentions(job);
    if (job->taps) {
        job->kernels = take(call, job->heads, job->taps * job->taps + 1, job->le, 1);
        return job->kernels ? RAPT_OK : RAPT_NO_MEMORY;
    }
    return RAPT_OK;
}

static void run(agent_job *job, int64_t items, int64_t grain, rapt_task task)
{
    if (items > 0)
        job->call->host->parallel_for(job->call, items, grain, task, job);
}

/* --- The convolution ----------------------------------------------------------------------- */

/* Kernels and biases as [H][R*R + 1][le], zero where there is no bias and in the padding. */
static void load_kernels(agent_job *job)
{
    const rapt_view *weight = job->call->inputs[AGENT_DWC_WEIGHT];
    const rapt_view *bias = job->call->inputs[AGENT_DWC_BIAS];
    const rapt_math_service *math =
        (const rapt_math_service *)job->call->host->service("rapt.math", 1);
    const int64_t area = job->taps * job->taps;
    memset(job->kernels, 0, (size_t)(job->heads * (area + 1) * job->le) * sizeof(float));
    for (int64_t channel = 0; channel < job->heads * job->e; channel++) {
        float *to = agent_kernel_of(job, channel / job->e) + channel % job->e;
        for (int64_t tap = 0; tap < area; tap++)
            math->load(1, rapt_view_dtype(weight), agent_weight_at(weight, channel, tap),
                       to + tap * job->le);
        if (bias)
            math->load(1, rapt_view_dtype(bias), agent_bias_at(bias, channel), to + area * job->le);
    }
}

/* The gradients of kernels and biases, in the same layout, to the caller's. */
static void store_kernels(agent_job *job)
{
    const rapt_view *weight = job->call->grad_inputs[AGENT_DWC_WEIGHT];
    const rapt_view *bias = job->call->grad_inputs[AGENT_DWC_BIAS];
    const rapt_math_service *math =
        (const rapt_math_service *)job->call->host->service("rapt.math", 1);
    const int64_t area = job->taps * job->taps;
    for (int64_t channel = 0; channel < job->heads * job->e; channel++) {
        const float *from = agent_kernel_of(job, channel / job->e) + channel % job->e;
        for (int64_t tap = 0; weight && tap < area; tap++)
            math->store(1, rapt_view_dtype(weight), from + tap * job->le,
                        agent_weight_at(weight, channel, tap));
        if (bias)
            math->store(1, rapt_view_dtype(bias), from + area * job->le,
                        agent_bias_at(bias, channel));
    }
}

static void convolve(agent_job *job, const rapt_view *from, const rapt_view *add,
                     const rapt_view *to, int flip, rapt_task task)
{
    const int64_t blocks = (job->grid[0] + AGENT_GRID_ROWS - 1) / AGENT_GRID_ROWS;
    load_kernels(job);
    job->convolution = (agent_convolution){
        .from = rapt_rows_of(from), .add = rapt_rows_of(add), .to = rapt_rows_of(to), .flip = flip};
    run(job, job->batch * job->heads * blocks, 1, task);
}

/* --- Forward ------------------------------------------------------------------------------- */

rapt_status agent_cpu_forward(rapt_call *call)
{
    agent_job job;
    const agent_level_code *code = level_code(call);
    if (call->inputs[AGENT_BORDERS_Q])
        return agent_packed(call, agent_cpu_forward);
    /* The convolution is added in float32, before the only rounding. */
    rapt_view *o = call->outputs[0];
    const int direct = !call->inputs[AGENT_DWC_WEIGHT] || call->dtype == RAPT_F32;
    rapt_status status = prepare(call, &job, direct ? o : NULL);
    if (status != RAPT_OK)
        return status;
    if (job.pooled)
        run(&job, job.batch * job.heads * job.agents, 4, code->pool);
    status = rapt_split_forward(&job.gather, code->score);
    if (status == RAPT_OK)
        status = rapt_inner_run(&job.hand_out, RAPT_FORWARD, code->score);
    if (status == RAPT_OK && job.taps)
        convolve(&job, call->inputs[AGENT_V], job.o, o, 0, code->convolve);
    return status;
}

/* --- Weights ------------------------------------------------------------------------------- */

/* The product of both attentions' weights: what the agents gathered of a unit value at each key. */
rapt_status agent_cpu_weights(rapt_call *call)
{
    agent_job job;
    rapt_inner_view gathered;
    const agent_level_code *code = level_code(call);
    if (call->inputs[AGENT_BORDERS_Q])
        return agent_packed(call, agent_cpu_weights);
    measure(call, &job);
    job.e = job.le = job.taps = 0;
    if (take_scratch(&job) != RAPT_OK)
        return RAPT_NO_MEMORY;
    job.u = take_view(&job, job.agents, job.m, &gathered);
    job.o = call->outputs[0];
    job.a =
        job.pooled ? take_view(&job, job.agents, job.d, &job.a_view) : call->inputs[AGENT_AGENTS];
    if (!job.u || !job.a)
        return RAPT_NO_MEMORY;
    set_attentions(&job);
    job.gather.v = NULL;
    if (job.pooled)
        run(&job, job.batch * job.heads * job.agents, 4, code->pool);
    const rapt_status status = rapt_inner_run(&job.gather, RAPT_WEIGHTS, code->score);
    return status == RAPT_OK ? rapt_inner_run(&job.hand_out, RAPT_FORWARD, code->score) : status;
}

/* --- Backward ------------------------------------------------------------------------------ */

/* Gradients that lie between the attentions, or wait to be added to or rounded. */
typedef struct agent_back {
    rapt_inner_view du, dq, da[2], dv, bias[2];
    rapt_view *dv_view;
    int agents_wanted; /* anything that depends on what the agents gathered */
} agent_back;

static rapt_status prepare_back(agent_job *job, agent_back *back)
{
    rapt_call *call = job->call;
    rapt_view *const *grad = call->grad_inputs;
    rapt_inner *gather = &job->gather, *hand_out = &job->hand_out;
    const int direct = call->dtype == RAPT_F32;
    back->agents_wanted = grad[AGENT_K] || grad[AGENT_V] || grad[AGENT_AGENTS] ||
                          grad[AGENT_AGENT_BIAS] || (job->pooled && grad[AGENT_Q]);
    rapt_view *du = take_view(job, job->agents, job->e, &back->du);
    rapt_view *da_gather = take_view(job, job->agents, job->d, &back->da[0]);
    rapt_view *da_hand_out = take_view(job, job->agents, job->d, &back->da[1]);
    job->dq = direct && grad[AGENT_Q] ? grad[AGENT_Q] : take_view(job, job->n, job->d, &back->dq);
    back->dv_view = grad[AGENT_V];
    if (grad[AGENT_V] && job->taps && !direct)
        back->dv_view = take_view(job, job->m, job->e, &back->dv);
    job->da = take(call, job->batch, job->heads, job->agents, job->ld);
    if (!du || !da_gather || !da_hand_out || !job->dq || !job->da ||
        (grad[AGENT_V] && !back->dv_view))
        return RAPT_NO_MEMORY;
    job->da_gather = (float *)rapt_view_data(da_gather);
    job->da_hand_out = (float *)rapt_view_data(da_hand_out);
    hand_out->grad_o = call->grad_outputs[0];
    hand_out->grad_q = job->dq;
    hand_out->grad_k = da_hand_out;
    hand_out->grad_v = du;
    hand_out->grad_bias = bias_view(grad[AGENT_QUERY_BIAS], &back->bias[1]);
    hand_out->grad_sink = grad[AGENT_SINK];
    gather->grad_o = du;
    gather->grad_q = da_gather;
    gather->grad_k = grad[AGENT_K];
    gather->grad_v = back->dv_view;
    gather->grad_bias = bias_view(grad[AGENT_AGENT_BIAS], &back->bias[0]);
    return RAPT_OK;
}

/* Both attentions backward. What the queries received is `o` itself, unless it was rounded or the
 * convolution was added to it: then it is made again, the cheaper half of forward. */
static rapt_status attend_back(agent_job *job, const agent_back *back, const agent_level_code *code)
{
    rapt_status status = RAPT_OK;
    if (job->o != job->call->outputs[0])
        status = rapt_inner_run(&job->hand_out, RAPT_FORWARD, code->score);
    if (status == RAPT_OK)
        status = rapt_inner_run(&job->hand_out, RAPT_BACKWARD, code->score);
    if (status == RAPT_OK && back->agents_wanted)
        status = rapt_inner_run(&job->gather, RAPT_BACKWARD, code->score);
    return status;
}

static void finish_back(agent_job *job, const agent_back *back, const agent_level_code *code)
{
    rapt_call *call = job->call;
    rapt_view *const *grad = call->grad_inputs;
    const int64_t heads = job->batch * job->heads;
    if (grad[AGENT_AGENTS] || (job->pooled && grad[AGENT_Q]))
        run(job, heads * job->agents, 8, code->agent_grad);
    if (grad[AGENT_Q] && (job->pooled || job->dq != grad[AGENT_Q]))
        run(job, heads * ((job->n + AGENT_ROWS - 1) / AGENT_ROWS), 1, code->query_grad);
    if (job->taps && grad[AGENT_V])
        convolve(job, call->grad_outputs[0], back->dv_view, grad[AGENT_V], 1, code->convolve);
    if (grad[AGENT_DWC_WEIGHT] || grad[AGENT_DWC_BIAS]) {
        run(job, job->heads * (job->taps + 1), 1, code->kernel_grad);
        store_kernels(job);
    }
}

rapt_status agent_cpu_backward(rapt_call *call)
{
    agent_job job;
    agent_back back;
    const agent_level_code *code = level_code(call);
    const int kept = !call->inputs[AGENT_DWC_WEIGHT] && call->dtype == RAPT_F32;
    if (call->inputs[AGENT_BORDERS_Q])
        return agent_packed(call, agent_cpu_backward);
    rapt_status status = prepare(call, &job, kept ? call->outputs[0] : NULL);
    if (status == RAPT_OK)
        status = prepare_back(&job, &back);
    if (status == RAPT_OK)
        status = attend_back(&job, &back, code);
    if (status == RAPT_OK)
        finish_back(&job, &back, code);
    return status;
}
