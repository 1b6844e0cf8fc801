/* AdamW, dropout and rotary embedding: each a shader of its own. */
#include "ops/vulkan/space.h"

#include "core_adamw_f32.h"
#include "core_adamw_half.h"
#include "core_dropout_f32.h"
#include "core_dropout_half.h"
#include "core_rope_f32.h"
#include "core_rope_half.h"

#include <math.h>

/* --- adamw ----------------------------------------------------------------------------------- */

enum { PARAM, GRAD, FIRST, SECOND, OPERANDS };

typedef struct adamw_params {
    rapt_vkop_space space;
    uint32_t base[OPERANDS];
    rapt_adamw_args args;
} adamw_params;

RAPT_VKOP_PAIR(adamw, 4, adamw_params)

rapt_status rapt_vulkan_adamw_forward(rapt_call *call)
{
    const rapt_view *param = call->inputs[PARAM];
    const rapt_dtype of_param = rapt_view_dtype(param);
    const rapt_dtype of_grad = rapt_view_dtype(call->inputs[GRAD]);
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[OPERANDS];
    adamw_params params;
    rapt_walk walk;
    rapt_walk_begin(&walk, call, param->ndim, param->shape);
    for (int i = 0; i < OPERANDS; i++)
        rapt_walk_add(&walk, call->inputs[i]);
    rapt_walk_end(&walk);
    if (walk.count == 0)
        return RAPT_OK;
    params.args = rapt_adamw_begin(call);
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.space, &walk);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&device, &walk, buffers, params.base);
    if (status != RAPT_OK)
        return status;
    const uint32_t constants[] = {0, (uint32_t)of_param, (uint32_t)of_grad};
    const bool half = rapt_vkop_half(of_param) || rapt_vkop_half(of_grad);
    return rapt_vulkan_run(&device, rapt_vkop_pick(&adamw_shaders, half), constants, 3,
                           rapt_vulkan_groups(walk.count, 4 * RAPT_VKOP_LANES), 1, 1, buffers, NULL,
                           &params);
}

/* --- dropout --------------------------------------------------------------------------------- */

typedef struct dropout_params {
    rapt_vkop_space space;
    uint32_t base[2];
    uint32_t seed[2], stream[2];
    float chance, scale;
} dropout_params;

RAPT_VKOP_PAIR(dropout, 2, dropout_params)

static rapt_status drop(rapt_call *call, const rapt_view *source, const rapt_view *target)
{
    const uint64_t seed = (uint64_t)call->attrs[1].i[0];
    const double chance = call->attrs[0].f;
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[2];
    dropout_params params;
    rapt_walk walk;
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    rapt_walk_add(&walk, source);
    rapt_walk_add(&walk, target);
    rapt_walk_end(&walk);
    if (walk.count == 0)
        return RAPT_OK;
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.space, &walk);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&device, &walk, buffers, params.base);
    if (status != RAPT_OK)
        return status;
    params.seed[0] = (uint32_t)seed;
    params.seed[1] = (uint32_t)(seed >> 32);
    params.stream[0] = (uint32_t)RAPT_DROPOUT_STREAM;
    params.stream[1] = (uint32_t)(RAPT_DROPOUT_STREAM >> 32);
    params.chance = (float)chance;
    params.scale = chance < 1 ? (float)(1 / (1 - chance)) : 0;
    const uint32_t constants[] = {0, (uint32_t)call->dtype};
    return rapt_vulkan_run(&device, rapt_vkop_pick(&dropout_shaders, rapt_vkop_half(call->dtype)),
                           constants, 2, rapt_vulkan_groups(walk.count, 4 * RAPT_VKOP_LANES), 1, 1,
                           buffers, NULL, &params);
}

rapt_status rapt_vulkan_dropout_forward(rapt_call *call)
{
    return drop(call, call->inputs[0], call->outputs[0]);
}

rapt_status rapt_vulkan_dropout_backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return drop(call, call->grad_outputs[0], call->grad_inputs[0]);
}

/* --- rope ------------------------------------------------------------------------------------ */

enum { BASE, OFFSET, LAYOUT };
#define PAIRS 128 /* of one dispatch, as in the shader */
#define TURN  6.28318530717958647693

