/* The Vulkan devices of this machine as rapt's devices. */
#include "base/error.h"
#include "base/text.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All drivers share one instance, which goes with the last of them. */
static rapt_vk_instance instance;
static rapt_vk_device *devices[RAPT_VK_MAX_DEVICES];
static size_t n_open;
static rapt_device_driver *all; /* where the caller keeps them */

rapt_vk_device *rapt_vk_device_at(int32_t index)
{
    return index >= 0 && index < RAPT_VK_MAX_DEVICES ? devices[index] : NULL;
}

/* --- Functions of a driver ------------------------------------------------------------------- */

static rapt_vk_device *enter(rapt_device_driver *driver)
{
    rapt_vk_device *device = driver->self;
    pthread_mutex_lock(&device->lock);
    return device;
}

static rapt_status leave(rapt_vk_device *device, rapt_status status)
{
    pthread_mutex_unlock(&device->lock);
    return status;
}

static void vulkan_close(rapt_device_driver *driver)
{
    rapt_vk_device *device = driver->self;
    if (!device)
        return;
    rapt_vk_device_close(device);
    pthread_mutex_destroy(&device->lock);
    rapt_vk_verdicts_free(device);
    devices[driver->device.index] = NULL;
    free(device);
    driver->self = NULL;
    if (--n_open == 0)
        rapt_vk_instance_close(&instance);
}

static rapt_status vulkan_allocate(rapt_device_driver *driver, int64_t bytes, void **data,
                                   rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_vk_memory *memory = NULL;
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_memory_take(device, (uint64_t)bytes, &memory, error);
    if (status == RAPT_OK)
        *data = memory;
    return leave(device, status);
}

static void vulkan_release(rapt_device_driver *driver, void *data, int64_t bytes)
{
    (void)bytes;
    rapt_vk_device *device = enter(driver);
    rapt_vk_memory_give(data);
    leave(device, RAPT_OK);
}

static rapt_status vulkan_write(rapt_device_driver *driver, void *data, uint64_t offset,
                                const void *source, int64_t bytes, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_write(device, data, offset, source, (uint64_t)bytes, error);
    return leave(device, status);
}

static rapt_status vulkan_read(rapt_device_driver *driver, const void *data, uint64_t offset,
                               void *target, int64_t bytes, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_read(device, (rapt_vk_memory *)(uintptr_t)data, offset, target,
                              (uint64_t)bytes, error);
    return leave(device, status);
}

static rapt_status vulkan_copy(rapt_device_driver *driver, const rapt_view *target,
                               const rapt_view *source, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_copy(device, target, source, error);
    return leave(device, status);
}

static rapt_status vulkan_clear(rapt_device_driver *driver, void *data, uint64_t offset,
                                int64_t bytes, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_clear(device, data, offset, (uint64_t)bytes, error);
    return leave(device, status);
}

static rapt_status vulkan_fill(rapt_device_driver *driver, const rapt_view *target,
                               const rapt_random_fill *fill, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_fill(device, target, fill, error);
    return leave(device, status);
}

static rapt_status vulkan_dispatch(rapt_device_driver *driver, const rapt_vulkan_dispatch *dispatch,
                                   rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_dispatch(device, dispatch, error);
    return leave(device, status);
}

static rapt_status vulkan_synchronize(rapt_device_driver *driver, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = RAPT_OK;
    if (device->open || device->lost)
        status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK && device->open)
        status = rapt_vk_wait(device, device->queue.recording, error);
    if (status == RAPT_OK && device->open)
        rapt_vk_families_save(device, false);
    return leave(device, status);
}

static rapt_status vulkan_seconds(rapt_device_driver *driver, double *seconds, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK && !device->queue.queries)
        status = rapt_fail(error, RAPT_UNSUPPORTED, "%s has no clock", device->name);
    if (status == RAPT_OK)
        status = rapt_vk_wait(device, device->queue.recording, error);
    if (status == RAPT_OK)
        *seconds = device->queue.seconds;
    return leave(device, status);
}

static rapt_status vulkan_timings(rapt_device_driver *driver, rapt_vulkan_timing *timings,
                                  size_t room, size_t *count, rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK && !device->profile)
        status = rapt_fail(error, RAPT_UNSUPPORTED,
                           "%s counts no shader's time: RAPT_VULKAN_PROFILE=1 has it do so",
                           device->name);
    if (status == RAPT_OK)
        status = rapt_vk_wait(device, device->queue.recording, error);
    if (status == RAPT_OK) {
        *count = device->profile->n_shaders < room ? device->profile->n_shaders : room;
        memcpy(timings, device->profile->shader, *count * sizeof *timings);
    }
    return leave(device, status);
}

