/*
 * kit/score_vulkan.h - the score driver on Vulkan: the formulas, options and saved tensors of
 * kit/score.h and kit/score_options.h, its passes being the shaders of shaders/kit/score*.glsl.
 *
 * Writing an operator takes its hooks in GLSL, shaders/OP/score.comp:
 *
 *     #version 450
 *     #extension GL_GOOGLE_include_directive : require
 *     #include "kit/score.glsl"
 *     #define SCORE_LOGIT
 *     #define SCORE_FACTOR
 *     float score_logit(score_site at, float s)       { return abs(s); }
 *     float score_logit_slope(score_site at, float s) { return sign(s); }
 *     float score_factor(score_site at, float s)      { return sign(s); }
 *     #include "kit/score_pass.glsl"
 *
 * compiled once for each pass and storage width (-DSCORE_PASS=0 to 9, with and without -DRAPT_HALF)
 * to arrays OP_score_PASS_f32 and OP_score_PASS_half, and those that work on tiles (forward,
 * weights, queries, keys, bias) with -DRAPT_LEAN too, to OP_score_PASS_f32_lean and ..._half_lean;
 * vulkan.c:
 *
 *     #include "kit/score_vulkan.h"
 *     #include "OP_score_forward_f32.h" ...
 *     RAPT_SCORE_VULKAN_FUNCTIONS(OP);
 *
 * and in the description RAPT_SCORE_VULKAN_DECLARE(OP) and RAPT_SCORE_VULKAN_KERNELS(OP, keep).
 *
 * All sums are taken in a fixed order and work is split by sizes alone. What packed sequences begin
 * and end at lies in the device's memory: borders that are none are held within the tensors, not
 * refused. Heads have at most RAPT_SCORE_VULKAN_FEATURES features.
 */
#ifndef RAPT_KIT_SCORE_VULKAN_H
#define RAPT_KIT_SCORE_VULKAN_H

#include "score_args.h"
#include "vulkan.h"

enum {
    RAPT_SCORE_VULKAN_FEATURES = 256, /* most of q and k, and of v */
    RAPT_SCORE_VULKAN_OTHERS = 64,    /* columns of a tile */
    RAPT_SCORE_VULKAN_GROUPS = 512,   /* workgroups that fill a large device */
    RAPT_SCORE_VULKAN_PART = 128,     /* least keys of a part of few queries' pass */
    RAPT_SCORE_VULKAN_LARGEST = 1 << 30
};

/* SCORE_* of shaders/kit/score.glsl. */
typedef enum rapt_score_vulkan_pass {
    RAPT_SCORE_PASS_FORWARD,
    RAPT_SCORE_PASS_MERGE,
    RAPT_SCORE_PASS_WEIGHTS,
    RAPT_SCORE_PASS_DELTA,
    RAPT_SCORE_PASS_QUERIES,
    RAPT_SCORE_PASS_KEYS,
    RAPT_SCORE_PASS_BIAS,
    RAPT_SCORE_PASS_SUM,
    RAPT_SCORE_PASS_HEADS,
    RAPT_SCORE_PASS_BORDERS,
    RAPT_SCORE_PASSES
} rapt_score_vulkan_pass;

/* Bits of the specialization constant OPTIONS and of params.wants, as in score.glsl. */
enum {
    RAPT_SCORE_HAS_BIAS = 1,
    RAPT_SCORE_BIAS_IS_F32 = 2,
    RAPT_SCORE_HAS_SOFTCAP = 4,
    RAPT_SCORE_HAS_ALIBI = 8,
    RAPT_SCORE_HAS_SINK = 16,
    RAPT_SCORE_HAS_TAU_Q = 32,
    RAPT_SCORE_HAS_TAU_V = 64,
    RAPT_SCORE_IS_PACKED = 128,
    RAPT_SCORE_UNALIGNED = 256 /* of the passes by cooperative matrices alone */
};
enum {
    RAPT_SCORE_WANTS_STATISTICS = 1,
    RAPT_SCORE_WANTS_LSE = 2,
    RAPT_SCORE_WANTS_REST = 4,
    RAPT_SCORE_WANTS_Q = 8,
    RAPT_SCORE_WANTS_K = 16,
    RAPT_SCORE_WANTS_V = 32,
    RAPT_SCORE_WANTS_TAU_Q = 64,
    RAPT_SCORE_WANTS_TAU_V = 128,
    RAPT_SCORE_WANTS_ALIBI = 256,
    RAPT_SCORE_WANTS_SINK = 512,
    RAPT_SCORE_GIVEN_G = 1024,
    RAPT_SCORE_GIVEN_LSE = 2048,
    RAPT_SCORE_WIDE_Q = 4096,
    RAPT_SCORE_WIDE_K = 8192,
    RAPT_SCORE_WANTS_SCALE = 16384
};

