/* lightning on Vulkan: the chunked driver with a constant decay. */
#include "kit/linear_vulkan.h"
#include "lightning.h"

#include "lightning_apply_coop_emulated.h"
#include "lightning_apply_coop_khr.h"
#include "lightning_apply_coop_nv.h"
#include "lightning_apply_f32.h"
#include "lightning_apply_half.h"
#include "lightning_carry.h"
#include "lightning_contribute_f32.h"
#include "lightning_contribute_half.h"
#include "lightning_rate_f32.h"
#include "lightning_rate_half.h"
#include "lightning_slope_f32.h"
#include "lightning_slope_half.h"
#include "lightning_step_f32.h"
#include "lightning_step_half.h"
#include "lightning_table.h"
#include "lightning_total.h"

/* A flag of slope.comp beyond the kit's. */
enum { SLOPE_STEEP_ALONE = 8 };

typedef struct slope_push {
    rapt_linear_place q, k, v, d_o;
    uint32_t n, packed, lane_states, slots, inner, width;
    float scale;
    uint32_t flags, slope, heads_before;
} slope_push;

typedef struct rate_push {
    rapt_linear_place q, k, d_q, d_k;
    uint32_t n, packed, lane_states, slots, inner, width, slope, heads_before;
} rate_push;

typedef struct step_push {
    rapt_linear_step_push step;
    uint32_t slope;
} step_push;

typedef struct total_push {
    uint32_t slots, to;
} total_push;

RAPT_LINEAR_SHADER(lightning, contribute, 7, RAPT_LINEAR_CONTRIBUTE_BYTES + 4);
RAPT_LINEAR_SHADER_COOP(lightning, apply, 7, RAPT_LINEAR_APPLY_BYTES + 4);
RAPT_LINEAR_SHADER(lightning, slope, 9, sizeof(slope_push));
RAPT_LINEAR_SHADER(lightning, rate, 9, sizeof(rate_push));
RAPT_LINEAR_SHADER(lightning, step, 6, sizeof(step_push));
RAPT_LINEAR_SHADER_ONE(lightning, carry, 5, sizeof(rapt_linear_carry_push));
RAPT_LINEAR_SHADER_ONE(lightning, total, 2, sizeof(total_push));
RAPT_LINEAR_SHADER_ONE(lightning, table, 2, sizeof(rapt_linear_table_push));

/* The gradients of the slopes by chunk. */
static rapt_vulkan_buffer take_rates(rapt_linear_vulkan *x)
{
    return rapt_linear_take(x, (uint64_t)(x->heads * x->slots) * sizeof(float));
}

static void describe(rapt_call *call, rapt_linear_vulkan *x)
{
    memset(x, 0, sizeof *x);
    x->call = call;
    x->batch = call->sizes['B'];
    x->n = call->sizes['N'];
    x->heads = x->groups = call->sizes['H'];
    x->d = call->sizes['D'];
    x->e = call->sizes['E'];
    x->borders = call->inputs[LIGHTNING_BORDERS];
    x->scale = (float)call->attrs[0].f;
    x->state_buffers = call->phase == RAPT_BACKWARD ? 2 : 1;
    x->has_slope = call->inputs[LIGHTNING_SLOPE] != NULL;
}

rapt_status lightning_vulkan_supports(rapt_call *call)
{
    rapt_linear_vulkan x;
    describe(call, &x);
    const rapt_status status = rapt_linear_plan(&x);
    return status == RAPT_OK ? rapt_linear_fits(&x) : status;
}

size_t lightning_vulkan_workspace(rapt_call *call)
{
    rapt_linear_vulkan x;
    describe(call, &x);
    if (call->phase == RAPT_STEP || rapt_linear_plan(&x) != RAPT_OK)
        return 0;
    take_rates(&x);
    return (size_t)x.used;
}

/* The inputs of forward and backward, laid out. */
static rapt_status begin(rapt_call *call, rapt_linear_vulkan *x, rapt_linear_rows *q,
                         rapt_linear_rows *k, rapt_linear_rows *v)
{
    describe(call, x);
    rapt_status status = rapt_linear_plan(x);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(x, call->inputs[LIGHTNING_Q], q);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(x, call->inputs[LIGHTNING_K], k);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(x, call->inputs[LIGHTNING_V], v);
    if (status == RAPT_OK)
        status = rapt_vulkan_bind(call, x->device.limits, call->inputs[LIGHTNING_SLOPE], &x->slope,
                                  &x->slope_base);
    if (status == RAPT_OK)
        status = rapt_linear_begin(x, &lightning_table_shader);
    return status;
}

