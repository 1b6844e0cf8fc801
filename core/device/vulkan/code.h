/* SPIR-V as shaders carry it. */
#ifndef RAPT_DEVICE_VULKAN_CODE_H
#define RAPT_DEVICE_VULKAN_CODE_H

#include <rapt/plugin.h>
#include <rapt/rapt.h>

/* A shader's SPIR-V: what it points to, or what that inflates to (RFC 1950). `owned` is to be
 * freed, NULL where nothing was inflated. */
typedef struct rapt_vk_words {
    const uint32_t *code;
    size_t bytes;
    void *owned;
} rapt_vk_words;

/* RAPT_INVALID: neither SPIR-V nor a whole deflated module of it. */
rapt_status rapt_vk_unpack(const rapt_vulkan_shader *shader, rapt_vk_words *words,
                           rapt_error *error);

#endif
