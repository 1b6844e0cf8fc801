#version 460
#extension GL_GOOGLE_include_directive : require
// out[i] = f(in0[i], in1[i], in2[i]) over an index space, any strides: core/ops/vulkan/map.c.

layout(constant_id = 1) const int OPCODE = 0;
layout(constant_id = 2) const int INPUTS = 1;
layout(constant_id = 3) const uint KIND_OUT = 0;
layout(constant_id = 4) const uint KIND_0 = 0;
layout(constant_id = 5) const uint KIND_1 = 0;
layout(constant_id = 6) const uint KIND_2 = 0;

#include "core/operand.glsl"
#include "core/space.glsl"
#include "core/loops.glsl"

layout(local_size_x = 128) in;

#define EACH 4u // elements of an invocation

OPERAND(0, readonly, in0)
OPERAND(1, readonly, in1)
OPERAND(2, readonly, in2)
OPERAND(3, writeonly, result)

layout(std430, binding = 4) readonly buffer Params {
    Space space; // of the inputs and, as operand 3, the output
    uint base[4];
    uint a[2], b[2]; // NUMBER
} p;

void element(uint index)
{
    uint at[4] = uint[4](p.base[0], p.base[1], p.base[2], p.base[3]);
    LOCATE(p.space, index, 4, at)
    const REAL x = INPUTS > 0 ? GET(in0, KIND_0, at[0]) : REAL(0);
    const REAL y = INPUTS > 1 ? GET(in1, KIND_1, at[1]) : REAL(0);
    const REAL z = INPUTS > 2 ? GET(in2, KIND_2, at[2]) : REAL(0);
    const REAL value = compute(x, y, z, REAL(0), NUMBER(p.a), NUMBER(p.b));
    PUT(result, KIND_OUT, at[3], value);
}

void main()
{
    const uint first = gl_WorkGroupID.x * LANES * EACH + gl_LocalInvocationIndex;
    for (uint i = 0u; i < EACH; i++)
        if (first + i * LANES < p.space.count)
            element(first + i * LANES);
}
