/*
 * A device's kernels against the CPU's, the first time that an operator runs on a device and
 * driver: drivers compile shaders, and do it wrong now and then. Each operator is tested by itself,
 * in the dtype, with the optional inputs and, where a call is recorded, the gradients of the call
 * that comes first, so that no shader is compiled for it that nobody uses.
 */
#include "base/error.h"
#include "engine/probe.h"
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

enum { OUTPUT, GRADIENT, MUTATED, KINDS };

/* What a run left, by kind and place, on the host; NULL: nothing. */
typedef struct outcome {
    rapt_tensor *at[KINDS][RAPT_MAX_ARGS];
} outcome;

static void free_outcome(outcome *o)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < RAPT_MAX_ARGS; i++) {
            rapt_tensor_release(o->at[kind][i]);
            o->at[kind][i] = NULL;
        }
}

static rapt_status keep(outcome *o, int kind, uint32_t i, const rapt_tensor *from,
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
    const rapt_probe *probe;
    rapt_dtype dtype;
    bool backward;
} trial;

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
        const rapt_tensor *given = t->probe->inputs[i];
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

/* Gradients of the first output, its own being the numbers of some fixed order. */
static rapt_status differentiate(const trial *t, rapt_tensor *out, rapt_error *error)
{
    const rapt_view *view = &out->view;
    rapt_tensor *seed = rapt_tensor_make(RAPT_F32, host, view->ndim, view->shape, error);
    if (!seed)
        return error->status;
    float *values = rapt_tensor_count(seed) > 0 ? rapt_view_data(&seed->view) : NULL;
    for (int64_t i = 0; i < rapt_tensor_count(seed); i++)
        values[i] = (float)(i * 37 % 17 - 8) / 8; /* exact in every dtype */
    rapt_tensor *there = rapt_copy_to(seed, rapt_tensor_dtype(out), view->device, error);
    rapt_tensor_release(seed);
    if (!there)
        return error->status;
    const rapt_status status = rapt_backward(t->context, out, there, false, error);
    rapt_tensor_release(there);
    return status;
}

static rapt_status collect(const trial *t, const rapt_named_tensor *inputs,
                           const rapt_named_tensor *outputs, size_t n_outputs, outcome *result,
                           rapt_error *error)
{
    const rapt_operator *op = &t->schema->op;
    rapt_status status = RAPT_OK;
    for (uint32_t i = 0; status == RAPT_OK && i < n_outputs; i++)
        status = keep(result, OUTPUT, i, outputs[i].tensor, error);
    for (uint32_t i = 0; status == RAPT_OK && i < op->n_inputs; i++) {
        if (!inputs[i].tensor)
            continue;
        status = keep(result, GRADIENT, i, rapt_grad(inputs[i].tensor), error);
        if (status == RAPT_OK && op->inputs[i].flags & RAPT_MUTATED)
            status = keep(result, MUTATED, i, inputs[i].tensor, error);
    }
    return status;
}