/* Bindings. */
enum {
    RAPT_SCORE_SLOT_Q,
    RAPT_SCORE_SLOT_K,
    RAPT_SCORE_SLOT_V,
    RAPT_SCORE_SLOT_BIAS,
    RAPT_SCORE_SLOT_ALIBI,
    RAPT_SCORE_SLOT_SINK,
    RAPT_SCORE_SLOT_TAU_Q,
    RAPT_SCORE_SLOT_TAU_V,
    RAPT_SCORE_SLOT_REFERENCE,
    RAPT_SCORE_SLOT_SUM,
    RAPT_SCORE_SLOT_WORK,
    RAPT_SCORE_SLOT_A,
    RAPT_SCORE_SLOT_B,
    RAPT_SCORE_SLOT_C,
    RAPT_SCORE_SLOT_G,
    RAPT_SCORE_SLOTS
};

/* Where a tensor [batch, head, position, feature] begins in its binding, and its strides. */
typedef struct rapt_score_vulkan_view {
    uint32_t base, batch, head, row;
} rapt_score_vulkan_view;

/* The block `Call` of score.glsl, field for field. */
typedef struct rapt_score_vulkan_params {
    uint32_t B, H, G, N, M, D, E, share;
    int32_t left, right;
    float scale, softcap;
    uint32_t units, unit_heads, parts, part_keys, wants, borders, row_parts, key_parts;
    uint32_t bias_B, bias_H, bias_N, bias_M;
    uint32_t delta, rows, partials, slopes, greatest;
    rapt_score_vulkan_view q, k, v, g, bias, tau_q, tau_v;
    uint32_t bias_key, alibi, sink, reference, sum;
    uint32_t out[4]; /* of the slots A, B, C, G */
} rapt_score_vulkan_params;

/* An operator's shaders for one storage width, by pass. */
typedef struct rapt_score_vulkan_code {
    rapt_vulkan_shader pass[RAPT_SCORE_PASSES];
} rapt_score_vulkan_code;

/* The same three passes, forward, queries and keys, by cooperative matrices (RAPT_VULKAN_BY_*). */
typedef struct rapt_score_vulkan_coop {
    rapt_vulkan_shader pass[RAPT_VULKAN_WAYS][3];
} rapt_score_vulkan_coop;

/* Where parts of the workspace begin, in bytes. */
typedef struct rapt_score_vulkan_work {
    uint64_t rows, delta, slopes, partials, reference, sum, greatest, bytes;
    uint64_t
        slopes_bytes; /* gradients of queries and of keys see what lies before the slopes alone */
} rapt_score_vulkan_work;

/* Columns of a tile, and the parts that a workgroup is of: two for gradients of wide heads' keys,
 * which are more than the registers of one subgroup hold. */
typedef struct rapt_score_vulkan_tile {
    uint32_t keys, parts; /* keys 0: none fit */
} rapt_score_vulkan_tile;

typedef struct rapt_score_vulkan {
    rapt_vulkan device;
    const rapt_score_vulkan_code *code;
    rapt_score_vulkan_params params;
    rapt_vulkan_buffer buffers[RAPT_SCORE_SLOTS];
    rapt_score_vulkan_work work;
    uint32_t options, rows;             /* constants: OPTIONS, ROWS */
    const rapt_score_vulkan_coop *coop; /* the passes by cooperative matrices; NULL: none */
    const rapt_view *bias;              /* and its gradient's dtype; NULL: none */
} rapt_score_vulkan;

