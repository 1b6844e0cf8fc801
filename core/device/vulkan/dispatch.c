/* Dispatches: checked, bound, recorded; and the service that kernels reach them by. */
#include "base/error.h"
#include "device/vulkan/vulkan.h"
#include <stdlib.h>
#include <string.h>

/* --- Checks ---------------------------------------------------------------------------------- */

static rapt_status check_shader(const rapt_vk_device *device, const rapt_vulkan_dispatch *d,
                                rapt_error *error)
{
    const rapt_vulkan_shader *s = d->shader;
    const uint32_t needed =
        s->features | (d->flags & RAPT_VULKAN_AS_BFLOAT16 ? RAPT_VULKAN_BFLOAT16 : 0u);
    const uint32_t missing = needed & ~device->limits.features;
    const uint32_t bindings = s->n_buffers + (s->params_bytes ? 1 : 0);
    if (missing)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "shader %s needs features 0x%x that %s lacks or has off", s->name, missing,
                         device->name);
    if (bindings > device->limits.buffers)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "shader %s binds %u storage buffers; %s takes %u in a shader", s->name,
                         bindings, device->name, device->limits.buffers);
    if (s->push_bytes > 128 || s->push_bytes % 4 || s->params_bytes > 4096 || s->params_bytes % 4 ||
        d->n_constants > RAPT_VK_MAX_CONSTANTS)
        return rapt_fail(error, RAPT_INTERNAL,
                         "shader %s has %u bytes of push constants, %u of params and %u constants; "
                         "at most 128, 4096 and %d were expected",
                         s->name, s->push_bytes, s->params_bytes, d->n_constants,
                         RAPT_VK_MAX_CONSTANTS);
    return RAPT_OK;
}

static rapt_status check_buffer(const rapt_vk_device *device, const rapt_vulkan_shader *s,
                                uint32_t i, const rapt_vulkan_buffer *b, rapt_error *error)
{
    const rapt_vk_memory *memory = b->memory;
    if (!memory)
        return RAPT_OK;
    if (memory->device != device)
        return rapt_fail(error, RAPT_INTERNAL, "shader %s: buffer %u is of another device", s->name,
                         i);
    if (b->offset & (device->limits.offset_alignment - 1) || b->bytes == 0 ||
        b->bytes > device->limits.buffer_bytes || b->offset > memory->bytes ||
        b->bytes > memory->bytes - b->offset)
        return rapt_fail(error, RAPT_INTERNAL,
                         "shader %s: buffer %u shows %llu bytes at %llu of a memory of %llu; a "
                         "buffer shows at most %llu and begins at a multiple of %u",
                         s->name, i, (unsigned long long)b->bytes, (unsigned long long)b->offset,
                         (unsigned long long)memory->bytes,
                         (unsigned long long)device->limits.buffer_bytes,
                         device->limits.offset_alignment);
    return RAPT_OK;
}

/* --- Descriptors and params ------------------------------------------------------------------ */

static VkResult add_pool(rapt_vk_device *device, rapt_vk_batch *batch)
{
    const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, RAPT_VK_POOL_BUFFERS};
    const VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                             .maxSets = RAPT_VK_POOL_SETS,
                                             .poolSizeCount = 1,
                                             .pPoolSizes = &size};
    rapt_vk_pool *more = realloc(batch->pools, (batch->n_pools + 1) * sizeof *more);
    if (!more)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    batch->pools = more;
    rapt_vk_pool *pool = &more[batch->n_pools];
    *pool = (rapt_vk_pool){.sets = RAPT_VK_POOL_SETS, .buffers = RAPT_VK_POOL_BUFFERS};
    const VkResult result =
        device->vk.CreateDescriptorPool(device->handle, &info, NULL, &pool->handle);
    if (result == VK_SUCCESS)
        batch->n_pools++;
    return result;
}