static void vulkan_forget(rapt_device_driver *driver)
{
    rapt_vk_device *device = enter(driver);
    rapt_vk_forget(device);
    leave(device, RAPT_OK);
}

static rapt_status vulkan_measure_gemm(rapt_device_driver *driver, int64_t n, double *gflops,
                                       rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_measure_fma(device, n, gflops, error);
    return leave(device, status);
}

static rapt_status vulkan_measure_copy(rapt_device_driver *driver, double *gbytes,
                                       rapt_error *error)
{
    rapt_vk_device *device = enter(driver);
    rapt_status status = rapt_vk_device_ready(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_measure_copy(device, gbytes, error);
    return leave(device, status);
}

/* --- The list -------------------------------------------------------------------------------- */

static void fill_limits(rapt_vk_device *device)
{
    const rapt_vk_features *f = &device->features;
    const VkPhysicalDeviceLimits *l = &f->properties.limits;
    uint64_t range = l->maxStorageBufferRange & ~(uint64_t)255;
    if (range > f->max_buffer)
        range = f->max_buffer;
    device->limits =
        (rapt_vulkan_limits){.size = sizeof(rapt_vulkan_limits),
                             .features = f->on,
                             .vendor = f->properties.vendorID,
                             .subgroup_size = f->subgroup_size,
                             .shared_bytes = rapt_vk_quirks_shared(f),
                             .invocations = l->maxComputeWorkGroupInvocations,
                             .offset_alignment = l->minStorageBufferOffsetAlignment > 16
                                                     ? (uint32_t)l->minStorageBufferOffsetAlignment
                                                     : 16,
                             .processors = f->processors,
                             .buffer_bytes = range,
                             .buffers = rapt_vk_quirks_buffers(f)};
}

static void fill_info(const rapt_vk_device *device, rapt_device_info *info)
{
    const rapt_vk_features *f = &device->features;
    char paths[320], narrow[48] = "", tested[320];
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "%s", device->name);
    snprintf(info->model, sizeof info->model, "%s", f->properties.deviceName);
    rapt_vk_features_describe(f, paths, sizeof paths);
    rapt_vk_verdicts_describe(device, tested, sizeof tested);
    if (device->limits.buffers < RAPT_VK_WIDE)
        snprintf(narrow, sizeof narrow, "; a shader binds %u buffers at most",
                 device->limits.buffers);
    const int n = snprintf(info->detail, sizeof info->detail,
                           "%.50s %.50s, Vulkan %u.%u; %.300s%s; self-test ", f->driver_name,
                           f->driver_info, VK_API_VERSION_MAJOR(f->properties.apiVersion),
                           VK_API_VERSION_MINOR(f->properties.apiVersion), paths, narrow);
    if (n > 0 && (size_t)n < sizeof info->detail)
        snprintf(info->detail + n, sizeof info->detail - (size_t)n, "%s", tested);
    info->available = true;
    info->memory_bytes = (int64_t)f->memory_bytes;
}

/* --- Self-tests ------------------------------------------------------------------------------- */

static bool vulkan_judged(rapt_device_driver *driver, const char *op, rapt_verdict *verdict)
{
    rapt_vk_device *device = enter(driver);
    const rapt_verdict *found = rapt_vk_verdict_find(device, op);
    if (found)
        *verdict = *found;
    leave(device, RAPT_OK);
    return found != NULL;
}

static uint32_t vulkan_offer(rapt_device_driver *driver, uint32_t features)
{
    return rapt_vk_verdict_offer(driver->self, features);
}

static void vulkan_judge(rapt_device_driver *driver, const rapt_verdict *verdict)
{
    rapt_vk_device *device = enter(driver);
    rapt_vk_verdict_keep(device, verdict);
    fill_info(device, &driver->info);
    leave(device, RAPT_OK);
    rapt_vk_found_store(all, n_open);
}

static rapt_status vulkan_rehearse(rapt_device_driver *driver, rapt_status (*function)(rapt_call *),
                                   rapt_call *call)
{
    (void)driver;
    return rapt_vk_rehearse(function, call);
}

