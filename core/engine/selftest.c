/*
 * A device's kernels against golden vectors, where the operator's plugin has them, and against the
 * CPU's, the first time that an operator runs on a device and driver: drivers compile shaders, and
 * do it wrong now and then. Each operator is tested by itself, in the dtype, with the optional
 * inputs and, where a call is recorded, the gradients of the call that comes first, so that no
 * shader is compiled for it that nobody uses.
 */
#include "base/error.h"
#include "engine/golden.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(RAPT_MAX_DEVICES == RAPT_SCHEMA_DEVICES, "a schema has room for each device");

static const rapt_device host = {RAPT_DEVICE_CPU, 0};

enum {
    COOP_FEATURES = RAPT_VULKAN_COOPMAT_NV | RAPT_VULKAN_COOPMAT_KHR,
    COMMON = RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_FLOAT16 | RAPT_VULKAN_INT64 |
             RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_FLOAT64
};

typedef struct path {
    const char *name;
    uint32_t needs, off; /* what it needs; what is turned off when it fails; 0: nothing can be */
} path;

static const path wide_paths[] = {{"plain", 0, 0}};
static const path half_paths[] = {
    {"f16", RAPT_VULKAN_STORAGE16, RAPT_VULKAN_STORAGE16 | COOP_FEATURES},
    {"coopmat KHR", RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_COOPMAT_KHR, RAPT_VULKAN_COOPMAT_KHR},
    {"coopmat NV", RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_COOPMAT_NV, RAPT_VULKAN_COOPMAT_NV},
};
static const path bfloat_paths[] = {
    {"f16", RAPT_VULKAN_STORAGE16, RAPT_VULKAN_STORAGE16 | COOP_FEATURES},
    {"coopmat bf16", RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_COOPMAT_KHR | RAPT_VULKAN_BFLOAT16,
     RAPT_VULKAN_BFLOAT16},
};

/* Of the greatest value of a result. */
static double tolerance(rapt_dtype dtype)
{
    return dtype == RAPT_BF16 ? 3e-2 : dtype == RAPT_F16 ? 2e-2 : 1e-3;
}

/* --- One run --------------------------------------------------------------------------------- */

static rapt_status keep(rapt_outcome *o, int kind, uint32_t i, const rapt_tensor *from,
                        rapt_error *error)
{
    if (!from)
        return RAPT_OK;
    o->at[kind][i] = rapt_copy_to(from, RAPT_F64, host, error);
    return o->at[kind][i] ? RAPT_OK : error->status;
}

typedef struct trial {
    rapt_context *context;
    rapt_schema *schema;
    rapt_dtype dtype;
    bool backward;
    rapt_probe probe;
    rapt_tensor *seed; /* the first output's gradient, f32 on the host; NULL: one is made up */
    rapt_outcome want;
    bool golden; /* all that is from a file; otherwise it is the CPU's */
} trial;

static void free_trial(trial *t)
{
    rapt_probe_free(&t->probe);
    rapt_outcome_free(&t->want);
    rapt_tensor_release(t->seed);
    t->seed = NULL;
}

static bool mutates(const rapt_operator *op)
{
    for (uint32_t i = 0; i < op->n_inputs; i++)
        if (op->inputs[i].flags & RAPT_MUTATED)
            return true;
    return false;
}

/* The inputs rounded to the dtype of the trial, then as `dtype` on a device. */
static rapt_status place_inputs(const trial *t, rapt_dtype dtype, rapt_device device,
                                rapt_named_tensor *inputs, rapt_error *error)
{
    const rapt_operator *op = &t->schema->op;
    const bool graded = t->backward && !mutates(op);
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        const rapt_tensor *given = t->probe.inputs[i];
        const rapt_arg *arg = &op->inputs[i];
        inputs[i].name = t->schema->inputs[i].name;
        if (!given)
            continue;
        rapt_tensor *rounded = rapt_copy_to(given, rapt_arg_dtype(arg, t->dtype), host, error);
        if (rounded)
            inputs[i].tensor = rapt_copy_to(rounded, rapt_arg_dtype(arg, dtype), device, error);
        rapt_tensor_release(rounded);
        if (!inputs[i].tensor)
            return error->status;
        if (graded && arg->flags & RAPT_DIFFERENTIABLE &&
            rapt_set_requires_grad(inputs[i].tensor, true, error) != RAPT_OK)
            return error->status;
    }
    return RAPT_OK;
}

