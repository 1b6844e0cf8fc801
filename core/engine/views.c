/* Views and layout changes, recorded: each knows the way back for its gradient. */
#include "base/error.h"
#include "base/text.h"
#include "engine/engine.h"
#include <string.h>

typedef enum view_kind {
    VIEW_PART,    /* select, narrow: zeros with the part written */
    VIEW_PERMUTE, /* the inverse order */
    VIEW_EXPAND,  /* the sum over what was expanded */
    VIEW_RESHAPE, /* the shape from before */
    VIEW_CAST,    /* the dtype and device from before */
    VIEW_COPY     /* the gradient itself */
} view_kind;

typedef struct view_body {
    const char *name;
    view_kind kind;
    rapt_dtype dtype; /* of the input, as all that follows */
    rapt_device device;
    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
    int32_t dim; /* part: which, from where; select takes the dimension away */
    int64_t start;
    bool select;
    int32_t order[RAPT_MAX_DIMS]; /* permute: dimension i of the result was order[i] */
} view_body;

static const char *view_name(const rapt_node *node)
{
    return ((const view_body *)node->body)->name;
}

/* --- Backward -------------------------------------------------------------------------------- */

static rapt_tensor *part_backward(const view_body *body, rapt_tensor *grad, rapt_error *error)
{
    rapt_tensor *whole =
        rapt_tensor_make(body->dtype, body->device, body->ndim, body->shape, error);
    if (!whole)
        return NULL;
    rapt_tensor *part = NULL;
    if (rapt_tensor_clear(whole, error) == RAPT_OK)
        part = body->select
                   ? rapt_view_select(whole, body->dim, body->start, error)
                   : rapt_view_narrow(whole, body->dim, body->start, grad->shape[body->dim], error);
    const bool done = part && rapt_transfer(&part->view, &grad->view, error) == RAPT_OK;
    rapt_tensor_release(part);
    if (done)
        return whole;
    rapt_tensor_release(whole);
    return NULL;
}

static rapt_tensor *permute_backward(const view_body *body, rapt_tensor *grad, rapt_error *error)
{
    int32_t inverse[RAPT_MAX_DIMS];
    for (int32_t i = 0; i < body->ndim; i++)
        inverse[body->order[i]] = i;
    return rapt_view_permute(grad, body->ndim, inverse, error);
}

/* The elements in another shape: a view where the strides allow it, otherwise of a copy. */
static rapt_tensor *reshaped(rapt_tensor *tensor, int32_t ndim, const int64_t *shape,
                             rapt_error *error)
{
    bool possible = true;
    rapt_tensor *view = rapt_view_reshape(tensor, ndim, shape, &possible, error);
    if (view || possible)
        return view;
    rapt_tensor *copy = rapt_copy_contiguous(tensor, error);
    if (!copy)
        return NULL;
    view = rapt_view_reshape(copy, ndim, shape, &possible, error);
    rapt_tensor_release(copy);
    return view;
}

static rapt_status view_backward(rapt_context *context, rapt_node *node, rapt_tensor *const *grads,
                                 rapt_tensor **grad_inputs, rapt_error *error)
{
    const view_body *body = node->body;
    rapt_tensor *grad = grads[0], *result = NULL;
    switch (body->kind) {
    case VIEW_PART:
        result = part_backward(body, grad, error);
        break;
    case VIEW_PERMUTE:
        result = permute_backward(body, grad, error);
        break;
    case VIEW_EXPAND:
        result = rapt_sum_expanded(context, grad, body->ndim, body->shape, error);
        break;
    case VIEW_RESHAPE:
        result = reshaped(grad, body->ndim, body->shape, error);
        break;
    case VIEW_CAST:
        result = rapt_copy_to(grad, body->dtype, body->device, error);
        break;
    case VIEW_COPY:
        result = rapt_tensor_retain(grad);
        break;
    }
    grad_inputs[0] = result;
    if (result)
        return RAPT_OK;
    rapt_prefix_error(error, "%s: in backward", body->name);
    return error && error->status ? error->status : RAPT_NO_MEMORY;
}

static const rapt_node_class view_class = {view_name, view_backward, NULL, NULL};

/* --- Recording ------------------------------------------------------------------------------- */

/* Makes `result` (taken over, NULL passes through) the recorded outcome of `name` of `input`.
 * *body, where wanted, is what is left to fill in. */
static rapt_tensor *record(rapt_context *context, rapt_tensor *input, rapt_tensor *result,
                           const char *name, view_kind kind, view_body **body, rapt_error *error)
{
    *body = NULL;
    if (!result) {
        const size_t n = strlen(name);
        if (error && (strncmp(error->message, name, n) != 0 || error->message[n] != ':'))
            rapt_prefix_error(error, "%s", name);
        return NULL;
    }
    if (!context->recording || !rapt_tensor_tracked(input))
        return result;
    rapt_node *node = rapt_node_new(&view_class, 1, 1, sizeof(view_body), error);
    if (!node) {
        rapt_tensor_release(result);
        return NULL;
    }
    view_body *b = *body = node->body;
    b->name = name;
    b->kind = kind;
    b->dtype = rapt_tensor_dtype(input);
    b->device = input->view.device;
    b->ndim = input->view.ndim;
    memcpy(b->shape, input->shape, sizeof b->shape);
    rapt_node_connect(node, 0, input);
    rapt_node_attach(node, 0, result);
    rapt_node_release(node);
    return result;
}

