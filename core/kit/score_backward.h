/*
 * kit/score_backward.h - gradients, for one CPU level. Part of kit/score_driver.h.
 *
 * Weights are made again from the scores and each row's reference and sum. A task owns some spans
 * of keys of one head: it adds up their dk and dv over all queries in a cache-sized buffer, and its
 * own share of dq; the shares are added afterwards in their order. A third pass makes the gradient
 * of a bias, which may be shared by heads.
 */
#ifndef RAPT_KIT_SCORE_BACKWARD_NAMES
#define RAPT_KIT_SCORE_BACKWARD_NAMES
#define score_delta         RAPT_LEVEL_NAME(score_delta)
#define score_delta_rows    RAPT_LEVEL_NAME(score_delta_rows)
#define score_prepare_rows  RAPT_LEVEL_NAME(score_prepare_rows)
#define score_back_tile     RAPT_LEVEL_NAME(score_back_tile)
#define score_back_rows     RAPT_LEVEL_NAME(score_back_rows)
#define score_back_write    RAPT_LEVEL_NAME(score_back_write)
#define score_back_span     RAPT_LEVEL_NAME(score_back_span)
#define score_backward      RAPT_LEVEL_NAME(score_backward)
#define score_add           RAPT_LEVEL_NAME(score_add)
#define score_gather_q      RAPT_LEVEL_NAME(score_gather_q)
#define score_gather_kv     RAPT_LEVEL_NAME(score_gather_kv)
#define score_bias_tile     RAPT_LEVEL_NAME(score_bias_tile)
#define score_bias_rows     RAPT_LEVEL_NAME(score_bias_rows)
#define score_bias_head     RAPT_LEVEL_NAME(score_bias_head)
#define score_bias_write    RAPT_LEVEL_NAME(score_bias_write)
#define score_bias_gradient RAPT_LEVEL_NAME(score_bias_gradient)

/* A span of keys as a task holds it. */
typedef struct score_span {
    int64_t begin, end, ldk, ldv;
    const float *k, *v;
} score_span;
#endif

/* --- Rows ------------------------------------------------------------------------------------- */

/* delta_i = do_i . o_i - dlse_i, which is sum_j p_ij dp_ij. */
static void score_delta_rows(const rapt_score *s, int64_t b, int64_t h, int64_t first, int64_t end)
{
    for (int64_t n = first; n < end; n++) {
        const int64_t row = (b * s->H + h) * s->N + n;
        simd_f sum = simd_zero();
        for (int64_t c = 0; s->grad_o.data && c < s->E; c += SIMD_LANES) {
            const int count = (int)rapt_score_min(SIMD_LANES, s->E - c);
            simd_f o = simd_load_as_n(s->o.dtype, rapt_score_row(&s->o, b, h, n), c, count);
            if (s->rest.data)
                o += simd_load_as_n(s->rest.dtype, rapt_score_row(&s->rest, b, h, n), c, count);
            const simd_f g =
                simd_load_as_n(s->grad_o.dtype, rapt_score_row(&s->grad_o, b, h, n), c, count);
            sum = simd_fma(o, g, sum);
        }
        s->delta[row] = simd_sum(sum) - (s->grad_lse ? s->grad_lse[row] : 0.0f);
    }
}

static void score_delta(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    (void)worker;
    for (int64_t task = begin; task < end; task++) {
        const int64_t head = task / s->row_blocks;
        const int64_t first = task % s->row_blocks * RAPT_SCORE_ROWS;
        score_delta_rows(s, head / s->H, head % s->H, first,
                         rapt_score_min(s->N, first + RAPT_SCORE_ROWS));
    }
}

/* What the tiles of a row block need: queries and output gradients as columns, statistics with
 * zero shares for rows that see nothing and for the padding. */
