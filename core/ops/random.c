/* Dropout (Srivastava et al. 2014). The mask is a function of the seed and an element's place, so
 * that backward makes it again instead of keeping it. */
#include "ops/common.h"

enum { P, SEED };

typedef struct dropout {
    rapt_walk walk; /* source, target */
    const rapt_random_service *random;
    uint64_t seed;
    float p, scale;
} dropout;

static void dropout_task(void *context, int64_t begin, int64_t end, int worker)
{
    const dropout *d = context;
    const rapt_walk *walk = &d->walk;
    float source[RAPT_BLOCK], target[RAPT_BLOCK], chance[RAPT_BLOCK];
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        const int64_t index = block * RAPT_BLOCK, left = walk->count - index;
        const int64_t n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
        const float *x = rapt_walk_load(walk, 0, index, n, source);
        float *y = rapt_walk_target(walk, 1, index, target);
        d->random->uniform(d->seed, RAPT_DROPOUT_STREAM, (uint64_t)index, n, chance);
        for (int64_t i = 0; i < n; i++)
            y[i] = chance[i] >= d->p ? x[i] * d->scale : 0;
        rapt_walk_store(walk, 1, index, n, y);
    }
}

static rapt_status drop(rapt_call *call, const rapt_view *source, const rapt_view *target)
{
    const double p = call->attrs[P].f;
    dropout d = {.random = call->host->service("rapt.random", 1),
                 .seed = (uint64_t)call->attrs[SEED].i[0],
                 .p = (float)p,
                 .scale = p < 1 ? (float)(1 / (1 - p)) : 0};
    if (d.random == NULL)
        return call->host->error(call, RAPT_UNSUPPORTED, "the host has no random numbers");
    rapt_walk_begin(&d.walk, call, target->ndim, target->shape);
    rapt_walk_add(&d.walk, source);
    rapt_walk_add(&d.walk, target);
    rapt_walk_end(&d.walk);
    const int64_t blocks = (d.walk.count + RAPT_BLOCK - 1) / RAPT_BLOCK;
    if (blocks > 0)
        call->host->parallel_for(call, blocks, RAPT_PIECE / RAPT_BLOCK, dropout_task, &d);
    return RAPT_OK;
}

static rapt_status forward(rapt_call *call)
{
    return drop(call, call->inputs[0], call->outputs[0]);
}

static rapt_status backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return drop(call, call->grad_outputs[0], call->grad_inputs[0]);
}

static const rapt_arg inputs[] = {RAPT_REAL("x: ...", "any shape and strides")};
static const rapt_arg outputs[] = {RAPT_REAL("y: ...", "in the shape of x")};
static const rapt_attr attrs[] = {
    RAPT_ATTR("p", RAPT_ATTR_FLOAT, "0.1", "chance of an element to become 0", .min = "0",
              .max = "1"),
    RAPT_ATTR("seed", RAPT_ATTR_INT, NULL, "the same seed drops the same elements",
              .flags = RAPT_REQUIRED),
};
static const rapt_kernel kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .keep = "",
     .forward = forward, .backward = backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .flags = RAPT_ANY_STRIDES, .keep = "",
     .forward = rapt_vulkan_dropout_forward, .backward = rapt_vulkan_dropout_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("dropout"), .title = "Dropout", .paper = "Srivastava et al., JMLR 15, 2014",
     .doc = "y = 0 with chance p, x / (1 - p) otherwise. Element i, in row-major order, is dropped "
            "where the i-th Philox number of the seed is below p.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), RAPT_ATTRS(attrs), .flops = "12 * leading",
     .flops_backward = "12 * leading", .example = "...=3,65 p=0.25 seed=1", RAPT_KERNEL(kernel)},
};

const rapt_group rapt_ops_random = {operators, RAPT_COUNT(operators)};
