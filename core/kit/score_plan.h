/*
 * kit/score_plan.h - what one call of a score operator works on, and how the work is divided.
 *
 * Part of kit/score.h. Depends on sizes, strides and attributes only: not on the CPU level, and not
 * on the number of threads (which decides the number of scratch areas and nothing else).
 */
#ifndef RAPT_KIT_SCORE_PLAN_H
#define RAPT_KIT_SCORE_PLAN_H

#include "score_options.h"

enum {
    RAPT_SCORE_ROWS = 64,   /* queries of a tile; a multiple of every SIMD_LANES */
    RAPT_SCORE_KEYS = 64,   /* keys of a tile */
    RAPT_SCORE_FEW = 4,     /* up to so many queries the decoding path is taken */
    RAPT_SCORE_CHUNK = 512, /* keys of one task of the decoding path */
    RAPT_SCORE_PAD = 16,    /* feature rows are padded to a multiple: the widest vector */
    RAPT_SCORE_GROUP = 4    /* most row blocks of one forward task */
};

typedef struct rapt_score_code rapt_score_code;

typedef struct rapt_score {
    rapt_call *call;
    int64_t B, H, G, N, M, D, E;
    int64_t Dp, Ep; /* D and E padded */
    float scale;
    rapt_score_options options;
    rapt_score_view q, k, v, bias, o, grad_o;
    rapt_score_view grad_q, grad_k, grad_v, grad_bias;
    rapt_score_view rest; /* what rounding took from o; half precision, when it is saved */
    float *matrix;        /* weights: B H N M */
    float *row_reference, *row_sum; /* B H N, or NULL */
    float *lse;                     /* B H N, or NULL */
    const float *grad_lse;          /* B H N, or NULL */
    int64_t row_blocks, key_blocks; /* tiles along N and M */
    int64_t group, row_groups;      /* forward: row blocks of a task, tasks a head */
    int few;                        /* forward: the decoding path */
    int64_t chunks;                 /* of RAPT_SCORE_CHUNK keys */
    int64_t parts;                  /* backward: tasks a head */
    int64_t span, spans;            /* key blocks handled together, number of these */
    int wants_q;                    /* backward: the gradient of the rows of q is of use */
    int q_direct;                   /* backward adds up in grad_q itself */
    size_t area;                    /* floats of one worker's scratch */
    float *areas, *delta, *q_parts, *k_heads, *v_heads, *partials;
    double *alibi_parts; /* backward: shares of a task in the gradient of alibi, by task */
} rapt_score;

/* What the hooks are told of where a vector of scores lies. */
typedef struct score_site {
    const rapt_score *score;
    int64_t batch, head;
} score_site;

/* --- Visibility ------------------------------------------------------------------------------- */

/* The keys lo <= j < hi that query i sees; returns the key position that it stands at. */
static inline int64_t rapt_score_visible(const rapt_score *score, int64_t i, int64_t *lo,
                                         int64_t *hi)
{
    return rapt_score_sees(&score->options, i, lo, hi);
}

typedef enum rapt_score_seen {
    RAPT_SCORE_SKIP, /* no query of the tile sees a key of it */
    RAPT_SCORE_FULL, /* every query sees every key */
    RAPT_SCORE_MIXED
} rapt_score_seen;

/* What the queries of one row block see. Rows beyond the last repeat it. */
typedef struct rapt_score_rows {
    int64_t first, count;
    int64_t lo[RAPT_SCORE_ROWS], hi[RAPT_SCORE_ROWS];
    int64_t at[RAPT_SCORE_ROWS]; /* key positions that the queries stand at */
    int64_t least_lo, most_lo, least_hi, most_hi;
} rapt_score_rows;

static inline void rapt_score_rows_at(const rapt_score *score, int64_t block, rapt_score_rows *rows)
{
    rows->first = block * RAPT_SCORE_ROWS;
    rows->count = rapt_score_min(RAPT_SCORE_ROWS, score->N - rows->first);
    rows->least_lo = rows->least_hi = score->M;
    rows->most_lo = rows->most_hi = 0;
    for (int64_t r = 0; r < RAPT_SCORE_ROWS; r++) {
        const int64_t i = rows->first + rapt_score_min(r, rows->count - 1);
        int64_t lo, hi;
        rows->at[r] = rapt_score_visible(score, i, &lo, &hi);
        rows->lo[r] = lo;
        rows->hi[r] = hi;
        rows->least_hi = rapt_score_min(rows->least_hi, hi);
        rows->most_lo = rapt_score_max(rows->most_lo, lo);
        if (lo < hi) {
            rows->least_lo = rapt_score_min(rows->least_lo, lo);
            rows->most_hi = rapt_score_max(rows->most_hi, hi);
        }
    }
}

