/* libvulkan, opened when a Vulkan device is first asked for, and its instance. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static const char validation_layer[] = "VK_LAYER_KHRONOS_validation";

const char *rapt_vk_result_name(VkResult result)
{
    switch (result) {
#define NAME(name)                                                                                 \
    case name:                                                                                     \
        return #name;
        NAME(VK_SUCCESS)
        NAME(VK_NOT_READY)
        NAME(VK_TIMEOUT)
        NAME(VK_INCOMPLETE)
        NAME(VK_ERROR_OUT_OF_HOST_MEMORY)
        NAME(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        NAME(VK_ERROR_INITIALIZATION_FAILED)
        NAME(VK_ERROR_DEVICE_LOST)
        NAME(VK_ERROR_MEMORY_MAP_FAILED)
        NAME(VK_ERROR_LAYER_NOT_PRESENT)
        NAME(VK_ERROR_EXTENSION_NOT_PRESENT)
        NAME(VK_ERROR_FEATURE_NOT_PRESENT)
        NAME(VK_ERROR_INCOMPATIBLE_DRIVER)
        NAME(VK_ERROR_TOO_MANY_OBJECTS)
        NAME(VK_ERROR_FRAGMENTED_POOL)
        NAME(VK_ERROR_OUT_OF_POOL_MEMORY)
        NAME(VK_ERROR_FRAGMENTATION)
        NAME(VK_ERROR_INVALID_SHADER_NV)
        NAME(VK_ERROR_UNKNOWN)
#undef NAME
    default:
        return "an unknown VkResult";
    }
}

/* --- Layers ---------------------------------------------------------------------------------- */

static VKAPI_ATTR VkBool32 VKAPI_CALL said(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                           VkDebugUtilsMessageTypeFlagsEXT types,
                                           const VkDebugUtilsMessengerCallbackDataEXT *data,
                                           void *user)
{
    (void)severity;
    (void)types;
    (void)user;
    rapt_vk_message(data->pMessage ? data->pMessage : "a message without text");
    return VK_FALSE;
}

static const VkDebugUtilsMessengerCreateInfoEXT messenger_info = {
    .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
    .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
    .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                   VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
    .pfnUserCallback = said,
};

/* The version of Vulkan that the layer knows; 0: there is no such layer. */
static uint32_t layer_version(const rapt_vk_global *vk)
{
    uint32_t n = 0;
    if (vk->EnumerateInstanceLayerProperties(&n, NULL) != VK_SUCCESS || n == 0)
        return 0;
    VkLayerProperties *layers = calloc(n, sizeof *layers);
    uint32_t found = 0;
    if (layers && vk->EnumerateInstanceLayerProperties(&n, layers) >= VK_SUCCESS)
        for (uint32_t i = 0; i < n; i++)
            if (strcmp(layers[i].layerName, validation_layer) == 0)
                found = layers[i].specVersion;
    free(layers);
    return found;
}

/* --- Open and close -------------------------------------------------------------------------- */

static bool load_global(rapt_vk_instance *instance)
{
    rapt_vk_global *vk = &instance->global;
#define LOAD(name) vk->name = (PFN_vk##name)vk->GetInstanceProcAddr(NULL, "vk" #name);
    RAPT_VK_GLOBAL(LOAD)
#undef LOAD
    return vk->CreateInstance && vk->EnumerateInstanceVersion &&
           vk->EnumerateInstanceLayerProperties && vk->EnumerateInstanceExtensionProperties;
}

static bool load_instance(rapt_vk_instance *instance)
{
    bool all = true;
#define LOAD(name)                                                                                 \
    instance->vk.name =                                                                            \
        (PFN_vk##name)instance->global.GetInstanceProcAddr(instance->handle, "vk" #name);          \
    all = all && instance->vk.name;
    RAPT_VK_INSTANCE(LOAD)
#undef LOAD
    instance->coopmat_nv =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV)instance->global.GetInstanceProcAddr(
            instance->handle, "vkGetPhysicalDeviceCooperativeMatrixPropertiesNV");
    instance->coopmat_khr =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)instance->global.GetInstanceProcAddr(
            instance->handle, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    return all;
}

