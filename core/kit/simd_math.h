/*
 * kit/simd_math.h - elementary functions of vectors. Part of kit/simd.h.
 *
 * They are here, and not calls of a library, so that a tile's values stay in registers.
 */

/* x * 2^n for an n without fraction. Below AVX-512: -252 <= n <= 254. */
SIMD_FN simd_f simd_scale_by_power(simd_f x, simd_f n)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
    /* In two halves, since 2^n itself may lie outside the exponent's range. */
    const simd_i whole = simd_to_int(n);
    const simd_i half = whole >> 1;
    return x * simd_from_bits((half + 127) << 23) * simd_from_bits((whole - half + 127) << 23);
#endif
}

/* 2^x for x <= 127, within 3 ulp, exactly 1 at 0; 0 for x < -126, -infinity included, so that no
 * subnormal is made. Not a number stays one. The weights of a softmax are made with it. */
SIMD_FN simd_f simd_exp2_weight(simd_f x)
{
    const simd_mask some = simd_le(simd_set(-126.0f), x);
#if RAPT_LEVEL == 2
    const simd_f n = simd_round(x);
#else
    const simd_f n = simd_round(simd_max(simd_set(-126.0f), x));
#endif
    const simd_f r = x - n;
    simd_f y = simd_set(0.0013313799785f);
    y = simd_fma(y, r, simd_set(0.0096728808787f));
    y = simd_fma(y, r, simd_set(0.0555057004133f));
    y = simd_fma(y, r, simd_set(0.2402221510190f));
    y = simd_fma(y, r, simd_set(0.6931470921878f));
    y = simd_fma(y, r, simd_set(1.0f));
#if RAPT_LEVEL == 2
    const __mmask16 keep = some | _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
    return (simd_f)_mm512_maskz_scalef_ps(keep, (__m512)y, (__m512)n);
#else
    const simd_f scaled = y * simd_from_bits((simd_to_int(n) + 127) << 23);
    return simd_keep(simd_or(some, (simd_mask)(x != x)), scaled);
#endif
}

/* e^x within 2 ulp; 0 where the result would be subnormal, infinity where it is too large. */
SIMD_FN simd_f simd_exp(simd_f x)
{
    const simd_f low = simd_set(-87.336540f), high = simd_set(88.722840f);
    /* Written so that not-a-number passes through both bounds. */
    const simd_f bound = simd_min(high, simd_max(low, x));
    const simd_f n = simd_round(bound * 1.44269504089f);
    simd_f r = simd_fnma(n, simd_set(0.693145751953125f), bound);
    r = simd_fnma(n, simd_set(1.42860682030941723212e-6f), r);
    simd_f y = simd_set(0.0013904087044f);
    y = simd_fma(y, r, simd_set(0.0083765387311f));
    y = simd_fma(y, r, simd_set(0.0416669437068f));
    y = simd_fma(y, r, simd_set(0.1666639774072f));
    y = simd_fma(y, r, simd_set(0.4999999845877f));
    y = simd_fma(y, r, simd_set(1.0000000407118f));
    y = simd_fma(y, r, simd_set(1.0f));
    y = simd_scale_by_power(y, n);
    y = simd_select(simd_lt(high, x), simd_set(INFINITY), y);
    return simd_select(simd_lt(x, low), simd_zero(), y);
}

/* Natural logarithm within 2 ulp for normal x > 0; -infinity at 0, not a number below. */
SIMD_FN simd_f simd_log(simd_f x)
{
    const simd_i magnitude = simd_bits(simd_abs(x));
    const simd_i bits = magnitude - 0x3f3504f3; /* mantissa from sqrt(1/2) to sqrt(2) */
    const simd_i exponent = bits >> 23;
    const simd_f e = simd_to_float(exponent);
    const simd_f f = simd_from_bits(magnitude - exponent * (1 << 23)) - 1.0f;
    const simd_f s = f / (2.0f + f), z = s * s;
    simd_f t = simd_fma(z, simd_set(0.24279078841f), simd_set(0.28498786688f));
    t = simd_fma(t, z, simd_set(0.40000972152f));
    t = simd_fma(t, z, simd_set(0.66666662693f));
    t = t * z;
    const simd_f h = 0.5f * f * f;
    const simd_f tail = simd_fma(s, h + t, e * 9.0580006145e-6f);
    simd_f y = simd_fma(e, simd_set(0.69313812256f), f - (h - tail));
    y = simd_select(simd_eq(x, simd_set(INFINITY)), x, y);
    y = simd_select(simd_eq(x, simd_zero()), simd_set(-INFINITY), y);
    return simd_select(simd_le(simd_zero(), x), y, simd_set(NAN));
}

/* Within 3 ulp. */
SIMD_FN simd_f simd_tanh(simd_f x)
{
    const simd_f a = simd_abs(x), z = x * x;
    simd_f p = simd_set(-5.70498872745e-3f);
    p = simd_fma(p, z, simd_set(2.06390887954e-2f));
    p = simd_fma(p, z, simd_set(-5.37397155531e-2f));
    p = simd_fma(p, z, simd_set(1.33314422036e-1f));
    p = simd_fma(p, z, simd_set(-3.33332819422e-1f));
    const simd_f small = simd_fma(p * z, x, x);
    const simd_f large = 1.0f - 2.0f / (simd_exp(2.0f * a) + 1.0f);
    return simd_select(simd_lt(a, simd_set(0.625f)), small, simd_copysign(large, x));
}

/* 1 / (1 + e^-x) within 3 ulp where it is normal. */
SIMD_FN simd_f simd_sigmoid(simd_f x)
{
    return 1.0f / (1.0f + simd_exp(-x));
}
