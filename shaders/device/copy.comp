// target[...] = source[...], any layout and dtypes. Memory is seen in words of 32 bits. Dimensions
// are given outermost first by falling stride of the target, so that a dense target is written in
// order: one invocation then writes a whole word of it.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "device/number.glsl"

layout(local_size_x = 128) in;

layout(constant_id = 0) const uint SOURCE = 0; // dtypes
layout(constant_id = 1) const uint TARGET = 0;
layout(constant_id = 2) const uint DENSE = 0; // the target's elements lie side by side, in order

layout(std430, set = 0, binding = 0) readonly buffer Source { uint source[]; };
layout(std430, set = 0, binding = 1) buffer Target { uint target[]; };

layout(push_constant) uniform Push {
    uint count, ndim, source_base, target_base; // bases in elements
    uint shape[8], source_stride[8], target_stride[8];
};

uvec2 load(uint i)
{
    const uint size = size_log2(SOURCE);
    if (size == 3)
        return uvec2(source[2 * i], source[2 * i + 1]);
    if (size == 2)
        return uvec2(source[i], 0);
    if (size == 1)
        return uvec2(source[i >> 1] >> 16 * (i & 1u) & 0xffffu, 0);
    return uvec2(source[i >> 2] >> 8 * (i & 3u) & 0xffu, 0);
}

// Other invocations write the rest of the word.
void put_part(uint word, uint mask, uint bits)
{
    atomicAnd(target[word], ~mask);
    atomicOr(target[word], bits);
}

void store(uint i, uvec2 v)
{
    const uint size = size_log2(TARGET);
    if (size == 3) {
        target[2 * i] = v.x;
        target[2 * i + 1] = v.y;
    } else if (size == 2) {
        target[i] = v.x;
    } else if (size == 1) {
        put_part(i >> 1, 0xffffu << 16 * (i & 1u), v.x << 16 * (i & 1u));
    } else {
        put_part(i >> 2, 0xffu << 8 * (i & 3u), v.x << 8 * (i & 3u));
    }
}

// Where the linear-th element lies on both sides.
uvec2 place(uint linear)
{
    uvec2 at = uvec2(source_base, target_base);
    uint rest = linear;
    for (uint d = ndim - 1; d > 0; d--) {
        const uint next = rest / shape[d];
        const uint i = rest - next * shape[d];
        at += i * uvec2(source_stride[d], target_stride[d]);
        rest = next;
    }
    return at + rest * uvec2(source_stride[0], target_stride[0]);
}

uvec2 made(uint linear)
{
    return convert(SOURCE, TARGET, load(place(linear).x));
}

// A word of a dense target that holds 2 or 4 elements; at its ends, some of them are not ours.
void write_word(uint word)
{
    const uint each = 4u >> size_log2(TARGET), bits = 32 / each;
    uint mask = 0, value = 0;
    for (uint k = 0; k < each; k++) {
        const uint linear = word * each + k - target_base; // wraps below the first: too large
        if (linear < count) {
            mask |= (0xffffffffu >> 32 - bits) << bits * k;
            value |= made(linear).x << bits * k;
        }
    }
    if (mask == 0xffffffffu)
        target[word] = value;
    else if (mask != 0)
        put_part(word, mask, value);
}

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    const uint size = size_log2(TARGET);
    if (DENSE != 0 && size < 2) {
        write_word((target_base >> 2 - size) + i);
    } else if (i < count) {
        const uvec2 at = place(i);
        store(at.y, convert(SOURCE, TARGET, load(at.x)));
    }
}
