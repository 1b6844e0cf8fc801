/*
 * Gradients of mta, for each CPU level. Part of body.h.
 *
 * For each block the strips of S, P and the gradients of P' and P (then S') are made whole, so that
 * the row sums of the softmax's gradient and all that the kernels reach are at hand:
 *
 *     dP''_d = dO_d v^T           dP'_m = sum_d W[m][d] dP''_d       dv_d += P''_d^T dO_d
 *     dP = dP' * flipped post     dS' = P (dP - sum_j P dP)          dS = dS' * flipped qk
 *     dq = scale dS k             dk += scale dS^T q
 *
 * with what is hidden set to 0 after each product and convolution. A task owns every `parts`-th
 * block of a group of heads and adds up its keys' and kernels' gradients in its own memory; they
 * are gathered in a fixed order.
 */
#ifndef MTA_BACKWARD_NAMES
#define MTA_BACKWARD_NAMES
#define mta_tap_sums     RAPT_LEVEL_NAME(mta_tap_sums)
#define mta_dot_tiles    RAPT_LEVEL_NAME(mta_dot_tiles)
#define mta_unmix_tile   RAPT_LEVEL_NAME(mta_unmix_tile)
#define mta_output_tile  RAPT_LEVEL_NAME(mta_output_tile)
#define mta_outputs_back RAPT_LEVEL_NAME(mta_outputs_back)
#define mta_post_back    RAPT_LEVEL_NAME(mta_post_back)
#define mta_softmax_back RAPT_LEVEL_NAME(mta_softmax_back)
#define mta_load_lse     RAPT_LEVEL_NAME(mta_load_lse)
#define mta_bias_back    RAPT_LEVEL_NAME(mta_bias_back)
#define mta_shape_back   RAPT_LEVEL_NAME(mta_shape_back)
#define mta_unconvolve   RAPT_LEVEL_NAME(mta_unconvolve)
#define mta_scores_back  RAPT_LEVEL_NAME(mta_scores_back)
#define mta_block_lanes  RAPT_LEVEL_NAME(mta_block_lanes)
#define mta_block_back   RAPT_LEVEL_NAME(mta_block_back)
#define mta_start_part   RAPT_LEVEL_NAME(mta_start_part)
#define mta_backward     RAPT_LEVEL_NAME(mta_backward)
#define mta_gather_tile  RAPT_LEVEL_NAME(mta_gather_tile)
#define mta_gather       RAPT_LEVEL_NAME(mta_gather)

/* The lanes of one block, and where its sums go. */
typedef struct mta_back {
    int64_t b, group, part;
    mta_lanes own, s, p, g, t;
} mta_back;

/* Where the sums of a head begin, of `size` numbers for each part. */
static inline int64_t mta_part_at(const mta_job *job, const mta_back *x, int64_t h, int64_t size)
{
    return ((x->b * job->H + h) * job->parts + x->part) * size;
}
#endif

/* Adds the sums of `taps` vectors to `to` and sets them to 0. */
static void mta_tap_sums(int64_t taps, float *sums, double *to)
{
    for (int64_t i = 0; i < taps; i++)
        to[i] += (double)simd_sum(simd_load(sums + i * SIMD_LANES));
    memset(sums, 0, (size_t)(taps * SIMD_LANES) * sizeof *sums);
}

/* sum += x * y over two tiles, lane by lane. */
static void mta_dot_tiles(int64_t rows, int64_t width, const float *x, const float *y, int64_t ld,
                          float *sum)
{
    simd_f total = simd_load(sum);
    for (int64_t j = 0; j < rows; j++)
        for (int64_t i = 0; i < width; i += SIMD_LANES)
            total = simd_fma(simd_load(x + j * ld + i), simd_load(y + j * ld + i), total);
    simd_store(sum, total);
}

