/* New tensors: zeros, ones, full, arange and the random ones. Nested tables: table.c. */
#include "lua/binding.h"

#include <math.h>

static const rapt_device cpu = {RAPT_DEVICE_CPU, 0};

static void require_grad(lua_State *L, rapt_tensor *tensor, bool on)
{
    rapt_error error;

    if (on && rapt_set_requires_grad(tensor, true, &error) != RAPT_OK)
        rapt_lua_raise(L, &error);
}

int rapt_lua_finish(lua_State *L, rapt_box *box, const rapt_lua_options *options)
{
    const rapt_view *view = rapt_tensor_view(box->tensor);

    if (rapt_view_dtype(view) != options->dtype || view->device.type != options->device.type ||
        view->device.index != options->device.index) {
        rapt_context *context = rapt_lua_context(L);
        rapt_box *moved = rapt_lua_box(L);
        rapt_error error;

        rapt_lua_fill(L, moved,
                      rapt_to(context, box->tensor, options->dtype, options->device, &error), true,
                      &error);
        box = moved;
    }
    require_grad(L, box->tensor, options->requires_grad);
    return 1;
}

/* Sizes and options of `function`(size..., options); arguments before `first` are its own. */
static int32_t read_shape(lua_State *L, int first, int64_t *shape, rapt_dtype dtype,
                          rapt_lua_options *options, const char *function)
{
    const int last = rapt_lua_read_options(L, dtype, options, function);

    return rapt_lua_sizes(L, first, last, shape, false, function);
}

/* Whether it is worth trying again: memory was lacking, and Lua has now collected what it had. */
static bool collected(lua_State *L, const rapt_error *error)
{
    if (error->status != RAPT_NO_MEMORY || !lua_gc(L, LUA_GCISRUNNING))
        return false;
    rapt_lua_collect(L);
    return true;
}

rapt_box *rapt_lua_new(lua_State *L, rapt_dtype dtype, rapt_device device, int32_t ndim,
                       const int64_t *shape, const char *function)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;
    rapt_tensor *tensor = rapt_tensor_empty(context, dtype, device, ndim, shape, &error);

    if (!tensor && collected(L, &error))
        tensor = rapt_tensor_empty(context, dtype, device, ndim, shape, &error);
    if (!tensor)
        rapt_lua_raise_as(L, function, &error);
    rapt_lua_fill(L, box, tensor, true, NULL);
    return box;
}

typedef rapt_status (*fill_function)(rapt_context *, rapt_tensor *, rapt_error *);

static int filled(lua_State *L, const rapt_lua_options *options, int32_t ndim, const int64_t *shape,
                  fill_function fill, const char *function)
{
    rapt_box *box = rapt_lua_new(L, options->dtype, options->device, ndim, shape, function);
    rapt_error error;

    if (fill(rapt_lua_context(L), box->tensor, &error) != RAPT_OK)
        return rapt_lua_raise_as(L, function, &error);
    require_grad(L, box->tensor, options->requires_grad);
    return 1;
}

static int l_zeros(lua_State *L)
{
    int64_t shape[RAPT_MAX_DIMS];
    rapt_lua_options options;
    const int32_t ndim = read_shape(L, 1, shape, RAPT_F32, &options, "rapt.zeros");
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;
    rapt_tensor *tensor =
        rapt_tensor_zeros(context, options.dtype, options.device, ndim, shape, &error);

    if (!tensor && collected(L, &error))
        tensor = rapt_tensor_zeros(context, options.dtype, options.device, ndim, shape, &error);
    if (!tensor)
        return rapt_lua_raise_as(L, "rapt.zeros", &error);
    rapt_lua_fill(L, box, tensor, true, NULL);
    require_grad(L, tensor, options.requires_grad);
    return 1;
}

static rapt_status fill_ones(rapt_context *context, rapt_tensor *tensor, rapt_error *error)
{
    return rapt_fill(context, tensor, 1.0, error);
}

static int l_ones(lua_State *L)
{
    int64_t shape[RAPT_MAX_DIMS];
    rapt_lua_options options;
    const int32_t ndim = read_shape(L, 1, shape, RAPT_F32, &options, "rapt.ones");

    return filled(L, &options, ndim, shape, fill_ones, "rapt.ones");
}

