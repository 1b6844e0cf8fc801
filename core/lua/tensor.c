/* The tensor as a Lua value: fields, indexing, length, identity; gradients and writing in place. */
#include "lua/binding.h"

#include <string.h>

/* --- Fields ---------------------------------------------------------------------------------- */

/* What a string key means stands in one table: a function is a method, an integer one of these. */
enum {
    FIELD_SHAPE = 1,
    FIELD_DTYPE,
    FIELD_DEVICE,
    FIELD_GRAD,
    FIELD_NDIM,
    FIELD_REQUIRES_GRAD,
    FIELD_IS_LEAF,
    FIELD_STRIDES,
    FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_SHAPE] = "shape",     [FIELD_DTYPE] = "dtype",
    [FIELD_DEVICE] = "device",   [FIELD_GRAD] = "grad",
    [FIELD_NDIM] = "ndim",       [FIELD_REQUIRES_GRAD] = "requires_grad",
    [FIELD_IS_LEAF] = "is_leaf", [FIELD_STRIDES] = "strides"};

static void push_sizes(lua_State *L, const int64_t *sizes, int32_t n)
{
    int32_t i;

    lua_createtable(L, n, 0);
    for (i = 0; i < n; i++) {
        lua_pushinteger(L, sizes[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static int push_field(lua_State *L, rapt_tensor *tensor, lua_Integer field)
{
    const rapt_view *view = rapt_tensor_view(tensor);
    char name[32];

    switch (field) {
    case FIELD_SHAPE:
        push_sizes(L, view->shape, view->ndim);
        break;
    case FIELD_STRIDES:
        push_sizes(L, view->strides, view->ndim);
        break;
    case FIELD_DTYPE:
        lua_pushstring(L, rapt_dtype_name(rapt_view_dtype(view)));
        break;
    case FIELD_DEVICE:
        rapt_device_name(view->device, name);
        lua_pushstring(L, name);
        break;
    case FIELD_GRAD:
        if (rapt_grad(tensor))
            rapt_lua_push(L, rapt_grad(tensor));
        else
            lua_pushnil(L);
        break;
    case FIELD_NDIM:
        lua_pushinteger(L, view->ndim);
        break;
    case FIELD_REQUIRES_GRAD:
        lua_pushboolean(L, rapt_requires_grad(tensor));
        break;
    default:
        lua_pushboolean(L, rapt_is_leaf(tensor));
        break;
    }
    return 1;
}

/* Upvalue 2: the table of methods and fields. */
static int l_index(lua_State *L)
{
    rapt_tensor *tensor;

    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_settop(L, 2);
        if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNUMBER)
            return 1;
        tensor = rapt_lua_tensor(L, 1, "rapt", "the indexed value");
        return push_field(L, tensor, lua_tointeger(L, 2));
    }
    tensor = rapt_lua_tensor(L, 1, "rapt", "the indexed value");
    if (lua_type(L, 2) == LUA_TNUMBER)
        return rapt_lua_select(L, tensor, 2);
    if (lua_type(L, 2) == LUA_TTABLE) {
        rapt_lua_select_all(L, tensor, 2);
        return 1;
    }
    return rapt_lua_fail(L, "a tensor is indexed with an integer, a table or a name, got %s",
                         rapt_lua_kind(L, 2));
}

/* Writes a number, boolean or tensor into all of `target`. */
static void write_value(lua_State *L, rapt_tensor *target, int index, const char *function)
{
    const rapt_view *view = rapt_tensor_view(target);
    const rapt_dtype dtype = rapt_view_dtype(view), wide = rapt_lua_wide(dtype);
    rapt_context *context = rapt_lua_context(L);
    rapt_tensor *source = rapt_lua_test(L, index);
    int64_t element = 0;
    rapt_error error;

    if (!source) {
        const char *wrong;
        rapt_box *box;
        if (!lua_isboolean(L, index))
            rapt_lua_number(L, index, function, "value");
        wrong = rapt_lua_store(L, index, wide, &element, 0);
        if (wrong)
            rapt_lua_fail(L, "%s: value %s for dtype %s", function, wrong, rapt_dtype_name(dtype));
        box = rapt_lua_box(L);
        rapt_lua_fill(L, box, rapt_tensor_from(context, wide, 0, NULL, &element, &error), true,
                      &error);
        if (view->device.type != RAPT_DEVICE_CPU) {
            const rapt_lua_options there = {.dtype = dtype, .device = view->device};
            rapt_lua_finish(L, box, &there);
            box = lua_touserdata(L, -1);
        }
        source = box->tensor;
    }
    if (rapt_copy_into(context, target, source, &error) != RAPT_OK)
        rapt_lua_raise(L, &error);
}

static int set_field(lua_State *L, rapt_tensor *tensor, const char *name)
{
    rapt_error error;

    if (strcmp(name, "grad") == 0 && lua_isnil(L, 3)) {
        rapt_clear_grad(tensor);
    } else if (strcmp(name, "requires_grad") == 0 && lua_isboolean(L, 3)) {
        if (rapt_set_requires_grad(tensor, lua_toboolean(L, 3), &error) != RAPT_OK)
            return rapt_lua_raise(L, &error);
    } else {
        return rapt_lua_fail(L, "the field %.40s of a tensor cannot be set to %s", name,
                             rapt_lua_kind(L, 3));
    }
    return 0;
}

/* Pushes the tensor outside any graph, so that a view of it may be written. */
static rapt_tensor *push_writable(lua_State *L, rapt_tensor *tensor)
{
    rapt_context *context = rapt_lua_context(L);
    const bool recording = rapt_set_recording(context, false);
    rapt_box *box;
    rapt_error error;

    rapt_set_recording(context, recording);
    if (!rapt_is_leaf(tensor))
        rapt_lua_fail(L,
                      "t[...] = value: the tensor is the result of a recorded call and cannot be "
                      "written in place; detach it first");
    if (recording && rapt_requires_grad(tensor))
        rapt_lua_fail(L, "t[...] = value: the tensor requires its gradient: write it in place with "
                         "recording off (no_grad)");
    box = rapt_lua_box(L);
    rapt_lua_fill(L, box, rapt_detach(tensor, &error), false, &error);
    return box->tensor;
}

/* t[1] = 0, t[{1, 2}] = other: writes in place. */
static int l_newindex(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "rapt", "the indexed value");

    lua_settop(L, 3);
    if (lua_type(L, 2) == LUA_TSTRING)
        return set_field(L, tensor, lua_tostring(L, 2));
    tensor = push_writable(L, tensor);
    if (lua_type(L, 2) == LUA_TNUMBER)
        rapt_lua_select(L, tensor, 2);
    else if (lua_type(L, 2) == LUA_TTABLE)
        rapt_lua_select_all(L, tensor, 2);
    else
        return rapt_lua_fail(L, "a tensor is indexed with an integer, a table or a name, got %s",
                             rapt_lua_kind(L, 2));
    write_value(L, rapt_lua_test(L, -1), 3, "t[...] = value");
    return 0;
}

static int l_len(lua_State *L)
{
    const rapt_view *view = rapt_tensor_view(rapt_lua_tensor(L, 1, "#", "the value"));

    if (view->ndim == 0)
        return rapt_lua_fail(L, "#: the tensor has no dimensions");
    lua_pushinteger(L, view->shape[0]);
    return 1;
}

static int l_eq(lua_State *L)
{
    const rapt_tensor *a = rapt_lua_test(L, 1), *b = rapt_lua_test(L, 2);

    lua_pushboolean(L, a && a == b);
    return 1;
}

/* --- Sizes ----------------------------------------------------------------------------------- */

static int l_size(lua_State *L)
{
    const rapt_view *view = rapt_tensor_view(rapt_lua_tensor(L, 1, "size", "argument 1"));

    if (lua_isnoneornil(L, 2))
        return push_field(L, rapt_lua_test(L, 1), FIELD_SHAPE);
    lua_pushinteger(L, view->shape[rapt_lua_dim(L, 2, view->ndim, "size", "dim")]);
    return 1;
}

static int l_numel(lua_State *L)
{
    lua_pushinteger(L, rapt_tensor_count(rapt_lua_tensor(L, 1, "numel", "argument 1")));
    return 1;
}

static int l_is_contiguous(lua_State *L)
{
    lua_pushboolean(
        L, rapt_tensor_is_contiguous(rapt_lua_tensor(L, 1, "is_contiguous", "argument 1")));
    return 1;
}

/* --- Gradients ------------------------------------------------------------------------------- */

static int l_requires_grad(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "requires_grad_", "argument 1");
    const bool on = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
    rapt_error error;

    if (rapt_set_requires_grad(tensor, on, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    lua_settop(L, 1);
    return 1;
}

static bool read_retain(lua_State *L, int index)
{
    bool retain = false;

    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "retain_graph") != 0)
            rapt_lua_fail(L, "backward: the only option is retain_graph");
        retain = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    return retain;
}

