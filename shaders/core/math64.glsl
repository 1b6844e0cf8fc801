// math.glsl's functions in float64. For checks of gradients and the like: right before fast.
#ifndef RAPT_CORE_MATH64_GLSL
#define RAPT_CORE_MATH64_GLSL

double infinity64()
{
    return packDouble2x32(uvec2(0u, 0x7ff00000u));
}

double nan64()
{
    return packDouble2x32(uvec2(0u, 0x7ff80000u));
}

// 2^n for -1022 <= n <= 1023
double power_of_two64(int n)
{
    return packDouble2x32(uvec2(0u, uint(n + 1023) << 20));
}

// e^r - 1 for |r| below 0.36: the series to r^14 / 14!, beyond which nothing counts.
double small_exponential(double r)
{
    double p = r / 14.0lf;
    for (int k = 13; k > 1; k--)
        p = (p + 1.0lf) * r / double(k);
    return r * (p + 1.0lf);
}

double exp_exact(double x)
{
    if (is_nan(x))
        return x;
    if (x > 709.782712893384lf)
        return infinity64();
    if (x < -745.2lf)
        return 0.0lf;
    const double n = roundEven(x * 1.44269504088896340736lf);
    precise double r = x - n * 6.93147180369123816490e-01lf;
    r = r - n * 1.90821492927058770002e-10lf;
    const int half_way = int(n) / 2;
    return (1.0lf + small_exponential(r)) * power_of_two64(half_way) * power_of_two64(int(n) - half_way);
}

// Polynomial after fdlibm's log.
double log_exact(double x)
{
    uvec2 bits = unpackDouble2x32(x);
    int exponent = -1023;
    if ((bits.y & 0x7fffffffu) == 0u && bits.x == 0u)
        return -infinity64();
    if (is_nan(x) || (bits.y & 0x80000000u) != 0u)
        return nan64();
    if (bits.y == 0x7ff00000u)
        return x;
    if (bits.y < 0x00100000u) { // denormal
        bits = unpackDouble2x32(x * 18014398509481984.0lf);
        exponent -= 54;
    }
    exponent += int(bits.y >> 20);
    double m = packDouble2x32(uvec2(bits.x, bits.y & 0xfffffu | 0x3ff00000u)); // in [1, 2)
    if (m > 1.41421356237309505lf) {
        exponent += 1;
        m *= 0.5lf;
    }
    const double f = m - 1.0lf, s = f / (2.0lf + f), z = s * s, e = double(exponent);
    double r = 1.479819860511658591e-01lf;
    r = r * z + 1.531383769920937332e-01lf;
    r = r * z + 1.818357216161805012e-01lf;
    r = r * z + 2.222219843214978396e-01lf;
    r = r * z + 2.857142874366239149e-01lf;
    r = r * z + 3.999999999940941908e-01lf;
    r = r * z + 6.666666666666735130e-01lf;
    const double square = 0.5lf * f * f;
    return e * 6.93147180369123816490e-01lf -
           (square - (s * (square + r * z) + e * 1.90821492927058770002e-10lf) - f);
}

// From e = exp(2 |x|).
double tanh_exact(double x, double e)
{
    const double size = abs(x);
    if (is_nan(x))
        return x;
    const double less = small_exponential(2.0lf * min(size, 0.17lf));
    const double y = size < 0.17lf   ? less / (less + 2.0lf)
                     : size > 22.0lf ? 1.0lf
                                     : 1.0lf - 2.0lf / (e + 1.0lf);
    return x < 0.0lf ? -y : y;
}

// Phi(x) from e = exp(-x^2/2): 1/2 + e / sqrt(2 pi) times x + x^3/3 + x^5/(3 5) + ..., which for one
// sign of x all have that sign.
double normal_distribution(double x, double e)
{
    if (abs(x) > 8.5lf || is_nan(x))
        return x > 0.0lf ? 1.0lf : is_nan(x) ? x : 0.0lf;
    double term = x, sum = x;
    for (int k = 3; k < 400 && abs(term) > 1e-17lf * abs(sum); k += 2) {
        term *= x * x / double(k);
        sum += term;
    }
    return 0.5lf + sum * e * 0.398942280401432677939946lf;
}

