// The last two rows of the sums that go out, of which the first number counts: the sum of e^cr and the length
// (backward: their gradients).
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
const uint ROWS = 6;
const uint LENGTH_ROW = 5;

layout(std430, set = 0, binding = 0) readonly buffer end_block
{
    vec2 end_of[]; // [lane][sequence]
};
layout(std430, set = 0, binding = 2) readonly buffer from_block
{
    float from_of[];
};
layout(std430, set = 0, binding = 3) writeonly buffer to_block
{
    float to_of[];
};
layout(std430, set = 0, binding = 4) readonly buffer length_block
{
    float length_of[]; // [lane][slot]: backward, the chunks' parts
};

shared float part[CHUNK];

void main()
{
    const uint t = gl_LocalInvocationID.x, s = gl_WorkGroupID.x, lane = gl_WorkGroupID.y;
    const linear_sequence sequence = linear_sequence_at(s, packed, n);
    float sum = 0.0;
    for (uint c = t; REVERSE != 0 && c < sequence.chunks; c += CHUNK)
        sum += length_of[lane * slots + sequence.first + c];
    part[t] = sum;
    barrier();
    for (uint d = CHUNK / 2; d > 0; d /= 2) {
        if (t < d)
            part[t] += part[t + d];
        barrier();
    }
    float length = REVERSE != 0 ? part[0] : float(sequence.positions);
    if ((flags & HAS_FROM) != 0)
        length += from_of[linear_row(from, s, lane, LENGTH_ROW)];
    const vec2 end = end_of[lane * sequences + s];
    const float z = end.y * exp(min(end.x, 88.0));
    const uint base = to + ((s * heads + first_head + lane) * ROWS + LENGTH_ROW - 1) * width;
    for (uint i = t; i < 2 * width; i += CHUNK) {
        float value = 0.0;
        if (i == 0)
            value = z;
        if (i == width)
            value = length;
        to_of[base + i] = value;
    }
}