/* Can a row block see any of the keys begin <= j < end? */
static inline int rapt_score_meets(const rapt_score *score, int64_t block, int64_t begin,
                                   int64_t end)
{
    const int64_t first = block * RAPT_SCORE_ROWS;
    const int64_t last = rapt_score_min(score->N, first + RAPT_SCORE_ROWS) - 1;
    int64_t lo, hi, unused;
    rapt_score_visible(score, first, &lo, &unused);
    rapt_score_visible(score, last, &unused, &hi);
    return lo < end && begin < hi;
}

/* The tile of these rows and the keys begin <= j < end. */
static inline rapt_score_seen rapt_score_tile(const rapt_score_rows *rows, int64_t begin,
                                              int64_t end)
{
    if (begin >= rows->most_hi || end <= rows->least_lo)
        return RAPT_SCORE_SKIP;
    return rows->most_lo <= begin && rows->least_hi >= end ? RAPT_SCORE_FULL : RAPT_SCORE_MIXED;
}

/* The key block range that a row block visits. */
static inline int64_t rapt_score_first_block(const rapt_score_rows *rows)
{
    return rows->least_lo / RAPT_SCORE_KEYS;
}

static inline int64_t rapt_score_end_block(const rapt_score_rows *rows)
{
    return rapt_score_up(rows->most_hi, RAPT_SCORE_KEYS) / RAPT_SCORE_KEYS;
}

/* The `round`-th span of key blocks of a backward task: there and back, so that in causal order
 * every task has about the same work. */
static inline int64_t rapt_score_span(const rapt_score *score, int64_t part, int64_t round)
{
    return round * score->parts + (round & 1 ? score->parts - 1 - part : part);
}

/* --- Scratch of one worker -------------------------------------------------------------------- */

/* Memory of a worker, by use. Pointers are NULL where a phase has no use for them. */
typedef struct rapt_score_area {
    float *k, *v;           /* tiles of keys and values: rows padded with zeros */
    float *q_columns;       /* queries, transposed: D x ROWS, scaled */
    float *g_columns;       /* output gradients, transposed: E x ROWS */
    float *q, *g;           /* the same by rows, padded */
    float *score, *weight;  /* tiles KEYS x ROWS */
    float *bias;            /* KEYS x ROWS */
    float *cap;             /* slopes of softcap, KEYS x ROWS */
    double *alibi;          /* where the gradient of this head's slope is added up */
    float *o;               /* ROWS x Ep */
    float *reference, *sum; /* by row */
    float *shrink, *delta;  /* by row */
    float *grad_k, *grad_v; /* as k, v */
    float *grad_bias;       /* KEYS x grad_bias_rows, or grad_bias_rows alone */
    int64_t grad_bias_rows;
} rapt_score_area;

static inline float *rapt_score_take(float *base, size_t *used, int64_t count)
{
    float *result = base ? base + *used : NULL;
    *used += (size_t)rapt_score_up(count, 16);
    return result;
}

/* Divides `base` (NULL: only counts) and returns the number of floats. */
static inline size_t rapt_score_forward_area(const rapt_score *s, float *base, rapt_score_area *a)
{
    const int64_t blocks = s->group;
    size_t used = 0;
    memset(a, 0, sizeof(*a));
    a->k = rapt_score_take(base, &used, RAPT_SCORE_KEYS * s->Dp);
    a->v = rapt_score_take(base, &used, RAPT_SCORE_KEYS * s->Ep);
    a->q_columns = rapt_score_take(base, &used, blocks * s->D * RAPT_SCORE_ROWS);
    a->score = rapt_score_take(base, &used, RAPT_SCORE_KEYS * RAPT_SCORE_ROWS);
    if (s->bias.shape[0])
        a->bias = rapt_score_take(base, &used, RAPT_SCORE_KEYS * RAPT_SCORE_ROWS);
    a->o = rapt_score_take(base, &used, blocks * RAPT_SCORE_ROWS * s->Ep);
    a->reference = rapt_score_take(base, &used, blocks * RAPT_SCORE_ROWS);
    a->sum = rapt_score_take(base, &used, blocks * RAPT_SCORE_ROWS);
    a->shrink = rapt_score_take(base, &used, RAPT_SCORE_ROWS);
    return used;
}

static inline size_t rapt_score_few_area(const rapt_score *s, float *base, rapt_score_area *a)
{
    const int64_t rows = s->G ? s->H / s->G * s->N : 0;
    size_t used = 0;
    memset(a, 0, sizeof(*a));
    a->k = rapt_score_take(base, &used, RAPT_SCORE_KEYS * s->Dp);
    a->v = rapt_score_take(base, &used, RAPT_SCORE_KEYS * s->Ep);
    a->q = rapt_score_take(base, &used, rows * s->Dp);
    a->score = rapt_score_take(base, &used, rows * RAPT_SCORE_KEYS);
    return used;
}

