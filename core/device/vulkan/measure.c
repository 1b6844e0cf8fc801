/* Rates of the device, by its own clock where it has one. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include "device_fma.h"
#include "device_stream.h"
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 7, WARM = 2, GROUP = 128, SUMS = 16 };

/* A copy is made larger until it takes so long that its beginning and end do not count, within this
 * share of the device's budget. The least of a GPU is more than its caches hold. */
#define COPY_BYTES    ((uint64_t)64 << 20)
#define COPY_SOFTWARE ((uint64_t)16 << 20)
#define COPY_SECONDS  1e-3
enum { COPY_SHARE = 8, COPY_GROWS = 4 };

typedef struct fma_push {
    uint32_t steps;
    float factor, addend;
} fma_push;

static const rapt_vulkan_shader fma_shader = {
    .size = sizeof(rapt_vulkan_shader),
    .name = "device.fma",
    .code = device_fma,
    .code_bytes = sizeof device_fma,
    .n_buffers = 1,
    .push_bytes = sizeof(fma_push),
};

typedef rapt_status work(rapt_vk_device *device, void *context, rapt_error *error);

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds that one piece of work takes: the median of several, after some that warm up. */
static rapt_status time_work(rapt_vk_device *device, work *run, void *context, double *seconds,
                             rapt_error *error)
{
    double taken[ROUNDS];
    rapt_status status = rapt_vk_wait(device, device->queue.recording, error);
    for (int i = -WARM; status == RAPT_OK && i < ROUNDS; i++) {
        const double before = device->queue.seconds, start = wall();
        status = run(device, context, error);
        if (status == RAPT_OK)
            status = rapt_vk_wait(device, device->queue.recording, error);
        if (i >= 0)
            taken[i] = device->queue.queries ? device->queue.seconds - before : wall() - start;
    }
    if (status != RAPT_OK)
        return status;
    qsort(taken, ROUNDS, sizeof *taken, compare);
    *seconds = taken[ROUNDS / 2] > 1e-9 ? taken[ROUNDS / 2] : 1e-9;
    return RAPT_OK;
}

/* --- Arithmetic ------------------------------------------------------------------------------ */

typedef struct fma_work {
    rapt_vulkan_buffer out;
    uint32_t groups;
    fma_push push;
} fma_work;

static rapt_status run_fma(rapt_vk_device *device, void *context, rapt_error *error)
{
    const fma_work *w = context;
    const rapt_vulkan_dispatch dispatch = {.size = sizeof dispatch,
                                           .shader = &fma_shader,
                                           .groups = {w->groups, 1, 1},
                                           .buffers = &w->out,
                                           .push = &w->push};
    return rapt_vk_dispatch(device, &dispatch, error);
}

rapt_status rapt_vk_measure_fma(rapt_vk_device *device, int64_t n, double *gflops,
                                rapt_error *error)
{
    /* Enough workgroups to fill every processor several times over. */
    const uint32_t groups = device->features.software ? 64 : device->features.processors * 64;
    const double wanted = 2.0 * (double)n * (double)n * (double)n;
    const double flops = device->features.software && wanted > 1e9 ? 1e9 : wanted;
    const double each = 2.0 * SUMS * GROUP * (double)groups;
    const double steps = flops / each;
    fma_work w = {.groups = groups,
                  .push = {steps < 64    ? 64
                           : steps > 1e6 ? 1000000
                                         : (uint32_t)steps,
                           0.999f, 1e-3f}};
    rapt_vk_memory *memory = NULL;
    rapt_status status =
        rapt_vk_memory_take(device, (uint64_t)groups * GROUP * sizeof(float), &memory, error);
    if (status != RAPT_OK)
        return status;
    w.out = (rapt_vulkan_buffer){memory, 0, (uint64_t)groups * GROUP * sizeof(float)};
    double seconds = 1;
    status = time_work(device, run_fma, &w, &seconds, error);
    rapt_vk_memory_give(memory);
    *gflops = each * (double)w.push.steps / seconds * 1e-9;
    return status;
}

/* --- Copies ---------------------------------------------------------------------------------- */

