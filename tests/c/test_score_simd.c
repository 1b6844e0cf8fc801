/* The kit's vectors and small products, at every level that this processor has. */
#include <math.h>
#include <rapt/plugin.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAPT_LEVELS_BODY "score_simd.h"
#include "kit/levels.h"

enum { MOST = 4 };

/* The levels there are, the portable one first. */
static int levels(const simd_test **tests)
{
    int n = 0;
    tests[n++] = &level_test_portable;
#if defined(__x86_64__) && !defined(RAPT_LEVELS_WITHOUT_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        tests[n++] = &level_test_avx2;
#endif
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        tests[n++] = &level_test_avx512;
#elif defined(__aarch64__)
    tests[n++] = &level_test_neon;
#endif
    return n;
}

static double exact(int function, double x)
{
    switch (function) {
    case EXP:
        return exp(x);
    case EXP2:
        return exp2(x);
    case LOG:
        return log(x);
    case TANH:
        return tanh(x);
    case SIGMOID:
        return 1 / (1 + exp(-x));
    case SIGN:
        return (x > 0) - (x < 0);
    default:
        return nearbyint(x);
    }
}

static void functions(void **state)
{
    static const struct {
        double low, high, ulp;
    } want[] = {[EXP] = {-87.3, 88.7, 2}, [EXP2] = {-126, 127, 3},  [LOG] = {1e-6, 1e6, 2},
                [TANH] = {-10, 10, 3},    [SIGMOID] = {-80, 80, 3}, [SIGN] = {-1, 1, 0},
                [ROUND] = {-100, 100, 0}};
    enum { COUNT = 1 << 16 };
    const simd_test *tests[MOST];
    float *x = malloc(2 * COUNT * sizeof(float)), *y = x + COUNT;
    (void)state;
    assert_non_null(x);
    for (int t = 0, n = levels(tests); t < n; t++)
        for (int f = EXP; f <= ROUND; f++) {
            /* Half of the points near 0. */
            for (int i = 0; i < COUNT; i++) {
                const double at = want[f].low + (want[f].high - want[f].low) * i / (COUNT - 1);
                x[i] = (float)(i % 2 && f != LOG ? at / 64 : at);
            }
            tests[t]->apply(f, COUNT, x, y);
            for (int i = 0; i < COUNT; i++) {
                const double e = exact(f, x[i]);
                const float near = fabsf((float)e);
                const double ulp = (double)nextafterf(near, INFINITY) - near;
                if (!(fabs(y[i] - e) <= (want[f].ulp + 0.01) * ulp) && near >= FLT_MIN)
                    fail_msg("%d lanes, function %d at %a: %a, not %a", tests[t]->lanes, f, x[i],
                             y[i], e);
            }
        }
    free(x);
}

static void edges(void **state)
{
    const simd_test *tests[MOST];
    const float x[16] = {-INFINITY, INFINITY, NAN, 0.0f, -0.0f, -1e4f, -88.0f, -130.0f};
    float y[16];
    (void)state;
    for (int t = 0, n = levels(tests); t < n; t++) {
        tests[t]->apply(EXP, 16, x, y);
        assert_true(y[0] == 0 && y[1] == INFINITY && isnan(y[2]) && y[3] == 1 && y[4] == 1);
        assert_true(y[5] == 0 && y[6] == 0 && y[7] == 0);
        tests[t]->apply(EXP2, 16, x, y);
        assert_true(y[0] == 0 && isnan(y[2]) && y[3] == 1 && y[4] == 1 && y[5] == 0 && y[7] == 0);
        tests[t]->apply(LOG, 16, x, y);
        assert_true(isnan(y[0]) && y[1] == INFINITY && isnan(y[2]) && y[3] == -INFINITY);
        tests[t]->apply(TANH, 16, x, y);
        assert_true(y[0] == -1 && y[1] == 1 && isnan(y[2]) && y[3] == 0 && y[5] == -1);
        tests[t]->apply(SIGMOID, 16, x, y);
        assert_true(y[0] == 0 && y[1] == 1 && isnan(y[2]) && y[3] == 0.5f && y[5] == 0);
        tests[t]->apply(SIGN, 16, x, y);
        assert_true(y[0] == -1 && y[1] == 1 && y[2] == 0 && y[3] == 0 && y[4] == 0 && y[5] == -1);
    }
}

/* Rounded as the definition of the formats says; x any float. */
static float round_half(float x, int fraction, int least)
{
    if (isnan(x) || isinf(x) || x == 0)
        return x;
    int exponent;
    frexp(x, &exponent);
    exponent = (exponent < least ? least : exponent) - fraction - 1;
    return (float)ldexp(nearbyint(ldexp(x, -exponent)), exponent);
}

