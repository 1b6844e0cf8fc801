/*
 * What Vulkan kernels need on the host's side: the device of the call, views as ranges of its
 * memory, and dispatches in one line.
 *
 *     rapt_vulkan device;
 *     rapt_status status = rapt_vulkan_begin(call, &device);
 *     rapt_vulkan_buffer buffers[2];
 *     uint32_t base[2];
 *     if (status == RAPT_OK)
 *         status = rapt_vulkan_bind(call, device.limits, call->inputs[0], &buffers[0], &base[0]);
 *     ...
 *     return rapt_vulkan_run(&device, &shader, constants, n, groups_x, 1, 1, buffers, &push, NULL);
 *
 * A shader reads element `base + i0 * strides[0] + ...` of its binding; all of that fits 32 bits.
 * Header only; C99 and C++ clean.
 */
#ifndef RAPT_KIT_VULKAN_H
#define RAPT_KIT_VULKAN_H

#include <rapt/plugin.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* PCI vendor of Mesa's drivers that run on the CPU. */
#define RAPT_VULKAN_SOFTWARE 0x10005u

/* The device of a call. */
typedef struct rapt_vulkan {
    rapt_call *call;
    const rapt_vulkan_service *service;
    const rapt_vulkan_limits *limits;
} rapt_vulkan;

/* Finds the service and the limits; in `supports` too. */
static inline rapt_status rapt_vulkan_begin(rapt_call *call, rapt_vulkan *vulkan)
{
    const rapt_host *host = call->host;
    vulkan->call = call;
    vulkan->service = (const rapt_vulkan_service *)host->service("rapt.vulkan", 1);
    vulkan->limits = vulkan->service ? vulkan->service->limits(call) : NULL;
    if (!vulkan->limits)
        return host->error(call, RAPT_UNSUPPORTED, "no Vulkan device is open");
    return RAPT_OK;
}

/* Refuses, naming the first one missing, unless all features (RAPT_VULKAN_*) are on: one line in
 * `supports`. */
static inline rapt_status rapt_vulkan_require(const rapt_vulkan *vulkan, uint32_t features)
{
    static const char *const name[] = {"16-bit storage",
                                       "float16 arithmetic",
                                       "64-bit integers",
                                       "subgroup operations",
                                       "cooperative matrices (NV)",
                                       "cooperative matrices (KHR)",
                                       "float64 arithmetic",
                                       "bfloat16 in cooperative matrices"};
    const uint32_t missing = features & ~vulkan->limits->features;
    for (uint32_t i = 0; missing && i < sizeof name / sizeof *name; i++)
        if (missing >> i & 1)
            return vulkan->call->host->error(vulkan->call, RAPT_UNSUPPORTED,
                                             "the device has no %s, or they are off", name[i]);
    return RAPT_OK;
}

/* The flag of a dispatch in which 16-bit floats of a shader of cooperative matrices are the call's:
 * RAPT_VULKAN_AS_BFLOAT16, or 0. */
static inline uint32_t rapt_vulkan_operands(const rapt_call *call, const rapt_vulkan_shader *shader)
{
    return call->dtype == RAPT_BF16 && shader->features & RAPT_VULKAN_COOPMAT_KHR
               ? (uint32_t)RAPT_VULKAN_AS_BFLOAT16
               : 0u;
}

/* By what cooperative matrices are made: an extension or, for tests of the flow of data on a device
 * that has none (the environment variable RAPT_VULKAN_EMULATE_COOPMAT), shared memory. */
enum { RAPT_VULKAN_BY_KHR, RAPT_VULKAN_BY_NV, RAPT_VULKAN_EMULATED, RAPT_VULKAN_WAYS };

/* Those of a call on its device. Operands are the call's dtype: of bfloat16 by KHR's alone. */
static inline int rapt_vulkan_coop_way(const rapt_vulkan *vulkan)
{
    const uint32_t on = vulkan->limits->features;
    if (on & RAPT_VULKAN_COOPMAT_KHR || vulkan->call->dtype == RAPT_BF16)
        return RAPT_VULKAN_BY_KHR;
    return on & RAPT_VULKAN_COOPMAT_NV || !getenv("RAPT_VULKAN_EMULATE_COOPMAT")
               ? RAPT_VULKAN_BY_NV
               : RAPT_VULKAN_EMULATED;
}

/* Refuses, as rapt_vulkan_require, what lacks these: for `supports`. */
static inline rapt_status rapt_vulkan_require_coop(const rapt_vulkan *vulkan)
{
    static const uint32_t needs[] = {RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_COOPMAT_KHR,
                                     RAPT_VULKAN_SUBGROUP | RAPT_VULKAN_COOPMAT_NV, 0};
    return rapt_vulkan_require(
        vulkan, RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_FLOAT16 | needs[rapt_vulkan_coop_way(vulkan)] |
                    (vulkan->call->dtype == RAPT_BF16 ? RAPT_VULKAN_BFLOAT16 : 0u));
}

