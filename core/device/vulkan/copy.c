/* Copies between layouts and dtypes on the device: a buffer copy where that is all it is, otherwise
 * the shader. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include "device_copy.h"
#include <string.h>

enum { SOURCE, TARGET, SIDES };

typedef struct dimension {
    int64_t size;
    int64_t stride[SIDES]; /* in elements */
} dimension;

/* A copy with its dimensions outermost first, those that step as one on both sides merged. */
typedef struct plan {
    rapt_dtype dtype[SIDES];
    rapt_vk_memory *memory[SIDES];
    uint64_t offset[SIDES]; /* of the first element, in bytes */
    int32_t ndim;           /* at least 1 */
    dimension dims[RAPT_MAX_DIMS];
} plan;

typedef struct push {
    uint32_t count, ndim, source_base, target_base;
    uint32_t shape[8], source_stride[8], target_stride[8];
} push;

static const rapt_vulkan_shader copy_shader = {
    .size = sizeof(rapt_vulkan_shader),
    .name = "device.copy",
    .code = device_copy,
    .code_bytes = sizeof device_copy,
    .n_buffers = 2,
    .push_bytes = sizeof(push),
};

static bool follows(const dimension *outer, const dimension *inner)
{
    int64_t run;
    for (int side = 0; side < SIDES; side++)
        if (__builtin_mul_overflow(inner->size, inner->stride[side], &run) ||
            outer->stride[side] != run)
            return false;
    return true;
}

/* False: there is no element. */
static bool make_plan(plan *p, const rapt_view *target, const rapt_view *source)
{
    const rapt_view *const view[SIDES] = {source, target};
    p->ndim = 0;
    for (int side = 0; side < SIDES; side++) {
        p->dtype[side] = rapt_view_dtype(view[side]);
        p->memory[side] = view[side]->data;
        p->offset[side] = view[side]->byte_offset;
    }
    for (int32_t d = 0; d < target->ndim; d++) {
        const dimension dim = {target->shape[d], {source->strides[d], target->strides[d]}};
        if (dim.size == 0)
            return false;
        if (dim.size == 1)
            continue;
        int32_t at = p->ndim++;
        for (; at > 0 && p->dims[at - 1].stride[TARGET] < dim.stride[TARGET]; at--)
            p->dims[at] = p->dims[at - 1];
        p->dims[at] = dim;
    }
    if (p->ndim == 0)
        p->dims[p->ndim++] = (dimension){1, {1, 1}};
    int32_t kept = 0;
    for (int32_t i = 1; i < p->ndim; i++) {
        dimension *outer = &p->dims[kept];
        if (follows(outer, &p->dims[i])) {
            outer->size *= p->dims[i].size;
            memcpy(outer->stride, p->dims[i].stride, sizeof outer->stride);
        } else {
            p->dims[++kept] = p->dims[i];
        }
    }
    p->ndim = kept + 1;
    return true;
}

/* Elements from the first to the last, and whether they lie side by side in order. */
static uint64_t span(const plan *p, int side)
{
    uint64_t last = 0;
    for (int32_t d = 0; d < p->ndim; d++)
        last += (uint64_t)(p->dims[d].size - 1) * (uint64_t)p->dims[d].stride[side];
    return last + 1;
}

static uint64_t count_of(const plan *p)
{
    uint64_t count = 1;
    for (int32_t d = 0; d < p->ndim; d++)
        count *= (uint64_t)p->dims[d].size;
    return count;
}

static bool dense(const plan *p, int side)
{
    int64_t run = 1;
    for (int32_t d = p->ndim - 1; d >= 0; d--) {
        if (p->dims[d].stride[side] != run && p->dims[d].size > 1)
            return false;
        run *= p->dims[d].size;
    }
    return true;
}

static rapt_status copy_bytes(rapt_vk_device *device, const plan *p, rapt_error *error)
{
    rapt_vk_batch *batch;
    const rapt_status status = rapt_vk_record(device, false, &batch, error);
    if (status != RAPT_OK)
        return status;
    const VkBufferCopy region = {p->memory[SOURCE]->offset + p->offset[SOURCE],
                                 p->memory[TARGET]->offset + p->offset[TARGET],
                                 count_of(p) * rapt_dtype_size(p->dtype[SOURCE])};
    device->vk.CmdCopyBuffer(batch->commands, p->memory[SOURCE]->block->buffer,
                             p->memory[TARGET]->block->buffer, 1, &region);
    p->memory[SOURCE]->last_use = p->memory[TARGET]->last_use = device->queue.recording;
    return rapt_vk_recorded(device, error);
}

