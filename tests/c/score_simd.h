/* What the test of the kit's vectors runs at each CPU level (a body for kit/levels.h). */
#ifndef RAPT_TEST_SCORE_SIMD
#define RAPT_TEST_SCORE_SIMD
#define level_apply     RAPT_LEVEL_NAME(level_apply)
#define level_transpose RAPT_LEVEL_NAME(level_transpose)
#define level_sum_rows  RAPT_LEVEL_NAME(level_sum_rows)
#define level_copy_part RAPT_LEVEL_NAME(level_copy_part)
#define value_of        RAPT_LEVEL_NAME(value_of)
#define level_test      RAPT_LEVEL_NAME(level_test)

enum { EXP, EXP2, LOG, TANH, SIGMOID, SIGN, ROUND, F16, BF16, FUNCTIONS };

typedef struct simd_test {
    int lanes;
    void (*apply)(int function, int64_t n, const float *x, float *y);
    void (*transpose)(float *square);
    void (*sum_rows)(const float *square, float *sums);
    void (*copy_part)(rapt_dtype type, const void *x, void *y, int n);
    void (*multiply)(int64_t m, int64_t n, int64_t k, const float *a, int64_t am, int64_t ak,
                     const float *b, int64_t ldb, float *c, int64_t ldc, int accumulate);
} simd_test;
#endif

#include "kit/tile.h"

SIMD_FN simd_f value_of(int function, simd_f x)
{
    uint16_t half[SIMD_LANES];
    switch (function) {
    case EXP:
        return simd_exp(x);
    case EXP2:
        return simd_exp2_weight(x);
    case LOG:
        return simd_log(x);
    case TANH:
        return simd_tanh(x);
    case SIGMOID:
        return simd_sigmoid(x);
    case SIGN:
        return simd_sign(x);
    case ROUND:
        return simd_round(x);
    case F16:
        simd_store_f16(half, x);
        return simd_load_f16(half);
    default:
        simd_store_bf16(half, x);
        return simd_load_bf16(half);
    }
}

static void level_apply(int function, int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += SIMD_LANES)
        simd_store(y + i, value_of(function, simd_load(x + i)));
}

static void level_transpose(float *square)
{
    simd_f rows[SIMD_LANES];
    for (int i = 0; i < SIMD_LANES; i++)
        rows[i] = simd_load(square + i * SIMD_LANES);
    simd_transpose(rows);
    for (int i = 0; i < SIMD_LANES; i++)
        simd_store(square + i * SIMD_LANES, rows[i]);
}

static void level_sum_rows(const float *square, float *sums)
{
    simd_f rows[SIMD_LANES];
    for (int i = 0; i < SIMD_LANES; i++) {
        rows[i] = simd_load(square + i * SIMD_LANES);
        sums[SIMD_LANES + i] = simd_sum(rows[i]);
        sums[2 * SIMD_LANES + i] = simd_max_lane(rows[i]);
    }
    simd_store(sums, simd_sum_rows(rows));
}

static void level_copy_part(rapt_dtype type, const void *x, void *y, int n)
{
    simd_store_as_n(type, y, 0, simd_load_as_n(type, x, 0, n), n);
}

static const simd_test level_test = {
    .lanes = SIMD_LANES,
    .apply = level_apply,
    .transpose = level_transpose,
    .sum_rows = level_sum_rows,
    .copy_part = level_copy_part,
    .multiply = tile_multiply,
};
