// kit/product.glsl by cooperative matrices (PRODUCT_COOP): 128 invocations, of which a subgroup owns 16
// of the 64 rows; 64 steps of k at a time. Operands become float16: what is beyond its range its end.
// With PRODUCT_FOUR the including shader defines, besides, how four neighbours in memory are read and
// four of a row of sums put at once, and zeros, or nothing, for those outside:
//
//     bool product_wide()                                     whether they can be; of the workgroup
//     void product_prepare(uint from)                         before steps from .. from + 63 are read;
//                                                             along the other dimension of memory an
//                                                             invocation reads 4 (index % 16) alone
//     f16vec4 product_left_four(uint row, uint k), product_right_four(uint column, uint k)
//     void product_out_four(uint row, uint column, vec4 x)    wide or not
#ifndef RAPT_KIT_PRODUCT_COOP_GLSL
#define RAPT_KIT_PRODUCT_COOP_GLSL

#extension GL_EXT_control_flow_attributes : require

layout(local_size_x = 128) in;

#include "kit/coopmat.glsl"

#define PRODUCT_TILE 64u
#define PRODUCT_STEP 18u // vectors of a line of 64 numbers: two more, for the banks

shared COOP_HALF4 product_a[64 * PRODUCT_STEP];
shared COOP_HALF4 product_b[64 * PRODUCT_STEP];
shared COOP_FLOAT4 product_sums[64 * 5]; // 16 x 16 of each subgroup

#define PRODUCT_SUMS(name) COOP_C name[4]
#define PRODUCT_CLEAR(sums)                                                                         \
    COOP_ROLL for (uint n_ = 0; n_ < 4; n_++) {                                                     \
        COOP_ZERO(sums[n_]);                                                                        \
    }

COOP_HALF4 product_operand(vec4 x)
{
    return COOP_TO_HALF4(f16vec4(clamp(x, -65504.0, 65504.0)));
}

// A line of shared memory is a row (column) where k runs along memory, otherwise a step of k.
void product_load(uint from)
{
#ifdef PRODUCT_FOUR
    if (product_wide()) {
        const uint column = gl_LocalInvocationIndex & 15u, first = gl_LocalInvocationIndex >> 4;
        f16vec4 a[8], b[8];
        product_prepare(from);
        COOP_ROLL for (uint i = 0; i < 8; i++) {
            const uint line = first + 8u * i, at = 4u * column;
#if PRODUCT_LEFT_ALONG_K
            a[i] = product_left_four(line, from + at);
#else
            a[i] = product_left_four(at, from + line);
#endif
#if PRODUCT_RIGHT_ALONG_K
            b[i] = product_right_four(line, from + at);
#else
            b[i] = product_right_four(at, from + line);
#endif
        }
        COOP_ROLL for (uint i = 0; i < 8; i++) {
            product_a[(first + 8u * i) * PRODUCT_STEP + column] = COOP_TO_HALF4(a[i]);
            product_b[(first + 8u * i) * PRODUCT_STEP + column] = COOP_TO_HALF4(b[i]);
        }
        return;
    }
#endif
    for (uint i = gl_LocalInvocationIndex; i < 64u * 16u; i += 128u) {
        const uint line = i >> 4, at = 4u * (i & 15u);
        vec4 a, b;
        COOP_ROLL for (uint c = 0; c < 4; c++) {
#if PRODUCT_LEFT_ALONG_K
            a[c] = product_left(line, from + at + c);
#else
            a[c] = product_left(at + c, from + line);
#endif
#if PRODUCT_RIGHT_ALONG_K
            b[c] = product_right(line, from + at + c);
#else
            b[c] = product_right(at + c, from + line);
#endif
        }
        product_a[line * PRODUCT_STEP + (i & 15u)] = product_operand(a);
        product_b[line * PRODUCT_STEP + (i & 15u)] = product_operand(b);
    }
}

#if PRODUCT_LEFT_ALONG_K
#define PRODUCT_LOAD_A(a, k)                                                                        \
    COOP_LOAD_A(a, product_a, COOP_GROUP * 16u * PRODUCT_STEP + 4u * (k), PRODUCT_STEP)
#else
#define PRODUCT_LOAD_A(a, k)                                                                        \
    COOP_LOAD_A_T(a, product_a, (k) * 16u * PRODUCT_STEP + 4u * COOP_GROUP, PRODUCT_STEP)
#endif
#if PRODUCT_RIGHT_ALONG_K
#define PRODUCT_LOAD_B(b, k, n)                                                                     \
    COOP_LOAD_B_T(b, product_b, (n) * 16u * PRODUCT_STEP + 4u * (k), PRODUCT_STEP)
#else
#define PRODUCT_LOAD_B(b, k, n)                                                                     \
    COOP_LOAD_B(b, product_b, (k) * 16u * PRODUCT_STEP + 4u * (n), PRODUCT_STEP)
#endif

// sums += the steps from <= k < to, of which the operands give 0 beyond the last.
#define PRODUCT_RUN(sums, from, to)                                                                 \
    for (uint at_ = from; at_ < to; at_ += 64u) {                                                   \
        barrier();                                                                                  \
        product_load(at_);                                                                          \
        barrier();                                                                                  \
        COOP_ROLL for (uint k_ = 0; k_ < 4; k_++) {                                                 \
            COOP_A a_;                                                                              \
            PRODUCT_LOAD_A(a_, k_);                                                                 \
            COOP_ROLL for (uint n_ = 0; n_ < 4; n_++) {                                             \
                COOP_B b_;                                                                          \
                PRODUCT_LOAD_B(b_, k_, n_);                                                         \
                COOP_MULTIPLY(sums[n_], a_, b_);                                                    \
            }                                                                                       \
        }                                                                                           \
    }

#ifdef PRODUCT_FOUR
// Every sum to product_out_four.
#define PRODUCT_STORE(sums)                                                                         \
    COOP_ROLL for (uint n_ = 0; n_ < 4; n_++) {                                                     \
        COOP_SYNC                                                                                   \
        COOP_STORE_C(sums[n_], product_sums, COOP_GROUP * 80u, 5u);                                 \
        COOP_SYNC                                                                                   \
        COOP_ROLL for (uint i_ = 0; i_ < 2; i_++) {                                                 \
            const uint row_ = 16u * COOP_GROUP + 8u * i_ + (COOP_LANE >> 2);                        \
            product_out_four(row_, 16u * n_ + 4u * (COOP_LANE & 3u),                                \
                             COOP_FROM_FLOAT4(product_sums[row_ * 5u + (COOP_LANE & 3u)]));         \
        }                                                                                           \
    }
#else
// Every sum to product_out, neighbours of a row side by side.
#define PRODUCT_STORE(sums)                                                                         \
    COOP_ROLL for (uint n_ = 0; n_ < 4; n_++) {                                                     \
        COOP_SYNC                                                                                   \
        COOP_STORE_C(sums[n_], product_sums, COOP_GROUP * 80u, 5u);                                 \
        COOP_SYNC                                                                                   \
        COOP_ROLL for (uint i_ = 0; i_ < 8; i_++) {                                                 \
            const uint row_ = 2u * i_ + (COOP_LANE >> 4), column_ = COOP_LANE & 15u;                \
            product_out(16u * COOP_GROUP + row_, 16u * n_ + column_,                                \
                        COOP_FROM_FLOAT4(product_sums[COOP_GROUP * 80u + row_ * 5u +                \
                                                      (column_ >> 2)])[column_ & 3u]);              \
        }                                                                                           \
    }
#endif

#endif
