/*
 * The work of mta on a block of queries, for each CPU level: scores, weights, outputs. Gradients
 * are in backward.h.
 */
#include "kit/halo.h"
#include "kit/rows_body.h"
#include "kit/tile.h"

#ifndef MTA_BODY_NAMES
#define MTA_BODY_NAMES
#define mta_load         RAPT_LEVEL_NAME(mta_load)
#define mta_in_place     RAPT_LEVEL_NAME(mta_in_place)
#define mta_columns      RAPT_LEVEL_NAME(mta_columns)
#define mta_hide         RAPT_LEVEL_NAME(mta_hide)
#define mta_add_bias     RAPT_LEVEL_NAME(mta_add_bias)
#define mta_distance     RAPT_LEVEL_NAME(mta_distance)
#define mta_shape        RAPT_LEVEL_NAME(mta_shape)
#define mta_put_lse      RAPT_LEVEL_NAME(mta_put_lse)
#define mta_scores       RAPT_LEVEL_NAME(mta_scores)
#define mta_greatest     RAPT_LEVEL_NAME(mta_greatest)
#define mta_exponentials RAPT_LEVEL_NAME(mta_exponentials)
#define mta_logits       RAPT_LEVEL_NAME(mta_logits)
#define mta_weigh        RAPT_LEVEL_NAME(mta_weigh)
#define mta_normalise    RAPT_LEVEL_NAME(mta_normalise)
#define mta_smear        RAPT_LEVEL_NAME(mta_smear)
#define mta_mix_tile     RAPT_LEVEL_NAME(mta_mix_tile)
#define mta_factors      RAPT_LEVEL_NAME(mta_factors)
#define mta_matrix_tile  RAPT_LEVEL_NAME(mta_matrix_tile)
#define mta_use_tile     RAPT_LEVEL_NAME(mta_use_tile)
#define mta_finish       RAPT_LEVEL_NAME(mta_finish)
#define mta_block        RAPT_LEVEL_NAME(mta_block)
#define mta_forward      RAPT_LEVEL_NAME(mta_forward)
#define mta_level_code   RAPT_LEVEL_NAME(mta_level_code)
#define MTA_LOG2E        1.44269504088896341f
#endif

/* --- Rows ------------------------------------------------------------------------------------ */

/* Rows first <= i < first + count of a tensor with `length`, as padded float32; zero outside. */
static void mta_load(const mta_rows *rows, int64_t b, int64_t h, int64_t first, int64_t count,
                     int64_t length, int64_t width, float factor, float *to, int64_t ld)
{
    const int64_t begin = rows->data ? mta_min(count, mta_max(0, -first)) : count;
    const int64_t end = mta_max(begin, mta_min(count, length - first));
    memset(to, 0, (size_t)(begin * ld) * sizeof *to);
    if (end > begin)
        rows_load(rows->dtype, mta_row(rows, b, h, first + begin), rows->row, end - begin,
                  end - begin, width, factor, to + begin * ld, ld);
    memset(to + end * ld, 0, (size_t)((count - end) * ld) * sizeof *to);
}

/* Rows as float32, padded if `padded` differs from `width`: where they lie, or else in `buffer`. */
static const float *mta_in_place(const mta_rows *rows, int64_t b, int64_t h, int64_t first,
                                 int64_t count, int64_t width, int64_t padded, float *buffer,
                                 int64_t *ld)
{
    const char *source = mta_row(rows, b, h, first);
    *ld = rows->row;
    if (rows->dtype == RAPT_F32 && padded == width)
        return (const float *)(const void *)source;
    *ld = mta_up(padded, SIMD_LANES);
    rows_load(rows->dtype, source, rows->row, count, count, width, 1.0f, buffer, *ld);
    return buffer;
}

/* The rows of `lanes` as columns of `width` features. */
static void mta_columns(const mta_job *job, const mta_area *area, const mta_rows *rows, int64_t b,
                        int64_t h, const mta_lanes *lanes, int64_t width, float factor,
                        float *columns, int64_t ld)
{
    const int64_t padded = mta_up(width, MTA_PAD);
    mta_load(rows, b, h, lanes->first, lanes->width, job->N, width, factor, area->rows, padded);
    rows_transpose(lanes->width, padded, area->rows, padded, columns, ld);
}

/* --- Scores and weights ---------------------------------------------------------------------- */

