/* Tensors, calls and moves on a device whose memory the host cannot reach. */
#include "engine_ops.h"
#include "fault.h"
#include "tensor/convert.h"
#include "tensor/random.h"

/* Memory behind a handle: its address with all bits turned. */
static void *handle(const void *data)
{
    return (void *)~(uintptr_t)data;
}

static rapt_status far_allocate(rapt_device_driver *driver, int64_t bytes, void **data,
                                rapt_error *error)
{
    (void)driver;
    void *memory = malloc((size_t)bytes);
    if (!memory) {
        if (error)
            *error = (rapt_error){RAPT_NO_MEMORY, "no far memory"};
        return RAPT_NO_MEMORY;
    }
    *data = handle(memory);
    return RAPT_OK;
}

static void far_release(rapt_device_driver *driver, void *data, int64_t bytes)
{
    (void)driver;
    (void)bytes;
    free(handle(data));
}

static rapt_status far_write(rapt_device_driver *driver, void *data, uint64_t offset,
                             const void *source, int64_t bytes, rapt_error *error)
{
    (void)driver;
    (void)error;
    memcpy((char *)handle(data) + offset, source, (size_t)bytes);
    return RAPT_OK;
}

static rapt_status far_read(rapt_device_driver *driver, const void *data, uint64_t offset,
                            void *target, int64_t bytes, rapt_error *error)
{
    (void)driver;
    (void)error;
    memcpy(target, (char *)handle(data) + offset, (size_t)bytes);
    return RAPT_OK;
}

static rapt_status far_copy(rapt_device_driver *driver, const rapt_view *target,
                            const rapt_view *source, rapt_error *error)
{
    (void)driver;
    (void)error;
    rapt_view to = *target, from = *source;
    to.data = handle(to.data);
    from.data = handle(from.data);
    rapt_view_copy(&to, &from);
    return RAPT_OK;
}

/* Floats as the CPU has them. */
static rapt_status far_fill(rapt_device_driver *driver, const rapt_view *target,
                            const rapt_random_fill *fill, rapt_error *error)
{
    (void)driver;
    (void)error;
    float *x = (float *)(void *)((char *)handle(target->data) + target->byte_offset);
    assert_int_equal(fill->kind, RAPT_FILL_UNIFORM);
    rapt_philox_uniform(fill->seed, 0, fill->first, rapt_view_count(target), x);
    return RAPT_OK;
}

static rapt_status far_open(rapt_device_driver *driver, rapt_error *error)
{
    (void)error;
    *driver = (rapt_device_driver){.device = {RAPT_DEVICE_VULKAN, 0},
                                   .kind = "vulkan",
                                   .info = {.name = "vulkan:0", .available = true},
                                   .allocate = far_allocate,
                                   .release = far_release,
                                   .write = far_write,
                                   .read = far_read,
                                   .copy = far_copy};
    return RAPT_OK;
}

static rapt_status far_off(rapt_device_driver *driver, rapt_error *error)
{
    far_open(driver, error);
    driver->device.index = 1;
    driver->info = (rapt_device_info){.name = "vulkan:1", .detail = "unplugged"};
    return RAPT_OK;
}

#define FAR ((rapt_device){RAPT_DEVICE_VULKAN, 0})

static rapt_status nothing_late(rapt_device_driver *drivers, size_t room, size_t *count,
                                rapt_error *error)
{
    (void)drivers;
    (void)room;
    (void)error;
    *count = 0;
    return RAPT_OK;
}

static int setup_far(void **state)
{
    rapt_late_opener = nothing_late;
    rapt_openers[1] = far_open;
    rapt_openers[2] = far_off;
    *state = open_context();
    return 0;
}

static int teardown_far(void **state)
{
    rapt_close(*state);
    rapt_openers[1] = rapt_openers[2] = NULL;
    rapt_late_opener = rapt_vulkan_open;
    return 0;
}

static void tensors_far_away(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(3, 4), 0, 1);
    rapt_tensor *far = rapt_to(*state, x, RAPT_F16, FAR, &error);
    if (!far)
        fail_msg("%s", error.message);
    rapt_tensor *turned = rapt_transpose(*state, far, 0, 1, &error);
    rapt_tensor *part = rapt_narrow(*state, turned, 0, 1, 2, &error);
    assert_float_equal(element(*state, part, 2), 9, 0); /* x[2][1] */
    rapt_tensor *column = ramp(*state, SHAPE(2, 1), 50, 1);
    must(rapt_copy_into(*state, part, column, &error), &error);
    const float expected[] = {0, 50, 51, 3, 4, 50, 51, 7, 8, 50, 51, 11};
    for (int i = 0; i < 12; i++)
        assert_float_equal(element(*state, far, i), expected[i], 0);
    must(rapt_fill(*state, part, 2, &error), &error);
    assert_float_equal(element(*state, far, 1), 2, 0);
    rapt_tensor *zeros = rapt_tensor_zeros(*state, RAPT_F32, FAR, SHAPE(40000), &error);
    assert_float_equal(element(*state, zeros, 39999), 0, 0);
    assert_null(rapt_tensor_zeros(*state, RAPT_F32, (rapt_device){RAPT_DEVICE_VULKAN, 1}, SHAPE(4),
                                  &error));
    expect_error(&error, RAPT_UNSUPPORTED, "device \"vulkan:1\" is off: unplugged");
    rapt_tensor_release(zeros);
    rapt_tensor_release(column);
    rapt_tensor_release(part);
    rapt_tensor_release(turned);
    rapt_tensor_release(far);
    rapt_tensor_release(x);
}

