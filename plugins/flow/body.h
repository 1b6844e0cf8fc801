/*
 * The work of flow for one head of one sequence, for each CPU level. Every task's context is
 * the flow_job.
 */
#include "kit/rows_body.h"
#include "kit/tile.h"

#ifndef RAPT_FLOW_BODY
#define RAPT_FLOW_BODY
#define flow_tiles         RAPT_LEVEL_NAME(flow_tiles)
#define flow_take          RAPT_LEVEL_NAME(flow_take)
#define flow_forget        RAPT_LEVEL_NAME(flow_forget)
#define flow_load          RAPT_LEVEL_NAME(flow_load)
#define flow_dot           RAPT_LEVEL_NAME(flow_dot)
#define flow_gather        RAPT_LEVEL_NAME(flow_gather)
#define flow_add           RAPT_LEVEL_NAME(flow_add)
#define flow_sum           RAPT_LEVEL_NAME(flow_sum)
#define flow_settle        RAPT_LEVEL_NAME(flow_settle)
#define flow_running       RAPT_LEVEL_NAME(flow_running)
#define flow_running_chunk RAPT_LEVEL_NAME(flow_running_chunk)
#define flow_running_back  RAPT_LEVEL_NAME(flow_running_back)
#define flow_take_up       RAPT_LEVEL_NAME(flow_take_up)
#define flow_hand_on       RAPT_LEVEL_NAME(flow_hand_on)
#define flow_replay        RAPT_LEVEL_NAME(flow_replay)
#define flow_load_back     RAPT_LEVEL_NAME(flow_load_back)
#define flow_chunk_back    RAPT_LEVEL_NAME(flow_chunk_back)
#define flow_store_back    RAPT_LEVEL_NAME(flow_store_back)
#define flow_position_back RAPT_LEVEL_NAME(flow_position_back)
#define flow_single_back   RAPT_LEVEL_NAME(flow_single_back)
#define flow_turned        RAPT_LEVEL_NAME(flow_turned)
#define flow_rows_sum      RAPT_LEVEL_NAME(flow_rows_sum)
#define flow_inverses      RAPT_LEVEL_NAME(flow_inverses)
#define flow_weigh         RAPT_LEVEL_NAME(flow_weigh)
#define flow_whole_sums    RAPT_LEVEL_NAME(flow_whole_sums)
#define flow_whole_keys    RAPT_LEVEL_NAME(flow_whole_keys)
#define flow_whole_gates   RAPT_LEVEL_NAME(flow_whole_gates)
#define flow_whole         RAPT_LEVEL_NAME(flow_whole)
#define flow_whole_back    RAPT_LEVEL_NAME(flow_whole_back)
#define flow_back_queries  RAPT_LEVEL_NAME(flow_back_queries)
#define flow_back_keys     RAPT_LEVEL_NAME(flow_back_keys)
#define flow_back_inverses RAPT_LEVEL_NAME(flow_back_inverses)
#define flow_back_rows     RAPT_LEVEL_NAME(flow_back_rows)
#define flow_step          RAPT_LEVEL_NAME(flow_step)
#define flow_code          RAPT_LEVEL_NAME(flow_code)
#endif

/* A sum over positions of a row of ld numbers: whole chunks in double (`base` is that sum rounded),
 * the chunk at work in float, so that a long sequence loses nothing. `now` is both together. */
typedef struct flow_sum {
    double *whole;
    float *base, *local, *now;
} flow_sum;

/* Memory of one worker. */
typedef struct flow_tiles {
    float *q, *k, *v, *d_o, *work; /* chunks of rows */
    float *far_q, *far_k, *far_v;  /* causal backward: the driver's gradients of a chunk's rows */
    float *run[FLOW_SUMS_AT_ONCE]; /* the running sums of a chunk's rows */
    float *kv, *d_kv, *turned;     /* D x E, and transposed */
    float *eps;                    /* eps where D has data, 0 in the padding */
    flow_sum sum[FLOW_SUMS_AT_ONCE];
} flow_tiles;

/* Sets the running sums to zero: `sum[0].whole` is where their memory begins. */
static void flow_forget(const flow_job *job, flow_tiles *t)
{
    memset(t->sum[0].whole, 0, (size_t)(FLOW_SUMS_AT_ONCE * 5 * job->ld) * sizeof(float));
}

