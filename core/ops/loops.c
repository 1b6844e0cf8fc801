/*
 * Compiled with RAPT_LEVEL = portable, avx2, avx512 and the compiler flags of that level.
 * Elementwise loops are left to the compiler's vectoriser; sums keep lanes of their own, because
 * the order of additions is part of the result.
 */
#include "ops/loops.h"

#include <math.h>
#include <string.h>

/* --- Elementwise ---------------------------------------------------------------------------- */

#define PARAMETERS(real) (const rapt_loop_args *args, int64_t n, const real *const *in, real *out)

/* The arrays of a block are one and the same or apart, and element i is read before it is written:
 * nothing is carried from one element to the next. (Clang finds out at run time.) */
#if defined(__clang__)
#define INDEPENDENT
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#define READ_1(real) const real x = in[0][i];
#define READ_2(real) READ_1(real) const real y = in[1][i];
#define READ_3(real) READ_2(real) const real z = in[2][i];

#define LOOP(inputs, real, ...)                                                                    \
    {                                                                                              \
        typedef real R;                                                                            \
        const R A = (R)args->a, B = (R)args->b;                                                    \
        (void)A, (void)B;                                                                          \
        INDEPENDENT                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                          \
            READ_##inputs(R) out[i] = (__VA_ARGS__);                                               \
        }                                                                                          \
    }

/* One expression of x, y, z = in[0..2][i], A and B = the attributes, R = the type. */
#define SINGLE(name, inputs, ...)                                                                  \
    static void name##_f32 PARAMETERS(float) LOOP(inputs, float, __VA_ARGS__)
#define DOUBLE(name, inputs, ...)                                                                  \
    static void name##_f64 PARAMETERS(double) LOOP(inputs, double, __VA_ARGS__)
#define BOTH(name, inputs, ...) SINGLE(name, inputs, __VA_ARGS__) DOUBLE(name, inputs, __VA_ARGS__)

#define SQRT_HALF   0.70710678118654752440
#define NORMAL_PEAK 0.39894228040143267794 /* 1 / sqrt(2 pi) */
#define GELU_SLOPE  0.79788456080286535588 /* sqrt(2 / pi) */
#define GELU_CUBE   0.044715

BOTH(copy, 1, x)
BOTH(neg, 1, -x)
SINGLE(abs, 1, fabsf(x))
DOUBLE(abs, 1, fabs(x))
BOTH(abs_grad, 2, y > 0 ? x : y < 0 ? -x : y * 0)
DOUBLE(exp, 1, exp(x))
BOTH(exp_grad_y, 2, x *y)
DOUBLE(log, 1, log(x))
BOTH(log_grad, 2, x / y)
SINGLE(sqrt, 1, sqrtf(x))
DOUBLE(sqrt, 1, sqrt(x))
BOTH(sqrt_grad_y, 2, x *(R)0.5 / y)
SINGLE(sin, 1, sinf(x))
DOUBLE(sin, 1, sin(x))
SINGLE(sin_grad, 2, x *cosf(y))
DOUBLE(sin_grad, 2, x *cos(y))
SINGLE(cos, 1, cosf(x))
DOUBLE(cos, 1, cos(x))
SINGLE(cos_grad, 2, -x *sinf(y))
DOUBLE(cos_grad, 2, -x *sin(y))
DOUBLE(tanh, 1, tanh(x))
BOTH(tanh_grad_y, 2, x *(1 - y * y))
DOUBLE(sigmoid, 1, 1 / (1 + exp(-x)))
BOTH(sigmoid_grad_y, 2, x *(y *(1 - y)))
BOTH(relu, 1, x <= 0 ? 0 : x)
BOTH(relu_grad_y, 2, y <= 0 ? 0 : x)
DOUBLE(silu, 1, x / (1 + exp(-x)))
DOUBLE(gelu, 1, 0.5 * x * (1 + erf(x * SQRT_HALF)))
DOUBLE(gelu_grad, 2, x *(0.5 * (1 + erf(y * SQRT_HALF)) + y * exp(-0.5 * y * y) * NORMAL_PEAK))
DOUBLE(gelu_tanh, 1, 0.5 * x * (1 + tanh(GELU_SLOPE * (x + GELU_CUBE * x * x * x))))
DOUBLE(softplus, 1, (x > 0 ? x : 0) + log1p(exp(-fabs(x))))
DOUBLE(softplus_grad, 2, x / (1 + exp(-y)))
BOTH(scale_add, 1, A *x + B)
BOTH(scale, 1, A *x)
SINGLE(power, 1, powf(x, A))
DOUBLE(power, 1, pow(x, A))
SINGLE(power_grad, 2, A == 0 ? 0 : x * A * powf(y, A - 1))
DOUBLE(power_grad, 2, A == 0 ? 0 : x * A * pow(y, A - 1))
BOTH(add, 2, x + y)
BOTH(sub, 2, x - y)
BOTH(mul, 2, x *y)
BOTH(div, 2, x / y)
BOTH(div_grad_b, 3, -x *y / (z * z))
BOTH(maximum, 2, x > y || x != x ? x : y)
BOTH(maximum_grad_a, 3, y >= z || y != y ? x : 0)
BOTH(maximum_grad_b, 3, y >= z || y != y ? 0 : x)
BOTH(minimum, 2, x < y || x != x ? x : y)
BOTH(minimum_grad_a, 3, y <= z || y != y ? x : 0)
BOTH(minimum_grad_b, 3, y <= z || y != y ? 0 : x)
BOTH(select, 3, x != 0 ? y : z)
BOTH(select_grad_a, 2, y != 0 ? x : 0)
BOTH(select_grad_b, 2, y != 0 ? 0 : x)
BOTH(masked_fill, 2, y != 0 ? A : x)

