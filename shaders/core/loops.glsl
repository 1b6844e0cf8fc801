// One element of the operator OPCODE (opcodes.glsl). A and B are its attributes. Comparisons that a
// NaN takes part in are spelled out: a device need not compare NaN as IEEE 754 does.
#ifndef RAPT_CORE_LOOPS_GLSL
#define RAPT_CORE_LOOPS_GLSL

#include "core/opcodes.glsl"

#ifdef RAPT_DOUBLE

bool is_nan(double x)
{
    const uvec2 bits = unpackDouble2x32(x);
    const uint high = bits.y & 0x7fffffffu;
    return high > 0x7ff00000u || high == 0x7ff00000u && bits.x != 0u;
}

#endif

#ifndef RAPT_PLAIN

#ifdef RAPT_DOUBLE
#include "core/math64.glsl"
#define VECTOR dvec2
const REAL LOGISTIC_SLOPE = 1.59576912160573071176lf, CUBE = 0.044715lf; // 2 sqrt(2 / pi)
const REAL NORMAL_PEAK = 0.398942280401432677939946lf;                   // 1 / sqrt(2 pi)
#else
#include "core/math.glsl"
#define VECTOR vec2
const REAL LOGISTIC_SLOPE = 1.59576912160573071176, CUBE = 0.044715;
const REAL NORMAL_PEAK = 0.398942280401432677939946;
#endif

// What takes more than arithmetic, of x or of a gradient g and x. Each function stands here once,
// so that the shader stays small.
REAL of_function(REAL g, REAL x, REAL A)
{
    const bool normal = OPCODE == OP_gelu || OPCODE == OP_gelu_grad;
    const bool gated = OPCODE == OP_gelu_tanh || OPCODE == OP_gelu_tanh_grad;
    const bool power = OPCODE == OP_power || OPCODE == OP_power_grad;
    const REAL exponent = OPCODE == OP_power_grad ? A - REAL(1) : A;
    if (OPCODE == OP_sin || OPCODE == OP_cos || OPCODE == OP_sin_grad || OPCODE == OP_cos_grad) {
        const VECTOR both = sin_cos(x);
        return OPCODE == OP_sin        ? both.x
               : OPCODE == OP_cos      ? both.y
               : OPCODE == OP_sin_grad ? g * both.y
                                       : -g * both.x;
    }
    REAL l = REAL(0);
    if (OPCODE == OP_log || power)
        l = log_exact(power ? abs(x) : x);
    if (OPCODE == OP_log)
        return l;
    const REAL u = gated ? x * LOGISTIC_SLOPE * (REAL(1) + CUBE * x * x) : x;
    const REAL e = exp_exact(OPCODE == OP_exp    ? x
                              : OPCODE == OP_tanh ? REAL(2) * abs(x)
                              : normal            ? -REAL(0.5) * x * x
                              : power             ? exponent * l
                                                  : -abs(u));
    if (OPCODE == OP_exp)
        return e;
    if (OPCODE == OP_tanh)
        return tanh_exact(x, e);
    if (power) {
        const REAL y = power_exact(x, exponent, e);
        return OPCODE == OP_power ? y : A == REAL(0) ? REAL(0) : g * A * y;
    }
    if (normal) {
        const REAL share = normal_distribution(x, e);
        return OPCODE == OP_gelu ? x * share : g * (share + x * e * NORMAL_PEAK);
    }
    if (OPCODE == OP_softplus) { // with w the rounded 1 + e, log(w) e / (w - 1) keeps what w loses
        precise const REAL w = REAL(1) + e;
        precise const REAL excess = w - REAL(1);
        const REAL most = x > REAL(0) || is_nan(x) ? x : REAL(0);
        return most + (excess == REAL(0) ? e : log_exact(w) * (e / excess));
    }
    // The logistic function of u: the exponential's argument is never positive, nothing overflows.
    const REAL s = (u < REAL(0) ? e : REAL(1)) / (REAL(1) + e);
    switch (OPCODE) {
    case OP_sigmoid: return s;
    case OP_silu:
    case OP_gelu_tanh: return x * s;
    case OP_silu_grad: return g * s * (REAL(1) + x * (REAL(1) - s));
    case OP_gelu_tanh_grad:
        return g * s *
               (REAL(1) + x * (REAL(1) - s) * LOGISTIC_SLOPE * (REAL(1) + REAL(3) * CUBE * x * x));
    }
    return g * s; // softplus_grad
}

#endif

REAL compute(REAL x, REAL y, REAL z, REAL w, REAL A, REAL B)
{
    const REAL zero = REAL(0), one = REAL(1);
    switch (OPCODE) {
    case OP_copy: return x;
    case OP_neg: return -x;
    case OP_abs: return abs(x);
    case OP_abs_grad: return y > zero ? x : y < zero ? -x : y * zero;
    case OP_exp_grad_y:
    case OP_mul: return x * y;
    case OP_log_grad:
    case OP_div: return x / y;
    case OP_sqrt: return sqrt(x);
    case OP_sqrt_grad_y: return x * REAL(0.5) / y;
    case OP_tanh_grad_y: return x * (one - y * y);
    case OP_sigmoid_grad_y: return x * (y * (one - y));
    case OP_relu: return x > zero || is_nan(x) ? x : zero;
    case OP_relu_grad_y: return y > zero || is_nan(y) ? x : zero;
    case OP_scale_add: return A * x + B;
    case OP_scale: return A * x;
    case OP_add: return x + y;
    case OP_sub: return x - y;
    case OP_div_grad_b: return -x * y / (z * z);
    case OP_maximum: return is_nan(x) || x > y && !is_nan(y) ? x : y;
    case OP_minimum: return is_nan(x) || x < y && !is_nan(y) ? x : y;
    case OP_maximum_grad_a: return is_nan(y) || y >= z && !is_nan(z) ? x : zero;
    case OP_maximum_grad_b: return is_nan(y) || y >= z && !is_nan(z) ? zero : x;
    case OP_minimum_grad_a: return is_nan(y) || y <= z && !is_nan(z) ? x : zero;
    case OP_minimum_grad_b: return is_nan(y) || y <= z && !is_nan(z) ? zero : x;
    case OP_select: return x != zero ? y : z;
    case OP_select_grad_a: return y != zero ? x : zero;
    case OP_select_grad_b: return y != zero ? zero : x;
    case OP_masked_fill: return y != zero ? A : x;
    case OP_fill: return A;
    case OP_ratio: return y == zero ? zero : x / y;
    case OP_norm_weight: return x * ((y - z) * w);
    case OP_rms_weight: return x * (y * z);
    case OP_twice: return REAL(2) * x * y;
    }
#ifdef RAPT_PLAIN
    return zero;
#else
    const bool gradient = OPCODE == OP_sin_grad || OPCODE == OP_cos_grad || OPCODE == OP_silu_grad ||
                   OPCODE == OP_gelu_grad || OPCODE == OP_gelu_tanh_grad ||
                   OPCODE == OP_softplus_grad || OPCODE == OP_power_grad;
    return of_function(gradient ? x : zero, gradient ? y : x, A);
#endif
}

#endif
