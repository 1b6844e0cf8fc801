/* Rates of the device, by its own clock where it has one. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include "device_fma.h"
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 7, WARM = 2, GROUP = 128, SUMS = 16 };
#define COPY_BYTES ((uint64_t)256 << 20)

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

typedef struct copy_work {
    rapt_view to, from;
} copy_work;

static rapt_status run_copy(rapt_vk_device *device, void *context, rapt_error *error)
{
    const copy_work *w = context;
    return rapt_vk_copy(device, &w->to, &w->from, error);
}

rapt_status rapt_vk_measure_copy(rapt_vk_device *device, double *gbytes, rapt_error *error)
{
    uint64_t bytes = COPY_BYTES;
    while (bytes > device->limits.buffer_bytes || bytes > device->features.max_allocation)
        bytes /= 2;
    int64_t shape[1] = {(int64_t)(bytes / 4)}, strides[1] = {1};
    rapt_vk_memory *memory[2] = {NULL, NULL};
    rapt_status status = rapt_vk_memory_take(device, bytes, &memory[0], error);
    if (status == RAPT_OK)
        status = rapt_vk_memory_take(device, bytes, &memory[1], error);
    double seconds = 1;
    if (status == RAPT_OK) {
        const rapt_view view = {memory[0], {RAPT_DEVICE_VULKAN, 0}, 1, {2, 32, 1}, shape, strides,
                                0};
        copy_work w = {view, view};
        w.from.data = memory[1];
        status = rapt_vk_clear(device, memory[1], 0, bytes, error);
        if (status == RAPT_OK)
            status = time_work(device, run_copy, &w, &seconds, error);
    }
    for (int i = 0; i < 2; i++)
        if (memory[i])
            rapt_vk_memory_give(memory[i]);
    *gbytes = 2e-9 * (double)bytes / seconds;
    return status;
}
