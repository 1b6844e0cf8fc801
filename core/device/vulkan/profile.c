/* What each shader takes: a time stamp before and behind every dispatch (RAPT_VULKAN_PROFILE=1). */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUERIES = 2 * RAPT_VK_PROFILED };

bool rapt_vk_profile_asked(void)
{
    const char *asked = getenv("RAPT_VULKAN_PROFILE");
    return asked && strcmp(asked, "1") == 0;
}

rapt_status rapt_vk_profile_open(rapt_vk_device *device, rapt_error *error)
{
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = RAPT_VK_BATCHES * QUERIES};
    if (!rapt_vk_profile_asked() || device->features.timestamp_bits == 0)
        return RAPT_OK;
    device->profile = calloc(1, sizeof *device->profile);
    if (!device->profile)
        return rapt_fail_memory(error, sizeof *device->profile, "a profile");
    if (device->features.statistics) {
        device->profile->executables =
            (PFN_vkGetPipelineExecutablePropertiesKHR)device->instance->vk.GetDeviceProcAddr(
                device->handle, "vkGetPipelineExecutablePropertiesKHR");
        device->profile->statistics =
            (PFN_vkGetPipelineExecutableStatisticsKHR)device->instance->vk.GetDeviceProcAddr(
                device->handle, "vkGetPipelineExecutableStatisticsKHR");
    }
    const VkResult result =
        device->vk.CreateQueryPool(device->handle, &info, NULL, &device->profile->queries);
    return result == VK_SUCCESS ? RAPT_OK
                                : rapt_vk_failed(device, result, "making a query pool", error);
}

void rapt_vk_profile_close(rapt_vk_device *device)
{
    if (device->profile && device->profile->queries)
        device->vk.DestroyQueryPool(device->handle, device->profile->queries, NULL);
    free(device->profile);
    device->profile = NULL;
}

void rapt_vk_profile_begin(rapt_vk_device *device, const rapt_vk_batch *batch)
{
    rapt_vk_profile *p = device->profile;
    const uint32_t index = (uint32_t)(batch - device->queue.batch);
    if (!p)
        return;
    p->n[index] = 0;
    device->vk.CmdResetQueryPool(batch->commands, p->queries, index * QUERIES, QUERIES);
}

void rapt_vk_profile_stamp(rapt_vk_device *device, const rapt_vk_batch *batch, const char *name,
                           bool end)
{
    rapt_vk_profile *p = device->profile;
    const uint32_t index = (uint32_t)(batch - device->queue.batch);
    if (!p || p->n[index] == RAPT_VK_PROFILED)
        return;
    device->vk.CmdWriteTimestamp(batch->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, p->queries,
                                 index * QUERIES + 2 * p->n[index] + end);
    if (end)
        snprintf(p->name[index][p->n[index]++], RAPT_VK_NAME, "%s", name);
}

/* The shader's line, made if need be; NULL: there is no room for it. */
static rapt_vulkan_timing *line_of(rapt_vk_profile *p, const char *name)
{
    char cut[RAPT_VK_NAME];
    uint32_t i = 0;
    snprintf(cut, sizeof cut, "%s", name);
    while (i < p->n_shaders && strcmp(p->shader[i].name, cut) != 0)
        i++;
    if (i == RAPT_VK_SHADERS)
        return NULL;
    if (i == p->n_shaders) {
        memcpy(p->shader[i].name, cut, sizeof cut);
        p->n_shaders++;
    }
    return &p->shader[i];
}

static void add(rapt_vk_profile *p, const char *name, double seconds)
{
    rapt_vulkan_timing *line = line_of(p, name);
    if (!line)
        return;
    line->seconds += seconds;
    line->dispatches++;
}

/* --- What the driver made of a shader --------------------------------------------------------- */

static void append(char *text, size_t size, const VkPipelineExecutableStatisticKHR *s)
{
    const size_t used = strlen(text);
    const char *between = used ? ", " : "";
    switch (s->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        snprintf(text + used, size - used, "%s%s %lld", between, s->name, (long long)s->value.i64);
        break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        snprintf(text + used, size - used, "%s%s %llu", between, s->name,
                 (unsigned long long)s->value.u64);
        break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR:
        snprintf(text + used, size - used, "%s%s %g", between, s->name, s->value.f64);
        break;
    default:
        break;
    }
}

void rapt_vk_profile_compiled(rapt_vk_device *device, const char *name, VkPipeline pipeline)
{
    rapt_vk_profile *p = device->profile;
    const VkPipelineInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR,
                                    .pipeline = pipeline};
    const VkPipelineExecutableInfoKHR first = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline};
    VkPipelineExecutableStatisticKHR all[32];
    uint32_t executables = 0, n = sizeof all / sizeof *all;
    if (!p || !p->executables || !p->statistics ||
        p->executables(device->handle, &info, &executables, NULL) != VK_SUCCESS || !executables)
        return;
    for (uint32_t i = 0; i < n; i++)
        all[i] = (VkPipelineExecutableStatisticKHR){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
    rapt_vulkan_timing *line = line_of(p, name);
    if (!line || p->statistics(device->handle, &first, &n, all) < VK_SUCCESS)
        return;
    line->compiled[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        append(line->compiled, sizeof line->compiled, &all[i]);
}

void rapt_vk_profile_add(rapt_vk_device *device, const rapt_vk_batch *batch)
{
    rapt_vk_profile *p = device->profile;
    const uint32_t index = (uint32_t)(batch - device->queue.batch);
    uint64_t at[QUERIES];
    if (!p || p->n[index] == 0 ||
        device->vk.GetQueryPoolResults(device->handle, p->queries, index * QUERIES, 2 * p->n[index],
                                       sizeof at, at, sizeof *at,
                                       VK_QUERY_RESULT_64_BIT) != VK_SUCCESS)
        return;
    for (uint32_t i = 0; i < p->n[index]; i++)
        add(p, p->name[index][i], rapt_vk_seconds(device, at[2 * i], at[2 * i + 1]));
    p->n[index] = 0;
}
