#version 460
#extension GL_GOOGLE_include_directive : require
// Rotary position embedding: core/ops/vulkan/small.c. Angles are whole numbers, 2^-64 of a turn,
// so that a position far out is as exact as the first.

layout(constant_id = 1) const uint KIND = 0;

#include "core/operand.glsl"
#include "core/math.glsl"
#include "core/space.glsl"

layout(local_size_x = 128) in;

#define PAIRS 128 // of one dispatch

OPERAND(0, readonly, source)
OPERAND(1, writeonly, result)

layout(std430, binding = 2) readonly buffer Params {
    Space space; // rows x positions x the pairs of this dispatch: the first of each pair
    uint base[2];
    uint other[2]; // elements to the second
    uint pairs, pairs_magic, pairs_shift, positions, positions_magic, positions_shift; // 1: magic 0
    float direction;
    uint start[2 * PAIRS], speed[2 * PAIRS]; // the angle of the first position, and of one step
} p;

uint quotient(uint n, uint size, uint magic, uint shift)
{
    return size == 1u ? n : divide(n, magic, shift);
}

void main()
{
    const uint index = gl_WorkGroupID.x * LANES + gl_LocalInvocationIndex;
    if (index >= p.space.count)
        return;
    uint at[2] = uint[2](p.base[0], p.base[1]);
    LOCATE(p.space, index, 2, at)
    const uint row = quotient(index, p.pairs, p.pairs_magic, p.pairs_shift);
    const uint pair = index - row * p.pairs;
    const uint t = row - quotient(row, p.positions, p.positions_magic, p.positions_shift) * p.positions;
    uint high, low, carry;
    umulExtended(t, p.speed[2u * pair], high, low);
    high += t * p.speed[2u * pair + 1u];
    low = uaddCarry(low, p.start[2u * pair], carry);
    high += p.start[2u * pair + 1u] + carry;
    const vec2 angle = turned(high + (low >> 31)); // sin, cos
    const float s = angle.x * p.direction;
    const float a = GET_COMPUTE(source, KIND, at[0]);
    const float b = GET_COMPUTE(source, KIND, at[0] + p.other[0]);
    const float first = a * angle.y - b * s, second = b * angle.y + a * s;
    PUT_COMPUTE(result, KIND, at[1], first);
    PUT_COMPUTE(result, KIND, at[1] + p.other[1], second);
}
