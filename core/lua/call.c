/*
 * Calls of operators from Lua: rapt.ops.NAME{...}, rapt.call, rapt.explain, rapt.weights,
 * rapt.cost.
 *
 * A table is walked once. What a value is (a tensor or not) says whether it is an input or an
 * attribute; names that the operator does not have go to the core, whose error names the nearest.
 */
#include "lua/binding.h"

#include <math.h>
#include <string.h>

size_t rapt_lua_name_length(const char *spec)
{
    return strcspn(spec, ": ");
}

static bool is_name_of(const char *spec, const char *name, size_t length)
{
    return strncmp(spec, name, length) == 0 && (spec[length] == ':' || spec[length] == ' ');
}

/* Position of an input or attribute in the description; one beyond the last if unknown. */
static uint32_t input_position(const rapt_operator *op, const char *name)
{
    const size_t length = strlen(name);
    uint32_t i;

    for (i = 0; i < op->n_inputs; i++)
        if (is_name_of(op->inputs[i].spec, name, length))
            break;
    return i;
}

static uint32_t attr_position(const rapt_operator *op, const char *name)
{
    uint32_t i;

    for (i = 0; i < op->n_attrs; i++)
        if (strcmp(op->attrs[i].name, name) == 0)
            break;
    return i;
}

/* --- Reading --------------------------------------------------------------------------------- */

void rapt_lua_begin_call(lua_State *L, rapt_lua_call *call, const char *name)
{
    rapt_context *context = rapt_lua_context(L);
    size_t used = 0;
    rapt_error error;
    uint32_t i;

    call->name = name;
    call->op = rapt_find_operator(context, name, &error);
    if (!call->op)
        rapt_lua_raise(L, &error);
    call->core = strncmp(call->op->name, "core.", 5) == 0;
    call->n_inputs = call->n_attrs = call->n_outputs = call->n_scalars = 0;
    for (i = 0; i < call->op->n_outputs; i++) {
        const rapt_arg *output = &call->op->outputs[i];
        const size_t length = rapt_lua_name_length(output->spec);
        if (output->flags & RAPT_OPTIONAL && i > 0)
            continue;
        if (call->n_outputs == RAPT_LUA_MAX_ARGS || used + length + 1 > sizeof call->names)
            rapt_lua_fail(L, "%s: too many outputs", name);
        memcpy(call->names + used, output->spec, length);
        call->names[used + length] = '\0';
        call->outputs[call->n_outputs].name = i ? call->names + used : NULL;
        call->outputs[call->n_outputs++].tensor = NULL;
        used += length + 1;
    }
}

static void add_input(lua_State *L, rapt_lua_call *call, const char *key, rapt_tensor *tensor)
{
    if (call->n_inputs == RAPT_LUA_MAX_ARGS)
        rapt_lua_fail(L, "%s: more than %d inputs", call->name, RAPT_LUA_MAX_ARGS);
    call->inputs[call->n_inputs].name = key;
    call->inputs[call->n_inputs++].tensor = tensor;
}

static void read_list(lua_State *L, const rapt_lua_call *call, rapt_named_value *value, int index)
{
    const lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    char argument[64];
    lua_Integer i;

    if (n > RAPT_MAX_DIMS)
        rapt_lua_fail(L, "%s: %.40s has %lld entries, more than %d", call->name, value->name,
                      (long long)n, RAPT_MAX_DIMS);
    value->type = RAPT_ATTR_INTS;
    value->count = (int32_t)n;
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, index, i + 1);
        rapt_lua_format(argument, sizeof argument, "%.40s[%d]", value->name, (int)i + 1);
        value->i[i] = rapt_lua_integer(L, -1, call->name, argument);
        lua_pop(L, 1);
    }
}

static void add_attr(lua_State *L, rapt_lua_call *call, const char *key, int index)
{
    rapt_named_value *value = &call->attrs[call->n_attrs];
    int whole = 0;

    if (call->n_attrs == RAPT_LUA_MAX_ATTRS)
        rapt_lua_fail(L, "%s: more than %d attributes", call->name, RAPT_LUA_MAX_ATTRS);
    value->name = key;
    value->count = 1;
    value->f = 0;
    value->text = NULL;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        value->type = RAPT_ATTR_BOOL;
        value->i[0] = lua_toboolean(L, index);
        value->f = (double)value->i[0];
        break;
    case LUA_TNUMBER:
        /* 64 / 2 is a float in Lua: what is whole goes as an integer, which serves for both. */
        value->f = lua_tonumber(L, index);
        value->i[0] = lua_tointegerx(L, index, &whole);
        value->type = whole ? RAPT_ATTR_INT : RAPT_ATTR_FLOAT;
        break;
    case LUA_TSTRING:
        value->type = RAPT_ATTR_CHOICE;
        value->text = lua_tostring(L, index);
        break;
    case LUA_TTABLE:
        read_list(L, call, value, index);
        break;
    default:
        rapt_lua_fail(L, "%s: %.40s must be a tensor, number, boolean, string or list, got %s",
                      call->name, key, rapt_lua_kind(L, index));
    }
    call->n_attrs++;
}

