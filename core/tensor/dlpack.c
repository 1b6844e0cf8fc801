/*
 * DLPack 1.x: tensors handed to other libraries, and taken from them, without a copy.
 * rapt_dlpack has the layout of DLManagedTensorVersioned.
 */
#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/convert.h"
#include "tensor/tensor.h"
#include <stdlib.h>
#include <string.h>

enum { DLPACK_MAJOR = 1, DLPACK_MINOR = 0, READ_ONLY = 1 };

typedef struct exported {
    rapt_dlpack managed;
    rapt_tensor *tensor;
    int64_t shape[RAPT_MAX_DIMS], strides[RAPT_MAX_DIMS];
} exported;

static void release_exported(rapt_dlpack *managed)
{
    exported *e = managed->manager_context;
    rapt_tensor_release(e->tensor);
    free(e);
}

rapt_dlpack *rapt_to_dlpack(rapt_tensor *tensor, rapt_error *error)
{
    const rapt_view *view = &tensor->view;
    if (view->device.type != RAPT_DEVICE_CPU) {
        char name[32];
        rapt_device_name(view->device, name);
        rapt_fail(error, RAPT_INVALID, "dlpack: the tensor lies on %s, expected the cpu", name);
        return NULL;
    }
    exported *e = calloc(1, sizeof *e);
    if (!e) {
        rapt_fail_memory(error, sizeof *e, "a DLPack tensor");
        return NULL;
    }
    memcpy(e->shape, tensor->shape, sizeof e->shape);
    memcpy(e->strides, tensor->strides, sizeof e->strides);
    e->tensor = rapt_tensor_retain(tensor);
    e->managed = (rapt_dlpack){.version = {DLPACK_MAJOR, DLPACK_MINOR},
                               .manager_context = e,
                               .deleter = release_exported,
                               .view = *view};
    /* The offset goes into the address: some readers of DLPack overlook byte_offset. */
    e->managed.view.data = rapt_view_data(view);
    e->managed.view.byte_offset = 0;
    e->managed.view.shape = e->shape;
    e->managed.view.strides = e->strides;
    return &e->managed;
}

static void release_imported(rapt_storage *storage)
{
    rapt_dlpack *managed = storage->owner;
    if (managed->deleter)
        managed->deleter(managed);
}

static rapt_status check_managed(const rapt_dlpack *managed, rapt_error *error)
{
    const rapt_view *v = &managed->view;
    /* Of another major version only the version itself has a known place. */
    if (managed->version.major != DLPACK_MAJOR)
        return rapt_fail(error, RAPT_UNSUPPORTED, "dlpack: version %u.%u, expected %d.x",
                         managed->version.major, managed->version.minor, DLPACK_MAJOR);
    if (v->device.type != RAPT_DEVICE_CPU)
        return rapt_fail(error, RAPT_UNSUPPORTED, "dlpack: device type %d, expected %d (cpu)",
                         (int)v->device.type, RAPT_DEVICE_CPU);
    if (rapt_view_dtype(v) == RAPT_DTYPE_COUNT)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "dlpack: elements of code %u with %u bits and %u lanes are no dtype of "
                         "rapt",
                         v->dtype.code, v->dtype.bits, v->dtype.lanes);
    if (v->ndim < 0 || v->ndim > RAPT_MAX_DIMS)
        return rapt_fail(error, RAPT_UNSUPPORTED, "dlpack: %d dimensions, expected 0 to %d",
                         (int)v->ndim, RAPT_MAX_DIMS);
    if (v->ndim > 0 && !v->shape)
        return rapt_fail(error, RAPT_INVALID, "dlpack: %d dimensions and no shape", (int)v->ndim);
    return RAPT_OK;
}

/* Bytes from the first element to behind the last, and the strides where none are given. */
static rapt_status measure(const rapt_view *v, int64_t *strides, int64_t *bytes, rapt_error *error)
{
    char text[RAPT_SHAPE_TEXT];
    const rapt_dtype dtype = rapt_view_dtype(v);
    int64_t count, last = 0, step;
    const rapt_status status = rapt_shape_count(dtype, v->ndim, v->shape, &count, error);
    if (status != RAPT_OK) {
        rapt_prefix_error(error, "dlpack");
        return status;
    }
    if (v->strides && v->ndim > 0)
        memcpy(strides, v->strides, (size_t)v->ndim * sizeof *strides);
    else
        rapt_contiguous_strides(v->ndim, v->shape, strides);
    bool fits = true;
    for (int32_t i = 0; i < v->ndim; i++) {
        if (strides[i] < 0)
            return rapt_fail(error, RAPT_UNSUPPORTED,
                             "dlpack: strides %s are negative in dim %d, which rapt does not have",
                             rapt_shape_text(text, v->ndim, strides), (int)i + 1);
        fits = fits && (count == 0 || (rapt_mul(v->shape[i] - 1, strides[i], &step) &&
                                       rapt_add(last, step, &last)));
    }
    *bytes = 0;
    if (fits && count > 0)
        fits = rapt_add(last, 1, &last) && rapt_mul(last, (int64_t)rapt_dtype_size(dtype), bytes);
    if (!fits)
        return rapt_fail(error, RAPT_INVALID, "dlpack: strides %s reach beyond 63 bits of bytes",
                         rapt_shape_text(text, v->ndim, strides));
    const uintptr_t first = (uintptr_t)v->data + v->byte_offset;
    if (count > 0 && !v->data)
        return rapt_fail(error, RAPT_INVALID, "dlpack: %lld elements and no memory",
                         (long long)count);
    if (count > 0 && first % rapt_dtype_size(dtype) != 0)
        return rapt_fail(error, RAPT_UNSUPPORTED,
                         "dlpack: the address of the first element is no multiple of %zu, the size "
                         "of %s",
                         rapt_dtype_size(dtype), rapt_dtype_name(dtype));
    return RAPT_OK;
}

static rapt_tensor *copy_of(const rapt_view *v, int64_t *strides, rapt_error *error)
{
    rapt_view source = *v;
    source.strides = strides;
    rapt_tensor *tensor = rapt_tensor_new(rapt_view_dtype(v), v->ndim, v->shape, false, error);
    if (tensor)
        rapt_view_copy(&tensor->view, &source);
    return tensor;
}

rapt_tensor *rapt_from_dlpack(rapt_dlpack *managed, rapt_error *error)
{
    int64_t strides[RAPT_MAX_DIMS], bytes = 0;
    if (check_managed(managed, error) != RAPT_OK ||
        measure(&managed->view, strides, &bytes, error) != RAPT_OK)
        return NULL;
    const rapt_view *v = &managed->view;
    if (managed->flags & READ_ONLY) {
        rapt_tensor *copy = copy_of(v, strides, error);
        if (copy && managed->deleter)
            managed->deleter(managed);
        return copy;
    }
    /* The storage owns `managed` only once the tensor is made. */
    const rapt_device cpu = {.type = RAPT_DEVICE_CPU, .index = 0};
    void *first = bytes > 0 ? (char *)v->data + v->byte_offset : NULL;
    rapt_storage *storage = rapt_storage_wrap(cpu, first, bytes, false, NULL, managed, error);
    if (!storage)
        return NULL;
    rapt_tensor *tensor =
        rapt_tensor_over(storage, rapt_view_dtype(v), v->ndim, v->shape, strides, 0, error);
    if (tensor)
        storage->free = release_imported;
    rapt_storage_release(storage);
    return tensor;
}
