#version 460
#extension GL_GOOGLE_include_directive : require
// Root mean square norm and layer norm of lines, and the gradient of their input:
// core/ops/vulkan/rows.c. Gradients of weight and bias are folds.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const bool GRADIENT = false;
layout(constant_id = 3) const bool LAYER = false; // with mean (and bias)
layout(constant_id = 4) const bool WEIGHT = false;
layout(constant_id = 5) const bool BIAS = false;
layout(constant_id = 6) const bool SAVES = false; // scale and, of a layer norm, mean

#include "core/operand.glsl"
#include "core/lines.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, source)
OPERAND(1, readonly, slope) // of a gradient: that of y
OPERAND(2, readonly, weight)
OPERAND(3, readonly, bias)
OPERAND(4, writeonly, result)
layout(std430, binding = 5) buffer Scales { float scales[]; };
layout(std430, binding = 6) buffer Means { float means[]; };

layout(std430, binding = 7) readonly buffer Params {
    Lines lines; // source, slope or nothing, result; 3 and 4: weight and bias along the line
    uint scale_base, mean_base;
    float eps;
} p;

TEAM_COMBINE(team_sum, vec2, a + b)

float at_source(uint start, uint i)
{
    return GET_COMPUTE(source, KIND, start + i * p.lines.along[0]);
}

float at_weight(uint i)
{
    return WEIGHT ? GET_COMPUTE(weight, KIND, p.lines.base[3] + i * p.lines.along[3]) : 1.0;
}

void main()
{
    LINES_BEGIN(p.lines, 3)
    const uint log_team = p.lines.team.log_team;
    const float n = float(p.lines.line_length);
    float mean = 0.0, scale = 0.0;
    vec2 sums = vec2(0.0);
    if (GRADIENT) {
        if (there) {
            scale = scales[p.scale_base + number];
            mean = LAYER ? means[p.mean_base + number] : 0.0;
        }
    } else {
        if (LAYER) {
            EACH_OF_LINE(p.lines, i)
                sums.x += at_source(at[0], i);
            mean = team_sum(sums, log_team, line, member).x / n;
            sums = vec2(0.0);
        }
        EACH_OF_LINE(p.lines, i)
        {
            const float x = at_source(at[0], i) - mean;
            sums.x += x * x;
        }
        scale = 1.0 / sqrt(team_sum(sums, log_team, line, member).x / n + p.eps);
        if (SAVES && there && member == 0u) {
            scales[p.scale_base + number] = scale;
            if (LAYER)
                means[p.mean_base + number] = mean;
        }
    }
    // With h = (x - mean) scale and u = g weight: dx = scale (u - h mean(u h) - mean(u)), the last
    // term for a layer norm only.
    if (GRADIENT) {
        EACH_OF_LINE(p.lines, i)
        {
            const float u = GET_COMPUTE(slope, KIND, at[1] + i * p.lines.along[1]) * at_weight(i);
            sums += vec2(u * ((at_source(at[0], i) - mean) * scale), u);
        }
        sums = team_sum(sums, log_team, line, member) / n;
    }
    EACH_OF_LINE(p.lines, i)
    {
        const float h = (at_source(at[0], i) - mean) * scale;
        float y;
        if (GRADIENT) {
            const float u = GET_COMPUTE(slope, KIND, at[1] + i * p.lines.along[1]) * at_weight(i);
            y = scale * (u - h * sums.x - (LAYER ? sums.y : 0.0));
        } else {
            y = h * at_weight(i);
            if (BIAS)
                y += GET_COMPUTE(bias, KIND, p.lines.base[4] + i * p.lines.along[4]);
        }
        PUT_COMPUTE(result, KIND, at[2] + i * p.lines.along[2], y);
    }
}
