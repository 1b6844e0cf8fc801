/* Views from Lua: methods that change how memory is seen, and t[...]. Indices count from 1. */
#include "lua/binding.h"

/* Every view shares memory with its tensor: nothing fresh. */
static int view_of(lua_State *L, rapt_box *box, rapt_tensor *tensor, const rapt_error *error)
{
    return rapt_lua_fill(L, box, tensor, false, error);
}

/* The same for views that the core may refuse for their shape. */
static int shaped(lua_State *L, rapt_box *box, rapt_tensor *tensor, bool fresh,
                  const rapt_error *error, const char *function)
{
    if (!tensor)
        return rapt_lua_raise_as(L, function, error);
    return rapt_lua_fill(L, box, tensor, fresh, NULL);
}

/* --- t[i], t[{...}] -------------------------------------------------------------------------- */

static int64_t place_of(lua_State *L, int64_t index, int64_t size, int32_t dim)
{
    if (index == 0 || index > size || index < -size) {
        if (size == 0)
            rapt_lua_fail(L, "index %lld is out of range: dimension %d has size 0",
                          (long long)index, (int)dim + 1);
        rapt_lua_fail(L,
                      "index %lld is out of range for dimension %d of size %lld (1 to %lld, or "
                      "-%lld to -1 from the end)",
                      (long long)index, (int)dim + 1, (long long)size, (long long)size,
                      (long long)size);
    }
    return index > 0 ? index - 1 : index + size;
}

int rapt_lua_select(lua_State *L, rapt_tensor *tensor, int key)
{
    const rapt_view *view = rapt_tensor_view(tensor);
    rapt_context *context = rapt_lua_context(L);
    int is = 0;
    const lua_Integer index = lua_tointegerx(L, key, &is);
    rapt_box *box;
    rapt_error error;
    int64_t place;

    if (!is)
        return rapt_lua_fail(L, "index %g is not an integer", lua_tonumber(L, key));
    if (view->ndim == 0)
        return rapt_lua_fail(L, "index %lld: the tensor has no dimensions", (long long)index);
    place = place_of(L, index, view->shape[0], 0);
    box = rapt_lua_box(L);
    return view_of(L, box, rapt_select(context, tensor, 0, place, &error), &error);
}

/* One {from, to} of an index list, on dimension `dim`: a box replaces the one at the top. */
static void narrow_by(lua_State *L, rapt_tensor *tensor, int32_t dim)
{
    const int64_t size = rapt_tensor_view(tensor)->shape[dim];
    rapt_context *context = rapt_lua_context(L);
    const int list = lua_gettop(L);
    int64_t from, to;
    rapt_box *box;
    rapt_error error;

    if (lua_rawlen(L, list) != 2)
        rapt_lua_fail(L, "a range of indices must be {from, to} or {}, got %d numbers",
                      (int)lua_rawlen(L, list));
    lua_rawgeti(L, list, 1);
    lua_rawgeti(L, list, 2);
    from = place_of(L, rapt_lua_integer(L, list + 1, "index", "from"), size, dim);
    to = place_of(L, rapt_lua_integer(L, list + 2, "index", "to"), size, dim);
    if (to < from)
        rapt_lua_fail(L, "a range of indices must not run backwards, got {%lld, %lld}",
                      (long long)from + 1, (long long)to + 1);
    box = rapt_lua_box(L);
    view_of(L, box, rapt_narrow(context, tensor, dim, from, to - from + 1, &error), &error);
}

void rapt_lua_select_all(lua_State *L, rapt_tensor *tensor, int key)
{
    rapt_context *context = rapt_lua_context(L);
    const int n = (int)lua_rawlen(L, key);
    const int32_t ndim = rapt_tensor_view(tensor)->ndim;
    int32_t dim = 0;
    rapt_box *box;
    rapt_error error;
    int i;

    if (n > ndim)
        rapt_lua_fail(L, "%d indices, but the tensor has %d dimension%s", n, (int)ndim,
                      ndim == 1 ? "" : "s");
    luaL_checkstack(L, 4 * RAPT_MAX_DIMS + 8, "index");
    rapt_lua_push(L, tensor);
    for (i = 1; i <= n; i++) {
        lua_rawgeti(L, key, i);
        if (lua_type(L, -1) == LUA_TTABLE && lua_rawlen(L, -1) == 0) {
            lua_pop(L, 1);
            dim++;
            continue;
        }
        if (lua_type(L, -1) == LUA_TTABLE) {
            narrow_by(L, tensor, dim++);
        } else {
            const int64_t index = rapt_lua_integer(L, -1, "index", "each entry");
            const int64_t place =
                place_of(L, index, rapt_tensor_view(tensor)->shape[dim], (int32_t)i - 1);
            box = rapt_lua_box(L);
            view_of(L, box, rapt_select(context, tensor, dim, place, &error), &error);
        }
        tensor = rapt_lua_test(L, -1);
    }
}

