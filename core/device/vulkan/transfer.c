/*
 * Bytes between the host and the device. Where the host reaches the device's memory and no command
 * still uses it, they are copied there and then; otherwise they go through staging memory, in order
 * with everything else that is recorded.
 */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <string.h>

/* Refuses ranges outside the memory: a rule of rapt broken, not the user's fault. */
static rapt_status check_range(const rapt_vk_memory *memory, uint64_t offset, uint64_t bytes,
                               rapt_error *error)
{
    if (offset <= memory->bytes && bytes <= memory->bytes - offset)
        return RAPT_OK;
    return rapt_fail(error, RAPT_INTERNAL,
                     "%s: bytes %llu to %llu of a memory of %llu bytes were asked for",
                     memory->device->name, (unsigned long long)offset,
                     (unsigned long long)(offset + bytes), (unsigned long long)memory->bytes);
}

/* --- To the device --------------------------------------------------------------------------- */

static void copy_command(rapt_vk_device *device, rapt_vk_batch *batch, VkBuffer from,
                         uint64_t from_offset, VkBuffer to, uint64_t to_offset, uint64_t bytes)
{
    const VkBufferCopy region = {from_offset, to_offset, bytes};
    device->vk.CmdCopyBuffer(batch->commands, from, to, 1, &region);
}

