#version 460
#extension GL_GOOGLE_include_directive : require
// Elements bit by bit, any strides: core/ops/vulkan/copy.c. Bytes are put into their words by atomics
// on whole numbers, whose order does not matter.

layout(constant_id = 1) const uint SIZE = 4; // bytes of an element
layout(constant_id = 2) const bool SHIFTED = false; // begins behind the parts before it (below)
layout(constant_id = 3) const bool RECORDS = false; // writes `sizes` instead

#include "core/operand.glsl"
#include "core/space.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, source)
OPERAND(1, , result)
layout(std430, binding = 2) buffer Sizes { uint sizes[]; }; // of parts that are joined: int64

layout(std430, binding = 3) readonly buffer Params {
    Space space;
    uint base[2];
    uint sizes_base;
    uint part, part_stride; // SHIFTED: the source begins part_stride * (sizes of earlier parts) on
    uint recorded[16];
} p;

void main()
{
    const uint lane = gl_LocalInvocationIndex;
    if (RECORDS) {
        if (lane < 16u)
            sizes[p.sizes_base + lane] = p.recorded[lane];
        return;
    }
    uint shift = 0u;
    if (SHIFTED)
        for (uint i = 0u; i < p.part; i++)
            shift += sizes[p.sizes_base + 2u * i] * p.part_stride;
    for (uint i = 0u; i < 4u; i++) {
        const uint index = (gl_WorkGroupID.x * 4u + i) * LANES + lane;
        if (index >= p.space.count)
            return;
        uint at[2] = uint[2](p.base[0] + shift, p.base[1]);
        LOCATE(p.space, index, 2, at)
        if (SIZE == 4u)
            result_word[at[1]] = source_word[at[0]];
        else if (SIZE == 8u) {
            result_word[2u * at[1]] = source_word[2u * at[0]];
            result_word[2u * at[1] + 1u] = source_word[2u * at[0] + 1u];
        }
#ifdef RAPT_HALF
        else if (SIZE == 2u)
            result_half[at[1]] = source_half[at[0]];
#endif
        else {
            const uint low = 8u * (at[1] & 3u);
            atomicAnd(result_word[at[1] >> 2u], ~(0xffu << low));
            atomicOr(result_word[at[1] >> 2u], byte_of(source_word[at[0] >> 2u], at[0]) << low);
        }
    }
}
