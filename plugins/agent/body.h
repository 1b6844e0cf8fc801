/*
 * What agent does around its two attentions, for each CPU level: pooling, the depth-wise
 * convolution, and their gradients. Items of every task are (batch, head) unless it says otherwise;
 * the context is the agent_job.
 */
#include "kit/rows_body.h"

#ifndef RAPT_AGENT_BODY
#define RAPT_AGENT_BODY
#define agent_pool        RAPT_LEVEL_NAME(agent_pool)
#define agent_query_grad  RAPT_LEVEL_NAME(agent_query_grad)
#define agent_agent_grad  RAPT_LEVEL_NAME(agent_agent_grad)
#define agent_convolve    RAPT_LEVEL_NAME(agent_convolve)
#define agent_value_grad  RAPT_LEVEL_NAME(agent_value_grad)
#define agent_weight_grad RAPT_LEVEL_NAME(agent_weight_grad)
#define agent_kernel      RAPT_LEVEL_NAME(agent_kernel)
#define agent_correlate   RAPT_LEVEL_NAME(agent_correlate)
#define agent_code        RAPT_LEVEL_NAME(agent_code)
#define agent_rows        RAPT_LEVEL_NAME(agent_rows)
#endif

/* All rows of a head as a tile; zeros for a NULL view. */
static void agent_rows(const rapt_view *view, int64_t b, int64_t h, int64_t n, int64_t width,
                       float *tile, int64_t ld)
{
    const rapt_rows rows = rapt_rows_of(view);
    if (view)
        rows_load(rows.dtype, rapt_row_at(&rows, b, h, 0), rows.row, n, n, width, 1.0f, tile, ld);
    else
        memset(tile, 0, (size_t)(n * ld) * sizeof *tile);
}

/* The agents of a head: averages of the queries in their bins. */
static void agent_pool(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    float *q = (float *)(void *)(job->scratch + worker * job->scratch_size);
    float *sum = q + job->n * job->ld;
    for (int64_t item = begin; item < end; item++) {
        agent_rows(job->call->inputs[AGENT_Q], item / job->heads, item % job->heads, job->n, job->d,
                   q, job->ld);
        for (int64_t a = 0; a < job->agents; a++) {
            int64_t y0, y1, x0, x1;
            agent_bin(a / job->bins[1], job->bins[0], job->grid[0], &y0, &y1);
            agent_bin(a % job->bins[1], job->bins[1], job->grid[1], &x0, &x1);
            memset(sum, 0, (size_t)job->ld * sizeof *sum);
            for (int64_t y = y0; y < y1; y++)
                for (int64_t x = x0; x < x1; x++)
                    rows_axpy(job->ld, 1.0f, q + (y * job->grid[1] + x) * job->ld, sum);
            const float share = y1 > y0 && x1 > x0 ? 1.0f / (float)((y1 - y0) * (x1 - x0)) : 0.0f;
            float *to = (float *)rapt_view_data(job->a) + (item * job->agents + a) * job->d;
            rows_store(RAPT_F32, to, 0, 1, job->d, share, sum, job->ld);
        }
    }
}

/* dq = dq of handing out, plus what the pooled agents say. */
static void agent_query_grad(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows to = rapt_rows_of(job->call->grad_inputs[AGENT_Q]);
    float *dq = (float *)(void *)(job->scratch + worker * job->scratch_size);
    float *da = dq + job->n * job->ld;
    for (int64_t item = begin; item < end; item++) {
        rows_load(RAPT_F32, job->dq + item * job->n * job->d, job->d, job->n, job->n, job->d, 1.0f,
                  dq, job->ld);
        for (int64_t a = 0; job->pooled && a < job->agents; a++) {
            const int64_t at = (item * job->agents + a) * job->d;
            int64_t y0, y1, x0, x1;
            agent_bin(a / job->bins[1], job->bins[0], job->grid[0], &y0, &y1);
            agent_bin(a % job->bins[1], job->bins[1], job->grid[1], &x0, &x1);
            const float share = 1.0f / (float)((y1 - y0) * (x1 - x0));
            float *second = da + job->ld;
            rows_load(RAPT_F32, job->da_gather + at, 0, 1, 1, job->d, share, da, job->ld);
            rows_load(RAPT_F32, job->da_hand_out + at, 0, 1, 1, job->d, share, second, job->ld);
            rows_axpy(job->ld, 1.0f, second, da);
            for (int64_t y = y0; y < y1; y++)
                for (int64_t x = x0; x < x1; x++)
                    rows_axpy(job->ld, 1.0f, da, dq + (y * job->grid[1] + x) * job->ld);
        }
        rows_store(to.dtype, rapt_row_at(&to, item / job->heads, item % job->heads, 0), to.row,
                   job->n, job->d, 1.0f, dq, job->ld);
    }
}

