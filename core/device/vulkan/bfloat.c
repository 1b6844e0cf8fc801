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

/* What an id is: a type of 16-bit floats or of vectors of them, the type float32, a value of the
 * former. */
enum { OTHER, NARROW, SINGLE, NARROW_VALUE };

typedef struct retype {
    const uint32_t *code;
    size_t words;
    uint8_t *ids;
    uint32_t bound;
    uint32_t *out;
    size_t n_out;
    bool matrices, declared, narrow;
    const char *refused;
} retype;

static void put(retype *r, const uint32_t *words, uint32_t n)
{
    memcpy(r->out + r->n_out, words, n * sizeof *words);
    r->n_out += n;
}

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

static void note_type(retype *r, uint32_t op, const uint32_t *at, uint32_t n)
{
    if (op == RAPT_SPIRV_TYPE_FLOAT && n == 3 && at[1] < r->bound) {
        r->ids[at[1]] = at[2] == 16 ? NARROW : at[2] == 32 ? SINGLE : OTHER;
        r->narrow |= at[2] == 16;
    }
    if (op == RAPT_SPIRV_TYPE_VECTOR && n == 4 && at[1] < r->bound && kind_of(r, at[2]) == NARROW)
        r->ids[at[1]] = NARROW;
}

/* Of an instruction with a result: its type stands first. (What looks like one and has none cannot
 * name a type there.) */
static void note_value(retype *r, uint32_t op, const uint32_t *at, uint32_t n)
{
    if (n < 3 || kind_of(r, at[1]) != NARROW)
        return;
    if (!moves(op))
        r->refused = "computes with its 16-bit floats";
    else if (op == RAPT_SPIRV_CONSTANT && at[3] != 0)
        r->refused = "has constants of 16-bit floats";
    else if (at[2] < r->bound)
        r->ids[at[2]] = NARROW_VALUE;
}

static void note_comparison(retype *r, const uint32_t *at, uint32_t n)
{
    for (uint32_t i = 3; i < n; i++)
        if (kind_of(r, at[i]) == NARROW_VALUE)
            r->refused = "compares its 16-bit floats";
}

static void retype_one(retype *r, const uint32_t *at, uint32_t n)
{
    const uint32_t op = at[0] & 0xffff;
    if (op == RAPT_SPIRV_CAPABILITY)
        r->matrices |= n == 2 && at[1] == CAPABILITY_COOPERATIVE_MATRIX;
    else if (!r->declared)
        declare(r);
    if (op == RAPT_SPIRV_TYPE_FLOAT || op == RAPT_SPIRV_TYPE_VECTOR)
        note_type(r, op, at, n);
    else if (op >= RAPT_SPIRV_IS_NAN && op <= RAPT_SPIRV_F_UNORD_GREATER_THAN_EQUAL &&
             op != RAPT_SPIRV_SELECT)
        note_comparison(r, at, n);
    else
        note_value(r, op, at, n);
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
    return r->narrow;
}

rapt_status rapt_vk_bfloat_code(const char *shader, const rapt_vk_words *words,
                                rapt_vk_words *result, rapt_error *error)
{
    retype r = {.code = words->code, .words = words->bytes / 4};
    r.bound = r.words >= 5 ? r.code[3] : 0;
    *result = (rapt_vk_words){0};
    if (r.bound == 0 || r.bound >= RAPT_SPIRV_IDS)
        return rapt_fail(error, RAPT_INVALID, "shader %s: its code is no SPIR-V", shader);
    r.ids = calloc(r.bound, sizeof *r.ids);
    /* An OpTypeFloat of 3 words becomes 4; what is declared has 10. */
    r.out = malloc((2 * r.words + 16) * sizeof *r.out);
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