static void halves(void **state)
{
    enum { COUNT = 1 << 16 };
    const simd_test *tests[MOST];
    float *x = malloc(2 * COUNT * sizeof(float)), *y = x + COUNT;
    uint32_t bits = 1;
    (void)state;
    assert_non_null(x);
    for (int i = 0; i < COUNT; i++) {
        bits = bits * 1664525u + 1013904223u;
        memcpy(&x[i], &bits, sizeof(float));
        if (i % 2) /* most floats lie outside float16 */
            x[i] = ldexpf((float)(int32_t)bits, -31 - i / 2 % 30);
        if (i % 5 == 0 && !isnan(x[i])) /* ties */
            x[i] = round_half(x[i], 11, -13);
    }
    for (int t = 0, n = levels(tests); t < n; t++)
        for (int f = F16; f <= BF16; f++) {
            tests[t]->apply(f, COUNT, x, y);
            for (int i = 0; i < COUNT; i++) {
                float want = f == F16 ? round_half(x[i], 10, -13) : round_half(x[i], 7, -125);
                if (f == F16 && fabsf(want) > 65504)
                    want = copysignf(INFINITY, x[i]);
                if (isnan(want) ? !isnan(y[i]) : memcmp(&want, &y[i], sizeof(float)) != 0)
                    fail_msg("%d lanes: %a becomes %a, not %a", tests[t]->lanes, x[i], y[i], want);
            }
        }
    free(x);
}

static void across_lanes(void **state)
{
    const simd_test *tests[MOST];
    (void)state;
    for (int t = 0, n = levels(tests); t < n; t++) {
        const int lanes = tests[t]->lanes;
        float square[256], sums[48];
        for (int i = 0; i < lanes * lanes; i++)
            square[i] = (float)i;
        tests[t]->sum_rows(square, sums);
        for (int i = 0; i < lanes; i++) {
            const float want = (float)(i * lanes * lanes + lanes * (lanes - 1) / 2);
            assert_true(sums[i] == want && sums[lanes + i] == want);
            assert_true(sums[2 * lanes + i] == (float)(i * lanes + lanes - 1));
        }
        tests[t]->transpose(square);
        for (int i = 0; i < lanes; i++)
            for (int j = 0; j < lanes; j++)
                assert_true(square[i * lanes + j] == (float)(j * lanes + i));
    }
}

/* Partial loads and stores touch nothing beyond their count: exact-sized memory. */
static void parts(void **state)
{
    const simd_test *tests[MOST];
    (void)state;
    for (int t = 0, n = levels(tests); t < n; t++)
        for (int type = RAPT_F32; type <= RAPT_BF16; type++)
            for (int count = 0; count <= tests[t]->lanes; count++) {
                const size_t bytes = (size_t)count * rapt_dtype_size(type);
                unsigned char *x = malloc(bytes + 1), *y = malloc(bytes + 1);
                assert_true(x && y);
                for (size_t i = 0; i < bytes; i++)
                    x[i] = (unsigned char)(i % 2 ? 60 : i);
                y[bytes] = 77;
                tests[t]->copy_part(type, x, y, count);
                assert_memory_equal(x, y, bytes);
                assert_int_equal(y[bytes], 77);
                free(x);
                free(y);
            }
}

static void products(void **state)
{
    static const int64_t sizes[][3] = {{1, 16, 1},   {5, 16, 3},   {6, 64, 7},    {7, 80, 33},
                                       {64, 64, 64}, {13, 48, 40}, {3, 112, 129}, {4, 32, 0}};
    const simd_test *tests[MOST];
    static float a[64 * 130], b[130 * 112], c[64 * 112];
    (void)state;
    for (int i = 0; i < 64 * 130; i++)
        a[i] = (float)(i * 37 % 101 - 50);
    for (int i = 0; i < 130 * 112; i++)
        b[i] = (float)(i * 53 % 97 - 48);
    for (int t = 0, n = levels(tests); t < n; t++)
        for (int s = 0; s < 8; s++)
            for (int way = 0; way < 4; way++) {
                const int64_t m = sizes[s][0], w = sizes[s][1], k = sizes[s][2];
                const int64_t am = way & 1 ? 1 : k, ak = way & 1 ? m : 1;
                for (int64_t i = 0; i < m * w; i++)
                    c[i] = 5;
                tests[t]->multiply(m, w, k, a, am, ak, b, w, c, w, way >> 1);
                for (int64_t i = 0; i < m; i++)
                    for (int64_t j = 0; j < w; j++) {
                        double want = way >> 1 ? 5 : 0; /* whole numbers: exact */
                        for (int64_t p = 0; p < k; p++)
                            want += (double)a[i * am + p * ak] * b[p * w + j];
                        assert_true(c[i * w + j] == (float)want);
                    }
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions),    cmocka_unit_test(edges), cmocka_unit_test(halves),
        cmocka_unit_test(across_lanes), cmocka_unit_test(parts), cmocka_unit_test(products),
    };
    return cmocka_run_group_tests_name("score simd", tests, NULL, NULL);
}
