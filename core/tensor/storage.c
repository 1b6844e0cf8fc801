/* Reference-counted memory and its accounting. */
#include "base/error.h"
#include "tensor/tensor.h"
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "rapt's files and memory are little endian; this machine is not"
#endif

enum { ALIGNMENT = 64 };

static atomic_llong memory_current;
static atomic_llong memory_peak;

void rapt_memory_count(int64_t bytes)
{
    const long long now = atomic_fetch_add(&memory_current, bytes) + bytes;
    long long peak = atomic_load(&memory_peak);
    while (now > peak && !atomic_compare_exchange_weak(&memory_peak, &peak, now))
        ;
}

rapt_memory rapt_memory_usage(void)
{
    /* The peak is read last: it is never below the current value that stands beside it. */
    const long long current = atomic_load(&memory_current);
    const long long peak = atomic_load(&memory_peak);
    return (rapt_memory){.current = current, .peak = peak > current ? peak : current};
}

void rapt_memory_reset_peak(void)
{
    atomic_store(&memory_peak, atomic_load(&memory_current));
}

static void free_host_memory(rapt_storage *storage)
{
    free(storage->data);
}

static rapt_storage *storage_header(rapt_device device, void *data, int64_t bytes, bool counted,
                                    void (*release)(rapt_storage *), void *owner, rapt_error *error)
{
    rapt_storage *storage = malloc(sizeof *storage);
    if (!storage) {
        rapt_fail_memory(error, sizeof *storage, "a storage");
        return NULL;
    }
    atomic_init(&storage->references, 1);
    atomic_init(&storage->version, 0);
    storage->device = device;
    storage->data = data;
    storage->bytes = bytes;
    storage->counted = counted;
    storage->free = release;
    storage->owner = owner;
    if (counted)
        rapt_memory_count(bytes);
    return storage;
}

rapt_storage *rapt_storage_new(int64_t bytes, bool zero, rapt_error *error)
{
    if (bytes < 0) {
        rapt_fail(error, RAPT_INVALID, "a storage cannot have %lld bytes", (long long)bytes);
        return NULL;
    }
    if (bytes > INT64_MAX - ALIGNMENT) {
        rapt_fail_memory(error, (size_t)bytes, "a tensor");
        return NULL;
    }
    /* At least one block, so that an empty tensor has an address too. */
    const int64_t padded = bytes > 0 ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    void *data = aligned_alloc(ALIGNMENT, (size_t)padded);
    if (!data) {
        rapt_fail_memory(error, (size_t)bytes, "a tensor");
        return NULL;
    }
    if (zero)
        memset(data, 0, (size_t)padded);
    const rapt_device cpu = {.type = RAPT_DEVICE_CPU, .index = 0};
    rapt_storage *storage = storage_header(cpu, data, bytes, true, free_host_memory, NULL, error);
    if (!storage)
        free(data);
    return storage;
}

rapt_storage *rapt_storage_wrap(rapt_device device, void *data, int64_t bytes, bool counted,
                                void (*release)(rapt_storage *), void *owner, rapt_error *error)
{
    rapt_storage *storage = storage_header(device, data, bytes, counted, release, owner, error);
    if (!storage && release) {
        rapt_storage gone = {
            .device = device, .data = data, .bytes = bytes, .free = release, .owner = owner};
        release(&gone);
    }
    return storage;
}

rapt_storage *rapt_storage_retain(rapt_storage *storage)
{
    atomic_fetch_add_explicit(&storage->references, 1, memory_order_relaxed);
    return storage;
}

void rapt_storage_release(rapt_storage *storage)
{
    if (!storage || atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel) != 1)
        return;
    if (storage->counted)
        rapt_memory_count(-storage->bytes);
    if (storage->free)
        storage->free(storage);
    free(storage);
}
