// The weight of all pairs that begin before a chunk and end behind it: what began so far less what ended.
//
// Workgroups: (sequence, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear_scan.glsl"

layout(push_constant) uniform push_block
{
    uint n, packed, slots;
};

layout(std430, set = 0, binding = 0) buffer passing_block
{
    vec2 passing_of[]; // weights that begin in a chunk, end in it; then x is what crosses it
};

void main()
{
    const uint t = gl_LocalInvocationID.x, lane = gl_WorkGroupID.y;
    const linear_sequence sequence = linear_sequence_at(gl_WorkGroupID.x, packed, n);
    vec2 before = vec2(0.0);
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
