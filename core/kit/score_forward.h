/*
 * kit/score_forward.h - outputs and weights, for one CPU level. Part of kit/score_driver.h.
 */
#ifndef RAPT_KIT_SCORE_FORWARD_NAMES
#define RAPT_KIT_SCORE_FORWARD_NAMES
#define score_begin_rows   RAPT_LEVEL_NAME(score_begin_rows)
#define score_forward_tile RAPT_LEVEL_NAME(score_forward_tile)
#define score_finish_rows  RAPT_LEVEL_NAME(score_finish_rows)
#define score_forward_rows RAPT_LEVEL_NAME(score_forward_rows)
#define score_forward      RAPT_LEVEL_NAME(score_forward)
#define score_write_matrix RAPT_LEVEL_NAME(score_write_matrix)
#define score_matrix_rows  RAPT_LEVEL_NAME(score_matrix_rows)
#define score_matrix       RAPT_LEVEL_NAME(score_matrix)
#endif

/* Queries as scaled columns; no key seen yet, only the sink. */
static __attribute__((unused)) void score_begin_rows(const score_site *at,
                                                     const rapt_score_rows *rows, float *q_columns,
                                                     float *reference, float *sum)
{
    const rapt_score *s = at->score;
    score_pack_columns(s->q.dtype, rapt_score_row(&s->q, at->batch, at->head, rows->first),
                       s->q.stride[2], rows->count, s->D, s->scale, q_columns);
    if (s->options.tau_q.given)
        score_scale_columns(at, rows, q_columns);
    const float sink = s->options.sink ? s->options.sink[at->head] : -INFINITY;
    for (int r = 0; r < RAPT_SCORE_ROWS; r++) {
        reference[r] = sink;
        sum[r] = sink == -INFINITY ? 0.0f : 1.0f;
    }
}

/* One row block against one key block: o += weights v. `fresh` is set until o holds something. */
static void score_forward_tile(const score_site *at, const rapt_score_rows *rows, int64_t begin,
                               int64_t keys, const float *k, int64_t ldk, const float *v,
                               int64_t ldv, const rapt_score_area *area, int *fresh)
{
    const int64_t padded = at->score->Ep;
    const int64_t width = rapt_score_up(rows->count, SIMD_LANES);
    const rapt_score_seen seen = rapt_score_tile(rows, begin, begin + keys);
    score_bounds bounds;
    if (seen == RAPT_SCORE_SKIP)
        return;
    if (seen == RAPT_SCORE_MIXED)
        score_limits(rows, begin, keys, &bounds);
    score_make(at, rows, begin, keys, k, ldk, area);
    const int grown =
        score_weigh(at, area->score, keys, width, seen == RAPT_SCORE_MIXED ? &bounds : NULL,
                    area->reference, area->sum, area->shrink);
    if (grown && !*fresh)
        score_scale_rows(area->o, padded, rows->count, area->shrink);
    tile_multiply(rows->count, padded, keys, area->score, 1, RAPT_SCORE_ROWS, v, ldv, area->o,
                  padded, !*fresh);
    *fresh = 0;
}

/* Divides by the sums and writes outputs and what backward needs of the rows. */
static __attribute__((unused)) void score_finish_rows(const rapt_score *s, int64_t b, int64_t h,
                                                      int64_t n, int64_t rows, const float *o,
                                                      const float *reference, const float *sum)
{
    const int64_t first = (b * s->H + h) * s->N + n;
    float share[RAPT_SCORE_ROWS];
    for (int64_t r = 0; r < rows; r++) {
        share[r] = sum[r] == 0.0f ? 0.0f : 1.0f / sum[r];
        if (s->lse)
            s->lse[first + r] = sum[r] == 0.0f ? -INFINITY : reference[r] + logf(sum[r]);
        if (s->row_reference) {
            s->row_reference[first + r] = reference[r];
            s->row_sum[first + r] = sum[r];
        }
    }
    if (s->o.data)
        score_store_rows(&s->o, b, h, n, o, s->Ep, rows, s->E, share);
    if (s->rest.data)
        score_store_rest(&s->rest, &s->o, b, h, n, o, s->Ep, rows, s->E, share);
}

