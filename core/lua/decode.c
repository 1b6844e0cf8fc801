/* rapt.state: decoding, position after position. */
#include "lua/binding.h"

#include <string.h>

typedef struct holder {
    rapt_decoding *state; /* NULL: closed */
} holder;

/* Upvalue 1 of every method is the rapt_lua; the metatable stands in the registry by name. */
static rapt_decoding *check_state(lua_State *L, const char *function)
{
    holder *h = luaL_testudata(L, 1, RAPT_LUA_STATE);

    if (!h)
        rapt_lua_fail(L, "%s: a decoding state is expected, got %s", function, rapt_lua_kind(L, 1));
    if (!h->state)
        rapt_lua_fail(L, "%s: the decoding state has been closed", function);
    return h->state;
}

static holder *push_holder(lua_State *L)
{
    holder *h = lua_newuserdatauv(L, sizeof *h, 0);

    h->state = NULL;
    luaL_setmetatable(L, RAPT_LUA_STATE);
    return h;
}

/* The memory of a state is not Lua's to see: counted as if it were a tensor's. */
static void count(lua_State *L, const rapt_decoding *state)
{
    rapt_lua *self = rapt_lua_self(L);

    self->allocated += rapt_decoding_bytes(state);
    if (self->allocated > self->limit)
        rapt_lua_collect(L);
}

/* rapt.state(op, inputs [, attrs]) -> state, output; rapt.state(path) -> state */
static int l_state(lua_State *L)
{
    const char *name = rapt_lua_text(L, 1, "rapt.state", "operator");
    rapt_context *context = rapt_lua_context(L);
    rapt_lua_call call;
    rapt_tensor *output = NULL;
    rapt_box *box;
    rapt_error error;
    holder *h;

    lua_settop(L, 3);
    h = push_holder(L);
    if (lua_isnil(L, 2)) {
        h->state = rapt_decoding_load(context, name, &error);
        if (!h->state)
            return rapt_lua_raise(L, &error);
        count(L, h->state);
        return 1;
    }
    rapt_lua_read_call(L, &call, name, 2, 3, "rapt.state");
    box = rapt_lua_box(L);
    h->state = rapt_decode(context, name, call.inputs, call.n_inputs, call.attrs, call.n_attrs,
                           &output, &error);
    if (!h->state)
        return rapt_lua_raise(L, &error);
    box->tensor = output;
    count(L, h->state);
    lua_pushvalue(L, 4);
    if (output)
        lua_insert(L, -2);
    else
        lua_pushnil(L);
    return 2;
}

static int l_step(lua_State *L)
{
    rapt_decoding *state = check_state(L, "step");
    rapt_lua_call call;
    rapt_box *box;
    rapt_error error;
    int64_t before = rapt_decoding_bytes(state);

    lua_settop(L, 2);
    rapt_lua_read_call(L, &call, rapt_decoding_operator(state), 2, 2, "step");
    if (call.n_attrs)
        return rapt_lua_fail(L,
                             "%s: a step takes inputs only, attributes were given to rapt.state; "
                             "got %.40s",
                             call.name, call.attrs[0].name);
    box = rapt_lua_box(L);
    rapt_lua_fill(L, box, rapt_step(state, call.inputs, call.n_inputs, &error), true, &error);
    if (rapt_decoding_bytes(state) > before)
        rapt_lua_self(L)->allocated += rapt_decoding_bytes(state) - before;
    return 1;
}

static int l_save(lua_State *L)
{
    rapt_decoding *state = check_state(L, "save");
    rapt_error error;

    if (rapt_decoding_save(state, rapt_lua_text(L, 2, "save", "path"), &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    lua_settop(L, 1);
    return 1;
}

static int l_fork(lua_State *L)
{
    rapt_decoding *state = check_state(L, "fork");
    holder *h = push_holder(L);
    rapt_error error;

    h->state = rapt_decoding_fork(state, &error);
    if (!h->state)
        return rapt_lua_raise(L, &error);
    count(L, h->state);
    return 1;
}

static int l_truncate(lua_State *L)
{
    rapt_decoding *state = check_state(L, "truncate");
    const int64_t n = rapt_lua_integer(L, 2, "truncate", "positions");
    rapt_error error;

    if (rapt_decoding_truncate(state, n, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    lua_settop(L, 1);
    return 1;
}

static int l_gc(lua_State *L)
{
    holder *h = lua_touserdata(L, 1);

    rapt_decoding_free(h->state);
    h->state = NULL;
    return 0;
}

static int l_close(lua_State *L)
{
    check_state(L, "close");
    return l_gc(L);
}

/* Upvalue 2: the table of methods. */
static int l_index(lua_State *L)
{
    rapt_decoding *state = check_state(L, "rapt.state");
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

    if (strcmp(key, "position") == 0) {
        lua_pushinteger(L, rapt_decoding_position(state));
    } else if (strcmp(key, "operator") == 0) {
        lua_pushstring(L, rapt_decoding_operator(state));
    } else if (strcmp(key, "bytes") == 0) {
        lua_pushinteger(L, rapt_decoding_bytes(state));
    } else {
        lua_settop(L, 2);
        lua_rawget(L, lua_upvalueindex(2));
    }
    return 1;
}

static int l_tostring(lua_State *L)
{
    const holder *h = luaL_testudata(L, 1, RAPT_LUA_STATE);

    if (!h || !h->state)
        lua_pushliteral(L, "rapt.state (closed)");
    else
        lua_pushfstring(L, "rapt.state of %s after %I positions, %I bytes",
                        rapt_decoding_operator(h->state),
                        (LUAI_UACINT)rapt_decoding_position(h->state),
                        (LUAI_UACINT)rapt_decoding_bytes(h->state));
    return 1;
}

void rapt_lua_open_decode(lua_State *L)
{
    static const luaL_Reg functions[] = {{"state", l_state}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"step", l_step},   {"save", l_save},
                                       {"fork", l_fork},   {"truncate", l_truncate},
                                       {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg events[] = {
        {"__gc", l_gc}, {"__close", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};

    rapt_lua_register(L, functions);
    luaL_newmetatable(L, RAPT_LUA_STATE);
    rapt_lua_register(L, events);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_newtable(L);
    rapt_lua_register(L, methods);
    lua_pushcclosure(L, l_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
