// Tiles of 32 rows and 64 keys with what kernels reach around them: an invocation of 64 has 4 rows
// of 8 keys. For each row above them it takes the keys that COLUMNS taps next to each other reach
// from all of its 8, so that what is loaded once from shared memory is multiplied by COLUMNS taps.

layout(constant_id = 4) const uint COLUMNS = 16; // of a kernel, or of a piece of it; at most 16
layout(constant_id = 5) const uint SHIFT = 0;    // keys before the first, so that vectors are aligned

#define TILE_ROWS 32u
#define TILE_KEYS 64u
#define REACHED   28 // most keys of `reached`

const uint VECTORS = (SHIFT + COLUMNS + 10u) / 4u; // that an invocation takes of a row
const uint ACROSS = VECTORS + 14u;                 // of a row of the tile

// Even vectors, then odd ones, so that neighbours, who take every other one, do not meet in a bank.
#define HALO_ODD   12u
#define HALO_PITCH 24u

shared vec4 halo[(TILE_ROWS + HALO_ROWS) * HALO_PITCH];

float reached[REACHED];

// From (query, key) on; the key is a multiple of 4.
void load_halo(uint unit, int query, int key, uint lines)
{
    const uint count_of = lines * ACROSS;
    for (uint i = gl_LocalInvocationIndex; i < count_of; i += 256u) {
        vec4 x[4];
        [[unroll]] for (uint j = 0; j < 4; j++) {
            const uint at = i + 64u * j, r = at / ACROSS;
            x[j] = value4(unit, query + int(r), key + 4 * int(at - r * ACROSS));
        }
        [[unroll]] for (uint j = 0; j < 4; j++) {
            const uint at = i + 64u * j, r = at / ACROSS, v = at - r * ACROSS;
            if (at < count_of)
                halo[r * HALO_PITCH + (v >> 1) + (v & 1u) * HALO_ODD] = x[j];
        }
    }
}

// What invocation x across needs of a row of the halo: reached[SHIFT + b + c] for tap b of key c.
void take_row(uint row, uint x)
{
    [[unroll]] for (uint j = 0; j < 7; j++)
        if (j < VECTORS) {
            const vec4 v = halo[row * HALO_PITCH + x + (j >> 1) + (j & 1u) * HALO_ODD];
            reached[4 * j] = v.x;
            reached[4 * j + 1] = v.y;
            reached[4 * j + 2] = v.z;
            reached[4 * j + 3] = v.w;
        }
}
