/* The Vulkan device: memory, dispatches, pipelines, failures. Under the validation
 * layers, which must stay silent (RAPT_VULKAN_VALIDATE=1). */
#include "vulkan_case.h"

#include "component.h"
#include "grid.h"
#include "invocation.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t state = 1;

static uint32_t next_random(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* --- The list -------------------------------------------------------------------------------- */

static void list_has_software_last(void **unused)
{
    (void)unused;
    bool software = false;
    for (size_t i = 0; i < vulkan_count; i++) {
        char name[32];
        const rapt_vk_device *device = vulkan_drivers[i].self;
        snprintf(name, sizeof name, "vulkan:%zu", i);
        assert_string_equal(vulkan_drivers[i].info.name, name);
        assert_string_equal(vulkan_drivers[i].kind, "vulkan");
        assert_true(vulkan_drivers[i].info.memory_bytes > 0);
        assert_non_null(strstr(vulkan_drivers[i].info.detail, "plain on"));
        assert_false(software && !device->features.software);
        software = device->features.software;
        assert_true(device->limits.shared_bytes >= 16384 && device->limits.invocations >= 128);
        assert_true(device->limits.buffer_bytes >= (uint64_t)128 << 20 ||
                    device->limits.buffer_bytes == device->features.max_buffer);
    }
}

/* --- A machine without ----------------------------------------------------------------------- */

static bool no_loader;

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags)
{
    return no_loader && name && strstr(name, "libvulkan.so") ? NULL : __real_dlopen(name, flags);
}

/* One device that is off and says why. */
static void check_absent(const char *why)
{
    rapt_device_driver drivers[4];
    size_t count = 0;
    assert_int_equal(rapt_vulkan_open(drivers, 4, &count, &vulkan_error), RAPT_OK);
    assert_int_equal(count, 1);
    assert_false(drivers[0].info.available);
    assert_string_equal(drivers[0].info.name, "vulkan:0");
    if (!strstr(drivers[0].info.detail, why))
        fail_msg("\"%s\" was expected in: %s", why, drivers[0].info.detail);
    assert_null(drivers[0].close);
}

/* Sets a variable, or with NULL removes it; gives what it was, to be freed. */
static char *swap(const char *name, const char *value)
{
    const char *was = getenv(name);
    char *copy = was ? strdup(was) : NULL;
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
    return copy;
}

static void absence_is_told(void **unused)
{
    (void)unused;
    vulkan_teardown(NULL);
    no_loader = true;
    check_absent("no Vulkan loader");
    no_loader = false;
    char *names = swap("VK_ICD_FILENAMES", "/nowhere/icd.json");
    char *files = swap("VK_DRIVER_FILES", "/nowhere/icd.json");
    check_absent("driver");
    free(swap("VK_ICD_FILENAMES", names));
    free(swap("VK_DRIVER_FILES", files));
    setenv("RAPT_VULKAN_OFF", "storage16,nothing", 1);
    check_absent("names \"nothing\"");
    setenv("RAPT_VULKAN_OFF", "storage16, coopmat_nv", 1);
    vulkan_setup(NULL);
    assert_false(vulkan_device()->limits.features & RAPT_VULKAN_STORAGE16);
    vulkan_teardown(NULL);
    unsetenv("RAPT_VULKAN_OFF");
    char *layers = swap("VK_LAYER_PATH", "/nowhere");
    char *validate = swap("RAPT_VULKAN_VALIDATE", "1");
    check_absent("VK_LAYER_KHRONOS_validation");
    free(swap("VK_LAYER_PATH", layers));
    free(swap("RAPT_VULKAN_VALIDATE", validate));
    free(names);
    free(files);
    free(layers);
    free(validate);
    vulkan_setup(NULL);
}

