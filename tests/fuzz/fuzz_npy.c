/* libFuzzer target: the .npy reader on any bytes. What it accepts is copied element by element. */
#include "tensor/convert.h"
#include "tensor/formats.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rapt_error error = {0};
    rapt_storage *bytes = rapt_storage_new((int64_t)size, false, NULL);
    if (!bytes)
        return 0;
    if (size)
        memcpy(bytes->data, data, size);
    rapt_tensor *tensor = rapt_npy_parse(bytes, "file", &error);
    rapt_storage_release(bytes);
    if (!tensor) {
        if (error.status == RAPT_OK || !error.message[0] || strchr(error.message, '\n'))
            abort();
        return 0;
    }
    rapt_tensor *wide = rapt_tensor_new(RAPT_F64, tensor->view.ndim, tensor->shape, false, &error);
    if (wide)
        rapt_view_copy(&wide->view, &tensor->view);
    rapt_tensor_release(wide);
    rapt_tensor_release(tensor);
    return 0;
}