/* dP'_m = sum_d W[m][d] dP''_d of a tile. */
static void mta_unmix_tile(const mta_job *job, int64_t rows, int64_t width, const float *weights,
                           const float *from, float *to)
{
    const int64_t ld = job->lanes;
    for (int64_t j = 0; j < rows; j++)
        for (int64_t i = 0; i < width; i += SIMD_LANES) {
            simd_f sum = simd_zero();
            for (int64_t d = 0; d < job->mixed; d++)
                sum = simd_fma(simd_set(weights[d]),
                               simd_load(from + d * MTA_KEYS * ld + j * ld + i), sum);
            simd_store(to + j * ld + i, sum);
        }
}

/* A tile of the keys that the block's own queries see: P' and P'', and what they give to the
 * gradients of v and head_kernel. */
static void mta_output_tile(const mta_job *job, const mta_area *area, const mta_back *x, int64_t j,
                            int64_t rows)
{
    const int64_t c = job->mixed, ld = job->lanes;
    const float *from = mta_strip(job, area->weight, 0) + j * ld;
    int64_t distance = job->strip;
    if (job->post.taps) {
        distance = MTA_KEYS * ld;
        from = area->weighted;
        for (int64_t m = 0; m < c; m++)
            mta_smear(job, x->group * c + m, &x->own, j, rows, mta_strip(job, area->weight, m),
                      area->weighted + m * distance);
    }
    for (int64_t m = 0; job->d_mix && m < c; m++)
        for (int64_t d = 0; d < c; d++)
            mta_dot_tiles(rows, x->own.width, from + m * distance, area->tile + d * MTA_KEYS * ld,
                          ld, area->d_mix + (m * c + d) * SIMD_LANES);
    for (int64_t d = 0; job->dv_parts && d < c; d++) {
        const int64_t h = x->group * c + d;
        float *dv = job->dv_parts + mta_part_at(job, x, h, job->all_m * job->Ep) + j * job->Ep;
        if (job->mix)
            mta_mix_tile(job, rows, x->own.width, area->factors + d * c * ld, from, distance,
                         area->mixed);
        tile_multiply(rows, job->Ep, x->own.count, job->mix ? area->mixed : from, ld, 1,
                      area->do_rows + d * job->rows * job->Ep, job->Ep, dv, job->Ep, 1);
    }
}

/* dP' of all heads into their strips, with zeros around; gradients of v and head_kernel. */
static void mta_outputs_back(const mta_job *job, const mta_area *area, const mta_back *x)
{
    const int64_t c = job->mixed, ld = job->lanes, around = job->post.half;
    for (int64_t d = 0; d < c; d++) {
        const int64_t h = x->group * c + d;
        mta_columns(job, area, &job->d_o, x->b, h, &x->g, job->E, 1.0f,
                    area->do_columns + d * job->Ep * ld, ld);
        mta_load(&job->d_o, x->b, h, x->own.first, x->own.count, job->N, job->E, 1.0f,
                 area->do_rows + d * job->rows * job->Ep, job->Ep);
    }
    for (int64_t j = x->g.begin; j < x->g.end; j += MTA_KEYS) {
        const int64_t rows = mta_min(MTA_KEYS, x->g.end - j);
        for (int64_t d = 0; d < c; d++) {
            const int64_t h = x->group * c + d;
            float *tile = area->tile + d * MTA_KEYS * ld;
            int64_t ldv;
            const float *v = mta_in_place(&job->v, x->b, h * job->G / job->H, j, rows, job->E,
                                          job->E, area->v, &ldv);
            tile_multiply(rows, x->g.width, job->E, v, ldv, 1, area->do_columns + d * job->Ep * ld,
                          ld, tile, ld, 0);
            mta_hide(&x->g, j, rows, 0.0f, tile, ld);
        }
        for (int64_t m = 0; m < c; m++) {
            float *to = mta_strip(job, area->g, m) + j * ld;
            if (job->mix)
                mta_unmix_tile(job, rows, x->g.width, job->mix + (x->group * c + m) * c, area->tile,
                               to);
            else
                memcpy(to, area->tile, (size_t)(rows * ld) * sizeof *to);
        }
        if (j < x->own.end)
            mta_output_tile(job, area, x, j, mta_min(rows, x->own.end - j));
    }
    for (int64_t m = 0; m < c; m++) {
        float *strip = mta_strip(job, area->g, m);
        memset(strip + (x->g.begin - around) * ld, 0, (size_t)(around * ld) * sizeof *strip);
        memset(strip + x->g.end * ld, 0, (size_t)((around + RAPT_HALO_ROWS) * ld) * sizeof *strip);
    }
    if (job->d_mix)
        mta_tap_sums(c * c, area->d_mix,
                     job->d_mix + ((x->b * job->groups + x->group) * job->parts + x->part) * c * c);
}

