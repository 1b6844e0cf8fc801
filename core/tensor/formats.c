#include "tensor/formats.h"
#include "base/error.h"
#include "base/file.h"
#include "tensor/convert.h"
#include <string.h>

static void unmap(rapt_storage *storage)
{
    rapt_mapping mapping = {.data = storage->data, .bytes = (size_t)storage->bytes};
    rapt_unmap_file(&mapping);
}

rapt_storage *rapt_storage_map(const char *path, rapt_error *error)
{
    rapt_mapping mapping;
    if (rapt_map_file(path, &mapping, error) != RAPT_OK)
        return NULL;
    const rapt_device cpu = {.type = RAPT_DEVICE_CPU, .index = 0};
    return rapt_storage_wrap(cpu, mapping.data, (int64_t)mapping.bytes, false, unmap, NULL, error);
}

rapt_tensor *rapt_tensor_from_bytes(rapt_storage *bytes, rapt_dtype dtype, int32_t ndim,
                                    const int64_t *shape, const int64_t *strides, int64_t offset,
                                    rapt_error *error)
{
    int64_t count;
    if (rapt_shape_count(dtype, ndim, shape, &count, error) != RAPT_OK)
        return NULL;
    const size_t itemsize = rapt_dtype_size(dtype);
    const unsigned char *first = count > 0 ? (unsigned char *)bytes->data + offset : NULL;
    if (dtype == RAPT_BOOL)
        for (int64_t i = 0; i < count; i++)
            if (first[i] > 1) {
                rapt_fail(error, RAPT_IO, "a bool is stored as %d, expected 0 or 1", first[i]);
                return NULL;
            }
    if ((uintptr_t)first % itemsize == 0)
        return rapt_tensor_over(bytes, dtype, ndim, shape, strides, count ? offset : 0, error);
    rapt_storage *aligned = rapt_storage_new(count * (int64_t)itemsize, false, error);
    if (!aligned)
        return NULL;
    memcpy(aligned->data, first, (size_t)count * itemsize);
    rapt_tensor *tensor = rapt_tensor_over(aligned, dtype, ndim, shape, strides, 0, error);
    rapt_storage_release(aligned);
    return tensor;
}

rapt_tensor *rapt_tensor_packed(rapt_tensor *tensor, rapt_error *error)
{
    if (tensor->view.device.type != RAPT_DEVICE_CPU) {
        char name[32];
        rapt_device_name(tensor->view.device, name);
        rapt_fail(error, RAPT_INVALID, "the tensor lies on %s, expected the cpu", name);
        return NULL;
    }
    if (rapt_tensor_is_contiguous(tensor))
        return rapt_tensor_retain(tensor);
    rapt_tensor *packed =
        rapt_tensor_new(rapt_tensor_dtype(tensor), tensor->view.ndim, tensor->shape, false, error);
    if (packed)
        rapt_view_copy(&packed->view, &tensor->view);
    return packed;
}
