/* What a shader's shared variables take: SPIR-V's types, and constants as far as sizes of arrays
 * are made of them. */
#include "device/vulkan/shared.h"
#include "device/vulkan/spirv.h"
#include <stdlib.h>

enum { DECORATION_SPEC_ID = 1, CLASS_WORKGROUP = 4 };

#define UNKNOWN    UINT64_MAX
#define MOST_BYTES ((uint64_t)1 << 40) /* more than there is anywhere */

/* What an id stands for, as far as it matters. */
typedef struct meaning {
    uint64_t bytes; /* of a type; 0: none that can be shared */
    uint32_t align;
    uint32_t shared;    /* of a type of pointers: the type that is in shared memory, or 0 */
    uint32_t composite; /* of a constant: where its instruction is, if it has parts */
    uint32_t constant;  /* its specialization constant, counted from 1 */
    uint32_t value;
    bool known; /* the value */
} meaning;

typedef struct census {
    const uint32_t *code, *constants;
    size_t words;
    uint32_t n, bound;
    meaning *ids;
    uint64_t bytes;
} census;

static meaning *of(const census *c, uint32_t id)
{
    return &c->ids[id < c->bound ? id : 0];
}

static uint64_t rounded(uint64_t bytes, uint64_t align)
{
    return align ? (bytes + align - 1) / align * align : bytes;
}

/* --- Types ----------------------------------------------------------------------------------- */

/* n of what takes `each`: never more than MOST_BYTES, and UNKNOWN if that is. */
static uint64_t several(uint64_t each, uint64_t n)
{
    if (each == UNKNOWN || n == 0 || each == 0)
        return each == UNKNOWN ? UNKNOWN : 0;
    return each > MOST_BYTES / n ? MOST_BYTES : each * n;
}

/* `bytes`, then a part of such a type. */
static uint64_t followed(uint64_t bytes, const meaning *part)
{
    if (bytes == UNKNOWN || part->bytes == UNKNOWN)
        return UNKNOWN;
    const uint64_t sum = rounded(bytes, part->align) + part->bytes;
    return sum < MOST_BYTES ? sum : MOST_BYTES;
}

static void note_struct(census *c, const uint32_t *at, uint32_t n)
{
    meaning *type = of(c, at[1]);
    for (uint32_t i = 2; i < n; i++) {
        const meaning *part = of(c, at[i]);
        type->bytes = followed(type->bytes, part);
        type->align = type->align > part->align ? type->align : part->align;
    }
    if (type->bytes != UNKNOWN)
        type->bytes = rounded(type->bytes, type->align);
}

static void note_array(census *c, const uint32_t *at)
{
    const meaning *part = of(c, at[2]), *length = of(c, at[3]);
    meaning *type = of(c, at[1]);
    const uint64_t each = part->bytes == UNKNOWN ? UNKNOWN : rounded(part->bytes, part->align);
    type->align = part->align;
    type->bytes = length->known ? several(each, length->value) : UNKNOWN;
}

static void note_type(census *c, uint32_t op, const uint32_t *at, uint32_t n)
{
    meaning *type = of(c, at[1]);
    const uint64_t part = n > 2 ? of(c, at[2])->bytes : 0;
    if (op == RAPT_SPIRV_TYPE_BOOL)
        type->bytes = type->align = 4;
    else if ((op == RAPT_SPIRV_TYPE_INT || op == RAPT_SPIRV_TYPE_FLOAT) && n > 2)
        type->bytes = type->align = at[2] / 8;
    else if (op == RAPT_SPIRV_TYPE_VECTOR && n == 4 && at[3] <= 4) {
        type->bytes = several(part, at[3]);
        type->align = of(c, at[2])->align * (at[3] == 3 ? 4 : at[3]);
    } else if (op == RAPT_SPIRV_TYPE_ARRAY && n == 4)
        note_array(c, at);
    else if (op == RAPT_SPIRV_TYPE_STRUCT)
        note_struct(c, at, n);
    else if (op == RAPT_SPIRV_TYPE_POINTER && n == 4 && at[2] == CLASS_WORKGROUP)
        type->shared = at[3];
}

/* --- Constants ------------------------------------------------------------------------------- */

/* A constant of the module, or what the dispatch has in its place. */
static void note_constant(census *c, const uint32_t *at, uint32_t value)
{
    meaning *m = of(c, at[2]);
    m->known = true;
    m->value = m->constant && m->constant <= c->n ? c->constants[m->constant - 1] : value;
}

