/* Elements of tensors as Lua values: item, totable, tobytes. */
#include "lua/binding.h"

static const rapt_device cpu = {RAPT_DEVICE_CPU, 0};

rapt_tensor *rapt_lua_readable(lua_State *L, rapt_tensor *tensor)
{
    const rapt_view *view = rapt_tensor_view(tensor);
    const rapt_dtype dtype = rapt_view_dtype(view), wide = rapt_lua_wide(dtype);
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box = rapt_lua_box(L);
    rapt_tensor *plain, *copy;
    rapt_error error;

    if (dtype == wide && view->device.type == RAPT_DEVICE_CPU) {
        box->tensor = rapt_tensor_retain(tensor);
        return tensor;
    }
    plain = rapt_detach(tensor, &error);
    if (!plain)
        rapt_lua_raise(L, &error);
    copy = rapt_to(context, plain, wide, cpu, &error);
    rapt_tensor_release(plain);
    rapt_lua_fill(L, box, copy, true, &error);
    return copy;
}

double rapt_lua_element(const void *element, rapt_dtype dtype)
{
    switch (dtype) {
    case RAPT_F32:
        return *(const float *)element;
    case RAPT_F64:
        return *(const double *)element;
    case RAPT_I32:
        return *(const int32_t *)element;
    case RAPT_I64:
        return (double)*(const int64_t *)element;
    default:
        return *(const uint8_t *)element;
    }
}

void rapt_lua_push_element(lua_State *L, const void *element, rapt_dtype dtype)
{
    switch (dtype) {
    case RAPT_F32:
    case RAPT_F64:
        lua_pushnumber(L, rapt_lua_element(element, dtype));
        break;
    case RAPT_I64:
        lua_pushinteger(L, *(const int64_t *)element);
        break;
    case RAPT_BOOL:
        lua_pushboolean(L, *(const uint8_t *)element);
        break;
    default:
        lua_pushinteger(L, (lua_Integer)rapt_lua_element(element, dtype));
        break;
    }
}

static int l_item(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "item", "argument 1");
    const rapt_view *view = rapt_tensor_view(tensor);
    const int64_t n = rapt_tensor_count(tensor);
    char text[RAPT_LUA_SHAPE_TEXT];

    if (n != 1)
        return rapt_lua_fail(L, "item: the tensor %s has %lld elements but must have one",
                             rapt_lua_shape_text(view, text), (long long)n);
    tensor = rapt_lua_readable(L, tensor);
    view = rapt_tensor_view(tensor);
    rapt_lua_push_element(L, rapt_view_data(view), rapt_view_dtype(view));
    return 1;
}

static void push_nested(lua_State *L, const rapt_view *view, int32_t dim, const char *data)
{
    const rapt_dtype dtype = rapt_view_dtype(view);
    int64_t i, n, step;

    if (dim == view->ndim) {
        rapt_lua_push_element(L, data, dtype);
        return;
    }
    n = view->shape[dim];
    step = view->strides[dim] * (int64_t)rapt_dtype_size(dtype);
    luaL_checkstack(L, 3, "totable");
    lua_createtable(L, n < 1 << 24 ? (int)n : 0, 0);
    for (i = 0; i < n; i++) {
        push_nested(L, view, dim + 1, data + i * step);
        lua_rawseti(L, -2, i + 1);
    }
}

static int l_totable(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_readable(L, rapt_lua_tensor(L, 1, "totable", "argument 1"));
    const rapt_view *view = rapt_tensor_view(tensor);

    push_nested(L, view, 0, rapt_view_data(view));
    return 1;
}

/* All elements in row-major order, in the tensor's own dtype, as a string. */
static int l_tobytes(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "tobytes", "argument 1");
    const size_t bytes = (size_t)rapt_tensor_count(tensor) *
                         rapt_dtype_size(rapt_view_dtype(rapt_tensor_view(tensor)));
    rapt_context *context = rapt_lua_context(L);
    luaL_Buffer buffer;
    rapt_error error;
    void *target = luaL_buffinitsize(L, &buffer, bytes ? bytes : 1);

    if (rapt_read(context, tensor, target, bytes, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    luaL_pushresultsize(&buffer, bytes);
    return 1;
}

void rapt_lua_element_methods(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"item", l_item}, {"totable", l_totable}, {"tobytes", l_tobytes}, {NULL, NULL}};

    rapt_lua_register(L, functions);
}
