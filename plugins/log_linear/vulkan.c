/* log_linear on Vulkan: the chunked driver in its hierarchical form. */
#include "kit/linear_vulkan.h"
#include "log_linear.h"

#include "log_linear_apply_f32.h"
#include "log_linear_apply_half.h"
#include "log_linear_contribute_f32.h"
#include "log_linear_contribute_half.h"
#include "log_linear_crossing.h"
#include "log_linear_decay_f32.h"
#include "log_linear_decay_half.h"
#include "log_linear_final_f32.h"
#include "log_linear_final_half.h"
#include "log_linear_finish_f32.h"
#include "log_linear_finish_half.h"
#include "log_linear_grow.h"
#include "log_linear_rates_f32.h"
#include "log_linear_rates_half.h"
#include "log_linear_readers_f32.h"
#include "log_linear_readers_half.h"
#include "log_linear_shed.h"
#include "log_linear_spans.h"
#include "log_linear_step_f32.h"
#include "log_linear_step_half.h"
#include "log_linear_table.h"

/* Flags of rates.comp beyond the kit's. */
enum { RATES_WIDE_TO = 16, RATES_HAS_TO = 32 };

typedef struct decay_push {
    rapt_linear_place g;
    uint32_t n, packed, slots, origin, flags;
} decay_push;

typedef struct spans_push {
    uint32_t n, packed, slots, origin, flags;
} spans_push;

typedef struct crossing_push {
    uint32_t n, packed, slots, origin, flags, lane_states, size;
} crossing_push;

/* A state [sequence, head, level, D, E], which may be absent. */
typedef struct levels_place {
    rapt_linear_place at;
    uint32_t row;
} levels_place;

typedef struct grow_push {
    uint32_t n, packed, slots, lane_states, size, origin, flags;
    levels_place from;
    uint32_t width, levels;
} grow_push;

typedef struct shed_push {
    uint32_t n, packed, slots, lane_states, size, lane_parts, part_levels, origin, flags;
    levels_place from;
    uint32_t width, levels, to, heads, first_head;
} shed_push;

typedef struct final_push {
    rapt_linear_place k, v;
    uint32_t n, packed, slots, lane_states, size, width, share, levels, heads, first_head, to,
        origin, flags;
    levels_place from;
} final_push;

typedef struct rates_params {
    rapt_linear_place q, k, v, d_o, l, to;
    uint32_t n, packed, share, levels, slots, lane_states, inner, width;
    float scale;
    uint32_t flags, origin;
} rates_params;

typedef struct step_push {
    rapt_linear_step_push step;
    rapt_linear_step_row g, l;
    uint32_t levels, position, position_high;
} step_push;

enum { STEP_WIDE_G = 16 };

RAPT_LINEAR_SHADER(log_linear, decay, 4, sizeof(decay_push));
RAPT_LINEAR_SHADER_ONE(log_linear, spans, 2, sizeof(spans_push));
RAPT_LINEAR_SHADER(log_linear, contribute, 9,
                   RAPT_LINEAR_CONTRIBUTE_BYTES + sizeof(rapt_linear_tree_tail));
RAPT_LINEAR_SHADER_ONE(log_linear, grow, 4, sizeof(grow_push));
/* apply does not know parts: the last three numbers of the tail. */
RAPT_LINEAR_SHADER(log_linear, apply, 9,
                   RAPT_LINEAR_APPLY_BYTES + sizeof(rapt_linear_tree_tail) - 12);
RAPT_LINEAR_SHADER(log_linear, final, 8, sizeof(final_push));
RAPT_LINEAR_SHADER(log_linear, readers, 9,
                   RAPT_LINEAR_CONTRIBUTE_BYTES + sizeof(rapt_linear_tree_tail));
RAPT_LINEAR_SHADER_ONE(log_linear, shed, 6, sizeof(shed_push));
RAPT_LINEAR_SHADER_ONE(log_linear, crossing, 4, sizeof(crossing_push));
RAPT_LINEAR_SHADER(log_linear, finish, 4, sizeof(decay_push));
RAPT_LINEAR_SHADER(log_linear, step, 7, sizeof(step_push));
RAPT_LINEAR_SHADER_ONE(log_linear, table, 2, sizeof(rapt_linear_table_push));

