/* The driver's caches of pipelines, on disk. The shaders of each pass of an operator have one of
 * their own, so that the first call of a process waits for the reading of what it needs, not of all
 * that was ever compiled: NVIDIA's takes more than 1 ms for a megabyte. */
#include "base/error.h"
#include "device/vulkan/cache.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_FAMILIES = 128 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- Names ----------------------------------------------------------------------------------- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* What stands before the last point, "softmax.forward" of "softmax.forward.half"; "shaders" for
 * names that have none, or of which a part between points is empty or has more than letters and
 * digits. */
static void family_of(const char *shader, char name[RAPT_VK_FAMILY])
{
    size_t n = 0, at = 0;
    while (is_plain(shader[at]) || (shader[at] == '.' && at > 0 && is_plain(shader[at - 1]))) {
        if (shader[at] == '.')
            n = at;
        at++;
    }
    if (n == 0 || n >= RAPT_VK_FAMILY || shader[at] != '\0' || shader[at - 1] == '.')
        snprintf(name, RAPT_VK_FAMILY, "shaders");
    else
        snprintf(name, RAPT_VK_FAMILY, "%.*s", (int)n, shader);
}

static void file_of(const rapt_vk_device *device, const char *family, char *name, size_t size)
{
    const VkPhysicalDeviceProperties *p = &device->features.properties;
    int at = snprintf(name, size, "pipelines-%04x-%04x-%08x-", p->vendorID, p->deviceID,
                      p->driverVersion);
    for (uint32_t i = 0; i < VK_UUID_SIZE && at > 0 && (size_t)at + 3 < size; i++)
        at += snprintf(name + at, size - (size_t)at, "%02x", device->features.uuid[i]);
    snprintf(name + at, size - (size_t)at, "-%s", family);
}

/* --- Reading --------------------------------------------------------------------------------- */

/* Whether the driver that is here wrote these bytes: it trusts them more than it should. */
static bool is_ours(const rapt_vk_device *device, const unsigned char *data, size_t bytes)
{
    const VkPhysicalDeviceProperties *p = &device->features.properties;
    VkPipelineCacheHeaderVersionOne head;
    if (bytes < sizeof head)
        return false;
    memcpy(&head, data, sizeof head);
    return head.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
           head.headerSize >= sizeof head && head.headerSize <= bytes &&
           head.vendorID == p->vendorID && head.deviceID == p->deviceID &&
           memcmp(head.pipelineCacheUUID, p->pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

static VkResult open_cache(rapt_vk_device *device, rapt_vk_family *family)
{
    char name[RAPT_VK_FAMILY + 96];
    size_t bytes = 0;
    file_of(device, family->name, name, sizeof name);
    unsigned char *data = rapt_vk_cache_load(name, &bytes);
    const bool good = data && is_ours(device, data, bytes);
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = good ? bytes : 0,
                                      .pInitialData = good ? data : NULL};
    VkResult result = device->vk.CreatePipelineCache(device->handle, &info, NULL, &family->cache);
    if (result != VK_SUCCESS && good) {
        info.initialDataSize = 0;
        info.pInitialData = NULL;
        result = device->vk.CreatePipelineCache(device->handle, &info, NULL, &family->cache);
    }
    free(data);
    return result;
}

rapt_status rapt_vk_family_get(rapt_vk_device *device, const char *shader, rapt_vk_family **family,
                               rapt_error *error)
{
    rapt_vk_pipelines *p = &device->pipelines;
    char name[RAPT_VK_FAMILY];
    uint32_t n = 0;
    family_of(shader, name);
    for (rapt_vk_family *at = p->families; at; at = at->next) {
        *family = at; /* the last of the list is the first that was opened */
        if (strcmp(at->name, name) == 0)
            return RAPT_OK;
        n++;
    }
    if (n == MOST_FAMILIES)
        return RAPT_OK;
    rapt_vk_family *made = calloc(1, sizeof *made);
    if (!made)
        return rapt_fail_memory(error, sizeof *made, "a pipeline cache");
    memcpy(made->name, name, sizeof name);
    const VkResult result = open_cache(device, made);
    if (result != VK_SUCCESS) {
        free(made);
        return rapt_vk_failed(device, result, "making a pipeline cache", error);
    }
    if (n == 0)
        p->saved_at = now();
    made->next = p->families;
    p->families = made;
    *family = made;
    return RAPT_OK;
}

/* --- Writing --------------------------------------------------------------------------------- */

static void save(rapt_vk_device *device, rapt_vk_family *family)
{
    char name[RAPT_VK_FAMILY + 96];
    size_t bytes = 0;
    family->unsaved = 0;
    if (device->vk.GetPipelineCacheData(device->handle, family->cache, &bytes, NULL) != VK_SUCCESS)
        return;
    void *data = malloc(bytes ? bytes : 1);
    if (data && device->vk.GetPipelineCacheData(device->handle, family->cache, &bytes, data) ==
                    VK_SUCCESS) {
        file_of(device, family->name, name, sizeof name);
        rapt_vk_cache_store(name, data, bytes);
    }
    free(data);
}

void rapt_vk_families_save(rapt_vk_device *device, bool at_once)
{
    rapt_vk_pipelines *p = &device->pipelines;
    /* A process that is killed loses the last few seconds of compiling. */
    if (device->lost || (!at_once && now() - p->saved_at < 5))
        return;
    for (rapt_vk_family *at = p->families; at; at = at->next)
        if (at->unsaved) {
            save(device, at);
            p->saved_at = now();
        }
}

void rapt_vk_families_close(rapt_vk_device *device)
{
    rapt_vk_families_save(device, true);
    for (rapt_vk_family *at = device->pipelines.families, *next; at; at = next) {
        next = at->next;
        device->vk.DestroyPipelineCache(device->handle, at->cache, NULL);
        free(at);
    }
    device->pipelines.families = NULL;
}
