// Operands of any dtype: OPERAND(binding, name) declares a tensor as 32-bit words (and, in the
// variants for them, as halves or doubles); values are read and written by the dtype that a
// specialization constant gives, numbered as rapt_dtype is.
#ifndef RAPT_CORE_OPERAND_GLSL
#define RAPT_CORE_OPERAND_GLSL

#include "kit/element.glsl"

#define KIND_F32  0u
#define KIND_F16  1u
#define KIND_BF16 2u
#define KIND_F64  3u
#define KIND_I32  4u
#define KIND_I64  5u
#define KIND_U8   6u
#define KIND_BOOL 7u

#define LANES 128u

// NUMBER: a parameter of the arithmetic's type, kept as two words.
#ifdef RAPT_DOUBLE
#define REAL           double
#define NUMBER(words)  packDouble2x32(uvec2(words[0], words[1]))
#else
#define REAL           float
#define NUMBER(words)  uintBitsToFloat(words[0])
#endif

bool is_nan(float x)
{
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u;
}

float nan_value()
{
    return uintBitsToFloat(0x7fc00000u);
}

float infinity()
{
    return uintBitsToFloat(0x7f800000u);
}

bool is_minus_infinity(float x)
{
    return floatBitsToUint(x) == 0xff800000u;
}

// A byte of word `word`.
uint byte_of(uint word, uint i)
{
    return word >> 8u * (i & 3u) & 0xffu;
}

#ifdef RAPT_HALF

#define OPERAND(at, access, name)                                                                  \
    layout(std430, binding = at) access buffer name##_words { uint name##_word[]; };               \
    layout(std430, binding = at) access buffer name##_halves { uint16_t name##_half[]; };
#define GET(name, kind, i)                                                                         \
    (kind == KIND_F16    ? f16_decode(uint(name##_half[i]))                                        \
     : kind == KIND_BF16 ? bf16_decode(uint(name##_half[i]))                                       \
     : kind == KIND_F32  ? uintBitsToFloat(name##_word[i])                                         \
     : kind == KIND_I32  ? float(int(name##_word[i]))                                              \
                         : float(byte_of(name##_word[(i) >> 2u], i)))
#define PUT(name, kind, i, value)                                                                  \
    if (kind == KIND_F16)                                                                          \
        name##_half[i] = uint16_t(f16_encode(value));                                              \
    else if (kind == KIND_BF16)                                                                    \
        name##_half[i] = uint16_t(bf16_encode(value));                                             \
    else                                                                                           \
        name##_word[i] = floatBitsToUint(value)

#elif defined(RAPT_DOUBLE)

#define OPERAND(at, access, name)                                                                  \
    layout(std430, binding = at) access buffer name##_words { uint name##_word[]; };               \
    layout(std430, binding = at) access buffer name##_doubles { double name##_double[]; };
#define GET(name, kind, i)                                                                         \
    (kind == KIND_F64 ? name##_double[i] : double(byte_of(name##_word[(i) >> 2u], i)))
#define PUT(name, kind, i, value) name##_double[i] = value

#else

#define OPERAND(at, access, name)                                                                  \
    layout(std430, binding = at) access buffer name##_words { uint name##_word[]; };
#define GET(name, kind, i)                                                                         \
    (kind == KIND_F32   ? uintBitsToFloat(name##_word[i])                                          \
     : kind == KIND_I32 ? float(int(name##_word[i]))                                               \
                        : float(byte_of(name##_word[(i) >> 2u], i)))
#define PUT(name, kind, i, value) name##_word[i] = floatBitsToUint(value)

#endif

// The same of operands that are of the compute type: in the variant for halves never float32.
#ifdef RAPT_HALF
#define GET_COMPUTE(name, kind, i)                                                                 \
    (kind == KIND_BF16 ? bf16_decode(uint(name##_half[i])) : f16_decode(uint(name##_half[i])))
#define PUT_COMPUTE(name, kind, i, value)                                                          \
    name##_half[i] = uint16_t(kind == KIND_BF16 ? bf16_encode(value) : f16_encode(value))
#else
#define GET_COMPUTE(name, kind, i)        uintBitsToFloat(name##_word[i])
#define PUT_COMPUTE(name, kind, i, value) name##_word[i] = floatBitsToUint(value)
#endif

// A whole number, as its low and high word.
#define GET_INTEGER(name, kind, i)                                                                 \
    (kind == KIND_I64   ? uvec2(name##_word[2u * (i)], name##_word[2u * (i) + 1u])                 \
     : kind == KIND_I32 ? uvec2(name##_word[i], int(name##_word[i]) < 0 ? 0xffffffffu : 0u)        \
                        : uvec2(byte_of(name##_word[(i) >> 2u], i), 0u))

#endif
