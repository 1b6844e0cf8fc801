#version 450
// The gradient of a kernel over the queries of a stripe:
//     sum[unit][slot][a][b] += sum_{row, key} grad(row, key) value(row - na + 1 + a, key - half + b)
// A slot is 16 rows and `slot_keys` keys. Groups: slots, pieces of 8 x 16 taps, units. An invocation
// holds 4 taps next to each other, of every `parts`-th row.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "mta/stripe.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 3) const uint UNMIX = 0; // 1: grad is mixed back among heads

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
    uint rows; // of the matrix
    int own;
    uint count;
    int grad_first; // query of row 0 of grad
    uint na, nb, half_keys;
    uint slots, slot_keys, stripe_slots; // of all stripes, of this one across the keys
};

STRIPE_SEEN
#include "mta/values.glsl"
layout(std430, binding = 4) readonly buffer Grad { float grad[]; };
layout(std430, binding = 5) buffer Sum { float sum[]; };

#define TILE_ROWS  16u
#define TILE_KEYS  64u
#define PIECE_ROWS 8u
#define PIECE_KEYS 16u
#define PITCH      21u // vectors of a row of the halo: 64 keys, 19 around them, and one

shared vec4 halo[(TILE_ROWS + PIECE_ROWS - 1) * PITCH];
shared vec4 tile[TILE_ROWS * TILE_KEYS / 4];

// Of the stripe's own queries, 0 where hidden.
float grad_at(uint unit, uint row, uint key)
{
    const int query = own + int(row);
    if (row >= count || key >= seen(query))
        return 0.0;
    const uint grad_row = uint(query - grad_first);
    if (UNMIX == 0)
        return grad[(unit * height + grad_row) * ld + key];
    const uint group = unit - unit % mixed, member = unit % mixed;
    const uint mixtures = unit_head(unit) / mixed * mixed + member;
    float total = 0.0;
    for (uint d = 0; d < mixed; d++)
        total = fma(mixture[mixtures * mixed + d],
                    grad[((group + d) * height + grad_row) * ld + key], total);
    return total;
}

void load(uint unit, uint row0, uint key0, uint a0, uint b0, uint lines, uint across)
{
    for (uint r = 0; r < TILE_ROWS; r++) {
        const uint x = gl_LocalInvocationIndex;
        tile[r * (TILE_KEYS / 4u) + (x >> 2)][x & 3u] = grad_at(unit, row0 + r, key0 + x);
    }
    const int query = own + int(row0 + a0) + 1 - int(na), key = int(key0 + b0) - int(half_keys);
    for (uint r = 0; r < lines; r++)
        for (uint x = gl_LocalInvocationIndex; x < across; x += 64)
            halo[r * PITCH + (x >> 2)][x & 3u] = value(unit, query + int(r), key + int(x));
}

vec4 taps = vec4(0.0);

// Row r of the tile against the halo's row r + a, 4 taps from column 4 g on.
void add_row(uint r, uint a, uint g)
{
    uint line = (r + a) * PITCH + g;
    vec4 p = halo[line];
    for (uint x = 0; x < TILE_KEYS / 4u; x++) {
        const vec4 q = halo[line + x + 1u], w = tile[r * (TILE_KEYS / 4u) + x];
        taps = fma(vec4(w.x), p, taps);
        taps = fma(vec4(w.y), vec4(p.yzw, q.x), taps);
        taps = fma(vec4(w.z), vec4(p.zw, q.xy), taps);
        taps = fma(vec4(w.w), vec4(p.w, q.xyz), taps);
        p = q;
    }
}

void main()
{
    const uint lane = gl_LocalInvocationIndex, unit = gl_WorkGroupID.z, slot = gl_WorkGroupID.x;
    const uint pieces = (nb + PIECE_KEYS - 1u) / PIECE_KEYS;
    const uint a0 = gl_WorkGroupID.y / pieces * PIECE_ROWS, b0 = gl_WorkGroupID.y % pieces * PIECE_KEYS;
    const uint pa = min(PIECE_ROWS, na - a0), pb = min(PIECE_KEYS, nb - b0);
    const uint across = (pb + 3u) / 4u, groups = pa * across, parts = 64u / groups;
    const uint row0 = slot / stripe_slots * TILE_ROWS, begin = slot % stripe_slots * slot_keys;
    const uint end = min(begin + slot_keys, seen(own + int(min(count, row0 + TILE_ROWS)) - 1));
    const uint part = lane / groups, a = lane % groups / across, g = lane % groups % across;
    for (uint key0 = begin; key0 < end; key0 += TILE_KEYS) {
        barrier();
        load(unit, row0, key0, a0, b0, TILE_ROWS + pa - 1u, TILE_KEYS + 4u * across);
        barrier();
        if (part < parts)
            for (uint r = part; r < TILE_ROWS; r += parts)
                add_row(r, a, g);
    }
    barrier();
    tile[lane] = taps;
    barrier();
    if (part != 0)
        return;
    for (uint p = 1; p < parts; p++)
        taps += tile[p * groups + lane];
    const uint at = ((unit0 + unit) * slots + slot) * na * nb + (a0 + a) * nb + b0 + 4u * g;
    [[unroll]] for (uint c = 0; c < 4; c++)
        if (4u * g + c < pb)
            sum[at + c] += taps[c];
}
