/*
 * flow's full form for one CPU level, in as few passes over the rows as its sums allow. Every
 * task's items are (span, head). Included by body.h.
 */

/* Passes turn where they can: one that walks back finds in the cache what the one before it read
 * last. The row where a pass's chunk begins, `at` rows into a pass over n. */
static int64_t flow_turned(int64_t n, int64_t at, bool back)
{
    return back ? (n - 1) / FLOW_CHUNK * FLOW_CHUNK - at : at;
}

/* sum = the rows of a tensor, added up. */
static void flow_rows_sum(const flow_job *job, flow_tiles *t, const rapt_rows *rows, int64_t b,
                          int64_t head, int64_t first, int64_t n, flow_sum *sum)
{
    for (int64_t row = 0; row < n; row += FLOW_CHUNK) {
        const int64_t count = n - row < FLOW_CHUNK ? n - row : FLOW_CHUNK;
        flow_load(rows, b, head, first + row, count, 1, t->work, job->ld);
        for (int64_t i = 0; i < count; i++)
            flow_add(job, sum, 1.0f, t->work + i * job->ld, NULL);
        flow_settle(job, sum);
    }
}

/* value[i] = 1 / ((x_i + eps) . (against + eps)), and sum += value_i x_i; walks back. */
static void flow_inverses(const flow_job *job, flow_tiles *t, const rapt_rows *rows, int64_t b,
                          int64_t head, int64_t first, int64_t n, const float *against,
                          float *value, flow_sum *sum)
{
    for (int64_t at = 0; at < n; at += FLOW_CHUNK) {
        const int64_t row = flow_turned(n, at, true);
        const int64_t count = n - row < FLOW_CHUNK ? n - row : FLOW_CHUNK;
        flow_load(rows, b, head, first + row, count, 1, t->work, job->ld);
        for (int64_t i = 0; i < count; i++) {
            value[row + i] = 1.0f / flow_dot(job, t, t->work + i * job->ld, against);
            flow_add(job, sum, value[row + i], t->work + i * job->ld, NULL);
        }
        flow_settle(job, sum);
    }
}

/* The sums of all rows and the numbers inc and out. */
static void flow_whole_sums(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head)
{
    const int64_t b = span->batch;
    float *inc = flow_at(job->at.inc, job, job->n, b, head, span->q);
    float *out = flow_at(job->at.out, job, job->m, b, head, span->k);
    flow_sum *sum = t->sum;
    flow_rows_sum(job, t, &job->k, b, head, span->k, span->m, &sum[FLOW_SUM_K]);
    flow_rows_sum(job, t, &job->q, b, head, span->q, span->n, &sum[FLOW_SUM_Q]);
    flow_inverses(job, t, &job->q, b, head, span->q, span->n, sum[FLOW_SUM_K].now, inc,
                  &sum[FLOW_SUM_IN]);
    flow_inverses(job, t, &job->k, b, head, span->k, span->m, sum[FLOW_SUM_Q].now, out,
                  &sum[FLOW_SUM_OUT]);
}

/* weight[i] = e^(clip(cr_i) - bound) for a chunk; rows behind `count` give 0. */
static void flow_weigh(const flow_job *job, int64_t count, const float *cr, float bound,
                       float *weight)
{
    for (int64_t i = 0; i < FLOW_CHUNK; i++)
        weight[i] = i < count ? (float)flow_clip(job, (double)cr[i]) - bound : 0.0f;
    for (int64_t i = 0; i < FLOW_CHUNK; i += SIMD_LANES)
        simd_store(weight + i, simd_exp(simd_load(weight + i)));
    for (int64_t i = count; i < FLOW_CHUNK; i++)
        weight[i] = 0.0f;
}

/* The keys' pass: cr of all, and t->kv = sum_j k_j^T (m softmax_j(cr)_j v_j), the softmax taken
 * against the greatest cr so far. Writes comp = m softmax(cr) too if `comp` is not NULL. */
