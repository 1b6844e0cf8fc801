/* Storage, tensors, views, names of dtypes and devices. */
#include "base/text.h"
#include "tensor/convert.h"
#include "tensor/tensor.h"
#include <pthread.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include <cmocka.h>

static rapt_error error;

/* The message holds all that was wrong: every word given here. */
static void assert_error(rapt_status status, const char *words)
{
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", words);
    assert_int_equal(error.status, status);
    for (const char *word; (word = strtok_r(rest, "|", &rest));)
        if (!strstr(error.message, word)) {
            print_error("'%s' lacks '%s'\n", error.message, word);
            fail();
        }
    error = (rapt_error){0};
}

static rapt_tensor *iota(int32_t ndim, const int64_t *shape)
{
    rapt_tensor *t = rapt_tensor_new(RAPT_I64, ndim, shape, false, &error);
    assert_non_null(t);
    int64_t *data = rapt_view_data(&t->view);
    for (int64_t i = 0; i < rapt_tensor_count(t); i++)
        data[i] = i;
    return t;
}

static int64_t at(const rapt_tensor *t, int64_t i, int64_t j, int64_t k)
{
    const int64_t index[3] = {i, j, k};
    int64_t offset = 0;
    for (int32_t d = 0; d < t->view.ndim; d++)
        offset += index[d] * t->strides[d];
    return ((int64_t *)rapt_view_data(&t->view))[offset];
}

static void assert_shape(const rapt_tensor *t, const char *expected)
{
    char text[RAPT_SHAPE_TEXT];
    assert_non_null(t);
    assert_string_equal(rapt_shape_text(text, t->view.ndim, t->shape), expected);
    assert_true(t->view.shape == t->shape && t->view.strides == t->strides);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < RAPT_DTYPE_COUNT; i++) {
        rapt_dtype dtype;
        const rapt_view view = {.dtype = rapt_dltype_of((rapt_dtype)i)};
        assert_int_equal(rapt_dtype_parse(rapt_dtype_name((rapt_dtype)i), &dtype, &error), RAPT_OK);
        assert_int_equal(dtype, i);
        assert_int_equal(rapt_view_dtype(&view), i);
        assert_int_equal(view.dtype.bits, 8 * rapt_dtype_size((rapt_dtype)i));
    }
    rapt_dtype dtype = RAPT_U8;
    assert_string_equal(rapt_dtype_name(RAPT_DTYPE_COUNT), "?");
    assert_string_equal(rapt_dtype_name((rapt_dtype)-1), "?");
    assert_int_equal(rapt_dltype_of(RAPT_DTYPE_COUNT).lanes, 0);
    assert_int_equal(rapt_dtype_parse("f31", &dtype, &error), RAPT_INVALID);
    assert_error(RAPT_INVALID, "'f31'|f32|bool");
    assert_int_equal(rapt_dtype_parse(NULL, &dtype, &error), RAPT_INVALID);
    assert_int_equal(dtype, RAPT_U8);
}

static void test_devices(void **state)
{
    (void)state;
    static const struct {
        const char *name, *canonical;
    } good[] = {{"cpu", "cpu"},
                {"vulkan", "vulkan:0"},
                {"vulkan:0", "vulkan:0"},
                {"vulkan:12", "vulkan:12"}};
    static const char *const bad[] = {
        "",        "gpu", "cpu:0", "vulkan:", "vulkan:-1", "vulkan:1x", "vulkan:99999999999999",
        "vulkanx", "vulk"};
    rapt_device device = {0, 0};
    char text[32];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(rapt_device_parse(good[i].name, &device, &error), RAPT_OK);
        rapt_device_name(device, text);
        assert_string_equal(text, good[i].canonical);
    }
    const rapt_device before = device;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(rapt_device_parse(bad[i], &device, &error), RAPT_INVALID);
        assert_error(RAPT_INVALID, "device is '|cpu|vulkan:N");
    }
    assert_int_equal(rapt_device_parse(NULL, &device, &error), RAPT_INVALID);
    assert_memory_equal(&device, &before, sizeof device);
    rapt_device_name((rapt_device){99, 3}, text);
    assert_string_equal(text, "type99:3");
}