/* dP of a head from dP', and the gradient of its kernel. */
static void mta_post_back(const mta_job *job, const mta_area *area, const mta_back *x,
                          int64_t member)
{
    const mta_kernel *post = &job->post;
    const int64_t ld = job->lanes, size = post->rows * post->columns;
    const int64_t h = x->group * job->mixed + member;
    const float *g = mta_strip(job, area->g, member), *p = mta_strip(job, area->weight, member);
    float *t = mta_strip(job, area->t, member);
    for (int64_t j = x->t.begin; j < x->p.end; j += MTA_KEYS) {
        const int64_t rows = mta_min(MTA_KEYS, x->p.end - j);
        halo_convolve(rows, x->t.width, post->rows, post->columns, post->flipped + h * size,
                      g + (j - post->half) * ld, ld, t + j * ld, ld);
    }
    for (int64_t j = x->own.begin; job->d_post_parts && j < x->own.end; j += MTA_KEYS)
        halo_correlate(mta_min(MTA_KEYS, x->own.end - j), x->own.width, post->rows, post->columns,
                       g + j * ld, ld, p + (j - post->half) * ld, ld, area->d_post);
    if (job->d_post_parts)
        mta_tap_sums(size, area->d_post, job->d_post_parts + mta_part_at(job, x, h, size));
}

/* The gradient of lse of the queries in x->t, 0 where there is none. */
static void mta_load_lse(const mta_job *job, const mta_area *area, const mta_back *x, int64_t h)
{
    memset(area->d_lse, 0, (size_t)x->t.width * sizeof(float));
    const int64_t count = mta_min(x->t.count, job->N - x->t.first);
    for (int64_t i = 0; job->d_lse.data && i < count; i++)
        memcpy(area->d_lse + i, rapt_score_row(&job->d_lse, x->b, h, x->t.first + i),
               sizeof(float));
}

/* dS' of a head from dP, in place, with zeros around; the gradient of its sink. */
static void mta_softmax_back(const mta_job *job, const mta_area *area, const mta_back *x,
                             int64_t member)
{
    const int64_t ld = job->lanes, around = job->qk.half, first = x->t.begin;
    const int64_t h = x->group * job->mixed + member;
    const float *p = mta_strip(job, area->weight, member) + job->post.reach;
    const float *sunk = area->sunk + member * ld + job->post.reach;
    float *t = mta_strip(job, area->t, member);
    memset(area->delta, 0, (size_t)x->t.width * sizeof(float));
    for (int64_t j = first; j < x->p.end; j++)
        for (int64_t i = 0; i < x->t.width; i += SIMD_LANES)
            simd_store(area->delta + i,
                       simd_fma(simd_load(p + j * ld + i), simd_load(t + j * ld + i),
                                simd_load(area->delta + i)));
    mta_load_lse(job, area, x, h);
    for (int64_t i = 0; i < x->t.width; i++)
        area->delta[i] -= area->d_lse[i];
    for (int64_t i = 0; job->d_sink_parts && i < x->own.count; i++)
        job->d_sink_parts[mta_part_at(job, x, h, 1)] -= (double)(sunk[i] * area->delta[i]);
    /* Behind t.count rows there are none of P, which lies post.reach further on: its lanes hold
     * what an earlier block left. */
    for (int64_t j = first; j < x->p.end; j++)
        for (int64_t i = 0; i < x->t.width; i += SIMD_LANES) {
            float *at = t + j * ld + i;
            const simd_mask there =
                simd_lt_i(simd_iota() + (int32_t)i, simd_set_i((int32_t)x->t.count));
            const simd_f grad = simd_load(at) - simd_load(area->delta + i);
            simd_store(at, simd_keep(there, simd_load(p + j * ld + i) * grad));
        }
    memset(t + (first - around) * ld, 0, (size_t)(around * ld) * sizeof *t);
    memset(t + x->p.end * ld, 0, (size_t)((around + RAPT_HALO_ROWS) * ld) * sizeof *t);
}

