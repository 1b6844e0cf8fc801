/* AdamW (Loshchilov, Hutter: "Decoupled weight decay regularization", arXiv 1711.05101): one pass
 * over parameter, gradient and both moments. */
#include "ops/common.h"

#include <math.h>

enum { PARAM, GRAD, M, V, OPERANDS };
enum { LR, BETA1, BETA2, EPS, DECAY, STEP, GRAD_SCALE };

typedef struct update {
    const rapt_loops *loops;
    rapt_walk walk;
    rapt_adamw_args args;
} update;

static void update_task(void *context, int64_t begin, int64_t end, int worker)
{
    const update *u = context;
    const rapt_walk *walk = &u->walk;
    float buffer[OPERANDS][RAPT_BLOCK];
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        const int64_t index = block * RAPT_BLOCK, left = walk->count - index;
        const int64_t n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
        const float *grad = rapt_walk_load(walk, GRAD, index, n, buffer[GRAD]);
        float *param = rapt_walk_edit(walk, PARAM, index, n, buffer[PARAM]);
        float *m = rapt_walk_edit(walk, M, index, n, buffer[M]);
        float *v = rapt_walk_edit(walk, V, index, n, buffer[V]);
        u->loops->adamw(&u->args, n, param, grad, m, v);
        rapt_walk_store(walk, PARAM, index, n, param);
        rapt_walk_store(walk, M, index, n, m);
        rapt_walk_store(walk, V, index, n, v);
    }
}

rapt_adamw_args rapt_adamw_begin(const rapt_call *call)
{
    const rapt_value *attrs = call->attrs;
    const double step = (double)attrs[STEP].i[0];
    return (rapt_adamw_args){
        .decay = (float)(1 - attrs[LR].f * attrs[DECAY].f),
        .beta1 = (float)attrs[BETA1].f,
        .beta2 = (float)attrs[BETA2].f,
        .rest1 = (float)(1 - attrs[BETA1].f),
        .rest2 = (float)(1 - attrs[BETA2].f),
        .eps = (float)attrs[EPS].f,
        .grad_scale = (float)attrs[GRAD_SCALE].f,
        .step_size = (float)(attrs[LR].f / (1 - pow(attrs[BETA1].f, step))),
        .correction2 = (float)(1 / sqrt(1 - pow(attrs[BETA2].f, step))),
    };
}

static rapt_status forward(rapt_call *call)
{
    const rapt_view *param = call->inputs[PARAM];
    update u = {.loops = rapt_loops_select(call->host), .args = rapt_adamw_begin(call)};
    rapt_walk_begin(&u.walk, call, param->ndim, param->shape);
    for (int i = 0; i < OPERANDS; i++)
        rapt_walk_add(&u.walk, call->inputs[i]);
    rapt_walk_end(&u.walk);
    const int64_t blocks = (u.walk.count + RAPT_BLOCK - 1) / RAPT_BLOCK;
    if (blocks > 0)
        call->host->parallel_for(call, blocks, RAPT_PIECE / RAPT_BLOCK, update_task, &u);
    return RAPT_OK;
}

static const rapt_arg inputs[] = {
    RAPT_OTHER("param: ...", "T", RAPT_MUTATED, "the parameter, updated in place"),
    RAPT_OTHER("grad: ...", "f32|f16|bf16", 0, "its gradient"),
    RAPT_OTHER("m: ...", "f32", RAPT_MUTATED, "first moment, zeros at the start; in place"),
    RAPT_OTHER("v: ...", "f32", RAPT_MUTATED, "second moment, zeros at the start; in place"),
};
static const rapt_attr attrs[] = {
    RAPT_ATTR("lr", RAPT_ATTR_FLOAT, NULL, "learning rate", .min = "0", .flags = RAPT_REQUIRED),
    RAPT_ATTR("beta1", RAPT_ATTR_FLOAT, "0.9", "decay of the first moment", .min = "0", .max = "1"),
    RAPT_ATTR("beta2", RAPT_ATTR_FLOAT, "0.999", "decay of the second moment", .min = "0",
              .max = "1"),
    RAPT_ATTR("eps", RAPT_ATTR_FLOAT, "1e-8", "added to the root of the second moment", .min = "0"),
    RAPT_ATTR("weight_decay", RAPT_ATTR_FLOAT, "0", "decoupled: times lr and the parameter",
              .min = "0"),
    RAPT_ATTR("step", RAPT_ATTR_INT, NULL, "number of this step, from 1", .min = "1",
              .flags = RAPT_REQUIRED),
    RAPT_ATTR("grad_scale", RAPT_ATTR_FLOAT, "1",
              "factor on the gradient: clipping, or undoing a loss scale"),
};
static const rapt_kernel kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .forward = forward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES,
     .forward = rapt_vulkan_adamw_forward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("adamw"), .title = "AdamW step", .paper = "arXiv 1711.05101",
     .doc =
         "With g = grad_scale * grad: m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; "
         "param = param (1 - lr weight_decay) - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - "
         "beta2^step)) + eps). Moments are float32; a 16-bit parameter is rounded once.",
     RAPT_INPUTS(inputs), RAPT_ATTRS(attrs), .where = "beta1 < 1; beta2 < 1",
     .flops = "15 * leading", .bytes = "28 * leading", .example = "...=3,65 lr=0.001 step=1",
     RAPT_KERNEL(kernel)},
};

const rapt_group rapt_ops_optimizer = {operators, RAPT_COUNT(operators)};