static inline size_t rapt_score_backward_area(const rapt_score *s, float *base, rapt_score_area *a)
{
    const int64_t keys = s->span * RAPT_SCORE_KEYS;
    size_t used = 0;
    memset(a, 0, sizeof(*a));
    a->k = rapt_score_take(base, &used, keys * s->Dp);
    a->v = rapt_score_take(base, &used, keys * s->Ep);
    a->grad_k = rapt_score_take(base, &used, keys * s->Dp);
    a->grad_v = rapt_score_take(base, &used, keys * s->Ep);
    a->q_columns = rapt_score_take(base, &used, s->D * RAPT_SCORE_ROWS);
    a->g_columns = rapt_score_take(base, &used, s->E * RAPT_SCORE_ROWS);
    a->q = rapt_score_take(base, &used, RAPT_SCORE_ROWS * s->Dp);
    a->g = rapt_score_take(base, &used, RAPT_SCORE_ROWS * s->Ep);
    a->score = rapt_score_take(base, &used, RAPT_SCORE_KEYS * RAPT_SCORE_ROWS);
    a->weight = rapt_score_take(base, &used, RAPT_SCORE_KEYS * RAPT_SCORE_ROWS);
    if (s->bias.shape[0])
        a->bias = rapt_score_take(base, &used, RAPT_SCORE_KEYS * RAPT_SCORE_ROWS);
    if (s->options.softcap > 0.0f)
        a->cap = rapt_score_take(base, &used, RAPT_SCORE_KEYS * RAPT_SCORE_ROWS);
    a->reference = rapt_score_take(base, &used, RAPT_SCORE_ROWS);
    a->sum = rapt_score_take(base, &used, RAPT_SCORE_ROWS);
    a->delta = rapt_score_take(base, &used, RAPT_SCORE_ROWS);
    return used;
}

/* Is the bias the same for all keys, for all queries, of a call that has several? */
static inline int rapt_score_bias_flat_keys(const rapt_score *s)
{
    return s->bias.shape[3] == 1 && s->M != 1;
}

static inline int rapt_score_bias_flat_rows(const rapt_score *s)
{
    return s->bias.shape[2] == 1;
}

/* The gradient of a bias is made in slices: one key block of all its rows, or, where it is the same
 * for all keys, one row block. */
static inline int64_t rapt_score_bias_slices(const rapt_score *s)
{
    if (!rapt_score_bias_flat_keys(s))
        return s->key_blocks;
    return rapt_score_bias_flat_rows(s) ? 1 : s->row_blocks;
}

static inline int64_t rapt_score_bias_tasks(const rapt_score *s)
{
    return s->bias.shape[0] * s->bias.shape[1] * rapt_score_bias_slices(s);
}

static inline size_t rapt_score_bias_area(const rapt_score *s, float *base, rapt_score_area *a)
{
    size_t used = rapt_score_backward_area(s, base, a);
    const int whole = !rapt_score_bias_flat_keys(s) && !rapt_score_bias_flat_rows(s);
    a->grad_bias_rows = whole ? rapt_score_up(s->N, RAPT_SCORE_ROWS) : RAPT_SCORE_ROWS;
    const int64_t keys = rapt_score_bias_flat_keys(s) ? 1 : RAPT_SCORE_KEYS;
    a->grad_bias = rapt_score_take(base, &used, keys * a->grad_bias_rows);
    return used;
}

/* --- The plan --------------------------------------------------------------------------------- */

static inline void rapt_score_divide(rapt_score *s)
{
    const int64_t heads = rapt_score_max(1, s->B * s->H);
    s->row_blocks = rapt_score_up(s->N, RAPT_SCORE_ROWS) / RAPT_SCORE_ROWS;
    s->key_blocks = rapt_score_up(s->M, RAPT_SCORE_KEYS) / RAPT_SCORE_KEYS;

    /* Forward: a task's row blocks share the tiles of keys; but there should be many tasks. */
    s->group = RAPT_SCORE_GROUP;
    while (s->group > 1 && heads * (s->row_blocks / s->group) < 64)
        s->group /= 2;
    s->row_groups = rapt_score_up(s->row_blocks, s->group) / s->group;

    s->few =
        s->call->phase != RAPT_BACKWARD && s->call->phase != RAPT_WEIGHTS && s->N <= RAPT_SCORE_FEW;
    s->chunks = rapt_score_max(1, rapt_score_up(s->M, RAPT_SCORE_CHUNK) / RAPT_SCORE_CHUNK);

    /* Backward: each part of a head adds up its own gradient of q, so parts cost memory. The tiles
     * of a span and their gradients should stay in the second-level cache. */
    const int64_t block = RAPT_SCORE_KEYS * 2 * (s->Dp + s->Ep) * (int64_t)sizeof(float);
    s->parts = rapt_score_min(rapt_score_up(32, heads) / heads, 8);
    s->parts = rapt_score_max(1, rapt_score_min(s->parts, s->key_blocks));
    s->span = rapt_score_min(s->key_blocks / (2 * s->parts), 262144 / rapt_score_max(1, block));
    s->span = rapt_score_max(1, s->span);
    s->spans = rapt_score_up(s->key_blocks, s->span) / s->span;
}

