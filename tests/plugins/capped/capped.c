/* An operator of the score family as somebody outside would write it: one source and its hooks. */
#include "kit/score.h"

#define RAPT_LEVELS_BODY "hooks.h"
#include "kit/levels.h"

RAPT_SCORE_FUNCTIONS(capped);

static const rapt_arg inputs[] = {RAPT_SCORE_INPUTS, RAPT_SCORE_INPUT_BIAS};
static const rapt_arg outputs[] = {RAPT_SCORE_OUTPUTS};
static const rapt_attr attrs[] = {RAPT_SCORE_ATTRS};
static const rapt_state_arg states[] = {RAPT_SCORE_STATES};
static const rapt_kernel kernels[] = {RAPT_SCORE_CPU_KERNELS(capped, "q k v bias o")};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_SCORE_FLAGS,
    .name = "capped",
    .title = "Capped and gated softmax",
    .doc = "o_i = sum_j sigmoid(s_ij) softmax_j(4 tanh(s_ij / 4)) v_j",
    .version = "1.0",
    .inputs = inputs,
    .n_inputs = 4,
    .outputs = outputs,
    .n_outputs = 2,
    .attrs = attrs,
    .n_attrs = 2,
    .where = RAPT_SCORE_WHERE,
    .flops = RAPT_SCORE_FLOPS,
    .flops_backward = RAPT_SCORE_FLOPS_BACKWARD,
    .weights = RAPT_SCORE_WEIGHTS,
    .states = states,
    .n_states = 2,
    .example = "B=1 H=2 G=2 N=9 M=9 D=8 E=8",
    .kernels = kernels,
    .n_kernels = 2,
}};

RAPT_PLUGIN_EXPORT const rapt_plugin rapt_plugin_v1 = {
    .size = sizeof(rapt_plugin),
    .abi_major = RAPT_ABI_MAJOR,
    .abi_minor = RAPT_ABI_MINOR_NEEDED,
    .name = "capped",
    .version = "1.0",
    .author = "the rapt authors",
    .license = "MIT",
    .operators = operators,
    .n_operators = 1,
};
