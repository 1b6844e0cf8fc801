/*
 * Batches of commands. One is recorded while others run; each signals its serial number on one
 * timeline semaphore, and the host waits for a number where it reads a result. The first batch
 * after a wait is submitted with its first command, so that the device does not idle; batches then
 * grow, so that submitting costs little.
 */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <stdlib.h>
#include <string.h>

/* --- Barriers and time ----------------------------------------------------------------------- */

static void barrier(rapt_vk_device *device, VkCommandBuffer commands)
{
    const VkMemoryBarrier memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                         VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT};
    const VkPipelineStageFlags stages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    device->vk.CmdPipelineBarrier(commands, stages, stages, 0, 1, &memory, 0, NULL, 0, NULL);
}

static void show_host(rapt_vk_device *device, VkCommandBuffer commands)
{
    const VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                    .srcAccessMask =
                                        VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                                    .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    device->vk.CmdPipelineBarrier(
        commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
        VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &memory, 0, NULL, 0, NULL);
}

static void stamp(rapt_vk_device *device, const rapt_vk_batch *batch, uint32_t which)
{
    const uint32_t first = 2 * (uint32_t)(batch - device->queue.batch);
    if (!device->queue.queries)
        return;
    if (which == 0)
        device->vk.CmdResetQueryPool(batch->commands, device->queue.queries, first, 2);
    device->vk.CmdWriteTimestamp(batch->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                 device->queue.queries, first + which);
}

double rapt_vk_seconds(const rapt_vk_device *device, uint64_t from, uint64_t to)
{
    const uint32_t bits = device->features.timestamp_bits;
    const uint64_t mask = bits < 64 ? ((uint64_t)1 << bits) - 1 : UINT64_MAX;
    return (double)((to - from) & mask) *
           (double)device->features.properties.limits.timestampPeriod * 1e-9;
}

/* Adds the time of a batch that is done. */
static void add_time(rapt_vk_device *device, rapt_vk_batch *batch)
{
    const uint32_t first = 2 * (uint32_t)(batch - device->queue.batch);
    uint64_t at[2];
    if (!batch->timed)
        return;
    batch->timed = false;
    if (device->vk.GetQueryPoolResults(device->handle, device->queue.queries, first, 2, sizeof at,
                                       at, sizeof *at, VK_QUERY_RESULT_64_BIT) != VK_SUCCESS)
        return;
    device->queue.seconds += rapt_vk_seconds(device, at[0], at[1]);
    rapt_vk_profile_add(device, batch);
}

/* --- Waiting --------------------------------------------------------------------------------- */

static void completed(rapt_vk_device *device, uint64_t serial)
{
    rapt_vk_queue *queue = &device->queue;
    if (serial <= queue->completed)
        return;
    queue->completed = serial;
    for (uint32_t i = 0; i < RAPT_VK_BATCHES; i++)
        if (queue->batch[i].serial > 0 && queue->batch[i].serial <= serial)
            add_time(device, &queue->batch[i]);
}

bool rapt_vk_done(rapt_vk_device *device, uint64_t serial)
{
    rapt_vk_queue *queue = &device->queue;
    if (serial <= queue->completed)
        return true;
    if (serial > queue->submitted || device->lost)
        return false;
    uint64_t value = 0;
    if (device->vk.GetSemaphoreCounterValue(device->handle, queue->timeline, &value) == VK_SUCCESS)
        completed(device, value < queue->submitted ? value : queue->submitted);
    return serial <= queue->completed;
}

rapt_status rapt_vk_wait(rapt_vk_device *device, uint64_t serial, rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    if (queue->open && serial >= queue->recording) {
        const rapt_status status = rapt_vk_submit(device, error);
        if (status != RAPT_OK)
            return status;
    }
    if (serial > queue->submitted)
        serial = queue->submitted;
    if (serial > queue->completed) {
        const VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                          .semaphoreCount = 1,
                                          .pSemaphores = &queue->timeline,
                                          .pValues = &serial};
        const VkResult result = device->vk.WaitSemaphores(device->handle, &info, UINT64_MAX);
        if (result != VK_SUCCESS)
            return rapt_vk_failed(device, result, "waiting for a result", error);
        completed(device, serial);
    }
    if (queue->completed == queue->submitted)
        queue->target = 1;
    return RAPT_OK;
}

/* --- Recording ------------------------------------------------------------------------------- */

/* Work that was recorded is gone: what it should have written is not there. */
static rapt_status broken(rapt_vk_device *device, VkResult result, const char *what,
                          rapt_error *error)
{
    device->lost = true;
    device->queue.open = false;
    return rapt_vk_failed(device, result, what, error);
}

static rapt_status begin(rapt_vk_device *device, rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    rapt_vk_batch *batch = &queue->batch[queue->current];
    const uint32_t target = queue->target;
    const rapt_status status = rapt_vk_wait(device, batch->serial, error);
    if (status != RAPT_OK)
        return status;
    /* A device that has run dry is fed sooner. */
    queue->target = target > 16 && rapt_vk_done(device, queue->submitted) ? 16 : target;
    VkResult result = device->vk.ResetCommandPool(device->handle, batch->pool, 0);
    for (uint32_t i = 0; result == VK_SUCCESS && i <= batch->pool_used && i < batch->n_pools; i++) {
        result = device->vk.ResetDescriptorPool(device->handle, batch->pools[i].handle, 0);
        batch->pools[i].sets = RAPT_VK_POOL_SETS;
        batch->pools[i].buffers = RAPT_VK_POOL_BUFFERS;
    }
    const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                           .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    if (result == VK_SUCCESS)
        result = device->vk.BeginCommandBuffer(batch->commands, &info);
    if (result != VK_SUCCESS)
        return rapt_vk_failed(device, result, "beginning a batch of commands", error);
    batch->pool_used = 0;
    batch->params.used = batch->staging.used = 0;
    batch->count = 0;
    batch->host_reads = device->features.unified;
    queue->recording = queue->submitted + 1;
    queue->open = true;
    queue->barrier_needed = true;
    barrier(device, batch->commands);
    queue->barrier_needed = false;
    queue->nothings = 0;
    stamp(device, batch, 0);
    rapt_vk_profile_begin(device, batch);
    return RAPT_OK;
}

