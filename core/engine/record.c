/* The tape's record of an operator's call, and its backward. */
#include "base/error.h"
#include "engine/engine.h"
#include <string.h>

/* An argument as the record remembers it: its shape always, its memory if backward reads it. */
typedef struct kept_arg {
    rapt_tensor *tensor; /* NULL: not kept, or absent */
    unsigned version;    /* of the storage when it was used */
    bool present;
    rapt_dtype dtype;
    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
} kept_arg;

typedef struct bound_size {
    int letter;
    int64_t size;
} bound_size;

typedef struct call_body {
    rapt_schema *schema;
    uint32_t kernel_index;
    rapt_dtype dtype;
    rapt_device device;
    uint32_t n_sizes, n_saved;
    kept_arg *inputs, *outputs;
    rapt_tensor **saved;
    rapt_value *attrs;
    bound_size *sizes;
} call_body;

/* --- Making ---------------------------------------------------------------------------------- */

static const char *call_name(const rapt_node *node)
{
    return ((const call_body *)node->body)->schema->op.name;
}

static void call_drop(rapt_node *node)
{
    call_body *body = node->body;
    const rapt_operator *op = &body->schema->op;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        rapt_tensor_release(body->inputs[i].tensor);
        body->inputs[i].tensor = NULL;
    }
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        rapt_tensor_release(body->outputs[i].tensor);
        body->outputs[i].tensor = NULL;
    }
    for (uint32_t i = 0; i < body->n_saved; i++) {
        rapt_tensor_release(body->saved[i]);
        body->saved[i] = NULL;
    }
}

static void call_end(rapt_node *node)
{
    call_body *body = node->body;
    if (body->schema)
        rapt_schema_release(body->schema);
}

static rapt_status call_backward(rapt_context *context, rapt_node *node, rapt_tensor *const *grads,
                                 rapt_tensor **grad_inputs, rapt_error *error);

static const rapt_node_class call_class = {call_name, call_backward, call_drop, call_end};

static void remember(kept_arg *arg, const rapt_tensor *tensor)
{
    arg->present = true;
    arg->dtype = rapt_tensor_dtype(tensor);
    arg->ndim = tensor->view.ndim;
    memcpy(arg->shape, tensor->shape, sizeof arg->shape);
    arg->version = atomic_load_explicit(&tensor->storage->version, memory_order_acquire);
}

static uint32_t count_sizes(const int64_t *sizes)
{
    uint32_t n = 0;
    for (int c = 0; c < RAPT_SIZES; c++)
        n += sizes[c] >= 0;
    return n;
}

/* A node whose body has room for what `run` says; its parts are placed, nothing is filled. */
static rapt_node *new_call_node(const rapt_run *run, rapt_error *error)
{
    const rapt_operator *op = &run->schema->op;
    const uint32_t n_sizes = count_sizes(run->binding.sizes), n_saved = run->kernel->n_saved;
    const size_t inputs = op->n_inputs * sizeof(kept_arg),
                 outputs = op->n_outputs * sizeof(kept_arg),
                 saved = n_saved * sizeof(rapt_tensor *), attrs = op->n_attrs * sizeof(rapt_value),
                 sizes = n_sizes * sizeof(bound_size);
    rapt_node *node =
        rapt_node_new(&call_class, op->n_inputs, op->n_outputs,
                      sizeof(call_body) + inputs + outputs + saved + attrs + sizes, error);
    if (!node)
        return NULL;
    call_body *body = node->body;
    char *at = (char *)(body + 1);
    body->inputs = (kept_arg *)(void *)at;
    body->outputs = (kept_arg *)(void *)(at += inputs);
    body->saved = (rapt_tensor **)(void *)(at += outputs);
    body->attrs = (rapt_value *)(void *)(at += saved);
    body->sizes = (bound_size *)(void *)(at + attrs);
    body->n_sizes = n_sizes;
    body->n_saved = n_saved;
    body->schema = rapt_schema_retain((rapt_schema *)(uintptr_t)run->schema);
    return node;
}