static void test_shape_count(void **state)
{
    (void)state;
    const int64_t big[] = {INT64_C(1) << 31, INT64_C(1) << 31};
    const int64_t zero[] = {INT64_C(1) << 31, 0, 7};
    const int64_t zero_big[] = {INT64_C(1) << 31, 0, INT64_C(1) << 31, 4};
    const int64_t negative[] = {2, -1, 4};
    const int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    int64_t count = 77;
    assert_int_equal(rapt_shape_count(RAPT_F32, 0, NULL, &count, &error), RAPT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(rapt_shape_count(RAPT_U8, 2, big, &count, &error), RAPT_OK);
    assert_true(count == INT64_C(1) << 62);
    assert_int_equal(rapt_shape_count(RAPT_F32, 3, zero, &count, &error), RAPT_OK);
    assert_int_equal(count, 0);
    assert_int_equal(rapt_shape_count(RAPT_F16, 2, big, &count, &error), RAPT_INVALID);
    assert_error(RAPT_INVALID, "[2147483648,2147483648]|f16|63 bits");
    assert_int_equal(rapt_shape_count(RAPT_F32, 4, zero_big, &count, &error), RAPT_INVALID);
    assert_error(RAPT_INVALID, "63 bits");
    assert_int_equal(rapt_shape_count(RAPT_F32, 3, negative, &count, &error), RAPT_INVALID);
    assert_error(RAPT_INVALID, "[2,-1,4]|negative|dim 2");
    assert_int_equal(rapt_shape_count(RAPT_F32, 9, nine, &count, &error), RAPT_INVALID);
    assert_error(RAPT_INVALID, "0 to 8|9");
    assert_int_equal(rapt_shape_count(RAPT_F32, -1, nine, &count, &error), RAPT_INVALID);
    assert_int_equal(rapt_shape_count(RAPT_DTYPE_COUNT, 1, nine, &count, &error), RAPT_INVALID);
    assert_int_equal(count, 0);
}

static void test_storage(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 63, 64, 65, 4096, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        rapt_storage *s = rapt_storage_new(sizes[i], true, &error);
        assert_non_null(s);
        assert_int_equal((uintptr_t)s->data % 64, 0);
        const unsigned char *bytes = s->data;
        for (int64_t k = 0; k < (sizes[i] + 63) / 64 * 64; k++)
            assert_int_equal(bytes[k], 0);
        assert_int_equal(s->bytes, sizes[i]);
        rapt_storage_release(s);
    }
    assert_null(rapt_storage_new(-1, false, &error));
    assert_error(RAPT_INVALID, "-1");
    assert_null(rapt_storage_new(INT64_MAX, false, &error));
    assert_error(RAPT_NO_MEMORY, "9223372036854775807");
    assert_null(rapt_storage_new(INT64_MAX - 64, false, &error));
    assert_error(RAPT_NO_MEMORY, "out of memory");
    rapt_storage_release(NULL);
}

static int released;
static void count_release(rapt_storage *storage)
{
    assert_ptr_equal(storage->owner, &released);
    released++;
}

static void test_wrap(void **state)
{
    (void)state;
    const rapt_device device = {RAPT_DEVICE_VULKAN, 1};
    int handle;
    released = 0;
    rapt_storage *s =
        rapt_storage_wrap(device, &handle, 100, true, count_release, &released, &error);
    assert_non_null(s);
    rapt_storage_retain(s);
    rapt_storage_release(s);
    assert_int_equal(released, 0);
    const int64_t shape[] = {25};
    rapt_tensor *t = rapt_tensor_over(s, RAPT_F32, 1, shape, NULL, 0, &error);
    rapt_storage_release(s);
    assert_int_equal(t->view.device.type, RAPT_DEVICE_VULKAN);
    assert_ptr_equal(t->view.data, &handle);
    rapt_tensor_release(t);
    assert_int_equal(released, 1);
    fault_arm(FAULT_MEMORY, 1);
    s = rapt_storage_wrap(device, &handle, 100, true, count_release, &released, &error);
    fault_arm(0, 0);
    assert_null(s);
    assert_int_equal(released, 2);
    assert_error(RAPT_NO_MEMORY, "out of memory");
}