/* The gradient of agents that were given: the sum of the two attentions'. */
static void agent_agent_grad(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows to = rapt_rows_of(job->call->grad_inputs[AGENT_AGENTS]);
    float *sum = (float *)(void *)(job->scratch + worker * job->scratch_size);
    float *second = sum + job->ld;
    for (int64_t item = begin; item < end; item++)
        for (int64_t a = 0; a < job->agents; a++) {
            const int64_t at = (item * job->agents + a) * job->d;
            rows_load(RAPT_F32, job->da_gather + at, 0, 1, 1, job->d, 1.0f, sum, job->ld);
            rows_load(RAPT_F32, job->da_hand_out + at, 0, 1, 1, job->d, 1.0f, second, job->ld);
            rows_axpy(job->ld, 1.0f, second, sum);
            rows_store(to.dtype, rapt_row_at(&to, item / job->heads, item % job->heads, a), 0, 1,
                       job->d, 1.0f, sum, job->ld);
        }
}

/* The convolution's weights of a head, [R*R][le], its bias behind them. */
static void agent_kernel(const agent_job *job, int64_t head, float *kernel)
{
    const rapt_view *weight = job->call->inputs[AGENT_DWC_WEIGHT];
    const rapt_view *bias = job->call->inputs[AGENT_DWC_BIAS];
    const int64_t area = job->taps * job->taps;
    const rapt_math_service *math = agent_math(job);
    memset(kernel, 0, (size_t)((area + 1) * job->le) * sizeof *kernel);
    for (int64_t e = 0; e < job->e; e++) {
        const int64_t channel = head * job->e + e;
        for (int64_t tap = 0; tap < area; tap++)
            math->load(1, rapt_view_dtype(weight),
                       agent_tap(weight, channel, tap / job->taps, tap % job->taps),
                       kernel + tap * job->le + e);
        if (bias)
            math->load(1, rapt_view_dtype(bias), agent_channel(bias, channel),
                       kernel + area * job->le + e);
    }
}

/* to[p] += sum over taps of kernel[tap] from[p + sign * tap's offset], zero outside the grid. */
static void agent_correlate(const agent_job *job, const float *kernel, int sign, const float *from,
                            float *to)
{
    const int64_t half = job->taps / 2;
    for (int64_t y = 0; y < job->grid[0]; y++)
        for (int64_t dy = -half; dy <= half; dy++) {
            if (y + sign * dy < 0 || y + sign * dy >= job->grid[0])
                continue;
            for (int64_t x = 0; x < job->grid[1]; x++)
                for (int64_t dx = -half; dx <= half; dx++) {
                    if (x + sign * dx < 0 || x + sign * dx >= job->grid[1])
                        continue;
                    const int64_t tap = (dy + half) * job->taps + dx + half;
                    const float *w = kernel + tap * job->le;
                    const float *in =
                        from + ((y + sign * dy) * job->grid[1] + x + sign * dx) * job->le;
                    float *out = to + (y * job->grid[1] + x) * job->le;
                    for (int64_t c = 0; c < job->le; c += SIMD_LANES)
                        simd_store(out + c, simd_fma(simd_load(w + c), simd_load(in + c),
                                                     simd_load(out + c)));
                }
        }
}

