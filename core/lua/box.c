/*
 * Tensors as userdata. Lua's collector sees a few dozen bytes where a tensor holds megabytes, so
 * the memory is counted here and a collection is run when it has grown by more than a share of what
 * was in use after the last one: work in proportion to what was made, and memory in proportion to
 * what is alive.
 */
#include "lua/binding.h"

enum {
    BOX_OVERHEAD = 512, /* bytes of a tensor beyond its elements, about */
    STEP_BOXES = 16,    /* boxes between two steps of Lua's collector, */
    STEP_KIB = 4        /* each as if so much had been allocated */
};
static const int64_t SMALLEST_LIMIT = INT64_C(32) << 20;

rapt_tensor *rapt_lua_test(lua_State *L, int index)
{
    const rapt_lua *self = rapt_lua_self(L);
    const void *table;
    rapt_box *box;

    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return NULL;
    table = lua_topointer(L, -1);
    lua_pop(L, 1);
    if (table != self->tensor_table)
        return NULL;
    box = lua_touserdata(L, index);
    if (!box->tensor)
        rapt_lua_fail(L, "rapt: the tensor has been closed");
    return box->tensor;
}

rapt_tensor *rapt_lua_tensor(lua_State *L, int index, const char *function, const char *argument)
{
    rapt_tensor *tensor = rapt_lua_test(L, index);

    if (!tensor)
        rapt_lua_fail(L, "%s: %s must be a tensor, got %s", function, argument,
                      rapt_lua_kind(L, index));
    return tensor;
}

rapt_box *rapt_lua_box(lua_State *L)
{
    rapt_box *box = lua_newuserdatauv(L, sizeof *box, 0);

    box->tensor = NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, rapt_lua_self(L));
    lua_setmetatable(L, -2);
    return box;
}

void rapt_lua_collect(lua_State *L)
{
    rapt_lua *self = rapt_lua_self(L);
    int64_t heap;

    if (!lua_gc(L, LUA_GCISRUNNING))
        return;
    lua_gc(L, LUA_GCCOLLECT);
    /* A full collection walks Lua's heap: the larger that is, the rarer. */
    heap = (int64_t)lua_gc(L, LUA_GCCOUNT) * 1024;
    self->base = rapt_memory_usage().current;
    self->limit = self->base / 2;
    if (self->limit < 2 * heap)
        self->limit = 2 * heap;
    if (self->limit < SMALLEST_LIMIT)
        self->limit = SMALLEST_LIMIT;
    self->allocated = 0;
}

int rapt_lua_fill(lua_State *L, rapt_box *box, rapt_tensor *tensor, bool fresh,
                  const rapt_error *error)
{
    rapt_lua *self = rapt_lua_self(L);

    if (!tensor)
        return rapt_lua_raise(L, error);
    box->tensor = tensor;
    self->allocated += BOX_OVERHEAD;
    if (fresh)
        self->allocated += rapt_tensor_count(tensor) *
                           (int64_t)rapt_dtype_size(rapt_view_dtype(rapt_tensor_view(tensor)));
    if (self->allocated > self->limit || rapt_memory_usage().current - self->base > self->limit)
        rapt_lua_collect(L);
    else if (++self->boxes % STEP_BOXES == 0 && lua_gc(L, LUA_GCISRUNNING))
        lua_gc(L, LUA_GCSTEP, STEP_KIB);
    return 1;
}

void rapt_lua_push(lua_State *L, rapt_tensor *tensor)
{
    rapt_lua_box(L)->tensor = rapt_tensor_retain(tensor);
}

int rapt_lua_tensor_gc(lua_State *L)
{
    rapt_box *box = lua_touserdata(L, 1);

    rapt_tensor_release(box->tensor);
    box->tensor = NULL;
    return 0;
}
