/* rapt.describe: the whole description of an operator as Lua tables. */
#include "lua/binding.h"

#include <stdlib.h>
#include <string.h>

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void set_flag(lua_State *L, const char *key, bool on)
{
    lua_pushboolean(L, on);
    lua_setfield(L, -2, key);
}

/* Pushes a list of the parts of `text` between any of `separators`. */
static void push_parts(lua_State *L, const char *text, const char *separators)
{
    lua_Integer n = 0;

    lua_newtable(L);
    for (text += strspn(text, separators); *text; text += strspn(text, separators)) {
        const size_t length = strcspn(text, separators);
        lua_pushlstring(L, text, length);
        lua_rawseti(L, -2, ++n);
        text += length;
    }
}

static void push_arg(lua_State *L, const rapt_arg *arg, bool input)
{
    static const char *const roles[] = {"argument", "stream", "parameter", "state"};
    const size_t length = rapt_lua_name_length(arg->spec);
    const char *shape = arg->spec + length;

    shape += strspn(shape, ": ");
    lua_createtable(L, 0, 12);
    lua_pushlstring(L, arg->spec, length);
    lua_setfield(L, -2, "name");
    set_text(L, "spec", arg->spec);
    set_text(L, "shape", shape);
    set_text(L, "dtype", arg->dtype ? arg->dtype : "T");
    set_text(L, "doc", arg->doc);
    set_flag(L, "optional", arg->flags & RAPT_OPTIONAL);
    set_flag(L, "differentiable", arg->flags & RAPT_DIFFERENTIABLE);
    set_text(L, "role", (unsigned)arg->role < 4 ? roles[arg->role] : "unknown");
    if (!input)
        return;
    set_flag(L, "mutated", arg->flags & RAPT_MUTATED);
    set_flag(L, "value_only", arg->flags & RAPT_VALUE_ONLY);
    set_text(L, "activation", arg->activation);
    set_text(L, "init", arg->init);
}

static void set_args(lua_State *L, const char *key, const rapt_arg *args, uint32_t n, bool input)
{
    uint32_t i;

    lua_createtable(L, (int)n, 0);
    for (i = 0; i < n; i++) {
        push_arg(L, &args[i], input);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, key);
}

/* The default of a dimension, counted from 1 like everything that Lua sees. */
static void set_default(lua_State *L, const rapt_attr *attr, bool core)
{
    char *end;
    long dim;

    if (!attr->fallback)
        return;
    dim = strtol(attr->fallback, &end, 10);
    if (core && rapt_lua_is_dim(attr->name) && *end == '\0' && end != attr->fallback && dim >= 0)
        lua_pushfstring(L, "%d", (int)dim + 1);
    else
        lua_pushstring(L, attr->fallback);
    lua_setfield(L, -2, "default");
}

static void push_attr(lua_State *L, const rapt_attr *attr, bool core)
{
    static const char *const types[] = {"bool", "int", "float", "choice", "ints"};

    lua_createtable(L, 0, 9);
    set_text(L, "name", attr->name);
    set_text(L, "type", (unsigned)attr->type < 5 ? types[attr->type] : "unknown");
    set_default(L, attr, core);
    set_text(L, "min", attr->min);
    set_text(L, "max", attr->max);
    set_text(L, "doc", attr->doc);
    set_flag(L, "required", attr->flags & RAPT_REQUIRED);
    if (attr->choices) {
        push_parts(L, attr->choices, "|");
        lua_setfield(L, -2, "choices");
    }
    if (attr->type == RAPT_ATTR_INTS && attr->count > 0) {
        lua_pushinteger(L, attr->count);
        lua_setfield(L, -2, "count");
    }
}