static bool takes_compute_type(const rapt_arg *input)
{
    return !input->dtype || strchr(input->dtype, 'T') != NULL;
}

void rapt_lua_add_named(lua_State *L, rapt_lua_call *call, const char *key, int index)
{
    rapt_tensor *tensor = rapt_lua_test(L, index);
    uint32_t position;

    if (tensor) {
        if (attr_position(call->op, key) < call->op->n_attrs)
            rapt_lua_fail(L, "%s: %.40s is an attribute, but a tensor was given", call->name, key);
        add_input(L, call, key, tensor);
        return;
    }
    position = input_position(call->op, key);
    if (position == call->op->n_inputs) {
        add_attr(L, call, key, index);
        return;
    }
    if (lua_type(L, index) != LUA_TNUMBER || !takes_compute_type(&call->op->inputs[position]))
        rapt_lua_fail(L, "%s: %.40s must be a tensor, got %s", call->name, key,
                      rapt_lua_kind(L, index));
    add_input(L, call, key, NULL);
    call->scalars[call->n_scalars].input = call->n_inputs - 1;
    call->scalars[call->n_scalars++].value = lua_tonumber(L, index);
}

/* returns = {"lse"}, or one name. */
static void add_returns(lua_State *L, rapt_lua_call *call, int index)
{
    const bool one = lua_type(L, index) == LUA_TSTRING;
    const lua_Integer n = one ? 1 : (lua_Integer)lua_rawlen(L, index);
    lua_Integer i;

    if (!one && lua_type(L, index) != LUA_TTABLE)
        rapt_lua_fail(L, "%s: returns must be a list of names of outputs, got %s", call->name,
                      rapt_lua_kind(L, index));
    for (i = 1; i <= n; i++) {
        if (one)
            lua_pushvalue(L, index);
        else
            lua_rawgeti(L, index, i);
        if (lua_type(L, -1) != LUA_TSTRING)
            rapt_lua_fail(L, "%s: returns must be a list of names of outputs, got %s in it",
                          call->name, rapt_lua_kind(L, -1));
        if (call->n_outputs == RAPT_LUA_MAX_ARGS)
            rapt_lua_fail(L, "%s: too many outputs", call->name);
        call->outputs[call->n_outputs].name = lua_tostring(L, -1);
        call->outputs[call->n_outputs++].tensor = NULL;
        lua_pop(L, 1);
    }
}

void rapt_lua_add_tables(lua_State *L, rapt_lua_call *call, int first, int last,
                         const char *function)
{
    int table;

    for (table = first; table <= last; table++) {
        if (lua_isnoneornil(L, table))
            continue;
        if (lua_type(L, table) != LUA_TTABLE)
            rapt_lua_fail(L, "%s: a table of inputs and attributes is expected, got %s", function,
                          rapt_lua_kind(L, table));
        lua_pushnil(L);
        while (lua_next(L, table)) {
            const char *key;
            if (lua_type(L, -2) != LUA_TSTRING)
                rapt_lua_fail(L,
                              "%s: inputs and attributes are given by name, got a key that is %s",
                              call->name, rapt_lua_kind(L, -2));
            key = lua_tostring(L, -2);
            if (strcmp(key, "returns") == 0)
                add_returns(L, call, lua_gettop(L));
            else
                rapt_lua_add_named(L, call, key, lua_gettop(L));
            lua_pop(L, 1);
        }
    }
}

/* --- Order and dimensions -------------------------------------------------------------------- */

/* Lua walks a table in no particular order: sorted by the description, so that of several errors
 * the same one is met every time. Few arguments: insertion. */
static int compare(uint32_t a, const char *name_a, uint32_t b, const char *name_b)
{
    if (a != b)
        return a < b ? -1 : 1;
    return strcmp(name_a, name_b);
}

static void sort_inputs(lua_State *L, rapt_lua_call *call)
{
    uint32_t position[RAPT_LUA_MAX_ARGS];
    size_t i, j;

    for (i = 0; i < call->n_inputs; i++) {
        const rapt_named_tensor input = call->inputs[i];
        const uint32_t at = input_position(call->op, input.name);
        for (j = i; j > 0; j--) {
            const int order = compare(at, input.name, position[j - 1], call->inputs[j - 1].name);
            if (order == 0)
                rapt_lua_fail(L, "%s: %.40s is given twice", call->name, input.name);
            if (order > 0)
                break;
            position[j] = position[j - 1];
            call->inputs[j] = call->inputs[j - 1];
        }
        position[j] = at;
        call->inputs[j] = input;
    }
}

