#version 450
// to[batch][head][own + row][e] = factor * sum over splits of part[split][unit][row][e]. Groups:
// elements, units.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint heads, unit0, units, splits;
    uint count, width;
    uint to_base, to_batch, to_head, to_row; // base: of row `own`
    float factor;
};

layout(std430, binding = 0) readonly buffer Part { float part[]; };
layout(std430, binding = 1) writeonly buffer To { STORED to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x, unit = gl_WorkGroupID.y;
    if (i >= count * width)
        return;
    float sum = 0.0;
    for (uint split = 0; split < splits; split++)
        sum += part[(split * units + unit) * count * width + i];
    const uint batch = (unit0 + unit) / heads, head = (unit0 + unit) % heads;
    to[to_base + batch * to_batch + head * to_head + i / width * to_row + i % width] =
        STORE(factor * sum);
}
