// Cog attention on the score kit: w = sign(s) softmax(|s|). The sign is piecewise constant, so the
// factor has no slope; at 0 both it and the slope of |s| are 0.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "kit/score.glsl"

#define SCORE_LOGIT
#define SCORE_FACTOR

float score_logit(score_site at, float s)
{
    return abs(s);
}

float score_logit_slope(score_site at, float s)
{
    return sign(s);
}

float score_factor(score_site at, float s)
{
    return sign(s);
}

#include "kit/score_pass.glsl"
