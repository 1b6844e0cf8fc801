/*
 * What agent does around its two attentions, for each CPU level: pooling, the depth-wise
 * convolution, and their gradients. The context of every task is the agent_job; each says what its
 * items are. No two items write the same place, and every sum has a fixed order.
 */
#include "kit/rows_body.h"

#ifndef RAPT_AGENT_BODY
#define RAPT_AGENT_BODY
#define agent_pool          RAPT_LEVEL_NAME(agent_pool)
#define agent_agent_grad    RAPT_LEVEL_NAME(agent_agent_grad)
#define agent_query_row     RAPT_LEVEL_NAME(agent_query_row)
#define agent_query_grad    RAPT_LEVEL_NAME(agent_query_grad)
#define agent_correlate     RAPT_LEVEL_NAME(agent_correlate)
#define agent_convolve      RAPT_LEVEL_NAME(agent_convolve)
#define agent_convolve_rows RAPT_LEVEL_NAME(agent_convolve_rows)
#define agent_row_grad      RAPT_LEVEL_NAME(agent_row_grad)
#define agent_kernel_grad   RAPT_LEVEL_NAME(agent_kernel_grad)
#define agent_load          RAPT_LEVEL_NAME(agent_load)
#define agent_code          RAPT_LEVEL_NAME(agent_code)
#endif

/* `count` rows of a head from `first` on, as a tile. */
static void agent_load(const rapt_rows *rows, int64_t b, int64_t h, int64_t first, int64_t count,
                       int64_t width, float *tile, int64_t ld)
{
    rows_load(rows->dtype, rapt_row_at(rows, b, h, first), rows->row, count, count, width, 1.0f,
              tile, ld);
}

/* Items: agents of all heads. An agent is the average of the queries in its area. */
static void agent_pool(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows q = rapt_rows_of(job->call->inputs[AGENT_Q]);
    float *tile = job->scratch + worker * job->scratch_size;
    float *sum = tile + AGENT_ROWS * job->ld;
    for (int64_t item = begin; item < end; item++) {
        const agent_area area = agent_area_of(job, item % job->agents);
        const int64_t head = item / job->agents, b = head / job->heads, h = head % job->heads;
        memset(sum, 0, (size_t)job->ld * sizeof *sum);
        for (int64_t y = area.y0; y < area.y1; y++)
            for (int64_t x = area.x0; x < area.x1; x += AGENT_ROWS) {
                const int64_t left = area.x1 - x, count = left < AGENT_ROWS ? left : AGENT_ROWS;
                agent_load(&q, b, h, y * job->grid[1] + x, count, job->d, tile, job->ld);
                for (int64_t i = 0; i < count; i++)
                    rows_axpy(job->ld, 1.0f, tile + i * job->ld, sum);
            }
        rows_store(RAPT_F32, (float *)rapt_view_data(job->a) + item * job->d, 0, 1, job->d,
                   agent_share(area), sum, job->ld);
    }
}

/* Items: agents of all heads. The gradient of an agent is the sum of the two attentions': to the
 * caller where agents are given, otherwise what each of the agent's queries gets of it. */
static void agent_agent_grad(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows to = rapt_rows_of(job->call->grad_inputs[AGENT_AGENTS]);
    float *scratch = job->scratch + worker * job->scratch_size, *second = scratch + job->ld;
    for (int64_t item = begin; item < end; item++) {
        const int64_t head = item / job->agents, a = item % job->agents;
        const float share = job->pooled ? agent_share(agent_area_of(job, a)) : 1.0f;
        float *sum = job->pooled ? job->da + item * job->ld : scratch;
        rows_load(RAPT_F32, job->da_gather + item * job->d, 0, 1, 1, job->d, share, sum, job->ld);
        rows_load(RAPT_F32, job->da_hand_out + item * job->d, 0, 1, 1, job->d, share, second,
                  job->ld);
        rows_axpy(job->ld, 1.0f, second, sum);
        if (!job->pooled)
            rows_store(to.dtype, rapt_row_at(&to, head / job->heads, head % job->heads, a), 0, 1,
                       job->d, 1.0f, sum, job->ld);
    }
}

