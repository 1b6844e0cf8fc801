#version 450
// Of each row of logits the greatest and 1 over the sum of exponentials; 0 where nothing is seen.
// Groups: rows, units.
#extension GL_GOOGLE_include_directive : require
#include "mta/stripe.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
};

layout(std430, binding = 0) readonly buffer Matrix { float matrix[]; };
layout(std430, binding = 1) writeonly buffer Most { float most[]; };
layout(std430, binding = 2) writeonly buffer Share { float share[]; };

STRIPE_SEEN

#define LOWEST -3.4e38

shared float tops[128];
shared float sums[128];

void main()
{
    const uint lane = gl_LocalInvocationIndex, row = gl_WorkGroupID.x;
    const uint at = gl_WorkGroupID.y * height + row, end = seen(first + int(row));
    float top = LOWEST, sum = 0.0;
    for (uint key = lane; key < end; key += 128) {
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
        most[at] = top;
        share[at] = end > 0 ? 1.0 / sum : 0.0;
    }
}
