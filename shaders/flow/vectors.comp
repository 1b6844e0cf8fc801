// Sums of rows along the sequences: each slot's becomes that of the chunks before it (REVERSE: behind it),
// and what is left in the end goes out.
//
// Workgroups: (64 columns, side and head in work, sequence).
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
    uint row_q, row_k; // the rows of the two sides' sums
};

const uint HAS_FROM = 1;
const uint HAS_TO = 2;
const uint ROWS = 6;

layout(std430, set = 0, binding = 0) buffer part_block
{
    float part_of[];
};
layout(std430, set = 0, binding = 2) readonly buffer from_block
{
    float from_of[];
};
layout(std430, set = 0, binding = 3) writeonly buffer to_block
{
    float to_of[];
};

const uint AHEAD = 8; // loads in flight

void main()
{
    const uint column = gl_GlobalInvocationID.x, s = gl_WorkGroupID.z;
    const uint side = gl_WorkGroupID.y / lanes, lane = gl_WorkGroupID.y % lanes;
    const uint row = side != 0 ? row_k : row_q;
    if (column >= width || first_head + lane >= heads)
        return;
    const linear_sequence sequence = linear_sequence_at(s, packed, n);
    const uint base = ((side * lanes + lane) * slots + sequence.first) * width + column;
    const uint chunks = sequence.chunks;
    vec2 sum = vec2(0.0);
    if ((flags & HAS_FROM) != 0)
        sum.x = from_of[linear_row(from, s, lane, row) + column];
    for (uint c = 0; c < chunks; c += AHEAD) {
        float own[AHEAD];
        [[unroll]] for (uint u = 0; u < AHEAD; u++) {
            const uint at = REVERSE != 0 ? chunks - 1 - (c + u) : c + u;
            own[u] = c + u < chunks ? part_of[base + at * width] : 0.0;
        }
        [[unroll]] for (uint u = 0; u < AHEAD; u++)
            if (c + u < chunks) {
                const uint at = REVERSE != 0 ? chunks - 1 - (c + u) : c + u;
                part_of[base + at * width] = sum.x;
                sum = linear_two_sum(sum, vec2(own[u], 0.0));
            }
    }
    if ((flags & HAS_TO) != 0)
        to_of[to + ((s * heads + first_head + lane) * ROWS + row) * width + column] =
            sum.x;
}
