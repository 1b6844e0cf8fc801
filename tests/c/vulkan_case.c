#include "vulkan_case.h"

#include "scale.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rapt_device_driver vulkan_drivers[RAPT_VK_MAX_DEVICES];
size_t vulkan_count;
rapt_error vulkan_error;

static const rapt_vulkan_shader scale_shader = {
    .size = sizeof(rapt_vulkan_shader),
    .name = "test.scale",
    .code = scale_code,
    .code_bytes = sizeof scale_code,
    .n_buffers = 1,
    .push_bytes = 8,
};

/* What the software driver and the layers never free is not ours: LeakSanitizer is told their
 * names, which it can only find while they are in memory. */
#if defined(__SANITIZE_ADDRESS__)
#include <dlfcn.h>

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libvulkan_lvp.so\nleak:libLLVM\nleak:libVkLayer\nleak:libvulkan.so\n";
}

static void keep_driver(void)
{
    (void)dlopen("libvulkan_lvp.so", RTLD_NOW | RTLD_NODELETE);
    (void)dlopen("libVkLayer_khronos_validation.so", RTLD_NOW | RTLD_NODELETE);
}
#else
static void keep_driver(void)
{
}
#endif

rapt_device_driver *vulkan_driver(void)
{
    const char *index = getenv("RAPT_TEST_VULKAN");
    return &vulkan_drivers[index ? (size_t)atoi(index) : vulkan_count - 1];
}

rapt_vk_device *vulkan_device(void)
{
    return vulkan_driver()->self;
}

int vulkan_setup(void **state)
{
    (void)state;
    keep_driver();
    assert_int_equal(
        rapt_vulkan_open(vulkan_drivers, RAPT_VK_MAX_DEVICES, &vulkan_count, &vulkan_error),
        RAPT_OK);
    if (!vulkan_drivers[0].info.available)
        fail_msg("no Vulkan device: %s", vulkan_drivers[0].info.detail);
    return 0;
}

static void close_devices(void)
{
    for (size_t i = vulkan_count; i-- > 0;)
        if (vulkan_drivers[i].close)
            vulkan_drivers[i].close(&vulkan_drivers[i]);
}

int vulkan_teardown(void **state)
{
    (void)state;
    close_devices();
    if (rapt_vulkan_message_count() > 0)
        fail_msg("%zu messages of the validation layers; the first: %s",
                 rapt_vulkan_message_count(), rapt_vulkan_message(0));
    return 0;
}

void vulkan_reopen(void)
{
    close_devices();
    vulkan_setup(NULL);
}

void *vulkan_take(int64_t bytes)
{
    void *memory = NULL;
    if (vulkan_driver()->allocate(vulkan_driver(), bytes, &memory, &vulkan_error) != RAPT_OK)
        fail_msg("%s", vulkan_error.message);
    return memory;
}

void vulkan_give(void *memory, int64_t bytes)
{
    vulkan_driver()->release(vulkan_driver(), memory, bytes);
}

void vulkan_put(void *memory, uint64_t offset, const void *source, int64_t bytes)
{
    if (vulkan_driver()->write(vulkan_driver(), memory, offset, source, bytes, &vulkan_error) !=
        RAPT_OK)
        fail_msg("%s", vulkan_error.message);
}

void vulkan_get(void *memory, uint64_t offset, void *target, int64_t bytes)
{
    if (vulkan_driver()->read(vulkan_driver(), memory, offset, target, bytes, &vulkan_error) !=
        RAPT_OK)
        fail_msg("%s", vulkan_error.message);
}

rapt_status vulkan_run(const rapt_vulkan_dispatch *dispatch)
{
    rapt_vk_device *device = vulkan_device();
    pthread_mutex_lock(&device->lock);
    rapt_status status = rapt_vk_device_ready(device, &vulkan_error);
    if (status == RAPT_OK)
        status = rapt_vk_dispatch(device, dispatch, &vulkan_error);
    pthread_mutex_unlock(&device->lock);
    return status;
}

rapt_vulkan_dispatch vulkan_scale(const rapt_vulkan_buffer *y, const float *factor,
                                  const void *push)
{
    uint32_t n;
    memcpy(&n, push, sizeof n);
    return (rapt_vulkan_dispatch){.size = sizeof(rapt_vulkan_dispatch),
                                  .shader = &scale_shader,
                                  .constants = (const uint32_t *)(const void *)factor,
                                  .n_constants = 1,
                                  .groups = {(n + 63) / 64, 1, 1},
                                  .buffers = y,
                                  .push = push};
}
