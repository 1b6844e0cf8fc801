/* What the readers and writers of files share, and the readers' entries for bytes in memory. */
#ifndef RAPT_TENSOR_FORMATS_H
#define RAPT_TENSOR_FORMATS_H

#include "tensor/tensor.h"

/* The longest header of a safetensors file, in bytes: what the reference implementation allows. */
enum { RAPT_SAFETENSORS_HEADER = 100000000 };
/* The format's names of rapt's dtypes, in the order of rapt_dtype. */
extern const char *const rapt_safetensors_names[RAPT_DTYPE_COUNT];

/* Reads the whole of `bytes`, CPU storage that the tensors then share and retain. `name` stands at
 * the head of messages. Bad bytes give RAPT_IO; element types that rapt lacks RAPT_UNSUPPORTED. */
rapt_file *rapt_safetensors_parse(rapt_storage *bytes, const char *name, rapt_error *error);
rapt_tensor *rapt_npy_parse(rapt_storage *bytes, const char *name, rapt_error *error);

/* A file as storage: mapped, private, copy-on-write. Not counted in rapt_memory_usage: the pages
 * are the file's until they are written to. As with every mapping, the file must not be cut shorter
 * while it is in use; a file replaced by rename, as rapt_writer does, is no trouble. */
rapt_storage *rapt_storage_map(const char *path, rapt_error *error);

/* A tensor in file bytes; copied into storage of its own where the bytes are not aligned to the
 * element. Bools must be 0 or 1. The extent has been checked. */
rapt_tensor *rapt_tensor_from_bytes(rapt_storage *bytes, rapt_dtype dtype, int32_t ndim,
                                    const int64_t *shape, const int64_t *strides, int64_t offset,
                                    rapt_error *error);

/* The tensor itself, retained, or a contiguous copy. RAPT_INVALID on another device than the CPU.
 */
rapt_tensor *rapt_tensor_packed(rapt_tensor *tensor, rapt_error *error);

#endif
