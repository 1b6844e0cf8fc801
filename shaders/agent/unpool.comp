#version 450
// The gradient of queries: that of handing out, and of each agent that a query was averaged into its
// share. Groups: elements, batch * heads + head.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"
#include "agent/bins.glsl"
#include "agent/options.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint heads, width;
    uint grid_y, grid_x, bins_y, bins_x;
    uint to_base, to_batch, to_head, to_row;
    uint sequences;
};

layout(std430, binding = 0) readonly buffer Grad { float grad[]; };
layout(std430, binding = 1) readonly buffer Agents { float agent_grad[]; };
layout(std430, binding = 2) writeonly buffer To { STORED to[]; };
#define BORDERS_BINDING 3
#include "agent/packed.glsl"

uint size_of(uint index, uint length, uint count)
{
    return bin_end(index, length, count) - bin_first(index, length, count);
}

void main()
{
    const uint i = gl_GlobalInvocationID.x, unit = gl_WorkGroupID.y;
    const uint query = i / width, d = i % width, n = grid_y * grid_x;
    if (query >= n)
        return;
    const uint y = query / grid_x;
    uint x = query % grid_x, across = grid_x, set = unit;
    if (PACKED) {
        const uint sequence = sequence_of(0u, sequences, query);
        const uvec2 line = positions_of(0u, sequence, 0u, grid_x);
        x -= line.x;
        across = line.y - line.x;
        set += sequence * heads;
    }
    float sum = 0.0;
    // The bins that hold a position are those that it is scaled to in the other direction.
    for (uint b = bin_first(y, bins_y, grid_y); b < bin_end(y, bins_y, grid_y); b++)
        for (uint a = bin_first(x, bins_x, across); a < bin_end(x, bins_x, across); a++) {
            const uint count = size_of(b, grid_y, bins_y) * size_of(a, across, bins_x);
            sum += agent_grad[((set * bins_y + b) * bins_x + a) * width + d] / float(count);
        }
    to[to_base + unit / heads * to_batch + unit % heads * to_head + query * to_row + d] =
        STORE(sum + grad[(unit * n + query) * width + d]);
}