static void score_prepare_rows(const score_site *at, const rapt_score_rows *rows,
                               const rapt_score_area *area)
{
    const rapt_score *s = at->score;
    const int64_t b = at->batch, h = at->head;
    const int64_t first = (b * s->H + h) * s->N + rows->first;
    score_pack_columns(s->q.dtype, rapt_score_row(&s->q, b, h, rows->first), s->q.stride[2],
                       rows->count, s->D, s->scale, area->q_columns);
    if (s->options.tau_q.given)
        score_scale_columns(at, rows, area->q_columns);
    if (s->grad_o.data)
        score_pack_columns(s->grad_o.dtype, rapt_score_row(&s->grad_o, b, h, rows->first),
                           s->grad_o.stride[2], rows->count, s->E, 1.0f, area->g_columns);
    else
        memset(area->g_columns, 0, sizeof(float) * (size_t)(s->E * RAPT_SCORE_ROWS));
    for (int64_t r = 0; r < RAPT_SCORE_ROWS; r++) {
        const int some = r < rows->count && s->row_sum[first + r] != 0.0f;
        area->reference[r] = some ? s->row_reference[first + r] : 0.0f;
        area->sum[r] = some ? 1.0f / s->row_sum[first + r] : 0.0f;
        area->delta[r] = some ? s->delta[first + r] : 0.0f;
    }
}

/* Weights into area->score, `factor` times the gradient of scores into area->weight; 0 if no query
 * sees a key. */
static int score_back_tile(const score_site *at, const rapt_score_rows *rows, int64_t begin,
                           int64_t keys, const float *k, int64_t ldk, const float *v, int64_t ldv,
                           float factor, const rapt_score_area *area)
{
    const int64_t width = rapt_score_up(rows->count, SIMD_LANES);
    const rapt_score_seen seen = rapt_score_tile(rows, begin, begin + keys);
    score_bounds bounds;
    if (seen == RAPT_SCORE_SKIP)
        return 0;
    if (seen == RAPT_SCORE_MIXED)
        score_limits(rows, begin, keys, &bounds);
    score_make(at, rows, begin, keys, k, ldk, area);
    tile_multiply(keys, width, at->score->E, v, ldv, 1, area->g_columns, RAPT_SCORE_ROWS,
                  area->weight, RAPT_SCORE_ROWS, 0);
    score_slopes(at, area->score, area->weight, keys, width,
                 seen == RAPT_SCORE_MIXED ? &bounds : NULL, area->reference, area->sum, area->delta,
                 at->score->options.shaped ? 1.0f : factor);
    if (at->score->options.shaped)
        score_unshape(rows, begin, keys, factor, area);
    return 1;
}

/* --- Gradients of q, k, v --------------------------------------------------------------------- */

/* One row block against a span of keys. `grad_q` is where this task adds up dq, or NULL. */
static void score_back_rows(const score_site *at, int64_t block, const score_span *span,
                            const rapt_score_area *area, float *grad_q)
{
    const rapt_score *s = at->score;
    const int64_t b = at->batch, h = at->head;
    rapt_score_rows rows;
    int64_t ldq, ldg;
    if (!rapt_score_meets(s, block, span->begin, span->end))
        return;
    rapt_score_rows_at(s, block, &rows);
    score_prepare_rows(at, &rows, area);
    const float *q = score_scaled_tile(&s->q, h, &s->options.tau_q, at, rows.first, rows.count,
                                       s->D, area->q, &ldq);
    const float *g = NULL;
    if (s->grad_o.data && (s->grad_v.data || s->options.grad_tau_v.data))
        g = score_feature_tile(&s->grad_o, b, h, rows.first, rows.count, s->E, area->g, &ldg);
    for (int64_t begin = span->begin; begin < span->end; begin += RAPT_SCORE_KEYS) {
        const int64_t keys = rapt_score_min(RAPT_SCORE_KEYS, span->end - begin);
        const int64_t row = begin - span->begin;
        const float *k = span->k + row * span->ldk;
        if (!score_back_tile(at, &rows, begin, keys, k, span->ldk, span->v + row * span->ldv,
                             span->ldv, s->scale, area))
            continue;
        if (g)
            tile_multiply(keys, s->Ep, rows.count, area->score, RAPT_SCORE_ROWS, 1, g, ldg,
                          area->grad_v + row * s->Ep, s->Ep, 1);
        if (s->grad_k.data)
            tile_multiply(keys, s->Dp, rows.count, area->weight, RAPT_SCORE_ROWS, 1, q, ldq,
                          area->grad_k + row * s->Dp, s->Dp, 1);
        if (grad_q)
            tile_multiply(rows.count, s->Dp, keys, area->weight, 1, RAPT_SCORE_ROWS, k, span->ldk,
                          grad_q + rows.first * s->Dp, s->Dp, 1);
    }
}

