// m softmax of the clipped cr over each sequence's keys.
//
//     STAGE 0  the greatest cr and the sum of e^(cr - that), from those of parts; workgroups (sequence, lane)
//     STAGE 1  the keys' factors; workgroups (slot, lane)
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 2) const uint STAGE = 0;

// The keys' side of a call: m is n here, and what n is elsewhere does not matter.
layout(push_constant) uniform push_block
{
    uint n, m, packed, lanes, lane_rows, sequences, units, unit_log;
    float bound;
};

layout(std430, set = 0, binding = 0) readonly buffer part_block
{
    vec2 part_of[]; // [lane][unit]
};
layout(std430, set = 0, binding = 2) buffer whole_block
{
    vec2 whole_of[]; // [lane][sequence]
};
layout(std430, set = 0, binding = 3) buffer number_block
{
    float number_of[];
};

#include "flow/numbers.glsl"

shared vec2 partial[CHUNK];

vec2 joined(vec2 a, vec2 b)
{
    const float greatest = max(a.x, b.x);
    return vec2(greatest, a.y * exp(a.x - greatest) + b.y * exp(b.x - greatest));
}

void join(linear_sequence sequence, uint s, uint lane)
{
    const uint t = gl_LocalInvocationID.x;
    const uint count = (sequence.chunks + (1u << unit_log) - 1) >> unit_log;
    vec2 own = vec2(-3.4e38, 0.0);
    for (uint i = t; i < count; i += CHUNK)
        own = joined(own, part_of[lane * units + (sequence.first >> unit_log) + s + i]);
    partial[t] = own;
    for (uint d = CHUNK / 2; d > 0; d /= 2) {
        barrier();
        if (t < d)
            partial[t] = joined(partial[t], partial[t + d]);
    }
    if (t == 0)
        whole_of[lane * sequences + s] = partial[0];
}

void main()
{
    const uint t = gl_LocalInvocationID.x, x = gl_WorkGroupID.x, lane = gl_WorkGroupID.y;
    if (STAGE == 0) {
        join(linear_sequence_at(x, packed, m), x, lane);
        return;
    }
    const linear_chunk chunk = linear_chunk_at(x, packed, m);
    if (t >= chunk.count)
        return;
    const vec2 whole = whole_of[lane * sequences + chunk.sequence];
    const uint positions = linear_sequence_at(chunk.sequence, packed, m).positions;
    const uint row = chunk.row + t;
    const float cr = flow_clip(number_of[number_at(CLAIM, 1, chunk.batch, lane, row)]);
    number_of[number_at(FACTOR, 1, chunk.batch, lane, row)] =
        float(positions) * exp(cr - whole.x) / whole.y;
}