/* Sets what is hidden of the `count` keys from `begin` on to `value`. */
static void mta_hide(const mta_lanes *lanes, int64_t begin, int64_t count, float value, float *tile,
                     int64_t ld)
{
    const int64_t most =
        lanes->low[lanes->width - 1] - begin; /* rows before it: hidden from some */
    if (lanes->seen[0] >= begin + count && most <= 0)
        return;
    for (int64_t i = 0; i < lanes->width; i += SIMD_LANES) {
        int32_t end[SIMD_LANES], low[SIMD_LANES];
        for (int l = 0; l < SIMD_LANES; l++) {
            end[l] = (int32_t)mta_max(0, mta_min(count, lanes->seen[i + l] - begin));
            low[l] = (int32_t)mta_max(0, mta_min(count, lanes->low[i + l] - begin));
        }
        const simd_i seen = simd_load_i(end), before = simd_load_i(low);
        for (int64_t j = 0; j < low[SIMD_LANES - 1]; j++) {
            float *at = tile + j * ld + i;
            simd_store(at, simd_select(simd_lt_i(simd_set_i((int32_t)j), before), simd_set(value),
                                       simd_load(at)));
        }
        for (int64_t j = end[0]; j < count; j++) {
            float *at = tile + j * ld + i;
            simd_store(at, simd_select(simd_lt_i(simd_set_i((int32_t)j), seen), simd_load(at),
                                       simd_set(value)));
        }
    }
}

/* Adds the bias of a head to the products of `count` keys from `begin` on with the lanes' queries.
 */
static void mta_add_bias(const mta_job *job, int64_t b, int64_t h, const mta_lanes *lanes,
                         int64_t begin, int64_t count, float *tile, int64_t ld)
{
    const rapt_math_service *math = job->math;
    const rapt_score_view *bias = &job->bias;
    const int64_t size = (int64_t)rapt_dtype_size(bias->dtype);
    for (int64_t i = mta_max(0, -lanes->first); i < lanes->count; i++) {
        const int64_t query = lanes->first + i;
        if (query >= job->N)
            break;
        const char *row = (const char *)rapt_score_row(bias, b, h, query);
        float values[MTA_KEYS];
        for (int64_t j = 0; j < count; j += MTA_KEYS) {
            const int64_t n = bias->stride[3] ? mta_min(MTA_KEYS, count - j) : 1;
            math->load(n, bias->dtype, row + (begin + j) * bias->stride[3] * size, values);
            for (int64_t r = 0; r < mta_min(MTA_KEYS, count - j); r++)
                tile[(j + r) * ld + i] += values[n > 1 ? r : 0];
        }
    }
}

/* |i + M - N - j| of each lane. */
SIMD_FN simd_f mta_distance(const mta_job *job, const mta_lanes *lanes, int64_t i, int64_t j)
{
    const int64_t first = lanes->first + i + job->M - job->N - j;
    float at[SIMD_LANES];
    for (int l = 0; l < SIMD_LANES; l++)
        at[l] = (float)(first + l);
    return simd_abs(simd_load(at));
}

/* From products to scores, as the options shape them. */
static void mta_shape(const mta_job *job, int64_t b, int64_t h, const mta_lanes *lanes,
                      int64_t begin, int64_t count, float *tile, int64_t ld)
{
    const rapt_score_options *o = &job->options;
    if (job->bias.given)
        mta_add_bias(job, b, h, lanes, begin, count, tile, ld);
    if (!o->shaped)
        return;
    const simd_f cap = simd_set(o->softcap), over = simd_set(o->softcap > 0 ? 1 / o->softcap : 0);
    const simd_f slope = simd_set(o->alibi ? o->alibi[h] : 0.0f);
    for (int64_t j = 0; j < count; j++)
        for (int64_t i = 0; i < lanes->width; i += SIMD_LANES) {
            float *at = tile + j * ld + i;
            simd_f s = simd_load(at);
            if (o->softcap > 0)
                s = cap * simd_tanh(s * over);
            if (o->alibi)
                s = s - slope * mta_distance(job, lanes, i, begin + j);
            simd_store(at, s);
        }
}

/* Scores of the keys from <= j < to with the queries in area->columns; 0 where there is no such
 * key or none of the queries sees it. */
static void mta_scores(const mta_job *job, const mta_area *area, int64_t b, int64_t h,
                       const mta_lanes *lanes, int64_t from, int64_t to, float *rows, int64_t ld)
{
    const int64_t begin = mta_min(to, mta_max(0, from));
    const int64_t end = mta_max(begin, mta_min(to, lanes->end));
    memset(rows, 0, (size_t)((begin - from) * ld) * sizeof *rows);
    memset(rows + (end - from) * ld, 0, (size_t)((to - end) * ld) * sizeof *rows);
    if (begin == end)
        return;
    int64_t ldk;
    const float *k = mta_in_place(&job->k, b, h * job->G / job->H, begin, end - begin, job->D,
                                  job->D, area->k, &ldk);
    tile_multiply(end - begin, lanes->width, job->D, k, ldk, 1, area->columns, job->s_lanes,
                  rows + (begin - from) * ld, ld, 0);
    mta_shape(job, b, h, lanes, begin, end - begin, rows + (begin - from) * ld, ld);
}