static const rapt_vulkan_shader log_linear_rates_shader[2] = {
    {.size = sizeof(rapt_vulkan_shader),
     .name = "log_linear.rates.f32",
     .code = log_linear_rates_f32,
     .code_bytes = sizeof log_linear_rates_f32,
     .n_buffers = 13,
     .params_bytes = sizeof(rates_params)},
    {.size = sizeof(rapt_vulkan_shader),
     .features = RAPT_VULKAN_STORAGE16,
     .name = "log_linear.rates.half",
     .code = log_linear_rates_half,
     .code_bytes = sizeof log_linear_rates_half,
     .n_buffers = 13,
     .params_bytes = sizeof(rates_params)},
};

/* A call: the driver's problem, and what only this operator has of the heads in work. */
typedef struct log_linear_job {
    rapt_linear_vulkan x;
    rapt_linear_rows q, k, v, g;
    rapt_vulkan_buffer parts, rates, passing;
} log_linear_job;

static void describe(rapt_call *call, rapt_linear_vulkan *x)
{
    memset(x, 0, sizeof *x);
    x->call = call;
    x->batch = call->sizes['B'];
    x->n = call->sizes['N'];
    x->heads = call->sizes['H'];
    x->groups = call->sizes['G'];
    x->d = call->sizes['D'];
    x->e = call->sizes['E'];
    x->levels = call->sizes['L'];
    x->borders = call->inputs[LOG_LINEAR_BORDERS];
    x->scale = (float)call->attrs[0].f;
    x->state_buffers = call->phase == RAPT_BACKWARD ? 2 : 1;
    if (call->phase == RAPT_STEP)
        return;
    x->position = call->attrs[LOG_LINEAR_POSITION].i[0];
    x->goes_on = x->position || call->inputs[LOG_LINEAR_STATE] ||
                 (call->phase == RAPT_BACKWARD && call->grad_outputs[LOG_LINEAR_FINAL]);
}

rapt_status log_linear_vulkan_supports(rapt_call *call)
{
    rapt_linear_vulkan x;
    describe(call, &x);
    const rapt_status status = rapt_linear_plan(&x);
    return status == RAPT_OK ? rapt_linear_fits(&x) : status;
}

/* The plan, and the memory of decays and their gradients. */
static rapt_status plan(rapt_call *call, log_linear_job *job)
{
    rapt_linear_vulkan *x = &job->x;
    memset(job, 0, sizeof *job);
    describe(call, x);
    const rapt_status status = rapt_linear_plan(x);
    if (status != RAPT_OK)
        return status;
    const uint64_t chunks = (uint64_t)(x->round * x->slots);
    const uint64_t state = (uint64_t)(x->d * x->e) * sizeof(float);
    x->decays = rapt_linear_take(x, chunks * RAPT_LINEAR_CHUNK * 2 * sizeof(float));
    x->spans = rapt_linear_take(x, chunks * 4 * sizeof(float));
    job->parts = job->rates = job->passing = x->zeros;
    if (call->phase == RAPT_BACKWARD) {
        job->parts =
            rapt_linear_take(x, (uint64_t)(x->round * x->part_levels * x->lane_parts) * state);
        job->rates = rapt_linear_take(x, chunks * RAPT_LINEAR_CHUNK * sizeof(float));
        job->passing = rapt_linear_take(x, chunks * 2 * sizeof(float));
    }
    return RAPT_OK;
}

size_t log_linear_vulkan_workspace(rapt_call *call)
{
    log_linear_job job;
    if (call->phase == RAPT_STEP || plan(call, &job) != RAPT_OK)
        return 0;
    return (size_t)job.x.used;
}

/* The inputs of forward and backward, laid out. */
static rapt_status begin(rapt_call *call, log_linear_job *job)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_status status = plan(call, job);
    rapt_linear_rows *const rows[] = {&job->q, &job->k, &job->v, &job->g, &x->l};
    static const int input[] = {LOG_LINEAR_Q, LOG_LINEAR_K, LOG_LINEAR_V, LOG_LINEAR_G,
                                LOG_LINEAR_L};
    for (int i = 0; status == RAPT_OK && i < 5; i++)
        status = rapt_linear_rows_of(x, call->inputs[input[i]], rows[i]);
    if (status == RAPT_OK)
        status = rapt_linear_begin(x, &log_linear_table_shader);
    return status;
}