/* The states before each chunk; the final ones to `to`, or NULL. */
static rapt_status make_states(rapt_linear_vulkan *x, const rapt_linear_rows *k,
                               const rapt_linear_rows *v, const rapt_view *to)
{
    const rapt_linear_ends ends = {x->call->inputs[LIGHTNING_STATE], to};
    const rapt_status status =
        rapt_linear_contribute(x, lightning_contribute_shader, k, v, &x->states, false, 0);
    if (status != RAPT_OK)
        return status;
    return rapt_linear_carry(x, &lightning_carry_shader, &x->states, false, &ends);
}

/* Backward: those, and what is said of the states after each chunk, side by side. */
static rapt_status make_both(rapt_linear_vulkan *x, const rapt_linear_rows *const *rows)
{
    rapt_call *call = x->call;
    const rapt_linear_ends ends = {call->inputs[LIGHTNING_STATE], NULL};
    const rapt_linear_ends reverse = {call->grad_outputs[LIGHTNING_FINAL],
                                      call->grad_inputs[LIGHTNING_STATE]};
    rapt_status status = rapt_linear_contribute(x, lightning_contribute_shader, rows[1], rows[2],
                                                &x->states, false, 0);
    x->beside = true;
    if (status == RAPT_OK)
        status = rapt_linear_contribute(x, lightning_contribute_shader, rows[0], rows[3],
                                        &x->reverse, true, 0);
    if (status == RAPT_OK)
        status = rapt_linear_carry(x, &lightning_carry_shader, &x->states, false, &ends);
    x->beside = true;
    if (status == RAPT_OK)
        status = rapt_linear_carry(x, &lightning_carry_shader, &x->reverse, true, &reverse);
    return status;
}

rapt_status lightning_vulkan_forward(rapt_call *call)
{
    rapt_linear_vulkan x;
    rapt_linear_rows q, k, v, o;
    const rapt_linear_rows *const abc[3] = {&q, &k, &v};
    rapt_status status = begin(call, &x, &q, &k, &v);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(&x, call->outputs[LIGHTNING_O], &o);
    while (status == RAPT_OK && rapt_linear_next(&x)) {
        status = make_states(&x, &k, &v, call->outputs[LIGHTNING_FINAL]);
        if (status == RAPT_OK)
            status = rapt_linear_apply(&x, lightning_apply_shader, RAPT_LINEAR_O, abc, &o,
                                       &x.states, call->inputs[LIGHTNING_STATE] != NULL);
    }
    return status;
}

/* Whether the gradients of q and k tell those of the slopes: bfloat16 ones are too coarse for it.
 */
static bool gradients_tell(const rapt_call *call)
{
    return call->dtype != RAPT_BF16 && call->grad_inputs[LIGHTNING_Q] &&
           call->grad_inputs[LIGHTNING_K] && !call->inputs[LIGHTNING_STATE] &&
           !call->grad_outputs[LIGHTNING_FINAL];
}

/* The slopes' gradients by chunk, of the heads in work; `steep`: of steep slopes alone. */
static rapt_status record_slope(rapt_linear_vulkan *x, const rapt_linear_rows *const *rows,
                                rapt_vulkan_buffer rates, bool steep)
{
    const slope_push push = {
        .q = rapt_linear_at(x, rows[0], false),
        .k = rapt_linear_at(x, rows[1], false),
        .v = rapt_linear_at(x, rows[2], false),
        .d_o = rapt_linear_at(x, rows[3], false),
        .n = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .lane_states = (uint32_t)x->lane_states,
        .slots = (uint32_t)x->slots,
        .inner = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .scale = x->scale,
        .flags = RAPT_LINEAR_HAS_SLOPE |
                 (x->call->inputs[LIGHTNING_STATE] ? RAPT_LINEAR_HAS_FROM : 0u) |
                 (x->call->grad_outputs[LIGHTNING_FINAL] ? RAPT_LINEAR_HAS_TO : 0u) |
                 (steep ? SLOPE_STEEP_ALONE : 0u),
        .slope = x->slope_base + (uint32_t)x->first,
        .heads_before = (uint32_t)x->first,
    };
    uint32_t constants[2];
    rapt_linear_constants(x, rapt_linear_aligned(x, rows, 4), constants);
    const rapt_vulkan_buffer buffers[] = {rows[0]->buffer, rows[1]->buffer, rows[2]->buffer,
                                          rows[3]->buffer, x->states,       x->table,
                                          x->slope,        x->reverse,      rates};
    return rapt_vulkan_run(&x->device, &lightning_slope_shader[rapt_linear_half(x)], constants, 2,
                           (uint32_t)x->slots, (uint32_t)x->count, 1, buffers, &push, NULL);
}

