/*
 * The work of flow for one head of one sequence, for each CPU level. Every task's items are
 * (span, head) and its context the flow_job.
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
#define flow_replay        RAPT_LEVEL_NAME(flow_replay)
#define flow_load_back     RAPT_LEVEL_NAME(flow_load_back)
#define flow_store_back    RAPT_LEVEL_NAME(flow_store_back)
#define flow_position_back RAPT_LEVEL_NAME(flow_position_back)
#define flow_sums          RAPT_LEVEL_NAME(flow_sums)
#define flow_whole_weights RAPT_LEVEL_NAME(flow_whole_weights)
#define flow_whole         RAPT_LEVEL_NAME(flow_whole)
#define flow_whole_back    RAPT_LEVEL_NAME(flow_whole_back)
#define flow_single_back   RAPT_LEVEL_NAME(flow_single_back)
#define flow_values        RAPT_LEVEL_NAME(flow_values)
#define flow_back_queries  RAPT_LEVEL_NAME(flow_back_queries)
#define flow_back_keys     RAPT_LEVEL_NAME(flow_back_keys)
#define flow_back_rows     RAPT_LEVEL_NAME(flow_back_rows)
#define flow_dots          RAPT_LEVEL_NAME(flow_dots)
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
    float *q, *k, *v, *d_o, *far_q, *far_k, *far_v, *work; /* chunks of rows */
    float *run[FLOW_SUMS_AT_ONCE];                         /* the running sums of a chunk's rows */
    float *kv, *d_kv, *turned;                             /* D x E, and transposed */
    float *eps; /* eps where D has data, 0 in the padding */
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
    float **tile[] = {&t->q,      &t->k,      &t->far_q,  &t->far_k, &t->run[0], &t->run[1],
                      &t->run[2], &t->run[3], &t->v,      &t->d_o,   &t->far_v,  &t->work,
                      &t->kv,     &t->d_kv,   &t->turned, &t->eps};
    const int64_t size[] = {d,
                            d,
                            d,
                            d,
                            d,
                            d,
                            d,
                            d,
                            e,
                            e,
                            e,
                            d > e ? d : e,
                            job->ld * job->le,
                            job->ld * job->le,
                            job->ld * job->le,
                            job->ld};
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

/* --- Causal form -------------------------------------------------------------------------------
 */

/* The numbers of a chunk's positions. */
static void flow_running_chunk(const flow_job *job, flow_tiles *t, const flow_span *span,
                               int64_t head, int64_t row, int64_t count, flow_carry *carry)
{
    float inc[FLOW_CHUNK], out[FLOW_CHUNK], cs[FLOW_CHUNK], cr[FLOW_CHUNK];
    const double before = carry->length;
    flow_gather(job, t, &t->sum[FLOW_SUM_K], count, t->k, NULL, t->q, inc);
    flow_gather(job, t, &t->sum[FLOW_SUM_Q], count, t->q, NULL, t->k, out);
    for (int64_t i = 0; i < count; i++) {
        inc[i] = (float)((before + (double)(i + 1)) / (double)inc[i]);
        out[i] = (float)((before + (double)(i + 1)) / (double)out[i]);
    }
    flow_gather(job, t, &t->sum[FLOW_SUM_OUT], count, t->k, out, t->q, cs);
    flow_gather(job, t, &t->sum[FLOW_SUM_IN], count, t->q, inc, t->k, cr);
    for (int64_t i = 0; i < count; i++) {
        carry->length = before + (double)(i + 1);
        const flow_position p = {.inc = (double)inc[i],
                                 .out = (double)out[i],
                                 .cs = (double)cs[i] / carry->length,
                                 .cr = (double)cr[i] / carry->length};
        flow_position_put(job, span, head, row + i, &p, carry);
    }
}

