/* The shaders of agent: their code and what it takes. The push constants mirror those of the GLSL.
 */
#ifndef RAPT_AGENT_VULKAN_SHADERS_H
#define RAPT_AGENT_VULKAN_SHADERS_H

#include "kit/product_vulkan.h"

#include "agent_attend_coop_gather_emulated.h"
#include "agent_attend_coop_gather_khr.h"
#include "agent_attend_coop_gather_nv.h"
#include "agent_attend_coop_hand_out_emulated.h"
#include "agent_attend_coop_hand_out_khr.h"
#include "agent_attend_coop_hand_out_nv.h"
#include "agent_attend_gather_f32.h"
#include "agent_attend_gather_f32_lean.h"
#include "agent_attend_gather_half.h"
#include "agent_attend_gather_half_lean.h"
#include "agent_attend_hand_out_f32.h"
#include "agent_attend_hand_out_f32_lean.h"
#include "agent_attend_hand_out_half.h"
#include "agent_attend_hand_out_half_lean.h"
#include "agent_back_coop_emulated.h"
#include "agent_back_coop_khr.h"
#include "agent_bias_grad.h"
#include "agent_borders.h"
#include "agent_columns_coop_emulated.h"
#include "agent_columns_coop_khr.h"
#include "agent_columns_coop_nv.h"
#include "agent_columns_f32.h"
#include "agent_columns_f32_lean.h"
#include "agent_columns_half.h"
#include "agent_columns_half_lean.h"
#include "agent_convolve_f32.h"
#include "agent_convolve_half.h"
#include "agent_delta.h"
#include "agent_dot.h"
#include "agent_gathered.h"
#include "agent_kernel_f32.h"
#include "agent_kernel_grad_f32.h"
#include "agent_kernel_grad_half.h"
#include "agent_kernel_half.h"
#include "agent_kernel_sum_f32.h"
#include "agent_kernel_sum_half.h"
#include "agent_load_f32.h"
#include "agent_load_half.h"
#include "agent_moved_coop_emulated.h"
#include "agent_moved_coop_khr.h"
#include "agent_pool_f32.h"
#include "agent_pool_half.h"
#include "agent_product_coop_emulated.h"
#include "agent_product_coop_khr.h"
#include "agent_product_coop_nv.h"
#include "agent_product_f32.h"
#include "agent_product_f32_lean.h"
#include "agent_product_half.h"
#include "agent_product_half_lean.h"
#include "agent_rows_coop_emulated.h"
#include "agent_rows_coop_khr.h"
#include "agent_rows_coop_nv.h"
#include "agent_rows_f32.h"
#include "agent_rows_f32_lean.h"
#include "agent_rows_half.h"
#include "agent_rows_half_lean.h"
#include "agent_scale.h"
#include "agent_sink_grad.h"
#include "agent_slopes_coop_emulated.h"
#include "agent_slopes_coop_khr.h"
#include "agent_store_f32.h"
#include "agent_store_half.h"
#include "agent_sum.h"
#include "agent_unpool_f32.h"
#include "agent_unpool_half.h"
#include "agent_weigh.h"

/* CHUNK_FIELDS, WEIGHT_FIELDS, BIAS_FIELDS */
typedef struct agent_chunk_push {
    uint32_t heads, agents, unit0, positions, first, count, sequences, borders_at;
} agent_chunk_push;

typedef struct agent_weight_push {
    uint32_t most, total;
    float bend;
} agent_weight_push;

typedef struct agent_stats_push {
    uint32_t most, total;
} agent_stats_push;

typedef struct agent_bias_push {
    uint32_t base, head, row, column;
} agent_bias_push;

typedef struct agent_bins_push {
    uint32_t grid_y, grid_x, bins_y, bins_x;
} agent_bins_push;

typedef struct agent_pool_push {
    uint32_t heads, width;
    agent_bins_push bins;
    rapt_vulkan_rows_push q;
    uint32_t to_base;
} agent_pool_push;

typedef struct agent_load_push {
    uint32_t heads, size, width;
    rapt_vulkan_rows_push from;
} agent_load_push;

typedef struct agent_store_push {
    uint32_t size, to_base;
} agent_store_push;

typedef struct agent_attend_push {
    uint32_t heads, units, rows, keys, width, values;
    rapt_vulkan_rows_push q, k, v, o;
    agent_bias_push bias;
    uint32_t split_keys; /* packed: the splits; handing out: where the sink begins */
    agent_stats_push stats;
    float scale, softcap;
    uint32_t wide; /* of attend_coop.comp alone */
} agent_attend_push;

/* agent_attend_push.wide */
enum { AGENT_WIDE_Q = 1, AGENT_WIDE_K = 2, AGENT_WIDE_V = 4, AGENT_WIDE_O = 8 };

typedef struct agent_gathered_push {
    uint32_t units, agents, values, splits, u_base;
    agent_stats_push stats;
} agent_gathered_push;

