#version 450
// Softmax of each row of a matrix [unit][agent][position], in place; with PACKED, of each sequence's part
// of it. A row that sees nothing becomes 0. Groups: agents, units times sequences.
#extension GL_GOOGLE_include_directive : require
#include "agent/options.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    uint heads, agents, positions;
    uint sequences, borders_at;
};

layout(std430, binding = 0) buffer Matrix { float matrix[]; };
#define BORDERS_BINDING 1
#include "agent/packed.glsl"

shared float of_lane[128];

#define LOWEST -3.4e38

void main()
{
    const uint lane = gl_LocalInvocationIndex, agent = gl_WorkGroupID.x, set = gl_WorkGroupID.y;
    uint unit = set;
    uvec2 range = uvec2(0u, positions);
    if (PACKED) {
        unit = set % heads;
        range = positions_of(borders_at, set / heads, 0u, positions);
    }
    const uint at = (unit * agents + agent) * positions;
    float top = LOWEST, sum = 0.0;
    for (uint i = range.x + lane; i < range.y; i += 128u)
        top = max(top, matrix[at + i]);
    of_lane[lane] = top;
    for (uint half_of = 64u; half_of > 0u; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            of_lane[lane] = max(of_lane[lane], of_lane[lane + half_of]);
    }
    barrier();
    top = of_lane[0];
    barrier();
    for (uint i = range.x + lane; i < range.y; i += 128u) {
        const float x = matrix[at + i];
        sum += x > LOWEST ? exp(x - top) : 0.0;
    }
    of_lane[lane] = sum;
    for (uint half_of = 64u; half_of > 0u; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            of_lane[lane] += of_lane[lane + half_of];
    }
    barrier();
    const float share = of_lane[0] > 0.0 ? 1.0 / of_lane[0] : 0.0;
    for (uint i = range.x + lane; i < range.y; i += 128u) {
        const float x = matrix[at + i];
        matrix[at + i] = x > LOWEST ? exp(x - top) * share : 0.0;
    }
}
