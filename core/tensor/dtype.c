/* Names of dtypes and devices. */
#include "base/error.h"
#include "tensor/tensor.h"
#include <stdio.h>
#include <string.h>

static const char *const dtype_names[RAPT_DTYPE_COUNT] = {"f32", "f16", "bf16", "f64",
                                                          "i32", "i64", "u8",   "bool"};

static const rapt_dltype dltypes[RAPT_DTYPE_COUNT] = {
    {2, 32, 1}, {2, 16, 1}, {4, 16, 1}, {2, 64, 1}, {0, 32, 1}, {0, 64, 1}, {1, 8, 1}, {6, 8, 1}};

const char *rapt_dtype_name(rapt_dtype dtype)
{
    return (unsigned)dtype < RAPT_DTYPE_COUNT ? dtype_names[dtype] : "?";
}

rapt_dltype rapt_dltype_of(rapt_dtype dtype)
{
    const rapt_dltype none = {0, 0, 0};
    return (unsigned)dtype < RAPT_DTYPE_COUNT ? dltypes[dtype] : none;
}

rapt_status rapt_dtype_parse(const char *name, rapt_dtype *dtype, rapt_error *error)
{
    for (int i = 0; name && i < RAPT_DTYPE_COUNT; i++)
        if (strcmp(name, dtype_names[i]) == 0) {
            *dtype = (rapt_dtype)i;
            return RAPT_OK;
        }
    return rapt_fail(error, RAPT_INVALID,
                     "dtype is '%s', expected f32, f16, bf16, f64, i32, i64, u8 or bool",
                     name ? name : "");
}

static rapt_status fail_device(const char *name, rapt_error *error)
{
    return rapt_fail(error, RAPT_INVALID, "device is '%s', expected 'cpu' or 'vulkan:N'",
                     name ? name : "");
}

rapt_status rapt_device_parse(const char *name, rapt_device *device, rapt_error *error)
{
    static const char vulkan[] = "vulkan";
    if (!name)
        return fail_device(name, error);
    if (strcmp(name, "cpu") == 0) {
        *device = (rapt_device){.type = RAPT_DEVICE_CPU, .index = 0};
        return RAPT_OK;
    }
    if (strncmp(name, vulkan, sizeof vulkan - 1) != 0)
        return fail_device(name, error);
    const char *at = name + sizeof vulkan - 1;
    int32_t index = 0;
    if (*at == ':') {
        /* Four digits are more than any machine has and cannot overflow. */
        const char *const first = ++at;
        for (; *at >= '0' && *at <= '9' && at - first < 4; at++)
            index = index * 10 + (*at - '0');
        if (at == first)
            return fail_device(name, error);
    }
    if (*at)
        return fail_device(name, error);
    *device = (rapt_device){.type = RAPT_DEVICE_VULKAN, .index = index};
    return RAPT_OK;
}

void rapt_device_name(rapt_device device, char *text)
{
    enum { TEXT_BYTES = 32 };
    if (device.type == RAPT_DEVICE_CPU)
        snprintf(text, TEXT_BYTES, "cpu");
    else if (device.type == RAPT_DEVICE_VULKAN)
        snprintf(text, TEXT_BYTES, "vulkan:%d", (int)device.index);
    else
        snprintf(text, TEXT_BYTES, "type%d:%d", (int)device.type, (int)device.index);
}