static void sort_attrs(lua_State *L, rapt_lua_call *call)
{
    uint32_t position[RAPT_LUA_MAX_ATTRS];
    size_t i, j;

    for (i = 0; i < call->n_attrs; i++) {
        const rapt_named_value attr = call->attrs[i];
        const uint32_t at = attr_position(call->op, attr.name);
        for (j = i; j > 0; j--) {
            const int order = compare(at, attr.name, position[j - 1], call->attrs[j - 1].name);
            if (order == 0)
                rapt_lua_fail(L, "%s: %.40s is given twice", call->name, attr.name);
            if (order > 0)
                break;
            position[j] = position[j - 1];
            call->attrs[j] = call->attrs[j - 1];
        }
        position[j] = at;
        call->attrs[j] = attr;
    }
}

bool rapt_lua_is_dim(const char *name)
{
    return strcmp(name, "dim") == 0 || strcmp(name, "dims") == 0;
}

/* From 1 to 0, or unchanged from the end; the rank is that of the first input. */
static void convert_dims(lua_State *L, const rapt_lua_call *call, rapt_named_value *attr)
{
    const rapt_view *first;
    char text[RAPT_LUA_SHAPE_TEXT];
    int32_t i, ndim;

    /* Without any input, or with another type, the core refuses the call. */
    if (call->n_inputs == 0 || (attr->type != RAPT_ATTR_INT && attr->type != RAPT_ATTR_INTS))
        return;
    first = rapt_tensor_view(call->inputs[0].tensor);
    ndim = first->ndim;
    for (i = 0; i < attr->count; i++) {
        if (attr->i[i] == 0 || attr->i[i] > ndim || attr->i[i] < -(int64_t)ndim)
            rapt_lua_fail(L, "%s: %s is %lld but %s %s has %d dimension%s, counted from 1",
                          call->name, attr->name, (long long)attr->i[i], call->inputs[0].name,
                          rapt_lua_shape_text(first, text), (int)ndim, ndim == 1 ? "" : "s");
        if (attr->i[i] > 0)
            attr->i[i]--;
    }
    attr->f = (double)attr->i[0];
}

void rapt_lua_end_call(lua_State *L, rapt_lua_call *call)
{
    const rapt_view *like = NULL;
    size_t i;

    luaL_checkstack(L, 2 * (int)call->n_scalars + (int)call->n_outputs + 8, call->name);
    for (i = 0; i < call->n_inputs && call->n_scalars; i++)
        if (call->inputs[i].tensor && !like)
            like = rapt_tensor_view(call->inputs[i].tensor);
    for (i = 0; i < call->n_scalars; i++)
        call->inputs[call->scalars[i].input].tensor =
            rapt_lua_scalar(L, call->scalars[i].value, like);
    sort_inputs(L, call);
    sort_attrs(L, call);
    for (i = 0; call->core && i < call->n_attrs; i++)
        if (rapt_lua_is_dim(call->attrs[i].name))
            convert_dims(L, call, &call->attrs[i]);
}

void rapt_lua_read_call(lua_State *L, rapt_lua_call *call, const char *name, int first, int last,
                        const char *function)
{
    rapt_lua_begin_call(L, call, name);
    rapt_lua_add_tables(L, call, first, last, function);
    rapt_lua_end_call(L, call);
}

/* --- Running --------------------------------------------------------------------------------- */

int rapt_lua_run_call(lua_State *L, rapt_lua_call *call, bool always)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_box *boxes[RAPT_LUA_MAX_ARGS];
    const int base = lua_gettop(L);
    rapt_error error;
    size_t i;

    for (i = 0; i < call->n_outputs; i++)
        boxes[i] = rapt_lua_box(L);
    rapt_status status =
        rapt_call_operator(context, call->name, call->inputs, call->n_inputs, call->attrs,
                           call->n_attrs, call->outputs, call->n_outputs, &error);
    if (status == RAPT_NO_MEMORY && lua_gc(L, LUA_GCISRUNNING)) {
        rapt_lua_collect(L); /* what Lua has not collected yet may be what is missing */
        status = rapt_call_operator(context, call->name, call->inputs, call->n_inputs, call->attrs,
                                    call->n_attrs, call->outputs, call->n_outputs, &error);
    }
    if (status != RAPT_OK)
        return rapt_lua_raise(L, &error);
    for (i = 0; i < call->n_outputs; i++)
        boxes[i]->tensor = call->outputs[i].tensor;
    for (i = 0; i < call->n_outputs; i++)
        rapt_lua_fill(L, boxes[i], boxes[i]->tensor, true, NULL);
    if (call->n_outputs <= 1 && !always)
        return (int)call->n_outputs;
    lua_createtable(L, 0, (int)call->n_outputs);
    for (i = 1; i < call->n_outputs; i++) {
        lua_pushvalue(L, base + 1 + (int)i);
        lua_setfield(L, -2, call->outputs[i].name);
    }
    if (call->n_outputs == 0)
        lua_pushnil(L);
    else
        lua_pushvalue(L, base + 1);
    lua_insert(L, -2);
    return 2;
}