/* What was found is listed again without a driver, until something changes. */
static void list_is_remembered(void **unused)
{
    (void)unused;
    rapt_device_info infos[RAPT_VK_MAX_DEVICES];
    size_t count = 0;
    assert_true(rapt_vulkan_list(infos, RAPT_VK_MAX_DEVICES, &count));
    assert_int_equal(count, vulkan_count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(infos[i].model, vulkan_drivers[i].info.model);
        assert_non_null(strstr(infos[i].detail, "as found at"));
    }
    setenv("VK_SOMETHING", "1", 1);
    assert_false(rapt_vulkan_list(infos, RAPT_VK_MAX_DEVICES, &count));
    unsetenv("VK_SOMETHING");
    assert_true(rapt_vulkan_list(infos, RAPT_VK_MAX_DEVICES, &count));
}

/* --- Clearing -------------------------------------------------------------------------------- */

static void clears(void **unused)
{
    (void)unused;
    unsigned char x[1024];
    memset(x, 7, sizeof x);
    void *memory = vulkan_take(sizeof x);
    vulkan_put(memory, 0, x, sizeof x);
    assert_int_equal(vulkan_driver()->clear(vulkan_driver(), memory, 64, 128, &vulkan_error),
                     RAPT_OK);
    vulkan_get(memory, 0, x, sizeof x);
    for (int i = 0; i < 1024; i++)
        assert_int_equal(x[i], i >= 64 && i < 192 ? 0 : 7);
    assert_int_equal(vulkan_driver()->clear(vulkan_driver(), memory, 2, 4, &vulkan_error),
                     RAPT_INTERNAL);
    assert_int_equal(vulkan_driver()->clear(vulkan_driver(), memory, 0, 2048, &vulkan_error),
                     RAPT_INTERNAL);
    vulkan_give(memory, sizeof x);
}

/* --- Dispatches ------------------------------------------------------------------------------ */

/* Ten thousand calls in a row: right, in few submissions, without memory that grows. */
static void many_dispatches(void **unused)
{
    (void)unused;
    enum { N = 100, CALLS = 10000 };
    float x[N] = {0};
    const float factor = 1.0f;
    const vulkan_push push = {N, 1.0f};
    void *memory = vulkan_take(sizeof x);
    const rapt_vulkan_buffer y = {memory, 0, sizeof x};
    const rapt_vulkan_dispatch add = vulkan_scale(&y, &factor, &push);
    vulkan_put(memory, 0, x, sizeof x);
    rapt_vk_device *device = vulkan_device();
    uint64_t reserved = 0, pools = 0, before = device->queue.submitted;
    for (int i = 0; i < CALLS; i++) {
        void *other = vulkan_take(1000);
        assert_int_equal(vulkan_run(&add), RAPT_OK);
        vulkan_give(other, 1000);
        uint64_t now = 0;
        for (int b = 0; b < RAPT_VK_BATCHES; b++)
            now += device->queue.batch[b].n_pools;
        if (i == CALLS / 2) {
            reserved = device->heap.reserved;
            pools = now;
        }
        if (i > CALLS / 2) {
            assert_int_equal(device->heap.reserved, reserved);
            assert_true(now <= pools + RAPT_VK_BATCHES);
        }
    }
    assert_true(device->queue.submitted - before < CALLS / 10);
    vulkan_get(memory, 0, x, sizeof x);
    for (int i = 0; i < N; i++)
        assert_float_equal(x[i], CALLS, 0);
    vulkan_give(memory, sizeof x);
}

static void constants_make_pipelines(void **unused)
{
    (void)unused;
    float x[4] = {1, 2, 3, 4};
    const float factors[] = {2.0f, 3.0f, 2.0f, 0.5f};
    const vulkan_push push = {4, 0};
    void *memory = vulkan_take(sizeof x);
    const rapt_vulkan_buffer y = {memory, 0, sizeof x};
    vulkan_put(memory, 0, x, sizeof x);
    for (int i = 0; i < 4; i++) {
        const rapt_vulkan_dispatch scale = vulkan_scale(&y, &factors[i], &push);
        assert_int_equal(vulkan_run(&scale), RAPT_OK);
    }
    vulkan_get(memory, 0, x, sizeof x);
    for (int i = 0; i < 4; i++)
        assert_float_equal(x[i], 6.0f * (float)(i + 1), 0);
    vulkan_give(memory, sizeof x);
}