/* The gradients of a span's keys: to their tensors, or to this head's share of them. */
static void score_back_write(const rapt_score *s, int64_t b, int64_t h, const score_span *span,
                             const rapt_score_area *area)
{
    const int64_t keys = span->end - span->begin;
    const int64_t row = (b * s->H + h) * s->M + span->begin;
    const int shared = s->H != s->G;
    if (s->options.tau_v.given)
        score_back_values(s, b, h, span->begin, keys, area->grad_v);
    if (shared && s->grad_k.data)
        memcpy(s->k_heads + row * s->Dp, area->grad_k, sizeof(float) * (size_t)(keys * s->Dp));
    else if (s->grad_k.data)
        score_store_rows(&s->grad_k, b, h, span->begin, area->grad_k, s->Dp, keys, s->D, NULL);
    if (shared && s->grad_v.data)
        memcpy(s->v_heads + row * s->Ep, area->grad_v, sizeof(float) * (size_t)(keys * s->Ep));
    else if (s->grad_v.data)
        score_store_rows(&s->grad_v, b, h, span->begin, area->grad_v, s->Ep, keys, s->E, NULL);
}

static void score_back_span(const score_site *at, int64_t index, const rapt_score_area *area,
                            float *grad_q)
{
    const rapt_score *s = at->score;
    const int64_t b = at->batch, h = at->head, g = h * s->G / s->H;
    const int64_t width = s->span * RAPT_SCORE_KEYS;
    score_span span = {.begin = index * width};
    span.end = rapt_score_min(s->M, span.begin + width);
    const int64_t keys = span.end - span.begin;
    span.k = score_feature_tile(&s->k, b, g, span.begin, keys, s->D, area->k, &span.ldk);
    span.v = score_value_tile(at, span.begin, keys, area->v, &span.ldv);
    memset(area->grad_k, 0, sizeof(float) * (size_t)(keys * s->Dp));
    memset(area->grad_v, 0, sizeof(float) * (size_t)(keys * s->Ep));
    for (int64_t block = 0; block < s->row_blocks; block++)
        score_back_rows(at, block, &span, area, grad_q);
    score_back_write(s, b, h, &span, area);
}

/* Tasks over (part, batch, head). */
static void score_backward(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    const int64_t heads = s->B * s->H;
    rapt_score_area area;
    rapt_score_backward_area(s, s->areas + (size_t)worker * s->area, &area);
    for (int64_t task = begin; task < end; task++) {
        const int64_t part = task / heads, head = task % heads;
        const score_site at = {s, head / s->H, head % s->H};
        float *grad_q = NULL;
        if (s->alibi_parts) {
            area.alibi = s->alibi_parts + task;
            *area.alibi = 0.0;
        }
        if (s->wants_q && s->N * s->Dp > 0) {
            float *all = s->q_direct ? (float *)(void *)s->grad_q.data : s->q_parts;
            grad_q = all + task * s->N * s->Dp;
            memset(grad_q, 0, sizeof(float) * (size_t)(s->N * s->Dp));
        }
        for (int64_t round = 0; round * s->parts < s->spans; round++) {
            const int64_t index = rapt_score_span(s, part, round);
            if (index < s->spans)
                score_back_span(&at, index, &area, grad_q);
        }
    }
}

