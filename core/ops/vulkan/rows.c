/* Operators that see whole lines: softmax, norms, running sums, merging, places of extremes. */
#include "ops/vulkan/space.h"

#include "core/opcodes.glsl"
#include "core_extreme_double.h"
#include "core_extreme_f32.h"
#include "core_extreme_half.h"
#include "core_merge_f32.h"
#include "core_merge_half.h"
#include "core_norm_f32.h"
#include "core_norm_half.h"
#include "core_scan_f32.h"
#include "core_scan_half.h"
#include "core_softmax_f32.h"
#include "core_softmax_half.h"

/* --- Lines along a dimension ------------------------------------------------------------------ */

enum { LINE_OPERANDS = 3 };

typedef struct line_params {
    rapt_vkop_lines lines;
} line_params;

/* A shader over the lines along the dimension that the call names: its operands are `n` views, the
 * last of them the target; for one that is absent the first is bound. */
static rapt_status lines_run(rapt_call *call, const rapt_vkop_pair *shaders,
                             const uint32_t *constants, uint32_t n_constants,
                             const rapt_view *const *operands, int n)
{
    const rapt_view *target = operands[n - 1];
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[LINE_OPERANDS];
    line_params params;
    rapt_walk walk;
    int32_t dim;
    rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], target->ndim, &dim);
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    if (status != RAPT_OK || walk.count == 0)
        return status;
    for (int k = 0; k < n; k++)
        rapt_walk_add(&walk, operands[k] != NULL ? operands[k] : operands[0]);
    status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_lines_set(call, &params.lines, &walk, dim);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&device, &walk, buffers, params.lines.base);
    if (status != RAPT_OK)
        return status;
    return rapt_vulkan_run(&device, rapt_vkop_pick(shaders, rapt_vkop_half(call->dtype)), constants,
                           n_constants,
                           rapt_vkop_team_groups(params.lines.team, params.lines.outer.count), 1, 1,
                           buffers, NULL, &params);
}

/* --- softmax, log_softmax -------------------------------------------------------------------- */

RAPT_VKOP_PAIR(softmax, 3, line_params)

/* The walk's operands are the shader's, but for a forward, which lacks the second. */
static rapt_status softmax_run(rapt_call *call, bool logarithm, const rapt_view *const *operands)
{
    const uint32_t constants[] = {0, (uint32_t)call->dtype, operands[1] != NULL, logarithm};
    return lines_run(call, &softmax_shaders, constants, 4, operands, 3);
}

static rapt_status softmax_forward(rapt_call *call, bool logarithm)
{
    const rapt_view *const operands[3] = {call->inputs[0], NULL, call->outputs[0]};
    return softmax_run(call, logarithm, operands);
}

static rapt_status softmax_backward(rapt_call *call, bool logarithm)
{
    const rapt_view *const operands[3] = {call->outputs[0], call->grad_outputs[0],
                                          call->grad_inputs[0]};
    return operands[2] == NULL ? RAPT_OK : softmax_run(call, logarithm, operands);
}

rapt_status rapt_vulkan_softmax_forward(rapt_call *call)
{
    return softmax_forward(call, false);
}

rapt_status rapt_vulkan_softmax_backward(rapt_call *call)
{
    return softmax_backward(call, false);
}

rapt_status rapt_vulkan_log_softmax_forward(rapt_call *call)
{
    return softmax_forward(call, true);
}

rapt_status rapt_vulkan_log_softmax_backward(rapt_call *call)
{
    return softmax_backward(call, true);
}

/* --- rms_norm, layer_norm -------------------------------------------------------------------- */

typedef struct norm_params {
    rapt_vkop_lines lines;
    uint32_t scale_base, mean_base;
    float eps;
} norm_params;

RAPT_VKOP_PAIR(norm, 7, norm_params)

static const rapt_view *saved(const rapt_call *call, int i)
{
    return call->saved != NULL ? call->saved[i] : NULL;
}

