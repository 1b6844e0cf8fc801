/* Which kernel would run a call, and why each other would not; what the call costs. */
#include "base/error.h"
#include "base/text.h"
#include "engine/engine.h"
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

static void explain_kernels(rapt_run *run, rapt_text *text)
{
    const rapt_operator *op = &run->schema->op;
    rapt_error none = {0};
    const bool found = rapt_run_choose(run, &none) == RAPT_OK;
    const rapt_kernel *chosen = found ? run->kernel : NULL;
    for (uint32_t k = 0; k < op->n_kernels; k++) {
        const rapt_kernel *kernel = &op->kernels[k];
        rapt_error why = {0};
        if (kernel == chosen)
            rapt_text_append(text, "  %s: would run (priority %d)\n", kernel->name,
                             (int)kernel->priority);
        else if (rapt_run_try(run, k, &why) != RAPT_OK)
            rapt_text_append(text, "  %s: no: %s\n", kernel->name, why.message);
        else
            rapt_text_append(
                text, "  %s: could, but %s (priority %d) goes before it (priority %d)\n",
                kernel->name, chosen->name, (int)chosen->priority, (int)kernel->priority);
    }
    if (!chosen) {
        rapt_text_append(text, "  nothing can run it\n");
        return;
    }
    run->kernel = chosen;
    explain_copies(run, text);
    if (!chosen->backward)
        rapt_text_append(text, "  it has no backward\n");
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
    explain_kernels(&run, &text);
    rapt_arena_reset(&context->arena);
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
