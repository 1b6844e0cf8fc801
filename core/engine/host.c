/* The services handed to plugins, and the arena behind scratch and workspace. */
#include "base/checked.h"
#include "base/error.h"
#include "device/cpu/memory.h"
#include "device/cpu/pool.h"
#include "device/cpu/services.h"
#include "engine/engine.h"
#include "tensor/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Arena ----------------------------------------------------------------------------------- */

struct rapt_arena_block {
    rapt_arena_block *next;
    size_t capacity, used; /* bytes behind the header */
    char pad[64 - sizeof(void *) - 2 * sizeof(size_t)];
};
_Static_assert(sizeof(struct rapt_arena_block) == 64, "blocks keep what they give 64-byte aligned");

static rapt_arena_block *arena_grow(rapt_arena *arena, size_t bytes)
{
    /* As much again as there is: a call that asks often still makes few blocks. */
    size_t capacity = bytes;
    const size_t already = arena->blocks_bytes < RAPT_ARENA_KEPT ? arena->blocks_bytes : 0;
    if (capacity < already)
        capacity = already;
    if (capacity < 4096)
        capacity = 4096;
    rapt_arena_block *block = rapt_cpu_memory(capacity + sizeof(rapt_arena_block));
    if (!block)
        return NULL;
    block->next = arena->blocks;
    block->capacity = capacity;
    block->used = 0;
    arena->blocks = block;
    arena->blocks_bytes += capacity;
    return block;
}

void *rapt_arena_take(rapt_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2 - 64)
        return NULL;
    bytes = bytes ? (bytes + 63) & ~(size_t)63 : 64;
    rapt_arena_block *block = arena->blocks;
    if (!block || block->capacity - block->used < bytes)
        block = arena_grow(arena, bytes);
    if (!block)
        return NULL;
    void *memory = (char *)(block + 1) + block->used;
    block->used += bytes;
    arena->taken += bytes;
    rapt_memory_count((int64_t)bytes);
    return memory;
}

rapt_status rapt_arena_take_apart(rapt_arena *arena, rapt_device_driver *driver, size_t bytes,
                                  void **memory, rapt_error *error)
{
    if (arena->apart || bytes > INT64_MAX - 64)
        return rapt_fail(error, RAPT_INTERNAL, "workspace of %zu bytes on %s", bytes,
                         driver->info.name);
    const int64_t whole = ((int64_t)bytes + 63) & ~(int64_t)63;
    const rapt_status status = driver->allocate(driver, whole, memory, error);
    if (status != RAPT_OK)
        return status;
    arena->driver = driver;
    arena->apart = *memory;
    arena->apart_bytes = whole;
    rapt_memory_count(whole);
    return RAPT_OK;
}

void rapt_arena_reset(rapt_arena *arena)
{
    if (arena->apart) {
        /* Commands that still use it run before those of whoever gets it next. */
        arena->driver->release(arena->driver, arena->apart, arena->apart_bytes);
        rapt_memory_count(-arena->apart_bytes);
        arena->apart = NULL;
    }
    if (arena->taken)
        rapt_memory_count(-(int64_t)arena->taken);
    arena->taken = 0;
    rapt_arena_block *keep = NULL;
    for (rapt_arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        if (block->capacity <= RAPT_ARENA_KEPT && (!keep || block->capacity > keep->capacity)) {
            free(keep);
            keep = block;
        } else {
            free(block);
        }
    }
    arena->blocks = keep;
    arena->blocks_bytes = 0;
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
        arena->blocks_bytes = keep->capacity;
    }
}

void rapt_arena_free(rapt_arena *arena)
{
    rapt_arena_reset(arena);
    free(arena->blocks);
    *arena = (rapt_arena){0};
}

/* --- Services -------------------------------------------------------------------------------- */

_Thread_local const rapt_context *rapt_loading;

static void host_log(const rapt_call *call, rapt_log_level level, const char *format, ...)
{
    char line[RAPT_ERROR_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    const rapt_run *run = call ? call->internal : NULL;
    rapt_context_log(run ? run->context : rapt_loading, level, line);
}

static rapt_status host_error(rapt_call *call, rapt_status status, const char *format, ...)
{
    if (status <= RAPT_OK || status > RAPT_INTERNAL)
        status = RAPT_INTERNAL;
    rapt_run *run = call ? call->internal : NULL;
    if (!run || run->said)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(run->message, sizeof run->message, format, args);
    va_end(args);
    for (char *c = run->message; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    run->said = true;
    return status;
}

static void *host_scratch(rapt_call *call, size_t bytes)
{
    rapt_run *run = call->internal;
    void *memory = rapt_arena_take(&run->context->arena, bytes);
    if (!memory)
        host_error(call, RAPT_NO_MEMORY, "out of memory (%zu bytes of scratch)", bytes);
    return memory;
}

static void host_parallel_for(rapt_call *call, int64_t n, int64_t grain, rapt_task task,
                              void *context)
{
    (void)call;
    rapt_pool_run(n, grain, task, context);
}

static const rapt_random_service random_table = {
    .size = sizeof(rapt_random_service),
    .bits = rapt_philox_bits,
    .uniform = rapt_philox_uniform,
    .normal = rapt_philox_normal,
};

static const void *host_service(const char *name, uint32_t version)
{
    if (!name)
        return NULL;
    if (strcmp(name, "rapt.random") == 0)
        return version == 1 ? &random_table : NULL;
    if (strcmp(name, "rapt.vulkan") == 0)
        return version == 1 ? rapt_vulkan_table() : NULL;
    const size_t n = rapt_devices_count();
    for (size_t i = 0; i < n; i++) {
        rapt_device_driver *driver = rapt_devices_at(i);
        const void *table = driver->service && driver->info.available
                                ? driver->service(driver, name, version)
                                : NULL;
        if (table)
            return table;
    }
    return NULL;
}

const rapt_host rapt_host_table = {
    .size = sizeof(rapt_host),
    .abi_major = RAPT_ABI_MAJOR,
    .abi_minor = RAPT_ABI_MINOR,
    .version = RAPT_VERSION,
    .log = host_log,
    .error = host_error,
    .scratch = host_scratch,
    .parallel_for = host_parallel_for,
    .workers = rapt_pool_workers,
    .service = host_service,
};