static void push_kernel(lua_State *L, const rapt_kernel *kernel)
{
    lua_Integer n = 0;
    int dtype;

    lua_createtable(L, 0, 12);
    set_text(L, "name", kernel->name);
    set_text(L, "device", kernel->device);
    lua_pushinteger(L, kernel->priority);
    lua_setfield(L, -2, "priority");
    lua_newtable(L);
    for (dtype = 0; dtype < RAPT_DTYPE_COUNT; dtype++)
        if (kernel->dtypes & RAPT_DTYPE_BIT(dtype)) {
            lua_pushstring(L, rapt_dtype_name((rapt_dtype)dtype));
            lua_rawseti(L, -2, ++n);
        }
    lua_setfield(L, -2, "dtypes");
    set_flag(L, "any_strides", kernel->flags & RAPT_ANY_STRIDES);
    set_flag(L, "contiguous", kernel->flags & RAPT_CONTIGUOUS);
    set_flag(L, "forward", kernel->forward != NULL);
    set_flag(L, "backward", kernel->backward != NULL);
    set_flag(L, "step", kernel->step != NULL);
    set_flag(L, "weights", kernel->weights != NULL);
    if (kernel->keep) {
        push_parts(L, kernel->keep, " ");
        lua_setfield(L, -2, "keep");
    }
    set_args(L, "saved", kernel->saved, kernel->n_saved, false);
}

static void set_states(lua_State *L, const rapt_operator *op)
{
    uint32_t i;

    lua_createtable(L, (int)op->n_states, 0);
    for (i = 0; i < op->n_states; i++) {
        lua_createtable(L, 0, 3);
        set_text(L, "append", op->states[i].append);
        set_text(L, "input", op->states[i].input);
        set_text(L, "output", op->states[i].output);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "states");
}

static void set_identity(lua_State *L, const rapt_operator *op)
{
    set_text(L, "name", op->name);
    set_text(L, "title", op->title);
    set_text(L, "paper", op->paper);
    set_text(L, "doc", op->doc);
    set_text(L, "version", op->version);
    set_text(L, "where", op->where);
    set_text(L, "flops", op->flops);
    set_text(L, "flops_backward", op->flops_backward);
    set_text(L, "bytes", op->bytes);
    set_text(L, "weights_shape", op->weights);
    set_text(L, "example", op->example);
    set_flag(L, "full", op->flags & RAPT_OP_FULL);
    set_flag(L, "causal", op->flags & RAPT_OP_CAUSAL);
    set_flag(L, "cross", op->flags & RAPT_OP_CROSS);
    set_flag(L, "decode", op->flags & RAPT_OP_DECODE);
    set_flag(L, "weights", op->flags & RAPT_OP_WEIGHTS);
    set_flag(L, "private", op->flags & RAPT_OP_PRIVATE);
}

static int l_describe(lua_State *L)
{
    const char *name = rapt_lua_text(L, 1, "rapt.describe", "operator");
    rapt_context *context = rapt_lua_context(L);
    const rapt_operator *op;
    rapt_error error;
    bool core;
    uint32_t i;

    op = rapt_find_operator(context, name, &error);
    if (!op)
        return rapt_lua_raise(L, &error);
    core = strncmp(op->name, "core.", 5) == 0;
    lua_createtable(L, 0, 24);
    set_identity(L, op);
    set_args(L, "inputs", op->inputs, op->n_inputs, true);
    set_args(L, "outputs", op->outputs, op->n_outputs, false);
    lua_createtable(L, (int)op->n_attrs, 0);
    for (i = 0; i < op->n_attrs; i++) {
        push_attr(L, &op->attrs[i], core);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "attrs");
    set_states(L, op);
    lua_createtable(L, (int)op->n_kernels, 0);
    for (i = 0; i < op->n_kernels; i++) {
        push_kernel(L, &op->kernels[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "kernels");
    return 1;
}

void rapt_lua_open_describe(lua_State *L)
{
    static const luaL_Reg functions[] = {{"describe", l_describe}, {NULL, NULL}};

    rapt_lua_register(L, functions);
}