static void flow_whole_keys(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                            const float *sum_in, float *comp)
{
    const int64_t b = span->batch, m = span->m, size = job->ld * job->le;
    float *cr = flow_at(job->at.cr, job, job->m, b, head, span->k);
    float bound = -job->clamp, weight[FLOW_CHUNK];
    double sum = 0;
    memset(t->kv, 0, (size_t)size * sizeof(float));
    for (int64_t row = 0; row < m; row += FLOW_CHUNK) {
        const int64_t count = m - row < FLOW_CHUNK ? m - row : FLOW_CHUNK;
        flow_load(&job->k, b, head, span->k + row, count, 1, t->k, job->ld);
        flow_load(&job->v, b, head, span->k + row, count, 0, t->v, job->le);
        float most = bound;
        for (int64_t i = 0; i < count; i++) {
            cr[row + i] = flow_dot(job, t, t->k + i * job->ld, sum_in);
            const float clipped = (float)flow_clip(job, (double)cr[row + i]);
            most = clipped > most ? clipped : most;
        }
        if (most > bound) {
            const double less = exp((double)bound - (double)most);
            const simd_f factor = simd_set((float)less);
            for (int64_t i = 0; i < size; i += SIMD_LANES)
                simd_store(t->kv + i, factor * simd_load(t->kv + i));
            sum *= less;
            bound = most;
        }
        flow_weigh(job, count, cr + row, bound, weight);
        for (int64_t i = 0; i < count; i++)
            sum += (double)weight[i];
        rows_scale(count, job->le, weight, t->v, t->v);
        tile_multiply(job->ld, job->le, count, t->k, 1, job->ld, t->v, job->le, t->kv, job->le, 1);
    }
    const float share = m ? (float)((double)m / sum) : 0.0f;
    for (int64_t i = 0; i < size; i += SIMD_LANES)
        simd_store(t->kv + i, simd_set(share) * simd_load(t->kv + i));
    for (int64_t row = 0; comp && row < m; row += FLOW_CHUNK) {
        const int64_t count = m - row < FLOW_CHUNK ? m - row : FLOW_CHUNK;
        flow_weigh(job, count, cr + row, bound, weight);
        for (int64_t i = 0; i < count; i++)
            comp[row + i] = share * weight[i];
    }
}

/* cs of a chunk of queries, times n/m, and their gates sigmoid(cs) inc. */
static void flow_whole_gates(const flow_job *job, const flow_tiles *t, const flow_span *span,
                             int64_t count, const float *sum_out, const float *inc, float *cs,
                             float *gate)
{
    const float ratio = span->m ? (float)((double)span->n / (double)span->m) : 0.0f;
    float open[FLOW_CHUNK] = {0};
    for (int64_t i = 0; i < count; i++)
        open[i] = cs[i] = ratio * flow_dot(job, t, t->q + i * job->ld, sum_out);
    for (int64_t i = 0; i < FLOW_CHUNK; i += SIMD_LANES)
        simd_store(open + i, simd_sigmoid(simd_load(open + i)));
    for (int64_t i = 0; i < count; i++)
        gate[i] = open[i] * inc[i];
}

static void flow_whole(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    for (int64_t item = begin; item < end; item++) {
        flow_tiles *t = flow_take(job, worker);
        const flow_span *span = &job->span[item / job->heads];
        const int64_t head = item % job->heads, b = span->batch;
        const float *inc = flow_at(job->at.inc, job, job->n, b, head, span->q);
        float cs[FLOW_CHUNK], gate[FLOW_CHUNK];
        flow_whole_sums(job, t, span, head);
        flow_whole_keys(job, t, span, head, t->sum[FLOW_SUM_IN].now, NULL);
        for (int64_t row = 0; row < span->n; row += FLOW_CHUNK) {
            const int64_t count = span->n - row < FLOW_CHUNK ? span->n - row : FLOW_CHUNK;
            flow_load(&job->q, b, head, span->q + row, count, 1, t->q, job->ld);
            flow_whole_gates(job, t, span, count, t->sum[FLOW_SUM_OUT].now, inc + row, cs, gate);
            rows_scale(count, job->ld, gate, t->q, t->q);
            tile_multiply(count, job->le, job->ld, t->q, job->ld, 1, t->kv, job->le, t->d_o,
                          job->le, 0);
            rows_store(job->o.dtype, flow_row(&job->o, b, head, span->q + row), job->o.row, count,
                       job->e, 1.0f, t->d_o, job->le);
        }
    }
}

