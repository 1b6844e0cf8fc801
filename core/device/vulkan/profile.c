/* What each shader takes: a time stamp before and behind every dispatch (RAPT_VULKAN_PROFILE=1). */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUERIES = 2 * RAPT_VK_PROFILED };

rapt_status rapt_vk_profile_open(rapt_vk_device *device, rapt_error *error)
{
    const char *asked = getenv("RAPT_VULKAN_PROFILE");
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = RAPT_VK_BATCHES * QUERIES};
    if (!asked || strcmp(asked, "1") != 0 || device->features.timestamp_bits == 0)
        return RAPT_OK;
    device->profile = calloc(1, sizeof *device->profile);
    if (!device->profile)
        return rapt_fail_memory(error, sizeof *device->profile, "a profile");
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

static void add(rapt_vk_profile *p, const char *name, double seconds)
{
    uint32_t i = 0;
    while (i < p->n_shaders && strcmp(p->shader[i].name, name) != 0)
        i++;
    if (i == RAPT_VK_SHADERS)
        return;
    if (i == p->n_shaders) { /* both names are NUL-terminated arrays of this size, of one struct */
        memmove(p->shader[i].name, name, RAPT_VK_NAME);
        p->n_shaders++;
    }
    p->shader[i].seconds += seconds;
    p->shader[i].dispatches++;
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
