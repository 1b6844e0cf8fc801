/* Pipelines by what they are made of. */
#include "base/error.h"
#include "device/vulkan/bfloat.h"
#include "device/vulkan/code.h"
#include "device/vulkan/shared.h"
#include "device/vulkan/vulkan.h"
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Code ------------------------------------------------------------------------------------ */

static uint32_t code_slot(const rapt_vk_pipelines *p, const uint32_t *code)
{
    return (uint32_t)(((uint64_t)(uintptr_t)code * 0x9E3779B97F4A7C15u) >> 40) &
           (p->codes_capacity - 1);
}

static bool grow_codes(rapt_vk_pipelines *p)
{
    const rapt_vk_pipelines old = *p;
    const uint32_t capacity = old.codes_capacity ? 2 * old.codes_capacity : 256;
    rapt_vk_code *codes = calloc(capacity, sizeof *codes);
    if (!codes)
        return false;
    p->codes = codes;
    p->codes_capacity = capacity;
    for (uint32_t i = 0; i < old.codes_capacity; i++) {
        if (!old.codes[i].code)
            continue;
        uint32_t at = code_slot(p, old.codes[i].code);
        while (codes[at].code)
            at = (at + 1) & (capacity - 1);
        codes[at] = old.codes[i];
    }
    free(old.codes);
    return true;
}

/* The hash of a shader's code, remembered by its address until rapt_vk_forget. */
static const uint8_t *code_hash(rapt_vk_pipelines *p, const rapt_vulkan_shader *shader)
{
    if (2 * (p->n_codes + 1) > p->codes_capacity && !grow_codes(p))
        return NULL;
    uint32_t at = code_slot(p, shader->code);
    for (; p->codes[at].code; at = (at + 1) & (p->codes_capacity - 1))
        if (p->codes[at].code == shader->code && p->codes[at].code_bytes == shader->code_bytes)
            return p->codes[at].hash;
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, shader->code_bytes, (const uint8_t *)shader->code);
    sha256_digest(&context, SHA256_DIGEST_SIZE, p->codes[at].hash);
    p->codes[at].code = shader->code;
    p->codes[at].code_bytes = shader->code_bytes;
    p->n_codes++;
    return p->codes[at].hash;
}

void rapt_vk_forget(rapt_vk_device *device)
{
    rapt_vk_pipelines *p = &device->pipelines;
    if (p->codes)
        memset(p->codes, 0, p->codes_capacity * sizeof *p->codes);
    p->n_codes = 0;
}

/* --- Layouts --------------------------------------------------------------------------------- */

static VkResult make_layout(rapt_vk_device *device, uint32_t bindings, uint32_t push_bytes,
                            rapt_vk_layout *layout)
{
    VkDescriptorSetLayoutBinding binding[RAPT_VK_MAX_BINDINGS];
    for (uint32_t i = 0; i < bindings; i++)
        binding[i] =
            (VkDescriptorSetLayoutBinding){.binding = i,
                                           .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                           .descriptorCount = 1,
                                           .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    const VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = bindings,
        .pBindings = binding};
    layout->bindings = bindings;
    layout->push_bytes = push_bytes;
    VkResult result =
        device->vk.CreateDescriptorSetLayout(device->handle, &set, NULL, &layout->set);
    if (result != VK_SUCCESS)
        return result;
    const VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes};
    const VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                             .setLayoutCount = 1,
                                             .pSetLayouts = &layout->set,
                                             .pushConstantRangeCount = push_bytes ? 1 : 0,
                                             .pPushConstantRanges = &push};
    result = device->vk.CreatePipelineLayout(device->handle, &info, NULL, &layout->pipeline);
    if (result != VK_SUCCESS)
        device->vk.DestroyDescriptorSetLayout(device->handle, layout->set, NULL);
    return result;
}

static VkResult get_layout(rapt_vk_device *device, uint32_t bindings, uint32_t push_bytes,
                           const rapt_vk_layout **out)
{
    rapt_vk_pipelines *p = &device->pipelines;
    for (uint32_t i = 0; i < p->n_layouts; i++)
        if (p->layouts[i]->bindings == bindings && p->layouts[i]->push_bytes == push_bytes) {
            *out = p->layouts[i];
            return VK_SUCCESS;
        }
    rapt_vk_layout **more = realloc(p->layouts, (p->n_layouts + 1) * sizeof(rapt_vk_layout *));
    if (more)
        p->layouts = more;
    rapt_vk_layout *layout = more ? calloc(1, sizeof *layout) : NULL;
    if (!layout)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    const VkResult result = make_layout(device, bindings, push_bytes, layout);
    if (result != VK_SUCCESS) {
        free(layout);
        return result;
    }
    p->layouts[p->n_layouts++] = layout;
    *out = layout;
    return VK_SUCCESS;
}