static void fill_driver(rapt_vk_device *device, int32_t index, rapt_device_driver *driver)
{
    memset(driver, 0, sizeof *driver);
    driver->device = (rapt_device){RAPT_DEVICE_VULKAN, index};
    driver->kind = "vulkan";
    driver->software = device->features.software;
    driver->self = device;
    driver->close = vulkan_close;
    driver->allocate = vulkan_allocate;
    driver->release = vulkan_release;
    driver->write = vulkan_write;
    driver->read = vulkan_read;
    driver->copy = vulkan_copy;
    driver->clear = vulkan_clear;
    driver->fill = vulkan_fill;
    driver->dispatch = vulkan_dispatch;
    driver->synchronize = vulkan_synchronize;
    driver->judged = vulkan_judged;
    driver->offer = vulkan_offer;
    driver->judge = vulkan_judge;
    driver->seconds = vulkan_seconds;
    driver->timings = vulkan_timings;
    driver->forget = vulkan_forget;
    driver->measure_gemm = vulkan_measure_gemm;
    driver->measure_copy = vulkan_measure_copy;
    snprintf(device->name, sizeof device->name, "vulkan:%d", (int)index);
    fill_limits(device);
    if (device->limits.buffers < RAPT_VK_WIDE)
        driver->rehearse = vulkan_rehearse;
    rapt_vk_verdicts_load(device);
    fill_info(device, &driver->info);
}

/* The one entry that says why there is none. */
static void fill_absent(rapt_device_driver *driver, const char *why)
{
    memset(driver, 0, sizeof *driver);
    driver->device = (rapt_device){RAPT_DEVICE_VULKAN, 0};
    driver->kind = "vulkan";
    snprintf(driver->info.name, sizeof driver->info.name, "vulkan:0");
    snprintf(driver->info.detail, sizeof driver->info.detail, "%.511s", why);
}

static rapt_vk_device *make_device(VkPhysicalDevice physical, rapt_text *refused)
{
    rapt_error why = {0};
    rapt_vk_device *device = calloc(1, sizeof *device);
    if (!device || pthread_mutex_init(&device->lock, NULL) != 0) {
        free(device);
        return NULL;
    }
    device->instance = &instance;
    device->physical = physical;
    if (rapt_vk_features_read(&instance, physical, &device->features, &why) == RAPT_OK)
        return device;
    rapt_text_append(refused, "%s%s", refused->length ? "; " : "", why.message);
    pthread_mutex_destroy(&device->lock);
    free(device);
    return NULL;
}

/* Fills `found`, the software devices behind the others, otherwise in the loader's order. */
static size_t find_devices(rapt_vk_device **found, size_t room, rapt_text *refused)
{
    VkPhysicalDevice physical[32];
    uint32_t n = sizeof physical / sizeof *physical;
    size_t count = 0, hardware = 0;
    const VkResult result = instance.vk.EnumeratePhysicalDevices(instance.handle, &n, physical);
    if (result < VK_SUCCESS) {
        rapt_text_append(refused, "vkEnumeratePhysicalDevices: %s", rapt_vk_result_name(result));
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        rapt_vk_device *device = make_device(physical[i], refused);
        if (!device)
            continue;
        const size_t at = device->features.software ? count : hardware;
        if (count == room) { /* one too many: the last one goes */
            rapt_vk_device *last = at < count ? found[--count] : device;
            pthread_mutex_destroy(&last->lock);
            free(last);
            if (last == device)
                continue;
        }
        memmove(&found[at + 1], &found[at], (count - at) * sizeof *found);
        found[at] = device;
        count++;
        hardware += !device->features.software;
    }
    return count;
}

rapt_status rapt_vulkan_open(rapt_device_driver *drivers, size_t room, size_t *count,
                             rapt_error *error)
{
    (void)error;
    rapt_error why = {0};
    rapt_text refused = {0};
    rapt_vk_device *found[RAPT_VK_MAX_DEVICES];
    if (room > RAPT_VK_MAX_DEVICES)
        room = RAPT_VK_MAX_DEVICES;
    *count = 0;
    if (room == 0)
        return RAPT_OK;
    if (rapt_vk_quirks_check(&why) != RAPT_OK ||
        rapt_vk_instance_open(&instance, &why) != RAPT_OK) {
        fill_absent(&drivers[0], why.message);
        *count = 1;
        return RAPT_OK;
    }
    const size_t n = find_devices(found, room, &refused);
    for (size_t i = 0; i < n; i++) {
        devices[i] = found[i];
        fill_driver(found[i], (int32_t)i, &drivers[i]);
    }
    if (n == 0) {
        fill_absent(&drivers[0], refused.length ? refused.data : "there is no Vulkan device");
        rapt_vk_instance_close(&instance);
    }
    rapt_text_free(&refused);
    n_open = n;
    all = drivers;
    *count = n ? n : 1;
    rapt_vk_found_store(drivers, *count);
    return RAPT_OK;
}
