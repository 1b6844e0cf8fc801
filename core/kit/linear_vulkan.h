/*
 * kit/linear_vulkan.h - the chunked driver of the linear family on Vulkan devices: what
 * kit/linear.h computes, as dispatches.
 *
 *     contribute   the state of each chunk alone (backward: of q and do, from the end)
 *     carry        along the sequences, for all numbers of all states side by side
 *     apply        the rows of each chunk: forward once, backward for dq, dk and dv
 *
 * The shaders are in shaders/kit/linear_*.glsl. Chunks have numbers, slots: those of sequences of
 * one length lie one behind the other; packed sequence s begins at slot (its first row / 64) + s,
 * so that no host needs to know the borders. Borders that do not rise from 0 to N cannot be
 * refused, as nothing waits for the device: all results are NaN then.
 *
 * Heads are in work in rounds, so that the states of a round fit one buffer. A plugin fills the
 * upper part of a rapt_linear_vulkan, calls rapt_linear_plan in `supports`, `workspace` and the
 * kernels alike, and records with the functions below.
 */
#ifndef RAPT_KIT_LINEAR_VULKAN_H
#define RAPT_KIT_LINEAR_VULKAN_H

#include "kit/vulkan.h"

#define RAPT_LINEAR_CHUNK 64
/* States of a round take no more than this, if one head's do not. */
#define RAPT_LINEAR_ROUND_BYTES ((uint64_t)256 << 20)
#define RAPT_LINEAR_NO_FACTOR   0xffffffffu

/* Flags of the shaders. */
enum {
    RAPT_LINEAR_HAS_FROM = 1, /* a state comes in at the end where the pass begins */
    RAPT_LINEAR_GROUPED = 2,  /* apply: a row of out for each group of heads */
    RAPT_LINEAR_HAS_TO = 2,   /* carry: the state that goes out is wanted */
    RAPT_LINEAR_HAS_SLOPE = 4,
    RAPT_LINEAR_WIDE_L = 8,
    RAPT_LINEAR_SIGMOID = 16 /* of operand a; 32 of b, 64 of c */
};

/* A shader for float32 and for 16-bit elements. */
#define RAPT_LINEAR_SHADER(op, part, buffers, push)                                                \
    static const rapt_vulkan_shader op##_##part##_shader[2] = {                                    \
        {.size = sizeof(rapt_vulkan_shader),                                                       \
         .name = #op "." #part ".f32",                                                             \
         .code = op##_##part##_f32,                                                                \
         .code_bytes = sizeof op##_##part##_f32,                                                   \
         .n_buffers = buffers,                                                                     \
         .push_bytes = push},                                                                      \
        {.size = sizeof(rapt_vulkan_shader),                                                       \
         .features = RAPT_VULKAN_STORAGE16,                                                        \
         .name = #op "." #part ".half",                                                            \
         .code = op##_##part##_half,                                                               \
         .code_bytes = sizeof op##_##part##_half,                                                  \
         .n_buffers = buffers,                                                                     \
         .push_bytes = push},                                                                      \
    }
/* One that knows no compute type. */
#define RAPT_LINEAR_SHADER_ONE(op, part, buffers, push)                                            \
    static const rapt_vulkan_shader op##_##part##_shader = {.size = sizeof(rapt_vulkan_shader),    \
                                                            .name = #op "." #part,                 \
                                                            .code = op##_##part,                   \
                                                            .code_bytes = sizeof op##_##part,      \
                                                            .n_buffers = buffers,                  \
                                                            .push_bytes = push}

/* Rows of a tensor [B, H, N, width] as the shaders take them: linear_rows. */
typedef struct rapt_linear_place {
    uint32_t base, batch, head, row;
} rapt_linear_place;

/* Rows, the range of memory that holds them, and how they are read: `sigmoid`, and where the
 * factors of the rows begin in x->factors or RAPT_LINEAR_NO_FACTOR. */
typedef struct rapt_linear_rows {
    rapt_vulkan_buffer buffer;
    rapt_linear_place at;
    rapt_dtype dtype;
    bool sigmoid, local; /* local: of the heads in work alone */
    uint32_t factor;
} rapt_linear_rows;

