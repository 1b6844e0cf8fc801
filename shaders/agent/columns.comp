#version 450
// to[batch][head][position][e] = scale sum over agents of value(agent, position) right_agent[e].
// Groups: tiles of e, tiles of positions (with PACKED of one sequence), units.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef PRODUCT_COOP
#include "kit/element_f16.glsl"
#else
#include "kit/element.glsl"
#endif
#include "agent/chunk.glsl"

layout(constant_id = 3) const uint FLOATS = 0; // 1: to `floats`, contiguous, not to `to`

layout(constant_id = 4) const uint RIGHT_SCALED = 0;

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    WEIGHT_FIELDS
    uint width, right_base;
    uint to_base, to_batch, to_head, to_row;
    float scale;
    uint right_sets; // with PACKED, units of the right operand from sequence to sequence; 0: it serves all
};

CHUNK_UNITS
#include "agent/value.glsl"
layout(std430, binding = 5) readonly buffer Right { float right[]; };
layout(std430, binding = 6) writeonly buffer To { STORED to[]; };
layout(std430, binding = 7) writeonly buffer Floats { float floats[]; };
layout(std430, binding = 8) readonly buffer RightScale { float right_scales[]; };
#define BORDERS_BINDING 10
#include "agent/packed.glsl"

uint unit, to_at, right_at, column0, column_end, e0;

float product_left(uint row, uint k)
{
    return column0 + row < column_end && k < agents ? scaled_value(unit, k, column0 + row) : 0.0;
}

// Of the right operand, a power of two of the unit.
float right_scale()
{
    return RIGHT_SCALED != 0 ? right_scales[unit0 + unit] : 1.0;
}

float product_right(uint column, uint k)
{
    return e0 + column < width && k < agents ? right_scale() * right[right_at + k * width + column]
                                             : 0.0;
}

void product_out(uint row, uint column, float x)
{
    const uint at = column0 + row, e = e0 + column;
    if (at >= column_end || e >= width)
        return;
    x *= scale / value_scale(unit) / right_scale();
    if (FLOATS != 0)
        floats[((unit0 + unit) * positions + first + at) * width + e] = x;
    else
        to[to_at + (first + at) * to_row + e] = STORE(x);
}

#ifdef PRODUCT_COOP
layout(std430, binding = 5) readonly buffer Right4 { vec4 right4[]; };
layout(std430, binding = 6) writeonly buffer To4 { f16vec4 to4[]; };
layout(std430, binding = 7) writeonly buffer Floats4 { vec4 floats4[]; };

float right_lift, back; // factors of the right operand and of the sums

bool product_wide()
{
    return ((count | width | right_base) & 3u) == 0u;
}

void product_prepare(uint from)
{
    if (from == 0u)
        prepare_values(unit, column0 + 4u * (gl_LocalInvocationIndex & 15u));
}

f16vec4 product_left_four(uint row, uint k)
{
    return value_four(unit, k, column0 + row);
}

f16vec4 product_right_four(uint column, uint k)
{
    const uint at = right_at - e0 + min(k, agents - 1u) * width + min(e0 + column, width - 4u);
    return operand_four(right_lift * right4[at >> 2], e0 + column < width && k < agents);
}

void product_out_four(uint row, uint column, vec4 x)
{
    const uint position = column0 + row, e = e0 + column;
    if (position >= count || e >= width)
        return;
    const uint left_over = min(4u, width - e);
    x *= back;
    if (FLOATS != 0) {
        const uint at = ((unit0 + unit) * positions + first + position) * width + e;
        if ((width & 3u) == 0u)
            floats4[at >> 2] = x;
        else
            [[unroll]] for (uint c = 0; c < 4; c++)
                if (c < left_over)
                    floats[at + c] = x[c];
        return;
    }
    const uint at = to_at + (first + position) * to_row + e;
    if (left_over == 4u && ((to_base | to_batch | to_head | to_row) & 3u) == 0u)
        to4[at >> 2] = f16vec4(x);
    else
        [[unroll]] for (uint c = 0; c < 4; c++)
            if (c < left_over)
                to[at + c] = STORE(x[c]);
}
#endif

#define PRODUCT_LEFT_ALONG_K  0
#define PRODUCT_RIGHT_ALONG_K 0
#include "kit/product.glsl"

void main()
{
    unit = gl_WorkGroupID.z;
    column0 = gl_WorkGroupID.y * PRODUCT_TILE;
    column_end = count;
    uint set = unit0 + unit;
    if (PACKED) {
        const uvec3 tile = tile_of(borders_at, sequences, gl_WorkGroupID.y, first, count);
        if (tile.y >= tile.z)
            return;
        sequence = tile.x;
        set += sequence * right_sets;
        column0 = tile.y;
        column_end = tile.z;
    }
    e0 = gl_WorkGroupID.x * PRODUCT_TILE;
    right_at = right_base + set * agents * width + e0;
#ifdef PRODUCT_COOP
    lift = value_scale(unit);
    right_lift = right_scale();
    back = scale / lift / right_lift;
#endif
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, 0u, agents)
    to_at = to_base + unit_batch(unit) * to_batch + unit_head(unit) * to_head;
    PRODUCT_STORE(sums)
}
