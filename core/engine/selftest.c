/*
 * A device's kernels against the CPU's, the first time that they run on a device and driver:
 * drivers compile shaders, and do it wrong now and then. One operator, forward and backward, and a
 * matrix product stand for the kits that the others are made of.
 */
#include "base/error.h"
#include "engine/engine.h"
#include "tensor/convert.h"
#include "tensor/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1, HEADS = 2, LENGTH = 80, FEATURES = 64, INPUTS = 3, RESULTS = 5 };

static const rapt_device host = {RAPT_DEVICE_CPU, 0};

/* Everything but matrix units. */
static const uint32_t common = RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_FLOAT16 | RAPT_VULKAN_INT64 |
                               RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_FLOAT64;

typedef struct path {
    const char *name;
    uint32_t needs, off; /* what it needs; what is turned off when it fails */
    rapt_dtype dtype;
    double tolerance; /* of the greatest value */
} path;

static const path paths[] = {
    {"plain", 0, 0, RAPT_F32, 1e-3},
    {"f16", RAPT_VULKAN_STORAGE16,
     RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_COOPMAT_NV | RAPT_VULKAN_COOPMAT_KHR, RAPT_F16, 2e-2},
    {"coopmat NV", RAPT_VULKAN_COOPMAT_NV, RAPT_VULKAN_COOPMAT_NV, RAPT_F16, 2e-2},
    {"coopmat KHR", RAPT_VULKAN_COOPMAT_KHR, RAPT_VULKAN_COOPMAT_KHR, RAPT_F16, 2e-2},
};

/* --- One run --------------------------------------------------------------------------------- */

/* Normal numbers, rounded to `dtype`; on the host. */
static rapt_tensor *make_input(rapt_dtype dtype, uint64_t seed, rapt_error *error)
{
    const int64_t shape[] = {BATCH, HEADS, LENGTH, FEATURES};
    rapt_tensor *x = rapt_tensor_make(RAPT_F32, host, 4, shape, error);
    if (!x)
        return NULL;
    rapt_philox_normal(seed, 0, 0, BATCH * HEADS * LENGTH * FEATURES, rapt_view_data(&x->view));
    rapt_tensor *rounded =
        dtype == RAPT_F32 ? rapt_tensor_retain(x) : rapt_copy_to(x, dtype, host, error);
    rapt_tensor_release(x);
    return rounded;
}

static rapt_tensor *moved(rapt_tensor *x, rapt_dtype dtype, rapt_device device, rapt_error *error)
{
    rapt_tensor *there = rapt_copy_to(x, dtype, device, error);
    if (there && rapt_set_requires_grad(there, true, error) != RAPT_OK) {
        rapt_tensor_release(there);
        return NULL;
    }
    return there;
}

/* softmax forward and backward, and a product; the five results in float32 on the host. */
static rapt_status run_once(rapt_context *context, rapt_tensor *const *given, rapt_dtype dtype,
                            rapt_device device, rapt_tensor **results, rapt_error *error)
{
    static const char *const names[INPUTS] = {"q", "k", "v"};
    const rapt_named_value causal = {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {1}};
    rapt_named_tensor inputs[INPUTS] = {{0}}, factors[2] = {{0}};
    rapt_named_tensor out = {0}, product = {0};
    rapt_tensor *seed = NULL;
    rapt_status status = RAPT_OK;
    for (int i = 0; status == RAPT_OK && i < INPUTS; i++) {
        inputs[i] = (rapt_named_tensor){names[i], moved(given[i], dtype, device, error)};
        status = inputs[i].tensor ? RAPT_OK : RAPT_NO_MEMORY;
    }
    if (status == RAPT_OK)
        status = rapt_call_operator(context, "softmax", inputs, INPUTS, &causal, 1, &out, 1, error);
    if (status == RAPT_OK) {
        seed = rapt_copy_to(given[0], dtype, device, error);
        status = seed ? rapt_backward(context, out.tensor, seed, false, error) : RAPT_NO_MEMORY;
    }
    if (status == RAPT_OK) {
        factors[0] = (rapt_named_tensor){"a", rapt_detach(inputs[0].tensor, error)};
        rapt_tensor *b = rapt_detach(inputs[1].tensor, error);
        factors[1] = (rapt_named_tensor){"b", b ? rapt_transpose(context, b, 2, 3, error) : NULL};
        rapt_tensor_release(b);
        status = factors[0].tensor && factors[1].tensor
                     ? rapt_call_operator(context, "core.matmul", factors, 2, NULL, 0, &product, 1,
                                          error)
                     : RAPT_NO_MEMORY;
    }
    for (int i = 0; status == RAPT_OK && i < RESULTS; i++) {
        rapt_tensor *from = i == 0   ? out.tensor
                            : i == 4 ? product.tensor
                                     : rapt_grad(inputs[i - 1].tensor);
        results[i] = from ? rapt_copy_to(from, RAPT_F32, host, error) : NULL;
        status = results[i] ? RAPT_OK : RAPT_INTERNAL;
    }
    for (int i = 0; i < INPUTS; i++)
        rapt_tensor_release(inputs[i].tensor);
    for (int i = 0; i < 2; i++)
        rapt_tensor_release(factors[i].tensor);
    rapt_tensor_release(out.tensor);
    rapt_tensor_release(product.tensor);
    rapt_tensor_release(seed);
    return status;
}

/* --- Comparison ------------------------------------------------------------------------------ */

