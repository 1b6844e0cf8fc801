/* Elementwise functions of one level; included by level.c alone. */

#if defined(SLEEF_PUREC)
#define VECTOR_OF(name)                                                                            \
    static inline vec vec_##name(vec x)                                                            \
    {                                                                                              \
        for (int i = 0; i < WIDTH; i++)                                                            \
            x[i] = Sleef_##name##f_u10(x[i]);                                                      \
        return x;                                                                                  \
    }
#else
#define VECTOR_OF(name)                                                                            \
    static inline vec vec_##name(vec x)                                                            \
    {                                                                                              \
        return (vec)SLEEF(name)((sleef_vector)x);                                                  \
    }
#endif

VECTOR_OF(exp)
VECTOR_OF(log)
VECTOR_OF(tanh)
VECTOR_OF(erf)

/* Near 0 erf(x) is 2 x / sqrt(pi); SLEEF without FMA loses two bits of the smallest numbers. */
static inline vec vec_erf_all(vec x)
{
    const vec size = (vec)((ivec)x & INT32_MAX);
    const ivec small = (ivec)(size < 0x1p-13f);
    const vec line = x * 0x1.20dd76p+0f;
    return (vec)(((ivec)line & small) | ((ivec)vec_erf(x) & ~small));
}

/* 1 / (1 + e) for x >= 0 and e / (1 + e) below, with e = exp(-|x|): nothing overflows and the small
 * end keeps its relative precision. The quotient is corrected for the rounding of 1 + e, which
 * costs a product with 1 / (1 + e): the quotient itself, or one minus it. */
static inline vec vec_sigmoid(vec x)
{
    const vec one = splat(1.0f);
    const ivec negative = (ivec)(x < 0.0f);
    const vec e = vec_exp((vec)((ivec)x | INT32_MIN));
    const vec sum = one + e, lost = e - (sum - one);
    const vec above = (vec)(((ivec)e & negative) | ((ivec)one & ~negative));
    const vec quotient = above / sum;
    const vec other = one - quotient;
    const vec inverse = (vec)(((ivec)other & negative) | ((ivec)quotient & ~negative));
    return quotient - quotient * (lost * inverse);
}

/* The rest of fewer than WIDTH elements goes through a padded vector, so that nothing beyond the
 * ends is read and an element's result does not depend on where it stands. */
#define MAP_OF(name, of)                                                                           \
    static void map_##name(int64_t n, const float *x, float *y)                                    \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + WIDTH <= n; i += WIDTH)                                                         \
            store_vec(y + i, of(load_vec(x + i)));                                                 \
        if (i < n) {                                                                               \
            vec rest = splat(1.0f);                                                                \
            memcpy(&rest, x + i, (size_t)(n - i) * sizeof *x);                                     \
            rest = of(rest);                                                                       \
            memcpy(y + i, &rest, (size_t)(n - i) * sizeof *y);                                     \
        }                                                                                          \
    }

MAP_OF(exp, vec_exp)
MAP_OF(log, vec_log)
MAP_OF(tanh, vec_tanh)
MAP_OF(sigmoid, vec_sigmoid)
MAP_OF(erf, vec_erf_all)
