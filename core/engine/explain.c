/* Which kernel would run a call, and why each other would not; what the call costs. */
#include "base/error.h"
#include "base/text.h"
#include "engine/decode.h"
#include <string.h>

/* How input `i` would reach the kernel, if not as it is. */
static void explain_copies(const rapt_run *run, rapt_text *text)
{
    for (uint32_t i = 0; i < run->schema->op.n_inputs; i++) {
        const rapt_view *view = run->binding.inputs[i];
        if (view && rapt_kernel_copies(run->kernel, view))
            rapt_text_append(text, "  %s is copied first: %s\n", run->schema->inputs[i].name,
                             run->kernel->flags & RAPT_CONTIGUOUS
                                 ? "the kernel takes contiguous tensors"
                                 : "the kernel takes tensors whose last dimension is contiguous");
    }
}

/* What each kernel says to the call in its phase; the one that would run, or NULL. */
static const rapt_kernel *explain_kernels(rapt_run *run, const char *indent, rapt_text *text)
{
    const rapt_operator *op = &run->schema->op;
    rapt_error none = {0};
    const bool found = rapt_run_choose(run, &none) == RAPT_OK;
    const rapt_kernel *chosen = found ? run->kernel : NULL;
    for (uint32_t k = 0; k < op->n_kernels; k++) {
        const rapt_kernel *kernel = &op->kernels[k];
        rapt_error why = {0};
        if (kernel == chosen)
            rapt_text_append(text, "%s%s: would run (priority %d)\n", indent, kernel->name,
                             (int)kernel->priority);
        else if (rapt_run_try(run, k, &why) != RAPT_OK)
            rapt_text_append(text, "%s%s: no: %s\n", indent, kernel->name, why.message);
        else
            rapt_text_append(
                text, "%s%s: could, but %s (priority %d) goes before it (priority %d)\n", indent,
                kernel->name, chosen->name, (int)chosen->priority, (int)kernel->priority);
    }
    run->kernel = chosen;
    return chosen;
}

/* What the operator does without on this device. */
static void explain_verdict(const rapt_run *run, rapt_text *text)
{
    rapt_verdict verdict;
    if (run->driver->judged && run->driver->judged(run->driver, run->schema->op.name, &verdict) &&
        verdict.failed)
        rapt_text_append(text, "  paths are off, for they failed its self-test: %s\n", verdict.why);
}

static void explain_forward(rapt_run *run, rapt_text *text)
{
    const rapt_kernel *chosen = explain_kernels(run, "  ", text);
    if (!chosen) {
        rapt_text_append(text, "  nothing can run it\n");
        return;
    }
    explain_copies(run, text);
    if (chosen->backward)
        rapt_text_append(text, "  backward: %s, as forward\n", chosen->name);
    else
        rapt_text_append(text, "  it has no backward\n");
}

/* The first position of an input along the dimensions that `letters` count. */
static rapt_tensor *first_position(const rapt_spec *spec, rapt_tensor *tensor, const char *letters,
                                   rapt_error *error)
{
    rapt_tensor *part = rapt_tensor_retain(tensor);
    for (int32_t d = 0; part && d < spec->n_dims; d++) {
        const int32_t axis = part->view.ndim - (spec->n_dims - d);
        if (!spec->dims[d].letter || !strchr(letters, spec->dims[d].letter) || axis < 0 ||
            part->shape[axis] < 2)
            continue;
        rapt_tensor *row = rapt_view_narrow(part, axis, 0, 1, error);
        rapt_tensor_release(part);
        part = row;
    }
    return part;
}

/* A step as decoding would make it after a prefill with these inputs: one query, and of what the
 * state keeps its new row. */
typedef struct explained_step {
    rapt_run run;
    rapt_named_tensor inputs[2 * RAPT_MAX_ARGS];
    rapt_tensor *rows[RAPT_MAX_ARGS]; /* of appended inputs */
    size_t n_inputs;
} explained_step;

static rapt_status take_first(explained_step *step, const rapt_schema *schema,
                              const rapt_application *with, rapt_error *error)
{
    for (size_t k = 0; k < with->n_inputs; k++) {
        const int32_t i = rapt_schema_input(schema, with->inputs[k].name);
        rapt_tensor *tensor = with->inputs[k].tensor;
        if (i < 0 || !tensor)
            continue;
        rapt_tensor *first = first_position(&schema->inputs[i], tensor, "N", error);
        if (!first)
            return RAPT_NO_MEMORY;
        step->inputs[step->n_inputs++] = (rapt_named_tensor){with->inputs[k].name, first};
        if (!rapt_input_is_appended(schema, (uint32_t)i))
            continue;
        step->rows[i] = first_position(&schema->inputs[i], first, "M", error);
        if (!step->rows[i])
            return RAPT_NO_MEMORY;
    }
    return RAPT_OK;
}

