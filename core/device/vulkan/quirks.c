/* What is known not to work, by vendor, driver and version. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <stdlib.h>
#include <string.h>

enum { LEAST_SHARED = 16384, MOST_SHARED = 1 << 24 }; /* Vulkan has the least; bytes */

typedef struct quirk {
    uint32_t vendor;       /* PCI vendor; 0: any */
    VkDriverId driver;     /* 0: any */
    uint32_t from, before; /* driverVersion in the driver's own encoding; before 0: no end */
    uint32_t off;          /* RAPT_VULKAN_* */
    const char *why;
} quirk;

/* A row stays until no driver of its range is in use where rapt is. */
static const quirk table[] = {
    {0, VK_DRIVER_ID_AMD_PROPRIETARY, 0, 0, RAPT_VULKAN_COOPMAT_KHR,
     "AMD's driver reports cooperative matrices on GPUs without matrix units"},
    {0, VK_DRIVER_ID_AMD_OPEN_SOURCE, 0, 0, RAPT_VULKAN_COOPMAT_KHR,
     "AMDVLK reports cooperative matrices on GPUs without matrix units"},
};

void rapt_vk_features_off(rapt_vk_features *f, uint32_t off, const char *why)
{
    for (uint32_t bit = 0; bit < 32; bit++)
        if (f->on >> bit & off >> bit & 1) {
            f->on &= ~(1u << bit);
            f->why_off[bit] = why;
        }
}

/* In the order of RAPT_VULKAN_*. */
static const char *const name[] = {"storage16",  "float16",     "int64",   "subgroup",
                                   "coopmat_nv", "coopmat_khr", "float64", "bfloat16"};

/* The bit of a name of n bytes; -1: there is none. */
static int bit_of(const char *text, size_t n)
{
    for (int bit = 0; bit < (int)(sizeof name / sizeof *name); bit++)
        if (strlen(name[bit]) == n && strncmp(name[bit], text, n) == 0)
            return bit;
    return -1;
}

/* A limit that the environment asks for; 0: it says nothing, UINT32_MAX: nothing that makes sense.
 */
static uint32_t asked(const char *variable, uint32_t least, uint32_t most)
{
    const char *text = getenv(variable);
    char *end = NULL;
    if (!text || !*text)
        return 0;
    const unsigned long n = strtoul(text, &end, 10);
    return *end || text[0] < '0' || text[0] > '9' || n < least || n > most ? UINT32_MAX
                                                                           : (uint32_t)n;
}

static uint32_t buffers_asked(void)
{
    return asked("RAPT_VULKAN_BUFFERS", 4, RAPT_VK_MAX_BINDINGS);
}

static uint32_t shared_asked(void)
{
    return asked("RAPT_VULKAN_SHARED", LEAST_SHARED, MOST_SHARED);
}

uint32_t rapt_vk_quirks_buffers(const rapt_vk_features *f)
{
    const VkPhysicalDeviceLimits *l = &f->properties.limits;
    uint32_t most = l->maxPerStageDescriptorStorageBuffers < l->maxPerStageResources
                        ? l->maxPerStageDescriptorStorageBuffers
                        : l->maxPerStageResources;
    most = most < RAPT_VK_MAX_BINDINGS ? most : RAPT_VK_MAX_BINDINGS;
    const uint32_t n = buffers_asked();
    return n && n < most ? n : most;
}

uint32_t rapt_vk_quirks_shared(const rapt_vk_features *f)
{
    const uint32_t most = f->properties.limits.maxComputeSharedMemorySize, n = shared_asked();
    return n && n < most ? n : most;
}

rapt_status rapt_vk_quirks_check(rapt_error *error)
{
    const char *at = getenv("RAPT_VULKAN_OFF");
    if (buffers_asked() == UINT32_MAX)
        return rapt_fail(error, RAPT_INVALID,
                         "RAPT_VULKAN_BUFFERS is \"%s\"; a number from 4 to %d was expected",
                         getenv("RAPT_VULKAN_BUFFERS"), RAPT_VK_MAX_BINDINGS);
    if (shared_asked() == UINT32_MAX)
        return rapt_fail(error, RAPT_INVALID,
                         "RAPT_VULKAN_SHARED is \"%s\"; bytes from %d to %d were expected",
                         getenv("RAPT_VULKAN_SHARED"), LEAST_SHARED, MOST_SHARED);
    while (at && *at) {
        const size_t n = strcspn(at, ", ");
        if (n > 0 && bit_of(at, n) < 0)
            return rapt_fail(error, RAPT_INVALID,
                             "RAPT_VULKAN_OFF names \"%.*s\"; there are storage16, float16, int64, "
                             "subgroup, coopmat_nv, coopmat_khr, float64 and bfloat16",
                             (int)n, at);
        at += n + strspn(at + n, ", ");
    }
    return RAPT_OK;
}

/* RAPT_VULKAN_OFF, a list of names: what the user turns off, to try the paths without it. */
static void turn_off_asked(rapt_vk_features *f)
{
    const char *at = getenv("RAPT_VULKAN_OFF");
    while (at && *at) {
        const size_t n = strcspn(at, ", ");
        const int bit = bit_of(at, n);
        if (bit >= 0)
            rapt_vk_features_off(f, 1u << bit, "RAPT_VULKAN_OFF says so");
        at += n + strspn(at + n, ", ");
    }
}

void rapt_vk_quirks_apply(rapt_vk_features *f)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const quirk *q = &table[i];
        if ((q->vendor && q->vendor != f->properties.vendorID) ||
            (q->driver && q->driver != f->driver_id) || f->properties.driverVersion < q->from ||
            (q->before && f->properties.driverVersion >= q->before))
            continue;
        rapt_vk_features_off(f, q->off, q->why);
    }
    turn_off_asked(f);
}
