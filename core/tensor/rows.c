/*
 * A row is converted in blocks: loaded into the widest number of its kind (float for f32, f16 and
 * bf16; double for f64; int64 for integers and bool), then stored from it. Eight loaders and three
 * times eight storers make the 64 pairs, each a loop that the compiler vectorises.
 */
#include "tensor/rows.h"
#include "tensor/number.h"
#include <stdbool.h>
#include <stddef.h>

/* On x86-64 the loops exist twice, for any processor and for AVX2; the dynamic loader picks. Not
 * under sanitizers, whose runtime is not up yet when the choice is made. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("default", "arch=haswell")))
#else
#define CLONES
#endif

enum { BLOCK = 512 };

typedef union block {
    float f[BLOCK];
    double d[BLOCK];
    int64_t i[BLOCK];
} block;

typedef void row_loader(block *to, const void *from, int64_t stride, int64_t n);
typedef void row_storer(void *to, int64_t stride, const block *from, int64_t n);

/* In both, `value` is an expression of x, the element. Unit strides have a loop of their own. */
#define LOADER(name, type, field, value)                                                           \
    CLONES static void name(block *to, const void *from, int64_t stride, int64_t n)                \
    {                                                                                              \
        const type *const a = from;                                                                \
        if (stride == 1)                                                                           \
            for (int64_t k = 0; k < n; k++) {                                                      \
                const type x = a[k];                                                               \
                to->field[k] = value;                                                              \
            }                                                                                      \
        else                                                                                       \
            for (int64_t k = 0; k < n; k++) {                                                      \
                const type x = a[k * stride];                                                      \
                to->field[k] = value;                                                              \
            }                                                                                      \
    }

#define STORER(name, type, field_type, field, value)                                               \
    CLONES static void name(void *to, int64_t stride, const block *from, int64_t n)                \
    {                                                                                              \
        type *const a = to;                                                                        \
        if (stride == 1)                                                                           \
            for (int64_t k = 0; k < n; k++) {                                                      \
                const field_type x = from->field[k];                                               \
                a[k] = value;                                                                      \
            }                                                                                      \
        else                                                                                       \
            for (int64_t k = 0; k < n; k++) {                                                      \
                const field_type x = from->field[k];                                               \
                a[k * stride] = value;                                                             \
            }                                                                                      \
    }

LOADER(load_f32, float, f, x)
LOADER(load_f16, uint16_t, f, rapt_number_from_f16(x))
LOADER(load_bf16, uint16_t, f, rapt_number_from_bf16(x))
LOADER(load_f64, double, d, x)
LOADER(load_i32, int32_t, i, x)
LOADER(load_i64, int64_t, i, x)
LOADER(load_u8, uint8_t, i, x)
LOADER(load_bool, uint8_t, i, x != 0)

STORER(store_f32_f, float, float, f, x)
STORER(store_f16_f, uint16_t, float, f, rapt_number_to_f16(x))
STORER(store_bf16_f, uint16_t, float, f, rapt_number_to_bf16(x))
STORER(store_f64_f, double, float, f, (double)x)
STORER(store_i32_f, int32_t, float, f, rapt_number_to_i32((double)x))
STORER(store_i64_f, int64_t, float, f, rapt_number_to_i64((double)x))
STORER(store_u8_f, uint8_t, float, f, rapt_number_to_u8((double)x))
STORER(store_bool_f, uint8_t, float, f, x != 0)

STORER(store_f32_d, float, double, d, (float)x)
STORER(store_f16_d, uint16_t, double, d, rapt_number_to_f16(rapt_number_odd(x)))
STORER(store_bf16_d, uint16_t, double, d, rapt_number_to_bf16(rapt_number_odd(x)))
STORER(store_f64_d, double, double, d, x)
STORER(store_i32_d, int32_t, double, d, rapt_number_to_i32(x))
STORER(store_i64_d, int64_t, double, d, rapt_number_to_i64(x))
STORER(store_u8_d, uint8_t, double, d, rapt_number_to_u8(x))
STORER(store_bool_d, uint8_t, double, d, x != 0)

STORER(store_f32_i, float, int64_t, i, (float)x)
STORER(store_f16_i, uint16_t, int64_t, i, rapt_number_to_f16(rapt_number_odd_i64(x)))
STORER(store_bf16_i, uint16_t, int64_t, i, rapt_number_to_bf16(rapt_number_odd_i64(x)))
STORER(store_f64_i, double, int64_t, i, (double)x)
STORER(store_i32_i, int32_t, int64_t, i, rapt_number_clamp_i32(x))
STORER(store_i64_i, int64_t, int64_t, i, x)
STORER(store_u8_i, uint8_t, int64_t, i, rapt_number_clamp_u8(x))
STORER(store_bool_i, uint8_t, int64_t, i, x != 0)

/* By dtype, in the order of rapt_dtype. */
static row_loader *const loaders[RAPT_DTYPE_COUNT] = {load_f32, load_f16, load_bf16, load_f64,
                                                      load_i32, load_i64, load_u8,   load_bool};
static row_storer *const storers[3][RAPT_DTYPE_COUNT] = {
    {store_f32_f, store_f16_f, store_bf16_f, store_f64_f, store_i32_f, store_i64_f, store_u8_f,
     store_bool_f},
    {store_f32_d, store_f16_d, store_bf16_d, store_f64_d, store_i32_d, store_i64_d, store_u8_d,
     store_bool_d},
    {store_f32_i, store_f16_i, store_bf16_i, store_f64_i, store_i32_i, store_i64_i, store_u8_i,
     store_bool_i},
};

/* Which field of the block a loader fills: 0 float, 1 double, 2 int64. */
static const unsigned char kinds[RAPT_DTYPE_COUNT] = {0, 0, 0, 1, 2, 2, 2, 2};

#define MOVE(type)                                                                                 \
    do {                                                                                           \
        type *const to = target;                                                                   \
        const type *const from = source;                                                           \
        for (int64_t k = 0; k < n; k++)                                                            \
            to[k * target_stride] = from[k * source_stride];                                       \
    } while (0)

static void move_row(void *target, int64_t target_stride, const void *source, int64_t source_stride,
                     int64_t n, size_t itemsize)
{
    if (target_stride == 1 && source_stride == 1)
        memcpy(target, source, (size_t)n * itemsize);
    else if (itemsize == 1)
        MOVE(uint8_t);
    else if (itemsize == 2)
        MOVE(uint16_t);
    else if (itemsize == 4)
        MOVE(uint32_t);
    else
        MOVE(uint64_t);
}

void rapt_row_copy(void *target, rapt_dtype target_dtype, int64_t target_stride, const void *source,
                   rapt_dtype source_dtype, int64_t source_stride, int64_t n)
{
    if (target_dtype == source_dtype) {
        move_row(target, target_stride, source, source_stride, n, rapt_dtype_size(target_dtype));
        return;
    }
    block numbers;
    row_loader *const load = loaders[source_dtype];
    row_storer *const store = storers[kinds[source_dtype]][target_dtype];
    const int64_t to_step = target_stride * (int64_t)rapt_dtype_size(target_dtype);
    const int64_t from_step = source_stride * (int64_t)rapt_dtype_size(source_dtype);
    for (int64_t k = 0; k < n; k += BLOCK) {
        const int64_t m = n - k < BLOCK ? n - k : BLOCK;
        load(&numbers, (const char *)source + k * from_step, source_stride, m);
        store((char *)target + k * to_step, target_stride, &numbers, m);
    }
}