/* The gradient of the bias from that of a tile of products. */
static void mta_bias_back(const mta_job *job, const mta_back *x, int64_t h, int64_t j, int64_t rows,
                          const float *ds)
{
    const rapt_score_view *bias = &job->d_bias;
    const int64_t copies = job->bias_copies[2];
    const int64_t batch = job->bias_copies[0] > 1 ? x->b : 0;
    const int64_t group = job->bias_copies[1] > 1 ? x->group : 0;
    const int64_t part = copies > 1 ? x->part : 0;
    float *copy = (float *)(void *)bias->data +
                  ((batch * job->bias_copies[1] + group) * copies + part) * job->bias_size;
    for (int64_t i = 0; i < x->own.count; i++) {
        float *row = copy + x->b * bias->stride[0] + h * bias->stride[1] +
                     (x->own.first + i) * bias->stride[2];
        for (int64_t r = 0; r < rows; r++)
            row[(j + r) * bias->stride[3]] += ds[r * job->lanes + i];
    }
}

/* From the gradient of a tile of scores, which the options shaped, to that of the products, in
 * place; the gradients of the slope and of the bias. */
static void mta_shape_back(const mta_job *job, const mta_area *area, const mta_back *x, int64_t h,
                           int64_t j, int64_t rows, const float *k, int64_t ldk, float *ds)
{
    const rapt_score_options *o = &job->options;
    const int64_t ld = job->lanes;
    float *product = area->tile;
    simd_f slope = simd_zero();
    if (o->softcap > 0) {
        tile_multiply(rows, x->own.width, job->D, k, ldk, 1, area->columns, job->s_lanes, product,
                      ld, 0);
        if (job->bias.given)
            mta_add_bias(job, x->b, h, &x->own, j, rows, product, ld);
    }
    const simd_f over = simd_set(o->softcap > 0 ? 1 / o->softcap : 0);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < x->own.width; i += SIMD_LANES) {
            float *at = ds + r * ld + i;
            const simd_mask own =
                simd_lt_i(simd_iota() + (int32_t)i, simd_set_i((int32_t)x->own.count));
            const simd_f g = simd_keep(own, simd_load(at));
            if (job->d_alibi_parts)
                slope = simd_fma(g, mta_distance(job, &x->own, i, j + r), slope);
            if (o->softcap > 0) {
                const simd_f y = simd_tanh(simd_load(product + r * ld + i) * over);
                simd_store(at, g * (simd_set(1.0f) - y * y));
            }
        }
    if (job->d_alibi_parts)
        job->d_alibi_parts[mta_part_at(job, x, h, 1)] -= (double)simd_sum(slope);
    if (job->d_bias_parts)
        mta_bias_back(job, x, h, j, rows, ds);
}

/* dS of a tile, and the gradient of qk_kernel. */
static float *mta_unconvolve(const mta_job *job, const mta_area *area, const mta_back *x,
                             int64_t member, int64_t j, int64_t rows)
{
    const mta_kernel *qk = &job->qk;
    const int64_t ld = job->lanes, h = x->group * job->mixed + member;
    float *ds = mta_strip(job, area->t, member) + j * ld;
    const float *s = area->score + member * job->s_rows * job->s_lanes + job->post.reach;
    if (!qk->taps)
        return ds;
    if (job->d_qk_parts)
        halo_correlate(rows, x->own.width, qk->rows, qk->columns, ds, ld, s + j * job->s_lanes,
                       job->s_lanes, area->d_qk);
    halo_convolve(rows, x->own.width, qk->rows, qk->columns,
                  qk->flipped + h * qk->rows * qk->columns, ds - qk->half * ld, ld, area->mixed,
                  ld);
    mta_hide(&x->own, j, rows, 0.0f, area->mixed, ld);
    return area->mixed;
}