/* --- Names of views, for messages ---------------------------------------------------------------
 */

/* `prefix` and the name in front of the spec's colon, cut to `size` bytes. */
static inline void rapt_vulkan_spec_name(const char *prefix, const char *spec, char *text,
                                         size_t size)
{
    size_t used = 0;
    for (; *prefix && used + 1 < size; prefix++)
        text[used++] = *prefix;
    for (; *spec && *spec != ':' && used + 1 < size; spec++)
        text[used++] = *spec;
    text[used] = 0;
}

/* What the operator calls a view of this call: "q", "grad of q"; "a tensor" if it is none of the
 * call's. Returns text, which holds `size` bytes. */
static inline const char *rapt_vulkan_view_name(const rapt_call *call, const rapt_view *view,
                                                char *text, size_t size)
{
    const rapt_operator *op = call->op;
    const rapt_kernel *kernel = call->kernel;
    rapt_vulkan_spec_name("a tensor", "", text, size);
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        const char *spec = RAPT_AT(rapt_arg, op->inputs, i)->spec;
        if (call->inputs && call->inputs[i] == view)
            rapt_vulkan_spec_name("", spec, text, size);
        if (call->grad_inputs && call->grad_inputs[i] == view)
            rapt_vulkan_spec_name("the gradient of ", spec, text, size);
    }
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        const char *spec = RAPT_AT(rapt_arg, op->outputs, i)->spec;
        if (call->outputs && call->outputs[i] == view)
            rapt_vulkan_spec_name("", spec, text, size);
        if (call->grad_outputs && call->grad_outputs[i] == view)
            rapt_vulkan_spec_name("the gradient of ", spec, text, size);
    }
    for (uint32_t i = 0; kernel && call->saved && i < kernel->n_saved; i++)
        if (call->saved[i] == view)
            rapt_vulkan_spec_name("", RAPT_AT(rapt_arg, kernel->saved, i)->spec, text, size);
    return text;
}

/* --- Views as buffers --------------------------------------------------------------------------
 */

/* Element offset of a view's last element from its first; false where there is no element. */
static inline bool rapt_vulkan_extent(const rapt_view *view, uint64_t *last)
{
    *last = 0;
    for (int32_t d = 0; d < view->ndim; d++) {
        if (view->shape[d] == 0)
            return false;
        *last += (uint64_t)(view->shape[d] - 1) * (uint64_t)view->strides[d];
    }
    return true;
}

/* Whether a binding can show the whole view; without data, so for `supports` too. An absent view
 * (NULL) fits. */
static inline rapt_status rapt_vulkan_fits(rapt_call *call, const rapt_vulkan_limits *limits,
                                           const rapt_view *view)
{
    uint64_t last = 0;
    if (!view || !rapt_vulkan_extent(view, &last))
        return RAPT_OK;
    char name[64];
    const uint64_t size = view->dtype.bits / 8u;
    /* The offset is rounded down by less than one alignment. */
    const uint64_t most = limits->buffer_bytes - limits->offset_alignment;
    if (last >= most / size)
        return call->host->error(
            call, RAPT_UNSUPPORTED,
            "%s spans %llu bytes; one buffer of this device shows at most %llu",
            rapt_vulkan_view_name(call, view, name, sizeof name),
            (unsigned long long)((last + 1) * size), (unsigned long long)most);
    return RAPT_OK;
}

/* The range of memory that holds a view, its offset rounded down to what a binding may have;
 * *base is the view's first element in it, counted in elements. An absent view (NULL), and one
 * without elements, is a range without memory: the shader may declare it, not read it. */
static inline rapt_status rapt_vulkan_bind(rapt_call *call, const rapt_vulkan_limits *limits,
                                           const rapt_view *view, rapt_vulkan_buffer *buffer,
                                           uint32_t *base)
{
    uint64_t last = 0;
    memset(buffer, 0, sizeof *buffer);
    *base = 0;
    if (!view || !view->data || !rapt_vulkan_extent(view, &last))
        return RAPT_OK;
    const rapt_status status = rapt_vulkan_fits(call, limits, view);
    if (status != RAPT_OK)
        return status;
    const uint64_t size = view->dtype.bits / 8u;
    const uint64_t ahead = view->byte_offset & (limits->offset_alignment - 1u);
    buffer->memory = view->data;
    buffer->offset = view->byte_offset - ahead;
    buffer->bytes = ahead + (last + 1) * size;
    *base = (uint32_t)(ahead / size);
    return RAPT_OK;
}

