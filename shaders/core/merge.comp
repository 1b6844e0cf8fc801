#version 460
#extension GL_GOOGLE_include_directive : require
// Two attentions over disjoint keys made one, and the gradients: core/ops/vulkan/rows.c.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const bool GRADIENT = false;
layout(constant_id = 3) const uint HAS = 0; // gradients wanted: 1 a, 2 b, 4 a_lse, 8 b_lse
layout(constant_id = 4) const bool ROWS = false; // of a gradient: o has one; otherwise: o is wanted
layout(constant_id = 5) const bool SUMS = false; // the same of lse

#include "core/operand.glsl"
#include "core/lines.glsl"
#include "core/math.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, a)
OPERAND(1, readonly, b)
OPERAND(2, , o)           // of a gradient that of o
OPERAND(3, writeonly, da)
OPERAND(4, writeonly, db)
layout(std430, binding = 5) buffer SumA { float sum_a[]; };
layout(std430, binding = 6) buffer SumB { float sum_b[]; };
layout(std430, binding = 7) buffer Sum { float sum[]; }; // of a gradient that of lse
layout(std430, binding = 8) buffer GradA { float dsum_a[]; };
layout(std430, binding = 9) buffer GradB { float dsum_b[]; };

layout(std430, binding = 10) readonly buffer Params {
    Lines lines;  // a, b, o, da, db
    Space numbers; // a_lse, b_lse, lse and, fresh and contiguous, their gradients
    uint base[5];
} p;

TEAM_COMBINE(team_sum, float, a + b)

void main()
{
    LINES_BEGIN(p.lines, 5)
    uint n[5] = uint[5](p.base[0], p.base[1], p.base[2], p.base[3], p.base[4]);
    if (there)
        LOCATE(p.numbers, number, 5, n)
    float share_a = 0.0, share_b = 0.0, all = -infinity();
    if (there) {
        const float first = sum_a[n[0]], second = sum_b[n[1]];
        const float top = max(first, second);
        if (!is_minus_infinity(top)) {
            const float part_a = is_minus_infinity(first) ? 0.0 : exp_exact(first - top);
            const float part_b = is_minus_infinity(second) ? 0.0 : exp_exact(second - top);
            const float whole = part_a + part_b;
            share_a = part_a / whole;
            share_b = part_b / whole;
            all = top + log_exact(whole);
        }
    }
    if (!GRADIENT) {
        if (SUMS && there && member == 0u)
            sum[n[2]] = all;
        if (ROWS)
            EACH_OF_LINE(p.lines, i)
            {
                float y = 0.0; // where a share is 0 its row does not matter, whatever it is
                if (share_a != 0.0)
                    y = share_a * GET_COMPUTE(a, KIND, at[0] + i * p.lines.along[0]);
                if (share_b != 0.0)
                    y += share_b * GET_COMPUTE(b, KIND, at[1] + i * p.lines.along[1]);
                PUT_COMPUTE(o, KIND, at[2] + i * p.lines.along[2], y);
            }
        return;
    }
    // d lse_a = share_a (share_b do.(a - b) + dlse), and the other way round.
    float apart = 0.0;
    if (ROWS)
        EACH_OF_LINE(p.lines, i)
        {
            const float g = GET_COMPUTE(o, KIND, at[2] + i * p.lines.along[2]);
            if (share_a != 0.0 && share_b != 0.0)
                apart += g * (GET_COMPUTE(a, KIND, at[0] + i * p.lines.along[0]) -
                              GET_COMPUTE(b, KIND, at[1] + i * p.lines.along[1]));
            if ((HAS & 1u) != 0u)
                PUT_COMPUTE(da, KIND, at[3] + i * p.lines.along[3], share_a == 0.0 ? 0.0 : share_a * g);
            if ((HAS & 2u) != 0u)
                PUT_COMPUTE(db, KIND, at[4] + i * p.lines.along[4], share_b == 0.0 ? 0.0 : share_b * g);
        }
    apart = team_sum(apart, p.lines.team.log_team, line, member);
    if (there && member == 0u) {
        const float g = SUMS ? sum[n[2]] : 0.0;
        if ((HAS & 4u) != 0u)
            dsum_a[n[3]] = share_a * (share_b * apart + g);
        if ((HAS & 8u) != 0u)
            dsum_b[n[4]] = share_b * (g - share_a * apart);
    }
}
