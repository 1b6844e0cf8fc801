/*
 * The arithmetic of one element: half floats and saturating integers. Inline, so that the loops of
 * convert.c vectorise. Everything is a function of the bits alone: no conversion depends on the
 * processor's half-float instructions or on whether it flushes subnormals.
 */
#ifndef RAPT_TENSOR_NUMBER_H
#define RAPT_TENSOR_NUMBER_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t rapt_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float rapt_bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float rapt_number_from_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    const uint32_t body = (uint32_t)(half & 0x7fff) << 13;
    /* A subnormal is its fraction beside the exponent of 2^-14, less 2^-14: exact. */
    const uint32_t small = rapt_float_bits(rapt_bits_float(body + (113u << 23)) - 0x1p-14f);
    const uint32_t normal = body + (112u << 23);
    const uint32_t special = body + (224u << 23);
    const uint32_t quiet = body > (31u << 23) ? 1u << 22 : 0;
    uint32_t bits = body < (1u << 23) ? small : normal;
    bits = body >= (31u << 23) ? special | quiet : bits;
    return rapt_bits_float(sign | bits);
}

static inline uint16_t rapt_number_to_f16(float value)
{
    const uint32_t whole = rapt_float_bits(value);
    const uint32_t sign = whole >> 16 & 0x8000;
    const uint32_t body = whole & 0x7fffffff;
    /* Adding 0.5 leaves 2^-24, the least half, as the last bit: the addition rounds. */
    const uint32_t small = rapt_float_bits(rapt_bits_float(body) + 0.5f) - (126u << 23);
    const uint32_t normal = (body - (112u << 23) + 0xfff + (body >> 13 & 1)) >> 13;
    const uint32_t nan = 0x7e00 | (body >> 13 & 0x3ff);
    const uint32_t special = body > 0x7f800000 ? nan : 0x7c00;
    uint32_t bits = body < (113u << 23) ? small : normal;
    bits = body >= (143u << 23) ? special : bits;
    return (uint16_t)(sign | bits);
}

static inline float rapt_number_from_bf16(uint16_t half)
{
    return rapt_bits_float((uint32_t)half << 16);
}

static inline uint16_t rapt_number_to_bf16(float value)
{
    const uint32_t bits = rapt_float_bits(value);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const uint32_t nan = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

/* A float that rounds to a half exactly as `value` itself would: truncated, with the last bit set
 * where something was lost (rounding to odd). */
static inline float rapt_number_odd(double value)
{
    const float near = (float)value;
    const uint32_t bits = rapt_float_bits(near);
    if ((double)near == value || value != value)
        return near;
    return rapt_bits_float((fabs((double)near) > fabs(value) ? bits - 1 : bits) | 1);
}

static inline float rapt_number_odd_i64(int64_t value)
{
    const uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    /* Of a long number the low ten bits are only known to be zero or not: 53 remain. */
    const double top =
        size >> 53 ? (double)(size >> 10 | ((size & 1023) != 0)) * 1024.0 : (double)size;
    return rapt_number_odd(value < 0 ? -top : top);
}

/* Towards zero; NaN is 0; what is too large is the nearest integer there is. */
static inline int64_t rapt_number_to_i64(double value)
{
    if (value >= 0x1p63)
        return INT64_MAX;
    if (value < -0x1p63)
        return INT64_MIN;
    return value == value ? (int64_t)value : 0;
}

static inline int32_t rapt_number_to_i32(double value)
{
    if (value >= 0x1p31)
        return INT32_MAX;
    if (value < -0x1p31)
        return INT32_MIN;
    return value == value ? (int32_t)value : 0;
}

static inline uint8_t rapt_number_to_u8(double value)
{
    if (value >= 255)
        return 255;
    return value > 0 ? (uint8_t)value : 0;
}

static inline int32_t rapt_number_clamp_i32(int64_t value)
{
    return (int32_t)(value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value);
}

static inline uint8_t rapt_number_clamp_u8(int64_t value)
{
    return (uint8_t)(value > 255 ? 255 : value < 0 ? 0 : value);
}

#endif
