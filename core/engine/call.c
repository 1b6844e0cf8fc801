/* An operator called by name: bound, a kernel chosen, memory placed, run, recorded. */
#include "base/error.h"
#include "base/text.h"
#include "engine/engine.h"
#include <string.h>

/* --- Binding --------------------------------------------------------------------------------- */

rapt_tensor *rapt_view_owner(const rapt_view *view)
{
    return view ? (rapt_tensor *)((char *)(uintptr_t)view - offsetof(rapt_tensor, view)) : NULL;
}

rapt_status rapt_run_bind(rapt_run *run, rapt_context *context, const rapt_schema *schema,
                          rapt_phase phase, const rapt_application *with, rapt_error *error)
{
    rapt_named_view named[2 * RAPT_MAX_ARGS];
    if (with->n_inputs > 2 * RAPT_MAX_ARGS)
        return rapt_fail(error, RAPT_INVALID, "%s: takes %u inputs; %zu were given",
                         schema->op.name, schema->op.n_inputs, with->n_inputs);
    for (size_t i = 0; i < with->n_inputs; i++) {
        named[i].name = with->inputs[i].name;
        named[i].view = with->inputs[i].tensor ? &with->inputs[i].tensor->view : NULL;
    }
    const rapt_status status = rapt_bind(schema, phase, named, with->n_inputs, with->attrs,
                                         with->n_attrs, &run->binding, error);
    if (status != RAPT_OK)
        return status;
    rapt_device_driver *driver = rapt_devices_find(run->binding.device, error);
    if (!driver) {
        rapt_prefix_error(error, "%s", schema->op.name);
        return RAPT_UNSUPPORTED;
    }
    if (driver->judged && rapt_selftest(context, (rapt_schema *)(uintptr_t)schema, &run->binding,
                                        driver, error) != RAPT_OK) {
        rapt_prefix_error(error, "%s", schema->op.name);
        return RAPT_UNSUPPORTED;
    }
    rapt_run_begin(run, context, schema, phase, driver);
    for (uint32_t i = 0; i < schema->op.n_inputs; i++) {
        const rapt_view *view = run->binding.inputs[i];
        if (view)
            rapt_slot_set(&run->inputs, i, rapt_view_dtype(view), view->device, view->ndim,
                          view->shape, view->strides);
    }
    return RAPT_OK;
}

/* --- Outputs --------------------------------------------------------------------------------- */

static rapt_status infer_shapes(rapt_run *run, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims,
                                rapt_error *error)
{
    const rapt_operator *op = &run->schema->op;
    run->said = false;
    const rapt_status status = op->infer(&run->call, shapes, ndims);
    if (status == RAPT_OK)
        return RAPT_OK;
    return rapt_fail(error, status, "%s: %s", op->name,
                     run->said ? run->message : "shapes of outputs cannot be told");
}

rapt_status rapt_run_shape_outputs(rapt_run *run, uint64_t wanted, rapt_error *error)
{
    const rapt_schema *schema = run->schema;
    const rapt_operator *op = &schema->op;
    int64_t shapes[RAPT_MAX_ARGS][RAPT_MAX_DIMS];
    int32_t ndims[RAPT_MAX_ARGS] = {0};
    bool inferred = false;
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        if ((op->outputs[i].flags & RAPT_OPTIONAL) && !(wanted >> i & 1))
            continue;
        rapt_status status = RAPT_OK;
        if (!schema->outputs[i].any) {
            status =
                rapt_bound_shape(&run->binding, &schema->outputs[i], &ndims[i], shapes[i], error);
        } else if (!inferred) {
            status = infer_shapes(run, shapes, ndims, error);
            inferred = true;
        }
        const rapt_dtype dtype = rapt_bound_output_dtype(&run->binding, i);
        int64_t count;
        if (status == RAPT_OK) {
            status = rapt_shape_count(dtype, ndims[i], shapes[i], &count, error);
            if (status != RAPT_OK)
                rapt_prefix_error(error, "%s: %s", op->name, schema->outputs[i].name);
        }
        if (status != RAPT_OK)
            return status;
        rapt_slot_set(&run->outputs, i, dtype, run->binding.device, ndims[i], shapes[i], NULL);
    }
    return RAPT_OK;
}

