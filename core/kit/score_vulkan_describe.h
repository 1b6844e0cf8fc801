/*
 * kit/score_vulkan_describe.h - what a description and a vulkan.c are made of. Part of
 * kit/score_vulkan.h.
 */
#ifndef RAPT_KIT_SCORE_VULKAN_DESCRIBE_H
#define RAPT_KIT_SCORE_VULKAN_DESCRIBE_H

#define RAPT_SCORE_VULKAN_DECLARE(name)                                                            \
    rapt_status name##_vulkan_forward(rapt_call *call);                                            \
    rapt_status name##_vulkan_backward(rapt_call *call);                                           \
    rapt_status name##_vulkan_weights(rapt_call *call);                                            \
    rapt_status name##_vulkan_supports(rapt_call *call);                                           \
    size_t name##_vulkan_workspace(rapt_call *call);

#define RAPT_SCORE_VULKAN_KERNEL(operator_, keep_, name_, dtypes_, n_saved_, ...)                  \
    {                                                                                              \
        .size = sizeof(rapt_kernel), .name = name_, .device = "vulkan", .dtypes = dtypes_,         \
        .keep = keep_, .saved = (const rapt_arg[]){__VA_ARGS__}, .n_saved = n_saved_,              \
        .supports = operator_##_vulkan_supports, .workspace = operator_##_vulkan_workspace,        \
        .forward = operator_##_vulkan_forward, .backward = operator_##_vulkan_backward,            \
        .weights = operator_##_vulkan_weights                                                      \
    }

/* The kernels of an operator for Vulkan devices, as RAPT_SCORE_CPU_KERNELS; needs kit/score.h. */
#define RAPT_SCORE_VULKAN_KERNELS(operator_, keep_)                                                \
    RAPT_SCORE_VULKAN_KERNEL(operator_, keep_, "vulkan", RAPT_DTYPE_BIT(RAPT_F32), 2,              \
                             RAPT_SCORE_SAVED),                                                    \
        RAPT_SCORE_VULKAN_KERNEL(operator_, keep_, "vulkan.half",                                  \
                                 RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16), 3,          \
                                 RAPT_SCORE_SAVED_HALF)

#define RAPT_SCORE_VULKAN_SHADER(op, pass_, width_, features_)                                     \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = features_,                                 \
        .name = #op "." #pass_ "." #width_, .code = op##_score_##pass_##_##width_,                 \
        .code_bytes = sizeof(op##_score_##pass_##_##width_), .n_buffers = RAPT_SCORE_SLOTS,        \
        .params_bytes = sizeof(rapt_score_vulkan_params)                                           \
    }

/* `tiles_` is the width, or that of the code for software drivers. */
#define RAPT_SCORE_VULKAN_CODE(op, width_, tiles_, features_)                                      \
    {                                                                                              \
        .pass = {                                                                                  \
            RAPT_SCORE_VULKAN_SHADER(op, forward, tiles_, features_),                              \
            RAPT_SCORE_VULKAN_SHADER(op, merge, width_, features_),                                \
            RAPT_SCORE_VULKAN_SHADER(op, weights, tiles_, features_),                              \
            RAPT_SCORE_VULKAN_SHADER(op, delta, width_, features_),                                \
            RAPT_SCORE_VULKAN_SHADER(op, queries, tiles_, features_),                              \
            RAPT_SCORE_VULKAN_SHADER(op, keys, tiles_, features_),                                 \
            RAPT_SCORE_VULKAN_SHADER(op, bias, tiles_, features_),                                 \
            RAPT_SCORE_VULKAN_SHADER(op, sum, width_, features_),                                  \
            RAPT_SCORE_VULKAN_SHADER(op, heads, width_, features_),                                \
            RAPT_SCORE_VULKAN_SHADER(op, borders, width_, features_)                               \
        }                                                                                          \
    }