static void silu_grad_f64 PARAMETERS(double)
{
    (void)args;
    for (int64_t i = 0; i < n; i++) {
        const double x = in[1][i], s = 1 / (1 + exp(-x));
        out[i] = in[0][i] * (s + x * s * (1 - s));
    }
}

static void gelu_tanh_grad_f64 PARAMETERS(double)
{
    (void)args;
    for (int64_t i = 0; i < n; i++) {
        const double x = in[1][i], t = tanh(GELU_SLOPE * (x + GELU_CUBE * x * x * x));
        const double slope = GELU_SLOPE * (1 + 3 * GELU_CUBE * x * x);
        out[i] = in[0][i] * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope);
    }
}

static void exp_f32 PARAMETERS(float)
{
    args->math->exp(n, in[0], out);
}

static void log_f32 PARAMETERS(float)
{
    args->math->log(n, in[0], out);
}

static void tanh_f32 PARAMETERS(float)
{
    args->math->tanh(n, in[0], out);
}

static void sigmoid_f32 PARAMETERS(float)
{
    args->math->sigmoid(n, in[0], out);
}

/* 1 / (1 + exp(-x)); exact enough in its tails, because exp is. */
static void logistic(const rapt_loop_args *args, int64_t n, const float *x, float *s)
{
    for (int64_t i = 0; i < n; i++)
        s[i] = -x[i];
    args->math->exp(n, s, s);
    for (int64_t i = 0; i < n; i++)
        s[i] = 1 / (1 + s[i]);
}

static void silu_f32 PARAMETERS(float)
{
    float s[RAPT_BLOCK] = {0};
    logistic(args, n, in[0], s);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        out[i] = in[0][i] * s[i];
}

static void silu_grad_f32 PARAMETERS(float)
{
    float s[RAPT_BLOCK] = {0};
    logistic(args, n, in[1], s);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        out[i] = in[0][i] * s[i] * (1 + in[1][i] * (1 - s[i]));
}

/*
 * e = exp(-x^2/2) and q = Phi(-|x|) = erfc(t)/2 with t = |x|/sqrt(2). exp(t^2) erfc(t) is k times a
 * polynomial in k = 1/(1 + 0.3 t), to 2.5e-8 of its value for t up to 10 (Chebyshev fit; beyond, e
 * is 0): one exponential where the error function takes the time of ten, and gradients need e
 * anyway. Relative to Phi, so that the lower tail keeps its digits.
 */
