/*
 * The Lua binding: the module "rapt.core", written against rapt/rapt.h alone.
 *
 * Rules of this room
 *
 * - Ownership. A tensor that Lua sees is a box: a full userdata that holds one reference. A
 * function pushes its empty box before it asks the core for the tensor, so that a Lua error can
 * come between no reference and its box.
 * - Errors. Raised with rapt_lua_fail or rapt_lua_raise: one line, in front of it the place in the
 *   user's program; levels inside the Lua library of rapt are passed over.
 * - Indices. Dimensions and positions come and go counted from 1, or from the end if negative.
 * - State. Every C function has the rapt_lua of its interpreter as first upvalue.
 */
#ifndef RAPT_LUA_BINDING_H
#define RAPT_LUA_BINDING_H

#include <lauxlib.h>
#include <lua.h>
#include <rapt/rapt.h>

#define RAPT_LUA_TENSOR "rapt.tensor"
#define RAPT_LUA_STATE  "rapt.state"

enum { RAPT_LUA_MAX_ARGS = 32, RAPT_LUA_MAX_ATTRS = 32 };

/* What one Lua state has of rapt: a userdata that lives until the interpreter closes. */
typedef struct rapt_lua {
    rapt_context *context;    /* NULL once the interpreter is closing */
    const void *tensor_table; /* the metatable of tensors, kept alive by the registry */
    int64_t allocated;        /* bytes of tensors made since the last forced collection */
    int64_t base;             /* bytes in use after it */
    unsigned boxes;           /* made so far */
    int64_t limit;            /* growth that forces the next one */
    char library[512];        /* folder of the Lua library, as chunk names begin; "" unknown */
} rapt_lua;

typedef struct rapt_box {
    rapt_tensor *tensor; /* NULL: not yet made, or closed */
} rapt_box;

static inline rapt_lua *rapt_lua_self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* --- errors.c -------------------------------------------------------------------------------- */

int rapt_lua_fail(lua_State *L, const char *format, ...) RAPT_PRINTF(2, 3);
int rapt_lua_raise(lua_State *L, const rapt_error *error);
/* The same under the name that the user called, instead of the core's own. */
int rapt_lua_raise_as(lua_State *L, const char *function, const rapt_error *error);
/* "q [1,8,128,64]"-like text of a shape; `text` holds RAPT_LUA_SHAPE_TEXT bytes. */
#define RAPT_LUA_SHAPE_TEXT 200
const char *rapt_lua_shape_text(const rapt_view *view, char *text);
/* What a value is, in an error: "a tensor", "nil", "a number". */
const char *rapt_lua_kind(lua_State *L, int index);
/* Formats as C does; for errors and for printing. */
void rapt_lua_format(char *text, size_t size, const char *format, ...) RAPT_PRINTF(3, 4);

/* --- arguments.c: checked values from the stack; `function` names the caller in errors -------- */

rapt_context *rapt_lua_context(lua_State *L);
int64_t rapt_lua_integer(lua_State *L, int index, const char *function, const char *argument);
double rapt_lua_number(lua_State *L, int index, const char *function, const char *argument);
const char *rapt_lua_text(lua_State *L, int index, const char *function, const char *argument);
/* A dimension counted from 1 (or from the end) as an index from 0. */
int32_t rapt_lua_dim(lua_State *L, int index, int32_t ndim, const char *function,
                     const char *argument);
/* Sizes from arguments first..last, or from the table at `first`. Returns how many. */
int32_t rapt_lua_sizes(lua_State *L, int first, int last, int64_t *sizes, bool free_size,
                       const char *function);

/* The table of options that ends an argument list. */
typedef struct rapt_lua_options {
    rapt_dtype dtype;
    rapt_device device;
    bool has_dtype;
    bool requires_grad;
} rapt_lua_options;
/* Reads the options at the top of the stack if it is a table of options, and returns the number of
 * arguments before it. */
int rapt_lua_read_options(lua_State *L, rapt_dtype dtype, rapt_lua_options *options,
                          const char *function);
rapt_dtype rapt_lua_dtype(lua_State *L, int index, const char *function);
rapt_device rapt_lua_device(lua_State *L, int index, const char *function);

/* --- box.c: tensors as userdata, and their share in garbage collection ------------------------ */

rapt_tensor *rapt_lua_test(lua_State *L, int index); /* NULL: not a tensor */
rapt_tensor *rapt_lua_tensor(lua_State *L, int index, const char *function, const char *argument);
rapt_box *rapt_lua_box(lua_State *L);
/* Fills a box with a reference that is taken over; NULL raises `error`. Counts `fresh` memory and
 * may run a collection. Returns 1, for `return`. */
int rapt_lua_fill(lua_State *L, rapt_box *box, rapt_tensor *tensor, bool fresh,
                  const rapt_error *error);
/* Pushes a box for a tensor that somebody else also holds. */
void rapt_lua_push(lua_State *L, rapt_tensor *tensor);
/* Collects garbage where tensors made since the last time call for it. */
void rapt_lua_collect(lua_State *L);
int rapt_lua_tensor_gc(lua_State *L);

/* --- elements.c ------------------------------------------------------------------------------ */

/* The tensor, or a copy of it, on the CPU and in a dtype that Lua can read without loss (f32 for
 * f16 and bf16), in a box that is pushed. */
