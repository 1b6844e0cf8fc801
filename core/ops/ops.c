#include "ops/common.h"

rapt_status rapt_register_builtins(rapt_add_operators add, void *user)
{
    static const rapt_group *const groups[] = {
        &rapt_ops_elementwise, &rapt_ops_matmul, &rapt_ops_reduce,    &rapt_ops_norm,
        &rapt_ops_softmax,     &rapt_ops_loss,   &rapt_ops_embedding, &rapt_ops_optimizer,
        &rapt_ops_copy,        &rapt_ops_random, &rapt_ops_rotary,    &rapt_ops_scan,
        &rapt_ops_merge,
    };
    for (size_t i = 0; i < RAPT_COUNT(groups); i++) {
        const rapt_status status = add(user, groups[i]->operators, groups[i]->n);
        if (status != RAPT_OK)
            return status;
    }
    return RAPT_OK;
}
