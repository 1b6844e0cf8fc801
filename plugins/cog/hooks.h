/*
 * Cog attention on the score driver: w = sign(s) softmax(|s|). The sign is piecewise constant, so
 * the factor has no slope; at 0 both it and the slope of |s| are 0.
 */
#ifndef COG_HOOKS
#define COG_HOOKS
#define SCORE_LOGIT  1
#define SCORE_FACTOR 1
#endif

SIMD_FN simd_f score_logit(const score_site *at, simd_f s)
{
    (void)at;
    return simd_abs(s);
}

SIMD_FN simd_f score_logit_slope(const score_site *at, simd_f s)
{
    (void)at;
    return simd_sign(s);
}

SIMD_FN simd_f score_factor(const score_site *at, simd_f s)
{
    (void)at;
    return simd_sign(s);
}

#include "kit/score_driver.h"
