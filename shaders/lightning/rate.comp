// The gradient of the slopes from those of q and k, a chunk at a time. Each pair (t, s) has t - s decays; what
// it adds to q_t . dq_t it adds to k_s . dk_s as well. So with positions counted from the middle of each chunk,
// the sum of (t - s) over all pairs is
//
//     sum_t t (q_t . dq_t - k_t . dk_t) + 64 * sum over borders of S before it . R after it
//
// as a pair across borders is in the product of the states at each of them. Sequences neither begin from a
// state nor have a gradient of the final one. Where a decay is steep, little is left of the differences, and
// what dq and dk lost in rounding would be seen: such heads are slope.comp's.
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 5
#include "kit/linear.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform push_block
{
    linear_rows q, k, d_q, d_k;
    uint n, packed, lane_states, slots;
    uint inner, width;
    uint slope, heads_before; // heads of earlier rounds
};

LINEAR_INPUT(0, q)
LINEAR_INPUT(1, k)
LINEAR_INPUT(2, d_q)
LINEAR_INPUT(3, d_k)
LINEAR_FLOATS(4, before)
LINEAR_FLOATS(6, after)
layout(std430, set = 0, binding = 7) readonly buffer slope_block
{
    float slope_of[];
};
layout(std430, set = 0, binding = 8) writeonly buffer rate_block
{
    float rate_of[];
};

shared float partial[128];

#include "lightning/steep.glsl"

float inside(linear_chunk chunk, uint lane)
{
    const uint t = gl_LocalInvocationID.x;
    const float start = -0.5 * float(CHUNK - 1);
    float total = 0.0;
    for (uint d = 0; d < inner; d += CHUNK) {
        const uint column = d + (t & 15u) * 4;
        vec4 a[8], b[8], c[8], e[8];
        [[unroll]] for (uint r = 0; r < 8; r++) {
            const uint i = (t >> 4) + 8 * r;
            const int left = i < chunk.count ? int(inner) - int(column) : 0;
            a[r] = q_load(linear_row(q, chunk.batch, lane, chunk.row + i) + column, left);
            b[r] = d_q_load(linear_row(d_q, chunk.batch, lane, chunk.row + i) + column, left);
            c[r] = k_load(linear_row(k, chunk.batch, lane, chunk.row + i) + column, left);
            e[r] = d_k_load(linear_row(d_k, chunk.batch, lane, chunk.row + i) + column, left);
        }
        [[unroll]] for (uint r = 0; r < 8; r++)
            total += (start + float((t >> 4) + 8 * r)) * (dot(a[r], b[r]) - dot(c[r], e[r]));
    }
    return total;
}

float across(uint here, uint there)
{
    const uint size = inner * width;
    float total = 0.0;
    for (uint x = gl_LocalInvocationID.x * 4; x < size; x += 512 * 4) {
        vec4 a[4], b[4];
        [[unroll]] for (uint u = 0; u < 4; u++) {
            const int left = int(size) - int(x + 512 * u);
            a[u] = before_load(here + x + 512 * u, left);
            b[u] = after_load(there + x + 512 * u, left);
        }
        [[unroll]] for (uint u = 0; u < 4; u++)
            total += dot(a[u], b[u]);
    }
    return float(CHUNK) * total;
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, i = gl_LocalInvocationID.x;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
    float total = 0.0;
    if (is_steep(lane))
        return;
    if (chunk.count > 0) {
        total = inside(chunk, lane);
        if (chunk.index > 0)
            total += across((lane * lane_states + slot) * inner * width,
                            (lane * lane_states + slot - 1) * inner * width);
    }
    partial[i] = total;
    for (uint half_way = 64; half_way > 0; half_way /= 2) {
        barrier();
        if (i < half_way)
            partial[i] += partial[i + half_way];
    }
    if (i == 0)
        rate_of[(heads_before + lane) * slots + slot] = partial[0];
}
