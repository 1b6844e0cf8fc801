/*
 * A call of mta on a Vulkan device, laid out.
 *
 * The matrix is made stripe by stripe: `rows` queries of some units (heads of batches, whole groups
 * of those that are mixed), against all keys that they see, with the queries around them that the
 * kernels reach (the halo), which are computed again. A matrix of a stripe has at most
 * MTA_STRIPE floats, unless one group of heads alone needs more: memory is linear in N and M.
 *
 * Rows of the matrices of a stripe that owns the queries from i on, as on the CPU:
 *
 *     s  scores               from i - post.reach - qk.reach
 *     p  logits (weights)     from i - post.reach
 *     g  gradients of P''     from i, on to post.reach + qk.reach behind     (backward)
 *     t  gradients of logits  from i, on to qk.reach behind                  (backward)
 *
 * Backward needs s and p on to qk.reach behind, too. s holds P' in forward once the scores are
 * convolved, t holds it in backward before it is needed, and g the gradients of scores at the end.
 */
#ifndef RAPT_MTA_VULKAN_PLAN_H
#define RAPT_MTA_VULKAN_PLAN_H

#include "vulkan_options.h"

enum {
    MTA_STRIPE = 1 << 24, /* floats of a matrix of a stripe */
    MTA_HEIGHT = 128,     /* rows of it, where the halo leaves room */
    MTA_TILE = 64,        /* rows and columns of a product's tile */
    MTA_GROUPS = 1024,    /* workgroups that fill a device */
    MTA_SPLIT = 256,      /* fewest keys of a split */
    MTA_SLOT_ROWS = 16,   /* of the sums of kernels' gradients */
    MTA_SLOT_KEYS = 512,
    MTA_WINDOW_ROWS = 32,   /* of a tile of convolutions and their gradients (window.glsl) */
    MTA_PIECE_ROWS = 4,     /* most rows and columns of a piece of a kernel: of its gradient, */
    MTA_PIECE_COLUMNS = 16, /* of both */
    MTA_MOST = 1 << 29      /* positions that indices are safe for */
};

/* Rows and columns of a convolution's kernels; 1 x 1 where absent. */
typedef struct mta_taps {
    bool there;
    int64_t rows, columns, reach, half;
} mta_taps;

typedef struct mta_plan {
    rapt_call *call;
    rapt_vulkan device;
    int64_t B, H, G, N, M, D, E, mixed;
    bool mix, backward;
    mta_taps qk, post;
    mta_options options;
    int64_t first;        /* queries before it are not asked for */
    int64_t rows, height; /* queries that a stripe owns; rows of its matrices */
    int64_t slots;
    rapt_vulkan_range taps_qk, taps_post, mixture, stats, part, s, p, g, t;
    rapt_vulkan_range dk, dv, d_qk, d_post, d_mix, d_alibi, d_sink, d_bias;
    rapt_vulkan_range sees, rising; /* what queries see; borders as they are used */
    uint64_t bytes;
} mta_plan;

/* Some units against some queries. */
typedef struct mta_stripe {
    int64_t own, count;   /* queries */
    int64_t unit0, units; /* `units` is what a step across them is; the last may have fewer */
    int64_t ld;           /* of the matrices */
    int64_t begin, end;   /* keys that the owned queries see; `begin` is a multiple of MTA_TILE */
    int64_t stripe_slots;
} mta_stripe;

/* Query i sees no key from there on. */
static inline int64_t mta_seen(const mta_plan *plan, int64_t i)
{
    const mta_options *options = &plan->options;
    i = rapt_least(i, plan->N - 1);
    if (options->right < 0 || options->sight & MTA_PACKED)
        return plan->M;
    return mta_clamp(i + plan->M - plan->N + options->right + 1, 0, plan->M);
}

/* Nor before that. */
static inline int64_t mta_low(const mta_plan *plan, int64_t i)
{
    const mta_options *options = &plan->options;
    if (options->left < 0 || options->sight & MTA_PACKED)
        return 0;
    return mta_clamp(i + plan->M - plan->N - options->left, 0, plan->M);
}

static inline mta_taps mta_taps_of(const rapt_view *kernel, int64_t queries)
{
    mta_taps taps = {kernel != NULL, 1, 1, 0, 0};
    if (kernel) {
        taps.rows = kernel->shape[1];
        taps.columns = kernel->shape[2];
        taps.reach = rapt_least(taps.rows - 1, queries);
        taps.half = (taps.columns - 1) / 2;
    }
    return taps;
}

