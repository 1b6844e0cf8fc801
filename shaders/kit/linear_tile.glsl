// The tile product: 64 rows by 64 columns, 8 x 4 for each of 128 invocations, summed over slices of 16
// that stand in shared memory.
#ifndef RAPT_KIT_LINEAR_TILE_GLSL
#define RAPT_KIT_LINEAR_TILE_GLSL

#include "kit/linear.glsl"

layout(local_size_x = 128) in;

#ifdef LINEAR_COOP
#include "kit/linear_coop.glsl"
#else

shared vec4 left_slice[SLICE * STRIDE];  // [summed][row / 4]
shared vec4 right_slice[SLICE * STRIDE]; // [summed][column / 4]

// The invocation, turned by whole groups of 32 from slot to slot: of a triangle the first rows have
// least to do, and the parts of a processor shall share that.
uint linear_self(uint slot)
{
    return (gl_LocalInvocationID.x + 32u * (slot & 3u)) & 127u;
}

// The row and the first column of quad `r` of an invocation's sums.
#define LINEAR_ROW(t, r)    (((t) >> 4) * 8 + (r))
#define LINEAR_COLUMN(t, r) (((t) & 15u) * 4)

// sums[8] += the product of the slices; `at` is the quad of the invocation's first row, `column` that of
// its columns.
#define LINEAR_MULTIPLY(sums, at, column)                                                           \
    for (uint linear_k = 0; linear_k < SLICE; linear_k++) {                                         \
        const vec4 low = left_slice[linear_k * STRIDE + (at)];                                      \
        const vec4 high = left_slice[linear_k * STRIDE + (at) + 1];                                 \
        const vec4 right = right_slice[linear_k * STRIDE + (column)];                               \
        sums[0] += low.x * right;                                                                   \
        sums[1] += low.y * right;                                                                   \
        sums[2] += low.z * right;                                                                   \
        sums[3] += low.w * right;                                                                   \
        sums[4] += high.x * right;                                                                  \
        sums[5] += high.y * right;                                                                  \
        sums[6] += high.z * right;                                                                  \
        sums[7] += high.w * right;                                                                  \
    }

#define LINEAR_CLEAR(sums)                                                                          \
    [[unroll]] for (uint linear_i = 0; linear_i < 8; linear_i++)                                    \
        sums[linear_i] = vec4(0.0);

// Puts a quad of a line (a row, or a column of the result), columns `column` and up, into a slice that is
// summed over columns.
#define LINEAR_TURN(slice, line, column, quad)                                                      \
    slice[(column) * STRIDE + ((line) >> 2)][(line) & 3u] = quad.x;                                 \
    slice[((column) + 1) * STRIDE + ((line) >> 2)][(line) & 3u] = quad.y;                           \
    slice[((column) + 2) * STRIDE + ((line) >> 2)][(line) & 3u] = quad.z;                           \
    slice[((column) + 3) * STRIDE + ((line) >> 2)][(line) & 3u] = quad.w;

#endif
#endif
