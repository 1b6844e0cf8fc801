#version 450
// An agent is the average of the queries in its area: bin i of A over a length N covers
// floor(i N / A) <= x < ceil((i + 1) N / A), on both axes of the grid. Groups: agents, 64 features,
// batch * heads + head, or with PACKED sequence * heads + head. Even and odd queries of an area are added up side by side.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"
#include "agent/bins.glsl"
#include "agent/options.glsl"

layout(local_size_x = 128) in;

layout(constant_id = 1) const uint ROUNDED = 0; // 1: to the type of the queries

layout(push_constant) uniform Push {
    uint heads, width;
    uint grid_y, grid_x, bins_y, bins_x;
    uint q_base, q_batch, q_head, q_row;
    uint to_base;
};

layout(std430, binding = 0) readonly buffer Q { STORED q[]; };
layout(std430, binding = 1) writeonly buffer To { float to[]; };
#define BORDERS_BINDING 2
#include "agent/packed.glsl"

shared float sums[128];

void main()
{
    const uint lane = gl_LocalInvocationIndex, agent = gl_WorkGroupID.x, unit = gl_WorkGroupID.z;
    const uint d = gl_WorkGroupID.y * 64 + (lane & 63u);
    const uint y0 = bin_first(agent / bins_x, grid_y, bins_y);
    const uint y1 = bin_end(agent / bins_x, grid_y, bins_y);
    uvec2 line = uvec2(0u, grid_x);
    if (PACKED)
        line = positions_of(0u, unit / heads, 0u, grid_x);
    const uint x0 = line.x + bin_first(agent % bins_x, line.y - line.x, bins_x);
    const uint x1 = line.x + bin_end(agent % bins_x, line.y - line.x, bins_x);
    const uint at = q_base + unit / heads * q_batch + unit % heads * q_head + d;
    const uint across = x1 - x0, count = (y1 - y0) * across;
    float sum = 0.0;
    if (d < width)
        for (uint i = lane >> 6; i < count; i += 2)
            sum += LOAD(q[at + ((y0 + i / across) * grid_x + x0 + i % across) * q_row]);
    sums[lane] = sum;
    barrier();
    if (lane < 64 && d < width) {
        const float mean = count > 0 ? (sums[lane] + sums[lane + 64]) / float(count) : 0.0;
        to[to_base + (unit * bins_y * bins_x + agent) * width + d] =
            ROUNDED != 0 ? LOAD(STORE(mean)) : mean;
    }
}
