/* Arithmetic on sizes that says when it overflows. */
#ifndef RAPT_BASE_CHECKED_H
#define RAPT_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* false on overflow; *out is then not to be used. */
static inline bool rapt_mul(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool rapt_add(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

#endif