/* What forward saved, or is to save. */
static inline void rapt_score_bind_saved(rapt_score *s, const rapt_call *call)
{
    if (!call->saved)
        return;
    s->row_reference = rapt_score_floats(call->saved[0]);
    s->row_sum = rapt_score_floats(call->saved[1]);
    if (call->kernel->n_saved > 2)
        s->rest = rapt_score_view_of(call->saved[2]);
}

static inline void rapt_score_prepare(rapt_score *s, rapt_call *call)
{
    const int64_t *size = call->sizes;
    memset(s, 0, sizeof(*s));
    s->call = call;
    s->B = size['B'], s->H = size['H'], s->G = size['G'];
    s->N = size['N'], s->M = size['M'], s->D = size['D'];
    s->E = size['E'] < 0 ? 0 : size['E']; /* `weights` is called without values */
    s->Dp = rapt_score_up(s->D, RAPT_SCORE_PAD);
    s->Ep = rapt_score_up(s->E, RAPT_SCORE_PAD);
    const rapt_value *scale = rapt_score_attr(call, "scale");
    s->scale = scale ? (float)scale->f : 1.0f;
    s->q = rapt_score_input(call, "q");
    s->k = rapt_score_input(call, "k");
    s->v = rapt_score_input(call, "v");
    s->bias = rapt_score_input(call, "bias");
    rapt_score_bind_options(&s->options, call);
    rapt_score_divide(s);
    if (call->phase == RAPT_BACKWARD) {
        s->o = rapt_score_view_of(call->outputs[0]);
        s->grad_o = rapt_score_view_of(call->grad_outputs[0]);
        s->grad_lse = rapt_score_floats(rapt_score_lse(call, call->grad_outputs));
        s->grad_q = rapt_score_grad(call, "q");
        s->grad_k = rapt_score_grad(call, "k");
        s->grad_v = rapt_score_grad(call, "v");
        s->grad_bias = rapt_score_grad(call, "bias");
        rapt_score_bind_saved(s, call);
        s->wants_q = s->grad_q.given || s->options.grad_tau_q.given;
        s->q_direct =
            s->parts == 1 && s->Dp == s->D && call->dtype == RAPT_F32 && !s->options.tau_q.given;
    } else if (call->phase == RAPT_WEIGHTS) {
        s->matrix = rapt_score_floats(call->outputs[0]);
    } else {
        s->o = rapt_score_view_of(call->outputs[0]);
        s->lse = rapt_score_floats(rapt_score_lse(call, (const rapt_view *const *)call->outputs));
        rapt_score_bind_saved(s, call);
    }
}

/* Lays the call's workspace out from `base`; NULL only counts. Returns bytes. */
static inline size_t rapt_score_layout(rapt_score *s, float *base)
{
    const int64_t heads = s->B * s->H;
    rapt_score_area unused;
    size_t used = 0;
    if (s->call->phase == RAPT_BACKWARD) {
        const size_t plain = rapt_score_backward_area(s, NULL, &unused);
        const size_t bias = rapt_score_bias_area(s, NULL, &unused);
        s->area = s->bias.shape[0] && bias > plain ? bias : plain;
        s->delta = rapt_score_take(base, &used, heads * s->N);
        if (!s->q_direct)
            s->q_parts = rapt_score_take(base, &used, s->parts * heads * s->N * s->Dp);
        if (s->H != s->G) {
            s->k_heads = rapt_score_take(base, &used, heads * s->M * s->Dp);
            s->v_heads = rapt_score_take(base, &used, heads * s->M * s->Ep);
        }
        if (s->options.has_alibi)
            s->alibi_parts = (double *)(void *)rapt_score_take(base, &used, heads * s->parts * 2);
    } else if (s->few) {
        s->area = rapt_score_few_area(s, NULL, &unused);
        s->partials = rapt_score_take(base, &used, heads * s->N * s->chunks * (s->Ep + 2));
    } else {
        s->area = rapt_score_forward_area(s, NULL, &unused);
    }
    s->areas = rapt_score_take(base, &used, (int64_t)s->area * s->call->host->workers());
    return used * sizeof(float);
}

static inline size_t rapt_score_bytes(rapt_score *s)
{
    return rapt_score_layout(s, NULL);
}

static inline void rapt_score_place(rapt_score *s, void *workspace)
{
    rapt_score_layout(s, (float *)workspace);
}

#endif