rapt_node *rapt_record_call(const rapt_run *run, rapt_tensor *const *holds,
                            rapt_tensor *const *outs, rapt_tensor *const *saved, rapt_error *error)
{
    const rapt_operator *op = &run->schema->op;
    rapt_node *node = new_call_node(run, error);
    if (!node)
        return NULL;
    call_body *body = node->body;
    body->kernel_index = run->kernel_index;
    body->dtype = run->call.dtype;
    body->device = run->binding.device;
    memcpy(body->attrs, run->binding.attrs, op->n_attrs * sizeof *body->attrs);
    for (int c = 0, n = 0; c < RAPT_SIZES; c++)
        if (run->binding.sizes[c] >= 0)
            body->sizes[n++] = (bound_size){c, run->binding.sizes[c]};
    const uint64_t keep_inputs = run->schema->keep_inputs[run->kernel_index];
    const uint64_t keep_outputs = run->schema->keep_outputs[run->kernel_index];
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        rapt_tensor *given = rapt_view_owner(run->binding.inputs[i]);
        if (!given)
            continue;
        remember(&body->inputs[i], holds[i]);
        if (keep_inputs >> i & 1)
            body->inputs[i].tensor = rapt_tensor_retain(holds[i]);
        if (op->inputs[i].flags & RAPT_DIFFERENTIABLE)
            rapt_node_connect(node, i, given);
    }
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        if (!outs[i])
            continue;
        remember(&body->outputs[i], outs[i]);
        if (!(keep_outputs >> i & 1))
            continue;
        /* An alias: the output itself will point to this node. */
        body->outputs[i].tensor = rapt_alias(outs[i], error);
        if (!body->outputs[i].tensor) {
            rapt_node_release(node);
            return NULL;
        }
    }
    for (uint32_t i = 0; i < body->n_saved; i++)
        body->saved[i] = rapt_tensor_retain(saved[i]);
    return node;
}

/* --- Backward -------------------------------------------------------------------------------- */

static rapt_status check_versions(const call_body *body, const kept_arg *args,
                                  const rapt_spec *specs, uint32_t n, rapt_error *error)
{
    for (uint32_t i = 0; i < n; i++) {
        const rapt_tensor *tensor = args[i].tensor;
        if (tensor && atomic_load_explicit(&tensor->storage->version, memory_order_acquire) !=
                          args[i].version)
            return rapt_fail(error, RAPT_INVALID,
                             "backward: %s was changed in place after it was used by %s, which "
                             "needs it as it was",
                             specs[i].name, body->schema->op.name);
    }
    return RAPT_OK;
}

/* Views of what forward had and left. */
static void restore_views(rapt_run *run, const call_body *body)
{
    const rapt_operator *op = &body->schema->op;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        const kept_arg *arg = &body->inputs[i];
        if (arg->tensor)
            rapt_slot_tensor(&run->inputs, i, arg->tensor);
        else if (arg->present)
            rapt_slot_set(&run->inputs, i, arg->dtype, body->device, arg->ndim, arg->shape, NULL);
    }
    for (uint32_t i = 0; i < op->n_outputs; i++)
        if (body->outputs[i].tensor)
            rapt_slot_tensor(&run->outputs, i, body->outputs[i].tensor);
    for (uint32_t i = 0; i < body->n_saved; i++)
        rapt_slot_tensor(&run->saved, i, body->saved[i]);
    run->call.saved = run->saved.at;
}

static void restore_call(rapt_run *run, rapt_context *context, const call_body *body,
                         rapt_device_driver *driver)
{
    const rapt_operator *op = &body->schema->op;
    run->binding.dtype = body->dtype;
    run->binding.device = body->device;
    memcpy(run->binding.attrs, body->attrs, op->n_attrs * sizeof *body->attrs);
    memset(run->binding.sizes, 0xFF, sizeof run->binding.sizes);
    for (uint32_t i = 0; i < body->n_sizes; i++)
        run->binding.sizes[body->sizes[i].letter] = body->sizes[i].size;
    rapt_run_begin(run, context, body->schema, RAPT_BACKWARD, driver);
    run->kernel = &op->kernels[body->kernel_index];
    run->kernel_index = body->kernel_index;
    run->call.kernel = run->kernel;
    restore_views(run, body);
    memset(run->grad_outputs.at, 0, op->n_outputs * sizeof(rapt_view *));
    memset(run->grad_inputs.at, 0, op->n_inputs * sizeof(rapt_view *));
    run->call.grad_outputs = (const rapt_view *const *)run->grad_outputs.at;
    run->call.grad_inputs = run->grad_inputs.at;
}

/* Contiguous gradients of the outputs: held[i] is a new reference. */
static rapt_status place_grad_outputs(rapt_run *run, rapt_tensor *const *grads, rapt_tensor **held,
                                      rapt_error *error)
{
    for (uint32_t i = 0; i < run->schema->op.n_outputs; i++) {
        if (!grads[i])
            continue;
        held[i] = rapt_as_contiguous(grads[i], error);
        if (!held[i])
            return RAPT_NO_MEMORY;
        rapt_slot_tensor(&run->grad_outputs, i, held[i]);
    }
    return RAPT_OK;
}