/* --- Pipelines ------------------------------------------------------------------------------- */

static VkResult compile(rapt_vk_device *device, const rapt_vk_words *words, VkPipelineCache cache,
                        rapt_vk_pipeline *pipeline)
{
    VkSpecializationMapEntry entries[RAPT_VK_MAX_CONSTANTS];
    for (uint32_t i = 0; i < pipeline->n_constants; i++)
        entries[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
    const VkSpecializationInfo constants = {pipeline->n_constants, entries,
                                            4 * (size_t)pipeline->n_constants, pipeline->constants};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
        .requiredSubgroupSize = pipeline->subgroup};
    const VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                           .codeSize = words->bytes,
                                           .pCode = words->code};
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = pipeline->subgroup ? &size : NULL,
                  .flags = pipeline->subgroup
                               ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT
                               : 0u,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .pName = "main",
                  .pSpecializationInfo = pipeline->n_constants ? &constants : NULL},
        .flags = device->features.statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0u,
        .layout = pipeline->layout->pipeline};
    VkResult result =
        device->vk.CreateShaderModule(device->handle, &code, NULL, &info.stage.module);
    if (result != VK_SUCCESS)
        return result;
    result =
        device->vk.CreateComputePipelines(device->handle, cache, 1, &info, NULL, &pipeline->handle);
    device->vk.DestroyShaderModule(device->handle, info.stage.module, NULL);
    return result;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
}

static bool same(const rapt_vk_pipeline *a, const rapt_vk_pipeline *b)
{
    return a->hash == b->hash && a->subgroup == b->subgroup && a->n_constants == b->n_constants &&
           a->layout == b->layout && a->as_bfloat16 == b->as_bfloat16 &&
           memcmp(a->code, b->code, sizeof a->code) == 0 &&
           memcmp(&a->part, &b->part, sizeof a->part) == 0 &&
           (a->n_constants == 0 ||
            memcmp(a->constants, b->constants, 4 * (size_t)a->n_constants) == 0);
}

/* The subgroup size to ask the driver for: 0 where it would be that anyway. */
static rapt_status subgroup_of(rapt_vk_device *device, const rapt_vulkan_shader *shader,
                               uint32_t *size, rapt_error *error)
{
    const rapt_vk_features *f = &device->features;
    *size = 0;
    if (shader->subgroup == 0)
        return RAPT_OK;
    if (f->subgroup_control && shader->subgroup >= f->subgroup_min &&
        shader->subgroup <= f->subgroup_max && (shader->subgroup & (shader->subgroup - 1)) == 0) {
        *size = shader->subgroup;
        return RAPT_OK;
    }
    if (!f->subgroup_control && shader->subgroup == f->subgroup_size)
        return RAPT_OK;
    return rapt_fail(error, RAPT_UNSUPPORTED,
                     "shader %s runs in subgroups of %u; %s has them of %u to %u", shader->name,
                     shader->subgroup, device->name,
                     f->subgroup_control ? f->subgroup_min : f->subgroup_size,
                     f->subgroup_control ? f->subgroup_max : f->subgroup_size);
}

/* The words that a pipeline is made of. */
static rapt_status words_of(const rapt_vulkan_shader *shader, bool as_bfloat16,
                            const rapt_vk_part *part, rapt_vk_words *words, rapt_error *error)
{
    rapt_vk_words before;
    rapt_status status = rapt_vk_unpack(shader, words, error);
    if (status == RAPT_OK && as_bfloat16) {
        before = *words;
        status = rapt_vk_bfloat_code(shader->name, &before, words, error);
        free(before.owned);
    }
    if (status == RAPT_OK && part) {
        before = *words;
        status = rapt_vk_part_code(shader->name, &before, part, words, error);
        free(before.owned);
    }
    return status;
}