/* most = max(most, rows of the tile) */
static void mta_greatest(int64_t rows, int64_t width, const float *tile, int64_t ld, float *most)
{
    for (int64_t i = 0; i < width; i += SIMD_LANES) {
        simd_f even = simd_load(most + i), odd = even;
        int64_t j = 0;
        for (; j + 2 <= rows; j += 2) {
            even = simd_max(simd_load(tile + j * ld + i), even);
            odd = simd_max(simd_load(tile + (j + 1) * ld + i), odd);
        }
        if (j < rows)
            even = simd_max(simd_load(tile + j * ld + i), even);
        simd_store(most + i, simd_max(even, odd));
    }
}

/* Logits become e^(logit - most), summed into `sum`. */
static void mta_exponentials(int64_t rows, int64_t width, const float *most, float *tile,
                             int64_t ld, float *sum)
{
    const simd_f lowest = simd_set(-INFINITY), log2e = simd_set(MTA_LOG2E);
    for (int64_t i = 0; i < width; i += SIMD_LANES) {
        const simd_f top = simd_load(most + i);
        const simd_f base = simd_select(simd_eq(top, lowest), simd_zero(), top);
        simd_f total = simd_load(sum + i);
        for (int64_t j = 0; j < rows; j++) {
            float *at = tile + j * ld + i;
            const simd_f e = simd_exp2_weight((simd_load(at) - base) * log2e);
            total += e;
            simd_store(at, e);
        }
        simd_store(sum + i, total);
    }
}

/* S' of a head, -infinity where hidden, into its strip; the greatest of each query into `most`.
 * `s` and `p` are the lanes of S and S'. The scores stay in a strip if there is room for it. */
static void mta_logits(const mta_job *job, const mta_area *area, int64_t b, int64_t h,
                       const mta_lanes *s, const mta_lanes *p, float *score, float *strip,
                       float *most)
{
    const mta_kernel *qk = &job->qk;
    const int64_t ld = job->s_lanes, size = qk->rows * qk->columns;
    const int keep = job->call->phase == RAPT_BACKWARD;
    for (int64_t i = 0; i < p->width; i++)
        most[i] = job->options.sink ? job->options.sink[h] : -INFINITY;
    for (int64_t j = p->begin; j < p->end; j += MTA_KEYS) {
        const int64_t rows = mta_min(MTA_KEYS, p->end - j);
        float *target = strip + j * job->lanes;
        if (qk->taps) {
            const int64_t made = j == p->begin ? 0 : 2 * qk->half, from = j - qk->half + made;
            const int64_t to = j + mta_up(rows, RAPT_HALO_ROWS) + qk->half;
            float *tile = score + (keep ? j * ld : 0);
            if (made && !keep)
                memmove(tile, tile + MTA_KEYS * ld, (size_t)(made * ld) * sizeof *tile);
            mta_scores(job, area, b, h, s, from, to, tile + made * ld, ld);
            mta_hide(s, from, to - from, 0.0f, tile + made * ld, ld);
            halo_convolve(rows, p->width, qk->rows, qk->columns, qk->taps + h * size, tile, ld,
                          target, job->lanes);
        } else {
            mta_scores(job, area, b, h, p, j, j + rows, target, job->lanes);
        }
        mta_hide(p, j, rows, -INFINITY, target, job->lanes);
        mta_greatest(rows, p->width, target, job->lanes, most);
    }
}

/* The weights of a head, without their normaliser, into its strip, with zeros before and after
 * the keys; the normalisers into area->share. */
