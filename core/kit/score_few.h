/*
 * kit/score_few.h - few queries against many keys, as in decoding, for one CPU level. Part of
 * kit/score_driver.h.
 *
 * All queries that read one key/value head are taken together, so that its cache is read once. A
 * vector is one query against SIMD_LANES keys. A task is a chunk of keys, of a length that does not
 * depend on anything; the chunks' results are merged in their order.
 */
#ifndef RAPT_KIT_SCORE_FEW_NAMES
#define RAPT_KIT_SCORE_FEW_NAMES
#define score_few_products RAPT_LEVEL_NAME(score_few_products)
#define score_few_bias     RAPT_LEVEL_NAME(score_few_bias)
#define score_few_weigh    RAPT_LEVEL_NAME(score_few_weigh)
#define score_few_chunk    RAPT_LEVEL_NAME(score_few_chunk)
#define score_few          RAPT_LEVEL_NAME(score_few)
#define score_few_head     RAPT_LEVEL_NAME(score_few_head)
#define score_few_merge    RAPT_LEVEL_NAME(score_few_merge)
#endif

/* scores[j] = q . k_j for the keys of a block, in the order in which they lie in memory; beyond
 * them, up to a full vector, 0. */
static void score_few_products(const float *q, const float *k, int64_t ldk, int64_t keys,
                               int64_t padded, float *scores)
{
    for (int64_t j = 0; j < keys; j += SIMD_LANES) {
        const int64_t count = rapt_score_min(SIMD_LANES, keys - j);
        simd_f sum[SIMD_LANES];
        for (int64_t i = 0; i < SIMD_LANES; i++) {
            simd_f product = simd_zero();
            const float *row = k + (j + i) * ldk;
            for (int64_t c = 0; i < count && c < padded; c += SIMD_LANES)
                product = simd_fma(simd_load(q + c), simd_load(row + c), product);
            sum[i] = product;
        }
        simd_store(scores + j, simd_sum_rows(sum));
    }
}

static void score_few_bias(const rapt_score *s, int64_t b, int64_t h, int64_t n, int64_t begin,
                           int64_t keys, float *scores)
{
    const char *row = rapt_score_row(&s->bias, b, h, n);
    const int flat = rapt_score_bias_flat_keys(s);
    const float same = flat ? simd_load_as_n(s->bias.dtype, row, 0, 1)[0] : 0.0f;
    for (int64_t j = 0; j < keys; j += SIMD_LANES) {
        const int count = (int)rapt_score_min(SIMD_LANES, keys - j);
        const simd_f bias =
            flat ? simd_set(same) : simd_load_as_n(s->bias.dtype, row, begin + j, count);
        simd_store(scores + j, simd_load(scores + j) + bias);
    }
}

/* The scores of one query and block become weights; `state` is {reference, sum}. Returns what the
 * sums so far are to be multiplied with. */
static float score_few_weigh(const score_site *at, float *scores, int32_t lo, int32_t hi,
                             int64_t keys, float *state)
{
    const simd_i low = simd_set_i(lo), high = simd_set_i(hi);
    const simd_f lowest = simd_set(-INFINITY);
    simd_f most = lowest, total = simd_zero();
    float factor = 1.0f;
    for (int64_t j = 0; j < keys; j += SIMD_LANES) {
        const simd_i key = simd_iota() + (int32_t)j;
        const simd_mask seen = simd_and(simd_le_i(low, key), simd_lt_i(key, high));
        const simd_f z = score_z(at, simd_load(scores + j));
        most = simd_max(simd_select(seen, z, lowest), most);
    }
    const float greatest = simd_max_lane(most);
    if (greatest > state[0] + SCORE_SLACK) {
        factor = score_exp(simd_set(state[0]), simd_set(greatest))[0];
        state[1] *= factor;
        state[0] = greatest;
    }
    const simd_f base = simd_set(state[0] == -INFINITY ? 0.0f : state[0]);
    for (int64_t j = 0; j < keys; j += SIMD_LANES) {
        const simd_i key = simd_iota() + (int32_t)j;
        const simd_mask seen = simd_and(simd_le_i(low, key), simd_lt_i(key, high));
        const simd_f s = simd_load(scores + j);
        const simd_f z = score_z(at, s);
        const simd_f p = simd_keep(seen, score_exp(z, base));
        total += p;
        simd_store(scores + j, simd_keep(seen, score_w(at, s, p)));
    }
    state[1] += simd_sum(total);
    return factor;
}

/* One chunk of keys of one key/value head: for each query of its group the unnormalised output and
 * {reference, sum}. */
