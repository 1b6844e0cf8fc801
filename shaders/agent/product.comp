#version 450
// matrix[unit][agent][position] = scale left_agent . right_position + bias. Groups: tiles of
// positions, tiles of agents, units.
#extension GL_GOOGLE_include_directive : require
#ifdef PRODUCT_COOP
#include "kit/element_f16.glsl"
#else
#include "kit/element.glsl"
#endif
#include "agent/bias.glsl"
#include "agent/chunk.glsl"

layout(constant_id = 2) const uint SCALED = 0; // 1: the left operand is scaled by a factor of the unit

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    uint width, left_base;
    uint right_base, right_batch, right_head, right_row;
    BIAS_FIELDS
    float scale;
};

layout(std430, binding = 0) readonly buffer Left { float left[]; };
layout(std430, binding = 1) readonly buffer Right { STORED right[]; };
BIAS_BINDINGS(2, 3)
layout(std430, binding = 4) writeonly buffer Matrix { float matrix[]; };

layout(std430, binding = 5) readonly buffer Scale { float scales[]; }; // powers of two

CHUNK_UNITS

uint unit, left_at, right_at, row0, column0;

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
    return column0 + column < count && k < width ? LOAD(right[right_at + column * right_row + k])
                                                 : 0.0;
}

void product_out(uint row, uint column, float x)
{
    const uint agent = row0 + row, position = column0 + column;
    if (agent < agents && position < count)
        matrix[(unit * agents + agent) * count + position] =
            scale / unit_scale() * x + bias_at(unit_head(unit), agent, first + position);
}

#define PRODUCT_LEFT_ALONG_K  1
#define PRODUCT_RIGHT_ALONG_K 1
#include "kit/product.glsl"

void main()
{
    unit = gl_WorkGroupID.z;
    row0 = gl_WorkGroupID.y * PRODUCT_TILE;
    column0 = gl_WorkGroupID.x * PRODUCT_TILE;
    left_at = left_base + ((unit0 + unit) * agents + row0) * width;
    right_at = right_base + unit_batch(unit) * right_batch + unit_head(unit) * right_head +
               (first + column0) * right_row;
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, 0u, width)
    PRODUCT_STORE(sums)
}
