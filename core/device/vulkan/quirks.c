/* What is known not to work, by vendor, driver and version. */
#include "device/vulkan/vulkan.h"
#include <stdlib.h>
#include <string.h>

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

/* RAPT_VULKAN_OFF, a list of names: what the user turns off, to try the paths without it. */
static void turn_off_asked(rapt_vk_features *f)
{
    static const char *const name[] = {"storage16",  "float16",     "int64",  "subgroup",
                                       "coopmat_nv", "coopmat_khr", "float64"};
    const char *at = getenv("RAPT_VULKAN_OFF");
    while (at && *at) {
        const size_t n = strcspn(at, ", ");
        for (uint32_t bit = 0; bit < sizeof name / sizeof *name; bit++)
            if (strlen(name[bit]) == n && strncmp(at, name[bit], n) == 0)
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
