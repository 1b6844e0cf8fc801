// Backward: the gradient of each node's state, from the queries that read it and from its parent, top down;
// in the end that of each chunk's own.
//
// Workgroups: (part of a state, head in work, sequence); an invocation has one number of each.
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1

layout(local_size_x = 64) in;

layout(push_constant) uniform push_block
{
    uint n, packed, slots, lane_states, size;
    uint lane_parts, part_levels;
};

#include "log_linear/tree.glsl"

layout(std430, set = 0, binding = 0) buffer state_block
{
    float state[];
};
layout(std430, set = 0, binding = 3) readonly buffer part_block
{
    float part_of[];
};

const uint AHEAD = 4;

// What the readers of node j said; only a left node with chunks behind it has any.
float said(uint lane, uint s, linear_sequence sequence, uint level, uint node, uint j, uint i)
{
    const uint first = (j + 1) << level;
    if ((j & 1u) != 0 || first >= sequence.chunks)
        return 0.0;
    if (level <= PART_LOG)
        return state[node * size + i];
    const uint end = min(first + (1u << level), sequence.chunks);
    const uint base = (lane * part_levels + level - PART_LOG - 1) * lane_parts + s;
    float sum = 0.0;
    for (uint c = first; c < end; c += 1u << PART_LOG)
        sum += part_of[(base + (sequence.first >> PART_LOG) + (c >> PART_LOG)) * size + i];
    return sum;
}

void main()
{
    const uint i = gl_GlobalInvocationID.x, lane = gl_WorkGroupID.y, s = gl_WorkGroupID.z;
    const linear_sequence sequence = linear_sequence_at(s, packed, n);
    if (i >= size || sequence.chunks == 0)
        return;
    for (int top = findMSB(sequence.chunks); top >= 0; top--) {
        const uint level = uint(top), nodes = sequence.chunks >> level, parents = nodes >> 1;
        const uint own = linear_tree_base(level, slots), above = linear_tree_base(level + 1, slots);
        for (uint j = 0; j < nodes; j += AHEAD) {
            float value[AHEAD];
            [[unroll]] for (uint u = 0; u < AHEAD; u++) {
                const uint at = min(j + u, nodes - 1);
                value[u] = said(lane, s, sequence, level, node_at(lane, own, sequence, level, at), at, i);
                if (at >> 1 < parents) {
                    const float from = state[node_at(lane, above, sequence, level + 1, at >> 1) * size + i];
                    value[u] += (at & 1u) != 0 ? from : node_decay(lane, sequence, level, at + 1) * from;
                }
            }
            [[unroll]] for (uint u = 0; u < AHEAD; u++)
                if (j + u < nodes)
                    state[node_at(lane, own, sequence, level, j + u) * size + i] = value[u];
        }
    }
}
