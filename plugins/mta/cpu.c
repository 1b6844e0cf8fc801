/* mta on the CPU: lays out a call and runs its tasks. */
#include "job.h"

#define RAPT_LEVELS_BODY "body.h"
#include "kit/levels.h"

/* A worker's memory for a block, which becomes narrower where it would be more. Backward holds
 * three times as many strips. */
#define MTA_MOST_BYTES ((int64_t)16 << 20)

enum { MTA_MOST_PARTS = 4, MTA_ENOUGH_TASKS = 16 };

static const mta_code *level_code(const rapt_call *call)
{
    const rapt_cpu_service *cpu = (const rapt_cpu_service *)call->host->service("rapt.cpu", 1);
    const rapt_cpu_level level = cpu ? cpu->level : RAPT_CPU_PORTABLE;
    return RAPT_LEVEL_PICK(level, &mta_level_code);
}

static void *take(rapt_call *call, int64_t count, size_t size)
{
    return call->host->scratch(call, (size_t)(count + 1) * size);
}

static mta_rows rows_of(const rapt_view *view)
{
    mta_rows rows = {0};
    if (!view)
        return rows;
    rows.data = (char *)rapt_view_data(view);
    rows.dtype = rapt_view_dtype(view);
    rows.batch = view->strides[0];
    rows.head = view->strides[1];
    rows.row = view->strides[2];
    return rows;
}

/* --- Kernels --------------------------------------------------------------------------------- */

/* A kernel [x, y, z] as contiguous float32. */
static rapt_status load_kernel(rapt_call *call, const rapt_view *view, float **values)
{
    const rapt_math_service *math = (const rapt_math_service *)call->host->service("rapt.math", 1);
    const int64_t *shape = view->shape;
    const rapt_dtype dtype = rapt_view_dtype(view);
    const char *data = (const char *)rapt_view_data(view);
    *values = (float *)take(call, shape[0] * shape[1] * shape[2], sizeof(float));
    if (!*values)
        return RAPT_NO_MEMORY;
    for (int64_t h = 0; h < shape[0]; h++)
        for (int64_t a = 0; a < shape[1]; a++)
            math->load(shape[2], dtype,
                       data + (h * view->strides[0] + a * view->strides[1]) *
                                  (int64_t)rapt_dtype_size(dtype),
                       *values + (h * shape[1] + a) * shape[2]);
    return RAPT_OK;
}

static rapt_status take_kernel(rapt_call *call, const rapt_view *view, mta_kernel *kernel)
{
    *kernel = (mta_kernel){.rows = 1, .columns = 1};
    if (!view)
        return RAPT_OK;
    float *taps;
    const rapt_status status = load_kernel(call, view, &taps);
    if (status != RAPT_OK)
        return status;
    kernel->taps = taps;
    kernel->rows = view->shape[1];
    kernel->columns = view->shape[2];
    kernel->reach = kernel->rows - 1;
    kernel->half = (kernel->columns - 1) / 2;
    if (call->phase != RAPT_BACKWARD)
        return RAPT_OK;
    const int64_t size = kernel->rows * kernel->columns;
    float *flipped = (float *)take(call, view->shape[0] * size, sizeof(float));
    if (!flipped)
        return RAPT_NO_MEMORY;
    for (int64_t h = 0; h < view->shape[0]; h++)
        for (int64_t i = 0; i < size; i++)
            flipped[h * size + i] = taps[h * size + size - 1 - i];
    kernel->flipped = flipped;
    return RAPT_OK;
}

static rapt_status take_kernels(mta_job *job)
{
    rapt_call *call = job->call;
    const rapt_view *mix = call->inputs[MTA_HEAD_KERNEL];
    rapt_status status = take_kernel(call, call->inputs[MTA_QK_KERNEL], &job->qk);
    if (status == RAPT_OK)
        status = take_kernel(call, call->inputs[MTA_QK_KERNEL_POST], &job->post);
    job->mixed = mix ? mix->shape[1] : 1;
    job->groups = job->H / job->mixed;
    if (status == RAPT_OK && mix) {
        float *values;
        status = load_kernel(call, mix, &values);
        job->mix = values;
    }
    return status;
}

/* --- Layout ---------------------------------------------------------------------------------- */