static void test_memory(void **state)
{
    (void)state;
    const rapt_memory before = rapt_memory_usage();
    rapt_memory_reset_peak();
    rapt_storage *a = rapt_storage_new(1000, false, &error);
    rapt_storage *b = rapt_storage_new(500, false, &error);
    assert_int_equal(rapt_memory_usage().current - before.current, 1500);
    rapt_storage_release(a);
    assert_int_equal(rapt_memory_usage().current - before.current, 500);
    assert_int_equal(rapt_memory_usage().peak - before.current, 1500);
    rapt_memory_count(100);
    rapt_memory_reset_peak();
    assert_int_equal(rapt_memory_usage().peak - before.current, 600);
    rapt_memory_count(-100);
    rapt_storage_release(b);
    assert_int_equal(rapt_memory_usage().current, before.current);
}

static void test_over(void **state)
{
    (void)state;
    rapt_storage *s = rapt_storage_new(64, true, &error);
    const int64_t shape[] = {4, 4}, strides[] = {4, 1}, wide[] = {5, 1}, back[] = {-4, 1};
    const int64_t huge[] = {INT64_MAX / 2, 1}, none[] = {0, 4};
    rapt_tensor *t = rapt_tensor_over(s, RAPT_F32, 2, shape, strides, 0, &error);
    assert_shape(t, "[4,4]");
    assert_true(rapt_tensor_is_contiguous(t));
    assert_int_equal(rapt_tensor_dtype(t), RAPT_F32);
    assert_ptr_equal(rapt_tensor_view(t), &t->view);
    rapt_tensor_release(t);
    assert_null(rapt_tensor_over(s, RAPT_F32, 2, shape, wide, 0, &error));
    assert_error(RAPT_INVALID, "[4,4]|[5,1]|64 bytes");
    assert_null(rapt_tensor_over(s, RAPT_F32, 2, shape, NULL, 4, &error));
    assert_error(RAPT_INVALID, "byte 4");
    assert_null(rapt_tensor_over(s, RAPT_F32, 2, shape, NULL, -4, &error));
    assert_error(RAPT_INVALID, "byte -4");
    assert_null(rapt_tensor_over(s, RAPT_F32, 2, shape, back, 0, &error));
    assert_error(RAPT_INVALID, "[-4,1]|negative|dim 1");
    assert_null(rapt_tensor_over(s, RAPT_F32, 2, shape, huge, 0, &error));
    assert_error(RAPT_INVALID, "outside");
    t = rapt_tensor_over(s, RAPT_F32, 2, none, huge, 64, &error);
    assert_shape(t, "[0,4]");
    assert_true(rapt_tensor_is_contiguous(t));
    rapt_tensor_release(t);
    rapt_storage_release(s);
}

