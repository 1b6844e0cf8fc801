/* Errors as the user of Lua sees them: where, then one line. */
#include "lua/binding.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Pushes "FILE:LINE: " of the innermost Lua function outside the library, or "". */
static void push_place(lua_State *L, const rapt_lua *self)
{
    const size_t n = self ? strlen(self->library) : 0;
    lua_Debug frame;
    int level;

    for (level = 1; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.currentline < 0)
            continue;
        if (n && strncmp(frame.source, self->library, n) == 0)
            continue;
        lua_pushfstring(L, "%s:%d: ", frame.short_src, frame.currentline);
        return;
    }
    lua_pushliteral(L, "");
}

/* One line, whatever names and texts went into it. */
static int raise_text(lua_State *L, const char *text)
{
    char line[RAPT_ERROR_SIZE];
    size_t i;

    for (i = 0; text[i] && i + 1 < sizeof line; i++)
        line[i] = iscntrl((unsigned char)text[i]) ? '?' : text[i];
    line[i] = '\0';
    push_place(L, rapt_lua_self(L));
    lua_pushstring(L, line);
    lua_concat(L, 2);
    return lua_error(L);
}

int rapt_lua_fail(lua_State *L, const char *format, ...)
{
    char text[RAPT_ERROR_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return raise_text(L, text);
}

int rapt_lua_raise(lua_State *L, const rapt_error *error)
{
    if (error->message[0])
        return raise_text(L, error->message);
    return raise_text(L, rapt_status_name(error->status));
}

int rapt_lua_raise_as(lua_State *L, const char *function, const rapt_error *error)
{
    const char *text = error->message;
    size_t n;

    while ((n = strspn(text, "abcdefghijklmnopqrstuvwxyz_")) > 0 && strncmp(text + n, ": ", 2) == 0)
        text += n + 2;
    return rapt_lua_fail(L, "%s: %s", function, text);
}

void rapt_lua_format(char *text, size_t size, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, size, format, arguments);
    va_end(arguments);
}

const char *rapt_lua_shape_text(const rapt_view *view, char *text)
{
    size_t used = 0;
    int32_t i;

    text[used++] = '[';
    for (i = 0; i < view->ndim; i++)
        used += (size_t)snprintf(text + used, RAPT_LUA_SHAPE_TEXT - used, i ? ",%lld" : "%lld",
                                 (long long)view->shape[i]);
    text[used++] = ']';
    text[used] = '\0';
    return text;
}

const char *rapt_lua_kind(lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TNONE:
        return "nothing";
    case LUA_TNIL:
        return "nil";
    case LUA_TBOOLEAN:
        return "a boolean";
    case LUA_TNUMBER:
        return lua_isinteger(L, index) ? "an integer" : "a number";
    case LUA_TSTRING:
        return "a string";
    case LUA_TTABLE:
        return "a table";
    case LUA_TFUNCTION:
        return "a function";
    default:
        if (rapt_lua_test(L, index))
            return "a tensor";
        return luaL_typename(L, index);
    }
}