rapt_tensor *rapt_select(rapt_context *context, rapt_tensor *tensor, int32_t dim, int64_t index,
                         rapt_error *error)
{
    view_body *body;
    rapt_tensor *result = rapt_view_select(tensor, dim, index, error);
    result = record(context, tensor, result, "select", VIEW_PART, &body, error);
    if (result && body) {
        body->dim = dim < 0 ? dim + tensor->view.ndim : dim;
        body->start = index < 0 ? index + tensor->shape[body->dim] : index;
        body->select = true;
    }
    return result;
}

rapt_tensor *rapt_narrow(rapt_context *context, rapt_tensor *tensor, int32_t dim, int64_t start,
                         int64_t length, rapt_error *error)
{
    view_body *body;
    rapt_tensor *result = rapt_view_narrow(tensor, dim, start, length, error);
    result = record(context, tensor, result, "narrow", VIEW_PART, &body, error);
    if (result && body) {
        body->dim = dim < 0 ? dim + tensor->view.ndim : dim;
        body->start = start < 0 ? start + tensor->shape[body->dim] : start;
    }
    return result;
}

rapt_tensor *rapt_transpose(rapt_context *context, rapt_tensor *tensor, int32_t dim_a,
                            int32_t dim_b, rapt_error *error)
{
    view_body *body;
    rapt_tensor *result = rapt_view_transpose(tensor, dim_a, dim_b, error);
    result = record(context, tensor, result, "transpose", VIEW_PERMUTE, &body, error);
    if (result && body) {
        const int32_t n = tensor->view.ndim, a = dim_a < 0 ? dim_a + n : dim_a,
                      b = dim_b < 0 ? dim_b + n : dim_b;
        for (int32_t i = 0; i < n; i++)
            body->order[i] = i == a ? b : i == b ? a : i;
    }
    return result;
}

rapt_tensor *rapt_permute(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                          const int32_t *order, rapt_error *error)
{
    view_body *body;
    rapt_tensor *result = rapt_view_permute(tensor, ndim, order, error);
    result = record(context, tensor, result, "permute", VIEW_PERMUTE, &body, error);
    if (result && body)
        for (int32_t i = 0; i < ndim; i++)
            body->order[i] = order[i] < 0 ? order[i] + ndim : order[i];
    return result;
}

rapt_tensor *rapt_expand(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                         const int64_t *shape, rapt_error *error)
{
    view_body *body;
    rapt_tensor *result = rapt_view_expand(tensor, ndim, shape, error);
    return record(context, tensor, result, "expand", VIEW_EXPAND, &body, error);
}

rapt_tensor *rapt_view_as(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                          const int64_t *shape, rapt_error *error)
{
    bool possible = true;
    view_body *body;
    rapt_tensor *result = rapt_view_reshape(tensor, ndim, shape, &possible, error);
    if (!result && !possible) {
        char from[RAPT_SHAPE_TEXT], to[RAPT_SHAPE_TEXT];
        rapt_fail(error, RAPT_INVALID,
                  "view: the layout of this %s does not allow %s without a copy; reshape makes one",
                  rapt_shape_text(from, tensor->view.ndim, tensor->shape),
                  rapt_shape_text(to, ndim, shape));
        return NULL;
    }
    return record(context, tensor, result, "view", VIEW_RESHAPE, &body, error);
}

rapt_tensor *rapt_reshape(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                          const int64_t *shape, rapt_error *error)
{
    view_body *body;
    rapt_tensor *result = reshaped(tensor, ndim, shape, error);
    return record(context, tensor, result, "reshape", VIEW_RESHAPE, &body, error);
}

rapt_tensor *rapt_contiguous(rapt_context *context, rapt_tensor *tensor, rapt_error *error)
{
    if (rapt_view_is_contiguous(&tensor->view))
        return rapt_tensor_retain(tensor);
    view_body *body;
    rapt_tensor *result = rapt_copy_contiguous(tensor, error);
    return record(context, tensor, result, "contiguous", VIEW_COPY, &body, error);
}

rapt_tensor *rapt_clone(rapt_context *context, rapt_tensor *tensor, rapt_error *error)
{
    view_body *body;
    rapt_tensor *result = rapt_copy_contiguous(tensor, error);
    return record(context, tensor, result, "clone", VIEW_COPY, &body, error);
}

rapt_tensor *rapt_to(rapt_context *context, rapt_tensor *tensor, rapt_dtype dtype,
                     rapt_device device, rapt_error *error)
{
    if ((unsigned)dtype >= RAPT_DTYPE_COUNT) {
        rapt_fail(error, RAPT_INVALID, "to: dtype %d is none of rapt's", (int)dtype);
        return NULL;
    }
    const rapt_device here = tensor->view.device;
    if (rapt_tensor_dtype(tensor) == dtype && here.type == device.type &&
        here.index == device.index)
        return rapt_tensor_retain(tensor);
    rapt_tensor *result = rapt_copy_to(tensor, dtype, device, error);
    /* Integers have no gradient: what is made of them starts anew. */
    if (result && dtype != RAPT_F32 && dtype != RAPT_F16 && dtype != RAPT_BF16 && dtype != RAPT_F64)
        return result;
    view_body *body;
    return record(context, tensor, result, "to", VIEW_CAST, &body, error);
}