static void test_scalar_and_empty(void **state)
{
    (void)state;
    rapt_tensor *t = rapt_tensor_new(RAPT_F64, 0, NULL, true, &error);
    assert_shape(t, "[]");
    assert_int_equal(rapt_tensor_count(t), 1);
    assert_true(rapt_tensor_is_contiguous(t) && rapt_view_inner_contiguous(&t->view));
    assert_null(rapt_view_select(t, 0, 0, &error));
    assert_error(RAPT_INVALID, "dim 1|[]|0 dimensions");
    bool possible;
    const int64_t ones[] = {1, 1}, open[] = {-1};
    rapt_tensor *v = rapt_view_reshape(t, 2, ones, &possible, &error);
    assert_shape(v, "[1,1]");
    rapt_tensor_release(v);
    v = rapt_view_reshape(t, 1, open, &possible, &error);
    assert_shape(v, "[1]");
    rapt_tensor_release(v);
    rapt_tensor_release(t);

    const int64_t shape[] = {3, 0, 2}, flat[] = {0}, open2[] = {0, -1}, open3[] = {6, -1};
    t = rapt_tensor_new(RAPT_F32, 3, shape, true, &error);
    assert_shape(t, "[3,0,2]");
    assert_int_equal(rapt_tensor_count(t), 0);
    v = rapt_view_select(t, 0, 2, &error);
    assert_shape(v, "[0,2]");
    rapt_tensor_release(v);
    v = rapt_view_narrow(t, 0, 3, 0, &error);
    assert_shape(v, "[0,0,2]");
    rapt_tensor_release(v);
    v = rapt_view_transpose(t, 0, 2, &error);
    assert_shape(v, "[2,0,3]");
    rapt_tensor_release(v);
    v = rapt_view_reshape(t, 1, flat, &possible, &error);
    assert_shape(v, "[0]");
    rapt_tensor_release(v);
    v = rapt_view_reshape(t, 2, open3, &possible, &error);
    assert_shape(v, "[6,0]");
    rapt_tensor_release(v);
    assert_null(rapt_view_reshape(t, 2, open2, &possible, &error));
    assert_error(RAPT_INVALID, "[0,-1]|-1|not determined");
    rapt_tensor_release(t);
    rapt_tensor_release(NULL);
    assert_null(rapt_tensor_retain(NULL));
}

static void test_select_narrow(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3, 4};
    rapt_tensor *t = iota(3, shape);
    rapt_tensor *v = rapt_view_select(t, 1, 2, &error);
    assert_shape(v, "[2,4]");
    assert_int_equal(at(v, 1, 3, 0), 12 + 8 + 3);
    rapt_tensor *w = rapt_view_select(v, -1, 1, &error);
    assert_shape(w, "[2]");
    assert_int_equal(at(w, 1, 0, 0), 12 + 8 + 1);
    rapt_tensor_release(t); /* views keep the storage alive */
    rapt_tensor_release(v);
    rapt_tensor *s = rapt_view_select(w, 0, 0, &error);
    assert_shape(s, "[]");
    assert_int_equal(at(s, 0, 0, 0), 9);
    rapt_tensor_release(s);
    rapt_tensor_release(w);

    t = iota(3, shape);
    v = rapt_view_narrow(t, -1, 1, 2, &error);
    assert_shape(v, "[2,3,2]");
    assert_int_equal(at(v, 1, 2, 1), 12 + 8 + 2);
    assert_false(rapt_tensor_is_contiguous(v));
    assert_true(rapt_view_inner_contiguous(&v->view));
    rapt_tensor_release(v);
    v = rapt_view_narrow(t, 2, 4, 0, &error);
    assert_shape(v, "[2,3,0]");
    rapt_tensor_release(v);

    assert_null(rapt_view_select(t, 3, 0, &error));
    assert_error(RAPT_INVALID, "select|dim 4|[2,3,4]|3 dimensions");
    assert_null(rapt_view_select(t, -4, 0, &error));
    assert_error(RAPT_INVALID, "select|dim -4");
    assert_null(rapt_view_select(t, INT32_MAX, 0, &error));
    assert_error(RAPT_INVALID, "dim 2147483648");
    assert_null(rapt_view_select(t, 1, 3, &error));
    assert_error(RAPT_INVALID, "position 4|dim 2|1 to 3|[2,3,4]");
    assert_null(rapt_view_select(t, 1, -1, &error));
    assert_error(RAPT_INVALID, "position 0");
    assert_null(rapt_view_select(t, 1, INT64_MAX, &error));
    assert_null(rapt_view_narrow(t, 2, 2, 3, &error));
    assert_error(RAPT_INVALID, "narrow|3 positions|position 3|dim 3|has 4|[2,3,4]");
    assert_null(rapt_view_narrow(t, 2, -1, 1, &error));
    assert_null(rapt_view_narrow(t, 2, 1, -1, &error));
    assert_null(rapt_view_narrow(t, 2, 1, INT64_MAX, &error));
    assert_null(rapt_view_narrow(t, 2, INT64_MAX, 1, &error));
    rapt_tensor_release(t);
}