/* The constants of shaders of this operator alone. */
static void constants_of(const rapt_linear_vulkan *x, bool aligned, uint32_t constants[3])
{
    rapt_linear_constants(x, aligned, constants);
    constants[2] = x->goes_on;
}

/* A dispatch of so many parts of 64 numbers of a state, for each head in work and sequence. */
static rapt_status run_parts(rapt_linear_vulkan *x, const rapt_vulkan_shader *shader,
                             const rapt_vulkan_buffer *buffers, const void *push)
{
    uint32_t constants[3];
    constants_of(x, false, constants);
    return rapt_vulkan_run(&x->device, shader, constants, 3, rapt_vulkan_groups(x->d * x->e, 64),
                           (uint32_t)x->count, (uint32_t)x->sequences, buffers, push, NULL);
}

/* Where a state of all levels lies, or NULL, of the heads in work. */
static rapt_status levels_of(rapt_linear_vulkan *x, const rapt_view *view,
                             rapt_vulkan_buffer *buffer, levels_place *place)
{
    rapt_linear_rows rows;
    uint32_t strides[RAPT_MAX_DIMS] = {0};
    const rapt_status status = rapt_linear_rows_of(x, view, &rows);
    if (view)
        rapt_vulkan_strides(view, strides);
    *buffer = rows.buffer;
    place->at = rapt_linear_at(x, &rows, false);
    place->row = strides[3];
    return status;
}

static rapt_status record_decays(log_linear_job *job)
{
    rapt_linear_vulkan *x = &job->x;
    const decay_push decay = {.g = rapt_linear_at(x, &job->g, false),
                              .n = (uint32_t)x->n,
                              .packed = (uint32_t)x->packed,
                              .slots = (uint32_t)x->slots,
                              .origin = (uint32_t)rapt_linear_origin(x),
                              .flags = (job->g.dtype == RAPT_F32 ? RAPT_LINEAR_WIDE_L : 0u) |
                                       rapt_linear_start(x)};
    const spans_push spans = {decay.n, decay.packed, decay.slots, decay.origin, decay.flags};
    const rapt_vulkan_buffer of_decay[] = {job->g.buffer, x->table, x->decays, x->spans};
    const rapt_vulkan_buffer of_spans[] = {x->spans, x->table};
    uint32_t constants[3];
    constants_of(x, false, constants);
    const rapt_status status =
        rapt_vulkan_run(&x->device, &log_linear_decay_shader[rapt_linear_half(x)], constants, 3,
                        (uint32_t)x->slots, (uint32_t)x->count, 1, of_decay, &decay, NULL);
    if (status != RAPT_OK)
        return status;
    return rapt_vulkan_run(&x->device, &log_linear_spans_shader, constants, 3,
                           (uint32_t)x->sequences, (uint32_t)x->count, 1, of_spans, &spans, NULL);
}

/* Decays, the state of each chunk, and the trees over them. */
static rapt_status make_states(log_linear_job *job)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_status status = record_decays(job);
    if (status == RAPT_OK)
        status = rapt_linear_contribute(x, log_linear_contribute_shader, &job->k, &job->v,
                                        &x->states, false, 0);
    const rapt_view *from = x->call->inputs[LOG_LINEAR_STATE];
    grow_push push = {.n = (uint32_t)x->n,
                      .packed = (uint32_t)x->packed,
                      .slots = (uint32_t)x->slots,
                      .lane_states = (uint32_t)x->lane_states,
                      .size = (uint32_t)(x->d * x->e),
                      .origin = (uint32_t)rapt_linear_origin(x),
                      .flags = (from ? RAPT_LINEAR_HAS_FROM : 0u) | rapt_linear_start(x),
                      .width = (uint32_t)x->e,
                      .levels = (uint32_t)x->levels};
    rapt_vulkan_buffer buffers[4] = {x->states, x->table, x->spans};
    if (status == RAPT_OK)
        status = levels_of(x, from, &buffers[3], &push.from);
    return status == RAPT_OK ? run_parts(x, &log_linear_grow_shader, buffers, &push) : status;
}

