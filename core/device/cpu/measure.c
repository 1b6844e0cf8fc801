/* The machine's rates. */
#include "device/cpu/measure.h"
#include "base/error.h"
#include "device/cpu/blas.h"
#include "device/cpu/pool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7, COPY_PIECE = 1 << 20 };
#define COPY_BYTES ((int64_t)256 << 20) /* well beyond every cache */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *seconds)
{
    qsort(seconds, ROUNDS, sizeof *seconds, compare);
    return seconds[ROUNDS / 2];
}

static size_t rounded(int64_t bytes)
{
    return ((size_t)bytes + 63) / 64 * 64;
}

/* OpenBLAS's threads look for more work for some tens of milliseconds before they sleep; what is
 * measured next shall not share the cores with them. */
static void let_threads_sleep(void)
{
    const struct timespec pause = {.tv_nsec = 60 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

static double time_gemm(const rapt_blas *blas, int n, const float *a, const float *b, float *c)
{
    const double work = 2.0 * n * n * n;
    const int repeats = work < 2e8 ? (int)(2e8 / work) + 1 : 1;
    const double start = now();
    for (int i = 0; i < repeats; i++)
        blas->sgemm(BLAS_ROW_MAJOR, BLAS_NO_TRANS, BLAS_NO_TRANS, n, n, n, 1.0f, a, n, b, n, 0.0f,
                    c, n);
    return (now() - start) / repeats;
}

rapt_status rapt_cpu_measure_gemm(int64_t n, double *gflops, rapt_error *error)
{
    double seconds[ROUNDS];
    if (n < 1 || n > 32768)
        return rapt_fail(error, RAPT_INVALID, "measure_gemm: n is %lld: expected 1 to 32768",
                         (long long)n);
    const rapt_blas *blas = rapt_blas_load(error);
    if (blas == NULL)
        return RAPT_UNSUPPORTED;
    const int64_t count = n * n, bytes = 3 * count * (int64_t)sizeof(float);
    float *memory = aligned_alloc(64, rounded(bytes));
    if (memory == NULL)
        return rapt_fail_memory(error, (size_t)bytes, "measuring a matrix product");
    for (int64_t i = 0; i < 3 * count; i++)
        memory[i] = (float)(i * 7919 % 2003 - 1001) / 1001.0f;
    blas->set_num_threads(rapt_pool_workers());
    (void)time_gemm(blas, (int)n, memory, memory + count, memory + 2 * count);
    for (int i = 0; i < ROUNDS; i++)
        seconds[i] = time_gemm(blas, (int)n, memory, memory + count, memory + 2 * count);
    blas->set_num_threads(1);
    let_threads_sleep();
    free(memory);
    *gflops = 2e-9 * (double)n * (double)n * (double)n / median(seconds);
    return RAPT_OK;
}

static void copy_task(void *context, int64_t begin, int64_t end, int worker)
{
    char *memory = context;
    (void)worker;
    memcpy(memory + COPY_BYTES + begin, memory + begin, (size_t)(end - begin));
}

rapt_status rapt_cpu_measure_copy(double *gbytes, rapt_error *error)
{
    double seconds[ROUNDS];
    char *memory = aligned_alloc(64, rounded(2 * COPY_BYTES));
    if (memory == NULL)
        return rapt_fail_memory(error, (size_t)(2 * COPY_BYTES), "measuring a copy");
    memset(memory, 1, (size_t)(2 * COPY_BYTES)); /* pages that were never written are no memory */
    for (int i = 0; i < ROUNDS; i++) {
        const double start = now();
        rapt_pool_run(COPY_BYTES, COPY_PIECE, copy_task, memory);
        seconds[i] = now() - start;
    }
    free(memory);
    *gbytes = 2e-9 * (double)COPY_BYTES / median(seconds);
    return RAPT_OK;
}
