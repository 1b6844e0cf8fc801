/*
 * kit/score.h - the score driver: attention whose weights come from a normalised tile of scores.
 *
 *     s_ij = scale q_i . k_j + bias_ij
 *     o_i  = sum_j f(s_ij) softmax_j(z(s_ij)) v_j       over the keys j that query i sees
 *
 * A variant says what z and f are; everything else is here: any outer strides, key/value heads
 * shared by groups of query heads (GQA), causal masking aligned at the end, additive bias, float16
 * and bfloat16 storage with float32 sums, the row's log-sum-exp as a second differentiable output,
 * decoding, the matrix of weights, the backward pass, and memory linear in N and M. Tiles of scores
 * are made and used up in cache, with running maxima and sums per row (Milakov and Gimelshein,
 * arXiv 1805.02867; Dao et al., arXiv 2205.14135 and 2307.08691). A query that sees no key gives
 * output 0, log-sum-exp -infinity and zero gradients.
 *
 * Writing an operator takes a description and hooks. hooks.h, compiled for each CPU level:
 *
 *     #define SCORE_LOGIT 1           // z is not the score itself
 *     #define SCORE_FACTOR 1          // f is not 1
 *     SIMD_FN simd_f score_logit(const score_site *at, simd_f s)       { return simd_abs(s); }
 *     SIMD_FN simd_f score_logit_slope(const score_site *at, simd_f s) { return simd_sign(s); }
 *     SIMD_FN simd_f score_factor(const score_site *at, simd_f s)      { return simd_sign(s); }
 *     #include "kit/score_driver.h"
 *
 * With SCORE_FACTOR_SLOPE defined there is also score_factor_slope, f'(s); without it f' is 0.
 * Hooks of an operator that takes a bias define SCORE_BIAS: a bias of -infinity hides a key
 * whatever z is. Hooks see vectors of scores in no promised orientation and must be functions of s
 * (and of what `at` names) alone, finite for finite s. cpu.c:
 *
 *     #include "kit/score.h"
 *     #define RAPT_LEVELS_BODY "hooks.h"
 *     #include "kit/levels.h"
 *     RAPT_SCORE_FUNCTIONS(cog)
 *
 * and in the description (which may be the same file) RAPT_SCORE_DECLARE(cog), the argument lists
 * RAPT_SCORE_INPUTS ..., and RAPT_SCORE_CPU_KERNELS(cog, keep). The kit is header only:
 *
 *     cc -shared -fPIC -O2 -I. $(pkg-config --cflags rapt-kit) cog.c cpu.c -o cog.so
 *
 * Inputs are found by name ("q", "k", "v", "bias"), attributes too ("causal", "scale"): a
 * description lists those that its operator takes, in any order. What else the family has (windows,
 * packed sequences, softcap, ALiBi, sinks, temperatures) is in kit/score_options.h; hooks see
 * scores as these leave them. Work is split by sizes alone, and
 * all sums are taken in a fixed order: the same bits for any number of threads.
 */
#ifndef RAPT_KIT_SCORE_H
#define RAPT_KIT_SCORE_H

#include "score_plan.h"

/* --- What a description is made of ---------------------------------------------------------- */

#define RAPT_SCORE_INPUT_Q                                                                         \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE, .spec = "q: B H N D",              \
        .role = RAPT_STREAM, .doc = "queries"                                                      \
    }
#define RAPT_SCORE_INPUT_K                                                                         \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE, .spec = "k: B G M D",              \
        .role = RAPT_STREAM, .doc = "keys; head h reads key/value head floor(h G / H)"             \
    }
#define RAPT_SCORE_INPUT_V                                                                         \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | RAPT_VALUE_ONLY,                  \
        .spec = "v: B G M E", .role = RAPT_STREAM, .doc = "values"                                 \
    }
#define RAPT_SCORE_INPUT_BIAS                                                                      \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,                    \
        .spec = "bias: B? H? N? M?", .dtype = "f32|T", .role = RAPT_ARGUMENT,                      \
        .doc = "added to the scaled scores; -inf hides a key"                                      \
    }
#define RAPT_SCORE_INPUTS RAPT_SCORE_INPUT_Q, RAPT_SCORE_INPUT_K, RAPT_SCORE_INPUT_V

#define RAPT_SCORE_OUTPUTS                                                                         \
    {.size = sizeof(rapt_arg),                                                                     \
     .flags = RAPT_DIFFERENTIABLE,                                                                 \
     .spec = "o: B H N E",                                                                         \
     .doc = "one row of values for each query"},                                                   \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,                    \
        .spec = "lse: B H N", .dtype = "f32",                                                      \
        .doc = "log of the sum of exponentials of a query's logits; -inf where it sees no key"     \
    }