static VkResult take_set(rapt_vk_device *device, rapt_vk_batch *batch, const rapt_vk_layout *layout,
                         VkDescriptorSet *set)
{
    if (batch->n_pools > 0 && (batch->pools[batch->pool_used].sets == 0 ||
                               batch->pools[batch->pool_used].buffers < layout->bindings))
        batch->pool_used++;
    if (batch->pool_used == batch->n_pools) {
        const VkResult result = add_pool(device, batch);
        if (result != VK_SUCCESS)
            return result;
    }
    rapt_vk_pool *pool = &batch->pools[batch->pool_used];
    const VkDescriptorSetAllocateInfo info = {.sType =
                                                  VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                              .descriptorPool = pool->handle,
                                              .descriptorSetCount = 1,
                                              .pSetLayouts = &layout->set};
    const VkResult result = device->vk.AllocateDescriptorSets(device->handle, &info, set);
    if (result == VK_SUCCESS) {
        pool->sets--;
        pool->buffers -= layout->bindings;
    }
    return result;
}

/* Copies params into the batch's memory for them; a full one is submitted by params_ready. */
static uint64_t put_params(rapt_vk_device *device, rapt_vk_batch *batch, const void *params,
                           uint32_t bytes)
{
    const uint64_t align = device->limits.offset_alignment;
    const uint64_t at = batch->params.used;
    memcpy(batch->params.mapped + at, params, bytes);
    batch->params.used = (at + bytes + align - 1) & ~(align - 1);
    return at;
}

/* A batch with room for params: the current one, or the next. */
static rapt_status params_ready(rapt_vk_device *device, const rapt_vulkan_dispatch *d,
                                rapt_vk_batch **batch, rapt_error *error)
{
    rapt_vk_queue *queue = &device->queue;
    const rapt_vk_batch *current = &queue->batch[queue->current];
    const uint32_t bytes = d->shader->params_bytes;
    rapt_status status = RAPT_OK;
    if (queue->open && bytes > 0 && current->params.used + bytes > RAPT_VK_PARAMS_BYTES)
        status = rapt_vk_submit(device, error);
    if (status == RAPT_OK)
        status = rapt_vk_record(device, d->flags & RAPT_VULKAN_CONCURRENT, batch, error);
    if (status == RAPT_OK && bytes > 0 && !(*batch)->params.buffer)
        status = rapt_vk_host_buffer_make(device, RAPT_VK_PARAMS_BYTES, RAPT_VK_PARAMS,
                                          &(*batch)->params, error);
    return status;
}

static void bind_buffers(rapt_vk_device *device, rapt_vk_batch *batch,
                         const rapt_vulkan_dispatch *d, VkDescriptorSet set)
{
    VkDescriptorBufferInfo info[RAPT_VK_MAX_BINDINGS];
    VkWriteDescriptorSet write[RAPT_VK_MAX_BINDINGS];
    uint32_t n = 0;
    for (; n < d->shader->n_buffers; n++) {
        const rapt_vulkan_buffer *b = &d->buffers[n];
        rapt_vk_memory *memory =
            b->memory ? (rapt_vk_memory *)(uintptr_t)b->memory : device->nothing;
        /* Whole words, so that shaders may read elements of less than 32 bits in words; memory is
         * rounded up to more than that. */
        info[n] = (VkDescriptorBufferInfo){memory->block->buffer, memory->offset + b->offset,
                                           (b->bytes + 3) & ~(uint64_t)3};
        if (!b->memory) {
            info[n].offset = memory->offset + RAPT_VK_ALIGN * device->queue.nothings++;
            info[n].range = RAPT_VK_ALIGN;
        }
        memory->last_use = device->queue.recording;
    }
    if (d->shader->params_bytes > 0) {
        const uint64_t at = put_params(device, batch, d->params, d->shader->params_bytes);
        info[n++] = (VkDescriptorBufferInfo){batch->params.buffer, at, d->shader->params_bytes};
    }
    for (uint32_t i = 0; i < n; i++)
        write[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                          .dstSet = set,
                                          .dstBinding = i,
                                          .descriptorCount = 1,
                                          .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                          .pBufferInfo = &info[i]};
    device->vk.UpdateDescriptorSets(device->handle, n, write, 0, NULL);
}