// 1 / (2 pi) in binary, behind 64 bits of its whole part.
const uint INVERSE_TURN64[40] = uint[40](
    0u, 0u, 0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u, 0x36d8a566u, 0x4f10e410u,
    0x7f9458eau, 0xf7aef158u, 0x6dc91b8eu, 0x909374b8u, 0x01924bbau, 0x82746487u, 0x3f877ac7u,
    0x2c4a69cfu, 0xba208d7du, 0x4baed121u, 0x3a671c09u, 0xad17df90u, 0x4e64758eu, 0x60d4ce7du,
    0x272117e2u, 0xef7e4a0eu, 0xc7fe25ffu, 0xf7816603u, 0xfbcbc462u, 0xd6829b47u, 0xdb4d9fb3u,
    0xc9f2c26du, 0xd3d18fd9u, 0xa797fa8bu, 0x5d49eeb1u, 0xfaf97c5eu, 0xcf41ce7du, 0xe294a4bau,
    0x9afed7ecu, 0x47e35742u, 0x1580cc11u, 0xbf1edaeau);

uint turn_word(uint first, uint i)
{
    const uint w = (first >> 5) + i, b = first & 31u;
    return b == 0u ? INVERSE_TURN64[w] : INVERSE_TURN64[w] << b | INVERSE_TURN64[w + 1u] >> 32u - b;
}

// total += a b 2^(32 place), of which the upper three of four words are kept.
void add_product(inout uint total[4], uint a, uint b, int place)
{
    uint high, low, carry;
    umulExtended(a, b, high, low);
    total[place] = uaddCarry(total[place], low, carry);
    if (place < 3) {
        high += carry; // never overflows: high is at most 2^32 - 2
        total[place + 1] = uaddCarry(total[place + 1], high, carry);
        for (int i = place + 2; i < 4; i++)
            total[i] = uaddCarry(total[i], carry, carry);
    }
}

// sin and cos, any x (Payne and Hanek, as in math.glsl): the angle in 2^-128 of a turn.
dvec2 sin_cos(double x)
{
    const uvec2 bits = unpackDouble2x32(x);
    const uint high = bits.y & 0x7fffffffu;
    if (high >= 0x7ff00000u)
        return dvec2(nan64());
    double r = x;
    uint quarter = 0u;
    if (high >= 0x3fe90000u) { // about pi / 4
        const uint first = (high >> 20) + 64u - 1075u;
        const uint upper = high & 0xfffffu | 0x100000u;
        uint total[4] = uint[4](0u, 0u, 0u, 0u);
        for (int i = 0; i < 4; i++) {
            const uint word = turn_word(first, uint(3 - i));
            add_product(total, bits.x, word, i);
            if (i < 3)
                add_product(total, upper, word, i + 1);
        }
        quarter = total[3] + 0x20000000u >> 30;
        const uint top = total[3] - (quarter << 30);
        // The rest, within an eighth of a turn of 0, as a signed number of 96 bits.
        const double rest = double(int(top)) * 4294967296.0lf + double(total[2]) +
                            double(total[1]) * 2.3283064365386962890625e-10lf;
        r = rest * 3.4061215800865545e-19lf;
        if (bits.y >= 0x80000000u) {
            r = -r;
            quarter = 4u - quarter & 3u;
        }
    }
    const double z = r * r;
    double s = 0.0lf, c = 0.0lf;
    for (int k = 21; k > 1; k -= 2) { // to r^21 / 21!
        s = -(1.0lf + s) * z / double(k * (k - 1));
        c = -(1.0lf + c) * z / double((k - 1) * (k - 2));
    }
    s = r * (1.0lf + s);
    c = 1.0lf + c;
    const dvec2 swapped = (quarter & 1u) != 0u ? dvec2(c, s) : dvec2(s, c);
    return dvec2((quarter & 2u) != 0u ? -swapped.x : swapped.x,
                 (quarter + 1u & 2u) != 0u ? -swapped.y : swapped.y);
}

// x^a, where e = exp(a log |x|).
double power_exact(double x, double a, double e)
{
    const double size = abs(a);
    const bool whole = size == floor(size);
    if (a == 0.0lf)
        return 1.0lf;
    if (whole && size <= 64.0lf) {
        double result = 1.0lf, square = x;
        for (uint n = uint(size); n > 0u; n >>= 1) {
            if ((n & 1u) != 0u)
                result *= square;
            square *= square;
        }
        return a < 0.0lf ? 1.0lf / result : result;
    }
    if (is_nan(x) || is_nan(a) || x < 0.0lf && !whole)
        return nan64();
    if (x == 0.0lf)
        return a < 0.0lf ? infinity64() : 0.0lf;
    if (size == 0.5lf)
        return a > 0.0lf ? sqrt(x) : 1.0lf / sqrt(x);
    return x < 0.0lf && size < 4294967296.0lf && (uint(size) & 1u) != 0u ? -e : e;
}

#endif