/* The numbers of each position, and, for backward, the sums before each chunk. */
static void flow_running(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    for (int64_t item = begin; item < end; item++) {
        flow_tiles *t = flow_take(job, worker);
        const int64_t s = item / job->heads, head = item % job->heads;
        const flow_span *span = &job->span[s];
        flow_carry carry = flow_carry_load(job, job->sums_in, s, head);
        for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++) {
            flow_carry_row(job, job->sums_in, s, head, i, t->sum[i].whole);
            flow_settle(job, &t->sum[i]);
        }
        for (int64_t row = 0; row < span->n; row += FLOW_CHUNK) {
            const int64_t count = span->n - row < FLOW_CHUNK ? span->n - row : FLOW_CHUNK;
            float *border = flow_border(job, s, head, row);
            for (int i = 0; border && i < FLOW_SUMS_AT_ONCE; i++)
                memcpy(border + i * job->ld, t->sum[i].now, (size_t)job->ld * sizeof *border);
            flow_load(&job->q, span->batch, head, span->q + row, count, 1, t->q, job->ld);
            flow_load(&job->k, span->batch, head, span->k + row, count, 1, t->k, job->ld);
            flow_running_chunk(job, t, span, head, row, count, &carry);
            for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
                flow_settle(job, &t->sum[i]);
        }
        flow_carry_store(job, job->sums_out, s, head, &carry);
        for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
            flow_carry_put(job, job->sums_out, s, head, i, t->sum[i].now);
    }
}

/* The four sums up to each row of a chunk, again, into t->run. */
static void flow_replay(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                        int64_t s, int64_t row, int64_t count)
{
    const float *border = flow_border(job, s, head, row);
    const float *inc = flow_at(job->at.inc, job, job->n, span->batch, head, span->q + row);
    const float *out = flow_at(job->at.out, job, job->m, span->batch, head, span->k + row);
    for (int which = 0; which < FLOW_SUMS_AT_ONCE; which++) {
        const int keys = which == FLOW_SUM_K || which == FLOW_SUM_OUT;
        for (int64_t c = 0; c < job->ld; c += SIMD_LANES) {
            const simd_f base = simd_load(border + which * job->ld + c);
            simd_f local = simd_zero();
            for (int64_t i = 0; i < count; i++) {
                const simd_f x = simd_load((keys ? t->k : t->q) + i * job->ld + c);
                const float factor = which == FLOW_SUM_OUT  ? out[i]
                                     : which == FLOW_SUM_IN ? inc[i]
                                                            : 1.0f;
                local = simd_fma(simd_set(factor), x, local);
                simd_store(t->run[which] + i * job->ld + c, base + local);
            }
        }
    }
}

/* One position backwards: far_q, far_k hold what the linear part says and become dq, dk. The four
 * sums of `t` run from the end: of what later positions say of the sums that they saw. Returns
 * d_inc inc + d_out out, of the whole gradients. */
