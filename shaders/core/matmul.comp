#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// C = A B for each matrix of a batch, any strides: core/ops/vulkan/product.c.
//
// A workgroup makes one tile of C, of ROWS x COLUMNS; each invocation a part of it in registers,
// VECTORS_M x VECTORS_N blocks of 4 x 4. Tiles of A and B, DEPTH deep, go through shared memory while
// the next ones are on their way. Workgroup (x, y, z): tile x, piece y of the depth, matrix z.

layout(constant_id = 1) const uint KIND = 0;
layout(constant_id = 2) const uint KIND_OUT = 0;

#include "core/operand.glsl"
#include "core/space.glsl"

layout(local_size_x = 128) in;

#ifdef RAPT_DOUBLE
#define VEC dvec4
#undef GET_COMPUTE
#define GET_COMPUTE(name, kind, i) name##_double[i]
#else
#define VEC vec4
#endif

#define DEPTH 16u
#ifdef RAPT_WIDE
#define ACROSS    8u // invocations side by side, and below each other
#define DOWN      16u
#define VECTORS_M 2u
#define VECTORS_N 2u
#else
#define ACROSS    16u
#define DOWN      8u
#define VECTORS_M 1u
#define VECTORS_N 1u
#endif
#define ROWS    (DOWN * 4u * VECTORS_M)
#define COLUMNS (ACROSS * 4u * VECTORS_N)
#define LOADS_A (ROWS * DEPTH / LANES)
#define LOADS_B (COLUMNS * DEPTH / LANES)

OPERAND(0, readonly, a)
OPERAND(1, readonly, b)
OPERAND(2, writeonly, c)

layout(std430, binding = 3) readonly buffer Params {
    Space batch;  // of a, b, c
    Space summed; // of a and b: products that are added up
    uint base[3];
    uint m, n, k;
    uint row[3], column[3]; // elements between neighbours of a column, of a row
    uint tiles_n;
    uint piece, piece_stride; // of the depth; elements of c between pieces
    uint a_down, b_down;      // 1: neighbours of a column lie together
} p;

// Rows of vectors are one longer than the tile, so that writing a column of them takes many banks.
shared VEC tile_a[DEPTH][ROWS / 4u + 1u];
shared VEC tile_b[DEPTH][COLUMNS / 4u + 1u];

REAL next_a[LOADS_A], next_b[LOADS_B];

// Where load i of this lane lies in its tile: (depth, row or column).
uvec2 place(uint i, uint width, bool along_depth)
{
    const uint e = gl_LocalInvocationIndex + i * LANES;
    return along_depth ? uvec2(e % DEPTH, e / DEPTH) : uvec2(e / width, e % width);
}

void load(uvec2 start, uint first_m, uint first_n, uint first_k, uint end_k)
{
    [[unroll]] for (uint i = 0u; i < LOADS_A; i++) {
        const uvec2 at = place(i, ROWS, p.a_down == 0u);
        const uint k = first_k + at.x, m = first_m + at.y;
        next_a[i] = REAL(0);
        if (k < end_k && m < p.m)
            next_a[i] = GET_COMPUTE(a, KIND, start.x + m * p.row[0] + k * p.column[0]);
    }
    [[unroll]] for (uint i = 0u; i < LOADS_B; i++) {
        const uvec2 at = place(i, COLUMNS, p.b_down != 0u);
        const uint k = first_k + at.x, n = first_n + at.y;
        next_b[i] = REAL(0);
        if (k < end_k && n < p.n)
            next_b[i] = GET_COMPUTE(b, KIND, start.y + k * p.row[1] + n * p.column[1]);
    }
}

void share()
{
    [[unroll]] for (uint i = 0u; i < LOADS_A; i++) {
        const uvec2 at = place(i, ROWS, p.a_down == 0u);
        tile_a[at.x][at.y / 4u][at.y % 4u] = next_a[i];
    }
    [[unroll]] for (uint i = 0u; i < LOADS_B; i++) {
        const uvec2 at = place(i, COLUMNS, p.b_down != 0u);
        tile_b[at.x][at.y / 4u][at.y % 4u] = next_b[i];
    }
}

void main()
{
    const uint across = gl_LocalInvocationIndex % ACROSS, down = gl_LocalInvocationIndex / ACROSS;
    const uint first_m = gl_WorkGroupID.x / p.tiles_n * ROWS;
    const uint first_n = gl_WorkGroupID.x % p.tiles_n * COLUMNS;
    const uint begin_k = gl_WorkGroupID.y * p.piece;
    const uint end_k = min(begin_k + p.piece, p.k);
    uint matrix[3] = uint[3](p.base[0], p.base[1], p.base[2]);
    LOCATE(p.batch, gl_WorkGroupID.z, 3, matrix)
    VEC sum[4u * VECTORS_M][VECTORS_N];
    [[unroll]] for (uint r = 0u; r < 4u * VECTORS_M; r++)
        [[unroll]] for (uint j = 0u; j < VECTORS_N; j++)
            sum[r][j] = VEC(0);
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
            load(uvec2(start[0], start[1]), first_m, first_n, begin_k + step % steps * DEPTH, end_k);
        }
        if (step == 0u)
            continue;
        [[unroll]] for (uint k = 0u; k < DEPTH; k++) {
            VEC right[VECTORS_N];
            [[unroll]] for (uint j = 0u; j < VECTORS_N; j++)
                right[j] = tile_b[k][across + j * ACROSS];
            [[unroll]] for (uint i = 0u; i < VECTORS_M; i++) {
                const VEC left = tile_a[k][down + i * DOWN];
                [[unroll]] for (uint r = 0u; r < 4u; r++)
                    [[unroll]] for (uint j = 0u; j < VECTORS_N; j++)
                        sum[4u * i + r][j] += left[r] * right[j];
            }
        }
    }
    const uint target = matrix[2] + gl_WorkGroupID.y * p.piece_stride;
    [[unroll]] for (uint r = 0u; r < 4u * VECTORS_M; r++) {
        const uint m = first_m + (down + r / 4u * DOWN) * 4u + r % 4u;
        [[unroll]] for (uint j = 0u; j < VECTORS_N; j++)
            [[unroll]] for (uint x = 0u; x < 4u; x++) {
                const uint n = first_n + (across + j * ACROSS) * 4u + x;
                if (m < p.m && n < p.n) {
                    const uint at = target + m * p.row[2] + n * p.column[2];
                    const REAL value = sum[r][j][x];
                    PUT(c, KIND_OUT, at, value);
                }
            }
    }
}