/* --- The plan: sizes and options alone -------------------------------------------------------- */

static inline const rapt_view *rapt_score_vulkan_input(const rapt_call *call, const char *name)
{
    const int i = rapt_score_find_input(call->op, name);
    return i < 0 ? NULL : call->inputs[i];
}

static inline rapt_view *rapt_score_vulkan_grad(const rapt_call *call, const char *name)
{
    const int i = rapt_score_find_input(call->op, name);
    return i < 0 || call->phase != RAPT_BACKWARD ? NULL : call->grad_inputs[i];
}

static inline uint32_t rapt_score_vulkan_options(rapt_score_vulkan *s, const rapt_call *call)
{
    const rapt_value *softcap = rapt_score_attr(call, "softcap");
    uint32_t options = 0;
    s->bias = rapt_score_vulkan_input(call, "bias");
    if (s->bias)
        options |= RAPT_SCORE_HAS_BIAS;
    if (s->bias && rapt_view_dtype(s->bias) == RAPT_F32)
        options |= RAPT_SCORE_BIAS_IS_F32;
    if (softcap && softcap->f > 0.0)
        options |= RAPT_SCORE_HAS_SOFTCAP;
    if (rapt_score_vulkan_input(call, "alibi"))
        options |= RAPT_SCORE_HAS_ALIBI;
    if (rapt_score_vulkan_input(call, "sink"))
        options |= RAPT_SCORE_HAS_SINK;
    if (rapt_score_vulkan_input(call, "tau_q"))
        options |= RAPT_SCORE_HAS_TAU_Q;
    if (rapt_score_vulkan_input(call, "tau_v"))
        options |= RAPT_SCORE_HAS_TAU_V;
    if (rapt_score_vulkan_input(call, "cu_seqlens_q"))
        options |= RAPT_SCORE_IS_PACKED;
    return options;
}

static inline void rapt_score_vulkan_attrs(rapt_score_vulkan_params *p, const rapt_call *call)
{
    const int64_t most = call->sizes['N'] + call->sizes['M'];
    const rapt_value *causal = rapt_score_attr(call, "causal");
    const rapt_value *window = rapt_score_attr(call, "window");
    const rapt_value *softcap = rapt_score_attr(call, "softcap");
    const rapt_value *scale = rapt_score_attr(call, "scale");
    p->left = window ? (int32_t)rapt_score_max(-1, rapt_score_min(window->i[0], most)) : -1;
    p->right = window ? (int32_t)rapt_score_max(-1, rapt_score_min(window->i[1], most)) : -1;
    if (causal && causal->i[0])
        p->right = 0;
    p->softcap = softcap ? (float)softcap->f : 0.0f;
    /* Without features every product is 0, whatever 1/sqrt(0) is. */
    p->scale = !scale ? 1.0f : p->D ? (float)scale->f : 0.0f;
}

static inline uint32_t rapt_score_vulkan_tiles(int64_t n, int64_t each)
{
    return (uint32_t)((n + each - 1) / each);
}

