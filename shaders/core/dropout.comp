#version 460
#extension GL_GOOGLE_include_directive : require
// Dropout: element i, in row-major order, goes where the i-th random number is below p, which is a
// function of the seed and i: core/ops/vulkan/small.c.

layout(constant_id = 1) const uint KIND = 0;

#include "core/operand.glsl"
#include "core/philox.glsl"
#include "core/space.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, source)
OPERAND(1, writeonly, result)

layout(std430, binding = 2) readonly buffer Params {
    Space space;
    uint base[2];
    uint seed[2], stream[2];
    float chance, scale;
} p;

void main()
{
    const uint block = gl_WorkGroupID.x * LANES + gl_LocalInvocationIndex;
    const uvec4 words = philox(uvec4(block, 0u, p.stream[0], p.stream[1]), uvec2(p.seed[0], p.seed[1]));
    for (uint i = 0u; i < 4u; i++) {
        const uint index = 4u * block + i;
        if (index >= p.space.count)
            return;
        uint at[2] = uint[2](p.base[0], p.base[1]);
        LOCATE(p.space, index, 2, at)
        const float x = GET_COMPUTE(source, KIND, at[0]);
        const float y = float(words[i] >> 8) * 5.9604644775390625e-8 >= p.chance ? x * p.scale : 0.0;
        PUT_COMPUTE(result, KIND, at[1], y);
    }
}
