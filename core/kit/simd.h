/*
 * kit/simd.h - vectors of float for the CPU level that kit/levels.h is compiling.
 *
 * Included by kit/levels.h, once for each level; not to be included directly. Built on the
 * compiler's vector extensions, so + - * / work on simd_f and also & | ^ << >> on simd_i. Every
 * function is static, inlined, keeps its values in registers and may be called from any thread.
 * Sums and maxima over lanes are taken in a fixed order.
 *
 *     simd_f     SIMD_LANES floats             simd_i    as many int32_t
 *     simd_mask  one truth value per lane
 *
 * Pointers need the alignment of their element only. A count `n` of the partial loads and stores is
 * 0 <= n <= SIMD_LANES; memory beyond it is not touched, lanes beyond it are 0.
 */
#ifndef RAPT_KIT_SIMD_NAMES
#define RAPT_KIT_SIMD_NAMES
#define simd_f    RAPT_LEVEL_NAME(simd_f)
#define simd_i    RAPT_LEVEL_NAME(simd_i)
#define simd_fu   RAPT_LEVEL_NAME(simd_fu)
#define simd_iu   RAPT_LEVEL_NAME(simd_iu)
#define simd_h    RAPT_LEVEL_NAME(simd_h)
#define simd_hu   RAPT_LEVEL_NAME(simd_hu)
#define simd_mask RAPT_LEVEL_NAME(simd_mask)

#define simd_zero           RAPT_LEVEL_NAME(simd_zero)
#define simd_set            RAPT_LEVEL_NAME(simd_set)
#define simd_set_i          RAPT_LEVEL_NAME(simd_set_i)
#define simd_iota           RAPT_LEVEL_NAME(simd_iota)
#define simd_bits           RAPT_LEVEL_NAME(simd_bits)
#define simd_from_bits      RAPT_LEVEL_NAME(simd_from_bits)
#define simd_load           RAPT_LEVEL_NAME(simd_load)
#define simd_load_i         RAPT_LEVEL_NAME(simd_load_i)
#define simd_store          RAPT_LEVEL_NAME(simd_store)
#define simd_store_i        RAPT_LEVEL_NAME(simd_store_i)
#define simd_load_n         RAPT_LEVEL_NAME(simd_load_n)
#define simd_store_n        RAPT_LEVEL_NAME(simd_store_n)
#define simd_load_h         RAPT_LEVEL_NAME(simd_load_h)
#define simd_widen_f16      RAPT_LEVEL_NAME(simd_widen_f16)
#define simd_widen_bf16     RAPT_LEVEL_NAME(simd_widen_bf16)
#define simd_narrow_f16     RAPT_LEVEL_NAME(simd_narrow_f16)
#define simd_narrow_bf16    RAPT_LEVEL_NAME(simd_narrow_bf16)
#define simd_load_f16       RAPT_LEVEL_NAME(simd_load_f16)
#define simd_load_bf16      RAPT_LEVEL_NAME(simd_load_bf16)
#define simd_store_f16      RAPT_LEVEL_NAME(simd_store_f16)
#define simd_store_bf16     RAPT_LEVEL_NAME(simd_store_bf16)
#define simd_load_as        RAPT_LEVEL_NAME(simd_load_as)
#define simd_store_as       RAPT_LEVEL_NAME(simd_store_as)
#define simd_load_as_n      RAPT_LEVEL_NAME(simd_load_as_n)
#define simd_store_as_n     RAPT_LEVEL_NAME(simd_store_as_n)
#define simd_fma            RAPT_LEVEL_NAME(simd_fma)
#define simd_fms            RAPT_LEVEL_NAME(simd_fms)
#define simd_fnma           RAPT_LEVEL_NAME(simd_fnma)
#define simd_max            RAPT_LEVEL_NAME(simd_max)
#define simd_min            RAPT_LEVEL_NAME(simd_min)
#define simd_sqrt           RAPT_LEVEL_NAME(simd_sqrt)
#define simd_abs            RAPT_LEVEL_NAME(simd_abs)
#define simd_copysign       RAPT_LEVEL_NAME(simd_copysign)
#define simd_sign           RAPT_LEVEL_NAME(simd_sign)
#define simd_round          RAPT_LEVEL_NAME(simd_round)
#define simd_to_int         RAPT_LEVEL_NAME(simd_to_int)
#define simd_to_float       RAPT_LEVEL_NAME(simd_to_float)
#define simd_lt             RAPT_LEVEL_NAME(simd_lt)
#define simd_le             RAPT_LEVEL_NAME(simd_le)
#define simd_eq             RAPT_LEVEL_NAME(simd_eq)
#define simd_lt_i           RAPT_LEVEL_NAME(simd_lt_i)
#define simd_le_i           RAPT_LEVEL_NAME(simd_le_i)
#define simd_and            RAPT_LEVEL_NAME(simd_and)
#define simd_or             RAPT_LEVEL_NAME(simd_or)
#define simd_any            RAPT_LEVEL_NAME(simd_any)
#define simd_select         RAPT_LEVEL_NAME(simd_select)
#define simd_keep           RAPT_LEVEL_NAME(simd_keep)
#define simd_sum            RAPT_LEVEL_NAME(simd_sum)
#define simd_max_lane       RAPT_LEVEL_NAME(simd_max_lane)
#define simd_sum_rows       RAPT_LEVEL_NAME(simd_sum_rows)
#define simd_transpose      RAPT_LEVEL_NAME(simd_transpose)
#define simd_scale_by_power RAPT_LEVEL_NAME(simd_scale_by_power)
#define simd_exp2_weight    RAPT_LEVEL_NAME(simd_exp2_weight)
#define simd_exp            RAPT_LEVEL_NAME(simd_exp)
#define simd_log            RAPT_LEVEL_NAME(simd_log)
#define simd_tanh           RAPT_LEVEL_NAME(simd_tanh)
#define simd_sigmoid        RAPT_LEVEL_NAME(simd_sigmoid)