typedef struct rapt_linear_vulkan {
    rapt_call *call;
    int64_t batch, n, heads, groups, d, e; /* heads of values; of queries and keys */
    int64_t levels;                        /* of l: the hierarchical form; otherwise 0 */
    const rapt_view *borders;              /* cu_seqlens_q or NULL */
    float scale;
    int state_buffers; /* states of a head side by side: 1 forward, 2 backward */
    /* Where keys have a length and borders of their own: not causal, one state for each unit of
     * 2^unit_log chunks. */
    int64_t m;
    const rapt_view *borders_k;
    uint32_t unit_log;
    uint64_t
        lane_extra; /* the longest buffer that the plugin itself needs for one head, in bytes */
    /* ---- set by rapt_linear_plan ---- */
    rapt_vulkan device;
    int64_t sequences, slots;        /* chunks of all sequences, empty slots among them */
    int64_t slots_k;                 /* those of the keys */
    int64_t packed;                  /* sequences if there are borders, otherwise 0 */
    int64_t share;                   /* heads / groups */
    int64_t lane_states;             /* states of a head in one buffer: slots, or nodes */
    int64_t round;                   /* heads in work at a time */
    int64_t part_levels, lane_parts; /* hierarchical, backward: see shaders/kit/linear_nodes.glsl */
    uint64_t used;                   /* bytes of workspace handed out */
    rapt_vulkan_buffer table, zeros;
    uint32_t table_k; /* where the keys' part of the table begins, in entries */
    rapt_vulkan_buffer states, reverse;
    /* ---- set by the plugin before it records ---- */
    rapt_vulkan_buffer slope, factors, decays, spans;
    uint32_t slope_base;
    bool has_slope;
    rapt_linear_rows l;
    /* ---- the round at work ---- */
    int64_t first, count; /* heads */
    /* The next dispatch of the functions below needs nothing that those since the last barrier
     * write, and writes nothing that they touch: it may run beside them. Holds for one dispatch. */
    bool beside;
} rapt_linear_vulkan;

typedef struct rapt_linear_tree_tail {
    rapt_linear_place l;
    uint32_t levels, slots, lane_parts, part_levels;
} rapt_linear_tree_tail;

typedef struct rapt_linear_factor_tail {
    uint32_t heads, factor[3];
} rapt_linear_factor_tail;

/* What ends the push constants, by the form of the operator. */
typedef union rapt_linear_tail {
    uint32_t slope;
    rapt_linear_factor_tail factors;
    rapt_linear_tree_tail tree;
} rapt_linear_tail;

typedef struct rapt_linear_apply_push {
    rapt_linear_place a, b, c, to;
    uint32_t n, packed, share, lane_states, inner, width;
    float near_scale, far_scale;
    uint32_t flags;
    rapt_linear_tail tail;
} rapt_linear_apply_push;

typedef struct rapt_linear_contribute_push {
    rapt_linear_place a, c;
    uint32_t n, packed, share, lane_states, height, width;
    float scale;
    uint32_t flags, unit_log;
    rapt_linear_tail tail;
} rapt_linear_contribute_push;

typedef struct rapt_linear_carry_push {
    rapt_linear_place from;
    uint32_t to, n, packed, lane_states, height, width, heads, first_head, flags, slope;
} rapt_linear_carry_push;

typedef struct rapt_linear_table_push {
    uint32_t n, packed, slots, base, words;
} rapt_linear_table_push;

/* Bytes of push constants in front of the tail. */
#define RAPT_LINEAR_APPLY_BYTES      offsetof(rapt_linear_apply_push, tail)
#define RAPT_LINEAR_CONTRIBUTE_BYTES offsetof(rapt_linear_contribute_push, tail)

/* --- Plan --------------------------------------------------------------------------------------
 */

static inline int rapt_linear_half(const rapt_linear_vulkan *x)
{
    return x->call->dtype != RAPT_F32;
}