/* --- Sums over tasks -------------------------------------------------------------------------- */

SIMD_FN void score_add(float *sum, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += SIMD_LANES)
        simd_store(sum + i, simd_load(sum + i) + simd_load(x + i));
}

/* dq of a row block: its parts in order. Tasks over (batch, head, row block). */
static void score_gather_q(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    const int64_t stride = s->B * s->H * s->N * s->Dp;
    (void)worker;
    for (int64_t task = begin; task < end; task++) {
        const int64_t head = task / s->row_blocks;
        const int64_t first = task % s->row_blocks * RAPT_SCORE_ROWS;
        const int64_t rows = rapt_score_min(RAPT_SCORE_ROWS, s->N - first);
        float *sum = s->q_parts + (head * s->N + first) * s->Dp;
        for (int64_t part = 1; part < s->parts; part++)
            score_add(sum, sum + part * stride, rows * s->Dp);
        if (s->options.tau_q.given)
            score_back_queries(s, head / s->H, head % s->H, first, rows, sum);
        if (s->grad_q.data)
            score_store_rows(&s->grad_q, head / s->H, head % s->H, first, sum, s->Dp, rows, s->D,
                             NULL);
    }
}

/* dk and dv of a key block: the heads of its group in order. Tasks over (batch, key/value head, key
 * block). */
static void score_gather_kv(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    const int64_t share = s->H / s->G;
    (void)worker;
    for (int64_t task = begin; task < end; task++) {
        const int64_t pair = task / s->key_blocks, b = pair / s->G, g = pair % s->G;
        const int64_t first = task % s->key_blocks * RAPT_SCORE_KEYS;
        const int64_t keys = rapt_score_min(RAPT_SCORE_KEYS, s->M - first);
        const int64_t row = (b * s->H + g * share) * s->M + first;
        float *k = s->k_heads + row * s->Dp, *v = s->v_heads + row * s->Ep;
        for (int64_t i = 1; i < share; i++) {
            if (s->grad_k.data)
                score_add(k, k + i * s->M * s->Dp, keys * s->Dp);
            if (s->grad_v.data)
                score_add(v, v + i * s->M * s->Ep, keys * s->Ep);
        }
        if (s->grad_k.data)
            score_store_rows(&s->grad_k, b, g, first, k, s->Dp, keys, s->D, NULL);
        if (s->grad_v.data)
            score_store_rows(&s->grad_v, b, g, first, v, s->Ep, keys, s->E, NULL);
    }
}

/* --- The gradient of a bias ------------------------------------------------------------------- */

/* Adds a tile of gradients of scores to the slice. */
static void score_bias_tile(const rapt_score *s, const rapt_score_rows *rows, int64_t keys,
                            const rapt_score_area *area)
{
    const int64_t width = rapt_score_up(rows->count, SIMD_LANES);
    const int flat_rows = rapt_score_bias_flat_rows(s), flat_keys = rapt_score_bias_flat_keys(s);
    const int64_t step = flat_keys ? 0 : area->grad_bias_rows;
    float *target = area->grad_bias + (flat_rows || flat_keys ? 0 : rows->first);
    for (int64_t j = 0; j < keys; j++)
        score_add(target + j * step, area->weight + j * RAPT_SCORE_ROWS, width);
}

/* The tiles of one row block and the key blocks first <= j < end. */
static void score_bias_rows(const score_site *at, int64_t block, int64_t first, int64_t end,
                            const rapt_score_area *area)
{
    const rapt_score *s = at->score;
    const int64_t b = at->batch, g = at->head * s->G / s->H;
    rapt_score_rows rows;
    rapt_score_rows_at(s, block, &rows);
    first = rapt_score_max(first, rapt_score_first_block(&rows));
    end = rapt_score_min(end, rapt_score_end_block(&rows));
    if (first >= end)
        return;
    score_prepare_rows(at, &rows, area);
    for (int64_t j = first; j < end; j++) {
        const int64_t begin = j * RAPT_SCORE_KEYS;
        const int64_t keys = rapt_score_min(RAPT_SCORE_KEYS, s->M - begin);
        int64_t ldk, ldv;
        const float *k = score_feature_tile(&s->k, b, g, begin, keys, s->D, area->k, &ldk);
        const float *v = score_value_tile(at, begin, keys, area->v, &ldv);
        if (score_back_tile(at, &rows, begin, keys, k, ldk, v, ldv, 1.0f, area))
            score_bias_tile(s, &rows, keys, area);
    }
}