/* Forward: which rows share a workgroup, and in how many parts the keys go. */
static inline void rapt_score_vulkan_divide(rapt_score_vulkan *s, const rapt_call *call)
{
    rapt_score_vulkan_params *p = &s->params;
    p->units = p->H, p->unit_heads = 1, p->parts = 1;
    s->rows = 4;
    if (call->phase == RAPT_FORWARD || call->phase == RAPT_STEP) {
        if (p->N < 32) {
            p->units = p->G;
            p->unit_heads = p->share;
        }
        if (p->N * p->unit_heads <= 8)
            s->rows = 1;
    }
    const int64_t tiles = rapt_score_vulkan_tiles((int64_t)p->N * p->unit_heads, 8 * s->rows);
    const int64_t groups = rapt_score_max(1, tiles * p->units * p->B);
    if (call->phase != RAPT_BACKWARD && groups * 2 <= RAPT_SCORE_VULKAN_GROUPS)
        p->parts = (uint32_t)rapt_score_max(
            1, rapt_score_min(RAPT_SCORE_VULKAN_GROUPS / groups,
                              rapt_score_vulkan_tiles(p->M, RAPT_SCORE_VULKAN_PART)));
    p->part_keys = (uint32_t)rapt_score_up((p->M + (int64_t)p->parts - 1) / p->parts,
                                           RAPT_SCORE_VULKAN_OTHERS);
    p->part_keys = p->part_keys ? p->part_keys : RAPT_SCORE_VULKAN_OTHERS;
    p->parts = (uint32_t)rapt_score_max(1, rapt_score_vulkan_tiles(p->M, p->part_keys));
}

/* The parts of a bias's gradient that go through the tiles it is the same for. */
static inline void rapt_score_vulkan_divide_bias(rapt_score_vulkan *s)
{
    rapt_score_vulkan_params *p = &s->params;
    p->row_parts = p->key_parts = 1;
    if (!s->bias)
        return;
    p->bias_B = (uint32_t)s->bias->shape[0], p->bias_H = (uint32_t)s->bias->shape[1];
    p->bias_N = (uint32_t)s->bias->shape[2], p->bias_M = (uint32_t)s->bias->shape[3];
    const int64_t rows = rapt_score_vulkan_tiles(p->N, 8 * s->rows);
    const int64_t keys = rapt_score_vulkan_tiles(p->M, RAPT_SCORE_VULKAN_OTHERS);
    if (p->bias_N == 1)
        p->row_parts = (uint32_t)rapt_score_max(1, rapt_score_min(rows, 16));
    if (p->bias_M == 1)
        p->key_parts = (uint32_t)rapt_score_max(1, rapt_score_min(keys, 16));
}

static inline uint64_t rapt_score_vulkan_take(uint64_t *used, uint64_t words)
{
    const uint64_t at = *used;
    *used += rapt_vulkan_round(words * 4);
    return at;
}

static inline void rapt_score_vulkan_layout(rapt_score_vulkan *s, const rapt_call *call)
{
    rapt_score_vulkan_params *p = &s->params;
    rapt_score_vulkan_work *w = &s->work;
    const uint64_t rows = (uint64_t)p->B * p->H * p->N;
    memset(w, 0, sizeof *w);
    if (s->options & RAPT_SCORE_IS_PACKED)
        w->rows = rapt_score_vulkan_take(&w->bytes, 3 * (uint64_t)p->N);
    if (call->phase == RAPT_BACKWARD) {
        const uint64_t bias = (uint64_t)p->bias_B * p->bias_H * p->bias_N * p->bias_M;
        const uint64_t parts = (uint64_t)p->row_parts * p->key_parts;
        w->delta = rapt_score_vulkan_take(&w->bytes, rows);
        w->greatest = rapt_score_vulkan_take(&w->bytes, (uint64_t)p->B * p->G);
        const uint64_t tiles = (uint64_t)p->B * p->H * rapt_score_vulkan_tiles(p->N, 8 * s->rows);
        w->slopes = rapt_score_vulkan_take(&w->bytes, tiles);
        w->slopes_bytes = 4 * tiles;
        w->partials = rapt_score_vulkan_take(&w->bytes, parts > 1 ? parts * bias : 0);
    } else {
        if (p->parts > 1)
            w->partials = rapt_score_vulkan_take(&w->bytes, p->parts * rows * (p->E + 2));
        if (call->phase == RAPT_WEIGHTS) {
            w->reference = rapt_score_vulkan_take(&w->bytes, rows);
            w->sum = rapt_score_vulkan_take(&w->bytes, rows);
        }
    }
    p->rows = (uint32_t)(w->rows / 4), p->delta = (uint32_t)(w->delta / 4);
    p->slopes = (uint32_t)(w->slopes / 4), p->partials = (uint32_t)(w->partials / 4);
    p->greatest = (uint32_t)(w->greatest / 4);
}

