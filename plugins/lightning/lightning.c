/*
 * lightning: linear attention with a constant decay per head, without normaliser.
 *
 *     o_t = scale sum_{s <= t} exp(-slope_h (t - s)) (q_t . k_s) v_s
 *
 * Qin et al., "Lightning Attention-2" (arXiv 2401.04658) and "Various lengths, constant speed"
 * (arXiv 2405.17381).
 */
#include "lightning.h"
#include "kit/describe.h"

static const rapt_arg inputs[] = {
    [LIGHTNING_Q] = {.size = sizeof(rapt_arg),
                     .flags = RAPT_DIFFERENTIABLE,
                     .spec = "q: B H N D",
                     .role = RAPT_STREAM,
                     .doc = "queries"},
    [LIGHTNING_K] = {.size = sizeof(rapt_arg),
                     .flags = RAPT_DIFFERENTIABLE,
                     .spec = "k: B H N D",
                     .role = RAPT_STREAM,
                     .doc = "keys"},
    [LIGHTNING_V] = {.size = sizeof(rapt_arg),
                     .flags = RAPT_DIFFERENTIABLE,
                     .spec = "v: B H N E",
                     .role = RAPT_STREAM,
                     .doc = "values"},
    [LIGHTNING_SLOPE] = {.size = sizeof(rapt_arg),
                         .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                         .spec = "slope: H",
                         .dtype = "f32",
                         .role = RAPT_ARGUMENT,
                         .doc = "decay of each head per position, 0 or more; absent: no decay"},
    [LIGHTNING_BORDERS] = RAPT_LINEAR_INPUT_BORDERS,
    [LIGHTNING_STATE] = RAPT_LINEAR_INPUT_STATE("S H D E"),
};

static const rapt_arg outputs[] = {
    [LIGHTNING_O] = {.size = sizeof(rapt_arg),
                     .flags = RAPT_DIFFERENTIABLE,
                     .spec = "o: B H N E",
                     .doc = "one row of values for each query"},
    [LIGHTNING_FINAL] = RAPT_LINEAR_OUTPUT_STATE,
};

static const rapt_attr attrs[] = {
    RAPT_DESCRIBE_SCALE("1", "factor of the products q.k"),
};

static const rapt_state_arg states[] = {RAPT_LINEAR_STATES};

static const rapt_kernel kernels[] = {RAPT_LINEAR_KERNELS(lightning, NULL),
                                      RAPT_LINEAR_KERNEL_COOP(lightning)};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_OP_CAUSAL | RAPT_OP_DECODE,
    .name = "lightning",
    .title = "Lightning attention",
    .paper = "arXiv 2405.17381",
    .doc = "Linear attention with a constant decay per head and no normaliser. The sequence is "
           "computed in chunks, dense inside and through a D x E state between them, so the cost "
           "grows linearly with its length and decoding needs a state of constant size.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where = RAPT_LINEAR_WHERE_BORDERS "; " RAPT_LINEAR_WHERE_STATE,
    .flops = "2*B*H*N*(2*D*E + min(N,64)*(D+E)/2)",
    .flops_backward = "2*B*H*N*(5*D*E + min(N,64)*(3*D+2*E)/2)",
    RAPT_DESCRIBE_LIST(states),
    .example = "B=2 H=2 N=100 D=16 E=16",
    .infer = lightning_infer,
}};

RAPT_DESCRIBE_PLUGIN("lightning", "1.0");