/* --- Recording ------------------------------------------------------------------------------- */

/* One grid that the device counts: all of the dispatch, or a part. */
static rapt_status record_grid(rapt_vk_device *device, const rapt_vulkan_dispatch *d,
                               const rapt_vk_pipeline *pipeline, const uint32_t *groups,
                               rapt_error *error)
{
    const rapt_vulkan_shader *s = d->shader;
    rapt_vk_batch *batch;
    if (device->queue.nothings + s->n_buffers > RAPT_VK_NOTHINGS)
        device->queue.barrier_needed = true;
    const rapt_status status = params_ready(device, d, &batch, error);
    if (status != RAPT_OK)
        return status;
    if (pipeline->layout->bindings > 0) {
        VkDescriptorSet set = VK_NULL_HANDLE;
        const VkResult result = take_set(device, batch, pipeline->layout, &set);
        if (result != VK_SUCCESS)
            return rapt_vk_failed(device, result, "taking a descriptor set", error);
        bind_buffers(device, batch, d, set);
        device->vk.CmdBindDescriptorSets(batch->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                                         pipeline->layout->pipeline, 0, 1, &set, 0, NULL);
    }
    device->vk.CmdBindPipeline(batch->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->handle);
    if (s->push_bytes > 0)
        device->vk.CmdPushConstants(batch->commands, pipeline->layout->pipeline,
                                    VK_SHADER_STAGE_COMPUTE_BIT, 0, s->push_bytes, d->push);
    rapt_vk_profile_stamp(device, batch, s->name, false);
    device->vk.CmdDispatch(batch->commands, groups[0], groups[1], groups[2]);
    rapt_vk_profile_stamp(device, batch, s->name, true);
    return rapt_vk_recorded(device, error);
}

/* A grid beyond what the device counts, in parts. Their code is made before the first is recorded,
 * so that a grid is recorded whole or not at all. */
static rapt_status record_parts(rapt_vk_device *device, const rapt_vulkan_dispatch *d, bool record,
                                rapt_error *error)
{
    const uint32_t *most = device->features.properties.limits.maxComputeWorkGroupCount;
    const uint32_t *all = d->groups;
    rapt_status status = RAPT_OK;
    for (uint64_t z = 0; z < all[2]; z += most[2])
        for (uint64_t y = 0; y < all[1]; y += most[1])
            for (uint64_t x = 0; status == RAPT_OK && x < all[0]; x += most[0]) {
                const rapt_vk_part part = {{(uint32_t)x, (uint32_t)y, (uint32_t)z},
                                           {all[0], all[1], all[2]}};
                const rapt_vk_pipeline *pipeline;
                uint32_t groups[3];
                for (int i = 0; i < 3; i++)
                    groups[i] = all[i] - part.base[i] < most[i] ? all[i] - part.base[i] : most[i];
                status = rapt_vk_pipeline_get(device, d, &part, &pipeline, error);
                if (status == RAPT_OK && record)
                    status = record_grid(device, d, pipeline, groups, error);
            }
    return status;
}

rapt_status rapt_vk_dispatch(rapt_vk_device *device, const rapt_vulkan_dispatch *d,
                             rapt_error *error)
{
    const uint32_t *most = device->features.properties.limits.maxComputeWorkGroupCount;
    const uint32_t *groups = d->groups;
    const rapt_vk_pipeline *pipeline;
    rapt_status status = check_shader(device, d, error);
    for (uint32_t i = 0; status == RAPT_OK && i < d->shader->n_buffers; i++)
        status = check_buffer(device, d->shader, i, &d->buffers[i], error);
    if (status != RAPT_OK || groups[0] == 0 || groups[1] == 0 || groups[2] == 0)
        return status;
    if (groups[0] > most[0] || groups[1] > most[1] || groups[2] > most[2]) {
        status = record_parts(device, d, false, error);
        return status == RAPT_OK ? record_parts(device, d, true, error) : status;
    }
    status = rapt_vk_pipeline_get(device, d, NULL, &pipeline, error);
    return status == RAPT_OK ? record_grid(device, d, pipeline, groups, error) : status;
}

