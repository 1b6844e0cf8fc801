#version 450
// From the gradient of scores, as softcap and alibi shaped them, to that of what softcap took, in
// place, over the rows from query `own` on. The slopes' gradient, of a slot of 16 rows and `slot_keys`
// keys: sum[unit][slot] -= sum_{row, key} grad(row, key) |distance|. Groups: slots, units.
#extension GL_GOOGLE_include_directive : require
#include "mta/stripe.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the scores' row 0
    int own;   // of the gradient's
    uint count;
    uint slots, slot_keys, stripe_slots; // of all stripes, of this one across the keys
    uint alibi_base;
    int offset; // M - N
    float softcap;
};

layout(std430, binding = 0) readonly buffer Scores { float scores[]; };
layout(std430, binding = 1) buffer Grad { float grad[]; };
layout(std430, binding = 2) readonly buffer Alibi { float alibi[]; };
layout(std430, binding = 3) buffer Sum { float sum[]; };

STRIPE_SEEN(4)

const bool HAS_SOFTCAP = (OPTIONS & 16) != 0;
const bool HAS_ALIBI = (OPTIONS & 32) != 0;
const bool WANTS_ALIBI = (OPTIONS & 64) != 0;

shared float sums[128];

void main()
{
    const uint lane = gl_LocalInvocationIndex, slot = gl_WorkGroupID.x, unit = gl_WorkGroupID.y;
    const uint row0 = slot / stripe_slots * 16u, begin = slot % stripe_slots * slot_keys;
    float slope = 0.0, total = 0.0;
    if (HAS_ALIBI)
        slope = alibi[alibi_base + unit_head(unit)];
    for (uint row = row0; row < min(count, row0 + 16u); row++) {
        const int query = own + int(row);
        const uint end = min(begin + slot_keys, seen(query));
        const uint grad_at = (unit * height + row) * ld;
        const uint score_at = (unit * height + uint(query - first)) * ld;
        int position = query + offset;
        if (SIGHT)
            position = sight(query).z;
        for (uint key = max(begin, low(query)) + lane; key < end; key += 128) {
            const float g = grad[grad_at + key], away = abs(float(position - int(key)));
            total = fma(g, away, total);
            if (HAS_SOFTCAP) {
                const float y = (scores[score_at + key] + slope * away) / softcap;
                grad[grad_at + key] = g * max(0.0, 1.0 - y * y);
            }
        }
    }
    if (!WANTS_ALIBI)
        return;
    sums[lane] = total;
    for (uint half_of = 64; half_of > 0; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            sums[lane] += sums[lane + half_of];
    }
    if (lane == 0)
        sum[(unit0 + unit) * slots + slot] -= sums[0];
}
