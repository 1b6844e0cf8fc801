// Elements of every dtype by integer arithmetic alone, so that a device without 64-bit types, or one
// that flushes denormals, gives the same bits as the CPU.
#ifndef RAPT_DEVICE_NUMBER_GLSL
#define RAPT_DEVICE_NUMBER_GLSL

const uint F32 = 0, F16 = 1, BF16 = 2, F64 = 3, I32 = 4, I64 = 5, U8 = 6, BOOL = 7;

// Bytes of an element as a power of two.
uint size_log2(uint dtype)
{
    return dtype == F64 || dtype == I64 ? 3 : dtype == F16 || dtype == BF16 ? 1 : dtype >= U8 ? 0 : 2;
}

// 64 bits: x the lower, y the upper half.
uvec2 shift_left(uvec2 v, uint n)
{
    if (n >= 32)
        return n >= 64 ? uvec2(0) : uvec2(0, v.x << n - 32);
    return n == 0 ? v : uvec2(v.x << n, v.y << n | v.x >> 32 - n);
}

uvec2 shift_right(uvec2 v, uint n)
{
    if (n >= 32)
        return n >= 64 ? uvec2(0) : uvec2(v.y >> n - 32, 0);
    return n == 0 ? v : uvec2(v.x >> n | v.y << 32 - n, v.y >> n);
}

uvec2 negate(uvec2 v)
{
    return uvec2(~v.x + 1, ~v.y + uint(v.x == 0));
}

// What is stored, exactly: (-1)^negative * mantissa * 2^(exponent - 63), the mantissa's upper bit set
// unless the number is zero. A NaN's mantissa is its payload, upper bit first.
struct number {
    uvec2 mantissa;
    int exponent;
    bool negative, infinite, nan;
};

number normal(uvec2 magnitude, int exponent, bool negative)
{
    const int high = magnitude.y != 0 ? findMSB(magnitude.y) + 32 : findMSB(magnitude.x);
    if (high < 0)
        return number(uvec2(0), 0, negative, false, false);
    return number(shift_left(magnitude, uint(63 - high)), exponent + high, negative, false, false);
}

// A float of `fraction` bits behind the point; `exponent` is as stored, `most` its greatest value.
number from_float(uvec2 mantissa, uint fraction, uint exponent, uint most, bool negative)
{
    if (exponent == most) {
        const bool nan = mantissa != uvec2(0);
        return number(shift_left(mantissa, 64 - fraction), 0, negative, !nan, nan);
    }
    const int bias = int(most >> 1);
    if (exponent == 0)
        return normal(mantissa, 1 - bias - int(fraction), negative);
    const uvec2 one = shift_left(uvec2(1, 0), fraction);
    return normal(mantissa | one, int(exponent) - bias - int(fraction), negative);
}

number from_stored(uint dtype, uvec2 v)
{
    switch (dtype) {
    case F32:
        return from_float(uvec2(v.x & 0x7fffffu, 0), 23, v.x >> 23 & 0xffu, 0xffu, v.x >> 31 != 0);
    case F16:
        return from_float(uvec2(v.x & 0x3ffu, 0), 10, v.x >> 10 & 0x1fu, 0x1fu, v.x >> 15 != 0);
    case BF16:
        return from_float(uvec2(v.x & 0x7fu, 0), 7, v.x >> 7 & 0xffu, 0xffu, v.x >> 15 != 0);
    case F64:
        return from_float(uvec2(v.x, v.y & 0xfffffu), 52, v.y >> 20 & 0x7ffu, 0x7ffu, v.y >> 31 != 0);
    case I32:
        return normal(uvec2(int(v.x) < 0 ? ~v.x + 1 : v.x, 0), 0, int(v.x) < 0);
    case I64:
        return normal(int(v.y) < 0 ? negate(v) : v, 0, int(v.y) < 0);
    case BOOL:
        return normal(uvec2(uint(v.x != 0), 0), 0, false);
    default:
        return normal(uvec2(v.x, 0), 0, false);
    }
}

// Rounded once, to nearest even; what is too large is infinite.
uvec2 to_float(number n, uint fraction, uint most)
{
    const uvec2 infinity = shift_left(uvec2(most, 0), fraction);
    if (n.nan)
        return infinity | shift_left(uvec2(1, 0), fraction - 1) | shift_right(n.mantissa, 64 - fraction);
    if (n.infinite)
        return infinity;
    const int bias = int(most >> 1), lowest = 1 - bias;
    const int below = max(lowest - n.exponent, 0); // bits lost to a denormal
    if (n.mantissa == uvec2(0) || below > int(fraction) + 1)
        return uvec2(0);
    const uint dropped = 63 - fraction + uint(below); // 1 to 64
    uvec2 kept = shift_right(n.mantissa, dropped);
    const uvec2 rest = shift_left(n.mantissa, 64 - dropped);
    const bool up = rest.y > 0x80000000u || rest.y == 0x80000000u && (rest.x != 0 || (kept.x & 1u) != 0);
    kept.x += uint(up);
    kept.y += uint(up && kept.x == 0);
    // The leading one adds one to the exponent, as does a carry out of the fraction.
    const int stored = below > 0 ? 0 : n.exponent + bias - 1;
    if (stored >= int(most))
        return infinity;
    const uvec2 high = shift_left(uvec2(uint(stored), 0), fraction);
    uvec2 bits = uvec2(kept.x + high.x, kept.y + high.y);
    bits.y += uint(bits.x < kept.x);
    return bits.y > infinity.y || bits.y == infinity.y && bits.x > infinity.x ? infinity : bits;
}

// Towards zero, as a magnitude; `limit` where it reaches 2^bits.
uvec2 to_integer(number n, int bits, uvec2 limit)
{
    if (n.nan || n.mantissa == uvec2(0) && !n.infinite || n.exponent < 0 && !n.infinite)
        return uvec2(0);
    if (n.infinite || n.exponent >= bits)
        return limit;
    return shift_right(n.mantissa, uint(63 - n.exponent));
}

uvec2 to_stored(uint dtype, number n)
{
    const uint sign = uint(n.negative);
    uvec2 v;
    switch (dtype) {
    case F32:
        return uvec2(to_float(n, 23, 0xffu).x | sign << 31, 0);
    case F16:
        return uvec2(to_float(n, 10, 0x1fu).x | sign << 15, 0);
    case BF16:
        return uvec2(to_float(n, 7, 0xffu).x | sign << 15, 0);
    case F64:
        return to_float(n, 52, 0x7ffu) | uvec2(0, sign << 31);
    case I32:
        v = to_integer(n, 31, uvec2(n.negative ? 0x80000000u : 0x7fffffffu, 0));
        return n.negative ? uvec2(~v.x + 1, 0) : v;
    case I64:
        v = to_integer(n, 63, n.negative ? uvec2(0, 0x80000000u) : uvec2(0xffffffffu, 0x7fffffffu));
        return n.negative ? negate(v) : v;
    case BOOL:
        return uvec2(uint(n.nan || n.infinite || n.mantissa != uvec2(0)), 0);
    default:
        return n.negative ? uvec2(0) : to_integer(n, 8, uvec2(255, 0));
    }
}

uvec2 convert(uint source, uint target, uvec2 v)
{
    return source == target ? v : to_stored(target, from_stored(source, v));
}

#endif
