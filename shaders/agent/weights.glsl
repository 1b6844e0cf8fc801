// The softmax weights of a chunk and the gradients of their logits. The statistics are those of the
// agents (gathering) or of the positions (handing out).
#include "agent/options.glsl"

layout(constant_id = 1) const uint BY_POSITION = 0;
layout(constant_id = 2) const uint GRADIENTS = 0; // what `value` is

layout(std430, binding = 0) readonly buffer Logits { float logits[]; };
layout(std430, binding = 1) readonly buffer Grads { float grads[]; };
layout(std430, binding = 2) readonly buffer Most { float most[]; };
layout(std430, binding = 3) readonly buffer Total { float total[]; };

uint sequence = 0u; // with PACKED, whose agents they are

uint statistic(uint unit, uint agent, uint position)
{
    return BY_POSITION != 0 ? (unit0 + unit) * positions + first + position
                            : (sequence * heads + unit0 + unit) * agents + agent;
}

float weight(uint at, uint stat)
{
    const float sum = total[total_base + stat];
    return sum > 0.0 ? exp(logits[at] - most[most_base + stat]) / sum : 0.0;
}

// The slope of softcap at a logit that it made.
float slope(float logit)
{
    const float t = logit * bend;
    return max(0.0, 1.0 - t * t);
}

uint element(uint unit, uint agent, uint position)
{
    return (unit * agents + agent) * count + position;
}
