/*
 * Matrix products against plain loops in double: all flags, odd sizes, batches, special values, bad
 * arguments, tiles, and the same bits from any number of threads.
 */
#include "device/cpu/level.h"
#include "device/cpu/services.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint32_t seed = 1;

static uint32_t next_random(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

static float random_float(void)
{
    return (float)next_random() / (float)(1 << 23) - 1.0f;
}

static float *random_floats(int64_t n)
{
    float *x = malloc((size_t)(n > 0 ? n : 1) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = random_float();
    return x;
}

/* A product with its own memory, rows padded by `pad`, items by some more. */
typedef struct product {
    rapt_gemm g;
    float *a, *b, *c, *before;
    int64_t c_count;
} product;

static product make_product(int64_t m, int64_t n, int64_t k, int ta, int tb, int64_t batch, int pad,
                            float alpha, float beta)
{
    product p = {.g = {.size = sizeof(rapt_gemm)}};
    rapt_gemm *g = &p.g;
    const int64_t a_rows = ta ? k : m, b_rows = tb ? n : k;
    g->m = m, g->n = n, g->k = k;
    g->transpose_a = ta, g->transpose_b = tb;
    g->lda = (ta ? m : k) + pad;
    g->ldb = (tb ? k : n) + 2 * pad;
    g->ldc = n + 3 * pad;
    g->batch = batch;
    g->stride_a = a_rows * g->lda + pad;
    g->stride_b = b_rows * g->ldb + pad;
    g->stride_c = m * g->ldc + pad;
    g->alpha = alpha, g->beta = beta;
    p.c_count = g->stride_c * batch;
    p.a = random_floats(g->stride_a * batch);
    p.b = random_floats(g->stride_b * batch);
    p.c = random_floats(p.c_count);
    p.before = malloc((size_t)p.c_count * sizeof(float) + 1);
    assert_non_null(p.before);
    memcpy(p.before, p.c, (size_t)p.c_count * sizeof(float));
    g->a = p.a, g->b = p.b, g->c = p.c;
    return p;
}

static void free_product(product *p)
{
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->before);
}

static double exact_element(const product *p, int64_t item, int64_t i, int64_t j, double *size)
{
    const rapt_gemm *g = &p->g;
    const float *a = g->a + item * g->stride_a, *b = g->b + item * g->stride_b;
    const float before = p->before[item * g->stride_c + i * g->ldc + j];
    double sum = 0;
    *size = 0;
    for (int64_t q = 0; q < g->k; q++) {
        const double term = (double)(g->transpose_a ? a[q * g->lda + i] : a[i * g->lda + q]) *
                            (double)(g->transpose_b ? b[j * g->ldb + q] : b[q * g->ldb + j]);
        sum += term;
        *size += fabs(term);
    }
    *size *= fabs((double)g->alpha);
    sum *= (double)g->alpha;
    if (g->beta != 0.0f) {
        sum += (double)g->beta * (double)before;
        *size += fabs((double)g->beta * (double)before);
    }
    return sum;
}

/* Runs it; every element within rounding, nothing written between rows and items. */
static void check_product(product *p)
{
    const rapt_gemm *g = &p->g;
    rapt_error error = {0};
    if (rapt_gemm_run(g, &error) != RAPT_OK)
        fail_msg("%s", error.message);
    char *touched = calloc(1, (size_t)p->c_count + 1);
    assert_non_null(touched);
    for (int64_t item = 0; item < g->batch; item++)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                const int64_t at = item * g->stride_c + i * g->ldc + j;
                double size;
                const double exact = exact_element(p, item, i, j, &size);
                touched[at] = 1;
                if (!(fabs(exact - (double)g->c[at]) <= 1e-6 * size + 1e-30))
                    fail_msg(
                        "m %d n %d k %d ta %d tb %d alpha %g beta %g: [%d][%d,%d] is %g, not %g",
                        (int)g->m, (int)g->n, (int)g->k, g->transpose_a, g->transpose_b,
                        (double)g->alpha, (double)g->beta, (int)item, (int)i, (int)j,
                        (double)g->c[at], exact);
            }
    for (int64_t at = 0; at < p->c_count; at++)
        if (!touched[at] && memcmp(&p->before[at], &g->c[at], sizeof(float)) != 0)
            fail_msg("element %d between the rows of C was written", (int)at);
    free(touched);
}

static void test_all_flags(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 5, 8, 17, 33, 64, 65, 100};
    static const float scales[][2] = {{1, 0}, {1, 1}, {-0.5f, 0}, {2, 0.25f}, {0, 0.5f}, {0, 0}};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    for (int round = 0; round < 1600; round++) {
        const float *scale = scales[round % 6];
        product p =
            make_product(sizes[next_random() % SIZES], sizes[next_random() % SIZES],
                         sizes[next_random() % SIZES], round / 6 % 2, round / 12 % 2,
                         1 + next_random() % 3, (int)(next_random() % 4), scale[0], scale[1]);
        check_product(&p);
        free_product(&p);
    }
}

