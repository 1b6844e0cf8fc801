// Products of tiles, sum[64 rows][64 columns] += left[row][k] right[column][k]: 64 invocations hold
// 8 x 8 sums each and take 16 steps of k at a time through shared memory. For each operand the
// including shader defines what element there is, 0 outside:
//
//     float product_left(uint row, uint k)        PRODUCT_LEFT_ALONG_K    1: k runs along memory
//     float product_right(uint column, uint k)    PRODUCT_RIGHT_ALONG_K   0: rows (columns) do
//     void product_out(uint row, uint column, float x)    what PRODUCT_STORE does with each sum
//
// Invocation l holds rows 4 (l / 8) + {0..3, 32..35} and columns 4 (l % 8) + {0..3, 32..35}.
#ifndef RAPT_KIT_PRODUCT_GLSL
#define RAPT_KIT_PRODUCT_GLSL

#ifdef PRODUCT_COOP
#include "kit/product_coop.glsl"
#else

#extension GL_EXT_control_flow_attributes : require

// With PRODUCT_LEAN loops stay loops: code that a software driver compiles in a tenth of the time.
#ifdef PRODUCT_LEAN
#define PRODUCT_UNROLL [[dont_unroll]]
#define PRODUCT_STEPS  [[dont_unroll]]
#else
#define PRODUCT_UNROLL [[unroll]]
#define PRODUCT_STEPS
#endif

#define PRODUCT_TILE  64u
#define PRODUCT_CHUNK 16u
#define PRODUCT_LANES 64u
// Vectors of a row of k: one more than 64 rows need, so that neighbours lie in different banks.
#define PRODUCT_PITCH 17u

layout(local_size_x = 64) in;

#define PRODUCT_LANE gl_LocalInvocationIndex
#define PRODUCT_X    (gl_LocalInvocationIndex & 7u)
#define PRODUCT_Y    (gl_LocalInvocationIndex >> 3)

shared vec4 product_a[PRODUCT_CHUNK * PRODUCT_PITCH];
shared vec4 product_b[PRODUCT_CHUNK * PRODUCT_PITCH];

// Sums of one invocation: 8 rows of 2 vectors.
#define PRODUCT_SUMS(name) vec4 name[8][2]

#define PRODUCT_CLEAR(sums)                                                                         \
    PRODUCT_UNROLL for (uint r_ = 0; r_ < 8; r_++) {                                                \
        sums[r_][0] = vec4(0.0);                                                                    \
        sums[r_][1] = vec4(0.0);                                                                    \
    }

// The row of a tile that the r-th row of sums is; column c of vector v.
uint product_row(uint r)
{
    return 4u * PRODUCT_Y + (r < 4u ? r : r + 28u);
}

uint product_column(uint v, uint c)
{
    return 4u * PRODUCT_X + 32u * v + c;
}

#ifdef PRODUCT_LEFT_ALONG_K
#if PRODUCT_LEFT_ALONG_K
#define PRODUCT_LEFT_AT(at) const uint row = at >> 4, k = at & 15u
#else
#define PRODUCT_LEFT_AT(at) const uint row = at & 63u, k = at >> 6
#endif
void product_load_left(uint from)
{
    PRODUCT_UNROLL for (uint i = 0; i < 16; i++) {
        const uint at = i * PRODUCT_LANES + PRODUCT_LANE;
        PRODUCT_LEFT_AT(at);
        product_a[k * PRODUCT_PITCH + (row >> 2)][row & 3u] = product_left(row, from + k);
    }
}
#endif

#if PRODUCT_RIGHT_ALONG_K
#define PRODUCT_RIGHT_AT(at) const uint column = at >> 4, k = at & 15u
#else
#define PRODUCT_RIGHT_AT(at) const uint column = at & 63u, k = at >> 6
#endif
void product_load_right(uint from)
{
    PRODUCT_UNROLL for (uint i = 0; i < 16; i++) {
        const uint at = i * PRODUCT_LANES + PRODUCT_LANE;
        PRODUCT_RIGHT_AT(at);
        product_b[k * PRODUCT_PITCH + (column >> 2)][column & 3u] = product_right(column, from + k);
    }
}

// One chunk: sums += product_a^T product_b.
#define PRODUCT_MULTIPLY(sums)                                                                      \
    PRODUCT_STEPS for (uint k_ = 0; k_ < PRODUCT_CHUNK; k_++) {                                     \
        const vec4 a0_ = product_a[k_ * PRODUCT_PITCH + PRODUCT_Y];                                 \
        const vec4 a1_ = product_a[k_ * PRODUCT_PITCH + 8u + PRODUCT_Y];                            \
        const vec4 b0_ = product_b[k_ * PRODUCT_PITCH + PRODUCT_X];                                 \
        const vec4 b1_ = product_b[k_ * PRODUCT_PITCH + 8u + PRODUCT_X];                            \
        [[unroll]] for (uint r_ = 0; r_ < 4; r_++) {                                                \
            sums[r_][0] = fma(vec4(a0_[r_]), b0_, sums[r_][0]);                                     \
            sums[r_][1] = fma(vec4(a0_[r_]), b1_, sums[r_][1]);                                     \
            sums[r_ + 4][0] = fma(vec4(a1_[r_]), b0_, sums[r_ + 4][0]);                             \
            sums[r_ + 4][1] = fma(vec4(a1_[r_]), b1_, sums[r_ + 4][1]);                             \
        }                                                                                           \
    }

#ifdef PRODUCT_LEFT_ALONG_K
// sums += the steps from <= k < to, of which the operands give 0 beyond the last.
#define PRODUCT_RUN(sums, from, to)                                                                 \
    for (uint at_ = from; at_ < to; at_ += PRODUCT_CHUNK) {                                         \
        product_load_left(at_);                                                                     \
        product_load_right(at_);                                                                    \
        barrier();                                                                                  \
        PRODUCT_MULTIPLY(sums)                                                                      \
        barrier();                                                                                  \
    }

#define PRODUCT_STORE(sums)                                                                         \
    PRODUCT_UNROLL for (uint r_ = 0; r_ < 8; r_++)                                                  \
        PRODUCT_UNROLL for (uint c_ = 0; c_ < 8; c_++)                                              \
            product_out(product_row(r_), product_column(c_ >> 2, c_ & 3u),                          \
                        sums[r_][c_ >> 2][c_ & 3u]);
#endif

#endif
#endif