#define RAPT_SCORE_ATTRS                                                                           \
    {.size = sizeof(rapt_attr),                                                                    \
     .type = RAPT_ATTR_BOOL,                                                                       \
     .name = "causal",                                                                             \
     .fallback = "false",                                                                          \
     .doc = "query i sees key j only where j <= i + M - N"},                                       \
    {                                                                                              \
        .size = sizeof(rapt_attr), .type = RAPT_ATTR_FLOAT, .name = "scale",                       \
        .fallback = "1/sqrt(D)", .doc = "factor of the products q.k"                               \
    }

#define RAPT_SCORE_STATES                                                                          \
    {.size = sizeof(rapt_state_arg), .append = "k"},                                               \
    {                                                                                              \
        .size = sizeof(rapt_state_arg), .append = "v"                                              \
    }

/* What forward leaves to backward: the reference of each row's exponents (near its greatest logit)
 * and the row's sum of e^(logit - reference). Kept apart, they are exact for logits of any size. */
#define RAPT_SCORE_SAVED                                                                           \
    {.size = sizeof(rapt_arg), .spec = "row_reference: B H N", .dtype = "f32"},                    \
    {                                                                                              \
        .size = sizeof(rapt_arg), .spec = "row_sum: B H N", .dtype = "f32"                         \
    }
/* In half precision also what rounding took from the output: backward subtracts nearly equal sums,
 * one of which it has from the output. */
#define RAPT_SCORE_SAVED_HALF                                                                      \
    RAPT_SCORE_SAVED,                                                                              \
    {                                                                                              \
        .size = sizeof(rapt_arg), .spec = "o_rest: B H N E"                                        \
    }

#define RAPT_SCORE_WHERE          "H % G == 0"
#define RAPT_SCORE_WEIGHTS        "B H N M"
#define RAPT_SCORE_FLOPS          "2*B*H*pairs*(D+E)"
#define RAPT_SCORE_FLOPS_BACKWARD "2*B*H*pairs*(3*D+2*E)"
#define RAPT_SCORE_FLAGS                                                                           \
    (RAPT_OP_FULL | RAPT_OP_CAUSAL | RAPT_OP_CROSS | RAPT_OP_DECODE | RAPT_OP_WEIGHTS)

/* --- Hooks: one of each for every CPU level --------------------------------------------------- */

#define score_code         RAPT_LEVEL_NAME(score_code)
#define score_logit        RAPT_LEVEL_NAME(score_logit)
#define score_logit_slope  RAPT_LEVEL_NAME(score_logit_slope)
#define score_factor       RAPT_LEVEL_NAME(score_factor)
#define score_factor_slope RAPT_LEVEL_NAME(score_factor_slope)

/* --- Kernels ---------------------------------------------------------------------------------- */

/* The tasks of one CPU level, made by score_driver.h. */
struct rapt_score_code {
    rapt_task forward, few, few_merge, weights, delta, backward, gather_q, gather_kv, bias, heads;
};

#define RAPT_SCORE_DECLARE(name)                                                                   \
    size_t name##_cpu_workspace(rapt_call *call);                                                  \
    rapt_status name##_cpu_forward(rapt_call *call);                                               \
    rapt_status name##_cpu_backward(rapt_call *call);                                              \
    rapt_status name##_cpu_weights(rapt_call *call);

#define RAPT_SCORE_CPU_KERNEL(operator_, keep_, name_, dtypes_, n_saved_, ...)                     \
    {                                                                                              \
        .size = sizeof(rapt_kernel), .name = name_, .device = "cpu", .dtypes = dtypes_,            \
        .keep = keep_, .saved = (const rapt_arg[]){__VA_ARGS__}, .n_saved = n_saved_,              \
        .workspace = operator_##_cpu_workspace, .forward = operator_##_cpu_forward,                \
        .backward = operator_##_cpu_backward, .weights = operator_##_cpu_weights                   \
    }

/* The kernels of an operator for the CPU; `keep_` names what backward reads: the inputs and "o". A
 * step is a forward call with the cached rows as k and v. */
#define RAPT_SCORE_CPU_KERNELS(operator_, keep_)                                                   \
    RAPT_SCORE_CPU_KERNEL(operator_, keep_, "cpu", RAPT_DTYPE_BIT(RAPT_F32), 2, RAPT_SCORE_SAVED), \
        RAPT_SCORE_CPU_KERNEL(operator_, keep_, "cpu.half",                                        \
                              RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16), 3,             \
                              RAPT_SCORE_SAVED_HALF)

