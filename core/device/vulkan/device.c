/* A logical device: opened when it is first used, closed with its driver, lost for good. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool load_table(rapt_vk_device *device)
{
    bool all = true;
#define LOAD(name)                                                                                 \
    device->vk.name =                                                                              \
        (PFN_vk##name)device->instance->vk.GetDeviceProcAddr(device->handle, "vk" #name);          \
    all = all && device->vk.name;
    RAPT_VK_DEVICE(LOAD)
#undef LOAD
    return all;
}

/* Bytes that RAPT_VULKAN_MEMORY allows; 0: it says nothing. */
static rapt_status read_cap(uint64_t *cap, rapt_error *error)
{
    const char *text = getenv("RAPT_VULKAN_MEMORY");
    char *end = NULL;
    *cap = 0;
    if (!text || !*text)
        return RAPT_OK;
    errno = 0;
    const unsigned long long bytes = strtoull(text, &end, 10);
    if (errno || *end || bytes == 0 || text[0] < '0' || text[0] > '9')
        return rapt_fail(error, RAPT_INVALID,
                         "RAPT_VULKAN_MEMORY is \"%s\"; a number of bytes was expected", text);
    *cap = bytes;
    return RAPT_OK;
}

static rapt_status open_parts(rapt_vk_device *device, rapt_error *error)
{
    const VkResult result = rapt_vk_features_create(device->instance, device->physical,
                                                    &device->features, &device->handle);
    if (result != VK_SUCCESS) {
        device->handle = VK_NULL_HANDLE;
        return rapt_vk_failed(device, result, "opening the device", error);
    }
    if (!load_table(device))
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s: the driver lacks functions of Vulkan 1.2",
                         device->name);
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    device->instance->vk.GetPhysicalDeviceMemoryProperties2(device->physical, &memory);
    device->memory_types = memory.memoryProperties;
    rapt_status status = read_cap(&device->heap.cap, error);
    if (status == RAPT_OK)
        status = rapt_vk_commands_open(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_profile_open(device, error);
    if (status == RAPT_OK)
        status =
            rapt_vk_memory_take(device, RAPT_VK_NOTHINGS * RAPT_VK_ALIGN, &device->nothing, error);
    return status;
}

rapt_status rapt_vk_device_ready(rapt_vk_device *device, rapt_error *error)
{
    if (device->lost)
        return rapt_fail(
            error, RAPT_DEVICE_LOST,
            "%s was lost: it is of no use until all of rapt is closed and opened again",
            device->name);
    if (device->open)
        return RAPT_OK;
    const rapt_status status = open_parts(device, error);
    device->open = true;
    if (status != RAPT_OK)
        rapt_vk_device_close(device);
    return status;
}

void rapt_vk_device_close(rapt_vk_device *device)
{
    if (!device->open)
        return;
    device->open = false;
    if (device->handle && device->vk.DestroyDevice) {
        if (device->vk.DeviceWaitIdle)
            device->vk.DeviceWaitIdle(device->handle);
        rapt_vk_pipelines_close(device);
        rapt_vk_commands_close(device);
        rapt_vk_profile_close(device);
        rapt_vk_host_buffer_free(device, &device->readback[0]);
        rapt_vk_host_buffer_free(device, &device->readback[1]);
        rapt_vk_memory_close(device);
        device->vk.DestroyDevice(device->handle, NULL);
    }
    device->handle = VK_NULL_HANDLE;
    device->nothing = device->normal_table = NULL;
    memset(&device->vk, 0, sizeof device->vk);
}

rapt_status rapt_vk_failed(rapt_vk_device *device, VkResult result, const char *what,
                           rapt_error *error)
{
    rapt_status status = RAPT_INTERNAL;
    if (result == VK_ERROR_DEVICE_LOST) {
        device->lost = true;
        status = RAPT_DEVICE_LOST;
    } else if (device->lost) {
        status = RAPT_DEVICE_LOST;
    } else if (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY ||
               result == VK_ERROR_OUT_OF_POOL_MEMORY) {
        status = RAPT_NO_MEMORY;
    } else if (!device->handle) { /* it does not open */
        status = RAPT_UNSUPPORTED;
    }
    return rapt_fail(error, status, "%s: %s: %s%s", device->name, what, rapt_vk_result_name(result),
                     device->lost ? "; the device is lost" : "");
}
