/*
 * Memory of a device, handed out of larger blocks: one buffer over each block, ranges of it listed
 * by address and, while they are free, by size. Commands run in order, so that a range may be given
 * out again while commands that used it still wait; what the host itself does with memory looks at
 * last_use first.
 */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_LEAST ((uint64_t)1 << 20)
#define BLOCK_MOST  ((uint64_t)256 << 20)

/* --- Free ranges by size: eight classes to a power of two ------------------------------------- */

/* The class that a range of this size is in. */
static uint32_t class_of(uint64_t bytes)
{
    const uint64_t units = bytes / RAPT_VK_ALIGN;
    if (units < 8)
        return (uint32_t)units;
    const uint32_t power = 63 - (uint32_t)__builtin_clzll(units);
    const uint32_t at = (power - 2) * 8 + (uint32_t)(units >> (power - 3) & 7);
    return at < RAPT_VK_CLASSES ? at : RAPT_VK_CLASSES - 1;
}

static void list_free(rapt_vk_heap *heap, rapt_vk_memory *memory)
{
    rapt_vk_memory **head = &heap->classes[class_of(memory->bytes)];
    memory->free = true;
    memory->older = *head;
    memory->younger = NULL;
    if (*head)
        (*head)->younger = memory;
    *head = memory;
}

static void unlist_free(rapt_vk_heap *heap, rapt_vk_memory *memory)
{
    if (memory->older)
        memory->older->younger = memory->younger;
    if (memory->younger)
        memory->younger->older = memory->older;
    else
        heap->classes[class_of(memory->bytes)] = memory->older;
    memory->free = false;
}

enum { LOOKED_AT = 16 };

/* A free range that is large enough: of the class itself some are looked at, of the greater classes
 * any will do. */
static rapt_vk_memory *find_free(rapt_vk_heap *heap, uint64_t bytes)
{
    uint32_t c = class_of(bytes);
    int looked = 0;
    for (rapt_vk_memory *m = heap->classes[c]; m && looked < LOOKED_AT; m = m->older, looked++)
        if (m->bytes >= bytes)
            return m;
    for (c++; c < RAPT_VK_CLASSES; c++)
        if (heap->classes[c])
            return heap->classes[c];
    return NULL;
}

/* --- Blocks ---------------------------------------------------------------------------------- */

static VkResult make_buffer(rapt_vk_device *device, uint64_t bytes, VkBufferUsageFlags usage,
                            VkBuffer *buffer, VkMemoryRequirements *needs)
{
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = bytes,
                                     .usage = usage,
                                     .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
    const VkResult result = device->vk.CreateBuffer(device->handle, &info, NULL, buffer);
    if (result == VK_SUCCESS)
        device->vk.GetBufferMemoryRequirements(device->handle, *buffer, needs);
    return result;
}

/* The first type, in the driver's order of preference, that has all of `flags`; -1: none. */
static int32_t find_type(const rapt_vk_device *device, uint32_t types, VkMemoryPropertyFlags flags)
{
    for (uint32_t i = 0; i < device->memory_types.memoryTypeCount; i++)
        if (types >> i & 1 && (device->memory_types.memoryTypes[i].propertyFlags & flags) == flags)
            return (int32_t)i;
    return -1;
}

static const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                                   reached = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                             VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                                   cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

static VkResult allocate_memory(rapt_vk_device *device, VkBuffer buffer,
                                const VkMemoryRequirements *needs, const VkMemoryPropertyFlags *try,
                                uint32_t n_try, VkDeviceMemory *memory, unsigned char **mapped)
{
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (uint32_t i = 0; i < n_try; i++) {
        const int32_t type = find_type(device, needs->memoryTypeBits, try[i]);
        if (type < 0)
            continue;
        const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = needs->size,
                                           .memoryTypeIndex = (uint32_t)type};
        result = device->vk.AllocateMemory(device->handle, &info, NULL, memory);
        if (result != VK_SUCCESS)
            continue;
        result = device->vk.BindBufferMemory(device->handle, buffer, *memory, 0);
        *mapped = NULL;
        if (result == VK_SUCCESS && try[i] & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)
            result =
                device->vk.MapMemory(device->handle, *memory, 0, VK_WHOLE_SIZE, 0, (void **)mapped);
        if (result != VK_SUCCESS)
            device->vk.FreeMemory(device->handle, *memory, NULL);
        return result;
    }
    return result;
}

static VkResult make_block(rapt_vk_device *device, uint64_t bytes, rapt_vk_block *block)
{
    const VkMemoryPropertyFlags unified[] = {local | reached | cached, local | reached, local};
    const VkMemoryPropertyFlags apart[] = {local};
    VkMemoryRequirements needs;
    VkResult result =
        make_buffer(device, bytes,
                    VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                        VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                    &block->buffer, &needs);
    if (result != VK_SUCCESS)
        return result;
    block->bytes = bytes;
    result =
        allocate_memory(device, block->buffer, &needs, device->features.unified ? unified : apart,
                        device->features.unified ? 3 : 1, &block->memory, &block->mapped);
    if (result != VK_SUCCESS)
        device->vk.DestroyBuffer(device->handle, block->buffer, NULL);
    return result;
}

