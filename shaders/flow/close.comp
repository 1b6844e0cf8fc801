// Causal form, backward: dq and dk from the linear part's gradients and the sums up to and from each
// position. One invocation has one column; what the sums up to a position give waits in the linear part's
// gradients for what those from it give.
//
// Workgroups: (64 columns of a slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 2
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform push_block
{
    linear_rows q, k, to_q, to_k;
    uint n, m, packed, slots;
    uint lanes, lane_rows, width, flags;
    uint set_size; // numbers from one set of sums to the next
    float eps, bound;
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
layout(std430, set = 0, binding = 3) readonly buffer number_block
{
    float number_of[];
};
layout(std430, set = 0, binding = 4) readonly buffer sum_block
{
    float sum_of[]; // [set][side][lane][slot][column]: of rows; of out k, inc q; backward the same two
};
layout(std430, set = 0, binding = 5) buffer far_q_block
{
    float far_q[];
};
layout(std430, set = 0, binding = 6) buffer far_k_block
{
    float far_k[];
};
layout(std430, set = 0, binding = 7) writeonly buffer to_q_block
{
    STORED to_q_one[];
};
layout(std430, set = 0, binding = 8) writeonly buffer to_k_block
{
    STORED to_k_one[];
};

#include "flow/numbers.glsl"

float number(uint which, uint side, linear_chunk chunk, uint lane, uint i)
{
    return number_of[number_at(which, side, chunk.batch, lane, chunk.row + i)];
}

float q_at(linear_chunk chunk, uint lane, uint i, uint column)
{
    return linear_sigmoid(LOAD(q_one[linear_row(q, chunk.batch, lane, chunk.row + i) + column]));
}

float k_at(linear_chunk chunk, uint lane, uint i, uint column)
{
    return linear_sigmoid(LOAD(k_one[linear_row(k, chunk.batch, lane, chunk.row + i) + column]));
}

// Where the chunk begins (backward: ends), the sums of q in x and those of k in y.
vec2 sums_at(uint set, uint slot, uint lane, uint column)
{
    const uint side = lanes * slots * width, at = set * set_size + (lane * slots + slot) * width + column;
    return vec2(sum_of[at], sum_of[at + side]);
}

void add_before(linear_chunk chunk, uint slot, uint lane, uint column)
{
    const vec2 base_rows = sums_at(0, slot, lane, column) + eps;
    const vec2 base_flows = sums_at(1, slot, lane, column) + eps;
    vec2 rows = vec2(0.0), flows = vec2(0.0);
    for (uint i = 0; i < chunk.count; i++) {
        const vec2 x = vec2(q_at(chunk, lane, i, column), k_at(chunk, lane, i, column));
        rows += x;
        flows += vec2(number(INVERSE, 0, chunk, lane, i), number(INVERSE, 1, chunk, lane, i)) * x;
        const uint far = ((chunk.batch * lanes + lane) * n + chunk.row + i) * width + column;
        far_q[far] = number(FACTOR, 0, chunk, lane, i) * far_q[far] +
                     number(D_CLAIM, 0, chunk, lane, i) * (base_flows.y + flows.y) +
                     number(D_FACTOR, 0, chunk, lane, i) * (base_rows.y + rows.y);
        far_k[far] = far_k[far] + number(D_CLAIM, 1, chunk, lane, i) * (base_flows.x + flows.x) +
                     number(D_FACTOR, 1, chunk, lane, i) * (base_rows.x + rows.x);
    }
}

void add_behind(linear_chunk chunk, uint slot, uint lane, uint column)
{
    const vec2 base_claims = sums_at(2, slot, lane, column), base_inverses = sums_at(3, slot, lane, column);
    vec2 claims = vec2(0.0), inverses = vec2(0.0);
    for (uint r = chunk.count; r > 0; r--) {
        const uint i = r - 1, row = chunk.row + i;
        const vec2 x = vec2(q_at(chunk, lane, i, column), k_at(chunk, lane, i, column));
        claims += vec2(number(D_CLAIM, 0, chunk, lane, i), number(D_CLAIM, 1, chunk, lane, i)) * (x + eps);
        inverses += vec2(number(D_FACTOR, 0, chunk, lane, i), number(D_FACTOR, 1, chunk, lane, i)) * (x + eps);
        const uint far = ((chunk.batch * lanes + lane) * n + row) * width + column;
        const float dq = far_q[far] + number(INVERSE, 0, chunk, lane, i) * (base_claims.y + claims.y) +
                         base_inverses.y + inverses.y;
        const float dk = far_k[far] + number(INVERSE, 1, chunk, lane, i) * (base_claims.x + claims.x) +
                         base_inverses.x + inverses.x;
        const vec2 result = vec2(dq, dk) * x * (1.0 - x);
        if ((flags & HAS_TO_Q) != 0)
            to_q_one[linear_row(to_q, chunk.batch, lane, row) + column] = STORE(result.x);
        if ((flags & HAS_TO_K) != 0)
            to_k_one[linear_row(to_k, chunk.batch, lane, row) + column] = STORE(result.y);
    }
}

void main()
{
    const uint parts = (width + CHUNK - 1) / CHUNK, slot = gl_WorkGroupID.x / parts;
    const uint column = gl_WorkGroupID.x % parts * CHUNK + gl_LocalInvocationID.x;
    const uint lane = gl_WorkGroupID.y;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
    if (chunk.count == 0 || column >= width)
        return;
    add_before(chunk, slot, lane, column);
    add_behind(chunk, slot, lane, column);
}
