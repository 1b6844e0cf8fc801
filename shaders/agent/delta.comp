#version 450
// delta of a position = sum over agents of weight * gradient. Groups: positions, units.
#extension GL_GOOGLE_include_directive : require
#include "agent/chunk.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    WEIGHT_FIELDS
};

#include "agent/weights.glsl"
layout(std430, binding = 4) writeonly buffer Delta { float delta[]; };

void main()
{
    const uint position = gl_GlobalInvocationID.x, unit = gl_WorkGroupID.y;
    if (position >= count)
        return;
    const uint stat = statistic(unit, 0u, position);
    float sum = 0.0;
    for (uint agent = 0; agent < agents; agent++) {
        const uint at = element(unit, agent, position);
        sum = fma(weight(at, stat), grads[at], sum);
    }
    delta[stat] = sum;
}
