// The states that decoding goes on from: for each bit of a sequence's length the state of the block of
// positions that it stands for, decayed to the sequence's end.
//
// Workgroups: (part of a state, head in work, level of a sequence).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1

layout(local_size_x = 64) in;

#include "kit/linear.glsl"

layout(push_constant) uniform push_block
{
    linear_rows k, v;
    uint n, packed, slots, lane_states, size;
    uint width, share, levels, heads, first_head, to;
};

#include "log_linear/tree.glsl"

layout(std430, set = 0, binding = 0) readonly buffer state_block
{
    float state[];
};
layout(std430, set = 0, binding = 3) readonly buffer decay_block
{
    vec2 decay_of[];
};
layout(std430, set = 0, binding = 4) readonly buffer k_block
{
    STORED k_one[];
};
layout(std430, set = 0, binding = 5) readonly buffer v_block
{
    STORED v_one[];
};
layout(std430, set = 0, binding = 6) writeonly buffer to_block
{
    float to_of[];
};

// A block smaller than a chunk, which lies in the last one.
float few(linear_sequence sequence, uint s, uint lane, uint bit, uint i)
{
    const uint from = (sequence.positions >> bit) - 1 << bit, batch = packed != 0 ? 0 : s;
    const uint decays = (lane * slots + sequence.first + sequence.chunks - 1) * CHUNK;
    const vec2 total = decay_of[decays + CHUNK - 1];
    float sum = 0.0;
    for (uint p = from; p < from + (1u << bit); p++) {
        const uint row = sequence.row + p;
        const float key = LOAD(k_one[linear_row(k, batch, lane / share, row) + i / width]);
        const float value = LOAD(v_one[linear_row(v, batch, lane, row) + i % width]);
        sum += exp(linear_gap(total, decay_of[decays + p % CHUNK])) * key * value;
    }
    return sum;
}

// A block of whole chunks.
float many(linear_sequence sequence, uint lane, uint bit, uint i)
{
    const uint level = bit - CHUNK_LOG, blocks = sequence.positions >> bit;
    const uint behind = blocks << level; // the chunk behind the block
    const float own =
        state[node_at(lane, linear_tree_base(level, slots), sequence, level, blocks - 1) * size + i];
    if (behind >= sequence.chunks)
        return own;
    const uint first = lane * slots + sequence.first;
    return own * exp(linear_gap(span_of[first + sequence.chunks - 1].zw, span_of[first + behind].xy));
}

void main()
{
    const uint i = gl_GlobalInvocationID.x, lane = gl_WorkGroupID.y;
    const uint s = gl_WorkGroupID.z / levels, level = gl_WorkGroupID.z % levels;
    if (i >= size)
        return;
    const linear_sequence sequence = linear_sequence_at(s, packed, n);
    float value = 0.0;
    if (level > 0 && level <= 32 && (sequence.positions >> level - 1 & 1u) != 0)
        value = level - 1 < CHUNK_LOG ? few(sequence, s, lane, level - 1, i)
                                      : many(sequence, lane, level - 1, i);
    to_of[to + ((s * heads + first_head + lane) * levels + level) * size + i] =
        linear_checked(value, sequence.bad);
}
