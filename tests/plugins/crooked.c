/* y = 2 x, with kernels for Vulkan that are wrong: "test.crooked_half" where it uses 16-bit
 * storage, "test.crooked_rows" where rows have 6 elements, "test.crooked" always. What a device's
 * self-test must find; of the second it can know from golden vectors alone. */
#include "kit/vulkan.h"
#include <rapt/plugin.h>

#include "crooked.h"

static const rapt_vulkan_shader shader = {
    .size = sizeof(rapt_vulkan_shader),
    .name = "test.crooked",
    .code = crooked_code,
    .code_bytes = sizeof crooked_code,
    .n_buffers = 2,
    .push_bytes = 4,
};

static int64_t count(const rapt_view *x)
{
    return x->shape[0] * x->shape[1];
}

static rapt_status on_cpu(rapt_call *call)
{
    const float *x = (const float *)rapt_view_data(call->inputs[0]);
    float *y = (float *)rapt_view_data(call->outputs[0]);
    for (int64_t i = 0; i < count(call->inputs[0]); i++)
        y[i] = 2 * x[i];
    return RAPT_OK;
}

static rapt_status scale(rapt_call *call, const rapt_vulkan *device, float factor)
{
    const uint32_t half = call->dtype == RAPT_F16;
    const uint32_t words = (uint32_t)count(call->inputs[0]) >> half;
    const rapt_view *const views[2] = {call->inputs[0], call->outputs[0]};
    rapt_vulkan_buffer buffers[2];
    uint32_t constants[2] = {0, half}, base[2];
    memcpy(&constants[0], &factor, 4);
    for (int i = 0; i < 2; i++) {
        const rapt_status status =
            rapt_vulkan_bind(call, device->limits, views[i], &buffers[i], &base[i]);
        if (status != RAPT_OK)
            return status;
        if (base[i] != 0)
            return call->host->error(call, RAPT_UNSUPPORTED, "a tensor begins at an odd place");
    }
    return rapt_vulkan_run(device, &shader, constants, 2, rapt_vulkan_groups(words, 64), 1, 1,
                           buffers, &words, NULL);
}

static rapt_status always_wrong(rapt_call *call)
{
    rapt_vulkan device;
    const rapt_status status = rapt_vulkan_begin(call, &device);
    return status == RAPT_OK ? scale(call, &device, 3) : status;
}

static rapt_status wrong_in_half(rapt_call *call)
{
    rapt_vulkan device;
    const rapt_status status = rapt_vulkan_begin(call, &device);
    if (status != RAPT_OK)
        return status;
    const bool stored = device.limits->features & RAPT_VULKAN_STORAGE16;
    return scale(call, &device, call->dtype == RAPT_F16 && stored ? 2.5f : 2);
}

static rapt_status wrong_in_rows(rapt_call *call)
{
    rapt_vulkan device;
    const rapt_status status = rapt_vulkan_begin(call, &device);
    return status == RAPT_OK ? scale(call, &device, call->sizes['N'] == 6 ? 3 : 2) : status;
}

static const rapt_arg inputs[] = {{.size = sizeof(rapt_arg), .spec = "x: B N"}};
static const rapt_arg outputs[] = {{.size = sizeof(rapt_arg), .spec = "y: B N"}};

#define KERNELS(function)                                                                          \
    {                                                                                              \
        {.size = sizeof(rapt_kernel),                                                              \
         .name = "cpu",                                                                            \
         .device = "cpu",                                                                          \
         .dtypes = RAPT_DTYPE_BIT(RAPT_F32),                                                       \
         .flags = RAPT_CONTIGUOUS,                                                                 \
         .forward = on_cpu},                                                                       \
            {.size = sizeof(rapt_kernel),                                                          \
             .name = "vulkan",                                                                     \
             .device = "vulkan",                                                                   \
             .dtypes = RAPT_DTYPE_BIT(RAPT_F32) | RAPT_DTYPE_BIT(RAPT_F16),                        \
             .flags = RAPT_CONTIGUOUS,                                                             \
             .forward = function},                                                                 \
    }
static const rapt_kernel half_kernels[] = KERNELS(wrong_in_half);
static const rapt_kernel rows_kernels[] = KERNELS(wrong_in_rows);
static const rapt_kernel wrong_kernels[] = KERNELS(always_wrong);

#define OPERATOR(label, list)                                                                      \
    {                                                                                              \
        .size = sizeof(rapt_operator), .flags = RAPT_OP_FULL, .name = (label), .inputs = inputs,   \
        .n_inputs = 1, .outputs = outputs, .n_outputs = 1, .doc = "Twice x.",                      \
        .example = "B=2 N=32", .kernels = (list), .n_kernels = 2                                   \
    }
static const rapt_operator operators[] = {OPERATOR("test.crooked_half", half_kernels),
                                          OPERATOR("test.crooked_rows", rows_kernels),
                                          OPERATOR("test.crooked", wrong_kernels)};

RAPT_PLUGIN_EXPORT const rapt_plugin rapt_plugin_v1 = {
    .size = sizeof(rapt_plugin),
    .abi_major = RAPT_ABI_MAJOR,
    .abi_minor = RAPT_ABI_MINOR_NEEDED,
    .name = "crooked",
    .version = "1.0",
    .operators = operators,
    .n_operators = 3,
};
