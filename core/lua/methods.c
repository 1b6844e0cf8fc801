/*
 * Functions and methods of the core's operators, made from their descriptions: rapt.matmul(a, b),
 * t:softmax(dim), t:sum(1, 2). Arguments are placed by position: tensors are the inputs in order,
 * other values the attributes in order; a list attribute takes as many numbers as follow; a table
 * with names, last, gives the rest.
 */
#include "lua/binding.h"

#include <string.h>

enum { NAME_SIZE = 48 };

/* An operator of the core, looked up once: built-in descriptions do not change. */
typedef struct plan {
    const rapt_operator *op;
    uint32_t n_inputs;
    char names[][NAME_SIZE]; /* of inputs */
} plan;

/* Where the next argument goes. */
typedef struct cursor {
    const plan *plan;
    rapt_lua_call *call;
    uint32_t input, attr;
} cursor;

static int too_many(lua_State *L, const cursor *at)
{
    luaL_Buffer buffer;
    uint32_t i;

    luaL_buffinit(L, &buffer);
    for (i = 0; i < at->plan->n_inputs; i++) {
        luaL_addstring(&buffer, i ? ", " : "");
        luaL_addstring(&buffer, at->plan->names[i]);
    }
    for (i = 0; i < at->plan->op->n_attrs; i++) {
        luaL_addstring(&buffer, at->plan->n_inputs + i ? ", " : "");
        luaL_addstring(&buffer, at->plan->op->attrs[i].name);
    }
    luaL_pushresult(&buffer);
    return rapt_lua_fail(L, "%s: too many arguments, it takes (%s)", at->call->name,
                         lua_tostring(L, -1));
}

static bool wants_input(const cursor *at)
{
    return at->input < at->plan->n_inputs &&
           !(at->plan->op->inputs[at->input].flags & RAPT_OPTIONAL);
}

static bool has_names(lua_State *L, int index)
{
    bool named;

    if (lua_type(L, index) != LUA_TTABLE || lua_rawlen(L, index) > 0)
        return false;
    lua_pushnil(L);
    named = lua_next(L, index) != 0;
    if (named)
        lua_pop(L, 2);
    return named;
}

/* Numbers from `index` on, up to `last`, for a list attribute. Returns how many. */
static int add_numbers(lua_State *L, cursor *at, const char *name, int index, int last)
{
    int n = 0, i;

    while (index + n <= last && lua_type(L, index + n) == LUA_TNUMBER)
        n++;
    lua_createtable(L, n, 0);
    for (i = 0; i < n; i++) {
        lua_pushvalue(L, index + i);
        lua_rawseti(L, -2, i + 1);
    }
    rapt_lua_add_named(L, at->call, name, lua_gettop(L));
    lua_pop(L, 1);
    return n;
}

/* Places the argument at `index`; returns how many arguments that took. */
static int place(lua_State *L, cursor *at, int index, int last)
{
    const rapt_operator *op = at->plan->op;
    const rapt_attr *attr;

    if (rapt_lua_test(L, index) || (lua_type(L, index) == LUA_TNUMBER && wants_input(at))) {
        if (at->input == at->plan->n_inputs)
            return too_many(L, at);
        rapt_lua_add_named(L, at->call, at->plan->names[at->input++], index);
        return 1;
    }
    if (lua_isnil(L, index) && at->input < at->plan->n_inputs) {
        at->input++;
        return 1;
    }
    if (wants_input(at))
        return rapt_lua_fail(L, "%s: %s must be a tensor, got %s", at->call->name,
                             at->plan->names[at->input], rapt_lua_kind(L, index));
    if (at->attr == op->n_attrs)
        return too_many(L, at);
    attr = &op->attrs[at->attr];
    /* No list given: t:sum(true) is t:sum({}, true). */
    if (attr->type == RAPT_ATTR_INTS && lua_type(L, index) == LUA_TBOOLEAN) {
        at->attr++;
        return 0;
    }
    at->attr++;
    if (lua_isnil(L, index))
        return 1;
    if (attr->type == RAPT_ATTR_INTS && lua_type(L, index) == LUA_TNUMBER)
        return add_numbers(L, at, attr->name, index, last);
    if (attr->type == RAPT_ATTR_INTS && lua_type(L, index) == LUA_TTABLE &&
        lua_rawlen(L, index) == 0)
        return 1;
    rapt_lua_add_named(L, at->call, attr->name, index);
    return 1;
}

static int l_core(lua_State *L)
{
    const plan *p = lua_touserdata(L, lua_upvalueindex(2));
    rapt_lua_call call;
    cursor at = {.plan = p, .call = &call};
    int last = lua_gettop(L), i;

    rapt_lua_begin_call(L, &call, p->op->name);
    if (last > 0 && has_names(L, last)) {
        rapt_lua_add_tables(L, &call, last, last, call.name);
        last--;
    }
    for (i = 1; i <= last;)
        i += place(L, &at, i, last);
    rapt_lua_end_call(L, &call);
    return rapt_lua_run_call(L, &call, false);
}

static void push_core(lua_State *L, const rapt_operator *op)
{
    const uint32_t n = op->n_inputs;
    plan *p;
    uint32_t i;

    lua_pushvalue(L, lua_upvalueindex(1));
    p = lua_newuserdatauv(L, sizeof *p + n * NAME_SIZE, 0);
    p->op = op;
    p->n_inputs = n;
    for (i = 0; i < n; i++)
        rapt_lua_format(p->names[i], NAME_SIZE, "%.*s",
                        (int)rapt_lua_name_length(op->inputs[i].spec), op->inputs[i].spec);
    lua_pushcclosure(L, l_core, 2);
}

/* core_functions(): a table of name -> function, of every operator "core.NAME". */
static int l_core_functions(lua_State *L)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_error error;
    const char **names = rapt_operator_names(context, true, &error);
    size_t i;

    if (!names)
        return rapt_lua_raise(L, &error);
    lua_newtable(L);
    rapt_lua_push_names(L, names);
    for (i = 1; lua_rawgeti(L, -1, (lua_Integer)i) == LUA_TSTRING; i++) {
        const char *name = lua_tostring(L, -1);
        const rapt_operator *op = rapt_find_operator(context, name, NULL);
        if (op && strncmp(name, "core.", 5) == 0 && !(op->flags & RAPT_OP_PRIVATE)) {
            push_core(L, op);
            lua_setfield(L, -4, name + 5);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return 1;
}

void rapt_lua_open_methods(lua_State *L)
{
    static const luaL_Reg functions[] = {{"core_functions", l_core_functions}, {NULL, NULL}};

    rapt_lua_register(L, functions);
}