/* Random numbers go into any layout, by the device if it makes them, otherwise from here. */
static void random_numbers_far_away(void **state)
{
    rapt_error error = {0};
    rapt_device_driver *driver = rapt_devices_find(FAR, &error);
    for (int by_device = 0; by_device < 2; by_device++) {
        driver->fill = by_device ? far_fill : NULL;
        rapt_tensor *far = rapt_tensor_zeros(*state, RAPT_F32, FAR, SHAPE(3, 4), &error);
        rapt_tensor *turned = rapt_transpose(*state, far, 0, 1, &error);
        rapt_tensor *part = rapt_narrow(*state, turned, 0, 1, 2, &error);
        float drawn[14];
        rapt_philox_uniform(9, 0, 0, 14, drawn);
        rapt_seed(*state, 9);
        must(rapt_fill_uniform(*state, part, &error), &error);
        for (int i = 0; i < 6; i++)
            assert_float_equal(element(*state, part, i), drawn[i], 0);
        must(rapt_fill_uniform(*state, far, &error), &error); /* draws on */
        assert_float_equal(element(*state, far, 7), drawn[13], 0);
        rapt_tensor_release(part);
        rapt_tensor_release(turned);
        rapt_tensor_release(far);
    }
    driver->fill = NULL;
}

/* No kernel of another device runs, and nothing is moved for one. */
static void calls_far_away(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(2), 1, 1);
    must(rapt_set_requires_grad(x, true, &error), &error);
    rapt_tensor *far = rapt_to(*state, x, RAPT_F32, FAR, &error);
    const rapt_named_tensor mixed[] = {{"x", x}, {"y", far}}, both[] = {{"x", far}, {"y", far}};
    rapt_named_tensor out = {0};
    assert_int_not_equal(rapt_call_operator(*state, "t.mul", mixed, 2, NULL, 0, &out, 1, &error),
                         RAPT_OK);
    rapt_call_operator(*state, "t.mul", both, 2, NULL, 0, &out, 1, &error);
    expect_error(
        &error, RAPT_UNSUPPORTED,
        "t.mul: no kernel can run on vulkan:0 with f32: cpu is for cpu; the tensors are on "
        "vulkan:0");
    assert_null(out.tensor);
    /* Gradients come back from there. */
    rapt_tensor *back = rapt_to(*state, far, RAPT_F32, CPU, &error);
    rapt_tensor *o = call1(*state, "t.square", "x", back);
    rapt_tensor *seed = ramp(*state, SHAPE(2), 1, 0);
    must(rapt_backward(*state, o, seed, false, &error), &error);
    assert_float_equal(element(*state, rapt_grad(x), 1), 4, 0);
    /* A leaf there: its first gradient is taken as it is, the second needs core.add. */
    rapt_tensor *leaf = rapt_detach(far, &error);
    must(rapt_set_requires_grad(leaf, true, &error), &error);
    rapt_tensor *far_seed = rapt_to(*state, seed, RAPT_F32, FAR, &error);
    must(rapt_backward(*state, leaf, far_seed, false, &error), &error);
    assert_float_equal(element(*state, rapt_grad(leaf), 1), 1, 0);
    assert_int_equal(rapt_backward(*state, leaf, far_seed, false, &error), RAPT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "core.add: no kernel can run on vulkan:0"));
    assert_float_equal(element(*state, rapt_grad(leaf), 1), 1, 0);
    rapt_tensor *const all[] = {far_seed, leaf, seed, o, back, far, x};
    for (int i = 0; i < 7; i++)
        rapt_tensor_release(all[i]);
}

static void moving_without_memory(void **state)
{
    rapt_tensor *x = ramp(*state, SHAPE(3, 4), 0, 1);
    rapt_tensor *far = rapt_to(*state, x, RAPT_F32, FAR, NULL);
    rapt_tensor *turned = rapt_transpose(*state, far, 0, 1, NULL);
    FAULT_EACH(FAULT_MEMORY)
    {
        rapt_error error = {0};
        rapt_tensor *near = rapt_to(*state, turned, RAPT_F16, CPU, &error);
        rapt_tensor *again = near ? rapt_to(*state, near, RAPT_F32, FAR, &error) : NULL;
        if (!again || rapt_copy_into(*state, turned, near, &error) != RAPT_OK)
            fault_expect_error(&error);
        rapt_tensor_release(near);
        rapt_tensor_release(again);
    }
    rapt_tensor_release(turned);
    rapt_tensor_release(far);
    rapt_tensor_release(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tensors_far_away, setup_far, teardown_far),
        cmocka_unit_test_setup_teardown(random_numbers_far_away, setup_far, teardown_far),
        cmocka_unit_test_setup_teardown(calls_far_away, setup_far, teardown_far),
        cmocka_unit_test_setup_teardown(moving_without_memory, setup_far, teardown_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
