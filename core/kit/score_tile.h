/*
 * kit/score_tile.h - the steps on one tile of scores, for one CPU level.
 *
 * Part of kit/score_driver.h. A tile holds keys x queries (transposed), RAPT_SCORE_ROWS floats a
 * key: a vector is one key against SIMD_LANES queries, so that maxima and sums over keys need no
 * exchange between lanes.
 */
#ifndef RAPT_KIT_SCORE_TILE_NAMES
#define RAPT_KIT_SCORE_TILE_NAMES
#define score_pack_rows_as    RAPT_LEVEL_NAME(score_pack_rows_as)
#define score_pack_rows       RAPT_LEVEL_NAME(score_pack_rows)
#define score_pack_columns_as RAPT_LEVEL_NAME(score_pack_columns_as)
#define score_pack_columns    RAPT_LEVEL_NAME(score_pack_columns)
#define score_store_rows      RAPT_LEVEL_NAME(score_store_rows)
#define score_store_rest      RAPT_LEVEL_NAME(score_store_rest)
#define score_feature_tile    RAPT_LEVEL_NAME(score_feature_tile)
#define score_limits          RAPT_LEVEL_NAME(score_limits)
#define score_add_bias        RAPT_LEVEL_NAME(score_add_bias)
#define score_make            RAPT_LEVEL_NAME(score_make)
#define score_z               RAPT_LEVEL_NAME(score_z)
#define score_w               RAPT_LEVEL_NAME(score_w)
#define score_exp             RAPT_LEVEL_NAME(score_exp)
#define score_seen            RAPT_LEVEL_NAME(score_seen)
#define score_z_seen          RAPT_LEVEL_NAME(score_z_seen)
#define score_greatest        RAPT_LEVEL_NAME(score_greatest)
#define score_weigh_column    RAPT_LEVEL_NAME(score_weigh_column)
#define score_weigh           RAPT_LEVEL_NAME(score_weigh)
#define score_scale_rows      RAPT_LEVEL_NAME(score_scale_rows)
#define score_slope_column    RAPT_LEVEL_NAME(score_slope_column)
#define score_slopes          RAPT_LEVEL_NAME(score_slopes)

#define SCORE_LOG2E 1.44269504088896340736f
/* A row's reference may stay this much below its greatest logit: weights of up to e^8 lose nothing
 * in float32, and most blocks need no rescaling. */
#define SCORE_SLACK 8.0f

/* Queries first seen and no longer seen by the keys of a tile, by row, counted from its first. */
typedef struct score_bounds {
    int32_t lo[RAPT_SCORE_ROWS], hi[RAPT_SCORE_ROWS];
} score_bounds;
#endif

/* --- Moving rows ------------------------------------------------------------------------------ */

SIMD_FN void score_pack_rows_as(const rapt_dtype type, const char *source, int64_t stride,
                                int64_t rows, int64_t columns, float *target, int64_t padded)
{
    for (int64_t r = 0; r < rows; r++) {
        float *out = target + r * padded;
        int64_t c = 0;
        for (; c + SIMD_LANES <= columns; c += SIMD_LANES)
            simd_store(out + c, simd_load_as(type, source, r * stride + c));
        if (c < columns) {
            simd_store(out + c, simd_load_as_n(type, source, r * stride + c, (int)(columns - c)));
            c += SIMD_LANES;
        }
        for (; c < padded; c += SIMD_LANES)
            simd_store(out + c, simd_zero());
    }
}

/* rows x columns elements, rows `stride` elements apart, to float rows of `padded` with zeros. */
static __attribute__((unused)) void score_pack_rows(rapt_dtype type, const void *source,
                                                    int64_t stride, int64_t rows, int64_t columns,
                                                    float *target, int64_t padded)
{
    if (type == RAPT_F32)
        score_pack_rows_as(RAPT_F32, source, stride, rows, columns, target, padded);
    else if (type == RAPT_F16)
        score_pack_rows_as(RAPT_F16, source, stride, rows, columns, target, padded);
    else
        score_pack_rows_as(RAPT_BF16, source, stride, rows, columns, target, padded);
}

