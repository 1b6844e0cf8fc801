/* SPIR-V with bfloat16 in place of float16; numbers that are not of spirv.h are of
 * SPV_KHR_bfloat16. glslang 15.1 has no word for the type, so that no source could have it. */
#include "device/vulkan/bfloat.h"
#include "base/error.h"
#include "device/vulkan/spirv.h"
#include <stdlib.h>
#include <string.h>

enum {
    CAPABILITY_COOPERATIVE_MATRIX = 6022,
    CAPABILITY_BFLOAT16 = 5116,
    CAPABILITY_BFLOAT16_COOPERATIVE_MATRIX = 5118,
    ENCODING_BFLOAT16 = 0
};

#define MOST_FLOAT16  0x477fe000u /* 65504 in float32 */
#define MOST_BFLOAT16 0x7f7f0000u /* the greatest bfloat16 in float32 */
#define SIGN          0x80000000u

/* What an id is: a type of 16-bit floats or of vectors of them, the same of float32, values of
 * these. */
enum { OTHER, NARROW, SINGLE, NARROW_VALUE, SINGLE_VALUE };

enum { LANES = 4 };

/* What rounding numbers of so many lanes needs: ids, 0 where the module has none. */
typedef struct lane_ids {
    uint32_t narrow, floats, uints, signature; /* types; the last takes floats and returns them */
    uint32_t upper, half, kept;                /* constants: two masks, and half a unit's factor */
    uint32_t rounds;                           /* the function */
    bool called;
} lane_ids;

typedef struct retype {
    const uint32_t *code;
    size_t words;
    uint8_t *ids;
    uint32_t bound, next; /* ids: the module's, and the first that is free */
    lane_ids of[LANES + 1];
    uint32_t *out;
    size_t n_out;
    bool matrices, declared, narrow, prepared;
    const char *refused;
} retype;

static void put(retype *r, const uint32_t *words, uint32_t n)
{
    memcpy(r->out + r->n_out, words, n * sizeof *words);
    r->n_out += n;
}