/* Numbers of some fixed order. */
static rapt_tensor *make_seed(const rapt_view *out, rapt_error *error)
{
    rapt_tensor *seed = rapt_tensor_make(RAPT_F32, host, out->ndim, out->shape, error);
    float *values = seed && rapt_tensor_count(seed) > 0 ? rapt_view_data(&seed->view) : NULL;
    for (int64_t i = 0; values && i < rapt_tensor_count(seed); i++)
        values[i] = (float)(i * 37 % 17 - 8) / 8; /* exact in every dtype */
    return seed;
}

/* Gradients of the first output. */
static rapt_status differentiate(const trial *t, rapt_tensor *out, rapt_error *error)
{
    rapt_tensor *seed = t->seed ? rapt_tensor_retain(t->seed) : make_seed(&out->view, error);
    if (!seed)
        return error->status;
    rapt_tensor *there = rapt_copy_to(seed, rapt_tensor_dtype(out), out->view.device, error);
    rapt_tensor_release(seed);
    if (!there)
        return error->status;
    const rapt_status status = rapt_backward(t->context, out, there, false, error);
    rapt_tensor_release(there);
    return status;
}

static rapt_status collect(const trial *t, const rapt_named_tensor *inputs,
                           const rapt_named_tensor *outputs, size_t n_outputs, rapt_outcome *result,
                           rapt_error *error)
{
    const rapt_operator *op = &t->schema->op;
    rapt_status status = RAPT_OK;
    for (uint32_t i = 0; status == RAPT_OK && i < n_outputs; i++)
        status = keep(result, RAPT_OUTCOME_OUTPUT, i, outputs[i].tensor, error);
    for (uint32_t i = 0; status == RAPT_OK && i < op->n_inputs; i++) {
        if (!inputs[i].tensor)
            continue;
        status = keep(result, RAPT_OUTCOME_GRADIENT, i, rapt_grad(inputs[i].tensor), error);
        if (status == RAPT_OK && op->inputs[i].flags & RAPT_MUTATED)
            status = keep(result, RAPT_OUTCOME_MUTATED, i, inputs[i].tensor, error);
    }
    return status;
}

static rapt_status run_once(const trial *t, rapt_dtype dtype, rapt_device device,
                            rapt_outcome *result, rapt_error *error)
{
    const rapt_operator *op = &t->schema->op;
    rapt_named_tensor inputs[RAPT_MAX_ARGS] = {{0}}, outputs[RAPT_MAX_ARGS] = {{0}};
    size_t n = 0;
    for (uint32_t i = 0; i < op->n_outputs; i++)
        if (!(op->outputs[i].flags & RAPT_OPTIONAL))
            outputs[n++].name = t->schema->outputs[i].name;
    const rapt_application with = {inputs,           op->n_inputs, t->probe.attrs,
                                   t->probe.n_attrs, outputs,      n};
    rapt_status status = place_inputs(t, dtype, device, inputs, error);
    if (status == RAPT_OK)
        status = rapt_apply(t->context, t->schema, &with, error);
    if (status == RAPT_OK && t->backward && n > 0 && rapt_tensor_tracked(outputs[0].tensor))
        status = differentiate(t, outputs[0].tensor, error);
    if (status == RAPT_OK)
        status = collect(t, inputs, outputs, n, result, error);
    for (uint32_t i = 0; i < RAPT_MAX_ARGS; i++) {
        rapt_tensor_release(inputs[i].tensor);
        rapt_tensor_release(outputs[i].tensor);
    }
    return status;
}

/* --- Comparison ------------------------------------------------------------------------------ */

static double greatest(const rapt_tensor *a)
{
    const double *x = rapt_tensor_count(a) > 0 ? rapt_view_data(&a->view) : NULL;
    double most = 0;
    for (int64_t i = 0; i < rapt_tensor_count(a); i++)
        if (isfinite(x[i]) && fabs(x[i]) > most)
            most = fabs(x[i]);
    return most;
}

/* The greatest difference where `b`, what is wanted, is finite: a device need not keep NaN and
 * infinities. Infinite where `a` is not, or has not as many. */
static double difference(const rapt_tensor *a, const rapt_tensor *b)
{
    const int64_t n = rapt_tensor_count(a);
    if (n != rapt_tensor_count(b))
        return INFINITY;
    const double *x = n > 0 ? rapt_view_data(&a->view) : NULL;
    const double *y = n > 0 ? rapt_view_data(&b->view) : NULL;
    double apart = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(y[i]))
            continue;
        if (!isfinite(x[i]))
            return INFINITY;
        apart = fmax(apart, fabs(x[i] - y[i]));
    }
    return apart;
}