static inline void rapt_score_vulkan_plan(rapt_score_vulkan *s, const rapt_call *call)
{
    rapt_score_vulkan_params *p = &s->params;
    const int64_t *size = call->sizes;
    memset(s, 0, sizeof *s);
    p->B = (uint32_t)size['B'], p->H = (uint32_t)size['H'], p->G = (uint32_t)size['G'];
    p->N = (uint32_t)size['N'], p->M = (uint32_t)size['M'], p->D = (uint32_t)size['D'];
    p->E = size['E'] < 0 || call->phase == RAPT_WEIGHTS ? 0 : (uint32_t)size['E'];
    p->share = p->G ? p->H / p->G : 0;
    s->options = rapt_score_vulkan_options(s, call);
    rapt_score_vulkan_attrs(p, call);
    rapt_score_vulkan_divide(s, call);
    rapt_score_vulkan_divide_bias(s);
    rapt_score_vulkan_layout(s, call);
}

/* Bytes of workspace of a call, for its phase. [call] */
static inline size_t rapt_score_vulkan_workspace(rapt_call *call)
{
    rapt_score_vulkan s;
    rapt_score_vulkan_plan(&s, call);
    return (size_t)s.work.bytes;
}

/* --- What can run ----------------------------------------------------------------------------- */

static inline rapt_status rapt_score_vulkan_supports(rapt_call *call)
{
    rapt_vulkan device;
    const int64_t D = call->sizes['D'], E = call->sizes['E'];
    const int64_t N = call->sizes['N'], M = call->sizes['M'];
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK && call->dtype != RAPT_F32)
        status = rapt_vulkan_require(&device, RAPT_VULKAN_STORAGE16);
    if (status != RAPT_OK)
        return status;
    if (D > RAPT_SCORE_VULKAN_FEATURES || E > RAPT_SCORE_VULKAN_FEATURES)
        return call->host->error(
            call, RAPT_UNSUPPORTED, "heads have at most %d features here, but D is %lld and E %lld",
            RAPT_SCORE_VULKAN_FEATURES, (long long)D, (long long)(E < 0 ? 0 : E));
    if (N + M > RAPT_SCORE_VULKAN_LARGEST)
        return call->host->error(call, RAPT_UNSUPPORTED, "N + M is at most %d here, but it is %lld",
                                 RAPT_SCORE_VULKAN_LARGEST, (long long)(N + M));
    for (uint32_t i = 0; i < call->op->n_inputs && status == RAPT_OK; i++)
        status = rapt_vulkan_fits(call, device.limits, call->inputs[i]);
    const uint64_t bytes = rapt_score_vulkan_workspace(call);
    if (status == RAPT_OK && bytes > device.limits->buffer_bytes)
        return call->host->error(
            call, RAPT_UNSUPPORTED,
            "the workspace has %llu bytes; one buffer of this device shows at most %llu",
            (unsigned long long)bytes, (unsigned long long)device.limits->buffer_bytes);
    return status;
}

/* --- Bindings --------------------------------------------------------------------------------- */

/* Binds `view` (may be NULL) as `slot`; its first element goes to *base. */
static inline rapt_status rapt_score_vulkan_put(rapt_score_vulkan *s, int slot,
                                                const rapt_view *view, uint32_t *base)
{
    return rapt_vulkan_bind(s->device.call, s->device.limits, view, &s->buffers[slot], base);
}

static inline rapt_status rapt_score_vulkan_put_rows(rapt_score_vulkan *s, int slot,
                                                     const rapt_view *view,
                                                     rapt_score_vulkan_view *target)
{
    uint32_t stride[RAPT_MAX_DIMS] = {0};
    const rapt_status status = rapt_score_vulkan_put(s, slot, view, &target->base);
    if (status != RAPT_OK || !view)
        return status;
    rapt_vulkan_strides(view, stride);
    target->batch = stride[0], target->head = stride[1], target->row = stride[2];
    return RAPT_OK;
}

