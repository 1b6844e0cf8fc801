/* Selective self-attention: the description. */
#include "kit/describe.h"
#include "kit/score.h"
#include "kit/score_vulkan.h"

RAPT_SCORE_DECLARE(ssa)
RAPT_SCORE_VULKAN_DECLARE(ssa)
RAPT_SCORE_VULKAN_COOP_DECLARE(ssa)

static const rapt_arg inputs[] = {RAPT_SCORE_INPUTS,      RAPT_SCORE_INPUT_TAU_Q,
                                  RAPT_SCORE_INPUT_TAU_V, RAPT_SCORE_INPUT_BIAS,
                                  RAPT_SCORE_INPUT_ALIBI, RAPT_SCORE_OPTION_INPUTS};
static const rapt_arg outputs[] = {RAPT_SCORE_OUTPUTS};
static const rapt_attr attrs[] = {RAPT_SCORE_ATTRS, RAPT_SCORE_OPTION_ATTRS};
static const rapt_state_arg states[] = {RAPT_SCORE_STATES,
                                        {.size = sizeof(rapt_state_arg), .append = "tau_v"}};
#define KEEP "q k v tau_q tau_v bias alibi " RAPT_SCORE_OPTION_KEEP " o"
static const rapt_kernel kernels[] = {RAPT_SCORE_CPU_KERNELS(ssa, KEEP),
                                      RAPT_SCORE_VULKAN_KERNELS(ssa, KEEP),
                                      RAPT_SCORE_VULKAN_COOP_KERNEL(ssa, KEEP)};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_SCORE_FLAGS,
    .name = "ssa",
    .title = "Selective self-attention",
    .paper = "arXiv 2411.12892",
    .doc =
        "Softmax attention with a temperature for each query and for each value: "
        "o_i = sum_j softmax_j(scale tau_q_i q_i.k_j + bias_ij) tau_v_j v_j. The matrix of weights "
        "is what multiplies v: softmax_j(...) tau_v_j. The layer around it makes the temperatures "
        "from token and position: tau(x, n) = tanh(f(x)) + 1 + sigmoid(alpha) log n. A query that "
        "sees no key outputs zeros.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where = RAPT_SCORE_OPTION_WHERE,
    .flops = RAPT_SCORE_FLOPS,
    .flops_backward = RAPT_SCORE_FLOPS_BACKWARD,
    .weights = RAPT_SCORE_WEIGHTS,
    RAPT_DESCRIBE_LIST(states),
    .example = "B=2 H=4 G=2 N=33 M=33 D=16 E=16 causal=true",
}};

RAPT_DESCRIBE_PLUGIN("ssa", "1.0");
