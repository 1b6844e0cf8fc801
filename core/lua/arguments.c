/* Arguments of functions, checked: every error names the function, the argument and what came. */
#include "lua/binding.h"

#include <string.h>

rapt_context *rapt_lua_context(lua_State *L)
{
    rapt_context *context = rapt_lua_self(L)->context;

    if (!context)
        rapt_lua_fail(L, "rapt: the interpreter is closing");
    return context;
}

/* The value in an error: short, and on one line. */
static const char *shown(lua_State *L, int index, char *text, size_t size)
{
    if (lua_type(L, index) == LUA_TSTRING)
        rapt_lua_format(text, size, "\"%.40s\"", lua_tostring(L, index));
    else if (lua_type(L, index) == LUA_TNUMBER)
        rapt_lua_format(text, size, LUA_NUMBER_FMT, lua_tonumber(L, index));
    else
        rapt_lua_format(text, size, "%s", rapt_lua_kind(L, index));
    return text;
}

int64_t rapt_lua_integer(lua_State *L, int index, const char *function, const char *argument)
{
    char text[64];
    int is = 0;
    const lua_Integer value = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is) : 0;

    if (!is)
        rapt_lua_fail(L, "%s: %s must be an integer, got %s", function, argument,
                      shown(L, index, text, sizeof text));
    return value;
}

double rapt_lua_number(lua_State *L, int index, const char *function, const char *argument)
{
    char text[64];

    if (lua_type(L, index) != LUA_TNUMBER)
        rapt_lua_fail(L, "%s: %s must be a number, got %s", function, argument,
                      shown(L, index, text, sizeof text));
    return lua_tonumber(L, index);
}

const char *rapt_lua_text(lua_State *L, int index, const char *function, const char *argument)
{
    char text[64];

    if (lua_type(L, index) != LUA_TSTRING)
        rapt_lua_fail(L, "%s: %s must be a string, got %s", function, argument,
                      shown(L, index, text, sizeof text));
    return lua_tostring(L, index);
}

int32_t rapt_lua_dim(lua_State *L, int index, int32_t ndim, const char *function,
                     const char *argument)
{
    const int64_t dim = rapt_lua_integer(L, index, function, argument);

    if (ndim == 0)
        rapt_lua_fail(L, "%s: %s is %lld but the tensor has no dimensions", function, argument,
                      (long long)dim);
    if (dim == 0 || dim > ndim || dim < -(int64_t)ndim)
        rapt_lua_fail(L,
                      "%s: %s is %lld but the tensor has %d dimension%s: give 1 to %d, or -%d to "
                      "-1 from the end",
                      function, argument, (long long)dim, (int)ndim, ndim == 1 ? "" : "s",
                      (int)ndim, (int)ndim);
    return (int32_t)(dim > 0 ? dim - 1 : dim + ndim);
}

static int64_t check_size(lua_State *L, int index, int i, bool free_size, const char *function)
{
    char argument[32];
    int64_t size;

    rapt_lua_format(argument, sizeof argument, "size %d", i);
    size = rapt_lua_integer(L, index, function, argument);
    if (size < (free_size ? -1 : 0))
        rapt_lua_fail(L, "%s: size %d is %lld but must not be negative%s", function, i,
                      (long long)size, free_size ? " (only -1 stands for a free size)" : "");
    return size;
}

int32_t rapt_lua_sizes(lua_State *L, int first, int last, int64_t *sizes, bool free_size,
                       const char *function)
{
    const bool table = first == last && lua_type(L, first) == LUA_TTABLE;
    const lua_Integer n = table ? (lua_Integer)lua_rawlen(L, first) : last - first + 1;
    int i;

    if (n > RAPT_MAX_DIMS)
        rapt_lua_fail(L, "%s: %lld sizes, but a tensor has at most %d dimensions", function,
                      (long long)n, RAPT_MAX_DIMS);
    for (i = 0; i < n; i++) {
        if (table)
            lua_rawgeti(L, first, i + 1);
        else
            lua_pushvalue(L, first + i);
        sizes[i] = check_size(L, -1, i + 1, free_size, function);
        lua_pop(L, 1);
    }
    return (int32_t)n;
}

rapt_dtype rapt_lua_dtype(lua_State *L, int index, const char *function)
{
    const char *name = rapt_lua_text(L, index, function, "dtype");
    rapt_error error;
    rapt_dtype dtype;

    if (rapt_dtype_parse(name, &dtype, &error) != RAPT_OK)
        rapt_lua_fail(L, "%s: \"%.40s\" is not a dtype (f32, f16, bf16, f64, i32, i64, u8 or bool)",
                      function, name);
    return dtype;
}

rapt_device rapt_lua_device(lua_State *L, int index, const char *function)
{
    const char *name = rapt_lua_text(L, index, function, "device");
    rapt_error error;
    rapt_device device;

    if (rapt_device_parse(name, &device, &error) != RAPT_OK)
        rapt_lua_fail(L, "%s: %s", function, error.message);
    return device;
}

static void read_option(lua_State *L, const char *key, rapt_lua_options *options,
                        const char *function)
{
    if (strcmp(key, "dtype") == 0) {
        options->dtype = rapt_lua_dtype(L, -1, function);
        options->has_dtype = true;
    } else if (strcmp(key, "device") == 0) {
        options->device = rapt_lua_device(L, -1, function);
    } else if (strcmp(key, "requires_grad") == 0) {
        if (lua_type(L, -1) != LUA_TBOOLEAN)
            rapt_lua_fail(L, "%s: requires_grad must be a boolean, got %s", function,
                          rapt_lua_kind(L, -1));
        options->requires_grad = lua_toboolean(L, -1);
    } else {
        rapt_lua_fail(L, "%s: unknown option %.40s (there are dtype, device and requires_grad)",
                      function, key);
    }
}

int rapt_lua_read_options(lua_State *L, rapt_dtype dtype, rapt_lua_options *options,
                          const char *function)
{
    const int top = lua_gettop(L);
    bool any = false;

    options->dtype = dtype;
    options->device = (rapt_device){RAPT_DEVICE_CPU, 0};
    options->has_dtype = options->requires_grad = false;
    if (top == 0 || lua_type(L, top) != LUA_TTABLE || lua_rawlen(L, top) > 0)
        return top;
    lua_pushnil(L);
    while (lua_next(L, top)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            rapt_lua_fail(L, "%s: options must have names, got a key that is %s", function,
                          rapt_lua_kind(L, -2));
        read_option(L, lua_tostring(L, -2), options, function);
        any = true;
        lua_pop(L, 1);
    }
    /* The empty table is a list of no sizes where nothing else was given. */
    return any || top > 1 ? top - 1 : top;
}