/* The next part of the workspace. Parts are never empty, so that they can be bound. */
static inline rapt_vulkan_buffer rapt_linear_take(rapt_linear_vulkan *x, uint64_t bytes)
{
    const rapt_vulkan_buffer part =
        rapt_vulkan_part(x->call, x->used, rapt_vulkan_round(bytes ? bytes : 1));
    x->used += part.bytes;
    return part;
}

/* Slots of `sequences` packed into n positions, or of as many of n positions each. */
static inline int64_t rapt_linear_slots(const rapt_view *borders, int64_t sequences, int64_t n)
{
    return borders ? n / RAPT_LINEAR_CHUNK + sequences
                   : sequences * ((n + RAPT_LINEAR_CHUNK - 1) / RAPT_LINEAR_CHUNK);
}

/* Places of the nodes of all levels below `level`. */
static inline int64_t rapt_linear_nodes(int64_t slots, int level)
{
    int64_t nodes = 0;
    for (int b = 0; b < level; b++)
        nodes += (slots >> b) + 1;
    return nodes;
}

/* Levels of the tree over the chunks of the longest sequence that there can be. */
static inline int rapt_linear_depth(const rapt_linear_vulkan *x)
{
    const int64_t chunks = (x->n + RAPT_LINEAR_CHUNK - 1) / RAPT_LINEAR_CHUNK;
    int depth = 1;
    while (chunks >> depth)
        depth++;
    return depth;
}

/* Borders are a device's memory; what their number tells is told. */
static inline rapt_status rapt_linear_check_borders(rapt_call *call, const char *name,
                                                    const rapt_view *borders, int64_t n)
{
    if (borders && borders->shape[0] == 1 && n > 0)
        return call->host->error(call, RAPT_INVALID,
                                 "%s must rise from 0 to %lld, but has one entry", name,
                                 (long long)n);
    return RAPT_OK;
}

/* The longest buffer that one head needs: its states, or what goes with them. */
static inline uint64_t rapt_linear_lane_bytes(const rapt_linear_vulkan *x)
{
    const uint64_t state = (uint64_t)(x->d * x->e) * sizeof(float);
    uint64_t bytes = (uint64_t)x->lane_states * state;
    bytes = x->lane_extra > bytes ? x->lane_extra : bytes;
    if (x->levels) {
        const uint64_t decays = (uint64_t)x->slots * RAPT_LINEAR_CHUNK * 2 * sizeof(float);
        const uint64_t parts = (uint64_t)(x->part_levels * x->lane_parts) * state;
        bytes = decays > bytes ? decays : bytes;
        bytes = parts > bytes ? parts : bytes;
    }
    return bytes;
}

/* Lays out the table and the states. In `supports` (views without data) it says what does not fit.
 */
static inline rapt_status rapt_linear_plan(rapt_linear_vulkan *x)
{
    rapt_call *call = x->call;
    rapt_status status = rapt_vulkan_begin(call, &x->device);
    if (status == RAPT_OK)
        status = rapt_linear_check_borders(call, "cu_seqlens_q", x->borders, x->n);
    if (status != RAPT_OK)
        return status;
    x->sequences = x->borders ? x->borders->shape[0] - 1 : x->batch;
    x->packed = x->borders ? x->sequences : 0;
    x->slots = rapt_linear_slots(x->borders, x->sequences, x->n);
    x->share = x->groups ? x->heads / x->groups : 1;
    const int depth = rapt_linear_depth(x);
    x->slots_k = x->unit_log ? rapt_linear_slots(x->borders_k, x->sequences, x->m) : x->slots;
    const int64_t most_slots = x->slots > x->slots_k ? x->slots : x->slots_k;
    x->lane_states = x->levels     ? rapt_linear_nodes(x->slots, depth)
                     : x->unit_log ? (most_slots >> x->unit_log) + x->sequences + 1
                                   : x->slots;
    x->part_levels = depth > 4 ? depth - 4 : 0;
    x->lane_parts = (x->slots >> 3) + x->sequences + 1;
    const uint64_t most = x->device.limits->buffer_bytes & ~(uint64_t)255;
    const uint64_t state = (uint64_t)(x->d * x->e) * sizeof(float);
    const uint64_t group = (uint64_t)x->share * rapt_linear_lane_bytes(x);
    if (group > most || group >> 32)
        return call->host->error(
            call, RAPT_UNSUPPORTED,
            "the states of one head of q take %llu bytes; one buffer of this device shows at most "
            "%llu",
            (unsigned long long)group, (unsigned long long)most);
    const uint64_t wanted = most < RAPT_LINEAR_ROUND_BYTES ? most : RAPT_LINEAR_ROUND_BYTES;
    const int64_t fit = group ? (int64_t)(wanted / group) : x->groups;
    x->round = (fit < 1 ? 1 : fit > x->groups ? x->groups : fit) * x->share;
    if (x->packed) {
        x->table_k = (uint32_t)(rapt_vulkan_round((uint64_t)(x->packed + x->slots) * 16) / 16);
        x->table =
            rapt_linear_take(x, ((uint64_t)x->table_k + (uint64_t)(x->packed + x->slots_k)) * 16);
    }
    const int64_t wide = x->d > x->e ? x->d : x->e;
    x->zeros = rapt_linear_take(x, (uint64_t)(wide > 0 ? wide : 1) * sizeof(float));
    const uint64_t bytes = (uint64_t)(x->round * x->lane_states) * state;
    x->states = rapt_linear_take(x, bytes);
    if (x->state_buffers > 1)
        x->reverse = rapt_linear_take(x, bytes);
    if (!x->packed)
        x->table = x->zeros;
    return RAPT_OK;
}

