// A weight, or with GRADIENTS the gradient of its logit.
#include "agent/weights.glsl"

layout(std430, binding = 4) readonly buffer Delta { float delta[]; };

float value(uint unit, uint agent, uint position)
{
    const uint at = element(unit, agent, position), stat = statistic(unit, agent, position);
    const float p = weight(at, stat);
    return GRADIENTS != 0 ? p * (grads[at] - delta[stat]) : p;
}

// As an operand of float16 it is scaled by a power of two: of gradients, by one that fits the greatest
// of the unit; of weights, so that small ones keep their bits.
#ifdef PRODUCT_COOP
layout(std430, binding = 9) readonly buffer ValueScale { float value_scales[]; };
float value_scale(uint unit) { return GRADIENTS != 0 ? value_scales[unit0 + unit] : 16384.0; }
#else
float value_scale(uint unit) { return 1.0; }
#endif

float scaled_value(uint unit, uint agent, uint position)
{
    return value(unit, agent, position) * value_scale(unit);
}