static void normal_tail(const rapt_loop_args *args, int64_t n, const float *x, float *e, float *q)
{
    for (int64_t i = 0; i < n; i++)
        e[i] = -0.5f * x[i] * x[i];
    args->math->exp(n, e, e);
    for (int64_t i = 0; i < n; i++) {
        const float k = 1 / (1 + (float)(0.3 * SQRT_HALF) * fabsf(x[i]));
        float p = -0.130770877269f;
        p = p * k + 0.491934270557f;
        p = p * k - 0.526151662824f;
        p = p * k + 0.564514242151f;
        p = p * k - 0.106983362477f;
        p = p * k + 0.220539169105f;
        p = p * k + 0.146796022186f;
        p = p * k + 0.170949119948f;
        p = p * k + 0.169173057652f;
        q[i] = 0.5f * k * p * e[i];
    }
}

static void gelu_f32 PARAMETERS(float)
{
    float e[RAPT_BLOCK] = {0}, q[RAPT_BLOCK];
    normal_tail(args, n, in[0], e, q);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float x = in[0][i];
        out[i] = x * (x > 0 ? 1 - q[i] : q[i]);
    }
}

static void gelu_grad_f32 PARAMETERS(float)
{
    float e[RAPT_BLOCK] = {0}, q[RAPT_BLOCK];
    normal_tail(args, n, in[1], e, q);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float x = in[1][i], phi = x > 0 ? 1 - q[i] : q[i];
        out[i] = in[0][i] * (phi + x * e[i] * (float)NORMAL_PEAK);
    }
}

/* 0.5 (1 + tanh u) is 1 / (1 + exp(-2u)). */
static void gelu_logistic(const rapt_loop_args *args, int64_t n, const float *x, float *s)
{
    for (int64_t i = 0; i < n; i++)
        s[i] = x[i] * (float)(2 * GELU_SLOPE) * (1 + (float)GELU_CUBE * x[i] * x[i]);
    logistic(args, n, s, s);
}

static void gelu_tanh_f32 PARAMETERS(float)
{
    float s[RAPT_BLOCK] = {0};
    gelu_logistic(args, n, in[0], s);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        out[i] = in[0][i] * s[i];
}

static void gelu_tanh_grad_f32 PARAMETERS(float)
{
    float s[RAPT_BLOCK] = {0};
    gelu_logistic(args, n, in[1], s);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float x = in[1][i];
        const float slope = (float)(2 * GELU_SLOPE) * (1 + (float)(3 * GELU_CUBE) * x * x);
        out[i] = in[0][i] * s[i] * (1 + x * (1 - s[i]) * slope);
    }
}

/* log(1 + e) loses e where it is small; with u the rounded 1 + e, log(u) e / (u - 1) does not. */
static void softplus_f32 PARAMETERS(float)
{
    float e[RAPT_BLOCK] = {0}, l[RAPT_BLOCK] = {0};
    for (int64_t i = 0; i < n; i++)
        e[i] = -fabsf(in[0][i]);
    args->math->exp(n, e, e);
    for (int64_t i = 0; i < n; i++)
        l[i] = 1 + e[i];
    args->math->log(n, l, l);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float x = in[0][i], excess = (1 + e[i]) - 1;
        out[i] = (x > 0 ? x : 0) + (excess == 0 ? e[i] : l[i] * (e[i] / excess));
    }
}

static void softplus_grad_f32 PARAMETERS(float)
{
    float s[RAPT_BLOCK] = {0};
    logistic(args, n, in[1], s);
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        out[i] = in[0][i] * s[i];
}

/* --- Sums in lanes -------------------------------------------------------------------------- */

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX2__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define PARTS (RAPT_LANES / WIDTH)

typedef float vector __attribute__((vector_size(WIDTH * sizeof(float))));
typedef int32_t mask __attribute__((vector_size(WIDTH * sizeof(float))));
typedef struct lanes {
    vector part[PARTS];
} lanes;

