#version 450
// The gradient of a kernel over the queries of a stripe:
//     sum[unit][slot][a][b] += sum_{row, key} grad(row, key) value(row - na + 1 + a, key - half + b)
// A slot is 32 rows and `slot_keys` keys. Groups: slots, pieces of ROWS x 16 taps, units. An
// invocation holds 4 rows of 8 keys of grad and its part of all sums of the piece.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "mta/stripe.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 3) const uint UNMIX = 0; // 1: grad is mixed back among heads
layout(constant_id = 6) const uint ROWS = 4;  // of a piece, at most 4

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

#define PIECE_KEYS 16u
#define HALO_ROWS  3u

STRIPE_SEEN(5)
#include "mta/values4.glsl"
#include "mta/window.glsl"
layout(std430, binding = 3) readonly buffer Grad { vec4 grad[]; };
layout(std430, binding = 4) buffer Sum { float sum[]; };

// Of 4 keys of the stripe's own queries, 0 where hidden.
vec4 grad_at(uint unit, uint row, uint key)
{
    const int query = own + int(min(row, count - 1u));
    const uint at = uint(query - grad_first) * ld + min(key, ld - 4u);
    vec4 total = vec4(0.0);
    if (UNMIX == 0) {
        total = grad[(unit * height * ld + at) >> 2];
    } else {
        const uint group = unit - unit % mixed;
        for (uint d = 0; d < mixed; d++)
            total = fma(vec4(mixture_at(unit, d, 2u)), grad[((group + d) * height * ld + at) >> 2],
                        total);
    }
    return seen_of(total, query, int(key), row < count);
}

float grads[4][8];
float taps[4][16];

// Of the invocation's rows, and of those that the kernel reaches from them.
int sequence[4], taken[7];

void load_grads(uint unit, uint row, uint key)
{
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint c = 0; c < 8; c += 4) {
            const vec4 g = grad_at(unit, row + i, key + c);
            grads[i][c] = g.x;
            grads[i][c + 1] = g.y;
            grads[i][c + 2] = g.z;
            grads[i][c + 3] = g.w;
        }
}

// The invocation's row i against row i + a of what kernels reach, which has been taken.
#define ADD_ROW(i, a)                                                                               \
    if (a < ROWS && (!PACKED || sequence[i] == taken[i + a]))                                       \
        [[unroll]] for (uint b = 0; b < 16; b++)                                                    \
            if (b < COLUMNS) {                                                                      \
                float t = taps[a][b];                                                               \
                t = fma(grads[i][0], reached[SHIFT + b], t);                                        \
                t = fma(grads[i][1], reached[SHIFT + b + 1u], t);                                   \
                t = fma(grads[i][2], reached[SHIFT + b + 2u], t);                                   \
                t = fma(grads[i][3], reached[SHIFT + b + 3u], t);                                   \
                t = fma(grads[i][4], reached[SHIFT + b + 4u], t);                                   \
                t = fma(grads[i][5], reached[SHIFT + b + 5u], t);                                   \
                t = fma(grads[i][6], reached[SHIFT + b + 6u], t);                                   \
                taps[a][b] = fma(grads[i][7], reached[SHIFT + b + 7u], t);                          \
            }

// The tile of the invocation against what ROWS x COLUMNS taps reach.
void add_tile(uint x, uint y)
{
    const uint row = 4u * y;
    take_row(row, x);
    ADD_ROW(0u, 0u)
    take_row(row + 1u, x);
    ADD_ROW(1u, 0u)
    ADD_ROW(0u, 1u)
    take_row(row + 2u, x);
    ADD_ROW(2u, 0u)
    ADD_ROW(1u, 1u)
    ADD_ROW(0u, 2u)
    take_row(row + 3u, x);
    ADD_ROW(3u, 0u)
    ADD_ROW(2u, 1u)
    ADD_ROW(1u, 2u)
    ADD_ROW(0u, 3u)
    if (ROWS >= 2u)
        take_row(row + 4u, x);
    ADD_ROW(3u, 1u)
    ADD_ROW(2u, 2u)
    ADD_ROW(1u, 3u)
    if (ROWS >= 3u)
        take_row(row + 5u, x);
    ADD_ROW(3u, 2u)
    ADD_ROW(2u, 3u)
    if (ROWS >= 4u)
        take_row(row + 6u, x);
    ADD_ROW(3u, 3u)
}

// The sum over all invocations of 4 vectors, in the halo's place; vector g is invocation 16 g's.
vec4 add_up(vec4 v0, vec4 v1, vec4 v2, vec4 v3)
{
    const uint lane = gl_LocalInvocationIndex, from = lane / 16u * 64u + lane % 16u;
    barrier();
    halo[lane] = v0;
    halo[64u + lane] = v1;
    halo[128u + lane] = v2;
    halo[192u + lane] = v3;
    barrier();
    vec4 total = halo[from] + halo[from + 16u] + (halo[from + 32u] + halo[from + 48u]);
    for (uint half_of = 8; half_of > 0; half_of >>= 1) {
        halo[256u + lane] = total;
        barrier();
        if (lane % 16u < half_of)
            total += halo[256u + lane + half_of];
        barrier();
    }
    return total;
}

#define FOUR(a, b) vec4(taps[a][b], taps[a][b + 1], taps[a][b + 2], taps[a][b + 3])

void main()
{
    const uint lane = gl_LocalInvocationIndex, unit = gl_WorkGroupID.z, slot = gl_WorkGroupID.x;
    const uint x = lane & 7u, y = lane >> 3;
    const uint pieces = (nb + PIECE_KEYS - 1u) / PIECE_KEYS;
    const uint a0 = gl_WorkGroupID.y / pieces * ROWS, b0 = gl_WorkGroupID.y % pieces * PIECE_KEYS;
    const uint row0 = slot / stripe_slots * TILE_ROWS, slot_key = slot % stripe_slots * slot_keys;
    const uint begin = max(slot_key, low(own + int(row0)) & ~63u);
    const uint end = min(slot_key + slot_keys, seen(own + int(min(count, row0 + TILE_ROWS)) - 1));
    if (begin >= end)
        return;
    [[unroll]] for (uint a = 0; a < 4; a++)
        [[unroll]] for (uint b = 0; b < 16; b++)
            taps[a][b] = 0.0;
    if (PACKED) {
        const int query = own + int(row0 + 4u * y);
        [[unroll]] for (int i = 0; i < 4; i++)
            sequence[i] = sight(query + i).w;
        [[unroll]] for (int i = 0; i < 7; i++)
            taken[i] = sight(query + i + int(a0) + 1 - int(na)).w;
    }
    for (uint key0 = begin; key0 < end; key0 += TILE_KEYS) {
        barrier();
        load_halo(unit, own + int(row0 + a0) + 1 - int(na),
                  int(key0 + b0) - int(half_keys + SHIFT), TILE_ROWS + ROWS - 1u);
        load_grads(unit, row0 + 4u * y, key0 + 8u * x);
        barrier();
        add_tile(x, y);
    }
    const uint b = b0 + lane / 16u * 4u;
    [[unroll]] for (uint a = 0; a < 4; a++)
        if (a < ROWS) {
            const vec4 total = add_up(FOUR(a, 0), FOUR(a, 4), FOUR(a, 8), FOUR(a, 12));
            const uint at = (((unit0 + unit) * slots + slot) * na + a0 + a) * nb + b;
            if (lane % 16u == 0 && a0 + a < na)
                [[unroll]] for (uint e = 0; e < 4; e++)
                    if (b + e < min(nb, b0 + COLUMNS))
                        sum[at + e] += total[e];
        }
}
