/* rapt.load, rapt.save, rapt.metadata: safetensors and npy. */
#include "lua/binding.h"

#include <stdlib.h>
#include <string.h>

enum format { SAFETENSORS, NPY };

static enum format format_of(lua_State *L, const char *path, const char *function)
{
    const size_t n = strlen(path);

    if (n >= 12 && strcmp(path + n - 12, ".safetensors") == 0)
        return SAFETENSORS;
    if (n >= 4 && strcmp(path + n - 4, ".npy") == 0)
        return NPY;
    rapt_lua_fail(L, "%s: %.200s must end in .safetensors or .npy", function, path);
    return SAFETENSORS;
}

/* --- Loading --------------------------------------------------------------------------------- */

static int load_npy(lua_State *L, const char *path)
{
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    return rapt_lua_fill(L, box, rapt_load_npy(path, &error), true, &error);
}

/* A file that is open, kept by a userdata until its entries have been taken. */
static int file_gc(lua_State *L)
{
    rapt_file **file = lua_touserdata(L, 1);

    rapt_file_free(*file);
    *file = NULL;
    return 0;
}

static rapt_file **push_file(lua_State *L, const char *path)
{
    rapt_file **file = lua_newuserdatauv(L, sizeof(rapt_file *), 0);
    rapt_error error;

    *file = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, file_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *file = rapt_load_safetensors(path, &error);
    if (!*file)
        rapt_lua_raise(L, &error);
    return file;
}

static void close_file(rapt_file **file)
{
    rapt_file_free(*file);
    *file = NULL;
}

static int l_load(lua_State *L)
{
    const char *path = rapt_lua_text(L, 1, "rapt.load", "path");
    rapt_file **file;
    size_t i;

    if (format_of(L, path, "rapt.load") == NPY)
        return load_npy(L, path);
    file = push_file(L, path);
    lua_createtable(L, 0, (int)(*file)->n_tensors);
    for (i = 0; i < (*file)->n_tensors; i++) {
        rapt_lua_push(L, (*file)->tensors[i].tensor);
        lua_setfield(L, -2, (*file)->tensors[i].name);
    }
    close_file(file);
    return 1;
}

static int l_metadata(lua_State *L)
{
    const char *path = rapt_lua_text(L, 1, "rapt.metadata", "path");
    rapt_file **file;
    size_t i;

    if (format_of(L, path, "rapt.metadata") == NPY)
        return rapt_lua_fail(L, "rapt.metadata: %.200s is an .npy file, which has none", path);
    file = push_file(L, path);
    lua_createtable(L, 0, (int)(*file)->n_metadata);
    for (i = 0; i < (*file)->n_metadata; i++) {
        lua_pushstring(L, (*file)->metadata[i].text);
        lua_setfield(L, -2, (*file)->metadata[i].name);
    }
    close_file(file);
    return 1;
}

/* --- Saving ---------------------------------------------------------------------------------- */

/* Pushes a box with the tensor on the CPU, outside any graph and without gaps. */
static rapt_tensor *plain(lua_State *L, rapt_tensor *tensor)
{
    const rapt_dtype dtype = rapt_view_dtype(rapt_tensor_view(tensor));
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box = rapt_lua_box(L);
    rapt_tensor *next;
    rapt_error error;

    rapt_lua_fill(L, box, rapt_detach(tensor, &error), false, &error);
    next = rapt_to(context, box->tensor, dtype, (rapt_device){RAPT_DEVICE_CPU, 0}, &error);
    if (!next)
        rapt_lua_raise(L, &error);
    rapt_tensor_release(box->tensor);
    box->tensor = next;
    next = rapt_contiguous(context, box->tensor, &error);
    if (!next)
        rapt_lua_raise(L, &error);
    rapt_tensor_release(box->tensor);
    box->tensor = next;
    return next;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Number of entries of the table at `index`; all keys must be strings. */
static size_t count_entries(lua_State *L, int index, const char *what)
{
    size_t n = 0;

    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            rapt_lua_fail(L, "rapt.save: %s must be given by name, got a key that is %s", what,
                          rapt_lua_kind(L, -2));
        if (strlen(lua_tostring(L, -2)) != lua_rawlen(L, -2))
            rapt_lua_fail(L, "rapt.save: a name of %s holds a zero byte", what);
        lua_pop(L, 1);
        n++;
    }
    return n;
}

