/*
 * Tensors inside the core: reference-counted storage, and views of it.
 *
 * This room knows no device but CPU memory. Storage of another device is wrapped, not made, here:
 * its owner gives a `free` function. The autograd tape hangs its record on a tensor through
 * `autograd`; this room only frees it.
 *
 * Messages are read from C and from Lua alike, so they count dimensions and positions from 1 ("dim
 * 3 of
 * ..."); arguments count from 0. Threads: counts of references and of memory are atomic; everything
 * else of a tensor belongs to one thread at a time.
 */
#ifndef RAPT_TENSOR_TENSOR_H
#define RAPT_TENSOR_TENSOR_H

#include <rapt/rapt.h>
#include <stdatomic.h>

typedef struct rapt_storage {
    atomic_int references;
    atomic_uint version; /* counts writes in place; saved tensors compare it */
    rapt_device device;
    void *data; /* address, or the device's handle */
    int64_t bytes;
    bool counted;                               /* in rapt_memory_usage */
    void (*free)(struct rapt_storage *storage); /* releases data; NULL: nothing to release */
    void *owner;                                /* for `free` */
} rapt_storage;

struct rapt_tensor {
    atomic_int references;
    rapt_storage *storage;
    rapt_view view; /* shape and strides point to the arrays below */
    int64_t shape[RAPT_MAX_DIMS];
    int64_t strides[RAPT_MAX_DIMS];
    bool requires_grad;
    rapt_tensor *grad;
    void *autograd;                       /* the engine's node, or NULL for a leaf */
    void (*autograd_release)(void *node); /* called when the tensor goes */
};

/* Elements of a shape, checked: RAPT_INVALID for rank above RAPT_MAX_DIMS, a negative size, or a
 * product (in bytes of `dtype`) beyond 63 bits. Zero sizes are fine. */
rapt_status rapt_shape_count(rapt_dtype dtype, int32_t ndim, const int64_t *shape, int64_t *count,
                             rapt_error *error);
rapt_dltype rapt_dltype_of(rapt_dtype dtype);
rapt_dtype rapt_tensor_dtype(const rapt_tensor *tensor);
void rapt_contiguous_strides(int32_t ndim, const int64_t *shape, int64_t *strides);
bool rapt_view_is_contiguous(const rapt_view *view);
int64_t rapt_view_count(const rapt_view *view);
/* True when the innermost dimension is contiguous (or has at most one element). */
bool rapt_view_inner_contiguous(const rapt_view *view);

/* CPU memory, 64-byte aligned and padded to a multiple of 64 bytes; an empty one has an address
 * too. */
rapt_storage *rapt_storage_new(int64_t bytes, bool zero, rapt_error *error);
/* Takes `data` over: `free` runs with the last reference, also when this function fails. */
rapt_storage *rapt_storage_wrap(rapt_device device, void *data, int64_t bytes, bool counted,
                                void (*free)(rapt_storage *), void *owner, rapt_error *error);
rapt_storage *rapt_storage_retain(rapt_storage *storage);
void rapt_storage_release(rapt_storage *storage);
/* Counts memory that is no tensor's (workspaces) in rapt_memory_usage. */
void rapt_memory_count(int64_t bytes);

/* A tensor over `storage`, which it retains. NULL strides: contiguous. RAPT_INVALID for negative
 * strides and where an element would lie outside the storage's bytes. */
rapt_tensor *rapt_tensor_over(rapt_storage *storage, rapt_dtype dtype, int32_t ndim,
                              const int64_t *shape, const int64_t *strides, int64_t byte_offset,
                              rapt_error *error);
/* A contiguous CPU tensor without a context. */
rapt_tensor *rapt_tensor_new(rapt_dtype dtype, int32_t ndim, const int64_t *shape, bool zero,
                             rapt_error *error);

/* Views, without differentiation: the arithmetic behind rapt.h's functions. Arguments may count
 * dimensions from the end. */
rapt_tensor *rapt_view_select(rapt_tensor *t, int32_t dim, int64_t index, rapt_error *error);
rapt_tensor *rapt_view_narrow(rapt_tensor *t, int32_t dim, int64_t start, int64_t length,
                              rapt_error *error);
rapt_tensor *rapt_view_transpose(rapt_tensor *t, int32_t a, int32_t b, rapt_error *error);
rapt_tensor *rapt_view_permute(rapt_tensor *t, int32_t ndim, const int32_t *order,
                               rapt_error *error);
rapt_tensor *rapt_view_expand(rapt_tensor *t, int32_t ndim, const int64_t *shape,
                              rapt_error *error);
/* NULL without error text and *possible = false where the strides do not allow it. */
rapt_tensor *rapt_view_reshape(rapt_tensor *t, int32_t ndim, const int64_t *shape, bool *possible,
                               rapt_error *error);

#endif