/* A part of the workspace as a slot of its own, or all of it. */
static inline void rapt_score_vulkan_put_work(rapt_score_vulkan *s, int slot, uint64_t offset,
                                              uint64_t bytes)
{
    if (bytes)
        s->buffers[slot] = rapt_vulkan_part(s->device.call, offset, bytes);
    else
        memset(&s->buffers[slot], 0, sizeof s->buffers[slot]);
}

static inline rapt_status rapt_score_vulkan_inputs(rapt_score_vulkan *s)
{
    rapt_score_vulkan_params *p = &s->params;
    const rapt_call *call = s->device.call;
    const struct {
        const char *name;
        int slot;
        rapt_score_vulkan_view *view;
    } rows[] = {{"q", RAPT_SCORE_SLOT_Q, &p->q},
                {"k", RAPT_SCORE_SLOT_K, &p->k},
                {"v", RAPT_SCORE_SLOT_V, &p->v},
                {"bias", RAPT_SCORE_SLOT_BIAS, &p->bias},
                {"tau_q", RAPT_SCORE_SLOT_TAU_Q, &p->tau_q},
                {"tau_v", RAPT_SCORE_SLOT_TAU_V, &p->tau_v}};
    rapt_status status = RAPT_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == RAPT_OK; i++)
        status = rapt_score_vulkan_put_rows(
            s, rows[i].slot, rapt_score_vulkan_input(call, rows[i].name), rows[i].view);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(s, RAPT_SCORE_SLOT_ALIBI,
                                       rapt_score_vulkan_input(call, "alibi"), &p->alibi);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(s, RAPT_SCORE_SLOT_SINK,
                                       rapt_score_vulkan_input(call, "sink"), &p->sink);
    if (s->bias)
        p->bias_key = s->bias->shape[3] > 1;
    rapt_score_vulkan_put_work(s, RAPT_SCORE_SLOT_WORK, 0, s->work.bytes);
    return status;
}

static inline const rapt_view *rapt_score_vulkan_saved(const rapt_call *call, uint32_t i)
{
    return call->saved && i < call->kernel->n_saved ? call->saved[i] : NULL;
}

static inline rapt_status rapt_score_vulkan_statistics(rapt_score_vulkan *s)
{
    const rapt_call *call = s->device.call;
    rapt_status status = rapt_score_vulkan_put(
        s, RAPT_SCORE_SLOT_REFERENCE, rapt_score_vulkan_saved(call, 0), &s->params.reference);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(s, RAPT_SCORE_SLOT_SUM, rapt_score_vulkan_saved(call, 1),
                                       &s->params.sum);
    return status;
}

#include "score_vulkan_coop.h"

/* --- Passes ----------------------------------------------------------------------------------- */

/* The place of a pass among those by cooperative matrices; -1: it is none. */
static inline int rapt_score_vulkan_coop_place(rapt_score_vulkan_pass pass)
{
    return pass == RAPT_SCORE_PASS_FORWARD   ? RAPT_SCORE_COOP_FORWARD
           : pass == RAPT_SCORE_PASS_QUERIES ? RAPT_SCORE_COOP_QUERIES
           : pass == RAPT_SCORE_PASS_KEYS    ? RAPT_SCORE_COOP_KEYS
                                             : -1;
}