static void test_permute(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3, 4};
    rapt_tensor *t = iota(3, shape);
    rapt_tensor *v = rapt_view_transpose(t, 0, -1, &error);
    assert_shape(v, "[4,3,2]");
    assert_int_equal(at(v, 3, 2, 1), at(t, 1, 2, 3));
    assert_false(rapt_view_inner_contiguous(&v->view));
    rapt_tensor_release(v);
    const int32_t order[] = {2, 0, -2}, twice[] = {0, 1, -3}, wrong[] = {0, 1, 3};
    v = rapt_view_permute(t, 3, order, &error);
    assert_shape(v, "[4,2,3]");
    assert_int_equal(at(v, 3, 1, 2), at(t, 1, 2, 3));
    rapt_tensor_release(v);
    assert_null(rapt_view_permute(t, 3, twice, &error));
    assert_error(RAPT_INVALID, "permute|dim 1 twice|[2,3,4]");
    assert_null(rapt_view_permute(t, 3, wrong, &error));
    assert_error(RAPT_INVALID, "permute|dim 4");
    assert_null(rapt_view_permute(t, 2, order, &error));
    assert_error(RAPT_INVALID, "order of 2|with 3");
    assert_null(rapt_view_transpose(t, 0, 3, &error));
    assert_error(RAPT_INVALID, "transpose|dim 4");
    assert_null(rapt_view_transpose(t, 3, 0, &error));
    rapt_tensor_release(t);
}

static void test_expand(void **state)
{
    (void)state;
    const int64_t shape[] = {3, 1}, to[] = {2, -1, 4}, bad[] = {2, 2, 4}, few[] = {3};
    const int64_t front[] = {-1, 3, 1}, none[] = {3, 0};
    const int64_t huge[] = {INT64_C(1) << 40, 3, INT64_C(1) << 30};
    rapt_tensor *t = iota(2, shape);
    rapt_tensor *v = rapt_view_expand(t, 3, to, &error);
    assert_shape(v, "[2,3,4]");
    assert_int_equal(v->strides[0], 0);
    assert_int_equal(v->strides[2], 0);
    assert_int_equal(at(v, 1, 2, 3), 2);
    assert_false(rapt_tensor_is_contiguous(v));
    rapt_tensor_release(v);
    v = rapt_view_expand(t, 2, none, &error);
    assert_shape(v, "[3,0]");
    rapt_tensor_release(v);
    assert_null(rapt_view_expand(t, 3, bad, &error));
    assert_error(RAPT_INVALID, "expand|[3,1]|[2,2,4]|dim 2 is 2|must be 3");
    assert_null(rapt_view_expand(t, 1, few, &error));
    assert_error(RAPT_INVALID, "expand|2 to 8 dimensions|not to 1");
    assert_null(rapt_view_expand(t, 3, front, &error));
    assert_error(RAPT_INVALID, "dim 1 is -1");
    assert_null(rapt_view_expand(t, 3, huge, &error));
    assert_error(RAPT_INVALID, "63 bits");
    assert_null(rapt_view_expand(t, 9, to, &error));
    rapt_tensor_release(t);
}

/* The view of the new shape, read in order, is the old one read in order. */
static void assert_same_order(const rapt_tensor *a, const rapt_tensor *b)
{
    const int64_t n = rapt_tensor_count(a);
    rapt_tensor *x = rapt_tensor_new(RAPT_I64, a->view.ndim, a->shape, false, &error);
    rapt_tensor *y = rapt_tensor_new(RAPT_I64, b->view.ndim, b->shape, false, &error);
    rapt_view_copy(&x->view, &a->view);
    rapt_view_copy(&y->view, &b->view);
    assert_int_equal(rapt_tensor_count(b), n);
    assert_memory_equal(x->view.data, y->view.data, (size_t)n * sizeof(int64_t));
    rapt_tensor_release(x);
    rapt_tensor_release(y);
}

