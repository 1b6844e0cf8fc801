#version 460
#extension GL_GOOGLE_include_directive : require
// Cross entropy of each line with a class label, and the gradient of the logits:
// core/ops/vulkan/rows.c. A label that is no class makes its line NaN: nothing is read for it.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const bool GRADIENT = false;
layout(constant_id = 3) const uint KIND_LABEL = 0;
layout(constant_id = 4) const bool SAVES = false;   // the logarithm of each line's sum
layout(constant_id = 5) const bool COUNTS = false;  // of a gradient: divided by the number counted
layout(constant_id = 6) const bool IGNORES = false; // the label `ignored`

#include "core/operand.glsl"
#include "core/lines.glsl"
#include "core/math.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, logits)
OPERAND(1, readonly, labels)
OPERAND(2, readonly, slope)     // of the loss
OPERAND(3, writeonly, result)   // the losses, float32; of a gradient that of the logits
layout(std430, binding = 4) buffer Sums { float sums[]; };
layout(std430, binding = 5) readonly buffer Counted { float counted[]; };

layout(std430, binding = 6) readonly buffer Params {
    Lines lines; // logits, labels, slope, result
    uint ignored[2];
    uint sum_base;
    float scale; // of the gradient
} p;

TEAM_COMBINE(team_max, float, max(a, b))
TEAM_COMBINE(team_sum, float, a + b)

float at_logits(uint start, uint i)
{
    return GET_COMPUTE(logits, KIND, start + i * p.lines.along[0]);
}

void main()
{
    LINES_BEGIN(p.lines, 4)
    const uint log_team = p.lines.team.log_team;
    uvec2 label = uvec2(0u);
    if (there)
        label = GET_INTEGER(labels, KIND_LABEL, at[1]);
    const bool left_out = IGNORES && label.x == p.ignored[0] && label.y == p.ignored[1];
    const bool wrong = !left_out && (label.y != 0u || label.x >= p.lines.line_length);
    if (GRADIENT) {
        float g = 0.0, sum = 0.0;
        if (there && !left_out) {
            g = GET_COMPUTE(slope, KIND, at[2]) * p.scale;
            if (COUNTS)
                g /= counted[0];
            sum = sums[p.sum_base + number];
        }
        EACH_OF_LINE(p.lines, i)
        {
            float dx = 0.0;
            if (wrong)
                dx = nan_value();
            else if (!left_out)
                dx = exp_exact(at_logits(at[0], i) - sum) * g - (i == label.x ? g : 0.0);
            PUT_COMPUTE(result, KIND, at[3] + i * p.lines.along[3], dx);
        }
        return;
    }
    float top = LEAST, total = 0.0;
    EACH_OF_LINE(p.lines, i)
    {
        const float x = at_logits(at[0], i);
        top = is_nan(x) ? top : max(top, x);
    }
    const float peak = team_max(top, log_team, line, member);
    EACH_OF_LINE(p.lines, i)
        total += exp_exact(at_logits(at[0], i) - peak);
    total = team_sum(total, log_team, line, member);
    if (there && member == 0u) {
        const float shift = log_exact(total);
        float loss = 0.0;
        if (wrong)
            loss = nan_value();
        else if (!left_out) // the difference first: peak and shift may differ in size
            loss = (peak - at_logits(at[0], label.x)) + shift;
        PUT(result, KIND_F32, at[3], loss);
        if (SAVES)
            sums[p.sum_base + number] = left_out ? 0.0 : peak + shift;
    }
}
