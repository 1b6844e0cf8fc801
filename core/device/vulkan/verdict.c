/* What self-tests have found on this device and driver, operator by operator: kept on disk, and
 * taken from what the operator's calls are offered. */
#include "device/vulkan/cache.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Never freed while the device is there: calls hold its limits, and look for it without the lock.
 */
struct rapt_vk_judged {
    char op[sizeof((rapt_verdict *)0)->op];
    rapt_vulkan_limits limits;
    rapt_verdict verdict;
    rapt_vk_judged *next;
};

/* --- The list -------------------------------------------------------------------------------- */

static rapt_vk_judged *find(const rapt_vk_device *device, const char *op)
{
    rapt_vk_judged *at = atomic_load_explicit(&device->judged, memory_order_acquire);
    while (at && strcmp(at->op, op) != 0)
        at = at->next;
    return at;
}

const rapt_verdict *rapt_vk_verdict_find(const rapt_vk_device *device, const char *op)
{
    const rapt_vk_judged *found = find(device, op);
    return found ? &found->verdict : NULL;
}

/* False: no memory. */
static bool put(rapt_vk_device *device, const rapt_verdict *verdict)
{
    rapt_vk_judged *at = find(device, verdict->op), *made = NULL;
    if (!at) {
        made = calloc(1, sizeof *made);
        if (!made)
            return false;
        at = made;
        memcpy(at->op, verdict->op, sizeof at->op);
        at->limits = device->limits;
    }
    at->verdict = *verdict;
    at->limits.features = device->limits.features & ~verdict->failed;
    if (made) {
        made->next = atomic_load(&device->judged);
        atomic_store_explicit(&device->judged, made, memory_order_release);
    }
    if (verdict->failed)
        atomic_store_explicit(&device->failing, true, memory_order_release);
    return true;
}

void rapt_vk_verdicts_free(rapt_vk_device *device)
{
    for (rapt_vk_judged *at = atomic_load(&device->judged), *next; at; at = next) {
        next = at->next;
        free(at);
    }
    atomic_store(&device->judged, NULL);
}

/* --- What calls are offered ------------------------------------------------------------------ */

/* While this thread tests an operator. */
static _Thread_local struct {
    const rapt_vk_device *device;
    rapt_vulkan_limits limits;
} offered;

uint32_t rapt_vk_verdict_offer(rapt_vk_device *device, uint32_t features)
{
    offered.device = features == UINT32_MAX ? NULL : device;
    offered.limits = device->limits;
    offered.limits.features &= features;
    return offered.limits.features;
}

const rapt_vulkan_limits *rapt_vk_verdict_limits(const rapt_vk_device *device,
                                                 const rapt_call *call)
{
    if (offered.device == device)
        return &offered.limits;
    if (!atomic_load_explicit(&device->failing, memory_order_acquire))
        return &device->limits;
    const rapt_vk_judged *found = find(device, call->op->name);
    return found ? &found->limits : &device->limits;
}

/* --- In words -------------------------------------------------------------------------------- */

void rapt_vk_verdicts_describe(const rapt_vk_device *device, char *text, size_t size)
{
    const rapt_vk_judged *at = atomic_load(&device->judged);
    size_t passed = 0, golden = 0, used = 0;
    text[0] = 0;
    for (; at; at = at->next) {
        const rapt_verdict *v = &at->verdict;
        if (!v->failed && !v->wrong) {
            passed += v->compared != 0;
            golden += (v->compared & RAPT_COMPARED_GOLDEN) != 0;
        } else if (used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s: %s",
                                     used ? "; " : "failed by ", v->op, v->why);
    }
    if (passed > 0 && used < size)
        snprintf(text + used, size - used, "%spassed by %zu operator%s, %zu with golden vectors",
                 used ? "; " : "", passed, passed == 1 ? "" : "s", golden);
    else if (used == 0)
        snprintf(text, size, "%s",
                 device->features.software ? "if RAPT_VULKAN_SELFTEST=1"
                                           : "with the first call of each operator");
}

/* --- On disk --------------------------------------------------------------------------------- */

static void verdict_name(const rapt_vk_features *f, char *name, size_t size)
{
    int at = snprintf(name, size, "verdicts-%04x-%04x-%08x-", f->properties.vendorID,
                      f->properties.deviceID, f->properties.driverVersion);
    for (uint32_t i = 0; i < VK_UUID_SIZE && at > 0 && (size_t)at + 3 < size; i++)
        at += snprintf(name + at, size - (size_t)at, "%02x", f->uuid[i]);
}

void rapt_vk_verdicts_load(rapt_vk_device *device)
{
    char name[96];
    size_t bytes = 0;
    verdict_name(&device->features, name, sizeof name);
    unsigned char *data = rapt_vk_cache_load(name, &bytes);
    for (size_t i = 0; data && bytes % sizeof(rapt_verdict) == 0 && i < bytes;
         i += sizeof(rapt_verdict)) {
        rapt_verdict verdict;
        memcpy(&verdict, data + i, sizeof verdict);
        verdict.op[sizeof verdict.op - 1] = 0;
        verdict.code[sizeof verdict.code - 1] = 0;
        verdict.why[sizeof verdict.why - 1] = 0;
        verdict.fresh = 0;
        (void)put(device, &verdict); /* without memory it is tested again */
    }
    free(data);
}

void rapt_vk_verdict_keep(rapt_vk_device *device, const rapt_verdict *verdict)
{
    char name[96];
    size_t n = 0;
    if (!put(device, verdict) || device->lost)
        return;
    for (const rapt_vk_judged *at = atomic_load(&device->judged); at; at = at->next)
        n++;
    rapt_verdict *all = calloc(n, sizeof *all);
    if (!all)
        return;
    const rapt_vk_judged *at = atomic_load(&device->judged);
    for (size_t i = n; i-- > 0; at = at->next) /* the list begins with the last */
        all[i] = at->verdict;
    verdict_name(&device->features, name, sizeof name);
    rapt_vk_cache_store(name, all, n * sizeof *all);
    free(all);
}