/* The gradients of q, k and qk_kernel, and of what shapes scores, of a head from dS'. */
static void mta_scores_back(const mta_job *job, const mta_area *area, const mta_back *x,
                            int64_t member)
{
    const int64_t ld = job->lanes, size = job->qk.rows * job->qk.columns, n = x->own.count;
    const int64_t h = x->group * job->mixed + member, g = h * job->G / job->H;
    const int shaped = job->options.shaped || job->d_bias_parts;
    mta_load(&job->q, x->b, h, x->own.first, n, job->N, job->D, job->scale, area->q_rows, job->Dp);
    if (job->options.softcap > 0)
        mta_columns(job, area, &job->q, x->b, h, &x->own, job->D, job->scale, area->columns,
                    job->s_lanes);
    memset(area->dq, 0, (size_t)(n * job->Dp) * sizeof(float));
    for (int64_t j = x->own.begin; j < x->own.end; j += MTA_KEYS) {
        const int64_t rows = mta_min(MTA_KEYS, x->own.end - j);
        float *ds = mta_unconvolve(job, area, x, member, j, rows);
        int64_t ldk;
        const float *k = mta_in_place(&job->k, x->b, g, j, rows, job->D, job->Dp, area->k, &ldk);
        if (shaped)
            mta_shape_back(job, area, x, h, j, rows, k, ldk, ds);
        if (job->dk_parts) {
            float *dk = job->dk_parts + mta_part_at(job, x, h, job->all_m * job->Dp) + j * job->Dp;
            tile_multiply(rows, job->Dp, n, ds, ld, 1, area->q_rows, job->Dp, dk, job->Dp, 1);
        }
        if (job->dq.data)
            tile_multiply(n, job->Dp, rows, ds, 1, ld, k, ldk, area->dq, job->Dp, 1);
    }
    if (job->d_qk_parts)
        mta_tap_sums(size, area->d_qk, job->d_qk_parts + mta_part_at(job, x, h, size));
    if (job->dq.data)
        rows_store(job->dq.dtype, mta_row(&job->dq, x->b, h, x->own.first), job->dq.row, n, job->D,
                   job->scale, area->dq, job->Dp);
}

static void mta_block_lanes(const mta_job *job, const mta_area *area, int64_t block, mta_back *x)
{
    const int64_t first = block * job->rows, up = job->qk.reach, post = job->post.reach;
    mta_lanes *const all[MTA_LANE_SETS] = {&x->own, &x->s, &x->p, &x->g, &x->t};
    for (int i = 0; i < MTA_LANE_SETS; i++)
        *all[i] = mta_lane_set(job, area, i);
    mta_lanes_set(job, &x->own, first, mta_min(job->rows, job->N - first));
    mta_lanes_set(job, &x->t, first, x->own.count + up);
    mta_lanes_set(job, &x->g, first, x->own.count + up + post);
    mta_lanes_set(job, &x->p, first - post, post + x->own.count + up);
    mta_lanes_set(job, &x->s, x->p.first - up, up + x->p.count);
}

static void mta_block_back(const mta_job *job, const mta_area *area, mta_back *x, int64_t block)
{
    mta_block_lanes(job, area, block, x);
    for (int64_t m = 0; m < job->mixed; m++) {
        mta_weigh(job, area, x->b, x->group * job->mixed + m, m, &x->s, &x->p);
        mta_normalise(job, &x->p, mta_strip(job, area->weight, m), area->share + m * job->lanes);
    }
    if (job->mix)
        mta_factors(job, x->group, NULL, area->factors);
    mta_outputs_back(job, area, x);
    for (int64_t m = 0; m < job->mixed; m++) {
        if (job->post.taps)
            mta_post_back(job, area, x, m);
        mta_softmax_back(job, area, x, m);
        mta_scores_back(job, area, x, m);
    }
}

