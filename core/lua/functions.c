/*
 * Helper functions that plugins export with a signature as text, "double slope(int head, int
 * heads)", called through libffi.
 *
 * A Lua function of this kind remembers names, not addresses: each call looks the function up in
 * the plugins as they are now, so that a reload can never leave a dangling pointer behind.
 */
#include "lua/binding.h"

#include <ctype.h>
#include <ffi.h>
#include <string.h>

enum { MAX_PARAMETERS = 16, NAME_SIZE = 64, SIGNATURE_SIZE = 512 };

typedef enum kind {
    KIND_VOID,
    KIND_BOOL,
    KIND_INT,
    KIND_INT64,
    KIND_DOUBLE,
    KIND_FLOAT,
    KIND_STRING,
    KIND_POINTER,
    KIND_TENSOR,
    KIND_COUNT
} kind;

static const char *const kind_names[KIND_COUNT] = {"void",  "bool",   "int",     "int64", "double",
                                                   "float", "string", "pointer", "tensor"};

static ffi_type *const kind_types[KIND_COUNT] = {
    &ffi_type_void,  &ffi_type_uint8,   &ffi_type_sint32,  &ffi_type_sint64, &ffi_type_double,
    &ffi_type_float, &ffi_type_pointer, &ffi_type_pointer, &ffi_type_pointer};

typedef struct signature {
    char text[SIGNATURE_SIZE]; /* what was parsed */
    char name[NAME_SIZE];
    kind result;
    int n;
    kind parameters[MAX_PARAMETERS];
    char names[MAX_PARAMETERS][NAME_SIZE]; /* "" where none is given */
    ffi_cif cif;
    ffi_type *types[MAX_PARAMETERS];
} signature;

/* --- Signatures ------------------------------------------------------------------------------ */