static inline vector load(const float *x)
{
    vector v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline vector choose(mask which, vector a, vector b)
{
    return (vector)(((mask)a & which) | ((mask)b & ~which));
}

/* The lanes' sum as a binary tree. */
static double lanes_sum(const lanes *l)
{
    float x[RAPT_LANES];
    memcpy(x, l, sizeof x);
    for (int half = RAPT_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            x[i] += x[i + half];
    return (double)x[0];
}

/* One block's sum of `term`, written with V(array) for the element or vector at hand. */
#define BLOCK_SUM(m, term)                                                                         \
    lanes l = {0};                                                                                 \
    int64_t i = 0;                                                                                 \
    for (; i + RAPT_LANES <= (m); i += RAPT_LANES)                                                 \
        for (int p = 0; p < PARTS; p++)                                                            \
            l.part[p] += term(LOAD);                                                               \
    float rest[RAPT_LANES] = {0};                                                                  \
    for (int64_t j = 0; i + j < (m); j++)                                                          \
        rest[j] = term(ELEMENT);                                                                   \
    for (int p = 0; p < PARTS; p++)                                                                \
        l.part[p] += load(rest + p * WIDTH);                                                       \
    total += lanes_sum(&l);
#define LOAD(array)    load((array) + i + p * WIDTH)
#define ELEMENT(array) (array)[i + j]

static inline int64_t block_at(int64_t n, int64_t begin)
{
    return n - begin < RAPT_BLOCK ? n - begin : RAPT_BLOCK;
}

#define SUM_TERM(V) V(x)
static double sum(int64_t n, const float *x)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += RAPT_BLOCK, x += RAPT_BLOCK) {
        BLOCK_SUM(block_at(n, b), SUM_TERM)
    }
    return total;
}

#define SQUARE_TERM(V) V(x) * V(x)
static double sum_squares(int64_t n, const float *x)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += RAPT_BLOCK, x += RAPT_BLOCK) {
        BLOCK_SUM(block_at(n, b), SQUARE_TERM)
    }
    return total;
}

#define DISTANCE_TERM(V) (V(x) - (float)centre) * (V(x) - (float)centre)
static double sum_squared_distance(int64_t n, const float *x, double centre)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += RAPT_BLOCK, x += RAPT_BLOCK) {
        BLOCK_SUM(block_at(n, b), DISTANCE_TERM)
    }
    return total;
}

#define DOT_TERM(V) V(x) * V(y)
static double dot(int64_t n, const float *x, const float *y)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += RAPT_BLOCK, x += RAPT_BLOCK, y += RAPT_BLOCK) {
        BLOCK_SUM(block_at(n, b), DOT_TERM)
    }
    return total;
}

#define DOT3_TERM(V) V(x) * V(y) * V(z)
static double dot3(int64_t n, const float *x, const float *y, const float *z)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += RAPT_BLOCK, x += RAPT_BLOCK, y += RAPT_BLOCK, z += RAPT_BLOCK) {
        BLOCK_SUM(block_at(n, b), DOT3_TERM)
    }
    return total;
}

/* --- Extremes ------------------------------------------------------------------------------- */

/* Whether b replaces a: it is greater (less), or it is a NaN. */
#define GREATER(a, b) (((b) > (a)) | ((b) != (b)))
#define LESS(a, b)    (((b) < (a)) | ((b) != (b)))

#define EXTREME(name, replaces, none)                                                              \
    static float name(int64_t n, const float *x)                                                   \
    {                                                                                              \
        float best = none, lane[RAPT_LANES];                                                       \
        lanes l;                                                                                   \
        int64_t i = 0;                                                                             \
        if (n >= RAPT_LANES) {                                                                     \
            memcpy(&l, x, sizeof l);                                                               \
            for (i = RAPT_LANES; i + RAPT_LANES <= n; i += RAPT_LANES)                             \
                for (int p = 0; p < PARTS; p++) {                                                  \
                    const vector v = load(x + i + p * WIDTH);                                      \
                    l.part[p] = choose(replaces(l.part[p], v), v, l.part[p]);                      \
                }                                                                                  \
            memcpy(lane, &l, sizeof lane);                                                         \
            for (int j = 0; j < RAPT_LANES; j++)                                                   \
                best = replaces(best, lane[j]) ? lane[j] : best;                                   \
        }                                                                                          \
        for (; i < n; i++)                                                                         \
            best = replaces(best, x[i]) ? x[i] : best;                                             \
        return best;                                                                               \
    }                                                                                              \
    static void name##_to(int64_t n, const float *x, float *total)                                 \
    {                                                                                              \
        INDEPENDENT                                                                                \
        for (int64_t i = 0; i < n; i++)                                                            \
            total[i] = replaces(total[i], x[i]) ? x[i] : total[i];                                 \
    }

EXTREME(max, GREATER, -INFINITY)
EXTREME(min, LESS, INFINITY)

/* --- Column sums ---------------------------------------------------------------------------- */

