/*
 * Elementwise operators: tables over one forward and one backward for functions of one input, and
 * one of each for functions of two that broadcast.
 */
#include "ops/common.h"

/* --- One input ------------------------------------------------------------------------------ */

/* The first two attributes, as numbers, are the loop's a and b. */
static rapt_loop_args loop_args(const rapt_call *call)
{
    rapt_loop_args args = {.math = rapt_ops_math(call)};
    const uint32_t n = call->op->n_attrs;
    args.a = n > 0 ? call->attrs[0].f : 0;
    args.b = n > 1 ? call->attrs[1].f : 0;
    return args;
}

static rapt_status unary_forward(rapt_call *call, enum rapt_loop_id loop)
{
    const rapt_view *x = call->inputs[0];
    const rapt_loop_args args = loop_args(call);
    rapt_walk walk;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, call->outputs[0]);
    rapt_walk_end(&walk);
    return rapt_map(call, &walk, loop, &args);
}

/* `kept`: what the loop reads besides the gradient, or NULL. */
static rapt_status unary_backward(rapt_call *call, enum rapt_loop_id loop, const rapt_view *kept)
{
    const rapt_view *dx = call->grad_inputs[0];
    const rapt_loop_args args = loop_args(call);
    rapt_walk walk;
    if (dx == NULL)
        return RAPT_OK;
    rapt_walk_begin(&walk, call, dx->ndim, dx->shape);
    rapt_walk_add(&walk, call->grad_outputs[0]);
    if (kept != NULL)
        rapt_walk_add(&walk, kept);
    rapt_walk_add(&walk, dx);
    rapt_walk_end(&walk);
    return rapt_map(call, &walk, loop, &args);
}

static const rapt_arg unary_inputs[] = {RAPT_REAL("x: ...", "any shape and strides")};
static const rapt_arg unary_outputs[] = {RAPT_REAL("y: ...", "in the shape of x")};

/* What backward reads: nothing, x or y. */
#define KEPT_none NULL
#define KEPT_x    call->inputs[0]
#define KEPT_y    call->outputs[0]
#define KEEP_none ""
#define KEEP_x    "x"
#define KEEP_y    "y"

