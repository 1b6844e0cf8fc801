// Cooperative matrices of 16 x 16, float16 operands and float32 sums, by one of three ways that are
// the same source above: VK_KHR_cooperative_matrix (RAPT_COOPMAT_KHR), VK_NV_cooperative_matrix
// (RAPT_COOPMAT_NV), and shared memory on any device (neither: for tests of the data flow; slow).
//
// Matrices are loaded from and stored to shared arrays of COOP_HALF4 (operands) and COOP_FLOAT4 (sums),
// which are four numbers each, by rows of `step` array elements that begin at element `at`. What
// element of a sum a thread holds is not known, but can be found out by loading a matrix of row
// numbers.
//
//     COOP_HALF4, COOP_TO_HALF4(f16vec4)       four numbers of an operand
//     COOP_FLOAT4, COOP_TO_FLOAT4(vec4), COOP_FROM_FLOAT4(element)
//     COOP_HALF, COOP_TO_HALF(float)           one number of an operand
//     COOP_LOAD_A1                             COOP_LOAD_A of an array of these
//     COOP_A, COOP_B, COOP_C                   types: left, right, sum
//     COOP_LOAD_A(m, array, at, step)          rows of the array are the matrix's rows
//     COOP_LOAD_A_T(m, array, at, step)        the transpose: rows of the array are its columns
//     COOP_LOAD_B(m, array, at, step)          as COOP_LOAD_A
//     COOP_LOAD_B_T(m, array, at, step)        as COOP_LOAD_A_T
//     COOP_LOAD_C, COOP_STORE_C(m, array, at, step)
//     COOP_ZERO(c), COOP_MULTIPLY(c, a, b)     c += a b
//     COOP_SCALE(c, by)                        each element of c times that of the sum `by`
//     COOP_COUNT(c), COOP_AT(c, i)             a thread's elements
//     COOP_EACH                                their count where nothing is said: 256 among 32 threads. A
//                                              device that has others fails its self-test
//     COOP_GROUP, COOP_LANE                    subgroup of 32 and the thread's place in it
//     COOP_SYNC                                shared memory written before is seen after, in the subgroup
//     COOP_OTHER(x)                            x of the neighbour, lane ^ 1
//     COOP_ANY(b)                              false only if b is false in all of the subgroup
//     COOP_ROLL                                attribute of loops over matrices
//     COOP_HOLD(never, place)                  what was loaded ahead, and `place` will need, is loaded now
#ifndef RAPT_KIT_COOPMAT_GLSL
#define RAPT_KIT_COOPMAT_GLSL

#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require

// Before loops over matrices and their elements: drivers keep these in registers where the loops are
// unrolled; emulated ones lie in memory, and short code is compiled sooner.
#if defined(RAPT_COOPMAT_KHR) || defined(RAPT_COOPMAT_NV)
#define COOP_ROLL [[unroll]]
#else
#define COOP_ROLL [[dont_unroll]]
#endif

// Drivers that see a tile needed only at the end of a turn load it there, and then wait for it. A way that is
// never gone, which they must not know, needs it at once (and with a barrier remains a way).
#define COOP_HOLD(never, place)                                                                    \
    if (never) {                                                                                   \
        place                                                                                      \
        barrier();                                                                                 \
    }

#define COOP_EACH       8
#define COOP_HALF       float16_t
#define COOP_TO_HALF(x) float16_t(x)

#if defined(RAPT_COOPMAT_KHR) || defined(RAPT_COOPMAT_NV)

#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_memory_scope_semantics : require

#define COOP_GROUP     gl_SubgroupID
#define COOP_LANE      gl_SubgroupInvocationID
#define COOP_SYNC      { subgroupMemoryBarrierShared(); subgroupBarrier(); }
#define COOP_OTHER(x)  subgroupShuffleXor(x, 1)
#define COOP_ANY(b)    subgroupAny(b)
#define COOP_COUNT(c)  uint(c.length())
#define COOP_AT(c, i)  c[i]
#define COOP_LOAD_A1   COOP_LOAD_A

#ifdef RAPT_COOPMAT_KHR
#extension GL_KHR_cooperative_matrix : require
#define COOP_HALF4          f16vec4
#define COOP_TO_HALF4(x)    (x)
#define COOP_FLOAT4         vec4
#define COOP_TO_FLOAT4(x)   (x)
#define COOP_FROM_FLOAT4(x) (x)
#define COOP_A coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>
#define COOP_B coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>
#define COOP_C coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define COOP_LOAD_A(m, array, at, step)   coopMatLoad(m, array, at, step, gl_CooperativeMatrixLayoutRowMajor)
#define COOP_LOAD_A_T(m, array, at, step) coopMatLoad(m, array, at, step, gl_CooperativeMatrixLayoutColumnMajor)
#define COOP_STORE_C(m, array, at, step)  coopMatStore(m, array, at, step, gl_CooperativeMatrixLayoutRowMajor)
#define COOP_MULTIPLY(c, a, b)            c = coopMatMulAdd(a, b, c)
#define COOP_ZERO(c)                      c = COOP_C(0.0)
#define COOP_SCALE(c, by)                 c = c * by
#else
#extension GL_NV_cooperative_matrix : require
#define COOP_HALF4          uvec2 // the arrays that this extension loads from have no float vectors
#define COOP_TO_HALF4(x)    uvec2(packFloat2x16((x).xy), packFloat2x16((x).zw))
#define COOP_FLOAT4         uvec4
#define COOP_TO_FLOAT4(x)   floatBitsToUint(x)
#define COOP_FROM_FLOAT4(x) uintBitsToFloat(x)
#define COOP_A fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>
#define COOP_B fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>
#define COOP_C fcoopmatNV<32, gl_ScopeSubgroup, 16, 16>
#define COOP_LOAD_A(m, array, at, step)   coopMatLoadNV(m, array, at, step, false)
#define COOP_LOAD_A_T(m, array, at, step) coopMatLoadNV(m, array, at, step, true)
#define COOP_STORE_C(m, array, at, step)  coopMatStoreNV(m, array, at, step, false)
#define COOP_MULTIPLY(c, a, b)            c = coopMatMulAddNV(a, b, c)
#define COOP_ZERO(c)                      c = COOP_C(0.0)
#define COOP_SCALE(c, by)                                                                          \
    [[unroll]] for (uint i_ = 0; i_ < COOP_EACH; i_++)                                             \
        c[i_] *= by[i_];