/* `result` is y, or, with its gradient `slope`, that of x. */
static rapt_status norm_lines(rapt_call *call, bool layer, const rapt_view *slope,
                              const rapt_view *result)
{
    const rapt_view *x = call->inputs[0], *weight = call->inputs[1];
    const rapt_view *bias = layer && slope == NULL ? call->inputs[2] : NULL;
    const rapt_view *scale = saved(call, 0), *mean = layer ? saved(call, 1) : NULL;
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[7];
    norm_params params;
    rapt_walk walk;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, slope != NULL ? slope : x);
    rapt_walk_add(&walk, result);
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_lines_set(call, &params.lines, &walk, x->ndim - 1);
    uint32_t *base = params.lines.base;
    const rapt_view *const views[7] = {x, walk.operands[1].view, weight, bias, result, scale, mean};
    uint32_t *const bases[7] = {&base[0], &base[1],           &base[3],         &base[4],
                                &base[2], &params.scale_base, &params.mean_base};
    for (int i = 0; i < 7 && status == RAPT_OK; i++)
        status = rapt_vkop_bind(&device, views[i], &buffers[i], bases[i]);
    if (status != RAPT_OK)
        return status;
    params.lines.along[3] = weight != NULL ? (uint32_t)weight->strides[0] : 0;
    params.lines.along[4] = bias != NULL ? (uint32_t)bias->strides[0] : 0;
    params.eps = (float)call->attrs[0].f;
    const uint32_t constants[] = {0,
                                  (uint32_t)call->dtype,
                                  slope != NULL,
                                  layer,
                                  weight != NULL,
                                  bias != NULL,
                                  scale != NULL};
    return rapt_vulkan_run(&device, rapt_vkop_pick(&norm_shaders, rapt_vkop_half(call->dtype)),
                           constants, 7,
                           rapt_vkop_team_groups(params.lines.team, params.lines.outer.count), 1, 1,
                           buffers, NULL, &params);
}

static rapt_status norm_forward(rapt_call *call, bool layer)
{
    if (rapt_elements(call->inputs[0]) == 0)
        return RAPT_OK;
    return norm_lines(call, layer, NULL, call->outputs[0]);
}

/* dweight = sum of g (x - mean) scale over the rows, dbias = sum of g. */
static rapt_status norm_sums(rapt_call *call, bool layer, bool bias, const rapt_view *target)
{
    const rapt_view *x = call->inputs[0];
    int64_t row[RAPT_MAX_DIMS] = {0}, step = 1;
    rapt_fold fold = {.reduced = (1u << (x->ndim - 1)) - 1, .scale = 1, .out = target};
    for (int32_t d = x->ndim - 2; d >= 0; d--) {
        row[d] = step;
        step *= x->shape[d];
    }
    fold.loop = bias ? RAPT_LOOP_copy : (enum rapt_loop_id)(layer ? OP_norm_weight : OP_rms_weight);
    rapt_walk_begin(&fold.walk, call, x->ndim, x->shape);
    rapt_walk_add(&fold.walk, call->grad_outputs[0]);
    if (!bias) {
        rapt_walk_add(&fold.walk, x);
        if (layer)
            rapt_walk_add_view(&fold.walk, call->saved[1], row);
        rapt_walk_add_view(&fold.walk, call->saved[0], row);
    }
    return rapt_vulkan_fold(call, &fold);
}

static rapt_status norm_backward(rapt_call *call, bool layer)
{
    const rapt_view *dx = call->grad_inputs[0], *dweight = call->grad_inputs[1];
    const rapt_view *dbias = layer ? call->grad_inputs[2] : NULL;
    rapt_status status = RAPT_OK;
    if (dx != NULL && rapt_elements(dx) > 0)
        status = norm_lines(call, layer, call->grad_outputs[0], dx);
    if (status == RAPT_OK && dweight != NULL)
        status = norm_sums(call, layer, false, dweight);
    if (status == RAPT_OK && dbias != NULL)
        status = norm_sums(call, layer, true, dbias);
    return status;
}

