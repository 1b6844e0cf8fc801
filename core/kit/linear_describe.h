/*
 * kit/linear_describe.h - what the descriptions of linear operators share: packed sequences and the
 * recurrent state.
 */
#ifndef RAPT_KIT_LINEAR_DESCRIBE_H
#define RAPT_KIT_LINEAR_DESCRIBE_H

#include <rapt/plugin.h>

/* Borders of packed sequences: batch 1, P - 1 sequences one after the other, each on its own. */
#define RAPT_LINEAR_INPUT_BORDERS                                                                  \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_OPTIONAL, .spec = "cu_seqlens_q: P",               \
        .dtype = "i32|i64", .role = RAPT_ARGUMENT,                                                 \
        .doc = "borders of packed sequences, from 0 to N; the recurrence starts anew at each"      \
    }
#define RAPT_LINEAR_INPUT_STATE(shape)                                                             \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,                    \
        .spec = "state: " shape, .dtype = "f32", .role = RAPT_STATE,                               \
        .doc = "the recurrent state before the first position, one for each sequence; zero if "    \
               "absent"                                                                            \
    }
#define RAPT_LINEAR_OUTPUT_STATE                                                                   \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,                    \
        .spec = "final_state: *", .dtype = "f32", .role = RAPT_STATE,                              \
        .doc = "the recurrent state after the last position"                                       \
    }
#define RAPT_LINEAR_STATES                                                                         \
    {                                                                                              \
        .size = sizeof(rapt_state_arg), .input = "state", .output = "final_state"                  \
    }

/* For an operator with cu_seqlens_q, and with a state of S sequences. */
#define RAPT_LINEAR_WHERE_BORDERS "!given(cu_seqlens_q) || B == 1; !given(cu_seqlens_q) || P >= 1"
#define RAPT_LINEAR_WHERE_STATE                                                                    \
    "!given(state) || given(cu_seqlens_q) || S == B; "                                             \
    "!given(state) || !given(cu_seqlens_q) || S == P - 1"

/* The functions of an operator on both devices, and its kernels made of them; `cpu_supports`: those
 * of the CPU's, or NULL. */
#define RAPT_LINEAR_DECLARE(op)                                                                    \
    rapt_status op##_infer(rapt_call *call, int64_t(*shapes)[RAPT_MAX_DIMS], int32_t *ndims);      \
    rapt_status op##_cpu_forward(rapt_call *call);                                                 \
    rapt_status op##_cpu_backward(rapt_call *call);                                                \
    rapt_status op##_cpu_step(rapt_call *call);                                                    \
    rapt_status op##_vulkan_supports(rapt_call *call);                                             \
    size_t op##_vulkan_workspace(rapt_call *call);                                                 \
    rapt_status op##_vulkan_forward(rapt_call *call);                                              \
    rapt_status op##_vulkan_backward(rapt_call *call);                                             \
    rapt_status op##_vulkan_step(rapt_call *call)
#define RAPT_LINEAR_KERNELS(op, cpu_supports)                                                      \
    {                                                                                              \
        .size = sizeof(rapt_kernel),                                                               \
        .name = "cpu",                                                                             \
        .device = "cpu",                                                                           \
        .dtypes = RAPT_DTYPES_COMPUTE,                                                             \
        .supports = cpu_supports,                                                                  \
        .forward = op##_cpu_forward,                                                               \
        .backward = op##_cpu_backward,                                                             \
        .step = op##_cpu_step,                                                                     \
    },                                                                                             \
    {                                                                                              \
        .size = sizeof(rapt_kernel), .name = "vulkan", .device = "vulkan",                         \
        .dtypes = RAPT_DTYPES_COMPUTE, .supports = op##_vulkan_supports,                           \
        .workspace = op##_vulkan_workspace, .forward = op##_vulkan_forward,                        \
        .backward = op##_vulkan_backward, .step = op##_vulkan_step,                                \
    }
/* One more, by cooperative matrices: kit/linear_vulkan_plan.h. */
#define RAPT_LINEAR_KERNEL_COOP(op)                                                                \
    {                                                                                              \
        .size = sizeof(rapt_kernel), .name = "vulkan.coopmat", .device = "vulkan", .priority = 1,  \
        .dtypes = RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16),                            \
        .supports = op##_vulkan_supports, .workspace = op##_vulkan_workspace,                      \
        .forward = op##_vulkan_forward, .backward = op##_vulkan_backward, .step = op##_vulkan_step \
    }

/* Number of sequences of a call. */
static inline int64_t rapt_linear_count(const rapt_call *call)
{
    return call->sizes['P'] >= 0 ? call->sizes['P'] - 1 : call->sizes['B'];
}
#endif
