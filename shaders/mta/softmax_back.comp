#version 450
// to = P (dP - sum_j P dP + dlse), the gradient of the logits, for the rows from query `own` on. P are
// the weights of the matrix; dP is the gradient, mixed back among heads, or `to` itself. Besides,
// sum[unit][row] += what the sink's gradient has of a row. Groups: rows, units.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "mta/stripe.glsl"

layout(local_size_x = 128) in;

layout(constant_id = 3) const uint IN_PLACE = 0;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
    uint rows; // of the matrix
    int own;
    int grad_first; // query of row 0 of grad
    uint count;     // rows whose part of the sink's gradient is this stripe's
    uint slots;     // rows of `sum`
};

STRIPE_SEEN(5)
#include "mta/values.glsl"
layout(std430, binding = 3) readonly buffer Grad { float grad[]; };
layout(std430, binding = 4) buffer To { float to[]; };
layout(std430, binding = 6) buffer Sum { float sum_of_sink[]; };

const bool WANTS_SINK = (OPTIONS & 256) != 0;
const bool HAS_LSE = (OPTIONS & 512) != 0;

shared float sums[128];

float grad_at(uint unit, uint row, uint key)
{
    if (IN_PLACE != 0)
        return to[(unit * height + row) * ld + key];
    const uint grad_row = uint(own - grad_first) + row;
    if (MIX == 0)
        return grad[(unit * height + grad_row) * ld + key];
    const uint group = unit - unit % mixed;
    float sum = 0.0;
    for (uint d = 0; d < mixed; d++)
        sum = fma(mixture_at(unit, d), grad[((group + d) * height + grad_row) * ld + key], sum);
    return sum;
}

void main()
{
    const uint lane = gl_LocalInvocationIndex, row = gl_WorkGroupID.x, unit = gl_WorkGroupID.y;
    const uint own_row = uint(own - first) + row;
    const uint begin = low(own + int(row)), end = seen(own + int(row));
    float sum = 0.0;
    for (uint key = begin + lane; key < end; key += 128)
        sum = fma(stored(unit, own_row, key), grad_at(unit, row, key), sum);
    sums[lane] = sum;
    for (uint half_of = 64; half_of > 0; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            sums[lane] += sums[lane + half_of];
    }
    barrier();
    float delta = sums[0];
    if (HAS_LSE)
        delta -= stats[unit * height + own_row].z;
    if (WANTS_SINK && lane == 0 && row < count)
        sum_of_sink[(unit0 + unit) * slots + row] -= stats[unit * height + own_row].w * delta;
    for (uint key = begin + lane; key < end; key += 128)
        to[(unit * height + row) * ld + key] =
            stored(unit, own_row, key) * (grad_at(unit, row, key) - delta);
}
