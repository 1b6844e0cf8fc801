/* rapt.tensor: nested tables to tensors, each element checked and named by its place. */
#include "lua/binding.h"

#include <string.h>

static const char *const function_name = "rapt.tensor";

/* A walk over a nested table. */
typedef struct nested {
    int64_t shape[RAPT_MAX_DIMS];
    int64_t place[RAPT_MAX_DIMS]; /* of the element being looked at, from 1 */
    int32_t ndim;
    rapt_dtype dtype; /* to be stored */
    rapt_dtype asked; /* for messages */
    void *elements;
    int64_t next;
    bool booleans, numbers; /* what was met while scanning */
} nested;

/* "element [2][1]" by the first `depth` steps; the whole is "the value". */
static const char *place_text(const nested *walk, int32_t depth, char *text, size_t size)
{
    size_t used;
    int32_t i;

    rapt_lua_format(text, size, depth ? "element " : "the value");
    used = strlen(text);
    for (i = 0; i < depth && used + 24 < size; i++) {
        rapt_lua_format(text + used, size - used, "[%lld]", (long long)walk->place[i]);
        used += strlen(text + used);
    }
    return text;
}

/* Takes the shape from the first element at each depth. */
static void find_shape(lua_State *L, int index, nested *walk)
{
    lua_pushvalue(L, index);
    for (walk->ndim = 0; lua_type(L, -1) == LUA_TTABLE; walk->ndim++) {
        if (walk->ndim == RAPT_MAX_DIMS)
            rapt_lua_fail(L, "rapt.tensor: tables are nested deeper than %d", RAPT_MAX_DIMS);
        walk->shape[walk->ndim] = (int64_t)lua_rawlen(L, -1);
        lua_rawgeti(L, -1, 1);
        if (walk->shape[walk->ndim] == 0) {
            walk->ndim++;
            break;
        }
        lua_remove(L, -2);
    }
    lua_settop(L, index);
}

static void check_leaf(lua_State *L, nested *walk, int32_t depth)
{
    char place[256];
    const int type = lua_type(L, -1);

    place_text(walk, depth, place, sizeof place);
    if (type == LUA_TTABLE)
        rapt_lua_fail(L, "rapt.tensor: %s is a table but a number was expected, as before", place);
    if (type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        rapt_lua_fail(L, "rapt.tensor: %s must be a number or a boolean, got %s", place,
                      rapt_lua_kind(L, -1));
    walk->booleans |= type == LUA_TBOOLEAN;
    walk->numbers |= type == LUA_TNUMBER;
}

/* Checks the table at the top of the stack against the shape. */
static void check_level(lua_State *L, nested *walk, int32_t depth)
{
    char place[256];
    int64_t i, n;

    if (depth == walk->ndim) {
        check_leaf(L, walk, depth);
        return;
    }
    place_text(walk, depth, place, sizeof place);
    if (lua_type(L, -1) != LUA_TTABLE)
        rapt_lua_fail(L, "rapt.tensor: %s is %s but a table of %lld was expected, as before", place,
                      rapt_lua_kind(L, -1), (long long)walk->shape[depth]);
    n = (int64_t)lua_rawlen(L, -1);
    if (n != walk->shape[depth])
        rapt_lua_fail(L, "rapt.tensor: %s has %lld element%s but %lld were expected, as before",
                      place, (long long)n, n == 1 ? "" : "s", (long long)walk->shape[depth]);
    luaL_checkstack(L, 4, function_name);
    for (i = 1; i <= n; i++) {
        walk->place[depth] = i;
        lua_rawgeti(L, -1, i);
        check_level(L, walk, depth + 1);
        lua_pop(L, 1);
    }
}

static void store_level(lua_State *L, nested *walk, int32_t depth)
{
    int64_t i;

    if (depth == walk->ndim) {
        const char *wrong = rapt_lua_store(L, -1, walk->dtype, walk->elements, walk->next++);
        if (wrong) {
            char place[256];
            rapt_lua_fail(L, "rapt.tensor: %s is %.17g but %s for dtype %s",
                          place_text(walk, depth, place, sizeof place), lua_tonumber(L, -1), wrong,
                          rapt_dtype_name(walk->asked));
        }
        return;
    }
    for (i = 1; i <= walk->shape[depth]; i++) {
        walk->place[depth] = i;
        lua_rawgeti(L, -1, i);
        store_level(L, walk, depth + 1);
        lua_pop(L, 1);
    }
}

static int copy_of(lua_State *L, rapt_tensor *tensor, rapt_lua_options *options)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_box *plain = rapt_lua_box(L), *box;
    rapt_error error;

    if (!options->has_dtype)
        options->dtype = rapt_view_dtype(rapt_tensor_view(tensor));
    rapt_lua_fill(L, plain, rapt_detach(tensor, &error), false, &error);
    box = rapt_lua_box(L);
    rapt_lua_fill(L, box, rapt_clone(context, plain->tensor, &error), true, &error);
    return rapt_lua_finish(L, box, options);
}

int rapt_lua_from_table(lua_State *L)
{
    rapt_lua_options options;
    nested walk = {.next = 0};
    rapt_box *box;
    const int top = lua_gettop(L);

    if (top < 1 || top > 2)
        return rapt_lua_fail(L, "rapt.tensor: give a nested table, and options; got %d arguments",
                             top);
    if (top == 2 && (lua_type(L, 2) != LUA_TTABLE || lua_rawlen(L, 2) > 0))
        return rapt_lua_fail(L, "rapt.tensor: options must be a table of names, got %s",
                             rapt_lua_kind(L, 2));
    if (top == 1)
        lua_newtable(L);
    rapt_lua_read_options(L, RAPT_F32, &options, function_name);
    lua_settop(L, 1);
    if (rapt_lua_test(L, 1))
        return copy_of(L, rapt_lua_test(L, 1), &options);
    find_shape(L, 1, &walk);
    check_level(L, &walk, 0);
    if (walk.booleans && walk.numbers)
        return rapt_lua_fail(L, "rapt.tensor: numbers and booleans are mixed");
    if (walk.booleans && !options.has_dtype)
        options.dtype = RAPT_BOOL;
    walk.asked = options.dtype;
    walk.dtype = rapt_lua_wide(options.dtype);
    box = rapt_lua_new(L, walk.dtype, (rapt_device){RAPT_DEVICE_CPU, 0}, walk.ndim, walk.shape,
                       function_name);
    walk.elements = rapt_view_data(rapt_tensor_view(box->tensor));
    lua_pushvalue(L, 1);
    store_level(L, &walk, 0);
    lua_pop(L, 1);
    return rapt_lua_finish(L, box, &options);
}
