/* The shared memory of a shader. */
#ifndef RAPT_DEVICE_VULKAN_SHARED_H
#define RAPT_DEVICE_VULKAN_SHARED_H

#include "device/vulkan/code.h"

/* Bytes that a compute shader's shared variables take, one after the other in the layout std430,
 * where the specialization constants 0 .. n - 1 are `constants`. Vulkan leaves undefined what a
 * pipeline does that has more of them than the device. False: that is not known, for a size is made
 * by instructions that this does not follow, or the words are no whole SPIR-V, or there is no
 * memory to look. */
bool rapt_vk_shared_bytes(const rapt_vk_words *words, const uint32_t *constants, uint32_t n,
                          uint64_t *bytes);

#endif
