#version 460
#extension GL_GOOGLE_include_directive : require
// Rows of a table by number: core/ops/vulkan/embedding.c. A number that is no row of the table
// makes its row NaN: nothing is read for it.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const uint KIND_ID = 0;

#include "core/operand.glsl"
#include "core/space.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, table)
OPERAND(1, readonly, ids)
OPERAND(2, writeonly, result)

layout(std430, binding = 3) readonly buffer Params {
    Space space; // of ids (0 along the last dimension) and the result
    uint base[3];
    uint rows, width, width_magic, width_shift; // width 1: magic 0
    uint row, column;                           // the table's strides
} p;

void main()
{
    for (uint i = 0u; i < 4u; i++) {
        const uint index = (gl_WorkGroupID.x * 4u + i) * LANES + gl_LocalInvocationIndex;
        if (index >= p.space.count)
            return;
        uint at[2] = uint[2](p.base[1], p.base[2]);
        LOCATE(p.space, index, 2, at)
        const uint line = p.width == 1u ? index : divide(index, p.width_magic, p.width_shift);
        const uvec2 id = GET_INTEGER(ids, KIND_ID, at[0]);
        float value = nan_value();
        if (id.y == 0u && id.x < p.rows)
            value = GET_COMPUTE(table, KIND, p.base[0] + id.x * p.row +
                                                 (index - line * p.width) * p.column);
        PUT_COMPUTE(result, KIND, at[1], value);
    }
}
