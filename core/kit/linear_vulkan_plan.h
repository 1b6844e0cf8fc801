/*
 * kit/linear_vulkan_plan.h - of kit/linear_vulkan.h: a problem and its push constants, how much
 * memory it takes, and which heads are in work.
 */
#ifndef RAPT_KIT_LINEAR_VULKAN_PLAN_H
#define RAPT_KIT_LINEAR_VULKAN_PLAN_H

#include "kit/vulkan.h"

#define RAPT_LINEAR_CHUNK     64
#define RAPT_LINEAR_CHUNK_LOG 6
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
    RAPT_LINEAR_SIGMOID = 16,    /* of operand a; 32 of b, 64 of c */
    RAPT_LINEAR_HAS_FINAL = 128, /* hierarchical: the final state has a gradient */
    /* From bit 8 on: rapt_linear_start. What linear_apply.glsl's constants leave to the flags: */
    RAPT_LINEAR_IS_UPPER = 1 << 14,
    RAPT_LINEAR_IS_WIDE = 1 << 15
};

#define RAPT_LINEAR_FORM(op, part, form, needs, lanes, buffers, push)                              \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = (needs), .name = #op "." #part "." #form,  \
        .code = op##_##part##_##form, .code_bytes = sizeof op##_##part##_##form,                   \
        .n_buffers = (buffers), .push_bytes = (push), .subgroup = (lanes)                          \
    }
/* A shader for float32 and for 16-bit elements. */
#define RAPT_LINEAR_SHADER(op, part, buffers, push)                                                \
    static const rapt_vulkan_shader op##_##part##_shader[2] = {                                    \
        RAPT_LINEAR_FORM(op, part, f32, 0, 0, buffers, push),                                      \
        RAPT_LINEAR_FORM(op, part, half, RAPT_VULKAN_STORAGE16, 0, buffers, push),                 \
    }
/* For those, and again for the software driver (RAPT_LEAN): at rapt_linear_lean. */
#define RAPT_LINEAR_SHADER_LEAN(op, part, buffers, push)                                           \
    static const rapt_vulkan_shader op##_##part##_shader[4] = {                                    \
        RAPT_LINEAR_FORM(op, part, f32, 0, 0, buffers, push),                                      \
        RAPT_LINEAR_FORM(op, part, half, RAPT_VULKAN_STORAGE16, 0, buffers, push),                 \
        RAPT_LINEAR_FORM(op, part, f32_lean, 0, 0, buffers, push),                                 \
        RAPT_LINEAR_FORM(op, part, half_lean, RAPT_VULKAN_STORAGE16, 0, buffers, push),            \
    }
/* For those, and for 16-bit elements by cooperative matrices: at rapt_linear_form. */
#define RAPT_LINEAR_SHADER_COOP(op, part, buffers, push)                                           \
    static const rapt_vulkan_shader op##_##part##_shader[2 + RAPT_VULKAN_WAYS] = {                 \
        RAPT_LINEAR_FORM(op, part, f32, 0, 0, buffers, push),                                      \
        RAPT_LINEAR_FORM(op, part, half, RAPT_VULKAN_STORAGE16, 0, buffers, push),                 \
        RAPT_LINEAR_FORM(op, part, coop_khr, RAPT_LINEAR_COOP_NEEDS | RAPT_VULKAN_COOPMAT_KHR, 32, \
                         buffers, push),                                                           \
        RAPT_LINEAR_FORM(op, part, coop_nv, RAPT_LINEAR_COOP_NEEDS | RAPT_VULKAN_COOPMAT_NV, 32,   \
                         buffers, push),                                                           \
        RAPT_LINEAR_FORM(op, part, coop_emulated, RAPT_LINEAR_HALF_NEEDS, 0, buffers, push),       \
    }
#define RAPT_LINEAR_HALF_NEEDS (RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_FLOAT16)
#define RAPT_LINEAR_COOP_NEEDS (RAPT_LINEAR_HALF_NEEDS | RAPT_VULKAN_SUBGROUP)
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
    /* Hierarchical form: sequences go on from a position, from a state, or have a final state with
     * a gradient; how many positions came before. */
    bool goes_on;
    int64_t position;
    uint64_t
        lane_extra; /* the longest buffer that the plugin itself needs for one head, in bytes */
    /* ---- set by rapt_linear_plan ---- */
    rapt_vulkan device;
    bool coop;                       /* the kernel is that by cooperative matrices */
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
    uint32_t levels, slots, origin, lane_parts, part_levels, depth;
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
    uint32_t n, packed, slots, base, words, skip, gap;
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

static inline int rapt_linear_lean(const rapt_linear_vulkan *x)
{
    return rapt_linear_half(x) + (x->device.limits->vendor == RAPT_VULKAN_SOFTWARE ? 2 : 0);
}

/* The next part of the workspace. Parts are never empty, so that they can be bound. */
static inline rapt_vulkan_buffer rapt_linear_take(rapt_linear_vulkan *x, uint64_t bytes)
{
    const rapt_vulkan_buffer part =
        rapt_vulkan_part(x->call, x->used, rapt_vulkan_round(bytes ? bytes : 1));
    x->used += part.bytes;
    return part;
}

/* Rows of a sequence's first chunk before its first position; the chunks before that. */
static inline int64_t rapt_linear_skip(const rapt_linear_vulkan *x)
{
    return x->position % RAPT_LINEAR_CHUNK;
}

static inline int64_t rapt_linear_origin(const rapt_linear_vulkan *x)
{
    return x->position / RAPT_LINEAR_CHUNK;
}

