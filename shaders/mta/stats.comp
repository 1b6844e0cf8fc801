#version 450
// Of each row of logits x the greatest and y 1 over the sum of exponentials, the sink's among them, 0
// where there is neither; z the gradient of lse and w the sink's share. In forward lse, the log of the
// sum, of the rows asked for. Groups: rows, units.
#extension GL_GOOGLE_include_directive : require
#include "mta/stripe.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
    int own;   // the first query whose lse is put
    uint count;
    uint sink_base;
    uint lse_base, lse_batch, lse_head, lse_row;
    int lse_first; // the query of its first row
};

layout(std430, binding = 0) readonly buffer Matrix { float matrix[]; };
layout(std430, binding = 1) writeonly buffer Stats { vec4 stats[]; };
layout(std430, binding = 2) readonly buffer Sink { float sink_data[]; };
layout(std430, binding = 3) buffer Lse { float lse[]; }; // backward: its gradient

STRIPE_SEEN(4)

const bool HAS_SINK = (OPTIONS & 128) != 0;
const bool HAS_LSE = (OPTIONS & 512) != 0;
const bool BACKWARD = (OPTIONS & 1024) != 0;

#define LOWEST -3.4e38

shared float tops[128];
shared float sums[128];

void main()
{
    const uint lane = gl_LocalInvocationIndex, row = gl_WorkGroupID.x;
    const uint unit = gl_WorkGroupID.y, at = unit * height + row;
    const int query = first + int(row);
    const uint begin = low(query), end = seen(query);
    float top = LOWEST, sum = 0.0;
    for (uint key = begin + lane; key < end; key += 128) {
        const float x = matrix[at * ld + key], higher = max(top, x);
        sum = fma(sum, exp(top - higher), exp(x - higher));
        top = higher;
    }
    tops[lane] = top;
    sums[lane] = sum;
    for (uint half_of = 64; half_of > 0; half_of >>= 1) {
        barrier();
        if (lane < half_of) {
            const float other = tops[lane + half_of], higher = max(top, other);
            sum = sum * exp(top - higher) + sums[lane + half_of] * exp(other - higher);
            top = higher;
            tops[lane] = top;
            sums[lane] = sum;
        }
    }
    if (lane == 0) {
        bool any = end > begin;
        float sunk = 0.0, grad = 0.0;
        if (HAS_SINK) {
            const float sink = sink_data[sink_base + unit_head(unit)];
            if (floatBitsToUint(sink) != MINUS_INFINITY) {
                const float higher = max(top, sink);
                sunk = exp(sink - higher);
                sum = sum * exp(top - higher) + sunk;
                top = higher;
                any = true;
            }
        }
        const float share = any ? 1.0 / sum : 0.0;
        if (HAS_LSE) {
            const uint lse_at = lse_base + unit_batch(unit) * lse_batch + unit_head(unit) * lse_head +
                                uint(query - lse_first) * lse_row;
            if (BACKWARD)
                grad = lse[lse_at];
            else if (query >= own && query < own + int(count))
                lse[lse_at] = any ? top + log(sum) : uintBitsToFloat(MINUS_INFINITY);
        }
        stats[at] = vec4(top, share, grad, sunk * share);
    }
}
