// The gradient of the slopes, a chunk at a time: each pair (t, s) has t - s decays, each at its position;
// those of the chunk's positions are counted here, of pairs inside, ending, beginning and passing.
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_SLOPE
#define LINEAR_TABLE 5
#include "kit/linear_tile.glsl"

layout(push_constant) uniform push_block
{
    linear_rows q, k, v, d_o;
    uint n, packed, lane_states, slots;
    uint inner, width;
    float scale;
    uint flags, slope, heads_before; // heads of earlier rounds
};

const uint HAS_FROM = 1; // a state before the first position
const uint HAS_TO = 2;   // a gradient of the one after the last
const uint HAS_SLOPE = 4;
const uint STEEP_ALONE = 8; // the other heads are rate.comp's
const uint SIGMOID = 0;

LINEAR_INPUT(0, q)
LINEAR_INPUT(1, k)
LINEAR_INPUT(2, v)
LINEAR_INPUT(3, d_o)
LINEAR_FLOATS(4, before)
LINEAR_FLOATS(7, after)
layout(std430, set = 0, binding = 6) readonly buffer slope_block
{
    float slope_of[];
};
layout(std430, set = 0, binding = 8) writeonly buffer rate_block
{
    float rate_of[];
};

shared float near_decay[CHUNK];
shared float row_factor[CHUNK];
shared float partial[128];

vec4 sums[8];
vec4 pairs[8];

#include "kit/linear_operand.glsl"
#include "lightning/steep.glsl"
#include "kit/linear_pairs.glsl"

float inside(linear_chunk chunk, uint lane, uint t)
{
    float total = 0.0;
    LINEAR_PAIRS(pairs, chunk, t, q, lane, k, lane, inner)
    LINEAR_PAIRS(sums, chunk, t, d_o, lane, v, lane, width)
    [[unroll]] for (uint r = 0; r < 8; r++) {
        [[unroll]] for (uint c = 0; c < 4; c++) {
            const uint i = (t >> 4) * 8 + r, j = (t & 15u) * 4 + c;
            if (j < i)
                total += pairs[r][c] * sums[r][c] * near_decay[i - j] * float(i - j);
        }
    }
    return scale * total;
}

float across(linear_chunk chunk, uint lane, uint at, uint t)
{
    const uint i = gl_LocalInvocationID.x;
    const float step = step_of(lane);
    const bool reads = chunk.index > 0 || (flags & HAS_FROM) != 0;
    const bool is_read = chunk.index + 1 < chunk.chunks || (flags & HAS_TO) != 0;
    float dots[8] = float[8](0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), total = 0.0, through = 0.0;
    if (reads) {
        if (i < CHUNK)
            row_factor[i] = scale * float(i + 1) * exp(step * float(i + 1));
        barrier();
        LINEAR_ACROSS(dots, chunk, t, q, lane, before, at, d_o, lane)
    }
    if (is_read) {
        const int left = int(chunk.count) - 1 - int(i);
        if (i < CHUNK)
            row_factor[i] = left > 0 ? float(left) * exp(step * float(left)) : 0.0;
        barrier();
        LINEAR_ACROSS(dots, chunk, t, k, lane, after, at, v, lane)
    }
    [[unroll]] for (uint r = 0; r < 8; r++)
        total += dots[r];
    if (reads && is_read)
        for (uint x = i; x < inner * width; x += 128)
            through += before_one[at + x] * after_one[at + x];
    return total + float(chunk.count) * exp(step * float(chunk.count)) * through;
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = linear_self(slot);
    const uint i = gl_LocalInvocationID.x;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
    float total = 0.0;
    if ((flags & STEEP_ALONE) != 0 && !is_steep(lane))
        return;
    if (chunk.count > 0) {
        if (i < CHUNK)
            near_decay[i] = exp(step_of(lane) * float(i));
        barrier();
        total = inside(chunk, lane, t) + across(chunk, lane, (lane * lane_states + slot) * inner * width, t);
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