static rapt_status copy_by_shader(rapt_vk_device *device, const plan *p, rapt_error *error)
{
    rapt_vulkan_buffer buffers[SIDES];
    uint32_t base[SIDES];
    for (int side = 0; side < SIDES; side++) {
        const uint64_t size = rapt_dtype_size(p->dtype[side]);
        const uint64_t ahead = p->offset[side] & (device->limits.offset_alignment - 1);
        base[side] = (uint32_t)(ahead / size);
        buffers[side] = (rapt_vulkan_buffer){p->memory[side], p->offset[side] - ahead,
                                             ahead + span(p, side) * size};
    }
    push data = {.count = (uint32_t)count_of(p),
                 .ndim = (uint32_t)p->ndim,
                 .source_base = base[SOURCE],
                 .target_base = base[TARGET]};
    for (int32_t d = 0; d < p->ndim; d++) {
        data.shape[d] = (uint32_t)p->dims[d].size;
        data.source_stride[d] = (uint32_t)p->dims[d].stride[SOURCE];
        data.target_stride[d] = (uint32_t)p->dims[d].stride[TARGET];
    }
    const bool in_order = dense(p, TARGET);
    const uint32_t constants[] = {(uint32_t)p->dtype[SOURCE], (uint32_t)p->dtype[TARGET], in_order};
    const size_t size = rapt_dtype_size(p->dtype[TARGET]);
    const uint32_t each = in_order && size < 4 ? 4 / (uint32_t)size : 1;
    const uint64_t invocations = (base[TARGET] % each + (uint64_t)data.count + each - 1) / each;
    const rapt_vulkan_dispatch dispatch = {.size = sizeof dispatch,
                                           .shader = &copy_shader,
                                           .constants = constants,
                                           .n_constants = 3,
                                           .groups = {(uint32_t)((invocations + 127) / 128), 1, 1},
                                           .buffers = buffers,
                                           .push = &data};
    return rapt_vk_dispatch(device, &dispatch, error);
}

/* Copies beyond what one binding shows, or 32 bits count, are halved along the dimension that
 * reaches farthest. */
static rapt_status copy_plan(rapt_vk_device *device, const plan *p, rapt_error *error)
{
    bool fits = count_of(p) < (uint64_t)1 << 31;
    int widest = 0;
    uint64_t reach = 0;
    for (int side = 0; side < SIDES; side++) {
        const uint64_t size = rapt_dtype_size(p->dtype[side]);
        fits = fits && span(p, side) <=
                           (device->limits.buffer_bytes - device->limits.offset_alignment) / size;
        for (int32_t d = 0; d < p->ndim; d++) {
            const uint64_t far =
                (uint64_t)p->dims[d].size * ((uint64_t)p->dims[d].stride[side] * size + 1);
            if (p->dims[d].size > 1 && far > reach) {
                reach = far;
                widest = d;
            }
        }
    }
    if (fits)
        return copy_by_shader(device, p, error);
    plan half = *p;
    dimension *dim = &half.dims[widest];
    const int64_t first = dim->size / 2;
    dim->size = first;
    const rapt_status status = copy_plan(device, &half, error);
    if (status != RAPT_OK)
        return status;
    dim->size = p->dims[widest].size - first;
    for (int side = 0; side < SIDES; side++)
        half.offset[side] +=
            (uint64_t)(first * dim->stride[side]) * rapt_dtype_size(p->dtype[side]);
    return copy_plan(device, &half, error);
}

rapt_status rapt_vk_copy(rapt_vk_device *device, const rapt_view *target, const rapt_view *source,
                         rapt_error *error)
{
    plan p;
    if (!make_plan(&p, target, source))
        return RAPT_OK;
    if (p.dtype[SOURCE] == p.dtype[TARGET] && dense(&p, SOURCE) && dense(&p, TARGET))
        return copy_bytes(device, &p, error);
    return copy_plan(device, &p, error);
}