rapt_status rapt_vulkan_rms_norm_forward(rapt_call *call)
{
    return norm_forward(call, false);
}

rapt_status rapt_vulkan_rms_norm_backward(rapt_call *call)
{
    return norm_backward(call, false);
}

rapt_status rapt_vulkan_layer_norm_forward(rapt_call *call)
{
    return norm_forward(call, true);
}

rapt_status rapt_vulkan_layer_norm_backward(rapt_call *call)
{
    return norm_backward(call, true);
}

/* --- cumsum ---------------------------------------------------------------------------------- */

RAPT_VKOP_PAIR(scan, 2, line_params)

static rapt_status scan_run(rapt_call *call, const rapt_view *source, const rapt_view *target,
                            bool reverse)
{
    const rapt_view *const operands[2] = {source, target};
    const uint32_t constants[] = {0, (uint32_t)call->dtype, reverse};
    return lines_run(call, &scan_shaders, constants, 3, operands, 2);
}

rapt_status rapt_vulkan_cumsum_forward(rapt_call *call)
{
    return scan_run(call, call->inputs[0], call->outputs[0], false);
}

rapt_status rapt_vulkan_cumsum_backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return scan_run(call, call->grad_outputs[0], call->grad_inputs[0], true);
}

/* --- merge ----------------------------------------------------------------------------------- */

enum { IN_A, IN_A_LSE, IN_B, IN_B_LSE };

typedef struct merge_params {
    rapt_vkop_lines lines;
    rapt_vkop_space numbers;
    uint32_t base[RAPT_VKOP_OPERANDS];
} merge_params;

RAPT_VKOP_PAIR(merge, 10, merge_params)

/* `rows` and `sums` are o and lse, or their gradients; `grads` those wanted of the inputs. */
static rapt_status merge_run(rapt_call *call, const rapt_view *rows, const rapt_view *sums,
                             rapt_view *const *grads)
{
    static rapt_view *const none[4];
    const rapt_view *a = call->inputs[IN_A];
    rapt_view *const *wanted = grads != NULL ? grads : none;
    const rapt_view *const lines[5] = {a, call->inputs[IN_B], rows, wanted[IN_A], wanted[IN_B]};
    const rapt_view *const numbers[5] = {call->inputs[IN_A_LSE], call->inputs[IN_B_LSE], sums,
                                         wanted[IN_A_LSE], wanted[IN_B_LSE]};
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[10];
    merge_params params;
    rapt_walk walk, each;
    rapt_walk_begin(&walk, call, a->ndim, a->shape);
    rapt_walk_begin(&each, call, a->ndim - 1, a->shape);
    for (int k = 0; k < 5; k++) {
        rapt_walk_add(&walk, lines[k] != NULL ? lines[k] : a);
        rapt_walk_add(&each, numbers[k] != NULL ? numbers[k] : call->inputs[IN_A_LSE]);
    }
    if (each.count == 0)
        return RAPT_OK;
    rapt_walk_end(&each);
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_lines_set(call, &params.lines, &walk, a->ndim - 1);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.numbers, &each);
    for (int k = 0; k < 5 && status == RAPT_OK; k++)
        status = rapt_vkop_bind(&device, lines[k], &buffers[k], &params.lines.base[k]);
    for (int k = 0; k < 5 && status == RAPT_OK; k++)
        status = rapt_vkop_bind(&device, numbers[k], &buffers[5 + k], &params.base[k]);
    if (status != RAPT_OK)
        return status;
    const uint32_t has = (wanted[IN_A] != NULL && rows != NULL ? 1u : 0u) |
                         (wanted[IN_B] != NULL && rows != NULL ? 2u : 0u) |
                         (wanted[IN_A_LSE] != NULL ? 4u : 0u) |
                         (wanted[IN_B_LSE] != NULL ? 8u : 0u);
    const uint32_t constants[] = {0,   (uint32_t)call->dtype, grads != NULL,
                                  has, rows != NULL,          sums != NULL};
    return rapt_vulkan_run(&device, rapt_vkop_pick(&merge_shaders, rapt_vkop_half(call->dtype)),
                           constants, 6,
                           rapt_vkop_team_groups(params.lines.team, params.lines.outer.count), 1, 1,
                           buffers, NULL, &params);
}

