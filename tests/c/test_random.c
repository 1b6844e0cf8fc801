/* Philox against the vectors of its authors; uniform and normal numbers against their
 * distributions. */
#include "tensor/random.h"
#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Known answers of Random123, philox4x32 with 10 rounds. */
static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t out[4];
        rapt_philox_block(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
    uint32_t words[5];
    rapt_philox_bits(0, 0, 0, 5, words);
    assert_memory_equal(words, cases[0].out, sizeof cases[0].out);
    /* Seed and stream stand in key and counter, low word first. */
    const uint64_t seed = UINT64_C(0x299f31d0a4093822), stream = UINT64_C(0x0370734413198a2e);
    const uint32_t counter[4] = {0x12345678, 0x01234567, 0x13198a2e, 0x03707344};
    uint32_t block[4];
    rapt_philox_block(counter, cases[2].key, block);
    rapt_philox_bits(seed, stream, UINT64_C(0x0123456712345678) * 4, 4, words);
    assert_memory_equal(words, block, sizeof block);
}

/* A value depends on its index alone, however the numbers are asked for; the index goes round. */
static void test_pieces(void **state)
{
    (void)state;
    enum { N = 5000 };
    static uint32_t whole[N], piece[N];
    static float number[N], normal[N], part[N];
    const uint64_t starts[] = {0, 3, (UINT64_C(1) << 34) - 1000, UINT64_MAX - 1001, UINT64_MAX - 3};
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        rapt_philox_bits(7, 9, starts[s], N, whole);
        rapt_philox_uniform(7, 9, starts[s], N, number);
        rapt_philox_normal(7, 9, starts[s], N, normal);
        for (int64_t i = 0, step = 1; i < N; i += step, step = step * 3 % 97 + 1) {
            const int64_t n = step < N - i ? step : N - i;
            rapt_philox_bits(7, 9, starts[s] + (uint64_t)i, n, piece);
            assert_memory_equal(piece, whole + i, (size_t)n * sizeof *whole);
            rapt_philox_uniform(7, 9, starts[s] + (uint64_t)i, n, part);
            assert_memory_equal(part, number + i, (size_t)n * sizeof *part);
            rapt_philox_normal(7, 9, starts[s] + (uint64_t)i, n, part);
            assert_memory_equal(part, normal + i, (size_t)n * sizeof *part);
        }
        for (int i = 0; i < N; i++) {
            assert_true(number[i] == (float)((double)(whole[i] >> 8) / 16777216.0));
            const uint32_t bits = rapt_normal_bits(whole[i]);
            assert_memory_equal(&bits, &normal[i], sizeof bits);
        }
    }
    rapt_philox_bits(7, 9, UINT64_MAX - 3, 8, piece);
    rapt_philox_bits(7, 9, 0, 4, whole);
    assert_memory_equal(piece + 4, whole, 4 * sizeof *whole);
    piece[0] = 77;
    rapt_philox_bits(7, 9, 0, 0, piece);
    rapt_philox_bits(7, 9, 0, -5, piece);
    assert_int_equal(piece[0], 77);
}

