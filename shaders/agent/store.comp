#version 450
// Contiguous float32 to a tensor of as many elements. Groups: elements.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint size, to_base;
};

layout(std430, binding = 0) readonly buffer From { float from[]; };
layout(std430, binding = 1) writeonly buffer To { STORED to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i < size)
        to[to_base + i] = STORE(from[i]);
}
