#version 450
// part[slot][tap][channel] = sum over the slot's rows of the grid, of all batches in turn, of
// from(y + dy, x + dx) grad(y, x); the last tap is the bias, where `from` counts as 1. Groups: 64
// values of a head, taps, slots.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint heads, batches, width;
    int grid_y, grid_x, taps; // taps: R
    uint slots;
    uint from_base, from_batch, from_head, from_row;
    uint grad_base, grad_batch, grad_head, grad_row;
};

layout(std430, binding = 0) readonly buffer From { STORED from[]; };
layout(std430, binding = 1) readonly buffer Grad { STORED grad[]; };
layout(std430, binding = 2) writeonly buffer Part { float part[]; };

void main()
{
    const uint tiles = (width + 63u) / 64u, head = gl_WorkGroupID.x / tiles;
    const uint e = gl_WorkGroupID.x % tiles * 64u + gl_LocalInvocationIndex;
    const uint tap = gl_WorkGroupID.y, slot = gl_WorkGroupID.z;
    const bool is_bias = tap == uint(taps * taps);
    const int dy = is_bias ? 0 : int(tap) / taps - taps / 2;
    const int dx = is_bias ? 0 : int(tap) % taps - taps / 2;
    if (e >= width)
        return;
    float sum = 0.0;
    for (uint line = slot; line < batches * uint(grid_y); line += slots) {
        const uint batch = line / uint(grid_y);
        const int y = int(line % uint(grid_y));
        if (y + dy < 0 || y + dy >= grid_y)
            continue;
        const uint grad_at = grad_base + batch * grad_batch + head * grad_head + e;
        const uint from_at = from_base + batch * from_batch + head * from_head + e;
        float row = 0.0;
        for (int x = max(0, -dx); x < min(grid_x, grid_x - dx); x++) {
            const float g = LOAD(grad[grad_at + uint(y * grid_x + x) * grad_row]);
            const uint at = from_at + uint((y + dy) * grid_x + x + dx) * from_row;
            row = fma(is_bias ? 1.0 : LOAD(from[at]), g, row);
        }
        sum += row;
    }
    part[(slot * uint(taps * taps + 1) + tap) * heads * width + head * width + e] = sum;
}
