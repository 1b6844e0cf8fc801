/* Copies between layouts, dtypes, devices and the caller; sums of gradients. */
#include "base/error.h"
#include "device/cpu/pool.h"
#include "engine/engine.h"
#include "tensor/convert.h"
#include <string.h>

/* --- On the host ----------------------------------------------------------------------------- */

/* Elements that one piece of a shared copy has at least. */
#define COPY_GRAIN 32768

typedef struct copy_task {
    const rapt_view *target, *source;
    int32_t dim; /* the pieces are ranges of it */
} copy_task;

/* The part begin <= i < end of dimension `dim`; its shape lies in `shape`. */
static rapt_view range_of(const rapt_view *view, int32_t dim, int64_t begin, int64_t end,
                          int64_t *shape)
{
    rapt_view part = *view;
    memcpy(shape, view->shape, (size_t)view->ndim * sizeof *shape);
    shape[dim] = end - begin;
    part.shape = shape;
    part.byte_offset +=
        (uint64_t)(begin * view->strides[dim]) * rapt_dtype_size(rapt_view_dtype(view));
    return part;
}

static void copy_piece(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const copy_task *task = context;
    int64_t target_shape[RAPT_MAX_DIMS], source_shape[RAPT_MAX_DIMS];
    const rapt_view target = range_of(task->target, task->dim, begin, end, target_shape);
    const rapt_view source = range_of(task->source, task->dim, begin, end, source_shape);
    rapt_view_copy(&target, &source);
}

static void copy_on_host(const rapt_view *target, const rapt_view *source)
{
    const int64_t count = rapt_view_count(target);
    if (count < 2 * COPY_GRAIN) {
        rapt_view_copy(target, source);
        return;
    }
    int32_t dim = 0;
    for (int32_t d = 1; d < target->ndim && target->shape[dim] < 16; d++)
        if (target->shape[d] > target->shape[dim])
            dim = d;
    copy_task task = {target, source, dim};
    const int64_t each = count / target->shape[dim];
    rapt_pool_run(target->shape[dim], each >= COPY_GRAIN ? 1 : COPY_GRAIN / each, copy_piece,
                  &task);
}

/* --- Between devices ------------------------------------------------------------------------- */

static int64_t bytes_of(const rapt_view *view)
{
    return rapt_view_count(view) * (int64_t)rapt_dtype_size(rapt_view_dtype(view));
}

/* A new contiguous tensor of a view's shape, elsewhere or in another dtype. */
static rapt_tensor *like(const rapt_view *view, rapt_dtype dtype, rapt_device device,
                         rapt_error *error)
{
    return rapt_tensor_make(dtype, device, view->ndim, view->shape, error);
}

static rapt_status copy_on_device(const rapt_view *target, const rapt_view *source,
                                  rapt_error *error)
{
    rapt_device_driver *driver = rapt_devices_find(target->device, error);
    return driver ? driver->copy(driver, target, source, error) : RAPT_UNSUPPORTED;
}

/* Whether bytes can go from one view to the other as they are. */
static bool plain(const rapt_view *a, const rapt_view *b)
{
    return rapt_view_dtype(a) == rapt_view_dtype(b) && rapt_view_is_contiguous(a) &&
           rapt_view_is_contiguous(b);
}

/* Elements cross between the host and a device as contiguous bytes of one dtype; what differs is
 * made alike on the device's side where the device's view, `there`, is not contiguous, otherwise on
 * the host. */
static rapt_status in_two_steps(const rapt_view *target, const rapt_view *source,
                                const rapt_view *there, rapt_error *error)
{
    const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
    rapt_tensor *between = like(there, rapt_view_dtype(there),
                                rapt_view_is_contiguous(there) ? cpu : there->device, error);
    if (!between)
        return RAPT_NO_MEMORY;
    rapt_status status = rapt_transfer(&between->view, source, error);
    if (status == RAPT_OK)
        status = rapt_transfer(target, &between->view, error);
    rapt_tensor_release(between);
    return status;
}

