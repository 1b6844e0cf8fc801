/* Cog attention: the description. */
#include "kit/describe.h"
#include "kit/score.h"
#include "kit/score_vulkan.h"

RAPT_SCORE_DECLARE(cog)
RAPT_SCORE_VULKAN_DECLARE(cog)
RAPT_SCORE_VULKAN_COOP_DECLARE(cog)

static const rapt_arg inputs[] = {RAPT_SCORE_INPUTS, RAPT_SCORE_OPTION_INPUTS};
static const rapt_arg outputs[] = {RAPT_SCORE_OUTPUTS};
static const rapt_attr attrs[] = {RAPT_SCORE_ATTRS, RAPT_SCORE_OPTION_ATTRS};
static const rapt_state_arg states[] = {RAPT_SCORE_STATES};
#define KEEP "q k v " RAPT_SCORE_OPTION_KEEP " o"
static const rapt_kernel kernels[] = {RAPT_SCORE_CPU_KERNELS(cog, KEEP),
                                      RAPT_SCORE_VULKAN_KERNELS(cog, KEEP),
                                      RAPT_SCORE_VULKAN_COOP_KERNEL(cog, KEEP)};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_SCORE_FLAGS,
    .name = "cog",
    .title = "Cog attention",
    .paper = "arXiv 2411.07176",
    .doc = "Weights may be negative: the softmax of the scores' magnitudes with the scores' signs, "
           "w_ij = sign(p_ij) softmax_j(|p_ij|) with p_ij = scale q_i.k_j and sign(0) = 0; "
           "o_i = sum_j w_ij v_j. The mask applies to |p|, so a hidden key has weight 0. A query "
           "that sees no key outputs zeros.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where = RAPT_SCORE_OPTION_WHERE,
    .flops = RAPT_SCORE_FLOPS,
    .flops_backward = RAPT_SCORE_FLOPS_BACKWARD,
    .weights = RAPT_SCORE_WEIGHTS,
    RAPT_DESCRIBE_LIST(states),
    .example = "B=2 H=4 G=2 N=33 M=33 D=16 E=16 causal=true",
}};

RAPT_DESCRIBE_PLUGIN("cog", "1.0");
