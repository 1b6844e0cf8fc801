#version 450
// The gradient of head_kernel over the queries of a stripe:
//     sum[group of all batches][slot][m][d] += sum_{row, key} value_m(row, key) grad_d(row, key)
// A slot is 16 rows and `slot_keys` keys. Groups: slots, m * mixed + d, groups of heads.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "mta/stripe.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
    uint rows; // of the matrix
    int own;
    uint count;
    int grad_first; // query of row 0 of grad
    uint slots, slot_keys, stripe_slots; // of all stripes, of this one across the keys
};

STRIPE_SEEN(5)
#include "mta/values.glsl"
layout(std430, binding = 3) readonly buffer Grad { float grad[]; };
layout(std430, binding = 4) buffer Sum { float sum[]; };

shared float sums[128];

void main()
{
    const uint lane = gl_LocalInvocationIndex, slot = gl_WorkGroupID.x, group = gl_WorkGroupID.z;
    const uint m = group * mixed + gl_WorkGroupID.y / mixed;
    const uint d = group * mixed + gl_WorkGroupID.y % mixed;
    const uint row0 = slot / stripe_slots * 16u, begin = slot % stripe_slots * slot_keys;
    float total = 0.0;
    for (uint row = row0; row < min(count, row0 + 16u); row++) {
        const int query = own + int(row);
        const uint end = min(begin + slot_keys, seen(query));
        const uint grad_at = (d * height + uint(query - grad_first)) * ld;
        for (uint key = max(begin, low(query)) + lane; key < end; key += 128)
            total = fma(stored(m, uint(query - first), key), grad[grad_at + key], total);
    }
    sums[lane] = total;
    for (uint half_of = 64; half_of > 0; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            sums[lane] += sums[lane + half_of];
    }
    if (lane == 0)
        sum[((unit0 / mixed + group) * slots + slot) * mixed * mixed + gl_WorkGroupID.y] += sums[0];
}
