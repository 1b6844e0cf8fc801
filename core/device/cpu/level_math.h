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

/* 1 / (1 + e) for x >= 0 and e / (1 + e) below, with e = exp(-|x|): nothing overflows and the small
 * end keeps its relative precision. */
static inline vec vec_sigmoid(vec x)
{
    const vec one = splat(1.0f);
    const ivec negative = (ivec)(x < 0.0f);
    const vec e = vec_exp((vec)((ivec)x | INT32_MIN));
    const vec above = (vec)(((ivec)e & negative) | ((ivec)one & ~negative));
    return above / (one + e);
}

/* The rest of fewer than WIDTH elements goes through a padded vector, so that nothing beyond the
 * ends is read and an element's result does not depend on where it stands. */
#define MAP_OF(name)                                                                               \
    static void map_##name(int64_t n, const float *x, float *y)                                    \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + WIDTH <= n; i += WIDTH)                                                         \
            store_vec(y + i, vec_##name(load_vec(x + i)));                                         \
        if (i < n) {                                                                               \
            vec rest = splat(1.0f);                                                                \
            memcpy(&rest, x + i, (size_t)(n - i) * sizeof *x);                                     \
            rest = vec_##name(rest);                                                               \
            memcpy(y + i, &rest, (size_t)(n - i) * sizeof *y);                                     \
        }                                                                                          \
    }

MAP_OF(exp)
MAP_OF(log)
MAP_OF(tanh)
MAP_OF(sigmoid)
MAP_OF(erf)
