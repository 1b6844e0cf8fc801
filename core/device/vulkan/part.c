/* Code of a shader for a part of a grid: its SPIR-V with other workgroup numbers. */
#include "device/vulkan/part.h"
#include "base/error.h"
#include "device/vulkan/spirv.h"
#include <stdlib.h>
#include <string.h>

enum { MODE_LOCAL_SIZE = 17, DECORATION_BUILT_IN = 11 };

/* What an id stands for: a variable that counts workgroups, or a component of one. */
enum { OTHER, GROUPS, GROUP, INVOCATION, KINDS };
enum { WHOLE = 3 }; /* no single component */

typedef struct id_of {
    uint8_t kind, component;
    bool constant;
    uint32_t value;
} id_of;

typedef struct rewrite {
    const uint32_t *code;
    size_t words;
    const rapt_vk_part *part;
    id_of *ids;
    uint32_t bound;
    uint32_t uint_type, vector_type, size_id, size[3];
    uint32_t added[KINDS][4]; /* ids of constants: three components, and the vector of them */
    uint32_t *out;
    size_t n_out;
    const char *refused;
} rewrite;

/* --- What the module says -------------------------------------------------------------------- */

static void note_decoration(rewrite *r, const uint32_t *at, uint32_t n)
{
    static const struct {
        uint32_t number;
        uint8_t kind;
    } counts[] = {{24, GROUPS}, {26, GROUP}, {28, INVOCATION}};
    if (n < 4 || at[2] != DECORATION_BUILT_IN || at[1] >= r->bound)
        return;
    if (at[3] == 25)
        r->size_id = at[1];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].number == at[3])
            r->ids[at[1]] = (id_of){.kind = counts[i].kind, .component = WHOLE};
}

static void note(rewrite *r, const uint32_t *at, uint32_t n)
{
    switch (at[0] & 0xffff) {
    case RAPT_SPIRV_DECORATE:
        note_decoration(r, at, n);
        break;
    case RAPT_SPIRV_EXECUTION_MODE:
        if (n == 6 && at[2] == MODE_LOCAL_SIZE)
            memcpy(r->size, at + 3, sizeof r->size);
        break;
    case RAPT_SPIRV_TYPE_INT:
        if (n == 4 && at[2] == 32 && at[3] == 0)
            r->uint_type = at[1];
        break;
    case RAPT_SPIRV_TYPE_VECTOR:
        if (n == 4 && at[2] == r->uint_type && at[3] == 3)
            r->vector_type = at[1];
        break;
    case RAPT_SPIRV_CONSTANT:
        if (n == 4 && at[2] < r->bound)
            r->ids[at[2]] = (id_of){.constant = true, .value = at[3]};
        break;
    default:
        break;
    }
}

/* Calls `each` for every instruction; false where the words are no instructions. */
static bool walk(rewrite *r, void (*each)(rewrite *, const uint32_t *, uint32_t))
{
    for (size_t i = 5; i < r->words;) {
        const uint32_t n = r->code[i] >> 16;
        if (n == 0 || n > r->words - i)
            return false;
        each(r, r->code + i, n);
        i += n;
    }
    return true;
}

/* --- The new module -------------------------------------------------------------------------- */

static void put(rewrite *r, uint32_t op, uint32_t n, const uint32_t *operands)
{
    r->out[r->n_out++] = (n + 1) << 16 | op;
    memcpy(r->out + r->n_out, operands, n * sizeof *operands);
    r->n_out += n;
}

static uint32_t put_constant(rewrite *r, uint32_t value)
{
    const uint32_t id = r->bound++;
    put(r, RAPT_SPIRV_CONSTANT, 3, (uint32_t[]){r->uint_type, id, value});
    return id;
}

/* base times what the workgroup's size is, a constant of the module. */
static uint32_t put_multiple(rewrite *r, uint32_t base, uint32_t component)
{
    const uint32_t size = r->bound++, product = r->bound++;
    put(r, RAPT_SPIRV_SPEC_CONSTANT_OP, 5,
        (uint32_t[]){r->uint_type, size, RAPT_SPIRV_COMPOSITE_EXTRACT, r->size_id, component});
    put(r, RAPT_SPIRV_SPEC_CONSTANT_OP, 5,
        (uint32_t[]){r->uint_type, product, RAPT_SPIRV_I_MULTIPLY, size, base});
    return product;
}

static void put_constants(rewrite *r)
{
    for (uint32_t c = 0; c < 3; c++) {
        const uint32_t base = put_constant(r, r->part->base[c]);
        r->added[GROUPS][c] = put_constant(r, r->part->whole[c]);
        r->added[GROUP][c] = base;
        r->added[INVOCATION][c] =
            r->size_id ? put_multiple(r, base, c) : put_constant(r, r->part->base[c] * r->size[c]);
    }
    for (int kind = GROUPS; kind < KINDS; kind++) {
        const uint32_t *c = r->added[kind];
        const bool special = kind == INVOCATION && r->size_id;
        r->added[kind][WHOLE] = r->bound++;
        put(r, special ? RAPT_SPIRV_SPEC_CONSTANT_COMPOSITE : RAPT_SPIRV_CONSTANT_COMPOSITE, 5,
            (uint32_t[]){r->vector_type, r->added[kind][WHOLE], c[0], c[1], c[2]});
    }
}

