#include "ops/vulkan/space.h"

static rapt_status supports(rapt_call *call, bool arithmetic)
{
    rapt_vulkan device;
    rapt_status status = rapt_vulkan_begin(call, &device);
    for (uint32_t i = 0; i < call->op->n_inputs && status == RAPT_OK; i++) {
        const rapt_view *view = call->inputs[i];
        if (view == NULL)
            continue;
        const rapt_dtype dtype = rapt_view_dtype(view);
        if (rapt_vkop_half(dtype))
            status = rapt_vulkan_require(&device, RAPT_VULKAN_STORAGE16);
        else if (dtype == RAPT_F64 && arithmetic)
            status = rapt_vulkan_require(&device, RAPT_VULKAN_FLOAT64);
        if (status == RAPT_OK)
            status = rapt_vulkan_fits(call, device.limits, view);
    }
    return status;
}

rapt_status rapt_vulkan_supports(rapt_call *call)
{
    return supports(call, true);
}

rapt_status rapt_vulkan_supports_copy(rapt_call *call)
{
    return supports(call, false);
}

/* With l = ceil(log2 size): magic = floor(2^32 (2^l - size) / size) + 1, the last shift is l - 1.
 */
void rapt_vkop_divisor(uint32_t size, uint32_t *magic, uint32_t *shift)
{
    uint32_t l = 1;
    *magic = *shift = 0;
    if (size <= 1)
        return;
    while (l < 32 && (uint64_t)1 << l < size)
        l++;
    const uint64_t excess = ((uint64_t)1 << l) - size;
    *magic = (uint32_t)((excess << 32) / size + 1);
    *shift = l - 1;
}

rapt_status rapt_vkop_space_set(rapt_call *call, rapt_vkop_space *space, const rapt_walk *walk)
{
    memset(space, 0, sizeof *space);
    if (walk->count > UINT32_MAX)
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "%lld elements are more than one call on this device can have",
                                 (long long)walk->count);
    space->ndim = (uint32_t)walk->ndim;
    space->count = (uint32_t)walk->count;
    for (int32_t d = 0; d < walk->ndim; d++) {
        space->size[d] = (uint32_t)walk->shape[d];
        rapt_vkop_divisor(space->size[d], &space->magic[d], &space->shift[d]);
        for (int k = 0; k < walk->n; k++)
            space->stride[k][d] = (uint32_t)walk->operands[k].stride[d];
    }
    return RAPT_OK;
}

rapt_vkop_team rapt_vkop_team_for(int64_t lines, int64_t length, bool along)
{
    rapt_vkop_team team = {.along = along};
    if (along) {
        while (team.log_team < 7 && (int64_t)1 << team.log_team < length)
            team.log_team++;
    } else {
        team.log_team = 2;
        while (team.log_team < 7 && RAPT_VKOP_LANES >> team.log_team > lines)
            team.log_team++;
    }
    return team;
}

rapt_status rapt_vkop_lines_set(rapt_call *call, rapt_vkop_lines *lines, const rapt_walk *walk,
                                int32_t dim)
{
    rapt_walk outer;
    bool along = true;
    memset(lines, 0, sizeof *lines);
    rapt_walk_take(&outer, walk, walk->ndim > 0 ? ~(1u << dim) : 0);
    const rapt_status status = rapt_vkop_space_set(call, &lines->outer, &outer);
    lines->length = walk->ndim > 0 ? (uint32_t)walk->shape[dim] : 1;
    for (int k = 0; k < walk->n; k++) {
        lines->along[k] = walk->ndim > 0 ? (uint32_t)walk->operands[k].stride[dim] : 0;
        along &= lines->along[k] <= 1;
    }
    lines->team = rapt_vkop_team_for(outer.count, lines->length, along || outer.count == 1);
    return status;
}

rapt_status rapt_vkop_bind(const rapt_vulkan *device, const rapt_view *view,
                           rapt_vulkan_buffer *buffer, uint32_t *base)
{
    const rapt_status status = rapt_vulkan_bind(device->call, device->limits, view, buffer, base);
    buffer->bytes = (buffer->bytes + 3) & ~(uint64_t)3;
    return status;
}

rapt_status rapt_vkop_bind_walk(const rapt_vulkan *device, const rapt_walk *walk,
                                rapt_vulkan_buffer *buffers, uint32_t *base)
{
    rapt_status status = RAPT_OK;
    for (int k = 0; k < walk->n && status == RAPT_OK; k++)
        status = rapt_vkop_bind(device, walk->operands[k].view, &buffers[k], &base[k]);
    return status;
}

rapt_view rapt_vkop_room(const rapt_call *call, uint64_t offset, rapt_dtype dtype, int64_t *n,
                         int64_t *stride)
{
    const rapt_dltype type = {.code = 2, .bits = (uint8_t)(8 * rapt_dtype_size(dtype)), .lanes = 1};
    *stride = 1;
    return (rapt_view){.data = call->workspace,
                       .device = {RAPT_DEVICE_VULKAN, 0},
                       .ndim = 1,
                       .dtype = type,
                       .shape = n,
                       .strides = stride,
                       .byte_offset = offset};
}

void rapt_vkop_number(double value, bool wide, uint32_t words[2])
{
    const float single = (float)value;
    words[1] = 0;
    if (wide)
        memcpy(words, &value, sizeof value);
    else
        memcpy(words, &single, sizeof single);
}
