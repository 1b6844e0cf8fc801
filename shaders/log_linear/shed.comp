// Backward: the gradient of each node's state, from the queries that read it and from its parent, top down;
// in the end that of each chunk's own. Where sequences go on from a state or have a final one with a
// gradient, nodes begin with what that says of them, and what was said of the parts of the state before goes
// out.
//
// Workgroups: (part of a state, head in work, sequence); an invocation has one number of each.
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform push_block
{
    uint n, packed, slots, lane_states, size;
    uint lane_parts, part_levels;
    uint origin, flags;
    linear_rows from; // of the final state's gradient: [sequence, head, level]
    uint from_row, width, levels;
    uint to, heads, first_head; // where the gradient of the state before begins, contiguous
};

const uint HAS_TO = 2;
const uint HAS_FINAL = 128;

#include "log_linear/tree.glsl"

layout(std430, set = 0, binding = 0) buffer state_block
{
    float state[];
};
layout(std430, set = 0, binding = 3) readonly buffer part_block
{
    float part_of[];
};
layout(std430, set = 0, binding = 4) readonly buffer from_block
{
    float from_of[];
};
layout(std430, set = 0, binding = 5) writeonly buffer to_block
{
    float to_of[];
};

const uint AHEAD = 4;

// What the readers of node j said; only a left node with chunks behind it has any.
float said(uint lane, uint s, linear_sequence sequence, uint level, uint node, uint j, uint i)
{
    const uint last = sequence.chunks - 1;
    if ((j + tree_odd(level) & 1u) != 0 || tree_node(last, level) + 1 < j + 2)
        return 0.0;
    if (level <= PART_LOG)
        return state[node * size + i];
    const uint base = (lane * part_levels + level - PART_LOG - 1) * lane_parts;
    const uint first = linear_tree_part(s, sequence.first, tree_start(j + 1, level));
    const uint end = linear_tree_part(s, sequence.first, tree_end(j + 1, level, sequence.chunks) - 1);
    float sum = 0.0;
    for (uint part = first; part <= end; part++)
        sum += part_of[(base + part) * size + i];
    return sum;
}

// One number of the gradient of the final state of 2^bit positions.
float final_of(uint lane, uint s, uint bit, uint i)
{
    if ((flags & HAS_FINAL) == 0 || bit + 1 >= levels)
        return 0.0;
    return from_of[linear_row(from, s, lane, bit + 1) + i / width * from_row + i % width];
}

// What the final state says of node j, if that is a part of it.
float ended(uint lane, uint s, linear_sequence sequence, uint level, uint j, uint i)
{
    const uint whole = (tree_skip() + sequence.positions) / CHUNK, node = tree_node(whole, level);
    if ((flags & HAS_FINAL) == 0 || !tree_bit(whole, level) || j + 1 != node)
        return 0.0;
    const uint first = lane * slots + sequence.first, behind = tree_start(node, level);
    const float own = final_of(lane, s, CHUNK_LOG + level, i);
    return behind >= sequence.chunks
               ? own
               : own * exp(linear_gap(span_of[first + sequence.chunks - 1].zw, span_of[first + behind].xy));
}

// The gradient of a piece: what its readers, the first chunk's state and the final one say.
float piece_of(uint lane, uint s, linear_sequence sequence, uint bit, uint i)
{
    const uint rest = (tree_skip() + sequence.positions) % CHUNK;
    const uint at = linear_tree_piece(lane_states, tree_sequences(slots, packed, n), s, bit);
    float sum = state[node_at(lane, 0, s, sequence, 0, 0) * size + i];
    for (uint block = 0; sequence.chunks == 1 && block < CHUNK_LOG; block++)
        if ((rest >> block & 1u) != 0 && tree_piece_row(bit) >> block == tree_block_row(rest, block) >> block)
            sum += final_of(lane, s, block, i);
    sum *= exp(span_of[lane * slots + sequence.first].z);
    sum += state[(lane * lane_states + at) * size + i];
    state[(lane * lane_states + at) * size + i] = sum;
    return sum;
}

// The tails, and the gradient of the state before.
void hand_on(uint lane, uint s, linear_sequence sequence, uint i)
{
    const uint sequences = tree_sequences(slots, packed, n);
    const uint rest = (tree_skip() + sequence.positions) % CHUNK;
    for (uint bit = 0; bit < CHUNK_LOG; bit++)
        if (sequence.chunks > 0 && (rest >> bit & 1u) != 0)
            state[(lane * lane_states + linear_tree_tail(lane_states, sequences, s, bit)) * size + i] =
                final_of(lane, s, bit, i);
    for (uint entry = 0; entry < max(levels, CHUNK_LOG + 1); entry++) {
        const uint bit = entry - 1, level = bit - CHUNK_LOG;
        float value = 0.0;
        if (entry > 0 && (bit < CHUNK_LOG ? (tree_skip() >> bit & 1u) != 0 : tree_bit(0, level))) {
            if (sequence.chunks == 0)
                value = final_of(lane, s, bit, i);
            else if (bit < CHUNK_LOG)
                value = piece_of(lane, s, sequence, bit, i);
            else
                value = state[node_at(lane, linear_tree_base(level, slots, sequences), s, sequence, level, -1u) *
                                  size +
                              i];
        }
        if ((flags & HAS_TO) != 0 && entry < levels)
            to_of[to + ((s * heads + first_head + lane) * levels + entry) * size + i] = value;
    }
}

void main()
{
    const uint i = gl_GlobalInvocationID.x, lane = gl_WorkGroupID.y, s = gl_WorkGroupID.z;
    const linear_sequence sequence = linear_sequence_at(s, packed, n, tree_skip());
    if (i >= size)
        return;
    const uint sequences = tree_sequences(slots, packed, n);
    uint level = 0;
    while (sequence.chunks > 0 && tree_reaches(sequence.chunks, level))
        level++;
    while (level-- > 0) {
        // Nodes from the one before the sequence on, if that is a part of what it began with.
        const uint odd = tree_odd(level), nodes = tree_node(sequence.chunks, level) + odd;
        const uint parents = tree_node(sequence.chunks, level + 1);
        const uint own = linear_tree_base(level, slots, sequences);
        const uint above = linear_tree_base(level + 1, slots, sequences);
        for (uint j = 0; j < nodes; j += AHEAD) {
            float value[AHEAD];
            [[unroll]] for (uint u = 0; u < AHEAD; u++) {
                const uint at = min(j + u, nodes - 1), node = at - odd; // `at` is as odd as the node is
                value[u] =
                    said(lane, s, sequence, level, node_at(lane, own, s, sequence, level, node), node, i);
                if (GOES_ON != 0)
                    value[u] += ended(lane, s, sequence, level, node, i);
                if (at >> 1 < parents) {
                    const float from = state[node_at(lane, above, s, sequence, level + 1, at >> 1) * size + i];
                    value[u] += (at & 1u) != 0 ? from : node_decay(lane, sequence, level, node + 1) * from;
                }
            }
            [[unroll]] for (uint u = 0; u < AHEAD; u++)
                if (j + u < nodes)
                    state[node_at(lane, own, s, sequence, level, j + u - odd) * size + i] = value[u];
        }
    }
    if (GOES_ON != 0)
        hand_on(lane, s, sequence, i);
}
