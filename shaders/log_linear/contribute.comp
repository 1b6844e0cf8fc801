#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TREE
#include "kit/linear_contribute.glsl"