#define SIMD_FN static inline __attribute__((always_inline, unused))

/* Before a loop with a small constant count: all of it, so that arrays of vectors become registers
 * at -O2 too. */
#if defined(__clang__)
#define SIMD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SIMD_UNROLL _Pragma("GCC unroll 16")
#endif
#endif

/* Each level's functions exist once, however many bodies a source has. */
#undef RAPT_KIT_SIMD_WANTED
#if RAPT_LEVEL == 2 && !defined(RAPT_KIT_SIMD_AVX512)
#define RAPT_KIT_SIMD_AVX512
#define RAPT_KIT_SIMD_WANTED
#elif RAPT_LEVEL == 1 && !defined(RAPT_KIT_SIMD_AVX2)
#define RAPT_KIT_SIMD_AVX2
#define RAPT_KIT_SIMD_WANTED
#elif RAPT_LEVEL == 3 && !defined(RAPT_KIT_SIMD_NEON)
#define RAPT_KIT_SIMD_NEON
#define RAPT_KIT_SIMD_WANTED
#elif RAPT_LEVEL == 0 && !defined(RAPT_KIT_SIMD_PORTABLE)
#define RAPT_KIT_SIMD_PORTABLE
#define RAPT_KIT_SIMD_WANTED
#endif

#ifdef RAPT_KIT_SIMD_WANTED

typedef float simd_f __attribute__((vector_size(SIMD_LANES * 4)));
typedef int32_t simd_i __attribute__((vector_size(SIMD_LANES * 4)));
typedef uint16_t simd_h __attribute__((vector_size(SIMD_LANES * 2)));
typedef float simd_fu __attribute__((vector_size(SIMD_LANES * 4), aligned(4), may_alias));
typedef int32_t simd_iu __attribute__((vector_size(SIMD_LANES * 4), aligned(4), may_alias));
typedef uint16_t simd_hu __attribute__((vector_size(SIMD_LANES * 2), aligned(2), may_alias));

/* --- Values, memory ------------------------------------------------------------------------- */

SIMD_FN simd_f simd_zero(void)
{
    return (simd_f){0};
}