/* The queries' first pass back: their gates; d_gate = do . (q kv) and from it d_cs and what it says
 * of inc; d_kv = sum (gate q)^T do; back += d_cs (q + eps). */
static void flow_back_queries(const flow_job *job, flow_tiles *t, const flow_span *span,
                              int64_t head, const flow_whole_grad *g, const float *sum_out,
                              flow_sum *back)
{
    const int64_t b = span->batch;
    const double ratio = span->m ? (double)span->n / (double)span->m : 0;
    memset(t->d_kv, 0, (size_t)(job->ld * job->le) * sizeof(float));
    for (int64_t row = 0; row < span->n; row += FLOW_CHUNK) {
        const int64_t count = span->n - row < FLOW_CHUNK ? span->n - row : FLOW_CHUNK;
        flow_load(&job->q, b, head, span->q + row, count, 1, t->q, job->ld);
        flow_load(&job->d_o, b, head, span->q + row, count, 0, t->d_o, job->le);
        flow_whole_gates(job, t, span, count, sum_out, g->inc + row, g->cs + row, g->gate + row);
        tile_multiply(count, job->le, job->ld, t->q, job->ld, 1, t->kv, job->le, t->work, job->le,
                      0);
        for (int64_t i = 0; i < count; i++) {
            const double d_gate =
                (double)rows_dot(job->le, t->work + i * job->le, t->d_o + i * job->le);
            const double inc = (double)g->inc[row + i];
            const double open = flow_logistic((double)g->cs[row + i]);
            /* What gate and inc say of q all but cancels: one rounding for both. */
            g->gate[row + i] = (float)(open * inc);
            g->d_cs[row + i] = (float)(d_gate * inc * open * (1 - open) * ratio);
            g->d_inc[row + i] = (float)(d_gate * open);
            flow_add(job, back, g->d_cs[row + i], t->q + i * job->ld, t->eps);
        }
        flow_settle(job, back);
        rows_scale(count, job->ld, g->gate + row, t->q, t->q);
        tile_multiply(job->ld, job->le, count, t->q, 1, job->ld, t->d_o, job->le, t->d_kv, job->le,
                      1);
    }
}

/* dv, and d_cr from d_comp[j] = v_j . (k_j d_kv). */
static void flow_back_keys(const flow_job *job, flow_tiles *t, const flow_span *span, int64_t head,
                           const flow_whole_grad *g)
{
    const int64_t b = span->batch;
    double mean = 0;
    for (int64_t at = 0; at < span->m; at += FLOW_CHUNK) {
        const int64_t row = flow_turned(span->m, at, true);
        const int64_t count = span->m - row < FLOW_CHUNK ? span->m - row : FLOW_CHUNK;
        flow_load(&job->k, b, head, span->k + row, count, 1, t->k, job->ld);
        flow_load(&job->v, b, head, span->k + row, count, 0, t->v, job->le);
        tile_multiply(count, job->le, job->ld, t->k, job->ld, 1, t->d_kv, job->le, t->work, job->le,
                      0);
        for (int64_t i = 0; i < count; i++) {
            g->d_cr[row + i] = rows_dot(job->le, t->work + i * job->le, t->v + i * job->le);
            mean += (double)g->d_cr[row + i] * (double)g->comp[row + i];
        }
        rows_scale(count, job->le, g->comp + row, t->work, t->work);
        if (job->dv.data)
            rows_store(job->dv.dtype, flow_row(&job->dv, b, head, span->k + row), job->dv.row,
                       count, job->e, 1.0f, t->work, job->le);
    }
    mean = span->m ? mean / (double)span->m : 0;
    for (int64_t j = 0; j < span->m; j++) {
        const double cr = (double)g->cr[j];
        const double d_cr = (double)g->comp[j] * ((double)g->d_cr[j] - mean);
        g->d_cr[j] = flow_clip(job, cr) != cr ? 0.0f : (float)d_cr;
        g->d_out[j] = 0.0f;
    }
}