static const rapt_vulkan_shader stream_shader = {
    .size = sizeof(rapt_vulkan_shader),
    .name = "device.stream",
    .code = device_stream,
    .code_bytes = sizeof device_stream,
    .n_buffers = 2,
    .push_bytes = 4,
};

typedef struct copy_work {
    rapt_vulkan_buffer buffers[2]; /* from, to */
} copy_work;

static rapt_status run_stream(rapt_vk_device *device, void *context, rapt_error *error)
{
    const copy_work *w = context;
    const uint32_t count = (uint32_t)(w->buffers[0].bytes / 16);
    const rapt_vulkan_dispatch dispatch = {.size = sizeof dispatch,
                                           .shader = &stream_shader,
                                           .groups = {(count + GROUP - 1) / GROUP, 1, 1},
                                           .buffers = w->buffers,
                                           .push = &count};
    return rapt_vk_dispatch(device, &dispatch, error);
}

/* By the driver's own command, which may use an engine for copies. */
static rapt_status run_copy(rapt_vk_device *device, void *context, rapt_error *error)
{
    const copy_work *w = context;
    int64_t shape[1] = {(int64_t)w->buffers[0].bytes / 4}, strides[1] = {1};
    const rapt_view to = {(void *)(uintptr_t)w->buffers[1].memory,
                          {RAPT_DEVICE_VULKAN, 0},
                          1,
                          {2, 32, 1},
                          shape,
                          strides,
                          0};
    rapt_view from = to;
    from.data = (void *)(uintptr_t)w->buffers[0].memory;
    return rapt_vk_copy(device, &to, &from, error);
}

/* Seconds that a copy of so many bytes takes, by the better of the two ways. */
static rapt_status time_copy(rapt_vk_device *device, uint64_t bytes, double *seconds,
                             rapt_error *error)
{
    rapt_vk_memory *memory[2] = {NULL, NULL};
    double stream = 0, copy = 0;
    rapt_status status = rapt_vk_memory_take(device, bytes, &memory[0], error);
    if (status == RAPT_OK)
        status = rapt_vk_memory_take(device, bytes, &memory[1], error);
    copy_work w = {{{memory[0], 0, bytes}, {memory[1], 0, bytes}}};
    if (status == RAPT_OK)
        status = rapt_vk_clear(device, memory[0], 0, bytes, error);
    if (status == RAPT_OK)
        status = time_work(device, run_stream, &w, &stream, error);
    if (status == RAPT_OK)
        status = time_work(device, run_copy, &w, &copy, error);
    *seconds = stream < copy ? stream : copy;
    for (int i = 0; i < 2; i++)
        if (memory[i])
            rapt_vk_memory_give(memory[i]);
    return status;
}

rapt_status rapt_vk_measure_copy(rapt_vk_device *device, double *gbytes, rapt_error *error)
{
    uint64_t most = rapt_vk_memory_budget(device) / COPY_SHARE;
    most = most < device->limits.buffer_bytes ? most : device->limits.buffer_bytes;
    most = most < device->features.max_allocation ? most : device->features.max_allocation;
    most = most < 256 ? 256 : most & ~(uint64_t)255;
    const uint64_t least = device->features.software ? COPY_SOFTWARE : COPY_BYTES;
    uint64_t bytes = least < most ? least : most;
    double seconds = 1;
    rapt_status status = time_copy(device, bytes, &seconds, error);
    while (status == RAPT_OK && seconds < COPY_SECONDS && bytes < most) {
        const uint64_t more = bytes < most / COPY_GROWS ? bytes * COPY_GROWS : most;
        double longer = 1;
        if (time_copy(device, more, &longer, NULL) != RAPT_OK)
            break; /* others took the memory: what is known so far is the answer */
        bytes = more;
        seconds = longer;
    }
    if (status == RAPT_OK)
        status = rapt_vk_wait(device, device->queue.recording, error);
    if (status == RAPT_OK)
        rapt_vk_memory_trim(device);
    *gbytes = 2e-9 * (double)bytes / seconds;
    return status;
}