/* Sizes that are cut into several blocks, in each direction. */
static void test_blocks(void **state)
{
    (void)state;
    static const int64_t sizes[][4] = {{700, 300, 130, 1}, {130, 1100, 90, 1}, {300, 300, 300, 2},
                                       {1, 5000, 200, 1},  {5000, 1, 200, 1},  {70, 70, 70, 40},
                                       {16, 3000, 500, 1}, {1, 7, 300000, 1},  {33, 64, 64, 100}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int flags = 0; flags < 4; flags++) {
            product p = make_product(sizes[i][0], sizes[i][1], sizes[i][2], flags & 1, flags >> 1,
                                     sizes[i][3], 1, 1, (float)(flags & 1));
            check_product(&p);
            free_product(&p);
        }
}

static void test_repeated_operands(void **state)
{
    (void)state;
    for (int size = 10; size < 100; size += 80)
        for (int which = 0; which < 3; which++) {
            product p = make_product(size, size + 1, size + 2, 0, 0, 5, 0, 1, 0);
            if (which != 1)
                p.g.stride_a = 0;
            if (which != 0)
                p.g.stride_b = 0;
            check_product(&p);
            free_product(&p);
        }
}

static void test_empty(void **state)
{
    (void)state;
    static const float betas[] = {0, 1, 0.5f};
    for (int i = 0; i < 3; i++) { /* k = 0: C is scaled; A and B may be NULL */
        product p = make_product(7, 9, 0, i & 1, 0, 3, 1, 1, betas[i]);
        p.g.a = p.g.b = NULL;
        check_product(&p);
        free_product(&p);
    }
    for (int i = 0; i < 3; i++) {
        product p = make_product(i == 0 ? 0 : 4, i == 1 ? 0 : 5, 3, 0, 0, i == 2 ? 0 : 2, 0, 1, 0);
        p.g.c = NULL;
        assert_int_equal(rapt_gemm_run(&p.g, NULL), RAPT_OK);
        free_product(&p);
    }
}

/* With beta 0 nothing of what C held is left, whichever code runs. */
static void test_nan_in_c(void **state)
{
    (void)state;
    static const int sizes[][3] = {{5, 6, 7},      {80, 90, 70}, {1, 300, 9}, {300, 1, 9},
                                   {400, 400, 90}, {8, 8, 0},    {1, 1, 1},   {16, 16, 16}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int flags = 0; flags < 8; flags++) {
            product p = make_product(sizes[i][0], sizes[i][1], sizes[i][2], flags & 1,
                                     flags >> 1 & 1, 2, 0, flags & 4 ? 0 : 1, 0);
            for (int64_t at = 0; at < p.c_count; at++)
                p.c[at] = p.before[at] = at % 2 ? NAN : INFINITY;
            check_product(&p);
            free_product(&p);
        }
}

static void assert_refused(const rapt_gemm *g, rapt_status status, const char *word)
{
    rapt_error error = {0};
    assert_int_equal(rapt_gemm_run(g, &error), status);
    if (strstr(error.message, word) == NULL || strchr(error.message, '\n') != NULL)
        fail_msg("'%s' does not name %s", error.message, word);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    product p = make_product(4, 5, 6, 0, 0, 2, 0, 1, 0);
    const rapt_gemm good = p.g;
    p.g.m = -1;
    assert_refused(&p.g, RAPT_INVALID, "m -1");
    p.g = good;
    p.g.batch = -2;
    assert_refused(&p.g, RAPT_INVALID, "batch -2");
    p.g = good;
    p.g.lda = 5;
    assert_refused(&p.g, RAPT_INVALID, "lda is 5");
    p.g = good;
    p.g.ldb = 4;
    assert_refused(&p.g, RAPT_INVALID, "ldb is 4");
    p.g = good;
    p.g.ldc = 0;
    assert_refused(&p.g, RAPT_INVALID, "ldc is 0");
    p.g = good;
    p.g.stride_c = 0;
    assert_refused(&p.g, RAPT_INVALID, "stride_c");
    p.g = good;
    p.g.b = NULL;
    assert_refused(&p.g, RAPT_INVALID, "b is NULL");
    p.g = good;
    p.g.ldb = (int64_t)1 << 40;
    assert_refused(&p.g, RAPT_UNSUPPORTED, "ldb");
    assert_memory_equal(p.c, p.before, (size_t)p.c_count * sizeof(float));
    free_product(&p);
}