rapt_tensor *rapt_lua_readable(lua_State *L, rapt_tensor *tensor);
void rapt_lua_push_element(lua_State *L, const void *element, rapt_dtype dtype);
double rapt_lua_element(const void *element, rapt_dtype dtype);
/* create.c: a new tensor in a box that is pushed; memory not initialised. */
rapt_box *rapt_lua_new(lua_State *L, rapt_dtype dtype, rapt_device device, int32_t ndim,
                       const int64_t *shape, const char *function);
/* Moves a fresh CPU tensor in the box at the top to what `options` ask for. Returns 1. */
int rapt_lua_finish(lua_State *L, rapt_box *box, const rapt_lua_options *options);

/* create.c: stores the number or boolean at `index` as element `i` of CPU memory; returns NULL, or
 * what is wrong with it. Not for f16 and bf16: rapt_lua_wide says what to store instead. */
const char *rapt_lua_store(lua_State *L, int index, rapt_dtype dtype, void *elements, int64_t i);
rapt_dtype rapt_lua_wide(rapt_dtype dtype);
int rapt_lua_from_table(lua_State *L);   /* table.c: rapt.tensor */
int rapt_lua_tensor_print(lua_State *L); /* print.c: __tostring */
/* Pushes t[key] for a table key: integers select, {from, to} narrows, {} keeps. view.c */
void rapt_lua_select_all(lua_State *L, rapt_tensor *tensor, int key);
int rapt_lua_select(lua_State *L, rapt_tensor *tensor, int key);

/* --- call.c ---------------------------------------------------------------------------------- */

/* A call in the making. Strings and tensors are borrowed from the Lua values it was read from. */
typedef struct rapt_lua_call {
    const rapt_operator *op;
    const char *name;
    bool core; /* of the core: dimensions among its attributes count from 1 in Lua */
    size_t n_inputs, n_attrs, n_outputs, n_scalars;
    rapt_named_tensor inputs[RAPT_LUA_MAX_ARGS];
    rapt_named_value attrs[RAPT_LUA_MAX_ATTRS];
    rapt_named_tensor outputs[RAPT_LUA_MAX_ARGS];
    struct {
        size_t input; /* whose tensor is still to be made of a number */
        double value;
    } scalars[RAPT_LUA_MAX_ARGS];
    char names[256]; /* of outputs that the caller did not name */
} rapt_lua_call;

/* Finds the operator and asks for its outputs that are not optional. */
void rapt_lua_begin_call(lua_State *L, rapt_lua_call *call, const char *name);
/* Adds the value at `index` under a name: a tensor as input, anything else as attribute. */
void rapt_lua_add_named(lua_State *L, rapt_lua_call *call, const char *key, int index);
/* The tables at `first`..`last`, which may be nil; the key "returns" asks for optional outputs. */
void rapt_lua_add_tables(lua_State *L, rapt_lua_call *call, int first, int last,
                         const char *function);
/* Orders the arguments and makes tensors of numbers, in boxes that are pushed. */
void rapt_lua_end_call(lua_State *L, rapt_lua_call *call);
/* begin, add_tables, end. */
void rapt_lua_read_call(lua_State *L, rapt_lua_call *call, const char *name, int first, int last,
                        const char *function);
/* Runs it and pushes the first output, then a table of the others if there are any or `always`. */
int rapt_lua_run_call(lua_State *L, rapt_lua_call *call, bool always);
/* Length of the name at the start of a spec "name: ...". */
size_t rapt_lua_name_length(const char *spec);
/* A fresh tensor without dimensions in a pushed box. */
rapt_tensor *rapt_lua_scalar(lua_State *L, double value, const rapt_view *like);

bool rapt_lua_is_dim(const char *name);

/* --- system.c, functions.c ------------------------------------------------------------------- */

/* Push the text, or a list of the names, and free them. */
void rapt_lua_push_owned(lua_State *L, char *text);
void rapt_lua_push_names(lua_State *L, const char **names);
/* A table of the plugin's helper functions. */
void rapt_lua_push_functions(lua_State *L, const rapt_plugin_info *info);

/* --- Groups of functions, entered into the table at the top of the stack ---------------------- */

void rapt_lua_register(lua_State *L, const luaL_Reg *functions);
void rapt_lua_open_create(lua_State *L);
void rapt_lua_open_call(lua_State *L);
void rapt_lua_open_methods(lua_State *L);
void rapt_lua_open_files(lua_State *L);
void rapt_lua_open_decode(lua_State *L);
void rapt_lua_open_system(lua_State *L);
void rapt_lua_open_describe(lua_State *L);
void rapt_lua_open_compare(lua_State *L);
void rapt_lua_open_vulkan(lua_State *L);
/* Methods of tensors. */
void rapt_lua_tensor_methods(lua_State *L);
void rapt_lua_element_methods(lua_State *L);
void rapt_lua_view_methods(lua_State *L);
void rapt_lua_compare_methods(lua_State *L);
/* The metatable of tensors; the methods stand at index `methods`. */
void rapt_lua_tensor_table(lua_State *L, int methods);
void rapt_lua_arithmetic(lua_State *L);

RAPT_API int luaopen_rapt_core(lua_State *L);

#endif