static void mta_weigh(const mta_job *job, const mta_area *area, int64_t b, int64_t h,
                      int64_t member, const mta_lanes *s, const mta_lanes *p)
{
    const int64_t around = mta_max(job->qk.half, job->post.half), ld = job->lanes;
    float *strip = mta_strip(job, area->weight, member), *share = area->share + member * ld;
    float *most = area->most + member * ld;
    const int keep = job->call->phase == RAPT_BACKWARD;
    mta_columns(job, area, &job->q, b, h, s, job->D, job->scale, area->columns, job->s_lanes);
    mta_logits(job, area, b, h, s, p,
               area->score + (keep ? member * job->s_rows * job->s_lanes : 0), strip, most);
    memset(share, 0, (size_t)p->width * sizeof *share);
    for (int64_t j = p->begin; j < p->end; j += MTA_KEYS)
        mta_exponentials(mta_min(MTA_KEYS, p->end - j), p->width, most, strip + j * ld, ld, share);
    const float sink = job->options.sink ? job->options.sink[h] : -INFINITY;
    memset(area->sunk + member * ld, 0, (size_t)p->width * sizeof *share);
    for (int64_t i = 0; i < p->count; i++) {
        const float sunk = sink > -INFINITY ? expf(sink - most[i]) : 0.0f;
        share[i] += sunk;
        share[i] = share[i] > 0.0f ? 1.0f / share[i] : 0.0f;
        area->sunk[member * ld + i] = sunk * share[i];
    }
    for (int64_t i = p->count; i < p->width; i++)
        share[i] = 0.0f;
    memset(strip + (p->begin - around) * ld, 0, (size_t)(around * ld) * sizeof *strip);
    memset(strip + p->end * ld, 0, (size_t)((around + RAPT_HALO_ROWS) * ld) * sizeof *strip);
}

static void mta_normalise(const mta_job *job, const mta_lanes *p, float *strip, float *share)
{
    for (int64_t j = p->begin; j < p->end; j++)
        for (int64_t i = 0; i < p->width; i += SIMD_LANES) {
            float *at = strip + j * job->lanes + i;
            simd_store(at, simd_load(at) * simd_load(share + i));
        }
    for (int64_t i = 0; i < p->width; i++)
        share[i] = 1.0f;
}

/* P' of a tile of normalised weights. */
static void mta_smear(const mta_job *job, int64_t h, const mta_lanes *own, int64_t j, int64_t rows,
                      const float *strip, float *tile)
{
    const mta_kernel *post = &job->post;
    halo_convolve(rows, own->width, post->rows, post->columns,
                  post->taps + h * post->rows * post->columns,
                  strip + (j - post->half) * job->lanes, job->lanes, tile, job->lanes);
    mta_hide(own, j, rows, 0.0f, tile, job->lanes);
}

/* to = sum over the members of factors[member] * from[member], a factor for each lane. */
static void mta_mix_tile(const mta_job *job, int64_t rows, int64_t width, const float *factors,
                         const float *from, int64_t distance, float *to)
{
    const int64_t ld = job->lanes;
    for (int64_t j = 0; j < rows; j++)
        for (int64_t i = 0; i < width; i += SIMD_LANES) {
            simd_f sum = simd_load(factors + i) * simd_load(from + j * ld + i);
            for (int64_t m = 1; m < job->mixed; m++)
                sum = simd_fma(simd_load(factors + m * ld + i),
                               simd_load(from + m * distance + j * ld + i), sum);
            simd_store(to + j * ld + i, sum);
        }
}

/* --- Outputs --------------------------------------------------------------------------------- */

/* factors[d][m][lane] = W[m][d] share[m][lane]; `share` NULL: 1. */
static void mta_factors(const mta_job *job, int64_t group, const float *share, float *factors)
{
    const int64_t c = job->mixed;
    const float *mix = job->mix + group * c * c;
    for (int64_t d = 0; d < c; d++)
        for (int64_t m = 0; m < c; m++)
            for (int64_t i = 0; i < job->lanes; i++)
                factors[(d * c + m) * job->lanes + i] =
                    mix[m * c + d] * (share ? share[m * job->lanes + i] : 1.0f);
}

static void mta_matrix_tile(const mta_job *job, int64_t b, int64_t h, const mta_lanes *own,
                            int64_t j, int64_t rows, const float *tile, const float *share)
{
    float *target = job->matrix + ((b * job->H + h) * job->all_n + own->first) * job->all_m + j;
    for (int64_t i = 0; i < own->count; i++)
        for (int64_t r = 0; r < rows; r++)
            target[i * job->all_m + r] = tile[r * job->lanes + i] * (share ? share[i] : 1.0f);
}

