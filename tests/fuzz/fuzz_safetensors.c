/* libFuzzer target: the safetensors reader on any bytes. What it accepts is read to the last byte.
 */
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
    rapt_file *file = rapt_safetensors_parse(bytes, "file", &error);
    rapt_storage_release(bytes);
    if (!file) {
        if (error.status == RAPT_OK || !error.message[0] || strchr(error.message, '\n'))
            abort();
        return 0;
    }
    unsigned sum = 0;
    for (size_t i = 0; i < file->n_tensors; i++) {
        const rapt_tensor *t = file->tensors[i].tensor;
        const unsigned char *at = rapt_view_data(&t->view);
        const size_t n = (size_t)rapt_tensor_count(t) * rapt_dtype_size(rapt_tensor_dtype(t));
        for (size_t k = 0; k < n; k++)
            sum += at[k];
        sum += (unsigned)strlen(file->tensors[i].name);
    }
    for (size_t i = 0; i < file->n_metadata; i++)
        sum += (unsigned)strlen(file->metadata[i].text);
    static volatile unsigned sink;
    sink = sum;
    (void)sink;
    rapt_file_free(file);
    return 0;
}