typedef struct agent_product_push {
    agent_chunk_push chunk;
    uint32_t width, left_base;
    rapt_vulkan_rows_push right;
    agent_bias_push bias;
    float scale, softcap;
    uint32_t left_sets;
} agent_product_push;

typedef struct agent_rows_push {
    agent_chunk_push chunk;
    agent_weight_push stats;
    uint32_t width;
    rapt_vulkan_rows_push right;
    uint32_t units, splits, split_positions;
} agent_rows_push;

typedef struct agent_columns_push {
    agent_chunk_push chunk;
    agent_weight_push stats;
    uint32_t width, right_base;
    rapt_vulkan_rows_push to;
    float scale;
    uint32_t right_sets;
} agent_columns_push;

typedef struct agent_back_push {
    uint32_t heads, agents, positions, width, values;
    rapt_vulkan_rows_push x, y, to, value;
    uint32_t a_base, w_base;
    agent_stats_push stats;
    uint32_t first; /* of the parts of `moved`, or of the units */
    float scale, softcap;
    uint32_t flags;
} agent_back_push;

/* agent_back_push.flags */
enum {
    AGENT_BACK_WIDE_X = 1,
    AGENT_BACK_WIDE_Y = 2,
    AGENT_BACK_WIDE_TO = 4,
    AGENT_BACK_WIDE_VALUE = 8,
    AGENT_BACK_TO = 16,
    AGENT_BACK_VALUE = 32 /* handing out: delta */
};

typedef struct agent_moved_push {
    uint32_t heads, agents, positions, width;
    rapt_vulkan_rows_push x;
    uint32_t units, unit0, part0;
    float scale;
    uint32_t flags;
} agent_moved_push;

typedef struct agent_sum_push {
    uint32_t size, splits, to_at;
    float scale;
} agent_sum_push;

typedef struct agent_delta_push {
    agent_chunk_push chunk;
    agent_weight_push stats;
    uint32_t groups;
} agent_delta_push;

typedef struct agent_scale_push {
    uint32_t count, base, unit0;
} agent_scale_push;

typedef struct agent_dot_push {
    uint32_t width, u_base;
} agent_dot_push;

typedef struct agent_bias_grad_push {
    agent_chunk_push chunk;
    agent_weight_push stats;
    uint32_t units;
} agent_bias_grad_push;

typedef struct agent_unpool_push {
    uint32_t heads, width;
    agent_bins_push bins;
    rapt_vulkan_rows_push to;
    uint32_t sequences;
} agent_unpool_push;

/* Of q, then of k. */
typedef struct agent_borders_push {
    uint32_t given, sequences;
    struct {
        uint32_t base, row, wide, count;
    } of[2];
} agent_borders_push;

typedef struct agent_weigh_push {
    uint32_t heads, agents, positions, sequences, borders_at;
} agent_weigh_push;

typedef struct agent_sink_grad_push {
    uint32_t heads, batches, positions, slot_rows, sink_base;
    agent_stats_push stats;
} agent_sink_grad_push;

typedef struct agent_convolve_push {
    uint32_t heads, width;
    int32_t grid_y, grid_x, taps;
    uint32_t has_bias;
    rapt_vulkan_rows_push from, to;
    uint32_t add_base;
} agent_convolve_push;

typedef struct agent_kernel_push {
    uint32_t channels, taps, first, count, base, stride_channel, stride_y, stride_x;
} agent_kernel_push;

typedef struct agent_kernel_grad_push {
    uint32_t heads, batches, width;
    int32_t grid_y, grid_x, taps;
    uint32_t slots;
    rapt_vulkan_rows_push from, grad;
} agent_kernel_grad_push;

typedef struct agent_kernel_sum_push {
    uint32_t channels, taps, first, count, slots, to_base;
} agent_kernel_sum_push;

#define AGENT_SHADER(kernel, push, buffers, needs)                                                 \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = needs, .name = "agent." #kernel,           \
        .code = agent_##kernel, .code_bytes = sizeof agent_##kernel, .n_buffers = buffers,         \
        .push_bytes = sizeof(push)                                                                 \
    }
