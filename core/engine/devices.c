/* The devices of this process, and the memory that tensors get from them. */
#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "engine/engine.h"
#include <pthread.h>
#include <string.h>

/* Under AddressSanitizer, memory that is kept for the next tensor is as good as freed. */
#if defined(__SANITIZE_ADDRESS__)
#define RAPT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAPT_ASAN 1
#endif
#endif
#ifdef RAPT_ASAN
#include <sanitizer/asan_interface.h>
#endif

rapt_opener rapt_openers[RAPT_MAX_DEVICES] = {rapt_cpu_open};
rapt_group_opener rapt_late_opener = rapt_vulkan_open;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static rapt_device_driver drivers[RAPT_MAX_DEVICES];
static atomic_size_t n_drivers;
static atomic_bool late_open; /* the devices that are opened when they are first asked for */
static atomic_long holders;

/* --- Blocks kept for the next tensor of their size ------------------------------------------- */

#define KEPT_BLOCKS  256
#define KEPT_BUCKETS 64

typedef struct kept_block {
    rapt_device_driver *driver; /* NULL: the entry is free */
    void *data;
    int64_t bytes;
    int next;         /* in its bucket, or in the list of free entries; -1 ends */
    int older, newer; /* order of arrival */
} kept_block;

static struct {
    kept_block block[KEPT_BLOCKS];
    int bucket[KEPT_BUCKETS];
    int free, oldest, newest;
    int64_t bytes;
    bool ready;
} kept;

/* Bytes that may be kept; constant while the devices are open. */
static int64_t kept_room = RAPT_CACHE_BYTES;

static int64_t padded(int64_t bytes)
{
    return bytes <= INT64_MAX - 63 ? (bytes + 63) & ~(int64_t)63 : bytes;
}

static int *bucket_of(int64_t bytes)
{
    const uint64_t hash = (uint64_t)bytes * 0x9E3779B97F4A7C15u;
    return &kept.bucket[hash >> 58];
}

static void kept_prepare(void)
{
    if (kept.ready)
        return;
    for (int i = 0; i < KEPT_BUCKETS; i++)
        kept.bucket[i] = -1;
    for (int i = 0; i < KEPT_BLOCKS; i++)
        kept.block[i].next = i + 1 < KEPT_BLOCKS ? i + 1 : -1;
    kept.free = 0;
    kept.oldest = kept.newest = -1;
    kept.ready = true;
}

/* Takes entry `i` out of its bucket and the order of arrival. */
static void kept_unlink(int i)
{
    kept_block *block = &kept.block[i];
    int *link = bucket_of(block->bytes);
    while (*link != i)
        link = &kept.block[*link].next;
    *link = block->next;
    *(block->older >= 0 ? &kept.block[block->older].newer : &kept.oldest) = block->newer;
    *(block->newer >= 0 ? &kept.block[block->newer].older : &kept.newest) = block->older;
    kept.bytes -= block->bytes;
    block->driver = NULL;
    block->next = kept.free;
    kept.free = i;
}

/* Whether the host may touch a block that is kept. */
static void kept_guard(const rapt_device_driver *driver, void *data, int64_t bytes, bool closed)
{
#ifdef RAPT_ASAN
    if (!rapt_on_host(driver->device))
        return;
    if (closed)
        ASAN_POISON_MEMORY_REGION(data, (size_t)bytes);
    else
        ASAN_UNPOISON_MEMORY_REGION(data, (size_t)bytes);
#else
    (void)driver;
    (void)data;
    (void)bytes;
    (void)closed;
#endif
}

static void kept_evict(void)
{
    const kept_block gone = kept.block[kept.oldest];
    kept_unlink(kept.oldest);
    kept_guard(gone.driver, gone.data, gone.bytes, false);
    gone.driver->release(gone.driver, gone.data, gone.bytes);
}

static void *kept_take(rapt_device_driver *driver, int64_t bytes)
{
    kept_prepare();
    for (int i = *bucket_of(bytes); i >= 0; i = kept.block[i].next)
        if (kept.block[i].bytes == bytes && kept.block[i].driver == driver) {
            void *data = kept.block[i].data;
            kept_unlink(i);
            kept_guard(driver, data, bytes, false);
            return data;
        }
    return NULL;
}

