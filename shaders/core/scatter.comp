#version 460
#extension GL_GOOGLE_include_directive : require
// The gradient of a table whose rows were taken by number: core/ops/vulkan/embedding.c. A workgroup
// has 16 rows of the table and 128 columns, looks through the numbers of its piece in order, and
// adds up what belongs to its rows: no atomics on numbers, always the same order.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const uint KIND_ID = 0;
layout(constant_id = 3) const uint KIND_OUT = 0;

#include "core/operand.glsl"
#include "core/space.glsl"

layout(local_size_x = 128) in;

#define OWN   16u
#define EACH  4u // numbers that a lane looks at in a turn
#define WORDS (LANES * EACH / 32u)

OPERAND(0, readonly, grad)
OPERAND(1, readonly, ids)
OPERAND(2, writeonly, result)

layout(std430, binding = 3) readonly buffer Params {
    Space lines; // ids, rows of grad
    uint base[3];
    uint rows, width;
    uint grad_column;
    uint piece, piece_stride; // numbers of a piece; elements of the result between pieces
} p;

shared float sums[OWN][LANES];
shared uint hits[WORDS];            // a bit for each number of the turn
shared uint owner[LANES * EACH];    // which of the workgroup's rows
shared uint offset[LANES * EACH];   // where its row of grad lies

void main()
{
    const uint lane = gl_LocalInvocationIndex;
    const uint first_row = gl_WorkGroupID.x * OWN, column = gl_WorkGroupID.y * LANES + lane;
    const uint begin = gl_WorkGroupID.z * p.piece, end = min(begin + p.piece, p.lines.count);
    for (uint r = 0u; r < OWN; r++)
        sums[r][lane] = 0.0;
    for (uint first = begin; first < end; first += LANES * EACH) {
        barrier();
        if (lane < WORDS)
            hits[lane] = 0u;
        barrier();
        for (uint i = 0u; i < EACH; i++) {
            const uint slot = i * LANES + lane, number = first + slot;
            if (number >= end)
                continue;
            uint at[2] = uint[2](p.base[1], p.base[0]);
            LOCATE(p.lines, number, 2, at)
            const uvec2 id = GET_INTEGER(ids, KIND_ID, at[0]);
            if (id.y != 0u || id.x < first_row || id.x >= min(first_row + OWN, p.rows))
                continue;
            owner[slot] = id.x - first_row;
            offset[slot] = at[1];
            atomicOr(hits[slot / 32u], 1u << slot % 32u);
        }
        barrier();
        for (uint w = 0u; w < WORDS; w++)
            for (uint left = hits[w]; left != 0u; left &= left - 1u) {
                const uint slot = w * 32u + uint(findLSB(left));
                if (column < p.width)
                    sums[owner[slot]][lane] +=
                        GET_COMPUTE(grad, KIND, offset[slot] + column * p.grad_column);
            }
    }
    if (column >= p.width)
        return;
    for (uint r = 0u; r < OWN && first_row + r < p.rows; r++) {
        const uint at = p.base[2] + gl_WorkGroupID.z * p.piece_stride +
                        (first_row + r) * p.width + column;
        const float value = sums[r][lane];
        PUT(result, KIND_OUT, at, value);
    }
}