/* y:backward([dy] [, {retain_graph = true}]) */
static int l_backward(lua_State *L)
{
    rapt_tensor *output = rapt_lua_tensor(L, 1, "backward", "argument 1");
    rapt_context *context = rapt_lua_context(L);
    rapt_tensor *seed = NULL;
    bool retain = false;
    rapt_error error;
    int options = 2;

    if (lua_type(L, 2) != LUA_TTABLE) {
        if (!lua_isnoneornil(L, 2))
            seed = rapt_lua_tensor(L, 2, "backward", "dy");
        options = 3;
    }
    if (lua_type(L, options) == LUA_TTABLE)
        retain = read_retain(L, options);
    else if (!lua_isnoneornil(L, options))
        return rapt_lua_fail(L, "backward: options must be a table, got %s",
                             rapt_lua_kind(L, options));
    if (rapt_backward(context, output, seed, retain, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    return 0;
}

static int l_zero_grad(lua_State *L)
{
    rapt_clear_grad(rapt_lua_tensor(L, 1, "zero_grad", "argument 1"));
    lua_settop(L, 1);
    return 1;
}

static int l_detach(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "detach", "argument 1");
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return rapt_lua_fill(L, box, rapt_detach(tensor, &error), false, &error);
}

/* --- Writing in place ------------------------------------------------------------------------ */

static int l_copy(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "copy_", "argument 1");

    rapt_lua_tensor(L, 2, "copy_", "source");
    write_value(L, tensor, 2, "copy_");
    lua_settop(L, 1);
    return 1;
}

