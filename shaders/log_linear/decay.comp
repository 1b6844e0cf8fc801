// The log decays of a chunk up to and with each position, and over the whole chunk.
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1
#include "kit/linear_scan.glsl"

layout(push_constant) uniform push_block
{
    linear_rows g;
    uint n, packed, slots, origin, flags;
};

#define LINEAR_GOES_ON 2
#include "kit/linear_nodes.glsl"

const uint WIDE = 8; // g is float32 whatever the compute type is

layout(std430, set = 0, binding = 0) readonly buffer g_block
{
    STORED g_one[];
};
layout(std430, set = 0, binding = 0) readonly buffer g_wide_block
{
    float g_wide[];
};
layout(std430, set = 0, binding = 2) writeonly buffer decay_block
{
    vec2 decay_of[];
};
layout(std430, set = 0, binding = 3) writeonly buffer span_block
{
    vec4 span_of[];
};

void main()
{
    const uint t = gl_LocalInvocationID.x, slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n, tree_skip());
    float step = 0.0;
    if (linear_has(chunk, t)) {
        const uint at = linear_row(g, chunk.batch, lane, chunk.row + t);
        step = max((flags & WIDE) != 0 ? g_wide[at] : LOAD(g_one[at]), NOTHING);
    }
    const vec2 sum = linear_scan(vec2(step, 0.0));
    decay_of[(lane * slots + slot) * CHUNK + t] = sum;
    if (t == CHUNK - 1)
        span_of[lane * slots + slot] = vec4(0.0, 0.0, sum);
}
