/* Copies bit by bit, and tensors joined: copy.comp. */
#include "ops/vulkan/space.h"

#include "core_copy_f32.h"
#include "core_copy_half.h"

#define PARTS 8 /* tensors joined in one call */

typedef struct copy_params {
    rapt_vkop_space space;
    uint32_t base[2];
    uint32_t sizes_base;
    uint32_t part, part_stride;
    uint32_t recorded[2 * PARTS];
} copy_params;

RAPT_VKOP_PAIR(copy, 3, copy_params)

static rapt_status record(const rapt_vulkan *device, rapt_dtype dtype, bool shifted, bool records,
                          uint32_t groups, const rapt_vulkan_buffer *buffers,
                          const copy_params *params)
{
    const uint32_t constants[] = {0, (uint32_t)rapt_dtype_size(dtype), shifted, records};
    return rapt_vulkan_run(device, rapt_vkop_pick(&copy_shaders, rapt_vkop_half(dtype)), constants,
                           4, groups, 1, 1, buffers, NULL, params);
}

/* `walk`: source and target, not ended. With `sizes` the source begins where the parts before
 * `part` end, part_stride elements for each index; only the device knows their sizes. */
static rapt_status copy_walk(rapt_call *call, rapt_walk *walk, const rapt_view *sizes,
                             uint32_t part, int64_t part_stride)
{
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[3];
    copy_params params;
    memset(&params, 0, sizeof params);
    rapt_walk_end(walk);
    if (walk->count == 0)
        return RAPT_OK;
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.space, walk);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&device, walk, buffers, params.base);
    if (status == RAPT_OK)
        status = rapt_vkop_bind(&device, sizes, &buffers[2], &params.sizes_base);
    if (status != RAPT_OK)
        return status;
    params.sizes_base *= 2; /* words */
    params.part = part;
    params.part_stride = (uint32_t)part_stride;
    return record(&device, walk->operands[0].dtype, sizes != NULL, false,
                  rapt_vulkan_groups(walk->count, 4 * RAPT_VKOP_LANES), buffers, &params);
}

rapt_status rapt_vulkan_copy(rapt_call *call, const rapt_view *source, const rapt_view *target)
{
    rapt_walk walk;
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    rapt_walk_add(&walk, source);
    rapt_walk_add(&walk, target);
    return copy_walk(call, &walk, NULL, 0, 0);
}

/* --- cat ------------------------------------------------------------------------------------- */

/* The sizes of the parts, for backward. */
static rapt_status record_sizes(rapt_call *call, const int64_t *sizes)
{
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[3] = {0};
    copy_params params;
    memset(&params, 0, sizeof params);
    params.space.ndim = 1;
    for (int i = 0; i < PARTS; i++) {
        params.recorded[2 * i] = (uint32_t)(uint64_t)sizes[i];
        params.recorded[2 * i + 1] = (uint32_t)((uint64_t)sizes[i] >> 32);
    }
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_bind(&device, call->saved[0], &buffers[2], &params.sizes_base);
    params.sizes_base *= 2;
    return status == RAPT_OK ? record(&device, RAPT_F32, false, true, 1, buffers, &params) : status;
}

rapt_status rapt_vulkan_cat_forward(rapt_call *call)
{
    const rapt_view *whole = call->outputs[0];
    int64_t sizes[PARTS] = {0}, start = 0;
    int32_t dim;
    rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], whole->ndim, &dim);
    for (uint32_t i = 0; i < call->op->n_inputs && status == RAPT_OK; start += sizes[i++]) {
        const rapt_view *part = call->inputs[i];
        rapt_view place = *whole;
        if (part == NULL)
            continue;
        sizes[i] = part->shape[dim];
        if (rapt_elements(part) == 0)
            continue;
        place.shape = part->shape;
        place.byte_offset +=
            (uint64_t)(start * whole->strides[dim]) * rapt_dtype_size(rapt_view_dtype(whole));
        status = rapt_vulkan_copy(call, part, &place);
    }
    if (status == RAPT_OK && call->saved != NULL && call->saved[0] != NULL)
        status = record_sizes(call, sizes);
    return status;
}

rapt_status rapt_vulkan_cat_backward(rapt_call *call)
{
    const rapt_view *whole = call->grad_outputs[0];
    int32_t dim;
    rapt_status status = rapt_ops_dim(call, call->attrs[0].i[0], whole->ndim, &dim);
    for (uint32_t i = 0; i < call->op->n_inputs && status == RAPT_OK; i++) {
        const rapt_view *part = call->grad_inputs[i];
        rapt_walk walk;
        if (part == NULL)
            continue;
        rapt_walk_begin(&walk, call, part->ndim, part->shape);
        rapt_walk_add_view(&walk, whole, whole->strides);
        rapt_walk_add(&walk, part);
        status = copy_walk(call, &walk, call->saved[0], i, whole->strides[dim]);
    }
    return status;
}