/* The slice's sum over lanes where queries share the bias, and its place in the gradient. */
static void score_bias_write(const rapt_score *s, int64_t b, int64_t h, int64_t slice,
                             const rapt_score_area *area)
{
    const rapt_score_view *grad = &s->grad_bias;
    const int flat_rows = rapt_score_bias_flat_rows(s), flat_keys = rapt_score_bias_flat_keys(s);
    const int64_t row = flat_keys && !flat_rows ? slice * RAPT_SCORE_ROWS : 0;
    const int64_t key = flat_keys ? 0 : slice * RAPT_SCORE_KEYS;
    const int64_t rows = flat_rows   ? 1
                         : flat_keys ? rapt_score_min(RAPT_SCORE_ROWS, s->N - row)
                                     : s->N;
    const int64_t keys = flat_keys ? 1 : rapt_score_min(RAPT_SCORE_KEYS, s->M - key);
    float line[RAPT_SCORE_KEYS];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < keys; j++) {
            const float *column = area->grad_bias + j * area->grad_bias_rows;
            line[j] = column[r];
            for (int64_t lane = 1; flat_rows && lane < RAPT_SCORE_ROWS; lane++)
                line[j] += column[lane];
        }
        char *target = rapt_score_row(grad, b, h, row + r);
        for (int64_t j = 0; j < keys; j += SIMD_LANES)
            simd_store_as_n(grad->dtype, target, key + j, simd_load(line + j),
                            (int)rapt_score_min(SIMD_LANES, keys - j));
    }
}

/* Adds up what one head gives to a slice. */
static void score_bias_head(const score_site *at, int64_t slice, const rapt_score_area *area)
{
    const rapt_score *s = at->score;
    if (!rapt_score_bias_flat_keys(s)) {
        for (int64_t block = 0; block < s->row_blocks; block++)
            score_bias_rows(at, block, slice, slice + 1, area);
    } else if (!rapt_score_bias_flat_rows(s)) {
        score_bias_rows(at, slice, 0, s->key_blocks, area);
    } else {
        for (int64_t block = 0; block < s->row_blocks; block++)
            score_bias_rows(at, block, 0, s->key_blocks, area);
    }
}

/* Tasks over (batch and head of the bias, slice): each owns its part of the gradient and goes
 * through the batches and heads that share it in order. */
static void score_bias_gradient(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    const int64_t slices = rapt_score_bias_slices(s), bias_heads = s->bias.shape[1];
    const int64_t batches = s->bias.shape[0] == 1 ? s->B : 1;
    const int64_t heads = bias_heads == 1 ? s->H : 1;
    rapt_score_area area;
    rapt_score_bias_area(s, s->areas + (size_t)worker * s->area, &area);
    const int64_t keys = rapt_score_bias_flat_keys(s) ? 1 : RAPT_SCORE_KEYS;
    for (int64_t task = begin; task < end; task++) {
        const int64_t slice = task % slices, pair = task / slices;
        const int64_t b = pair / bias_heads, h = pair % bias_heads;
        memset(area.grad_bias, 0, sizeof(float) * (size_t)(keys * area.grad_bias_rows));
        for (int64_t i = 0; i < batches * heads; i++) {
            const score_site at = {s, b + i / heads, h + i % heads};
            score_bias_head(&at, slice, &area);
        }
        score_bias_write(s, b, h, slice, &area);
    }
}
