/* Cross entropy: loss.comp for the rows, folds for their sum and for the number that counts. */
#include "ops/vulkan/space.h"

#include "core/opcodes.glsl"
#include "core_loss_f32.h"
#include "core_loss_half.h"

enum { REDUCE_MEAN, REDUCE_SUM, REDUCE_NONE };
enum { ATTR_REDUCTION, ATTR_IGNORE };

typedef struct loss_params {
    rapt_vkop_lines lines;
    uint32_t ignored[2];
    uint32_t sum_base;
    float scale;
} loss_params;

RAPT_VKOP_PAIR(loss, 6, loss_params)

/* The workspace: the number of rows that count, the sum of the losses, the losses, partial sums. */
enum { AT_COUNT = 0, AT_TOTAL = 256, AT_LOSSES = 512 };

static int64_t row_count(const rapt_call *call)
{
    return rapt_elements(call->inputs[1]);
}

static uint64_t partial_sums(const rapt_call *call)
{
    return AT_LOSSES + rapt_vulkan_round((uint64_t)row_count(call) * sizeof(float));
}

size_t rapt_vulkan_cross_entropy_workspace(rapt_call *call)
{
    return (size_t)partial_sums(call) + rapt_vulkan_fold_workspace(call);
}

static bool ignores(const rapt_call *call)
{
    return call->attrs[ATTR_IGNORE].present != 0;
}

/* Whether the mean is over a number of rows that only the device knows. */
static bool counts(const rapt_call *call)
{
    return ignores(call) && call->attrs[ATTR_REDUCTION].i[0] == REDUCE_MEAN;
}

/* Operands: logits, labels, gradient of the loss (or nothing), result. */
static rapt_status rows(rapt_call *call, const rapt_view *slope, const rapt_view *result)
{
    static const int64_t nothing[RAPT_MAX_DIMS];
    const rapt_view *logits = call->inputs[0], *labels = call->inputs[1];
    const rapt_view *sums = call->saved != NULL ? call->saved[0] : NULL;
    const bool gradient = slope != NULL;
    const int64_t ignored = call->attrs[ATTR_IGNORE].i[0], n = row_count(call);
    int64_t stride[RAPT_MAX_DIMS] = {0}, step = 1;
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[6];
    loss_params params;
    rapt_walk walk;
    for (int32_t d = logits->ndim - 2; d >= 0; d--) {
        stride[d] = step;
        step *= logits->shape[d];
    }
    rapt_walk_begin(&walk, call, logits->ndim, logits->shape);
    rapt_walk_add(&walk, logits);
    int64_t at_labels[RAPT_MAX_DIMS] = {0};
    for (int32_t d = 0; d < labels->ndim; d++)
        at_labels[d] = labels->strides[d];
    rapt_walk_add_view(&walk, labels, at_labels);
    if (gradient && slope->ndim == labels->ndim) {
        int64_t at_slope[RAPT_MAX_DIMS] = {0};
        for (int32_t d = 0; d < slope->ndim; d++)
            at_slope[d] = slope->strides[d];
        rapt_walk_add_view(&walk, slope, at_slope);
    } else {
        rapt_walk_add_view(&walk, gradient ? slope : logits, nothing);
    }
    if (gradient)
        rapt_walk_add(&walk, result);
    else
        rapt_walk_add_view(&walk, result, stride);
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_lines_set(call, &params.lines, &walk, logits->ndim - 1);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&device, &walk, buffers, params.lines.base);
    if (status == RAPT_OK)
        status = rapt_vkop_bind(&device, sums, &buffers[4], &params.sum_base);
    if (status != RAPT_OK)
        return status;
    buffers[5] = rapt_vulkan_part(call, AT_COUNT, sizeof(float));
    params.ignored[0] = (uint32_t)(uint64_t)ignored;
    params.ignored[1] = (uint32_t)((uint64_t)ignored >> 32);
    params.scale = 1;
    if (call->attrs[ATTR_REDUCTION].i[0] == REDUCE_MEAN && !counts(call))
        params.scale = (float)(1 / (double)n);
    const uint32_t constants[] = {0,
                                  (uint32_t)call->dtype,
                                  gradient,
                                  (uint32_t)rapt_view_dtype(labels),
                                  sums != NULL,
                                  gradient && counts(call),
                                  ignores(call)};
    return rapt_vulkan_run(&device, rapt_vkop_pick(&loss_shaders, rapt_vkop_half(call->dtype)),
                           constants, 7, rapt_vkop_team_groups(params.lines.team, n), 1, 1, buffers,
                           NULL, &params);
}

