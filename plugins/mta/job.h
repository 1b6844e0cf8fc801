/*
 * A call of mta, laid out. Level-independent.
 *
 * The unit of work is a block: some queries of the `mixed` heads whose weights are mixed (1 without
 * head_kernel), against all keys that they see. What a block holds of the matrix is a strip for
 * each head: a row for each key, a lane for each query. So memory is linear in M, a row's softmax
 * is a pass over its lane, and nothing is carried from block to block: the queries before and after
 * it that the kernels reach (the halo) are computed again.
 *
 * Lanes of a block that owns the queries from i on, with qk_kernel reaching `qk.reach` queries up
 * and qk_kernel_post `post.reach`:
 *
 *     scores S             from i - post.reach - qk.reach
 *     weights P            from i - post.reach            (S' and P share a strip)
 *     gradients of P'      from i, on to post.reach + qk.reach behind the block (backward)
 *     gradients of P, S'   from i, on to qk.reach behind the block              (backward)
 *     gradients of S       those that it owns                                   (backward)
 *
 * Backward has to compute S and P on to qk.reach behind the block, too.
 */
#ifndef RAPT_MTA_JOB_H
#define RAPT_MTA_JOB_H

#include "mta.h"
#include <math.h>

enum {
    MTA_ROWS = 64,     /* most queries of a block */
    MTA_KEYS = 64,     /* keys of a tile */
    MTA_LANE_SETS = 5, /* most mta_lanes of a block */
    MTA_PAD = 16       /* lanes and features are padded to a multiple: the widest vector */
};

/* The rows of a tensor [B, H, N, width]; strides count elements. data NULL: absent. */
typedef struct mta_rows {
    char *data;
    rapt_dtype dtype;
    int64_t batch, head, row;
} mta_rows;

/* A convolution's kernels [H, rows, columns]; absent: taps NULL, 1 x 1. */
typedef struct mta_kernel {
    const float *taps, *flipped;
    int64_t rows, columns; /* queries, keys */
    int64_t reach, half;   /* rows - 1, (columns - 1) / 2 */
} mta_kernel;

/* One sequence: its rows of q and of k and v, and its blocks. */
typedef struct mta_span {
    int64_t q, n, k, m, block;
} mta_span;

/* A call, or, as mta_of_block makes it, the call for one of its sequences. */
typedef struct mta_job {
    rapt_call *call;
    int64_t B, H, G, N, M, D, E, Dp, Ep; /* Dp, Ep: padded */
    int64_t all_n, all_m;                /* N and M of the tensors */
    float scale;
    rapt_score_options options; /* what a query sees, what shapes scores; its N and M are these */
    rapt_score_view bias, d_lse;
    const rapt_math_service *math;
    float *lse; /* [B, H, all_n], or NULL */
    mta_span *spans;
    int64_t n_spans, most_keys; /* of a sequence */
    mta_rows q, k, v, o, d_o, dq, dk, dv;
    float *matrix; /* weights: [B, H, N, M] */
    mta_kernel qk, post;
    const float *mix; /* [H / mixed, mixed, mixed], or NULL */
    int64_t mixed, groups;
    int64_t first;         /* queries before it are not asked for */
    int64_t rows, blocks;  /* queries of a block, blocks from `first` on */
    int64_t ahead;         /* backward: qk.reach, otherwise 0 */
    int64_t s_lanes;       /* distance of rows of scores */
    int64_t lanes;         /* distance of rows of all other strips and tiles */
    int64_t strip, s_rows; /* floats of a strip; rows of the tile or strip of scores */
    char *scratch;
    int64_t scratch_size; /* of a worker */
    /* backward: `parts` tasks for each group of heads, each with sums of its own */
    int64_t parts;
    float *dk_parts, *dv_parts; /* [B, H, parts, M, Dp or Ep] */
    double *d_qk_parts, *d_post_parts,
        *d_mix;                           /* [B, H, parts, ...]; d_mix [B, groups, parts, ..] */
    double *d_alibi_parts, *d_sink_parts; /* [B, H, parts] */
    float *d_bias_parts;                  /* copies of the bias, for tasks that share elements */
    rapt_score_view d_bias;               /* of one copy */
    int64_t bias_copies[3], bias_size;    /* of batches, groups, parts; elements of one */
} mta_job;