static int l_rand(lua_State *L)
{
    int64_t shape[RAPT_MAX_DIMS];
    rapt_lua_options options;
    const int32_t ndim = read_shape(L, 1, shape, RAPT_F32, &options, "rapt.rand");

    return filled(L, &options, ndim, shape, rapt_fill_uniform, "rapt.rand");
}

static int l_randn(lua_State *L)
{
    int64_t shape[RAPT_MAX_DIMS];
    rapt_lua_options options;
    const int32_t ndim = read_shape(L, 1, shape, RAPT_F32, &options, "rapt.randn");

    return filled(L, &options, ndim, shape, rapt_fill_normal, "rapt.randn");
}

static int l_randint(lua_State *L)
{
    int64_t shape[RAPT_MAX_DIMS];
    rapt_lua_options options;
    const int last = rapt_lua_read_options(L, RAPT_I64, &options, "rapt.randint");
    const int64_t low = rapt_lua_integer(L, 1, "rapt.randint", "low");
    const int64_t high = rapt_lua_integer(L, 2, "rapt.randint", "high");
    const int32_t ndim = rapt_lua_sizes(L, 3, last, shape, false, "rapt.randint");
    rapt_box *box;
    rapt_error error;

    if (low >= high)
        return rapt_lua_fail(L, "rapt.randint: low %lld must be less than high %lld",
                             (long long)low, (long long)high);
    box = rapt_lua_new(L, options.dtype, options.device, ndim, shape, "rapt.randint");
    if (rapt_fill_integers(rapt_lua_context(L), box->tensor, low, high, &error) != RAPT_OK)
        return rapt_lua_raise_as(L, "rapt.randint", &error);
    require_grad(L, box->tensor, options.requires_grad);
    return 1;
}

static int l_manual_seed(lua_State *L)
{
    const int64_t seed = rapt_lua_integer(L, 1, "rapt.manual_seed", "seed");

    rapt_seed(rapt_lua_context(L), (uint64_t)seed);
    return 0;
}

/* --- One value ------------------------------------------------------------------------------- */

static const struct {
    double low, high;
} ranges[RAPT_DTYPE_COUNT] = {
    [RAPT_I32] = {-2147483648.0, 2147483647.0},
    [RAPT_U8] = {0.0, 255.0},
    [RAPT_BOOL] = {0.0, 1.0},
};

/* Stores the Lua number or boolean at `index` as element `i`; returns NULL, or what is wrong with
 * it. f16 and bf16 are not stored into directly. */
const char *rapt_lua_store(lua_State *L, int index, rapt_dtype dtype, void *elements, int64_t i)
{
    const bool boolean = lua_type(L, index) == LUA_TBOOLEAN;
    int is = 1;
    lua_Integer integer;

    if (dtype == RAPT_F32 || dtype == RAPT_F64) {
        const double value = boolean ? lua_toboolean(L, index) : lua_tonumber(L, index);
        if (dtype == RAPT_F32)
            ((float *)elements)[i] = (float)value;
        else
            ((double *)elements)[i] = value;
        return NULL;
    }
    integer = boolean ? lua_toboolean(L, index) : lua_tointegerx(L, index, &is);
    if (!is)
        return "must be an integer";
    if (dtype == RAPT_I64) {
        ((int64_t *)elements)[i] = integer;
        return NULL;
    }
    if ((double)integer < ranges[dtype].low || (double)integer > ranges[dtype].high)
        return dtype == RAPT_BOOL ? "must be true, false, 0 or 1" : "is out of range";
    if (dtype == RAPT_I32)
        ((int32_t *)elements)[i] = (int32_t)integer;
    else
        ((uint8_t *)elements)[i] = (uint8_t)integer;
    return NULL;
}

rapt_dtype rapt_lua_wide(rapt_dtype dtype)
{
    return dtype == RAPT_F16 || dtype == RAPT_BF16 ? RAPT_F32 : dtype;
}

