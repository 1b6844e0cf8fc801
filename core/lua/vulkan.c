/* rapt.vulkan: what concerns Vulkan alone. */
#include "lua/binding.h"

/* rapt.vulkan.messages() -> what the validation layers have said, oldest first; its `count` is the
 * number of messages, of which the first ones are kept. */
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
    static const luaL_Reg functions[] = {{"messages", l_messages}, {NULL, NULL}};

    lua_newtable(L);
    rapt_lua_register(L, functions);
    lua_setfield(L, -2, "vulkan");
}