/* The tasks of one CPU level, made by body.h and backward.h. */
typedef struct mta_code {
    rapt_task forward, backward, gather;
} mta_code;

static inline int64_t mta_up(int64_t x, int64_t unit)
{
    return (x + unit - 1) / unit * unit;
}

static inline int64_t mta_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t mta_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline char *mta_row(const mta_rows *rows, int64_t b, int64_t h, int64_t i)
{
    return rows->data + (b * rows->batch + h * rows->head + i * rows->row) *
                            (int64_t)rapt_dtype_size(rows->dtype);
}

/* `count` lanes, that of query `first` first: each sees the keys low <= j < seen. The arrays have
 * an entry for each of `width` lanes; lanes beyond `count` repeat the last, so that neither
 * decreases. begin <= j < end: the tiles of keys that any of them sees. */
typedef struct mta_lanes {
    int64_t first, count, width, begin, end;
    int64_t *seen, *low;
} mta_lanes;

static inline void mta_lanes_set(const mta_job *job, mta_lanes *lanes, int64_t first, int64_t count)
{
    lanes->first = first;
    lanes->count = count;
    lanes->width = mta_up(count, MTA_PAD);
    const int64_t last = mta_min(job->N, first + count) - 1;
    for (int64_t i = 0; i < lanes->width; i++) {
        const int64_t query = mta_min(first + i, last);
        int64_t low = 0, high = 0;
        if (query >= 0)
            rapt_score_sees(&job->options, query, &low, &high);
        lanes->seen[i] = mta_max(0, high);
        lanes->low[i] = mta_max(0, mta_min(low, lanes->seen[i]));
    }
    lanes->begin = lanes->low[0] / MTA_KEYS * MTA_KEYS;
    lanes->end = lanes->seen[lanes->width - 1];
}

static inline void mta_rows_from(mta_rows *rows, int64_t row)
{
    if (rows->data)
        rows->data += row * rows->row * (int64_t)rapt_dtype_size(rows->dtype);
}

static inline void mta_view_from(rapt_score_view *view, int dimension, int64_t at)
{
    if (view->data)
        view->data += at * view->stride[dimension] * (int64_t)rapt_dtype_size(view->dtype);
}

/* The call for the sequence that a block belongs to; returns the number of the block in it. */
static inline int64_t mta_of_block(const mta_job *job, int64_t block, mta_job *own)
{
    int64_t low = 0, high = job->n_spans - 1;
    *own = *job;
    while (low < high) { /* the last that begins at or before it: those without blocks come first */
        const int64_t middle = (low + high + 1) / 2;
        if (job->spans[middle].block <= block)
            low = middle;
        else
            high = middle - 1;
    }
    const mta_span *span = &job->spans[low];
    own->options.cu_q.given = 0;
    own->N = own->options.N = span->n;
    own->M = own->options.M = span->m;
    mta_rows *const queries[] = {&own->q, &own->o, &own->d_o, &own->dq};
    mta_rows *const keys[] = {&own->k, &own->v};
    for (int i = 0; i < 4; i++)
        mta_rows_from(queries[i], span->q);
    for (int i = 0; i < 2; i++)
        mta_rows_from(keys[i], span->k);
    mta_view_from(&own->bias, 2, span->q);
    mta_view_from(&own->bias, 3, span->k);
    mta_view_from(&own->d_bias, 2, span->q);
    mta_view_from(&own->d_bias, 3, span->k);
    mta_view_from(&own->d_lse, 2, span->q);
    own->lse = job->lse ? job->lse + span->q : NULL;
    own->matrix = job->matrix ? job->matrix + span->q * job->all_m + span->k : NULL;
    own->dk_parts = job->dk_parts ? job->dk_parts + span->k * job->Dp : NULL;
    own->dv_parts = job->dv_parts ? job->dv_parts + span->k * job->Ep : NULL;
    return block - span->block;
}

/* --- A worker's memory ----------------------------------------------------------------------- */

