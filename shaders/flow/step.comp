// One position of the causal form: `sums` and the D x E state are read and written in place.
//
// Workgroups: (head, batch).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "kit/linear.glsl"

layout(local_size_x = 128) in;

struct step_row {
    uint base, batch, head;
};

layout(push_constant) uniform push_block
{
    step_row q, k, v, to;
    uint state, sums; // where they begin
    uint inner, width, heads;
    float eps, bound;
};

layout(std430, set = 0, binding = 0) readonly buffer q_block
{
    STORED q_one[];
};
layout(std430, set = 0, binding = 1) readonly buffer k_block
{
    STORED k_one[];
};
layout(std430, set = 0, binding = 2) readonly buffer v_block
{
    STORED v_one[];
};
layout(std430, set = 0, binding = 3) writeonly buffer to_block
{
    STORED to_one[];
};
layout(std430, set = 0, binding = 4) buffer state_block
{
    float state_of[];
};
layout(std430, set = 0, binding = 5) buffer sums_block
{
    float sums_of[];
};

shared vec2 part[128];
shared float column_sum[4][32];

uint at(step_row row)
{
    return row.base + gl_WorkGroupID.y * row.batch + gl_WorkGroupID.x * row.head;
}

vec2 sum_all(vec2 own)
{
    const uint t = gl_LocalInvocationID.x;
    barrier();
    part[t] = own;
    for (uint d = 64; d > 0; d /= 2) {
        barrier();
        if (t < d)
            part[t] += part[t + d];
    }
    barrier();
    return part[0];
}

float q_at(uint c)
{
    return linear_sigmoid(LOAD(q_one[at(q) + c]));
}

float k_at(uint c)
{
    return linear_sigmoid(LOAD(k_one[at(k) + c]));
}

// Adds weights (k, q) to two rows of the sums; (q + eps) . (the first + eps), (k + eps) . (the second + eps).
vec2 add_rows(uint base, uint row, vec2 weights)
{
    vec2 own = vec2(0.0);
    for (uint c = gl_LocalInvocationID.x; c < inner; c += 128) {
        const float x = q_at(c), y = k_at(c);
        const uint first = base + row * inner + c, second = first + inner;
        const float by_k = sums_of[first] + weights.x * y, by_q = sums_of[second] + weights.y * x;
        sums_of[first] = by_k;
        sums_of[second] = by_q;
        own += vec2((x + eps) * (by_k + eps), (y + eps) * (by_q + eps));
    }
    return sum_all(own);
}

void main()
{
    const uint t = gl_LocalInvocationID.x, cell = gl_WorkGroupID.y * heads + gl_WorkGroupID.x;
    const uint base = sums + cell * 6 * inner, matrix = state + cell * inner * width;
    float length = 1.0, z = 0.0;
    if (inner > 0) {
        z = sums_of[base + 4 * inner];
        length += sums_of[base + 5 * inner];
    }
    const vec2 flows = length / add_rows(base, 0, vec2(1.0)); // inc, out
    const vec2 claims = add_rows(base, 2, flows.yx) / length; // cs, cr
    const float cr = clamp(claims.y, -bound, bound);
    const float gate = inner > 0 ? linear_sigmoid(claims.x) * flows.x / length : 0.0;
    const float comp = length / (z * exp(min(-cr, 88.0)) + 1.0);
    if (t == 0 && inner > 0) {
        sums_of[base + 4 * inner] = min(z + exp(min(cr, 88.0)), 3.4e38);
        sums_of[base + 5 * inner] = length;
    }
    for (uint e = 0; e < width; e += 32) {
        const uint column = e + (t & 31u);
        float sum = 0.0;
        if (column < width) {
            const float value = comp * LOAD(v_one[at(v) + column]);
            for (uint d = t >> 5; d < inner; d += 4) {
                const float now = state_of[matrix + d * width + column] + k_at(d) * value;
                state_of[matrix + d * width + column] = now;
                sum += q_at(d) * now;
            }
        }
        column_sum[t >> 5][t & 31u] = sum;
        barrier();
        if (t < 32 && column < width)
            to_one[at(to) + column] = STORE(
                gate * (column_sum[0][t] + column_sum[1][t] + (column_sum[2][t] + column_sum[3][t])));
        barrier();
    }
}
