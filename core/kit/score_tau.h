/*
 * kit/score_tau.h - temperatures of queries and values, and gradients of what each head has one of,
 * for one CPU level. Part of kit/score_driver.h.
 *
 * Rows of q are scaled as they are loaded. So are rows of v, but for few queries, where all heads
 * of a group share them: there the weights are.
 */
#ifndef RAPT_KIT_SCORE_TAU_NAMES
#define RAPT_KIT_SCORE_TAU_NAMES
#define score_factor_of      RAPT_LEVEL_NAME(score_factor_of)
#define score_factors        RAPT_LEVEL_NAME(score_factors)
#define score_scale_columns  RAPT_LEVEL_NAME(score_scale_columns)
#define score_scale_keys     RAPT_LEVEL_NAME(score_scale_keys)
#define score_few_values     RAPT_LEVEL_NAME(score_few_values)
#define score_scaled_tile    RAPT_LEVEL_NAME(score_scaled_tile)
#define score_value_tile     RAPT_LEVEL_NAME(score_value_tile)
#define score_row_dot        RAPT_LEVEL_NAME(score_row_dot)
#define score_back_queries   RAPT_LEVEL_NAME(score_back_queries)
#define score_back_values    RAPT_LEVEL_NAME(score_back_values)
#define score_sink_gradient  RAPT_LEVEL_NAME(score_sink_gradient)
#define score_head_gradients RAPT_LEVEL_NAME(score_head_gradients)
#endif

/* --- Forward ---------------------------------------------------------------------------------- */

/* The factor of one row; 1 where there is none. */
SIMD_FN float score_factor_of(const rapt_score_view *tau, int64_t b, int64_t h, int64_t n)
{
    return tau->given ? simd_load_as_n(tau->dtype, rapt_score_row(tau, b, h, n), 0, 1)[0] : 1.0f;
}

/* Factors of up to RAPT_SCORE_ROWS rows, zeros behind them. */
SIMD_FN void score_factors(const rapt_score_view *tau, int64_t b, int64_t h, int64_t n,
                           int64_t rows, float *factor)
{
    const void *source = rapt_score_row(tau, b, h, n);
    for (int64_t r = 0; r < RAPT_SCORE_ROWS; r += SIMD_LANES) {
        const int64_t count = rapt_score_max(0, rapt_score_min(SIMD_LANES, rows - r));
        simd_store(factor + r,
                   count == 0 ? simd_zero() : simd_load_as_n(tau->dtype, source, r, (int)count));
    }
}

/* The columns of a block's queries, times their temperatures. */
static __attribute__((unused)) void score_scale_columns(const score_site *at,
                                                        const rapt_score_rows *rows, float *columns)
{
    const rapt_score *s = at->score;
    float factor[RAPT_SCORE_ROWS];
    score_factors(&s->options.tau_q, at->batch, at->head, rows->first, rows->count, factor);
    for (int64_t c = 0; c < s->D; c++)
        for (int64_t r = 0; r < rows->count; r += SIMD_LANES) {
            float *x = columns + c * RAPT_SCORE_ROWS + r;
            simd_store(x, simd_load(x) * simd_load(factor + r));
        }
}

/* A tile of weights, times the temperatures of its keys' values. */
static __attribute__((unused)) void score_scale_keys(const score_site *at, int64_t begin,
                                                     int64_t keys, float *tile)
{
    for (int64_t j = 0; j < keys; j++) {
        const float factor =
            score_factor_of(&at->score->options.tau_v, at->batch, at->head, begin + j);
        for (int64_t r = 0; r < RAPT_SCORE_ROWS; r += SIMD_LANES) {
            float *x = tile + j * RAPT_SCORE_ROWS + r;
            simd_store(x, simd_load(x) * factor);
        }
    }
}

/* The same for the weights of one query. */
static __attribute__((unused)) void score_few_values(const score_site *at, int64_t begin,
                                                     int64_t keys, float *weights)
{
    float factor[RAPT_SCORE_ROWS];
    score_factors(&at->score->options.tau_v, at->batch, at->head, begin, keys, factor);
    for (int64_t j = 0; j < keys; j += SIMD_LANES)
        simd_store(weights + j, simd_load(weights + j) * simd_load(factor + j));
}