/* The strides of a view, 0 in dimensions of one element. They fit once rapt_vulkan_fits or
 * rapt_vulkan_bind took the view. `strides` has view->ndim entries. */
static inline void rapt_vulkan_strides(const rapt_view *view, uint32_t *strides)
{
    for (int32_t d = 0; d < view->ndim; d++)
        strides[d] = view->shape[d] > 1 ? (uint32_t)view->strides[d] : 0;
}

/* A part of the call's workspace; `offset` is a multiple of 256. */
static inline rapt_vulkan_buffer rapt_vulkan_part(const rapt_call *call, uint64_t offset,
                                                  uint64_t bytes)
{
    rapt_vulkan_buffer buffer;
    buffer.memory = call->workspace;
    buffer.offset = offset;
    buffer.bytes = bytes;
    return buffer;
}

/* Rounded up to where the next part of a workspace may begin. */
static inline uint64_t rapt_vulkan_round(uint64_t bytes)
{
    return (bytes + 255) & ~(uint64_t)255;
}

/* A range of a workspace. */
typedef struct rapt_vulkan_range {
    uint64_t offset, bytes;
} rapt_vulkan_range;

/* Takes a * b * c * d floats at *end of a workspace and moves *end on. Once there are too many to
 * bind or to count *end is and stays UINT64_MAX. */
static inline rapt_vulkan_range rapt_vulkan_place(const rapt_vulkan *vulkan, uint64_t *end,
                                                  int64_t a, int64_t b, int64_t c, int64_t d)
{
    rapt_vulkan_range range = {*end, 4};
    uint64_t floats;
    if (*end == UINT64_MAX)
        return range;
    if (__builtin_mul_overflow((uint64_t)a, (uint64_t)b, &floats) ||
        __builtin_mul_overflow(floats, (uint64_t)c, &floats) ||
        __builtin_mul_overflow(floats, (uint64_t)d, &floats) ||
        floats > vulkan->limits->buffer_bytes / sizeof(float) || floats > UINT32_MAX) {
        *end = UINT64_MAX;
        return range;
    }
    range.bytes = floats ? floats * sizeof(float) : 4;
    *end = rapt_vulkan_round(*end + range.bytes);
    return range;
}

/* A tensor [B, H, N, width] whose rows are contiguous, as shaders take it: where it begins and its
 * strides, in elements of the binding. */
typedef struct rapt_vulkan_rows_push {
    uint32_t base, batch, head, row;
} rapt_vulkan_rows_push;

typedef struct rapt_vulkan_rows {
    rapt_vulkan_buffer buffer;
    rapt_vulkan_rows_push push;
    uint32_t half; /* its elements have 16 bits */
} rapt_vulkan_rows;

/* An absent view (NULL) is rows without memory. */
static inline rapt_status rapt_vulkan_bind_rows(const rapt_vulkan *vulkan, const rapt_view *view,
                                                rapt_vulkan_rows *rows)
{
    uint32_t strides[RAPT_MAX_DIMS] = {0};
    memset(rows, 0, sizeof *rows);
    if (!view)
        return RAPT_OK;
    rapt_vulkan_strides(view, strides);
    rows->push.batch = strides[0];
    rows->push.head = strides[1];
    rows->push.row = strides[2];
    rows->half = rapt_view_dtype(view) != RAPT_F32;
    return rapt_vulkan_bind(vulkan->call, vulkan->limits, view, &rows->buffer, &rows->push.base);
}

/* --- Dispatches --------------------------------------------------------------------------------
 */

static inline int64_t rapt_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t rapt_most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a / b, rounded up. */
static inline int64_t rapt_over(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline uint32_t rapt_vulkan_groups(int64_t n, int64_t each)
{
    return (uint32_t)((n + each - 1) / each);
}

/* Records a dispatch of groups x * y * z. */
static inline rapt_status
rapt_vulkan_run(const rapt_vulkan *vulkan, const rapt_vulkan_shader *shader,
                const uint32_t *constants, uint32_t n_constants, uint32_t x, uint32_t y, uint32_t z,
                const rapt_vulkan_buffer *buffers, const void *push, const void *params)
{
    rapt_vulkan_dispatch dispatch;
    memset(&dispatch, 0, sizeof dispatch);
    dispatch.size = sizeof dispatch;
    dispatch.flags = rapt_vulkan_operands(vulkan->call, shader);
    dispatch.shader = shader;
    dispatch.constants = constants;
    dispatch.n_constants = n_constants;
    dispatch.groups[0] = x;
    dispatch.groups[1] = y;
    dispatch.groups[2] = z;
    dispatch.buffers = buffers;
    dispatch.push = push;
    dispatch.params = params;
    return vulkan->service->dispatch(vulkan->call, &dispatch);
}

#ifdef __cplusplus
}
#endif
#endif
