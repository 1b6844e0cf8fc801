/* Grids of more workgroups than a device counts to. */
#ifndef RAPT_DEVICE_VULKAN_PART_H
#define RAPT_DEVICE_VULKAN_PART_H

#include "device/vulkan/code.h"

/* A part of a grid: the workgroup it begins at, and how many workgroups the whole has. */
typedef struct rapt_vk_part {
    uint32_t base[3], whole[3];
} rapt_vk_part;

/* The shader's code as one part of a grid runs it: gl_WorkGroupID and gl_GlobalInvocationID count
 * from where the part begins, gl_NumWorkGroups is the whole grid's. (Vulkan begins a grid at 0; a
 * base of vkCmdDispatchBase may lie no farther than the device counts.) `part->owned` is to be
 * freed. Errors: RAPT_INVALID, no SPIR-V; RAPT_UNSUPPORTED, code that hands these numbers on by
 * reference or indexes them by what is no constant. */
rapt_status rapt_vk_part_code(const char *shader, const rapt_vk_words *words,
                              const rapt_vk_part *part, rapt_vk_words *result, rapt_error *error);

#endif
