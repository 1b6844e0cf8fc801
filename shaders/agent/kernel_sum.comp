#version 450
// The gradients of weights [channel][tap], or of biases, from the parts of all slots. Groups:
// elements.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint channels, taps; // taps: R R + 1
    uint first, count;   // of the taps
    uint slots, to_base;
};

layout(std430, binding = 0) readonly buffer Part { float part[]; };
layout(std430, binding = 1) writeonly buffer To { STORED to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x, channel = i / count, tap = first + i % count;
    if (channel >= channels)
        return;
    float sum = 0.0;
    for (uint slot = 0; slot < slots; slot++)
        sum += part[(slot * taps + tap) * channels + channel];
    to[to_base + i] = STORE(sum);
}
