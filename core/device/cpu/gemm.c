/*
 * Matrix products.
 *
 * A call is cut into blocks whose borders depend on the sizes alone; each block is one
 * single-threaded product, and the pool hands the blocks out. So the bits of a result do not depend
 * on the number of threads. Small untransposed products are JIT code; products with a vector are
 * gemv; everything else is sgemm.
 */
#include "base/checked.h"
#include "base/error.h"
#include "device/cpu/blas.h"
#include "device/cpu/pool.h"
#include "device/cpu/services.h"
#include "device/cpu/tile.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum {
    SMALL = 64,               /* greatest m, n, k of a JIT product */
    BLOCKS_WANTED = 32,       /* a large product is cut into about so many */
    LEAST_BLOCK = 8 << 20,    /* operations worth a block of their own */
    LEAST_PIECE = 1 << 20,    /* operations worth handing to a thread */
    VECTOR_BLOCK = 256 << 10, /* elements of the matrix in a block of a gemv */
    SCALE_PIECE = 32 << 10    /* elements of C scaled in one piece */
};

typedef struct job {
    rapt_gemm g;
    const rapt_blas *blas;
    rapt_tile tile;
    int64_t rows, columns;          /* of a block */
    int64_t row_blocks, col_blocks; /* in one product */
} job;

static rapt_status check_stored(const char *name, int64_t columns, int64_t ld, rapt_error *error)
{
    if (ld < columns)
        return rapt_fail(error, RAPT_INVALID,
                         "gemm: ld%s is %lld but stored rows of %s have %lld elements", name,
                         (long long)ld, name, (long long)columns);
    return RAPT_OK;
}

static rapt_status check(const rapt_gemm *g, rapt_error *error)
{
    if (g->m < 0 || g->n < 0 || g->k < 0 || g->batch < 0)
        return rapt_fail(error, RAPT_INVALID,
                         "gemm: sizes must not be negative: m %lld, n %lld, k %lld, batch %lld",
                         (long long)g->m, (long long)g->n, (long long)g->k, (long long)g->batch);
    if (g->m > INT_MAX || g->n > INT_MAX || g->k > INT_MAX || g->lda > INT_MAX ||
        g->ldb > INT_MAX || g->ldc > INT_MAX)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "gemm: sizes and leading dimensions may be at most %d: m %lld, n %lld, k "
                         "%lld, lda %lld, ldb %lld, ldc %lld",
                         INT_MAX, (long long)g->m, (long long)g->n, (long long)g->k,
                         (long long)g->lda, (long long)g->ldb, (long long)g->ldc);
    rapt_status status = check_stored("a", g->transpose_a ? g->m : g->k, g->lda, error);
    if (status == RAPT_OK)
        status = check_stored("b", g->transpose_b ? g->k : g->n, g->ldb, error);
    if (status == RAPT_OK)
        status = check_stored("c", g->n, g->ldc, error);
    if (status != RAPT_OK)
        return status;
    if (g->batch > 1 && g->m > 0 && g->n > 0 && g->stride_c == 0)
        return rapt_fail(error, RAPT_INVALID,
                         "gemm: %lld products would share one C: stride_c is 0",
                         (long long)g->batch);
    if (g->batch > 0 && g->m > 0 && g->n > 0 &&
        (g->c == NULL || (g->k > 0 && g->alpha != 0.0f && (g->a == NULL || g->b == NULL))))
        return rapt_fail(error, RAPT_INVALID, "gemm: %s is NULL",
                         g->c == NULL ? "c" : (g->a == NULL ? "a" : "b"));
    return RAPT_OK;
}

/* Zero is set, not multiplied: what C held, NaN included, is gone then. */
static void scale_rows(float *c, int64_t rows, int64_t columns, int64_t ldc, float beta)
{
    if (beta == 1.0f)
        return;
    for (int64_t i = 0; i < rows; i++, c += ldc) {
        if (beta == 0.0f)
            memset(c, 0, (size_t)columns * sizeof *c);
        else
            for (int64_t j = 0; j < columns; j++)
                c[j] *= beta;
    }
}

static void scale_task(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_gemm *g = &((const job *)context)->g;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        scale_rows(g->c + i / g->m * g->stride_c + i % g->m * g->ldc, 1, g->n, g->ldc, g->beta);
}

/* The columns of the stored matrix that rows i.. of op(A) stand in, and so on. */
static const float *a_at(const rapt_gemm *g, int64_t item, int64_t i)
{
    return g->a + item * g->stride_a + (g->transpose_a ? i : i * g->lda);
}

static const float *b_at(const rapt_gemm *g, int64_t item, int64_t j)
{
    return g->b + item * g->stride_b + (g->transpose_b ? j * g->ldb : j);
}

