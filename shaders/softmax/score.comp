// Softmax attention adds nothing to the score kit: logits are the scores, their factor is 1.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "kit/score.glsl"

#include "kit/score_pass.glsl"
