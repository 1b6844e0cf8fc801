/* Copies and conversions on the Vulkan device give the bits that the CPU gives. */
#include "vulkan_case.h"

#include "tensor/convert.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 7;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static rapt_dltype type_of(rapt_dtype dtype)
{
    static const rapt_dltype types[] = {{2, 32, 1}, {2, 16, 1}, {4, 16, 1}, {2, 64, 1},
                                        {0, 32, 1}, {0, 64, 1}, {1, 8, 1},  {6, 8, 1}};
    return types[dtype];
}

static bool is_nan(rapt_dtype dtype, const void *element)
{
    return dtype <= RAPT_F64 && isnan(rapt_element_get(element, dtype));
}

/* Copies on the device from `bytes` of source into a target full of `fill`, and the same here. */
static void check_copy(rapt_view target, rapt_view source, size_t target_bytes, size_t source_bytes,
                       const void *elements)
{
    const size_t size = rapt_dtype_size(rapt_view_dtype(&target));
    unsigned char *there = malloc(target_bytes), *here = malloc(target_bytes);
    memset(here, 0x55, target_bytes);
    void *to = vulkan_take((int64_t)target_bytes), *from = vulkan_take((int64_t)source_bytes);
    vulkan_put(to, 0, here, (int64_t)target_bytes);
    vulkan_put(from, 0, elements, (int64_t)source_bytes);
    target.data = to;
    source.data = from;
    if (vulkan_driver()->copy(vulkan_driver(), &target, &source, &vulkan_error) != RAPT_OK)
        fail_msg("%s", vulkan_error.message);
    vulkan_get(to, 0, there, (int64_t)target_bytes);
    target.data = here;
    source.data = (void *)(uintptr_t)elements;
    rapt_view_copy(&target, &source);
    for (size_t i = 0; i + size <= target_bytes; i += size)
        if (memcmp(here + i, there + i, size) != 0 &&
            !(is_nan(rapt_view_dtype(&target), here + i) &&
              is_nan(rapt_view_dtype(&target), there + i)))
            fail_msg("element %zu of dtype %d from %d: %llx on the device, %llx here", i / size,
                     (int)rapt_view_dtype(&target), (int)rapt_view_dtype(&source),
                     *(unsigned long long *)(void *)(there + i / 8 * 8),
                     *(unsigned long long *)(void *)(here + i / 8 * 8));
    vulkan_give(to, (int64_t)target_bytes);
    vulkan_give(from, (int64_t)source_bytes);
    free(there);
    free(here);
}

/* --- Conversions ----------------------------------------------------------------------------- */

enum { COUNT = 4096 };

/* Bit patterns of every kind: random ones, small integers, the neighbourhoods of limits. */
static void fill_elements(rapt_dtype dtype, unsigned char *elements)
{
    static const double special[] = {0.0,
                                     -0.0,
                                     1.0,
                                     -1.0,
                                     0.5,
                                     1.5,
                                     2.5,
                                     -2.5,
                                     254.5,
                                     255.0,
                                     256.0,
                                     65504.0,
                                     65519.0,
                                     65520.0,
                                     65536.0,
                                     2147483520,
                                     2147483647,
                                     2147483648,
                                     -2147483648,
                                     -2147483649.0,
                                     0x1p-14,
                                     0x1p-24,
                                     0x1p-25,
                                     0x1.8p-25,
                                     0x1p-126,
                                     0x1p-149,
                                     0x1p-150,
                                     0x1.8p-150,
                                     0x1p127,
                                     0x1.fffffep127,
                                     0x1.ffffffp127,
                                     0x1p128,
                                     0x1p62,
                                     0x1p63,
                                     -0x1p63,
                                     0x1p-1022,
                                     0x1p-1074,
                                     0x1.001p-14,
                                     0x1.002p0,
                                     0x1.00200001p0,
                                     0x1.01p0,
                                     0x1.03p0,
                                     0x1.0100001p0,
                                     INFINITY,
                                     -INFINITY,
                                     NAN};
    const size_t size = rapt_dtype_size(dtype);
    for (size_t i = 0; i < COUNT; i++) {
        unsigned char *element = elements + i * size;
        const uint64_t bits = next_random();
        const size_t n = sizeof special / sizeof *special;
        if (i < n) {
            rapt_element_set(element, dtype, special[i]);
        } else if (i < 4 * n) {
            rapt_element_set(element, dtype,
                             special[i % n] * (1.0 + ldexp((double)(bits & 15) - 8, -40)));
        } else if (i % 3 == 0) {
            rapt_element_set(element, dtype, (double)(int64_t)(bits >> (bits & 63)));
        } else if (i % 3 == 1) {
            rapt_element_set(element, dtype, ldexp((double)(int64_t)bits, (int)(bits % 350) - 230));
        } else if (dtype == RAPT_BOOL) {
            element[0] = bits & 1;
        } else {
            memcpy(element, &bits, size);
        }
    }
}