static double flow_position_back(const flow_job *job, flow_tiles *t, int64_t i,
                                 const flow_slope *slope)
{
    const float *q = t->q + i * job->ld, *k = t->k + i * job->ld;
    float *dq = t->far_q + i * job->ld, *dk = t->far_k + i * job->ld;
    const float *sum_k = t->run[FLOW_SUM_K] + i * job->ld,
                *sum_q = t->run[FLOW_SUM_Q] + i * job->ld;
    const float *sum_out = t->run[FLOW_SUM_OUT] + i * job->ld;
    const float *sum_in = t->run[FLOW_SUM_IN] + i * job->ld;
    flow_add(job, &t->sum[FLOW_SUM_OUT], slope->cs, q, t->eps);
    flow_add(job, &t->sum[FLOW_SUM_IN], slope->cr, k, t->eps);
    const float *back_out = t->sum[FLOW_SUM_OUT].now, *back_in = t->sum[FLOW_SUM_IN].now;
    const float d_inc = slope->inc + rows_dot(job->ld, back_in, q);
    const float d_out = rows_dot(job->ld, back_out, k);
    const float down_in = -slope->inc_square * d_inc, down_out = -slope->out_square * d_out;
    flow_add(job, &t->sum[FLOW_SUM_K], down_in, q, t->eps);
    flow_add(job, &t->sum[FLOW_SUM_Q], down_out, k, t->eps);
    for (int64_t c = 0; c < job->ld; c += SIMD_LANES) {
        const simd_f eps = simd_load(t->eps + c), x = simd_load(q + c), y = simd_load(k + c);
        simd_f gq = simd_set(slope->gate) * simd_load(dq + c), gk = simd_load(dk + c);
        gq = simd_fma(simd_set(slope->cs), simd_load(sum_out + c) + eps, gq);
        gq = simd_fma(simd_set(slope->inc_value), simd_load(back_in + c), gq);
        gq = simd_fma(simd_set(down_in), simd_load(sum_k + c) + eps, gq);
        gq = gq + simd_load(t->sum[FLOW_SUM_Q].now + c);
        gk = simd_fma(simd_set(slope->cr), simd_load(sum_in + c) + eps, gk);
        gk = simd_fma(simd_set(slope->out_value), simd_load(back_out + c), gk);
        gk = simd_fma(simd_set(down_out), simd_load(sum_q + c) + eps, gk);
        gk = gk + simd_load(t->sum[FLOW_SUM_K].now + c);
        simd_store(dq + c, gq * x * (1.0f - x));
        simd_store(dk + c, gk * y * (1.0f - y));
    }
    return (double)d_inc * (double)slope->inc_value + (double)d_out * (double)slope->out_value;
}

/* The rows of a chunk, what the linear part says of them, and the sums up to each. */
static void flow_load_back(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                           int64_t s, int64_t row, int64_t count)
{
    const int64_t b = span->batch;
    const flow_far_rows far = flow_far(job, b, head, span->q + row);
    flow_load(&job->q, b, head, span->q + row, count, 1, t->q, job->ld);
    flow_load(&job->k, b, head, span->k + row, count, 1, t->k, job->ld);
    flow_load(&job->v, b, head, span->k + row, count, 0, t->v, job->le);
    rows_load(RAPT_F32, far.q, job->d, count, count, job->d, 1.0f, t->far_q, job->ld);
    rows_load(RAPT_F32, far.k, job->d, count, count, job->d, 1.0f, t->far_k, job->ld);
    rows_load(RAPT_F32, far.v, job->e, count, count, job->e, 1.0f, t->far_v, job->le);
    flow_replay(job, t, span, head, s, row, count);
}

/* The gradients of a chunk's rows, where they are wanted. */
static void flow_store_back(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                            int64_t row, int64_t count)
{
    const int64_t at_q = span->q + row, at_k = span->k + row, b = span->batch;
    rows_scale(count, job->le, flow_at(job->at.comp, job, job->m, b, head, at_k), t->far_v,
               t->far_v);
    if (job->dq.data)
        rows_store(job->dq.dtype, flow_row(&job->dq, b, head, at_q), job->dq.row, count, job->d,
                   1.0f, t->far_q, job->ld);
    if (job->dk.data)
        rows_store(job->dk.dtype, flow_row(&job->dk, b, head, at_k), job->dk.row, count, job->d,
                   1.0f, t->far_k, job->ld);
    if (job->dv.data)
        rows_store(job->dv.dtype, flow_row(&job->dv, b, head, at_k), job->dv.row, count, job->e,
                   1.0f, t->far_v, job->le);
}

/* From the linear part's gradients to those of q, k and v, from the last position to the first, and
 * so to those of the sums before. */
