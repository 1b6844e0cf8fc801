// Random numbers into elements that lie side by side: the bits that core/tensor/random.h and
// core/engine/fill.c give, by integer arithmetic alone. An invocation makes four elements; they are
// whole words of the target, but for those at its ends.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "core/philox.glsl"
#include "device/number.glsl"

layout(local_size_x = 128) in;

const uint UNIFORM = 0, NORMAL = 1; // otherwise integers
layout(constant_id = 0) const uint TARGET = 0; // its dtype
layout(constant_id = 1) const uint KIND = 0;

layout(std430, set = 0, binding = 0) buffer Target { uint target[]; };
layout(std430, set = 0, binding = 1) readonly buffer Table { uvec4 table[]; }; // rapt_normal_table

layout(push_constant) uniform Push {
    uint count, base; // in elements
    uint first[2];    // the number of the first one; 64 bits, as all that follow
    uint seed[2], low[2], range[2];
};

uvec2 plus(uvec2 a, uvec2 b)
{
    const uint x = a.x + b.x;
    return uvec2(x, a.y + b.y + uint(x < a.x));
}

// Words at to at + 3 of a stream; behind 2^64 - 1 comes 0.
uvec4 four_words(uvec2 at, uint stream)
{
    const uint skipped = at.x & 3u;
    const uvec2 key = uvec2(seed[0], seed[1]), then = plus(at, uvec2(4, 0));
    const uvec4 a = philox(uvec4(at.x >> 2 | at.y << 30, at.y >> 2, stream, 0u), key);
    if (skipped == 0u)
        return a;
    const uvec4 b = philox(uvec4(then.x >> 2 | then.y << 30, then.y >> 2, stream, 0u), key);
    return skipped == 1u ? uvec4(a.yzw, b.x) : skipped == 2u ? uvec4(a.zw, b.xy) : uvec4(a.w, b.xyz);
}

// n * 2^-scale as a float, rounded once, to nearest even.
uint float_of(uint n, uint scale)
{
    const int high = findMSB(n);
    if (high < 0)
        return 0u;
    uint kept = n << max(23 - high, 0);
    if (high > 23) {
        const uint dropped = uint(high - 23), rest = n << 32u - dropped;
        kept = n >> dropped;
        kept += uint(rest > 0x80000000u || rest == 0x80000000u && (kept & 1u) != 0u);
    }
    return (uint(high) + 126u - scale << 23) + kept; // the leading one adds one to the exponent
}

uint high_product(uint a, uint b)
{
    uint high, low_;
    umulExtended(a, b, high, low_);
    return high;
}

uint normal_bits(uint word)
{
    const uint p = word << 1 | 1u;
    const uint octave = 31u - uint(findMSB(p));
    const uint scaled = p << octave, t = scaled << 5;
    const uvec4 c = table[octave * 16u + (scaled >> 27 & 15u)];
    const uint z = c.x - high_product(t, c.y - high_product(t, c.z - high_product(t, c.w)));
    return float_of(z, 29u) | word & 0x80000000u;
}

// low + the upper half of word * range; a range of 2^64 is stored as 0.
uvec2 integer(uvec2 word)
{
    const uvec2 begin = uvec2(low[0], low[1]), n = uvec2(range[0], range[1]);
    if (n == uvec2(0))
        return plus(begin, word);
    uint ignored, low_high, a_high, a_low, b_high, b_low, carry_a, carry_b;
    uvec2 top;
    umulExtended(word.x, n.x, low_high, ignored);
    umulExtended(word.y, n.x, a_high, a_low);
    umulExtended(word.x, n.y, b_high, b_low);
    umulExtended(word.y, n.y, top.y, top.x);
    const uint middle = uaddCarry(low_high, a_low, carry_a);
    uaddCarry(middle, b_low, carry_b);
    top = plus(plus(top, uvec2(a_high, 0)), uvec2(b_high, 0));
    return plus(begin, plus(top, uvec2(carry_a + carry_b, 0)));
}

// Other invocations, or others' elements, have the rest of the word.
void put_word(uint word, uint mask, uint bits)
{
    if (mask == 0xffffffffu) {
        target[word] = bits;
    } else if (mask != 0u) {
        atomicAnd(target[word], ~mask);
        atomicOr(target[word], bits);
    }
}

void main()
{
    const uint begin = 4u * ((base >> 2) + gl_GlobalInvocationID.x); // in elements of the target
    const int from = int(begin - base);                             // below 0 for the first
    if (from >= int(count))
        return;
    const uvec2 at = plus(uvec2(first[0], first[1]), uvec2(uint(from), from < 0 ? 0xffffffffu : 0u));
    const uvec4 a = four_words(at, 0u);
    const uvec4 b = KIND > NORMAL ? four_words(at, 1u) : uvec4(0);
    const uint size = size_log2(TARGET), each = size < 2u ? 4u >> size : 1u, bits = 32u / each;
    uint mask = 0u, word = 0u;
    for (uint k = 0u; k < 4u; k++) {
        const uint i = begin + k;
        const bool ours = i - base < count; // wraps below the first: too large
        const uvec2 made = KIND > NORMAL ? convert(I64, TARGET, integer(uvec2(b[k], a[k])))
                                         : convert(F32, TARGET, uvec2(KIND == NORMAL ? normal_bits(a[k])
                                                                      : float_of(a[k] >> 8, 24u), 0u));
        if (size == 3u && ours) {
            target[2u * i] = made.x;
            target[2u * i + 1u] = made.y;
        } else if (size == 2u && ours) {
            target[i] = made.x;
        } else if (size < 2u) {
            const uint place = bits * (k & each - 1u);
            if (ours) {
                mask |= 0xffffffffu >> 32u - bits << place;
                word |= made.x << place;
            }
            if ((k & each - 1u) == each - 1u) {
                put_word(i >> 2u - size, mask, word);
                mask = word = 0u;
            }
        }
    }
}
