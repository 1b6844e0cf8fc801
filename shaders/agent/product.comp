#version 450
// matrix[unit][agent][position] = scale left_agent . right_position + bias. Groups: tiles of
// positions (with PACKED of one sequence), tiles of agents, units.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef PRODUCT_COOP
#include "kit/element_f16.glsl"
#else
#include "kit/element.glsl"
#endif
#include "agent/bias.glsl"
#include "agent/chunk.glsl"
#include "agent/options.glsl"

layout(constant_id = 2) const uint SCALED = 0; // 1: the left operand is scaled by a factor of the unit

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    uint width, left_base;
    uint right_base, right_batch, right_head, right_row;
    BIAS_FIELDS
    float scale, softcap;
    uint left_sets; // with PACKED, units of the left operand from sequence to sequence; 0: it serves all
};

layout(std430, binding = 0) readonly buffer Left { float left[]; };
layout(std430, binding = 1) readonly buffer Right { STORED right[]; };
BIAS_BINDINGS(2, 3)
layout(std430, binding = 4) writeonly buffer Matrix { float matrix[]; };

layout(std430, binding = 5) readonly buffer Scale { float scales[]; }; // powers of two
#define BORDERS_BINDING 6
#include "agent/packed.glsl"

CHUNK_UNITS

uint unit, left_at, right_at, row0, column0, column_end;

float unit_scale()
{
    return SCALED != 0 ? scales[unit0 + unit] : 1.0;
}

float product_left(uint row, uint k)
{
    return row0 + row < agents && k < width ? unit_scale() * left[left_at + row * width + k] : 0.0;
}

float product_right(uint column, uint k)
{
    return column0 + column < column_end && k < width ? LOAD(right[right_at + column * right_row + k])
                                                 : 0.0;
}

void product_out(uint row, uint column, float x)
{
    const uint agent = row0 + row, position = column0 + column;
    if (agent >= agents || position >= column_end)
        return;
    x = scale / unit_scale() * x + bias_at(unit_head(unit), agent, first + position);
    matrix[(unit * agents + agent) * count + position] = CAPPED ? softcapped(x, softcap) : x;
}

#ifdef PRODUCT_COOP
layout(std430, binding = 0) readonly buffer Left4 { vec4 left4[]; };
layout(std430, binding = 1) readonly buffer Right4 { f16vec4 right4[]; };
layout(std430, binding = 4) writeonly buffer Matrix4 { vec4 matrix4[]; };

float lift, back; // factors of the left operand and of the sums

bool product_wide()
{
    return ((width | left_base | right_base | right_batch | right_head | right_row) & 3u) == 0u;
}

void product_prepare(uint from) {}

f16vec4 product_left_four(uint row, uint k)
{
    const uint at = left_at + min(row, agents - 1u - row0) * width + min(k, width - 4u);
    return operand_four(lift * left4[at >> 2], row0 + row < agents && k < width);
}

f16vec4 product_right_four(uint column, uint k)
{
    const uint at = right_at + min(column, count - 1u - column0) * right_row + min(k, width - 4u);
    const f16vec4 x = right4[at >> 2];
    return column0 + column < count && k < width ? x : f16vec4(0.0hf);
}

void product_out_four(uint row, uint column, vec4 x)
{
    const uint agent = row0 + row, position = column0 + column;
    if (agent >= agents || position >= count)
        return;
    const uint at = (unit * agents + agent) * count + position;
    const uint left_over = min(4u, count - position);
    x *= back;
    if (BIAS != 0)
        [[unroll]] for (uint c = 0; c < 4; c++)
            if (c < left_over)
                x[c] += bias_at(unit_head(unit), agent, first + position + c);
    if (CAPPED)
        [[unroll]] for (uint c = 0; c < 4; c++)
            x[c] = softcapped(x[c], softcap);
    if ((count & 3u) == 0u)
        matrix4[at >> 2] = x;
    else
        [[unroll]] for (uint c = 0; c < 4; c++)
            if (c < left_over)
                matrix[at + c] = x[c];
}
#endif

#define PRODUCT_LEFT_ALONG_K  1
#define PRODUCT_RIGHT_ALONG_K 1
#include "kit/product.glsl"

void main()
{
    unit = gl_WorkGroupID.z;
    row0 = gl_WorkGroupID.y * PRODUCT_TILE;
    column0 = gl_WorkGroupID.x * PRODUCT_TILE;
    column_end = count;
    uint set = unit0 + unit;
    if (PACKED) {
        const uvec3 tile = tile_of(borders_at, sequences, gl_WorkGroupID.x, first, count);
        if (tile.y >= tile.z)
            return;
        set += tile.x * left_sets;
        column0 = tile.y;
        column_end = tile.z;
    }
    left_at = left_base + (set * agents + row0) * width;
    right_at = right_base + unit_batch(unit) * right_batch + unit_head(unit) * right_head +
               (first + column0) * right_row;
#ifdef PRODUCT_COOP
    lift = unit_scale();
    back = scale / lift;
#endif
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, 0u, width)
    PRODUCT_STORE(sums)
}