/* Chunks of a sequence of n positions. */
static inline int64_t rapt_linear_chunks(const rapt_linear_vulkan *x, int64_t n)
{
    return n ? (rapt_linear_skip(x) + n + RAPT_LINEAR_CHUNK - 1) / RAPT_LINEAR_CHUNK : 0;
}

/* By how many slots packed sequences are moved apart: each has that many chunks more, at most, than
 * whole ones between its borders. */
static inline int64_t rapt_linear_spacing(const rapt_linear_vulkan *x)
{
    return x->goes_on ? 2 : 1;
}

/* Slots of the sequences packed into n positions, or of n positions each. */
static inline int64_t rapt_linear_slots(const rapt_linear_vulkan *x, int64_t n)
{
    return x->borders ? n / RAPT_LINEAR_CHUNK + rapt_linear_spacing(x) * x->sequences
                      : x->sequences * rapt_linear_chunks(x, n);
}

/* States of a head: the nodes of all levels, and pieces and tails; see
 * shaders/kit/linear_nodes.glsl. */
static inline int64_t rapt_linear_nodes(const rapt_linear_vulkan *x, int depth)
{
    int64_t nodes = x->goes_on ? 2 * (RAPT_LINEAR_CHUNK_LOG + depth) * x->sequences : depth;
    for (int b = 0; b < depth; b++)
        nodes += x->slots >> b;
    return nodes;
}

/* Levels of the tree over the chunks of the longest sequence that there can be. */
static inline int rapt_linear_depth(const rapt_linear_vulkan *x)
{
    const int64_t chunks = rapt_linear_origin(x) + rapt_linear_chunks(x, x->n);
    int depth = 1;
    while (chunks >> depth)
        depth++;
    return depth;
}

/* What shaders of the hierarchical form take with their flags. */
static inline uint32_t rapt_linear_start(const rapt_linear_vulkan *x)
{
    return (uint32_t)rapt_linear_skip(x) << 8 | (uint32_t)(rapt_linear_origin(x) >> 32) << 16;
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

/* --- By cooperative matrices: kernel "vulkan.coopmat" ------------------------------------------
 * The shaders that they make faster: apply and, where a state is of many chunks and rows are wide,
 * contribute. They take rows that all begin at a multiple of four elements; views of other strides
 * go by the plain ones, as do all other shaders. */

enum {
    RAPT_LINEAR_COOP_BYTES = 32768, /* shared memory that suffices for each of them */
    RAPT_LINEAR_COOP_COLUMNS = 128  /* that rows have at most */
};

/* Whether contribute is by them, too. */
static inline bool rapt_linear_coop_states(const rapt_linear_vulkan *x)
{
    return x->coop && x->unit_log && (x->d >= RAPT_LINEAR_CHUNK || x->e >= RAPT_LINEAR_CHUNK);
}

/* In `supports` of the kernel: what the device or the call lacks. */
static inline rapt_status rapt_linear_coop_fits(const rapt_linear_vulkan *x)
{
    const rapt_vulkan_limits *limits = x->device.limits;
    const rapt_host *host = x->call->host;
    const int64_t most = x->d > x->e ? x->d : x->e, least = x->d < x->e ? x->d : x->e;
    rapt_status status = rapt_vulkan_require_coop(&x->device);
    if (status != RAPT_OK)
        return status;
    if (limits->shared_bytes < RAPT_LINEAR_COOP_BYTES)
        return host->error(x->call, RAPT_UNSUPPORTED,
                           "tiles take %d bytes of shared memory; the device has %u",
                           RAPT_LINEAR_COOP_BYTES, limits->shared_bytes);
    if (least < 4 || most > RAPT_LINEAR_COOP_COLUMNS || (most | least) % 4 != 0)
        return host->error(x->call, RAPT_UNSUPPORTED,
                           "rows have 4 to %d columns, a multiple of 4; got D = %lld, E = %lld",
                           RAPT_LINEAR_COOP_COLUMNS, (long long)x->d, (long long)x->e);
    if (x->unit_log && !rapt_linear_coop_states(x))
        return host->error(x->call, RAPT_UNSUPPORTED,
                           "where nothing is causal, they gain nothing unless D or E is %d or more",
                           RAPT_LINEAR_CHUNK);
    return RAPT_OK;
}

/* The shader of a table of RAPT_LINEAR_SHADER_COOP that takes rows that are `aligned` or not. */
static inline int rapt_linear_form(const rapt_linear_vulkan *x, bool aligned)
{
    if (!x->coop || !aligned)
        return rapt_linear_half(x);
    return 2 + rapt_vulkan_coop_way(&x->device);
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
    x->coop = strcmp(call->kernel->name, "vulkan.coopmat") == 0;
    x->sequences = x->borders ? x->borders->shape[0] - 1 : x->batch;
    x->packed = x->borders ? x->sequences : 0;
    x->slots = rapt_linear_slots(x, x->n);
    x->share = x->groups ? x->heads / x->groups : 1;
    const int depth = rapt_linear_depth(x);
    x->slots_k = x->unit_log ? rapt_linear_slots(x, x->m) : x->slots;
    const int64_t most_slots = x->slots > x->slots_k ? x->slots : x->slots_k;
    x->lane_states = x->levels     ? rapt_linear_nodes(x, depth)
                     : x->unit_log ? (most_slots >> x->unit_log) + x->sequences + 1
                                   : x->slots;
    x->part_levels = depth > 4 ? depth - 4 : 0;
    x->lane_parts = (x->slots >> 3) + rapt_linear_spacing(x) * x->sequences + 1;
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
    if (status == RAPT_OK && x->coop)
        status = rapt_linear_coop_fits(x);
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
#endif
