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
    uint origin, flags;
    linear_rows from; // of the state to go on from: [sequence, head, level], and from one row of D to the next
    uint from_row;
};

const uint HAS_FROM = 1;

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

layout(std430, set = 0, binding = 7) readonly buffer from_block
{
    float from_of[];
};

// A block smaller than a chunk, which lies in the last one, of which `rest` rows are before the end.
float few(linear_sequence sequence, uint s, uint lane, uint rest, uint bit, uint i)
{
    const uint from = tree_block_row(rest, bit), batch = packed != 0 ? 0 : s, last = sequence.chunks - 1;
    const uint decays = (lane * slots + sequence.first + last) * CHUNK;
    const uint skip = last == 0 ? tree_skip() : 0;
    const vec2 total = decay_of[decays + CHUNK - 1];
    float sum = 0.0;
    for (uint piece = 0; GOES_ON != 0 && piece < CHUNK_LOG; piece++)
        if ((skip >> piece & 1u) != 0 && tree_piece_row(piece) >> bit == from >> bit)
            sum += exp(total.x) *
                   state[(lane * lane_states +
                          linear_tree_piece(lane_states, tree_sequences(slots, packed, n), s, piece)) *
                             size +
                         i];
    for (uint p = max(from, skip); p < from + (1u << bit); p++) {
        const uint row = sequence.row + last * CHUNK + p - tree_skip();
        const float key = LOAD(k_one[linear_row(k, batch, lane / share, row) + i / width]);
        const float value = LOAD(v_one[linear_row(v, batch, lane, row) + i % width]);
        sum += exp(linear_gap(total, decay_of[decays + p])) * key * value;
    }
    return sum;
}

// A block of whole chunks.
float many(linear_sequence sequence, uint s, uint lane, uint whole, uint bit, uint i)
{
    const uint level = bit - CHUNK_LOG, node = tree_node(whole, level);
    const uint behind = tree_start(node, level); // the chunk behind the block
    const uint base = linear_tree_base(level, slots, tree_sequences(slots, packed, n));
    const float own = state[node_at(lane, base, s, sequence, level, node - 1) * size + i];
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
    const linear_sequence sequence = linear_sequence_at(s, packed, n, tree_skip());
    // The chunks that are full at the end, and the rows of the next that are before it.
    const uint whole = (tree_skip() + sequence.positions) / CHUNK;
    const uint rest = (tree_skip() + sequence.positions) % CHUNK;
    const uint bit = level - 1;
    float value = 0.0;
    if (level > 0 && (bit < CHUNK_LOG ? (rest >> bit & 1u) != 0 : tree_bit(whole, bit - CHUNK_LOG))) {
        if (sequence.chunks != 0)
            value = bit < CHUNK_LOG ? few(sequence, s, lane, rest, bit, i)
                                    : many(sequence, s, lane, whole, bit, i);
        else if (GOES_ON != 0 && (flags & HAS_FROM) != 0)
            value = from_of[linear_row(from, s, lane, level) + i / width * from_row + i % width];
    }
    to_of[to + ((s * heads + first_head + lane) * levels + level) * size + i] = value;
}
