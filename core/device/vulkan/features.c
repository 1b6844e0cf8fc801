/* What a physical device can do. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Every structure that is asked for its features, and then handed on to vkCreateDevice with what is
 * wanted of them. Those of extensions are in the chain only where the extension is. */
typedef struct chain {
    VkPhysicalDeviceFeatures2 core;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT subgroup;
    VkPhysicalDeviceMaintenance4FeaturesKHR maintenance4;
    VkPhysicalDeviceCooperativeMatrixFeaturesNV coopmat_nv;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coopmat_khr;
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics;
} chain;

enum {
    EXT_SUBGROUP,
    EXT_MAINTENANCE4,
    EXT_COOPMAT_NV,
    EXT_COOPMAT_KHR,
    EXT_BFLOAT16,
    EXT_BUDGET,
    EXT_STATISTICS,
    EXT_SM_BUILTINS,
    EXT_SHADER_CORE,
    EXT_COUNT
};

static const char *const extension_name[EXT_COUNT] = {
    VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME,
    VK_KHR_MAINTENANCE_4_EXTENSION_NAME,
    VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME,
    VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME,
    VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME,
    VK_EXT_MEMORY_BUDGET_EXTENSION_NAME,
    VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME,
    VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME,
    VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME};

/* Validation layers of before an extension take it for an error. */
static uint32_t known_to_layers(const rapt_vk_instance *instance, uint32_t extensions)
{
    if (instance->validate && instance->layer_version < VK_MAKE_API_VERSION(0, 1, 3, 255))
        extensions &= ~(1u << EXT_COOPMAT_KHR);
    if (instance->validate && instance->layer_version < VK_MAKE_API_VERSION(0, 1, 4, 311))
        extensions &= ~(1u << EXT_BFLOAT16);
    return extensions;
}

static uint32_t find_extensions(const rapt_vk_instance *instance, VkPhysicalDevice physical)
{
    uint32_t n = 0, found = 0;
    if (instance->vk.EnumerateDeviceExtensionProperties(physical, NULL, &n, NULL) != VK_SUCCESS)
        return 0;
    VkExtensionProperties *all = calloc(n ? n : 1, sizeof *all);
    if (all && instance->vk.EnumerateDeviceExtensionProperties(physical, NULL, &n, all) >= 0)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t e = 0; e < EXT_COUNT; e++)
                if (strcmp(all[i].extensionName, extension_name[e]) == 0)
                    found |= 1u << e;
    free(all);
    if (!rapt_vk_profile_asked())
        found &= ~(1u << EXT_STATISTICS);
    return found;
}

#define LINK(member, type, wanted)                                                                 \
    do {                                                                                           \
        c->member.sType = (type);                                                                  \
        if (wanted) {                                                                              \
            c->member.pNext = c->core.pNext;                                                       \
            c->core.pNext = &c->member;                                                            \
        }                                                                                          \
    } while (0)

static void link_chain(chain *c, uint32_t extensions)
{
    memset(c, 0, sizeof *c);
    c->core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    LINK(v11, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, true);
    LINK(v12, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, true);
    LINK(subgroup, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
         extensions >> EXT_SUBGROUP & 1);
    LINK(maintenance4, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES_KHR,
         extensions >> EXT_MAINTENANCE4 & 1);
    LINK(coopmat_nv, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV,
         extensions >> EXT_COOPMAT_NV & 1);
    LINK(coopmat_khr, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
         extensions >> EXT_COOPMAT_KHR & 1);
    LINK(bfloat16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR,
         extensions >> EXT_BFLOAT16 & 1);
    LINK(statistics, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
         extensions >> EXT_STATISTICS & 1);
}

/* --- Properties ------------------------------------------------------------------------------ */

