/* Plugins, devices, memory, clocks and rates. */
#include "lua/binding.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Frees a block of the core after its text is Lua's: kept by a userdata in between, for pushing a
 * string may raise an error. */
typedef struct owned {
    void *block;
} owned;

static int owned_gc(lua_State *L)
{
    owned *o = lua_touserdata(L, 1);

    free(o->block);
    o->block = NULL;
    return 0;
}

static owned *push_owner(lua_State *L)
{
    owned *o = lua_newuserdatauv(L, sizeof *o, 0);

    o->block = NULL;
    if (luaL_newmetatable(L, "rapt.block")) {
        lua_pushcfunction(L, owned_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return o;
}

void rapt_lua_push_owned(lua_State *L, char *text)
{
    owned *o = push_owner(L);

    o->block = text;
    lua_pushstring(L, text);
    free(o->block);
    o->block = NULL;
    lua_remove(L, -2);
}

void rapt_lua_push_names(lua_State *L, const char **names)
{
    owned *o = push_owner(L);
    lua_Integer i;

    o->block = (void *)names;
    lua_newtable(L);
    for (i = 0; names[i]; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    free(o->block);
    o->block = NULL;
    lua_remove(L, -2);
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text); /* NULL: nil, no field */
    lua_setfield(L, -2, key);
}

/* --- Plugins --------------------------------------------------------------------------------- */

static int l_operators(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    bool all = false;
    const char **names;
    rapt_error error;

    if (lua_isboolean(L, 1)) {
        all = lua_toboolean(L, 1);
    } else if (!lua_isnoneornil(L, 1)) {
        all = strcmp(rapt_lua_text(L, 1, "rapt.operators", "which"), "all") == 0;
        if (!all)
            return rapt_lua_fail(L,
                                 "rapt.operators: which must be \"all\" or nothing, got \"%.40s\"",
                                 lua_tostring(L, 1));
    }
    names = rapt_operator_names(context, all, &error);
    if (!names)
        return rapt_lua_raise(L, &error);
    rapt_lua_push_names(L, names);
    return 1;
}

static int l_load_plugin(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_error error;

    if (rapt_load_plugin(context, rapt_lua_text(L, 1, "rapt.load_plugin", "path"), &error) !=
        RAPT_OK)
        return rapt_lua_raise(L, &error);
    return 0;
}

static int l_reload(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_error error;

    if (rapt_reload(context, rapt_lua_text(L, 1, "rapt.reload", "operator"), &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    return 0;
}

static void push_plugin(lua_State *L, const rapt_plugin_info *info)
{
    lua_Integer i;

    lua_createtable(L, 0, 10);
    set_text(L, "name", info->name);
    set_text(L, "path", info->path);
    set_text(L, "version", info->version);
    set_text(L, "hash", info->hash);
    set_text(L, "error", info->error);
    lua_newtable(L);
    for (i = 0; info->operators && info->operators[i]; i++) {
        lua_pushstring(L, info->operators[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "operators");
    if (!info->plugin)
        return;
    set_text(L, "author", info->plugin->author);
    set_text(L, "license", info->plugin->license);
    lua_pushfstring(L, "%d.%d", info->plugin->abi_major, info->plugin->abi_minor);
    lua_setfield(L, -2, "abi");
    rapt_lua_push_functions(L, info);
    lua_setfield(L, -2, "functions");
}

static int l_plugins(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    const size_t n = rapt_plugin_count(context);
    size_t i;

    lua_createtable(L, (int)n, 0);
    for (i = 0; i < n; i++) {
        push_plugin(L, rapt_plugin_at(context, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* --- Devices and memory ---------------------------------------------------------------------- */

static int l_devices(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    const size_t n = rapt_device_count(context);
    rapt_device_info info;
    size_t i;

    lua_createtable(L, (int)n, 0);
    for (i = 0; i < n; i++) {
        if (rapt_device_at(context, i, &info) != RAPT_OK)
            continue;
        lua_createtable(L, 0, 5);
        set_text(L, "name", info.name);
        set_text(L, "model", info.model);
        set_text(L, "detail", info.detail);
        lua_pushboolean(L, info.available);
        lua_setfield(L, -2, "available");
        if (info.memory_bytes > 0) {
            lua_pushinteger(L, info.memory_bytes);
            lua_setfield(L, -2, "memory");
        }
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    return 1;
}

static rapt_device optional_device(lua_State *L, int index, const char *function)
{
    if (lua_isnoneornil(L, index))
        return (rapt_device){RAPT_DEVICE_CPU, 0};
    return rapt_lua_device(L, index, function);
}

static int l_synchronize(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    const rapt_device device = optional_device(L, 1, "rapt.synchronize");
    rapt_error error;

    if (rapt_synchronize(context, device, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    return 0;
}

/* rapt.device_seconds(device) -> seconds that the device has worked; nil where it has no clock. */
static int l_device_seconds(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    const rapt_device device = optional_device(L, 1, "rapt.device_seconds");
    double seconds = 0;
    rapt_error error;

    if (device.type == RAPT_DEVICE_CPU) {
        lua_pushnil(L);
        return 1;
    }
    if (rapt_device_seconds(context, device, &seconds, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    lua_pushnumber(L, seconds);
    return 1;
}

/* rapt.memory() -> {current, peak}; rapt.memory("reset") starts the peak anew after it was read. */
static int l_memory(lua_State *L)
{
    const rapt_memory memory = rapt_memory_usage();

    if (!lua_isnoneornil(L, 1)) {
        if (strcmp(rapt_lua_text(L, 1, "rapt.memory", "argument 1"), "reset") != 0)
            return rapt_lua_fail(L, "rapt.memory: argument 1 must be \"reset\" or nothing");
        rapt_memory_reset_peak();
    }
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, memory.current);
    lua_setfield(L, -2, "current");
    lua_pushinteger(L, memory.peak);
    lua_setfield(L, -2, "peak");
    return 1;
}

/* --- Measuring ------------------------------------------------------------------------------- */

/* rapt.measure{gemm = N [, device]} -> GFLOP/s; rapt.measure{copy = true [, device]} -> GB/s */
static int l_measure(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_device device;
    rapt_error error;
    rapt_status status;
    double rate = 0;

    if (lua_type(L, 1) != LUA_TTABLE)
        return rapt_lua_fail(
            L, "rapt.measure: a table {gemm = N} or {copy = true} is expected, got %s",
            rapt_lua_kind(L, 1));
    lua_settop(L, 1);
    lua_getfield(L, 1, "device");
    lua_getfield(L, 1, "gemm");
    lua_getfield(L, 1, "copy");
    device = optional_device(L, 2, "rapt.measure");
    if (lua_isnil(L, 3) == !lua_toboolean(L, 4))
        return rapt_lua_fail(L, "rapt.measure: give either gemm or copy");
    if (!lua_isnil(L, 3)) {
        const int64_t n = rapt_lua_integer(L, 3, "rapt.measure", "gemm");
        status = rapt_measure_gemm(context, device, n, &rate, &error);
    } else {
        status = rapt_measure_copy(context, device, &rate, &error);
    }
    if (status != RAPT_OK)
        return rapt_lua_raise(L, &error);
    lua_pushnumber(L, rate);
    return 1;
}

/* Seconds on a clock that is never set. */
static int l_now(lua_State *L)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    lua_pushnumber(L, (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
    return 1;
}

/* set_recording(on) -> what it was */
static int l_set_recording(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);

    lua_pushboolean(L, rapt_set_recording(context, lua_toboolean(L, 1)));
    return 1;
}

void rapt_lua_open_system(lua_State *L)
{
    static const luaL_Reg functions[] = {{"operators", l_operators},
                                         {"load_plugin", l_load_plugin},
                                         {"reload", l_reload},
                                         {"plugins", l_plugins},
                                         {"devices", l_devices},
                                         {"synchronize", l_synchronize},
                                         {"device_seconds", l_device_seconds},
                                         {"memory", l_memory},
                                         {"measure", l_measure},
                                         {"now", l_now},
                                         {"set_recording", l_set_recording},
                                         {NULL, NULL}};

    rapt_lua_register(L, functions);
}
