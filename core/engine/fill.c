/* Values and random numbers into tensors. */
#include "base/checked.h"
#include "base/error.h"
#include "device/cpu/pool.h"
#include "engine/engine.h"
#include "tensor/convert.h"
#include "tensor/random.h"
#include <math.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

/* Numbers made by one piece of work; also the room for them on the stack. */
#define FILL_GRAIN 4096

typedef struct filling {
    void (*make)(const struct filling *filling, uint64_t first, int64_t n, char *out);
    rapt_dtype dtype;
    rapt_random_fill random; /* what a device is asked for; `make` gives the same on the host */
    unsigned char value[8];  /* of fill, in `dtype` */
    char *target;
} filling;

/* --- Making ---------------------------------------------------------------------------------- */

/* The floats in `made` as elements of the target. */
static void store_floats(rapt_dtype dtype, int64_t n, const float *made, char *out)
{
    const int64_t size = (int64_t)rapt_dtype_size(dtype);
    if (dtype == RAPT_F32)
        memcpy(out, made, (size_t)n * sizeof *made);
    else
        for (int64_t i = 0; i < n; i++)
            rapt_element_set(out + i * size, dtype, (double)made[i]);
}

static void make_uniform(const filling *f, uint64_t first, int64_t n, char *out)
{
    float made[FILL_GRAIN];
    rapt_philox_uniform(f->random.seed, 0, first, n, made);
    store_floats(f->dtype, n, made, out);
}

static void make_normal(const filling *f, uint64_t first, int64_t n, char *out)
{
    float made[FILL_GRAIN];
    rapt_philox_normal(f->random.seed, 0, first, n, made);
    store_floats(f->dtype, n, made, out);
}

static void set_integer(char *element, rapt_dtype dtype, int64_t value)
{
    if (dtype == RAPT_I64)
        memcpy(element, &value, sizeof value);
    else
        rapt_element_set(element, dtype, (double)value);
}

/* low + floor(word * range / 2^64): word is 64 bits, the upper half from stream 0, the lower from
 * stream 1. */
static void make_integers(const filling *f, uint64_t first, int64_t n, char *out)
{
    uint32_t high[FILL_GRAIN], low[FILL_GRAIN];
    rapt_philox_bits(f->random.seed, 0, first, n, high);
    rapt_philox_bits(f->random.seed, 1, first, n, low);
    const uint64_t range = f->random.range;
    const int64_t size = (int64_t)rapt_dtype_size(f->dtype);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t word = (uint64_t)high[i] << 32 | low[i];
        const uint64_t at = range ? (uint64_t)((wide)word * range >> 64) : word;
        set_integer(out + i * size, f->dtype, (int64_t)((uint64_t)f->random.low + at));
    }
}

static void make_value(const filling *f, uint64_t first, int64_t n, char *out)
{
    (void)first;
    const size_t size = rapt_dtype_size(f->dtype);
    for (int64_t i = 0; i < n; i++)
        memcpy(out + (size_t)i * size, f->value, size);
}

static void fill_piece(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const filling *f = context;
    const int64_t size = (int64_t)rapt_dtype_size(f->dtype);
    while (begin < end) {
        const int64_t n = end - begin < FILL_GRAIN ? end - begin : FILL_GRAIN;
        f->make(f, f->random.first + (uint64_t)begin, n, f->target + begin * size);
        begin += n;
    }
}

/* --- Placing --------------------------------------------------------------------------------- */

/* Fills a contiguous tensor where its memory is. */
static rapt_status make_all(filling *f, const rapt_tensor *made, rapt_device_driver *driver,
                            rapt_error *error)
{
    const int64_t count = rapt_tensor_count(made);
    if (!rapt_on_host(made->view.device))
        return count > 0 ? driver->fill(driver, &made->view, &f->random, error) : RAPT_OK;
    f->target = rapt_view_data(&made->view);
    if (count <= FILL_GRAIN)
        fill_piece(f, 0, count, 0);
    else
        rapt_pool_run(count, FILL_GRAIN, fill_piece, f);
    return RAPT_OK;
}

static rapt_status fill_with(rapt_context *context, rapt_tensor *tensor, filling *f,
                             const char *what, rapt_error *error)
{
    rapt_error local = {0};
    if (!error)
        error = &local;
    if (rapt_check_writable(context, tensor, "the tensor", error) != RAPT_OK)
        return rapt_prefix_error(error, "%s", what);
    rapt_device where = tensor->view.device;
    rapt_device_driver *driver = rapt_devices_find(where, error);
    if (!driver)
        return rapt_prefix_error(error, "%s", what);
    if (!rapt_on_host(where) && !driver->fill)
        where = (rapt_device){RAPT_DEVICE_CPU, 0};
    const bool direct =
        where.type == tensor->view.device.type && rapt_view_is_contiguous(&tensor->view);
    f->dtype = rapt_tensor_dtype(tensor);
    f->random.seed = context->seed;
    f->random.first = context->drawn;
    rapt_tensor *made =
        direct ? rapt_tensor_retain(tensor)
               : rapt_tensor_make(f->dtype, where, tensor->view.ndim, tensor->shape, error);
    if (!made)
        return rapt_prefix_error(error, "%s", what);
    rapt_status status = make_all(f, made, driver, error);
    if (status == RAPT_OK && !direct)
        status = rapt_transfer(&tensor->view, &made->view, error);
    rapt_tensor_release(made);
    if (status != RAPT_OK)
        return rapt_prefix_error(error, "%s", what);
    rapt_tensor_written(tensor);
    if (f->make != make_value)
        context->drawn += (uint64_t)rapt_tensor_count(tensor);
    return RAPT_OK;
}

