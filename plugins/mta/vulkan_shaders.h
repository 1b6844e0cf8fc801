/* The shaders of mta: their code and what it takes. The push constants mirror those of the GLSL. */
#ifndef RAPT_MTA_VULKAN_SHADERS_H
#define RAPT_MTA_VULKAN_SHADERS_H

#include "kit/product_vulkan.h"

#include "mta_bias_back.h"
#include "mta_columns_coop_emulated.h"
#include "mta_columns_coop_khr.h"
#include "mta_columns_coop_nv.h"
#include "mta_columns_f32.h"
#include "mta_columns_f32_lean.h"
#include "mta_columns_half.h"
#include "mta_columns_half_lean.h"
#include "mta_convolve.h"
#include "mta_correlate.h"
#include "mta_gather_f32.h"
#include "mta_gather_half.h"
#include "mta_load_f32.h"
#include "mta_load_half.h"
#include "mta_merge_f32.h"
#include "mta_merge_half.h"
#include "mta_mix_grad.h"
#include "mta_product_coop_emulated.h"
#include "mta_product_coop_khr.h"
#include "mta_product_coop_nv.h"
#include "mta_product_f32.h"
#include "mta_product_f32_lean.h"
#include "mta_product_half.h"
#include "mta_product_half_lean.h"
#include "mta_reduce_f32.h"
#include "mta_reduce_half.h"
#include "mta_rows_coop_emulated.h"
#include "mta_rows_coop_khr.h"
#include "mta_rows_coop_nv.h"
#include "mta_rows_f32.h"
#include "mta_rows_f32_lean.h"
#include "mta_rows_half.h"
#include "mta_rows_half_lean.h"
#include "mta_sees.h"
#include "mta_shape_back.h"
#include "mta_softmax_back.h"
#include "mta_stats.h"
#include "mta_weights.h"

/* STRIPE_FIELDS */
typedef struct mta_stripe_push {
    uint32_t heads, mixed, unit0, height, ld, keys;
    int32_t open;
} mta_stripe_push;

/* What shapes scores. */
typedef struct mta_shape_push {
    rapt_vulkan_rows_push bias;
    uint32_t bias_key, alibi_base;
    int32_t offset;
    float softcap;
} mta_shape_push;

typedef struct mta_product_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows, width;
    rapt_vulkan_rows_push left, right;
    uint32_t readers;
    float factor;
    mta_shape_push shape;
} mta_product_push;

typedef struct mta_rows_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows;
    int32_t own;
    uint32_t count, width;
    rapt_vulkan_rows_push right;
    uint32_t readers, units, splits, split_keys;
} mta_rows_push;

typedef struct mta_columns_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows;
    int32_t own;
    uint32_t count, width;
    rapt_vulkan_rows_push right;
} mta_columns_push;

typedef struct mta_convolve_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows;
    int32_t own;
    uint32_t count, na, nb, half_keys, flip;
    int32_t up;
} mta_convolve_push;

typedef struct mta_stats_push {
    mta_stripe_push stripe;
    int32_t first, own;
    uint32_t count, sink_base;
    rapt_vulkan_rows_push lse;
    int32_t lse_first;
} mta_stats_push;

typedef struct mta_softmax_back_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows;
    int32_t own, grad_first;
    uint32_t count, slots;
} mta_softmax_back_push;

typedef struct mta_sees_push {
    uint32_t queries, keys;
    int32_t left, right;
    uint32_t borders, clean, base_q, step_q, wide_q, base_k, step_k, wide_k;
} mta_sees_push;

typedef struct mta_shape_back_push {
    mta_stripe_push stripe;
    int32_t first, own;
    uint32_t count, slots, slot_keys, stripe_slots, alibi_base;
    int32_t offset;
    float softcap;
} mta_shape_back_push;

typedef struct mta_bias_back_push {
    mta_stripe_push stripe;
    int32_t own;
    uint32_t count, units, batches, bias[4], row_slots, key_slots, slot_keys;
} mta_bias_back_push;

typedef struct mta_correlate_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows;
    int32_t own;
    uint32_t count;
    int32_t grad_first;
    uint32_t na, nb, half_keys, slots, slot_keys, stripe_slots;
} mta_correlate_push;

typedef struct mta_mix_grad_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows;
    int32_t own;
    uint32_t count;
    int32_t grad_first;
    uint32_t slots, slot_keys, stripe_slots;
} mta_mix_grad_push;