/* Records a pass of x * y * z workgroups; `beside`: it may run beside the pass before it. */
static inline rapt_status rapt_score_vulkan_run(const rapt_score_vulkan *s,
                                                rapt_score_vulkan_pass pass, uint32_t x, uint32_t y,
                                                uint32_t z, int beside)
{
    const rapt_score_vulkan_params *p = &s->params;
    const int coop = s->coop ? rapt_score_vulkan_coop_place(pass) : -1;
    const rapt_score_vulkan_tile tile =
        coop >= 0 ? rapt_score_vulkan_coop_tile(s->device.limits, p->D, p->E, coop)
                  : (rapt_score_vulkan_tile){0, 0};
    const int64_t run = coop >= 0 ? 16 * tile.parts : 64; /* features that a block has */
    if (coop >= 0 && (p->out[0] | p->out[1]) & 3u)
        return s->device.call->host->error(s->device.call, RAPT_INTERNAL,
                                           "a result does not begin at a multiple of 8 bytes");
    const int takes_d = pass == RAPT_SCORE_PASS_QUERIES || pass == RAPT_SCORE_PASS_KEYS;
    const int takes_e = pass == RAPT_SCORE_PASS_FORWARD || pass == RAPT_SCORE_PASS_KEYS;
    const rapt_vulkan_shader *shader =
        coop >= 0 ? &s->coop->pass[rapt_vulkan_coop_way(&s->device)][coop] : &s->code->pass[pass];
    const uint32_t constants[] = {
        s->device.call->dtype == RAPT_BF16,
        s->coop && pass == RAPT_SCORE_PASS_HEADS ? 8 : s->rows, /* as the pass that it reads */
        takes_d || coop >= 0 ? rapt_score_vulkan_tiles(p->D, run) : 1,
        takes_e || coop >= 0 ? rapt_score_vulkan_tiles(p->E, run) : 1,
        s->options | (coop >= 0 ? rapt_score_vulkan_unaligned(s) : 0u),
        tile.keys,
        128 * tile.parts,
    };
    const rapt_vulkan_dispatch dispatch = {
        .size = sizeof dispatch,
        .flags = (beside ? (uint32_t)RAPT_VULKAN_CONCURRENT : 0u) |
                 rapt_vulkan_operands(s->device.call, shader),
        .shader = shader,
        .constants = constants,
        .n_constants = sizeof constants / sizeof *constants,
        .groups = {x, y, z},
        .buffers = s->buffers,
        .params = p,
    };
    if (x == 0 || y == 0 || z == 0)
        return RAPT_OK;
    return s->device.service->dispatch(s->device.call, &dispatch);
}

/* Packed sequences: what each query sees. */
static inline rapt_status rapt_score_vulkan_borders(rapt_score_vulkan *s)
{
    const rapt_view *q = rapt_score_vulkan_input(s->device.call, "cu_seqlens_q");
    const rapt_view *k = rapt_score_vulkan_input(s->device.call, "cu_seqlens_k");
    rapt_score_vulkan pass = *s;
    rapt_score_vulkan_params *p = &pass.params;
    if (!q)
        return RAPT_OK;
    if (q->shape[0] == 0)
        return s->device.call->host->error(s->device.call, RAPT_INVALID,
                                           "cu_seqlens_q must rise from 0 to N = %u, but it is "
                                           "empty",
                                           p->N);
    rapt_status status = rapt_score_vulkan_put(&pass, RAPT_SCORE_SLOT_A, q, &p->out[0]);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(&pass, RAPT_SCORE_SLOT_B, k, &p->out[1]);
    if (status != RAPT_OK)
        return status;
    p->q.row = q->shape[0] > 1 ? (uint32_t)q->strides[0] : 0;
    p->k.row = k->shape[0] > 1 ? (uint32_t)k->strides[0] : 0;
    p->wants = (rapt_view_dtype(q) == RAPT_I64 ? RAPT_SCORE_WIDE_Q : 0u) |
               (rapt_view_dtype(k) == RAPT_I64 ? RAPT_SCORE_WIDE_K : 0u);
    p->borders = (uint32_t)q->shape[0];
    return rapt_score_vulkan_run(&pass, RAPT_SCORE_PASS_BORDERS, rapt_score_vulkan_tiles(p->N, 128),
                                 1, 1, 0);
}

static inline rapt_status rapt_score_vulkan_start(rapt_score_vulkan *s, rapt_call *call,
                                                  const rapt_score_vulkan_code *codes)
{
    rapt_score_vulkan_plan(s, call);
    rapt_status status = rapt_vulkan_begin(call, &s->device);
    if (status != RAPT_OK)
        return status;
    s->code = &codes[(call->dtype != RAPT_F32) +
                     (s->device.limits->vendor == RAPT_VULKAN_SOFTWARE ? 2 : 0)];
    if (call->workspace_size < s->work.bytes)
        return call->host->error(call, RAPT_INTERNAL,
                                 "the workspace has %zu bytes but the kernel needs %zu",
                                 call->workspace_size, (size_t)s->work.bytes);
    status = rapt_score_vulkan_inputs(s);
    return status == RAPT_OK ? rapt_score_vulkan_borders(s) : status;
}