/* How many labels are not ignored, into the workspace. */
static rapt_status count(rapt_call *call)
{
    const rapt_view *labels = call->inputs[1];
    int64_t one = 1, stride;
    const rapt_view number = rapt_vkop_room(call, AT_COUNT, RAPT_F32, &one, &stride);
    rapt_fold fold = {.reduced = (1u << labels->ndim) - 1,
                      .loop = (enum rapt_loop_id)OP_counted,
                      .scale = 1,
                      .out = &number,
                      .ignored = &call->attrs[ATTR_IGNORE].i[0],
                      .room = partial_sums(call)};
    rapt_walk_begin(&fold.walk, call, labels->ndim, labels->shape);
    rapt_walk_add(&fold.walk, labels);
    return rapt_vulkan_fold(call, &fold);
}

/* loss = total / count, 0 if nothing counts. */
static rapt_status divide(rapt_call *call, const rapt_view *loss, const rapt_view *total)
{
    int64_t one = 1, stride;
    const rapt_view number = rapt_vkop_room(call, AT_COUNT, RAPT_F32, &one, &stride);
    rapt_walk walk;
    rapt_walk_begin(&walk, call, 1, &one);
    rapt_walk_add(&walk, total);
    rapt_walk_add(&walk, &number);
    rapt_walk_add(&walk, loss);
    rapt_walk_end(&walk);
    return rapt_vulkan_map(call, &walk, OP_ratio, 0, 0);
}

/* The losses as they are, or their sum, or their mean. */
static rapt_status reduce(rapt_call *call, const rapt_view *losses)
{
    const int64_t how = call->attrs[ATTR_REDUCTION].i[0];
    const rapt_view *loss = call->outputs[0];
    int64_t one = 1, stride;
    const rapt_view total = rapt_vkop_room(call, AT_TOTAL, RAPT_F32, &one, &stride);
    if (how == REDUCE_NONE) {
        int64_t step[RAPT_MAX_DIMS] = {0}, n = 1;
        rapt_walk walk;
        for (int32_t d = loss->ndim - 1; d >= 0; d--) {
            step[d] = n;
            n *= loss->shape[d];
        }
        rapt_walk_begin(&walk, call, loss->ndim, loss->shape);
        rapt_walk_add_view(&walk, losses, step);
        rapt_walk_add(&walk, loss);
        rapt_walk_end(&walk);
        return rapt_vulkan_map(call, &walk, OP_copy, 0, 0);
    }
    const int64_t n = losses->shape[0];
    rapt_fold fold = {.reduced = 1,
                      .loop = RAPT_LOOP_copy,
                      .scale = how == REDUCE_SUM || counts(call) ? 1 : 1 / (double)n,
                      .out = counts(call) ? &total : loss,
                      .room = partial_sums(call)};
    rapt_walk_begin(&fold.walk, call, 1, losses->shape);
    rapt_walk_add(&fold.walk, losses);
    rapt_status status = rapt_vulkan_fold(call, &fold);
    if (status == RAPT_OK && counts(call))
        status = count(call);
    return status == RAPT_OK && counts(call) ? divide(call, loss, &total) : status;
}

rapt_status rapt_vulkan_cross_entropy_forward(rapt_call *call)
{
    int64_t n = row_count(call), stride;
    const rapt_view losses = rapt_vkop_room(call, AT_LOSSES, RAPT_F32, &n, &stride);
    if (n == 0)
        return rapt_elements(call->outputs[0]) == 0 ? RAPT_OK
                                                    : rapt_vulkan_fill(call, call->outputs[0], 0);
    const rapt_status status = rows(call, NULL, &losses);
    return status == RAPT_OK ? reduce(call, &losses) : status;
}

rapt_status rapt_vulkan_cross_entropy_backward(rapt_call *call)
{
    const rapt_view *target = call->grad_inputs[0];
    if (target == NULL || rapt_elements(target) == 0)
        return RAPT_OK;
    const rapt_status status = counts(call) ? count(call) : RAPT_OK;
    return status == RAPT_OK ? rows(call, call->grad_outputs[0], target) : status;
}
