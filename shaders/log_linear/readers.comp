#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TREE
#define LINEAR_READERS
#include "kit/linear_contribute.glsl"
