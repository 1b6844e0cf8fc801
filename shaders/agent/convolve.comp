#version 450
// to = add + the depth-wise convolution of `from` over the grid, zero outside, with a bias; with FLIP
// the transposed one without bias. `add` is contiguous and may be `to`. Groups: elements, batch * heads
// + head.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 1) const uint FLIP = 0;

layout(push_constant) uniform Push {
    uint heads, width;
    int grid_y, grid_x, taps; // taps: R
    uint has_bias;
    uint from_base, from_batch, from_head, from_row;
    uint to_base, to_batch, to_head, to_row;
    uint add_base;
};

layout(std430, binding = 0) readonly buffer From { STORED from[]; };
layout(std430, binding = 1) readonly buffer Kernel { float kernel[]; }; // [tap][channel], bias last
layout(std430, binding = 2) readonly buffer Add { float add[]; };
layout(std430, binding = 3) writeonly buffer To { STORED to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x, unit = gl_WorkGroupID.y;
    const uint batch = unit / heads, head = unit % heads;
    const uint place = i / width, e = i % width, channels = heads * width;
    const int y = int(place) / grid_x, x = int(place) % grid_x, half_taps = taps / 2;
    if (y >= grid_y)
        return;
    const uint from_at = from_base + batch * from_batch + head * from_head + e;
    const uint channel = head * width + e;
    float sum = add[add_base + (unit * uint(grid_y * grid_x) + place) * width + e];
    if (FLIP == 0 && has_bias != 0)
        sum += kernel[uint(taps * taps) * channels + channel];
    const int up = -min(half_taps, y), down = min(half_taps, grid_y - 1 - y);
    const int left = -min(half_taps, x), right = min(half_taps, grid_x - 1 - x);
    for (int dy = up; dy <= down; dy++)
        for (int dx = left; dx <= right; dx++) {
            const int tap = FLIP != 0 ? (half_taps - dy) * taps + half_taps - dx
                                      : (half_taps + dy) * taps + half_taps + dx;
            const uint at = from_at + uint((y + dy) * grid_x + x + dx) * from_row;
            sum = fma(kernel[uint(tap) * channels + channel], LOAD(from[at]), sum);
        }
    to[to_base + batch * to_batch + head * to_head + place * to_row + e] = STORE(sum);
}