/* Adds what a query's agents say to its gradient. `da`: the agents of its head. */
static void agent_query_row(const agent_job *job, const float *da, int64_t query, float *dq)
{
    int64_t y0, y1, x0, x1;
    agent_bin(query / job->grid[1], job->grid[0], job->bins[0], &y0, &y1);
    agent_bin(query % job->grid[1], job->grid[1], job->bins[1], &x0, &x1);
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++)
            rows_axpy(job->ld, 1.0f, da + (y * job->bins[1] + x) * job->ld, dq);
}

/* Items: blocks of AGENT_ROWS queries of all heads. dq = that of handing out, plus what pooled
 * agents say. */
static void agent_query_grad(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows from = rapt_rows_of(job->dq);
    const rapt_rows to = rapt_rows_of(job->call->grad_inputs[AGENT_Q]);
    const int64_t blocks = (job->n + AGENT_ROWS - 1) / AGENT_ROWS;
    float *dq = job->scratch + worker * job->scratch_size;
    for (int64_t item = begin; item < end; item++) {
        const int64_t head = item / blocks, first = item % blocks * AGENT_ROWS;
        const int64_t b = head / job->heads, h = head % job->heads;
        const int64_t count = job->n - first < AGENT_ROWS ? job->n - first : AGENT_ROWS;
        agent_load(&from, b, h, first, count, job->d, dq, job->ld);
        for (int64_t i = 0; job->pooled && i < count; i++)
            agent_query_row(job, job->da + head * job->agents * job->ld, first + i,
                            dq + i * job->ld);
        rows_store(to.dtype, rapt_row_at(&to, b, h, first), to.row, count, job->d, 1.0f, dq,
                   job->ld);
    }
}

/* to[x] += sum over taps of kernel[tap] from[row + dy][x + dx] for one grid row, zero outside the
 * grid. `from` is the row at dy = 0; rows from `up` to `down` of it are there. */
static void agent_correlate(const agent_job *job, const float *kernel, const float *from,
                            int64_t up, int64_t down, float *to)
{
    const int64_t half = job->taps / 2, width = job->grid[1], row = width * job->le;
    const int flip = job->convolution.flip;
    for (int64_t x = 0; x < width; x++) {
        const int64_t left = x < half ? -x : -half;
        const int64_t right = width - 1 - x < half ? width - 1 - x : half;
        for (int64_t c = 0; c < job->le; c += SIMD_LANES) {
            simd_f sum = simd_load(to + x * job->le + c);
            for (int64_t dy = up; dy <= down; dy++)
                for (int64_t dx = left; dx <= right; dx++) {
                    const int64_t tap = flip ? (half - dy) * job->taps + half - dx
                                             : (half + dy) * job->taps + half + dx;
                    sum = simd_fma(simd_load(kernel + tap * job->le + c),
                                   simd_load(from + dy * row + (x + dx) * job->le + c), sum);
                }
            simd_store(to + x * job->le + c, sum);
        }
    }
}

/* The grid rows first <= y < end of a head. */
static void agent_convolve_rows(const agent_job *job, int64_t head, int64_t first, int64_t end,
                                float *scratch)
{
    const agent_convolution *c = &job->convolution;
    const int64_t half = job->taps / 2, height = job->grid[0], width = job->grid[1];
    const int64_t b = head / job->heads, h = head % job->heads, row = width * job->le;
    const int64_t top = first > half ? first - half : 0;
    const int64_t bottom = height - end > half ? end + half : height;
    const float *kernel = agent_kernel_of(job, h);
    float *from = scratch, *to = scratch + (bottom - top) * row;
    agent_load(&c->from, b, h, top * width, (bottom - top) * width, job->e, from, job->le);
    agent_load(&c->add, b, h, first * width, (end - first) * width, job->e, to, job->le);
    for (int64_t i = 0; !c->flip && i < (end - first) * width; i++)
        rows_axpy(job->le, 1.0f, kernel + job->taps * job->taps * job->le, to + i * job->le);
    for (int64_t y = first; y < end; y++)
        agent_correlate(job, kernel, from + (y - top) * row, y < half ? -y : -half,
                        height - 1 - y < half ? height - 1 - y : half, to + (y - first) * row);
    rows_store(c->to.dtype, rapt_row_at(&c->to, b, h, first * width), c->to.row,
               (end - first) * width, job->e, 1.0f, to, job->le);
}

