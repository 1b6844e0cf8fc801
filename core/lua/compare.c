/*
 * Comparisons: t:eq(b), t:lt(b) ... to tensors of bool, and rapt.allclose. Values of every dtype
 * are compared exactly: i64 with i64 as integers, everything else as doubles.
 */
#include "lua/binding.h"

#include <math.h>
#include <string.h>

enum relation { EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL };

static const char *const relation_names[] = {"eq", "ne", "lt", "le", "gt", "ge"};

/* Two CPU views of one shape, walked together. */
typedef struct pair {
    const rapt_view *a, *b;
    rapt_dtype dtype_a, dtype_b;
    bool integers;
} pair;

static bool related(const pair *p, enum relation relation, const void *a, const void *b)
{
    double x, y;

    if (p->integers) {
        const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
        const bool answers[] = {i == j, i != j, i<j, i <= j, i> j, i >= j};
        return answers[relation];
    }
    x = rapt_lua_element(a, p->dtype_a);
    y = rapt_lua_element(b, p->dtype_b);
    switch (relation) {
    case EQUAL:
        return x == y;
    case NOT_EQUAL:
        return x != y;
    case LESS:
        return x < y;
    case LESS_EQUAL:
        return x <= y;
    case GREATER:
        return x > y;
    default:
        return x >= y;
    }
}

/* --- Broadcasting ---------------------------------------------------------------------------- */

static void common_shape(lua_State *L, const rapt_view *a, const rapt_view *b, int32_t *ndim,
                         int64_t *shape, const char *function)
{
    char text_a[RAPT_LUA_SHAPE_TEXT], text_b[RAPT_LUA_SHAPE_TEXT];
    int32_t i;

    *ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (i = 1; i <= *ndim; i++) {
        const int64_t x = i <= a->ndim ? a->shape[a->ndim - i] : 1;
        const int64_t y = i <= b->ndim ? b->shape[b->ndim - i] : 1;
        if (x != y && x != 1 && y != 1)
            rapt_lua_fail(L, "%s: shapes %s and %s cannot be broadcast", function,
                          rapt_lua_shape_text(a, text_a), rapt_lua_shape_text(b, text_b));
        shape[*ndim - i] = x == 1 ? y : x;
    }
}

/* A readable copy of `tensor` seen in `shape`, kept by boxes that are pushed. */
static const rapt_view *seen_as(lua_State *L, rapt_tensor *tensor, int32_t ndim,
                                const int64_t *shape)
{
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box;
    rapt_error error;
    bool recording;
    rapt_tensor *view;

    tensor = rapt_lua_readable(L, tensor);
    box = rapt_lua_box(L);
    recording = rapt_set_recording(context, false);
    view = rapt_expand(context, tensor, ndim, shape, &error);
    rapt_set_recording(context, recording);
    rapt_lua_fill(L, box, view, false, &error);
    return rapt_tensor_view(view);
}

static const char *next_element(const rapt_view *view, const char *data, int64_t *place)
{
    const int64_t item = (int64_t)rapt_dtype_size(rapt_view_dtype(view));
    int32_t i;

    for (i = 0; i < view->ndim; i++)
        data += place[i] * view->strides[i] * item;
    return data;
}

/* Row-major order over the outer dimensions; false after the last. */
static bool step(const rapt_view *view, int64_t *place)
{
    int32_t i;

    for (i = view->ndim - 1; i >= 0; i--) {
        if (++place[i] < view->shape[i])
            return true;
        place[i] = 0;
    }
    return false;
}

static int compare(lua_State *L, enum relation relation)
{
    const char *function = relation_names[relation];
    rapt_tensor *a = rapt_lua_tensor(L, 1, function, "argument 1"), *b;
    int64_t shape[RAPT_MAX_DIMS], place[RAPT_MAX_DIMS] = {0}, n = 0;
    rapt_context *context = rapt_lua_context(L);
    rapt_box *box;
    rapt_error error;
    int32_t ndim;
    uint8_t *out;
    pair p;

    if (lua_isnumber(L, 2) || lua_isboolean(L, 2)) {
        const double number = lua_isboolean(L, 2) ? lua_toboolean(L, 2) : lua_tonumber(L, 2);
        const int64_t integer = lua_tointeger(L, 2);
        const bool exact = lua_isinteger(L, 2);
        box = rapt_lua_box(L);
        rapt_lua_fill(L, box,
                      rapt_tensor_from(context, exact ? RAPT_I64 : RAPT_F64, 0, NULL,
                                       exact ? (const void *)&integer : &number, &error),
                      true, &error);
        b = box->tensor;
    } else {
        b = rapt_lua_tensor(L, 2, function, "argument 2");
    }
    common_shape(L, rapt_tensor_view(a), rapt_tensor_view(b), &ndim, shape, function);
    p.a = seen_as(L, a, ndim, shape);
    p.b = seen_as(L, b, ndim, shape);
    p.dtype_a = rapt_view_dtype(p.a);
    p.dtype_b = rapt_view_dtype(p.b);
    p.integers = p.dtype_a == RAPT_I64 && p.dtype_b == RAPT_I64;
    box = rapt_lua_box(L);
    rapt_lua_fill(L, box,
                  rapt_tensor_empty(context, RAPT_BOOL, (rapt_device){RAPT_DEVICE_CPU, 0}, ndim,
                                    shape, &error),
                  true, &error);
    out = rapt_view_data(rapt_tensor_view(box->tensor));
    if (rapt_tensor_count(box->tensor) > 0)
        do
            out[n++] = related(&p, relation, next_element(p.a, rapt_view_data(p.a), place),
                               next_element(p.b, rapt_view_data(p.b), place));
        while (step(p.a, place));
    if (rapt_tensor_view(a)->device.type != RAPT_DEVICE_CPU) {
        const rapt_lua_options there = {.dtype = RAPT_BOOL, .device = rapt_tensor_view(a)->device};
        return rapt_lua_finish(L, box, &there);
    }
    return 1;
}