/* Splits of the keys of a stripe for a result of `width` features: enough workgroups. */
static inline int64_t mta_splits(const mta_stripe *stripe, int64_t width, int64_t *keys)
{
    const int64_t tiles = rapt_most(1, stripe->units * rapt_over(stripe->count, MTA_TILE) *
                                           rapt_over(width, MTA_TILE));
    const int64_t all = rapt_most(0, stripe->end - stripe->begin);
    const int64_t most = rapt_over(all, MTA_SPLIT);
    const int64_t wanted = rapt_most(1, rapt_least(MTA_GROUPS / tiles, most));
    *keys = rapt_most(1, rapt_over(rapt_over(all, wanted), MTA_TILE)) * MTA_TILE;
    return rapt_most(1, rapt_over(all, *keys));
}

/* The stripe of block `index`, at its first units. */
static inline mta_stripe mta_stripe_at(const mta_plan *plan, int64_t index)
{
    mta_stripe stripe;
    stripe.own = plan->first + index * plan->rows;
    stripe.count = rapt_least(plan->rows, plan->N - stripe.own);
    const int64_t last = stripe.own + stripe.count - 1;
    const int64_t ahead = plan->backward ? plan->qk.reach + plan->post.reach : 0;
    stripe.ld = rapt_over(rapt_most(1, mta_seen(plan, last + ahead)), 16) * 16;
    stripe.begin = mta_low(plan, stripe.own) / MTA_TILE * MTA_TILE;
    stripe.end = mta_seen(plan, last);
    const int64_t group = plan->mixed * plan->height * stripe.ld;
    stripe.unit0 = 0;
    stripe.units = rapt_least(rapt_most(1, MTA_STRIPE / group) * plan->mixed, plan->B * plan->H);
    stripe.stripe_slots = rapt_most(1, rapt_over(stripe.end, MTA_SLOT_KEYS));
    return stripe;
}

static inline int64_t mta_blocks(const mta_plan *plan)
{
    return rapt_over(plan->N - plan->first, plan->rows);
}

static inline rapt_vulkan_buffer mta_buffer(const mta_plan *plan, rapt_vulkan_range part)
{
    return rapt_vulkan_part(plan->call, part.offset, part.bytes);
}

/* Takes a * b * c * d floats; too many to bind or count leave plan->bytes at UINT64_MAX. */
static inline rapt_vulkan_range mta_place(mta_plan *plan, int64_t a, int64_t b, int64_t c,
                                          int64_t d)
{
    return rapt_vulkan_place(&plan->device, &plan->bytes, a, b, c, d);
}

/* How many rows a stripe owns and holds: those that fit a binding, for the widest. */
static inline void mta_choose_rows(mta_plan *plan)
{
    const int64_t around = plan->qk.reach * (plan->backward ? 2 : 1) + plan->post.reach;
    const int64_t halo = rapt_least(around, plan->N);
    const int64_t most = (int64_t)(plan->device.limits->buffer_bytes / sizeof(float));
    const int64_t ld = rapt_over(rapt_most(1, plan->M), 16) * 16;
    int64_t rows = rapt_most(MTA_HEIGHT, rapt_over(halo + MTA_TILE, MTA_TILE) * MTA_TILE) - halo;
    rows = rapt_most(1, rapt_least(rows, plan->N - plan->first));
    while (rows > 1 && rapt_least(rows + halo, plan->N) > most / (ld * plan->mixed))
        rows = rows / 2;
    plan->rows = rows;
    plan->height = rapt_most(1, rapt_least(rows + halo, plan->N));
}

static inline void mta_place_backward(mta_plan *plan, int64_t matrix)
{
    rapt_view *const *grads = plan->call->grad_inputs;
    const int64_t units = plan->B * plan->H;
    plan->g = mta_place(plan, matrix, 1, 1, 1);
    plan->t = mta_place(plan, matrix, 1, 1, 1);
    plan->dk = mta_place(plan, units, plan->M, grads[MTA_K] ? plan->D : 0, 1);
    plan->dv = mta_place(plan, units, plan->M, grads[MTA_V] ? plan->E : 0, 1);
    plan->d_qk = mta_place(plan, units, plan->slots, plan->qk.rows * plan->qk.columns,
                           grads[MTA_QK_KERNEL] != NULL);
    plan->d_post = mta_place(plan, units, plan->slots, plan->post.rows * plan->post.columns,
                             grads[MTA_QK_KERNEL_POST] != NULL);
    plan->d_mix = mta_place(plan, units, plan->slots, plan->mixed, grads[MTA_HEAD_KERNEL] != NULL);
    plan->d_alibi = mta_place(plan, units, plan->slots, grads[MTA_ALIBI] != NULL, 1);
    plan->d_sink = mta_place(plan, units, plan->rows, grads[MTA_SINK] != NULL, 1);
    if (!grads[MTA_BIAS])
        return;
    mta_options *options = &plan->options;
    options->row_slots = options->bias[2] == 1 ? rapt_over(plan->rows, MTA_SLOT_ROWS) : 1;
    options->key_slots =
        options->bias[3] == 1 ? rapt_most(1, rapt_over(plan->M, MTA_SLOT_KEYS)) : 1;
    plan->d_bias =
        mta_place(plan, options->bias[0] * options->bias[1],
                  options->row_slots * options->key_slots, options->bias[2], options->bias[3]);
}

