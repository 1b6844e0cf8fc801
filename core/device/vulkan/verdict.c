/* What self-tests have found on this device and driver: kept on disk, applied when the device is
 * listed. */
#include "device/vulkan/cache.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void verdict_name(const rapt_vk_features *f, char *name, size_t size)
{
    int at = snprintf(name, size, "verdict-%04x-%04x-%08x-", f->properties.vendorID,
                      f->properties.deviceID, f->properties.driverVersion);
    for (uint32_t i = 0; i < VK_UUID_SIZE && at > 0 && (size_t)at + 3 < size; i++)
        at += snprintf(name + at, size - (size_t)at, "%02x", f->uuid[i]);
}

void rapt_vk_verdict_load(rapt_vk_device *device)
{
    char name[96];
    size_t bytes = 0;
    verdict_name(&device->features, name, sizeof name);
    unsigned char *data = rapt_vk_cache_load(name, &bytes);
    if (data && bytes == sizeof device->verdict) {
        memcpy(&device->verdict, data, sizeof device->verdict);
        device->verdict.of[sizeof device->verdict.of - 1] = 0;
        device->verdict.why[sizeof device->verdict.why - 1] = 0;
    }
    free(data);
}

void rapt_vk_verdict_store(const rapt_vk_device *device)
{
    char name[96];
    verdict_name(&device->features, name, sizeof name);
    rapt_vk_cache_store(name, &device->verdict, sizeof device->verdict);
}

void rapt_vk_verdict_apply(rapt_vk_device *device)
{
    rapt_vk_features *f = &device->features;
    f->on = f->present;
    memset(f->why_off, 0, sizeof f->why_off);
    rapt_vk_quirks_apply(f);
    if (device->verdict.of[0])
        rapt_vk_features_off(f, device->verdict.failed, device->verdict.why);
    device->limits.features = f->on;
}