static const rapt_vulkan_shader grid_shader = {
    .size = sizeof(rapt_vulkan_shader),
    .name = "test.grid",
    .code = grid_code,
    .code_bytes = sizeof grid_code,
    .n_buffers = 1,
    .params_bytes = 12,
};

static void check_grid(uint32_t gx, uint32_t gy, uint32_t gz)
{
    const size_t n = (size_t)gx * gy * gz;
    uint32_t *x = malloc(4 * n);
    const uint32_t strides[3] = {1, gx, gx * gy};
    void *memory = vulkan_take((int64_t)(4 * n));
    assert_int_equal(vulkan_driver()->clear(vulkan_driver(), memory, 0, (int64_t)(4 * n), NULL),
                     RAPT_OK);
    const rapt_vulkan_buffer y = {memory, 0, 4 * n};
    const rapt_vulkan_dispatch grid = {.size = sizeof grid,
                                       .shader = &grid_shader,
                                       .groups = {gx, gy, gz},
                                       .buffers = &y,
                                       .params = strides};
    assert_int_equal(vulkan_run(&grid), RAPT_OK);
    vulkan_get(memory, 0, x, (int64_t)(4 * n));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(x[i], 1);
    vulkan_give(memory, (int64_t)(4 * n));
    free(x);
}

static void grids_are_split(void **unused)
{
    (void)unused;
    uint32_t *most = vulkan_device()->features.properties.limits.maxComputeWorkGroupCount;
    const uint32_t were[3] = {most[0], most[1], most[2]};
    check_grid(3, 4, 5);
    most[0] = 7, most[1] = 2, most[2] = 3; /* as if the device counted no farther */
    check_grid(20, 5, 4);
    check_grid(7, 2, 3);
    check_grid(8, 1, 1);
    memcpy(most, were, sizeof were);
    check_grid(70000, 1, 1);
    const rapt_vulkan_dispatch none = {
        .size = sizeof none, .shader = &grid_shader, .groups = {0, 1, 1}};
    const rapt_vulkan_buffer nothing = {0};
    rapt_vulkan_dispatch empty = none;
    empty.buffers = &nothing;
    assert_int_equal(vulkan_run(&empty), RAPT_OK);
}

/* Numbers of invocations, in workgroups whose size is a constant, and of the grid's workgroups. */
static void parts_know_their_place(void **unused)
{
    enum { X = 5, Y = 4, Z = 2, SIZE = 4, N = X * SIZE * Y * Z };
    static const rapt_vulkan_shader invocation = {.size = sizeof(rapt_vulkan_shader),
                                                  .name = "test.invocation",
                                                  .code = invocation_code,
                                                  .code_bytes = sizeof invocation_code,
                                                  .n_buffers = 1};
    static const rapt_vulkan_shader component = {.size = sizeof(rapt_vulkan_shader),
                                                 .name = "test.component",
                                                 .code = component_code,
                                                 .code_bytes = sizeof component_code,
                                                 .n_buffers = 1,
                                                 .push_bytes = 4};
    uint32_t *most = vulkan_device()->features.properties.limits.maxComputeWorkGroupCount;
    const uint32_t were[3] = {most[0], most[1], most[2]}, size = SIZE, none = 0;
    uint32_t x[N];
    void *memory = vulkan_take(sizeof x);
    const rapt_vulkan_buffer y = {memory, 0, sizeof x};
    rapt_vulkan_dispatch grid = {.size = sizeof grid,
                                 .shader = &invocation,
                                 .groups = {X, Y, Z},
                                 .constants = &size,
                                 .n_constants = 1,
                                 .buffers = &y,
                                 .push = &none};
    (void)unused;
    most[0] = 2, most[1] = 3, most[2] = 1;
    assert_int_equal(vulkan_driver()->clear(vulkan_driver(), memory, 0, sizeof x, NULL), RAPT_OK);
    assert_int_equal(vulkan_run(&grid), RAPT_OK);
    vulkan_get(memory, 0, x, sizeof x);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(x[i], Y);
    grid.shader = &component;
    grid.n_constants = 0;
    assert_int_equal(vulkan_run(&grid), RAPT_UNSUPPORTED);
    assert_non_null(strstr(vulkan_error.message, "test.component has more workgroups"));
    memcpy(most, were, sizeof were);
    assert_int_equal(vulkan_run(&grid), RAPT_OK);
    vulkan_give(memory, sizeof x);
}