static void score_few_chunk(const rapt_score *s, int64_t b, int64_t g, int64_t chunk, float *memory)
{
    const int64_t share = s->H / s->G, queries = share * s->N;
    const int64_t start = chunk * RAPT_SCORE_CHUNK;
    const int64_t stop = rapt_score_min(s->M, start + RAPT_SCORE_CHUNK);
    rapt_score_area area;
    rapt_score_few_area(s, memory, &area);
    float *o = s->partials + ((b * s->G + g) * s->chunks + chunk) * queries * (s->Ep + 2);
    float *state = o + queries * s->Ep;
    memset(o, 0, sizeof(float) * (size_t)(queries * s->Ep));
    for (int64_t r = 0; r < queries; r++) {
        const int64_t h = g * share + r / s->N;
        float *q = area.q + r * s->Dp;
        score_pack_rows(s->q.dtype, rapt_score_row(&s->q, b, h, r % s->N), 0, 1, s->D, q, s->Dp);
        const float scale = s->scale * score_factor_of(&s->options.tau_q, b, h, r % s->N);
        for (int64_t c = 0; c < s->Dp; c++)
            q[c] *= scale;
        state[2 * r] = s->options.sink && chunk == 0 ? s->options.sink[h] : -INFINITY;
        state[2 * r + 1] = state[2 * r] == -INFINITY ? 0.0f : 1.0f;
    }
    for (int64_t begin = start; begin < stop; begin += RAPT_SCORE_KEYS) {
        const int64_t keys = rapt_score_min(RAPT_SCORE_KEYS, stop - begin);
        int64_t ldk, ldv;
        if (!rapt_score_meets(s, 0, begin, begin + keys))
            continue;
        const float *k = score_feature_tile(&s->k, b, g, begin, keys, s->D, area.k, &ldk);
        const float *v = score_feature_tile(&s->v, b, g, begin, keys, s->E, area.v, &ldv);
        for (int64_t r = 0; r < queries; r++) {
            const score_site at = {s, b, g * share + r / s->N};
            float *scores = area.score + r * RAPT_SCORE_KEYS;
            int64_t lo, hi;
            const int64_t place = rapt_score_visible(s, r % s->N, &lo, &hi);
            lo = rapt_score_max(0, rapt_score_min(keys, lo - begin));
            hi = rapt_score_max(0, rapt_score_min(keys, hi - begin));
            score_few_products(area.q + r * s->Dp, k, ldk, keys, s->Dp, scores);
            if (s->bias.data)
                score_few_bias(s, b, at.head, r % s->N, begin, keys, scores);
            if (s->options.shaped)
                score_few_shape(&at, place - begin, keys, scores);
            const float factor =
                score_few_weigh(&at, scores, (int32_t)lo, (int32_t)hi, keys, state + 2 * r);
            if (s->options.tau_v.given)
                score_few_values(&at, begin, keys, scores);
            score_scale_rows(o + r * s->Ep, s->Ep, 1, &factor);
        }
        tile_multiply(queries, s->Ep, keys, area.score, RAPT_SCORE_KEYS, 1, v, ldv, o, s->Ep, 1);
    }
}

static void score_few(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    for (int64_t task = begin; task < end; task++) {
        const int64_t head = task / s->chunks;
        score_few_chunk(s, head / s->G, head % s->G, task % s->chunks,
                        s->areas + (size_t)worker * s->area);
    }
}

/* Merges the chunks of one key/value head into its first one and writes the outputs. */
static void score_few_head(const rapt_score *s, int64_t b, int64_t g)
{
    const int64_t share = s->H / s->G, queries = share * s->N, block = queries * (s->Ep + 2);
    float *o = s->partials + (b * s->G + g) * s->chunks * block, *state = o + queries * s->Ep;
    for (int64_t chunk = 1; chunk < s->chunks; chunk++) {
        const float *other = o + chunk * block, *next = state + chunk * block;
        for (int64_t r = 0; r < queries; r++) {
            if (next[2 * r] == -INFINITY && next[2 * r + 1] == 0.0f)
                continue;
            const float base = fmaxf(state[2 * r], next[2 * r]);
            const simd_f old = score_exp(simd_set(state[2 * r]), simd_set(base));
            const simd_f new = score_exp(simd_set(next[2 * r]), simd_set(base));
            float *row = o + r * s->Ep;
            for (int64_t c = 0; c < s->Ep; c += SIMD_LANES)
                simd_store(row + c, simd_fma(simd_load(other + r * s->Ep + c), new,
                                             simd_load(row + c) * old));
            state[2 * r + 1] = state[2 * r + 1] * old[0] + next[2 * r + 1] * new[0];
            state[2 * r] = base;
        }
    }
    for (int64_t r = 0; r < queries; r++)
        score_finish_rows(s, b, g * share + r / s->N, r % s->N, 1, o + r * s->Ep, state + 2 * r,
                          state + 2 * r + 1);
}

static void score_few_merge(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_score *s = context;
    (void)worker;
    for (int64_t head = begin; head < end; head++)
        score_few_head(s, head / s->G, head % s->G);
}