/* Room in the staging memory of the current batch, which is submitted when it is full. */
static rapt_status staging_room(rapt_vk_device *device, rapt_vk_batch **batch, uint64_t *room,
                                rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    rapt_status status = RAPT_OK;
    if (queue->open && queue->batch[queue->current].staging.used == RAPT_VK_STAGING_BYTES)
        status = rapt_vk_submit(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_record(device, false, batch, error);
    if (status == RAPT_OK && !(*batch)->staging.buffer)
        status = rapt_vk_host_buffer_make(device, RAPT_VK_STAGING_BYTES, RAPT_VK_UPLOAD,
                                          &(*batch)->staging, error);
    if (status == RAPT_OK)
        *room = (*batch)->staging.bytes - (*batch)->staging.used;
    return status;
}

rapt_status rapt_vk_write(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                          const void *source, uint64_t bytes, rapt_error *error)
{
    const char *from = source;
    rapt_status status = check_range(memory, offset, bytes, error);
    if (status != RAPT_OK || bytes == 0)
        return status;
    if (memory->block->mapped && rapt_vk_done(device, memory->last_use)) {
        memcpy(memory->block->mapped + memory->offset + offset, source, bytes);
        return RAPT_OK;
    }
    while (bytes > 0) {
        rapt_vk_batch *batch;
        uint64_t room;
        status = staging_room(device, &batch, &room, error);
        if (status != RAPT_OK)
            return status;
        const uint64_t n = bytes < room ? bytes : room;
        memcpy(batch->staging.mapped + batch->staging.used, from, n);
        copy_command(device, batch, batch->staging.buffer, batch->staging.used,
                     memory->block->buffer, memory->offset + offset, n);
        const uint64_t used = batch->staging.used + ((n + 15) & ~(uint64_t)15);
        batch->staging.used = used < batch->staging.bytes ? used : batch->staging.bytes;
        memory->last_use = device->queue.recording;
        status = rapt_vk_recorded(device, error);
        if (status != RAPT_OK)
            return status;
        from += n;
        offset += n;
        bytes -= n;
    }
    return RAPT_OK;
}

/* --- From the device ------------------------------------------------------------------------- */

typedef struct piece {
    uint64_t serial, bytes;
    char *to;
} piece;

enum { READBACK_LEAST = 64 << 10 };

/* Memory to read back into, of `bytes` or more; it doubles, as small results are what most programs
 * ask for and each page of it is pinned. */
static rapt_status readback_room(rapt_vk_device *device, rapt_vk_host_buffer *readback,
                                 uint64_t bytes, rapt_error *error)
{
    uint64_t room = READBACK_LEAST;
    if (bytes <= readback->bytes)
        return RAPT_OK;
    while (room < bytes)
        room *= 2;
    if (readback->buffer) {
        /* A read that failed may have left a command behind that writes there. */
        const rapt_status status = rapt_vk_wait(device, device->queue.recording, error);
        if (status != RAPT_OK)
            return status;
        rapt_vk_host_buffer_free(device, readback);
    }
    return rapt_vk_host_buffer_make(device, room, RAPT_VK_READBACK, readback, error);
}

static rapt_status start_piece(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                               rapt_vk_host_buffer *readback, piece *p, rapt_error *error)
{
    rapt_status status = readback_room(device, readback, p->bytes, error);
    rapt_vk_batch *batch;
    if (status == RAPT_OK)
        status = rapt_vk_record(device, false, &batch, error);
    if (status != RAPT_OK)
        return status;
    copy_command(device, batch, memory->block->buffer, memory->offset + offset, readback->buffer, 0,
                 p->bytes);
    batch->host_reads = true;
    batch->count++;
    p->serial = memory->last_use = device->queue.recording;
    return rapt_vk_submit(device, error);
}

static rapt_status finish_piece(rapt_vk_device *device, const rapt_vk_host_buffer *readback,
                                const piece *p, rapt_error *error)
{
    const rapt_status status = rapt_vk_wait(device, p->serial, error);
    if (status == RAPT_OK)
        memcpy(p->to, readback->mapped, p->bytes);
    return status;
}

/* While one piece is copied out of staging memory, the next one is on its way. */
static rapt_status read_staged(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                               char *target, uint64_t bytes, rapt_error *error)
{
    piece p[2];
    const uint64_t n = (bytes + RAPT_VK_STAGING_BYTES - 1) / RAPT_VK_STAGING_BYTES;
    for (uint64_t i = 0; i <= n; i++) {
        if (i < n) {
            const uint64_t done = i * RAPT_VK_STAGING_BYTES, left = bytes - done;
            p[i & 1].bytes = left < RAPT_VK_STAGING_BYTES ? left : RAPT_VK_STAGING_BYTES;
            p[i & 1].to = target + done;
            const rapt_status status = start_piece(device, memory, offset + done,
                                                   &device->readback[i & 1], &p[i & 1], error);
            if (status != RAPT_OK)
                return status;
        }
        if (i > 0) {
            const uint64_t last = (i - 1) & 1;
            const rapt_status status =
                finish_piece(device, &device->readback[last], &p[last], error);
            if (status != RAPT_OK)
                return status;
        }
    }
    return RAPT_OK;
}

rapt_status rapt_vk_read(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                         void *target, uint64_t bytes, rapt_error *error)
{
    rapt_status status = check_range(memory, offset, bytes, error);
    if (status != RAPT_OK || bytes == 0)
        return status;
    if (!memory->block->mapped)
        return read_staged(device, memory, offset, target, bytes, error);
    status = rapt_vk_wait(device, memory->last_use, error);
    if (status == RAPT_OK)
        memcpy(target, memory->block->mapped + memory->offset + offset, bytes);
    return status;
}

/* --- On the device --------------------------------------------------------------------------- */

rapt_status rapt_vk_clear(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                          uint64_t bytes, rapt_error *error)
{
    rapt_status status = check_range(memory, offset, bytes, error);
    if (status != RAPT_OK || bytes == 0)
        return status;
    if (offset % 4 || bytes % 4)
        return rapt_fail(error, RAPT_INTERNAL,
                         "%s: clearing %llu bytes at %llu: not multiples of 4", device->name,
                         (unsigned long long)bytes, (unsigned long long)offset);
    rapt_vk_batch *batch;
    status = rapt_vk_record(device, false, &batch, error);
    if (status != RAPT_OK)
        return status;
    device->vk.CmdFillBuffer(batch->commands, memory->block->buffer, memory->offset + offset, bytes,
                             0);
    memory->last_use = device->queue.recording;
    return rapt_vk_recorded(device, error);
}