/* A load of a number of workgroups: the whole grid's, or what is loaded and where the part begins.
 */
static void put_load(rewrite *r, const uint32_t *at, uint32_t n, id_of of)
{
    const uint32_t more = r->added[of.kind][of.component];
    if (of.kind == GROUPS) {
        put(r, RAPT_SPIRV_COPY_OBJECT, 3, (uint32_t[]){at[1], at[2], more});
        return;
    }
    const uint32_t loaded = r->bound++;
    put(r, RAPT_SPIRV_LOAD, n - 1, at + 1);
    r->out[r->n_out - n + 2] = loaded;
    put(r, RAPT_SPIRV_I_ADD, 4, (uint32_t[]){at[1], at[2], loaded, more});
}

/* Whether one of the operands from `first` on is such a number, by reference. */
static bool refers(const rewrite *r, const uint32_t *at, uint32_t n, uint32_t first)
{
    for (uint32_t i = first; i < n; i++)
        if (at[i] < (uint32_t)r->code[3] && r->ids[at[i]].kind != OTHER)
            return true;
    return false;
}

static void note_component(rewrite *r, const uint32_t *at, uint32_t n)
{
    const uint32_t bound = r->code[3];
    if (n < 5 || at[2] >= bound || at[3] >= bound || r->ids[at[3]].kind == OTHER)
        return;
    const id_of index = n == 5 && at[4] < bound ? r->ids[at[4]] : (id_of){0};
    if (index.constant && index.value < 3)
        r->ids[at[2]] = (id_of){.kind = r->ids[at[3]].kind, .component = (uint8_t)index.value};
    else
        r->refused = "indexes its workgroup's number by what is no constant";
}

static void rewrite_one(rewrite *r, const uint32_t *at, uint32_t n)
{
    const uint32_t op = at[0] & 0xffff;
    if (op == RAPT_SPIRV_FUNCTION && r->added[GROUP][WHOLE] == 0)
        put_constants(r);
    if (op == RAPT_SPIRV_LOAD && n >= 4 && at[3] < r->code[3] && r->ids[at[3]].kind != OTHER) {
        put_load(r, at, n, r->ids[at[3]]);
        return;
    }
    if (op == RAPT_SPIRV_ACCESS_CHAIN || op == RAPT_SPIRV_IN_BOUNDS_ACCESS_CHAIN)
        note_component(r, at, n);
    if ((op == RAPT_SPIRV_FUNCTION_CALL || op == RAPT_SPIRV_COPY_MEMORY ||
         op == RAPT_SPIRV_COPY_MEMORY_SIZED || op == RAPT_SPIRV_COPY_OBJECT ||
         op == RAPT_SPIRV_SELECT || op == RAPT_SPIRV_PHI) &&
        refers(r, at, n,
               op == RAPT_SPIRV_COPY_MEMORY || op == RAPT_SPIRV_COPY_MEMORY_SIZED ? 1 : 3))
        r->refused = "hands its workgroup's number on by reference";
    memcpy(r->out + r->n_out, at, n * sizeof *at);
    r->n_out += n;
}

rapt_status rapt_vk_part_code(const char *shader, const rapt_vk_words *words,
                              const rapt_vk_part *part, rapt_vk_words *result, rapt_error *error)
{
    rewrite r = {.code = words->code, .words = words->bytes / 4, .part = part};
    r.bound = r.words >= 5 ? r.code[3] : 0;
    *result = (rapt_vk_words){0};
    if (r.bound == 0 || r.bound >= RAPT_SPIRV_IDS)
        return rapt_fail(error, RAPT_INVALID, "shader %s: its code is no SPIR-V", shader);
    r.ids = calloc(r.bound, sizeof *r.ids);
    r.out = malloc((4 * r.words + 128) * sizeof *r.out); /* a load of 4 words becomes 9 */
    rapt_status status = RAPT_OK;
    if (!r.ids || !r.out)
        status = rapt_fail_memory(error, 16 * r.words, "a shader's code");
    else if (!walk(&r, note) || !r.uint_type || !r.vector_type || (!r.size_id && !r.size[0]))
        status = rapt_fail(error, RAPT_INVALID,
                           "shader %s: its code is no SPIR-V of a compute shader that knows its "
                           "workgroup's number",
                           shader);
    if (status == RAPT_OK) {
        memcpy(r.out, r.code, 5 * sizeof *r.out);
        r.n_out = 5;
        (void)walk(&r, rewrite_one);
        r.out[3] = r.bound;
    }
    free(r.ids);
    if (status == RAPT_OK && r.refused)
        status = rapt_fail(error, RAPT_UNSUPPORTED,
                           "shader %s has more workgroups than the device counts to, and %s",
                           shader, r.refused);
    if (status != RAPT_OK) {
        free(r.out);
        return status;
    }
    *result = (rapt_vk_words){r.out, r.n_out * sizeof *r.out, r.out};
    return RAPT_OK;
}