static int l_fill(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "fill_", "argument 1");

    if (lua_type(L, 2) == LUA_TUSERDATA)
        return rapt_lua_fail(L, "fill_: value must be a number, got %s", rapt_lua_kind(L, 2));
    write_value(L, tensor, 2, "fill_");
    lua_settop(L, 1);
    return 1;
}

static int l_close(lua_State *L)
{
    rapt_lua_tensor(L, 1, "close", "argument 1");
    return rapt_lua_tensor_gc(L);
}

/* --- Tables ---------------------------------------------------------------------------------- */

void rapt_lua_tensor_methods(lua_State *L)
{
    static const luaL_Reg functions[] = {{"size", l_size},
                                         {"numel", l_numel},
                                         {"is_contiguous", l_is_contiguous},
                                         {"requires_grad_", l_requires_grad},
                                         {"backward", l_backward},
                                         {"zero_grad", l_zero_grad},
                                         {"detach", l_detach},
                                         {"copy_", l_copy},
                                         {"fill_", l_fill},
                                         {"close", l_close},
                                         {NULL, NULL}};
    int i;

    rapt_lua_register(L, functions);
    for (i = 1; i < FIELD_COUNT; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, field_names[i]);
    }
}

void rapt_lua_tensor_table(lua_State *L, int methods)
{
    static const luaL_Reg functions[] = {{"__newindex", l_newindex},
                                         {"__len", l_len},
                                         {"__eq", l_eq},
                                         {"__tostring", rapt_lua_tensor_print},
                                         {"__gc", rapt_lua_tensor_gc},
                                         {"__close", rapt_lua_tensor_gc},
                                         {NULL, NULL}};

    rapt_lua_register(L, functions);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, methods);
    lua_pushcclosure(L, l_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, RAPT_LUA_TENSOR);
    lua_setfield(L, -2, "__name");
}