static void end_block(rapt_vk_device *device, rapt_vk_block *block)
{
    device->vk.DestroyBuffer(device->handle, block->buffer, NULL);
    device->vk.FreeMemory(device->handle, block->memory, NULL);
    device->heap.reserved -= block->bytes;
    for (rapt_vk_memory *m = block->first, *next; m; m = next) {
        next = m->after;
        free(m);
    }
    free(block);
}

/* --- The budget ------------------------------------------------------------------------------ */

/* What the driver says is there for this process, less what others use of it, and what
 * RAPT_VULKAN_MEMORY allows. */
uint64_t rapt_vk_memory_budget(rapt_vk_device *device)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT now = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = device->features.memory_budget ? &now : NULL};
    uint64_t most = device->features.memory_bytes / 10 * 9;
    if (device->features.memory_budget) {
        device->instance->vk.GetPhysicalDeviceMemoryProperties2(device->physical, &memory);
        for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++)
            if (memory.memoryProperties.memoryHeaps[i].size == device->features.memory_bytes &&
                memory.memoryProperties.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) {
                most = now.heapBudget[i];
                break;
            }
    }
    return device->heap.cap && device->heap.cap < most ? device->heap.cap : most;
}

static rapt_status no_memory(rapt_vk_device *device, uint64_t bytes, const char *why,
                             rapt_error *error)
{
    return rapt_fail(error, RAPT_NO_MEMORY,
                     "%s is out of memory (%llu bytes wanted, %llu in use, %llu reserved): %s",
                     device->name, (unsigned long long)bytes, (unsigned long long)device->heap.used,
                     (unsigned long long)device->heap.reserved, why);
}

void rapt_vk_memory_trim(rapt_vk_device *device)
{
    rapt_vk_heap *heap = &device->heap;
    for (rapt_vk_block **link = &heap->blocks; *link;) {
        rapt_vk_block *block = *link;
        if (block->used > 0) {
            link = &block->next;
            continue;
        }
        *link = block->next;
        unlist_free(heap, block->first); /* one range: neighbours that are free have merged */
        end_block(device, block);
    }
}

/* Block sizes grow with what is reserved, so that there are few; a tensor larger than a block has
 * one of its own. */
static uint64_t block_bytes(const rapt_vk_device *device, uint64_t bytes)
{
    uint64_t size = BLOCK_LEAST;
    while (size < BLOCK_MOST && size < device->heap.reserved / 2)
        size *= 2;
    if (size > device->features.max_allocation)
        size = device->features.max_allocation;
    return bytes > size / 2 ? bytes : size;
}

static rapt_status add_block(rapt_vk_device *device, uint64_t bytes, rapt_error *error)
{
    rapt_vk_heap *heap = &device->heap;
    const uint64_t most = rapt_vk_memory_budget(device);
    uint64_t size = block_bytes(device, bytes);
    if (heap->reserved + size > most)
        size = bytes;
    if (heap->reserved + size > most) {
        const rapt_status status = rapt_vk_wait(device, device->queue.recording, error);
        if (status != RAPT_OK)
            return status;
        rapt_vk_memory_trim(device);
    }
    if (heap->reserved + size > most) {
        char why[96];
        snprintf(why, sizeof why, "its budget is %llu bytes%s", (unsigned long long)most,
                 most == heap->cap ? " (RAPT_VULKAN_MEMORY)" : "");
        return no_memory(device, bytes, why, error);
    }
    rapt_vk_block *block = calloc(1, sizeof *block);
    rapt_vk_memory *range = calloc(1, sizeof *range);
    VkResult result =
        block && range ? make_block(device, size, block) : VK_ERROR_OUT_OF_HOST_MEMORY;
    if (result != VK_SUCCESS) {
        free(block);
        free(range);
        if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
            return no_memory(device, bytes, rapt_vk_result_name(result), error);
        return rapt_vk_failed(device, result, "allocating memory", error);
    }
    heap->reserved += size;
    *range = (rapt_vk_memory){.device = device, .block = block, .bytes = size};
    block->first = range;
    block->next = heap->blocks;
    heap->blocks = block;
    list_free(heap, range);
    return RAPT_OK;
}

/* --- Ranges ---------------------------------------------------------------------------------- */

/* Cuts what is more than `bytes` off a range that has just been taken. A range stays whole when the
 * host has no memory for another: it is then larger than asked for. */