/* The positions of the outputs asked for, and their mask. */
static rapt_status find_wanted(const rapt_schema *schema, const rapt_application *with,
                               int32_t *index, uint64_t *mask, rapt_error *error)
{
    const rapt_operator *op = &schema->op;
    *mask = 0;
    if (with->n_outputs > RAPT_MAX_ARGS)
        return rapt_fail(error, RAPT_INVALID, "%s: has %u outputs; %zu were asked for", op->name,
                         op->n_outputs, with->n_outputs);
    for (size_t i = 0; i < with->n_outputs; i++) {
        const char *name = with->outputs[i].name;
        index[i] = name ? rapt_schema_output(schema, name) : op->n_outputs > 0 ? 0 : -1;
        if (index[i] < 0) {
            rapt_text names = {0};
            for (uint32_t k = 0; k < op->n_outputs; k++)
                rapt_text_append(&names, "%s%s", k ? ", " : "", schema->outputs[k].name);
            rapt_fail(error, RAPT_INVALID, "%s: no output \"%s\"; there are %s", op->name,
                      name ? name : "", names.data ? names.data : "none");
            rapt_text_free(&names);
            return RAPT_INVALID;
        }
        *mask |= (uint64_t)1 << index[i];
    }
    return RAPT_OK;
}

/* --- Memory ---------------------------------------------------------------------------------- */

rapt_status rapt_run_place_inputs(rapt_run *run, rapt_tensor **holds, rapt_error *error)
{
    for (uint32_t i = 0; i < run->schema->op.n_inputs; i++) {
        rapt_tensor *tensor = rapt_view_owner(run->binding.inputs[i]);
        if (!tensor)
            continue;
        holds[i] = rapt_kernel_copies(run->kernel, &tensor->view)
                       ? rapt_copy_contiguous(tensor, error)
                       : rapt_tensor_retain(tensor);
        if (!holds[i])
            return rapt_prefix_error(error, "%s: %s", run->schema->op.name,
                                     run->schema->inputs[i].name);
        rapt_slot_tensor(&run->inputs, i, holds[i]);
    }
    return RAPT_OK;
}

/* New tensors for the views in `slots`, in whose place they then stand. */
static rapt_status make_tensors(rapt_slots *slots, uint32_t n, rapt_tensor **tensors,
                                rapt_error *error)
{
    for (uint32_t i = 0; i < n; i++) {
        const rapt_view *view = slots->at[i];
        if (!view)
            continue;
        tensors[i] =
            rapt_tensor_make(rapt_view_dtype(view), view->device, view->ndim, view->shape, error);
        if (!tensors[i])
            return error ? error->status : RAPT_NO_MEMORY;
        rapt_slot_tensor(slots, i, tensors[i]);
    }
    return RAPT_OK;
}

/* --- The call -------------------------------------------------------------------------------- */

/* What a call has made so far; all of it goes with release_attempt. */
typedef struct attempt {
    rapt_run run;
    rapt_tensor *holds[RAPT_MAX_ARGS]; /* inputs as the kernel sees them */
    rapt_tensor *outs[RAPT_MAX_ARGS];
    rapt_tensor *saved[RAPT_MAX_ARGS];
    uint32_t n_saved;
    rapt_node *node;
} attempt;

static void attempt_begin(attempt *a, const rapt_operator *op)
{
    memset(a->holds, 0, op->n_inputs * sizeof *a->holds);
    memset(a->outs, 0, op->n_outputs * sizeof *a->outs);
    a->n_saved = 0;
    a->node = NULL;
}