static rapt_status place_grad_inputs(rapt_run *run, const rapt_node *node, rapt_tensor **grads,
                                     rapt_error *error)
{
    const call_body *body = node->body;
    for (uint32_t i = 0; i < node->n_edges; i++) {
        if (!node->edges[i].port && !node->edges[i].leaf)
            continue;
        const kept_arg *arg = &body->inputs[i];
        grads[i] = rapt_tensor_make(arg->dtype, body->device, arg->ndim, arg->shape, error);
        if (!grads[i])
            return RAPT_NO_MEMORY;
        rapt_slot_tensor(&run->grad_inputs, i, grads[i]);
    }
    return RAPT_OK;
}

/* The workspace is asked for before there is memory; gradients have their layout by then. */
static rapt_status ask_workspace(rapt_run *run, const rapt_node *node, rapt_tensor *const *grads,
                                 rapt_error *error)
{
    const call_body *body = node->body;
    for (uint32_t i = 0; i < node->n_ports; i++)
        if (grads[i])
            rapt_slot_set(&run->grad_outputs, i, body->outputs[i].dtype, body->device,
                          body->outputs[i].ndim, body->outputs[i].shape, NULL);
    for (uint32_t i = 0; i < node->n_edges; i++)
        if (node->edges[i].port || node->edges[i].leaf)
            rapt_slot_set(&run->grad_inputs, i, body->inputs[i].dtype, body->device,
                          body->inputs[i].ndim, body->inputs[i].shape, NULL);
    return rapt_run_workspace(run, error);
}

static rapt_status call_backward(rapt_context *context, rapt_node *node, rapt_tensor *const *grads,
                                 rapt_tensor **grad_inputs, rapt_error *error)
{
    const call_body *body = node->body;
    const rapt_schema *schema = body->schema;
    const rapt_operator *op = &schema->op;
    rapt_status status = check_versions(body, body->inputs, schema->inputs, op->n_inputs, error);
    if (status == RAPT_OK)
        status = check_versions(body, body->outputs, schema->outputs, op->n_outputs, error);
    if (status != RAPT_OK)
        return status;
    rapt_device_driver *driver = rapt_devices_find(body->device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    rapt_run run;
    rapt_tensor *held[RAPT_MAX_ARGS];
    memset(held, 0, op->n_outputs * sizeof *held);
    restore_call(&run, context, body, driver);
    status = ask_workspace(&run, node, grads, error);
    if (status == RAPT_OK)
        status = place_grad_outputs(&run, grads, held, error);
    if (status == RAPT_OK)
        status = place_grad_inputs(&run, node, grad_inputs, error);
    if (status == RAPT_NO_MEMORY)
        rapt_prefix_error(error, "%s: in backward", op->name);
    if (status == RAPT_OK)
        status = rapt_run_invoke(&run, error);
    rapt_arena_reset(&context->arena);
    for (uint32_t i = 0; i < op->n_outputs; i++)
        rapt_tensor_release(held[i]);
    if (status != RAPT_OK)
        for (uint32_t i = 0; i < node->n_edges; i++) {
            rapt_tensor_release(grad_inputs[i]);
            grad_inputs[i] = NULL;
        }
    return status;
}

/* --- Refusal --------------------------------------------------------------------------------- */

static const char *refusal_name(const rapt_node *node)
{
    return (*(rapt_schema *const *)node->body)->op.name;
}

static rapt_status refusal_backward(rapt_context *context, rapt_node *node,
                                    rapt_tensor *const *grads, rapt_tensor **grad_inputs,
                                    rapt_error *error)
{
    (void)context;
    (void)grads;
    (void)grad_inputs;
    return rapt_fail(error, RAPT_UNSUPPORTED, "%s has no backward", refusal_name(node));
}

static void refusal_end(rapt_node *node)
{
    rapt_schema_release(*(rapt_schema *const *)node->body);
}

static const rapt_node_class refusal_class = {refusal_name, refusal_backward, NULL, refusal_end};

rapt_node *rapt_record_refusal(const rapt_run *run, rapt_error *error)
{
    rapt_node *node =
        rapt_node_new(&refusal_class, 0, run->schema->op.n_outputs, sizeof(rapt_schema *), error);
    if (node)
        *(rapt_schema **)node->body = rapt_schema_retain((rapt_schema *)(uintptr_t)run->schema);
    return node;
}