SIMD_FN simd_f simd_set(float x)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_set1_ps(x);
#elif RAPT_LEVEL == 1
    return (simd_f)_mm256_set1_ps(x);
#else
    return (simd_f){x, x, x, x};
#endif
}

SIMD_FN simd_i simd_set_i(int32_t x)
{
#if RAPT_LEVEL == 2
    return (simd_i)_mm512_set1_epi32(x);
#elif RAPT_LEVEL == 1
    return (simd_i)_mm256_set1_epi32(x);
#else
    return (simd_i){x, x, x, x};
#endif
}

SIMD_FN simd_i simd_iota(void)
{
#if SIMD_LANES == 16
    return (simd_i){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif SIMD_LANES == 8
    return (simd_i){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (simd_i){0, 1, 2, 3};
#endif
}

SIMD_FN simd_i simd_bits(simd_f x)
{
    return (simd_i)x;
}

SIMD_FN simd_f simd_from_bits(simd_i x)
{
    return (simd_f)x;
}

SIMD_FN simd_f simd_load(const float *p)
{
    return *(const simd_fu *)(const void *)p;
}

SIMD_FN simd_i simd_load_i(const int32_t *p)
{
    return *(const simd_iu *)(const void *)p;
}

SIMD_FN void simd_store(float *p, simd_f x)
{
    *(simd_fu *)(void *)p = x;
}

SIMD_FN void simd_store_i(int32_t *p, simd_i x)
{
    *(simd_iu *)(void *)p = x;
}

SIMD_FN simd_f simd_load_n(const float *p, int n)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#else
    float lanes[SIMD_LANES] = {0};
    for (int i = 0; i < n; i++)
        lanes[i] = p[i];
    return simd_load(lanes);
#endif
}

SIMD_FN void simd_store_n(float *p, simd_f x, int n)
{
#if RAPT_LEVEL == 2
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)x);
#else
    float lanes[SIMD_LANES];
    simd_store(lanes, x);
    for (int i = 0; i < n; i++)
        p[i] = lanes[i];
#endif
}

/* --- Arithmetic ----------------------------------------------------------------------------- */

/* a * b + c, a * b - c, c - a * b, rounded once where the level has such an instruction. */
SIMD_FN simd_f simd_fma(simd_f a, simd_f b, simd_f c)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif RAPT_LEVEL == 1
    return (simd_f)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif RAPT_LEVEL == 3
    return (simd_f)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

SIMD_FN simd_f simd_fms(simd_f a, simd_f b, simd_f c)
{
    return simd_fma(a, b, -c);
}

SIMD_FN simd_f simd_fnma(simd_f a, simd_f b, simd_f c)
{
    return simd_fma(-a, b, c);
}

/* The greater, the lesser; b where either is not a number. */
SIMD_FN simd_f simd_max(simd_f a, simd_f b)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_max_ps((__m512)a, (__m512)b);
#elif RAPT_LEVEL == 1
    return (simd_f)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE__)
    return (simd_f)_mm_max_ps((__m128)a, (__m128)b);
#else
    const simd_i greater = a > b;
    return (simd_f)((greater & (simd_i)a) | (~greater & (simd_i)b));
#endif
}

SIMD_FN simd_f simd_min(simd_f a, simd_f b)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_min_ps((__m512)a, (__m512)b);
#elif RAPT_LEVEL == 1
    return (simd_f)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE__)
    return (simd_f)_mm_min_ps((__m128)a, (__m128)b);
#else
    const simd_i lesser = a < b;
    return (simd_f)((lesser & (simd_i)a) | (~lesser & (simd_i)b));
#endif
}

SIMD_FN simd_f simd_sqrt(simd_f x)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_sqrt_ps((__m512)x);
#elif RAPT_LEVEL == 1
    return (simd_f)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE__)
    return (simd_f)_mm_sqrt_ps((__m128)x);
#elif RAPT_LEVEL == 3
    return (simd_f)vsqrtq_f32((float32x4_t)x);
#else
    return (simd_f){sqrtf(x[0]), sqrtf(x[1]), sqrtf(x[2]), sqrtf(x[3])};
#endif
}

