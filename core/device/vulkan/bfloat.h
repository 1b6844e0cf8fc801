/* Shaders of float16 as shaders of bfloat16. */
#ifndef RAPT_DEVICE_VULKAN_BFLOAT_H
#define RAPT_DEVICE_VULKAN_BFLOAT_H

#include "device/vulkan/code.h"

/* The shader's code with bfloat16 for each float16 (SPV_KHR_bfloat16): storage, shared memory,
 * conversions to and from float32, and operands of cooperative matrices. Numbers are rounded to
 * nearest before they are converted, whatever the device does: at most 0.504 units of the last
 * place off, ties to even. float32 constants of -65504 and 65504, float16's ends, become
 * bfloat16's. `result->owned` is to be freed. Errors: RAPT_INVALID, no SPIR-V, or none with 16-bit
 * floats; RAPT_UNSUPPORTED, code that computes with them or compares them, which bfloat16 cannot,
 * converts to them from others than float32, or has constants of them but zeros. */
rapt_status rapt_vk_bfloat_code(const char *shader, const rapt_vk_words *words,
                                rapt_vk_words *result, rapt_error *error);

#endif
