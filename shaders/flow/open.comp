// Causal form, backward: from the linear part's gradients the gradients of gate and comp, dv, and each
// chunk's sum of what they say of 1 / (the sums of e^cr).
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 2
#include "kit/linear.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform push_block
{
    linear_rows q, v, to;
    uint n, m, packed, slots;
    uint lanes, lane_rows, inner, width;
    uint flags;
    float bound;
};

const uint HAS_TO = 1;

LINEAR_INPUT(0, q)
LINEAR_INPUT(1, v)
layout(std430, set = 0, binding = 3) buffer number_block
{
    float number_of[];
};
LINEAR_FLOATS(4, far_q) // [batch][lane][row][column]
LINEAR_FLOATS(5, far_v)
LINEAR_OUTPUT(6, to)
layout(std430, set = 0, binding = 7) writeonly buffer pair_block
{
    vec2 pair_of_slot[];
};

#include "flow/numbers.glsl"

shared float row_part[2][CHUNK * 17];
shared vec2 row_pair[CHUNK];

vec2 joined(vec2 a, vec2 b)
{
    const float greatest = max(a.x, b.x);
    return vec2(greatest, a.y * exp(a.x - greatest) + b.y * exp(b.x - greatest));
}

// The invocation's share of row i's two products; dv on the way.
vec2 share_row(linear_chunk chunk, uint lane, uint i)
{
    const uint quad = (gl_LocalInvocationID.x & 15u) * 4, row = chunk.row + i;
    const uint far = (chunk.batch * lanes + lane) * n + row;
    vec2 sum = vec2(0.0);
    if (i >= chunk.count)
        return sum;
    const float comp = number_of[number_at(FACTOR, 1, chunk.batch, lane, row)];
    for (uint column = quad; column < inner; column += CHUNK) {
        const int left = int(inner) - int(column);
        const vec4 own = linear_sigmoids(q_load(linear_row(q, chunk.batch, lane, row) + column, left));
        sum.x += dot(own, far_q_load(far * inner + column, left));
    }
    for (uint column = quad; column < width; column += CHUNK) {
        const int left = int(width) - int(column);
        const vec4 said = far_v_load(far * width + column, left);
        sum.y += dot(v_load(linear_row(v, chunk.batch, lane, row) + column, left), said);
        if ((flags & HAS_TO) != 0)
            to_store(linear_row(to, chunk.batch, lane, row) + column, left,
                     comp * said);
    }
    return sum;
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = gl_LocalInvocationID.x;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
    if (chunk.count == 0)
        return;
    for (uint i = t >> 4; i < CHUNK; i += 8) {
        const vec2 sum = share_row(chunk, lane, i);
        row_part[0][i * 17 + (t & 15u)] = sum.x;
        row_part[1][i * 17 + (t & 15u)] = sum.y;
    }
    barrier();
    if (t < CHUNK) {
        vec2 own = vec2(-3.4e38, 0.0);
        if (t < chunk.count) {
            float d_gate = 0.0, d_comp = 0.0;
            for (uint g = 0; g < 16; g++) {
                d_gate += row_part[0][t * 17 + g];
                d_comp += row_part[1][t * 17 + g];
            }
            const uint row = chunk.row + t;
            number_of[number_at(D_FACTOR, 0, chunk.batch, lane, row)] = d_gate;
            number_of[number_at(D_FACTOR, 1, chunk.batch, lane, row)] = d_comp;
            const float said = d_comp * number_of[number_at(FACTOR, 1, chunk.batch, lane, row)];
            if (said != 0.0)
                own = vec2(-number_of[number_at(EXPONENT, 0, chunk.batch, lane, row)],
                           -said / number_of[number_at(EXPONENT, 1, chunk.batch, lane, row)]);
        }
        row_pair[t] = own;
    }
    barrier();
    if (t == 0) {
        vec2 sum = row_pair[0];
        for (uint i = 1; i < CHUNK; i++)
            sum = joined(sum, row_pair[i]);
        pair_of_slot[lane * slots + slot] = sum;
    }
}