static int l_full(lua_State *L)
{
    static const char *const name = "rapt.full";
    int64_t shape[RAPT_MAX_DIMS], element = 0;
    rapt_lua_options options;
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box, *spread;
    rapt_error error;
    const char *wrong;
    rapt_dtype wide;
    int32_t ndim;

    rapt_lua_read_options(L, lua_isboolean(L, 2) ? RAPT_BOOL : RAPT_F32, &options, name);
    if (lua_type(L, 1) != LUA_TTABLE)
        return rapt_lua_fail(L, "rapt.full: sizes must be a table, got %s", rapt_lua_kind(L, 1));
    ndim = rapt_lua_sizes(L, 1, 1, shape, false, name);
    if (!lua_isboolean(L, 2))
        rapt_lua_number(L, 2, name, "value");
    wide = rapt_lua_wide(options.dtype);
    wrong = rapt_lua_store(L, 2, wide, &element, 0);
    if (wrong)
        return rapt_lua_fail(L, "rapt.full: value %s for dtype %s", wrong,
                             rapt_dtype_name(options.dtype));
    box = rapt_lua_box(L);
    rapt_lua_fill(L, box, rapt_tensor_from(context, wide, 0, NULL, &element, &error), true, &error);
    /* A clone of an expanded scalar: exact for every dtype, where a double is not for i64. */
    spread = rapt_lua_box(L);
    spread->tensor = rapt_expand(context, box->tensor, ndim, shape, &error);
    if (!spread->tensor)
        return rapt_lua_raise_as(L, name, &error);
    box = rapt_lua_box(L);
    box->tensor = rapt_clone(context, spread->tensor, &error);
    if (!box->tensor)
        return rapt_lua_raise_as(L, name, &error);
    rapt_lua_fill(L, box, box->tensor, true, NULL);
    return rapt_lua_finish(L, box, &options);
}

rapt_tensor *rapt_lua_scalar(lua_State *L, double value, const rapt_view *like)
{
    const rapt_dtype dtype = like ? rapt_view_dtype(like) : RAPT_F32;
    const rapt_lua_options options = {.dtype = dtype, .device = like ? like->device : cpu};
    rapt_context *context = rapt_lua_context(L);
    const float narrow = (float)value;
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;
    rapt_tensor *tensor;

    if (dtype == RAPT_F32) {
        tensor = rapt_tensor_from(context, RAPT_F32, 0, NULL, &narrow, &error);
    } else {
        tensor = rapt_tensor_from(context, RAPT_F64, 0, NULL, &value, &error);
    }
    rapt_lua_fill(L, box, tensor, true, &error);
    if (dtype == RAPT_F32 && options.device.type == RAPT_DEVICE_CPU)
        return box->tensor;
    rapt_lua_finish(L, box, &options);
    box = lua_touserdata(L, -1);
    return box->tensor;
}

/* --- arange ---------------------------------------------------------------------------------- */

static int64_t range_count(lua_State *L, bool integers, double start, double stop, double step)
{
    double count;

    if (step == 0.0 || !isfinite(start) || !isfinite(stop) || !isfinite(step))
        rapt_lua_fail(L, "rapt.arange: start, stop and step must be finite and step not 0");
    if (integers && fabs(start) < 9e15 && fabs(stop) < 9e15 && fabs(step) < 9e15) {
        const int64_t span = (int64_t)stop - (int64_t)start, by = (int64_t)step;
        const int64_t n = span / by + (span % by != 0);
        return (span > 0) == (by > 0) && span != 0 ? n : 0;
    }
    count = ceil((stop - start) / step);
    if (count > 9e15)
        rapt_lua_fail(L, "rapt.arange: %g elements are too many", count);
    return count > 0.0 ? (int64_t)count : 0;
}

