/*
 * The built-in operators on Vulkan devices: what their descriptions and the maps and folds of
 * common.h call. All functions: [call]. They record dispatches and return.
 */
#ifndef RAPT_OPS_VULKAN_KERNELS_H
#define RAPT_OPS_VULKAN_KERNELS_H

#include "ops/walk.h"

struct rapt_fold;
struct rapt_product;

/* Whether the call's kernel is one of a Vulkan device. */
static inline bool rapt_on_vulkan(const rapt_call *call)
{
    return call->kernel->device[0] == 'v';
}

/* For kernels: every input has an element type that the device holds, and fits one binding. */
rapt_status rapt_vulkan_supports(rapt_call *call);
/* For kernels that only move elements: float64 needs no arithmetic then. */
rapt_status rapt_vulkan_supports_copy(rapt_call *call);

/* What rapt_map and rapt_fold_run do on the device. `op` is a loop's number or one of opcodes.glsl
 * beyond them. */
rapt_status rapt_vulkan_map(rapt_call *call, const rapt_walk *walk, int op, double a, double b);
rapt_status rapt_vulkan_fold(rapt_call *call, const struct rapt_fold *fold);
/* Bytes of workspace for any one fold over tensors of the call's sizes. */
size_t rapt_vulkan_fold_workspace(rapt_call *call);

/* C = A B, over a product that is simplified and not empty (product.h). */
rapt_status rapt_vulkan_product(rapt_call *call, const struct rapt_product *product);
/* Of the kernel "vulkan.coopmat": the device has cooperative matrices. */
rapt_status rapt_vulkan_supports_coop(rapt_call *call);
size_t rapt_vulkan_product_workspace(const struct rapt_product *product);

/* Every element is `value`. */
rapt_status rapt_vulkan_fill(rapt_call *call, const rapt_view *target, double value);
/* target = source, bit by bit: the same shape and dtype, any strides. */
rapt_status rapt_vulkan_copy(rapt_call *call, const rapt_view *source, const rapt_view *target);

/* Forward and backward of operators whose CPU kernels are not made of maps and folds. */
#define RAPT_VULKAN_PAIR(name)                                                                     \
    rapt_status rapt_vulkan_##name##_forward(rapt_call *call);                                     \
    rapt_status rapt_vulkan_##name##_backward(rapt_call *call);
RAPT_VULKAN_PAIR(softmax)
RAPT_VULKAN_PAIR(log_softmax)
RAPT_VULKAN_PAIR(rms_norm)
RAPT_VULKAN_PAIR(layer_norm)
RAPT_VULKAN_PAIR(cross_entropy)
RAPT_VULKAN_PAIR(merge)
RAPT_VULKAN_PAIR(cumsum)
RAPT_VULKAN_PAIR(embedding)
RAPT_VULKAN_PAIR(cat)
RAPT_VULKAN_PAIR(dropout)
RAPT_VULKAN_PAIR(rope)
#undef RAPT_VULKAN_PAIR
rapt_status rapt_vulkan_argmax_forward(rapt_call *call);
rapt_status rapt_vulkan_extreme_backward(rapt_call *call, uint32_t reduced, bool largest);
rapt_status rapt_vulkan_norm2_backward(rapt_call *call);
rapt_status rapt_vulkan_adamw_forward(rapt_call *call);
size_t rapt_vulkan_cross_entropy_workspace(rapt_call *call);
size_t rapt_vulkan_embedding_workspace(rapt_call *call);

#endif