static void add_to(int64_t n, const float *restrict x, float *restrict total)
{
    for (int64_t i = 0; i < n; i++)
        total[i] += x[i];
}

static void add_product_to(int64_t n, const float *restrict x, const float *restrict y,
                           float *restrict total)
{
    for (int64_t i = 0; i < n; i++)
        total[i] += x[i] * y[i];
}

static void add_to_f64(int64_t n, const float *restrict x, double *restrict total)
{
    for (int64_t i = 0; i < n; i++)
        total[i] += (double)x[i];
}

/* --- Rows ----------------------------------------------------------------------------------- */

static double exp_shifted(const rapt_math_service *math, int64_t n, const float *x, float shift,
                          float *y)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += RAPT_BLOCK, x += RAPT_BLOCK, y += RAPT_BLOCK) {
        const int64_t m = block_at(n, b);
        INDEPENDENT
        for (int64_t i = 0; i < m; i++)
            y[i] = x[i] - shift;
        math->exp(m, y, y);
        total += sum(m, y);
    }
    return total;
}

static void normalise(int64_t n, const float *x, float shift, float scale, const float *weight,
                      const float *bias, float *y)
{
    if (weight != NULL && bias != NULL) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - shift) * scale * weight[i] + bias[i];
    } else if (weight != NULL) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - shift) * scale * weight[i];
    } else {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - shift) * scale;
        for (int64_t i = 0; bias != NULL && i < n; i++)
            y[i] += bias[i];
    }
}

static void normalise_grad(int64_t n, const float *x, float shift, float scale, const float *weight,
                           const float *g, float dot_, float mean, float *dx)
{
    if (weight != NULL) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            dx[i] = scale * (g[i] * weight[i] - (x[i] - shift) * scale * dot_ - mean);
    } else {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            dx[i] = scale * (g[i] - (x[i] - shift) * scale * dot_ - mean);
    }
}

static void normalise_weight_grad(int64_t n, const float *restrict x, float shift, float scale,
                                  const float *restrict g, float *restrict total)
{
    for (int64_t i = 0; i < n; i++)
        total[i] += g[i] * ((x[i] - shift) * scale);
}

static void softmax_grad(int64_t n, const float *y, const float *g, float dot_, float *dx)
{
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        dx[i] = y[i] * (g[i] - dot_);
}

static void log_softmax_grad(const rapt_math_service *math, int64_t n, const float *y,
                             const float *g, float total, float *dx)
{
    float p[RAPT_BLOCK];
    for (int64_t b = 0; b < n; b += RAPT_BLOCK) {
        const int64_t m = block_at(n, b);
        math->exp(m, y + b, p);
        INDEPENDENT
        for (int64_t i = 0; i < m; i++)
            dx[b + i] = g[b + i] - p[i] * total;
    }
}

static void adamw(const rapt_adamw_args *args, int64_t n, float *restrict param,
                  const float *restrict grad, float *restrict m, float *restrict v)
{
    const rapt_adamw_args c = *args;
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i] * c.grad_scale;
        m[i] = c.beta1 * m[i] + c.rest1 * g;
        v[i] = c.beta2 * v[i] + c.rest2 * g * g;
        param[i] = param[i] * c.decay - c.step_size * m[i] / (sqrtf(v[i]) * c.correction2 + c.eps);
    }
}

/* --- Table ---------------------------------------------------------------------------------- */

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

const rapt_loops JOIN(rapt_loops_, RAPT_LEVEL) = {
#define X(name) name##_f32,
    .elementwise = {RAPT_ELEMENTWISE(X)},
#undef X
#define X(name) name##_f64,
    .elementwise_f64 = {RAPT_ELEMENTWISE(X)},
#undef X
    .sum = sum,
    .sum_squares = sum_squares,
    .sum_squared_distance = sum_squared_distance,
    .dot = dot,
    .dot3 = dot3,
    .max = max,
    .min = min,
    .add_to = add_to,
    .add_product_to = add_product_to,
    .add_to_f64 = add_to_f64,
    .max_to = max_to,
    .min_to = min_to,
    .exp_shifted = exp_shifted,
    .normalise = normalise,
    .normalise_grad = normalise_grad,
    .normalise_weight_grad = normalise_weight_grad,
    .softmax_grad = softmax_grad,
    .log_softmax_grad = log_softmax_grad,
    .adamw = adamw,
};
