/* luaopen_rapt_core: the context of this interpreter, and all tables of functions. */
#include "lua/binding.h"

#include <string.h>

void rapt_lua_register(lua_State *L, const luaL_Reg *functions)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    luaL_setfuncs(L, functions, 1);
}

static int l_gc(lua_State *L)
{
    rapt_lua *self = lua_touserdata(L, 1);

    rapt_close(self->context);
    self->context = NULL;
    return 0;
}

/* set_library(folder): chunk names that begin so are passed over when an error is placed. */
static int l_set_library(lua_State *L)
{
    rapt_lua *self = rapt_lua_self(L);
    const char *folder = rapt_lua_text(L, 1, "set_library", "folder");

    if (strlen(folder) < sizeof self->library)
        strcpy(self->library, folder);
    return 0;
}

/* raise(text): an error of the Lua library, placed in the user's program. */
static int l_raise(lua_State *L)
{
    return rapt_lua_fail(L, "%s", rapt_lua_text(L, 1, "raise", "text"));
}

static int l_is_tensor(lua_State *L)
{
    lua_pushboolean(L, rapt_lua_test(L, 1) != NULL);
    return 1;
}

static void open_tensor(lua_State *L, rapt_lua *self)
{
    const int module = lua_gettop(L);

    lua_newtable(L);
    self->tensor_table = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, self);
    lua_newtable(L);
    rapt_lua_tensor_methods(L);
    rapt_lua_element_methods(L);
    rapt_lua_view_methods(L);
    rapt_lua_compare_methods(L);
    lua_pushvalue(L, module + 1);
    rapt_lua_tensor_table(L, module + 2);
    rapt_lua_arithmetic(L);
    lua_pop(L, 1);
    lua_setfield(L, module, "methods");
    lua_setfield(L, module, "metatable");
}

/* Runs with the rapt_lua as its upvalue, so that the functions below find it where they always do.
 */
static int open_module(lua_State *L)
{
    static const luaL_Reg functions[] = {{"set_library", l_set_library},
                                         {"raise", l_raise},
                                         {"is_tensor", l_is_tensor},
                                         {NULL, NULL}};
    rapt_lua *self = rapt_lua_self(L);

    lua_newtable(L);
    rapt_lua_register(L, functions);
    open_tensor(L, self);
    rapt_lua_open_create(L);
    rapt_lua_open_call(L);
    rapt_lua_open_methods(L);
    rapt_lua_open_files(L);
    rapt_lua_open_decode(L);
    rapt_lua_open_system(L);
    rapt_lua_open_describe(L);
    rapt_lua_open_compare(L);
    rapt_lua_open_vulkan(L);
    lua_pushstring(L, rapt_version());
    lua_setfield(L, -2, "version");
    return 1;
}

int luaopen_rapt_core(lua_State *L)
{
    rapt_error error;
    rapt_lua *self;

    luaL_checkversion(L);
    self = lua_newuserdatauv(L, sizeof *self, 0);
    memset(self, 0, sizeof *self);
    self->limit = INT64_C(32) << 20;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    self->context = rapt_open(NULL, &error);
    if (!self->context)
        return luaL_error(L, "rapt: %s", error.message);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "rapt.core"); /* closed last: made first, and kept */
    lua_pushcclosure(L, open_module, 1);
    lua_call(L, 0, 1);
    return 1;
}