/* A result that is small beside the others of its kind may be what rounding left of their
 * difference. */
static rapt_status compare(const trial *t, const rapt_outcome *got, rapt_dtype dtype,
                           rapt_error *why)
{
    static const char *const kinds[RAPT_OUTCOME_KINDS] = {"", "the gradient of ",
                                                          "what is written to "};
    for (int kind = 0; kind < RAPT_OUTCOME_KINDS; kind++) {
        const rapt_spec *specs =
            kind == RAPT_OUTCOME_OUTPUT ? t->schema->outputs : t->schema->inputs;
        double most = 0;
        for (int i = 0; i < RAPT_MAX_ARGS; i++)
            if (t->want.at[kind][i])
                most = fmax(most, greatest(t->want.at[kind][i]));
        for (int i = 0; i < RAPT_MAX_ARGS; i++) {
            const rapt_tensor *a = got->at[kind][i], *b = t->want.at[kind][i];
            if (!a || !b)
                continue;
            const double size = fmax(greatest(b), most * 1e-2);
            const double off = difference(a, b);
            if (!(off <= tolerance(dtype) * size))
                return rapt_fail(why, RAPT_INTERNAL, "%s%s is off by %.3g of its greatest value%s",
                                 kinds[kind], specs[i].name, size > 0 ? off / size : off,
                                 t->golden ? " in a golden vector" : "");
        }
    }
    return RAPT_OK;
}

/* --- The verdict ----------------------------------------------------------------------------- */

/* The operator's plugin; NULL: built in. */
static const rapt_plugin_info *plugin_of(rapt_context *context, const char *op)
{
    for (size_t i = 0; i < rapt_plugin_count(context); i++) {
        const rapt_plugin_info *info = rapt_plugin_at(context, i);
        for (const char **name = info->operators; !info->error && name && *name; name++)
            if (strcmp(*name, op) == 0)
                return info->path[0] == '/' ? info : NULL;
    }
    return NULL;
}

/* Names the code by its plugin's hash. */
static void name_code(rapt_context *context, const char *op, char *code, size_t size)
{
    const rapt_plugin_info *plugin = plugin_of(context, op);
    snprintf(code, size, "rapt %s %s", RAPT_VERSION, plugin ? plugin->hash : "");
}

/* As much of it as there is room for. */
static void add_reason(rapt_verdict *verdict, const char *name, const char *message)
{
    const size_t used = strlen(verdict->why);
    if (snprintf(verdict->why + used, sizeof verdict->why - used, "%s%s: %s", used ? "; " : "",
                 name, message) < 0)
        verdict->why[used] = 0;
}

/* Numbers that f16 does not hold, or nearly: they say nothing about a kernel. */
static bool too_large(const rapt_outcome *here)
{
    for (int kind = 0; kind < RAPT_OUTCOME_KINDS; kind++)
        for (int i = 0; i < RAPT_MAX_ARGS; i++)
            if (here->at[kind][i] && greatest(here->at[kind][i]) > 1e4)
                return true;
    return false;
}

static rapt_dtype exact_dtype(const trial *t)
{
    return t->dtype == RAPT_F64 ? RAPT_F64 : RAPT_F32;
}

/* Sizes and inputs that the CPU takes, and what it makes of them. */
static rapt_status find_probe(trial *t, uint32_t with, rapt_error *why)
{
    rapt_status status = RAPT_INVALID;
    for (int all = 1; all >= 0; all--)
        for (int size = RAPT_PROBE_TILED; size <= RAPT_PROBE_EXAMPLE; size++) {
            if (!all && !with)
                break;
            status =
                rapt_probe_make(t->schema, all ? with : 0, (rapt_probe_size)size, &t->probe, why);
            if (status == RAPT_OK)
                status = run_once(t, exact_dtype(t), host, &t->want, why);
            if (status == RAPT_OK && too_large(&t->want))
                status = rapt_fail(why, RAPT_INVALID, "it leaves the range of the dtypes");
            if (status == RAPT_OK || status == RAPT_NO_MEMORY)
                return status;
            free_trial(t);
        }
    return status;
}

/* The golden vectors beside the operator's plugin. Those that the CPU does not give say nothing of
 * a device. RAPT_NOT_FOUND: there are none. */