static void kept_put(rapt_device_driver *driver, void *data, int64_t bytes)
{
    kept_prepare();
    while (kept.newest >= 0 && (kept.free < 0 || kept.bytes > kept_room - bytes))
        kept_evict();
    const int i = kept.free;
    kept_block *block = &kept.block[i];
    kept.free = block->next;
    int *link = bucket_of(bytes);
    *block = (kept_block){driver, data, bytes, *link, kept.newest, -1};
    *link = i;
    *(kept.newest >= 0 ? &kept.block[kept.newest].newer : &kept.oldest) = i;
    kept.newest = i;
    kept.bytes += bytes;
    kept_guard(driver, data, bytes, true);
}

static void kept_flush(void)
{
    kept_prepare();
    while (kept.oldest >= 0)
        kept_evict();
}

void rapt_devices_trim(void)
{
    pthread_mutex_lock(&lock);
    kept_flush();
    pthread_mutex_unlock(&lock);
}

/* --- Holding --------------------------------------------------------------------------------- */

static size_t n_listed; /* devices known without being open */

static void close_all(void)
{
    kept_flush();
    for (size_t i = atomic_load(&n_drivers); i-- > 0;)
        if (drivers[i].close)
            drivers[i].close(&drivers[i]);
    atomic_store(&n_drivers, 0);
    atomic_store(&late_open, false);
    n_listed = 0;
}

static void log_layers(rapt_log_level level, const char *line)
{
    rapt_context_log(NULL, level, line);
}

