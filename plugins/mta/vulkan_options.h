/*
 * What a call of mta on a Vulkan device has besides q, k, v and kernels: what shapes scores (bias,
 * softcap, alibi), what hides (a window, packed sequences) and what belongs to the softmax (sink,
 * lse). A pass is compiled for what it looks at, so that what is absent costs nothing.
 */
#ifndef RAPT_MTA_VULKAN_OPTIONS_H
#define RAPT_MTA_VULKAN_OPTIONS_H

#include "kit/vulkan.h"
#include "mta.h"

/* Bits of the specialization constant OPTIONS of shaders/mta. */
enum {
    MTA_SIGHT = 1,
    MTA_PACKED = 2,
    MTA_HAS_BIAS = 4,
    MTA_BIAS_IS_F32 = 8,
    MTA_HAS_SOFTCAP = 16,
    MTA_HAS_ALIBI = 32,
    MTA_WANTS_ALIBI = 64,
    MTA_HAS_SINK = 128,
    MTA_WANTS_SINK = 256,
    MTA_HAS_LSE = 512, /* forward: it is asked for; backward: its gradient is given */
    MTA_IS_BACKWARD = 1024
};

typedef struct mta_options {
    uint32_t sight; /* MTA_SIGHT and MTA_PACKED */
    uint32_t shape; /* of the pass that makes scores */
    float softcap;
    int64_t left, right;          /* keys seen on either side of a query; negative: all */
    int64_t borders;              /* of packed sequences; 0: not packed */
    int64_t bias[4];              /* its shape */
    int64_t row_slots, key_slots; /* of the bias's gradient */
} mta_options;

static inline int64_t mta_clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* The options of a call over N queries and M keys. */
static inline void mta_take_options(const rapt_call *call, int64_t N, int64_t M,
                                    mta_options *options)
{
    const rapt_view *bias = call->inputs[MTA_BIAS], *borders = call->inputs[MTA_BORDERS_Q];
    const int64_t *window = call->attrs[MTA_WINDOW].i;
    const bool step = call->phase == RAPT_STEP;
    options->softcap = (float)call->attrs[MTA_SOFTCAP].f;
    options->left = mta_clamp(window[0], -1, N + M);
    options->right = mta_clamp(window[1], -1, N + M);
    if (step || call->attrs[MTA_CAUSAL].i[0])
        options->right = 0;
    options->borders = borders && !step ? borders->shape[0] : 0;
    if (options->left >= 0 || options->right > 0)
        options->sight = MTA_SIGHT;
    if (borders && !step)
        options->sight = MTA_SIGHT | MTA_PACKED;
    if (bias)
        options->shape |= MTA_HAS_BIAS;
    if (bias && rapt_view_dtype(bias) == RAPT_F32)
        options->shape |= MTA_BIAS_IS_F32;
    if (options->softcap > 0.0f)
        options->shape |= MTA_HAS_SOFTCAP;
    if (call->inputs[MTA_ALIBI])
        options->shape |= MTA_HAS_ALIBI;
    for (int d = 0; bias && d < 4; d++)
        options->bias[d] = bias->shape[d];
}

/* Refuses what no device could do. */
static inline rapt_status mta_check_options(rapt_call *call)
{
    const rapt_view *borders = call->inputs[MTA_BORDERS_Q];
    const rapt_view *qk = call->inputs[MTA_QK_KERNEL], *post = call->inputs[MTA_QK_KERNEL_POST];
    const bool reach = (qk && qk->shape[1] > 1) || (post && post->shape[1] > 1);
    if (call->phase == RAPT_STEP && call->inputs[MTA_BIAS] && reach)
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "a decoding step takes no bias where kernels reach earlier "
                                 "queries, whose bias it does not know");
    if (call->phase != RAPT_STEP && borders && borders->shape[0] == 0)
        return call->host->error(call, RAPT_INVALID,
                                 "cu_seqlens_q must rise from 0 to N = %lld, but it is empty",
                                 (long long)call->sizes['N']);
    return RAPT_OK;
}

#endif
