/* Tensors: a view and a reference to the storage under it. */
#include "tensor/tensor.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include <stdlib.h>
#include <string.h>

rapt_status rapt_shape_count(rapt_dtype dtype, int32_t ndim, const int64_t *shape, int64_t *count,
                             rapt_error *error)
{
    char text[RAPT_SHAPE_TEXT];
    if ((unsigned)dtype >= RAPT_DTYPE_COUNT)
        return rapt_fail(error, RAPT_INVALID, "%d is not a dtype", (int)dtype);
    if (ndim < 0 || ndim > RAPT_MAX_DIMS)
        return rapt_fail(error, RAPT_INVALID, "a tensor has 0 to %d dimensions, not %d",
                         RAPT_MAX_DIMS, (int)ndim);
    bool empty = false;
    for (int32_t i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return rapt_fail(error, RAPT_INVALID, "shape %s has a negative size in dim %d",
                             rapt_shape_text(text, ndim, shape), (int)i + 1);
        empty |= shape[i] == 0;
    }
    /* The sizes beside a zero are not multiplied into the memory, but they are into strides. */
    int64_t elements = 1, bytes;
    bool fits = true;
    for (int32_t i = 0; i < ndim; i++)
        fits = fits && rapt_mul(elements, shape[i] > 0 ? shape[i] : 1, &elements);
    if (!fits || !rapt_mul(elements, (int64_t)rapt_dtype_size(dtype), &bytes))
        return rapt_fail(error, RAPT_INVALID, "shape %s of %s does not fit in 63 bits of bytes",
                         rapt_shape_text(text, ndim, shape), rapt_dtype_name(dtype));
    *count = empty ? 0 : elements;
    return RAPT_OK;
}

void rapt_contiguous_strides(int32_t ndim, const int64_t *shape, int64_t *strides)
{
    int64_t stride = 1;
    for (int32_t i = ndim - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= shape[i] > 0 ? shape[i] : 1;
    }
}

int64_t rapt_view_count(const rapt_view *view)
{
    int64_t count = 1;
    for (int32_t i = 0; i < view->ndim; i++) {
        if (view->shape[i] == 0)
            return 0;
        count *= view->shape[i];
    }
    return count;
}

bool rapt_view_is_contiguous(const rapt_view *view)
{
    if (rapt_view_count(view) == 0)
        return true;
    int64_t stride = 1;
    for (int32_t i = view->ndim - 1; i >= 0; i--) {
        if (view->shape[i] != 1 && view->strides[i] != stride)
            return false;
        stride *= view->shape[i];
    }
    return true;
}

bool rapt_view_inner_contiguous(const rapt_view *view)
{
    const int32_t last = view->ndim - 1;
    return view->ndim == 0 || view->shape[last] <= 1 || view->strides[last] == 1;
}

/* A view must lie inside its storage: its last byte, counted from the storage's first. */
static rapt_status check_extent(const rapt_storage *storage, const rapt_view *view, int64_t count,
                                rapt_error *error)
{
    char text[RAPT_SHAPE_TEXT], strides[RAPT_SHAPE_TEXT];
    const int64_t itemsize = (int64_t)rapt_dtype_size(rapt_view_dtype(view));
    int64_t last = 0, step, end = 0;
    bool fits = true;
    for (int32_t i = 0; i < view->ndim; i++) {
        if (view->strides[i] < 0)
            return rapt_fail(error, RAPT_INVALID, "strides %s are negative in dim %d",
                             rapt_shape_text(text, view->ndim, view->strides), (int)i + 1);
        fits = fits && (count == 0 || (rapt_mul(view->shape[i] - 1, view->strides[i], &step) &&
                                       rapt_add(last, step, &last)));
    }
    if (count > 0 && fits)
        fits = rapt_add(last, 1, &last) && rapt_mul(last, itemsize, &end);
    fits = fits && rapt_add(end, (int64_t)view->byte_offset, &end);
    if (fits && end <= storage->bytes)
        return RAPT_OK;
    return rapt_fail(error, RAPT_INVALID,
                     "a tensor %s of %s with strides %s at byte %llu lies outside its memory of "
                     "%lld bytes",
                     rapt_shape_text(text, view->ndim, view->shape),
                     rapt_dtype_name(rapt_view_dtype(view)),
                     rapt_shape_text(strides, view->ndim, view->strides),
                     (unsigned long long)view->byte_offset, (long long)storage->bytes);
}