/* --- Functions ------------------------------------------------------------------------------- */

/* rapt.ops.NAME: upvalue 2 is the name. */
static int l_op(lua_State *L)
{
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    rapt_lua_call call;

    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TTABLE)
        return rapt_lua_fail(L,
                             "%s: one table of inputs and attributes by name is expected, got %s",
                             name, lua_gettop(L) > 1 ? "several arguments" : rapt_lua_kind(L, 1));
    rapt_lua_read_call(L, &call, name, 1, 1, name);
    return rapt_lua_run_call(L, &call, false);
}

/* __index of rapt.ops: makes the function of an operator and keeps it in the table. */
static int l_ops_index(lua_State *L)
{
    const char *name = rapt_lua_text(L, 2, "rapt.ops", "the name of an operator");
    rapt_error error;

    if (!rapt_find_operator(rapt_lua_context(L), name, &error))
        return rapt_lua_raise(L, &error);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, l_op, 2);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

static int l_call(lua_State *L)
{
    const char *name = rapt_lua_text(L, 1, "rapt.call", "operator");
    rapt_lua_call call;

    lua_settop(L, 3);
    rapt_lua_read_call(L, &call, name, 2, 3, "rapt.call");
    return rapt_lua_run_call(L, &call, true);
}

static int l_explain(lua_State *L)
{
    const char *name = rapt_lua_text(L, 1, "rapt.explain", "operator");
    rapt_context *context = rapt_lua_context(L);
    rapt_lua_call call;
    rapt_error error;
    char *text;

    lua_settop(L, 3);
    rapt_lua_read_call(L, &call, name, 2, 3, "rapt.explain");
    text =
        rapt_explain(context, name, call.inputs, call.n_inputs, call.attrs, call.n_attrs, &error);
    if (!text)
        return rapt_lua_raise(L, &error);
    rapt_lua_push_owned(L, text);
    return 1;
}

static int l_weights(lua_State *L)
{
    const char *name = rapt_lua_text(L, 1, "rapt.weights", "operator");
    rapt_context *context = rapt_lua_context(L);
    rapt_lua_call call;
    rapt_box *box;
    rapt_error error;

    lua_settop(L, 3);
    rapt_lua_read_call(L, &call, name, 2, 3, "rapt.weights");
    box = rapt_lua_box(L);
    return rapt_lua_fill(
        L, box,
        rapt_weights(context, name, call.inputs, call.n_inputs, call.attrs, call.n_attrs, &error),
        true, &error);
}

static int l_cost(lua_State *L)
{
    const char *name = rapt_lua_text(L, 1, "rapt.cost", "operator");
    rapt_context *context = rapt_lua_context(L);
    rapt_lua_call call;
    rapt_error error;
    rapt_cost cost;

    lua_settop(L, 3);
    rapt_lua_read_call(L, &call, name, 2, 3, "rapt.cost");
    if (rapt_operator_cost(context, name, call.inputs, call.n_inputs, call.attrs, call.n_attrs,
                           &cost, &error) != RAPT_OK)
        return rapt_lua_raise(L, &error);
    lua_createtable(L, 0, 5);
    lua_pushnumber(L, cost.flops);
    lua_setfield(L, -2, "flops");
    lua_pushnumber(L, cost.flops_backward);
    lua_setfield(L, -2, "flops_backward");
    lua_pushnumber(L, cost.bytes);
    lua_setfield(L, -2, "bytes");
    lua_pushnumber(L, cost.pairs);
    lua_setfield(L, -2, "pairs");
    lua_pushnumber(L, cost.pairs_all);
    lua_setfield(L, -2, "pairs_all");
    return 1;
}

void rapt_lua_open_call(lua_State *L)
{
    static const luaL_Reg functions[] = {{"call", l_call},           {"explain", l_explain},
                                         {"weights", l_weights},     {"cost", l_cost},
                                         {"ops_index", l_ops_index}, {NULL, NULL}};

    rapt_lua_register(L, functions);
}
