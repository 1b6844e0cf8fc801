// The weight of all pairs that begin before a chunk and end behind it: what began so far less what ended. What
// began before the sequence is what the state that it goes on from and its gradient say together.
//
// Workgroups: (sequence, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear_scan.glsl"

layout(push_constant) uniform push_block
{
    uint n, packed, slots, origin, flags, lane_states, size; // numbers of a state
};

#define LINEAR_GOES_ON 2
#include "kit/linear_nodes.glsl"

const uint HAS_FROM = 1;

layout(std430, set = 0, binding = 0) buffer passing_block
{
    vec2 passing_of[]; // weights that begin in a chunk, end in it; then x is what crosses it
};

layout(std430, set = 0, binding = 2) readonly buffer state_block
{
    float state[];
};
layout(std430, set = 0, binding = 3) readonly buffer reverse_block
{
    float reverse[];
};

// An invocation's share of a state times its gradient.
vec2 said_of(uint place)
{
    vec2 sum = vec2(0.0);
    for (uint i = gl_LocalInvocationID.x; i < size; i += CHUNK)
        sum = linear_two_sum(sum, vec2(state[place * size + i] * reverse[place * size + i], 0.0));
    return sum;
}

vec2 began(linear_sequence sequence, uint s, uint lane)
{
    const uint sequences = tree_sequences(slots, packed, n), base = lane * lane_states;
    vec2 sum = vec2(0.0);
    for (uint bit = 0; bit < CHUNK_LOG; bit++)
        if ((tree_skip() >> bit & 1u) != 0)
            sum = linear_two_sum(sum, said_of(base + linear_tree_piece(lane_states, sequences, s, bit)));
    for (uint level = 0; tree_reaches(0, level); level++)
        if (tree_odd(level) != 0)
            sum = linear_two_sum(sum, said_of(base + linear_tree_place(linear_tree_base(level, slots, sequences),
                                                                       s, sequence.first, level, -1u)));
    linear_scan(sum);
    return scan_of[CHUNK - 1];
}

void main()
{
    const uint t = gl_LocalInvocationID.x, lane = gl_WorkGroupID.y;
    const linear_sequence sequence = linear_sequence_at(gl_WorkGroupID.x, packed, n, tree_skip());
    vec2 before = vec2(0.0);
    if (GOES_ON != 0 && (flags & HAS_FROM) != 0 && sequence.chunks > 0)
        before = began(sequence, gl_WorkGroupID.x, lane);
    for (uint c = 0; c < sequence.chunks; c += CHUNK) {
        const uint at = lane * slots + sequence.first + c + t;
        vec2 own = vec2(0.0);
        if (c + t < sequence.chunks)
            own = passing_of[at];
        linear_scan(linear_two_sum(vec2(own.x, 0.0), vec2(-own.y, 0.0)));
        vec2 crossing = linear_two_sum(before, t > 0 ? scan_of[t - 1] : vec2(0.0));
        crossing = linear_two_sum(crossing, vec2(-own.y, 0.0));
        if (c + t < sequence.chunks)
            passing_of[at] = vec2(crossing.x + crossing.y, 0.0);
        before = linear_two_sum(before, scan_of[CHUNK - 1]);
    }
}
