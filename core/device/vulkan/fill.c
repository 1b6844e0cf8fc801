/* Random numbers made on the device. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include "device_fill.h"

enum { LANES = 128, EACH = 4 }; /* of a workgroup; elements of an invocation, as in the shader */

typedef struct push {
    uint32_t count, base;
    uint32_t first[2], seed[2], low[2], range[2];
} push;

static const rapt_vulkan_shader fill_shader = {
    .size = sizeof(rapt_vulkan_shader),
    .name = "device.fill",
    .code = device_fill,
    .code_bytes = sizeof device_fill,
    .n_buffers = 2,
    .push_bytes = sizeof(push),
};

/* The table of the normal distribution: too large for a constant of a shader, so it lies in memory
 * of the device from its first use on. */
static rapt_status table_ready(rapt_vk_device *device, const rapt_random_fill *fill,
                               rapt_error *error)
{
    if (device->normal_table || fill->kind != RAPT_FILL_NORMAL)
        return RAPT_OK;
    rapt_vk_memory *table;
    rapt_status status = rapt_vk_memory_take(device, fill->table_bytes, &table, error);
    if (status != RAPT_OK)
        return status;
    status = rapt_vk_write(device, table, 0, fill->table, fill->table_bytes, error);
    if (status == RAPT_OK)
        device->normal_table = table;
    else
        rapt_vk_memory_give(table);
    return status;
}

static void halves(uint64_t value, uint32_t *words)
{
    words[0] = (uint32_t)value;
    words[1] = (uint32_t)(value >> 32);
}

/* Elements begin to begin + n - 1, as many as one binding shows. */
static rapt_status fill_part(rapt_vk_device *device, const rapt_view *target, uint64_t begin,
                             uint64_t n, const rapt_random_fill *fill, rapt_error *error)
{
    const uint64_t size = rapt_dtype_size(rapt_view_dtype(target));
    const uint64_t offset = target->byte_offset + begin * size;
    const uint64_t ahead = offset & (device->limits.offset_alignment - 1);
    push data = {.count = (uint32_t)n, .base = (uint32_t)(ahead / size)};
    halves(fill->first + begin, data.first);
    halves(fill->seed, data.seed);
    halves((uint64_t)fill->low, data.low);
    halves(fill->range, data.range);
    const bool normal = fill->kind == RAPT_FILL_NORMAL;
    const rapt_vulkan_buffer buffers[2] = {
        {target->data, offset - ahead, ahead + n * size},
        {normal ? device->normal_table : NULL, 0, normal ? fill->table_bytes : 0}};
    const uint32_t constants[] = {(uint32_t)rapt_view_dtype(target), (uint32_t)fill->kind};
    const uint64_t invocations = (data.base % EACH + n + EACH - 1) / EACH;
    const rapt_vulkan_dispatch dispatch = {
        .size = sizeof dispatch,
        .shader = &fill_shader,
        .constants = constants,
        .n_constants = 2,
        .groups = {(uint32_t)((invocations + LANES - 1) / LANES), 1, 1},
        .buffers = buffers,
        .push = &data};
    return rapt_vk_dispatch(device, &dispatch, error);
}

rapt_status rapt_vk_fill(rapt_vk_device *device, const rapt_view *target,
                         const rapt_random_fill *fill, rapt_error *error)
{
    uint64_t count = 1;
    for (int32_t d = 0; d < target->ndim; d++)
        count *= (uint64_t)target->shape[d];
    const uint64_t size = rapt_dtype_size(rapt_view_dtype(target));
    const uint64_t shown = (device->limits.buffer_bytes - device->limits.offset_alignment) / size;
    const uint64_t most = shown < (uint64_t)1 << 30 ? shown : (uint64_t)1 << 30;
    rapt_status status = count > 0 ? table_ready(device, fill, error) : RAPT_OK;
    for (uint64_t begin = 0; status == RAPT_OK && begin < count; begin += most)
        status = fill_part(device, target, begin, count - begin < most ? count - begin : most, fill,
                           error);
    return status;
}
