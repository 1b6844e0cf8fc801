// A weight, or with GRADIENTS the gradient of its logit.
#include "agent/weights.glsl"

layout(std430, binding = 4) readonly buffer Delta { float delta[]; };

float value(uint unit, uint agent, uint position)
{
    const uint at = element(unit, agent, position), stat = statistic(unit, agent, position);
    const float p = weight(at, stat);
    return GRADIENTS != 0 ? p * (grads[at] - delta[stat]) : p;
}