static void test_reshape(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3, 4}, a[] = {6, -1}, b[] = {4, 3, 1, 2}, c[] = {24};
    const int64_t two[] = {-1, -1}, five[] = {5, -1}, big[] = {5, 5}, minus[] = {-2, 12};
    const int64_t split[] = {3, 2, 2, 2}, d[] = {3, 2, 4};
    bool possible;
    rapt_tensor *t = iota(3, shape);
    const struct {
        int32_t n;
        const int64_t *shape;
        const char *text;
    } cases[] = {{2, a, "[6,4]"}, {4, b, "[4,3,1,2]"}, {1, c, "[24]"}};
    for (size_t i = 0; i < 3; i++) {
        rapt_tensor *v = rapt_view_reshape(t, cases[i].n, cases[i].shape, &possible, &error);
        assert_shape(v, cases[i].text);
        assert_true(possible && rapt_tensor_is_contiguous(v));
        assert_same_order(t, v);
        rapt_tensor_release(v);
    }
    assert_null(rapt_view_reshape(t, 2, two, &possible, &error));
    assert_error(RAPT_INVALID, "reshape|one size of [-1,-1]");
    assert_null(rapt_view_reshape(t, 2, five, &possible, &error));
    assert_error(RAPT_INVALID, "[2,3,4]|24|[5,-1]");
    assert_null(rapt_view_reshape(t, 2, big, &possible, &error));
    assert_error(RAPT_INVALID, "[2,3,4]|24|[5,5]");
    assert_null(rapt_view_reshape(t, 2, minus, &possible, &error));
    assert_error(RAPT_INVALID, "[-2,12]|negative");
    assert_null(rapt_view_reshape(t, 9, b, &possible, &error));
    assert_error(RAPT_INVALID, "not 9");

    rapt_tensor *v = rapt_view_transpose(t, 0, 1, &error); /* 3 2 4, strides 4 12 1 */
    rapt_tensor *w = rapt_view_reshape(v, 4, split, &possible, &error);
    assert_shape(w, "[3,2,2,2]");
    assert_same_order(v, w);
    rapt_tensor_release(w);
    error.status = RAPT_OK;
    assert_null(rapt_view_reshape(v, 2, a, &possible, &error));
    assert_false(possible);
    assert_int_equal(error.status, RAPT_OK);
    w = rapt_view_reshape(v, 3, d, &possible, &error);
    assert_same_order(v, w);
    rapt_tensor_release(w);
    rapt_tensor_release(v);
    rapt_tensor_release(t);
}

/* Random views and shapes, against the copy: reshape is possible exactly if some strides fit. */
static void test_reshape_random(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    int made = 0, refused = 0;
    for (int round = 0; round < 3000; round++) {
        int64_t shape[4], to[4];
        const int64_t sizes[] = {1, 2, 2, 3};
        for (int i = 0; i < 4; i++) {
            seed = seed * 1664525u + 1013904223u;
            shape[i] = sizes[seed >> 30];
        }
        rapt_tensor *t = iota(4, shape);
        seed = seed * 1664525u + 1013904223u;
        rapt_tensor *v = rapt_view_transpose(t, (int32_t)(seed >> 30), 2, &error);
        /* Sizes of the view, cut anew: two neighbours merged, perhaps a 1 put in. */
        seed = seed * 1664525u + 1013904223u;
        const int32_t m = (int32_t)(seed >> 16) % 3;
        int32_t n = 0;
        for (int32_t i = 0; i < 4; i++) {
            if (i == m + 1)
                to[n - 1] *= v->shape[i];
            else
                to[n++] = v->shape[i];
        }
        if (seed & 1024)
            to[n++] = 1;
        bool possible;
        rapt_tensor *w = rapt_view_reshape(v, n, to, &possible, &error);
        const bool expected = v->shape[m] == 1 || v->shape[m + 1] == 1 ||
                              v->strides[m] == v->shape[m + 1] * v->strides[m + 1];
        assert_int_equal(possible, expected);
        assert_int_equal(w != NULL, expected);
        if (w)
            assert_same_order(v, w);
        made += w != NULL;
        refused += w == NULL;
        rapt_tensor_release(w);
        rapt_tensor_release(v);
        rapt_tensor_release(t);
    }
    assert_true(made > 500 && refused > 500);
}