#endif
#define COOP_LOAD_B   COOP_LOAD_A
#define COOP_LOAD_B_T COOP_LOAD_A_T
#define COOP_LOAD_C   COOP_LOAD_A

#else

// A thread holds eight sums of one row, that row of the left matrix and eight columns of the right.
struct coop_a {
    float e[16];
};
struct coop_b {
    float e[128];
};
struct coop_c {
    float e[8];
};
shared float coop_exchange[gl_WorkGroupSize.x];

#define COOP_HALF4          f16vec4
#define COOP_TO_HALF4(x)    (x)
#define COOP_FLOAT4         vec4
#define COOP_TO_FLOAT4(x)   (x)
#define COOP_FROM_FLOAT4(x) (x)

#define COOP_A        coop_a
#define COOP_B        coop_b
#define COOP_C        coop_c
#define COOP_GROUP    (gl_LocalInvocationIndex >> 5)
#define COOP_LANE     (gl_LocalInvocationIndex & 31u)
#define COOP_SYNC     barrier();
#define COOP_ANY(b)   true
#define COOP_COUNT(c) 8u
#define COOP_AT(c, i) c.e[i]

#define COOP_ROW (COOP_LANE >> 1)
#define COOP_COLUMN ((COOP_LANE & 1u) * 8u)

float coop_other(float x)
{
    barrier();
    coop_exchange[gl_LocalInvocationIndex] = x;
    barrier();
    return coop_exchange[gl_LocalInvocationIndex ^ 1u];
}
#define COOP_OTHER(x) coop_other(x)

#define COOP_ELEMENT(array, at, step, r, c) float(array[(at) + (r) * (step) + ((c) >> 2)][(c) & 3u])
#define COOP_LOAD_A(m, array, at, step)                                                            \
    for (uint i_ = 0; i_ < 16; i_++)                                                               \
        m.e[i_] = COOP_ELEMENT(array, at, step, COOP_ROW, i_);
#define COOP_LOAD_A_T(m, array, at, step)                                                          \
    for (uint i_ = 0; i_ < 16; i_++)                                                               \
        m.e[i_] = COOP_ELEMENT(array, at, step, i_, COOP_ROW);
#define COOP_LOAD_A1(m, array, at, step)                                                           \
    for (uint i_ = 0; i_ < 16; i_++)                                                               \
        m.e[i_] = float(array[(at) + COOP_ROW * (step) + i_]);
#define COOP_LOAD_B(m, array, at, step)                                                            \
    for (uint i_ = 0; i_ < 128; i_++)                                                              \
        m.e[i_] = COOP_ELEMENT(array, at, step, i_ >> 3, COOP_COLUMN + (i_ & 7u));
#define COOP_LOAD_B_T(m, array, at, step)                                                          \
    for (uint i_ = 0; i_ < 128; i_++)                                                              \
        m.e[i_] = COOP_ELEMENT(array, at, step, COOP_COLUMN + (i_ & 7u), i_ >> 3);
#define COOP_LOAD_C(m, array, at, step)                                                            \
    for (uint i_ = 0; i_ < 8; i_++)                                                                \
        m.e[i_] = COOP_ELEMENT(array, at, step, COOP_ROW, COOP_COLUMN + i_);
#define COOP_STORE_C(m, array, at, step)                                                           \
    for (uint i_ = 0; i_ < 8; i_++)                                                                \
        array[(at) + COOP_ROW * (step) + ((COOP_COLUMN + i_) >> 2)][i_ & 3u] = m.e[i_];
#define COOP_MULTIPLY(c, a, b)                                                                     \
    for (uint i_ = 0; i_ < 128; i_++)                                                              \
        c.e[i_ & 7u] += a.e[i_ >> 3] * b.e[i_];
#define COOP_SCALE(c, by)                                                                          \
    for (uint i_ = 0; i_ < 8; i_++)                                                                \
        c.e[i_] *= by.e[i_];
#define COOP_ZERO(c)                                                                               \
    for (uint i_ = 0; i_ < 8; i_++)                                                                \
        c.e[i_] = 0.0;

#endif
#endif