/* Names and tensors, sorted so that equal contents give equal files. The arrays are userdata on the
 * stack; the tensors are kept by the table that is pushed. */
static rapt_named_tensor *read_tensors(lua_State *L, int index, size_t n)
{
    rapt_named_tensor *list = lua_newuserdatauv(L, (n ? n : 1) * sizeof *list, 0);
    int kept;
    size_t i = 0;

    lua_createtable(L, (int)n, 0);
    kept = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_tostring(L, -2);
        if (!rapt_lua_test(L, -1))
            rapt_lua_fail(L, "rapt.save: %.100s must be a tensor, got %s", name,
                          rapt_lua_kind(L, -1));
        list[i].name = name;
        list[i].tensor = plain(L, rapt_lua_test(L, -1));
        lua_rawseti(L, kept, (lua_Integer)++i);
        lua_pop(L, 1);
    }
    qsort(list, n, sizeof *list, by_name);
    return list;
}

static rapt_named_text *read_texts(lua_State *L, int index, size_t n)
{
    rapt_named_text *list = lua_newuserdatauv(L, (n ? n : 1) * sizeof *list, 0);
    int kept;
    size_t i = 0;

    lua_createtable(L, (int)n, 0);
    kept = lua_gettop(L);
    lua_pushnil(L);
    while (n && lua_next(L, index)) {
        const char *name = lua_tostring(L, -2);
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER &&
            lua_type(L, -1) != LUA_TBOOLEAN)
            rapt_lua_fail(L, "rapt.save: metadata %.100s must be a string, got %s", name,
                          rapt_lua_kind(L, -1));
        list[i].name = name;
        list[i].text = luaL_tolstring(L, -1, NULL);
        if (strlen(list[i].text) != lua_rawlen(L, -1))
            rapt_lua_fail(L, "rapt.save: metadata %.100s holds a zero byte", name);
        lua_rawseti(L, kept, (lua_Integer)++i);
        lua_pop(L, 1);
    }
    qsort(list, n, sizeof *list, by_name);
    return list;
}

static int save_npy(lua_State *L, const char *path)
{
    rapt_error error;

    if (!lua_isnoneornil(L, 3))
        return rapt_lua_fail(L, "rapt.save: an .npy file has no metadata");
    if (!rapt_lua_test(L, 2))
        return rapt_lua_fail(L, "rapt.save: an .npy file holds one tensor, got %s",
                             rapt_lua_kind(L, 2));
    if (rapt_save_npy(path, plain(L, rapt_lua_test(L, 2)), &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    return 0;
}

/* rapt.save(path, {name = tensor} [, {name = text}]), rapt.save("x.npy", tensor) */
static int l_save(lua_State *L)
{
    const char *path = rapt_lua_text(L, 1, "rapt.save", "path");
    rapt_named_tensor *tensors;
    rapt_named_text *texts;
    size_t n_tensors, n_texts = 0;
    rapt_error error;

    lua_settop(L, 3);
    if (format_of(L, path, "rapt.save") == NPY)
        return save_npy(L, path);
    if (lua_type(L, 2) != LUA_TTABLE)
        return rapt_lua_fail(L, "rapt.save: a table of tensors by name is expected, got %s",
                             rapt_lua_kind(L, 2));
    if (!lua_isnil(L, 3) && lua_type(L, 3) != LUA_TTABLE)
        return rapt_lua_fail(L, "rapt.save: metadata must be a table of strings, got %s",
                             rapt_lua_kind(L, 3));
    n_tensors = count_entries(L, 2, "tensors");
    if (!lua_isnil(L, 3))
        n_texts = count_entries(L, 3, "metadata");
    tensors = read_tensors(L, 2, n_tensors);
    texts = read_texts(L, 3, n_texts);
    if (rapt_save_safetensors(path, tensors, n_tensors, texts, n_texts, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    return 0;
}

void rapt_lua_open_files(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"load", l_load}, {"save", l_save}, {"metadata", l_metadata}, {NULL, NULL}};

    rapt_lua_register(L, functions);
}