static void bad_dispatches_are_refused(void **unused)
{
    (void)unused;
    const float factor = 1;
    const vulkan_push push = {4, 0};
    void *memory = vulkan_take(256);
    rapt_vulkan_buffer y = {memory, 0, 256};
    rapt_vulkan_dispatch scale = vulkan_scale(&y, &factor, &push);
    y.offset = 1;
    assert_int_equal(vulkan_run(&scale), RAPT_INTERNAL);
    y.offset = 0;
    y.bytes = 1024;
    assert_int_equal(vulkan_run(&scale), RAPT_INTERNAL);
    assert_non_null(strstr(vulkan_error.message, "test.scale"));
    y.bytes = 256;
    rapt_vulkan_shader shader = *scale.shader;
    scale.shader = &shader;
    shader.features = 1u << 30;
    assert_int_equal(vulkan_run(&scale), RAPT_UNSUPPORTED);
    assert_non_null(strstr(vulkan_error.message, vulkan_driver()->info.name));
    shader.features = 0;
    shader.subgroup = 512;
    assert_int_equal(vulkan_run(&scale), RAPT_UNSUPPORTED);
    shader.subgroup = 0;
    shader.push_bytes = 132;
    assert_int_equal(vulkan_run(&scale), RAPT_INTERNAL);
    shader.push_bytes = 8;
    assert_int_equal(vulkan_run(&scale), RAPT_OK);
    /* A shader of float32 has nothing that could be bfloat16, where the device takes it. */
    const bool bfloat = vulkan_device()->limits.features & RAPT_VULKAN_BFLOAT16;
    scale.flags = RAPT_VULKAN_AS_BFLOAT16;
    assert_int_equal(vulkan_run(&scale), bfloat ? RAPT_INVALID : RAPT_UNSUPPORTED);
    vulkan_give(memory, 256);
}

/* --- Memory ---------------------------------------------------------------------------------- */

/* Random sizes, taken and given back in any order: ranges do not overlap and are used again. */
static void memory_is_reused(void **unused)
{
    (void)unused;
    enum { SLOTS = 100, ROUNDS = 5000 };
    void *slot[SLOTS] = {0};
    int64_t bytes[SLOTS];
    rapt_vk_device *device = vulkan_device();
    uint64_t most = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t i = next_random() % SLOTS;
        if (slot[i]) {
            uint32_t mark[2];
            vulkan_get(slot[i], 0, mark, 8);
            assert_int_equal(mark[0], i);
            assert_int_equal(mark[1], (uint32_t)bytes[i]);
            vulkan_give(slot[i], bytes[i]);
            slot[i] = NULL;
            continue;
        }
        bytes[i] = 64 + (int64_t)(next_random() % (1u << next_random() % 18));
        slot[i] = vulkan_take(bytes[i]);
        const uint32_t mark[2] = {i, (uint32_t)bytes[i]};
        vulkan_put(slot[i], 0, mark, 8);
        assert_true(((rapt_vk_memory *)slot[i])->offset % RAPT_VK_ALIGN == 0);
        most = device->heap.reserved > most ? device->heap.reserved : most;
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        if (slot[i])
            vulkan_give(slot[i], bytes[i]);
    assert_true(most <= (uint64_t)16 << 20);
    assert_int_equal(device->heap.used, RAPT_VK_NOTHINGS * RAPT_VK_ALIGN); /* `nothing` */
}