static void read_properties(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                            uint32_t extensions, rapt_vk_features *f, uint32_t *subgroup_operations)
{
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV sm = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
    VkPhysicalDeviceShaderCorePropertiesAMD core = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD};
    VkPhysicalDeviceMaintenance4PropertiesKHR m4 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES_KHR};
    VkPhysicalDeviceSubgroupSizeControlPropertiesEXT size = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT};
    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v12};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                       .pNext = &v11};
    void **end = &v12.pNext;
    if (extensions >> EXT_SUBGROUP & 1)
        *end = &size, end = &size.pNext;
    if (extensions >> EXT_MAINTENANCE4 & 1)
        *end = &m4, end = &m4.pNext;
    if (extensions >> EXT_SM_BUILTINS & 1)
        *end = &sm, end = &sm.pNext;
    if (extensions >> EXT_SHADER_CORE & 1)
        *end = &core, end = &core.pNext;
    instance->vk.GetPhysicalDeviceProperties2(physical, &all);
    f->properties = all.properties;
    memcpy(f->driver_name, v12.driverName, sizeof f->driver_name);
    memcpy(f->driver_info, v12.driverInfo, sizeof f->driver_info);
    f->driver_id = v12.driverID;
    memcpy(f->uuid, v11.deviceUUID, sizeof f->uuid);
    f->subgroup_size = v11.subgroupSize;
    *subgroup_operations = v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT
                               ? v11.subgroupSupportedOperations
                               : 0;
    f->max_allocation = v11.maxMemoryAllocationSize;
    f->max_buffer =
        extensions >> EXT_MAINTENANCE4 & 1 ? m4.maxBufferSize : v11.maxMemoryAllocationSize;
    if (extensions >> EXT_SUBGROUP & 1 &&
        size.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) {
        f->subgroup_min = size.minSubgroupSize;
        f->subgroup_max = size.maxSubgroupSize;
    }
    f->processors = extensions >> EXT_SM_BUILTINS & 1 ? sm.shaderSMCount
                    : extensions >> EXT_SHADER_CORE & 1
                        ? core.shaderEngineCount * core.shaderArraysPerEngineCount *
                              core.computeUnitsPerShaderArray
                        : 0;
}

static uint32_t guess_processors(const rapt_vk_features *f)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (f->processors > 0)
        return f->processors;
    if (f->software)
        return processors > 0 ? (uint32_t)processors : 1;
    return f->unified ? 8 : 32;
}

static void read_memory(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                        rapt_vk_features *f)
{
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    instance->vk.GetPhysicalDeviceMemoryProperties2(physical, &memory);
    for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &memory.memoryProperties.memoryHeaps[i];
        if (heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT && heap->size > f->memory_bytes)
            f->memory_bytes = heap->size;
    }
}

static bool find_queue(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                       rapt_vk_features *f)
{
    VkQueueFamilyProperties families[32];
    uint32_t n = sizeof families / sizeof *families;
    instance->vk.GetPhysicalDeviceQueueFamilyProperties(physical, &n, families);
    bool found = false;
    for (uint32_t i = 0; i < n; i++) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) || families[i].queueCount == 0)
            continue;
        if (found && f->timestamp_bits >= families[i].timestampValidBits)
            continue;
        f->queue_family = i;
        f->timestamp_bits = families[i].timestampValidBits;
        found = true;
    }
    return found;
}

/* --- Cooperative matrices -------------------------------------------------------------------- */

static bool has_coopmat_nv(const rapt_vk_instance *instance, VkPhysicalDevice physical)
{
    VkCooperativeMatrixPropertiesNV p[64];
    uint32_t n = sizeof p / sizeof *p;
    for (uint32_t i = 0; i < n; i++)
        p[i] = (VkCooperativeMatrixPropertiesNV){
            .sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV};
    if (!instance->coopmat_nv || instance->coopmat_nv(physical, &n, p) < VK_SUCCESS)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (p[i].MSize == 16 && p[i].NSize == 16 && p[i].KSize == 16 &&
            p[i].scope == VK_SCOPE_SUBGROUP_NV && p[i].AType == VK_COMPONENT_TYPE_FLOAT16_NV &&
            p[i].BType == VK_COMPONENT_TYPE_FLOAT16_NV &&
            p[i].CType == VK_COMPONENT_TYPE_FLOAT32_NV &&
            p[i].DType == VK_COMPONENT_TYPE_FLOAT32_NV)
            return true;
    return false;
}

