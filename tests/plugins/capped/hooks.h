/* z(s) = 4 tanh(s / 4), f(s) = sigmoid(s): both with slopes. */
#ifndef CAPPED_HOOKS
#define CAPPED_HOOKS
#define SCORE_LOGIT        1
#define SCORE_FACTOR       1
#define SCORE_FACTOR_SLOPE 1
#define SCORE_BIAS         1
#endif

SIMD_FN simd_f score_logit(const score_site *at, simd_f s)
{
    (void)at;
    return 4.0f * simd_tanh(0.25f * s);
}

SIMD_FN simd_f score_logit_slope(const score_site *at, simd_f s)
{
    const simd_f t = simd_tanh(0.25f * s);
    (void)at;
    return 1.0f - t * t;
}

SIMD_FN simd_f score_factor(const score_site *at, simd_f s)
{
    (void)at;
    return simd_sigmoid(s);
}

SIMD_FN simd_f score_factor_slope(const score_site *at, simd_f s)
{
    const simd_f f = simd_sigmoid(s);
    (void)at;
    return f * (1.0f - f);
}

#include "kit/score_driver.h"