static void fill_range(lua_State *L, const rapt_view *view, double start, double step)
{
    const rapt_dtype dtype = rapt_view_dtype(view);
    const int64_t n = view->shape[0];
    void *elements = rapt_view_data(view);
    const double last = n ? start + step * (double)(n - 1) : start;
    int64_t i;

    if (dtype != RAPT_F32 && dtype != RAPT_F64) {
        if (start != floor(start) || step != floor(step))
            rapt_lua_fail(L, "rapt.arange: start and step must be integers for dtype %s",
                          rapt_dtype_name(dtype));
        if (fmax(fabs(start), fabs(last)) > 9007199254740992.0)
            rapt_lua_fail(L, "rapt.arange: integers beyond 2^53 are not supported");
        if (n && dtype != RAPT_I64 &&
            (fmin(start, last) < ranges[dtype].low || fmax(start, last) > ranges[dtype].high))
            rapt_lua_fail(L, "rapt.arange: %.17g to %.17g is out of range for dtype %s", start,
                          last, rapt_dtype_name(dtype));
    }
    for (i = 0; i < n; i++) {
        const double value = start + step * (double)i;
        if (dtype == RAPT_F32)
            ((float *)elements)[i] = (float)value;
        else if (dtype == RAPT_F64)
            ((double *)elements)[i] = value;
        else if (dtype == RAPT_I64)
            ((int64_t *)elements)[i] = (int64_t)start + (int64_t)step * i;
        else if (dtype == RAPT_I32)
            ((int32_t *)elements)[i] = (int32_t)value;
        else
            ((uint8_t *)elements)[i] = (uint8_t)value;
    }
}

static int l_arange(lua_State *L)
{
    static const char *const name = "rapt.arange";
    rapt_lua_options options;
    const int last = rapt_lua_read_options(L, RAPT_F32, &options, name);
    const double first = rapt_lua_number(L, 1, name, last < 2 ? "stop" : "start");
    const double start = last < 2 ? 0.0 : first;
    const double stop = last < 2 ? first : rapt_lua_number(L, 2, name, "stop");
    const double step = last < 3 ? 1.0 : rapt_lua_number(L, 3, name, "step");
    const bool integers = start == floor(start) && stop == floor(stop) && step == floor(step);
    const int64_t n = range_count(L, integers, start, stop, step);
    rapt_box *box = rapt_lua_new(L, rapt_lua_wide(options.dtype), cpu, 1, &n, name);

    fill_range(L, rapt_tensor_view(box->tensor), start, step);
    return rapt_lua_finish(L, box, &options);
}

/* rapt.frombytes(string [, {dtype, device}]): the bytes of a string as elements. */
static int l_frombytes(lua_State *L)
{
    static const char *const name = "rapt.frombytes";
    rapt_lua_options options;
    size_t bytes, item, i;
    const char *text;
    int64_t n;
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box;
    rapt_error error;

    rapt_lua_read_options(L, RAPT_U8, &options, name);
    rapt_lua_text(L, 1, name, "argument 1");
    text = lua_tolstring(L, 1, &bytes);
    item = rapt_dtype_size(options.dtype);
    if (bytes % item)
        return rapt_lua_fail(L, "rapt.frombytes: %zu bytes are no whole number of %s elements",
                             bytes, rapt_dtype_name(options.dtype));
    for (i = 0; options.dtype == RAPT_BOOL && i < bytes; i++)
        if ((unsigned char)text[i] > 1)
            return rapt_lua_fail(L, "rapt.frombytes: byte %zu is %d but bool has 0 and 1", i + 1,
                                 (unsigned char)text[i]);
    n = (int64_t)(bytes / item);
    box = rapt_lua_box(L);
    rapt_lua_fill(L, box, rapt_tensor_from(context, options.dtype, 1, &n, text, &error), true,
                  &error);
    return rapt_lua_finish(L, box, &options);
}

void rapt_lua_open_create(lua_State *L)
{
    static const luaL_Reg functions[] = {{"zeros", l_zeros},
                                         {"ones", l_ones},
                                         {"full", l_full},
                                         {"arange", l_arange},
                                         {"rand", l_rand},
                                         {"randn", l_randn},
                                         {"randint", l_randint},
                                         {"manual_seed", l_manual_seed},
                                         {"frombytes", l_frombytes},
                                         {"tensor", rapt_lua_from_table},
                                         {NULL, NULL}};

    rapt_lua_register(L, functions);
}
