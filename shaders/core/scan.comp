#version 460
#extension GL_GOOGLE_include_directive : require
// Running sums along lines, forwards or backwards: core/ops/vulkan/rows.c. A team takes a stretch
// of a line at a time, adds it up as a tree and carries the sum on with the bits that rounding left
// over (Knuth's two-sum), so that long lines lose nothing.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const bool REVERSE = false;

#include "core/operand.glsl"
#include "core/lines.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, source)
OPERAND(1, writeonly, result)

layout(std430, binding = 2) readonly buffer Params { Lines lines; } p;

shared float sums[LANES];

void main()
{
    LINES_BEGIN(p.lines, 2)
    const uint team = TEAM_SIZE(p.lines.team), slot = line << p.lines.team.log_team;
    const uint n = p.lines.line_length;
    float carry = 0.0, left_over = 0.0;
    for (uint first = 0u; first < n; first += team) {
        const uint i = REVERSE ? n - 1u - (first + member) : first + member;
        const bool inside = there && first + member < n;
        float value = 0.0;
        if (inside)
            value = GET_COMPUTE(source, KIND, at[0] + i * p.lines.along[0]);
        for (uint apart = 1u; apart < team; apart <<= 1) {
            barrier();
            sums[slot + member] = value;
            barrier();
            if (member >= apart)
                value += sums[slot + member - apart];
        }
        barrier();
        sums[slot + member] = value;
        barrier();
        if (inside) {
            const float y = carry + (left_over + value);
            PUT_COMPUTE(result, KIND, at[1] + i * p.lines.along[1], y);
        }
        const float stretch = sums[slot + team - 1u];
        precise const float total = carry + stretch;
        precise const float taken = total - carry;
        precise const float lost = (carry - (total - taken)) + (stretch - taken);
        carry = total;
        left_over += lost;
    }
}