void rapt_seed(rapt_context *context, uint64_t seed)
{
    context->seed = seed;
    context->drawn = 0;
}

static rapt_status fill_floats(rapt_context *context, rapt_tensor *tensor, filling *f,
                               const char *what, rapt_error *error)
{
    const rapt_dtype dtype = rapt_tensor_dtype(tensor);
    if (dtype != RAPT_F32 && dtype != RAPT_F16 && dtype != RAPT_BF16 && dtype != RAPT_F64)
        return rapt_fail(error, RAPT_INVALID, "%s: a float dtype was expected; the tensor is %s",
                         what, rapt_dtype_name(dtype));
    return fill_with(context, tensor, f, what, error);
}

rapt_status rapt_fill_uniform(rapt_context *context, rapt_tensor *tensor, rapt_error *error)
{
    filling f = {.make = make_uniform, .random = {.kind = RAPT_FILL_UNIFORM}};
    return fill_floats(context, tensor, &f, "fill_uniform", error);
}

rapt_status rapt_fill_normal(rapt_context *context, rapt_tensor *tensor, rapt_error *error)
{
    filling f = {.make = make_normal,
                 .random = {.kind = RAPT_FILL_NORMAL,
                            .table = rapt_normal_table(),
                            .table_bytes = RAPT_NORMAL_TABLE_BYTES}};
    return fill_floats(context, tensor, &f, "fill_normal", error);
}

/* Whether every integer of [low, high) is an element of the dtype, exactly. */
static bool fits(rapt_dtype dtype, int64_t low, int64_t high)
{
    static const int64_t most[RAPT_DTYPE_COUNT] = {
        [RAPT_F32] = 1 << 24,          [RAPT_F16] = 1 << 11,   [RAPT_BF16] = 1 << 8,
        [RAPT_F64] = (int64_t)1 << 53, [RAPT_I32] = INT32_MAX, [RAPT_I64] = INT64_MAX,
        [RAPT_U8] = UINT8_MAX,         [RAPT_BOOL] = 1};
    const int64_t least = dtype == RAPT_U8 || dtype == RAPT_BOOL ? 0
                          : dtype == RAPT_I32                    ? INT32_MIN
                          : dtype == RAPT_I64                    ? INT64_MIN
                                                                 : -most[dtype];
    return low >= least && high - 1 <= most[dtype];
}

rapt_status rapt_fill_integers(rapt_context *context, rapt_tensor *tensor, int64_t low,
                               int64_t high, rapt_error *error)
{
    const rapt_dtype dtype = rapt_tensor_dtype(tensor);
    if (low >= high)
        return rapt_fail(error, RAPT_INVALID, "fill_integers: [%lld, %lld) holds no number",
                         (long long)low, (long long)high);
    if (!fits(dtype, low, high))
        return rapt_fail(error, RAPT_INVALID, "fill_integers: [%lld, %lld) does not fit %s",
                         (long long)low, (long long)high, rapt_dtype_name(dtype));
    filling f = {.make = make_integers,
                 .random = {.kind = RAPT_FILL_INTEGERS,
                            .low = low,
                            .range = (uint64_t)high - (uint64_t)low}};
    return fill_with(context, tensor, &f, "fill_integers", error);
}

/* One element on its way to the device, all others copies of it there. */
static rapt_status spread(rapt_context *context, rapt_tensor *tensor, const filling *f,
                          rapt_error *error)
{
    rapt_error local = {0};
    if (!error)
        error = &local;
    if (rapt_check_writable(context, tensor, "the tensor", error) != RAPT_OK)
        return rapt_prefix_error(error, "fill");
    const rapt_view *view = &tensor->view;
    int64_t none[RAPT_MAX_DIMS] = {0};
    rapt_tensor *one = rapt_tensor_make(rapt_tensor_dtype(tensor), view->device, 0, NULL, error);
    rapt_device_driver *driver = rapt_devices_find(view->device, error);
    rapt_status status = one && driver ? RAPT_OK : error->status;
    if (status == RAPT_OK)
        status = driver->write(driver, one->view.data, one->view.byte_offset, f->value,
                               (int64_t)rapt_dtype_size(rapt_tensor_dtype(tensor)), error);
    if (status == RAPT_OK) {
        rapt_view all = *view;
        all.data = one->view.data;
        all.byte_offset = one->view.byte_offset;
        all.strides = none;
        status = rapt_transfer(view, &all, error);
    }
    rapt_tensor_release(one);
    if (status != RAPT_OK)
        return rapt_prefix_error(error, "fill");
    rapt_tensor_written(tensor);
    return RAPT_OK;
}

rapt_status rapt_fill(rapt_context *context, rapt_tensor *tensor, double value, rapt_error *error)
{
    filling f = {.make = make_value};
    rapt_element_set(f.value, rapt_tensor_dtype(tensor), value);
    if (!rapt_on_host(tensor->view.device))
        return spread(context, tensor, &f, error);
    return fill_with(context, tensor, &f, "fill", error);
}