/* In `supports`, after the plan: whether the device takes the compute type and all tensors fit it.
 */
static inline rapt_status rapt_linear_fits(rapt_linear_vulkan *x)
{
    rapt_call *call = x->call;
    rapt_status status = RAPT_OK;
    if (rapt_linear_half(x))
        status = rapt_vulkan_require(&x->device, RAPT_VULKAN_STORAGE16);
    for (uint32_t i = 0; status == RAPT_OK && i < call->op->n_inputs; i++)
        status = rapt_vulkan_fits(call, x->device.limits, call->inputs[i]);
    for (uint32_t i = 0; status == RAPT_OK && call->outputs && i < call->op->n_outputs; i++)
        status = rapt_vulkan_fits(call, x->device.limits, call->outputs[i]);
    return status;
}

/* The heads of the next round; false behind the last. Begin with first = count = 0. */
static inline bool rapt_linear_next(rapt_linear_vulkan *x)
{
    x->first += x->count;
    const int64_t left = x->heads - x->first;
    x->count = left < x->round ? left : x->round;
    return x->count > 0;
}

/* --- Rows --------------------------------------------------------------------------------------
 */

/* The rows of a view [B, H, N, .] or [B, H, N]; of an absent one (NULL) zeros. */
static inline rapt_status rapt_linear_rows_of(rapt_linear_vulkan *x, const rapt_view *view,
                                              rapt_linear_rows *rows)
{
    memset(rows, 0, sizeof *rows);
    rows->factor = RAPT_LINEAR_NO_FACTOR;
    rows->dtype = x->call->dtype;
    rows->buffer = x->zeros;
    if (!view)
        return RAPT_OK;
    uint32_t strides[RAPT_MAX_DIMS];
    rapt_vulkan_strides(view, strides);
    rows->dtype = rapt_view_dtype(view);
    rows->at.batch = strides[0];
    rows->at.head = strides[1];
    rows->at.row = strides[2];
    return rapt_vulkan_bind(x->call, x->device.limits, view, &rows->buffer, &rows->at.base);
}

/* A part of the workspace as float32 rows [B, heads in work, N, width]. */
static inline rapt_linear_rows rapt_linear_rows_in(const rapt_linear_vulkan *x,
                                                   rapt_vulkan_buffer part, int64_t width)
{
    rapt_linear_rows rows;
    memset(&rows, 0, sizeof rows);
    rows.factor = RAPT_LINEAR_NO_FACTOR;
    rows.dtype = RAPT_F32;
    rows.buffer = part;
    rows.local = true;
    rows.at.row = (uint32_t)width;
    rows.at.head = (uint32_t)(x->n * width);
    rows.at.batch = (uint32_t)(x->round * x->n * width);
    return rows;
}