static void release_attempt(attempt *a, const rapt_operator *op)
{
    rapt_node_release(a->node);
    for (uint32_t i = 0; i < op->n_inputs; i++)
        rapt_tensor_release(a->holds[i]);
    for (uint32_t i = 0; i < op->n_outputs; i++)
        rapt_tensor_release(a->outs[i]);
    for (uint32_t i = 0; i < a->n_saved; i++)
        rapt_tensor_release(a->saved[i]);
    if (a->run.context)
        rapt_arena_reset(&a->run.context->arena);
}

/* Where a tensor's elements begin and end in its storage. */
static void extent(const rapt_tensor *tensor, uint64_t *begin, uint64_t *end)
{
    uint64_t last = 0;
    for (int32_t d = 0; d < tensor->view.ndim; d++)
        last += (uint64_t)(tensor->shape[d] - 1) * (uint64_t)tensor->strides[d];
    *begin = tensor->view.byte_offset;
    *end = *begin + (last + 1) * rapt_dtype_size(rapt_tensor_dtype(tensor));
}

static bool overlap(const rapt_tensor *a, const rapt_tensor *b)
{
    uint64_t begin[2], end[2];
    if (a->storage != b->storage || rapt_tensor_count(a) == 0 || rapt_tensor_count(b) == 0)
        return false;
    extent(a, &begin[0], &end[0]);
    extent(b, &begin[1], &end[1]);
    return begin[0] < end[1] && begin[1] < end[0];
}

/* What is written in place shares its memory with no other input: a kernel may read the other after
 * it has written. */
static rapt_status check_apart(const rapt_run *run, uint32_t mutated, rapt_error *error)
{
    const rapt_tensor *tensor = rapt_view_owner(run->binding.inputs[mutated]);
    for (uint32_t i = 0; i < run->schema->op.n_inputs; i++) {
        const rapt_tensor *other = rapt_view_owner(run->binding.inputs[i]);
        if (i != mutated && other && overlap(tensor, other))
            return rapt_fail(error, RAPT_INVALID,
                             "%s: %s is written in place but shares memory with %s",
                             run->schema->op.name, run->schema->inputs[mutated].name,
                             run->schema->inputs[i].name);
    }
    return RAPT_OK;
}

static rapt_status check_mutated(const rapt_run *run, rapt_error *error)
{
    const rapt_operator *op = &run->schema->op;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        const rapt_tensor *tensor = rapt_view_owner(run->binding.inputs[i]);
        if (!tensor || !(op->inputs[i].flags & RAPT_MUTATED))
            continue;
        if (rapt_check_writable(run->context, tensor, run->schema->inputs[i].name, error) !=
            RAPT_OK)
            return rapt_prefix_error(error, "%s", op->name);
        for (int32_t d = 0; d < tensor->view.ndim; d++)
            if (tensor->strides[d] == 0 && tensor->shape[d] > 1)
                return rapt_fail(error, RAPT_INVALID,
                                 "%s: %s is written in place but its elements share memory (it is "
                                 "expanded along dimension %d)",
                                 op->name, run->schema->inputs[i].name, (int)d + 1);
        const rapt_status status = check_apart(run, i, error);
        if (status != RAPT_OK)
            return status;
    }
    return RAPT_OK;
}

typedef enum recording { RECORD_NOTHING, RECORD_CALL, RECORD_REFUSAL } recording;

static recording what_to_record(const rapt_run *run)
{
    if (!run->context->recording)
        return RECORD_NOTHING;
    const rapt_operator *op = &run->schema->op;
    bool tracked = false, differentiable = false;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        const rapt_tensor *tensor = rapt_view_owner(run->binding.inputs[i]);
        if (!tensor || !rapt_tensor_tracked(tensor))
            continue;
        tracked = true;
        differentiable = differentiable || (op->inputs[i].flags & RAPT_DIFFERENTIABLE);
    }
    if (!run->kernel->backward)
        return tracked ? RECORD_REFUSAL : RECORD_NOTHING;
    return differentiable ? RECORD_CALL : RECORD_NOTHING;
}

