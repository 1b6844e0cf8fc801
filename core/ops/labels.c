#include "ops/labels.h"

#include <stdio.h>

void rapt_labels_begin(rapt_labels *labels, const rapt_call *call, const rapt_view *view)
{
    rapt_walk_begin(&labels->walk, call, view->ndim, view->shape);
    labels->count = labels->walk.count;
    rapt_walk_add(&labels->walk, view);
    rapt_walk_end(&labels->walk);
}

int64_t rapt_label(const rapt_labels *labels, int64_t i)
{
    const rapt_operand *operand = &labels->walk.operands[0];
    const int64_t offset = operand->linear ? i : rapt_walk_offset(&labels->walk, 0, i);
    const void *data = operand->data;
    switch (operand->dtype) {
    case RAPT_I32:
        return ((const int32_t *)data)[offset];
    case RAPT_I64:
        return ((const int64_t *)data)[offset];
    default:
        return ((const uint8_t *)data)[offset];
    }
}

/* "[0,5]" for row-major index i of the view. */
static void position(char *text, size_t size, const rapt_view *view, int64_t i)
{
    int64_t at[RAPT_MAX_DIMS];
    size_t used = 0;
    for (int32_t d = view->ndim - 1; d >= 0; d--) {
        at[d] = i % view->shape[d];
        i /= view->shape[d];
    }
    used += (size_t)snprintf(text, size, "[");
    for (int32_t d = 0; d < view->ndim; d++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", d > 0 ? "," : "",
                                 (long long)at[d]);
    snprintf(text + used, size - used, "]");
}

rapt_status rapt_labels_check(rapt_call *call, const rapt_labels *labels, const rapt_view *view,
                              const char *name, int64_t limit, const int64_t *ignored)
{
    for (int64_t i = 0; i < labels->count; i++) {
        const int64_t label = rapt_label(labels, i);
        char where[RAPT_MAX_DIMS * 21 + 3];
        if ((label >= 0 && label < limit) || (ignored != NULL && label == *ignored))
            continue;
        position(where, sizeof where, view, i);
        return call->host->error(call, RAPT_INVALID,
                                 "%s%s (counted from 0) is %lld but must be at least 0 and below "
                                 "%lld",
                                 name, where, (long long)label, (long long)limit);
    }
    return RAPT_OK;
}
