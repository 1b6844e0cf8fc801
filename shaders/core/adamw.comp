#version 460
#extension GL_GOOGLE_include_directive : require
// One step of AdamW, in place: core/ops/vulkan/small.c.

layout(constant_id = 1) const uint KIND_PARAM = 0;
layout(constant_id = 2) const uint KIND_GRAD = 0;

#include "core/operand.glsl"
#include "core/space.glsl"

layout(local_size_x = 128) in;

OPERAND(0, , param)
OPERAND(1, readonly, grad)
layout(std430, binding = 2) buffer First { float first_moment[]; };
layout(std430, binding = 3) buffer Second { float second_moment[]; };

layout(std430, binding = 4) readonly buffer Params {
    Space space; // param, grad and both moments
    uint base[4];
    float decay, beta1, beta2, rest1, rest2, eps, grad_scale, step_size, correction2;
} p;

void main()
{
    for (uint i = 0u; i < 4u; i++) {
        const uint index = (gl_WorkGroupID.x * 4u + i) * LANES + gl_LocalInvocationIndex;
        if (index >= p.space.count)
            return;
        uint at[4] = uint[4](p.base[0], p.base[1], p.base[2], p.base[3]);
        LOCATE(p.space, index, 4, at)
        const float g = GET(grad, KIND_GRAD, at[1]) * p.grad_scale;
        const float m = p.beta1 * first_moment[at[2]] + p.rest1 * g;
        const float v = p.beta2 * second_moment[at[3]] + p.rest2 * g * g;
        const float old = GET(param, KIND_PARAM, at[0]);
        const float value = old * p.decay - p.step_size * m / (sqrt(v) * p.correction2 + p.eps);
        first_moment[at[2]] = m;
        second_moment[at[3]] = v;
        PUT(param, KIND_PARAM, at[0], value);
    }
}