static float normal_of(uint32_t word)
{
    const uint32_t bits = rapt_normal_bits(word);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* |z - inverse(p)| to first order, from the distribution function of libm. */
static double normal_error(uint32_t u)
{
    const double p = (2.0 * u + 1) * 0x1p-33, z = (double)normal_of(u);
    const double tail = 0.5 * erfc(z / sqrt(2.0));
    return fabs(tail - p) * sqrt(2 * acos(-1.0)) * exp(z * z / 2);
}

static void check_normal(uint32_t u)
{
    const double error = normal_error(u), z = (double)normal_of(u);
    if (!(error < 3e-7) || !(error < 1e-5 * z || z < 0.03)) {
        print_error("word %u: normal %.9g is off by %g\n", u, z, error);
        fail();
    }
    assert_true((double)normal_of(u | 0x80000000) == -z);
}

static void test_normal_accuracy(void **state)
{
    (void)state;
    for (uint32_t u = 0; u < 200000; u++)
        check_normal(u);
    for (uint32_t u = 200000; u < 0x80000000u; u += 4093)
        check_normal(u);
    /* Both sides of every border between segments: no jump, and never upwards. */
    for (int octave = 0; octave < 28; octave++)
        for (int s = 0; s < 16; s++) {
            const uint32_t border = (uint32_t)((UINT64_C(16) + (uint64_t)s) << (27 - octave)) >> 1;
            if (border == 0 || border >= 0x7fffffffu)
                continue;
            check_normal(border);
            check_normal(border - 1);
            const double step = (double)normal_of(border - 1) - (double)normal_of(border);
            assert_true(step > -1e-6);
        }
    assert_true(normal_of(0) > 6.33f && normal_of(0) < 6.34f);
    assert_true(fabsf(normal_of(0x7fffffff)) < 1e-8f);
}

/* The size is an integer of 32 bits times 2^-29, rounded to nearest even: below 2^-5 it is exact,
 * above it has no more than 24 bits. */
static void test_normal_bits(void **state)
{
    (void)state;
    for (uint64_t w = 0; w < UINT64_C(1) << 31; w += 65521) {
        const double units = ldexp((double)normal_of((uint32_t)w), 29);
        assert_true(units >= 0 && units < 0x1p32 && units == floor(units));
    }
    /* Fixed for all machines: a change of any of these bits is a change of every seed's meaning. */
    static const uint32_t words[] = {0, 1, 2, 0x12345678, 0x7fffffff, 0x80000000, 0xdeadbeef};
    static const uint32_t bits[] = {0x40cad08d, 0x40c55364, 0x40c2b92d, 0x3fbbd932,
                                    0x31000000, 0xc0cad08d, 0xbeaa20b3};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        assert_int_equal(rapt_normal_bits(words[i]), bits[i]);
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Kolmogorov-Smirnov: the greatest distance between the empirical distribution and `cdf`, times the
 * root of n. Above 1.95 with probability 0.001. */
static double kolmogorov_smirnov(float *values, int n, double (*cdf)(double))
{
    double worst = 0;
    qsort(values, (size_t)n, sizeof *values, by_value);
    for (int i = 0; i < n; i++) {
        const double f = cdf((double)values[i]);
        worst = fmax(worst, fmax(f - (double)i / n, (double)(i + 1) / n - f));
    }
    return worst * sqrt(n);
}

static double uniform_cdf(double x)
{
    return x;
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

static void test_distributions(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    float *values = malloc(N * sizeof *values);
    assert_non_null(values);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        double sum[5] = {0};
        rapt_philox_normal(seed, 0, 0, N, values);
        for (int i = 0; i < N; i++) {
            double power = 1;
            for (int k = 1; k < 5; k++)
                sum[k] += power *= (double)values[i];
        }
        /* Five standard errors of each moment. */
        assert_true(fabs(sum[1] / N) < 5 / sqrt(N));
        assert_true(fabs(sum[2] / N - 1) < 5 * sqrt(2.0 / N));
        assert_true(fabs(sum[3] / N) < 5 * sqrt(15.0 / N));
        assert_true(fabs(sum[4] / N - 3) < 5 * sqrt(96.0 / N));
        assert_true(kolmogorov_smirnov(values, N, normal_cdf) < 1.95);
        rapt_philox_uniform(seed, 0, 0, N, values);
        for (int i = 0; i < N; i++)
            assert_true(values[i] >= 0 && values[i] < 1);
        assert_true(kolmogorov_smirnov(values, N, uniform_cdf) < 1.95);
    }
    free(values);
}

/* Seeds and streams give unrelated numbers: correlation within five standard errors. */
static void test_independence(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    static float a[N], b[N];
    rapt_philox_normal(1, 0, 0, N, a);
    for (int other = 0; other < 4; other++) {
        rapt_philox_normal(other < 2 ? 2 : 1, other < 2 ? 0 : 1, other % 2 ? 1 : 0, N, b);
        double sum = 0;
        for (int i = 0; i < N; i++)
            sum += (double)a[i] * (double)b[i];
        assert_true(fabs(sum / N) < 5 / sqrt(N));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),   cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_normal_accuracy), cmocka_unit_test(test_normal_bits),
        cmocka_unit_test(test_distributions),   cmocka_unit_test(test_independence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
