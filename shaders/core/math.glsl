// Functions of float32 to a few units in the last place, the same on every device: the built-in
// ones may be off by 2^-11. Polynomials after Moshier's Cephes; infinities and NaN are made and
// recognised as bits, since a device need not compute with them.
#ifndef RAPT_CORE_MATH_GLSL
#define RAPT_CORE_MATH_GLSL

// 2^n for -126 <= n <= 127
float power_of_two(int n)
{
    return intBitsToFloat(n + 127 << 23);
}

float exp_exact(float x)
{
    if (is_nan(x))
        return x;
    if (x > 88.7228)
        return infinity();
    if (x < -103.9)
        return 0.0;
    const float n = roundEven(x * 1.44269504088896341);
    precise float r = x - n * 0.693359375;
    r = r - n * -2.12194440e-4;
    float p = 1.9875691500e-4;
    p = p * r + 1.3981999507e-3;
    p = p * r + 8.3334519073e-3;
    p = p * r + 4.1665795894e-2;
    p = p * r + 1.6666665459e-1;
    p = p * r + 5.0000001201e-1;
    p = p * r * r + r + 1.0;
    const int half_way = int(n) / 2;
    return p * power_of_two(half_way) * power_of_two(int(n) - half_way);
}

float log_exact(float x)
{
    uint bits = floatBitsToUint(x);
    int exponent = -126;
    if ((bits & 0x7fffffffu) == 0u)
        return -infinity();
    if (is_nan(x) || (bits & 0x80000000u) != 0u)
        return nan_value();
    if (bits == 0x7f800000u)
        return x;
    if (bits < 0x00800000u) { // denormal: shifted until the first bit is that of a normal number
        const int zeros = 23 - findMSB(bits);
        bits <<= zeros;
        exponent -= zeros + int(bits >> 23) - 1;
    }
    exponent += int(bits >> 23);
    float m = uintBitsToFloat(bits & 0x7fffffu | 0x3f000000u); // in [1/2, 1)
    if (m < 0.707106781186547524) {
        exponent -= 1;
        m += m;
    }
    const float z = m - 1.0, e = float(exponent), square = z * z;
    float p = 7.0376836292e-2;
    p = p * z - 1.1514610310e-1;
    p = p * z + 1.1676998740e-1;
    p = p * z - 1.2420140846e-1;
    p = p * z + 1.4249322787e-1;
    p = p * z - 1.6668057665e-1;
    p = p * z + 2.0000714765e-1;
    p = p * z - 2.4999993993e-1;
    p = p * z + 3.3333331174e-1;
    p = p * z * square + e * -2.12194440e-4 - 0.5 * square;
    return e * 0.693359375 + (z + p);
}

// From e = exp(2 |x|).
float tanh_exact(float x, float e)
{
    const float size = abs(x);
    if (is_nan(x))
        return x;
    if (size < 0.625) {
        const float z = x * x;
        float p = -5.70498872745e-3;
        p = p * z + 2.06390887954e-2;
        p = p * z - 5.37397155531e-2;
        p = p * z + 1.33314422036e-1;
        p = p * z - 3.33332819422e-1;
        return p * z * x + x;
    }
    const float y = size > 10.0 ? 1.0 : 1.0 - 2.0 / (e + 1.0);
    return x < 0.0 ? -y : y;
}

// Phi(x) = (1 + erf(x / sqrt 2)) / 2 from e = exp(-x^2/2); the polynomial is that of the CPU's gelu.
float normal_distribution(float x, float e)
{
    const float k = 1.0 / (1.0 + 0.212132034355964 * abs(x));
    float p = -0.130770877269;
    p = p * k + 0.491934270557;
    p = p * k - 0.526151662824;
    p = p * k + 0.564514242151;
    p = p * k - 0.106983362477;
    p = p * k + 0.220539169105;
    p = p * k + 0.146796022186;
    p = p * k + 0.170949119948;
    p = p * k + 0.169173057652;
    const float tail = 0.5 * k * p * e;
    return x > 0.0 ? 1.0 - tail : tail;
}

// sin and cos of an angle within pi/4 of 0.
vec2 small_angle(float r)
{
    const float z = r * r;
    const float s = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
    const float c = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) *
                        z * z -
                    0.5 * z + 1.0;
    return vec2(s, c);
}

// sin and cos of turns / 2^32 whole turns.
vec2 turned(uint turns)
{
    const uint quarter = turns + 0x20000000u >> 30;
    const vec2 near = small_angle(float(int(turns - (quarter << 30))) * 1.46291807926715968e-9);
    const vec2 swapped = (quarter & 1u) != 0u ? near.yx : near;
    return vec2((quarter & 2u) != 0u ? -swapped.x : swapped.x,
                (quarter + 1u & 2u) != 0u ? -swapped.y : swapped.y);
}

// 1 / (2 pi) in binary, behind 32 bits of its whole part.
const uint INVERSE_TURN[8] = uint[8](0u, 0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u,
                                     0x36d8a566u, 0x4f10e410u, 0x7f9458eau);

// sin and cos for any x: its mantissa times those bits of 1 / (2 pi) that count, in whole numbers
// (Payne and Hanek, "Radian reduction for trigonometric functions", 1983).
vec2 sin_cos(float x)
{
    const uint bits = floatBitsToUint(x) & 0x7fffffffu;
    if (bits >= 0x7f800000u)
        return vec2(nan_value());
    if (bits <= 0x3f490fdau) // pi / 4
        return small_angle(x);
    const uint mantissa = bits & 0x7fffffu | 0x800000u;
    const uint first = (bits >> 23) + 32u - 150u; // the exponent is at least 126 here
    const uint w = first >> 5, b = first & 31u;
    uint upper = INVERSE_TURN[w], lower = INVERSE_TURN[w + 1u];
    if (b != 0u) {
        upper = upper << b | lower >> 32u - b;
        lower = lower << b | INVERSE_TURN[w + 2u] >> 32u - b;
    }
    uint high, low;
    umulExtended(mantissa, lower, high, low);
    const vec2 result = turned(mantissa * upper + high);
    return vec2(x < 0.0 ? -result.x : result.x, result.y);
}

// x^a, where e = exp(a log |x|). A whole exponent multiplies, so that it is right for x below 0 and
// exact where it can be.
float power_exact(float x, float a, float e)
{
    const float size = abs(a);
    const bool whole = size == floor(size);
    if (a == 0.0)
        return 1.0;
    if (whole && size <= 64.0) {
        float result = 1.0, square = x;
        for (uint n = uint(size); n > 0u; n >>= 1) {
            if ((n & 1u) != 0u)
                result *= square;
            square *= square;
        }
        return a < 0.0 ? 1.0 / result : result;
    }
    if (is_nan(x) || is_nan(a) || x < 0.0 && !whole)
        return nan_value();
    if (x == 0.0)
        return a < 0.0 ? infinity() : 0.0;
    if (size == 0.5)
        return a > 0.0 ? sqrt(x) : 1.0 / sqrt(x);
    return x < 0.0 && size < 16777216.0 && (uint(size) & 1u) != 0u ? -e : e;
}

#endif