static void mta_start_part(const mta_job *job, const mta_back *x)
{
    const int64_t qk = job->qk.rows * job->qk.columns, post = job->post.rows * job->post.columns;
    const int64_t c = job->mixed;
    for (int64_t h = x->group * c; h < (x->group + 1) * c; h++) {
        if (job->dk_parts)
            memset(job->dk_parts + mta_part_at(job, x, h, job->all_m * job->Dp), 0,
                   (size_t)(job->all_m * job->Dp) * sizeof(float));
        if (job->dv_parts)
            memset(job->dv_parts + mta_part_at(job, x, h, job->all_m * job->Ep), 0,
                   (size_t)(job->all_m * job->Ep) * sizeof(float));
        if (job->d_qk_parts)
            memset(job->d_qk_parts + mta_part_at(job, x, h, qk), 0, (size_t)qk * sizeof(double));
        if (job->d_post_parts)
            memset(job->d_post_parts + mta_part_at(job, x, h, post), 0,
                   (size_t)post * sizeof(double));
        if (job->d_alibi_parts)
            job->d_alibi_parts[mta_part_at(job, x, h, 1)] = 0;
        if (job->d_sink_parts)
            job->d_sink_parts[mta_part_at(job, x, h, 1)] = 0;
    }
    if (job->d_mix)
        memset(job->d_mix + ((x->b * job->groups + x->group) * job->parts + x->part) * c * c, 0,
               (size_t)(c * c) * sizeof(double));
}

/* Tasks over (batch, group of heads, part). */
static void mta_backward(void *context, int64_t begin, int64_t end, int worker)
{
    const mta_job *job = (const mta_job *)context;
    char *memory = job->scratch + worker * job->scratch_size;
    mta_area area;
    mta_area_at(job, memory, &area);
    for (int64_t task = begin; task < end; task++) {
        const int64_t heads = task / job->parts;
        mta_back x = {
            heads / job->groups, heads % job->groups, task % job->parts, {0}, {0}, {0}, {0}, {0}};
        /* What lies between lanes in use may come into products with 0, so it must be finite. */
        memset(memory, 0, (size_t)job->scratch_size);
        mta_start_part(job, &x);
        for (int64_t block = x.part; block < job->blocks; block += job->parts) {
            mta_job own;
            const int64_t number = mta_of_block(job, block, &own);
            mta_block_back(&own, &area, &x, number);
        }
    }
}

/* Adds up the parts of the heads that read a key/value head, for the keys from j on. */
static void mta_gather_tile(const mta_job *job, const float *parts, int64_t padded, int64_t width,
                            const mta_rows *to, int64_t b, int64_t g, int64_t j, float *sum)
{
    const int64_t rows = mta_min(MTA_KEYS, job->all_m - j), share = job->H / job->G;
    const int64_t first = (b * job->H + g * share) * job->parts, size = job->M * padded;
    memset(sum, 0, (size_t)(rows * padded) * sizeof *sum);
    for (int64_t part = 0; part < share * job->parts; part++)
        rows_axpy(rows * padded, 1.0f, parts + (first + part) * size + j * padded, sum);
    rows_store(to->dtype, mta_row(to, b, g, j), to->row, rows, width, 1.0f, sum, padded);
}

/* Tasks over (tile of keys, batch, key/value head). */
static void mta_gather(void *context, int64_t begin, int64_t end, int worker)
{
    const mta_job *job = (const mta_job *)context;
    mta_area area;
    mta_area_at(job, job->scratch + worker * job->scratch_size, &area);
    for (int64_t task = begin; task < end; task++) {
        const int64_t heads = job->B * job->G, b = task % heads / job->G, g = task % job->G;
        const int64_t j = task / heads * MTA_KEYS;
        if (job->dk_parts)
            mta_gather_tile(job, job->dk_parts, job->Dp, job->D, &job->dk, b, g, j, area.k);
        if (job->dv_parts)
            mta_gather_tile(job, job->dv_parts, job->Ep, job->E, &job->dv, b, g, j, area.v);
    }
}
