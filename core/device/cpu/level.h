/*
 * What is compiled once for each instruction set level: elementwise functions and the plain tile
 * product. level.c is built with the flags of one level into one of the objects named here;
 * nothing else is compiled with those flags.
 */
#ifndef RAPT_DEVICE_CPU_LEVEL_H
#define RAPT_DEVICE_CPU_LEVEL_H

#include <rapt/plugin.h>

/* Sizes of a tile product as rapt_gemm_service.tile takes them. */
typedef struct rapt_tile_shape {
    int32_t m, n, k, lda, ldb, ldc, accumulate;
} rapt_tile_shape;

typedef struct rapt_level_code {
    rapt_math_service math;
    /* C = A B (+ C), adding up over k in order, one rounding a step where the level has FMA. */
    void (*tile)(const rapt_tile_shape *shape, const float *a, const float *b, float *c);
} rapt_level_code;

extern const rapt_level_code rapt_level_portable;
#if defined(__x86_64__)
extern const rapt_level_code rapt_level_avx2;
extern const rapt_level_code rapt_level_avx512;
#elif defined(__aarch64__)
extern const rapt_level_code rapt_level_neon;
#endif

/* Of the level in use. */
const rapt_level_code *rapt_level_select(void);

#endif
