/*
 * rapt.png: pixels to the bytes of a PNG file, by libpng.
 *
 *   png.encode(width, height, rgb [, {title=..., ...}]) -> string
 *
 * `rgb` holds 3 bytes a pixel, row after row from the top. The table's entries become text chunks.
 */
#include <lauxlib.h>
#include <lua.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 32768, MAX_TEXTS = 8, MAX_MESSAGE = 200 };

__attribute__((visibility("default"))) int luaopen_rapt_png(lua_State *L);

/* The file as it grows. Plain memory, not a Lua buffer: libpng leaves by longjmp. */
typedef struct output {
    char *bytes;
    size_t size, capacity;
    char message[MAX_MESSAGE];
} output;

static void put(png_structp png, png_bytep bytes, size_t n)
{
    output *out = png_get_io_ptr(png);

    if (n > out->capacity - out->size) {
        size_t capacity = out->capacity ? out->capacity : 65536;
        char *grown;
        while (capacity < out->size + n)
            capacity *= 2;
        grown = realloc(out->bytes, capacity);
        if (!grown)
            png_error(png, "not enough memory");
        out->bytes = grown;
        out->capacity = capacity;
    }
    memcpy(out->bytes + out->size, bytes, n);
    out->size += n;
}

static void no_flush(png_structp png)
{
    (void)png;
}

static void on_error(png_structp png, png_const_charp message)
{
    output *out = png_get_error_ptr(png);

    strncpy(out->message, message, sizeof out->message - 1);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* Encodes into `out`; false with out->message set. Touches no Lua state. */
static int encode(output *out, png_uint_32 width, png_uint_32 height, const unsigned char *rgb,
                  png_text *texts, int n_texts)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, out, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    png_uint_32 y;

    if (!info) {
        png_destroy_write_struct(&png, NULL);
        strcpy(out->message, "not enough memory");
        return 0;
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return 0;
    }
    png_set_write_fn(png, out, put, no_flush);
    png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (n_texts > 0)
        png_set_text(png, info, texts, n_texts);
    png_write_info(png, info);
    for (y = 0; y < height; y++)
        png_write_row(png, rgb + (size_t)y * width * 3);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return 1;
}

/* The string entries of the table at `index`. Pointers hold while the table does. */
static int collect_texts(lua_State *L, int index, png_text *texts)
{
    int n = 0;

    if (lua_isnoneornil(L, index))
        return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index) && n < MAX_TEXTS) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING) {
            const size_t key = lua_rawlen(L, -2);
            luaL_argcheck(L, key >= 1 && key <= 79, index, "a key has 1 to 79 bytes");
            memset(&texts[n], 0, sizeof texts[n]);
            texts[n].compression = PNG_ITXT_COMPRESSION_NONE;
            texts[n].key = (char *)(size_t)lua_tostring(L, -2);
            texts[n].text = (char *)(size_t)lua_tostring(L, -1);
            n++;
        }
        lua_pop(L, 1);
    }
    lua_settop(L, index);
    return n;
}

static int release(lua_State *L)
{
    output *out = lua_touserdata(L, 1);

    free(out->bytes);
    out->bytes = NULL;
    return 0;
}

static int l_encode(lua_State *L)
{
    const lua_Integer width = luaL_checkinteger(L, 1);
    const lua_Integer height = luaL_checkinteger(L, 2);
    size_t n_bytes;
    const char *rgb = luaL_checklstring(L, 3, &n_bytes);
    png_text texts[MAX_TEXTS];
    output *out;
    int n_texts;

    luaL_argcheck(L, width >= 1 && width <= MAX_SIDE, 1, "a side has 1 to 32768 pixels");
    luaL_argcheck(L, height >= 1 && height <= MAX_SIDE, 2, "a side has 1 to 32768 pixels");
    if (n_bytes != (size_t)width * (size_t)height * 3)
        return luaL_error(L, "png: %I bytes for %I x %I pixels: expected %I", (lua_Integer)n_bytes,
                          width, height, width * height * 3);
    lua_settop(L, 4);
    n_texts = collect_texts(L, 4, texts);
    out = lua_newuserdatauv(L, sizeof *out, 0);
    memset(out, 0, sizeof *out);
    luaL_setmetatable(L, "rapt.png.output"); /* frees the bytes whatever happens */
    if (!encode(out, (png_uint_32)width, (png_uint_32)height, (const unsigned char *)rgb, texts,
                n_texts))
        return luaL_error(L, "png: %s", out->message);
    lua_pushlstring(L, out->bytes, out->size);
    free(out->bytes);
    out->bytes = NULL;
    return 1;
}

int luaopen_rapt_png(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", l_encode}, {NULL, NULL}};

    luaL_newmetatable(L, "rapt.png.output");
    lua_pushcfunction(L, release);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
