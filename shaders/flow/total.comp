// Sums over the parts of each sequence: [lane][sequence][column] from [lane][part][column].
//
// Workgroups: (32 columns, lane, sequence); four invocations share a column.
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#define LINEAR_TABLE_BASE (lane >= side_lanes ? table_k : 0)
uint lane;

layout(push_constant) uniform push_block
{
    uint n, m, packed, side_lanes, table_k; // lanes from side_lanes on are of k
    uint sequences, width, units, unit_log, to;
};

#include "kit/linear.glsl"

layout(local_size_x = 128) in;

layout(std430, set = 0, binding = 0) readonly buffer part_block
{
    float part_of[];
};
layout(std430, set = 0, binding = 2) writeonly buffer to_block
{
    float to_of[];
};

shared float column_sum[4][32];

const uint AHEAD = 8; // loads in flight

void main()
{
    const uint t = gl_LocalInvocationID.x, s = gl_WorkGroupID.z;
    const uint column = gl_WorkGroupID.x * 32 + (t & 31u);
    lane = gl_WorkGroupID.y;
    const linear_sequence sequence = linear_sequence_at(s, packed, lane >= side_lanes ? m : n);
    const uint count = (sequence.chunks + (1u << unit_log) - 1) >> unit_log;
    const uint first = unit_log == 0 ? sequence.first : (sequence.first >> unit_log) + s;
    const uint base = (lane * units + first) * width + column;
    float sum = 0.0;
    if (column < width)
        for (uint i = t >> 5; i < count; i += 4 * AHEAD) {
            float own[AHEAD];
            [[unroll]] for (uint u = 0; u < AHEAD; u++)
                own[u] = i + 4 * u < count ? part_of[base + (i + 4 * u) * width] : 0.0;
            [[unroll]] for (uint u = 0; u < AHEAD; u++)
                sum += own[u];
        }
    column_sum[t >> 5][t & 31u] = sum;
    barrier();
    if (t < 32 && column < width)
        to_of[to + (lane * sequences + s) * width + column] =
            column_sum[0][t] + column_sum[1][t] + (column_sum[2][t] + column_sum[3][t]);
}
