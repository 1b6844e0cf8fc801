#version 450
// A kernel [x][y][z] as contiguous float32.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint count, y, z;
    uint base, stride_x, stride_y, stride_z;
};

layout(std430, binding = 0) readonly buffer From { STORED from[]; };
layout(std430, binding = 1) writeonly buffer To { float to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i < count)
        to[i] = LOAD(from[base + i / (y * z) * stride_x + i / z % y * stride_y + i % z * stride_z]);
}
