/* rapt.core.vulkan: shaders of the user's own, and what the validation layers said. */
#include "lua/binding.h"

#include <string.h>

/* A shader that can be run; its code stands behind it. */
typedef struct program {
    rapt_vulkan_shader shader;
    uint64_t written; /* bit i: it writes buffer i */
    uint32_t n_constants, constants[32];
    char name[64];
    uint32_t code[];
} program;

static const char program_type[] = "rapt.vulkan.program";

static int program_gc(lua_State *L)
{
    rapt_lua *self = lua_touserdata(L, lua_upvalueindex(1));

    if (self->context)
        rapt_vulkan_forget(self->context);
    return 0;
}

static uint32_t field(lua_State *L, int table, const char *key)
{
    uint32_t value;

    lua_getfield(L, table, key);
    value = (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static void read_constants(lua_State *L, int table, program *p)
{
    lua_getfield(L, table, "constants");
    if (lua_istable(L, -1))
        for (uint32_t i = 0; i < 32; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
            if (lua_isinteger(L, -1))
                p->constants[p->n_constants++] = (uint32_t)lua_tointeger(L, -1);
            lua_pop(L, 1);
        }
    lua_pop(L, 1);
}

/* program(code, {name, buffers, push_bytes, subgroup, features, written, constants}) -> a program;
 * constants are a list of 32-bit patterns. Called by rapt.vulkan alone, which has checked it all.
 */
static int l_program(lua_State *L)
{
    size_t bytes;
    const char *code = luaL_checklstring(L, 1, &bytes);
    program *p;

    luaL_checktype(L, 2, LUA_TTABLE);
    p = lua_newuserdatauv(L, sizeof *p + bytes, 0);
    memset(p, 0, sizeof *p);
    memcpy(p->code, code, bytes);
    lua_getfield(L, 2, "name");
    rapt_lua_format(p->name, sizeof p->name, "%s", luaL_checkstring(L, -1));
    lua_pop(L, 1);
    p->shader = (rapt_vulkan_shader){.size = sizeof p->shader,
                                     .features = field(L, 2, "features"),
                                     .name = p->name,
                                     .code = p->code,
                                     .code_bytes = bytes,
                                     .n_buffers = field(L, 2, "buffers"),
                                     .push_bytes = field(L, 2, "push_bytes"),
                                     .subgroup = field(L, 2, "subgroup")};
    p->written = field(L, 2, "written");
    read_constants(L, 2, p);
    lua_rawgetp(L, LUA_REGISTRYINDEX, program_type);
    lua_setmetatable(L, -2);
    return 1;
}

/* run(program, tensors, x, y, z, push) */
static int l_run(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_tensor *tensors[64];
    rapt_vulkan_dispatch dispatch = {.size = sizeof dispatch};
    const program *p = lua_touserdata(L, 1);
    size_t bytes = 0;
    rapt_error error;

    luaL_checktype(L, 2, LUA_TTABLE);
    if (!p || p->shader.n_buffers > 64)
        return rapt_lua_fail(L, "rapt.vulkan: not a program");
    for (uint32_t i = 0; i < p->shader.n_buffers; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        tensors[i] = rapt_lua_test(L, -1);
        if (!tensors[i])
            return rapt_lua_fail(L, "%s: buffer %d must be a tensor, got %s", p->name, (int)i + 1,
                                 rapt_lua_kind(L, -1));
        lua_pop(L, 1); /* the table holds it */
    }
    for (int d = 0; d < 3; d++)
        dispatch.groups[d] = (uint32_t)luaL_checkinteger(L, 3 + d);
    dispatch.push = luaL_optlstring(L, 6, "", &bytes);
    if (bytes != p->shader.push_bytes)
        return rapt_lua_fail(L, "%s: %d bytes of push constants were expected, got %d", p->name,
                             (int)p->shader.push_bytes, (int)bytes);
    dispatch.shader = &p->shader;
    dispatch.constants = p->constants;
    dispatch.n_constants = p->n_constants;
    if (rapt_vulkan_shade(context, &dispatch, tensors, p->written, &error) != RAPT_OK)
        return rapt_lua_raise_as(L, p->name, &error);
    return 0;
}

/* timings(device) -> list of {name, seconds, dispatches, compiled} */
static int l_timings(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    const rapt_device device = rapt_lua_device(L, 1, "rapt.vulkan.timings");
    const size_t room = 512;
    size_t count = 0;
    rapt_vulkan_timing *timings = lua_newuserdatauv(L, room * sizeof *timings, 0);
    rapt_error error;

    if (rapt_vulkan_timings(context, device, timings, room, &count, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_createtable(L, 0, 4);
        lua_pushstring(L, timings[i].name);
        lua_setfield(L, -2, "name");
        lua_pushnumber(L, timings[i].seconds);
        lua_setfield(L, -2, "seconds");
        lua_pushinteger(L, timings[i].dispatches);
        lua_setfield(L, -2, "dispatches");
        if (timings[i].compiled[0]) {
            lua_pushstring(L, timings[i].compiled);
            lua_setfield(L, -2, "compiled");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* messages() -> what the validation layers have said, oldest first; its `count` is the number of
 * messages, of which the first ones are kept. */
static int l_messages(lua_State *L)
{
    const size_t n = rapt_vulkan_message_count();
    const char *text;

    lua_newtable(L);
    for (size_t i = 0; i < n && (text = rapt_vulkan_message(i)); i++) {
        lua_pushstring(L, text);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, "count");
    return 1;
}

void rapt_lua_open_vulkan(lua_State *L)
{
    static const luaL_Reg functions[] = {{"messages", l_messages},
                                         {"program", l_program},
                                         {"run", l_run},
                                         {"timings", l_timings},
                                         {NULL, NULL}};

    lua_createtable(L, 0, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, program_gc, 1);
    lua_setfield(L, -2, "__gc");
    lua_rawsetp(L, LUA_REGISTRYINDEX, program_type);
    lua_newtable(L);
    rapt_lua_register(L, functions);
    lua_setfield(L, -2, "vulkan");
}
