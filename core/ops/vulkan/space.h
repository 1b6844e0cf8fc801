/*
 * What the host's side of the shaders of shaders/core shares: their parameters, and walks and lines
 * as they read them.
 */
#ifndef RAPT_OPS_VULKAN_SPACE_H
#define RAPT_OPS_VULKAN_SPACE_H

#include "kit/vulkan.h"
#include "ops/common.h"

#define RAPT_VK_LANES    128 /* invocations of a workgroup */
#define RAPT_VK_OPERANDS 5

/* Space of space.glsl: an ended walk. */
typedef struct rapt_vk_space {
    uint32_t ndim, count;
    uint32_t size[RAPT_MAX_DIMS], magic[RAPT_MAX_DIMS], shift[RAPT_MAX_DIMS];
    uint32_t stride[RAPT_VK_OPERANDS][RAPT_MAX_DIMS];
} rapt_vk_space;

/* A walk whose operands' offsets and number of indices fit 32 bits; else the error is given. */
rapt_status rapt_vk_space_set(rapt_call *call, rapt_vk_space *space, const rapt_walk *walk);

/* For n / size as `divide` of space.glsl computes it; 0, 0 for a size of 1. */
void rapt_vk_divisor(uint32_t size, uint32_t *magic, uint32_t *shift);

/* Team of team.glsl: lines of `length`; `along` where neighbours of a line lie together. */
typedef struct rapt_vk_team {
    uint32_t log_team, along;
} rapt_vk_team;

rapt_vk_team rapt_vk_team_for(int64_t lines, int64_t length, bool along);
static inline uint32_t rapt_vk_team_groups(rapt_vk_team team, int64_t lines)
{
    return rapt_vulkan_groups(lines, RAPT_VK_LANES >> team.log_team);
}

/* Lines of lines.glsl: all elements along one dimension, one line for each index of the others. */
typedef struct rapt_vk_lines {
    rapt_vk_space outer;
    uint32_t length;
    uint32_t along[RAPT_VK_OPERANDS]; /* elements between neighbours of a line */
    uint32_t base[RAPT_VK_OPERANDS];
    rapt_vk_team team;
} rapt_vk_lines;

/* From a walk that is begun and filled, not ended; base is left to rapt_vk_bind. */
rapt_status rapt_vk_lines_set(rapt_call *call, rapt_vk_lines *lines, const rapt_walk *walk,
                              int32_t dim);

/* A view as a binding; ranges of small elements end on a word. */
rapt_status rapt_vk_bind(const rapt_vulkan *device, const rapt_view *view,
                         rapt_vulkan_buffer *buffer, uint32_t *base);
/* The operands of a walk, in order. */
rapt_status rapt_vk_bind_walk(const rapt_vulkan *device, const rapt_walk *walk,
                              rapt_vulkan_buffer *buffers, uint32_t *base);

/* A view of `n` elements of the call's workspace from byte `offset` on; shape and stride are the
 * caller's arrays of one entry. */
rapt_view rapt_vk_room(const rapt_call *call, uint64_t offset, rapt_dtype dtype, int64_t *n,
                       int64_t *stride);

/* fold->out = fold->scale * the sum of `pieces` rows of results in `partial`, kept in their order.
 */
rapt_status rapt_vk_add_pieces(rapt_call *call, const rapt_fold *fold, const rapt_view *partial,
                               int64_t pieces, int64_t results);

/* A number as a shader of this element type reads it: NUMBER of operand.glsl. */
void rapt_vk_number(double value, bool wide, uint32_t words[2]);

static inline bool rapt_vk_half(rapt_dtype dtype)
{
    return dtype == RAPT_F16 || dtype == RAPT_BF16;
}

/* One shader for float32 and one that knows 16-bit elements too. */
typedef struct rapt_vk_pair {
    const rapt_vulkan_shader *single, *half;
} rapt_vk_pair;

static inline const rapt_vulkan_shader *rapt_vk_pick(const rapt_vk_pair *pair, bool half)
{
    return half ? pair->half : pair->single;
}

#define RAPT_VK_SHADER(label, array, needs, buffers, block)                                        \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = (needs), .name = (label), .code = (array), \
        .code_bytes = sizeof(array), .n_buffers = (buffers), .params_bytes = sizeof(block)         \
    }
/* `name`_shaders: the pair made of core_`name`_f32 and core_`name`_half. */
#define RAPT_VK_PAIR(name, buffers, block)                                                         \
    static const rapt_vulkan_shader name##_single =                                                \
        RAPT_VK_SHADER("core." #name, core_##name##_f32, 0, buffers, block);                       \
    static const rapt_vulkan_shader name##_half = RAPT_VK_SHADER(                                  \
        "core." #name ".half", core_##name##_half, RAPT_VULKAN_STORAGE16, buffers, block);         \
    static const rapt_vk_pair name##_shaders = {&name##_single, &name##_half};

#endif
