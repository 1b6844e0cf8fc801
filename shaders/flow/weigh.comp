// The causal form's factors: comp_t = t e^cr / (the sum of e^cr up to t), gate_t = sigmoid(cs) inc / t.
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 2
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

#include "flow/sums.glsl"

layout(push_constant) uniform push_block
{
    SUMS_PUSHED
    uint m, lane_rows;
    float bound;
};

const uint HAS_FROM = 1;
const uint LENGTH_ROW = 5;

layout(std430, set = 0, binding = 0) readonly buffer pair_block
{
    vec2 before_slot[]; // [lane][slot]: the sum of e^cr before the chunk
};
layout(std430, set = 0, binding = 1) readonly buffer from_block
{
    float from_of[];
};
layout(std430, set = 0, binding = 3) buffer number_block
{
    float number_of[];
};

#include "flow/numbers.glsl"
#include "flow/pairs.glsl"

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, i = gl_LocalInvocationID.x;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
    if (chunk.count == 0)
        return;
    const uint row = chunk.row + min(i, chunk.count - 1);
    const float cr = flow_clip(number_of[number_at(CLAIM, 1, chunk.batch, lane, row)]);
    const vec2 inside = pair_scan(i < chunk.count ? vec2(cr, 1.0) : NO_PAIR, false);
    const vec2 sum = joined(before_slot[lane * slots + slot], inside);
    if (i >= chunk.count)
        return;
    float t = float(chunk.index * CHUNK + i + 1);
    if ((flags & HAS_FROM) != 0)
        t += from_of[linear_row(from, chunk.sequence, lane, LENGTH_ROW)];
    const float cs = number_of[number_at(CLAIM, 0, chunk.batch, lane, row)];
    const float inc = number_of[number_at(INVERSE, 0, chunk.batch, lane, row)];
    number_of[number_at(FACTOR, 0, chunk.batch, lane, row)] = linear_sigmoid(cs) * inc / t;
    number_of[number_at(FACTOR, 1, chunk.batch, lane, row)] = t * exp(cr - sum.x) / sum.y;
    number_of[number_at(EXPONENT, 0, chunk.batch, lane, row)] = sum.x;
    number_of[number_at(EXPONENT, 1, chunk.batch, lane, row)] = sum.y;
}
