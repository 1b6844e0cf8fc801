/*
 * flow's causal form for one CPU level: the numbers of each position, along the sequence, and their
 * gradients, back from its end. Every task's items are (head in work, sequence), of the stretch
 * that the chunked driver has in work. Included by body.h.
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

/* Takes up the sums and the numbers of a head where a stretch begins to work on a sequence: from
 * `given`, what the caller gave (NULL: zeros), or from the stretch before. */
static void flow_take_up(const flow_job *job, flow_tiles *t, const rapt_view *given, bool outside,
                         int64_t s, int64_t head, flow_carry *carry)
{
    const double *passed = flow_passing(job, 0, head);
    if (outside)
        *carry = flow_carry_load(job, given, s, head);
    else
        *carry = (flow_carry){passed[0], passed[1]};
    for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++) {
        if (outside)
            flow_carry_row(job, given, s, head, i, t->sum[i].whole);
        else
            memcpy(t->sum[i].whole, passed + 2 + i * job->ld, (size_t)job->ld * sizeof *passed);
        flow_settle(job, &t->sum[i]);
    }
}

/* Leaves them to the next stretch, or, `outside`, to the caller who wants them in `wanted`. */
static void flow_hand_on(const flow_job *job, const flow_tiles *t, float *wanted, bool outside,
                         int64_t s, int64_t head, const flow_carry *carry)
{
    double *passed = flow_passing(job, 1, head);
    if (outside) {
        flow_carry_store(job, wanted, s, head, carry);
        for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
            flow_carry_put(job, wanted, s, head, i, t->sum[i].now);
        return;
    }
    passed[0] = carry->length;
    passed[1] = carry->z;
    for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
        memcpy(passed + 2 + i * job->ld, t->sum[i].whole, (size_t)job->ld * sizeof *passed);
}

/* The numbers of each position in work, and, for backward, the sums before each chunk. */
static void flow_running(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    const rapt_linear *x = &job->linear;
    for (int64_t item = begin; item < end; item++) {
        const int64_t s = item % x->n_sequences, head = x->first_head + item / x->n_sequences;
        const linear_range range = linear_range_of(x, s);
        const flow_span *span = &job->span[s];
        flow_carry carry;
        if (range.empty)
            continue;
        flow_tiles *t = flow_take(job, worker);
        flow_take_up(job, t, job->sums_in, range.begins, s, head, &carry);
        for (int64_t c = range.first; c < range.end; c++) {
            const int64_t row = x->chunks[c].index * FLOW_CHUNK, count = x->chunks[c].count;
            float *border = flow_border(job, c, head);
            for (int i = 0; border && i < FLOW_SUMS_AT_ONCE; i++)
                memcpy(border + i * job->ld, t->sum[i].now, (size_t)job->ld * sizeof *border);
            flow_load(&job->q, span->batch, head, span->q + row, count, 1, t->q, job->ld);
            flow_load(&job->k, span->batch, head, span->k + row, count, 1, t->k, job->ld);
            flow_running_chunk(job, t, span, head, row, count, &carry);
            for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
                flow_settle(job, &t->sum[i]);
        }
        flow_hand_on(job, t, job->sums_out, range.ends, s, head, &carry);
    }
}

/* The four sums up to each row of a chunk, again, into t->run. */
static void flow_replay(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                        int64_t c, int64_t row, int64_t count)
{
    const float *border = flow_border(job, c, head);
    const float *inc = flow_at(job->at.inc, job, job->n, span->batch, head, span->q + row);
    const float *out = flow_at(job->at.out, job, job->m, span->batch, head, span->k + row);
    for (int which = 0; which < FLOW_SUMS_AT_ONCE; which++) {
        const int keys = which == FLOW_SUM_K || which == FLOW_SUM_OUT;
        for (int64_t d = 0; d < job->ld; d += SIMD_LANES) {
            const simd_f base = simd_load(border + which * job->ld + d);
            simd_f local = simd_zero();
            for (int64_t i = 0; i < count; i++) {
                const simd_f x = simd_load((keys ? t->k : t->q) + i * job->ld + d);
                const float factor = which == FLOW_SUM_OUT  ? out[i]
                                     : which == FLOW_SUM_IN ? inc[i]
                                                            : 1.0f;
                local = simd_fma(simd_set(factor), x, local);
                simd_store(t->run[which] + i * job->ld + d, base + local);
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
                           int64_t c, int64_t row, int64_t count)
{
    const int64_t b = span->batch, d = FLOW_CHUNK * job->ld;
    float *tiles = rapt_linear_grad_tile(&job->linear, head - job->linear.first_head, c);
    flow_load(&job->q, b, head, span->q + row, count, 1, t->q, job->ld);
    flow_load(&job->k, b, head, span->k + row, count, 1, t->k, job->ld);
    flow_load(&job->v, b, head, span->k + row, count, 0, t->v, job->le);
    t->far_q = tiles;
    t->far_k = tiles + d;
    t->far_v = tiles + 2 * d;
    flow_replay(job, t, span, head, c, row, count);
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

/* One chunk backwards. */
static void flow_chunk_back(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                            int64_t c, double before, flow_carry *back)
{
    const rapt_linear_chunk *chunk = &job->linear.chunks[c];
    const int64_t row = chunk->index * FLOW_CHUNK, count = chunk->count;
    flow_load_back(job, t, span, head, c, row, count);
    for (int64_t i = count - 1; i >= 0; i--) {
        const double d_gate = rows_dot(job->ld, t->far_q + i * job->ld, t->q + i * job->ld);
        const double d_comp = rows_dot(job->le, t->far_v + i * job->le, t->v + i * job->le);
        const double length = before + (double)(row + i + 1);
        const flow_slope slope =
            flow_slope_of(job, span, head, row + i, length, d_gate, d_comp, back);
        back->length += flow_position_back(job, t, i, &slope) / length;
    }
    for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
        flow_settle(job, &t->sum[i]);
    flow_store_back(job, t, span, head, row, count);
}

/* From the linear part's gradients to those of q, k and v of the positions in work, from the last
 * to the first, and so to those of the sums before. */
static void flow_running_back(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    const rapt_linear *x = &job->linear;
    for (int64_t item = begin; item < end; item++) {
        const int64_t s = item % x->n_sequences, head = x->first_head + item / x->n_sequences;
        const linear_range range = linear_range_of(x, s);
        const flow_span *span = &job->span[s];
        flow_carry back;
        if (range.empty)
            continue;
        flow_tiles *t = flow_take(job, worker);
        const double before = flow_carry_load(job, job->sums_in, s, head).length;
        flow_take_up(job, t, job->d_sums_out, range.ends, s, head, &back);
        for (int64_t c = range.end - 1; c >= range.first; c--)
            flow_chunk_back(job, t, span, head, c, before, &back);
        if (flow_is_single(job, span))
            flow_single_back(job, t, span, head);
        flow_hand_on(job, t, job->d_sums_in, range.begins, s, head, &back);
    }
}