/* Whether quads of four columns can be read whole. */
static inline bool rapt_linear_aligned(const rapt_linear_vulkan *x,
                                       const rapt_linear_rows *const *rows, int count)
{
    bool aligned = x->d % 4 == 0 && x->e % 4 == 0;
    for (int i = 0; i < count; i++) {
        const rapt_linear_place *at = &rows[i]->at;
        aligned = aligned && (at->base | at->batch | at->head | at->row) % 4 == 0;
    }
    return aligned;
}

/* Where the rows of the round's heads begin; `group`: the tensor has a row for each group. */
static inline rapt_linear_place rapt_linear_at(const rapt_linear_vulkan *x,
                                               const rapt_linear_rows *rows, bool group)
{
    rapt_linear_place at = rows->at;
    if (!rows->local)
        at.base += (uint32_t)(group ? x->first / x->share : x->first) * at.head;
    return at;
}

/* --- Dispatches --------------------------------------------------------------------------------
 */

/* One side's part of the table of packed sequences. */
static inline rapt_status rapt_linear_tabulate(rapt_linear_vulkan *x,
                                               const rapt_vulkan_shader *table,
                                               const rapt_view *borders, uint32_t from, int64_t n,
                                               int64_t slots)
{
    rapt_linear_table_push push = {.n = (uint32_t)n,
                                   .packed = (uint32_t)x->packed,
                                   .slots = (uint32_t)slots,
                                   .words = rapt_view_dtype(borders) == RAPT_I64 ? 2 : 1};
    rapt_vulkan_buffer buffers[2];
    const rapt_status status =
        rapt_vulkan_bind(x->call, x->device.limits, borders, &buffers[0], &push.base);
    if (status != RAPT_OK)
        return status;
    push.base *= push.words; /* counted in words */
    buffers[1] = x->table;
    buffers[1].offset += (uint64_t)from * 16;
    buffers[1].bytes -= (uint64_t)from * 16;
    return rapt_vulkan_run(&x->device, table, NULL, 0, rapt_vulkan_groups(x->packed + slots, 128),
                           1, 1, buffers, &push, NULL);
}

/* The table of packed sequences, if they are packed: first of all. */
static inline rapt_status rapt_linear_begin(rapt_linear_vulkan *x, const rapt_vulkan_shader *table)
{
    rapt_status status = RAPT_OK;
    if (x->packed)
        status = rapt_linear_tabulate(x, table, x->borders, 0, x->n, x->slots);
    if (status == RAPT_OK && x->packed && x->unit_log)
        status = rapt_linear_tabulate(x, table, x->borders_k, x->table_k, x->m, x->slots_k);
    return status;
}

/* Zeros in x->zeros, if any of the call's tensors is absent. */
static inline rapt_status rapt_linear_zero(rapt_linear_vulkan *x)
{
    return x->device.service->clear(x->call, &x->zeros);
}

static inline void rapt_linear_tail_of(const rapt_linear_vulkan *x,
                                       const rapt_linear_rows *const *rows, int count,
                                       rapt_linear_tail *tail, uint32_t *flags)
{
    memset(tail, 0, sizeof *tail);
    if (x->levels) {
        tail->tree.l = rapt_linear_at(x, &x->l, false);
        tail->tree.levels = (uint32_t)x->levels;
        tail->tree.slots = (uint32_t)x->slots;
        tail->tree.lane_parts = (uint32_t)x->lane_parts;
        tail->tree.part_levels = (uint32_t)x->part_levels;
        *flags |= x->l.dtype == RAPT_F32 ? RAPT_LINEAR_WIDE_L : 0;
    } else if (x->factors.memory) {
        tail->factors.heads = (uint32_t)x->round;
        for (int i = 0; i < count; i++)
            tail->factors.factor[i] = rows[i]->factor;
    } else {
        tail->slope = x->slope_base + (uint32_t)x->first;
        *flags |= x->has_slope ? RAPT_LINEAR_HAS_SLOPE : 0;
    }
}

/* What the rows are made of is found out from the compute type. */
static inline void rapt_linear_constants(const rapt_linear_vulkan *x, bool aligned,
                                         uint32_t *constants)
{
    constants[0] = x->call->dtype == RAPT_BF16;
    constants[1] = aligned;
}