SIMD_FN simd_f simd_abs(simd_f x)
{
    return (simd_f)((simd_i)x & simd_set_i(0x7fffffff));
}

/* The magnitude of x with the sign of s. */
SIMD_FN simd_f simd_copysign(simd_f x, simd_f s)
{
    const simd_i sign = simd_set_i((int32_t)0x80000000u);
    return (simd_f)((sign & (simd_i)s) | (~sign & (simd_i)x));
}

/* The nearest integer, ties to even; |x| < 2^22. */
SIMD_FN simd_f simd_round(simd_f x)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif RAPT_LEVEL == 1
    return (simd_f)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif RAPT_LEVEL == 3
    return (simd_f)vrndnq_f32((float32x4_t)x);
#else
    const simd_f magic = simd_set(12582912.0f); /* 1.5 * 2^23: the sum has no fraction bits */
    simd_f sum = x + magic;
    __asm__("" : "+m"(sum)); /* the two additions must not be simplified away */
    return sum - magic;
#endif
}

SIMD_FN simd_i simd_to_int(simd_f x)
{
    return __builtin_convertvector(x, simd_i);
}

SIMD_FN simd_f simd_to_float(simd_i x)
{
    return __builtin_convertvector(x, simd_f);
}

/* --- Comparison and choice ------------------------------------------------------------------- */

#if RAPT_LEVEL == 2
typedef __mmask16 simd_mask;

SIMD_FN simd_mask simd_lt(simd_f a, simd_f b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}

SIMD_FN simd_mask simd_le(simd_f a, simd_f b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ);
}

SIMD_FN simd_mask simd_eq(simd_f a, simd_f b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ);
}

SIMD_FN simd_mask simd_lt_i(simd_i a, simd_i b)
{
    return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b);
}

SIMD_FN simd_mask simd_le_i(simd_i a, simd_i b)
{
    return _mm512_cmple_epi32_mask((__m512i)a, (__m512i)b);
}

SIMD_FN int simd_any(simd_mask m)
{
    return m != 0;
}

/* m ? a : b */
SIMD_FN simd_f simd_select(simd_mask m, simd_f a, simd_f b)
{
    return (simd_f)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a);
}

/* m ? a : 0 */
SIMD_FN simd_f simd_keep(simd_mask m, simd_f a)
{
    return (simd_f)_mm512_maskz_mov_ps(m, (__m512)a);
}

#else
typedef simd_i simd_mask;

SIMD_FN simd_mask simd_lt(simd_f a, simd_f b)
{
    return a < b;
}

SIMD_FN simd_mask simd_le(simd_f a, simd_f b)
{
    return a <= b;
}

SIMD_FN simd_mask simd_eq(simd_f a, simd_f b)
{
    return a == b;
}

SIMD_FN simd_mask simd_lt_i(simd_i a, simd_i b)
{
    return a < b;
}

SIMD_FN simd_mask simd_le_i(simd_i a, simd_i b)
{
    return a <= b;
}

SIMD_FN int simd_any(simd_mask m)
{
#if RAPT_LEVEL == 1
    return _mm256_movemask_ps((__m256)m) != 0;
#elif defined(__SSE__)
    return _mm_movemask_ps((__m128)m) != 0;
#elif RAPT_LEVEL == 3
    return vmaxvq_u32((uint32x4_t)m) != 0;
#else
    return (m[0] | m[1] | m[2] | m[3]) != 0;
#endif
}

SIMD_FN simd_f simd_select(simd_mask m, simd_f a, simd_f b)
{
#if RAPT_LEVEL == 1
    return (simd_f)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m);
#else
    return (simd_f)((m & (simd_i)a) | (~m & (simd_i)b));
#endif
}

SIMD_FN simd_f simd_keep(simd_mask m, simd_f a)
{
    return (simd_f)(m & (simd_i)a);
}
#endif

SIMD_FN simd_mask simd_and(simd_mask a, simd_mask b)
{
    return (simd_mask)(a & b);
}

SIMD_FN simd_mask simd_or(simd_mask a, simd_mask b)
{
    return (simd_mask)(a | b);
}