/* Items: blocks of AGENT_GRID_ROWS grid rows of all heads. */
static void agent_convolve(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const int64_t blocks = (job->grid[0] + AGENT_GRID_ROWS - 1) / AGENT_GRID_ROWS;
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item % blocks * AGENT_GRID_ROWS;
        const int64_t left = job->grid[0] - first;
        agent_convolve_rows(job, item / blocks, first,
                            first + (left < AGENT_GRID_ROWS ? left : AGENT_GRID_ROWS),
                            job->scratch + worker * job->scratch_size);
    }
}

/* sum[dx] += v[x + dx] g[x] over one grid row, for the taps of one row of the kernel; `v` NULL: as
 * if it were 1 (the bias: one tap). The row is added up first. */
static void agent_row_grad(const agent_job *job, const float *v, const float *g, float *sum)
{
    const int64_t half = v ? job->taps / 2 : 0, width = job->grid[1];
    for (int64_t dx = -half; dx <= half; dx++) {
        const int64_t first = dx < 0 ? -dx : 0, end = dx > 0 ? width - dx : width;
        float *to = sum + (dx + half) * job->le;
        for (int64_t c = 0; c < job->le; c += SIMD_LANES) {
            simd_f part = simd_zero();
            for (int64_t x = first; x < end; x++) {
                const simd_f factor = v ? simd_load(v + (x + dx) * job->le + c) : simd_set(1.0f);
                part = simd_fma(factor, simd_load(g + x * job->le + c), part);
            }
            simd_store(to + c, simd_load(to + c) + part);
        }
    }
}

/* Items: rows of taps of all heads, and one more a head for the bias. Gradients are sums over the
 * batch and the grid. */
static void agent_kernel_grad(void *context, int64_t begin, int64_t end, int worker)
{
    agent_job *job = (agent_job *)context;
    const rapt_rows from = rapt_rows_of(job->call->inputs[AGENT_V]);
    const rapt_rows grad = rapt_rows_of(job->call->grad_outputs[0]);
    const int64_t half = job->taps / 2, width = job->grid[1];
    float *v = job->scratch + worker * job->scratch_size, *g = v + width * job->le;
    for (int64_t item = begin; item < end; item++) {
        const int64_t h = item / (job->taps + 1), line = item % (job->taps + 1);
        const int64_t dy = line - half;
        const int is_bias = line == job->taps;
        float *sum = agent_kernel_of(job, h) + line * job->taps * job->le;
        memset(sum, 0, (size_t)((is_bias ? 1 : job->taps) * job->le) * sizeof *sum);
        for (int64_t b = 0; b < job->batch; b++)
            for (int64_t y = 0; y < job->grid[0]; y++) {
                if (!is_bias && (y + dy < 0 || y + dy >= job->grid[0]))
                    continue;
                agent_load(&grad, b, h, y * width, width, job->e, g, job->le);
                if (!is_bias)
                    agent_load(&from, b, h, (y + dy) * width, width, job->e, v, job->le);
                agent_row_grad(job, is_bias ? NULL : v, g, sum);
            }
    }
}

static const agent_level_code agent_code = {
    .score = &score_code,
    .pool = agent_pool,
    .agent_grad = agent_agent_grad,
    .query_grad = agent_query_grad,
    .convolve = agent_convolve,
    .kernel_grad = agent_kernel_grad,
};
