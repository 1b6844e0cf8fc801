/* Elementwise functions: accuracy against double, special values, tails, storage formats. */
#include "device/cpu/level.h"
#include "device/cpu/services.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef void (*map_fn)(int64_t n, const float *x, float *y);

static double exact_sigmoid(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

typedef struct function {
    const char *name;
    size_t offset;
    double (*exact)(double);
    double ulps; /* promised in rapt/plugin.h */
} function;

static const function functions[] = {
    {"exp", offsetof(rapt_math_service, exp), exp, 1.0},
    {"log", offsetof(rapt_math_service, log), log, 1.0},
    {"tanh", offsetof(rapt_math_service, tanh), tanh, 2.0},
    {"sigmoid", offsetof(rapt_math_service, sigmoid), exact_sigmoid, 2.0},
    {"erf", offsetof(rapt_math_service, erf), erf, 2.0},
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0], BLOCK = 1 << 16 };

static const rapt_math_service *math;

static map_fn map_of(const function *f)
{
    map_fn map;
    memcpy(&map, (const char *)math + f->offset, sizeof map);
    return map;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Distance of y from `exact` in units of the last place of the float nearest to `exact`. */
static double ulps_between(float y, double exact)
{
    const double limit = 0x1.ffffffp+127; /* rounds to infinity from here on */
    if (isnan(exact) || isnan(y))
        return isnan(exact) && isnan(y) ? 0 : INFINITY;
    if (fabs(exact) >= limit || isinf(y))
        return (fabs(exact) >= 0x1.fffffep+127 && isinf(y) && (y > 0) == (exact > 0)) ? 0
                                                                                      : INFINITY;
    int exponent;
    (void)frexp(exact, &exponent);
    exponent = exact == 0 || exponent < -125 ? -125 : exponent;
    return fabs((double)y - exact) / ldexp(1.0, exponent - 24);
}

/* Every `stride`-th float of all signs and sizes. */
static void test_accuracy(void **state)
{
    (void)state;
    const uint32_t stride = 509;
    float *x = malloc(BLOCK * sizeof *x), *y = malloc(BLOCK * sizeof *y);
    assert_non_null(x);
    assert_non_null(y);
    for (size_t i = 0; i < FUNCTIONS; i++) {
        const function *f = &functions[i];
        double worst = 0;
        float worst_at = 0;
        for (uint64_t start = 0; start <= UINT32_MAX; start += (uint64_t)stride * BLOCK) {
            for (uint32_t j = 0; j < BLOCK; j++)
                x[j] = float_of((uint32_t)(start + (uint64_t)j * stride));
            map_of(f)(BLOCK, x, y);
            for (uint32_t j = 0; j < BLOCK; j++) {
                const double error = ulps_between(y[j], f->exact(x[j]));
                if (error > worst) {
                    worst = error;
                    worst_at = x[j];
                }
            }
        }
        print_message("%s: at most %.3f ulp, at %a\n", f->name, worst, (double)worst_at);
        if (!(worst <= f->ulps))
            fail_msg("%s: %.3f ulp at %a", f->name, worst, (double)worst_at);
    }
    free(x);
    free(y);
}

static float one(const char *name, float x)
{
    float y = NAN;
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (strcmp(functions[i].name, name) == 0)
            map_of (&functions[i])(1, &x, &y);
    return y;
}

static void assert_bits(float got, float expected)
{
    if (bits_of(got) != bits_of(expected))
        fail_msg("%a instead of %a", (double)got, (double)expected);
}

static void test_special_values(void **state)
{
    (void)state;
    static const char *const odd[] = {"tanh", "erf"};
    for (size_t i = 0; i < FUNCTIONS; i++)
        assert_true(isnan(one(functions[i].name, NAN)));
    assert_bits(one("exp", 0.0f), 1.0f);
    assert_bits(one("exp", -0.0f), 1.0f);
    assert_bits(one("exp", INFINITY), INFINITY);
    assert_bits(one("exp", -INFINITY), 0.0f);
    assert_bits(one("exp", 1e4f), INFINITY);
    assert_bits(one("exp", -1e4f), 0.0f);
    assert_bits(one("exp", 1e-42f), 1.0f);
    assert_bits(one("log", 0.0f), -INFINITY);
    assert_bits(one("log", -0.0f), -INFINITY);
    assert_bits(one("log", INFINITY), INFINITY);
    assert_bits(one("log", 1.0f), 0.0f);
    assert_true(isnan(one("log", -1.0f)) && isnan(one("log", -INFINITY)));
    assert_true(fabsf(one("log", 1e-42f) - (float)log((double)1e-42f)) < 1e-4f);
    assert_bits(one("sigmoid", 0.0f), 0.5f);
    assert_bits(one("sigmoid", -0.0f), 0.5f);
    assert_bits(one("sigmoid", INFINITY), 1.0f);
    assert_bits(one("sigmoid", -INFINITY), 0.0f);
    assert_bits(one("sigmoid", 1e4f), 1.0f);
    assert_bits(one("sigmoid", -1e4f), 0.0f);
    for (size_t i = 0; i < 2; i++) {
        assert_bits(one(odd[i], 0.0f), 0.0f);
        assert_bits(one(odd[i], -0.0f), -0.0f);
        assert_bits(one(odd[i], INFINITY), 1.0f);
        assert_bits(one(odd[i], -INFINITY), -1.0f);
        assert_bits(one(odd[i], 1e4f), 1.0f);
        assert_bits(one(odd[i], -1e4f), -1.0f);
    }
}

/* An element's result depends neither on its place nor on its neighbours; nothing beyond the ends
 * is touched; in place is the same. */
static void test_tails(void **state)
{
    (void)state;
    enum { MOST = 70 };
    float whole[MOST], input[MOST];
    for (size_t i = 0; i < FUNCTIONS; i++) {
        const map_fn map = map_of(&functions[i]);
        for (int j = 0; j < MOST; j++)
            input[j] = (float)(j % 2 ? j - 1 : -j) * 0.37f + 0.01f;
        map(MOST, input, whole);
        for (int start = 0; start < 18; start++)
            for (int n = 0; n <= MOST - start; n++) {
                float *x = malloc((size_t)n * sizeof *x + 1); /* exact size: for the sanitizer */
                float y[MOST + 2];
                assert_non_null(x);
                memcpy(x, input + start, (size_t)n * sizeof *x);
                y[0] = y[n + 1] = 42;
                map(n, x, y + 1);
                map(n, x, x);
                assert_memory_equal(x, y + 1, (size_t)n * sizeof *x);
                assert_true(y[0] == 42 && y[n + 1] == 42);
                for (int j = 0; j < n; j++)
                    if (bits_of(x[j]) != bits_of(whole[start + j]) && !isnan(x[j]))
                        fail_msg("%s: start %d, n %d, element %d", functions[i].name, start, n, j);
                free(x);
            }
        map(-1, input, whole);
    }
}

/* The definition of binary16, value by value. */
static double value_of_f16(uint16_t half)
{
    const int exponent = half >> 10 & 31, fraction = half & 0x3ff;
    const double sign = half & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

static void test_load(void **state)
{
    (void)state;
    uint16_t *half = malloc(65536 * sizeof *half);
    float *value = malloc(65536 * sizeof *value);
    assert_non_null(half);
    assert_non_null(value);
    for (int i = 0; i < 65536; i++)
        half[i] = (uint16_t)i;
    math->load(65536, RAPT_F16, half, value);
    for (int i = 0; i < 65536; i++) {
        const double expected = value_of_f16((uint16_t)i);
        if (isnan(expected) ? !isnan(value[i]) : bits_of(value[i]) != bits_of((float)expected))
            fail_msg("f16 0x%04x is %a", (unsigned)i, (double)value[i]);
    }
    math->load(65536, RAPT_BF16, half, value);
    for (uint32_t i = 0; i < 65536; i++)
        assert_int_equal(bits_of(value[i]), i << 16);
    free(half);
    free(value);
}

/* Rounding to nearest even by search: the neighbours of x among all finite halves. */
static uint16_t nearest_f16(float x)
{
    if (isnan(x))
        return (uint16_t)((bits_of(x) >> 16 & 0x8000) | 0x7e00 | (bits_of(x) >> 13 & 0x3ff));
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    const double size = fabs((double)x);
    uint16_t low = 0, high = 0x7c00; /* value(low) <= size < value(high) */
    if (size >= 65520)
        return sign | 0x7c00;
    while (high - low > 1) {
        const uint16_t middle = (uint16_t)((low + high) / 2);
        if (value_of_f16(middle) <= size)
            low = middle;
        else
            high = middle;
    }
    const double top = high == 0x7c00 ? 65536 : value_of_f16(high);
    const double below = size - value_of_f16(low), above = top - size;
    return sign | (below < above || (below == above && !(low & 1)) ? low : high);
}

static uint16_t nearest_bf16(float x)
{
    const uint32_t bits = bits_of(x), low = bits & 0xffff;
    uint32_t half = bits >> 16;
    if (isnan(x))
        return (uint16_t)(half | 0x40);
    if (low > 0x8000 || (low == 0x8000 && half & 1))
        half++;
    return (uint16_t)half;
}

static void test_store(void **state)
{
    (void)state;
    enum { COUNT = 1 << 20 };
    float *x = malloc(COUNT * sizeof *x);
    uint16_t *y = malloc(COUNT * sizeof *y);
    uint32_t seed = 12345;
    assert_non_null(x);
    assert_non_null(y);
    for (int i = 0; i < COUNT; i++) { /* all bit patterns; ties and borders of halves among them */
        seed = seed * 1664525 + 1013904223;
        uint32_t bits = seed ^ seed >> 15;
        if (i % 4 == 1)
            bits = (bits & 0xffffe000) | 0x1000;
        else if (i % 4 == 2)
            bits = (bits & 0xffff0000) | 0x8000;
        else if (i % 4 == 3)
            bits = (bits & 0x8fffffff) | 0x30000000; /* about the range of halves */
        x[i] = float_of(bits);
    }
    math->store(COUNT, RAPT_F16, x, y);
    for (int i = 0; i < COUNT; i++)
        if (y[i] != nearest_f16(x[i]))
            fail_msg("f16 of %a is 0x%04x", (double)x[i], (unsigned)y[i]);
    math->store(COUNT, RAPT_BF16, x, y);
    for (int i = 0; i < COUNT; i++)
        if (y[i] != nearest_bf16(x[i]))
            fail_msg("bf16 of %a is 0x%04x", (double)x[i], (unsigned)y[i]);
    for (int n = 0; n < 40; n++) { /* tails give what the vectors give */
        uint16_t part[41] = {0};
        part[n] = 0xabcd;
        math->store(n, RAPT_F16, x, part);
        assert_int_equal(part[n], 0xabcd);
        for (int i = 0; i < n; i++)
            assert_int_equal(part[i], nearest_f16(x[i]));
    }
    free(x);
    free(y);
}

static void test_float_is_copied(void **state)
{
    (void)state;
    const float x[3] = {1, -0.0f, 3};
    float y[3] = {0}, z[3] = {0};
    math->load(3, RAPT_F32, x, y);
    math->store(3, RAPT_F32, y, z);
    assert_memory_equal(x, z, sizeof x);
    math->store(0, RAPT_F32, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy), cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_tails),    cmocka_unit_test(test_load),
        cmocka_unit_test(test_store),    cmocka_unit_test(test_float_is_copied),
    };
    rapt_error error = {0};
    if (rapt_cpu_detect(&error) != RAPT_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 77; /* this processor lacks the level: the test is skipped */
    }
    math = rapt_math_select();
    return cmocka_run_group_tests_name("math", tests, NULL, NULL);
}
