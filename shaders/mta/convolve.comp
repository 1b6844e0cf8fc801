#version 450
// to[row][key] = sum_{a < na, b < nb} taps[a][b] value(row + up + a, key - half + b), for the rows
// from query `own` on. Forward: up = 1 - na. A gradient: up = 0 and the taps in reverse. Groups:
// tiles of 64 keys, tiles of 32 rows, units. An invocation holds 4 rows of 8 keys; kernels larger
// than 8 x 16 are taken in pieces.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "mta/stripe.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
    uint rows; // of the matrix
    int own;   // query of row 0 of `to`
    uint count;
    uint na, nb, half_keys, flip;
    int up;
};

#define PIECE_ROWS 8u
#define PIECE_KEYS 16u
#define HALO_ROWS  (PIECE_ROWS - 1u)

STRIPE_SEEN(5)
#include "mta/values4.glsl"
#include "mta/window.glsl"
layout(std430, binding = 3) readonly buffer Taps { float taps[]; }; // [H][na][nb]
layout(std430, binding = 4) writeonly buffer To { vec4 to[]; };

shared vec4 piece[PIECE_ROWS * PIECE_KEYS / 4];

// 0 beyond the kernel.
float tap_at(uint head, uint a, uint b)
{
    const uint at = flip != 0 ? (na - 1 - a) * nb + nb - 1 - b : a * nb + b;
    return a < na && b < nb ? taps[head * na * nb + at] : 0.0;
}

// The taps from (a0, b0) on.
void load_piece(uint head, uint a0, uint b0)
{
    const uint i = gl_LocalInvocationIndex;
    if (i < PIECE_ROWS * PIECE_KEYS / 4u) {
        const uint a = a0 + i / 4u, b = b0 + i % 4u * 4u;
        piece[i] = vec4(tap_at(head, a, b), tap_at(head, a, b + 1u), tap_at(head, a, b + 2u),
                        tap_at(head, a, b + 3u));
    }
}

float sums[4][8];

// Of the invocation's rows, and of the row that has been taken.
int sequence[4], taken;

// One tap of the invocation's row i, of column b.
#define ADD_TAP(i, tap, b)                                                                          \
    if ((b) < COLUMNS) {                                                                            \
        sums[i][0] = fma(tap, reached[SHIFT + (b)], sums[i][0]);                                    \
        sums[i][1] = fma(tap, reached[SHIFT + (b) + 1u], sums[i][1]);                               \
        sums[i][2] = fma(tap, reached[SHIFT + (b) + 2u], sums[i][2]);                               \
        sums[i][3] = fma(tap, reached[SHIFT + (b) + 3u], sums[i][3]);                               \
        sums[i][4] = fma(tap, reached[SHIFT + (b) + 4u], sums[i][4]);                               \
        sums[i][5] = fma(tap, reached[SHIFT + (b) + 5u], sums[i][5]);                               \
        sums[i][6] = fma(tap, reached[SHIFT + (b) + 6u], sums[i][6]);                               \
        sums[i][7] = fma(tap, reached[SHIFT + (b) + 7u], sums[i][7]);                               \
    }

#define ADD_TAPS(i, at, b)                                                                          \
    if ((b) < COLUMNS) {                                                                            \
        const vec4 four = piece[(at) + (b) / 4u];                                                   \
        ADD_TAP(i, four.x, b)                                                                       \
        ADD_TAP(i, four.y, (b) + 1u)                                                                \
        ADD_TAP(i, four.z, (b) + 2u)                                                                \
        ADD_TAP(i, four.w, (b) + 3u)                                                                \
    }

// Input row r of the invocation, which has been taken, to its row i, if the piece has such taps.
#define ADD_ROW(i, r)                                                                               \
    if ((r) - i < pa && (!PACKED || sequence[i] == taken)) {                                        \
        const uint at = ((r) - i) * (PIECE_KEYS / 4u);                                              \
        [[unroll]] for (uint b = 0; b < 16; b += 4)                                                 \
            ADD_TAPS(i, at, b)                                                                      \
    }

void main()
{
    const uint unit = gl_WorkGroupID.z;
    const uint row0 = gl_WorkGroupID.y * TILE_ROWS, key0 = gl_WorkGroupID.x * TILE_KEYS;
    const uint x = gl_LocalInvocationIndex & 7u, y = gl_LocalInvocationIndex >> 3;
    const uint end = seen(own + int(min(count, row0 + TILE_ROWS)) - 1);
    if (key0 >= end || key0 + TILE_KEYS <= low(own + int(row0)))
        return;
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint c = 0; c < 8; c++)
            sums[i][c] = 0.0;
    if (PACKED)
        [[unroll]] for (uint i = 0; i < 4; i++)
            sequence[i] = sight(own + int(row0 + 4u * y + i)).w;
    for (uint a0 = 0; a0 < na; a0 += PIECE_ROWS)
        for (uint b0 = 0; b0 < nb; b0 += PIECE_KEYS) {
            const uint pa = min(PIECE_ROWS, na - a0);
            barrier();
            load_piece(unit_head(unit), a0, b0);
            load_halo(unit, own + int(row0 + a0) + up, int(key0 + b0) - int(half_keys + SHIFT),
                      TILE_ROWS + pa - 1u);
            barrier();
            for (uint r = 0; r < pa + 3u; r++) {
                take_row(4u * y + r, x);
                if (PACKED)
                    taken = sight(own + int(row0 + a0 + 4u * y + r) + up).w;
                ADD_ROW(0u, r)
                ADD_ROW(1u, r)
                ADD_ROW(2u, r)
                ADD_ROW(3u, r)
            }
        }
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint c = 0; c < 8; c += 4) {
            const uint row = row0 + 4u * y + i, key = key0 + 8u * x + c;
            if (row < count && key < end)
                to[((unit * height + row) * ld + key) >> 2] =
                    vec4(sums[i][c], sums[i][c + 1], sums[i][c + 2], sums[i][c + 3]);
        }
}