static bool operate(uint32_t op, uint32_t a, uint32_t b, uint32_t *value)
{
    const int32_t x = (int32_t)a, y = (int32_t)b;
    switch (op) {
    case 126: /* OpSNegate */
        *value = 0u - a;
        return true;
    case RAPT_SPIRV_I_ADD:
        *value = a + b;
        return true;
    case 130: /* OpISub */
        *value = a - b;
        return true;
    case RAPT_SPIRV_I_MULTIPLY:
        *value = a * b;
        return true;
    case 134: /* OpUDiv */
        *value = b ? a / b : 0;
        return b != 0;
    case 137: /* OpUMod */
        *value = b ? a % b : 0;
        return b != 0;
    case 166: /* OpLogicalOr */
        *value = a || b;
        return true;
    case 167: /* OpLogicalAnd */
        *value = a && b;
        return true;
    case 168: /* OpLogicalNot */
        *value = !a;
        return true;
    case 170: /* OpIEqual */
        *value = a == b;
        return true;
    case 171: /* OpINotEqual */
        *value = a != b;
        return true;
    case 172: /* OpUGreaterThan */
        *value = a > b;
        return true;
    case 173: /* OpSGreaterThan */
        *value = x > y;
        return true;
    case 174: /* OpUGreaterThanEqual */
        *value = a >= b;
        return true;
    case 176: /* OpULessThan */
        *value = a < b;
        return true;
    case 177: /* OpSLessThan */
        *value = x < y;
        return true;
    case 178: /* OpULessThanEqual */
        *value = a <= b;
        return true;
    case 194: /* OpShiftRightLogical */
        *value = b < 32 ? a >> b : 0;
        return b < 32;
    case 196: /* OpShiftLeftLogical */
        *value = b < 32 ? a << b : 0;
        return b < 32;
    case 197: /* OpBitwiseOr */
        *value = a | b;
        return true;
    case RAPT_SPIRV_BITWISE_AND:
        *value = a & b;
        return true;
    default:
        return false;
    }
}

/* OpSpecConstantOp: type, id, instruction, operands. */
static void note_operation(census *c, const uint32_t *at, uint32_t n)
{
    meaning *m = of(c, at[2]);
    const meaning *a = of(c, at[4]), *b = n > 5 ? of(c, at[5]) : a;
    if (at[3] == RAPT_SPIRV_COMPOSITE_EXTRACT && n == 6 && a->composite) {
        const uint32_t *parts = c->code + a->composite;
        if (at[5] + 3 < parts[0] >> 16) {
            m->known = of(c, parts[at[5] + 3])->known;
            m->value = of(c, parts[at[5] + 3])->value;
        }
    } else if (at[3] == RAPT_SPIRV_SELECT && n == 7) {
        const meaning *chosen = a->value ? b : of(c, at[6]);
        m->known = a->known && chosen->known;
        m->value = chosen->value;
    } else {
        m->known = a->known && b->known && operate(at[3], a->value, b->value, &m->value);
    }
}

/* --- The module ------------------------------------------------------------------------------ */

static void note_variable(census *c, const uint32_t *at)
{
    const uint32_t shared = of(c, at[1])->shared;
    const meaning *type = of(c, shared);
    if (!shared || at[3] != CLASS_WORKGROUP)
        return;
    c->bytes = type->bytes == 0 ? UNKNOWN : followed(c->bytes, type);
}

static void note(census *c, size_t place, uint32_t n)
{
    const uint32_t *at = c->code + place, op = at[0] & 0xffff;
    if (op == RAPT_SPIRV_DECORATE && n == 4 && at[2] == DECORATION_SPEC_ID)
        of(c, at[1])->constant = at[3] < UINT32_MAX ? at[3] + 1 : 0;
    else if (op >= RAPT_SPIRV_TYPE_BOOL && op <= RAPT_SPIRV_TYPE_POINTER && n > 1)
        note_type(c, op, at, n);
    else if ((op == RAPT_SPIRV_CONSTANT_TRUE || op == RAPT_SPIRV_SPEC_CONSTANT_TRUE) && n == 3)
        note_constant(c, at, 1);
    else if ((op == RAPT_SPIRV_CONSTANT_FALSE || op == RAPT_SPIRV_SPEC_CONSTANT_FALSE) && n == 3)
        note_constant(c, at, 0);
    else if ((op == RAPT_SPIRV_CONSTANT || op == RAPT_SPIRV_SPEC_CONSTANT) && n == 4)
        note_constant(c, at, at[3]);
    else if ((op == RAPT_SPIRV_CONSTANT_COMPOSITE || op == RAPT_SPIRV_SPEC_CONSTANT_COMPOSITE) &&
             n > 2)
        of(c, at[2])->composite = (uint32_t)place;
    else if (op == RAPT_SPIRV_SPEC_CONSTANT_OP && n > 4)
        note_operation(c, at, n);
    else if (op == RAPT_SPIRV_VARIABLE && n > 3)
        note_variable(c, at);
}

bool rapt_vk_shared_bytes(const rapt_vk_words *words, const uint32_t *constants, uint32_t n,
                          uint64_t *bytes)
{
    census c = {.code = words->code, .words = words->bytes / 4, .constants = constants, .n = n};
    c.bound = c.words >= 5 ? c.code[3] : 0;
    *bytes = 0;
    if (c.bound == 0 || c.bound >= RAPT_SPIRV_IDS)
        return false;
    c.ids = calloc(c.bound, sizeof *c.ids);
    bool whole = c.ids != NULL;
    for (size_t i = 5; whole && i < c.words;) {
        const uint32_t length = c.code[i] >> 16;
        if ((c.code[i] & 0xffff) == RAPT_SPIRV_FUNCTION)
            break; /* what is shared is declared before */
        whole = length > 0 && length <= c.words - i;
        if (whole)
            note(&c, i, length);
        i += length;
    }
    free(c.ids);
    *bytes = c.bytes;
    return whole && c.bytes != UNKNOWN;
}
