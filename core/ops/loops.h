/*
 * Inner loops over plain arrays, compiled once for each CPU level (loops.c) and chosen at run time.
 *
 * Sums are taken in a fixed order: RAPT_LANES partial sums in float32 inside a block of RAPT_BLOCK
 * elements, the blocks' sums in float64.
 */
#ifndef RAPT_OPS_LOOPS_H
#define RAPT_OPS_LOOPS_H

#include "ops/walk.h"

#define RAPT_LANES 32

/* What an elementwise loop may need besides its arrays. */
typedef struct rapt_loop_args {
    const rapt_math_service *math;
    double a, b; /* attributes of the operator */
} rapt_loop_args;

/* out[i] = f(in[0][i], in[1][i], ...), n <= RAPT_BLOCK; out may be one of in. [task] */
typedef void rapt_loop(const rapt_loop_args *args, int64_t n, const float *const *in, float *out);
typedef void rapt_loop_f64(const rapt_loop_args *args, int64_t n, const double *const *in,
                           double *out);

/* Elementwise functions. A gradient's in[0] is that of the output; in[1] is the input, or where
 * `_y` says so the output; of two inputs, in[1] and in[2]. */
/* clang-format off */
#define RAPT_ELEMENTWISE(X) \
    X(copy) X(neg) X(abs) X(abs_grad) X(exp) X(exp_grad_y) X(log) X(log_grad) X(sqrt) \
    X(sqrt_grad_y) X(sin) X(sin_grad) X(cos) X(cos_grad) X(tanh) X(tanh_grad_y) X(sigmoid) \
    X(sigmoid_grad_y) X(relu) X(relu_grad_y) X(silu) X(silu_grad) X(gelu) X(gelu_grad) \
    X(gelu_tanh) X(gelu_tanh_grad) X(softplus) X(softplus_grad) X(scale_add) X(scale) X(power) \
    X(power_grad) X(add) X(sub) X(mul) X(div) X(div_grad_b) X(maximum) X(maximum_grad_a) \
    X(maximum_grad_b) X(minimum) X(minimum_grad_a) X(minimum_grad_b) X(select) X(select_grad_a) \
    X(select_grad_b) X(masked_fill)
/* clang-format on */

enum rapt_loop_id {
#define X(name) RAPT_LOOP_##name,
    RAPT_ELEMENTWISE(X)
#undef X
        RAPT_LOOP_COUNT
};

/* One step of AdamW over n <= RAPT_BLOCK parameters. */
typedef struct rapt_adamw_args {
    float decay;                      /* 1 - lr * weight_decay */
    float beta1, beta2, rest1, rest2; /* rest = 1 - beta */
    float eps, grad_scale;
    float step_size;   /* lr / (1 - beta1^step) */
    float correction2; /* 1 / sqrt(1 - beta2^step) */
} rapt_adamw_args;

typedef struct rapt_loops {
    rapt_loop *elementwise[RAPT_LOOP_COUNT];
    rapt_loop_f64 *elementwise_f64[RAPT_LOOP_COUNT];

    /* Of any length n >= 0. max and min of nothing are -inf and inf; a NaN among the elements is
     * the result. */
    double (*sum)(int64_t n, const float *x);
    double (*sum_squares)(int64_t n, const float *x);
    double (*sum_squared_distance)(int64_t n, const float *x, double centre);
    double (*dot)(int64_t n, const float *x, const float *y);
    double (*dot3)(int64_t n, const float *x, const float *y, const float *z);
    float (*max)(int64_t n, const float *x);
    float (*min)(int64_t n, const float *x);

    void (*add_to)(int64_t n, const float *x, float *total);
    void (*add_product_to)(int64_t n, const float *x, const float *y, float *total);
    void (*add_to_f64)(int64_t n, const float *x, double *total);
    void (*max_to)(int64_t n, const float *x, float *total);
    void (*min_to)(int64_t n, const float *x, float *total);

    /* y = exp(x - shift), returning the sum of y. x and y may be the same. */
    double (*exp_shifted)(const rapt_math_service *math, int64_t n, const float *x, float shift,
                          float *y);
    /* y = (x - shift) * scale (* weight, unless NULL) (+ bias, unless NULL) */
    void (*normalise)(int64_t n, const float *x, float shift, float scale, const float *weight,
                      const float *bias, float *y);
    /* dx = scale * (g * weight - (x - shift) * scale * dot - mean); weight may be NULL */
    void (*normalise_grad)(int64_t n, const float *x, float shift, float scale, const float *weight,
                           const float *g, float dot, float mean, float *dx);
    /* total += g * (x - shift) * scale */
    void (*normalise_weight_grad)(int64_t n, const float *x, float shift, float scale,
                                  const float *g, float *total);
    /* dx = y * (g - dot); dx = g - exp(y) * sum */
    void (*softmax_grad)(int64_t n, const float *y, const float *g, float dot, float *dx);
    void (*log_softmax_grad)(const rapt_math_service *math, int64_t n, const float *y,
                             const float *g, float sum, float *dx);
    void (*adamw)(const rapt_adamw_args *args, int64_t n, float *param, const float *grad, float *m,
                  float *v);
} rapt_loops;

extern const rapt_loops rapt_loops_portable;
extern const rapt_loops rapt_loops_avx2;
extern const rapt_loops rapt_loops_avx512;

/* Those of the level in use. */
const rapt_loops *rapt_loops_select(const rapt_host *host);

#endif