static rapt_status shape_saved(attempt *a, rapt_error *error)
{
    rapt_run *run = &a->run;
    const rapt_kernel *kernel = run->kernel;
    for (uint32_t i = 0; i < kernel->n_saved; i++) {
        int32_t ndim;
        int64_t shape[RAPT_MAX_DIMS];
        const rapt_status status = rapt_bound_shape(
            &run->binding, &run->schema->saved[run->kernel_index][i], &ndim, shape, error);
        if (status != RAPT_OK)
            return status;
        rapt_slot_set(&run->saved, i, rapt_bound_saved_dtype(&run->binding, run->kernel_index, i),
                      run->binding.device, ndim, shape, NULL);
        a->saved[i] = NULL;
    }
    a->n_saved = kernel->n_saved;
    run->call.saved = run->saved.at;
    return RAPT_OK;
}

/* Everything that can fail except the kernel. */
static rapt_status prepare(attempt *a, uint64_t wanted, recording what, rapt_error *error)
{
    rapt_run *run = &a->run;
    const rapt_operator *op = &run->schema->op;
    rapt_status status = what == RECORD_CALL ? shape_saved(a, error) : RAPT_OK;
    (void)wanted;
    if (status == RAPT_OK)
        status = rapt_run_workspace(run, error);
    if (status == RAPT_OK)
        status = rapt_run_place_inputs(run, a->holds, error);
    if (status != RAPT_OK)
        return status;
    status = make_tensors(&run->outputs, op->n_outputs, a->outs, error);
    if (status == RAPT_OK)
        status = make_tensors(&run->saved, a->n_saved, a->saved, error);
    if (status == RAPT_OK && what != RECORD_NOTHING) {
        a->node = what == RECORD_CALL ? rapt_record_call(run, a->holds, a->outs, a->saved, error)
                                      : rapt_record_refusal(run, error);
        if (!a->node)
            status = RAPT_NO_MEMORY;
    }
    return status == RAPT_OK ? RAPT_OK : (rapt_prefix_error(error, "%s", op->name), status);
}

/* After the kernel: what it wrote in place reaches its owner. */
static rapt_status settle_mutated(attempt *a, rapt_error *error)
{
    const rapt_operator *op = &a->run.schema->op;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        rapt_tensor *tensor = rapt_view_owner(a->run.binding.inputs[i]);
        if (!tensor || !(op->inputs[i].flags & RAPT_MUTATED))
            continue;
        if (a->holds[i] != tensor) {
            const rapt_status status = rapt_transfer(&tensor->view, &a->holds[i]->view, error);
            if (status != RAPT_OK)
                return status;
        }
        rapt_tensor_written(tensor);
    }
    return RAPT_OK;
}

static void attach_outputs(attempt *a, recording what)
{
    const rapt_operator *op = &a->run.schema->op;
    if (!a->node)
        return;
    for (uint32_t i = 0; i < op->n_outputs; i++)
        if (a->outs[i] && (what == RECORD_REFUSAL || (op->outputs[i].flags & RAPT_DIFFERENTIABLE)))
            rapt_node_attach(a->node, i, a->outs[i]);
}

static rapt_status attempt_call(attempt *a, uint64_t wanted, rapt_error *error)
{
    rapt_run *run = &a->run;
    rapt_status status = check_mutated(run, error);
    if (status == RAPT_OK)
        status = rapt_run_shape_outputs(run, wanted, error);
    if (status == RAPT_OK)
        status = rapt_run_choose(run, error);
    if (status != RAPT_OK)
        return status;
    const recording what = what_to_record(run);
    status = prepare(a, wanted, what, error);
    if (status == RAPT_OK)
        status = rapt_run_invoke(run, error);
    if (status == RAPT_OK)
        status = settle_mutated(a, error);
    if (status == RAPT_OK)
        attach_outputs(a, what);
    return status;
}