static flow_tiles *flow_take(const flow_job *job, int worker)
{
    char *base = job->scratch + worker * job->scratch_size;
    flow_tiles *t = (flow_tiles *)(void *)base;
    float *next = (float *)(void *)(base + LINEAR_ALIGN(sizeof *t));
    const int64_t d = FLOW_CHUNK * job->ld, e = FLOW_CHUNK * job->le;
    float **tile[] = {&t->q,   &t->k,    &t->run[0], &t->run[1], &t->run[2], &t->run[3], &t->v,
                      &t->d_o, &t->work, &t->kv,     &t->d_kv,   &t->turned, &t->eps};
    const int64_t square = job->ld * job->le;
    const int64_t size[] = {d, d, d, d, d, d, e, e, d > e ? d : e, square, square, square, job->ld};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        *tile[i] = next;
        next += size[i];
    }
    for (int64_t c = 0; c < job->ld; c++)
        t->eps[c] = c < job->d ? job->eps : 0.0f;
    for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++) {
        t->sum[i].whole = (double *)(void *)next;
        t->sum[i].base = next + 2 * job->ld;
        t->sum[i].local = next + 3 * job->ld;
        t->sum[i].now = next + 4 * job->ld;
        next += 5 * job->ld;
    }
    flow_forget(job, t);
    return t;
}

/* Rows of a tensor as they are, or through their sigmoid. */
static void flow_load(const rapt_rows *rows, int64_t b, int64_t head, int64_t row, int64_t count,
                      int sigmoid, float *tile, int64_t ld)
{
    if (!rows->data) {
        memset(tile, 0, (size_t)(count * ld) * sizeof *tile);
        return;
    }
    rows_load(rows->dtype, flow_row(rows, b, head, row), rows->row, count, count, rows->width, 1.0f,
              tile, ld);
    if (sigmoid)
        rows_sigmoid(count, rows->width, tile, ld);
}

/* (x + eps) . (s + eps) */
static float flow_dot(const flow_job *job, const flow_tiles *t, const float *x, const float *s)
{
    simd_f sum = simd_zero();
    for (int64_t c = 0; c < job->ld; c += SIMD_LANES) {
        const simd_f eps = simd_load(t->eps + c);
        sum = simd_fma(simd_load(x + c) + eps, simd_load(s + c) + eps, sum);
    }
    return simd_sum(sum);
}

/* local += factor (x + shift); now = base + local. `shift` may be NULL. */
static void flow_add(const flow_job *job, flow_sum *sum, float factor, const float *x,
                     const float *shift)
{
    const simd_f scale = simd_set(factor);
    for (int64_t c = 0; c < job->ld; c += SIMD_LANES) {
        simd_f y = simd_load(x + c);
        if (shift)
            y = y + simd_load(shift + c);
        const simd_f local = simd_fma(scale, y, simd_load(sum->local + c));
        simd_store(sum->local + c, local);
        simd_store(sum->now + c, simd_load(sum->base + c) + local);
    }
}

/* The sum runs over the rows x of a chunk, times their factors (NULL: 1); value[i] = (y_i + eps) .
 * (the sum up to row i + eps). */
static void flow_gather(const flow_job *job, const flow_tiles *t, flow_sum *sum, int64_t count,
                        const float *x, const float *factor, const float *y, float *value)
{
    for (int64_t i = 0; i < count; i++) {
        flow_add(job, sum, factor ? factor[i] : 1.0f, x + i * job->ld, NULL);
        value[i] = flow_dot(job, t, y + i * job->ld, sum->now);
    }
}

/* Moves what a chunk added into the sum of whole chunks. */
static void flow_settle(const flow_job *job, flow_sum *sum)
{
    for (int64_t c = 0; c < job->ld; c++) {
        sum->whole[c] += (double)sum->local[c];
        sum->local[c] = 0.0f;
        sum->base[c] = sum->now[c] = (float)sum->whole[c];
    }
}

/* --- One query, one key ------------------------------------------------------------------------
 */

/*
 * dq, dk of a sequence of one position. Its output, sigmoid(cs) (q . k) / ((q + eps) . (k + eps)) v
 * with cs = (q + eps) . (k / ((q + eps) . (k + eps)) + eps), hardly depends on q and k: what
 * remains of their gradients is of the size of eps, and needs double to be seen. Both forms say the
 * same.
 */