/* A tile of the weights of each head of the group: o += weights v, or into the matrix. */
static void mta_use_tile(const mta_job *job, const mta_area *area, int64_t b, int64_t group,
                         const mta_lanes *own, int64_t j, int64_t rows)
{
    const int64_t c = job->mixed, ld = job->lanes;
    const int plain = !job->mix && !job->post.taps;
    const float *from = mta_strip(job, area->weight, 0) + j * ld, *v = NULL;
    int64_t distance = job->strip, ldv = 0, loaded = -1;
    if (job->post.taps) {
        distance = MTA_KEYS * ld;
        for (int64_t m = 0; m < c; m++)
            mta_smear(job, group * c + m, own, j, rows, mta_strip(job, area->weight, m),
                      area->tile + m * distance);
        from = area->tile;
    }
    for (int64_t d = 0; d < c; d++) {
        const int64_t h = group * c + d, g = h * job->G / job->H;
        if (job->mix)
            mta_mix_tile(job, rows, own->width, area->factors + d * c * ld, from, distance,
                         area->mixed);
        const float *tile = job->mix ? area->mixed : from;
        if (job->matrix) {
            mta_matrix_tile(job, b, h, own, j, rows, tile, plain ? area->share : NULL);
            continue;
        }
        if (g != loaded)
            v = mta_in_place(&job->v, b, g, j, rows, job->E, job->Ep, area->v, &ldv);
        loaded = g;
        tile_multiply(own->count, job->Ep, rows, tile, 1, ld, v, ldv,
                      area->o + d * job->rows * job->Ep, job->Ep, 1);
    }
}

static void mta_finish(const mta_job *job, const mta_area *area, int64_t b, int64_t group,
                       const mta_lanes *own)
{
    for (int64_t d = 0; d < job->mixed; d++) {
        const int64_t h = group * job->mixed + d;
        float *o = area->o + d * job->rows * job->Ep;
        if (job->matrix)
            continue;
        if (!job->mix && !job->post.taps)
            rows_scale(own->count, job->Ep, area->share, o, o);
        rows_store(job->o.dtype, mta_row(&job->o, b, h, own->first - job->first), job->o.row,
                   own->count, job->E, 1.0f, o, job->Ep);
    }
}

/* The log-sum-exp of a head's rows that the block owns. */
static void mta_put_lse(const mta_job *job, const mta_area *area, int64_t b, int64_t h,
                        int64_t member, const mta_lanes *own)
{
    const int64_t at = member * job->lanes + job->post.reach;
    float *lse = job->lse + (b * job->H + h) * (job->all_n - job->first) + own->first - job->first;
    for (int64_t i = 0; i < own->count; i++) {
        const float share = area->share[at + i];
        lse[i] = share > 0.0f ? area->most[at + i] - logf(share) : -INFINITY;
    }
}

static void mta_block(const mta_job *job, const mta_area *area, int64_t b, int64_t group,
                      int64_t block)
{
    const int64_t first = job->first + block * job->rows;
    mta_lanes own = mta_lane_set(job, area, 0), p = mta_lane_set(job, area, 1);
    mta_lanes s = mta_lane_set(job, area, 2);
    mta_lanes_set(job, &own, first, mta_min(job->rows, job->N - first));
    mta_lanes_set(job, &p, first - job->post.reach, own.count + job->post.reach);
    mta_lanes_set(job, &s, p.first - job->qk.reach, p.count + job->qk.reach);
    for (int64_t m = 0; m < job->mixed; m++) {
        mta_weigh(job, area, b, group * job->mixed + m, m, &s, &p);
        if (job->lse)
            mta_put_lse(job, area, b, group * job->mixed + m, m, &own);
        if (job->post.taps)
            mta_normalise(job, &p, mta_strip(job, area->weight, m), area->share + m * job->lanes);
    }
    if (job->mix)
        mta_factors(job, group, area->share, area->factors);
    memset(area->o, 0, (size_t)(job->mixed * job->rows * job->Ep) * sizeof(float));
    for (int64_t j = own.begin; j < own.end; j += MTA_KEYS)
        mta_use_tile(job, area, b, group, &own, j, mta_min(MTA_KEYS, own.end - j));
    mta_finish(job, area, b, group, &own);
}

/* Tasks over (block, batch, group of heads), the blocks that see most first. */
static void mta_forward(void *context, int64_t begin, int64_t end, int worker)
{
    const mta_job *job = (const mta_job *)context;
    mta_area area;
    mta_area_at(job, job->scratch + worker * job->scratch_size, &area);
    for (int64_t task = begin; task < end; task++) {
        const int64_t heads = job->B * job->groups, at = task % heads;
        mta_job own;
        const int64_t block = mta_of_block(job, job->blocks - 1 - task / heads, &own);
        mta_block(&own, &area, at / job->groups, at % job->groups, block);
    }
}

#include "backward.h"

static const mta_code mta_level_code = {mta_forward, mta_backward, mta_gather};