static void flow_running_back(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    for (int64_t item = begin; item < end; item++) {
        flow_tiles *t = flow_take(job, worker);
        const int64_t s = item / job->heads, head = item % job->heads;
        const flow_span *span = &job->span[s];
        const double before = flow_carry_load(job, job->sums_in, s, head).length;
        flow_carry back = flow_carry_load(job, job->d_sums_out, s, head);
        for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++) {
            flow_carry_row(job, job->d_sums_out, s, head, i, t->sum[i].whole);
            flow_settle(job, &t->sum[i]);
        }
        const int64_t chunks = (span->n + FLOW_CHUNK - 1) / FLOW_CHUNK;
        for (int64_t row = (chunks - 1) * FLOW_CHUNK; row >= 0; row -= FLOW_CHUNK) {
            const int64_t count = span->n - row < FLOW_CHUNK ? span->n - row : FLOW_CHUNK;
            flow_load_back(job, t, span, head, s, row, count);
            for (int64_t i = count - 1; i >= 0; i--) {
                const double d_gate = rows_dot(job->ld, t->far_q + i * job->ld, t->q + i * job->ld);
                const double d_comp = rows_dot(job->le, t->far_v + i * job->le, t->v + i * job->le);
                const double length = before + (double)(row + i + 1);
                const flow_slope slope =
                    flow_slope_of(job, span, head, row + i, length, d_gate, d_comp, &back);
                back.length += flow_position_back(job, t, i, &slope) / length;
            }
            for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
                flow_settle(job, &t->sum[i]);
            flow_store_back(job, t, span, head, row, count);
        }
        if (flow_is_single(job, span))
            flow_single_back(job, t, span, head);
        for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
            flow_carry_put(job, job->d_sums_in, s, head, i, t->sum[i].now);
        flow_carry_store(job, job->d_sums_in, s, head, &back);
    }
}

/* --- Full form ---------------------------------------------------------------------------------
 */

/* sum += factor_i (x_i + shift) over the rows of a tensor. `factor`, `shift` may be NULL. */
static void flow_sums(const flow_job *job, flow_tiles *t, const rapt_rows *rows, int64_t b,
                      int64_t head, int64_t first, int64_t n, const float *factor,
                      const float *shift, flow_sum *sum)
{
    for (int64_t row = 0; row < n; row += FLOW_CHUNK) {
        const int64_t count = n - row < FLOW_CHUNK ? n - row : FLOW_CHUNK;
        flow_load(rows, b, head, first + row, count, 1, t->work, job->ld);
        for (int64_t i = 0; i < count; i++)
            flow_add(job, sum, factor ? factor[row + i] : 1.0f, t->work + i * job->ld, shift);
        flow_settle(job, sum);
    }
}

/* Numbers of all rows: value[i] = (x_i + eps) . (sum + eps), or its inverse. */
static void flow_values(const flow_job *job, flow_tiles *t, const rapt_rows *rows, int64_t b,
                        int64_t head, int64_t first, int64_t n, const float *sum, int inverse,
                        float *value)
{
    for (int64_t row = 0; row < n; row += FLOW_CHUNK) {
        const int64_t count = n - row < FLOW_CHUNK ? n - row : FLOW_CHUNK;
        flow_load(rows, b, head, first + row, count, 1, t->work, job->ld);
        for (int64_t i = 0; i < count; i++) {
            const float dot = flow_dot(job, t, t->work + i * job->ld, sum);
            value[row + i] = inverse ? 1.0f / dot : dot;
        }
    }
}

/* value[i] = -inverse[i]^2 (value[i] + x_i . s): from the gradient of 1 / y to that of y. */
static void flow_dots(const flow_job *job, flow_tiles *t, const rapt_rows *rows, int64_t b,
                      int64_t head, int64_t first, int64_t n, const float *s, float *value,
                      const float *inverse)
{
    for (int64_t row = 0; row < n; row += FLOW_CHUNK) {
        const int64_t count = n - row < FLOW_CHUNK ? n - row : FLOW_CHUNK;
        flow_load(rows, b, head, first + row, count, 1, t->work, job->ld);
        for (int64_t i = 0; i < count; i++) {
            const float dot = rows_dot(job->ld, t->work + i * job->ld, s);
            value[row + i] = -inverse[row + i] * inverse[row + i] * (value[row + i] + dot);
        }
    }
}