/* The pass over the keys and, where these went in parts, the merging one. */
static inline rapt_status rapt_score_vulkan_attend(const rapt_score_vulkan *s)
{
    const rapt_score_vulkan_params *p = &s->params;
    const int64_t height = s->coop ? RAPT_SCORE_VULKAN_OTHERS : 8 * (int64_t)s->rows;
    const uint32_t tiles = rapt_score_vulkan_tiles((int64_t)p->N * p->unit_heads, height);
    rapt_status status =
        rapt_score_vulkan_run(s, RAPT_SCORE_PASS_FORWARD, tiles * p->parts, p->units, p->B, 0);
    if (status == RAPT_OK && p->parts > 1)
        status = rapt_score_vulkan_run(s, RAPT_SCORE_PASS_MERGE, p->B * p->H * p->N, 1, 1, 0);
    return status;
}

/* codes: float32, 16 bits, and both for software drivers; coop: NULL, or the passes by cooperative
 * matrices. [call] */
static inline rapt_status rapt_score_vulkan_forward(rapt_call *call,
                                                    const rapt_score_vulkan_code *codes,
                                                    const rapt_score_vulkan_coop *coop)
{
    rapt_score_vulkan s;
    rapt_view *lse = call->op->n_outputs > 1 ? call->outputs[1] : NULL;
    rapt_status status = rapt_score_vulkan_start(&s, call, codes);
    if (status == RAPT_OK)
        rapt_score_vulkan_choose(&s, coop);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_statistics(&s);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(&s, RAPT_SCORE_SLOT_A, call->outputs[0], &s.params.out[0]);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(&s, RAPT_SCORE_SLOT_B, rapt_score_vulkan_saved(call, 2),
                                       &s.params.out[1]);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(&s, RAPT_SCORE_SLOT_C, lse, &s.params.out[2]);
    if (status != RAPT_OK)
        return status;
    s.params.wants = (rapt_score_vulkan_saved(call, 1) ? RAPT_SCORE_WANTS_STATISTICS : 0u) |
                     (rapt_score_vulkan_saved(call, 2) ? RAPT_SCORE_WANTS_REST : 0u) |
                     (lse ? RAPT_SCORE_WANTS_LSE : 0u);
    return rapt_score_vulkan_attend(&s);
}

static inline rapt_status rapt_score_vulkan_weights(rapt_call *call,
                                                    const rapt_score_vulkan_code *codes)
{
    rapt_score_vulkan s;
    rapt_status status = rapt_score_vulkan_start(&s, call, codes);
    if (status != RAPT_OK)
        return status;
    const uint64_t bytes = (uint64_t)s.params.B * s.params.H * s.params.N * 4;
    rapt_score_vulkan_put_work(&s, RAPT_SCORE_SLOT_REFERENCE, s.work.reference, bytes);
    rapt_score_vulkan_put_work(&s, RAPT_SCORE_SLOT_SUM, s.work.sum, bytes);
    s.params.wants = RAPT_SCORE_WANTS_STATISTICS;
    status = rapt_score_vulkan_attend(&s);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(&s, RAPT_SCORE_SLOT_A, call->outputs[0], &s.params.out[0]);
    if (status != RAPT_OK)
        return status;
    return rapt_score_vulkan_run(
        &s, RAPT_SCORE_PASS_WEIGHTS, rapt_score_vulkan_tiles(s.params.M, RAPT_SCORE_VULKAN_OTHERS),
        rapt_score_vulkan_tiles(s.params.N, 8 * s.rows), s.params.B * s.params.H, 0);
}

#include "score_vulkan_backward.h"

#include "score_vulkan_describe.h"

#endif
