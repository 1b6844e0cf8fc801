/* Rows of a table by number: gather.comp; their gradient: scatter.comp. */
#include "ops/vulkan/space.h"

#include "core_gather_f32.h"
#include "core_gather_half.h"
#include "core_scatter_f32.h"
#include "core_scatter_half.h"

typedef struct gather_params {
    rapt_vkop_space space;
    uint32_t base[3];
    uint32_t rows, width, width_magic, width_shift;
    uint32_t row, column;
} gather_params;

typedef struct scatter_params {
    rapt_vkop_space lines;
    uint32_t base[3];
    uint32_t rows, width;
    uint32_t grad_column;
    uint32_t piece, piece_stride;
} scatter_params;

RAPT_VKOP_PAIR(gather, 3, gather_params)
RAPT_VKOP_PAIR(scatter, 3, scatter_params)

rapt_status rapt_vulkan_embedding_forward(rapt_call *call)
{
    const rapt_view *table = call->inputs[0], *ids = call->inputs[1], *y = call->outputs[0];
    int64_t at_ids[RAPT_MAX_DIMS] = {0};
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[3];
    gather_params params;
    rapt_walk walk;
    memset(&params, 0, sizeof params);
    for (int32_t d = 0; d < ids->ndim; d++)
        at_ids[d] = ids->strides[d];
    rapt_walk_begin(&walk, call, y->ndim, y->shape);
    if (walk.count == 0)
        return RAPT_OK;
    rapt_walk_add_view(&walk, ids, at_ids);
    rapt_walk_add(&walk, y);
    rapt_walk_end(&walk);
    const rapt_view *const views[3] = {table, ids, y};
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.space, &walk);
    for (int i = 0; i < 3 && status == RAPT_OK; i++)
        status = rapt_vkop_bind(&device, views[i], &buffers[i], &params.base[i]);
    if (status != RAPT_OK)
        return status;
    params.rows = (uint32_t)table->shape[0];
    params.width = (uint32_t)table->shape[1];
    rapt_vkop_divisor(params.width, &params.width_magic, &params.width_shift);
    params.row = (uint32_t)table->strides[0];
    params.column = (uint32_t)table->strides[1];
    const uint32_t constants[] = {0, (uint32_t)call->dtype, (uint32_t)rapt_view_dtype(ids)};
    return rapt_vulkan_run(&device, rapt_vkop_pick(&gather_shaders, rapt_vkop_half(call->dtype)),
                           constants, 3, rapt_vulkan_groups(walk.count, 4 * RAPT_VKOP_LANES), 1, 1,
                           buffers, NULL, &params);
}

/* --- Backward ------------------------------------------------------------------------------- */

#define OWN           16  /* rows of the table that a workgroup has, as in the shader */
#define ENOUGH_GROUPS 256 /* below this the numbers are taken in pieces */
#define PIECE_LEAST   512
#define PIECES_MOST   64

static int64_t pieces_of(int64_t rows, int64_t width, int64_t numbers)
{
    const int64_t groups =
        (rows + OWN - 1) / OWN * ((width + RAPT_VKOP_LANES - 1) / RAPT_VKOP_LANES);
    if (groups >= ENOUGH_GROUPS || groups == 0)
        return 1;
    const int64_t wanted = (ENOUGH_GROUPS + groups - 1) / groups;
    const int64_t most = numbers / PIECE_LEAST, pieces = wanted < most ? wanted : most;
    return pieces < 1 ? 1 : pieces < PIECES_MOST ? pieces : PIECES_MOST;
}

size_t rapt_vulkan_embedding_workspace(rapt_call *call)
{
    const rapt_view *target = call->phase == RAPT_BACKWARD ? call->grad_inputs[0] : NULL;
    if (target == NULL)
        return 0;
    const int64_t pieces =
        pieces_of(target->shape[0], target->shape[1], rapt_elements(call->inputs[1]));
    return pieces > 1 ? (size_t)(pieces * rapt_elements(target)) * sizeof(float) : 0;
}

static rapt_status scatter(rapt_call *call, const rapt_view *target, int64_t pieces)
{
    const rapt_view *table = call->grad_inputs[0], *ids = call->inputs[1];
    const rapt_view *grad = call->grad_outputs[0];
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[3];
    scatter_params params;
    rapt_walk walk;
    memset(&params, 0, sizeof params);
    rapt_walk_begin(&walk, call, ids->ndim, ids->shape);
    rapt_walk_add(&walk, ids);
    rapt_walk_add_view(&walk, grad, grad->strides);
    rapt_walk_end(&walk);
    const rapt_view *const views[3] = {grad, ids, target};
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.lines, &walk);
    for (int i = 0; i < 3 && status == RAPT_OK; i++)
        status = rapt_vkop_bind(&device, views[i], &buffers[i], &params.base[i]);
    if (status != RAPT_OK)
        return status;
    params.rows = (uint32_t)table->shape[0];
    params.width = (uint32_t)table->shape[1];
    params.grad_column = (uint32_t)grad->strides[grad->ndim - 1];
    params.piece = (uint32_t)((walk.count + pieces - 1) / pieces);
    params.piece_stride = params.rows * params.width;
    const uint32_t constants[] = {0, (uint32_t)call->dtype, (uint32_t)rapt_view_dtype(ids),
                                  (uint32_t)rapt_view_dtype(target)};
    return rapt_vulkan_run(&device, rapt_vkop_pick(&scatter_shaders, rapt_vkop_half(call->dtype)),
                           constants, 4, rapt_vulkan_groups(params.rows, OWN),
                           rapt_vulkan_groups(params.width, RAPT_VKOP_LANES), (uint32_t)pieces,
                           buffers, NULL, &params);
}

rapt_status rapt_vulkan_embedding_backward(rapt_call *call)
{
    const rapt_view *target = call->grad_inputs[0];
    const int64_t numbers = rapt_elements(call->inputs[1]);
    if (target == NULL || rapt_elements(target) == 0)
        return RAPT_OK;
    if (numbers == 0)
        return rapt_vulkan_fill(call, target, 0);
    const int64_t pieces = pieces_of(target->shape[0], target->shape[1], numbers);
    if (pieces == 1)
        return scatter(call, target, 1);
    int64_t n = pieces * rapt_elements(target), stride;
    const rapt_view partial = rapt_vkop_room(call, 0, RAPT_F32, &n, &stride);
    const rapt_fold sum = {.kind = RAPT_FOLD_SUM, .scale = 1, .out = target};
    const rapt_status status = scatter(call, &partial, pieces);
    return status == RAPT_OK
               ? rapt_vkop_add_pieces(call, &sum, &partial, pieces, rapt_elements(target))
               : status;
}