/* The row blocks of one task: each tile of keys and values serves all of them. */
static void score_forward_rows(const rapt_score *s, int64_t b, int64_t h, int64_t group,
                               float *memory)
{
    const score_site at = {s, b, h};
    const int64_t g = h * s->G / s->H;
    const int64_t blocks = rapt_score_min(s->group, s->row_blocks - group * s->group);
    rapt_score_rows rows[RAPT_SCORE_GROUP];
    rapt_score_area area, own[RAPT_SCORE_GROUP];
    int fresh[RAPT_SCORE_GROUP];
    int64_t first = s->key_blocks, end = 0;

    rapt_score_forward_area(s, memory, &area);
    for (int64_t i = 0; i < blocks; i++) {
        rapt_score_rows_at(s, group * s->group + i, &rows[i]);
        own[i] = area;
        own[i].q_columns += i * s->D * RAPT_SCORE_ROWS;
        own[i].o += i * RAPT_SCORE_ROWS * s->Ep;
        own[i].reference += i * RAPT_SCORE_ROWS;
        own[i].sum += i * RAPT_SCORE_ROWS;
        fresh[i] = 1;
        first = rapt_score_min(first, rapt_score_first_block(&rows[i]));
        end = rapt_score_max(end, rapt_score_end_block(&rows[i]));
        score_begin_rows(&at, &rows[i], own[i].q_columns, own[i].reference, own[i].sum);
    }
    for (int64_t j = first; j < end; j++) {
        const int64_t begin = j * RAPT_SCORE_KEYS;
        const int64_t keys = rapt_score_min(RAPT_SCORE_KEYS, s->M - begin);
        int64_t ldk, ldv;
        const float *k = score_feature_tile(&s->k, b, g, begin, keys, s->D, area.k, &ldk);
        const float *v = score_value_tile(&at, begin, keys, area.v, &ldv);
        for (int64_t i = 0; i < blocks; i++)
            score_forward_tile(&at, &rows[i], begin, keys, k, ldk, v, ldv, &own[i], &fresh[i]);
    }
    for (int64_t i = 0; i < blocks; i++) {
        if (fresh[i])
            memset(own[i].o, 0, sizeof(float) * (size_t)(RAPT_SCORE_ROWS * s->Ep));
        score_finish_rows(s, b, h, rows[i].first, rows[i].count, own[i].o, own[i].reference,
                          own[i].sum);
    }
}

/* Tasks over (row group, batch, head), the groups that see most in causal order first. */
static void score_forward(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    const int64_t heads = s->B * s->H;
    for (int64_t task = begin; task < end; task++) {
        const int64_t group = s->row_groups - 1 - task / heads, head = task % heads;
        score_forward_rows(s, head / s->H, head % s->H, group, s->areas + (size_t)worker * s->area);
    }
}

/* --- The matrix of weights -------------------------------------------------------------------- */

/* A tile of unnormalised weights into the rows of the matrix. */
static void score_write_matrix(const rapt_score *s, float *target, const float *tile, int64_t rows,
                               int64_t keys, const float *sum)
{
    for (int64_t r = 0; r < rows; r++) {
        const float share = sum[r] == 0.0f ? 0.0f : 1.0f / sum[r];
        for (int64_t j = 0; j < keys; j++)
            target[r * s->M + j] = tile[j * RAPT_SCORE_ROWS + r] * share;
    }
}

/* Two passes over the keys: the second knows the sums. */
static void score_matrix_rows(const rapt_score *s, int64_t b, int64_t h, int64_t block,
                              float *memory)
{
    const score_site at = {s, b, h};
    const int64_t g = h * s->G / s->H;
    float total[RAPT_SCORE_ROWS];
    rapt_score_rows rows;
    rapt_score_area area;

    rapt_score_forward_area(s, memory, &area);
    rapt_score_rows_at(s, block, &rows);
    score_begin_rows(&at, &rows, area.q_columns, area.reference, area.sum);
    const int64_t width = rapt_score_up(rows.count, SIMD_LANES);
    float *target = s->matrix + ((b * s->H + h) * s->N + rows.first) * s->M;
    for (int pass = 0; pass < 2; pass++) {
        memcpy(total, area.sum, sizeof(total));
        for (int64_t j = 0; j < s->key_blocks; j++) {
            const int64_t begin = j * RAPT_SCORE_KEYS;
            const int64_t keys = rapt_score_min(RAPT_SCORE_KEYS, s->M - begin);
            const rapt_score_seen seen = rapt_score_tile(&rows, begin, begin + keys);
            score_bounds bounds;
            int64_t ldk;
            if (seen == RAPT_SCORE_SKIP) {
                for (int64_t r = 0; pass == 1 && r < rows.count; r++)
                    memset(target + r * s->M + begin, 0, sizeof(float) * (size_t)keys);
                continue;
            }
            score_limits(&rows, begin, keys, &bounds);
            const float *k = score_feature_tile(&s->k, b, g, begin, keys, s->D, area.k, &ldk);
            score_make(&at, &rows, begin, keys, k, ldk, &area);
            score_weigh(&at, area.score, keys, width, &bounds, area.reference, area.sum,
                        area.shrink);
            if (pass == 1 && s->options.tau_v.given)
                score_scale_keys(&at, begin, keys, area.score);
            if (pass == 1)
                score_write_matrix(s, target + begin, area.score, rows.count, keys, total);
        }
    }
}

static void score_matrix(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    for (int64_t task = begin; task < end; task++) {
        const int64_t head = task / s->row_blocks;
        score_matrix_rows(s, head / s->H, head % s->H, task % s->row_blocks,
                          s->areas + (size_t)worker * s->area);
    }
}
