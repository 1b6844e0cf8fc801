// Elements of tensors of the compute type. Arithmetic is float32; what is stored is float32, or with
// RAPT_HALF 16 bits: float16 or bfloat16, by specialization constant 0. Conversions are integer
// operations: rounding is to nearest even and denormals count, whatever the device does.
#ifndef RAPT_KIT_ELEMENT_GLSL
#define RAPT_KIT_ELEMENT_GLSL

#ifdef RAPT_HALF

#extension GL_EXT_shader_16bit_storage : require

#define STORED uint16_t

layout(constant_id = 0) const uint ELEMENT_BF16 = 0; // 0: float16, 1: bfloat16

// Without a branch. Denormals, multiples of 2^-24, are what they add to 2^-14, so that no denormal float32
// is needed.
float f16_decode(uint bits)
{
    const uint moved = (bits & 0x7fffu) << 13; // the exponent is too small by 112, at infinity by 224
    const uint normal = moved + (moved >= 0x0f800000u ? 0x70000000u : 0x38000000u);
    const float tiny = uintBitsToFloat(moved + 0x38800000u) - 6.103515625e-5;
    return uintBitsToFloat((moved < 0x00800000u ? floatBitsToUint(tiny) : normal) | (bits & 0x8000u) << 16);
}

uint f16_encode(float value)
{
    const uint bits = floatBitsToUint(value);
    const uint sign = bits >> 16 & 0x8000u;
    const uint magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return sign | 0x7e00u;
    if (magnitude >= 0x477ff000u) // rounds beyond 65504
        return sign | 0x7c00u;
    if (magnitude < 0x38800000u) { // below 2^-14: a multiple of 2^-24
        if (magnitude < 0x33000000u)
            return sign;
        const uint shift = 126u - (magnitude >> 23);
        const uint mantissa = magnitude & 0x7fffffu | 0x800000u;
        const uint half_way = 1u << shift - 1u;
        const uint kept = mantissa >> shift;
        const uint rest = mantissa & (1u << shift) - 1u;
        return sign | kept + uint(rest > half_way || rest == half_way && (kept & 1u) != 0);
    }
    const uint rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return sign | rounded - 0x38000000u >> 13;
}

float bf16_decode(uint bits)
{
    return uintBitsToFloat(bits << 16);
}

uint bf16_encode(float value)
{
    const uint bits = floatBitsToUint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return bits >> 16 | 0x40u;
    return bits + 0x7fffu + (bits >> 16 & 1u) >> 16;
}

float element_decode(uint stored)
{
    return ELEMENT_BF16 != 0 ? bf16_decode(stored) : f16_decode(stored);
}

uint element_encode(float value)
{
    return ELEMENT_BF16 != 0 ? bf16_encode(value) : f16_encode(value);
}

// 16-bit integers are only ever loaded and stored.
#define LOAD(element) element_decode(uint(element))
#define STORE(value)  uint16_t(element_encode(value))

#else

#define STORED        float
#define LOAD(element) (element)
#define STORE(value)  (value)

#endif
#endif