typedef struct rope_params {
    rapt_vkop_space space;
    uint32_t base[2];
    uint32_t other[2];
    uint32_t pairs, pairs_magic, pairs_shift, positions, positions_magic, positions_shift;
    float direction;
    uint32_t start[2 * PAIRS], speed[2 * PAIRS];
} rope_params;

RAPT_VKOP_PAIR(rope, 2, rope_params)

/* The angles of pairs [first, first + n) in 2^-64 of a turn: of position `offset`, and of a step.
 */
static void angles(const rapt_call *call, int64_t half, int64_t first, int64_t n,
                   rope_params *params)
{
    for (int64_t i = 0; i < n; i++) {
        const double speed = pow(call->attrs[BASE].f, -(double)(first + i) / (double)half);
        const uint64_t step = (uint64_t)ldexp(speed / TURN, 64);
        const uint64_t start = step * (uint64_t)call->attrs[OFFSET].i[0];
        params->start[2 * i] = (uint32_t)start;
        params->start[2 * i + 1] = (uint32_t)(start >> 32);
        params->speed[2 * i] = (uint32_t)step;
        params->speed[2 * i + 1] = (uint32_t)(step >> 32);
    }
}

/* Pairs [first, first + n) of every row. */
static rapt_status rotate_pairs(const rapt_vulkan *device, const rapt_view *source,
                                const rapt_view *target, float direction, int64_t first, int64_t n)
{
    rapt_call *call = device->call;
    const int32_t last = target->ndim - 1;
    const int64_t half = target->shape[last] / 2;
    const bool pairs = call->attrs[LAYOUT].i[0] != 0;
    const rapt_view *const views[2] = {source, target};
    rapt_vulkan_buffer buffers[2];
    rope_params params;
    rapt_walk walk;
    int64_t shape[RAPT_MAX_DIMS], stride[RAPT_MAX_DIMS];
    memset(&params, 0, sizeof params);
    memcpy(shape, target->shape, (size_t)target->ndim * sizeof *shape);
    shape[last] = n;
    rapt_walk_begin(&walk, call, target->ndim, shape);
    rapt_status status = RAPT_OK;
    for (int k = 0; k < 2 && status == RAPT_OK; k++) {
        const int64_t along = views[k]->strides[last];
        memcpy(stride, views[k]->strides, (size_t)target->ndim * sizeof *stride);
        stride[last] = pairs ? 2 * along : along;
        rapt_walk_add_view(&walk, views[k], stride);
        status = rapt_vkop_bind(device, views[k], &buffers[k], &params.base[k]);
        params.base[k] += (uint32_t)(first * stride[last]);
        params.other[k] = (uint32_t)(pairs ? along : half * along);
    }
    rapt_walk_end(&walk);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.space, &walk);
    if (status != RAPT_OK)
        return status;
    angles(call, half, first, n, &params);
    params.pairs = (uint32_t)n;
    params.positions = (uint32_t)target->shape[last - 1];
    rapt_vkop_divisor(params.pairs, &params.pairs_magic, &params.pairs_shift);
    rapt_vkop_divisor(params.positions, &params.positions_magic, &params.positions_shift);
    params.direction = direction;
    const uint32_t constants[] = {0, (uint32_t)call->dtype};
    return rapt_vulkan_run(device, rapt_vkop_pick(&rope_shaders, rapt_vkop_half(call->dtype)),
                           constants, 2, rapt_vulkan_groups(walk.count, RAPT_VKOP_LANES), 1, 1,
                           buffers, NULL, &params);
}

static rapt_status rotate(rapt_call *call, const rapt_view *source, const rapt_view *target,
                          float direction)
{
    const int64_t half = target->shape[target->ndim - 1] / 2;
    rapt_vulkan device;
    if (rapt_elements(target) == 0)
        return RAPT_OK;
    rapt_status status = rapt_vulkan_begin(call, &device);
    for (int64_t first = 0; first < half && status == RAPT_OK; first += PAIRS) {
        const int64_t n = half - first < PAIRS ? half - first : PAIRS;
        status = rotate_pairs(&device, source, target, direction, first, n);
    }
    return status;
}

rapt_status rapt_vulkan_rope_forward(rapt_call *call)
{
    return rotate(call, call->inputs[0], call->outputs[0], 1);
}

rapt_status rapt_vulkan_rope_backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return rotate(call, call->grad_outputs[0], call->grad_inputs[0], -1);
}