static void check_tile(int m, int n, int k, int lda, int ldb, int ldc, int accumulate, bool plain)
{
    float *a = random_floats((int64_t)m * lda), *b = random_floats((int64_t)k * ldb + 1);
    float *c = random_floats((int64_t)m * ldc), *before = malloc((size_t)m * (size_t)ldc * 4);
    const rapt_tile_shape shape = {m, n, k, lda, ldb, ldc, accumulate};
    assert_non_null(before);
    memcpy(before, c, (size_t)m * (size_t)ldc * 4);
    if (plain) {
        rapt_level_select()->tile(&shape, a, b, c);
    } else {
        const rapt_tile tile = rapt_gemm_table.tile(m, n, k, lda, ldb, ldc, accumulate);
        const rapt_tile again = rapt_gemm_table.tile(m, n, k, lda, ldb, ldc, accumulate);
        assert_true(tile.run != NULL && again.run == tile.run && again.plan == tile.plan);
        tile.run(a, b, c, tile.plan);
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < ldc; j++) {
            const int at = i * ldc + j;
            double sum = accumulate ? (double)before[at] : 0, size = fabs(sum);
            for (int q = 0; q < k && j < n; q++) {
                sum += (double)a[i * lda + q] * (double)b[q * ldb + j];
                size += fabs((double)a[i * lda + q] * (double)b[q * ldb + j]);
            }
            if (j >= n ? memcmp(&c[at], &before[at], 4) != 0
                       : !(fabs(sum - (double)c[at]) <= 1e-6 * size + 1e-30))
                fail_msg("tile m %d n %d k %d ld %d %d %d acc %d: [%d,%d] is %g, not %g", m, n, k,
                         lda, ldb, ldc, accumulate, i, j, (double)c[at], sum);
        }
    free(a);
    free(b);
    free(c);
    free(before);
}

static void test_tiles(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        const int m = 1 + (int)(next_random() % 70), n = 1 + (int)(next_random() % 70);
        const int k = (int)(next_random() % (round % 50 ? 70 : 700));
        const int lda = k + (int)(next_random() % 4), ldb = n + (int)(next_random() % 4);
        const int ldc = n + (int)(next_random() % 4), accumulate = (int)(next_random() % 2);
        check_tile(m, n, k, lda, ldb, ldc, accumulate, false);
        check_tile(m, n, k, lda, ldb, ldc, accumulate, true);
    }
}

static void *tile_thread(void *plans)
{
    const void **plan = plans;
    for (int i = 0; i < 400; i++)
        plan[i] = rapt_gemm_table.tile(1 + i % 20, 1 + i / 20, 5, 5, 300, 300, 0).plan;
    return NULL;
}

/* Asked from several threads at once, a shape has one plan. */
static void test_tiles_from_threads(void **state)
{
    (void)state;
    static const void *plans[4][400];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tile_thread, plans[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < 4; i++)
        assert_memory_equal(plans[i], plans[0], sizeof plans[0]);
}

/* A hash over the bits of many products; each process has its own number of threads. */
static int print_digest(void)
{
    static const int64_t sizes[][4] = {{512, 512, 512, 1}, {1000, 333, 77, 2}, {64, 64, 64, 64},
                                       {1, 4096, 512, 1},  {3000, 1, 513, 3},  {100, 100, 5000, 1}};
    uint64_t hash = 1469598103934665603u;
    seed = 7;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int flags = 0; flags < 4; flags++) {
            product p = make_product(sizes[i][0], sizes[i][1], sizes[i][2], flags & 1, flags >> 1,
                                     sizes[i][3], 0, 1, 0);
            if (rapt_gemm_run(&p.g, NULL) != RAPT_OK)
                return 1;
            for (int64_t at = 0; at < p.c_count; at++) {
                uint32_t bits;
                memcpy(&bits, &p.c[at], sizeof bits);
                hash = (hash ^ bits) * 1099511628211u;
            }
            free_product(&p);
        }
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}

static const char *own_path;

static void digest_with(int threads, char *line, int size)
{
    char command[512];
    snprintf(command, sizeof command, "RAPT_THREADS=%d '%s' digest", threads, own_path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, size, pipe));
    assert_int_equal(pclose(pipe), 0);
    assert_int_equal(strlen(line), 17);
}

static void test_bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    char first[64], other[64];
    digest_with(1, first, sizeof first);
    for (int threads = 2; threads < 8; threads += threads == 2 ? 1 : 4) {
        digest_with(threads, other, sizeof other);
        assert_string_equal(other, first);
    }
}

static void test_description(void **state)
{
    (void)state;
    char text[512];
    rapt_gemm_describe(text, sizeof text);
    print_message("%s\n", text);
    assert_non_null(strstr(text, "OpenBLAS 0."));
    assert_non_null(strstr(text, "SLEEF"));
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_flags),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_repeated_operands),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_nan_in_c),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_tiles_from_threads),
        cmocka_unit_test(test_bits_do_not_depend_on_threads),
        cmocka_unit_test(test_description),
    };
    rapt_error error = {0};
    if (rapt_cpu_detect(&error) != RAPT_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 77; /* this processor lacks the level: the test is skipped */
    }
    own_path = arguments[0];
    if (count > 1 && strcmp(arguments[1], "digest") == 0)
        return print_digest();
    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
