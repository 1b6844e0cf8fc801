#version 450
// part[split][unit][agent][e] = sum over the positions of the split of value(agent, position)
// right_position[e]. Groups: tiles of e times splits, tiles of agents, units (with PACKED those of each
// sequence in turn, which has its own positions and splits).
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef PRODUCT_COOP
#include "kit/element_f16.glsl"
#else
#include "kit/element.glsl"
#endif
#include "agent/chunk.glsl"

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    WEIGHT_FIELDS
    uint width;
    uint right_base, right_batch, right_head, right_row;
    uint units, splits, split_positions;
};

CHUNK_UNITS
#include "agent/value.glsl"
layout(std430, binding = 5) readonly buffer Right { STORED right[]; };
layout(std430, binding = 6) writeonly buffer Part { float part[]; };
#define BORDERS_BINDING 10
#include "agent/packed.glsl"

uint unit, set, split, right_at, row0, e0, end;

float product_left(uint row, uint k)
{
    return row0 + row < agents && k < end ? scaled_value(unit, row0 + row, k) : 0.0;
}

float product_right(uint column, uint k)
{
    return e0 + column < width && k < end ? LOAD(right[right_at + k * right_row + column]) : 0.0;
}

void product_out(uint row, uint column, float x)
{
    const uint agent = row0 + row, e = e0 + column;
    if (agent < agents && e < width)
        part[((split * units + set) * agents + agent) * width + e] = x / value_scale(unit);
}

#ifdef PRODUCT_COOP
layout(std430, binding = 5) readonly buffer Right4 { f16vec4 right4[]; };
layout(std430, binding = 6) writeonly buffer Part4 { vec4 part4[]; };

bool product_wide()
{
    return ((count | width | right_base | right_batch | right_head | right_row) & 3u) == 0u;
}

void product_prepare(uint from)
{
    prepare_values(unit, from + 4u * (gl_LocalInvocationIndex & 15u));
}

// Splits begin at multiples of 64, so that four positions are of one split; what is beyond it meets
// zeros of the right operand.
f16vec4 product_left_four(uint row, uint k)
{
    return value_four(unit, row0 + row, k);
}

f16vec4 product_right_four(uint column, uint k)
{
    const uint at = right_at - e0 + min(k, count - 1u) * right_row + min(e0 + column, width - 4u);
    const f16vec4 x = right4[at >> 2];
    return e0 + column < width && k < end ? x : f16vec4(0.0hf);
}

void product_out_four(uint row, uint column, vec4 x)
{
    const uint agent = row0 + row, e = e0 + column;
    if (agent >= agents || e >= width)
        return;
    const uint at = ((split * units + set) * agents + agent) * width + e;
    x /= lift;
    if ((width & 3u) == 0u)
        part4[at >> 2] = x;
    else
        [[unroll]] for (uint c = 0; c < 4; c++)
            if (e + c < width)
                part[at + c] = x[c];
}
#endif

#define PRODUCT_LEFT_ALONG_K  1
#define PRODUCT_RIGHT_ALONG_K 0
#include "kit/product.glsl"

void main()
{
    unit = set = gl_WorkGroupID.z;
    row0 = gl_WorkGroupID.y * PRODUCT_TILE;
    e0 = gl_WorkGroupID.x / splits * PRODUCT_TILE;
    split = gl_WorkGroupID.x % splits;
    uint from = split * split_positions;
    end = min(count, from + split_positions);
    if (PACKED) {
        sequence = set / heads;
        unit = set % heads;
        const uvec2 all = positions_of(borders_at, sequence, first, count);
        const uvec2 share = share_of(all, split, splits, PRODUCT_TILE);
        from = share.x;
        end = share.y;
    }
    right_at = right_base + unit_batch(unit) * right_batch + unit_head(unit) * right_head +
               first * right_row + e0;
#ifdef PRODUCT_COOP
    lift = value_scale(unit);
#endif
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, from, end)
    PRODUCT_STORE(sums)
}