SIMD_FN void score_pack_columns_as(const rapt_dtype type, const char *source, int64_t stride,
                                   int64_t rows, int64_t columns, float factor, float *target)
{
    for (int64_t r = 0; r < rows; r += SIMD_LANES)
        for (int64_t c = 0; c < columns; c += SIMD_LANES) {
            const int n = (int)rapt_score_min(SIMD_LANES, columns - c);
            simd_f square[SIMD_LANES];
            SIMD_UNROLL
            for (int i = 0; i < SIMD_LANES; i++) {
                const int64_t element = (r + i) * stride + c;
                if (r + i >= rows)
                    square[i] = simd_zero();
                else if (n == SIMD_LANES)
                    square[i] = simd_load_as(type, source, element);
                else
                    square[i] = simd_load_as_n(type, source, element, n);
            }
            simd_transpose(square);
            float *out = target + c * RAPT_SCORE_ROWS + r;
            SIMD_UNROLL
            for (int i = 0; i < SIMD_LANES; i++)
                if (i < n)
                    simd_store(out + i * RAPT_SCORE_ROWS, square[i] * factor);
        }
}

/* Up to RAPT_SCORE_ROWS rows as columns: target[c][r] = factor source[r][c]; a column is filled
 * with zeros to the next full vector. */
static __attribute__((unused)) void score_pack_columns(rapt_dtype type, const void *source,
                                                       int64_t stride, int64_t rows,
                                                       int64_t columns, float factor, float *target)
{
    if (type == RAPT_F32)
        score_pack_columns_as(RAPT_F32, source, stride, rows, columns, factor, target);
    else if (type == RAPT_F16)
        score_pack_columns_as(RAPT_F16, source, stride, rows, columns, factor, target);
    else
        score_pack_columns_as(RAPT_BF16, source, stride, rows, columns, factor, target);
}

/* target[r][c] = source[r][c] factor[r] (NULL: 1), in the type of `view`, rows from n on. */
static __attribute__((unused)) void score_store_rows(const rapt_score_view *view, int64_t b,
                                                     int64_t h, int64_t n, const float *source,
                                                     int64_t padded, int64_t rows, int64_t columns,
                                                     const float *factor)
{
    for (int64_t r = 0; r < rows; r++) {
        void *target = rapt_score_row(view, b, h, n + r);
        const float *row = source + r * padded;
        const simd_f scale = simd_set(factor ? factor[r] : 1.0f);
        int64_t c = 0;
        for (; c + SIMD_LANES <= columns; c += SIMD_LANES)
            simd_store_as(view->dtype, target, c, simd_load(row + c) * scale);
        if (c < columns)
            simd_store_as_n(view->dtype, target, c, simd_load(row + c) * scale, (int)(columns - c));
    }
}

/* What score_store_rows lost by rounding, likewise rounded to the type of `rest`. */
static __attribute__((unused)) void score_store_rest(const rapt_score_view *rest,
                                                     const rapt_score_view *view, int64_t b,
                                                     int64_t h, int64_t n, const float *source,
                                                     int64_t padded, int64_t rows, int64_t columns,
                                                     const float *factor)
{
    for (int64_t r = 0; r < rows; r++) {
        const void *stored = rapt_score_row(view, b, h, n + r);
        void *target = rapt_score_row(rest, b, h, n + r);
        for (int64_t c = 0; c < columns; c += SIMD_LANES) {
            const int count = (int)rapt_score_min(SIMD_LANES, columns - c);
            const simd_f exact = simd_load(source + r * padded + c) * factor[r];
            const simd_f rounded = simd_load_as_n(view->dtype, stored, c, count);
            simd_store_as_n(rest->dtype, target, c, exact - rounded, count);
        }
    }
}

/* Rows n <= i < n + rows as float32 with padding: where they lie if they are so already, otherwise
 * in `buffer`. *ld is their distance. */
