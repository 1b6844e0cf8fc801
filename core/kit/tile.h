/*
 * kit/tile.h - small dense products from registers, for one CPU level.
 *
 * A body for kit/levels.h (or to be included by one). C[m x n] = A[m x k] B[k x n] (+ C), float32,
 * B and C row major with rows of whole vectors: n is a multiple of SIMD_LANES. Each element of C is
 * one chain of fused multiply-adds in the order of k, whatever the sizes: the same row times the
 * same column gives the same bits in every tile.
 */
#ifndef RAPT_KIT_TILE_NAMES
#define RAPT_KIT_TILE_NAMES
#define tile_block    RAPT_LEVEL_NAME(tile_block)
#define tile_panel    RAPT_LEVEL_NAME(tile_panel)
#define tile_multiply RAPT_LEVEL_NAME(tile_multiply)
#endif

/* Each level's functions exist once, however many bodies include this. */
#undef RAPT_KIT_TILE_WANTED
#if RAPT_LEVEL == 2 && !defined(RAPT_KIT_TILE_AVX512)
#define RAPT_KIT_TILE_AVX512
#define RAPT_KIT_TILE_WANTED
#elif RAPT_LEVEL == 1 && !defined(RAPT_KIT_TILE_AVX2)
#define RAPT_KIT_TILE_AVX2
#define RAPT_KIT_TILE_WANTED
#elif RAPT_LEVEL == 3 && !defined(RAPT_KIT_TILE_NEON)
#define RAPT_KIT_TILE_NEON
#define RAPT_KIT_TILE_WANTED
#elif RAPT_LEVEL == 0 && !defined(RAPT_KIT_TILE_PORTABLE)
#define RAPT_KIT_TILE_PORTABLE
#define RAPT_KIT_TILE_WANTED
#endif

#ifdef RAPT_KIT_TILE_WANTED

/* Rows and vectors of the block of C that the registers hold: 32 registers, or 16. */
#if RAPT_LEVEL == 2 || RAPT_LEVEL == 3
#define TILE_ROWS    6
#define TILE_VECTORS 4
#else
#define TILE_ROWS    6
#define TILE_VECTORS 2
#endif

/* One block of `rows` x `vectors`, both constant where it is called. Element (i, p) of A lies at
 * a[i * am + p * ak]. */
SIMD_FN void tile_block(const int rows, const int vectors, int64_t k, const float *a, int64_t am,
                        int64_t ak, const float *b, int64_t ldb, float *c, int64_t ldc,
                        int accumulate)
{
    simd_f sum[8][8];
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        SIMD_UNROLL
        for (int j = 0; j < vectors; j++)
            sum[i][j] = accumulate ? simd_load(c + i * ldc + j * SIMD_LANES) : simd_zero();
    }
    for (int64_t p = 0; p < k; p++) {
        simd_f row[8];
        SIMD_UNROLL
        for (int j = 0; j < vectors; j++)
            row[j] = simd_load(b + p * ldb + j * SIMD_LANES);
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            const simd_f x = simd_set(a[i * am + p * ak]);
            SIMD_UNROLL
            for (int j = 0; j < vectors; j++)
                sum[i][j] = simd_fma(x, row[j], sum[i][j]);
        }
    }
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        SIMD_UNROLL
        for (int j = 0; j < vectors; j++)
            simd_store(c + i * ldc + j * SIMD_LANES, sum[i][j]);
    }
}

SIMD_FN void tile_panel(const int vectors, int64_t m, int64_t k, const float *a, int64_t am,
                        int64_t ak, const float *b, int64_t ldb, float *c, int64_t ldc,
                        int accumulate)
{
    int64_t i = 0;
    for (; i + TILE_ROWS <= m; i += TILE_ROWS)
        tile_block(TILE_ROWS, vectors, k, a + i * am, am, ak, b, ldb, c + i * ldc, ldc, accumulate);
    for (; i + 4 <= m; i += 4)
        tile_block(4, vectors, k, a + i * am, am, ak, b, ldb, c + i * ldc, ldc, accumulate);
    for (; i < m; i++)
        tile_block(1, vectors, k, a + i * am, am, ak, b, ldb, c + i * ldc, ldc, accumulate);
}

/* Strides as in tile_block; `c` must not overlap A or B. [task] */
static __attribute__((noinline, unused)) void tile_multiply(int64_t m, int64_t n, int64_t k,
                                                            const float *a, int64_t am, int64_t ak,
                                                            const float *b, int64_t ldb, float *c,
                                                            int64_t ldc, int accumulate)
{
    int64_t j = 0;
    for (; j + TILE_VECTORS * SIMD_LANES <= n; j += TILE_VECTORS * SIMD_LANES)
        tile_panel(TILE_VECTORS, m, k, a, am, ak, b + j, ldb, c + j, ldc, accumulate);
#if TILE_VECTORS == 4
    for (; j + 2 * SIMD_LANES <= n; j += 2 * SIMD_LANES)
        tile_panel(2, m, k, a, am, ak, b + j, ldb, c + j, ldc, accumulate);
#endif
    for (; j < n; j += SIMD_LANES)
        tile_panel(1, m, k, a, am, ak, b + j, ldb, c + j, ldc, accumulate);
}
#undef TILE_ROWS
#undef TILE_VECTORS

#endif /* RAPT_KIT_TILE_WANTED */