#define UNARY_KERNEL(name, forward_loop, backward_loop, kept)                                      \
    static rapt_status name##_forward(rapt_call *call)                                             \
    {                                                                                              \
        return unary_forward(call, forward_loop);                                                  \
    }                                                                                              \
    static rapt_status name##_backward(rapt_call *call)                                            \
    {                                                                                              \
        return unary_backward(call, backward_loop, KEPT_##kept);                                   \
    }                                                                                              \
    static const rapt_kernel name##_kernel[] = {                                                   \
        {RAPT_CPU, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = KEEP_##kept,     \
         .forward = name##_forward, .backward = name##_backward},                                  \
        {RAPT_VULKAN, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = KEEP_##kept,  \
         .forward = name##_forward, .backward = name##_backward}};

/* name, title, formula, flops of forward and of backward for one element, what backward keeps, its
 * loop. */
#define UNARIES(X)                                                                                 \
    X(neg, "Negation", "y = -x.", "1", "1", none, neg)                                             \
    X(abs, "Absolute value", "y = |x|; the gradient at 0 is 0.", "1", "2", x, abs_grad)            \
    X(exp, "Exponential", "y = exp(x).", "10", "1", y, exp_grad_y)                                 \
    X(log, "Natural logarithm", "y = log(x); -inf at 0, NaN below.", "10", "1", x, log_grad)       \
    X(sqrt, "Square root", "y = sqrt(x); NaN below 0, an infinite slope at 0.", "1", "2", y,       \
      sqrt_grad_y)                                                                                 \
    X(sin, "Sine", "y = sin(x), x in radians.", "10", "11", x, sin_grad)                           \
    X(cos, "Cosine", "y = cos(x), x in radians.", "10", "11", x, cos_grad)                         \
    X(tanh, "Hyperbolic tangent", "y = tanh(x).", "10", "3", y, tanh_grad_y)                       \
    X(sigmoid, "Logistic function", "y = 1 / (1 + exp(-x)).", "10", "3", y, sigmoid_grad_y)        \
    X(relu, "Rectifier", "y = max(x, 0); the gradient at 0 is 0.", "1", "1", y, relu_grad_y)       \
    X(silu, "SiLU (swish)", "y = x / (1 + exp(-x)).", "11", "15", x, silu_grad)                    \
    X(softplus, "Softplus", "y = log(1 + exp(x)), without overflow or loss for large |x|.", "24",  \
      "11", x, softplus_grad)

#define X(name, title, formula, flops, flops_backward, kept, grad)                                 \
    UNARY_KERNEL(name, RAPT_LOOP_##name, RAPT_LOOP_##grad, kept)
UNARIES(X)
#undef X

/* --- One input and attributes --------------------------------------------------------------- */

static const rapt_attr scale_add_attrs[] = {
    RAPT_ATTR("scale", RAPT_ATTR_FLOAT, "1", "the factor"),
    RAPT_ATTR("shift", RAPT_ATTR_FLOAT, "0", "what is added"),
};
UNARY_KERNEL(scale_add, RAPT_LOOP_scale_add, RAPT_LOOP_scale, none)

static const rapt_attr pow_attrs[] = {
    RAPT_ATTR("exponent", RAPT_ATTR_FLOAT, NULL, "the power", .flags = RAPT_REQUIRED),
};
UNARY_KERNEL(pow_scalar, RAPT_LOOP_power, RAPT_LOOP_power_grad, x)

static const rapt_attr gelu_attrs[] = {
    RAPT_ATTR("approximate", RAPT_ATTR_CHOICE, "none", "the error function, or a tanh close to it",
              .choices = "none|tanh"),
};
UNARY_KERNEL(gelu, call->attrs[0].i[0] ? RAPT_LOOP_gelu_tanh : RAPT_LOOP_gelu,
             call->attrs[0].i[0] ? RAPT_LOOP_gelu_tanh_grad : RAPT_LOOP_gelu_grad, x)

/* --- Two inputs ----------------------------------------------------------------------------- */

/* A gradient: its loop, and which inputs it reads behind the gradient of the output. */
typedef struct binary_grad {
    enum rapt_loop_id loop;
    bool reads[2];
} binary_grad;

static rapt_status binary_forward(rapt_call *call, enum rapt_loop_id loop)
{
    const rapt_view *c = call->outputs[0];
    const rapt_loop_args args = loop_args(call);
    rapt_walk walk;
    rapt_walk_begin(&walk, call, c->ndim, c->shape);
    for (uint32_t i = 0; i < call->op->n_inputs; i++)
        rapt_walk_add(&walk, call->inputs[i]);
    rapt_walk_add(&walk, c);
    rapt_walk_end(&walk);
    return rapt_map(call, &walk, loop, &args);
}

/* The gradient of one input, summed over the dimensions along which it was broadcast. `reads` are
 * the inputs that the loop takes after the gradient, -1 for none. */
static rapt_status broadcast_grad(rapt_call *call, enum rapt_loop_id loop, const int *reads,
                                  const rapt_view *target)
{
    const rapt_view *g = call->grad_outputs[0];
    rapt_fold fold = {.loop = loop, .args = loop_args(call), .scale = 1};
    rapt_walk_begin(&fold.walk, call, g->ndim, g->shape);
    rapt_walk_add(&fold.walk, g);
    for (int i = 0; i < 2; i++)
        if (reads[i] >= 0)
            rapt_walk_add(&fold.walk, call->inputs[reads[i]]);
    fold.reduced = rapt_broadcast_dims(target, g->ndim, g->shape);
    if (fold.reduced == 0) {
        rapt_walk_add(&fold.walk, target);
        rapt_walk_end(&fold.walk);
        return rapt_map(call, &fold.walk, loop, &fold.args);
    }
    fold.out = target;
    return rapt_fold_run(call, &fold);
}

/* Of Vulkan: what sums of broadcast gradients need. */
static size_t broadcast_workspace(rapt_call *call)
{
    const rapt_view *g = call->phase == RAPT_BACKWARD ? call->grad_outputs[0] : NULL;
    for (uint32_t i = 0; g != NULL && i < call->op->n_inputs; i++)
        if (call->grad_inputs[i] != NULL &&
            rapt_broadcast_dims(call->grad_inputs[i], g->ndim, g->shape) != 0)
            return rapt_vulkan_fold_workspace(call);
    return 0;
}

static rapt_status binary_backward(rapt_call *call, const binary_grad *grads)
{
    for (int i = 0; i < 2; i++) {
        const rapt_view *target = call->grad_inputs[i];
        const int reads[2] = {grads[i].reads[0] ? 0 : -1, grads[i].reads[1] ? 1 : -1};
        if (target == NULL)
            continue;
        const rapt_status status = broadcast_grad(call, grads[i].loop, reads, target);
        if (status != RAPT_OK)
            return status;
    }
    return RAPT_OK;
}

static const rapt_arg binary_inputs[] = {
    RAPT_REAL("a: ...?", "any strides; broadcast against b"),
    RAPT_REAL("b: ...?", "any strides; broadcast against a"),
};
static const rapt_arg binary_outputs[] = {RAPT_REAL("c: ...", "in the common shape")};

/* name, title, formula, flops of forward and backward for one element, kept inputs, then for the
 * gradient of a and of b: loop, whether it reads a, whether it reads b. */
#define BINARIES(X)                                                                                \
    X(add, "Sum of two tensors", "c = a + b.", "1", "0", "", copy, 0, 0, copy, 0, 0)               \
    X(sub, "Difference", "c = a - b.", "1", "1", "", copy, 0, 0, neg, 0, 0)                        \
    X(mul, "Elementwise product", "c = a * b.", "1", "2", "a b", mul, 0, 1, mul, 1, 0)             \
    X(div, "Quotient", "c = a / b.", "1", "4", "a b", div, 0, 1, div_grad_b, 1, 1)                 \
    X(maximum, "Larger of two",                                                                    \
      "c = max(a, b), NaN where either is; where they are equal the gradient goes to a.", "1",     \
      "2", "a b", maximum_grad_a, 1, 1, maximum_grad_b, 1, 1)                                      \
    X(minimum, "Smaller of two",                                                                   \
      "c = min(a, b), NaN where either is; where they are equal the gradient goes to a.", "1",     \
      "2", "a b", minimum_grad_a, 1, 1, minimum_grad_b, 1, 1)

#define X(name, title, formula, flops, flops_backward, kept, ga, ga_a, ga_b, gb, gb_a, gb_b)       \
    static rapt_status name##_forward(rapt_call *call)                                             \
    {                                                                                              \
        return binary_forward(call, RAPT_LOOP_##name);                                             \
    }                                                                                              \
    static rapt_status name##_backward(rapt_call *call)                                            \
    {                                                                                              \
        static const binary_grad grads[2] = {{RAPT_LOOP_##ga, {ga_a, ga_b}},                       \
                                             {RAPT_LOOP_##gb, {gb_a, gb_b}}};                      \
        return binary_backward(call, grads);                                                       \
    }                                                                                              \
    static const rapt_kernel name##_kernel[] = {                                                   \
        {RAPT_CPU, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = (kept),          \
         .forward = name##_forward, .backward = name##_backward},                                  \
        {RAPT_VULKAN, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = (kept),       \
         .workspace = broadcast_workspace, .forward = name##_forward,                              \
         .backward = name##_backward}};
BINARIES(X)
#undef X

/* --- Choice by a mask ----------------------------------------------------------------------- */

static const rapt_arg where_inputs[] = {
    RAPT_OTHER("condition: ...?", "bool", 0, "which of the two"),
    RAPT_REAL("a: ...?", "taken where the condition holds"),
    RAPT_REAL("b: ...?", "taken elsewhere"),
};

static rapt_status where_forward(rapt_call *call)
{
    return binary_forward(call, RAPT_LOOP_select);
}

static rapt_status where_backward(rapt_call *call)
{
    static const int reads[2] = {0, -1};
    rapt_status status = RAPT_OK;
    if (call->grad_inputs[1] != NULL)
        status = broadcast_grad(call, RAPT_LOOP_select_grad_a, reads, call->grad_inputs[1]);
    if (status == RAPT_OK && call->grad_inputs[2] != NULL)
        status = broadcast_grad(call, RAPT_LOOP_select_grad_b, reads, call->grad_inputs[2]);
    return status;
}

static const rapt_kernel where_kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = "condition",
     .forward = where_forward, .backward = where_backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = "condition",
     .workspace = broadcast_workspace, .forward = where_forward, .backward = where_backward}};

static const rapt_arg masked_fill_inputs[] = {
    RAPT_REAL("x: ...?", "any strides"),
    RAPT_OTHER("mask: ...?", "bool", 0, "true where the value is put"),
};
static const rapt_attr masked_fill_attrs[] = {
    RAPT_ATTR("value", RAPT_ATTR_FLOAT, NULL, "what is put", .flags = RAPT_REQUIRED),
};

static rapt_status masked_fill_forward(rapt_call *call)
{
    return binary_forward(call, RAPT_LOOP_masked_fill);
}

static rapt_status masked_fill_backward(rapt_call *call)
{
    static const int reads[2] = {1, -1};
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return broadcast_grad(call, RAPT_LOOP_select_grad_b, reads, call->grad_inputs[0]);
}

static const rapt_kernel masked_fill_kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = "mask",
     .forward = masked_fill_forward, .backward = masked_fill_backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .keep = "mask",
     .workspace = broadcast_workspace, .forward = masked_fill_forward,
     .backward = masked_fill_backward}};

/* --- Descriptions --------------------------------------------------------------------------- */

#define UNARY(name, heading, formula, cost, cost_backward, sample)                                 \
    RAPT_CORE(#name), .title = (heading), .doc = formula, RAPT_INPUTS(unary_inputs),               \
                      RAPT_OUTPUTS(unary_outputs), .flops = cost " * leading",                     \
                      .flops_backward = cost_backward " * leading", .example = "...=3,65" sample,  \
                      RAPT_KERNEL(name##_kernel)
#define BROADCAST " The shapes are broadcast; gradients are summed back."

static const rapt_operator operators[] = {
#define X(name, title, formula, flops, flops_backward, kept, grad)                                 \
    {UNARY(name, title, formula, flops, flops_backward, "")},
    UNARIES(X)
#undef X
#define X(name, heading, formula, cost, cost_backward, ...)                                        \
    {RAPT_CORE(#name),                                                                             \
     .title = (heading),                                                                           \
     .doc = formula BROADCAST,                                                                     \
     RAPT_INPUTS(binary_inputs),                                                                   \
     RAPT_OUTPUTS(binary_outputs),                                                                 \
     .flops = cost " * leading",                                                                   \
     .flops_backward = cost_backward " * leading",                                                 \
     .example = "...=3,65",                                                                        \
     RAPT_KERNEL(name##_kernel)},
        BINARIES(X)
#undef X
            {UNARY(scale_add, "Scaling and shift by numbers", "y = scale * x + shift.", "2", "1",
                   ""),
             RAPT_ATTRS(scale_add_attrs)},
    {UNARY(pow_scalar, "Power with a constant exponent",
           "y = x^exponent; NaN for x below 0 unless the exponent is a whole number.", "20", "22",
           " exponent=2"),
     RAPT_ATTRS(pow_attrs)},
    {UNARY(gelu, "Gaussian error linear unit",
           "y = x Phi(x) with Phi the normal distribution function; approximate=tanh: "
           "y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).",
           "14", "28", ""),
     RAPT_ATTRS(gelu_attrs), .paper = "arXiv 1606.08415"},
    {RAPT_CORE("where"), .title = "Choice by a condition",
     .doc = "c = a where the condition is true, b elsewhere." BROADCAST, RAPT_INPUTS(where_inputs),
     RAPT_OUTPUTS(binary_outputs), .flops = "0", .flops_backward = "0", .example = "...=3,65",
     RAPT_KERNEL(where_kernel)},
    {RAPT_CORE("masked_fill"), .title = "A value where a mask is set",
     .doc = "c = value where the mask is true, x elsewhere. The shapes are broadcast; the gradient "
            "is 0 where the mask is true.",
     RAPT_INPUTS(masked_fill_inputs), RAPT_OUTPUTS(binary_outputs), RAPT_ATTRS(masked_fill_attrs),
     .flops = "0", .flops_backward = "0", .example = "...=3,65 value=0",
     RAPT_KERNEL(masked_fill_kernel)},
};

const rapt_group rapt_ops_elementwise = {operators, RAPT_COUNT(operators)};
