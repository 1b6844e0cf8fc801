/*
 * A small plugin that is right: y = factor * x. Each file of this folder defines what it wants to
 * be otherwise, mostly wrong on purpose, and includes this.
 */
#include <rapt/plugin.h>

#ifndef SAMPLE_NAME
#define SAMPLE_NAME "test.sample"
#endif
#ifndef SAMPLE_VERSION
#define SAMPLE_VERSION "1.0"
#endif
#ifndef SAMPLE_SPEC
#define SAMPLE_SPEC "x: B N"
#endif
#ifndef SAMPLE_DTYPE
#define SAMPLE_DTYPE NULL
#endif
#ifndef SAMPLE_DEFAULT
#define SAMPLE_DEFAULT "1"
#endif
#ifndef SAMPLE_FORWARD
#define SAMPLE_FORWARD forward
#endif
#ifndef SAMPLE_N_KERNELS
#define SAMPLE_N_KERNELS 1
#endif
#ifndef SAMPLE_N_OPERATORS
#define SAMPLE_N_OPERATORS 1
#endif
#ifndef SAMPLE_SIZE
#define SAMPLE_SIZE sizeof(rapt_plugin)
#endif
#ifndef SAMPLE_MAJOR
#define SAMPLE_MAJOR RAPT_ABI_MAJOR
#endif
#ifndef SAMPLE_MINOR
#define SAMPLE_MINOR RAPT_ABI_MINOR_NEEDED
#endif
#ifndef SAMPLE_SYMBOL
#define SAMPLE_SYMBOL rapt_plugin_v1
#endif
#ifndef SAMPLE_INIT
#define SAMPLE_INIT NULL
#endif
#ifndef SAMPLE_FINI
#define SAMPLE_FINI NULL
#endif
#ifndef SAMPLE_N_FUNCTIONS
#define SAMPLE_N_FUNCTIONS 0
#define SAMPLE_FUNCTIONS   NULL
#endif
#ifndef SAMPLE_SECOND_NAME
#define SAMPLE_SECOND_NAME "test.second"
#endif

static inline rapt_status forward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0];
    const float factor = (float)call->attrs[0].f;
    for (int64_t b = 0; b < x->shape[0]; b++) {
        const float *from = (const float *)rapt_view_data(x) + b * x->strides[0];
        float *to = (float *)rapt_view_data(call->outputs[0]) + b * x->shape[1];
        for (int64_t n = 0; n < x->shape[1]; n++)
            to[n] = factor * from[n];
    }
    return RAPT_OK;
}

static const rapt_arg inputs[] = {
    {sizeof(rapt_arg), 0, SAMPLE_SPEC, SAMPLE_DTYPE, RAPT_ARGUMENT, NULL, NULL, "numbers"}};
static const rapt_arg outputs[] = {
    {sizeof(rapt_arg), 0, "y: B N", NULL, RAPT_ARGUMENT, NULL, NULL, "factor times x"}};
static const rapt_attr attrs[] = {{sizeof(rapt_attr), RAPT_ATTR_FLOAT, "factor", SAMPLE_DEFAULT,
                                   "-10", "10", NULL, 0, 0, "what x is multiplied by"}};
static const rapt_kernel kernels[] = {{.size = sizeof(rapt_kernel),
                                       .name = "cpu",
                                       .device = "cpu",
                                       .dtypes = RAPT_DTYPE_BIT(RAPT_F32),
                                       .forward = SAMPLE_FORWARD}};

#define SAMPLE_OPERATOR(operator_name)                                                             \
    {                                                                                              \
        .size = sizeof(rapt_operator), .name = (operator_name), .title = "Sample",                 \
        .doc = "Multiplies by a factor.", .version = SAMPLE_VERSION, .inputs = inputs,             \
        .n_inputs = 1, .outputs = outputs, .n_outputs = 1, .attrs = attrs, .n_attrs = 1,           \
        .flops = "B*N", .kernels = kernels, .n_kernels = SAMPLE_N_KERNELS                          \
    }

#ifndef SAMPLE_OPERATORS
#define SAMPLE_OPERATORS operators
static const rapt_operator operators[] = {SAMPLE_OPERATOR(SAMPLE_NAME),
                                          SAMPLE_OPERATOR(SAMPLE_SECOND_NAME)};
#endif

#ifndef SAMPLE_NO_PLUGIN
RAPT_PLUGIN_EXPORT const rapt_plugin SAMPLE_SYMBOL = {
    .size = SAMPLE_SIZE,
    .abi_major = SAMPLE_MAJOR,
    .abi_minor = SAMPLE_MINOR,
    .name = "sample",
    .version = SAMPLE_VERSION,
    .author = "rapt",
    .license = "MIT",
    .operators = SAMPLE_OPERATORS,
    .n_operators = SAMPLE_N_OPERATORS,
    .functions = SAMPLE_FUNCTIONS,
    .n_functions = SAMPLE_N_FUNCTIONS,
    .init = SAMPLE_INIT,
    .fini = SAMPLE_FINI,
};
#endif