typedef struct mta_area {
    float *rows;         /* queries of all lanes of S, Dp each; or dO, Ep each */
    float *columns;      /* the same as columns */
    float *k, *v;        /* tiles of keys and values, where they cannot be read in place */
    float *score;        /* S: a tile with its halo; backward: a strip for each head */
    float *weight;       /* S', then P: a strip for each head */
    float *tile;         /* a tile for each head */
    float *mixed;        /* a tile */
    float *o;            /* rows of o of each head, Ep each */
    float *most, *share; /* greatest score, 1 / sum: `lanes` for each head */
    float *factors;      /* of the heads in each head's mixture: `lanes` for each pair */
    int64_t *seen;       /* mta_lanes.seen and low of the lanes of S, P and others */
    float *sunk;         /* what of each row is the sink's: `lanes` for each head */
    /* backward */
    float *g, *t;    /* gradients of P', and of P, then S': a strip for each head; g may be t */
    float *weighted; /* P': a tile for each head */
    float *do_rows;  /* dO of the block, Ep each, and as columns: for each head */
    float *do_columns;
    float *q_rows; /* queries of the block, Dp each */
    float *dq;
    float *d_qk, *d_post, *d_mix; /* a vector for each tap of one head; of a group */
    float *delta, *d_lse;         /* `lanes` */
} mta_area;

/* The memory of lane set `i` of a block. */
static inline mta_lanes mta_lane_set(const mta_job *job, const mta_area *area, int i)
{
    mta_lanes lanes = {.seen = area->seen + 2 * i * job->s_lanes,
                       .low = area->seen + (2 * i + 1) * job->s_lanes};
    return lanes;
}

static inline float *mta_take(char *base, int64_t *used, int64_t floats)
{
    float *taken = base ? (float *)(void *)(base + *used) : NULL;
    *used += mta_up(floats * (int64_t)sizeof(float), 64);
    return taken;
}

/* Lays out a worker's memory at `base` (NULL: only counts) and returns its bytes. */
static inline int64_t mta_area_at(const mta_job *job, char *base, mta_area *area)
{
    const int64_t c = job->mixed, tile = MTA_KEYS * job->lanes;
    const int backward = job->call->phase == RAPT_BACKWARD;
    int64_t used = 0;
    area->rows = mta_take(base, &used, job->s_lanes * mta_max(job->Dp, job->Ep));
    area->columns = mta_take(base, &used, job->s_lanes * job->Dp);
    area->k = mta_take(base, &used, (MTA_KEYS + 2 * job->qk.half) * job->Dp);
    area->v = mta_take(base, &used, MTA_KEYS * job->Ep);
    area->score = mta_take(base, &used, job->s_rows * job->s_lanes * (backward ? c : 1));
    area->weight = mta_take(base, &used, c * job->strip);
    area->tile = mta_take(base, &used, c * tile);
    area->mixed = mta_take(base, &used, tile);
    area->o = mta_take(base, &used, c * job->rows * job->Ep);
    area->most = mta_take(base, &used, c * job->lanes);
    area->share = mta_take(base, &used, c * job->lanes);
    area->factors = mta_take(base, &used, job->mix ? c * c * job->lanes : 0);
    area->seen = (int64_t *)(void *)mta_take(base, &used, 4 * MTA_LANE_SETS * job->s_lanes);
    area->sunk = mta_take(base, &used, c * job->lanes);
    if (!backward)
        return used;
    area->t = mta_take(base, &used, c * job->strip);
    area->g = job->post.taps ? mta_take(base, &used, c * job->strip) : area->t;
    area->weighted = mta_take(base, &used, c * tile);
    area->do_rows = mta_take(base, &used, c * job->rows * job->Ep);
    area->do_columns = mta_take(base, &used, c * job->Ep * job->lanes);
    area->q_rows = mta_take(base, &used, job->rows * job->Dp);
    area->dq = mta_take(base, &used, job->rows * job->Dp);
    area->d_qk = mta_take(base, &used, job->qk.rows * job->qk.columns * MTA_PAD);
    area->d_post = mta_take(base, &used, job->post.rows * job->post.columns * MTA_PAD);
    area->d_mix = mta_take(base, &used, c * c * MTA_PAD);
    area->delta = mta_take(base, &used, job->lanes);
    area->d_lse = mta_take(base, &used, job->lanes);
    return used;
}

/* The first row of key 0 of a head's strip: rows of zeros before it serve the kernels' reach. */
static inline float *mta_strip(const mta_job *job, float *strips, int64_t member)
{
    return strips + member * job->strip + mta_max(job->qk.half, job->post.half) * job->lanes;
}

#endif
