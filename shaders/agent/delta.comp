#version 450
// delta of a position = sum over agents of weight * gradient, with BY_POSITION; and of each group of 64
// positions the greatest gradient of a logit, with GREATEST. Groups: positions, units.
#extension GL_GOOGLE_include_directive : require
#include "agent/chunk.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 3) const uint GREATEST = 0;

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    WEIGHT_FIELDS
    uint groups; // of 64 positions
};

#include "agent/weights.glsl"
layout(std430, binding = 4) buffer Delta { float delta[]; };
layout(std430, binding = 5) writeonly buffer Greatest { float greatest[]; };

shared float most_of[64];

float sum_of(uint unit, uint position)
{
    const uint stat = statistic(unit, 0u, position);
    float sum = 0.0;
    for (uint agent = 0; agent < agents; agent++) {
        const uint at = element(unit, agent, position);
        sum = fma(weight(at, stat), grads[at], sum);
    }
    return sum;
}

void main()
{
    const uint position = gl_GlobalInvocationID.x, unit = gl_WorkGroupID.y;
    const uint lane = gl_LocalInvocationIndex;
    float sum = 0.0, great = 0.0;
    if (BY_POSITION != 0 && position < count) {
        sum = sum_of(unit, position);
        delta[statistic(unit, 0u, position)] = sum;
    }
    if (GREATEST == 0)
        return;
    for (uint agent = 0; agent < agents && position < count; agent++) {
        const uint at = element(unit, agent, position), stat = statistic(unit, agent, position);
        const float d = BY_POSITION != 0 ? sum : delta[stat];
        const float p = CAPPED ? weight(at, stat) * slope(logits[at]) : weight(at, stat);
        great = max(great, abs(p * (grads[at] - d)));
    }
    most_of[lane] = great;
    for (uint half_of = 32; half_of > 0; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            most_of[lane] = max(most_of[lane], most_of[lane + half_of]);
    }
    if (lane == 0)
        greatest[(unit0 + unit) * groups + gl_WorkGroupID.x] = most_of[0];
}
