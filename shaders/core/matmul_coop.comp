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

#include "kit/coopmat.glsl"
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

// Rows of a shared tile begin two vectors of four behind the end of the row before.
#define DEEP_STEP (DEPTH / 4u + 2u)
#define SIDE_STEP (SIDE / 4u + 2u)
#define SUM_STEP  5u
shared COOP_HALF4 tile_a[SIDE * DEEP_STEP];
shared COOP_HALF4 tile_b[SIDE * DEEP_STEP];
shared COOP_FLOAT4 sums[8u * 16u * SUM_STEP]; // 16 x 16 of each subgroup

uvec4 next_a[EIGHTS], next_b[EIGHTS];

#ifdef RAPT_COOPMAT_NV
#define FOUR(low, high) uvec2(low, high)
#else
#define FOUR(low, high) f16vec4(unpackFloat2x16(low), unpackFloat2x16(high))
#endif

// Load i of this lane: its place along the side and along the depth. `deep`: neighbours in depth lie
// together.
uvec2 place(uint i, bool deep)
{
    const uint e = gl_LocalInvocationIndex + i * LANES;
    return deep ? uvec2(e / (DEPTH / 8u), e % (DEPTH / 8u) * 8u)
                : uvec2(e % (SIDE / 8u) * 8u, e / (SIDE / 8u));
}

void load(uint start_a, uint start_b, uint first_m, uint first_n, uint first_k, uint end_k)
{
    [[unroll]] for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, !A_DOWN);
        const uint m = first_m + at.x, k = first_k + at.y;
        next_a[i] = uvec4(0u);
        if (m < p.m && k < end_k)
            next_a[i] = a_eight[(start_a + m * p.row[0] + k * p.column[0]) / 8u];
    }
    [[unroll]] for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, B_DOWN);
        const uint n = first_n + at.x, k = first_k + at.y;
        next_b[i] = uvec4(0u);
        if (n < p.n && k < end_k)
            next_b[i] = b_eight[(start_b + k * p.row[1] + n * p.column[1]) / 8u];
    }
}

void share()
{
    [[unroll]] for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, !A_DOWN);
        const uint to = A_DOWN ? at.y * SIDE_STEP + at.x / 4u : at.x * DEEP_STEP + at.y / 4u;
        tile_a[to] = FOUR(next_a[i].x, next_a[i].y);
        tile_a[to + 1u] = FOUR(next_a[i].z, next_a[i].w);
    }
    [[unroll]] for (uint i = 0u; i < EIGHTS; i++) {
        const uvec2 at = place(i, B_DOWN);
        const uint to = B_DOWN ? at.x * DEEP_STEP + at.y / 4u : at.y * SIDE_STEP + at.x / 4u;
        tile_b[to] = FOUR(next_b[i].x, next_b[i].y);
        tile_b[to + 1u] = FOUR(next_b[i].z, next_b[i].w);
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
    [[unroll]] for (uint i = 0u; i < 4u; i++)
        [[unroll]] for (uint j = 0u; j < 2u; j++)
            COOP_ZERO(c[i][j]);
    const uint steps = (end_k - begin_k + DEPTH - 1u) / DEPTH, all = steps * p.summed.count;
    for (uint step = 0u; step <= all; step++) {
        if (step > 0u) {
            barrier();
            share();
            barrier();
        }
        if (step < all) {
            uint start[2] = uint[2](matrix[0], matrix[1]);
            LOCATE(p.summed, step / steps, 2, start)
            load(start[0], start[1], first_m, first_n, begin_k + step % steps * DEPTH, end_k);
        }
        if (step == 0u)
            continue;
        [[unroll]] for (uint k = 0u; k < DEPTH; k += 16u) {
            COOP_A left[4];
            COOP_B right[2];
            [[unroll]] for (uint i = 0u; i < 4u; i++) {
                const uint m = group_m + i * 16u;
                if (A_DOWN) {
                    COOP_LOAD_A_T(left[i], tile_a, k * SIDE_STEP + m / 4u, SIDE_STEP);
                } else {
                    COOP_LOAD_A(left[i], tile_a, m * DEEP_STEP + k / 4u, DEEP_STEP);
                }
            }
            [[unroll]] for (uint j = 0u; j < 2u; j++) {
                const uint n = group_n + j * 16u;
                if (B_DOWN) {
                    COOP_LOAD_B_T(right[j], tile_b, n * DEEP_STEP + k / 4u, DEEP_STEP);
                } else {
                    COOP_LOAD_B(right[j], tile_b, k * SIDE_STEP + n / 4u, SIDE_STEP);
                }
            }
            [[unroll]] for (uint i = 0u; i < 4u; i++)
                [[unroll]] for (uint j = 0u; j < 2u; j++) {
                    COOP_MULTIPLY(c[i][j], left[i], right[j]);
                }
        }
    }
    // A subgroup's blocks go out by way of shared memory: a lane has half a row of each.
    const uint own = COOP_GROUP * 16u * SUM_STEP;
    const uint target = matrix[2] + gl_WorkGroupID.y * p.piece_stride;
    [[unroll]] for (uint i = 0u; i < 4u; i++)
        [[unroll]] for (uint j = 0u; j < 2u; j++) {
            COOP_SYNC
            COOP_STORE_C(c[i][j], sums, own, SUM_STEP);
            COOP_SYNC
            const uint m = first_m + group_m + i * 16u + COOP_LANE / 2u;
            const uint n = first_n + group_n + j * 16u + COOP_LANE % 2u * 8u;
            [[unroll]] for (uint x = 0u; x < 8u; x++)
                if (m < p.m && n + x < p.n) {
                    const uint at = target + m * p.row[2] + (n + x) * p.column[2];
                    const float value = COOP_FROM_FLOAT4(
                        sums[own + COOP_LANE / 2u * SUM_STEP + COOP_LANE % 2u * 2u + x / 4u][x % 4u]);
                    if (KIND_OUT == 0u)
                        c_single[at] = value;
                    else
                        c_half[at] = float16_t(value);
                }
        }
}
