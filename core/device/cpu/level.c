/*
 * The code of one level. RAPT_LEVEL names it; the compiler's flags say the instruction set.
 *
 * Only static functions and the one table leave this file, so that no code of a higher level is
 * ever shared with a lower one.
 */
#include "device/cpu/level.h"

#include <math.h>
#include <sleef.h>
#include <string.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

/* WIDTH floats make a vector; SLEEF(f) is SLEEF's f of 1.0 ulp at that width; TILE_ROWS times two
 * vectors of sums fit the registers. */
#if defined(__AVX512F__)
#define WIDTH       16
#define SLEEF(name) Sleef_##name##f16_u10avx512f
#define TILE_ROWS   8
typedef __m512 sleef_vector;
#elif defined(__AVX2__)
#define WIDTH       8
#define SLEEF(name) Sleef_##name##f8_u10avx2
#define TILE_ROWS   6
typedef __m256 sleef_vector;
#elif defined(__x86_64__)
#define WIDTH       4
#define SLEEF(name) Sleef_##name##f4_u10sse2
#define TILE_ROWS   4
typedef __m128 sleef_vector;
#elif defined(__aarch64__)
#define WIDTH       4
#define SLEEF(name) Sleef_##name##f4_u10advsimd
#define TILE_ROWS   8
typedef float32x4_t sleef_vector;
#else
#define WIDTH       4
#define TILE_ROWS   4
#define SLEEF_PUREC 1
#endif

typedef float vec __attribute__((vector_size(WIDTH * 4)));
typedef int32_t ivec __attribute__((vector_size(WIDTH * 4)));
/* The same at any float's address. */
typedef float uvec __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

static inline vec load_vec(const float *x)
{
    return (vec) * (const uvec *)x;
}

static inline void store_vec(float *y, vec value)
{
    *(uvec *)y = (uvec)value;
}

static inline vec splat(float value)
{
    return value - (vec){0};
}

#include "device/cpu/level_half.h"
#include "device/cpu/level_math.h"
#include "device/cpu/level_tile.h"

const rapt_level_code JOIN(rapt_level_, RAPT_LEVEL) = {
    .math =
        {
            .size = sizeof(rapt_math_service),
            .exp = map_exp,
            .log = map_log,
            .tanh = map_tanh,
            .sigmoid = map_sigmoid,
            .erf = map_erf,
            .load = load_floats,
            .store = store_floats,
        },
    .tile = tile_product,
};