#define RAPT_SCORE_FUNCTIONS(name)                                                                 \
    RAPT_SCORE_DECLARE(name)                                                                       \
    static const rapt_score_code *name##_code(const rapt_call *call)                               \
    {                                                                                              \
        const rapt_cpu_service *cpu = call->host->service("rapt.cpu", 1);                          \
        const rapt_cpu_level level = cpu ? cpu->level : RAPT_CPU_PORTABLE;                         \
        return RAPT_LEVEL_PICK(level, &score_code);                                                \
    }                                                                                              \
    size_t name##_cpu_workspace(rapt_call *call)                                                   \
    {                                                                                              \
        return rapt_score_workspace(call);                                                         \
    }                                                                                              \
    rapt_status name##_cpu_forward(rapt_call *call)                                                \
    {                                                                                              \
        return rapt_score_forward(call, name##_code(call));                                        \
    }                                                                                              \
    rapt_status name##_cpu_backward(rapt_call *call)                                               \
    {                                                                                              \
        return rapt_score_backward(call, name##_code(call));                                       \
    }                                                                                              \
    rapt_status name##_cpu_weights(rapt_call *call)                                                \
    {                                                                                              \
        return rapt_score_weights(call, name##_code(call));                                        \
    }                                                                                              \
    typedef int name##_kernels_end /* takes the semicolon */

/* --- Entry points: any level ------------------------------------------------------------------ */

/* Bytes of workspace of a call, for its phase. [call] */
static inline size_t rapt_score_workspace(rapt_call *call)
{
    rapt_score score;
    rapt_score_prepare(&score, call);
    return rapt_score_bytes(&score);
}

static inline void rapt_score_run(const rapt_score *score, int64_t tasks, rapt_task task)
{
    if (tasks > 0)
        score->call->host->parallel_for(score->call, tasks, 1, task, (void *)(uintptr_t)score);
}

static inline rapt_status rapt_score_start(rapt_score *score, rapt_call *call)
{
    rapt_score_prepare(score, call);
    const size_t bytes = rapt_score_bytes(score);
    if (call->workspace_size < bytes)
        return call->host->error(call, RAPT_INTERNAL,
                                 "the workspace has %zu bytes but the kernel needs %zu",
                                 call->workspace_size, bytes);
    rapt_score_place(score, call->workspace);
    return rapt_score_check_options(&score->options, call);
}

static inline rapt_status rapt_score_forward(rapt_call *call, const rapt_score_code *code)
{
    rapt_score score;
    const rapt_status status = rapt_score_start(&score, call);
    if (status != RAPT_OK)
        return status;
    if (score.few) {
        rapt_score_run(&score, score.B * score.G * score.chunks, code->few);
        rapt_score_run(&score, score.B * score.G, code->few_merge);
    } else {
        rapt_score_run(&score, score.B * score.H * score.row_groups, code->forward);
    }
    return RAPT_OK;
}

static inline rapt_status rapt_score_weights(rapt_call *call, const rapt_score_code *code)
{
    rapt_score score;
    const rapt_status status = rapt_score_start(&score, call);
    if (status != RAPT_OK)
        return status;
    rapt_score_run(&score, score.B * score.H * score.row_blocks, code->weights);
    return RAPT_OK;
}

static inline rapt_status rapt_score_backward(rapt_call *call, const rapt_score_code *code)
{
    rapt_score score;
    const rapt_status status = rapt_score_start(&score, call);
    if (status != RAPT_OK)
        return status;
    const int64_t heads = score.B * score.H;
    rapt_score_run(&score, heads * score.row_blocks, code->delta);
    if (score.wants_q || score.grad_k.data || score.grad_v.data || score.options.grad_tau_v.data ||
        score.options.grad_alibi)
        rapt_score_run(&score, heads * score.parts, code->backward);
    if (score.wants_q && !score.q_direct)
        rapt_score_run(&score, heads * score.row_blocks, code->gather_q);
    if (score.H != score.G && (score.grad_k.data || score.grad_v.data))
        rapt_score_run(&score, score.B * score.G * score.key_blocks, code->gather_kv);
    if (score.grad_bias.data)
        rapt_score_run(&score, rapt_score_bias_tasks(&score), code->bias);
    if (score.options.grad_alibi || score.options.grad_sink)
        rapt_score_run(&score, score.H, code->heads);
    return RAPT_OK;
}

#endif
