/*
 * tostring(t): "[2,3] f32 cpu" and the elements as rows of equal width. Long dimensions show their
 * ends, tensors of more than two dimensions the matrices of their last two.
 */
#include "lua/binding.h"

#include <math.h>
#include <string.h>

enum { EDGE = 4, LONGEST = 10, BLOCKS = 4, NUMBER = 32 };

/* How numbers are written: chosen once for all that are shown. */
typedef struct style {
    char format[8];
    int width;
} style;

typedef struct printer {
    const rapt_view *view;
    rapt_dtype dtype;
    const char *data; /* the first element of the matrix being printed */
    style style;
    luaL_Buffer *buffer;
} printer;

/* How many of `n` places are shown, the gap among them; and the i-th of these, -1 for the gap. */
static int64_t shown_count(int64_t n)
{
    return n > LONGEST ? 2 * EDGE + 1 : n;
}

static int64_t shown_place(int64_t n, int64_t i)
{
    if (n <= LONGEST || i < EDGE)
        return i;
    return i == EDGE ? -1 : n - (2 * EDGE + 1) + i;
}

static const char *element_at(const printer *p, int64_t row, int64_t column)
{
    const rapt_view *view = p->view;
    const int64_t item = (int64_t)rapt_dtype_size(p->dtype);
    int64_t offset = 0;

    if (view->ndim >= 1)
        offset += column * view->strides[view->ndim - 1];
    if (view->ndim >= 2)
        offset += row * view->strides[view->ndim - 2];
    return p->data + offset * item;
}

static void write_number(const printer *p, const void *element, char *text)
{
    double value;

    if (p->dtype == RAPT_BOOL) {
        rapt_lua_format(text, NUMBER, "%s", *(const uint8_t *)element ? "true" : "false");
        return;
    }
    if (p->dtype == RAPT_I64) {
        rapt_lua_format(text, NUMBER, "%lld", (long long)*(const int64_t *)element);
        return;
    }
    value = rapt_lua_element(element, p->dtype);
    if (isnan(value)) /* whatever its sign */
        rapt_lua_format(text, NUMBER, "nan");
    else if (p->dtype != RAPT_F32 && p->dtype != RAPT_F64)
        rapt_lua_format(text, NUMBER, "%.0f", value);
    else
        rapt_lua_format(text, NUMBER, p->style.format, value);
}

static void matrix_size(const rapt_view *view, int64_t *rows, int64_t *columns)
{
    *rows = view->ndim >= 2 ? view->shape[view->ndim - 2] : 1;
    *columns = view->ndim >= 1 ? view->shape[view->ndim - 1] : 1;
}

/* --- Style ----------------------------------------------------------------------------------- */

typedef struct span {
    double least, greatest; /* of absolute values that are finite and not zero */
    bool whole, any;
} span;

static void look_at(const printer *p, span *seen)
{
    int64_t rows, columns, i, j;

    matrix_size(p->view, &rows, &columns);
    for (i = 0; i < shown_count(rows); i++)
        for (j = 0; j < shown_count(columns); j++) {
            const int64_t row = shown_place(rows, i), column = shown_place(columns, j);
            double value;
            if (row < 0 || column < 0)
                continue;
            value = fabs(rapt_lua_element(element_at(p, row, column), p->dtype));
            if (!isfinite(value))
                continue;
            seen->whole = seen->whole && value == floor(value);
            if (value == 0.0)
                continue;
            seen->least = !seen->any || value < seen->least ? value : seen->least;
            seen->greatest = !seen->any || value > seen->greatest ? value : seen->greatest;
            seen->any = true;
        }
}

static void widen(printer *p)
{
    int64_t rows, columns, i, j;
    char text[NUMBER];

    matrix_size(p->view, &rows, &columns);
    for (i = 0; i < shown_count(rows); i++)
        for (j = 0; j < shown_count(columns); j++) {
            const int64_t row = shown_place(rows, i), column = shown_place(columns, j);
            if (row < 0 || column < 0)
                continue;
            write_number(p, element_at(p, row, column), text);
            if ((int)strlen(text) > p->style.width)
                p->style.width = (int)strlen(text);
        }
}

/* --- Matrices -------------------------------------------------------------------------------- */

