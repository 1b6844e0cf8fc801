/*
 * What the host's side of the shaders of shaders/core shares: their parameters, and walks and lines
 * as they read them.
 */
#ifndef RAPT_OPS_VULKAN_SPACE_H
#define RAPT_OPS_VULKAN_SPACE_H

#include "kit/vulkan.h"
#include "ops/common.h"

#define RAPT_VKOP_LANES    128 /* invocations of a workgroup */
#define RAPT_VKOP_OPERANDS 5

/* Space of space.glsl: an ended walk. */
typedef struct rapt_vkop_space {
    uint32_t ndim, count;
    uint32_t size[RAPT_MAX_DIMS], magic[RAPT_MAX_DIMS], shift[RAPT_MAX_DIMS];
    uint32_t stride[RAPT_VKOP_OPERANDS][RAPT_MAX_DIMS];
} rapt_vkop_space;

/* A walk whose operands' offsets and number of indices fit 32 bits; else the error is given. */
rapt_status rapt_vkop_space_set(rapt_call *call, rapt_vkop_space *space, const rapt_walk *walk);

/* For n / size as `divide` of space.glsl computes it; 0, 0 for a size of 1. */
void rapt_vkop_divisor(uint32_t size, uint32_t *magic, uint32_t *shift);

/* Team of team.glsl: lines of `length`; `along` where neighbours of a line lie together. */
typedef struct rapt_vkop_team {
    uint32_t log_team, along;
} rapt_vkop_team;

rapt_vkop_team rapt_vkop_team_for(int64_t lines, int64_t length, bool along);
static inline uint32_t rapt_vkop_team_groups(rapt_vkop_team team, int64_t lines)
{
    return rapt_vulkan_groups(lines, RAPT_VKOP_LANES >> team.log_team);
}

/* Lines of lines.glsl: all elements along one dimension, one line for each index of the others. */
typedef struct rapt_vkop_lines {
    rapt_vkop_space outer;
    uint32_t length;
    uint32_t along[RAPT_VKOP_OPERANDS]; /* elements between neighbours of a line */
    uint32_t base[RAPT_VKOP_OPERANDS];
    rapt_vkop_team team;
} rapt_vkop_lines;

/* From a walk that is begun and filled, not ended; base is left to rapt_vkop_bind. */
rapt_status rapt_vkop_lines_set(rapt_call *call, rapt_vkop_lines *lines, const rapt_walk *walk,
                                int32_t dim);

/* A view as a binding; ranges of small elements end on a word. */
rapt_status rapt_vkop_bind(const rapt_vulkan *device, const rapt_view *view,
                           rapt_vulkan_buffer *buffer, uint32_t *base);
/* The operands of a walk, in order. */
rapt_status rapt_vkop_bind_walk(const rapt_vulkan *device, const rapt_walk *walk,
                                rapt_vulkan_buffer *buffers, uint32_t *base);

/* A view of `n` elements of the call's workspace from byte `offset` on; shape and stride are the
 * caller's arrays of one entry. */
rapt_view rapt_vkop_room(const rapt_call *call, uint64_t offset, rapt_dtype dtype, int64_t *n,
                         int64_t *stride);

/* fold->out = fold->scale * the sum of `pieces` rows of results in `partial`, kept in their order.
 */
rapt_status rapt_vkop_add_pieces(rapt_call *call, const rapt_fold *fold, const rapt_view *partial,
                                 int64_t pieces, int64_t results);

/* A number as a shader of this element type reads it: NUMBER of operand.glsl. */
void rapt_vkop_number(double value, bool wide, uint32_t words[2]);

static inline bool rapt_vkop_half(rapt_dtype dtype)
{
    return dtype == RAPT_F16 || dtype == RAPT_BF16;
}

/* One shader for float32 and one that knows 16-bit elements too. */
typedef struct rapt_vkop_pair {
    const rapt_vulkan_shader *single, *half;
} rapt_vkop_pair;

static inline const rapt_vulkan_shader *rapt_vkop_pick(const rapt_vkop_pair *pair, bool half)
{
    return half ? pair->half : pair->single;
}

#define RAPT_VKOP_SHADER(label, array, needs, buffers, block)                                      \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = (needs), .name = (label), .code = (array), \
        .code_bytes = sizeof(array), .n_buffers = (buffers), .params_bytes = sizeof(block)         \
    }
/* `name`_shaders: the pair made of core_`name`_f32 and core_`name`_half. */
#define RAPT_VKOP_PAIR(name, buffers, block)                                                       \
    static const rapt_vulkan_shader name##_single =                                                \
        RAPT_VKOP_SHADER("core." #name, core_##name##_f32, 0, buffers, block);                     \
    static const rapt_vulkan_shader name##_half = RAPT_VKOP_SHADER(                                \
        "core." #name ".half", core_##name##_half, RAPT_VULKAN_STORAGE16, buffers, block);         \
    static const rapt_vkop_pair name##_shaders = {&name##_single, &name##_half};

#endif
