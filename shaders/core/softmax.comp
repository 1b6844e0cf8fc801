#version 460
#extension GL_GOOGLE_include_directive : require
// Softmax and its logarithm along lines, and their gradients: core/ops/vulkan/rows.c.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const bool GRADIENT = false;
layout(constant_id = 3) const bool LOGARITHM = false;

#include "core/operand.glsl"
#include "core/lines.glsl"
#include "core/math.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, source) // x; of a gradient y
OPERAND(1, readonly, slope)  // of a gradient: that of y
OPERAND(2, writeonly, result)

layout(std430, binding = 3) readonly buffer Params { Lines lines; } p;

TEAM_COMBINE(team_max, float, max(a, b))
TEAM_COMBINE(team_sum, float, a + b)

float at_source(uint start, uint i)
{
    return GET_COMPUTE(source, KIND, start + i * p.lines.along[0]);
}

float at_slope(uint start, uint i)
{
    return GET_COMPUTE(slope, KIND, start + i * p.lines.along[1]);
}

void main()
{
    LINES_BEGIN(p.lines, 3)
    const uint log_team = p.lines.team.log_team;
    float top = LEAST, total = 0.0;
    EACH_OF_LINE(p.lines, i)
    {
        const float x = at_source(at[0], i);
        if (GRADIENT) {
            const float g = at_slope(at[1], i);
            total += LOGARITHM ? g : x * g;
        }
        top = is_nan(x) ? x : max(top, x);
    }
    // A lane's NaN makes its exponentials NaN, and those the sum.
    const float highest = is_nan(top) ? LEAST : top;
    const float peak = team_max(highest, log_team, line, member);
    if (!GRADIENT)
        EACH_OF_LINE(p.lines, i)
            total += exp_exact(at_source(at[0], i) - peak);
    total = team_sum(total, log_team, line, member);
    const bool nothing = peak == LEAST && total == 0.0; // -inf throughout
    const float shift = GRADIENT || !LOGARITHM ? 0.0 : log_exact(total);
    EACH_OF_LINE(p.lines, i)
    {
        const float x = at_source(at[0], i);
        float y;
        if (GRADIENT) {
            const float g = at_slope(at[1], i);
            y = LOGARITHM ? (peak == LEAST ? 0.0 : g - exp_exact(x) * total) : x * (g - total);
        } else if (LOGARITHM) {
            y = nothing ? -infinity() : (x - peak) - shift;
        } else {
            y = nothing ? 0.0 : exp_exact(x - peak) / total;
        }
        PUT_COMPUTE(result, KIND, at[2] + i * p.lines.along[2], y);
    }
}
