#version 450
// The agents given, as contiguous float32. Groups: elements, batch * heads + head.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint heads, size, width;
    uint from_base, from_batch, from_head, from_row;
};

layout(std430, binding = 0) readonly buffer From { STORED from[]; };
layout(std430, binding = 1) writeonly buffer To { float to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x, unit = gl_WorkGroupID.y;
    if (i < size)
        to[unit * size + i] = LOAD(from[from_base + unit / heads * from_batch +
                                        unit % heads * from_head + i / width * from_row + i % width]);
}