/* The layout for blocks of `rows` queries. */
static void lay_out(mta_job *job, int64_t rows)
{
    const int64_t around = mta_max(job->qk.half, job->post.half);
    const int64_t strip_rows = mta_up(job->most_keys, MTA_KEYS) + 2 * around + RAPT_HALO_ROWS;
    const int backward = job->call->phase == RAPT_BACKWARD;
    mta_area area;
    job->rows = rows;
    job->blocks = 0;
    for (int64_t s = 0; s < job->n_spans; s++) {
        job->spans[s].block = job->blocks;
        job->blocks += mta_up(job->spans[s].n - job->first, rows) / rows;
    }
    job->ahead = backward ? job->qk.reach : 0;
    job->lanes = mta_up(mta_up(rows + job->ahead, MTA_PAD) + job->post.reach, MTA_PAD);
    job->s_lanes = mta_up(job->lanes + job->qk.reach, MTA_PAD);
    job->strip = strip_rows * job->lanes;
    job->s_rows = job->qk.taps ? (backward ? strip_rows : MTA_KEYS + 2 * job->qk.half) : 0;
    job->scratch_size = mta_area_at(job, NULL, &area);
}

/* The sequences of the call: packed ones, or all batches' one. */
static rapt_status take_spans(mta_job *job)
{
    const rapt_score_options *o = &job->options;
    const int packed = o->cu_q.given;
    const rapt_status status = rapt_score_check_options(o, job->call);
    if (status != RAPT_OK)
        return status;
    job->n_spans = packed ? o->borders - 1 : 1;
    job->spans = (mta_span *)take(job->call, job->n_spans, sizeof *job->spans);
    if (!job->spans)
        return RAPT_NO_MEMORY;
    for (int64_t s = 0; s < job->n_spans; s++) {
        mta_span *span = &job->spans[s];
        span->q = packed ? rapt_score_border(&o->cu_q, s) : 0;
        span->n = packed ? rapt_score_border(&o->cu_q, s + 1) - span->q : job->N;
        span->k = packed ? rapt_score_border(&o->cu_k, s) : 0;
        span->m = packed ? rapt_score_border(&o->cu_k, s + 1) - span->k : job->M;
        job->most_keys = mta_max(job->most_keys, span->m);
    }
    return RAPT_OK;
}

/* What every operator of the family can take. */
static rapt_status take_options(mta_job *job)
{
    rapt_call *call = job->call;
    rapt_score_options *o = &job->options;
    rapt_score_bind_options(o, call);
    o->N = job->N;
    o->M = job->M;
    if (call->phase == RAPT_STEP) {
        o->right = 0;
        o->cu_q.given = 0;
        if (call->inputs[MTA_BIAS] && job->qk.reach + job->post.reach > 0)
            return call->host->error(call, RAPT_UNSUPPORTED,
                                     "a decoding step takes no bias where kernels reach earlier "
                                     "queries, whose bias it does not know");
    }
    job->bias = rapt_score_view_of(call->inputs[MTA_BIAS]);
    job->math = (const rapt_math_service *)call->host->service("rapt.math", 1);
    return take_spans(job);
}

/* Sizes in, from `first` on; N and M are those of the tensors. */
static rapt_status prepare(rapt_call *call, mta_job *job, int64_t n, int64_t m, int64_t first)
{
    memset(job, 0, sizeof *job);
    job->call = call;
    job->B = call->sizes['B'];
    job->H = call->sizes['H'];
    job->G = call->sizes['G'];
    job->N = job->all_n = n;
    job->M = job->all_m = m;
    job->D = call->sizes['D'];
    job->E = mta_max(0, call->sizes['E']);
    job->Dp = mta_up(job->D, MTA_PAD);
    job->Ep = mta_up(job->E, MTA_PAD);
    job->scale = (float)call->attrs[MTA_SCALE].f;
    job->first = first;
    rapt_status status = take_kernels(job);
    if (status == RAPT_OK)
        status = take_options(job);
    if (status != RAPT_OK)
        return status;
    int64_t rows = mta_max(MTA_PAD, mta_min(MTA_ROWS, mta_up(n - first, MTA_PAD)));
    lay_out(job, rows);
    const int64_t most = MTA_MOST_BYTES * (call->phase == RAPT_BACKWARD ? 3 : 1);
    while (rows > MTA_PAD && job->scratch_size > most)
        lay_out(job, rows /= 2);
    job->scratch = (char *)take(call, job->scratch_size * call->host->workers(), 1);
    return job->scratch ? RAPT_OK : RAPT_NO_MEMORY;
}

static void run(mta_job *job, int64_t tasks, rapt_task task)
{
    if (tasks > 0)
        job->call->host->parallel_for(job->call, tasks, 1, task, job);
}

/* --- Forward, weights, step ------------------------------------------------------------------ */

static void clear(const rapt_view *view)
{
    int64_t count = view ? 1 : 0;
    for (int32_t d = 0; view && d < view->ndim; d++)
        count *= view->shape[d];
    if (count > 0)
        memset(rapt_view_data(view), 0, (size_t)count * rapt_dtype_size(rapt_view_dtype(view)));
}

