/* agent on the CPU: the score driver twice, with pooling and the depth-wise convolution around it.
 */
#include "job.h"
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

static int64_t root_of(int64_t square)
{
    int64_t root = 0;
    while ((root + 1) * (root + 1) <= square)
        root++;
    return root;
}

rapt_status agent_supports(rapt_call *call)
{
    const rapt_value *grid = &call->attrs[AGENT_GRID];
    const int64_t agents = call->attrs[AGENT_N_AGENTS].i[0], root = root_of(agents);
    const int64_t n = call->sizes['N'];
    if (!grid->present)
        return RAPT_OK;
    if (grid->i[0] > n / grid->i[1] || grid->i[0] * grid->i[1] != n)
        return call->host->error(call, RAPT_INVALID, "grid is %lld x %lld, but N is %lld (from q)",
                                 (long long)grid->i[0], (long long)grid->i[1], (long long)n);
    if (!call->inputs[AGENT_AGENTS] && root * root != agents)
        return call->host->error(call, RAPT_INVALID,
                                 "n_agents is %lld, but agents pooled from a grid need a square "
                                 "number, like %lld",
                                 (long long)agents, (long long)(root * root));
    return RAPT_OK;
}

/* --- Layout -------------------------------------------------------------------------------- */

static int64_t padded(int64_t width)
{
    return (width + 15) / 16 * 16;
}

static float *take(rapt_call *call, int64_t a, int64_t b, int64_t c)
{
    return (float *)call->host->scratch(call, (size_t)(a * b * c + 1) * sizeof(float));
}

/* A bias [H, a, b] as [1, H, a, b]. */
static const rapt_view *bias_view(const rapt_view *bias, rapt_inner_view *holder)
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
    job->bins[0] = grid->present ? root_of(job->agents) : 1;
    job->bins[1] = job->agents / job->bins[0];
}

/* Lays out what both passes need; the queries' result goes straight to `o` where nothing is added.
 */
static rapt_status prepare(rapt_call *call, agent_job *job, rapt_view *o)
{
    measure(call, job);
    const int64_t b = job->batch, h = job->heads, a = job->agents;
    const int64_t wide = job->ld > job->le ? job->ld : job->le;
    const int64_t rows = 2 * (job->n > job->m ? job->n : job->m) + 2;
    job->scratch_size = (rows + 2 * (job->taps * job->taps + 1)) * wide * (int64_t)sizeof(float);
    job->scratch =
        (char *)call->host->scratch(call, (size_t)(job->scratch_size * call->host->workers()));
    float *u = take(call, b * h, a, job->e);
    if (!job->scratch || !u)
        return RAPT_NO_MEMORY;
    job->u = rapt_inner_floats(&job->u_view, u, b, h, a, job->e);
    job->a = call->inputs[AGENT_AGENTS];
    if (job->pooled) {
        float *agents = take(call, b * h, a, job->d);
        if (!agents)
            return RAPT_NO_MEMORY;
        job->a = rapt_inner_floats(&job->pooled_view, agents, b, h, a, job->d);
    }
    job->o = o;
    if (!o) {
        float *buffer = take(call, b * h, job->n, job->e);
        if (!buffer)
            return RAPT_NO_MEMORY;
        job->o = rapt_inner_floats(&job->o_view, buffer, b, h, job->n, job->e);
    }
    const double scale = call->attrs[AGENT_SCALE].f;
    job->gather =
        (rapt_inner){.outer = call,
                     .scale = scale,
                     .q = job->a,
                     .k = call->inputs[AGENT_K],
                     .v = call->inputs[AGENT_V],
                     .o = job->u,
                     .bias = bias_view(call->inputs[AGENT_AGENT_BIAS], &job->bias_view[0])};
    job->hand_out =
        (rapt_inner){.outer = call,
                     .scale = scale,
                     .q = call->inputs[AGENT_Q],
                     .k = job->a,
                     .v = job->u,
                     .o = job->o,
                     .bias = bias_view(call->inputs[AGENT_QUERY_BIAS], &job->bias_view[1])};
    return RAPT_OK;
}

static void run(agent_job *job, int64_t items, rapt_task task)
{
    if (items > 0)
        job->call->host->parallel_for(job->call, items, 1, task, job);
}

/* Pools, gathers, hands out. */
static rapt_status attend(agent_job *job, const agent_level_code *code)
{
    if (job->pooled)
        run(job, job->batch * job->heads, code->pool);
    const rapt_status status = rapt_inner_run(&job->gather, RAPT_FORWARD, code->score);
    return status == RAPT_OK ? rapt_inner_run(&job->hand_out, RAPT_FORWARD, code->score) : status;
}

