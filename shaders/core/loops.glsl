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

#elif !defined(RAPT_PLAIN)

#include "core/math.glsl"

// What takes more than arithmetic, of x or of a gradient g and x. Each function stands here once,
// so that the shader stays small.
float of_function(float g, float x, float A)
{
    const bool normal = OPCODE == OP_gelu || OPCODE == OP_gelu_grad;
    const bool gated = OPCODE == OP_gelu_tanh || OPCODE == OP_gelu_tanh_grad;
    const bool power = OPCODE == OP_power || OPCODE == OP_power_grad;
    const float exponent = OPCODE == OP_power_grad ? A - 1.0 : A;
    if (OPCODE == OP_sin || OPCODE == OP_cos || OPCODE == OP_sin_grad || OPCODE == OP_cos_grad) {
        const vec2 both = sin_cos(x);
        return OPCODE == OP_sin        ? both.x
               : OPCODE == OP_cos      ? both.y
               : OPCODE == OP_sin_grad ? g * both.y
                                       : -g * both.x;
    }
    float l = 0.0;
    if (OPCODE == OP_log || power)
        l = log_exact(power ? abs(x) : x);
    if (OPCODE == OP_log)
        return l;
    const float u = gated ? x * 1.59576912160573071 * (1.0 + 0.044715 * x * x) : x;
    const float e = exp_exact(OPCODE == OP_exp    ? x
                              : OPCODE == OP_tanh ? 2.0 * abs(x)
                              : normal            ? -0.5 * x * x
                              : power             ? exponent * l
                                                  : -abs(u));
    if (OPCODE == OP_exp)
        return e;
    if (OPCODE == OP_tanh)
        return tanh_exact(x, e);
    if (power) {
        const float y = power_exact(x, exponent, e);
        return OPCODE == OP_power ? y : A == 0.0 ? 0.0 : g * A * y;
    }
    if (normal) {
        const float share = normal_distribution(x, e);
        return OPCODE == OP_gelu ? x * share : g * (share + x * e * 0.398942280401432678);
    }
    if (OPCODE == OP_softplus) { // with w the rounded 1 + e, log(w) e / (w - 1) keeps what w loses
        precise const float w = 1.0 + e;
        precise const float excess = w - 1.0;
        return (x > 0.0 || is_nan(x) ? x : 0.0) + (excess == 0.0 ? e : log_exact(w) * (e / excess));
    }
    // The logistic function of u: the exponential's argument is never positive, nothing overflows.
    const float s = (u < 0.0 ? e : 1.0) / (1.0 + e);
    switch (OPCODE) {
    case OP_sigmoid: return s;
    case OP_silu:
    case OP_gelu_tanh: return x * s;
    case OP_silu_grad: return g * s * (1.0 + x * (1.0 - s));
    case OP_gelu_tanh_grad:
        return g * s * (1.0 + x * (1.0 - s) * 1.59576912160573071 * (1.0 + 0.134145 * x * x));
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
#if defined(RAPT_DOUBLE) || defined(RAPT_PLAIN)
    return zero;
#else
    const bool gradient = OPCODE == OP_sin_grad || OPCODE == OP_cos_grad || OPCODE == OP_silu_grad ||
                   OPCODE == OP_gelu_grad || OPCODE == OP_gelu_tanh_grad ||
                   OPCODE == OP_softplus_grad || OPCODE == OP_power_grad;
    return of_function(gradient ? x : zero, gradient ? y : x, A);
#endif
}

#endif
