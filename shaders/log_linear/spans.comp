// The log decays from a sequence's start to each chunk's start and to its end.
//
// Workgroups: (sequence, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear_scan.glsl"

layout(push_constant) uniform push_block
{
    uint n, packed, slots, origin, flags;
};

#define LINEAR_GOES_ON 2
#include "kit/linear_nodes.glsl"

layout(std430, set = 0, binding = 0) buffer span_block
{
    vec4 span_of[];
};

void main()
{
    const uint t = gl_LocalInvocationID.x, lane = gl_WorkGroupID.y;
    const linear_sequence sequence = linear_sequence_at(gl_WorkGroupID.x, packed, n, tree_skip());
    vec2 before = vec2(0.0);
    for (uint c = 0; c < sequence.chunks; c += CHUNK) {
        const uint at = lane * slots + sequence.first + c + t;
        vec2 own = vec2(0.0);
        if (c + t < sequence.chunks)
            own = span_of[at].zw;
        const vec2 sum = linear_scan(own);
        const vec2 start = linear_two_sum(before, t > 0 ? scan_of[t - 1] : vec2(0.0));
        if (c + t < sequence.chunks)
            span_of[at] = vec4(start, linear_two_sum(before, sum));
        before = linear_two_sum(before, scan_of[CHUNK - 1]);
    }
}
