#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_FLOW
#include "kit/linear_contribute.glsl"