/* o = what the queries got, plus the convolution of v. */
static void agent_convolve(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows to = rapt_rows_of(job->call->outputs[0]);
    float *v = (float *)(void *)(job->scratch + worker * job->scratch_size);
    float *o = v + job->n * job->le, *kernel = o + job->n * job->le;
    for (int64_t item = begin; item < end; item++) {
        const int64_t b = item / job->heads, head = item % job->heads;
        agent_rows(job->call->inputs[AGENT_V], b, head, job->n, job->e, v, job->le);
        agent_rows(job->o, b, head, job->n, job->e, o, job->le);
        agent_kernel(job, head, kernel);
        for (int64_t i = 0; i < job->n; i++)
            rows_axpy(job->le, 1.0f, kernel + job->taps * job->taps * job->le, o + i * job->le);
        agent_correlate(job, kernel, 1, v, o);
        rows_store(to.dtype, rapt_row_at(&to, b, head, 0), to.row, job->n, job->e, 1.0f, o,
                   job->le);
    }
}

/* dv = what the agents gathered from, plus the convolution's part. */
static void agent_value_grad(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows to = rapt_rows_of(job->call->grad_inputs[AGENT_V]);
    float *d_o = (float *)(void *)(job->scratch + worker * job->scratch_size);
    float *dv = d_o + job->n * job->le, *kernel = dv + job->n * job->le;
    for (int64_t item = begin; item < end; item++) {
        const int64_t b = item / job->heads, head = item % job->heads;
        agent_rows(job->call->grad_outputs[0], b, head, job->n, job->e, d_o, job->le);
        rows_load(RAPT_F32, job->dv + item * job->m * job->e, job->e, job->m, job->m, job->e, 1.0f,
                  dv, job->le);
        agent_kernel(job, head, kernel);
        agent_correlate(job, kernel, -1, d_o, dv);
        rows_store(to.dtype, rapt_row_at(&to, b, head, 0), to.row, job->m, job->e, 1.0f, dv,
                   job->le);
    }
}

/* Items: heads. Gradients of the convolution's weights and bias: sums over the batch and the grid,
 * a grid row at a time. */
static void agent_weight_grad(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const int64_t half = job->taps / 2, area = job->taps * job->taps;
    float *v = (float *)(void *)(job->scratch + worker * job->scratch_size);
    float *d_o = v + job->n * job->le, *total = d_o + job->n * job->le;
    float *part = total + (area + 1) * job->le;
    for (int64_t head = begin; head < end; head++) {
        memset(total, 0, (size_t)((area + 1) * job->le) * sizeof *total);
        for (int64_t b = 0; b < job->batch; b++) {
            agent_rows(job->call->inputs[AGENT_V], b, head, job->n, job->e, v, job->le);
            agent_rows(job->call->grad_outputs[0], b, head, job->n, job->e, d_o, job->le);
            for (int64_t tap = 0; tap <= area; tap++)
                for (int64_t y = 0; y < job->grid[0]; y++) {
                    const int64_t dy = tap < area ? tap / job->taps - half : 0;
                    const int64_t dx = tap < area ? tap % job->taps - half : 0;
                    if (y + dy < 0 || y + dy >= job->grid[0])
                        continue;
                    memset(part, 0, (size_t)job->le * sizeof *part);
                    for (int64_t x = dx < 0 ? -dx : 0; x < job->grid[1] && x + dx < job->grid[1];
                         x++) {
                        const float *g = d_o + (y * job->grid[1] + x) * job->le;
                        const float *in = v + ((y + dy) * job->grid[1] + x + dx) * job->le;
                        for (int64_t c = 0; c < job->le; c += SIMD_LANES) {
                            const simd_f weight = tap < area ? simd_load(in + c) : simd_set(1.0f);
                            simd_store(part + c,
                                       simd_fma(weight, simd_load(g + c), simd_load(part + c)));
                        }
                    }
                    rows_axpy(job->le, 1.0f, part, total + tap * job->le);
                }
        }
        agent_store_kernel(job, head, total);
    }
}

static const agent_level_code agent_code = {
    .score = &score_code,
    .pool = agent_pool,
    .query_grad = agent_query_grad,
    .agent_grad = agent_agent_grad,
    .convolve = agent_convolve,
    .value_grad = agent_value_grad,
    .weight_grad = agent_weight_grad,
};