/* With operands of a type. */
static bool has_coopmat_khr(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                            VkComponentTypeKHR type)
{
    VkCooperativeMatrixPropertiesKHR p[64];
    uint32_t n = sizeof p / sizeof *p;
    for (uint32_t i = 0; i < n; i++)
        p[i] = (VkCooperativeMatrixPropertiesKHR){
            .sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    if (!instance->coopmat_khr || instance->coopmat_khr(physical, &n, p) < VK_SUCCESS)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (p[i].MSize == 16 && p[i].NSize == 16 && p[i].KSize == 16 &&
            p[i].scope == VK_SCOPE_SUBGROUP_KHR && p[i].AType == type && p[i].BType == type &&
            p[i].CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
            p[i].ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR)
            return true;
    return false;
}

/* --- Features -------------------------------------------------------------------------------- */

static void read_features(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                          uint32_t extensions, uint32_t operations, rapt_vk_features *f, chain *c)
{
    const uint32_t subgroup = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_VOTE_BIT |
                              VK_SUBGROUP_FEATURE_ARITHMETIC_BIT | VK_SUBGROUP_FEATURE_BALLOT_BIT |
                              VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    link_chain(c, extensions);
    instance->vk.GetPhysicalDeviceFeatures2(physical, &c->core);
    const bool storage16 = c->v11.storageBuffer16BitAccess && c->core.features.shaderInt16;
    const bool matrices = storage16 && c->v12.shaderFloat16 && c->v12.vulkanMemoryModel;
    f->int16 = c->core.features.shaderInt16;
    f->int8 = c->v12.shaderInt8;
    f->memory_model = c->v12.vulkanMemoryModel;
    f->maintenance4 = c->maintenance4.maintenance4;
    f->memory_budget = extensions >> EXT_BUDGET & 1;
    f->statistics = c->statistics.pipelineExecutableInfo;
    f->subgroup_control =
        c->subgroup.subgroupSizeControl && c->subgroup.computeFullSubgroups && f->subgroup_max > 0;
    f->present = (storage16 ? RAPT_VULKAN_STORAGE16 : 0u) |
                 (c->v12.shaderFloat16 ? RAPT_VULKAN_FLOAT16 : 0u) |
                 (c->core.features.shaderInt64 ? RAPT_VULKAN_INT64 : 0u) |
                 (c->core.features.shaderFloat64 ? RAPT_VULKAN_FLOAT64 : 0u) |
                 ((operations & subgroup) == subgroup ? RAPT_VULKAN_SUBGROUP : 0u);
    if (matrices && c->coopmat_nv.cooperativeMatrix && has_coopmat_nv(instance, physical))
        f->present |= RAPT_VULKAN_COOPMAT_NV;
    if (matrices && c->coopmat_khr.cooperativeMatrix &&
        has_coopmat_khr(instance, physical, VK_COMPONENT_TYPE_FLOAT16_KHR))
        f->present |= RAPT_VULKAN_COOPMAT_KHR;
    if (f->present & RAPT_VULKAN_COOPMAT_KHR && c->bfloat16.shaderBFloat16Type &&
        c->bfloat16.shaderBFloat16CooperativeMatrix &&
        has_coopmat_khr(instance, physical, VK_COMPONENT_TYPE_BFLOAT16_KHR))
        f->present |= RAPT_VULKAN_BFLOAT16;
    f->on = f->present;
}

rapt_status rapt_vk_features_read(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                                  rapt_vk_features *f, rapt_error *error)
{
    memset(f, 0, sizeof *f);
    instance->vk.GetPhysicalDeviceProperties(physical, &f->properties);
    if (f->properties.apiVersion < VK_API_VERSION_1_2)
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s has Vulkan %u.%u; 1.2 is needed",
                         f->properties.deviceName, VK_API_VERSION_MAJOR(f->properties.apiVersion),
                         VK_API_VERSION_MINOR(f->properties.apiVersion));
    if (!find_queue(instance, physical, f))
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s has no queue for compute",
                         f->properties.deviceName);
    const uint32_t offered = find_extensions(instance, physical);
    const uint32_t extensions = known_to_layers(instance, offered);
    uint32_t operations = 0;
    chain c;
    read_properties(instance, physical, extensions, f, &operations);
    read_features(instance, physical, extensions, operations, f, &c);
    if (!c.v12.timelineSemaphore)
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s has no timeline semaphores",
                         f->properties.deviceName);
    f->software = f->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    f->unified = f->software || f->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    f->processors = guess_processors(f);
    read_memory(instance, physical, f);
    rapt_vk_quirks_apply(f);
    f->hidden = offered != extensions;
    return RAPT_OK;
}

/* --- The logical device ---------------------------------------------------------------------- */