static rapt_status record_final(log_linear_job *job, const rapt_view *view)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_view *from = x->call->inputs[LOG_LINEAR_STATE];
    final_push push = {.k = rapt_linear_at(x, &job->k, true),
                       .v = rapt_linear_at(x, &job->v, false),
                       .n = (uint32_t)x->n,
                       .packed = (uint32_t)x->packed,
                       .slots = (uint32_t)x->slots,
                       .lane_states = (uint32_t)x->lane_states,
                       .size = (uint32_t)(x->d * x->e),
                       .width = (uint32_t)x->e,
                       .share = (uint32_t)x->share,
                       .levels = (uint32_t)x->levels,
                       .heads = (uint32_t)x->heads,
                       .first_head = (uint32_t)x->first,
                       .origin = (uint32_t)rapt_linear_origin(x),
                       .flags = (from ? RAPT_LINEAR_HAS_FROM : 0u) | rapt_linear_start(x)};
    rapt_vulkan_buffer buffers[8] = {x->states, x->table,      x->spans,
                                     x->decays, job->k.buffer, job->v.buffer};
    rapt_status status = rapt_vulkan_bind(x->call, x->device.limits, view, &buffers[6], &push.to);
    if (status == RAPT_OK)
        status = levels_of(x, from, &buffers[7], &push.from);
    if (status != RAPT_OK)
        return status;
    uint32_t constants[3];
    constants_of(x, false, constants);
    return rapt_vulkan_run(&x->device, &log_linear_final_shader[rapt_linear_half(x)], constants, 3,
                           rapt_vulkan_groups(x->d * x->e, 64), (uint32_t)x->count,
                           (uint32_t)(x->sequences * x->levels), buffers, &push, NULL);
}

rapt_status log_linear_vulkan_forward(rapt_call *call)
{
    log_linear_job job;
    rapt_linear_vulkan *x = &job.x;
    rapt_linear_rows o;
    const rapt_linear_rows *const abc[3] = {&job.q, &job.k, &job.v};
    const rapt_view *final_state = call->outputs[LOG_LINEAR_FINAL];
    rapt_status status = begin(call, &job);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(x, call->outputs[LOG_LINEAR_O], &o);
    while (status == RAPT_OK && rapt_linear_next(x)) {
        status = make_states(&job);
        if (status == RAPT_OK)
            status = rapt_linear_apply(x, log_linear_apply_shader, RAPT_LINEAR_O, abc, &o,
                                       &x->states, false);
        if (status == RAPT_OK && final_state)
            status = record_final(&job, final_state);
    }
    return status;
}

/* What the queries of each block of chunks say of the node that they read. */
static rapt_status record_readers(log_linear_job *job, const rapt_linear_rows *d_o)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_linear_rows *const rows[2] = {&job->q, d_o};
    rapt_linear_contribute_push push = {
        .a = rapt_linear_at(x, &job->q, true),
        .c = rapt_linear_at(x, d_o, false),
        .n = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .share = (uint32_t)x->share,
        .lane_states = (uint32_t)x->lane_states,
        .height = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .scale = x->scale,
    };
    uint32_t constants[4] = {0, 0, 1, x->goes_on};
    rapt_linear_constants(x, rapt_linear_aligned(x, rows, 2), constants);
    rapt_linear_tail_of(x, rows, 2, &push.tail, &push.flags);
    const rapt_vulkan_buffer buffers[] = {job->q.buffer, d_o->buffer, x->reverse,
                                          x->table,      x->zeros,    job->parts,
                                          x->decays,     x->spans,    x->l.buffer};
    const uint32_t tiles = rapt_vulkan_groups(x->d, 64) * rapt_vulkan_groups(x->e, 64);
    /* Levels, and behind them pieces. */
    const int levels = rapt_linear_depth(x) + (rapt_linear_skip(x) ? RAPT_LINEAR_CHUNK_LOG : 0);
    return rapt_vulkan_run(&x->device, &log_linear_readers_shader[rapt_linear_half(x)], constants,
                           4, (uint32_t)x->slots, (uint32_t)x->count, tiles * (uint32_t)levels,
                           buffers, &push, NULL);
}

/* From the nodes down to the chunks, with what is said of the final state; what is said of the
 * state before goes out. */
