/*
 * kit/score_shape.h - softcap and ALiBi on a tile of scores, for one CPU level. Part of
 * kit/score_driver.h; see kit/score_options.h for the formulas.
 */
#ifndef RAPT_KIT_SCORE_SHAPE_NAMES
#define RAPT_KIT_SCORE_SHAPE_NAMES
#define score_place     RAPT_LEVEL_NAME(score_place)
#define score_distance  RAPT_LEVEL_NAME(score_distance)
#define score_cap       RAPT_LEVEL_NAME(score_cap)
#define score_shape     RAPT_LEVEL_NAME(score_shape)
#define score_unshape   RAPT_LEVEL_NAME(score_unshape)
#define score_few_shape RAPT_LEVEL_NAME(score_few_shape)
#endif

/* A position counted from another, where no tile is as far away as the bounds. */
SIMD_FN int32_t score_place(int64_t position)
{
    return (int32_t)rapt_score_max(-INT32_MAX / 2, rapt_score_min(INT32_MAX / 2, position));
}

SIMD_FN simd_f score_distance(simd_i a, simd_i b)
{
    return simd_abs(simd_to_float(a - b));
}

/* c tanh(s / c), and what it would be had s been -infinity, a hidden key's: that. *slope is its
 * derivative. */
SIMD_FN simd_f score_cap(simd_f s, float cap, simd_f *slope)
{
    const simd_f lowest = simd_set(-INFINITY);
    const simd_f t = simd_tanh(s / simd_set(cap));
    *slope = simd_fnma(t, t, simd_set(1.0f));
    return simd_select(simd_eq(s, lowest), lowest, t * simd_set(cap));
}

/* A tile of scores as the options want it; `slopes` is NULL or where the derivative goes. */
static __attribute__((unused)) void score_shape(const score_site *at, const rapt_score_rows *rows,
                                                int64_t begin, int64_t keys, float *tile,
                                                float *slopes)
{
    const rapt_score_options *o = &at->score->options;
    const int64_t width = rapt_score_up(rows->count, SIMD_LANES);
    const simd_f slope = simd_set(o->alibi ? o->alibi[at->head] : 0.0f);
    int32_t place[RAPT_SCORE_ROWS];
    for (int r = 0; r < RAPT_SCORE_ROWS; r++)
        place[r] = score_place(rows->at[r] - begin);
    for (int64_t j = 0; j < keys; j++)
        for (int64_t r = 0; r < width; r += SIMD_LANES) {
            const int64_t i = j * RAPT_SCORE_ROWS + r;
            simd_f s = simd_load(tile + i), derivative;
            if (o->softcap > 0.0f) {
                s = score_cap(s, o->softcap, &derivative);
                if (slopes)
                    simd_store(slopes + i, derivative);
            }
            if (o->alibi)
                s = simd_fnma(slope, score_distance(simd_load_i(place + r), simd_set_i((int32_t)j)),
                              s);
            simd_store(tile + i, s);
        }
}

/* From gradients of shaped scores in area->weight to `factor` times those of the scores before;
 * adds up the gradient of the slope of ALiBi. */
static __attribute__((unused)) void score_unshape(const rapt_score_rows *rows, int64_t begin,
                                                  int64_t keys, float factor,
                                                  const rapt_score_area *area)
{
    const int64_t width = rapt_score_up(rows->count, SIMD_LANES);
    int32_t place[RAPT_SCORE_ROWS];
    simd_f sum = simd_zero();
    for (int r = 0; r < RAPT_SCORE_ROWS; r++)
        place[r] = score_place(rows->at[r] - begin);
    for (int64_t j = 0; j < keys; j++)
        for (int64_t r = 0; r < width; r += SIMD_LANES) {
            const int64_t i = j * RAPT_SCORE_ROWS + r;
            simd_f ds = simd_load(area->weight + i);
            if (area->alibi)
                sum = simd_fma(ds, score_distance(simd_load_i(place + r), simd_set_i((int32_t)j)),
                               sum);
            if (area->cap)
                ds = ds * simd_load(area->cap + i);
            simd_store(area->weight + i, ds * factor);
        }
    if (area->alibi)
        *area->alibi -= (double)simd_sum(sum);
}

/* The scores of one query, which stands at key `place` counted from the first of these keys. */
static __attribute__((unused)) void score_few_shape(const score_site *at, int64_t place,
                                                    int64_t keys, float *scores)
{
    const rapt_score_options *o = &at->score->options;
    const simd_f slope = simd_set(o->alibi ? o->alibi[at->head] : 0.0f);
    const simd_i own = simd_set_i(score_place(place));
    for (int64_t j = 0; j < keys; j += SIMD_LANES) {
        simd_f s = simd_load(scores + j), unused;
        if (o->softcap > 0.0f)
            s = score_cap(s, o->softcap, &unused);
        if (o->alibi)
            s = simd_fnma(slope, score_distance(own, simd_iota() + (int32_t)j), s);
        simd_store(scores + j, s);
    }
}
