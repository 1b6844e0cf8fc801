/*
 * kit/score_args.h - the arguments of a call by name, as views of four dimensions.
 *
 * Part of kit/score.h. An operator lists what it takes in any order; what it does not list is
 * absent.
 */
#ifndef RAPT_KIT_SCORE_ARGS_H
#define RAPT_KIT_SCORE_ARGS_H

#include <rapt/plugin.h>
#include <string.h>

/* A tensor of four dimensions (batch, head, position, feature) with the feature contiguous. `data`
 * is NULL when it is absent or not there yet; the stride of a broadcast dimension is 0. */
typedef struct rapt_score_view {
    char *data;
    int given; /* known before there are data */
    rapt_dtype dtype;
    int64_t stride[4], shape[4];
} rapt_score_view;

static inline int64_t rapt_score_up(int64_t x, int64_t step)
{
    return (x + step - 1) / step * step;
}

static inline int64_t rapt_score_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t rapt_score_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int rapt_score_same_name(const char *spec, const char *name)
{
    while (*name && *spec == *name)
        spec++, name++;
    return !*name && (*spec == ':' || *spec == '\0');
}

/* Position of an input of the operator, -1 if it has none of that name. */
static inline int rapt_score_find_input(const rapt_operator *op, const char *name)
{
    for (uint32_t i = 0; i < op->n_inputs; i++)
        if (rapt_score_same_name(RAPT_AT(rapt_arg, op->inputs, i)->spec, name))
            return (int)i;
    return -1;
}

/* The value of an attribute; NULL if the operator has none of that name or it is not set. */
static inline const rapt_value *rapt_score_attr(const rapt_call *call, const char *name)
{
    const rapt_operator *op = call->op;
    for (uint32_t i = 0; i < op->n_attrs; i++)
        if (rapt_score_same_name(RAPT_AT(rapt_attr, op->attrs, i)->name, name))
            return call->attrs[i].present ? &call->attrs[i] : NULL;
    return NULL;
}

static inline rapt_score_view rapt_score_view_of(const rapt_view *view)
{
    rapt_score_view result = {0};
    if (!view)
        return result;
    result.given = 1;
    result.data = (char *)rapt_view_data(view);
    result.dtype = rapt_view_dtype(view);
    for (int32_t i = 0; i < view->ndim && i < 4; i++) {
        result.shape[i] = view->shape[i];
        result.stride[i] = view->shape[i] == 1 ? 0 : view->strides[i];
    }
    return result;
}

static inline rapt_score_view rapt_score_input(const rapt_call *call, const char *name)
{
    const int i = rapt_score_find_input(call->op, name);
    return rapt_score_view_of(i < 0 ? NULL : call->inputs[i]);
}

static inline rapt_score_view rapt_score_grad(const rapt_call *call, const char *name)
{
    const int i = rapt_score_find_input(call->op, name);
    return rapt_score_view_of(i < 0 ? NULL : call->grad_inputs[i]);
}

static inline float *rapt_score_floats(const rapt_view *view)
{
    return view ? (float *)rapt_view_data(view) : NULL;
}

/* The log-sum-exp among the outputs, for operators that have it. */
static inline const rapt_view *rapt_score_lse(const rapt_call *call, const rapt_view *const *list)
{
    return call->op->n_outputs > 1 && list ? list[1] : NULL;
}

/* The first feature of a row. */
static inline void *rapt_score_row(const rapt_score_view *view, int64_t b, int64_t h, int64_t n)
{
    const int64_t element = b * view->stride[0] + h * view->stride[1] + n * view->stride[2];
    return view->data + (int64_t)rapt_dtype_size(view->dtype) * element;
}

#endif