rapt_status rapt_vulkan_merge_forward(rapt_call *call)
{
    return merge_run(call, call->outputs[0], call->outputs[1], NULL);
}

/* Without a gradient of o those of a and b are 0. */
rapt_status rapt_vulkan_merge_backward(rapt_call *call)
{
    const rapt_view *rows = call->grad_outputs[0];
    rapt_status status = merge_run(call, rows, call->grad_outputs[1], call->grad_inputs);
    for (int i = IN_A; i <= IN_B && status == RAPT_OK && rows == NULL; i += IN_B - IN_A)
        if (call->grad_inputs[i] != NULL)
            status = rapt_vulkan_fill(call, call->grad_inputs[i], 0);
    return status;
}

/* --- argmax, the gradient of max and min ------------------------------------------------------ */

typedef struct extreme_params {
    rapt_vkop_space kept, reduced;
    uint32_t base[3];
    rapt_vkop_team team;
} extreme_params;

static const rapt_vulkan_shader extreme_shaders[] = {
    RAPT_VKOP_SHADER("core.extreme", core_extreme_f32, 0, 3, extreme_params),
    RAPT_VKOP_SHADER("core.extreme.half", core_extreme_half, RAPT_VULKAN_STORAGE16, 3,
                     extreme_params),
    RAPT_VKOP_SHADER("core.extreme.double", core_extreme_double, 0, 3, extreme_params),
};

/* `walk`: x, the gradient of the result (or x again), the result; filled, not ended. */
static rapt_status extreme_run(rapt_call *call, const rapt_walk *walk, uint32_t bits, bool gradient,
                               bool smallest)
{
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[3];
    extreme_params params;
    rapt_walk kept, reduced;
    rapt_walk_take(&kept, walk, ~bits);
    rapt_walk_take(&reduced, walk, bits);
    if (kept.count == 0 || reduced.count == 0)
        return RAPT_OK;
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.kept, &kept);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.reduced, &reduced);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&device, walk, buffers, params.base);
    if (status != RAPT_OK)
        return status;
    const int64_t step = reduced.operands[0].stride[reduced.ndim - 1];
    params.team = rapt_vkop_team_for(kept.count, reduced.count, step <= 1 || kept.count == 1);
    const uint32_t constants[] = {0, (uint32_t)call->dtype, gradient, smallest};
    const rapt_vulkan_shader *shader = &extreme_shaders[call->dtype == RAPT_F64       ? 2
                                                        : rapt_vkop_half(call->dtype) ? 1
                                                                                      : 0];
    return rapt_vulkan_run(&device, shader, constants, 4,
                           rapt_vkop_team_groups(params.team, kept.count), 1, 1, buffers, NULL,
                           &params);
}

rapt_status rapt_vulkan_argmax_forward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0];
    rapt_walk walk;
    int32_t dim;
    const rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], x->ndim, &dim);
    if (status != RAPT_OK)
        return status;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, x);
    rapt_walk_add_reduced(&walk, call->outputs[0], 1u << dim);
    return extreme_run(call, &walk, 1u << dim, false, false);
}

rapt_status rapt_vulkan_extreme_backward(rapt_call *call, uint32_t reduced, bool largest)
{
    const rapt_view *x = call->inputs[0];
    rapt_walk walk;
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add_reduced(&walk, call->grad_outputs[0], reduced);
    rapt_walk_add(&walk, call->grad_inputs[0]);
    return extreme_run(call, &walk, reduced, true, !largest);
}
