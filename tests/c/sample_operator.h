/* An operator for tests, in memory that a test may change before it registers it. */
#ifndef RAPT_TEST_SAMPLE_OPERATOR_H
#define RAPT_TEST_SAMPLE_OPERATOR_H

#include <rapt/plugin.h>
#include <string.h>

typedef struct sample_operator {
    rapt_operator op;
    rapt_arg inputs[6], outputs[3], saved[2];
    rapt_attr attrs[6];
    rapt_state_arg states[2];
    rapt_kernel kernels[2];
} sample_operator;

static rapt_status sample_forward(rapt_call *call)
{
    (void)call;
    return RAPT_OK;
}

/* q k v and an optional bias; causal, scale, mode, window; a kernel that can do everything. */
static inline void sample_make(sample_operator *s)
{
    const rapt_arg q = {sizeof q, RAPT_DIFFERENTIABLE, "q: B H N D", NULL, RAPT_STREAM, "", NULL,
                        "queries"};
    const rapt_arg k = {sizeof k, RAPT_DIFFERENTIABLE, "k: B G M D", NULL, RAPT_STREAM, "", NULL,
                        "keys"};
    const rapt_arg v = {
        sizeof v, RAPT_DIFFERENTIABLE | RAPT_VALUE_ONLY, "v: B G M E", NULL, RAPT_STREAM, "", NULL,
        "values"};
    const rapt_arg bias = {
        sizeof bias, RAPT_OPTIONAL, "bias: B? H? N? M?", "T|f32", RAPT_ARGUMENT, NULL, NULL, NULL};
    const rapt_arg extra = {sizeof extra,  RAPT_OPTIONAL, "extra: G*E c", "i32|i64",
                            RAPT_ARGUMENT, NULL,          NULL,           NULL};
    const rapt_arg o = {
        sizeof o, RAPT_DIFFERENTIABLE, "o: B H N E", NULL, RAPT_ARGUMENT, NULL, NULL, "result"};
    const rapt_arg lse = {sizeof lse,    RAPT_OPTIONAL, "lse: B H N", "f32",
                          RAPT_ARGUMENT, NULL,          NULL,         NULL};
    const rapt_attr causal = {sizeof causal, RAPT_ATTR_BOOL, "causal", "false", NULL,
                              NULL,          NULL,           0,        0,       NULL};
    const rapt_attr scale = {
        sizeof scale, RAPT_ATTR_FLOAT, "scale", "1/sqrt(D)", "0", "1", NULL, 0, 0, "of scores"};
    const rapt_attr mode = {sizeof mode, RAPT_ATTR_CHOICE,  "mode", "none", NULL,
                            NULL,        "none|left|right", 0,      0,      NULL};
    const rapt_attr window = {sizeof window, RAPT_ATTR_INTS, "window", NULL, "-1",
                              NULL,          NULL,           2,        0,    NULL};
    const rapt_attr tiles = {sizeof tiles, RAPT_ATTR_INT, "tiles", "min(4,N)", "1",
                             "N",          NULL,          0,       0,          NULL};
    const rapt_state_arg keys = {sizeof keys, 0, "k", NULL, NULL};
    const rapt_state_arg values = {sizeof values, 0, "v", NULL, NULL};
    const rapt_kernel cpu = {.size = sizeof cpu,
                             .name = "cpu",
                             .device = "cpu",
                             .dtypes = RAPT_DTYPES_COMPUTE,
                             .keep = "q k v lse",
                             .saved = s->saved,
                             .n_saved = 1,
                             .forward = sample_forward,
                             .weights = sample_forward};
    memset(s, 0, sizeof *s);
    s->inputs[0] = q;
    s->inputs[1] = k;
    s->inputs[2] = v;
    s->inputs[3] = bias;
    s->inputs[4] = extra;
    s->outputs[0] = o;
    s->outputs[1] = lse;
    s->saved[0] = lse;
    s->attrs[0] = causal;
    s->attrs[1] = scale;
    s->attrs[2] = mode;
    s->attrs[3] = window;
    s->attrs[4] = tiles;
    s->states[0] = keys;
    s->states[1] = values;
    s->kernels[0] = cpu;
    s->op = (rapt_operator){
        .size = sizeof s->op,
        .flags = RAPT_OP_FULL | RAPT_OP_CAUSAL | RAPT_OP_CROSS | RAPT_OP_DECODE | RAPT_OP_WEIGHTS,
        .name = "cog",
        .title = "Cog attention",
        .paper = "arXiv 2411.07176",
        .doc = "Attention with negative weights.",
        .version = "1.0",
        .inputs = s->inputs,
        .n_inputs = 5,
        .outputs = s->outputs,
        .n_outputs = 2,
        .attrs = s->attrs,
        .n_attrs = 5,
        .where = "H % G == 0; given(window) == 0 || causal == 0; given(extra) == 0 || c <= N",
        .flops = "2*B*H*pairs*(D + E)",
        .flops_backward = "5*B*H*pairs*(D + E)",
        .weights = "B H N M",
        .states = s->states,
        .n_states = 2,
        .example = "B=2 H=4 G=2 N=33 M=33 D=16 E=16 causal=true",
        .kernels = s->kernels,
        .n_kernels = 1,
    };
}

#endif
