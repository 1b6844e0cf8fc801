// Backward of a sequence of one query and one key, with nothing before or after. Its output,
// sigmoid(cs) r v with r = (q . k) inc and inc = 1 / ((q + eps) . (k + eps)), hardly depends on q and k: what
// remains of their gradients is of the size of eps. So it is written without differences of large numbers:
//
//     r  = 1 - inc u,                    u = eps (sum q + sum k) + D eps^2
//     cs = 1 + eps (1 - inc) sum (q + eps)
//
// Workgroups: (sequence, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 6
uint table_base;
#define LINEAR_TABLE_BASE table_base
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform push_block
{
    linear_rows q, k, v, d_o, to_q, to_k;
    uint n, m, packed, table_k, inner, width, flags;
    float eps;
};

const uint HAS_TO_Q = 1;
const uint HAS_TO_K = 2;

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
layout(std430, set = 0, binding = 3) readonly buffer d_o_block
{
    STORED d_o_one[];
};
layout(std430, set = 0, binding = 4) writeonly buffer to_q_block
{
    STORED to_q_one[];
};
layout(std430, set = 0, binding = 5) writeonly buffer to_k_block
{
    STORED to_k_one[];
};

shared vec4 part[64];

vec4 sum_all(vec4 own)
{
    const uint t = gl_LocalInvocationID.x;
    part[t] = own;
    for (uint d = 32; d > 0; d /= 2) {
        barrier();
        if (t < d)
            part[t] += part[t + d];
    }
    barrier();
    return part[0];
}

void main()
{
    const uint s = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = gl_LocalInvocationID.x;
    const uint batch = packed != 0 ? 0 : s;
    table_base = table_k;
    const linear_sequence keys = linear_sequence_at(s, packed, m);
    table_base = 0;
    const linear_sequence queries = linear_sequence_at(s, packed, n);
    if (keys.positions != 1 || queries.positions != 1)
        return;
    const uint at_q = linear_row(q, batch, lane, queries.row), at_k = linear_row(k, batch, lane, keys.row);
    const uint at_v = linear_row(v, batch, lane, keys.row), at_do = linear_row(d_o, batch, lane, queries.row);
    vec4 sums = vec4(0.0); // of q, k, (q + eps) (k + eps), do v
    for (uint c = t; c < inner; c += 64) {
        const float x = linear_sigmoid(LOAD(q_one[at_q + c])), y = linear_sigmoid(LOAD(k_one[at_k + c]));
        sums += vec4(x, y, (x + eps) * (y + eps), 0.0);
    }
    for (uint c = t; c < width; c += 64)
        sums.w += LOAD(d_o_one[at_do + c]) * LOAD(v_one[at_v + c]);
    sums = sum_all(sums);
    const float inc = 1.0 / sums.z, columns = float(inner), sum = sums.x + columns * eps;
    const float rest = eps * (sums.x + sums.y) + columns * eps * eps, ratio = 1.0 - inc * rest;
    const float open = linear_sigmoid(1.0 + eps * (1.0 - inc) * sum);
    const float by_cs = sums.w * ratio * open * (1.0 - open), by_ratio = sums.w * open;
    for (uint c = t; c < inner; c += 64) {
        const float x = linear_sigmoid(LOAD(q_one[at_q + c])), y = linear_sigmoid(LOAD(k_one[at_k + c]));
        const float cs_q = eps * (1.0 - inc + sum * inc * inc * (y + eps));
        const float cs_k = eps * sum * inc * inc * (x + eps);
        const float ratio_q = inc * (inc * (y + eps) * rest - eps);
        const float ratio_k = inc * (inc * (x + eps) * rest - eps);
        if ((flags & HAS_TO_Q) != 0)
            to_q_one[linear_row(to_q, batch, lane, queries.row) + c] =
                STORE((by_cs * cs_q + by_ratio * ratio_q) * x * (1.0 - x));
        if ((flags & HAS_TO_K) != 0)
            to_k_one[linear_row(to_k, batch, lane, keys.row) + c] =
                STORE((by_cs * cs_k + by_ratio * ratio_k) * y * (1.0 - y));
    }
}