/* Of what the device has, what shaders of rapt may use. */
static void keep_wanted(chain *c, const rapt_vk_features *f)
{
    const VkPhysicalDeviceFeatures core = c->core.features;
    c->core.features = (VkPhysicalDeviceFeatures){.shaderInt16 = core.shaderInt16,
                                                  .shaderInt64 = core.shaderInt64,
                                                  .shaderFloat64 = core.shaderFloat64};
    const VkPhysicalDeviceVulkan11Features v11 = c->v11;
    c->v11 = (VkPhysicalDeviceVulkan11Features){
        .sType = v11.sType,
        .pNext = v11.pNext,
        .storageBuffer16BitAccess = v11.storageBuffer16BitAccess,
        .uniformAndStorageBuffer16BitAccess = v11.uniformAndStorageBuffer16BitAccess};
    const VkPhysicalDeviceVulkan12Features v12 = c->v12;
    c->v12 = (VkPhysicalDeviceVulkan12Features){
        .sType = v12.sType,
        .pNext = v12.pNext,
        .storageBuffer8BitAccess = v12.storageBuffer8BitAccess,
        .shaderFloat16 = v12.shaderFloat16,
        .shaderInt8 = v12.shaderInt8,
        .scalarBlockLayout = v12.scalarBlockLayout,
        .shaderSubgroupExtendedTypes = v12.shaderSubgroupExtendedTypes,
        .timelineSemaphore = VK_TRUE,
        .vulkanMemoryModel = v12.vulkanMemoryModel,
        .vulkanMemoryModelDeviceScope = v12.vulkanMemoryModelDeviceScope};
    c->coopmat_nv.cooperativeMatrixRobustBufferAccess = VK_FALSE;
    c->coopmat_khr.cooperativeMatrixRobustBufferAccess = VK_FALSE;
    (void)f;
}

VkResult rapt_vk_features_create(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                                 const rapt_vk_features *f, VkDevice *device)
{
    const uint32_t extensions = known_to_layers(instance, find_extensions(instance, physical));
    chain c;
    link_chain(&c, extensions);
    instance->vk.GetPhysicalDeviceFeatures2(physical, &c.core);
    keep_wanted(&c, f);
    const char *names[EXT_COUNT];
    uint32_t n = 0;
    for (uint32_t e = 0; e < EXT_SM_BUILTINS; e++)
        if (extensions >> e & 1)
            names[n++] = extension_name[e];
    const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = f->queue_family,
                                           .queueCount = 1,
                                           .pQueuePriorities = &priority};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = &c.core,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = n,
                                     .ppEnabledExtensionNames = names};
    return instance->vk.CreateDevice(physical, &info, NULL, device);
}

/* --- In words -------------------------------------------------------------------------------- */

static void describe_path(const rapt_vk_features *f, const char *name, uint32_t needs, char **at,
                          char *end)
{
    static const char *const feature[] = {"16-bit storage",
                                          "float16",
                                          "int64",
                                          "subgroups",
                                          "VK_NV_cooperative_matrix",
                                          "VK_KHR_cooperative_matrix",
                                          "float64",
                                          "VK_KHR_shader_bfloat16"};
    const uint32_t missing = needs & ~f->on;
    if (!missing) {
        *at += snprintf(*at, (size_t)(end - *at), "; %s on", name);
    } else {
        const int bit = __builtin_ctz(missing);
        if (needs & (RAPT_VULKAN_COOPMAT_KHR | RAPT_VULKAN_BFLOAT16) && f->hidden)
            *at += snprintf(*at, (size_t)(end - *at),
                            "; %s off: the validation layers are older than it", name);
        else if (f->present >> bit & 1)
            *at += snprintf(*at, (size_t)(end - *at), "; %s off: %s", name, f->why_off[bit]);
        else
            *at += snprintf(*at, (size_t)(end - *at), "; %s off: no %s", name, feature[bit]);
    }
    if (*at >= end)
        *at = end - 1;
}

void rapt_vk_features_describe(const rapt_vk_features *f, char *text, size_t size)
{
    char *at = text, *end = text + size;
    at += snprintf(at, size, "plain on");
    describe_path(f, "f16", RAPT_VULKAN_STORAGE16, &at, end);
    describe_path(f, "coopmat NV", RAPT_VULKAN_COOPMAT_NV, &at, end);
    describe_path(f, "coopmat KHR", RAPT_VULKAN_COOPMAT_KHR, &at, end);
    describe_path(f, "coopmat bf16", RAPT_VULKAN_COOPMAT_KHR | RAPT_VULKAN_BFLOAT16, &at, end);
}