static void tile_task(void *context, int64_t begin, int64_t end, int worker)
{
    const job *w = context;
    const rapt_gemm *g = &w->g;
    (void)worker;
    for (int64_t item = begin; item < end; item++)
        w->tile.run(g->a + item * g->stride_a, g->b + item * g->stride_b, g->c + item * g->stride_c,
                    w->tile.plan);
}

static void block_task(void *context, int64_t begin, int64_t end, int worker)
{
    const job *w = context;
    const rapt_gemm *g = &w->g;
    const int64_t blocks = w->row_blocks * w->col_blocks;
    (void)worker;
    for (int64_t index = begin; index < end; index++) {
        const int64_t item = index / blocks;
        const int64_t i = index % blocks / w->col_blocks * w->rows;
        const int64_t j = index % w->col_blocks * w->columns;
        const int64_t rows = g->m - i < w->rows ? g->m - i : w->rows;
        const int64_t columns = g->n - j < w->columns ? g->n - j : w->columns;
        w->blas->sgemm(BLAS_ROW_MAJOR, g->transpose_a ? BLAS_TRANS : BLAS_NO_TRANS,
                       g->transpose_b ? BLAS_TRANS : BLAS_NO_TRANS, (int)rows, (int)columns,
                       (int)g->k, g->alpha, a_at(g, item, i), (int)g->lda, b_at(g, item, j),
                       (int)g->ldb, g->beta, g->c + item * g->stride_c + i * g->ldc + j,
                       (int)g->ldc);
    }
}

/* n = 1: C = op(A) b, `rows` of C at a time. C is scaled here because gemv's own scaling by zero
 * keeps NaNs in some versions. */
static void column_task(void *context, int64_t begin, int64_t end, int worker)
{
    const job *w = context;
    const rapt_gemm *g = &w->g;
    const int k = (int)g->k, step = g->transpose_b ? 1 : (int)g->ldb;
    (void)worker;
    for (int64_t index = begin; index < end; index++) {
        const int64_t item = index / w->row_blocks, i = index % w->row_blocks * w->rows;
        const int rows = (int)(g->m - i < w->rows ? g->m - i : w->rows);
        const float *a = a_at(g, item, i), *b = b_at(g, item, 0);
        float *c = g->c + item * g->stride_c + i * g->ldc;
        scale_rows(c, rows, 1, g->ldc, g->beta);
        if (g->transpose_a)
            w->blas->sgemv(BLAS_ROW_MAJOR, BLAS_TRANS, k, rows, g->alpha, a, (int)g->lda, b, step,
                           1.0f, c, (int)g->ldc);
        else
            w->blas->sgemv(BLAS_ROW_MAJOR, BLAS_NO_TRANS, rows, k, g->alpha, a, (int)g->lda, b,
                           step, 1.0f, c, (int)g->ldc);
    }
}