/* Devices that take long to find are not looked for until one is named, or all are listed. */
static rapt_status open_late(rapt_error *error)
{
    rapt_status status = RAPT_OK;
    if (atomic_load(&late_open))
        return RAPT_OK;
    pthread_mutex_lock(&lock);
    if (!atomic_load(&late_open)) {
        const size_t first = atomic_load(&n_drivers);
        size_t count = 0;
        rapt_vulkan_log = log_layers;
        status = rapt_late_opener(drivers + first, RAPT_MAX_DEVICES - first, &count, error);
        if (status == RAPT_OK) {
            atomic_store(&n_drivers, first + count);
            atomic_store(&late_open, true);
        }
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static rapt_status open_all(rapt_error *error)
{
    for (size_t i = 0; i < RAPT_MAX_DEVICES && rapt_openers[i]; i++) {
        rapt_device_driver *driver = &drivers[i];
        memset(driver, 0, sizeof *driver);
        const rapt_status status = rapt_openers[i](driver, error);
        if (status != RAPT_OK) {
            close_all();
            return status;
        }
        atomic_store(&n_drivers, i + 1);
    }
    const int64_t memory = drivers[0].info.memory_bytes;
    kept_room = memory > 0 && memory / 8 < RAPT_CACHE_BYTES ? memory / 8 : RAPT_CACHE_BYTES;
    return RAPT_OK;
}

rapt_status rapt_devices_hold(rapt_error *error)
{
    rapt_status status = RAPT_OK;
    pthread_mutex_lock(&lock);
    if (atomic_load(&holders) == 0)
        status = open_all(error);
    if (status == RAPT_OK)
        atomic_fetch_add(&holders, 1);
    pthread_mutex_unlock(&lock);
    return status;
}

void rapt_devices_drop(void)
{
    /* The last holder closes under the lock, so that nobody opens in between. */
    long now = atomic_load(&holders);
    while (now > 1)
        if (atomic_compare_exchange_weak(&holders, &now, now - 1))
            return;
    pthread_mutex_lock(&lock);
    if (atomic_fetch_sub(&holders, 1) == 1)
        close_all();
    pthread_mutex_unlock(&lock);
}

void rapt_devices_forget(void)
{
    const size_t n = atomic_load(&n_drivers);
    for (size_t i = 0; i < n; i++)
        if (drivers[i].forget)
            drivers[i].forget(&drivers[i]);
}

size_t rapt_devices_count(void)
{
    return atomic_load(&n_drivers);
}

rapt_device_driver *rapt_devices_at(size_t i)
{
    return &drivers[i];
}

static rapt_device_driver *look_up(rapt_device device)
{
    const size_t n = rapt_devices_count();
    for (size_t i = 0; i < n; i++)
        if (drivers[i].device.type == device.type && drivers[i].device.index == device.index)
            return &drivers[i];
    return NULL;
}

rapt_device_driver *rapt_devices_find(rapt_device device, rapt_error *error)
{
    rapt_device_driver *found = look_up(device);
    if (!found && open_late(error) != RAPT_OK)
        return NULL;
    if (!found)
        found = look_up(device);
    if (found && found->info.available)
        return found;
    if (found) {
        rapt_fail(error, RAPT_UNSUPPORTED, "device \"%s\" is off: %s", found->info.name,
                  found->info.detail);
        return NULL;
    }
    const size_t n = rapt_devices_count();
    rapt_text there = {0};
    for (size_t i = 0; i < n; i++)
        rapt_text_append(&there, "%s%s", i ? ", " : "", drivers[i].info.name);
    char name[32];
    rapt_device_name(device, name);
    rapt_fail(error, RAPT_UNSUPPORTED, "no device \"%s\"; there are %s", name,
              there.data ? there.data : "none");
    rapt_text_free(&there);
    return NULL;
}

/* --- Memory of tensors ----------------------------------------------------------------------- */

/* A device apart from the host hands out parts of what it holds and needs no help in that. */
static bool worth_keeping(const rapt_device_driver *driver, int64_t bytes)
{
    return rapt_on_host(driver->device) && bytes >= RAPT_CACHE_SMALLEST && bytes <= kept_room;
}

static void give_back(rapt_storage *storage)
{
    rapt_device_driver *driver = storage->owner;
    const int64_t bytes = padded(storage->bytes);
    if (worth_keeping(driver, bytes)) {
        pthread_mutex_lock(&lock);
        kept_put(driver, storage->data, bytes);
        pthread_mutex_unlock(&lock);
    } else {
        driver->release(driver, storage->data, bytes);
    }
    rapt_devices_drop();
}

static rapt_status take(rapt_device_driver *driver, int64_t bytes, void **data, rapt_error *error)
{
    if (worth_keeping(driver, bytes)) {
        pthread_mutex_lock(&lock);
        *data = kept_take(driver, bytes);
        pthread_mutex_unlock(&lock);
        if (*data)
            return RAPT_OK;
    }
    const rapt_status status = driver->allocate(driver, bytes, data, error);
    if (status != RAPT_NO_MEMORY)
        return status;
    rapt_devices_trim();
    return driver->allocate(driver, bytes, data, error);
}

static rapt_storage *make_storage(rapt_device device, int64_t bytes, rapt_error *error)
{
    rapt_device_driver *driver = rapt_devices_find(device, error);
    if (!driver)
        return NULL;
    if (bytes == 0)
        return rapt_storage_wrap(device, NULL, 0, true, NULL, NULL, error);
    void *data = NULL;
    if (take(driver, padded(bytes), &data, error) != RAPT_OK)
        return NULL;
    atomic_fetch_add(&holders, 1);
    return rapt_storage_wrap(device, data, bytes, true, give_back, driver, error);
}

rapt_tensor *rapt_tensor_make(rapt_dtype dtype, rapt_device device, int32_t ndim,
                              const int64_t *shape, rapt_error *error)
{
    int64_t count;
    if (rapt_shape_count(dtype, ndim, shape, &count, error) != RAPT_OK)
        return NULL;
    rapt_storage *storage = make_storage(device, count * (int64_t)rapt_dtype_size(dtype), error);
    if (!storage)
        return NULL;
    rapt_tensor *tensor = rapt_tensor_over(storage, dtype, ndim, shape, NULL, 0, error);
    rapt_storage_release(storage);
    return tensor;
}

/* By the device as far as it clears whole words, by zeros from here otherwise. */
static rapt_status clear_on(rapt_device_driver *driver, const rapt_view *view, int64_t bytes,
                            rapt_error *error)
{
    static char zeros[1 << 16]; /* never written; not const, so that it takes no room in the file */
    int64_t done = 0;
    rapt_status status = RAPT_OK;
    if (driver->clear && view->byte_offset % 4 == 0 && bytes >= 4) {
        done = bytes & ~(int64_t)3;
        status = driver->clear(driver, view->data, view->byte_offset, done, error);
    }
    while (status == RAPT_OK && done < bytes) {
        const int64_t left = bytes - done;
        const int64_t n = left < (int64_t)sizeof zeros ? left : (int64_t)sizeof zeros;
        status =
            driver->write(driver, view->data, view->byte_offset + (uint64_t)done, zeros, n, error);
        done += n;
    }
    return status;
}

rapt_status rapt_tensor_clear(rapt_tensor *tensor, rapt_error *error)
{
    const rapt_view *view = &tensor->view;
    const int64_t bytes =
        rapt_view_count(view) * (int64_t)rapt_dtype_size(rapt_tensor_dtype(tensor));
    if (bytes == 0)
        return RAPT_OK;
    if (rapt_on_host(view->device)) {
        memset(rapt_view_data(view), 0, (size_t)bytes);
        return RAPT_OK;
    }
    rapt_device_driver *driver = rapt_devices_find(view->device, error);
    if (!driver)
        return error ? error->status : RAPT_UNSUPPORTED;
    return clear_on(driver, view, bytes, error);
}

/* --- rapt.h ---------------------------------------------------------------------------------- */

rapt_tensor *rapt_tensor_empty(rapt_context *context, rapt_dtype dtype, rapt_device device,
                               int32_t ndim, const int64_t *shape, rapt_error *error)
{
    (void)context;
    return rapt_tensor_make(dtype, device, ndim, shape, error);
}

rapt_tensor *rapt_tensor_zeros(rapt_context *context, rapt_dtype dtype, rapt_device device,
                               int32_t ndim, const int64_t *shape, rapt_error *error)
{
    (void)context;
    rapt_tensor *tensor = rapt_tensor_make(dtype, device, ndim, shape, error);
    if (tensor && rapt_tensor_clear(tensor, error) != RAPT_OK) {
        rapt_tensor_release(tensor);
        return NULL;
    }
    return tensor;
}

rapt_tensor *rapt_tensor_from(rapt_context *context, rapt_dtype dtype, int32_t ndim,
                              const int64_t *shape, const void *elements, rapt_error *error)
{
    (void)context;
    const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
    rapt_tensor *tensor = rapt_tensor_make(dtype, cpu, ndim, shape, error);
    if (!tensor)
        return NULL;
    const size_t bytes = (size_t)rapt_tensor_count(tensor) * rapt_dtype_size(dtype);
    if (bytes > 0)
        memcpy(rapt_view_data(&tensor->view), elements, bytes);
    return tensor;
}

/* Late devices as they were found by an earlier process: they are listed without being opened. */
static rapt_device_info listed[RAPT_MAX_DEVICES];

size_t rapt_device_count(rapt_context *context)
{
    (void)context;
    const size_t n = rapt_devices_count();
    if (atomic_load(&late_open))
        return n;
    pthread_mutex_lock(&lock);
    const bool known = n_listed > 0 || (rapt_late_opener == rapt_vulkan_open &&
                                        rapt_vulkan_list(listed, RAPT_MAX_DEVICES - n, &n_listed));
    pthread_mutex_unlock(&lock);
    if (known)
        return n + n_listed;
    (void)open_late(NULL);
    return rapt_devices_count();
}

rapt_status rapt_device_at(rapt_context *context, size_t i, rapt_device_info *info)
{
    (void)context;
    const size_t n = rapt_devices_count();
    if (i < n)
        *info = drivers[i].info;
    else if (!atomic_load(&late_open) && i - n < n_listed)
        *info = listed[i - n];
    else
        return RAPT_NOT_FOUND;
    return RAPT_OK;
}

rapt_status rapt_synchronize(rapt_context *context, rapt_device device, rapt_error *error)
{
    (void)context;
    rapt_device_driver *driver = rapt_devices_find(device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    return driver->synchronize ? driver->synchronize(driver, error) : RAPT_OK;
}

rapt_status rapt_device_seconds(rapt_context *context, rapt_device device, double *seconds,
                                rapt_error *error)
{
    (void)context;
    rapt_device_driver *driver = rapt_devices_find(device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    if (!driver->seconds)
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s has no clock of its own", driver->info.name);
    return driver->seconds(driver, seconds, error);
}

rapt_status rapt_measure_gemm(rapt_context *context, rapt_device device, int64_t n, double *gflops,
                              rapt_error *error)
{
    (void)context;
    rapt_device_driver *driver = rapt_devices_find(device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    if (n < 1 || n > 1 << 15)
        return rapt_fail(error, RAPT_INVALID, "measure_gemm: n is %lld; 1 to 32768 was expected",
                         (long long)n);
    if (!driver->measure_gemm)
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s does not measure products",
                         driver->info.name);
    return driver->measure_gemm(driver, n, gflops, error);
}

rapt_status rapt_measure_copy(rapt_context *context, rapt_device device, double *gbytes,
                              rapt_error *error)
{
    (void)context;
    rapt_device_driver *driver = rapt_devices_find(device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    if (!driver->measure_copy)
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s does not measure copies", driver->info.name);
    return driver->measure_copy(driver, gbytes, error);
}