/* Records a dispatch, beside those before it if x->beside says so. */
static inline rapt_status rapt_linear_run(rapt_linear_vulkan *x, const rapt_vulkan_shader *shader,
                                          const uint32_t *constants, uint32_t n_constants,
                                          const uint32_t *groups, const rapt_vulkan_buffer *buffers,
                                          const void *push, const void *params)
{
    rapt_vulkan_dispatch dispatch;
    memset(&dispatch, 0, sizeof dispatch);
    dispatch.size = sizeof dispatch;
    dispatch.flags = x->beside ? RAPT_VULKAN_CONCURRENT : 0;
    dispatch.shader = shader;
    dispatch.constants = constants;
    dispatch.n_constants = n_constants;
    memcpy(dispatch.groups, groups, sizeof dispatch.groups);
    dispatch.buffers = buffers;
    dispatch.push = push;
    dispatch.params = params;
    x->beside = false;
    return x->device.service->dispatch(x->call, &dispatch);
}

/* a^T c of each chunk into `states`; with `reverse` a = q (times the scale), c = do. `unit_log`: of
 * how many chunks, 2^unit_log, one state is. */
static inline rapt_status
rapt_linear_contribute(rapt_linear_vulkan *x, const rapt_vulkan_shader *shader,
                       const rapt_linear_rows *a, const rapt_linear_rows *c,
                       const rapt_vulkan_buffer *states, bool reverse, uint32_t unit_log)
{
    const rapt_linear_rows *const rows[2] = {a, c};
    rapt_linear_contribute_push push = {
        .a = rapt_linear_at(x, a, true),
        .c = rapt_linear_at(x, c, false),
        .n = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .share = (uint32_t)x->share,
        .lane_states = (uint32_t)x->lane_states,
        .height = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .scale = reverse ? x->scale : 1.0f,
        .flags =
            (a->sigmoid ? RAPT_LINEAR_SIGMOID : 0u) | (c->sigmoid ? RAPT_LINEAR_SIGMOID * 4u : 0u),
        .unit_log = unit_log,
    };
    uint32_t constants[3] = {0, 0, reverse};
    rapt_linear_constants(x, rapt_linear_aligned(x, rows, 2), constants);
    rapt_linear_tail_of(x, rows, 2, &push.tail, &push.flags);
    const rapt_vulkan_buffer factor = x->levels           ? x->decays
                                      : x->factors.memory ? x->factors
                                                          : x->slope;
    const rapt_vulkan_buffer buffers[] = {a->buffer, c->buffer, *states,  x->table,   x->zeros,
                                          x->zeros,  factor,    x->spans, x->l.buffer};
    const uint32_t tiles = rapt_vulkan_groups(x->d, 64) * rapt_vulkan_groups(x->e, 64);
    const uint32_t groups[3] = {(uint32_t)x->slots, (uint32_t)x->count, tiles};
    return rapt_linear_run(x, &shader[rapt_linear_half(x)], constants, 3, groups, buffers, &push,
                           NULL);
}

/* A state that comes in, [S, H, D, E] with any outer strides, and one that goes out, contiguous;
 * either NULL. */
typedef struct rapt_linear_ends {
    const rapt_view *from;
    const rapt_view *to;
} rapt_linear_ends;