static VkResult make_instance(rapt_vk_instance *instance)
{
    static const VkValidationFeatureEnableEXT synchronization =
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    const VkValidationFeaturesEXT checks = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger_info,
        .enabledValidationFeatureCount = 1,
        .pEnabledValidationFeatures = &synchronization,
    };
    const char *const layers[] = {validation_layer};
    const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME,
                                      VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "rapt",
        .pEngineName = "rapt",
        .apiVersion = VK_API_VERSION_1_2,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = instance->validate ? &checks : NULL,
        .pApplicationInfo = &application,
        .enabledLayerCount = instance->validate ? 1 : 0,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = instance->validate ? 2 : 0,
        .ppEnabledExtensionNames = extensions,
    };
    return instance->global.CreateInstance(&info, NULL, &instance->handle);
}

static void listen(rapt_vk_instance *instance)
{
    const PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)instance->global.GetInstanceProcAddr(
            instance->handle, "vkCreateDebugUtilsMessengerEXT");
    instance->destroy_messenger =
        (PFN_vkDestroyDebugUtilsMessengerEXT)instance->global.GetInstanceProcAddr(
            instance->handle, "vkDestroyDebugUtilsMessengerEXT");
    if (!create || !instance->destroy_messenger ||
        create(instance->handle, &messenger_info, NULL, &instance->messenger) != VK_SUCCESS)
        rapt_vk_message("the validation layers cannot be listened to");
}

void *rapt_vk_loader_open(void)
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    return library ? library : dlopen("$ORIGIN/vulkan/libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
}

static rapt_status open_instance(rapt_vk_instance *instance, rapt_error *error)
{
    instance->library = rapt_vk_loader_open();
    if (!instance->library)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "there is no Vulkan loader, libvulkan.so.1 (Debian: libvulkan1)");
    *(void **)&instance->global.GetInstanceProcAddr =
        dlsym(instance->library, "vkGetInstanceProcAddr");
    if (!instance->global.GetInstanceProcAddr || !load_global(instance))
        return rapt_fail(error, RAPT_UNSUPPORTED, "libvulkan.so.1 is older than Vulkan 1.1");
    if (instance->global.EnumerateInstanceVersion(&instance->version) != VK_SUCCESS ||
        instance->version < VK_API_VERSION_1_2)
        return rapt_fail(
            error, RAPT_UNSUPPORTED, "the Vulkan loader is of version %u.%u; 1.2 is needed",
            VK_API_VERSION_MAJOR(instance->version), VK_API_VERSION_MINOR(instance->version));
    const char *validate = getenv("RAPT_VULKAN_VALIDATE");
    instance->validate = validate && *validate && strcmp(validate, "0") != 0;
    if (instance->validate)
        instance->layer_version = layer_version(&instance->global);
    if (instance->validate && !instance->layer_version)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "RAPT_VULKAN_VALIDATE is set, but there is no layer %s (Debian: "
                         "vulkan-validationlayers)",
                         validation_layer);
    const VkResult result = make_instance(instance);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "no Vulkan driver is installed (Debian: mesa-vulkan-drivers has a "
                         "software one)");
    if (result != VK_SUCCESS)
        return rapt_fail(error, RAPT_UNSUPPORTED, "vkCreateInstance: %s",
                         rapt_vk_result_name(result));
    if (!load_instance(instance))
        return rapt_fail(error, RAPT_UNSUPPORTED, "libvulkan.so.1 lacks functions of Vulkan 1.2");
    if (instance->validate)
        listen(instance);
    return RAPT_OK;
}

rapt_status rapt_vk_instance_open(rapt_vk_instance *instance, rapt_error *error)
{
    memset(instance, 0, sizeof *instance);
    const rapt_status status = open_instance(instance, error);
    if (status != RAPT_OK)
        rapt_vk_instance_close(instance);
    return status;
}

void rapt_vk_instance_close(rapt_vk_instance *instance)
{
    if (instance->messenger)
        instance->destroy_messenger(instance->handle, instance->messenger, NULL);
    if (instance->handle && instance->vk.DestroyInstance)
        instance->vk.DestroyInstance(instance->handle, NULL);
    if (instance->library)
        dlclose(instance->library);
    memset(instance, 0, sizeof *instance);
}
