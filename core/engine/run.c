/* One call of one kernel: its views, which kernel it is, and the invocation. */
#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "engine/engine.h"
#include <string.h>

/* --- Views ----------------------------------------------------------------------------------- */

void rapt_slot_set(rapt_slots *slots, uint32_t i, rapt_dtype dtype, rapt_device device,
                   int32_t ndim, const int64_t *shape, const int64_t *strides)
{
    for (int32_t d = 0; d < ndim; d++)
        slots->shape[i][d] = shape[d];
    if (strides)
        for (int32_t d = 0; d < ndim; d++)
            slots->strides[i][d] = strides[d];
    else
        rapt_contiguous_strides(ndim, slots->shape[i], slots->strides[i]);
    slots->view[i] = (rapt_view){
        NULL, device, ndim, rapt_dltype_of(dtype), slots->shape[i], slots->strides[i], 0};
    slots->at[i] = &slots->view[i];
}

void rapt_slot_tensor(rapt_slots *slots, uint32_t i, const rapt_tensor *tensor)
{
    slots->view[i] = tensor->view;
    slots->at[i] = &slots->view[i];
}

rapt_dtype rapt_arg_dtype(const rapt_arg *arg, rapt_dtype compute)
{
    if (!arg->dtype || arg->dtype[0] == 'T')
        return compute;
    char name[8];
    const size_t n = strcspn(arg->dtype, "|");
    rapt_dtype dtype = RAPT_DTYPE_COUNT;
    if (n < sizeof name) {
        memcpy(name, arg->dtype, n);
        name[n] = 0;
        if (rapt_dtype_parse(name, &dtype, NULL) != RAPT_OK)
            return RAPT_DTYPE_COUNT;
    }
    return dtype;
}

void rapt_run_begin(rapt_run *run, rapt_context *context, const rapt_schema *schema,
                    rapt_phase phase, rapt_device_driver *driver)
{
    const rapt_operator *op = &schema->op;
    run->context = context;
    run->schema = schema;
    run->kernel = NULL;
    run->kernel_index = 0;
    run->driver = driver;
    run->said = false;
    memset(run->inputs.at, 0, op->n_inputs * sizeof(rapt_view *));
    memset(run->outputs.at, 0, (op->n_outputs + 1) * sizeof(rapt_view *));
    run->call = (rapt_call){
        .size = sizeof(rapt_call),
        .phase = phase,
        .host = &rapt_host_table,
        .op = op,
        .inputs = (const rapt_view *const *)run->inputs.at,
        .outputs = run->outputs.at,
        .attrs = run->binding.attrs,
        .sizes = run->binding.sizes,
        .dtype = run->binding.dtype,
        .internal = run,
    };
}

bool rapt_kernel_copies(const rapt_kernel *kernel, const rapt_view *view)
{
    if (kernel->flags & RAPT_CONTIGUOUS)
        return !rapt_view_is_contiguous(view);
    return !(kernel->flags & RAPT_ANY_STRIDES) && !rapt_view_inner_contiguous(view);
}

/* --- Choice ---------------------------------------------------------------------------------- */

static rapt_status wrong_dtype(const rapt_kernel *kernel, rapt_dtype dtype, rapt_error *why)
{
    rapt_text takes = {0};
    for (unsigned d = 0; d < RAPT_DTYPE_COUNT; d++)
        if (kernel->dtypes & RAPT_DTYPE_BIT(d))
            rapt_text_append(&takes, "%s%s", takes.length ? ", " : "",
                             rapt_dtype_name((rapt_dtype)d));
    const rapt_status status =
        rapt_fail(why, RAPT_UNSUPPORTED, "takes %s; this is %s",
                  takes.data ? takes.data : "no dtype", rapt_dtype_name(dtype));
    rapt_text_free(&takes);
    return status;
}

/* The layout in which a kernel would see the inputs, without data. */
static void lay_out_inputs(rapt_run *run, const rapt_kernel *kernel)
{
    const rapt_binding *binding = &run->binding;
    for (uint32_t i = 0; i < run->schema->op.n_inputs; i++) {
        const rapt_view *view = binding->inputs[i];
        if (!view) {
            run->inputs.at[i] = NULL;
            continue;
        }
        rapt_slot_set(&run->inputs, i, rapt_view_dtype(view), view->device, view->ndim, view->shape,
                      rapt_kernel_copies(kernel, view) ? NULL : view->strides);
    }
}

static bool has_phase(const rapt_kernel *kernel, rapt_phase phase)
{
    return phase == RAPT_WEIGHTS ? kernel->weights != NULL
           : phase == RAPT_STEP  ? kernel->step != NULL
                                 : kernel->forward != NULL;
}

/* On a device that may lack what a kernel's dispatches need: without data in forward, when a kernel
 * is chosen, and before each run of it. */
static rapt_status rehearse(rapt_run *run, rapt_status (*function)(rapt_call *))
{
    run->said = false;
    return run->driver->rehearse(run->driver, function, &run->call);
}

rapt_status rapt_run_try(rapt_run *run, uint32_t k, rapt_error *why)
{
    const rapt_kernel *kernel = &run->schema->op.kernels[k];
    if (strcmp(kernel->device, run->driver->kind) != 0)
        return rapt_fail(why, RAPT_UNSUPPORTED, "is for %s; the tensors are on %s", kernel->device,
                         run->driver->info.name);
    if (!(kernel->dtypes & RAPT_DTYPE_BIT(run->call.dtype)))
        return wrong_dtype(kernel, run->call.dtype, why);
    if (!has_phase(kernel, run->call.phase))
        return rapt_fail(why, RAPT_UNSUPPORTED, "has no %s",
                         run->call.phase == RAPT_WEIGHTS ? "weights" : "step");
    const bool rehearsed = run->driver->rehearse && run->call.phase == RAPT_FORWARD;
    if (!kernel->supports && !rehearsed)
        return RAPT_OK;
    lay_out_inputs(run, kernel);
    run->call.kernel = kernel;
    run->said = false;
    rapt_status status = kernel->supports ? kernel->supports(&run->call) : RAPT_OK;
    if (status == RAPT_OK && rehearsed)
        status = rehearse(run, kernel->forward);
    if (status == RAPT_OK)
        return RAPT_OK;
    return rapt_fail(why, RAPT_UNSUPPORTED, "%s",
                     run->said ? run->message : "cannot run this call and does not say why");
}