static rapt_status run_once(const trial *t, rapt_dtype dtype, rapt_device device, outcome *result,
                            rapt_error *error)
{
    const rapt_operator *op = &t->schema->op;
    rapt_named_tensor inputs[RAPT_MAX_ARGS] = {{0}}, outputs[RAPT_MAX_ARGS] = {{0}};
    size_t n = 0;
    for (uint32_t i = 0; i < op->n_outputs; i++)
        if (!(op->outputs[i].flags & RAPT_OPTIONAL))
            outputs[n++].name = t->schema->outputs[i].name;
    const rapt_application with = {
        inputs, op->n_inputs, t->probe->attrs, t->probe->n_attrs, outputs, n};
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

/* The greatest difference where `b`, the CPU's, is finite: a device need not keep NaN and
 * infinities. Infinite where `a` is not. */
static double difference(const rapt_tensor *a, const rapt_tensor *b)
{
    const int64_t n = rapt_tensor_count(a);
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
static rapt_status compare(const trial *t, const outcome *there, const outcome *here,
                           rapt_error *why)
{
    static const char *const kinds[KINDS] = {"", "the gradient of ", "what is written to "};
    for (int kind = 0; kind < KINDS; kind++) {
        const rapt_spec *specs = kind == OUTPUT ? t->schema->outputs : t->schema->inputs;
        double most = 0;
        for (int i = 0; i < RAPT_MAX_ARGS; i++)
            if (here->at[kind][i])
                most = fmax(most, greatest(here->at[kind][i]));
        for (int i = 0; i < RAPT_MAX_ARGS; i++) {
            if (!here->at[kind][i] || !there->at[kind][i])
                continue;
            const double size = fmax(greatest(here->at[kind][i]), most * 1e-2);
            const double off = difference(there->at[kind][i], here->at[kind][i]);
            if (!(off <= tolerance(t->dtype) * size))
                return rapt_fail(why, RAPT_INTERNAL, "%s%s is off by %.3g of its greatest value",
                                 kinds[kind], specs[i].name, size > 0 ? off / size : off);
        }
    }
    return RAPT_OK;
}

/* --- The verdict ----------------------------------------------------------------------------- */

/* Names the code by its plugin's hash. */
static void name_code(rapt_context *context, const char *op, char *code, size_t size)
{
    const char *hash = "";
    for (size_t i = 0; i < rapt_plugin_count(context); i++) {
        const rapt_plugin_info *info = rapt_plugin_at(context, i);
        for (const char **name = info->operators; !info->error && name && *name; name++)
            if (strcmp(*name, op) == 0)
                hash = info->hash;
    }
    snprintf(code, size, "rapt %s %s", RAPT_VERSION, hash);
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
static bool too_large(const outcome *here)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < RAPT_MAX_ARGS; i++)
            if (here->at[kind][i] && greatest(here->at[kind][i]) > 1e4)
                return true;
    return false;
}

/* Sizes and inputs that the CPU takes, and what it makes of them. */
static rapt_status find_probe(trial *t, uint32_t with, rapt_probe *probe, outcome *here,
                              rapt_error *why)
{
    const rapt_dtype exact = t->dtype == RAPT_F64 ? RAPT_F64 : RAPT_F32;
    rapt_status status = RAPT_INVALID;
    for (int all = 1; all >= 0; all--)
        for (int size = RAPT_PROBE_TILED; size <= RAPT_PROBE_EXAMPLE; size++) {
            if (!all && !with)
                break;
            status = rapt_probe_make(t->schema, all ? with : 0, (rapt_probe_size)size, probe, why);
            if (status == RAPT_OK)
                status = run_once(t, exact, host, here, why);
            if (status == RAPT_OK && too_large(here))
                status = rapt_fail(why, RAPT_INVALID, "it leaves the range of the dtypes");
            if (status == RAPT_OK || status == RAPT_NO_MEMORY)
                return status;
            free_outcome(here);
            rapt_probe_free(probe);
        }
    return status;
}

/* RAPT_OK: there is a verdict on what was tried; otherwise another time may tell. */
static rapt_status judge_paths(const trial *t, rapt_device_driver *driver, const outcome *here,
                               rapt_verdict *verdict)
{
    const path *paths = t->dtype == RAPT_F16    ? half_paths
                        : t->dtype == RAPT_BF16 ? bfloat_paths
                                                : wide_paths;
    const size_t n = t->dtype == RAPT_F16    ? sizeof half_paths / sizeof *half_paths
                     : t->dtype == RAPT_BF16 ? sizeof bfloat_paths / sizeof *bfloat_paths
                                             : 1;
    for (size_t i = 0; i < n; i++) {
        const path *p = &paths[i];
        outcome there = {0};
        rapt_error why = {0};
        const uint32_t on = driver->offer(driver, UINT32_MAX) & ~verdict->failed;
        if ((on & p->needs) != p->needs)
            continue;
        /* Where there are both forms of cooperative matrices, NV's take part in forward alone. */
        trial part = *t;
        if (p->needs & RAPT_VULKAN_COOPMAT_NV && on & RAPT_VULKAN_COOPMAT_KHR)
            part.backward = false;
        driver->offer(driver, (COMMON & ~verdict->failed) | p->needs);
        rapt_status status = run_once(&part, t->dtype, driver->device, &there, &why);
        if (status == RAPT_OK) {
            verdict->compared = 1;
            status = compare(t, &there, here, &why);
        }
        free_outcome(&there);
        if (status == RAPT_NO_MEMORY || status == RAPT_DEVICE_LOST)
            return status;
        if (status != RAPT_INTERNAL) /* it is right; or no kernel takes it: nothing to judge */
            continue;
        verdict->failed |= p->off;
        if (!p->off)
            verdict->wrong |= RAPT_DTYPE_BIT(t->dtype);
        add_reason(verdict, p->name, why.message);
    }
    return RAPT_OK;
}

static rapt_status judge(rapt_context *context, rapt_schema *schema, rapt_device_driver *driver,
                         rapt_dtype dtype, bool backward, uint32_t with, rapt_verdict *verdict)
{
    rapt_probe probe = {0};
    outcome here = {0};
    rapt_error why = {0};
    trial t = {context, schema, &probe, dtype, backward};
    const bool recording = context->recording;
    context->recording = backward;
    rapt_status status = find_probe(&t, with, &probe, &here, &why);
    if (status == RAPT_OK)
        status = judge_paths(&t, driver, &here, verdict);
    else if (status != RAPT_NO_MEMORY)
        status = RAPT_OK; /* the description does not tell how to call it: nothing to judge */
    context->recording = recording;
    driver->offer(driver, UINT32_MAX);
    free_outcome(&here);
    rapt_probe_free(&probe);
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