static __attribute__((unused)) const float *score_feature_tile(const rapt_score_view *view,
                                                               int64_t b, int64_t h, int64_t n,
                                                               int64_t rows, int64_t columns,
                                                               float *buffer, int64_t *ld)
{
    const int64_t padded = rapt_score_up(columns, RAPT_SCORE_PAD);
    const void *source = rapt_score_row(view, b, h, n);
    *ld = padded;
    if (view->dtype == RAPT_F32 && padded == columns && view->stride[2] == columns)
        return (const float *)source;
    score_pack_rows(view->dtype, source, view->stride[2], rows, columns, buffer, padded);
    return buffer;
}

/* --- Scores ----------------------------------------------------------------------------------- */

SIMD_FN void score_limits(const rapt_score_rows *rows, int64_t begin, int64_t keys,
                          score_bounds *bounds)
{
    for (int r = 0; r < RAPT_SCORE_ROWS; r++) {
        bounds->lo[r] = (int32_t)rapt_score_max(0, rapt_score_min(keys, rows->lo[r] - begin));
        bounds->hi[r] = (int32_t)rapt_score_max(0, rapt_score_min(keys, rows->hi[r] - begin));
    }
}

/* Adds the bias of a tile to its scores. */
SIMD_FN void score_add_bias(const score_site *at, const rapt_score_rows *rows, int64_t begin,
                            int64_t keys, float *bias, float *tile)
{
    const rapt_score *s = at->score;
    const int64_t width = rapt_score_up(rows->count, SIMD_LANES);
    const int flat = rapt_score_bias_flat_keys(s);
    const char *source = rapt_score_row(&s->bias, at->batch, at->head, rows->first);
    source += (flat ? 0 : begin) * (int64_t)rapt_dtype_size(s->bias.dtype);
    score_pack_columns(s->bias.dtype, source, s->bias.stride[2], rows->count, flat ? 1 : keys, 1.0f,
                       bias);
    for (int64_t j = 0; j < keys; j++)
        for (int64_t r = 0; r < width; r += SIMD_LANES) {
            float *score = tile + j * RAPT_SCORE_ROWS + r;
            simd_store(score,
                       simd_load(score) + simd_load(bias + (flat ? 0 : j) * RAPT_SCORE_ROWS + r));
        }
}

/* The tile of scores of `keys` keys from `begin` on, given as rows `k`, and the queries of `rows`,
 * given as scaled columns, into area->score. */
static __attribute__((unused)) void score_make(const score_site *at, const rapt_score_rows *rows,
                                               int64_t begin, int64_t keys, const float *k,
                                               int64_t ldk, const rapt_score_area *area)
{
    const rapt_score *s = at->score;
    const int64_t width = rapt_score_up(rows->count, SIMD_LANES);
    tile_multiply(keys, width, s->D, k, ldk, 1, area->q_columns, RAPT_SCORE_ROWS, area->score,
                  RAPT_SCORE_ROWS, 0);
    if (s->bias.data)
        score_add_bias(at, rows, begin, keys, area->bias, area->score);
    if (s->options.shaped)
        score_shape(at, rows, begin, keys, area->score, area->cap);
}

/* A score of -infinity, which only a bias can make, hides its key whatever the hooks make of it. */
SIMD_FN simd_f score_z(const score_site *at, simd_f s)
{
#if defined(SCORE_LOGIT) && defined(SCORE_BIAS)
    const simd_f lowest = simd_set(-INFINITY);
    return simd_select(simd_eq(s, lowest), lowest, score_logit(at, s));
#elif defined(SCORE_LOGIT)
    return score_logit(at, s);
#else
    (void)at;
    return s;
#endif
}

