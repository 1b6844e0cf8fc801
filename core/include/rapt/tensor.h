/*
 * rapt/tensor.h - what a tensor is, on every side of every interface of rapt.
 *
 * A tensor crosses the plugin ABI as a `rapt_view`: a description of memory that somebody else
 * owns. Its layout is that of DLPack 1.x's DLTensor, so a view can be handed to, or taken from,
 * any library that speaks DLPack without a copy.
 *
 * C99 and C++ clean; needs nothing but the C library.
 */
#ifndef RAPT_TENSOR_H
#define RAPT_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Largest number of dimensions of a tensor. */
#define RAPT_MAX_DIMS 8

/* What a function that can fail returns. Everything but RAPT_OK is a failure; the text that goes
 * with it stands in a rapt_error (rapt.h) or has been given to host->error (plugin.h). */
typedef enum rapt_status {
    RAPT_OK = 0,
    RAPT_INVALID = 1,     /* an argument is wrong: rank, size, dtype, name, range, layout */
    RAPT_UNSUPPORTED = 2, /* right, but not to be had here: no kernel, no backward, no device */
    RAPT_NO_MEMORY = 3,   /* an allocation failed, on the host or on a device */
    RAPT_IO = 4,          /* the operating system refused a file, or the file's bytes are bad */
    RAPT_NOT_FOUND = 5,   /* no operator, plugin, file or argument of that name */
    RAPT_DEVICE_LOST = 6, /* the device stopped answering; the process goes on without it */
    RAPT_INTERNAL = 7     /* a rule of rapt itself was broken; always worth a report */
} rapt_status;

/* Where memory lives. The numbers are DLPack's device types. */
enum { RAPT_DEVICE_CPU = 1, RAPT_DEVICE_VULKAN = 7 };

typedef struct rapt_device {
    int32_t type;  /* RAPT_DEVICE_CPU, RAPT_DEVICE_VULKAN */
    int32_t index; /* 0 for the CPU; the n-th device of its type otherwise */
} rapt_device;

/* DLPack's element type: {code, bits, lanes}; lanes is always 1 here. */
typedef struct rapt_dltype {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
} rapt_dltype;

/* rapt's element types. The value is a position in a bit mask (RAPT_DTYPE_BIT). */
typedef enum rapt_dtype {
    RAPT_F32 = 0,
    RAPT_F16 = 1,  /* IEEE 754 binary16 */
    RAPT_BF16 = 2, /* the upper half of a binary32 */
    RAPT_F64 = 3,
    RAPT_I32 = 4,
    RAPT_I64 = 5,
    RAPT_U8 = 6,
    RAPT_BOOL = 7, /* one byte, 0 or 1 */
    RAPT_DTYPE_COUNT = 8
} rapt_dtype;

#define RAPT_DTYPE_BIT(dtype) (1u << (dtype))
#define RAPT_DTYPES_COMPUTE                                                                        \
    (RAPT_DTYPE_BIT(RAPT_F32) | RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16))

/*
 * A view of memory: DLPack's DLTensor, field for field.
 *
 * Element (i0, i1, ...) lies at  (char *)data + byte_offset + itemsize * (i0*strides[0] + ...).
 * Strides count elements, may be zero (expanded dimensions, inputs only) and are never negative.
 * `shape` and `strides` have `ndim` entries and are never NULL unless ndim is 0. A size of zero is
 * allowed anywhere; such a tensor has no element and `data` may be NULL. On the CPU `data` is an
 * address; on other devices it is a handle that only the device's services understand.
 */
typedef struct rapt_view {
    void *data;
    rapt_device device;
    int32_t ndim;
    rapt_dltype dtype;
    int64_t *shape;
    int64_t *strides;
    uint64_t byte_offset;
} rapt_view;

/* The dtype of a view, or RAPT_DTYPE_COUNT for an element type that rapt does not have. */
static inline rapt_dtype rapt_view_dtype(const rapt_view *view)
{
    const unsigned key = ((unsigned)view->dtype.code << 8) | view->dtype.bits;
    if (view->dtype.lanes != 1)
        return RAPT_DTYPE_COUNT;
    switch (key) {
    case (2u << 8) | 32:
        return RAPT_F32;
    case (2u << 8) | 16:
        return RAPT_F16;
    case (4u << 8) | 16:
        return RAPT_BF16;
    case (2u << 8) | 64:
        return RAPT_F64;
    case (0u << 8) | 32:
        return RAPT_I32;
    case (0u << 8) | 64:
        return RAPT_I64;
    case (1u << 8) | 8:
        return RAPT_U8;
    case (6u << 8) | 8:
        return RAPT_BOOL;
    default:
        return RAPT_DTYPE_COUNT;
    }
}

/* Bytes of one element; 0 for a dtype out of range. */
static inline size_t rapt_dtype_size(rapt_dtype dtype)
{
    static const unsigned char size[RAPT_DTYPE_COUNT] = {4, 2, 2, 8, 4, 8, 1, 1};
    return (unsigned)dtype < RAPT_DTYPE_COUNT ? size[dtype] : 0;
}

/* The first element of a CPU view. */
static inline void *rapt_view_data(const rapt_view *view)
{
    return view->data ? (char *)view->data + view->byte_offset : NULL;
}

#ifdef __cplusplus
}
#endif
#endif