static void print_row(const printer *p, int64_t row, int64_t columns)
{
    char text[NUMBER], cell[NUMBER + 64];
    int64_t j;

    for (j = 0; j < shown_count(columns); j++) {
        const int64_t column = shown_place(columns, j);
        if (column < 0) {
            luaL_addstring(p->buffer, "  ...");
            continue;
        }
        write_number(p, element_at(p, row, column), text);
        rapt_lua_format(cell, sizeof cell, "  %*s", p->style.width, text);
        luaL_addstring(p->buffer, cell);
    }
}

static void print_matrix(const printer *p)
{
    int64_t rows, columns, i;

    matrix_size(p->view, &rows, &columns);
    for (i = 0; i < shown_count(rows); i++) {
        const int64_t row = shown_place(rows, i);
        luaL_addchar(p->buffer, '\n');
        if (row < 0)
            luaL_addstring(p->buffer, "  ...");
        else
            print_row(p, row, columns);
    }
}

/* The leading dimensions' place of the b-th matrix. Returns its first element's address. */
static const char *block_at(const rapt_view *view, const char *data, int64_t block, int64_t *place)
{
    const int64_t item = (int64_t)rapt_dtype_size(rapt_view_dtype(view));
    int32_t i;

    for (i = view->ndim - 3; i >= 0; i--) {
        place[i] = block % view->shape[i];
        block /= view->shape[i];
        data += place[i] * view->strides[i] * item;
    }
    return data;
}

static int64_t block_count(const rapt_view *view)
{
    int64_t n = 1;
    int32_t i;

    for (i = 0; i < view->ndim - 2; i++)
        n *= view->shape[i];
    return n;
}

static int64_t shown_block(int64_t n, int64_t i)
{
    if (n <= BLOCKS || i < BLOCKS - 1)
        return i;
    return n - 1;
}

static void print_block_title(const printer *p, const int64_t *place)
{
    char text[NUMBER];
    int32_t i;

    luaL_addstring(p->buffer, "\n[");
    for (i = 0; i < p->view->ndim - 2; i++) {
        rapt_lua_format(text, sizeof text, "%lld,", (long long)place[i] + 1);
        luaL_addstring(p->buffer, text);
    }
    luaL_addstring(p->buffer, ":,:]");
}

static void print_blocks(printer *p)
{
    const char *data = rapt_view_data(p->view);
    const int64_t n = block_count(p->view), shown = n < BLOCKS ? n : BLOCKS;
    int64_t place[RAPT_MAX_DIMS], i;
    span seen = {.whole = true};

    for (i = 0; i < shown; i++) {
        p->data = block_at(p->view, data, shown_block(n, i), place);
        look_at(p, &seen);
    }
    if (seen.whole && seen.greatest < 1e7)
        strcpy(p->style.format, "%.0f");
    else if (seen.greatest >= 1e5 || seen.least < 1e-3 ||
             (seen.least > 0 && seen.greatest / seen.least > 1e7))
        strcpy(p->style.format, "%.4e");
    else
        strcpy(p->style.format, "%.4f");
    for (i = 0; i < shown; i++) {
        p->data = block_at(p->view, data, shown_block(n, i), place);
        widen(p);
    }
    for (i = 0; i < shown; i++) {
        p->data = block_at(p->view, data, shown_block(n, i), place);
        if (n > BLOCKS && i == BLOCKS - 1)
            luaL_addstring(p->buffer, "\n...");
        if (p->view->ndim > 2)
            print_block_title(p, place);
        print_matrix(p);
    }
}

int rapt_lua_tensor_print(lua_State *L)
{
    rapt_tensor *tensor = rapt_lua_tensor(L, 1, "tostring", "the value");
    const rapt_view *view = rapt_tensor_view(tensor);
    char text[RAPT_LUA_SHAPE_TEXT], device[32];
    luaL_Buffer buffer;
    printer p = {.buffer = &buffer};

    tensor = rapt_lua_readable(L, tensor);
    luaL_buffinit(L, &buffer);
    luaL_addstring(&buffer, rapt_lua_shape_text(view, text));
    rapt_device_name(view->device, device);
    rapt_lua_format(text, sizeof text, " %s %s%s", rapt_dtype_name(rapt_view_dtype(view)), device,
                    rapt_requires_grad(rapt_lua_test(L, 1)) ? " requires_grad" : "");
    luaL_addstring(&buffer, text);
    p.view = rapt_tensor_view(tensor);
    p.dtype = rapt_view_dtype(p.view);
    if (rapt_tensor_count(tensor) == 0)
        luaL_addstring(&buffer, " (no elements)");
    else
        print_blocks(&p);
    luaL_pushresult(&buffer);
    return 1;
}