/* The weight f p of a score. */
SIMD_FN simd_f score_w(const score_site *at, simd_f s, simd_f p)
{
#if defined(SCORE_FACTOR) && defined(SCORE_BIAS)
    return simd_select(simd_eq(s, simd_set(-INFINITY)), simd_zero(), score_factor(at, s) * p);
#elif defined(SCORE_FACTOR)
    return score_factor(at, s) * p;
#else
    (void)at;
    (void)s;
    return p;
#endif
}

/* e^(z - base), of logits that are not far above `base`. The difference is taken first: it is exact
 * where weights matter, however large the logits. */
SIMD_FN simd_f score_exp(simd_f z, simd_f base)
{
    return simd_exp2_weight((z - base) * simd_set(SCORE_LOG2E));
}

SIMD_FN simd_mask score_seen(int64_t j, simd_i lo, simd_i hi)
{
    const simd_i key = simd_set_i((int32_t)j);
    return simd_and(simd_le_i(lo, key), simd_lt_i(key, hi));
}

/* The logits of key j of the tile, -infinity where it is not seen. */
SIMD_FN simd_f score_z_seen(const score_site *at, simd_f s, const int mixed, int64_t j, simd_i lo,
                            simd_i hi)
{
    const simd_f z = score_z(at, s);
    return mixed ? simd_select(score_seen(j, lo, hi), z, simd_set(-INFINITY)) : z;
}

SIMD_FN simd_f score_greatest(const score_site *at, const float *column, int64_t keys,
                              const int mixed, simd_i lo, simd_i hi)
{
    simd_f most[4];
    SIMD_UNROLL
    for (int i = 0; i < 4; i++)
        most[i] = simd_set(-INFINITY);
    int64_t j = 0;
    for (; j + 4 <= keys; j += 4) {
        SIMD_UNROLL
        for (int i = 0; i < 4; i++) {
            const simd_f s = simd_load(column + (j + i) * RAPT_SCORE_ROWS);
            most[i] = simd_max(score_z_seen(at, s, mixed, j + i, lo, hi), most[i]);
        }
    }
    for (; j < keys; j++)
        most[0] = simd_max(
            score_z_seen(at, simd_load(column + j * RAPT_SCORE_ROWS), mixed, j, lo, hi), most[0]);
    return simd_max(simd_max(most[0], most[1]), simd_max(most[2], most[3]));
}

/* SIMD_LANES queries of a tile: scores become f e^(z - reference), summed without f. */
SIMD_FN int score_weigh_column(const score_site *at, float *column, int64_t keys, const int mixed,
                               const score_bounds *bounds, int64_t r, float *reference, float *sum,
                               float *shrink)
{
    const simd_f lowest = simd_set(-INFINITY);
    const simd_i lo = mixed ? simd_load_i(bounds->lo + r) : simd_set_i(0);
    const simd_i hi = mixed ? simd_load_i(bounds->hi + r) : simd_set_i(0);
    const simd_f most = score_greatest(at, column, keys, mixed, lo, hi);
    simd_f base = simd_load(reference + r), total = simd_load(sum + r);
    const int grown = simd_any(simd_lt(base + SCORE_SLACK, most));
    if (grown) {
        const simd_f next = simd_max(most, base);
        const simd_f ratio = score_exp(base, next);
        const simd_f factor = simd_select(simd_eq(next, lowest), simd_set(1.0f), ratio);
        total = total * factor;
        base = next;
        simd_store(reference + r, base);
        simd_store(shrink + r, factor);
    } else {
        simd_store(shrink + r, simd_set(1.0f));
    }
    base = simd_select(simd_eq(base, lowest), simd_zero(), base);
    for (int64_t j = 0; j < keys; j++) {
        const simd_f s = simd_load(column + j * RAPT_SCORE_ROWS);
        const simd_f p = score_exp(score_z_seen(at, s, mixed, j, lo, hi), base);
        total += p;
        const simd_f w = score_w(at, s, p);
        simd_store(column + j * RAPT_SCORE_ROWS, mixed ? simd_keep(score_seen(j, lo, hi), w) : w);
    }
    simd_store(sum + r, total);
    return grown;
}

