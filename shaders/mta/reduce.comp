#version 450
// to[head][i] = sum over batches and slots of part[batch * heads + head][slot][i]; heads may be
// groups of them. Each addition keeps what rounding takes (Kahan).
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint heads, batches, slots, size;
    uint to_base;
};

layout(std430, binding = 0) readonly buffer Part { float part[]; };
layout(std430, binding = 1) writeonly buffer To { STORED to[]; };

void main()
{
    const uint at = gl_GlobalInvocationID.x, head = at / size, i = at % size;
    if (at >= heads * size)
        return;
    precise float sum = 0.0, lost = 0.0;
    for (uint b = 0; b < batches; b++)
        for (uint slot = 0; slot < slots; slot++) {
            precise const float x = part[((b * heads + head) * slots + slot) * size + i] - lost;
            precise const float next = sum + x;
            lost = (next - sum) - x;
            sum = next;
        }
    to[to_base + at] = STORE(sum);
}