/* The same from the gradients of q and k where slopes are not steep. */
static rapt_status record_rate(rapt_linear_vulkan *x, const rapt_linear_rows *const *rows,
                               rapt_vulkan_buffer rates)
{
    rapt_linear_rows d_q, d_k;
    const rapt_linear_rows *const all[4] = {rows[0], rows[1], &d_q, &d_k};
    rapt_status status = rapt_linear_rows_of(x, x->call->grad_inputs[LIGHTNING_Q], &d_q);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(x, x->call->grad_inputs[LIGHTNING_K], &d_k);
    if (status != RAPT_OK)
        return status;
    const rate_push push = {
        .q = rapt_linear_at(x, rows[0], false),
        .k = rapt_linear_at(x, rows[1], false),
        .d_q = rapt_linear_at(x, &d_q, false),
        .d_k = rapt_linear_at(x, &d_k, false),
        .n = (uint32_t)x->n,
        .packed = (uint32_t)x->packed,
        .lane_states = (uint32_t)x->lane_states,
        .slots = (uint32_t)x->slots,
        .inner = (uint32_t)x->d,
        .width = (uint32_t)x->e,
        .slope = x->slope_base + (uint32_t)x->first,
        .heads_before = (uint32_t)x->first,
    };
    uint32_t constants[2];
    rapt_linear_constants(x, rapt_linear_aligned(x, all, 4), constants);
    const rapt_vulkan_buffer buffers[] = {rows[0]->buffer, rows[1]->buffer, d_q.buffer,
                                          d_k.buffer,      x->states,       x->table,
                                          x->reverse,      x->slope,        rates};
    return rapt_vulkan_run(&x->device, &lightning_rate_shader[rapt_linear_half(x)], constants, 2,
                           (uint32_t)x->slots, (uint32_t)x->count, 1, buffers, &push, NULL);
}

static rapt_status record_slopes(rapt_linear_vulkan *x, const rapt_linear_rows *const *rows,
                                 rapt_vulkan_buffer rates)
{
    const bool tell = gradients_tell(x->call);
    const rapt_status status = tell ? record_rate(x, rows, rates) : RAPT_OK;
    return status == RAPT_OK ? record_slope(x, rows, rates, tell) : status;
}

static rapt_status record_total(rapt_linear_vulkan *x, rapt_vulkan_buffer rates)
{
    total_push push = {.slots = (uint32_t)x->slots};
    rapt_vulkan_buffer buffers[2] = {rates};
    const rapt_status status = rapt_vulkan_bind(
        x->call, x->device.limits, x->call->grad_inputs[LIGHTNING_SLOPE], &buffers[1], &push.to);
    if (status != RAPT_OK)
        return status;
    return rapt_vulkan_run(&x->device, &lightning_total_shader, NULL, 0, (uint32_t)x->heads, 1, 1,
                           buffers, &push, NULL);
}

rapt_status lightning_vulkan_backward(rapt_call *call)
{
    rapt_linear_vulkan x;
    rapt_linear_rows q, k, v, d_o;
    const rapt_linear_rows *const rows[4] = {&q, &k, &v, &d_o};
    const rapt_view *const to[3] = {call->grad_inputs[LIGHTNING_Q], call->grad_inputs[LIGHTNING_K],
                                    call->grad_inputs[LIGHTNING_V]};
    const bool slopes = call->grad_inputs[LIGHTNING_SLOPE] != NULL;
    rapt_status status = begin(call, &x, &q, &k, &v);
    const rapt_vulkan_buffer rates = take_rates(&x);
    if (status == RAPT_OK)
        status = rapt_linear_rows_of(&x, call->grad_outputs[LIGHTNING_O], &d_o);
    if (status == RAPT_OK && !call->grad_outputs[LIGHTNING_O])
        status = rapt_linear_zero(&x);
    while (status == RAPT_OK && rapt_linear_next(&x)) {
        status = make_both(&x, rows);
        if (status == RAPT_OK)
            status = rapt_linear_gradients(&x, lightning_apply_shader, rows, to,
                                           call->inputs[LIGHTNING_STATE] != NULL,
                                           call->grad_outputs[LIGHTNING_FINAL] != NULL);
        if (status == RAPT_OK && slopes)
            status = record_slopes(&x, rows, rates);
    }
    return status == RAPT_OK && slopes ? record_total(&x, rates) : status;
}

rapt_status lightning_vulkan_step(rapt_call *call)
{
    rapt_linear_vulkan x;
    const rapt_view *const rows[4] = {call->inputs[LIGHTNING_Q], call->inputs[LIGHTNING_K],
                                      call->inputs[LIGHTNING_V], call->outputs[LIGHTNING_O]};
    rapt_vulkan_buffer buffers[6];
    step_push push;
    describe(call, &x);
    rapt_status status = rapt_linear_step_begin(&x, rows, buffers, &push.step);
    if (status == RAPT_OK)
        status = rapt_vulkan_bind(call, x.device.limits, call->inputs[LIGHTNING_SLOPE], &buffers[5],
                                  &push.slope);
    return status == RAPT_OK ? rapt_linear_step_run(&x, lightning_step_shader, buffers, &push)
                             : status;
}
