/* Random numbers made on the Vulkan device are the bits that the CPU makes. */
#include "vulkan_case.h"

#include "tensor/convert.h"
#include "tensor/random.h"
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

static rapt_dltype type_of(rapt_dtype dtype)
{
    static const rapt_dltype types[] = {{2, 32, 1}, {2, 16, 1}, {4, 16, 1}, {2, 64, 1},
                                        {0, 32, 1}, {0, 64, 1}, {1, 8, 1},  {6, 8, 1}};
    return types[dtype];
}

/* The elements as the CPU has them; numbers below 0 of an i64 have no double. */
static void make_here(rapt_dtype dtype, const rapt_random_fill *fill, int64_t n, unsigned char *out)
{
    const size_t size = rapt_dtype_size(dtype);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t at = fill->first + (uint64_t)i;
        unsigned char *element = out + (size_t)i * size;
        uint32_t high, low;
        float made;
        if (fill->kind != RAPT_FILL_INTEGERS) {
            (fill->kind == RAPT_FILL_NORMAL ? rapt_philox_normal
                                            : rapt_philox_uniform)(fill->seed, 0, at, 1, &made);
            rapt_element_set(element, dtype, (double)made);
            continue;
        }
        rapt_philox_bits(fill->seed, 0, at, 1, &high);
        rapt_philox_bits(fill->seed, 1, at, 1, &low);
        const uint64_t word = (uint64_t)high << 32 | low;
        const uint64_t more = fill->range ? (uint64_t)((wide)word * fill->range >> 64) : word;
        const int64_t value = (int64_t)((uint64_t)fill->low + more);
        if (dtype == RAPT_I64)
            memcpy(element, &value, sizeof value);
        else
            rapt_element_set(element, dtype, (double)value);
    }
}

/* n elements behind `skipped` others, which stay as they are, as do those behind. */
static void check(rapt_dtype dtype, rapt_random_fill fill, int64_t skipped, int64_t n)
{
    const size_t size = rapt_dtype_size(dtype), bytes = (size_t)(skipped + n + 9) * size;
    unsigned char *here = malloc(bytes), *there = malloc(bytes);
    int64_t stride = 1;
    memset(here, 0x5a, bytes);
    void *memory = vulkan_take((int64_t)bytes);
    vulkan_put(memory, 0, here, (int64_t)bytes);
    fill.table = rapt_normal_table();
    fill.table_bytes = RAPT_NORMAL_TABLE_BYTES;
    const rapt_view view = {memory,  {RAPT_DEVICE_VULKAN, 0}, 1, type_of(dtype), &n,
                            &stride, (uint64_t)skipped * size};
    if (vulkan_driver()->fill(vulkan_driver(), &view, &fill, &vulkan_error) != RAPT_OK)
        fail_msg("%s", vulkan_error.message);
    vulkan_get(memory, 0, there, (int64_t)bytes);
    make_here(dtype, &fill, n, here + (size_t)skipped * size);
    for (size_t i = 0; i < bytes; i += size)
        if (memcmp(here + i, there + i, size) != 0)
            fail_msg("dtype %d, kind %d, numbers from %llu, %lld elements behind %lld: element %zu "
                     "differs",
                     (int)dtype, (int)fill.kind, (unsigned long long)fill.first, (long long)n,
                     (long long)skipped, i / size);
    vulkan_give(memory, (int64_t)bytes);
    free(here);
    free(there);
}

static const rapt_dtype floats[] = {RAPT_F32, RAPT_F16, RAPT_BF16, RAPT_F64};

/* All of a table's rows come up among enough numbers but for the last octaves, one of which has
 * 2^-32 of all: test_random has those, on the CPU. */
static void floats_are_equal(void **unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++)
        for (int kind = RAPT_FILL_UNIFORM; kind <= RAPT_FILL_NORMAL; kind++) {
            const rapt_random_fill fill = {.kind = (rapt_fill_kind)kind, .seed = 77, .first = 5};
            check(floats[i], fill, 0, i == 0 ? 100003 : 1003);
            check(floats[i], fill, 3, 1);
            check(floats[i], fill, 66, 130);
        }
}

/* Numbers begin anywhere in a block, beyond 32 bits, and begin again behind 2^64 - 1. */
static void numbers_begin_anywhere(void **unused)
{
    (void)unused;
    static const uint64_t firsts[] = {1,
                                      2,
                                      3,
                                      ((uint64_t)1 << 32) - 6,
                                      ((uint64_t)1 << 34) - 7,
                                      ((uint64_t)1 << 62) + 9,
                                      UINT64_MAX - 20};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
        for (int64_t skipped = 0; skipped < 5; skipped++) {
            check(RAPT_F16,
                  (rapt_random_fill){
                      .kind = RAPT_FILL_NORMAL, .seed = UINT64_MAX - i, .first = firsts[i]},
                  skipped, 43);
            check(RAPT_I64,
                  (rapt_random_fill){
                      .kind = RAPT_FILL_INTEGERS, .first = firsts[i], .low = -9, .range = 1000},
                  skipped, 21);
        }
}

static void integers_are_equal(void **unused)
{
    (void)unused;
    static const struct {
        rapt_dtype dtype;
        int64_t low;
        uint64_t range;
    } cases[] = {{RAPT_I64, INT64_MIN, UINT64_MAX},
                 {RAPT_I64, INT64_MIN, 0},
                 {RAPT_I64, -5, ((uint64_t)1 << 63) + 12345},
                 {RAPT_I64, 7, 1},
                 {RAPT_I32, INT32_MIN, (uint64_t)1 << 32},
                 {RAPT_I32, -3, 7},
                 {RAPT_U8, 0, 256},
                 {RAPT_U8, 250, 6},
                 {RAPT_BOOL, 0, 2},
                 {RAPT_F32, -(1 << 24), (1 << 25) + 1},
                 {RAPT_F16, -2048, 4097},
                 {RAPT_BF16, -256, 513},
                 {RAPT_F64, -((int64_t)1 << 53), ((uint64_t)1 << 54) + 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const rapt_random_fill fill = {.kind = RAPT_FILL_INTEGERS,
                                       .seed = 1234567890123,
                                       .first = i,
                                       .low = cases[i].low,
                                       .range = cases[i].range};
        check(cases[i].dtype, fill, (int64_t)i % 5, 517);
    }
}

/* What no binding shows whole is filled in parts. */
static void fills_in_parts(void **unused)
{
    (void)unused;
    vulkan_give(vulkan_take(64), 64); /* it is open */
    uint64_t *most = &vulkan_device()->limits.buffer_bytes;
    const uint64_t was = *most;
    *most = 2048 + RAPT_NORMAL_TABLE_BYTES;
    const rapt_random_fill fill = {.kind = RAPT_FILL_NORMAL, .seed = 3, .first = 2};
    check(RAPT_F64, fill, 1, 4000);
    check(RAPT_BF16, fill, 7, 20001);
    check(RAPT_U8, (rapt_random_fill){.kind = RAPT_FILL_INTEGERS, .range = 200}, 3, 30001);
    *most = was;
}

static void nothing_is_filled(void **unused)
{
    (void)unused;
    check(RAPT_F32, (rapt_random_fill){.kind = RAPT_FILL_NORMAL}, 4, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_are_equal),   cmocka_unit_test(numbers_begin_anywhere),
        cmocka_unit_test(integers_are_equal), cmocka_unit_test(fills_in_parts),
        cmocka_unit_test(nothing_is_filled),
    };
    return cmocka_run_group_tests(tests, vulkan_setup, vulkan_teardown);
}