static rapt_status none_fits(rapt_run *run, rapt_error *error)
{
    const rapt_operator *op = &run->schema->op;
    rapt_text reasons = {0};
    for (uint32_t k = 0; k < op->n_kernels; k++) {
        rapt_error why = {0};
        rapt_run_try(run, k, &why);
        rapt_text_append(&reasons, "%s%s %s", k ? "; " : "", op->kernels[k].name, why.message);
    }
    const char *does = run->call.phase == RAPT_WEIGHTS ? "show its weights on"
                       : run->call.phase == RAPT_STEP  ? "step on"
                                                       : "run on";
    const rapt_status status =
        rapt_fail(error, RAPT_UNSUPPORTED, "%s: no kernel can %s %s with %s: %s", op->name, does,
                  run->driver->info.name, rapt_dtype_name(run->call.dtype),
                  reasons.data ? reasons.data : "it has none");
    rapt_text_free(&reasons);
    return status;
}

/* Of two kernels, which is asked first: greater priority, then the earlier one. */
static bool before(const rapt_operator *op, uint32_t a, uint32_t b)
{
    const int32_t pa = op->kernels[a].priority, pb = op->kernels[b].priority;
    return pa != pb ? pa > pb : a < b;
}

bool rapt_run_steps(const rapt_run *run)
{
    const rapt_operator *op = &run->schema->op;
    for (uint32_t k = 0; k < op->n_kernels; k++)
        if (op->kernels[k].step && strcmp(op->kernels[k].device, run->driver->kind) == 0 &&
            op->kernels[k].dtypes & RAPT_DTYPE_BIT(run->call.dtype))
            return true;
    return false;
}

rapt_status rapt_run_choose(rapt_run *run, rapt_error *error)
{
    const rapt_operator *op = &run->schema->op;
    uint32_t last = UINT32_MAX;
    for (uint32_t asked = 0; asked < op->n_kernels; asked++) {
        uint32_t next = UINT32_MAX;
        for (uint32_t k = 0; k < op->n_kernels; k++)
            if ((last == UINT32_MAX || before(op, last, k)) &&
                (next == UINT32_MAX || before(op, k, next)))
                next = k;
        if (rapt_run_try(run, next, NULL) == RAPT_OK) {
            run->kernel = &op->kernels[next];
            run->kernel_index = next;
            run->call.kernel = run->kernel;
            lay_out_inputs(run, run->kernel);
            return RAPT_OK;
        }
        last = next;
    }
    return none_fits(run, error);
}

/* --- Invocation ------------------------------------------------------------------------------ */

/* "cog: " or, in other phases than forward, "cog: in backward: " in front of the kernel's text. */
static rapt_status failed(rapt_run *run, rapt_status status, rapt_error *error)
{
    static const char *const phase[] = {"", "in backward: ", "in a step: ", "in weights: "};
    const int given = (int)status;
    if (given < RAPT_OK || given > RAPT_INTERNAL)
        status = RAPT_INTERNAL;
    const char *name = run->schema->op.name, *where = phase[run->call.phase];
    if (run->said)
        return rapt_fail(error, status, "%s: %s%s", name, where, run->message);
    return rapt_fail(error, status, "%s: %skernel %s failed without saying why (status %d)", name,
                     where, run->kernel->name, given);
}

rapt_status rapt_run_workspace(rapt_run *run, rapt_error *error)
{
    run->said = false;
    run->call.workspace = NULL;
    run->call.workspace_size = 0;
    if (!run->kernel->workspace)
        return RAPT_OK;
    const size_t bytes = run->kernel->workspace(&run->call);
    if (run->said)
        return failed(run, RAPT_INVALID, error);
    if (bytes == 0)
        return RAPT_OK;
    rapt_error why = {0};
    if (!rapt_on_host(run->driver->device)) {
        const rapt_status status = rapt_arena_take_apart(&run->context->arena, run->driver, bytes,
                                                         &run->call.workspace, &why);
        if (status != RAPT_OK)
            return rapt_fail(error, status, "%s: workspace: %s", run->schema->op.name, why.message);
        run->call.workspace_size = bytes;
        return RAPT_OK;
    }
    run->call.workspace = rapt_arena_take(&run->context->arena, bytes);
    if (!run->call.workspace) {
        rapt_fail_memory(&why, bytes, "workspace");
        return rapt_fail(error, RAPT_NO_MEMORY, "%s: %s", run->schema->op.name, why.message);
    }
    run->call.workspace_size = bytes;
    return RAPT_OK;
}

rapt_status rapt_run_invoke(rapt_run *run, rapt_error *error)
{
    const rapt_kernel *kernel = run->kernel;
    rapt_status (*const function[])(rapt_call *) = {kernel->forward, kernel->backward, kernel->step,
                                                    kernel->weights};
    rapt_status status = run->driver->rehearse ? rehearse(run, function[run->call.phase]) : RAPT_OK;
    if (status == RAPT_OK) {
        run->said = false;
        status = function[run->call.phase](&run->call);
    }
    rapt_arena_reset(&run->context->arena);
    return status == RAPT_OK ? RAPT_OK : failed(run, status, error);
}
