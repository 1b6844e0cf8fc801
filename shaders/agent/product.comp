#version 450
// matrix[unit][agent][position] = scale left_agent . right_position + bias. Groups: tiles of
// positions, tiles of agents, units.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"
#include "agent/bias.glsl"
#include "agent/chunk.glsl"

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

CHUNK_UNITS

uint left_at, right_at, row0, column0;

float product_left(uint row, uint k)
{
    return row0 + row < agents && k < width ? left[left_at + row * width + k] : 0.0;
}

float product_right(uint column, uint k)
{
    return column0 + column < count && k < width ? LOAD(right[right_at + column * right_row + k])
                                                 : 0.0;
}

#define PRODUCT_LEFT_ALONG_K  1
#define PRODUCT_RIGHT_ALONG_K 1
#include "kit/product.glsl"

void main()
{
    const uint unit = gl_WorkGroupID.z, head = unit_head(unit);
    row0 = gl_WorkGroupID.y * PRODUCT_TILE;
    column0 = gl_WorkGroupID.x * PRODUCT_TILE;
    left_at = left_base + ((unit0 + unit) * agents + row0) * width;
    right_at = right_base + unit_batch(unit) * right_batch + head * right_head +
               (first + column0) * right_row;
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, 0u, width)
    PRODUCT_UNROLL for (uint r = 0; r < 8; r++)
        PRODUCT_UNROLL for (uint c = 0; c < 8; c++) {
            const uint agent = row0 + product_row(r);
            const uint position = column0 + product_column(c >> 2, c & 3u);
            if (agent < agents && position < count)
                matrix[(unit * agents + agent) * count + position] =
                    scale * sums[r][c >> 2][c & 3u] + bias_at(head, agent, first + position);
        }
}