static rapt_status explain_first(explained_step *step, rapt_context *context,
                                 const rapt_schema *schema, const rapt_application *with,
                                 rapt_text *text, rapt_error *error)
{
    const rapt_application one = {step->inputs,  step->n_inputs, with->attrs,
                                  with->n_attrs, NULL,           0};
    rapt_error why = {0};
    if (rapt_run_bind(&step->run, context, schema, RAPT_FORWARD, &one, &why) != RAPT_OK ||
        rapt_run_shape_outputs(&step->run, 1, &why) != RAPT_OK) {
        if (why.status == RAPT_NO_MEMORY)
            return rapt_fail(error, RAPT_NO_MEMORY, "%s", why.message);
        rapt_text_append(text, "  a step is not possible: %s\n", why.message);
        return RAPT_OK;
    }
    rapt_text_append(text, "  in a step of decoding\n");
    if (rapt_run_steps(&step->run)) {
        step->run.call.phase = RAPT_STEP;
        step->run.call.states = step->run.states.at;
        for (uint32_t i = 0; i < schema->op.n_inputs; i++)
            if (step->rows[i])
                step->run.binding.inputs[i] = &step->rows[i]->view;
    } else {
        rapt_text_append(text,
                         "    no kernel has a step for this: a forward over all rows is it\n");
    }
    if (!explain_kernels(&step->run, "    ", text))
        rapt_text_append(text, "    nothing can run it\n");
    return RAPT_OK;
}

static rapt_status explain_step(rapt_context *context, const rapt_schema *schema,
                                const rapt_application *with, rapt_text *text, rapt_error *error)
{
    explained_step step;
    step.n_inputs = 0;
    memset(step.rows, 0, sizeof step.rows);
    rapt_status status = take_first(&step, schema, with, error);
    if (status == RAPT_OK)
        status = explain_first(&step, context, schema, with, text, error);
    for (size_t k = 0; k < step.n_inputs; k++)
        rapt_tensor_release(step.inputs[k].tensor);
    for (uint32_t i = 0; i < RAPT_MAX_ARGS; i++)
        rapt_tensor_release(step.rows[i]);
    return status;
}

char *rapt_explain(rapt_context *context, const char *op, const rapt_named_tensor *inputs,
                   size_t n_inputs, const rapt_named_value *attrs, size_t n_attrs,
                   rapt_error *error)
{
    rapt_schema *schema;
    if (rapt_registry_find(context->registry, op, &schema, error) != RAPT_OK)
        return NULL;
    rapt_run run;
    const rapt_application with = {inputs, n_inputs, attrs, n_attrs, NULL, 0};
    if (rapt_run_bind(&run, context, schema, RAPT_FORWARD, &with, error) != RAPT_OK ||
        rapt_run_shape_outputs(&run, 0, error) != RAPT_OK)
        return NULL;
    rapt_text text = {0};
    rapt_text_append(&text, "%s on %s with %s\n", schema->op.name, run.driver->info.name,
                     rapt_dtype_name(run.call.dtype));
    explain_verdict(&run, &text);
    explain_forward(&run, &text);
    rapt_status status = RAPT_OK;
    if (schema->op.n_states > 0)
        status = explain_step(context, schema, &with, &text, error);
    rapt_arena_reset(&context->arena);
    if (status != RAPT_OK) {
        rapt_text_free(&text);
        return NULL;
    }
    if (text.failed) {
        rapt_text_free(&text);
        rapt_fail_memory(error, 0, "an explanation");
        return NULL;
    }
    return text.data;
}

rapt_status rapt_operator_cost(rapt_context *context, const char *op,
                               const rapt_named_tensor *inputs, size_t n_inputs,
                               const rapt_named_value *attrs, size_t n_attrs, rapt_cost *cost,
                               rapt_error *error)
{
    rapt_schema *schema;
    rapt_status status = rapt_registry_find(context->registry, op, &schema, error);
    if (status != RAPT_OK)
        return status;
    rapt_run run;
    const rapt_application with = {inputs, n_inputs, attrs, n_attrs, NULL, 0};
    status = rapt_run_bind(&run, context, schema, RAPT_FORWARD, &with, error);
    if (status != RAPT_OK)
        return status;
    rapt_cost told = {0};
    status = rapt_bound_cost(&run.binding, &told, error);
    if (status == RAPT_OK)
        *cost = told;
    return status;
}