static rapt_status record_shed(log_linear_job *job)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_view *final_state = x->call->grad_outputs[LOG_LINEAR_FINAL];
    const rapt_view *state = x->call->grad_inputs[LOG_LINEAR_STATE];
    shed_push shed = {.n = (uint32_t)x->n,
                      .packed = (uint32_t)x->packed,
                      .slots = (uint32_t)x->slots,
                      .lane_states = (uint32_t)x->lane_states,
                      .size = (uint32_t)(x->d * x->e),
                      .lane_parts = (uint32_t)x->lane_parts,
                      .part_levels = (uint32_t)x->part_levels,
                      .origin = (uint32_t)rapt_linear_origin(x),
                      .flags = (final_state ? RAPT_LINEAR_HAS_FINAL : 0u) |
                               (state ? RAPT_LINEAR_HAS_TO : 0u) | rapt_linear_start(x),
                      .width = (uint32_t)x->e,
                      .levels = (uint32_t)x->levels,
                      .heads = (uint32_t)x->heads,
                      .first_head = (uint32_t)x->first};
    rapt_vulkan_buffer buffers[6] = {x->reverse, x->table, x->spans, job->parts};
    rapt_status status = levels_of(x, final_state, &buffers[4], &shed.from);
    if (status == RAPT_OK)
        status = rapt_vulkan_bind(x->call, x->device.limits, state, &buffers[5], &shed.to);
    return status == RAPT_OK ? run_parts(x, &log_linear_shed_shader, buffers, &shed) : status;
}

/* The gradients of level weights, and by chunk those of decays. */
static rapt_status record_rates(log_linear_job *job, const rapt_linear_rows *d_o)
{
    rapt_linear_vulkan *x = &job->x;
    const rapt_linear_rows *const rows[4] = {&job->q, &job->k, &job->v, d_o};
    const rapt_view *view = x->call->grad_inputs[LOG_LINEAR_L];
    rapt_linear_rows to;
    const rapt_status status = rapt_linear_rows_of(x, view, &to);
    if (status != RAPT_OK)
        return status;
    const rates_params params = {
        .q = rapt_linear_at(x, &job->q, true),
        .k = rapt_linear_at(x, &job->k, true),
        .v = rapt_linear_at(x, &job->v, false),
        .d_o = rapt_linear_at(x, d_o, false),
        .l = rapt_linear_at(x, &x->l, false),
        .to = rapt_linear_at(x, &to, false),
        .n = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .share = (uint32_t)x->share,
        .levels = (uint32_t)x->levels,
        .slots = (uint32_t)x->slots,
        .lane_states = (uint32_t)x->lane_states,
        .inner = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .scale = x->scale,
        .flags = (x->l.dtype == RAPT_F32 ? RAPT_LINEAR_WIDE_L : 0u) |
                 (to.dtype == RAPT_F32 ? RATES_WIDE_TO : 0u) | (view ? RATES_HAS_TO : 0u) |
                 (x->call->grad_outputs[LOG_LINEAR_FINAL] ? RAPT_LINEAR_HAS_FINAL : 0u) |
                 rapt_linear_start(x),
        .origin = (uint32_t)rapt_linear_origin(x),
    };
    uint32_t constants[3];
    constants_of(x, rapt_linear_aligned(x, rows, 4), constants);
    const rapt_vulkan_buffer buffers[] = {
        job->q.buffer, job->k.buffer, job->v.buffer, d_o->buffer, x->states,    x->table, x->decays,
        x->spans,      x->l.buffer,   x->reverse,    job->rates,  job->passing, to.buffer};
    return rapt_vulkan_run(&x->device, &log_linear_rates_shader[rapt_linear_half(x)], constants, 3,
                           (uint32_t)x->slots, (uint32_t)x->count, 1, buffers, NULL, &params);
}