rapt_tensor *rapt_tensor_over(rapt_storage *storage, rapt_dtype dtype, int32_t ndim,
                              const int64_t *shape, const int64_t *strides, int64_t byte_offset,
                              rapt_error *error)
{
    int64_t count;
    if (rapt_shape_count(dtype, ndim, shape, &count, error) != RAPT_OK)
        return NULL;
    if (byte_offset < 0) {
        rapt_fail(error, RAPT_INVALID, "a tensor cannot begin at byte %lld",
                  (long long)byte_offset);
        return NULL;
    }
    rapt_tensor *tensor = calloc(1, sizeof *tensor);
    if (!tensor) {
        rapt_fail_memory(error, sizeof *tensor, "a tensor's description");
        return NULL;
    }
    atomic_init(&tensor->references, 1);
    if (ndim > 0)
        memcpy(tensor->shape, shape, (size_t)ndim * sizeof *shape);
    if (strides && ndim > 0)
        memcpy(tensor->strides, strides, (size_t)ndim * sizeof *strides);
    else
        rapt_contiguous_strides(ndim, tensor->shape, tensor->strides);
    tensor->view = (rapt_view){.data = storage->data,
                               .device = storage->device,
                               .ndim = ndim,
                               .dtype = rapt_dltype_of(dtype),
                               .shape = tensor->shape,
                               .strides = tensor->strides,
                               .byte_offset = (uint64_t)byte_offset};
    if (check_extent(storage, &tensor->view, count, error) != RAPT_OK) {
        free(tensor);
        return NULL;
    }
    tensor->storage = rapt_storage_retain(storage);
    return tensor;
}

rapt_tensor *rapt_tensor_new(rapt_dtype dtype, int32_t ndim, const int64_t *shape, bool zero,
                             rapt_error *error)
{
    int64_t count;
    if (rapt_shape_count(dtype, ndim, shape, &count, error) != RAPT_OK)
        return NULL;
    rapt_storage *storage = rapt_storage_new(count * (int64_t)rapt_dtype_size(dtype), zero, error);
    if (!storage)
        return NULL;
    rapt_tensor *tensor = rapt_tensor_over(storage, dtype, ndim, shape, NULL, 0, error);
    rapt_storage_release(storage);
    return tensor;
}

rapt_tensor *rapt_tensor_retain(rapt_tensor *tensor)
{
    if (tensor)
        atomic_fetch_add_explicit(&tensor->references, 1, memory_order_relaxed);
    return tensor;
}

void rapt_tensor_release(rapt_tensor *tensor)
{
    if (!tensor || atomic_fetch_sub_explicit(&tensor->references, 1, memory_order_acq_rel) != 1)
        return;
    if (tensor->autograd && tensor->autograd_release)
        tensor->autograd_release(tensor->autograd);
    rapt_tensor_release(tensor->grad);
    rapt_storage_release(tensor->storage);
    free(tensor);
}

const rapt_view *rapt_tensor_view(const rapt_tensor *tensor)
{
    return &tensor->view;
}

rapt_dtype rapt_tensor_dtype(const rapt_tensor *tensor)
{
    return rapt_view_dtype(&tensor->view);
}

int64_t rapt_tensor_count(const rapt_tensor *tensor)
{
    return rapt_view_count(&tensor->view);
}

bool rapt_tensor_is_contiguous(const rapt_tensor *tensor)
{
    return rapt_view_is_contiguous(&tensor->view);
}