static void put_op(retype *r, uint32_t op, uint32_t n, const uint32_t *operands)
{
    put(r, (uint32_t[]){(n + 1) << 16 | op}, 1);
    put(r, operands, n);
}
#define PUT(r, op, ...)                                                                            \
    put_op(r, RAPT_SPIRV_##op, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__})

/* After the last capability, where extensions begin. */
static void declare(retype *r)
{
    uint32_t name[6] = {6u << 16 | RAPT_SPIRV_EXTENSION};
    memcpy(name + 1, "SPV_KHR_bfloat16", 16);
    put(r, (uint32_t[]){2u << 16 | RAPT_SPIRV_CAPABILITY, CAPABILITY_BFLOAT16}, 2);
    if (r->matrices)
        put(r,
            (uint32_t[]){2u << 16 | RAPT_SPIRV_CAPABILITY, CAPABILITY_BFLOAT16_COOPERATIVE_MATRIX},
            2);
    put(r, name, 6);
    r->declared = true;
}

static uint8_t kind_of(const retype *r, uint32_t id)
{
    return id < r->bound ? r->ids[id] : OTHER;
}

/* Whether an instruction whose result is of 16-bit floats does no more than move or convert. Those
 * from OpVectorExtractDynamic to OpCopyObject take vectors apart and put them together. */
static bool moves(uint32_t op)
{
    return op == RAPT_SPIRV_UNDEF || op == RAPT_SPIRV_CONSTANT ||
           op == RAPT_SPIRV_CONSTANT_COMPOSITE || op == RAPT_SPIRV_CONSTANT_NULL ||
           op == RAPT_SPIRV_FUNCTION || op == RAPT_SPIRV_FUNCTION_PARAMETER ||
           op == RAPT_SPIRV_FUNCTION_CALL || op == RAPT_SPIRV_LOAD ||
           (op >= RAPT_SPIRV_VECTOR_EXTRACT_DYNAMIC && op <= RAPT_SPIRV_COPY_OBJECT) ||
           op == RAPT_SPIRV_F_CONVERT || op == RAPT_SPIRV_BITCAST || op == RAPT_SPIRV_SELECT ||
           op == RAPT_SPIRV_PHI;
}

static void note_vector(retype *r, const uint32_t *at)
{
    lane_ids *of = at[3] >= 2 && at[3] <= LANES ? &r->of[at[3]] : NULL;
    const uint8_t kind = kind_of(r, at[2]);
    if (kind == NARROW || kind == SINGLE)
        r->ids[at[1]] = kind;
    if (!of)
        return;
    if (kind == NARROW)
        of->narrow = at[1];
    else if (at[2] == r->of[1].floats)
        of->floats = at[1];
    else if (at[2] == r->of[1].uints)
        of->uints = at[1];
}

static void note_float(retype *r, const uint32_t *at)
{
    r->ids[at[1]] = at[2] == 16 ? NARROW : at[2] == 32 ? SINGLE : OTHER;
    r->narrow |= at[2] == 16;
    if (at[2] == 16)
        r->of[1].narrow = at[1];
    if (at[2] == 32)
        r->of[1].floats = at[1];
}

static void note_type(retype *r, uint32_t op, const uint32_t *at, uint32_t n)
{
    if (n < 2 || at[1] >= r->bound)
        return;
    if (op == RAPT_SPIRV_TYPE_FLOAT && n == 3)
        note_float(r, at);
    if (op == RAPT_SPIRV_TYPE_INT && n == 4 && at[2] == 32 && at[3] == 0)
        r->of[1].uints = at[1];
    if (op == RAPT_SPIRV_TYPE_VECTOR && n == 4)
        note_vector(r, at);
    for (int i = 1; i <= LANES && op == RAPT_SPIRV_TYPE_FUNCTION && n == 4; i++)
        if (at[2] == r->of[i].floats && at[3] == at[2])
            r->of[i].signature = at[1];
}

/* Of an instruction with a result: its type stands first. (What looks like one and has none cannot
 * name a type there.) */
static void note_value(retype *r, uint32_t op, const uint32_t *at, uint32_t n)
{
    if (n < 3 || at[2] >= r->bound)
        return;
    if (kind_of(r, at[1]) == SINGLE)
        r->ids[at[2]] = SINGLE_VALUE;
    if (kind_of(r, at[1]) != NARROW)
        return;
    if (!moves(op))
        r->refused = "computes with its 16-bit floats";
    else if (op == RAPT_SPIRV_CONSTANT && at[3] != 0)
        r->refused = "has constants of 16-bit floats";
    else
        r->ids[at[2]] = NARROW_VALUE;
}

static void note_comparison(retype *r, const uint32_t *at, uint32_t n)
{
    for (uint32_t i = 3; i < n; i++)
        if (kind_of(r, at[i]) == NARROW_VALUE)
            r->refused = "compares its 16-bit floats";
}

/* --- Rounding -------------------------------------------------------------------------------- */

/* Vulkan leaves it to the device how a conversion to 16 bits rounds, and NVIDIA's cuts off: the
 * weights of a softmax were 0.2 % too small on average, and a second product with them doubled it.
 * So what is converted is rounded before, in float32, to what bfloat16 holds:
 *
 *     (x + (x & UPPER) * HALF) & KEPT
 *
 * x & UPPER is the power of two below x, with the last bit that bfloat16 keeps of x. The sum passes
 * the next bfloat16 where x is beyond the middle, or in it and that bit is set: to nearest, ties to
 * even; but with that bit set the last 256th of a unit below the middle goes up as well. Infinity
 * and NaN remain what they are. Denormals are cut off. (Exact rounding by integers, which must take
 * NaNs apart, cost 5 to 15 % of a kernel on that device; this, 1 % of most.) */
#define UPPER 0xff810000u
#define HALF  0x3b7ffe00u /* 2^-8 - 2^-23 */
#define KEPT  0xffff0000u

/* A type of the module's, which it must not have twice. */
static void need(retype *r, uint32_t *id, uint32_t op, uint32_t first, uint32_t second)
{
    if (*id != 0)
        return;
    *id = r->next++;
    put(r, (uint32_t[]){4u << 16 | op, *id, first, second}, 4);
}

static uint32_t put_number(retype *r, uint32_t lanes, uint32_t one, uint32_t all, uint32_t value)
{
    const uint32_t id = r->next++;
    PUT(r, CONSTANT, one, id, value);
    if (lanes == 1)
        return id;
    const uint32_t words[2 + LANES] = {all, r->next++, id, id, id, id};
    put_op(r, RAPT_SPIRV_CONSTANT_COMPOSITE, 2 + lanes, words);
    return words[1];
}

/* Before the module's first function. */
static void prepare(retype *r)
{
    r->prepared = true;
    for (uint32_t i = 1; i <= LANES; i++) {
        lane_ids *of = &r->of[i];
        if (of->floats == 0 || of->narrow == 0)
            continue;
        need(r, &r->of[1].uints, RAPT_SPIRV_TYPE_INT, 32, 0);
        need(r, &of->uints, RAPT_SPIRV_TYPE_VECTOR, r->of[1].uints, i);
        need(r, &of->signature, RAPT_SPIRV_TYPE_FUNCTION, of->floats, of->floats);
        of->upper = put_number(r, i, r->of[1].uints, of->uints, UPPER);
        of->half = put_number(r, i, r->of[1].floats, of->floats, HALF);
        of->kept = put_number(r, i, r->of[1].uints, of->uints, KEPT);
        of->rounds = r->next++;
    }
}

static void put_rounding(retype *r, const lane_ids *of)
{
    const uint32_t x = r->next, result = x + 9;
    r->next += 10;
    PUT(r, FUNCTION, of->floats, of->rounds, 0, of->signature);
    PUT(r, FUNCTION_PARAMETER, of->floats, x);
    PUT(r, LABEL, x + 1);
    PUT(r, BITCAST, of->uints, x + 2, x);
    PUT(r, BITWISE_AND, of->uints, x + 3, x + 2, of->upper);
    PUT(r, BITCAST, of->floats, x + 4, x + 3);
    PUT(r, F_MULTIPLY, of->floats, x + 5, x + 4, of->half);
    PUT(r, F_ADD, of->floats, x + 6, x, x + 5);
    PUT(r, BITCAST, of->uints, x + 7, x + 6);
    PUT(r, BITWISE_AND, of->uints, x + 8, x + 7, of->kept);
    PUT(r, BITCAST, of->floats, result, x + 8);
    PUT(r, RETURN_VALUE, result);
    put(r, (uint32_t[]){1u << 16 | RAPT_SPIRV_FUNCTION_END}, 1);
}

static void put_conversion(retype *r, const uint32_t *at)
{
    for (int i = 1; i <= LANES; i++) {
        lane_ids *of = &r->of[i];
        if (at[1] != of->narrow || of->rounds == 0 || kind_of(r, at[3]) != SINGLE_VALUE)
            continue;
        const uint32_t rounded = r->next++;
        of->called = true;
        PUT(r, FUNCTION_CALL, of->floats, rounded, of->rounds, at[3]);
        PUT(r, F_CONVERT, at[1], at[2], rounded);
        return;
    }
    r->refused = "converts to 16-bit floats from others than float32";
}

/* --- The new module -------------------------------------------------------------------------- */

static void retype_one(retype *r, const uint32_t *at, uint32_t n)
{
    const uint32_t op = at[0] & 0xffff;
    if (op == RAPT_SPIRV_CAPABILITY)
        r->matrices |= n == 2 && at[1] == CAPABILITY_COOPERATIVE_MATRIX;
    else if (!r->declared)
        declare(r);
    if (op >= RAPT_SPIRV_TYPE_INT && op <= RAPT_SPIRV_TYPE_FUNCTION)
        note_type(r, op, at, n);
    else if (op >= RAPT_SPIRV_IS_NAN && op <= RAPT_SPIRV_F_UNORD_GREATER_THAN_EQUAL &&
             op != RAPT_SPIRV_SELECT)
        note_comparison(r, at, n);
    else
        note_value(r, op, at, n);
    if (op == RAPT_SPIRV_FUNCTION && !r->prepared)
        prepare(r);
    if (op == RAPT_SPIRV_F_CONVERT && n == 4 && kind_of(r, at[1]) == NARROW) {
        put_conversion(r, at);
        return;
    }
    put(r, at, n);
    uint32_t *last = r->out + r->n_out - n;
    if (op == RAPT_SPIRV_TYPE_FLOAT && n == 3 && at[2] == 16) {
        last[0] += 1u << 16;
        put(r, (uint32_t[]){ENCODING_BFLOAT16}, 1);
    }
    if (op == RAPT_SPIRV_CONSTANT && n == 4 && kind_of(r, at[1]) == SINGLE &&
        (at[3] & ~SIGN) == MOST_FLOAT16)
        last[3] = (at[3] & SIGN) | MOST_BFLOAT16;
}

static bool retype_all(retype *r)
{
    put(r, r->code, 5);
    for (size_t i = 5; i < r->words;) {
        const uint32_t n = r->code[i] >> 16;
        if (n == 0 || n > r->words - i)
            return false;
        retype_one(r, r->code + i, n);
        i += n;
    }
    for (int i = 1; i <= LANES; i++)
        if (r->of[i].called)
            put_rounding(r, &r->of[i]);
    r->out[3] = r->next;
    return r->narrow;
}

rapt_status rapt_vk_bfloat_code(const char *shader, const rapt_vk_words *words,
                                rapt_vk_words *result, rapt_error *error)
{
    retype r = {.code = words->code, .words = words->bytes / 4};
    r.bound = r.next = r.words >= 5 ? r.code[3] : 0;
    *result = (rapt_vk_words){0};
    if (r.bound == 0 || r.bound >= RAPT_SPIRV_IDS)
        return rapt_fail(error, RAPT_INVALID, "shader %s: its code is no SPIR-V", shader);
    r.ids = calloc(r.bound, sizeof *r.ids);
    /* An OpFConvert of 4 words becomes 9; what is declared has 10, and each rounding less than 128.
     */
    r.out = malloc((3 * r.words + 16 + 128 * LANES) * sizeof *r.out);
    rapt_status status = RAPT_OK;
    if (!r.ids || !r.out)
        status = rapt_fail_memory(error, 8 * r.words, "a shader's code");
    else if (!retype_all(&r))
        status = rapt_fail(error, RAPT_INVALID,
                           "shader %s: its code is no SPIR-V that has 16-bit floats", shader);
    else if (r.refused)
        status = rapt_fail(error, RAPT_UNSUPPORTED, "shader %s cannot take bfloat16: its code %s",
                           shader, r.refused);
    free(r.ids);
    if (status != RAPT_OK) {
        free(r.out);
        return status;
    }
    *result = (rapt_vk_words){r.out, r.n_out * sizeof *r.out, r.out};
    return RAPT_OK;
}
