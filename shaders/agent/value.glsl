// A weight, or with GRADIENTS the gradient of its logit.
#include "agent/weights.glsl"

layout(std430, binding = 4) readonly buffer Delta { float delta[]; };

float value(uint unit, uint agent, uint position)
{
    const uint at = element(unit, agent, position), stat = statistic(unit, agent, position);
    const float p = weight(at, stat);
    if (GRADIENTS == 0)
        return p;
    return CAPPED ? p * (grads[at] - delta[stat]) * slope(logits[at]) : p * (grads[at] - delta[stat]);
}

// As an operand of float16 it is scaled by a power of two: of gradients, by one that fits the greatest
// of the unit; of weights, so that small ones keep their bits.
#ifdef PRODUCT_COOP
layout(std430, binding = 9) readonly buffer ValueScale { float value_scales[]; };
float value_scale(uint unit) { return GRADIENTS != 0 ? value_scales[unit0 + unit] : 16384.0; }

layout(std430, binding = 0) readonly buffer Logits4 { vec4 logits4[]; };
layout(std430, binding = 1) readonly buffer Grads4 { vec4 grads4[]; };

// Of the four positions that an invocation reads, with BY_POSITION; `lift` is the unit's value_scale.
vec4 own_most, own_share, own_delta;
float lift;

float share_of_sum(float sum)
{
    return sum > 0.0 ? 1.0 / sum : 0.0;
}

void prepare_values(uint unit, uint position)
{
    if (BY_POSITION == 0)
        return;
    [[unroll]] for (uint c = 0; c < 4; c++) {
        const uint stat = statistic(unit, 0u, min(position + c, count - 1u));
        own_most[c] = most[most_base + stat];
        own_share[c] = share_of_sum(total[total_base + stat]);
        own_delta[c] = GRADIENTS != 0 ? delta[stat] : 0.0;
    }
}

// scaled_value of four positions, where their number is a multiple of four.
f16vec4 value_four(uint unit, uint agent, uint position)
{
    const bool there = agent < agents && position < count;
    const uint nearest = min(agent, agents - 1u);
    const uint at = element(unit, nearest, min(position, count - 4u)) >> 2;
    vec4 top = own_most, share = own_share, less = own_delta;
    if (BY_POSITION == 0) {
        const uint stat = statistic(unit, nearest, 0u);
        top = vec4(most[most_base + stat]);
        share = vec4(share_of_sum(total[total_base + stat]));
        less = vec4(GRADIENTS != 0 ? delta[stat] : 0.0);
    }
    const vec4 logit = logits4[at];
    vec4 x = exp(logit - top) * share;
    if (GRADIENTS != 0)
        x *= grads4[at] - less;
    if (GRADIENTS != 0 && CAPPED)
        x *= max(vec4(0.0), 1.0 - logit * bend * (logit * bend));
    return operand_four(x * lift, there);
}
#else
float value_scale(uint unit) { return 1.0; }
#endif

float scaled_value(uint unit, uint agent, uint position)
{
    return value(unit, agent, position) * value_scale(unit);
}
