/*
 * What the built-in operators share: pieces of descriptions, blockwise maps, sums over dimensions.
 */
#ifndef RAPT_OPS_COMMON_H
#define RAPT_OPS_COMMON_H

#include "ops/loops.h"
#include "ops/ops.h"
#include "ops/vulkan/kernels.h"

/* --- Descriptions --------------------------------------------------------------------------- */

#define RAPT_DTYPES_REAL (RAPT_DTYPES_COMPUTE | RAPT_DTYPE_BIT(RAPT_F64))
#define RAPT_INTEGERS    "i32|i64|u8"

/* An input or output of the compute type that takes part in differentiation. */
#define RAPT_REAL(text, what)                                                                      \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE, .spec = (text), .doc = (what)      \
    }
#define RAPT_OTHER(text, types, bits, what)                                                        \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = (bits), .spec = (text), .dtype = (types), .doc = (what) \
    }
/* A learnable input and how it starts. */
#define RAPT_LEARNT(text, bits, start, what)                                                       \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | (bits), .spec = (text),           \
        .role = RAPT_PARAMETER, .init = (start), .doc = (what)                                     \
    }

/* RAPT_ATTR(name, type, default, doc and any further fields) */
#define RAPT_ATTR(label, kind, value, ...)                                                         \
    {                                                                                              \
        .size = sizeof(rapt_attr), .type = (kind), .name = (label), .fallback = (value),           \
        .doc = __VA_ARGS__                                                                         \
    }
#define RAPT_DIM_BOUNDS .min = "-8", .max = "7"

#define RAPT_COUNT(array)   (sizeof(array) / sizeof((array)[0]))
#define RAPT_INPUTS(array)  .inputs = (array), .n_inputs = RAPT_COUNT(array)
#define RAPT_OUTPUTS(array) .outputs = (array), .n_outputs = RAPT_COUNT(array)
#define RAPT_ATTRS(array)   .attrs = (array), .n_attrs = RAPT_COUNT(array)
#define RAPT_KERNEL(array)  .kernels = (array), .n_kernels = RAPT_COUNT(array)
#define RAPT_CPU            .size = sizeof(rapt_kernel), .name = "cpu", .device = "cpu"
/* Its kernels are in vulkan/; `supports` refuses element types that the device cannot hold. */
#define RAPT_VULKAN                                                                                \
    .size = sizeof(rapt_kernel), .name = "vulkan", .device = "vulkan",                             \
    .supports = rapt_vulkan_supports
/* Of operators that only move elements. */
#define RAPT_VULKAN_COPY                                                                           \
    .size = sizeof(rapt_kernel), .name = "vulkan", .device = "vulkan",                             \
    .supports = rapt_vulkan_supports_copy
#define RAPT_CORE(label) .size = sizeof(rapt_operator), .name = "core." label, .version = "1.0"

/* The tables that ops.c registers. */
typedef struct rapt_group {
    const rapt_operator *operators;
    size_t n;
} rapt_group;
extern const rapt_group rapt_ops_elementwise, rapt_ops_matmul, rapt_ops_reduce, rapt_ops_norm,
    rapt_ops_softmax, rapt_ops_loss, rapt_ops_embedding, rapt_ops_optimizer, rapt_ops_copy,
    rapt_ops_random, rapt_ops_rotary, rapt_ops_scan, rapt_ops_merge;

/* --- Calls ---------------------------------------------------------------------------------- */

const rapt_math_service *rapt_ops_math(const rapt_call *call);
int64_t rapt_elements(const rapt_view *view);
bool rapt_view_same_shape(const rapt_view *a, const rapt_view *b);
/* Pieces of about `work` elements each when one index stands for `each`: a grain. */
int64_t rapt_grain(int64_t work, int64_t each);
/* What AdamW's attributes come down to. */
rapt_adamw_args rapt_adamw_begin(const rapt_call *call);
/* Dropout's stream of random numbers, apart from those of others that share the seed. */
#define RAPT_DROPOUT_STREAM ((uint64_t)0x64726f706f7574)
/* What a piece of a parallel loop is worth starting for, in elements. */
#define RAPT_PIECE 16384

/* Rows of `view` along its last dimension: their number, their length. Rank 0 is one row of one. */
void rapt_rows(const rapt_view *view, int64_t *rows, int64_t *length);

/* A dimension from an attribute, negative counted from the end, into 0 <= *dim < ndim; rank 0 has
 * dimension 0 and -1. */
rapt_status rapt_ops_dim(rapt_call *call, int64_t given, int32_t ndim, int32_t *dim);

/* --- Maps and folds ------------------------------------------------------------------------- */

/* An elementwise loop over an ended walk; its last operand is written. Double precision if the
 * output is f64. Runs on the device of the call's kernel, as rapt_fold_run does. */
rapt_status rapt_map(rapt_call *call, const rapt_walk *walk, enum rapt_loop_id loop,
                     const rapt_loop_args *args);

typedef enum rapt_fold_kind { RAPT_FOLD_SUM, RAPT_FOLD_MAX, RAPT_FOLD_MIN } rapt_fold_kind;

/*
 * out[kept] = scale * sum over the reduced dimensions of loop(operands), without a temporary of the
 * operands' size. The walk is begun and filled, not ended. `out` is contiguous over the kept
 * dimensions in their order. A sum over nothing is 0.
 *
 * Sums of a block are float32 in lanes, those of blocks float64, in an order that depends on the
 * shapes alone.
 */
typedef struct rapt_fold {
    rapt_walk walk;
    uint32_t reduced; /* bit d: dimension d of the walk's shape is summed over */
    enum rapt_loop_id loop;
    rapt_loop_args args;
    rapt_fold_kind kind;
    double scale;
    const rapt_view *out;
    const int64_t *ignored; /* Vulkan's counting of labels: the one left out, or NULL */
    uint64_t room; /* Vulkan: where in the workspace partial sums may lie, a multiple of 256
                      with rapt_vulkan_fold_room behind it */
} rapt_fold;

rapt_status rapt_fold_run(rapt_call *call, rapt_fold *fold);

/* Bits of the dimensions of `shape` along which `view`, aligned at the end, is broadcast. */
uint32_t rapt_broadcast_dims(const rapt_view *view, int32_t ndim, const int64_t *shape);

/* n values to element `index` and on of plain memory of a real dtype. */
void rapt_store_values(const rapt_math_service *math, rapt_dtype dtype, void *memory, int64_t index,
                       int64_t n, const double *values);

#endif
