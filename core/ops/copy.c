/* Copies into fresh contiguous memory. */
#include "ops/common.h"

static void copy_task(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_walk *walk = context;
    const int64_t first = begin * RAPT_BLOCK, last = end * RAPT_BLOCK;
    (void)worker;
    rapt_walk_copy(walk, first, (last < walk->count ? last : walk->count) - first);
}

static rapt_status copy(rapt_call *call, const rapt_view *source, const rapt_view *target)
{
    rapt_walk walk;
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    rapt_walk_add(&walk, source);
    rapt_walk_add(&walk, target);
    rapt_walk_end(&walk);
    const int64_t blocks = (walk.count + RAPT_BLOCK - 1) / RAPT_BLOCK;
    if (blocks > 0)
        call->host->parallel_for(call, blocks, RAPT_PIECE / RAPT_BLOCK, copy_task, &walk);
    return RAPT_OK;
}

static rapt_status forward(rapt_call *call)
{
    return copy(call, call->inputs[0], call->outputs[0]);
}

static rapt_status backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return copy(call, call->grad_outputs[0], call->grad_inputs[0]);
}

static const rapt_arg inputs[] = {RAPT_REAL("x: ...", "any shape, strides and dtype")};
static const rapt_arg outputs[] = {RAPT_REAL("y: ...", "contiguous, in the shape and dtype of x")};
static const rapt_kernel kernel[] = {{RAPT_CPU, .dtypes = RAPT_DTYPE_BIT(RAPT_DTYPE_COUNT) - 1,
                                      .flags = RAPT_ANY_STRIDES, .keep = "", .forward = forward,
                                      .backward = backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("copy"), .title = "Copy", .doc = "y = x, bit by bit, in memory of its own.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), .flops = "0", .flops_backward = "0",
     .example = "...=3,65", RAPT_KERNEL(kernel)},
};

const rapt_group rapt_ops_copy = {operators, RAPT_COUNT(operators)};