/* Refuses what the driver would not: more shared memory than there is. */
static rapt_status check_shared(const rapt_vk_device *device, const rapt_vulkan_shader *shader,
                                const rapt_vk_words *words, const rapt_vk_pipeline *key,
                                rapt_error *error)
{
    uint64_t bytes;
    if (!rapt_vk_shared_bytes(words, key->constants, key->n_constants, &bytes) ||
        bytes <= device->limits.shared_bytes)
        return RAPT_OK;
    return rapt_fail(error, RAPT_UNSUPPORTED,
                     "shader %s takes %llu bytes of shared memory; %s has %u", shader->name,
                     (unsigned long long)bytes, device->name, device->limits.shared_bytes);
}

rapt_status rapt_vk_pipeline_get(rapt_vk_device *device, const rapt_vulkan_dispatch *dispatch,
                                 const rapt_vk_part *part, const rapt_vk_pipeline **out,
                                 rapt_error *error)
{
    rapt_vk_pipelines *p = &device->pipelines;
    const rapt_vulkan_shader *shader = dispatch->shader;
    rapt_vk_pipeline key = {.n_constants = dispatch->n_constants,
                            .as_bfloat16 = dispatch->flags & RAPT_VULKAN_AS_BFLOAT16};
    const uint32_t bindings = shader->n_buffers + (shader->params_bytes ? 1 : 0);
    rapt_status status = subgroup_of(device, shader, &key.subgroup, error);
    if (status != RAPT_OK)
        return status;
    const uint8_t *hash = code_hash(p, shader);
    if (!hash)
        return rapt_fail_memory(error, sizeof key, "a pipeline");
    memcpy(key.code, hash, sizeof key.code);
    VkResult result = get_layout(device, bindings, shader->push_bytes, &key.layout);
    if (result != VK_SUCCESS)
        return rapt_vk_failed(device, result, "making a pipeline's layout", error);
    memcpy(&key.hash, key.code, sizeof key.hash);
    key.hash = mix(key.hash, key.subgroup | (uint64_t)key.as_bfloat16 << 32);
    for (uint32_t i = 0; i < dispatch->n_constants; i++) {
        key.constants[i] = dispatch->constants[i];
        key.hash = mix(key.hash, dispatch->constants[i]);
    }
    if (part)
        key.part = *part;
    for (int i = 0; part && i < 3; i++)
        key.hash = mix(key.hash, (uint64_t)part->whole[i] << 32 | part->base[i]);
    rapt_vk_pipeline **bucket = &p->bucket[key.hash % 256];
    for (const rapt_vk_pipeline *at = *bucket; at; at = at->next)
        if (same(at, &key)) {
            *out = at;
            return RAPT_OK;
        }
    rapt_vk_words words;
    rapt_vk_family *family;
    status = rapt_vk_family_get(device, shader->name, &family, error);
    if (status != RAPT_OK)
        return status;
    status = words_of(shader, key.as_bfloat16, part, &words, error);
    if (status != RAPT_OK)
        return status;
    rapt_vk_pipeline *made = NULL;
    status = check_shared(device, shader, &words, &key, error);
    if (status == RAPT_OK && !(made = malloc(sizeof *made)))
        status = rapt_fail_memory(error, sizeof *made, "a pipeline");
    if (status != RAPT_OK) {
        free(words.owned);
        return status;
    }
    *made = key;
    result = compile(device, &words, family->cache, made);
    free(words.owned);
    if (result != VK_SUCCESS) {
        char what[160];
        snprintf(what, sizeof what, "making the pipeline of shader %s", shader->name);
        free(made);
        return rapt_vk_failed(device, result, what, error);
    }
    rapt_vk_profile_compiled(device, shader->name, made->handle);
    made->next = *bucket;
    *bucket = made;
    family->unsaved++;
    *out = made;
    return RAPT_OK;
}

/* --- Close ----------------------------------------------------------------------------------- */

void rapt_vk_pipelines_close(rapt_vk_device *device)
{
    rapt_vk_pipelines *p = &device->pipelines;
    rapt_vk_families_close(device);
    for (uint32_t i = 0; i < 256; i++)
        for (rapt_vk_pipeline *at = p->bucket[i], *next; at; at = next) {
            next = at->next;
            device->vk.DestroyPipeline(device->handle, at->handle, NULL);
            free(at);
        }
    for (uint32_t i = 0; i < p->n_layouts; i++) {
        device->vk.DestroyPipelineLayout(device->handle, p->layouts[i]->pipeline, NULL);
        device->vk.DestroyDescriptorSetLayout(device->handle, p->layouts[i]->set, NULL);
        free(p->layouts[i]);
    }
    free(p->layouts);
    free(p->codes);
    memset(p, 0, sizeof *p);
}