static void converts(void **unused)
{
    (void)unused;
    static unsigned char elements[8 * COUNT];
    int64_t shape[1] = {COUNT}, strides[1] = {1};
    for (int from = 0; from < RAPT_DTYPE_COUNT; from++) {
        fill_elements((rapt_dtype)from, elements);
        for (int to = 0; to < RAPT_DTYPE_COUNT; to++) {
            const rapt_view source = {.device = {RAPT_DEVICE_VULKAN, 0},
                                      .ndim = 1,
                                      .dtype = type_of((rapt_dtype)from),
                                      .shape = shape,
                                      .strides = strides};
            rapt_view target = source;
            target.dtype = type_of((rapt_dtype)to);
            check_copy(target, source, COUNT * rapt_dtype_size((rapt_dtype)to),
                       COUNT * rapt_dtype_size((rapt_dtype)from), elements);
        }
    }
}

/* --- Layouts --------------------------------------------------------------------------------- */

/* Random strides: the dimensions of a dense tensor in random order, some with gaps between, those
 * of a source sometimes expanded. Returns the number of elements that the memory spans. */
static int64_t random_layout(int32_t ndim, const int64_t *shape, bool expand, int64_t *strides)
{
    int order[8] = {0};
    int64_t run = 1;
    for (int i = 0; i < ndim; i++) {
        const int at = (int)(next_random() % (uint64_t)(i + 1));
        order[i] = order[at];
        order[at] = i;
    }
    const bool shuffled = next_random() % 3 != 0;
    for (int i = 0; i < ndim; i++) {
        const int d = shuffled ? order[i] : ndim - 1 - i;
        if (next_random() % 4 == 0)
            run += (int64_t)(next_random() % 3);
        strides[d] = expand && next_random() % 6 == 0 ? 0 : run;
        run *= strides[d] == 0 ? 1 : shape[d];
    }
    return run;
}

static void random_copy(void)
{
    static unsigned char elements[8 * COUNT * 4];
    int64_t shape[4], to_strides[4], from_strides[4];
    const int32_t ndim = (int32_t)(next_random() % 5);
    for (int32_t d = 0; d < ndim; d++)
        shape[d] = 1 + (int64_t)(next_random() % 7);
    const rapt_dtype to = (rapt_dtype)(next_random() % RAPT_DTYPE_COUNT);
    const rapt_dtype from = next_random() % 2 ? to : (rapt_dtype)(next_random() % RAPT_DTYPE_COUNT);
    const uint64_t to_first = next_random() % 40, from_first = next_random() % 40;
    const int64_t to_span = random_layout(ndim, shape, false, to_strides);
    const int64_t from_span = random_layout(ndim, shape, true, from_strides);
    const size_t to_size = rapt_dtype_size(to), from_size = rapt_dtype_size(from);
    const size_t source_bytes = ((size_t)from_span + from_first) * from_size + 64;
    assert_true(source_bytes <= sizeof elements);
    for (size_t i = 0; i < source_bytes; i++)
        elements[i] = (unsigned char)(from == RAPT_BOOL ? next_random() & 1 : next_random());
    const rapt_view target = {.device = {RAPT_DEVICE_VULKAN, 0},
                              .ndim = ndim,
                              .dtype = type_of(to),
                              .shape = shape,
                              .strides = to_strides,
                              .byte_offset = to_first * to_size};
    const rapt_view source = {.device = {RAPT_DEVICE_VULKAN, 0},
                              .ndim = ndim,
                              .dtype = type_of(from),
                              .shape = shape,
                              .strides = from_strides,
                              .byte_offset = from_first * from_size};
    check_copy(target, source, ((size_t)to_span + to_first) * to_size + 64, source_bytes, elements);
}

static void copies_layouts(void **unused)
{
    (void)unused;
    for (int i = 0; i < 400; i++)
        random_copy();
}

/* A device whose buffers show little: copies are made in parts. */
static void copies_in_parts(void **unused)
{
    (void)unused;
    rapt_vk_device *device = vulkan_device();
    const uint64_t was = device->limits.buffer_bytes;
    device->limits.buffer_bytes = 1024;
    for (int i = 0; i < 200; i++)
        random_copy();
    device->limits.buffer_bytes = was;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converts),
        cmocka_unit_test(copies_layouts),
        cmocka_unit_test(copies_in_parts),
    };
    return cmocka_run_group_tests(tests, vulkan_setup, vulkan_teardown);
}