rapt_status agent_cpu_forward(rapt_call *call)
{
    agent_job job;
    const agent_level_code *code = level_code(call);
    rapt_view *direct = call->inputs[AGENT_DWC_WEIGHT] ? NULL : call->outputs[0];
    rapt_status status = prepare(call, &job, direct);
    if (status == RAPT_OK)
        status = attend(&job, code);
    if (status == RAPT_OK && job.taps)
        run(&job, job.batch * job.heads, code->convolve);
    return status;
}

/* --- Backward ------------------------------------------------------------------------------ */

/* What backward adds: the rows' statistics of both attentions and buffers of gradients. */
typedef struct agent_back {
    rapt_inner_view stats[4], du, dq, da[2], dv;
    rapt_inner_view bias[2];
} agent_back;

static rapt_view *keep_stats(rapt_call *call, const rapt_view *q, rapt_inner_view *holder)
{
    float *data = take(call, q->shape[0] * q->shape[1], q->shape[2], 1);
    return data ? rapt_inner_floats(holder, data, q->shape[0], q->shape[1], q->shape[2], 1) : NULL;
}

static rapt_status prepare_back(agent_job *job, agent_back *back)
{
    rapt_call *call = job->call;
    const int64_t heads = job->batch * job->heads, b = job->batch, h = job->heads;
    rapt_inner *gather = &job->gather, *hand_out = &job->hand_out;
    gather->row_reference = keep_stats(call, job->a, &back->stats[0]);
    gather->row_sum = keep_stats(call, job->a, &back->stats[1]);
    hand_out->row_reference = keep_stats(call, hand_out->q, &back->stats[2]);
    hand_out->row_sum = keep_stats(call, hand_out->q, &back->stats[3]);
    float *du = take(call, heads, job->agents, job->e);
    job->da_gather = take(call, heads, job->agents, job->d);
    job->da_hand_out = take(call, heads, job->agents, job->d);
    job->dq = take(call, heads, job->n, job->d);
    job->dv = take(call, heads, job->m, job->e);
    if (!gather->row_reference || !gather->row_sum || !hand_out->row_reference ||
        !hand_out->row_sum || !du || !job->da_gather || !job->da_hand_out || !job->dq || !job->dv)
        return RAPT_NO_MEMORY;
    rapt_view *du_view = rapt_inner_floats(&back->du, du, b, h, job->agents, job->e);
    hand_out->grad_o = call->grad_outputs[0];
    hand_out->grad_q = rapt_inner_floats(&back->dq, job->dq, b, h, job->n, job->d);
    hand_out->grad_k = rapt_inner_floats(&back->da[1], job->da_hand_out, b, h, job->agents, job->d);
    hand_out->grad_v = du_view;
    hand_out->grad_bias =
        (rapt_view *)(uintptr_t)bias_view(call->grad_inputs[AGENT_QUERY_BIAS], &back->bias[1]);
    gather->grad_o = du_view;
    gather->grad_q = rapt_inner_floats(&back->da[0], job->da_gather, b, h, job->agents, job->d);
    gather->grad_k = call->grad_inputs[AGENT_K];
    gather->grad_v = call->grad_inputs[AGENT_V];
    if (gather->grad_v && job->taps)
        gather->grad_v = rapt_inner_floats(&back->dv, job->dv, b, h, job->m, job->e);
    gather->grad_bias =
        (rapt_view *)(uintptr_t)bias_view(call->grad_inputs[AGENT_AGENT_BIAS], &back->bias[0]);
    return RAPT_OK;
}

rapt_status agent_cpu_backward(rapt_call *call)
{
    agent_job job;
    agent_back back;
    const agent_level_code *code = level_code(call);
    rapt_status status = prepare(call, &job, NULL);
    if (status == RAPT_OK)
        status = prepare_back(&job, &back);
    if (status == RAPT_OK)
        status = attend(&job, code);
    if (status == RAPT_OK)
        status = rapt_inner_run(&job.hand_out, RAPT_BACKWARD, code->score);
    if (status == RAPT_OK)
        status = rapt_inner_run(&job.gather, RAPT_BACKWARD, code->score);
    if (status != RAPT_OK)
        return status;
    if (call->grad_inputs[AGENT_Q])
        run(&job, job.batch * job.heads, code->query_grad);
    if (call->grad_inputs[AGENT_AGENTS])
        run(&job, job.batch * job.heads, code->agent_grad);
    if (job.taps && call->grad_inputs[AGENT_V])
        run(&job, job.batch * job.heads, code->value_grad);
    if (call->grad_inputs[AGENT_DWC_WEIGHT] || call->grad_inputs[AGENT_DWC_BIAS])
        run(&job, job.heads, code->weight_grad);
    return RAPT_OK;
}