/* --- Methods --------------------------------------------------------------------------------- */

static int l_select(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "select", "argument 1");
    const rapt_view *view = rapt_tensor_view(tensor);
    const int32_t dim = rapt_lua_dim(L, 2, view->ndim, "select", "dim");
    const int64_t index = rapt_lua_integer(L, 3, "select", "index");
    const int64_t place = place_of(L, index, view->shape[dim], dim);
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return view_of(L, box, rapt_select(context, tensor, dim, place, &error), &error);
}

static int l_narrow(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "narrow", "argument 1");
    const rapt_view *view = rapt_tensor_view(tensor);
    const int32_t dim = rapt_lua_dim(L, 2, view->ndim, "narrow", "dim");
    const int64_t given = rapt_lua_integer(L, 3, "narrow", "start");
    const int64_t length = rapt_lua_integer(L, 4, "narrow", "length");
    const int64_t size = view->shape[dim];
    const int64_t start = given > 0 ? given - 1 : given + size;
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box;
    rapt_error error;

    if (given == 0 || start < 0 || length < 0 || start > size || length > size - start)
        return rapt_lua_fail(L,
                             "narrow: start %lld and length %lld do not fit in dimension %d of "
                             "size %lld",
                             (long long)given, (long long)length, (int)dim + 1, (long long)size);
    box = rapt_lua_box(L);
    return view_of(L, box, rapt_narrow(context, tensor, dim, start, length, &error), &error);
}

static int l_transpose(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "transpose", "argument 1");
    const int32_t ndim = rapt_tensor_view(tensor)->ndim;
    const int32_t a = rapt_lua_dim(L, 2, ndim, "transpose", "dim 1");
    const int32_t b = rapt_lua_dim(L, 3, ndim, "transpose", "dim 2");
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return view_of(L, box, rapt_transpose(context, tensor, a, b, &error), &error);
}

static int l_permute(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "permute", "argument 1");
    const int32_t ndim = rapt_tensor_view(tensor)->ndim;
    rapt_context *context = rapt_lua_context(L);
    int32_t order[RAPT_MAX_DIMS];
    unsigned seen = 0;
    rapt_box *box;
    rapt_error error;
    int i;

    if (lua_gettop(L) == 2 && lua_type(L, 2) == LUA_TTABLE) {
        const int n = (int)lua_rawlen(L, 2);
        if (n != ndim)
            return rapt_lua_fail(L, "permute: %d dims given but the tensor has %d", n, (int)ndim);
        for (i = 1; i <= n; i++)
            lua_rawgeti(L, 2, i);
        lua_remove(L, 2);
    }
    if (lua_gettop(L) - 1 != ndim)
        return rapt_lua_fail(L, "permute: %d dims given but the tensor has %d", lua_gettop(L) - 1,
                             (int)ndim);
    for (i = 0; i < ndim; i++) {
        order[i] = rapt_lua_dim(L, i + 2, ndim, "permute", "dim");
        if (seen & (1u << order[i]))
            return rapt_lua_fail(L, "permute: dim %d is given twice", (int)order[i] + 1);
        seen |= 1u << order[i];
    }
    box = rapt_lua_box(L);
    return view_of(L, box, rapt_permute(context, tensor, ndim, order, &error), &error);
}

/* Sizes after the tensor: numbers, one table, or the shape of another tensor. */
static int32_t read_shape(lua_State *L, int64_t *shape, const char *function)
{
    const rapt_tensor *other = lua_gettop(L) == 2 ? rapt_lua_test(L, 2) : NULL;
    int32_t i;

    if (!other)
        return rapt_lua_sizes(L, 2, lua_gettop(L), shape, true, function);
    for (i = 0; i < rapt_tensor_view(other)->ndim; i++)
        shape[i] = rapt_tensor_view(other)->shape[i];
    return i;
}

static int l_view(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "view", "argument 1");
    rapt_context *context = rapt_lua_context(L);
    int64_t shape[RAPT_MAX_DIMS];
    const int32_t ndim = read_shape(L, shape, "view");
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return shaped(L, box, rapt_view_as(context, tensor, ndim, shape, &error), false, &error,
                  "view");
}

static int l_reshape(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "reshape", "argument 1");
    rapt_context *context = rapt_lua_context(L);
    int64_t shape[RAPT_MAX_DIMS];
    const int32_t ndim = read_shape(L, shape, "reshape");
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return shaped(L, box, rapt_reshape(context, tensor, ndim, shape, &error),
                  !rapt_tensor_is_contiguous(tensor), &error, "reshape");
}

static int l_expand(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "expand", "argument 1");
    rapt_context *context = rapt_lua_context(L);
    int64_t shape[RAPT_MAX_DIMS];
    const int32_t ndim = read_shape(L, shape, "expand");
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return shaped(L, box, rapt_expand(context, tensor, ndim, shape, &error), false, &error,
                  "expand");
}