#define RAPT_SCORE_VULKAN_FUNCTIONS(name)                                                          \
    RAPT_SCORE_VULKAN_DECLARE(name)                                                                \
    static const rapt_score_vulkan_code name##_codes[4] = {                                        \
        RAPT_SCORE_VULKAN_CODE(name, f32, f32, 0),                                                 \
        RAPT_SCORE_VULKAN_CODE(name, half, half, RAPT_VULKAN_STORAGE16),                           \
        RAPT_SCORE_VULKAN_CODE(name, f32, f32_lean, 0),                                            \
        RAPT_SCORE_VULKAN_CODE(name, half, half_lean, RAPT_VULKAN_STORAGE16)};                     \
    rapt_status name##_vulkan_forward(rapt_call *call)                                             \
    {                                                                                              \
        return rapt_score_vulkan_forward(call, name##_codes, NULL);                                \
    }                                                                                              \
    rapt_status name##_vulkan_backward(rapt_call *call)                                            \
    {                                                                                              \
        return rapt_score_vulkan_backward(call, name##_codes, NULL);                               \
    }                                                                                              \
    rapt_status name##_vulkan_weights(rapt_call *call)                                             \
    {                                                                                              \
        return rapt_score_vulkan_weights(call, name##_codes);                                      \
    }                                                                                              \
    rapt_status name##_vulkan_supports(rapt_call *call)                                            \
    {                                                                                              \
        return rapt_score_vulkan_supports(call);                                                   \
    }                                                                                              \
    size_t name##_vulkan_workspace(rapt_call *call)                                                \
    {                                                                                              \
        return rapt_score_vulkan_workspace(call);                                                  \
    }                                                                                              \
    typedef int name##_vulkan_end /* takes the semicolon */

/* --- By cooperative matrices -------------------------------------------------------------------
 */

#define RAPT_SCORE_VULKAN_COOP_DECLARE(name)                                                       \
    rapt_status name##_vulkan_coop_forward(rapt_call *call);                                       \
    rapt_status name##_vulkan_coop_backward(rapt_call *call);                                      \
    rapt_status name##_vulkan_coop_supports(rapt_call *call);

/* A further kernel, which is chosen where it can run: 16 bits, feature counts that are multiples of
 * 16 up to RAPT_SCORE_VULKAN_COOP_FEATURES, no fewer than 64 queries. */
#define RAPT_SCORE_VULKAN_COOP_KERNEL(operator_, keep_)                                            \
    {                                                                                              \
        .size = sizeof(rapt_kernel), .name = "vulkan.coopmat", .device = "vulkan",                 \
        .dtypes = RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16), .priority = 10,            \
        .keep = keep_, .saved = (const rapt_arg[]){RAPT_SCORE_SAVED_HALF}, .n_saved = 3,           \
        .supports = operator_##_vulkan_coop_supports, .workspace = operator_##_vulkan_workspace,   \
        .forward = operator_##_vulkan_coop_forward, .backward = operator_##_vulkan_coop_backward,  \
        .weights = operator_##_vulkan_weights                                                      \
    }

#define RAPT_SCORE_VULKAN_COOP_SHADER(op, pass_, way_, features_, subgroup_)                       \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader),                                                        \
        .features = RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_FLOAT16 | (features_),                     \
        .name = #op "." #pass_ "." #way_, .code = op##_score_##pass_##_##way_,                     \
        .code_bytes = sizeof(op##_score_##pass_##_##way_), .n_buffers = RAPT_SCORE_SLOTS,          \
        .params_bytes = sizeof(rapt_score_vulkan_params), .subgroup = subgroup_                    \
    }

#define RAPT_SCORE_VULKAN_COOP_SHADERS(op, way_, features_, subgroup_)                             \
    {                                                                                              \
        RAPT_SCORE_VULKAN_COOP_SHADER(op, forward, way_, features_, subgroup_),                    \
            RAPT_SCORE_VULKAN_COOP_SHADER(op, queries, way_, features_, subgroup_),                \
            RAPT_SCORE_VULKAN_COOP_SHADER(op, keys, way_, features_, subgroup_)                    \
    }

/* After RAPT_SCORE_VULKAN_FUNCTIONS(name); takes the arrays name_score_PASS_khr, _nv, _emulated. */
#define RAPT_SCORE_VULKAN_COOP_FUNCTIONS(name)                                                     \
    RAPT_SCORE_VULKAN_COOP_DECLARE(name)                                                           \
    static const rapt_score_vulkan_coop name##_coop = {                                            \
        .pass = {RAPT_SCORE_VULKAN_COOP_SHADERS(                                                   \
                     name, khr, RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_COOPMAT_KHR, 32),               \
                 RAPT_SCORE_VULKAN_COOP_SHADERS(                                                   \
                     name, nv, RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_COOPMAT_NV, 32),                 \
                 RAPT_SCORE_VULKAN_COOP_SHADERS(name, emulated, 0, 0)}};                           \
    rapt_status name##_vulkan_coop_forward(rapt_call *call)                                        \
    {                                                                                              \
        return rapt_score_vulkan_forward(call, name##_codes, &name##_coop);                        \
    }                                                                                              \
    rapt_status name##_vulkan_coop_backward(rapt_call *call)                                       \
    {                                                                                              \
        return rapt_score_vulkan_backward(call, name##_codes, &name##_coop);                       \
    }                                                                                              \
    rapt_status name##_vulkan_coop_supports(rapt_call *call)                                       \
    {                                                                                              \
        return rapt_score_vulkan_coop_supports(call);                                              \
    }                                                                                              \
    typedef int name##_vulkan_coop_end /* takes the semicolon */

#endif