/* -1, 0 or 1; 0 for a number that is none. */
SIMD_FN simd_f simd_sign(simd_f x)
{
    const simd_mask some = simd_lt(simd_zero(), simd_abs(x));
    return simd_keep(some, simd_copysign(simd_set(1.0f), x));
}

/* --- Across lanes ----------------------------------------------------------------------------- */

SIMD_FN float simd_sum(simd_f x)
{
    float lanes[SIMD_LANES];
    simd_store(lanes, x);
    for (int width = SIMD_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

SIMD_FN float simd_max_lane(simd_f x)
{
    float lanes[SIMD_LANES];
    simd_store(lanes, x);
    for (int width = SIMD_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
    return lanes[0];
}

/* Transposes the square of SIMD_LANES vectors in place: `steps` of exchanging halves of growing
 * groups of lanes. */
#if SIMD_LANES == 16
#define SIMD_LOW_1  0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define SIMD_HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define SIMD_LOW_2  0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define SIMD_HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define SIMD_LOW_4  0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define SIMD_HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define SIMD_LOW_8  0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define SIMD_HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#elif SIMD_LANES == 8
#define SIMD_LOW_1  0, 8, 2, 10, 4, 12, 6, 14
#define SIMD_HIGH_1 1, 9, 3, 11, 5, 13, 7, 15
#define SIMD_LOW_2  0, 1, 8, 9, 4, 5, 12, 13
#define SIMD_HIGH_2 2, 3, 10, 11, 6, 7, 14, 15
#define SIMD_LOW_4  0, 1, 2, 3, 8, 9, 10, 11
#define SIMD_HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
#else
#define SIMD_LOW_1  0, 4, 2, 6
#define SIMD_HIGH_1 1, 5, 3, 7
#define SIMD_LOW_2  0, 1, 4, 5
#define SIMD_HIGH_2 2, 3, 6, 7
#endif
#define SIMD_EXCHANGE(width)                                                                       \
    SIMD_UNROLL                                                                                    \
    for (int i = 0; i < SIMD_LANES; i++)                                                           \
        if (!(i & (width))) {                                                                      \
            const simd_f a = rows[i], b = rows[i + (width)];                                       \
            rows[i] = __builtin_shufflevector(a, b, SIMD_LOW_##width);                             \
            rows[i + (width)] = __builtin_shufflevector(a, b, SIMD_HIGH_##width);                  \
        }

SIMD_FN void simd_transpose(simd_f *rows)
{
    SIMD_EXCHANGE(1)
    SIMD_EXCHANGE(2)
#if SIMD_LANES >= 8
    SIMD_EXCHANGE(4)
#endif
#if SIMD_LANES >= 16
    SIMD_EXCHANGE(8)
#endif
}

/* Lane i of the result is the sum of rows[i]; the rows are overwritten. */
#define SIMD_FOLD(width)                                                                           \
    SIMD_UNROLL                                                                                    \
    for (int i = 0; i < SIMD_LANES; i++)                                                           \
        if (!(i & (2 * (width)-1))) {                                                              \
            const simd_f a = rows[i], b = rows[i + (width)];                                       \
            rows[i] = __builtin_shufflevector(a, b, SIMD_LOW_##width) +                            \
                      __builtin_shufflevector(a, b, SIMD_HIGH_##width);                            \
        }

SIMD_FN simd_f simd_sum_rows(simd_f *rows)
{
    SIMD_FOLD(1)
    SIMD_FOLD(2)
#if SIMD_LANES >= 8
    SIMD_FOLD(4)
#endif
#if SIMD_LANES >= 16
    SIMD_FOLD(8)
#endif
    return rows[0];
}

#undef SIMD_EXCHANGE
#undef SIMD_FOLD
#undef SIMD_LOW_1
#undef SIMD_HIGH_1
#undef SIMD_LOW_2
#undef SIMD_HIGH_2
#undef SIMD_LOW_4
#undef SIMD_HIGH_4
#undef SIMD_LOW_8
#undef SIMD_HIGH_8

#include "simd_half.h"

#include "simd_math.h"

#endif /* RAPT_KIT_SIMD_WANTED */