/* As score_feature_tile of head `h` of the view, times the temperatures of the site's head. */
static __attribute__((unused)) const float *score_scaled_tile(const rapt_score_view *view,
                                                              int64_t h, const rapt_score_view *tau,
                                                              const score_site *at, int64_t n,
                                                              int64_t rows, int64_t columns,
                                                              float *buffer, int64_t *ld)
{
    const float *source = score_feature_tile(view, at->batch, h, n, rows, columns, buffer, ld);
    if (!tau->given)
        return source;
    const int64_t from = *ld, padded = rapt_score_up(columns, RAPT_SCORE_PAD);
    for (int64_t r = 0; r < rows; r++) {
        const simd_f factor = simd_set(score_factor_of(tau, at->batch, at->head, n + r));
        for (int64_t c = 0; c < padded; c += SIMD_LANES)
            simd_store(buffer + r * padded + c, simd_load(source + r * from + c) * factor);
    }
    *ld = padded;
    return buffer;
}

/* Values as a head takes them. */
SIMD_FN const float *score_value_tile(const score_site *at, int64_t n, int64_t rows, float *buffer,
                                      int64_t *ld)
{
    const rapt_score *s = at->score;
    return score_scaled_tile(&s->v, at->head * s->G / s->H, &s->options.tau_v, at, n, rows, s->E,
                             buffer, ld);
}

/* --- Backward --------------------------------------------------------------------------------- */

/* The product of a stored row with a padded one. */
SIMD_FN float score_row_dot(const rapt_score_view *view, int64_t b, int64_t h, int64_t n,
                            const float *x, int64_t columns)
{
    const void *row = rapt_score_row(view, b, h, n);
    simd_f sum = simd_zero();
    for (int64_t c = 0; c < columns; c += SIMD_LANES) {
        const int count = (int)rapt_score_min(SIMD_LANES, columns - c);
        sum = simd_fma(simd_load_as_n(view->dtype, row, c, count), simd_load_n(x + c, count), sum);
    }
    return simd_sum(sum);
}

/* Gradients of rows q' = tau q become those of q; those of tau are written. No division: tau may be
 * 0. */
static __attribute__((unused)) void score_back_queries(const rapt_score *s, int64_t b, int64_t h,
                                                       int64_t n, int64_t rows, float *grad)
{
    const rapt_score_options *o = &s->options;
    for (int64_t r = 0; r < rows; r++) {
        float *row = grad + r * s->Dp;
        if (o->grad_tau_q.data)
            simd_store_as_n(o->grad_tau_q.dtype, rapt_score_row(&o->grad_tau_q, b, h, n + r), 0,
                            simd_set(score_row_dot(&s->q, b, h, n + r, row, s->D)), 1);
        const float factor = score_factor_of(&o->tau_q, b, h, n + r);
        for (int64_t c = 0; c < s->Dp; c += SIMD_LANES)
            simd_store(row + c, simd_load(row + c) * factor);
    }
}

/* Likewise of rows v' = tau v of one head. */
static __attribute__((unused)) void score_back_values(const rapt_score *s, int64_t b, int64_t h,
                                                      int64_t n, int64_t rows, float *grad)
{
    const rapt_score_options *o = &s->options;
    for (int64_t r = 0; r < rows; r++) {
        float *row = grad + r * s->Ep;
        if (o->grad_tau_v.data)
            simd_store_as_n(o->grad_tau_v.dtype, rapt_score_row(&o->grad_tau_v, b, h, n + r), 0,
                            simd_set(score_row_dot(&s->v, b, h * s->G / s->H, n + r, row, s->E)),
                            1);
        const float factor = score_factor_of(&o->tau_v, b, h, n + r);
        for (int64_t c = 0; c < s->Ep; c += SIMD_LANES)
            simd_store(row + c, simd_load(row + c) * factor);
    }
}

/* A sink has weight p and no value: its logit's gradient is -p delta in each row. */
static __attribute__((unused)) double score_sink_gradient(const rapt_score *s, int64_t b, int64_t h)
{
    const int64_t first = (b * s->H + h) * s->N;
    double total = 0.0;
    for (int64_t i = first; i < first + s->N; i++)
        if (s->row_sum[i] != 0.0f)
            total -= exp((double)s->options.sink[h] - (double)s->row_reference[i]) /
                     (double)s->row_sum[i] * (double)s->delta[i];
    return total;
}

/* Gradients of slopes and sinks: what tasks and rows left, in their order. Tasks over heads. */
static void score_head_gradients(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    (void)worker;
    for (int64_t h = begin; h < end; h++) {
        double alibi = 0.0, sink = 0.0;
        for (int64_t b = 0; b < s->B; b++) {
            for (int64_t part = 0; s->options.grad_alibi && part < s->parts; part++)
                alibi += s->alibi_parts[part * s->B * s->H + b * s->H + h];
            if (s->options.grad_sink)
                sink += score_sink_gradient(s, b, h);
        }
        if (s->options.grad_alibi)
            s->options.grad_alibi[h] = (float)alibi;
        if (s->options.grad_sink)
            s->options.grad_sink[h] = (float)sink;
    }
}
