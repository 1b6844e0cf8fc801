#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// matmul.comp for float16 by cooperative matrices, float32 sums: core/ops/vulkan/product.c.
//
// A workgroup of 8 subgroups makes a tile of C of 128 x 128, each subgroup 64 x 32 of it. Tiles of A
// and B, 32 deep, go through shared memory as they lie, eight numbers at a time, while the next ones
// are on their way. So along whichever dimension neighbours of A (of B) lie together, its size and
// all strides and offsets are multiples of eight: the host sees to it.

layout(constant_id = 1) const uint KIND_OUT = 1;
layout(constant_id = 2) const bool A_DOWN = false; // neighbours of a column lie together, not of a row
layout(constant_id = 3) const bool B_DOWN = false;

#define LANES 256u

#include "kit/coopmat_words.glsl"
#include "core/space.glsl"

layout(local_size_x = 256) in;

#define SIDE   128u // of the tile of C
#define DEPTH  32u
#define EIGHTS (SIDE * DEPTH / 8u / LANES) // that an invocation loads of A, and of B

layout(std430, binding = 0) readonly buffer A { uvec4 a_eight[]; };
layout(std430, binding = 1) readonly buffer B { uvec4 b_eight[]; };
layout(std430, binding = 2) writeonly buffer C { float16_t c_half[]; };
layout(std430, binding = 2) writeonly buffer Partial { float c_single[]; };

layout(std430, binding = 3) readonly buffer Params {
    Space batch;  // of a, b, c
    Space summed; // of a and b: products that are added up
    uint base[3];
    uint m, n, k;
    uint row[3], column[3]; // elements between neighbours of a column, of a row
    uint tiles_n;
    uint piece, piece_stride; // of the depth; elements of c between pieces
    uint a_down, b_down;
} p;

// Rows of a shared tile begin a word of eight numbers behind the end of the row before.
#define DEEP_STEP (DEPTH / 8u + 1u)
#define SIDE_STEP (SIDE / 8u + 1u)
#define SUM_STEP  5u // words of four sums
#define AT_B      (SIDE * DEEP_STEP)
shared uvec4 tiles[2u * AT_B]; // of A and of B; at last 16 x 16 sums of each subgroup

uvec4 next_a[EIGHTS], next_b[EIGHTS];

// Load i of this lane: its place along the side and along the depth. `deep`: neighbours in depth lie
// together.
uvec2 place(uint i, bool deep)
{
    const uint e = gl_LocalInvocationIndex + i * LANES;
    return deep ? uvec2(e / (DEPTH / 8u), e % (DEPTH / 8u) * 8u)
                : uvec2(e % (SIDE / 8u) * 8u, e / (SIDE / 8u));
}

// Nothing is asked of what is loaded, so that it can be on its way while the tile before is worked on: beyond
// an end the last is loaded once more.
void load(uint start_a, uint start_b, uint first_m, uint first_n, uint first_k, uint end_k)
{
    COOP_ROLL for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, !A_DOWN);
        const uint m = min(first_m + at.x, p.m - (A_DOWN ? 8u : 1u));
        const uint k = min(first_k + at.y, end_k - (A_DOWN ? 1u : 8u));
        next_a[i] = a_eight[(start_a + m * p.row[0] + k * p.column[0]) / 8u];
    }
    COOP_ROLL for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, B_DOWN);
        const uint n = min(first_n + at.x, p.n - (B_DOWN ? 1u : 8u));
        const uint k = min(first_k + at.y, end_k - (B_DOWN ? 8u : 1u));
        next_b[i] = b_eight[(start_b + k * p.row[1] + n * p.column[1]) / 8u];
    }
}

// What was loaded into the tiles, zeros from depth `left` on.
void share(uint left)
{
    COOP_ROLL for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, !A_DOWN);
        tiles[A_DOWN ? at.y * SIDE_STEP + at.x / 8u : at.x * DEEP_STEP + at.y / 8u] =
            at.y < left ? next_a[i] : uvec4(0u);
    }
    COOP_ROLL for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, B_DOWN);
        tiles[AT_B + (B_DOWN ? at.x * DEEP_STEP + at.y / 8u : at.y * SIDE_STEP + at.x / 8u)] =
            at.y < left ? next_b[i] : uvec4(0u);
    }
}

