/* Softmax attention: the description. */
#include "kit/describe.h"
#include "kit/score.h"
#include "kit/score_vulkan.h"

RAPT_SCORE_DECLARE(softmax)
RAPT_SCORE_VULKAN_DECLARE(softmax)
RAPT_SCORE_VULKAN_COOP_DECLARE(softmax)

static const rapt_arg inputs[] = {RAPT_SCORE_INPUTS, RAPT_SCORE_INPUT_BIAS, RAPT_SCORE_INPUT_ALIBI,
                                  RAPT_SCORE_OPTION_INPUTS};
static const rapt_arg outputs[] = {RAPT_SCORE_OUTPUTS};
static const rapt_attr attrs[] = {RAPT_SCORE_ATTRS, RAPT_SCORE_OPTION_ATTRS};
static const rapt_state_arg states[] = {RAPT_SCORE_STATES};
#define KEEP "q k v bias alibi " RAPT_SCORE_OPTION_KEEP " o"
static const rapt_kernel kernels[] = {RAPT_SCORE_CPU_KERNELS(softmax, KEEP),
                                      RAPT_SCORE_VULKAN_KERNELS(softmax, KEEP),
                                      RAPT_SCORE_VULKAN_COOP_KERNEL(softmax, KEEP)};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_SCORE_FLAGS,
    .name = "softmax",
    .title = "Softmax attention",
    .paper = "arXiv 1706.03762",
    .doc = "Each query takes a mean of the values, weighted by the softmax of its scaled products "
           "with the keys: o_i = sum_j softmax_j(scale q_i.k_j + bias_ij) v_j. Computed in blocks "
           "with running maxima and sums (arXiv 2205.14135, 2307.08691), so memory is linear in "
           "the number of positions. A query that sees no key outputs zeros.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where = RAPT_SCORE_OPTION_WHERE,
    .flops = RAPT_SCORE_FLOPS,
    .flops_backward = RAPT_SCORE_FLOPS_BACKWARD,
    .weights = RAPT_SCORE_WEIGHTS,
    RAPT_DESCRIBE_LIST(states),
    .example = "B=2 H=4 G=2 N=33 M=33 D=16 E=16 causal=true",
}};

RAPT_DESCRIBE_PLUGIN("softmax", "1.0");
