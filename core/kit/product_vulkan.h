/*
 * kit/product_vulkan.h - what plugins whose shaders are built on shaders/kit/product.glsl share:
 * the ways in which a product of tiles is made, and the tables of shaders by way.
 *
 *     plain          float32; for the software driver with loops that stay loops (lean)
 *     cooperative    16-bit operands and float32 sums, in the kernel "vulkan.coopmat"
 */
#ifndef RAPT_KIT_PRODUCT_VULKAN_H
#define RAPT_KIT_PRODUCT_VULKAN_H

#include "vulkan.h"

/* In place of RAPT_VULKAN_BY_*, the positions in a table of cooperative shaders. */
enum { RAPT_PRODUCT_PLAIN = -1 };

/* That of the call's kernel. */
static inline int rapt_product_way(const rapt_vulkan *device)
{
    return strcmp(device->call->kernel->name, "vulkan.coopmat") == 0 ? rapt_vulkan_coop_way(device)
                                                                     : RAPT_PRODUCT_PLAIN;
}

/* The shader of a product. `plain` has four: float32, 16 bits, and both again, lean. */
static inline const rapt_vulkan_shader *rapt_product_shader(int way, const rapt_vulkan_shader *coop,
                                                            const rapt_vulkan_shader *plain,
                                                            uint32_t half,
                                                            const rapt_vulkan_limits *limits)
{
    if (way != RAPT_PRODUCT_PLAIN)
        return &coop[way];
    return &plain[half + (limits->vendor == RAPT_VULKAN_SOFTWARE ? 2u : 0u)];
}

/* A shader from the array PREFIX_KERNEL, called TITLE.KERNEL. */
#define RAPT_PRODUCT_SHADER(title, prefix, kernel, push, buffers, needs, lanes)                    \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = (needs), .name = title "." #kernel,        \
        .code = prefix##_##kernel, .code_bytes = sizeof prefix##_##kernel, .n_buffers = (buffers), \
        .push_bytes = sizeof(push), .subgroup = (lanes)                                            \
    }

/* Tables of RAPT_VULKAN_WAYS and of four. */
#define RAPT_PRODUCT_COOP_TABLE(title, prefix, kernel, push, buffers)                              \
    {                                                                                              \
        RAPT_PRODUCT_SHADER(title, prefix, kernel##_khr, push, buffers,                            \
                            RAPT_PRODUCT_NEEDS | RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_COOPMAT_KHR,   \
                            32),                                                                   \
            RAPT_PRODUCT_SHADER(                                                                   \
                title, prefix, kernel##_nv, push, buffers,                                         \
                RAPT_PRODUCT_NEEDS | RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_COOPMAT_NV, 32),           \
            RAPT_PRODUCT_SHADER(title, prefix, kernel##_emulated, push, buffers,                   \
                                RAPT_PRODUCT_NEEDS, 0)                                             \
    }
#define RAPT_PRODUCT_NEEDS (RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_FLOAT16)

#define RAPT_PRODUCT_TABLE(title, prefix, kernel, push, buffers)                                   \
    {                                                                                              \
        RAPT_PRODUCT_SHADER(title, prefix, kernel##_f32, push, buffers, 0, 0),                     \
            RAPT_PRODUCT_SHADER(title, prefix, kernel##_half, push, buffers,                       \
                                RAPT_VULKAN_STORAGE16, 0),                                         \
            RAPT_PRODUCT_SHADER(title, prefix, kernel##_f32_lean, push, buffers, 0, 0),            \
            RAPT_PRODUCT_SHADER(title, prefix, kernel##_half_lean, push, buffers,                  \
                                RAPT_VULKAN_STORAGE16, 0)                                          \
    }

/* Whether the device can do what the kernel "vulkan.coopmat" needs: for its `supports`. */
static inline rapt_status rapt_product_require_coop(rapt_call *call)
{
    rapt_vulkan device;
    const rapt_status status = rapt_vulkan_begin(call, &device);
    return status == RAPT_OK ? rapt_vulkan_require_coop(&device) : status;
}

#endif
