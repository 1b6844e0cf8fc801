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
 * refused, as nothing waits for the device: shaders/kit/linear_table.glsl holds them in range.
 *
 * Heads are in work in rounds, so that the states of a round fit one buffer. A plugin fills the
 * upper part of a rapt_linear_vulkan, calls rapt_linear_plan in `supports`, `workspace` and the
 * kernels alike, and records with the functions below.
 */
#ifndef RAPT_KIT_LINEAR_VULKAN_H
#define RAPT_KIT_LINEAR_VULKAN_H

#include "kit/linear_vulkan_plan.h"

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
                                   .words = rapt_view_dtype(borders) == RAPT_I64 ? 2 : 1,
                                   .skip = (uint32_t)rapt_linear_skip(x),
                                   .gap = (uint32_t)rapt_linear_spacing(x)};
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
        tail->tree.origin = (uint32_t)rapt_linear_origin(x);
        tail->tree.lane_parts = (uint32_t)x->lane_parts;
        tail->tree.part_levels = (uint32_t)x->part_levels;
        tail->tree.depth = (uint32_t)rapt_linear_depth(x);
        *flags |= x->l.dtype == RAPT_F32 ? RAPT_LINEAR_WIDE_L : 0;
        *flags |= rapt_linear_start(x);
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
    dispatch.flags =
        (x->beside ? RAPT_VULKAN_CONCURRENT : 0u) | rapt_vulkan_operands(x->call, shader);
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
    const bool aligned = rapt_linear_aligned(x, rows, 2);
    uint32_t constants[4] = {0, 0, reverse, x->goes_on};
    rapt_linear_constants(x, aligned, constants);
    rapt_linear_tail_of(x, rows, 2, &push.tail, &push.flags);
    const rapt_vulkan_buffer factor = x->levels           ? x->decays
                                      : x->factors.memory ? x->factors
                                                          : x->slope;
    const rapt_vulkan_buffer buffers[] = {a->buffer, c->buffer, *states,  x->table,   x->zeros,
                                          x->zeros,  factor,    x->spans, x->l.buffer};
    const int form =
        rapt_linear_coop_states(x) ? rapt_linear_form(x, aligned) : rapt_linear_half(x);
    const uint32_t tiles =
        rapt_vulkan_groups(x->d, 64) * (form < 2 ? rapt_vulkan_groups(x->e, 64) : 1);
    const uint32_t groups[3] = {(uint32_t)x->slots, (uint32_t)x->count, tiles};
    return rapt_linear_run(x, &shader[form], constants, 4, groups, buffers, &push, NULL);
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

/* Rows of every chunk. `ends`: a state comes in at the end of the sequence where the pass begins;
 * in the hierarchical form a gradient of the final one. */
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
        .flags = (ends ? x->levels ? RAPT_LINEAR_HAS_FINAL : RAPT_LINEAR_HAS_FROM : 0u) |
                 (values ? 0u : RAPT_LINEAR_GROUPED) |
                 (abc[0]->sigmoid ? RAPT_LINEAR_SIGMOID : 0u) |
                 (abc[1]->sigmoid ? RAPT_LINEAR_SIGMOID * 2u : 0u) |
                 (abc[2]->sigmoid ? RAPT_LINEAR_SIGMOID * 4u : 0u) |
                 (upper ? RAPT_LINEAR_IS_UPPER : 0u) | (wide ? RAPT_LINEAR_IS_WIDE : 0u),
    };
    const bool lean = x->device.limits->vendor == RAPT_VULKAN_SOFTWARE;
    const bool aligned = rapt_linear_aligned(x, rows, 4);
    uint32_t constants[6] = {0,         0, lean ? 2 : upper, lean ? 2 : !values, lean ? 2 : wide,
                             x->goes_on};
    rapt_linear_constants(x, aligned, constants);
    rapt_linear_tail_of(x, rows, 3, &push.tail, &push.flags);
    const rapt_vulkan_buffer factor = x->levels           ? x->decays
                                      : x->factors.memory ? x->factors
                                                          : x->slope;
    const rapt_vulkan_buffer buffers[] = {abc[0]->buffer, abc[1]->buffer, abc[2]->buffer,
                                          to->buffer,     *states,        x->table,
                                          factor,         x->spans,       x->l.buffer};
    const uint32_t lanes = (uint32_t)(values ? x->count : x->count / x->share);
    const uint32_t groups[3] = {(uint32_t)x->slots, lanes, 1};
    const int form = rapt_linear_form(x, aligned);
    return rapt_linear_run(x, &shader[form], constants, 6, groups, buffers, &push, NULL);
}

