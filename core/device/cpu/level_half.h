/*
 * Storage formats of one level; included by level.c alone. All levels give the same bits: rounding
 * to nearest even, NaNs stay NaNs (quiet, upper payload bits kept), subnormals are exact.
 */

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t bf16_from_float(float value)
{
    const uint32_t bits = bits_of(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const uint32_t quiet = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

static inline float bf16_to_float(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}

static inline uint16_t f16_from_float(float value)
{
    const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    uint32_t half;
    if (size > 0x7f800000) {
        half = 0x7e00 | (size >> 13 & 0x3ff);
    } else if (size >= 0x477ff000) { /* 65520 and more round to infinity */
        half = 0x7c00;
    } else if (size < 0x38800000) { /* below 2^-14: the addition rounds to units of 2^-24 */
        half = bits_of(float_of(size) + 0.5f) - 0x3f000000;
    } else {
        half = (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13;
    }
    return (uint16_t)(sign | half);
}

static inline float f16_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = half & 0x7fff;
    uint32_t bits;
    if (size > 0x7c00)
        bits = 0x7fc00000 | (size & 0x3ff) << 13;
    else if (size == 0x7c00)
        bits = 0x7f800000;
    else if (size < 0x400)
        bits = bits_of((float)size * 0x1p-24f);
    else
        bits = (size << 13) + 0x38000000;
    return float_of(sign | bits);
}

static int64_t load_f16_vectors(int64_t n, const uint16_t *x, float *y)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(x + i))));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(x + i))));
#else
    (void)n, (void)x, (void)y;
#endif
    return i;
}

static int64_t store_f16_vectors(int64_t n, const float *x, uint16_t *y)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((void *)(y + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), 0));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
#else
    (void)n, (void)x, (void)y;
#endif
    return i;
}

static void load_floats(int64_t n, rapt_dtype dtype, const void *x, float *y)
{
    const uint16_t *half = x;
    if (n <= 0)
        return;
    if (dtype == RAPT_F16) {
        for (int64_t i = load_f16_vectors(n, half, y); i < n; i++)
            y[i] = f16_to_float(half[i]);
    } else if (dtype == RAPT_BF16) {
        for (int64_t i = 0; i < n; i++)
            y[i] = bf16_to_float(half[i]);
    } else if (dtype == RAPT_F32) {
        memmove(y, x, (size_t)n * sizeof *y);
    }
}

static void store_floats(int64_t n, rapt_dtype dtype, const float *x, void *y)
{
    uint16_t *half = y;
    if (n <= 0)
        return;
    if (dtype == RAPT_F16) {
        for (int64_t i = store_f16_vectors(n, x, half); i < n; i++)
            half[i] = f16_from_float(x[i]);
    } else if (dtype == RAPT_BF16) {
        for (int64_t i = 0; i < n; i++)
            half[i] = bf16_from_float(x[i]);
    } else if (dtype == RAPT_F32) {
        memmove(y, x, (size_t)n * sizeof *x);
    }
}