void main()
{
    const uint first_m = gl_WorkGroupID.x / p.tiles_n * SIDE;
    const uint first_n = gl_WorkGroupID.x % p.tiles_n * SIDE;
    const uint begin_k = gl_WorkGroupID.y * p.piece;
    const uint end_k = min(begin_k + p.piece, p.k);
    const uint group_m = COOP_GROUP / 4u * 64u, group_n = COOP_GROUP % 4u * 32u;
    uint matrix[3] = uint[3](p.base[0], p.base[1], p.base[2]);
    LOCATE(p.batch, gl_WorkGroupID.z, 3, matrix)
    COOP_C c[4][2];
    COOP_ROLL for (uint i = 0u; i < 4u; i++)
        COOP_ROLL for (uint j = 0u; j < 2u; j++)
            COOP_ZERO(c[i][j]);
    const uint depth = end_k - begin_k, steps = (depth + DEPTH - 1u) / DEPTH, all = steps * p.summed.count;
    const bool never = p.m == 0u;
    // The tile on its way: of which of the summed products, where these begin, and at what depth.
    uint product = 0u, start[2] = uint[2](matrix[0], matrix[1]), next_k = 0u;
    if (all > 0u) {
        LOCATE(p.summed, product, 2, start)
        load(start[0], start[1], first_m, first_n, begin_k, end_k);
    }
    for (uint step = 0u; step < all; step++) {
        barrier();
        share(depth - next_k);
        barrier();
        next_k += DEPTH;
        if (next_k >= depth) {
            next_k = 0u;
            product = min(product + 1u, p.summed.count - 1u);
            start = uint[2](matrix[0], matrix[1]);
            LOCATE(p.summed, product, 2, start)
        }
        load(start[0], start[1], first_m, first_n, begin_k + next_k, end_k);
        COOP_HOLD(never, share(DEPTH);)
        COOP_ROLL for (uint k = 0u; k < DEPTH; k += 16u) {
            COOP_A left[4];
            COOP_B right[2];
            COOP_ROLL for (uint i = 0u; i < 4u; i++) {
                const uint m = group_m + i * 16u;
                if (A_DOWN) {
                    COOP_LOAD_A_T16(left[i], tiles, k * SIDE_STEP + m / 8u, SIDE_STEP);
                } else {
                    COOP_LOAD_A16(left[i], tiles, m * DEEP_STEP + k / 8u, DEEP_STEP);
                }
            }
            COOP_ROLL for (uint j = 0u; j < 2u; j++) {
                const uint n = group_n + j * 16u;
                if (B_DOWN) {
                    COOP_LOAD_B_T16(right[j], tiles, AT_B + n * DEEP_STEP + k / 8u, DEEP_STEP);
                } else {
                    COOP_LOAD_B16(right[j], tiles, AT_B + k * SIDE_STEP + n / 8u, SIDE_STEP);
                }
            }
            COOP_ROLL for (uint i = 0u; i < 4u; i++)
                COOP_ROLL for (uint j = 0u; j < 2u; j++) {
                    COOP_MULTIPLY(c[i][j], left[i], right[j]);
                }
        }
    }
    // A subgroup's blocks go out by way of shared memory: a lane has half a row of each.
    const uint own = COOP_GROUP * 16u * SUM_STEP;
    barrier();
    const uint target = matrix[2] + gl_WorkGroupID.y * p.piece_stride;
    COOP_ROLL for (uint i = 0u; i < 4u; i++)
        COOP_ROLL for (uint j = 0u; j < 2u; j++) {
            COOP_SYNC
            COOP_STORE_C16(c[i][j], tiles, own, SUM_STEP);
            COOP_SYNC
            const uint m = first_m + group_m + i * 16u + COOP_LANE / 2u;
            const uint n = first_n + group_n + j * 16u + COOP_LANE % 2u * 8u;
            COOP_ROLL for (uint x = 0u; x < 8u; x++)
                if (m < p.m && n + x < p.n) {
                    const uint at = target + m * p.row[2] + (n + x) * p.column[2];
                    const float value = uintBitsToFloat(
                        tiles[own + COOP_LANE / 2u * SUM_STEP + COOP_LANE % 2u * 2u + x / 4u][x % 4u]);
                    if (KIND_OUT == 0u)
                        c_single[at] = value;
                    else
                        c_half[at] = float16_t(value);
                }
        }
}
