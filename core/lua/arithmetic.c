/*
 * a + b, -a, a ^ 2: arithmetic between tensors and numbers, as calls of core operators. A number is
 * an attribute where the operator allows it, so that no tensor is made of it.
 */
#include "lua/binding.h"

#include <math.h>
#include <stdlib.h>

static rapt_named_value number_attr(const char *name, double value)
{
    return (rapt_named_value){.name = name, .type = RAPT_ATTR_FLOAT, .count = 1, .f = value};
}

static int run(lua_State *L, const char *op, const rapt_named_tensor *inputs, size_t n_inputs,
               const rapt_named_value *attrs, size_t n_attrs)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_named_tensor output = {NULL, NULL};
    rapt_box *box = rapt_lua_box(L);
    rapt_error error;

    if (rapt_call_operator(context, op, inputs, n_inputs, attrs, n_attrs, &output, 1, &error) !=
        RAPT_OK)
        return rapt_lua_raise(L, &error);
    return rapt_lua_fill(L, box, output.tensor, true, NULL);
}

static int binary(lua_State *L, const char *op, rapt_tensor *a, rapt_tensor *b)
{
    const rapt_named_tensor inputs[] = {{"a", a}, {"b", b}};

    return run(L, op, inputs, 2, NULL, 0);
}

/* scale * x + shift */
static int affine(lua_State *L, rapt_tensor *x, double scale, double shift)
{
    const rapt_named_tensor input = {"x", x};
    const rapt_named_value attrs[] = {number_attr("scale", scale), number_attr("shift", shift)};

    return run(L, "core.scale_add", &input, 1, attrs, 2);
}

/* The operands of `sign`: of two, at least one is a tensor. */
typedef struct operands {
    rapt_tensor *a, *b; /* NULL: a number */
    double x, y;        /* the numbers */
} operands;

static operands read_operands(lua_State *L, const char *sign)
{
    operands o = {rapt_lua_test(L, 1), rapt_lua_test(L, 2), 0, 0};

    if ((!o.a && lua_type(L, 1) != LUA_TNUMBER) || (!o.b && lua_type(L, 2) != LUA_TNUMBER))
        rapt_lua_fail(L, "%s: the operands must be tensors or numbers, got %s and %s", sign,
                      rapt_lua_kind(L, 1), rapt_lua_kind(L, 2));
    if (!o.a)
        o.x = lua_tonumber(L, 1);
    if (!o.b)
        o.y = lua_tonumber(L, 2);
    return o;
}

static int l_add(lua_State *L)
{
    const operands o = read_operands(L, "+");

    if (o.a && o.b)
        return binary(L, "core.add", o.a, o.b);
    return o.a ? affine(L, o.a, 1, o.y) : affine(L, o.b, 1, o.x);
}

static int l_sub(lua_State *L)
{
    const operands o = read_operands(L, "-");

    if (o.a && o.b)
        return binary(L, "core.sub", o.a, o.b);
    return o.a ? affine(L, o.a, 1, -o.y) : affine(L, o.b, -1, o.x);
}

static int l_mul(lua_State *L)
{
    const operands o = read_operands(L, "*");

    if (o.a && o.b)
        return binary(L, "core.mul", o.a, o.b);
    return o.a ? affine(L, o.a, o.y, 0) : affine(L, o.b, o.x, 0);
}

static int l_div(lua_State *L)
{
    const operands o = read_operands(L, "/");
    int exponent;

    if (o.a && o.b)
        return binary(L, "core.div", o.a, o.b);
    /* Times 1/y where that is exact: y a power of two. */
    if (o.a && isfinite(o.y) && fabs(frexp(o.y, &exponent)) == 0.5 && abs(exponent) < 100)
        return affine(L, o.a, 1.0 / o.y, 0);
    if (o.a)
        return binary(L, "core.div", o.a, rapt_lua_scalar(L, o.y, rapt_tensor_view(o.a)));
    return binary(L, "core.div", rapt_lua_scalar(L, o.x, rapt_tensor_view(o.b)), o.b);
}

static int l_unm(lua_State *L)
{
    const rapt_named_tensor input = {"x", rapt_lua_tensor(L, 1, "-", "the operand")};

    return run(L, "core.neg", &input, 1, NULL, 0);
}

static int l_pow(lua_State *L)
{
    const operands o = read_operands(L, "^");
    const rapt_named_value exponent = number_attr("exponent", o.y);
    const rapt_named_tensor input = {"x", o.a};

    if (!o.a || o.b)
        return rapt_lua_fail(L,
                             "^: a tensor can be raised to the power of a number only, got %s "
                             "and %s",
                             rapt_lua_kind(L, 1), rapt_lua_kind(L, 2));
    return run(L, "core.pow_scalar", &input, 1, &exponent, 1);
}

void rapt_lua_arithmetic(lua_State *L)
{
    static const luaL_Reg functions[] = {{"__add", l_add}, {"__sub", l_sub}, {"__mul", l_mul},
                                         {"__div", l_div}, {"__unm", l_unm}, {"__pow", l_pow},
                                         {NULL, NULL}};

    rapt_lua_register(L, functions);
}