static rapt_status run_forward(mta_job *job)
{
    run(job, job->B * job->groups * job->blocks, level_code(job->call)->forward);
    return RAPT_OK;
}

rapt_status mta_cpu_forward(rapt_call *call)
{
    mta_job job;
    const rapt_status status = prepare(call, &job, call->sizes['N'], call->sizes['M'], 0);
    if (status != RAPT_OK)
        return status;
    job.q = rows_of(call->inputs[MTA_Q]);
    job.k = rows_of(call->inputs[MTA_K]);
    job.v = rows_of(call->inputs[MTA_V]);
    job.o = rows_of(call->outputs[MTA_O]);
    job.lse = rapt_score_floats(call->outputs[MTA_LSE]);
    return run_forward(&job);
}

rapt_status mta_cpu_weights(rapt_call *call)
{
    mta_job job;
    const rapt_status status = prepare(call, &job, call->sizes['N'], call->sizes['M'], 0);
    if (status != RAPT_OK)
        return status;
    job.q = rows_of(call->inputs[MTA_Q]);
    job.k = rows_of(call->inputs[MTA_K]);
    job.matrix = (float *)rapt_view_data(call->outputs[0]);
    clear(call->outputs[0]);
    return run_forward(&job);
}

/* The last query of all so far. Those before it are in the state because the kernels reach them. */
rapt_status mta_cpu_step(rapt_call *call)
{
    mta_job job;
    const int64_t length = call->position + 1;
    const rapt_status status = prepare(call, &job, length, length, length - 1);
    if (status != RAPT_OK)
        return status;
    job.q = rows_of(call->states[MTA_Q]);
    job.k = rows_of(call->states[MTA_K]);
    job.v = rows_of(call->states[MTA_V]);
    job.o = rows_of(call->outputs[MTA_O]);
    job.lse = rapt_score_floats(call->outputs[MTA_LSE]);
    return run_forward(&job);
}

/* --- Backward -------------------------------------------------------------------------------- */

/* Tasks that meet in an element of the bias have a copy of it each. */
static int take_bias(mta_job *job, const rapt_view *grad)
{
    rapt_score_view *view = &job->d_bias;
    if (!grad)
        return 1;
    *view = rapt_score_view_of(grad);
    job->bias_size = 1;
    for (int i = 0; i < 4; i++)
        job->bias_size *= view->shape[i];
    job->bias_copies[0] = view->shape[0] == 1 ? job->B : 1;
    job->bias_copies[1] = view->shape[1] == 1 ? job->groups : 1;
    job->bias_copies[2] = view->shape[2] == 1 ? job->parts : 1;
    const int64_t copies = job->bias_copies[0] * job->bias_copies[1] * job->bias_copies[2];
    job->d_bias_parts = (float *)take(job->call, copies * job->bias_size, sizeof(float));
    if (!job->d_bias_parts)
        return 0;
    memset(job->d_bias_parts, 0, (size_t)(copies * job->bias_size) * sizeof(float));
    view->data = (char *)job->d_bias_parts;
    view->dtype = RAPT_F32;
    return 1;
}

static rapt_status store_bias(const mta_job *job, const rapt_view *to)
{
    const int64_t copies = job->bias_copies[0] * job->bias_copies[1] * job->bias_copies[2];
    if (!to)
        return RAPT_OK;
    for (int64_t i = 0; i < job->bias_size; i++) {
        double sum = 0;
        for (int64_t copy = 0; copy < copies; copy++)
            sum += (double)job->d_bias_parts[copy * job->bias_size + i];
        job->d_bias_parts[i] = (float)sum;
    }
    job->math->store(job->bias_size, rapt_view_dtype(to), job->d_bias_parts, rapt_view_data(to));
    return RAPT_OK;
}

