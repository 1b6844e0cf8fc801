#version 450
// to[batch][head][position][e] = scale sum over agents of value(agent, position) right_agent[e].
// Groups: tiles of e, tiles of positions, units.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"
#include "agent/chunk.glsl"

layout(constant_id = 3) const uint FLOATS = 0; // 1: to `floats`, contiguous, not to `to`

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    WEIGHT_FIELDS
    uint width, right_base;
    uint to_base, to_batch, to_head, to_row;
    float scale;
};

CHUNK_UNITS
#include "agent/value.glsl"
layout(std430, binding = 5) readonly buffer Right { float right[]; };
layout(std430, binding = 6) writeonly buffer To { STORED to[]; };
layout(std430, binding = 7) writeonly buffer Floats { float floats[]; };

uint unit, right_at, column0, e0;

float product_left(uint row, uint k)
{
    return column0 + row < count && k < agents ? value(unit, k, column0 + row) : 0.0;
}

float product_right(uint column, uint k)
{
    return e0 + column < width && k < agents ? right[right_at + k * width + column] : 0.0;
}

#define PRODUCT_LEFT_ALONG_K  0
#define PRODUCT_RIGHT_ALONG_K 0
#include "kit/product.glsl"

void main()
{
    unit = gl_WorkGroupID.z;
    column0 = gl_WorkGroupID.y * PRODUCT_TILE;
    e0 = gl_WorkGroupID.x * PRODUCT_TILE;
    right_at = right_base + (unit0 + unit) * agents * width + e0;
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, 0u, agents)
    const uint to_at = to_base + unit_batch(unit) * to_batch + unit_head(unit) * to_head;
    PRODUCT_UNROLL for (uint r = 0; r < 8; r++)
        PRODUCT_UNROLL for (uint c = 0; c < 8; c++) {
            const uint at = column0 + product_row(r), e = e0 + product_column(c >> 2, c & 3u);
            if (at >= count || e >= width)
                continue;
            const float x = scale * sums[r][c >> 2][c & 3u];
            if (FLOATS != 0)
                floats[((unit0 + unit) * positions + first + at) * width + e] = x;
            else
                to[to_at + (first + at) * to_row + e] = STORE(x);
        }
}
