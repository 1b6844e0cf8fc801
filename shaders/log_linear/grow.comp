// Nodes from their children: the left one decayed over the right one's chunks, plus the right one. Before that
// come, where sequences go on from a state, its parts: the nodes before each sequence, and the pieces, which
// the first chunk's own state holds too.
//
// Workgroups: (part of a state, head in work, sequence); an invocation has one number of each.
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform push_block
{
    uint n, packed, slots, lane_states, size; // numbers of a state
    uint origin, flags;
    linear_rows from; // of the state: [sequence, head, level], and from one row of D to the next
    uint from_row, width, levels;
};

const uint HAS_FROM = 1;

#include "log_linear/tree.glsl"

layout(std430, set = 0, binding = 0) buffer state_block
{
    float state[];
};

layout(std430, set = 0, binding = 3) readonly buffer from_block
{
    float from_of[];
};

const uint AHEAD = 4; // nodes whose children are loaded together

// One number of the state of 2^bit positions that a sequence goes on from.
float given(uint lane, uint s, uint bit, uint i)
{
    if ((flags & HAS_FROM) == 0 || bit + 1 >= levels)
        return 0.0;
    return from_of[linear_row(from, s, lane, bit + 1) + i / width * from_row + i % width];
}

void plant(linear_sequence sequence, uint lane, uint s, uint i)
{
    const uint sequences = tree_sequences(slots, packed, n);
    const float decay = exp(span_of[lane * slots + sequence.first].z);
    float own = state[node_at(lane, 0, s, sequence, 0, 0) * size + i];
    for (uint bit = 0; bit < CHUNK_LOG; bit++)
        if ((tree_skip() >> bit & 1u) != 0) {
            const float piece = given(lane, s, bit, i);
            state[(lane * lane_states + linear_tree_piece(lane_states, sequences, s, bit)) * size + i] = piece;
            own += decay * piece;
        }
    state[node_at(lane, 0, s, sequence, 0, 0) * size + i] = own;
    for (uint level = 0; tree_reaches(0, level); level++)
        if (tree_odd(level) != 0)
            state[node_at(lane, linear_tree_base(level, slots, sequences), s, sequence, level, -1u) * size + i] =
                given(lane, s, CHUNK_LOG + level, i);
}

void main()
{
    const uint i = gl_GlobalInvocationID.x, lane = gl_WorkGroupID.y, s = gl_WorkGroupID.z;
    if (i >= size)
        return;
    const linear_sequence sequence = linear_sequence_at(s, packed, n, tree_skip());
    const uint sequences = tree_sequences(slots, packed, n);
    if (GOES_ON != 0 && sequence.chunks > 0)
        plant(sequence, lane, s, i);
    for (uint level = 1; sequence.chunks > 0 && tree_reaches(sequence.chunks, level); level++) {
        const uint nodes = tree_node(sequence.chunks, level), odd = tree_odd(level - 1);
        const uint above = linear_tree_base(level, slots, sequences);
        const uint below = linear_tree_base(level - 1, slots, sequences);
        for (uint j = 0; j < nodes; j += AHEAD) {
            float left[AHEAD], right[AHEAD], decay[AHEAD];
            [[unroll]] for (uint u = 0; u < AHEAD; u++) {
                const uint own = 2 * min(j + u, nodes - 1) - odd;
                const uint child = node_at(lane, below, s, sequence, level - 1, own);
                left[u] = state[child * size + i];
                right[u] = state[(child + 1) * size + i];
                decay[u] = node_decay(lane, sequence, level - 1, own + 1);
            }
            [[unroll]] for (uint u = 0; u < AHEAD; u++)
                if (j + u < nodes)
                    state[node_at(lane, above, s, sequence, level, j + u) * size + i] =
                        decay[u] * left[u] + right[u];
        }
    }
}