static void cut(rapt_vk_heap *heap, rapt_vk_memory *memory, uint64_t bytes)
{
    if (memory->bytes == bytes)
        return;
    rapt_vk_memory *rest = malloc(sizeof *rest);
    if (!rest)
        return;
    *rest = *memory;
    rest->offset += bytes;
    rest->bytes -= bytes;
    rest->before = memory;
    rest->after = memory->after;
    if (rest->after)
        rest->after->before = rest;
    memory->after = rest;
    memory->bytes = bytes;
    list_free(heap, rest);
}

rapt_status rapt_vk_memory_take(rapt_vk_device *device, uint64_t bytes, rapt_vk_memory **memory,
                                rapt_error *error)
{
    rapt_vk_heap *heap = &device->heap;
    const uint64_t most = device->features.max_buffer < device->features.max_allocation
                              ? device->features.max_buffer
                              : device->features.max_allocation;
    if (bytes > most)
        return rapt_fail(error, RAPT_NO_MEMORY,
                         "%s: a tensor of %llu bytes was asked for; the greatest that this device "
                         "can hold has %llu",
                         device->name, (unsigned long long)bytes, (unsigned long long)most);
    bytes = (bytes + RAPT_VK_ALIGN - 1) / RAPT_VK_ALIGN * RAPT_VK_ALIGN;
    rapt_vk_memory *found = find_free(heap, bytes);
    if (!found) {
        const rapt_status status = add_block(device, bytes, error);
        if (status != RAPT_OK)
            return status;
        found = find_free(heap, bytes);
    }
    unlist_free(heap, found);
    cut(heap, found, bytes);
    heap->used += found->bytes;
    found->block->used += found->bytes;
    device->queue.barrier_needed = true;
    *memory = found;
    return RAPT_OK;
}

/* Joins `memory` with the free range behind it. */
static void join(rapt_vk_heap *heap, rapt_vk_memory *memory)
{
    rapt_vk_memory *next = memory->after;
    unlist_free(heap, next);
    memory->bytes += next->bytes;
    if (next->last_use > memory->last_use)
        memory->last_use = next->last_use;
    memory->after = next->after;
    if (memory->after)
        memory->after->before = memory;
    free(next);
}

void rapt_vk_memory_give(rapt_vk_memory *memory)
{
    rapt_vk_heap *heap = &memory->device->heap;
    heap->used -= memory->bytes;
    memory->block->used -= memory->bytes;
    if (memory->after && memory->after->free)
        join(heap, memory);
    if (memory->before && memory->before->free) {
        memory = memory->before;
        unlist_free(heap, memory);
        memory->after->free = true;
        list_free(heap, memory->after);
        join(heap, memory);
    }
    list_free(heap, memory);
}

void rapt_vk_memory_close(rapt_vk_device *device)
{
    for (rapt_vk_block *block = device->heap.blocks, *next; block; block = next) {
        next = block->next;
        end_block(device, block);
    }
    const uint64_t cap = device->heap.cap;
    memset(&device->heap, 0, sizeof device->heap);
    device->heap.cap = cap;
}

/* --- Memory that the host reaches ------------------------------------------------------------ */

rapt_status rapt_vk_host_buffer_make(rapt_vk_device *device, uint64_t bytes, rapt_vk_host_use use,
                                     rapt_vk_host_buffer *buffer, rapt_error *error)
{
    static const VkBufferUsageFlags usage[] = {VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                                               VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                               VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
    /* What the host only writes lies on the device, where that is reached: pages of the host's are
     * cleared and pinned one by one (H200: 1.5 ms for 4 MiB, against 0.2). */
    const VkMemoryPropertyFlags types[3][2] = {
        {reached | local, reached}, {reached | cached, reached}, {reached | local, reached}};
    VkMemoryRequirements needs;
    memset(buffer, 0, sizeof *buffer);
    VkResult result = make_buffer(device, bytes, usage[use], &buffer->buffer, &needs);
    if (result == VK_SUCCESS) {
        result = allocate_memory(device, buffer->buffer, &needs, types[use], 2, &buffer->memory,
                                 &buffer->mapped);
        if (result != VK_SUCCESS)
            device->vk.DestroyBuffer(device->handle, buffer->buffer, NULL);
    }
    if (result != VK_SUCCESS) {
        memset(buffer, 0, sizeof *buffer);
        if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
            return no_memory(device, bytes, rapt_vk_result_name(result), error);
        return rapt_vk_failed(device, result, "allocating memory for transfers", error);
    }
    buffer->bytes = bytes;
    return RAPT_OK;
}

void rapt_vk_host_buffer_free(rapt_vk_device *device, rapt_vk_host_buffer *buffer)
{
    if (buffer->buffer) {
        device->vk.DestroyBuffer(device->handle, buffer->buffer, NULL);
        device->vk.FreeMemory(device->handle, buffer->memory, NULL);
    }
    memset(buffer, 0, sizeof *buffer);
}