/* All numbers of a head, the four sums left in t->sum. */
static void flow_whole_weights(const flow_job *job, flow_tiles *t, const flow_span *span,
                               int64_t head)
{
    const int64_t b = span->batch;
    float *inc = flow_at(job->at.inc, job, job->n, b, head, span->q);
    float *cs = flow_at(job->at.cs, job, job->n, b, head, span->q);
    float *gate = flow_at(job->at.gate, job, job->n, b, head, span->q);
    float *out = flow_at(job->at.out, job, job->m, b, head, span->k);
    float *cr = flow_at(job->at.cr, job, job->m, b, head, span->k);
    float *comp = flow_at(job->at.comp, job, job->m, b, head, span->k);
    flow_sum *sum = t->sum;
    flow_sums(job, t, &job->k, b, head, span->k, span->m, NULL, NULL, &sum[FLOW_SUM_K]);
    flow_sums(job, t, &job->q, b, head, span->q, span->n, NULL, NULL, &sum[FLOW_SUM_Q]);
    flow_values(job, t, &job->q, b, head, span->q, span->n, sum[FLOW_SUM_K].now, 1, inc);
    flow_values(job, t, &job->k, b, head, span->k, span->m, sum[FLOW_SUM_Q].now, 1, out);
    flow_sums(job, t, &job->k, b, head, span->k, span->m, out, NULL, &sum[FLOW_SUM_OUT]);
    flow_sums(job, t, &job->q, b, head, span->q, span->n, inc, NULL, &sum[FLOW_SUM_IN]);
    flow_values(job, t, &job->q, b, head, span->q, span->n, sum[FLOW_SUM_OUT].now, 0, cs);
    flow_values(job, t, &job->k, b, head, span->k, span->m, sum[FLOW_SUM_IN].now, 0, cr);
    flow_whole_gates(job, span, inc, cs, gate, cr, comp);
}

/* Items: (span, head). */
static void flow_whole(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    for (int64_t item = begin; item < end; item++) {
        flow_tiles *t = flow_take(job, worker);
        const flow_span *span = &job->span[item / job->heads];
        const int64_t head = item % job->heads, b = span->batch;
        flow_whole_weights(job, t, span, head);
        memset(t->kv, 0, (size_t)(job->ld * job->le) * sizeof(float));
        for (int64_t row = 0; row < span->m; row += FLOW_CHUNK) {
            const int64_t count = span->m - row < FLOW_CHUNK ? span->m - row : FLOW_CHUNK;
            flow_load(&job->k, b, head, span->k + row, count, 1, t->k, job->ld);
            flow_load(&job->v, b, head, span->k + row, count, 0, t->v, job->le);
            rows_scale(count, job->le, flow_at(job->at.comp, job, job->m, b, head, span->k + row),
                       t->v, t->v);
            tile_multiply(job->ld, job->le, count, t->k, 1, job->ld, t->v, job->le, t->kv, job->le,
                          1);
        }
        for (int64_t row = 0; row < span->n; row += FLOW_CHUNK) {
            const int64_t count = span->n - row < FLOW_CHUNK ? span->n - row : FLOW_CHUNK;
            flow_load(&job->q, b, head, span->q + row, count, 1, t->q, job->ld);
            rows_scale(count, job->ld, flow_at(job->at.gate, job, job->n, b, head, span->q + row),
                       t->q, t->q);
            tile_multiply(count, job->le, job->ld, t->q, job->ld, 1, t->kv, job->le, t->d_o,
                          job->le, 0);
            rows_store(job->o.dtype, flow_row(&job->o, b, head, span->q + row), job->o.row, count,
                       job->e, 1.0f, t->d_o, job->le);
        }
    }
}