typedef struct mta_weights_push {
    mta_stripe_push stripe;
    int32_t first;
    uint32_t rows;
    int32_t own;
    uint32_t to_base, queries;
} mta_weights_push;

typedef struct mta_reduce_push {
    uint32_t heads, batches, slots, size, to_base;
} mta_reduce_push;

typedef struct mta_load_push {
    uint32_t count, y, z, base, stride_x, stride_y, stride_z;
} mta_load_push;

typedef struct mta_merge_push {
    uint32_t heads, unit0, units, splits, count, width;
    rapt_vulkan_rows_push to;
    float factor;
} mta_merge_push;

typedef struct mta_gather_push {
    uint32_t readers, sources, size, width;
    rapt_vulkan_rows_push to;
    float factor;
} mta_gather_push;

#define MTA_SHADER(kernel, push, buffers, needs)                                                   \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = needs, .name = "mta." #kernel,             \
        .code = mta_##kernel, .code_bytes = sizeof mta_##kernel, .n_buffers = buffers,             \
        .push_bytes = sizeof(push)                                                                 \
    }
/* For float32 elements and for 16 bits. */
#define MTA_SHADERS(kernel, push, buffers)                                                         \
    {                                                                                              \
        MTA_SHADER(kernel##_f32, push, buffers, 0),                                                \
            MTA_SHADER(kernel##_half, push, buffers, RAPT_VULKAN_STORAGE16)                        \
    }

#define MTA_PRODUCTS(kernel, push, buffers) RAPT_PRODUCT_TABLE("mta", mta, kernel, push, buffers)
#define MTA_COOP_SHADERS(kernel, push, buffers)                                                    \
    RAPT_PRODUCT_COOP_TABLE("mta", mta, kernel, push, buffers)

static const rapt_vulkan_shader product_shader[4] = MTA_PRODUCTS(product, mta_product_push, 6);
static const rapt_vulkan_shader rows_shader[4] = MTA_PRODUCTS(rows, mta_rows_push, 6);
static const rapt_vulkan_shader columns_shader[4] = MTA_PRODUCTS(columns, mta_columns_push, 6);
static const rapt_vulkan_shader merge_shader[2] = MTA_SHADERS(merge, mta_merge_push, 2);
static const rapt_vulkan_shader gather_shader[2] = MTA_SHADERS(gather, mta_gather_push, 2);
static const rapt_vulkan_shader reduce_shader[2] = MTA_SHADERS(reduce, mta_reduce_push, 2);
static const rapt_vulkan_shader load_shader[2] = MTA_SHADERS(load, mta_load_push, 2);
static const rapt_vulkan_shader convolve_shader = MTA_SHADER(convolve, mta_convolve_push, 6, 0);
static const rapt_vulkan_shader stats_shader = MTA_SHADER(stats, mta_stats_push, 5, 0);
static const rapt_vulkan_shader softmax_back_shader =
    MTA_SHADER(softmax_back, mta_softmax_back_push, 7, 0);
static const rapt_vulkan_shader correlate_shader = MTA_SHADER(correlate, mta_correlate_push, 6, 0);
static const rapt_vulkan_shader mix_grad_shader = MTA_SHADER(mix_grad, mta_mix_grad_push, 6, 0);
static const rapt_vulkan_shader weights_shader = MTA_SHADER(weights, mta_weights_push, 5, 0);
static const rapt_vulkan_shader sees_shader = MTA_SHADER(sees, mta_sees_push, 4, 0);
static const rapt_vulkan_shader shape_back_shader =
    MTA_SHADER(shape_back, mta_shape_back_push, 5, 0);
static const rapt_vulkan_shader bias_back_shader = MTA_SHADER(bias_back, mta_bias_back_push, 3, 0);

static const rapt_vulkan_shader product_coop_shader[RAPT_VULKAN_WAYS] =
    MTA_COOP_SHADERS(product_coop, mta_product_push, 6);
static const rapt_vulkan_shader rows_coop_shader[RAPT_VULKAN_WAYS] =
    MTA_COOP_SHADERS(rows_coop, mta_rows_push, 6);
static const rapt_vulkan_shader columns_coop_shader[RAPT_VULKAN_WAYS] =
    MTA_COOP_SHADERS(columns_coop, mta_columns_push, 6);

#endif