/* m = 1: C = op(B)^T a, `columns` of C at a time. */
static void row_task(void *context, int64_t begin, int64_t end, int worker)
{
    const job *w = context;
    const rapt_gemm *g = &w->g;
    const int k = (int)g->k, step = g->transpose_a ? (int)g->lda : 1;
    (void)worker;
    for (int64_t index = begin; index < end; index++) {
        const int64_t item = index / w->col_blocks, j = index % w->col_blocks * w->columns;
        const int columns = (int)(g->n - j < w->columns ? g->n - j : w->columns);
        const float *a = a_at(g, item, 0), *b = b_at(g, item, j);
        float *c = g->c + item * g->stride_c + j;
        scale_rows(c, 1, columns, g->ldc, g->beta);
        if (g->transpose_b)
            w->blas->sgemv(BLAS_ROW_MAJOR, BLAS_NO_TRANS, columns, k, g->alpha, b, (int)g->ldb, a,
                           step, 1.0f, c, 1);
        else
            w->blas->sgemv(BLAS_ROW_MAJOR, BLAS_TRANS, k, columns, g->alpha, b, (int)g->ldb, a,
                           step, 1.0f, c, 1);
    }
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* So many of `count` equal shares of `work` that a piece is worth handing out. */
static int64_t grain_for(double work, int64_t count, double least)
{
    if (work >= least)
        return 1;
    const double grain = least / (work > 1 ? work : 1);
    return grain < (double)count ? (int64_t)grain : count;
}

/* Halves the longer side of a block until there are enough blocks or they are small. The borders
 * stay multiples of 16, a divisor or multiple of every kernel's own. */
static void choose_blocks(job *w)
{
    const rapt_gemm *g = &w->g;
    w->rows = g->m;
    w->columns = g->n;
    for (;;) {
        w->row_blocks = ceil_div(g->m, w->rows);
        w->col_blocks = ceil_div(g->n, w->columns);
        const double work = 2.0 * (double)w->rows * (double)w->columns * (double)g->k;
        const double blocks = (double)w->row_blocks * (double)w->col_blocks * (double)g->batch;
        if (blocks >= BLOCKS_WANTED || work < 2.0 * LEAST_BLOCK)
            return;
        int64_t *side = w->rows > w->columns ? &w->rows : &w->columns;
        if (*side <= 16)
            return;
        *side = ceil_div(ceil_div(*side, 2), 16) * 16;
    }
}

static rapt_status run_scale(job *w)
{
    const rapt_gemm *g = &w->g;
    int64_t rows;
    if (g->beta == 1.0f)
        return RAPT_OK;
    if (!rapt_mul(g->m, g->batch, &rows))
        return RAPT_INVALID;
    rapt_pool_run(rows, grain_for((double)g->n, rows, SCALE_PIECE), scale_task, w);
    return RAPT_OK;
}

static void run_vector(job *w)
{
    const rapt_gemm *g = &w->g;
    const bool column = g->n == 1;
    const int64_t length = column ? g->m : g->n;
    int64_t block = VECTOR_BLOCK / (g->k < VECTOR_BLOCK ? g->k : VECTOR_BLOCK);
    block = ceil_div(block, 16) * 16;
    if (block > length)
        block = length;
    w->rows = w->columns = block;
    w->row_blocks = w->col_blocks = ceil_div(length, block);
    const int64_t blocks = w->row_blocks * g->batch;
    rapt_pool_run(blocks, grain_for((double)block * (double)g->k, blocks, VECTOR_BLOCK),
                  column ? column_task : row_task, w);
}

static rapt_status run_large(job *w, rapt_error *error)
{
    const rapt_gemm *g = &w->g;
    w->blas = rapt_blas_load(error);
    if (w->blas == NULL)
        return RAPT_UNSUPPORTED;
    if (g->m == 1 || g->n == 1) {
        run_vector(w);
        return RAPT_OK;
    }
    choose_blocks(w);
    const int64_t blocks = w->row_blocks * w->col_blocks * g->batch;
    const double work = 2.0 * (double)w->rows * (double)w->columns * (double)g->k;
    rapt_pool_run(blocks, grain_for(work, blocks, LEAST_PIECE), block_task, w);
    return RAPT_OK;
}

rapt_status rapt_gemm_run(const rapt_gemm *gemm, rapt_error *error)
{
    job w = {0};
    rapt_gemm *g = &w.g;
    memcpy(g, gemm, gemm->size < sizeof *g ? gemm->size : sizeof *g);
    const rapt_status status = check(g, error);
    if (status != RAPT_OK)
        return status;
    if (g->m == 0 || g->n == 0 || g->batch == 0)
        return RAPT_OK;
    if (g->k == 0 || g->alpha == 0.0f)
        return run_scale(&w) == RAPT_OK
                   ? RAPT_OK
                   : rapt_fail(error, RAPT_INVALID, "gemm: m times batch overflows");
    const bool plain = !g->transpose_a && !g->transpose_b && g->alpha == 1.0f &&
                       (g->beta == 0.0f || g->beta == 1.0f);
    if (plain && g->m <= SMALL && g->n <= SMALL && g->k <= SMALL) {
        const double work = 2.0 * (double)g->m * (double)g->n * (double)g->k;
        w.tile = rapt_tile_get((int32_t)g->m, (int32_t)g->n, (int32_t)g->k, (int32_t)g->lda,
                               (int32_t)g->ldb, (int32_t)g->ldc, g->beta == 1.0f);
        rapt_pool_run(g->batch, grain_for(work, g->batch, LEAST_PIECE), tile_task, &w);
        return RAPT_OK;
    }
    return run_large(&w, error);
}

static rapt_status gemm_service(rapt_call *call, const rapt_gemm *gemm)
{
    rapt_error error = {0};
    const rapt_status status = rapt_gemm_run(gemm, &error);
    if (status != RAPT_OK && call != NULL)
        return call->host->error(call, status, "%s", error.message);
    return status;
}

const rapt_gemm_service rapt_gemm_table = {
    .size = sizeof(rapt_gemm_service),
    .gemm = gemm_service,
    .tile = rapt_tile_get,
};

void rapt_gemm_describe(char *text, size_t size)
{
    char blas[256], tile[128];
    if (!rapt_blas_describe(blas, sizeof blas))
        snprintf(blas, sizeof blas, "OpenBLAS when first used");
    rapt_tile_describe(tile, sizeof tile);
    snprintf(text, size, "%s, %s, SLEEF %s", blas, tile, RAPT_SLEEF_VERSION);
}