/* Lays out the workspace; its size is plan->bytes, UINT64_MAX if a part does not fit a binding. */
static inline void mta_place_all(mta_plan *plan)
{
    int64_t matrix = 0, parts = 0, keys;
    for (int64_t i = 0; i < mta_blocks(plan); i++) {
        const mta_stripe stripe = mta_stripe_at(plan, i);
        const int64_t each = stripe.units * stripe.count;
        matrix = rapt_most(matrix, stripe.units * plan->height * stripe.ld);
        parts = rapt_most(parts, each * plan->E * mta_splits(&stripe, plan->E, &keys));
        if (plan->backward)
            parts = rapt_most(parts, each * plan->D * mta_splits(&stripe, plan->D, &keys));
    }
    const int64_t units = plan->B * plan->H;
    plan->slots =
        rapt_over(plan->rows, MTA_SLOT_ROWS) * rapt_most(1, rapt_over(plan->M, MTA_SLOT_KEYS));
    plan->bytes = 0;
    plan->taps_qk = mta_place(plan, plan->H, plan->qk.rows, plan->qk.columns, plan->qk.there);
    plan->taps_post =
        mta_place(plan, plan->H, plan->post.rows, plan->post.columns, plan->post.there);
    plan->mixture = mta_place(plan, plan->H, plan->mixed, plan->mix, 1);
    plan->stats = mta_place(plan, units, plan->height, 4, 1);
    plan->part = mta_place(plan, rapt_most(0, parts), 1, 1, 1);
    plan->s = mta_place(plan, matrix, plan->qk.there || plan->post.there, 1, 1);
    plan->p = mta_place(plan, matrix, 1, 1, 1);
    plan->sees = mta_place(plan, plan->N, plan->options.sight != 0, 4, 1);
    plan->rising = mta_place(plan, plan->options.borders, 2, 1, 1);
    if (plan->backward)
        mta_place_backward(plan, matrix);
}

/* Lays out a call over N queries and M keys, of which the queries from `first` on are asked for. */
static inline rapt_status mta_plan_call(rapt_call *call, mta_plan *plan)
{
    const rapt_view *mix = call->inputs[MTA_HEAD_KERNEL];
    const bool step = call->phase == RAPT_STEP;
    memset(plan, 0, sizeof *plan);
    const rapt_status status = rapt_vulkan_begin(call, &plan->device);
    if (status != RAPT_OK)
        return status;
    plan->call = call;
    plan->B = call->sizes['B'];
    plan->H = call->sizes['H'];
    plan->G = call->sizes['G'];
    plan->N = step ? call->position + 1 : call->sizes['N'];
    plan->M = step ? call->position + 1 : call->sizes['M'];
    plan->D = call->sizes['D'];
    plan->E = call->phase == RAPT_WEIGHTS ? 0 : call->sizes['E'];
    plan->first = step ? call->position : 0;
    mta_take_options(call, plan->N, plan->M, &plan->options);
    plan->backward = call->phase == RAPT_BACKWARD;
    plan->qk = mta_taps_of(call->inputs[MTA_QK_KERNEL], plan->N);
    plan->post = mta_taps_of(call->inputs[MTA_QK_KERNEL_POST], plan->N);
    plan->mix = mix != NULL;
    plan->mixed = mix ? mix->shape[1] : 1;
    if (plan->N > MTA_MOST || plan->M > MTA_MOST || plan->qk.rows > MTA_MOST ||
        plan->qk.columns > MTA_MOST || plan->post.rows > MTA_MOST || plan->post.columns > MTA_MOST)
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "N is %lld and M %lld; this kernel and its convolutions reach %d "
                                 "positions at most",
                                 (long long)plan->N, (long long)plan->M, MTA_MOST);
    if (plan->mixed < 1)
        plan->mixed = 1;
    mta_choose_rows(plan);
    mta_place_all(plan);
    if (plan->bytes == UINT64_MAX)
        return call->host->error(
            call, RAPT_UNSUPPORTED,
            "rows of %lld keys of %lld heads that are mixed, or a gradient, do not fit a buffer of "
            "this device (%llu bytes)",
            (long long)plan->M, (long long)plan->mixed,
            (unsigned long long)plan->device.limits->buffer_bytes);
    return RAPT_OK;
}

#endif