static rapt_status take_parts(mta_job *job)
{
    rapt_call *call = job->call;
    rapt_view *const *grads = call->grad_inputs;
    const int64_t tasks = mta_max(1, job->B * job->groups);
    const int64_t wanted = mta_min(MTA_MOST_PARTS, (MTA_ENOUGH_TASKS + tasks - 1) / tasks);
    job->parts = mta_max(1, mta_min(wanted, job->blocks));
    const int64_t heads = job->B * job->H * job->parts;
    int enough = 1;
    if (grads[MTA_K]) {
        job->dk_parts = (float *)take(call, heads * job->M * job->Dp, sizeof(float));
        enough = enough && job->dk_parts;
    }
    if (grads[MTA_V]) {
        job->dv_parts = (float *)take(call, heads * job->M * job->Ep, sizeof(float));
        enough = enough && job->dv_parts;
    }
    if (grads[MTA_QK_KERNEL]) {
        job->d_qk_parts =
            (double *)take(call, heads * job->qk.rows * job->qk.columns, sizeof(double));
        enough = enough && job->d_qk_parts;
    }
    if (grads[MTA_QK_KERNEL_POST]) {
        job->d_post_parts =
            (double *)take(call, heads * job->post.rows * job->post.columns, sizeof(double));
        enough = enough && job->d_post_parts;
    }
    if (grads[MTA_HEAD_KERNEL]) {
        job->d_mix = (double *)take(call, heads * job->mixed, sizeof(double));
        enough = enough && job->d_mix;
    }
    if (grads[MTA_ALIBI]) {
        job->d_alibi_parts = (double *)take(call, heads, sizeof(double));
        enough = enough && job->d_alibi_parts;
    }
    if (grads[MTA_SINK]) {
        job->d_sink_parts = (double *)take(call, heads, sizeof(double));
        enough = enough && job->d_sink_parts;
    }
    enough = enough && take_bias(job, grads[MTA_BIAS]);
    return enough ? RAPT_OK : RAPT_NO_MEMORY;
}

/* The gradient of a kernel: the sums of each of `lanes` (heads, or groups of them), `size` numbers,
 * over batches and parts. */
static rapt_status store_kernel(const mta_job *job, const double *parts, int64_t lanes,
                                int64_t size, const rapt_view *to)
{
    rapt_call *call = job->call;
    const rapt_math_service *math = (const rapt_math_service *)call->host->service("rapt.math", 1);
    if (!to)
        return RAPT_OK;
    float *values = (float *)take(call, lanes * size, sizeof(float));
    if (!values)
        return RAPT_NO_MEMORY;
    for (int64_t lane = 0; lane < lanes; lane++)
        for (int64_t i = 0; i < size; i++) {
            double sum = 0;
            for (int64_t b = 0; b < job->B; b++)
                for (int64_t part = 0; part < job->parts; part++)
                    sum += parts[((b * lanes + lane) * job->parts + part) * size + i];
            values[lane * size + i] = (float)sum;
        }
    math->store(lanes * size, rapt_view_dtype(to), values, rapt_view_data(to));
    return RAPT_OK;
}

static rapt_status store_kernels(const mta_job *job)
{
    rapt_view *const *grads = job->call->grad_inputs;
    rapt_status status = store_kernel(job, job->d_qk_parts, job->H, job->qk.rows * job->qk.columns,
                                      grads[MTA_QK_KERNEL]);
    if (status == RAPT_OK)
        status = store_kernel(job, job->d_post_parts, job->H, job->post.rows * job->post.columns,
                              grads[MTA_QK_KERNEL_POST]);
    if (status == RAPT_OK)
        status = store_kernel(job, job->d_mix, job->groups, job->mixed * job->mixed,
                              grads[MTA_HEAD_KERNEL]);
    if (status == RAPT_OK)
        status = store_kernel(job, job->d_alibi_parts, job->H, 1, grads[MTA_ALIBI]);
    if (status == RAPT_OK)
        status = store_kernel(job, job->d_sink_parts, job->H, 1, grads[MTA_SINK]);
    if (status == RAPT_OK)
        status = store_bias(job, grads[MTA_BIAS]);
    return status;
}

rapt_status mta_cpu_backward(rapt_call *call)
{
    mta_job job;
    if (!call->grad_outputs[MTA_O] && !call->grad_outputs[MTA_LSE]) {
        for (int i = MTA_Q; i <= MTA_SINK; i++)
            clear(call->grad_inputs[i]);
        return RAPT_OK;
    }
    rapt_status status = prepare(call, &job, call->sizes['N'], call->sizes['M'], 0);
    if (status == RAPT_OK)
        status = take_parts(&job);
    if (status != RAPT_OK)
        return status;
    job.q = rows_of(call->inputs[MTA_Q]);
    job.k = rows_of(call->inputs[MTA_K]);
    job.v = rows_of(call->inputs[MTA_V]);
    job.d_o = rows_of(call->grad_outputs[MTA_O]);
    job.d_lse = rapt_score_view_of(call->grad_outputs[MTA_LSE]);
    job.dq = rows_of(call->grad_inputs[MTA_Q]);
    job.dk = rows_of(call->grad_inputs[MTA_K]);
    job.dv = rows_of(call->grad_inputs[MTA_V]);
    run(&job, job.B * job.groups * job.parts, level_code(call)->backward);
    run(&job, job.B * job.G * (mta_up(job.M, MTA_KEYS) / MTA_KEYS), level_code(call)->gather);
    return store_kernels(&job);
}
