// The gradients of the decays, with what passes through each chunk.
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform push_block
{
    linear_rows to;
    uint n, packed, slots, origin, flags;
};

#define LINEAR_GOES_ON 2
#include "kit/linear_nodes.glsl"

const uint WIDE = 8; // the gradient is float32 whatever the compute type is

layout(std430, set = 0, binding = 0) readonly buffer rate_block
{
    float rate_of[];
};
layout(std430, set = 0, binding = 2) readonly buffer passing_block
{
    vec2 passing_of[];
};
layout(std430, set = 0, binding = 3) writeonly buffer to_block
{
    STORED to_one[];
};
layout(std430, set = 0, binding = 3) writeonly buffer to_wide_block
{
    float to_wide[];
};

void main()
{
    const uint t = gl_LocalInvocationID.x, slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n, tree_skip());
    if (!linear_has(chunk, t))
        return;
    const uint from = lane * slots + slot, at = linear_row(to, chunk.batch, lane, chunk.row + t);
    const float rate = rate_of[from * CHUNK + t] + passing_of[from].x;
    if ((flags & WIDE) != 0)
        to_wide[at] = rate;
    else
        to_one[at] = STORE(rate);
}
