// kit/coopmat.glsl with shared arrays of uvec4, 16 bytes an element: eight numbers of an operand, two a word,
// or four of a sum. One array can hold both, at different times, and what is read from memory by 16 bytes
// goes there as it is.
//
//     COOP_LOAD_A16, COOP_LOAD_A_T16, COOP_LOAD_B16, COOP_LOAD_B_T16, COOP_LOAD_C16, COOP_STORE_C16
#ifndef RAPT_KIT_COOPMAT_WORDS_GLSL
#define RAPT_KIT_COOPMAT_WORDS_GLSL

#include "kit/coopmat.glsl"

#if defined(RAPT_COOPMAT_KHR) || defined(RAPT_COOPMAT_NV)

#define COOP_LOAD_A16   COOP_LOAD_A
#define COOP_LOAD_A_T16 COOP_LOAD_A_T
#define COOP_LOAD_B16   COOP_LOAD_B
#define COOP_LOAD_B_T16 COOP_LOAD_B_T
#define COOP_LOAD_C16   COOP_LOAD_C
#define COOP_STORE_C16  COOP_STORE_C

#else

#define COOP_HALF16(array, at, step, r, c)                                                         \
    float(unpackFloat2x16(array[(at) + (r) * (step) + ((c) >> 3)][(c) >> 1 & 3u])[(c) & 1u])
#define COOP_LOAD_A16(m, array, at, step)                                                          \
    for (uint i_ = 0; i_ < 16; i_++)                                                               \
        m.e[i_] = COOP_HALF16(array, at, step, COOP_ROW, i_);
#define COOP_LOAD_A_T16(m, array, at, step)                                                        \
    for (uint i_ = 0; i_ < 16; i_++)                                                               \
        m.e[i_] = COOP_HALF16(array, at, step, i_, COOP_ROW);
#define COOP_LOAD_B16(m, array, at, step)                                                          \
    for (uint i_ = 0; i_ < 128; i_++)                                                              \
        m.e[i_] = COOP_HALF16(array, at, step, i_ >> 3, COOP_COLUMN + (i_ & 7u));
#define COOP_LOAD_B_T16(m, array, at, step)                                                        \
    for (uint i_ = 0; i_ < 128; i_++)                                                              \
        m.e[i_] = COOP_HALF16(array, at, step, COOP_COLUMN + (i_ & 7u), i_ >> 3);
#define COOP_LOAD_C16(m, array, at, step)                                                          \
    for (uint i_ = 0; i_ < 8; i_++)                                                                \
        m.e[i_] = uintBitsToFloat(                                                                 \
            array[(at) + COOP_ROW * (step) + ((COOP_COLUMN + i_) >> 2)][i_ & 3u]);
#define COOP_STORE_C16(m, array, at, step)                                                         \
    for (uint i_ = 0; i_ < 8; i_++)                                                                \
        array[(at) + COOP_ROW * (step) + ((COOP_COLUMN + i_) >> 2)][i_ & 3u] =                     \
            floatBitsToUint(m.e[i_]);

#endif
#endif