/* A new dimension of size 1 before dimension `dim`, which may be one more than there are. */
static int l_unsqueeze(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "unsqueeze", "argument 1");
    const rapt_view *view = rapt_tensor_view(tensor);
    const int32_t dim = rapt_lua_dim(L, 2, view->ndim + 1, "unsqueeze", "dim");
    rapt_context *context = rapt_lua_context(L);
    int64_t shape[RAPT_MAX_DIMS + 1];
    rapt_box *box;
    rapt_error error;
    int32_t i;

    if (view->ndim == RAPT_MAX_DIMS)
        return rapt_lua_fail(L, "unsqueeze: the tensor has %d dimensions already", RAPT_MAX_DIMS);
    for (i = 0; i <= view->ndim; i++)
        shape[i] = i < dim ? view->shape[i] : i == dim ? 1 : view->shape[i - 1];
    box = rapt_lua_box(L);
    return view_of(L, box, rapt_view_as(context, tensor, view->ndim + 1, shape, &error), &error);
}

/* Without dimension `dim`, or without every dimension, of size 1. */
static int l_squeeze(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "squeeze", "argument 1");
    const rapt_view *view = rapt_tensor_view(tensor);
    const int32_t only =
        lua_isnoneornil(L, 2) ? -1 : rapt_lua_dim(L, 2, view->ndim, "squeeze", "dim");
    rapt_context *context = rapt_lua_context(L);
    int64_t shape[RAPT_MAX_DIMS];
    int32_t i, n = 0;
    rapt_box *box;
    rapt_error error;

    if (only >= 0 && view->shape[only] != 1)
        return rapt_lua_fail(L, "squeeze: dimension %d has size %lld but must have size 1",
                             (int)only + 1, (long long)view->shape[only]);
    for (i = 0; i < view->ndim; i++)
        if (only >= 0 ? i != only : view->shape[i] != 1)
            shape[n++] = view->shape[i];
    box = rapt_lua_box(L);
    return view_of(L, box, rapt_view_as(context, tensor, n, shape, &error), &error);
}

static int l_contiguous(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "contiguous", "argument 1");
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box;
    rapt_error error;

    if (rapt_tensor_is_contiguous(tensor)) {
        lua_settop(L, 1);
        return 1;
    }
    box = rapt_lua_box(L);
    return rapt_lua_fill(L, box, rapt_contiguous(context, tensor, &error), true, &error);
}

static int l_clone(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "clone", "argument 1");
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return rapt_lua_fill(L, box, rapt_clone(context, tensor, &error), true, &error);
}

/* One argument of t:to: a dtype or a device. */
static void read_target(lua_State *L, int index, rapt_dtype *dtype, rapt_device *device)
{
    const char *name = rapt_lua_text(L, index, "to", "each argument");
    rapt_error error;

    if (rapt_dtype_parse(name, dtype, &error) != RAPT_OK &&
        rapt_device_parse(name, device, &error) != RAPT_OK)
        rapt_lua_fail(L,
                      "to: \"%.40s\" is neither a dtype (f32, f16, bf16, f64, i32, i64, u8, "
                      "bool) nor a device (cpu, vulkan:0)",
                      name);
}

static int l_to(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "to", "argument 1");
    const rapt_view *view = rapt_tensor_view(tensor);
    rapt_context *context = rapt_lua_context(L);
    rapt_dtype dtype = rapt_view_dtype(view);
    rapt_device device = view->device;
    rapt_box *box;
    rapt_error error;
    int i;

    if (lua_gettop(L) < 2)
        return rapt_lua_fail(L, "to: a dtype or a device is expected");
    for (i = 2; i <= lua_gettop(L); i++)
        read_target(L, i, &dtype, &device);
    if (dtype == rapt_view_dtype(view) && device.type == view->device.type &&
        device.index == view->device.index) {
        lua_settop(L, 1);
        return 1;
    }
    box = rapt_lua_box(L);
    return rapt_lua_fill(L, box, rapt_to(context, tensor, dtype, device, &error), true, &error);
}

void rapt_lua_view_methods(lua_State *L)
{
    static const luaL_Reg functions[] = {{"select", l_select},
                                         {"narrow", l_narrow},
                                         {"transpose", l_transpose},
                                         {"permute", l_permute},
                                         {"view", l_view},
                                         {"reshape", l_reshape},
                                         {"expand", l_expand},
                                         {"unsqueeze", l_unsqueeze},
                                         {"squeeze", l_squeeze},
                                         {"contiguous", l_contiguous},
                                         {"clone", l_clone},
                                         {"to", l_to},
                                         {NULL, NULL}};

    rapt_lua_register(L, functions);
}