static void flow_single_back(const flow_job *job, flow_tiles *t, const flow_span *span,
                             int64_t head)
{
    const int64_t b = span->batch;
    const double eps = (double)job->eps;
    double product = 0, all = 0, with_k = 0, sum = 0;
    flow_load(&job->q, b, head, span->q, 1, 1, t->q, job->ld);
    flow_load(&job->k, b, head, span->k, 1, 1, t->k, job->ld);
    flow_load(&job->v, b, head, span->k, 1, 0, t->v, job->le);
    flow_load(&job->d_o, b, head, span->q, 1, 0, t->d_o, job->le);
    for (int64_t c = 0; c < job->d; c++) {
        const double q = (double)t->q[c], k = (double)t->k[c];
        product += q * k;
        with_k += (q + eps) * k;
        all += (q + eps) * (k + eps);
        sum += q + eps;
    }
    const double inc = 1 / all, open = flow_logistic(with_k * inc + eps * sum);
    const double said = (double)rows_dot(job->le, t->d_o, t->v);
    const double by_cs = said * product * inc * open * (1 - open), by_rest = said * open;
    for (int64_t c = 0; c < job->d; c++) {
        const double q = (double)t->q[c], k = (double)t->k[c];
        const double inc_q = -inc * inc * (k + eps), inc_k = -inc * inc * (q + eps);
        const double cs_q = k * inc + with_k * inc_q + eps;
        const double cs_k = (q + eps) * inc + with_k * inc_k;
        const double dq = by_cs * cs_q + by_rest * (product * inc_q + inc * k);
        const double dk = by_cs * cs_k + by_rest * (product * inc_k + inc * q);
        t->q[c] = (float)(dq * q * (1 - q));
        t->k[c] = (float)(dk * k * (1 - k));
    }
    if (job->dq.data)
        rows_store(job->dq.dtype, flow_row(&job->dq, b, head, span->q), 0, 1, job->d, 1.0f, t->q,
                   job->ld);
    if (job->dk.data)
        rows_store(job->dk.dtype, flow_row(&job->dk, b, head, span->k), 0, 1, job->d, 1.0f, t->k,
                   job->ld);
}

#include "running.h"
#include "whole.h"

/* --- One position ------------------------------------------------------------------------------
 */

/* Items: heads of all sequences, after flow_running: kv += k^T (comp v), o = gate q . kv. */
static void flow_step(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    for (int64_t item = begin; item < end; item++) {
        flow_tiles *t = flow_take(job, worker);
        const int64_t b = item / job->heads, head = item % job->heads;
        const simd_f comp = simd_set(*flow_at(job->at.comp, job, 1, b, head, 0));
        const simd_f gate = simd_set(*flow_at(job->at.gate, job, 1, b, head, 0));
        flow_load(&job->q, b, head, 0, 1, 1, t->q, job->ld);
        flow_load(&job->k, b, head, 0, 1, 1, t->k, job->ld);
        flow_load(&job->v, b, head, 0, 1, 0, t->v, job->le);
        memset(t->d_o, 0, (size_t)job->le * sizeof(float));
        for (int64_t d = 0; d < job->d; d++) {
            float *row = job->state + ((b * job->heads + head) * job->d + d) * job->e;
            const simd_f key = comp * simd_set(t->k[d]), query = gate * simd_set(t->q[d]);
            for (int64_t e = 0; e < job->e; e += SIMD_LANES) {
                const int n = job->e - e < SIMD_LANES ? (int)(job->e - e) : SIMD_LANES;
                const simd_f now = simd_fma(key, simd_load(t->v + e), simd_load_n(row + e, n));
                simd_store(t->d_o + e, simd_fma(query, now, simd_load(t->d_o + e)));
                simd_store_n(row + e, now, n);
            }
        }
        rows_store(job->o.dtype, flow_row(&job->o, b, head, 0), 0, 1, job->e, 1.0f, t->d_o,
                   job->le);
    }
}

static const flow_level_code flow_code = {
    .running = flow_running,
    .running_back = flow_running_back,
    .whole = flow_whole,
    .whole_back = flow_whole_back,
    .step = flow_step,
    .tiles_size = sizeof(flow_tiles),
};