/* dq, dk and dv of the heads in work, each to a view of `to` or, NULL, not at all. `rows`: of q, k,
 * v and do. `from`: a state comes in before the first chunk; `final_state`: that after the last has
 * a gradient. */
static inline rapt_status rapt_linear_gradients(rapt_linear_vulkan *x,
                                                const rapt_vulkan_shader *shader,
                                                const rapt_linear_rows *const *rows,
                                                const rapt_view *const *to, bool from,
                                                bool final_state)
{
    const rapt_linear_rows *q = rows[0], *k = rows[1], *v = rows[2], *d_o = rows[3];
    const rapt_linear_rows *const abc[3][3] = {{d_o, v, k}, {v, d_o, q}, {k, q, d_o}};
    rapt_status status = RAPT_OK;
    bool some = false;
    for (int i = 0; status == RAPT_OK && i < 3; i++) {
        rapt_linear_rows out;
        if (!to[i])
            continue;
        status = rapt_linear_rows_of(x, to[i], &out);
        x->beside = some; /* the three read the same and write apart */
        some = true;
        if (status == RAPT_OK)
            status =
                rapt_linear_apply(x, shader, (rapt_linear_out)(RAPT_LINEAR_DQ + i), abc[i], &out,
                                  i == 0 ? &x->states : &x->reverse, i == 0 ? from : final_state);
    }
    return status;
}

/* --- One position ------------------------------------------------------------------------------
 */

/* A row for each head. */
typedef struct rapt_linear_step_row {
    uint32_t base, batch, head;
} rapt_linear_step_row;

/* What begins the push constants of a step. */
typedef struct rapt_linear_step_push {
    rapt_linear_step_row q, k, v, o;
    uint32_t state, height, width, heads, share;
    float scale;
    uint32_t flags;
} rapt_linear_step_push;

static inline rapt_status rapt_linear_step_row_of(rapt_linear_vulkan *x, const rapt_view *view,
                                                  rapt_vulkan_buffer *buffer,
                                                  rapt_linear_step_row *row)
{
    rapt_linear_rows rows;
    const rapt_status status = rapt_linear_rows_of(x, view, &rows);
    *buffer = rows.buffer;
    row->base = rows.at.base;
    row->batch = rows.at.batch;
    row->head = rows.at.head;
    return status;
}

/* The device, and q, k, v, o and the state of the call as buffers 0 to 4. */
static inline rapt_status rapt_linear_step_begin(rapt_linear_vulkan *x,
                                                 const rapt_view *const *rows,
                                                 rapt_vulkan_buffer *buffers,
                                                 rapt_linear_step_push *push)
{
    rapt_call *call = x->call;
    rapt_linear_step_row *const row[4] = {&push->q, &push->k, &push->v, &push->o};
    rapt_status status = rapt_vulkan_begin(call, &x->device);
    push->height = (uint32_t)x->d;
    push->width = (uint32_t)x->e;
    push->heads = (uint32_t)x->heads;
    push->share = (uint32_t)(x->groups ? x->heads / x->groups : 1);
    push->scale = x->scale;
    push->flags = x->has_slope ? RAPT_LINEAR_HAS_SLOPE : 0u;
    for (int i = 0; status == RAPT_OK && i < 4; i++)
        status = rapt_linear_step_row_of(x, rows[i], &buffers[i], row[i]);
    if (status == RAPT_OK)
        status =
            rapt_vulkan_bind(call, x->device.limits, call->states[0], &buffers[4], &push->state);
    return status;
}

/* `push`: all of the shader's, which begins with a rapt_linear_step_push. */
static inline rapt_status rapt_linear_step_run(rapt_linear_vulkan *x,
                                               const rapt_vulkan_shader *shader,
                                               const rapt_vulkan_buffer *buffers, const void *push)
{
    uint32_t constants[2];
    rapt_linear_constants(x, false, constants);
    return rapt_vulkan_run(&x->device, &shader[rapt_linear_half(x)], constants, 2,
                           rapt_vulkan_groups(x->e, 32), (uint32_t)x->heads, (uint32_t)x->batch,
                           buffers, push, NULL);
}

#endif