/* The gradients of the decays, from those by chunk. */
static rapt_status record_finish(log_linear_job *job)
{
    rapt_linear_vulkan *x = &job->x;
    rapt_linear_rows to;
    rapt_status status = rapt_linear_rows_of(x, x->call->grad_inputs[LOG_LINEAR_G], &to);
    if (status != RAPT_OK)
        return status;
    const decay_push finish = {.g = rapt_linear_at(x, &to, false),
                               .n = (uint32_t)x->n,
                               .packed = (uint32_t)x->packed,
                               .slots = (uint32_t)x->slots,
                               .origin = (uint32_t)rapt_linear_origin(x),
                               .flags = (to.dtype == RAPT_F32 ? RAPT_LINEAR_WIDE_L : 0u) |
                                        rapt_linear_start(x)};
    const crossing_push crossing = {
        .n = finish.n,
        .packed = finish.packed,
        .slots = finish.slots,
        .origin = finish.origin,
        .flags =
            (x->call->inputs[LOG_LINEAR_STATE] ? RAPT_LINEAR_HAS_FROM : 0u) | rapt_linear_start(x),
        .lane_states = (uint32_t)x->lane_states,
        .size = (uint32_t)(x->d * x->e)};
    const rapt_vulkan_buffer of_crossing[] = {job->passing, x->table, x->states, x->reverse};
    const rapt_vulkan_buffer of_finish[] = {job->rates, x->table, job->passing, to.buffer};
    uint32_t constants[3];
    constants_of(x, false, constants);
    status = rapt_vulkan_run(&x->device, &log_linear_crossing_shader, constants, 3,
                             (uint32_t)x->sequences, (uint32_t)x->count, 1, of_crossing, &crossing,
                             NULL);
    if (status != RAPT_OK)
        return status;
    return rapt_vulkan_run(&x->device, &log_linear_finish_shader[rapt_linear_half(x)], constants, 3,
                           (uint32_t)x->slots, (uint32_t)x->count, 1, of_finish, &finish, NULL);
}

rapt_status log_linear_vulkan_backward(rapt_call *call)
{
    log_linear_job job;
    rapt_linear_vulkan *x = &job.x;
    rapt_linear_rows d_o;
    const rapt_linear_rows *const rows[4] = {&job.q, &job.k, &job.v, &d_o};
    const rapt_view *const to[3] = {call->grad_inputs[LOG_LINEAR_Q],
                                    call->grad_inputs[LOG_LINEAR_K],
                                    call->grad_inputs[LOG_LINEAR_V]};
    const bool decays = call->grad_inputs[LOG_LINEAR_G] != NULL;
    const bool weights = call->grad_inputs[LOG_LINEAR_L] != NULL;
    rapt_status status = begin(call, &job);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(x, call->grad_outputs[LOG_LINEAR_O], &d_o);
    if (status == RAPT_OK && !call->grad_outputs[LOG_LINEAR_O])
        status = rapt_linear_zero(x);
    while (status == RAPT_OK && rapt_linear_next(x)) {
        status = make_states(&job);
        if (status == RAPT_OK)
            status = record_readers(&job, &d_o);
        if (status == RAPT_OK)
            status = record_shed(&job);
        if (status == RAPT_OK)
            status = rapt_linear_gradients(x, log_linear_apply_shader, rows, to, false,
                                           call->grad_outputs[LOG_LINEAR_FINAL] != NULL);
        if (status == RAPT_OK && (decays || weights))
            status = record_rates(&job, &d_o);
        if (status == RAPT_OK && decays)
            status = record_finish(&job);
    }
    return status;
}

rapt_status log_linear_vulkan_step(rapt_call *call)
{
    rapt_linear_vulkan x;
    const rapt_view *const rows[4] = {call->inputs[LOG_LINEAR_Q], call->inputs[LOG_LINEAR_K],
                                      call->inputs[LOG_LINEAR_V], call->outputs[LOG_LINEAR_O]};
    const rapt_view *g = call->inputs[LOG_LINEAR_G], *l = call->inputs[LOG_LINEAR_L];
    rapt_vulkan_buffer buffers[7];
    step_push push;
    describe(call, &x);
    if (x.levels < 62 && call->position >> (x.levels - 1))
        return call->host->error(call, RAPT_INVALID,
                                 "position %lld needs more than the %lld levels of l",
                                 (long long)call->position + 1, (long long)x.levels);
    rapt_status status = rapt_linear_step_begin(&x, rows, buffers, &push.step);
    if (status == RAPT_OK)
        status = rapt_linear_step_row_of(&x, g, &buffers[5], &push.g);
    if (status == RAPT_OK)
        status = rapt_linear_step_row_of(&x, l, &buffers[6], &push.l);
    if (status != RAPT_OK)
        return status;
    push.step.flags |= (rapt_view_dtype(l) == RAPT_F32 ? RAPT_LINEAR_WIDE_L : 0u) |
                       (rapt_view_dtype(g) == RAPT_F32 ? STEP_WIDE_G : 0u);
    push.levels = (uint32_t)x.levels;
    push.position = (uint32_t)call->position;
    push.position_high = (uint32_t)((uint64_t)call->position >> 32);
    return rapt_linear_step_run(&x, log_linear_step_shader, buffers, &push);
}
