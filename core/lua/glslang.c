/* rapt.glslang: GLSL to SPIR-V at run time. A module of its own, for the compiler is larger than
 * all of rapt: nothing of it is loaded before a shader is compiled. */
#include <glslang/Include/glslang_c_interface.h>
#include <glslang/Public/resource_limits_c.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

/* What is being compiled; given back by drop, also when Lua raises an error on the way. */
typedef struct work {
    glslang_shader_t *shader;
    glslang_program_t *program;
} work;

static int drop(lua_State *L)
{
    work *w = lua_touserdata(L, 1);

    if (w->program)
        glslang_program_delete(w->program);
    if (w->shader)
        glslang_shader_delete(w->shader);
    w->program = NULL;
    w->shader = NULL;
    return 0;
}

static work *push_work(lua_State *L)
{
    work *w = lua_newuserdatauv(L, sizeof *w, 0);

    memset(w, 0, sizeof *w);
    if (luaL_newmetatable(L, "rapt.glslang")) {
        lua_pushcfunction(L, drop);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return w;
}

static int refuse(lua_State *L, const char *log, const char *otherwise)
{
    lua_pushnil(L);
    lua_pushstring(L, log && *log ? log : otherwise);
    return 2;
}

static void add_code(lua_State *L, const glslang_program_t *program)
{
    glslang_program_t *p = (glslang_program_t *)(size_t)program;

    lua_pushlstring(L, (const char *)glslang_program_SPIRV_get_ptr(p),
                    4 * glslang_program_SPIRV_get_size(p));
}

/* compile(glsl) -> SPIR-V for Vulkan 1.2 as a string; nil and the compiler's log, whose lines read
 * "ERROR: 0:LINE: ...". Names of buffers and push constants stay in the code. */
static int l_compile(lua_State *L)
{
    const glslang_messages_t messages =
        (glslang_messages_t)(GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT);
    const glslang_input_t input = {.language = GLSLANG_SOURCE_GLSL,
                                   .stage = GLSLANG_STAGE_COMPUTE,
                                   .client = GLSLANG_CLIENT_VULKAN,
                                   .client_version = GLSLANG_TARGET_VULKAN_1_2,
                                   .target_language = GLSLANG_TARGET_SPV,
                                   .target_language_version = GLSLANG_TARGET_SPV_1_5,
                                   .code = luaL_checkstring(L, 1),
                                   .default_version = 450,
                                   .default_profile = GLSLANG_NO_PROFILE,
                                   .messages = messages,
                                   .resource = glslang_default_resource()};
    work *w = push_work(L);

    w->shader = glslang_shader_create(&input);
    if (!w->shader)
        return luaL_error(L, "out of memory");
    if (!glslang_shader_preprocess(w->shader, &input) || !glslang_shader_parse(w->shader, &input))
        return refuse(L, glslang_shader_get_info_log(w->shader), "the shader does not parse");
    w->program = glslang_program_create();
    if (!w->program)
        return luaL_error(L, "out of memory");
    glslang_program_add_shader(w->program, w->shader);
    if (!glslang_program_link(w->program, messages))
        return refuse(L, glslang_program_get_info_log(w->program), "the shader does not link");
    glslang_program_SPIRV_generate(w->program, GLSLANG_STAGE_COMPUTE);
    if (glslang_program_SPIRV_get_size(w->program) == 0)
        return refuse(L, glslang_program_SPIRV_get_messages(w->program), "no code was made");
    add_code(L, w->program);
    return 1;
}

/* The compiler's own state lives as long as the module: until the interpreter closes. */
static int l_finish(lua_State *L)
{
    (void)L;
    glslang_finalize_process();
    return 0;
}

__attribute__((visibility("default"))) int luaopen_rapt_glslang(lua_State *L)
{
    luaL_checkversion(L);
    if (!glslang_initialize_process())
        return luaL_error(L, "rapt.glslang: the compiler cannot be started");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_compile);
    lua_setfield(L, -2, "compile");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_finish);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return 1;
}