static void test_faults(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3, 4}, flat[] = {24}, wide[] = {5, 2, 3, 4};
    const rapt_memory before = rapt_memory_usage();
    bool possible;
    FAULT_EACH(FAULT_MEMORY)
    {
        rapt_tensor *v[7] = {0};
        error = (rapt_error){0};
        v[0] = rapt_tensor_new(RAPT_F32, 3, shape, true, &error);
        if (v[0]) {
            v[1] = rapt_view_select(v[0], 0, 1, &error);
            v[2] = rapt_view_narrow(v[0], 0, 1, 1, &error);
            v[3] = rapt_view_transpose(v[0], 0, 1, &error);
            v[4] = rapt_view_expand(v[0], 4, wide, &error);
            v[5] = rapt_view_reshape(v[0], 1, flat, &possible, &error);
            v[6] = rapt_view_permute(v[0], 3, (const int32_t[]){2, 1, 0}, &error);
        }
        bool all = true;
        for (int i = 0; i < 7; i++) {
            all = all && v[i];
            rapt_tensor_release(v[i]);
        }
        if (!all) {
            fault_expect_error(&error);
            assert_int_equal(error.status, RAPT_NO_MEMORY);
        }
    }
    assert_int_equal(fault_rounds(), 10);
    assert_int_equal(rapt_memory_usage().current, before.current);
}

static int nodes_released;
static void release_node(void *node)
{
    assert_ptr_equal(node, &nodes_released);
    nodes_released++;
}

static void test_autograd_record(void **state)
{
    (void)state;
    const int64_t shape[] = {2};
    const rapt_memory before = rapt_memory_usage();
    rapt_tensor *t = rapt_tensor_new(RAPT_F32, 1, shape, true, &error);
    t->grad = rapt_tensor_new(RAPT_F32, 1, shape, true, &error);
    t->autograd = &nodes_released;
    t->autograd_release = release_node;
    nodes_released = 0;
    rapt_tensor *v = rapt_view_select(t, 0, 0, &error);
    assert_null(v->autograd);
    assert_null(v->grad);
    rapt_tensor_release(t);
    assert_int_equal(nodes_released, 1);
    rapt_tensor_release(v);
    assert_int_equal(rapt_memory_usage().current, before.current);
}

static void *churn(void *argument)
{
    rapt_tensor *shared = argument;
    const int64_t shape[] = {64};
    for (int i = 0; i < 2000; i++) {
        rapt_tensor_retain(shared);
        rapt_tensor *v = rapt_view_select(shared, 0, i % 3, NULL);
        rapt_tensor *t = rapt_tensor_new(RAPT_U8, 1, shape, false, NULL);
        rapt_tensor_release(v);
        rapt_tensor_release(shared);
        rapt_tensor_release(t);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    const int64_t shape[] = {3, 2};
    const rapt_memory before = rapt_memory_usage();
    rapt_memory_reset_peak();
    rapt_tensor *shared = iota(2, shape);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, shared), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&shared->references), 1);
    assert_int_equal(atomic_load(&shared->storage->references), 1);
    rapt_tensor_release(shared);
    assert_int_equal(rapt_memory_usage().current, before.current);
    assert_true(rapt_memory_usage().peak <= before.current + 48 + THREADS * 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_shape_count),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_over),
        cmocka_unit_test(test_scalar_and_empty),
        cmocka_unit_test(test_select_narrow),
        cmocka_unit_test(test_permute),
        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_reshape_random),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_autograd_record),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