/* d_gate[i] = do_i . (q_i kv), d_kv = sum (gate q)^T do; t->kv is made on the way. */
static void flow_back_queries(const flow_job *job, flow_tiles *t, const flow_span *span,
                              int64_t head, float *d_gate)
{
    const int64_t b = span->batch;
    memset(t->kv, 0, (size_t)(job->ld * job->le) * sizeof(float));
    memset(t->d_kv, 0, (size_t)(job->ld * job->le) * sizeof(float));
    for (int64_t row = 0; row < span->m; row += FLOW_CHUNK) {
        const int64_t count = span->m - row < FLOW_CHUNK ? span->m - row : FLOW_CHUNK;
        flow_load(&job->k, b, head, span->k + row, count, 1, t->k, job->ld);
        flow_load(&job->v, b, head, span->k + row, count, 0, t->v, job->le);
        rows_scale(count, job->le, flow_at(job->at.comp, job, job->m, b, head, span->k + row), t->v,
                   t->v);
        tile_multiply(job->ld, job->le, count, t->k, 1, job->ld, t->v, job->le, t->kv, job->le, 1);
    }
    for (int64_t row = 0; row < span->n; row += FLOW_CHUNK) {
        const int64_t count = span->n - row < FLOW_CHUNK ? span->n - row : FLOW_CHUNK;
        flow_load(&job->q, b, head, span->q + row, count, 1, t->q, job->ld);
        flow_load(&job->d_o, b, head, span->q + row, count, 0, t->d_o, job->le);
        tile_multiply(count, job->le, job->ld, t->q, job->ld, 1, t->kv, job->le, t->work, job->le,
                      0);
        for (int64_t i = 0; i < count; i++)
            d_gate[row + i] = rows_dot(job->le, t->work + i * job->le, t->d_o + i * job->le);
        rows_scale(count, job->ld, flow_at(job->at.gate, job, job->n, b, head, span->q + row), t->q,
                   t->q);
        tile_multiply(job->ld, job->le, count, t->q, 1, job->ld, t->d_o, job->le, t->d_kv, job->le,
                      1);
    }
}

/* dv, and d_comp[j] = v_j . (k_j d_kv). */
static void flow_back_keys(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                           float *d_comp)
{
    const int64_t b = span->batch;
    for (int64_t row = 0; row < span->m; row += FLOW_CHUNK) {
        const int64_t count = span->m - row < FLOW_CHUNK ? span->m - row : FLOW_CHUNK;
        flow_load(&job->k, b, head, span->k + row, count, 1, t->k, job->ld);
        flow_load(&job->v, b, head, span->k + row, count, 0, t->v, job->le);
        tile_multiply(count, job->le, job->ld, t->k, job->ld, 1, t->d_kv, job->le, t->work, job->le,
                      0);
        for (int64_t i = 0; i < count; i++)
            d_comp[row + i] = rows_dot(job->le, t->work + i * job->le, t->v + i * job->le);
        rows_scale(count, job->le, flow_at(job->at.comp, job, job->m, b, head, span->k + row),
                   t->work, t->work);
        if (job->dv.data)
            rows_store(job->dv.dtype, flow_row(&job->dv, b, head, span->k + row), job->dv.row,
                       count, job->e, 1.0f, t->work, job->le);
    }
}

/*
 * dx = x (1 - x) (w G^T + a_i (s + eps) + c_i r + h_i (u + eps) + p), the last pass over the rows
 * of q or k: w = factor y with y = do or v, G = kv or d_kv; s, r, u, p the rows of `sums`.
 */
static void flow_back_rows(const flow_job *job, flow_tiles *t, const flow_side *side)
{
    rows_transpose(job->ld, job->le, side->matrix, job->le, t->turned, job->ld);
    for (int64_t row = 0; row < side->n; row += FLOW_CHUNK) {
        const int64_t count = side->n - row < FLOW_CHUNK ? side->n - row : FLOW_CHUNK;
        flow_load(side->x, side->batch, side->head, side->first + row, count, 1, t->q, job->ld);
        flow_load(side->y, side->batch, side->head, side->first + row, count, 0, t->v, job->le);
        rows_scale(count, job->le, side->factor + row, t->v, t->v);
        tile_multiply(count, job->ld, job->le, t->v, job->le, 1, t->turned, job->ld, t->work,
                      job->ld, 0);
        for (int64_t i = 0; i < count; i++)
            for (int64_t c = 0; c < job->ld; c += SIMD_LANES) {
                const simd_f eps = simd_load(t->eps + c);
                const simd_f x = simd_load(t->q + i * job->ld + c);
                simd_f g = simd_load(t->work + i * job->ld + c);
                g = simd_fma(simd_set(side->a[row + i]), simd_load(side->s + c) + eps, g);
                g = simd_fma(simd_set(side->c[row + i]), simd_load(side->r + c), g);
                g = simd_fma(simd_set(side->h[row + i]), simd_load(side->u + c) + eps, g);
                g = g + simd_load(side->p + c);
                simd_store(t->work + i * job->ld + c, g * x * (1.0f - x));
            }
        rows_store(side->dx->dtype, flow_row(side->dx, side->batch, side->head, side->first + row),
                   side->dx->row, count, job->d, 1.0f, t->work, job->ld);
    }
}