static rapt_status find_golden(trial *t, rapt_error *why)
{
    const char *op = t->schema->op.name;
    const rapt_plugin_info *plugin = plugin_of(t->context, op);
    rapt_golden golden;
    if (!plugin)
        return RAPT_NOT_FOUND;
    rapt_status status = rapt_golden_load(t->schema, plugin->path, &golden, why);
    if (status != RAPT_OK)
        return status;
    trial found = *t;
    rapt_outcome here = {0};
    found.probe = golden.probe;
    found.want = golden.want;
    found.seed = golden.seed;
    found.golden = true;
    found.backward = t->backward && golden.seed;
    status = run_once(&found, exact_dtype(t), host, &here, why);
    if (status == RAPT_OK)
        status = compare(&found, &here, exact_dtype(t), why);
    rapt_outcome_free(&here);
    if (status == RAPT_OK) {
        *t = found;
        return status;
    }
    free_trial(&found);
    return status == RAPT_NO_MEMORY
               ? status
               : rapt_prefix_error(why, "%s: the CPU does not give its golden vectors", op);
}

/* By the device as it is offered. RAPT_INTERNAL: it is wrong. */
static rapt_status run_trial(const trial *t, rapt_device device, rapt_verdict *verdict,
                             rapt_error *why)
{
    rapt_outcome there = {0};
    rapt_status status = run_once(t, t->dtype, device, &there, why);
    if (status == RAPT_OK) {
        verdict->compared |= t->golden ? RAPT_COMPARED_GOLDEN : RAPT_COMPARED_CPU;
        status = compare(t, &there, t->dtype, why);
    }
    rapt_outcome_free(&there);
    return status;
}

/* RAPT_OK: there is a verdict on what was tried; otherwise another time may tell. */
static rapt_status judge_paths(const trial *trials, size_t n_trials, rapt_device_driver *driver,
                               rapt_verdict *verdict)
{
    const rapt_dtype dtype = trials[0].dtype;
    const path *paths = dtype == RAPT_F16    ? half_paths
                        : dtype == RAPT_BF16 ? bfloat_paths
                                             : wide_paths;
    const size_t n = dtype == RAPT_F16    ? sizeof half_paths / sizeof *half_paths
                     : dtype == RAPT_BF16 ? sizeof bfloat_paths / sizeof *bfloat_paths
                                          : 1;
    for (size_t i = 0; i < n * n_trials; i++) {
        const path *p = &paths[i / n_trials];
        rapt_error why = {0};
        const uint32_t on = driver->offer(driver, UINT32_MAX) & ~verdict->failed;
        if ((on & p->needs) != p->needs)
            continue;
        driver->offer(driver, (COMMON & ~verdict->failed) | p->needs);
        const rapt_status status = run_trial(&trials[i % n_trials], driver->device, verdict, &why);
        if (status == RAPT_NO_MEMORY || status == RAPT_DEVICE_LOST)
            return status;
        if (status != RAPT_INTERNAL) /* it is right; or no kernel takes it: nothing to judge */
            continue;
        verdict->failed |= p->off;
        if (!p->off)
            verdict->wrong |= RAPT_DTYPE_BIT(dtype);
        add_reason(verdict, p->name, why.message);
    }
    return RAPT_OK;
}

static rapt_status judge(rapt_context *context, rapt_schema *schema, rapt_device_driver *driver,
                         rapt_dtype dtype, bool backward, uint32_t with, rapt_verdict *verdict)
{
    trial trials[2];
    rapt_error why = {0};
    size_t n = 0;
    const bool recording = context->recording;
    context->recording = backward;
    for (size_t i = 0; i < 2; i++)
        trials[i] = (trial){context, schema, .dtype = dtype, .backward = backward};
    rapt_status status = find_golden(&trials[n], &why);
    if (status != RAPT_OK && status != RAPT_NOT_FOUND && status != RAPT_NO_MEMORY)
        rapt_context_log(context, RAPT_LOG_WARNING, why.message);
    n += status == RAPT_OK;
    if (status != RAPT_NO_MEMORY)
        status = find_probe(&trials[n], with, &why);
    n += status == RAPT_OK;
    /* Where a description does not tell how to call it there may be nothing to judge. */
    if (status != RAPT_NO_MEMORY)
        status = n > 0 ? judge_paths(trials, n, driver, verdict) : RAPT_OK;
    context->recording = recording;
    driver->offer(driver, UINT32_MAX);
    for (size_t i = 0; i < 2; i++)
        free_trial(&trials[i]);
    return status;
}