static void budget_is_kept(void **unused)
{
    (void)unused;
    setenv("RAPT_VULKAN_MEMORY", "20000000", 1);
    vulkan_reopen();
    rapt_device_driver *driver = vulkan_driver();
    void *a = vulkan_take(12000000), *b = NULL;
    assert_int_equal(driver->allocate(driver, 12000000, &b, &vulkan_error), RAPT_NO_MEMORY);
    assert_non_null(strstr(vulkan_error.message, "RAPT_VULKAN_MEMORY"));
    assert_non_null(strstr(vulkan_error.message, "12000000"));
    vulkan_give(a, 12000000);
    /* Other sizes: the block that held `a` is given back first. */
    b = vulkan_take(18000000);
    vulkan_give(b, 18000000);
    assert_int_equal(driver->allocate(driver, INT64_C(1) << 60, &b, &vulkan_error), RAPT_NO_MEMORY);
    assert_non_null(strstr(vulkan_error.message, "greatest"));
    setenv("RAPT_VULKAN_MEMORY", "much", 1);
    vulkan_reopen();
    assert_int_equal(driver->allocate(driver, 64, &b, &vulkan_error), RAPT_INVALID);
    unsetenv("RAPT_VULKAN_MEMORY");
    vulkan_give(vulkan_take(64), 64);
    vulkan_reopen();
}

/* --- Failures -------------------------------------------------------------------------------- */

static VKAPI_ATTR VkResult VKAPI_CALL lose(VkQueue queue, uint32_t n, const VkSubmitInfo *info,
                                           VkFence fence)
{
    (void)queue;
    (void)n;
    (void)info;
    (void)fence;
    return VK_ERROR_DEVICE_LOST;
}

