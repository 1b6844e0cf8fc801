/*
 * kit/levels.h - one source, compiled for every CPU level, in one compile command.
 *
 *     #define RAPT_LEVELS_BODY "hooks.h"
 *     #include "kit/levels.h"
 *
 * includes the file named by RAPT_LEVELS_BODY once for each level that this architecture has
 * (x86-64: AVX-512, AVX2 with FMA and F16C, portable; AArch64: NEON, portable; others: portable),
 * each time under the target options of that level and with kit/simd.h for it. The name is looked
 * up like that of any quoted include: an -I for its folder is all that is needed. May be included
 * again for another body.
 *
 * In the body
 *     RAPT_LEVEL             the level's number in rapt_cpu_level, for #if
 *     RAPT_LEVEL_NAME(x)     x with the level's suffix. Every function and type of the body is
 *                            static and is named through it:
 *                                #define scale_row RAPT_LEVEL_NAME(scale_row)
 *                            once for all levels suffices.
 *     SIMD_LANES             floats in a vector
 *
 * After it
 *     RAPT_LEVEL_PICK(level, x)   the x of a rapt_cpu_level that service("rapt.cpu", 1) tells
 *
 * Compiled with RAPT_LEVELS_WITHOUT_AVX2 the level in the middle is left out, for builds that are
 * to be quick on a processor with AVX-512: what asks for AVX2 gets the portable body.
 *
 * A body must not call anything at its level before the level was looked up, and its own includes
 * (system headers above all) belong before "kit/levels.h".
 */
#ifndef RAPT_LEVELS_BODY
#error "define RAPT_LEVELS_BODY as the quoted name of the file to compile for each CPU level"
#endif

#ifndef RAPT_KIT_LEVELS_H
#define RAPT_KIT_LEVELS_H
#include <float.h>
#include <math.h>
#include <rapt/plugin.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define RAPT_LEVEL_PASTE(name, suffix) name##_##suffix
#define RAPT_LEVEL_JOIN(name, suffix)  RAPT_LEVEL_PASTE(name, suffix)
#define RAPT_LEVEL_NAME(name)          RAPT_LEVEL_JOIN(name, RAPT_LEVEL_SUFFIX)

#if defined(__x86_64__) && defined(RAPT_LEVELS_WITHOUT_AVX2)
#define RAPT_LEVEL_PICK(level, name) ((level) == RAPT_CPU_AVX512 ? name##_avx512 : name##_portable)
#elif defined(__x86_64__)
#define RAPT_LEVEL_PICK(level, name)                                                               \
    ((level) == RAPT_CPU_AVX512 ? name##_avx512                                                    \
     : (level) == RAPT_CPU_AVX2 ? name##_avx2                                                      \
                                : name##_portable)
#elif defined(__aarch64__)
#define RAPT_LEVEL_PICK(level, name) ((level) == RAPT_CPU_NEON ? name##_neon : name##_portable)
#else
#define RAPT_LEVEL_PICK(level, name) ((void)(level), name##_portable)
#endif
#endif

#if defined(__x86_64__)

#define RAPT_LEVEL        2
#define RAPT_LEVEL_SUFFIX avx512
#define SIMD_LANES        16
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))),                   \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif
#include "simd.h"
#include RAPT_LEVELS_BODY
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef RAPT_LEVEL
#undef RAPT_LEVEL_SUFFIX
#undef SIMD_LANES

#if !defined(RAPT_LEVELS_WITHOUT_AVX2)
#define RAPT_LEVEL        1
#define RAPT_LEVEL_SUFFIX avx2
#define SIMD_LANES        8
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#include "simd.h"
#include RAPT_LEVELS_BODY
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef RAPT_LEVEL
#undef RAPT_LEVEL_SUFFIX
#undef SIMD_LANES
#endif

#elif defined(__aarch64__)

#define RAPT_LEVEL        3
#define RAPT_LEVEL_SUFFIX neon
#define SIMD_LANES        4
#include "simd.h"
#include RAPT_LEVELS_BODY
#undef RAPT_LEVEL
#undef RAPT_LEVEL_SUFFIX
#undef SIMD_LANES

#endif

#define RAPT_LEVEL        0
#define RAPT_LEVEL_SUFFIX portable
#define SIMD_LANES        4
#include "simd.h"
#include RAPT_LEVELS_BODY
#undef RAPT_LEVEL
#undef RAPT_LEVEL_SUFFIX
#undef SIMD_LANES

#undef RAPT_LEVELS_BODY