/* --- The service ----------------------------------------------------------------------------- */

static const rapt_view *first_of(const rapt_view *const *views, uint32_t n)
{
    for (uint32_t i = 0; views && i < n; i++)
        if (views[i])
            return views[i];
    return NULL;
}

/* All tensors of a call lie on one device: any of them tells it. */
static rapt_vk_device *device_of(const rapt_call *call)
{
    const rapt_operator *op = call->op;
    const rapt_view *view = first_of(call->inputs, op->n_inputs);
    if (!view)
        view = first_of((const rapt_view *const *)call->outputs, op->n_outputs);
    if (!view)
        view = first_of((const rapt_view *const *)call->grad_inputs, op->n_inputs);
    if (!view)
        view = first_of(call->grad_outputs, op->n_outputs);
    return view && view->device.type == RAPT_DEVICE_VULKAN ? rapt_vk_device_at(view->device.index)
                                                           : NULL;
}

static const rapt_vulkan_limits *service_limits(const rapt_call *call)
{
    const rapt_vk_device *device = device_of(call);
    return device ? rapt_vk_verdict_limits(device, call) : NULL;
}

/* Of the kernel that this thread rehearses. */
static _Thread_local bool rehearsing, refused;

rapt_status rapt_vk_rehearse(rapt_status (*function)(rapt_call *), rapt_call *call)
{
    rehearsing = true;
    refused = false;
    (void)function(call); /* what else it fails by, it fails by when it runs */
    rehearsing = false;
    return refused ? RAPT_UNSUPPORTED : RAPT_OK;
}

static rapt_status service_dispatch(rapt_call *call, const rapt_vulkan_dispatch *dispatch)
{
    rapt_vk_device *device = device_of(call);
    rapt_error why = {0};
    if (!device)
        return call->host->error(call, RAPT_INTERNAL, "a dispatch outside a call on Vulkan");
    if (rehearsing) {
        refused = refused || check_shader(device, dispatch, &why) != RAPT_OK;
        return refused ? call->host->error(call, RAPT_UNSUPPORTED, "%s", why.message) : RAPT_OK;
    }
    pthread_mutex_lock(&device->lock);
    rapt_status status = rapt_vk_device_ready(device, &why);
    if (status == RAPT_OK)
        status = rapt_vk_dispatch(device, dispatch, &why);
    pthread_mutex_unlock(&device->lock);
    return status == RAPT_OK ? RAPT_OK : call->host->error(call, status, "%s", why.message);
}

static rapt_status service_clear(rapt_call *call, const rapt_vulkan_buffer *range)
{
    rapt_vk_device *device = device_of(call);
    rapt_error why = {0};
    if (!device)
        return call->host->error(call, RAPT_INTERNAL, "a clear outside a call on Vulkan");
    if (!range->memory || range->bytes == 0 || rehearsing)
        return RAPT_OK;
    pthread_mutex_lock(&device->lock);
    rapt_status status = rapt_vk_device_ready(device, &why);
    if (status == RAPT_OK)
        status = rapt_vk_clear(device, (rapt_vk_memory *)(uintptr_t)range->memory, range->offset,
                               range->bytes, &why);
    pthread_mutex_unlock(&device->lock);
    return status == RAPT_OK ? RAPT_OK : call->host->error(call, status, "%s", why.message);
}

static const rapt_vulkan_service table = {
    .size = sizeof(rapt_vulkan_service),
    .limits = service_limits,
    .dispatch = service_dispatch,
    .clear = service_clear,
};

const rapt_vulkan_service *rapt_vulkan_table(void)
{
    return &table;
}