/* The greatest difference, as a share of the greatest value; infinite where there is a NaN. */
static double difference(const rapt_tensor *a, const rapt_tensor *b)
{
    const float *x = rapt_view_data(&a->view), *y = rapt_view_data(&b->view);
    const int64_t n = rapt_tensor_count(a);
    double most = 0, apart = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)x[i] - (double)y[i]);
        if (!(d <= 1e30))
            return INFINITY;
        apart = d > apart ? d : apart;
        most = fabs((double)y[i]) > most ? fabs((double)y[i]) : most;
    }
    return most > 0 ? apart / most : apart;
}

/* RAPT_OK: right. Otherwise `why` says how far it is off, or what failed. */
static rapt_status test_path(rapt_context *context, const path *p, rapt_device device,
                             rapt_error *why)
{
    static const char *const what[RESULTS] = {"softmax", "the gradient of q", "the gradient of k",
                                              "the gradient of v", "a matrix product"};
    rapt_tensor *given[INPUTS] = {NULL}, *there[RESULTS] = {NULL}, *here[RESULTS] = {NULL};
    rapt_status status = RAPT_OK;
    for (int i = 0; status == RAPT_OK && i < INPUTS; i++) {
        given[i] = make_input(p->dtype, 0x7a917 + (uint64_t)i, why);
        status = given[i] ? RAPT_OK : RAPT_NO_MEMORY;
    }
    if (status == RAPT_OK)
        status = run_once(context, given, RAPT_F32, host, here, why);
    if (status == RAPT_OK)
        status = run_once(context, given, p->dtype, device, there, why);
    for (int i = 0; status == RAPT_OK && i < RESULTS; i++) {
        const double off = difference(there[i], here[i]);
        if (!(off <= p->tolerance))
            status = rapt_fail(why, RAPT_INTERNAL, "%s is off by %.3g of its greatest value",
                               what[i], off);
    }
    for (int i = 0; i < INPUTS; i++)
        rapt_tensor_release(given[i]);
    for (int i = 0; i < RESULTS; i++) {
        rapt_tensor_release(there[i]);
        rapt_tensor_release(here[i]);
    }
    return status;
}

/* --- The verdict ----------------------------------------------------------------------------- */

/* Names the code that is tested by its plugin's hash; false: it has no kernel for the device. */
static bool name_code(rapt_context *context, const char *kind, char *of, size_t size)
{
    rapt_schema *schema;
    if (rapt_registry_find(context->registry, "softmax", &schema, NULL) != RAPT_OK)
        return false;
    bool there = false;
    for (uint32_t k = 0; k < schema->op.n_kernels; k++)
        there = there || strcmp(schema->op.kernels[k].device, kind) == 0;
    const char *hash = "";
    for (size_t i = 0; i < rapt_plugin_count(context); i++) {
        const rapt_plugin_info *info = rapt_plugin_at(context, i);
        for (const char **name = info->operators; !info->error && name && *name; name++)
            if (strcmp(*name, "softmax") == 0)
                hash = info->hash;
    }
    snprintf(of, size, "rapt %s, softmax %s", RAPT_VERSION, hash);
    return there;
}

static void judge(rapt_context *context, rapt_device_driver *driver, rapt_verdict *verdict)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const path *p = &paths[i];
        rapt_error why = {0};
        if (verdict->plain || (verdict->failed & p->needs))
            break;
        const uint32_t offered = driver->offer(driver, p->needs ? common | p->needs : 0);
        if ((offered & p->needs) != p->needs)
            continue;
        const rapt_status status = test_path(context, p, driver->device, &why);
        if (status == RAPT_OK ||
            status == RAPT_UNSUPPORTED) /* no kernel takes it: nothing to judge */
            continue;
        if (status == RAPT_NO_MEMORY || status == RAPT_DEVICE_LOST) {
            verdict->of[0] = 0; /* no verdict: next time again */
            break;
        }
        verdict->failed |= p->off;
        verdict->plain |= p->needs == 0;
        const size_t used = strlen(verdict->why);
        snprintf(verdict->why + used, sizeof verdict->why - used, "%s%s: %.120s", used ? "; " : "",
                 p->name, why.message);
    }
}

/* RAPT_VULKAN_SELFTEST=1 tests again, and software devices too, for which compiling takes longer
 * than anybody should wait who did not ask for it; =0 tests nothing. */
static bool wanted(rapt_device_driver *driver, const char *of)
{
    const char *asked = getenv("RAPT_VULKAN_SELFTEST");
    if (asked && (strcmp(asked, "0") == 0 || strcmp(asked, "1") == 0))
        return asked[0] == '1';
    return !driver->software && !driver->judged(driver, of);
}

rapt_status rapt_selftest(rapt_context *context, rapt_device_driver *driver, rapt_error *error)
{
    rapt_verdict verdict = {0};
    if (driver->tested)
        return RAPT_OK;
    driver->tested = true; /* the calls below come here again */
    if (!name_code(context, driver->kind, verdict.of, sizeof verdict.of) ||
        !wanted(driver, verdict.of))
        return RAPT_OK;
    const bool recording = context->recording;
    context->recording = true;
    judge(context, driver, &verdict);
    context->recording = recording;
    driver->judge(driver, &verdict);
    if (verdict.failed || verdict.plain) {
        char line[RAPT_ERROR_SIZE];
        snprintf(line, sizeof line, "%s failed its self-test: %s", driver->info.name, verdict.why);
        rapt_context_log(context, RAPT_LOG_WARNING, line);
    }
    if (driver->info.available)
        return RAPT_OK;
    return rapt_fail(error, RAPT_UNSUPPORTED, "device \"%s\" is off: %s", driver->info.name,
                     driver->info.detail);
}