rapt_status rapt_vk_record(rapt_vk_device *device, bool concurrent, rapt_vk_batch **out,
                           rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    rapt_vk_batch *batch = &queue->batch[queue->current];
    if (!queue->open) {
        const rapt_status status = begin(device, error);
        if (status != RAPT_OK)
            return status;
    } else if (batch->count > 0 && (!concurrent || queue->barrier_needed)) {
        barrier(device, batch->commands);
        queue->barrier_needed = false;
        queue->nothings = 0;
    }
    *out = batch;
    return RAPT_OK;
}

rapt_status rapt_vk_recorded(rapt_vk_device *device, rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    if (++queue->batch[queue->current].count < queue->target)
        return RAPT_OK;
    const rapt_status status = rapt_vk_submit(device, error);
    queue->target = queue->target * 4 < RAPT_VK_BATCH_MOST ? queue->target * 4 : RAPT_VK_BATCH_MOST;
    return status;
}

rapt_status rapt_vk_submit(rapt_vk_device *device, rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    rapt_vk_batch *batch = &queue->batch[queue->current];
    if (!queue->open)
        return RAPT_OK;
    if (batch->host_reads)
        show_host(device, batch->commands);
    stamp(device, batch, 1);
    VkResult result = device->vk.EndCommandBuffer(batch->commands);
    if (result != VK_SUCCESS)
        return broken(device, result, "ending a batch of commands", error);
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &queue->recording};
    const VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                               .pNext = &values,
                               .commandBufferCount = 1,
                               .pCommandBuffers = &batch->commands,
                               .signalSemaphoreCount = 1,
                               .pSignalSemaphores = &queue->timeline};
    result = device->vk.QueueSubmit(queue->handle, 1, &info, VK_NULL_HANDLE);
    if (result != VK_SUCCESS)
        return broken(device, result, "submitting a batch of commands", error);
    batch->serial = queue->recording;
    batch->timed = queue->queries != VK_NULL_HANDLE;
    queue->submitted = queue->recording;
    queue->open = false;
    queue->recording++;
    queue->current = (queue->current + 1) % RAPT_VK_BATCHES;
    return RAPT_OK;
}

/* --- Open and close -------------------------------------------------------------------------- */

static VkResult open_batch(rapt_vk_device *device, rapt_vk_batch *batch)
{
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
                                          .queueFamilyIndex = device->features.queue_family};
    VkResult result = device->vk.CreateCommandPool(device->handle, &pool, NULL, &batch->pool);
    if (result != VK_SUCCESS)
        return result;
    const VkCommandBufferAllocateInfo info = {.sType =
                                                  VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = batch->pool,
                                              .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                              .commandBufferCount = 1};
    return device->vk.AllocateCommandBuffers(device->handle, &info, &batch->commands);
}

rapt_status rapt_vk_commands_open(rapt_vk_device *device, rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    memset(queue, 0, sizeof *queue);
    queue->recording = 1;
    queue->target = 1;
    device->vk.GetDeviceQueue(device->handle, device->features.queue_family, 0, &queue->handle);
    const VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                            .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                             .pNext = &type};
    VkResult result =
        device->vk.CreateSemaphore(device->handle, &semaphore, NULL, &queue->timeline);
    const VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                           .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                           .queryCount = 2 * RAPT_VK_BATCHES};
    if (result == VK_SUCCESS && device->features.timestamp_bits > 0)
        result = device->vk.CreateQueryPool(device->handle, &queries, NULL, &queue->queries);
    for (uint32_t i = 0; result == VK_SUCCESS && i < RAPT_VK_BATCHES; i++)
        result = open_batch(device, &queue->batch[i]);
    return result == VK_SUCCESS
               ? RAPT_OK
               : rapt_vk_failed(device, result, "making the queue's objects", error);
}

void rapt_vk_commands_close(rapt_vk_device *device)
{
    rapt_vk_queue *queue = &device->queue;
    for (uint32_t i = 0; i < RAPT_VK_BATCHES; i++) {
        rapt_vk_batch *batch = &queue->batch[i];
        for (uint32_t p = 0; p < batch->n_pools; p++)
            device->vk.DestroyDescriptorPool(device->handle, batch->pools[p].handle, NULL);
        free(batch->pools);
        rapt_vk_host_buffer_free(device, &batch->params);
        rapt_vk_host_buffer_free(device, &batch->staging);
        if (batch->pool)
            device->vk.DestroyCommandPool(device->handle, batch->pool, NULL);
    }
    if (queue->queries)
        device->vk.DestroyQueryPool(device->handle, queue->queries, NULL);
    if (queue->timeline)
        device->vk.DestroySemaphore(device->handle, queue->timeline, NULL);
    memset(queue, 0, sizeof *queue);
}