static inline rapt_status rapt_linear_carry(rapt_linear_vulkan *x, const rapt_vulkan_shader *shader,
                                            const rapt_vulkan_buffer *states, bool reverse,
                                            const rapt_linear_ends *ends)
{
    rapt_linear_rows from;
    rapt_vulkan_buffer to;
    uint32_t to_base = 0;
    rapt_status status = rapt_linear_rows_of(x, ends->from, &from);
    if (status == RAPT_OK)
        status = rapt_vulkan_bind(x->call, x->device.limits, ends->to, &to, &to_base);
    if (status != RAPT_OK)
        return status;
    const rapt_linear_carry_push push = {
        .from = rapt_linear_at(x, &from, false),
        .to = to_base,
        .n = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .lane_states = (uint32_t)x->lane_states,
        .height = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .heads = (uint32_t)x->heads,
        .first_head = (uint32_t)x->first,
        .flags = (ends->from ? RAPT_LINEAR_HAS_FROM : 0u) | (ends->to ? RAPT_LINEAR_HAS_TO : 0u) |
                 (x->has_slope ? RAPT_LINEAR_HAS_SLOPE : 0u),
        .slope = x->slope_base + (uint32_t)x->first,
    };
    const uint32_t constants[3] = {0, 0, reverse};
    const rapt_vulkan_buffer buffers[] = {*states, x->table, from.buffer, to, x->slope};
    const uint32_t groups[3] = {rapt_vulkan_groups(x->d * x->e, 64), (uint32_t)x->count,
                                (uint32_t)x->sequences};
    return rapt_linear_run(x, shader, constants, 3, groups, buffers, &push, NULL);
}

typedef enum rapt_linear_out {
    RAPT_LINEAR_O,  /* a = q, b = k, c = v */
    RAPT_LINEAR_DQ, /* a = do, b = v, c = k */
    RAPT_LINEAR_DK, /* a = v, b = do, c = q */
    RAPT_LINEAR_DV  /* a = k, b = q, c = do */
} rapt_linear_out;

/* Rows of every chunk. `ends`: a state comes in at the end of the sequence where the pass begins.
 */
static inline rapt_status rapt_linear_apply(rapt_linear_vulkan *x, const rapt_vulkan_shader *shader,
                                            rapt_linear_out out, const rapt_linear_rows *const *abc,
                                            const rapt_linear_rows *to,
                                            const rapt_vulkan_buffer *states, bool ends)
{
    const bool values = out == RAPT_LINEAR_O || out == RAPT_LINEAR_DV; /* out is a row of values */
    const bool upper = out == RAPT_LINEAR_DK || out == RAPT_LINEAR_DV;
    const bool wide = to->dtype == RAPT_F32 && x->call->dtype != RAPT_F32;
    const rapt_linear_rows *const rows[4] = {abc[0], abc[1], abc[2], to};
    rapt_linear_apply_push push = {
        .a = rapt_linear_at(x, abc[0], values),
        .b = rapt_linear_at(x, abc[1], values),
        .c = rapt_linear_at(x, abc[2], !values),
        .to = rapt_linear_at(x, to, !values),
        .n = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .share = (uint32_t)x->share,
        .lane_states = (uint32_t)x->lane_states,
        .inner = (uint32_t)(values ? x->d : x->e),
        .width = (uint32_t)(values ? x->e : x->d),
        .near_scale = x->scale,
        .far_scale = upper ? 1.0f : x->scale,
        .flags = (ends ? RAPT_LINEAR_HAS_FROM : 0u) | (values ? 0u : RAPT_LINEAR_GROUPED) |
                 (abc[0]->sigmoid ? RAPT_LINEAR_SIGMOID : 0u) |
                 (abc[1]->sigmoid ? RAPT_LINEAR_SIGMOID * 2u : 0u) |
                 (abc[2]->sigmoid ? RAPT_LINEAR_SIGMOID * 4u : 0u),
    };
    uint32_t constants[5] = {0, 0, upper, !values, wide};
    rapt_linear_constants(x, rapt_linear_aligned(x, rows, 4), constants);
    rapt_linear_tail_of(x, rows, 3, &push.tail, &push.flags);
    const rapt_vulkan_buffer factor = x->levels           ? x->decays
                                      : x->factors.memory ? x->factors
                                                          : x->slope;
    const rapt_vulkan_buffer buffers[] = {abc[0]->buffer, abc[1]->buffer, abc[2]->buffer,
                                          to->buffer,     *states,        x->table,
                                          factor,         x->spans,       x->l.buffer};
    const uint32_t lanes = (uint32_t)(values ? x->count : x->count / x->share);
    const uint32_t groups[3] = {(uint32_t)x->slots, lanes, 1};
    return rapt_linear_run(x, &shader[rapt_linear_half(x)], constants, 5, groups, buffers, &push,
                           NULL);
}

#endif
