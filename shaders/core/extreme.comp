#version 460
#extension GL_GOOGLE_include_directive : require
// The first place among the reduced indices where x is largest (smallest), or NaN: itself, or the
// gradient, which goes there: core/ops/vulkan/rows.c.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const bool GRADIENT = false;
layout(constant_id = 3) const bool SMALLEST = false;

#include "core/operand.glsl"
#include "core/space.glsl"
#include "core/team.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, source)
OPERAND(1, readonly, slope)
OPERAND(2, writeonly, result) // int64 places; or the gradient of the source

layout(std430, binding = 3) readonly buffer Params {
    Space kept, reduced; // source, slope, result
    uint base[3];
    Team team;
} p;

// What is found so far: a key that orders values, in one or two words, and its place.
struct Found {
    uint high, low, place;
};

Found first_of(Found a, Found b)
{
    const bool equal = a.high == b.high && a.low == b.low;
    const bool greater = b.high > a.high || b.high == a.high && b.low > a.low;
    return greater || equal && b.place < a.place ? b : a;
}

TEAM_COMBINE(team_first, Found, first_of(a, b))

// Zeros are equal; NaN comes before all.
uvec2 ordered(uvec2 bits, bool nan)
{
    if (nan)
        return uvec2(0xffffffffu);
    if ((bits.x & 0x7fffffffu) == 0u && bits.y == 0u)
        bits.x = 0u;
    if ((bits.x & 0x80000000u) != 0u)
        bits = ~bits;
    else
        bits.x |= 0x80000000u;
    return SMALLEST ? ~bits : bits;
}

uvec2 key_at(uint i)
{
#ifdef RAPT_DOUBLE
    const uvec2 words = uvec2(source_word[2u * i + 1u], source_word[2u * i]);
    const uint high = words.x & 0x7fffffffu;
    return ordered(words, high > 0x7ff00000u || high == 0x7ff00000u && words.y != 0u);
#else
    const float x = GET_COMPUTE(source, KIND, i);
    return ordered(uvec2(floatBitsToUint(x), 0u), is_nan(x));
#endif
}

void main()
{
    const uint member = TEAM_MEMBER(p.team), line = TEAM_LINE(p.team);
    const uint number = gl_WorkGroupID.x * TEAMS(p.team) + line;
    const bool there = number < p.kept.count;
    uint start[3] = uint[3](p.base[0], p.base[1], p.base[2]);
    if (there)
        LOCATE(p.kept, number, 3, start)
    Found found = Found(0u, 0u, 0xffffffffu);
    if (there)
        for (uint r = member; r < p.reduced.count; r += TEAM_SIZE(p.team)) {
            uint at[1] = uint[1](start[0]);
            LOCATE(p.reduced, r, 1, at)
            const uvec2 key = key_at(at[0]);
            found = first_of(found, Found(key.x, key.y, r));
        }
    found = team_first(found, p.team.log_team, line, member);
    if (!there)
        return;
    if (!GRADIENT) {
        if (member == 0u) {
            result_word[2u * start[2]] = found.place;
            result_word[2u * start[2] + 1u] = 0u;
        }
        return;
    }
#ifndef RAPT_DOUBLE
    const float g = GET_COMPUTE(slope, KIND, start[1]);
    for (uint r = member; r < p.reduced.count; r += TEAM_SIZE(p.team)) {
        uint at[3] = uint[3](0u, 0u, start[2]);
        LOCATE(p.reduced, r, 3, at)
        PUT_COMPUTE(result, KIND, at[2], r == found.place ? g : 0.0);
    }
#endif
}
