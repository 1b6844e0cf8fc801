#version 450
// The gradient of the bias over a stripe, that of the products there:
//     sum[batch][head][slot][n][m] += sum of grad(row, key) over all that have this element
// With one row (key) for all queries (keys), slots of 16 rows (`slot_keys` keys) are kept apart; they
// are added up afterwards. Groups: tiles of 64 keys, or slots; rows, or slots; batches and heads of the
// bias.
#extension GL_GOOGLE_include_directive : require
#include "mta/stripe.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int own; // query of the gradient's row 0
    uint count, units, batches;
    uint bias_batches, bias_heads, bias_queries, bias_keys;
    uint row_slots, key_slots, slot_keys;
};

layout(std430, binding = 0) readonly buffer Grad { float grad[]; };
layout(std430, binding = 1) buffer Sum { float sum[]; };

STRIPE_SEEN(2)

shared float sums[64];

// Over the keys begin + lane, 64 further ... of a row that are visible and before `end`.
float add_row(uint unit, uint row, uint begin, uint end, float total)
{
    const uint lane = gl_LocalInvocationIndex, at = (unit * height + row) * ld;
    const uint from = low(own + int(row)), until = min(end, seen(own + int(row)));
    for (uint key = begin + lane; key < until; key += 64)
        if (key >= from)
            total += grad[at + key];
    return total;
}

void main()
{
    const uint lane = gl_LocalInvocationIndex, x = gl_WorkGroupID.x, y = gl_WorkGroupID.y;
    const bool flat_rows = bias_queries == 1, flat_keys = bias_keys == 1;
    const uint target = gl_WorkGroupID.z, batch = target / bias_heads, head = target % bias_heads;
    const uint row0 = flat_rows ? 16u * y : y, row_end = flat_rows ? min(count, row0 + 16u) : row0 + 1u;
    const uint begin = flat_keys ? x * slot_keys : 64u * x, end = begin + (flat_keys ? slot_keys : 64u);
    float total = 0.0;
    for (uint b = bias_batches == 1 ? 0 : batch; b < (bias_batches == 1 ? batches : batch + 1); b++)
        for (uint h = bias_heads == 1 ? 0 : head; h < (bias_heads == 1 ? heads : head + 1); h++) {
            const uint unit = b * heads + h - unit0;
            for (uint row = row0; unit < units && row < row_end; row++)
                total = add_row(unit, row, begin, end, total);
        }
    uint key = begin + lane;
    if (flat_keys) {
        sums[lane] = total;
        for (uint half_of = 32; half_of > 0; half_of >>= 1) {
            barrier();
            if (lane < half_of)
                sums[lane] += sums[lane + half_of];
        }
        total = sums[0];
        key = lane;
    }
    const uint slot = (flat_rows ? y : 0) * key_slots + (flat_keys ? x : 0);
    const uint n = flat_rows ? 0 : uint(own) + row0;
    if (key < bias_keys)
        sum[((target * row_slots * key_slots + slot) * bias_queries + n) * bias_keys + key] += total;
}