/* Items: (span, head). */
static void flow_whole_back(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    for (int64_t item = begin; item < end; item++) {
        flow_tiles *t = flow_take(job, worker);
        const flow_span *span = &job->span[item / job->heads];
        const int64_t head = item % job->heads, b = span->batch;
        flow_whole_weights(job, t, span, head);
        flow_whole_grad g = flow_whole_grads(job, span, head);
        for (int i = 0; i < FLOW_SUMS_AT_ONCE;
             i++) /* the forward sums, kept; the same again from 0 */
            memcpy(t->run[i], t->sum[i].now, (size_t)job->ld * sizeof(float));
        flow_back_queries(job, t, span, head, g.d_gate);
        flow_back_keys(job, t, span, head, g.d_comp);
        flow_whole_slopes(job, span, &g);
        flow_forget(job, t);
        flow_sum *back = t->sum;
        flow_sums(job, t, &job->q, b, head, span->q, span->n, g.d_cs, t->eps, &back[FLOW_SUM_OUT]);
        flow_sums(job, t, &job->k, b, head, span->k, span->m, g.d_cr, t->eps, &back[FLOW_SUM_IN]);
        flow_dots(job, t, &job->q, span->batch, head, span->q, span->n, back[FLOW_SUM_IN].now,
                  g.d_inc, g.inc);
        flow_dots(job, t, &job->k, span->batch, head, span->k, span->m, back[FLOW_SUM_OUT].now,
                  g.d_out, g.out);
        flow_sums(job, t, &job->q, b, head, span->q, span->n, g.d_inc, t->eps, &back[FLOW_SUM_K]);
        flow_sums(job, t, &job->k, b, head, span->k, span->m, g.d_out, t->eps, &back[FLOW_SUM_Q]);
        const flow_side queries = {.x = &job->q,
                                   .y = &job->d_o,
                                   .dx = &job->dq,
                                   .batch = b,
                                   .head = head,
                                   .first = span->q,
                                   .n = span->n,
                                   .matrix = t->kv,
                                   .factor = g.gate,
                                   .a = g.d_cs,
                                   .s = t->run[FLOW_SUM_OUT],
                                   .c = g.inc,
                                   .r = back[FLOW_SUM_IN].now,
                                   .h = g.d_inc,
                                   .u = t->run[FLOW_SUM_K],
                                   .p = back[FLOW_SUM_Q].now};
        const flow_side keys = {.x = &job->k,
                                .y = &job->v,
                                .dx = &job->dk,
                                .batch = b,
                                .head = head,
                                .first = span->k,
                                .n = span->m,
                                .matrix = t->d_kv,
                                .factor = g.comp,
                                .a = g.d_cr,
                                .s = t->run[FLOW_SUM_IN],
                                .c = g.out,
                                .r = back[FLOW_SUM_OUT].now,
                                .h = g.d_out,
                                .u = t->run[FLOW_SUM_Q],
                                .p = back[FLOW_SUM_K].now};
        if (job->dq.data)
            flow_back_rows(job, t, &queries);
        if (job->dk.data)
            flow_back_rows(job, t, &keys);
        if (flow_is_single(job, span))
            flow_single_back(job, t, span, head);
    }
}

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