/* A tile of scores becomes weights without their normaliser. `reference` and `sum` are brought up
 * to date; what was summed with older references has to be multiplied by `shrink`, where the result
 * is not 0. `bounds` is NULL where every query sees every key. */
static __attribute__((unused)) int score_weigh(const score_site *at, float *tile, int64_t keys,
                                               int64_t width, const score_bounds *bounds,
                                               float *reference, float *sum, float *shrink)
{
    int grown = 0;
    for (int64_t r = 0; r < width; r += SIMD_LANES) {
        if (bounds)
            grown |= score_weigh_column(at, tile + r, keys, 1, bounds, r, reference, sum, shrink);
        else
            grown |= score_weigh_column(at, tile + r, keys, 0, NULL, r, reference, sum, shrink);
    }
    return grown;
}

SIMD_FN void score_scale_rows(float *o, int64_t padded, int64_t rows, const float *factor)
{
    for (int64_t r = 0; r < rows; r++)
        if (factor[r] != 1.0f)
            for (int64_t c = 0; c < padded; c += SIMD_LANES)
                simd_store(o + r * padded + c, simd_load(o + r * padded + c) * factor[r]);
}

/* --- Slopes ----------------------------------------------------------------------------------- */

/* SIMD_LANES queries of a tile: from scores and the gradient of weights to weights and the gradient
 * of scores times `factor`. With p the softmax and w = f p:
 * ds = p (f dw - delta) z'(s) + p dw f'(s). */
SIMD_FN void score_slope_column(const score_site *at, float *scores, float *grads, int64_t keys,
                                const int mixed, const score_bounds *bounds, int64_t r, simd_f base,
                                simd_f share, simd_f delta, simd_f factor)
{
    const simd_i lo = mixed ? simd_load_i(bounds->lo + r) : simd_set_i(0);
    const simd_i hi = mixed ? simd_load_i(bounds->hi + r) : simd_set_i(0);
    for (int64_t j = 0; j < keys; j++) {
        const simd_f s = simd_load(scores + j * RAPT_SCORE_ROWS);
        const simd_f dw = simd_load(grads + j * RAPT_SCORE_ROWS);
        const simd_f p = score_exp(score_z_seen(at, s, mixed, j, lo, hi), base) * share;
        const simd_f product = score_w(at, s, p);
        const simd_f w = mixed ? simd_keep(score_seen(j, lo, hi), product) : product;
#ifdef SCORE_FACTOR
        simd_f ds = simd_fnma(p, delta, w * dw);
#else
        simd_f ds = p * (dw - delta);
#endif
#ifdef SCORE_LOGIT
        ds = ds * score_logit_slope(at, s);
#endif
#ifdef SCORE_FACTOR_SLOPE
        ds = simd_fma(p * dw, score_factor_slope(at, s), ds);
#endif
        /* Where p is 0 the score may be infinite; nothing of it may come through. */
        ds = simd_select(simd_eq(p, simd_zero()), simd_zero(), ds * factor);
        simd_store(scores + j * RAPT_SCORE_ROWS, w);
        simd_store(grads + j * RAPT_SCORE_ROWS, ds);
    }
}

/* As score_slope_column for a whole tile. `share` is 1 / sum, 0 for rows that see nothing. */
static __attribute__((unused)) void score_slopes(const score_site *at, float *scores, float *grads,
                                                 int64_t keys, int64_t width,
                                                 const score_bounds *bounds, const float *reference,
                                                 const float *share, const float *delta,
                                                 float factor)
{
    for (int64_t r = 0; r < width; r += SIMD_LANES) {
        const simd_f base = simd_load(reference + r), part = simd_load(share + r);
        const simd_f d = simd_load(delta + r), f = simd_set(factor);
        if (bounds)
            score_slope_column(at, scores + r, grads + r, keys, 1, bounds, r, base, part, d, f);
        else
            score_slope_column(at, scores + r, grads + r, keys, 0, NULL, r, base, part, d, f);
    }
}
