/* Bytes between the host and the Vulkan device, at once and through staging memory. */
#include "vulkan_case.h"

#include <stdlib.h>
#include <string.h>

static uint32_t state = 1;

static uint32_t next_random(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static void check_bytes(int64_t bytes)
{
    unsigned char *sent = malloc((size_t)bytes), *got = calloc(1, (size_t)bytes);
    for (int64_t i = 0; i < bytes; i++)
        sent[i] = (unsigned char)next_random();
    void *memory = vulkan_take(bytes + 64);
    const uint64_t offset = next_random() % 64;
    vulkan_put(memory, offset, sent, bytes);
    vulkan_get(memory, offset, got, bytes);
    assert_memory_equal(sent, got, (size_t)bytes);
    vulkan_give(memory, bytes + 64);
    free(sent);
    free(got);
}

static void bytes_come_back(void **unused)
{
    (void)unused;
    const int64_t sizes[] = {1, 3, 63, 64, 4097, 1 << 20, (9 << 20) + 13};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_bytes(sizes[i]);
}

/* As on a device whose memory the host does not reach: everything goes through staging memory. */
static rapt_vk_device *reopen_apart(void)
{
    vulkan_reopen();
    vulkan_device()->features.unified = false;
    return vulkan_device();
}

static void bytes_come_back_staged(void **unused)
{
    const rapt_vk_device *device = reopen_apart();
    bytes_come_back(unused);
    assert_null(device->heap.blocks->mapped);
    assert_int_equal(device->readback[0].bytes, RAPT_VK_STAGING_BYTES);
    assert_int_equal(device->readback[1].bytes, RAPT_VK_STAGING_BYTES);
    vulkan_reopen();
}

/* What is read back into is as large as the greatest result so far asks for. */
static void readback_grows(void **unused)
{
    (void)unused;
    const rapt_vk_device *device = reopen_apart();
    const int64_t sizes[] = {4, 64 << 10, (64 << 10) + 1, 100, 1 << 20};
    const uint64_t room[] = {64 << 10, 64 << 10, 128 << 10, 128 << 10, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_bytes(sizes[i]);
        assert_int_equal(device->readback[0].bytes, room[i]);
        assert_null(device->readback[1].buffer);
    }
    vulkan_reopen();
}

/* Bytes that commands still read are not written over by later ones from the host. */
static void writes_keep_their_order(void **unused)
{
    (void)unused;
    enum { N = 1 << 16 };
    static float x[N];
    const float factor = 1.0f;
    const vulkan_push push = {N, 1.0f};
    void *memory = vulkan_take(sizeof x);
    const rapt_vulkan_buffer y = {memory, 0, sizeof x};
    const rapt_vulkan_dispatch add = vulkan_scale(&y, &factor, &push);
    for (int round = 0; round < 20; round++) {
        memset(x, 0, sizeof x);
        vulkan_put(memory, 0, x, sizeof x);
        for (int i = 0; i <= round; i++)
            assert_int_equal(vulkan_run(&add), RAPT_OK);
        if (round % 3 == 0)
            continue;
        vulkan_get(memory, 0, x, sizeof x);
        for (int i = 0; i < N; i++)
            assert_float_equal(x[i], (float)(round + 1), 0);
    }
    vulkan_give(memory, sizeof x);
}

/* --- Failures -------------------------------------------------------------------------------- */

static PFN_vkAllocateMemory allocate;
static int allowed; /* allocations until they fail */

static VKAPI_ATTR VkResult VKAPI_CALL allocate_some(VkDevice device,
                                                    const VkMemoryAllocateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkDeviceMemory *memory)
{
    return allowed-- > 0 ? allocate(device, info, callbacks, memory) : VK_ERROR_OUT_OF_HOST_MEMORY;
}

/* A read of three pieces fails where the memory for its first, then for its second piece is made,
 * the second time with the first piece on its way. */
static void failed_reads_leave_it_usable(void **unused)
{
    (void)unused;
    enum { BYTES = (9 << 20) + 5 };
    rapt_vk_device *device = reopen_apart();
    rapt_device_driver *driver = vulkan_driver();
    unsigned char *sent = malloc(BYTES), *got = malloc(BYTES);
    for (int i = 0; i < BYTES; i++)
        sent[i] = (unsigned char)next_random();
    void *memory = vulkan_take(BYTES);
    vulkan_put(memory, 0, sent, BYTES);
    vulkan_get(memory, 0, got, 16);
    allocate = device->vk.AllocateMemory;
    for (int n = 0; n < 2; n++) {
        device->vk.AllocateMemory = allocate_some;
        allowed = n;
        assert_int_equal(driver->read(driver, memory, 0, got, BYTES, &vulkan_error),
                         RAPT_NO_MEMORY);
        assert_non_null(strstr(vulkan_error.message, "VK_ERROR_OUT_OF_HOST_MEMORY"));
        device->vk.AllocateMemory = allocate;
        vulkan_get(memory, BYTES - 16, got, 16);
        assert_memory_equal(got, sent + BYTES - 16, 16);
    }
    vulkan_get(memory, 0, got, BYTES);
    assert_memory_equal(got, sent, BYTES);
    vulkan_give(memory, BYTES);
    free(sent);
    free(got);
    vulkan_reopen();
}

static VKAPI_ATTR VkResult VKAPI_CALL wait_in_vain(VkDevice device, const VkSemaphoreWaitInfo *info,
                                                   uint64_t timeout)
{
    (void)device;
    (void)info;
    (void)timeout;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

static PFN_vkDestroyBuffer destroy;
static int destroyed;

static VKAPI_ATTR void VKAPI_CALL destroy_unused(VkDevice handle, VkBuffer buffer,
                                                 const VkAllocationCallbacks *callbacks)
{
    assert_int_equal(vulkan_device()->queue.completed, vulkan_device()->queue.submitted);
    destroyed++;
    destroy(handle, buffer, callbacks);
}

/* What a read has left behind that nobody waited for may still be written when there is to be more
 * room: it is waited for then. */
static void readback_grows_after_use(void **unused)
{
    (void)unused;
    enum { BYTES = 1 << 20 };
    rapt_vk_device *device = reopen_apart();
    rapt_device_driver *driver = vulkan_driver();
    unsigned char *sent = malloc(BYTES), *got = malloc(BYTES);
    memset(sent, 3, BYTES);
    void *memory = vulkan_take(BYTES);
    vulkan_put(memory, 0, sent, BYTES);
    const PFN_vkWaitSemaphores wait = device->vk.WaitSemaphores;
    device->vk.WaitSemaphores = wait_in_vain;
    assert_int_equal(driver->read(driver, memory, 0, got, 16, &vulkan_error), RAPT_NO_MEMORY);
    assert_non_null(device->readback[0].buffer);
    device->vk.WaitSemaphores = wait;
    destroy = device->vk.DestroyBuffer;
    destroyed = 0;
    device->vk.DestroyBuffer = destroy_unused;
    vulkan_get(memory, 0, got, BYTES);
    device->vk.DestroyBuffer = destroy;
    assert_int_equal(destroyed, 1);
    assert_memory_equal(got, sent, BYTES);
    vulkan_give(memory, BYTES);
    free(sent);
    free(got);
    vulkan_reopen();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(bytes_come_back_staged),
        cmocka_unit_test(readback_grows),
        cmocka_unit_test(writes_keep_their_order),
        cmocka_unit_test(failed_reads_leave_it_usable),
        cmocka_unit_test(readback_grows_after_use),
    };
    return cmocka_run_group_tests(tests, vulkan_setup, vulkan_teardown);
}