/* slope[i] = -inverse[i]^2 (slope[i] + x_i . against), from the gradient of 1 / y to that of y, and
 * sum += slope_i (x_i + eps). With `also`, its numbers times (x_i + eps) into `also_sum`. */
static void flow_back_inverses(const flow_job *job, flow_tiles *t, const rapt_rows *rows, int64_t b,
                               int64_t head, int64_t first, int64_t n, const float *against,
                               const float *inverse, float *slope, flow_sum *sum, const float *also,
                               flow_sum *also_sum)
{
    for (int64_t at = 0; at < n; at += FLOW_CHUNK) {
        const int64_t row = flow_turned(n, at, !also);
        const int64_t count = n - row < FLOW_CHUNK ? n - row : FLOW_CHUNK;
        flow_load(rows, b, head, first + row, count, 1, t->work, job->ld);
        for (int64_t i = 0; i < count; i++) {
            const float *x = t->work + i * job->ld, y = inverse[row + i];
            slope[row + i] = -y * y * (slope[row + i] + rows_dot(job->ld, x, against));
            flow_add(job, sum, slope[row + i], x, t->eps);
            if (also)
                flow_add(job, also_sum, also[row + i], x, t->eps);
        }
        flow_settle(job, sum);
        if (also)
            flow_settle(job, also_sum);
    }
}

/*
 * dx = x (1 - x) (w G^T + a_i (s + eps) + c_i r + h_i (u + eps) + p), the last pass over the rows
 * of q or k: w = factor y with y = do or v, G = kv or d_kv; s, r, u, p the rows of `sums`.
 */
static void flow_back_rows(const flow_job *job, flow_tiles *t, const flow_side *side)
{
    rows_transpose(job->ld, job->le, side->matrix, job->le, t->turned, job->ld);
    for (int64_t at = 0; at < side->n; at += FLOW_CHUNK) {
        const int64_t row = flow_turned(side->n, at, side->back);
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

static void flow_whole_back(void *context, int64_t begin, int64_t end, int worker)
{
    flow_job *job = (flow_job *)context;
    for (int64_t item = begin; item < end; item++) {
        flow_tiles *t = flow_take(job, worker);
        const flow_span *span = &job->span[item / job->heads];
        const int64_t head = item % job->heads, b = span->batch;
        const flow_whole_grad g = flow_whole_grads(job, span, head);
        flow_whole_sums(job, t, span, head);
        /* The forward sums, kept; the same again from 0. */
        for (int i = 0; i < FLOW_SUMS_AT_ONCE; i++)
            memcpy(t->run[i], t->sum[i].now, (size_t)job->ld * sizeof(float));
        flow_forget(job, t);
        flow_sum *back = t->sum;
        flow_whole_keys(job, t, span, head, t->run[FLOW_SUM_IN], g.comp);
        flow_back_queries(job, t, span, head, &g, t->run[FLOW_SUM_OUT], &back[FLOW_SUM_OUT]);
        flow_back_keys(job, t, span, head, &g);
        flow_back_inverses(job, t, &job->k, b, head, span->k, span->m, back[FLOW_SUM_OUT].now,
                           g.out, g.d_out, &back[FLOW_SUM_Q], g.d_cr, &back[FLOW_SUM_IN]);
        flow_back_inverses(job, t, &job->q, b, head, span->q, span->n, back[FLOW_SUM_IN].now, g.inc,
                           g.d_inc, &back[FLOW_SUM_K], NULL, NULL);
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
                                .p = back[FLOW_SUM_K].now,
                                .back = true};
        if (job->dq.data)
            flow_back_rows(job, t, &queries);
        if (job->dk.data)
            flow_back_rows(job, t, &keys);
        if (flow_is_single(job, span))
            flow_single_back(job, t, span, head);
    }
}
