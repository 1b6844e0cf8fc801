#version 450
// Convolution weights [channel][1][R][R] and biases [channel] as float32 [tap][channel], the bias
// last. Groups: elements.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint channels, taps; // taps: R
    uint first;          // of the taps: 0, or R R for biases
    uint count;          // R R, or 1
    uint base, stride_channel, stride_y, stride_x;
};

layout(std430, binding = 0) readonly buffer From { STORED from[]; };
layout(std430, binding = 1) writeonly buffer To { float to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x, channel = i % channels, tap = i / channels;
    if (tap < count)
        to[(first + tap) * channels + channel] =
            LOAD(from[base + channel * stride_channel + tap / taps * stride_y +
                      tap % taps * stride_x]);
}
