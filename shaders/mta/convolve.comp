#version 450
// to[row][key] = sum_{a < na, b < nb} taps[a][b] value(row + up + a, key - half + b), for the rows
// from query `own` on. Forward: up = 1 - na. A gradient: up = 0 and the taps in reverse. Groups:
// tiles of 64 keys, tiles of 32 rows, units. An invocation holds 4 rows of 2 x 4 keys; kernels
// larger than 8 x 16 are taken in pieces.
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

STRIPE_SEEN
#include "mta/values.glsl"
layout(std430, binding = 4) readonly buffer Taps { float taps[]; }; // [H][na][nb]
layout(std430, binding = 5) writeonly buffer To { float to[]; };

#define TILE_ROWS  32u
#define TILE_KEYS  64u
#define PIECE_ROWS 8u
#define PIECE_KEYS 16u
#define PITCH      20u // vectors of a row of the halo: 64 keys and 15 around them

shared vec4 halo[(TILE_ROWS + PIECE_ROWS - 1) * PITCH];
shared vec4 piece[PIECE_ROWS * PIECE_KEYS / 4];

// The taps from (a, b) on; 0 beyond the kernel.
void load_piece(uint head, uint a0, uint b0)
{
    for (uint i = gl_LocalInvocationIndex; i < PIECE_ROWS * PIECE_KEYS; i += 64) {
        const uint a = a0 + i / PIECE_KEYS, b = b0 + i % PIECE_KEYS;
        const uint at = flip != 0 ? (na - 1 - a) * nb + nb - 1 - b : a * nb + b;
        piece[i >> 2][i & 3u] = a < na && b < nb ? taps[head * na * nb + at] : 0.0;
    }
}

// What the piece reaches, `lines` rows of `across` keys.
void load_halo(uint unit, int query, int key, uint lines, uint across)
{
    for (uint r = 0; r < lines; r++)
        for (uint x = gl_LocalInvocationIndex; x < across; x += 64)
            halo[r * PITCH + (x >> 2)][x & 3u] = value(unit, query + int(r), key + int(x));
}

vec4 sums[4][2];

// Adds 4 taps of each row of the piece, from column 4 g on, of input row r to the 4 rows above it.
void add_row(uint r, uint g, uint height_of_piece, uint x, uint y)
{
    const uint line = (4u * y + r) * PITCH + x + g;
    const vec4 p0 = halo[line], p1 = halo[line + 1u];
    const vec4 q0 = halo[line + 8u], q1 = halo[line + 9u];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const uint a = r - i;
        if (a < height_of_piece) {
            const vec4 tap = piece[a * (PIECE_KEYS / 4u) + g];
            sums[i][0] = fma(vec4(tap.x), p0, sums[i][0]);
            sums[i][0] = fma(vec4(tap.y), vec4(p0.yzw, p1.x), sums[i][0]);
            sums[i][0] = fma(vec4(tap.z), vec4(p0.zw, p1.xy), sums[i][0]);
            sums[i][0] = fma(vec4(tap.w), vec4(p0.w, p1.xyz), sums[i][0]);
            sums[i][1] = fma(vec4(tap.x), q0, sums[i][1]);
            sums[i][1] = fma(vec4(tap.y), vec4(q0.yzw, q1.x), sums[i][1]);
            sums[i][1] = fma(vec4(tap.z), vec4(q0.zw, q1.xy), sums[i][1]);
            sums[i][1] = fma(vec4(tap.w), vec4(q0.w, q1.xyz), sums[i][1]);
        }
    }
}

void main()
{
    const uint unit = gl_WorkGroupID.z;
    const uint row0 = gl_WorkGroupID.y * TILE_ROWS, key0 = gl_WorkGroupID.x * TILE_KEYS;
    const uint x = gl_LocalInvocationIndex & 7u, y = gl_LocalInvocationIndex >> 3;
    const uint end = seen(own + int(min(count, row0 + TILE_ROWS)) - 1);
    if (key0 >= end)
        return;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        sums[i][0] = vec4(0.0);
        sums[i][1] = vec4(0.0);
    }
    for (uint a0 = 0; a0 < na; a0 += PIECE_ROWS)
        for (uint b0 = 0; b0 < nb; b0 += PIECE_KEYS) {
            const uint pa = min(PIECE_ROWS, na - a0), groups = (min(PIECE_KEYS, nb - b0) + 3u) / 4u;
            barrier();
            load_piece(unit_head(unit), a0, b0);
            load_halo(unit, own + int(row0 + a0) + up, int(key0 + b0) - int(half_keys),
                      TILE_ROWS + pa - 1, TILE_KEYS + 4u * groups);
            barrier();
            for (uint r = 0; r < pa + 3u; r++)
                for (uint g = 0; g < groups; g++)
                    add_row(r, g, pa, x, y);
        }
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint c = 0; c < 8; c++) {
            const uint row = row0 + 4u * y + i, key = key0 + 4u * x + (c & 3u) + 8u * (c & 4u);
            if (row < count && key < end)
                to[(unit * height + row) * ld + key] = sums[i][c >> 2][c & 3u];
        }
}