/* For float32 elements and for 16 bits. */
#define AGENT_SHADERS(kernel, push, buffers)                                                       \
    {                                                                                              \
        AGENT_SHADER(kernel##_f32, push, buffers, 0),                                              \
            AGENT_SHADER(kernel##_half, push, buffers, RAPT_VULKAN_STORAGE16)                      \
    }

#define AGENT_PRODUCTS(kernel, push, buffers)                                                      \
    RAPT_PRODUCT_TABLE("agent", agent, kernel, push, buffers)
#define AGENT_COOP_SHADERS(kernel, push, buffers)                                                  \
    RAPT_PRODUCT_COOP_TABLE("agent", agent, kernel, push, buffers)
/* By way, without NV's. */
#define AGENT_FUSED_SHADERS(kernel, push, buffers)                                                 \
    {                                                                                              \
        [RAPT_VULKAN_BY_KHR] = RAPT_PRODUCT_SHADER(                                                \
            "agent", agent, kernel##_khr, push, buffers,                                           \
            RAPT_PRODUCT_NEEDS | RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_COOPMAT_KHR, 32),              \
        [RAPT_VULKAN_EMULATED] = RAPT_PRODUCT_SHADER("agent", agent, kernel##_emulated, push,      \
                                                     buffers, RAPT_PRODUCT_NEEDS, 0)               \
    }

static const rapt_vulkan_shader pool_shader[2] = AGENT_SHADERS(pool, agent_pool_push, 3);
static const rapt_vulkan_shader load_shader[2] = AGENT_SHADERS(load, agent_load_push, 2);
static const rapt_vulkan_shader store_shader[2] = AGENT_SHADERS(store, agent_store_push, 2);
static const rapt_vulkan_shader gather_shader[4] =
    AGENT_PRODUCTS(attend_gather, agent_attend_push, 11);
static const rapt_vulkan_shader hand_out_shader[4] =
    AGENT_PRODUCTS(attend_hand_out, agent_attend_push, 11);
static const rapt_vulkan_shader gathered_shader = AGENT_SHADER(gathered, agent_gathered_push, 6, 0);
static const rapt_vulkan_shader product_shader[4] = AGENT_PRODUCTS(product, agent_product_push, 7);
static const rapt_vulkan_shader rows_shader[4] = AGENT_PRODUCTS(rows, agent_rows_push, 11);
static const rapt_vulkan_shader columns_shader[4] = AGENT_PRODUCTS(columns, agent_columns_push, 11);
static const rapt_vulkan_shader sum_shader = AGENT_SHADER(sum, agent_sum_push, 2, 0);
static const rapt_vulkan_shader delta_shader = AGENT_SHADER(delta, agent_delta_push, 6, 0);
static const rapt_vulkan_shader scale_shader = AGENT_SHADER(scale, agent_scale_push, 2, 0);
static const rapt_vulkan_shader dot_shader = AGENT_SHADER(dot, agent_dot_push, 3, 0);
static const rapt_vulkan_shader bias_grad_shader =
    AGENT_SHADER(bias_grad, agent_bias_grad_push, 7, 0);
static const rapt_vulkan_shader unpool_shader[2] = AGENT_SHADERS(unpool, agent_unpool_push, 4);
static const rapt_vulkan_shader borders_shader = AGENT_SHADER(borders, agent_borders_push, 3, 0);
static const rapt_vulkan_shader weigh_shader = AGENT_SHADER(weigh, agent_weigh_push, 2, 0);
static const rapt_vulkan_shader sink_grad_shader =
    AGENT_SHADER(sink_grad, agent_sink_grad_push, 5, 0);
static const rapt_vulkan_shader convolve_shader[2] =
    AGENT_SHADERS(convolve, agent_convolve_push, 4);
static const rapt_vulkan_shader kernel_shader[2] = AGENT_SHADERS(kernel, agent_kernel_push, 2);
static const rapt_vulkan_shader kernel_grad_shader[2] =
    AGENT_SHADERS(kernel_grad, agent_kernel_grad_push, 3);
static const rapt_vulkan_shader kernel_sum_shader[2] =
    AGENT_SHADERS(kernel_sum, agent_kernel_sum_push, 2);

static const rapt_vulkan_shader gather_coop_shader[RAPT_VULKAN_WAYS] =
    AGENT_COOP_SHADERS(attend_coop_gather, agent_attend_push, 11);
static const rapt_vulkan_shader hand_out_coop_shader[RAPT_VULKAN_WAYS] =
    AGENT_COOP_SHADERS(attend_coop_hand_out, agent_attend_push, 11);

/* Backward without matrices in float32: of the ways that agent_passes takes. */
static const rapt_vulkan_shader back_shader[RAPT_VULKAN_WAYS] =
    AGENT_FUSED_SHADERS(back_coop, agent_back_push, 11);
static const rapt_vulkan_shader slopes_shader[RAPT_VULKAN_WAYS] =
    AGENT_FUSED_SHADERS(slopes_coop, agent_back_push, 13);
static const rapt_vulkan_shader moved_shader[RAPT_VULKAN_WAYS] =
    AGENT_FUSED_SHADERS(moved_coop, agent_moved_push, 5);

static const rapt_vulkan_shader product_coop_shader[RAPT_VULKAN_WAYS] =
    AGENT_COOP_SHADERS(product_coop, agent_product_push, 7);
static const rapt_vulkan_shader rows_coop_shader[RAPT_VULKAN_WAYS] =
    AGENT_COOP_SHADERS(rows_coop, agent_rows_push, 11);
static const rapt_vulkan_shader columns_coop_shader[RAPT_VULKAN_WAYS] =
    AGENT_COOP_SHADERS(columns_coop, agent_columns_push, 11);

#endif