static int l_eq(lua_State *L)
{
    return compare(L, EQUAL);
}

static int l_ne(lua_State *L)
{
    return compare(L, NOT_EQUAL);
}

static int l_lt(lua_State *L)
{
    return compare(L, LESS);
}

static int l_le(lua_State *L)
{
    return compare(L, LESS_EQUAL);
}

static int l_gt(lua_State *L)
{
    return compare(L, GREATER);
}

static int l_ge(lua_State *L)
{
    return compare(L, GREATER_EQUAL);
}

/* --- allclose -------------------------------------------------------------------------------- */

typedef struct tolerance {
    double rtol, atol;
    bool equal_nan;
} tolerance;

static tolerance read_tolerance(lua_State *L, int index)
{
    tolerance t = {1e-4, 1e-5, false};

    if (lua_isnoneornil(L, index))
        return t;
    if (lua_type(L, index) != LUA_TTABLE)
        rapt_lua_fail(L, "rapt.allclose: options must be a table, got %s", rapt_lua_kind(L, index));
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(key, "rtol") == 0)
            t.rtol = rapt_lua_number(L, -1, "rapt.allclose", "rtol");
        else if (strcmp(key, "atol") == 0)
            t.atol = rapt_lua_number(L, -1, "rapt.allclose", "atol");
        else if (strcmp(key, "equal_nan") == 0)
            t.equal_nan = lua_toboolean(L, -1);
        else
            rapt_lua_fail(L, "rapt.allclose: the options are rtol, atol and equal_nan, got %.40s",
                          key);
        lua_pop(L, 1);
    }
    return t;
}

/* |x - y| <= atol + rtol |y|; *error grows to |x - y|, to NaN where only one is NaN. */
static bool is_close(double x, double y, const tolerance *t, double *error)
{
    const double difference = x == y ? 0.0 : fabs(x - y);

    if (isnan(x) && isnan(y) && t->equal_nan)
        return true;
    if (isnan(difference))
        *error = NAN;
    else if (difference > *error) /* false once it is NaN */
        *error = difference;
    return difference <= t->atol + t->rtol * fabs(y) && (isfinite(y) || x == y);
}

/* rapt.allclose(a, b [, {rtol, atol, equal_nan}]) -> ok, greatest absolute error */
static int l_allclose(lua_State *L)
{
    rapt_tensor *a = rapt_lua_tensor(L, 1, "rapt.allclose", "argument 1");
    rapt_tensor *b = rapt_lua_tensor(L, 2, "rapt.allclose", "argument 2");
    const tolerance t = read_tolerance(L, 3);
    int64_t shape[RAPT_MAX_DIMS], place[RAPT_MAX_DIMS] = {0};
    char text_a[RAPT_LUA_SHAPE_TEXT], text_b[RAPT_LUA_SHAPE_TEXT];
    const rapt_view *x = rapt_tensor_view(a), *y = rapt_tensor_view(b);
    double error = 0.0;
    bool ok = true;

    if (x->ndim != y->ndim ||
        (x->ndim && memcmp(x->shape, y->shape, (size_t)x->ndim * sizeof *x->shape) != 0))
        return rapt_lua_fail(L, "rapt.allclose: shapes %s and %s differ",
                             rapt_lua_shape_text(x, text_a), rapt_lua_shape_text(y, text_b));
    if (x->ndim)
        memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    x = seen_as(L, a, x->ndim, shape);
    y = seen_as(L, b, y->ndim, shape);
    if (rapt_tensor_count(a) > 0)
        do
            ok &= is_close(
                rapt_lua_element(next_element(x, rapt_view_data(x), place), rapt_view_dtype(x)),
                rapt_lua_element(next_element(y, rapt_view_data(y), place), rapt_view_dtype(y)), &t,
                &error);
        while (step(x, place));
    lua_pushboolean(L, ok);
    lua_pushnumber(L, error);
    return 2;
}

void rapt_lua_open_compare(lua_State *L)
{
    static const luaL_Reg functions[] = {{"allclose", l_allclose}, {NULL, NULL}};

    rapt_lua_register(L, functions);
}

void rapt_lua_compare_methods(lua_State *L)
{
    static const luaL_Reg functions[] = {{"eq", l_eq}, {"ne", l_ne}, {"lt", l_lt}, {"le", l_le},
                                         {"gt", l_gt}, {"ge", l_ge}, {NULL, NULL}};

    rapt_lua_register(L, functions);
}