static VKAPI_ATTR VkResult VKAPI_CALL no_memory(VkDevice device, const VkMemoryAllocateInfo *info,
                                                const VkAllocationCallbacks *callbacks,
                                                VkDeviceMemory *memory)
{
    (void)device;
    (void)info;
    (void)callbacks;
    (void)memory;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static void loss_is_an_error(void **unused)
{
    (void)unused;
    const float factor = 1;
    const vulkan_push push = {4, 0};
    float x[4] = {0};
    void *memory = vulkan_take(256);
    const rapt_vulkan_buffer y = {memory, 0, 256};
    const rapt_vulkan_dispatch scale = vulkan_scale(&y, &factor, &push);
    rapt_device_driver *driver = vulkan_driver();
    assert_int_equal(vulkan_run(&scale), RAPT_OK);
    assert_int_equal(driver->synchronize(driver, NULL), RAPT_OK);
    vulkan_device()->vk.QueueSubmit = lose;
    assert_int_equal(vulkan_run(&scale), RAPT_DEVICE_LOST);
    assert_non_null(strstr(vulkan_error.message, "VK_ERROR_DEVICE_LOST"));
    assert_int_equal(vulkan_run(&scale), RAPT_DEVICE_LOST);
    assert_int_equal(driver->read(driver, memory, 0, x, sizeof x, &vulkan_error), RAPT_DEVICE_LOST);
    assert_int_equal(driver->synchronize(driver, &vulkan_error), RAPT_DEVICE_LOST);
    vulkan_give(memory, 256);
    vulkan_reopen();
    memory = vulkan_take(256);
    vulkan_put(memory, 0, x, sizeof x);
    vulkan_give(memory, 256);
}

static void no_memory_leaves_it_usable(void **unused)
{
    (void)unused;
    rapt_vk_device *device = vulkan_device();
    vulkan_give(vulkan_take(64), 64);
    const PFN_vkAllocateMemory was = device->vk.AllocateMemory;
    void *memory = NULL;
    device->vk.AllocateMemory = no_memory;
    assert_int_equal(vulkan_driver()->allocate(vulkan_driver(), 200 << 20, &memory, &vulkan_error),
                     RAPT_NO_MEMORY);
    assert_non_null(strstr(vulkan_error.message, "out of memory"));
    device->vk.AllocateMemory = was;
    vulkan_give(vulkan_take(200 << 20), 200 << 20);
}

/* --- Verdicts -------------------------------------------------------------------------------- */

static bool in_detail(const char *text)
{
    return strstr(vulkan_driver()->info.detail, text) != NULL;
}

/* What a call of an operator is offered. */
static uint32_t offered_to(const char *name)
{
    const rapt_operator op = {.name = name};
    const rapt_call call = {.op = &op};
    return rapt_vk_verdict_limits(vulkan_device(), &call)->features;
}

/* What a self-test turns off for an operator stays off for it alone, and says why. */
static void verdicts_are_kept(void **unused)
{
    (void)unused;
    const uint32_t off = RAPT_VULKAN_STORAGE16, had = vulkan_device()->limits.features;
    rapt_device_driver *driver = vulkan_driver();
    rapt_verdict verdict = {.op = "t.one",
                            .code = "1",
                            .tested = RAPT_TESTED(RAPT_F16, true),
                            .compared = 1,
                            .failed = off,
                            .why = "f16: wrong"};
    assert_int_equal(driver->offer(driver, 0), 0);
    assert_int_equal(offered_to("t.one"), 0);
    assert_int_equal(driver->offer(driver, UINT32_MAX), had);
    assert_int_equal(offered_to("t.one"), had);
    driver->judge(driver, &verdict);
    for (int opened = 0; opened < 2; opened++) {
        assert_int_equal(offered_to("t.one"), had & ~off);
        assert_int_equal(offered_to("t.two"), had);
        assert_int_equal(vulkan_device()->limits.features, had);
        assert_true(in_detail("t.one: f16: wrong") && driver->info.available);
        vulkan_reopen();
        driver = vulkan_driver();
    }
    rapt_verdict kept;
    assert_true(driver->judged(driver, "t.one", &kept));
    assert_int_equal(kept.tested, verdict.tested);
    assert_string_equal(kept.code, "1");
    verdict = (rapt_verdict){.op = "t.two", .code = "1", .compared = 1};
    driver->judge(driver, &verdict);
    assert_true(in_detail("f16: wrong") && in_detail("; passed by "));
    snprintf(verdict.op, sizeof verdict.op, "t.one");
    driver->judge(driver, &verdict);
    vulkan_reopen();
    assert_int_equal(offered_to("t.one"), had);
    assert_true(in_detail("passed by ") && !in_detail("t.one"));
}

/* --- Buffers of a shader ---------------------------------------------------------------------- */

static rapt_status two_dispatches(rapt_call *call)
{
    rapt_vulkan_shader shader = grid_shader;
    const uint32_t strides[3] = {0};
    const rapt_vulkan_buffer none[6] = {{0}};
    rapt_vulkan_dispatch dispatch = {.size = sizeof dispatch,
                                     .shader = &shader,
                                     .groups = {1, 1, 1},
                                     .buffers = none,
                                     .params = strides};
    const rapt_status status = rapt_vulkan_table()->dispatch(call, &dispatch);
    shader.n_buffers = 5;
    return status == RAPT_OK ? rapt_vulkan_table()->dispatch(call, &dispatch) : status;
}

static char said[RAPT_ERROR_SIZE];

static rapt_status say(rapt_call *call, rapt_status status, const char *format, ...)
{
    (void)call;
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
    return status;
}

/* Where a device takes few buffers, a kernel's dispatches are tried before one is recorded. */
static void few_buffers_are_told(void **unused)
{
    (void)unused;
    vulkan_teardown(NULL);
    setenv("RAPT_VULKAN_BUFFERS", "3", 1);
    check_absent("RAPT_VULKAN_BUFFERS is \"3\"; a number from 4 to 64 was expected");
    setenv("RAPT_VULKAN_BUFFERS", "5", 1);
    vulkan_setup(NULL);
    vulkan_give(vulkan_take(64), 64);
    rapt_device_driver *driver = vulkan_driver();
    const rapt_host host = {.size = sizeof host, .error = say};
    const rapt_view view = {.device = driver->device};
    const rapt_view *const inputs[] = {&view};
    const rapt_operator op = {.name = "t.wide", .n_inputs = 1};
    rapt_call call = {.size = sizeof call, .host = &host, .op = &op, .inputs = inputs};
    assert_true(in_detail("a shader binds 5 buffers at most"));
    assert_int_equal(vulkan_device()->limits.buffers, 5);
    const uint64_t before = vulkan_device()->queue.recording;
    assert_int_equal(driver->rehearse(driver, two_dispatches, &call), RAPT_UNSUPPORTED);
    assert_non_null(strstr(said, "shader test.grid binds 6 storage buffers"));
    assert_non_null(strstr(said, "takes 5 in a shader"));
    assert_int_equal(vulkan_device()->queue.recording, before);
    assert_false(vulkan_device()->queue.open);
    unsetenv("RAPT_VULKAN_BUFFERS");
    vulkan_reopen();
    assert_null(vulkan_driver()->rehearse); /* it takes what there is */
}

/* --- Threads --------------------------------------------------------------------------------- */

static void *work(void *unused)
{
    (void)unused;
    const float factor = 2;
    const vulkan_push push = {16, 1};
    rapt_device_driver *driver = vulkan_driver();
    for (int round = 0; round < 50; round++) {
        float x[16] = {0};
        void *memory = NULL;
        rapt_error error;
        if (driver->allocate(driver, 4096, &memory, &error) != RAPT_OK ||
            driver->write(driver, memory, 0, x, sizeof x, &error) != RAPT_OK)
            return "transfer";
        const rapt_vulkan_buffer y = {memory, 0, sizeof x};
        const rapt_vulkan_dispatch scale = vulkan_scale(&y, &factor, &push);
        for (int i = 0; i < 3; i++)
            if (vulkan_run(&scale) != RAPT_OK)
                return "dispatch";
        if (driver->read(driver, memory, 0, x, sizeof x, &error) != RAPT_OK || x[15] != 7.0f)
            return "result";
        driver->release(driver, memory, 4096);
    }
    return NULL;
}

static void threads_share_a_device(void **unused)
{
    (void)unused;
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, NULL), 0);
    for (int i = 0; i < 3; i++) {
        void *failed;
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_has_software_last),
        cmocka_unit_test(absence_is_told),
        cmocka_unit_test(list_is_remembered),
        cmocka_unit_test(clears),
        cmocka_unit_test(many_dispatches),
        cmocka_unit_test(constants_make_pipelines),
        cmocka_unit_test(grids_are_split),
        cmocka_unit_test(parts_know_their_place),
        cmocka_unit_test(bad_dispatches_are_refused),
        cmocka_unit_test(memory_is_reused),
        cmocka_unit_test(budget_is_kept),
        cmocka_unit_test(loss_is_an_error),
        cmocka_unit_test(no_memory_leaves_it_usable),
        cmocka_unit_test(verdicts_are_kept),
        cmocka_unit_test(few_buffers_are_told),
        cmocka_unit_test(threads_share_a_device),
    };
    return cmocka_run_group_tests(tests, vulkan_setup, vulkan_teardown);
}