static const char *skip(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* Reads an identifier into `word`; NULL if there is none. */
static const char *read_word(const char *at, char *word)
{
    size_t n = 0;

    at = skip(at);
    if (!isalpha((unsigned char)*at) && *at != '_')
        return NULL;
    while (isalnum((unsigned char)at[n]) || at[n] == '_')
        n++;
    if (n >= NAME_SIZE)
        return NULL;
    memcpy(word, at, n);
    word[n] = '\0';
    return skip(at + n);
}

static bool find_kind(const char *word, kind *found)
{
    int i;

    for (i = 0; i < KIND_COUNT; i++)
        if (strcmp(word, kind_names[i]) == 0) {
            *found = (kind)i;
            return true;
        }
    return false;
}

/* "type name, type, ...)" */
static const char *parse_parameters(const char *at, signature *s)
{
    char word[NAME_SIZE];

    if (*skip(at) == ')')
        return skip(skip(at) + 1);
    for (s->n = 0; s->n < MAX_PARAMETERS; s->n++) {
        at = read_word(at, word);
        if (!at || !find_kind(word, &s->parameters[s->n]))
            return NULL;
        if (s->parameters[s->n] == KIND_VOID)
            return s->n == 0 && *at == ')' ? skip(at + 1) : NULL;
        s->names[s->n][0] = '\0';
        if (*at != ',' && *at != ')') {
            at = read_word(at, s->names[s->n]);
            if (!at)
                return NULL;
        }
        if (*at == ')') {
            s->n++;
            return skip(at + 1);
        }
        if (*at++ != ',')
            return NULL;
    }
    return NULL;
}

static bool parse(const char *text, signature *s)
{
    char word[NAME_SIZE];
    const char *at;
    int i;

    if (strlen(text) >= SIGNATURE_SIZE)
        return false;
    strcpy(s->text, text);
    s->n = 0;
    at = read_word(text, word);
    if (!at || !find_kind(word, &s->result))
        return false;
    at = read_word(at, s->name);
    if (!at || *at != '(')
        return false;
    at = parse_parameters(at + 1, s);
    /* Nobody would own a tensor that comes back as a view. */
    if (!at || *at || s->result == KIND_TENSOR)
        return false;
    for (i = 0; i < s->n; i++)
        s->types[i] = kind_types[s->parameters[i]];
    return ffi_prep_cif(&s->cif, FFI_DEFAULT_ABI, (unsigned)s->n, kind_types[s->result],
                        s->types) == FFI_OK;
}

/* --- Calling --------------------------------------------------------------------------------- */

typedef union cell {
    ffi_arg word; /* results narrower than a register come in one of these */
    ffi_sarg signed_word;
    uint8_t boolean;
    int32_t integer;
    int64_t integer64;
    double number;
    float narrow;
    const void *pointer;
} cell;

static void read_argument(lua_State *L, const signature *s, int i, cell *value)
{
    char name[NAME_SIZE + 24];
    const int index = i + 1;

    if (s->names[i][0])
        rapt_lua_format(name, sizeof name, "%s", s->names[i]);
    else
        rapt_lua_format(name, sizeof name, "argument %d", index);
    switch (s->parameters[i]) {
    case KIND_BOOL:
        if (lua_type(L, index) != LUA_TBOOLEAN)
            rapt_lua_fail(L, "%s: %s must be a boolean, got %s", s->name, name,
                          rapt_lua_kind(L, index));
        value->boolean = (uint8_t)lua_toboolean(L, index);
        break;
    case KIND_INT:
        value->integer64 = rapt_lua_integer(L, index, s->name, name);
        if (value->integer64 < INT32_MIN || value->integer64 > INT32_MAX)
            rapt_lua_fail(L, "%s: %s is %lld, beyond an int", s->name, name,
                          (long long)value->integer64);
        value->integer = (int32_t)value->integer64;
        break;
    case KIND_INT64:
        value->integer64 = rapt_lua_integer(L, index, s->name, name);
        break;
    case KIND_DOUBLE:
        value->number = rapt_lua_number(L, index, s->name, name);
        break;
    case KIND_FLOAT:
        value->narrow = (float)rapt_lua_number(L, index, s->name, name);
        break;
    case KIND_STRING:
        value->pointer = rapt_lua_text(L, index, s->name, name);
        break;
    case KIND_TENSOR:
        value->pointer = rapt_tensor_view(rapt_lua_tensor(L, index, s->name, name));
        break;
    default:
        if (!lua_isnil(L, index) && lua_type(L, index) != LUA_TLIGHTUSERDATA)
            rapt_lua_fail(L, "%s: %s must be a pointer or nil, got %s", s->name, name,
                          rapt_lua_kind(L, index));
        value->pointer = lua_touserdata(L, index);
        break;
    }
}

static int push_result(lua_State *L, kind result, const cell *value)
{
    switch (result) {
    case KIND_VOID:
        return 0;
    case KIND_BOOL:
        lua_pushboolean(L, (uint8_t)value->word != 0);
        break;
    case KIND_INT:
        lua_pushinteger(L, (int32_t)value->signed_word);
        break;
    case KIND_INT64:
        lua_pushinteger(L, value->integer64);
        break;
    case KIND_DOUBLE:
        lua_pushnumber(L, value->number);
        break;
    case KIND_FLOAT:
        lua_pushnumber(L, value->narrow);
        break;
    case KIND_STRING:
        lua_pushstring(L, value->pointer); /* NULL: nil */
        break;
    default:
        if (value->pointer)
            lua_pushlightuserdata(L, (void *)(uintptr_t)value->pointer);
        else
            lua_pushnil(L);
        break;
    }
    return 1;
}

static const rapt_function *find_function(const rapt_plugin *plugin, const char *name)
{
    const size_t length = strlen(name);
    uint32_t i;

    for (i = 0; i < plugin->n_functions; i++) {
        const rapt_function *f = RAPT_AT(rapt_function, plugin->functions, i);
        const char *paren = f->signature ? strchr(f->signature, '(') : NULL;
        while (paren && paren > f->signature && isspace((unsigned char)paren[-1]))
            paren--;
        if (paren && (size_t)(paren - f->signature) > length &&
            strncmp(paren - length, name, length) == 0 &&
            isspace((unsigned char)paren[-(ptrdiff_t)length - 1]))
            return f;
    }
    return NULL;
}

/* Upvalues: 2 the plugin's name, 3 the function's, 4 the signature as last parsed. */
static int l_function(lua_State *L)
{
    const char *plugin = lua_tostring(L, lua_upvalueindex(2));
    const char *name = lua_tostring(L, lua_upvalueindex(3));
    signature *s = lua_touserdata(L, lua_upvalueindex(4));
    rapt_context *context = rapt_lua_context(L);
    const rapt_function *function = NULL;
    cell values[MAX_PARAMETERS], result = {0};
    void *pointers[MAX_PARAMETERS];
    size_t k;
    int i;

    for (k = 0; k < rapt_plugin_count(context) && !function; k++) {
        const rapt_plugin_info *info = rapt_plugin_at(context, k);
        if (info->plugin && strcmp(info->name, plugin) == 0)
            function = find_function(info->plugin, name);
    }
    if (!function)
        return rapt_lua_fail(L, "%s: the plugin %s no longer has this function", name, plugin);
    if (strcmp(s->text, function->signature) != 0 && !parse(function->signature, s))
        return rapt_lua_fail(L, "%s: \"%.100s\" of the plugin %s cannot be called from Lua", name,
                             function->signature, plugin);
    if (lua_gettop(L) != s->n)
        return rapt_lua_fail(L, "%s: %d argument%s expected, got %d: %s", name, s->n,
                             s->n == 1 ? "" : "s", lua_gettop(L), s->text);
    for (i = 0; i < s->n; i++) {
        read_argument(L, s, i, &values[i]);
        pointers[i] = &values[i];
    }
    ffi_call(&s->cif, function->function, &result, pointers);
    return push_result(L, s->result, &result);
}

void rapt_lua_push_functions(lua_State *L, const rapt_plugin_info *info)
{
    const rapt_plugin *plugin = info->plugin;
    uint32_t i;

    lua_createtable(L, 0, (int)plugin->n_functions);
    for (i = 0; i < plugin->n_functions; i++) {
        const rapt_function *f = RAPT_AT(rapt_function, plugin->functions, i);
        signature *s;
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushstring(L, info->name);
        s = lua_newuserdatauv(L, sizeof *s, 0);
        s->name[0] = '\0';
        /* A signature that cannot be called is told when it is. */
        if (!parse(f->signature, s))
            s->text[0] = '\0';
        lua_pushstring(L, s->name);
        lua_insert(L, -2);
        lua_pushcclosure(L, l_function, 4);
        lua_setfield(L, -2, s->name);
    }
}
