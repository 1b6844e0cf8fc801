// Selective self-attention: temperatures are options of the score kit; there is no hook.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "kit/score.glsl"

#include "kit/score_pass.glsl"
