#version 460
#extension GL_GOOGLE_include_directive : require
// out[i] = f(in0[i], in1[i], in2[i]) over an index space, any strides: core/ops/vulkan/map.c.

layout(constant_id = 1) const int OPCODE = 0;
layout(constant_id = 2) const int INPUTS = 1;
layout(constant_id = 3) const uint KIND_OUT = 0;
layout(constant_id = 4) const uint KIND_0 = 0;
layout(constant_id = 5) const uint KIND_1 = 0;
layout(constant_id = 6) const uint KIND_2 = 0;
// All operands are 16 bits wide and plain arrays: two elements at a time, a word of each.
layout(constant_id = 7) const bool PAIRED = false;

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

#ifdef RAPT_HALF
#define HALF_OF(name, kind, i, h) (kind == KIND_BF16 ? bf16_decode(word_half(name##_word[i], h)) \
                                                     : f16_decode(word_half(name##_word[i], h)))
uint word_half(uint word, uint h)
{
    return word >> 16u * h & 0xffffu;
}
#endif

// Element `index`; where PAIRED, elements 2 index and 2 index + 1.
void element(uint index)
{
    uint at[4] = uint[4](p.base[0], p.base[1], p.base[2], p.base[3]);
    uint both = 0u;
    if (PAIRED)
        for (int k = 0; k < 4; k++)
            at[k] = at[k] / 2u + index;
    else
        LOCATE(p.space, index, 4, at)
    for (uint h = 0u; h < (PAIRED ? 2u : 1u); h++) {
        REAL x = REAL(0), y = REAL(0), z = REAL(0);
#ifdef RAPT_HALF
        if (PAIRED) {
            if (INPUTS > 0)
                x = HALF_OF(in0, KIND_0, at[0], h);
            if (INPUTS > 1)
                y = HALF_OF(in1, KIND_1, at[1], h);
            if (INPUTS > 2)
                z = HALF_OF(in2, KIND_2, at[2], h);
        } else
#endif
        {
            if (INPUTS > 0)
                x = GET(in0, KIND_0, at[0]);
            if (INPUTS > 1)
                y = GET(in1, KIND_1, at[1]);
            if (INPUTS > 2)
                z = GET(in2, KIND_2, at[2]);
        }
        const REAL value = compute(x, y, z, REAL(0), NUMBER(p.a), NUMBER(p.b));
#ifdef RAPT_HALF
        if (PAIRED)
            both |= (KIND_OUT == KIND_BF16 ? bf16_encode(value) : f16_encode(value)) << 16u * h;
        else
#endif
        {
            PUT(result, KIND_OUT, at[3], value);
        }
    }
#ifdef RAPT_HALF
    if (PAIRED)
        result_word[at[3]] = both;
#endif
}

void main()
{
    const uint first = gl_WorkGroupID.x * LANES * EACH + gl_LocalInvocationIndex;
    const uint count = PAIRED ? p.space.count / 2u : p.space.count;
    for (uint i = 0u; i < EACH; i++)
        if (first + i * LANES < count)
            element(first + i * LANES);
}
