#version 450
// to[batch][g][key][e] = factor * sum over the heads that read g of sum[batch * heads + head][key][e].
// Groups: elements, batch * key/value heads + g.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint readers; // heads that read a key/value head
    uint sources; // key/value heads
    uint size, width;
    uint to_base, to_batch, to_head, to_row;
    float factor;
};

layout(std430, binding = 0) readonly buffer Sum { float sum[]; };
layout(std430, binding = 1) writeonly buffer To { STORED to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x, source = gl_WorkGroupID.y;
    if (i >= size)
        return;
    float total = 0.0;
    for (uint h = 0; h < readers; h++)
        total += sum[(source * readers + h) * size + i];
    to[to_base + source / sources * to_batch + source % sources * to_head + i / width * to_row +
       i % width] = STORE(factor * total);
}
