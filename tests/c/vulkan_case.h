/* The Vulkan device under test, and what tests of it share. */
#ifndef RAPT_TESTS_VULKAN_CASE_H
#define RAPT_TESTS_VULKAN_CASE_H

#include "device/vulkan/vulkan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The devices of this machine; tests take the last one, which is the software driver where it is
 * installed, unless RAPT_TEST_VULKAN has another index. */
extern rapt_device_driver vulkan_drivers[RAPT_VK_MAX_DEVICES];
extern size_t vulkan_count;

rapt_device_driver *vulkan_driver(void);
rapt_vk_device *vulkan_device(void); /* behind the driver */

int vulkan_setup(void **state);    /* opens the devices */
int vulkan_teardown(void **state); /* closes them; fails if the validation layers said anything */
void vulkan_reopen(void);

/* Memory of the device; it must be there. */
void *vulkan_take(int64_t bytes);
void vulkan_give(void *memory, int64_t bytes);
void vulkan_put(void *memory, uint64_t offset, const void *source, int64_t bytes);
void vulkan_get(void *memory, uint64_t offset, void *target, int64_t bytes);

/* A dispatch outside a call; returns its status, the words are in vulkan_error. */
rapt_status vulkan_run(const rapt_vulkan_dispatch *dispatch);
extern rapt_error vulkan_error;

typedef struct vulkan_push {
    uint32_t n;
    float add;
} vulkan_push;

/* y[i] = factor * y[i] + add for i < n; `push` is a vulkan_push. */
rapt_vulkan_dispatch vulkan_scale(const rapt_vulkan_buffer *y, const float *factor,
                                  const void *push);

#endif
