// Sums y e^x along the sequences: each slot's becomes that of the chunks before it (REVERSE: behind it), and
// `end` what is left.
//
// Workgroups: (sequence, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 2) const uint REVERSE = 0;

#include "flow/sums.glsl"

layout(push_constant) uniform push_block
{
    SUMS_PUSHED
};

const uint HAS_FROM = 1;
const uint EXP_ROW = 4;

layout(std430, set = 0, binding = 0) buffer pair_block
{
    vec2 pair_of_slot[];
};
layout(std430, set = 0, binding = 2) readonly buffer from_block
{
    float from_of[];
};
layout(std430, set = 0, binding = 3) writeonly buffer end_block
{
    vec2 end_of[]; // [lane][sequence]
};

#include "flow/pairs.glsl"

void main()
{
    const uint t = gl_LocalInvocationID.x, s = gl_WorkGroupID.x, lane = gl_WorkGroupID.y;
    const linear_sequence sequence = linear_sequence_at(s, packed, n);
    vec2 before = NO_PAIR;
    if ((flags & HAS_FROM) != 0)
        before = pair_of(from_of[linear_row(from, s, lane, EXP_ROW)]);
    for (uint c = 0; c < sequence.chunks; c += CHUNK) {
        const bool there = c + t < sequence.chunks;
        const uint chunk = REVERSE != 0 ? sequence.chunks - 1 - (c + t) : c + t;
        const uint at = lane * slots + sequence.first + chunk;
        pair_scan(there ? pair_of_slot[at] : NO_PAIR, false);
        if (there)
            pair_of_slot[at] = joined(before, pair_before(false));
        before = joined(before, pair_total());
    }
    if (t == 0)
        end_of[lane * sequences + s] = before;
}