/* --- When ------------------------------------------------------------------------------------ */

/* One test at a time; the calls that it makes itself pass by. */
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool testing;

/* RAPT_VULKAN_SELFTEST=1 tests again, and software devices too, for which compiling takes longer
 * than anybody should wait who did not ask for it; =0 tests nothing. */
static bool asked(const char *what)
{
    const char *text = getenv("RAPT_VULKAN_SELFTEST");
    return text && strcmp(text, what) == 0;
}

/* The verdict on the code that is there now; an empty one where there is none. */
static void find_verdict(rapt_context *context, rapt_device_driver *driver, const char *op,
                         rapt_verdict *verdict)
{
    char code[sizeof verdict->code];
    name_code(context, op, code, sizeof code);
    if (driver->judged(driver, op, verdict) && strcmp(verdict->code, code) == 0 &&
        (verdict->fresh || !asked("1")))
        return;
    memset(verdict, 0, sizeof *verdict);
    snprintf(verdict->op, sizeof verdict->op, "%s", op);
    snprintf(verdict->code, sizeof verdict->code, "%s", code);
}

/* What a call needs that has been tested, or need not be. */
typedef struct need {
    rapt_dtype dtype;
    bool backward;
    uint32_t bits; /* RAPT_TESTED */
    uint32_t with; /* optional inputs */
} need;

static void test(rapt_context *context, rapt_schema *schema, rapt_device_driver *driver,
                 const need *n, rapt_verdict *verdict)
{
    const uint32_t failed = verdict->failed, wrong = verdict->wrong;
    testing = true;
    const rapt_status status =
        judge(context, schema, driver, n->dtype, n->backward, n->with, verdict);
    testing = false;
    if (status != RAPT_OK)
        return; /* no verdict: the next process tries again */
    verdict->tested |= n->bits;
    verdict->with |= n->with;
    verdict->fresh = 1;
    driver->judge(driver, verdict);
    if (verdict->failed != failed || verdict->wrong != wrong) {
        char line[RAPT_ERROR_SIZE];
        snprintf(line, sizeof line, "%s failed the self-test of %s: %s", driver->info.name,
                 verdict->op, verdict->why);
        rapt_context_log(context, RAPT_LOG_WARNING, line);
    }
}

static need need_of(const rapt_context *context, const rapt_binding *binding)
{
    const rapt_operator *op = &binding->schema->op;
    need n = {.dtype = binding->dtype};
    bool tracked = false;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        const rapt_tensor *tensor = rapt_view_owner(binding->inputs[i]);
        if (!tensor)
            continue;
        tracked = tracked || rapt_tensor_tracked(tensor);
        n.with |= (uint32_t)((op->inputs[i].flags & RAPT_OPTIONAL) != 0) << i;
    }
    n.backward = tracked && context->recording;
    n.bits = RAPT_TESTED(n.dtype, n.backward);
    return n;
}

rapt_status rapt_selftest(rapt_context *context, rapt_schema *schema, const rapt_binding *binding,
                          rapt_device_driver *driver, rapt_error *error)
{
    const size_t at = (size_t)(driver - rapt_devices_at(0));
    atomic_uint *tested = &schema->tested[at], *with = &schema->tested_with[at];
    const need n = need_of(context, binding);
    if (testing || (!(n.bits & ~atomic_load_explicit(tested, memory_order_acquire)) &&
                    !(n.with & ~atomic_load_explicit(with, memory_order_acquire))))
        return RAPT_OK;
    rapt_verdict verdict;
    rapt_status status = RAPT_OK;
    pthread_mutex_lock(&one);
    find_verdict(context, driver, schema->op.name, &verdict);
    if ((n.bits & ~verdict.tested || n.with & ~verdict.with) && !asked("0") &&
        (!driver->software || asked("1")))
        test(context, schema, driver, &n, &verdict);
    if (verdict.wrong & RAPT_DTYPE_BIT(n.dtype)) {
        status = rapt_fail(error, RAPT_UNSUPPORTED,
                           "it is off on %s with %s, where it failed its self-test: %s",
                           driver->info.name, rapt_dtype_name(n.dtype), verdict.why);
    } else {
        atomic_fetch_or_explicit(tested, n.bits, memory_order_release);
        atomic_fetch_or_explicit(with, n.with, memory_order_release);
    }
    pthread_mutex_unlock(&one);
    return status;
}
