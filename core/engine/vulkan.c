/* Shaders of the caller's own, over tensors. */
#include "base/error.h"
#include "engine/engine.h"
#include <stdio.h>

/* Where a binding may begin on any device. */
enum { ALIGNMENT = 256 };

static rapt_status check_tensor(const rapt_context *context, const rapt_tensor *tensor, uint32_t i,
                                rapt_device device, bool written, rapt_error *error)
{
    const rapt_view *view = &tensor->view;
    char here[32], there[32], name[32];
    rapt_device_name(view->device, here);
    rapt_device_name(device, there);
    if (view->device.type != RAPT_DEVICE_VULKAN)
        return rapt_fail(error, RAPT_INVALID, "buffer %u is on %s; a Vulkan device was expected",
                         i + 1, here);
    if (view->device.index != device.index)
        return rapt_fail(error, RAPT_INVALID, "buffer %u is on %s but buffer 1 is on %s", i + 1,
                         here, there);
    if (!rapt_view_is_contiguous(view))
        return rapt_fail(error, RAPT_INVALID,
                         "buffer %u is not contiguous: a shader sees its elements side by side",
                         i + 1);
    if (rapt_view_count(view) > 0 && view->byte_offset % ALIGNMENT)
        return rapt_fail(error, RAPT_INVALID,
                         "buffer %u begins %llu bytes into its memory; a multiple of %d was "
                         "expected: clone it",
                         i + 1, (unsigned long long)view->byte_offset, ALIGNMENT);
    snprintf(name, sizeof name, "buffer %u", i + 1);
    return written ? rapt_check_writable(context, tensor, name, error) : RAPT_OK;
}

static rapt_vulkan_buffer buffer_of(const rapt_view *view)
{
    const int64_t count = rapt_view_count(view);
    if (count == 0)
        return (rapt_vulkan_buffer){0};
    return (rapt_vulkan_buffer){view->data, view->byte_offset,
                                (uint64_t)count * (uint64_t)rapt_dtype_size(rapt_view_dtype(view))};
}

rapt_status rapt_vulkan_shade(rapt_context *context, const rapt_vulkan_dispatch *dispatch,
                              rapt_tensor *const *tensors, uint64_t written, rapt_error *error)
{
    rapt_vulkan_buffer buffers[64];
    const uint32_t n = dispatch->shader->n_buffers;
    if (n == 0 || n > 64)
        return rapt_fail(error, RAPT_INVALID, "a shader has 1 to 64 buffers; this one has %u", n);
    const rapt_device device = tensors[0]->view.device;
    for (uint32_t i = 0; i < n; i++) {
        const rapt_status status =
            check_tensor(context, tensors[i], i, device, written >> i & 1, error);
        if (status != RAPT_OK)
            return status;
        buffers[i] = buffer_of(&tensors[i]->view);
    }
    rapt_device_driver *driver = rapt_devices_find(device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    rapt_vulkan_dispatch with = *dispatch;
    with.buffers = buffers;
    const rapt_status status = driver->dispatch(driver, &with, error);
    for (uint32_t i = 0; status == RAPT_OK && i < n; i++)
        if (written >> i & 1)
            rapt_tensor_written(tensors[i]);
    return status;
}

rapt_status rapt_vulkan_timings(rapt_context *context, rapt_device device,
                                rapt_vulkan_timing *timings, size_t room, size_t *count,
                                rapt_error *error)
{
    (void)context;
    rapt_device_driver *driver = rapt_devices_find(device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    if (!driver->timings)
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s has no shaders", driver->info.name);
    return driver->timings(driver, timings, room, count, error);
}

void rapt_vulkan_forget(rapt_context *context)
{
    (void)context;
    rapt_devices_forget();
}