rapt_status rapt_apply(rapt_context *context, rapt_schema *schema, const rapt_application *with,
                       rapt_error *error)
{
    attempt a;
    int32_t index[RAPT_MAX_ARGS];
    uint64_t wanted;
    rapt_error local; /* statuses are read back from it on the way */
    local.status = RAPT_OK;
    if (!error)
        error = &local;
    rapt_status status = find_wanted(schema, with, index, &wanted, error);
    if (status == RAPT_OK)
        status = rapt_run_bind(&a.run, context, schema, RAPT_FORWARD, with, error);
    if (status != RAPT_OK)
        return status;
    attempt_begin(&a, &schema->op);
    status = attempt_call(&a, wanted, error);
    if (status == RAPT_OK)
        for (size_t i = 0; i < with->n_outputs; i++)
            with->outputs[i].tensor = rapt_tensor_retain(a.outs[index[i]]);
    release_attempt(&a, &schema->op);
    return status;
}

rapt_status rapt_call_operator(rapt_context *context, const char *op,
                               const rapt_named_tensor *inputs, size_t n_inputs,
                               const rapt_named_value *attrs, size_t n_attrs,
                               rapt_named_tensor *outputs, size_t n_outputs, rapt_error *error)
{
    rapt_schema *schema;
    const rapt_status status = rapt_registry_find(context->registry, op, &schema, error);
    if (status != RAPT_OK)
        return status;
    const rapt_application with = {inputs, n_inputs, attrs, n_attrs, outputs, n_outputs};
    return rapt_apply(context, schema, &with, error);
}

/* --- Weights --------------------------------------------------------------------------------- */

static rapt_status attempt_weights(attempt *a, rapt_error *error)
{
    rapt_run *run = &a->run;
    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
    rapt_status status = rapt_bound_shape(&run->binding, run->schema->weights, &ndim, shape, error);
    if (status != RAPT_OK)
        return status;
    rapt_slot_set(&run->outputs, 0, RAPT_F32, run->binding.device, ndim, shape, NULL);
    status = rapt_run_choose(run, error);
    if (status == RAPT_OK)
        status = rapt_run_workspace(run, error);
    if (status == RAPT_OK)
        status = rapt_run_place_inputs(run, a->holds, error);
    if (status != RAPT_OK)
        return status;
    status = make_tensors(&run->outputs, 1, a->outs, error);
    if (status != RAPT_OK)
        return (rapt_prefix_error(error, "%s", run->schema->op.name), status);
    return rapt_run_invoke(run, error);
}

rapt_tensor *rapt_weights(rapt_context *context, const char *op, const rapt_named_tensor *inputs,
                          size_t n_inputs, const rapt_named_value *attrs, size_t n_attrs,
                          rapt_error *error)
{
    rapt_schema *schema;
    if (rapt_registry_find(context->registry, op, &schema, error) != RAPT_OK)
        return NULL;
    if (!schema->weights) {
        rapt_fail(error, RAPT_UNSUPPORTED, "%s: has no matrix of weights", schema->op.name);
        return NULL;
    }
    attempt a;
    const rapt_application with = {inputs, n_inputs, attrs, n_attrs, NULL, 0};
    if (rapt_run_bind(&a.run, context, schema, RAPT_WEIGHTS, &with, error) != RAPT_OK)
        return NULL;
    attempt_begin(&a, &schema->op);
    a.outs[0] = NULL;
    rapt_tensor *weights = NULL;
    if (attempt_weights(&a, error) == RAPT_OK) {
        weights = a.outs[0];
        a.outs[0] = NULL;
    } else {
        rapt_tensor_release(a.outs[0]);
        a.outs[0] = NULL;
    }
    release_attempt(&a, &schema->op);
    return weights;
}