static rapt_status to_device(const rapt_view *target, const rapt_view *source, rapt_error *error)
{
    rapt_device_driver *driver = rapt_devices_find(target->device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    if (plain(target, source))
        return driver->write(driver, target->data, target->byte_offset, rapt_view_data(source),
                             bytes_of(target), error);
    return in_two_steps(target, source, target, error);
}

static rapt_status from_device(const rapt_view *target, const rapt_view *source, rapt_error *error)
{
    rapt_device_driver *driver = rapt_devices_find(source->device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    if (plain(target, source))
        return driver->read(driver, source->data, source->byte_offset, rapt_view_data(target),
                            bytes_of(source), error);
    return in_two_steps(target, source, source, error);
}

/* From one device to another, by way of the host. */
static rapt_status across(const rapt_view *target, const rapt_view *source, rapt_error *error)
{
    const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
    rapt_tensor *between = like(source, rapt_view_dtype(source), cpu, error);
    if (!between)
        return RAPT_NO_MEMORY;
    rapt_status status = from_device(&between->view, source, error);
    if (status == RAPT_OK)
        status = to_device(target, &between->view, error);
    rapt_tensor_release(between);
    return status;
}

rapt_status rapt_transfer(const rapt_view *target, const rapt_view *source, rapt_error *error)
{
    if (rapt_view_count(target) == 0)
        return RAPT_OK;
    const bool to_host = rapt_on_host(target->device), from_host = rapt_on_host(source->device);
    if (to_host && from_host) {
        copy_on_host(target, source);
        return RAPT_OK;
    }
    if (from_host)
        return to_device(target, source, error);
    if (to_host)
        return from_device(target, source, error);
    return target->device.index == source->device.index &&
                   target->device.type == source->device.type
               ? copy_on_device(target, source, error)
               : across(target, source, error);
}

rapt_tensor *rapt_copy_to(const rapt_tensor *tensor, rapt_dtype dtype, rapt_device device,
                          rapt_error *error)
{
    rapt_tensor *copy =
        rapt_tensor_make(dtype, device, tensor->view.ndim, tensor->view.shape, error);
    if (copy && rapt_transfer(&copy->view, &tensor->view, error) != RAPT_OK) {
        rapt_tensor_release(copy);
        return NULL;
    }
    return copy;
}

rapt_tensor *rapt_copy_contiguous(const rapt_tensor *tensor, rapt_error *error)
{
    return rapt_copy_to(tensor, rapt_tensor_dtype(tensor), tensor->view.device, error);
}

rapt_tensor *rapt_as_contiguous(rapt_tensor *tensor, rapt_error *error)
{
    return rapt_view_is_contiguous(&tensor->view) ? rapt_tensor_retain(tensor)
                                                  : rapt_copy_contiguous(tensor, error);
}

/* --- rapt.h ---------------------------------------------------------------------------------- */

/* `source` seen in the shape of `target`; copied first where they share memory. */
static rapt_tensor *broadcast_source(const rapt_tensor *target, rapt_tensor *source,
                                     rapt_error *error)
{
    rapt_tensor *apart = source->storage == target->storage ? rapt_copy_contiguous(source, error)
                                                            : rapt_tensor_retain(source);
    if (!apart)
        return NULL;
    rapt_tensor *seen = rapt_view_expand(apart, target->view.ndim, target->shape, error);
    rapt_tensor_release(apart);
    return seen;
}

rapt_status rapt_copy_into(rapt_context *context, rapt_tensor *target, rapt_tensor *source,
                           rapt_error *error)
{
    rapt_error local = {0};
    if (!error)
        error = &local;
    const rapt_status status = rapt_check_writable(context, target, "the target", error);
    if (status != RAPT_OK)
        return rapt_prefix_error(error, "copy_into");
    for (int32_t d = 0; d < target->view.ndim; d++)
        if (target->strides[d] == 0 && target->shape[d] > 1)
            return rapt_fail(error, RAPT_INVALID,
                             "copy_into: elements of the target share memory (it is expanded)");
    rapt_tensor *seen = broadcast_source(target, source, error);
    if (!seen)
        return rapt_prefix_error(error, "copy_into");
    const rapt_status moved = rapt_transfer(&target->view, &seen->view, error);
    rapt_tensor_release(seen);
    if (moved == RAPT_OK)
        rapt_tensor_written(target);
    return moved;
}

rapt_status rapt_read(rapt_context *context, rapt_tensor *tensor, void *elements, size_t bytes,
                      rapt_error *error)
{
    (void)context;
    const rapt_view *view = &tensor->view;
    const size_t size = rapt_dtype_size(rapt_tensor_dtype(tensor));
    const size_t need = (size_t)rapt_view_count(view) * size;
    if (bytes != need)
        return rapt_fail(error, RAPT_INVALID,
                         "read: the tensor has %zu bytes; room for %zu was given", need, bytes);
    if (need == 0)
        return RAPT_OK;
    rapt_device_driver *driver = rapt_devices_find(view->device, error);
    if (!driver)
        return RAPT_UNSUPPORTED;
    const rapt_status status = driver->synchronize ? driver->synchronize(driver, error) : RAPT_OK;
    if (status != RAPT_OK)
        return status;
    int64_t strides[RAPT_MAX_DIMS];
    rapt_contiguous_strides(view->ndim, view->shape, strides);
    const rapt_view target = {
        elements, {RAPT_DEVICE_CPU, 0}, view->ndim, view->dtype, view->shape, strides, 0};
    return rapt_transfer(&target, view, error);
}

/* --- Sums of gradients ----------------------------------------------------------------------- */

typedef struct add_task {
    const rapt_view *target, *source;
    int64_t inner; /* elements of the last dimension, 1 without one */
} add_task;

static void add_row(rapt_dtype dtype, int64_t n, char *t, int64_t ts, const char *s, int64_t ss)
{
    if (dtype == RAPT_F32 && ts == 1 && ss == 1) {
        float *restrict y = (float *)(void *)t;
        const float *restrict x = (const float *)(const void *)s;
        for (int64_t i = 0; i < n; i++)
            y[i] += x[i];
    } else if (dtype == RAPT_F32) {
        float *y = (float *)(void *)t;
        const float *x = (const float *)(const void *)s;
        for (int64_t i = 0; i < n; i++)
            y[i * ts] += x[i * ss];
    } else {
        const int64_t size = (int64_t)rapt_dtype_size(dtype);
        for (int64_t i = 0; i < n; i++) {
            char *y = t + i * ts * size;
            rapt_element_set(
                y, dtype, rapt_element_get(y, dtype) + rapt_element_get(s + i * ss * size, dtype));
        }
    }
}

static void add_rows(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const add_task *task = context;
    const rapt_view *target = task->target, *source = task->source;
    const rapt_dtype dtype = rapt_view_dtype(target);
    const int64_t size = (int64_t)rapt_dtype_size(dtype);
    const int32_t last = target->ndim - 1;
    for (int64_t row = begin; row < end; row++) {
        int64_t rest = row, t = 0, s = 0;
        for (int32_t d = last - 1; d >= 0; d--) {
            const int64_t i = rest % target->shape[d];
            rest /= target->shape[d];
            t += i * target->strides[d];
            s += i * source->strides[d];
        }
        add_row(dtype, task->inner, (char *)rapt_view_data(target) + t * size,
                last >= 0 ? target->strides[last] : 1,
                (const char *)rapt_view_data(source) + s * size,
                last >= 0 ? source->strides[last] : 1);
    }
}

static void add_span(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const add_task *task = context;
    const rapt_dtype dtype = rapt_view_dtype(task->target);
    const int64_t first = begin * (int64_t)rapt_dtype_size(dtype);
    add_row(dtype, end - begin, (char *)rapt_view_data(task->target) + first, 1,
            (const char *)rapt_view_data(task->source) + first, 1);
}

void rapt_add_into(const rapt_view *target, const rapt_view *source)
{
    const int64_t count = rapt_view_count(target);
    if (count == 0)
        return;
    add_task task = {target, source, target->ndim > 0 ? target->shape[target->ndim - 1] : 1};
    const bool flat = rapt_view_is_contiguous(target) && rapt_view_is_contiguous(source);
    const int64_t pieces = flat ? count : count / task.inner;
    const int64_t each = flat ? 1 : task.inner;
    const int64_t grain = each >= COPY_GRAIN ? 1 : COPY_GRAIN / each;
    rapt_task piece = flat ? add_span : add_rows;
    if (pieces <= grain)
        piece(&task, 0, pieces, 0);
    else
        rapt_pool_run(pieces, grain, piece, &task);
}

/* a + b by the operator, for devices that the host cannot reach. */
static rapt_tensor *add_by_operator(rapt_context *context, rapt_tensor *a, rapt_tensor *b,
                                    rapt_error *error)
{
    const rapt_named_tensor inputs[] = {{"a", a}, {"b", b}};
    rapt_named_tensor output = {0};
    return rapt_call_operator(context, "core.add", inputs, 2, NULL, 0, &output, 1, error) == RAPT_OK
               ? output.tensor
               : NULL;
}

rapt_tensor *rapt_sum_gradients(rapt_context *context, rapt_tensor *a, rapt_tensor *b,
                                rapt_error *error)
{
    rapt_tensor *sum = NULL;
    if (!rapt_on_host(a->view.device)) {
        sum = add_by_operator(context, a, b, error);
    } else if (atomic_load(&a->references) == 1 && atomic_load(&a->storage->references) == 1 &&
               rapt_view_is_contiguous(&a->view)) {
        rapt_add_into(&a->view, &b->view);
        return a;
    } else {
        sum = rapt_copy_contiguous(a, error);
        if (sum)
            rapt_add_into(&sum->view, &b->view);
    }
    rapt_tensor_release(a);
    return sum;
}

/* --- The gradient of expand ------------------------------------------------------------------ */

rapt_tensor *rapt_sum_expanded(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                               const int64_t *shape, rapt_error *error)
{
    const rapt_named_tensor input = {"x", tensor};
    rapt_named_value value = {.name = "shape", .type = RAPT_ATTR_INTS, .count = ndim};
    for (int32_t d = 0; d < ndim; d++)
        value.i[d] = shape[d];
    /* Without a shape the sum is a scalar. */
    rapt_named_tensor output = {0};
    return rapt_call_operator(context, "core.sum_to", &input, 1, &value, ndim > 0 ? 1 : 0, &output,
                              1, error) == RAPT_OK
               ? output.tensor
               : NULL;
}
