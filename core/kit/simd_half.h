/*
 * kit/simd_half.h - float16 and bfloat16 to and from vectors of float. Part of kit/simd.h.
 */

SIMD_FN simd_h simd_load_h(const uint16_t *p)
{
    return *(const simd_hu *)(const void *)p;
}

/* Exact. */
SIMD_FN simd_f simd_widen_f16(simd_h x)
{
#if RAPT_LEVEL == 2
    return (simd_f)_mm512_cvtph_ps((__m256i)x);
#elif RAPT_LEVEL == 1
    return (simd_f)_mm256_cvtph_ps((__m128i)x);
#else
    const simd_i bits = __builtin_convertvector(x, simd_i);
    const simd_i magnitude = bits & 0x7fff;
    /* The exponent is rebased by a product with 2^112, which is exact for subnormals too. */
    const simd_f rebased = simd_from_bits(magnitude << 13) * 0x1p112f;
    const simd_i special = magnitude > 0x7bff; /* infinity, not a number */
    const simd_i wide = (special & (0x7f800000 | (magnitude << 13))) | (~special & (simd_i)rebased);
    return simd_from_bits(wide | ((bits & 0x8000) << 16));
#endif
}

SIMD_FN simd_f simd_widen_bf16(simd_h x)
{
    return simd_from_bits(__builtin_convertvector(x, simd_i) << 16);
}

/* To nearest, ties to even; overflow to infinity; not a number stays one. */
SIMD_FN simd_h simd_narrow_f16(simd_f x)
{
#if RAPT_LEVEL == 2
    return (simd_h)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif RAPT_LEVEL == 1
    return (simd_h)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const simd_i bits = simd_bits(x);
    const simd_i magnitude = bits & 0x7fffffff;
    /* Normal: rebase the exponent and round the 13 bits that go. */
    const simd_i normal = (magnitude + (0x0fff - (112 << 23)) + ((magnitude >> 13) & 1)) >> 13;
    /* Subnormal: adding 0.5 leaves the rounded fraction in the lowest bits. */
    const simd_i tiny = simd_bits(simd_from_bits(magnitude) + 0.5f) - 0x3f000000;
    const simd_i is_tiny = magnitude < 0x38800000;
    const simd_i is_large = magnitude > 0x477fefff;
    const simd_i is_nan = magnitude > 0x7f800000;
    simd_i half = (is_tiny & tiny) | (~is_tiny & normal);
    half = (is_large & 0x7c00) | (~is_large & half);
    half |= is_nan & 0x0200;
    return __builtin_convertvector(half | ((bits >> 16) & 0x8000), simd_h);
#endif
}

SIMD_FN simd_h simd_narrow_bf16(simd_f x)
{
    const simd_i bits = simd_bits(x);
    const simd_i is_nan = (bits & 0x7fffffff) > 0x7f800000;
    const simd_i number = ~is_nan & bits; /* the largest of these does not overflow below */
    const simd_i rounded = ((number + 0x7fff + ((number >> 16) & 1)) >> 16) & 0xffff;
    const simd_i half = (is_nan & (((bits >> 16) & 0xffff) | 0x40)) | (~is_nan & rounded);
    return __builtin_convertvector(half, simd_h);
}

SIMD_FN simd_f simd_load_f16(const uint16_t *p)
{
    return simd_widen_f16(simd_load_h(p));
}

SIMD_FN simd_f simd_load_bf16(const uint16_t *p)
{
    return simd_widen_bf16(simd_load_h(p));
}

SIMD_FN void simd_store_f16(uint16_t *p, simd_f x)
{
    *(simd_hu *)(void *)p = simd_narrow_f16(x);
}

SIMD_FN void simd_store_bf16(uint16_t *p, simd_f x)
{
    *(simd_hu *)(void *)p = simd_narrow_bf16(x);
}

/* A vector, the first n lanes of one, at element i of an array of type f32, f16 or bf16. With a
 * constant `type` the choice costs nothing. */
SIMD_FN simd_f simd_load_as(rapt_dtype type, const void *p, int64_t i)
{
    if (type == RAPT_F32)
        return simd_load((const float *)p + i);
    return type == RAPT_F16 ? simd_load_f16((const uint16_t *)p + i)
                            : simd_load_bf16((const uint16_t *)p + i);
}

SIMD_FN void simd_store_as(rapt_dtype type, void *p, int64_t i, simd_f x)
{
    if (type == RAPT_F32)
        simd_store((float *)p + i, x);
    else if (type == RAPT_F16)
        simd_store_f16((uint16_t *)p + i, x);
    else
        simd_store_bf16((uint16_t *)p + i, x);
}

SIMD_FN simd_f simd_load_as_n(rapt_dtype type, const void *p, int64_t i, int n)
{
    uint16_t lanes[SIMD_LANES] = {0};
    if (type == RAPT_F32)
        return simd_load_n((const float *)p + i, n);
    memcpy(lanes, (const uint16_t *)p + i, (size_t)n * 2);
    return simd_load_as(type, lanes, 0);
}

SIMD_FN void simd_store_as_n(rapt_dtype type, void *p, int64_t i, simd_f x, int n)
{
    uint16_t lanes[SIMD_LANES];
    if (type == RAPT_F32) {
        simd_store_n((float *)p + i, x, n);
        return;
    }
    simd_store_as(type, lanes, 0, x);
    memcpy((uint16_t *)p + i, lanes, (size_t)n * 2);
}
