/* SPIR-V of float16 as SPIR-V of bfloat16: rapt's own shaders, and modules that cannot be. */
#include "device/vulkan/bfloat.h"

#include "agent_attend_coop_gather_khr.h"
#include "agent_attend_coop_hand_out_khr.h"
#include "agent_back_coop_khr.h"
#include "agent_columns_coop_khr.h"
#include "agent_moved_coop_khr.h"
#include "agent_product_coop_khr.h"
#include "agent_rows_coop_khr.h"
#include "agent_slopes_coop_khr.h"
#include "cog_score_forward_khr.h"
#include "core_matmul_coop_khr.h"
#include "device_fill.h"
#include "flow_apply_coop_khr.h"
#include "flow_contribute_coop_khr.h"
#include "flow_rows_coop_khr.h"
#include "lightning_apply_coop_khr.h"
#include "mta_columns_coop_khr.h"
#include "mta_product_coop_khr.h"
#include "mta_rows_coop_khr.h"
#include "softmax_score_keys_khr.h"
#include "ssa_score_queries_khr.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

enum {
    EXTENSION = 10,
    CAPABILITY = 17,
    TYPE_FLOAT = 22,
    CONSTANT = 43,
    CONSTANT_COMPOSITE = 44,
    FUNCTION = 54,
    FUNCTION_PARAMETER = 55,
    FUNCTION_END = 56,
    FUNCTION_CALL = 57,
    FLOAT_CONVERT = 115,
    BITCAST = 124,
    FLOAT_ADD = 129,
    FLOAT_MULTIPLY = 133,
    BITWISE_AND = 199,
    LABEL = 248,
    RETURN_VALUE = 254
};

/* How often each appears in a module. `calls`: of a function whose result is the next converted. */
typedef struct census {
    size_t capabilities, extensions, halves, bfloats, ends, functions, converts, calls;
} census;

static census count(const uint32_t *code, size_t words)
{
    census c = {0};
    const uint32_t *last = code;
    size_t i = 5;
    while (i < words) {
        const uint32_t n = code[i] >> 16, op = code[i] & 0xffff, *at = code + i;
        assert_true(n > 0 && n <= words - i);
        c.capabilities += op == CAPABILITY;
        c.extensions += op == EXTENSION && n == 6 && memcmp(at + 1, "SPV_KHR_bfloat16", 17) == 0;
        c.halves += op == TYPE_FLOAT && n == 3 && at[2] == 16;
        c.bfloats += op == TYPE_FLOAT && n == 4 && at[2] == 16 && at[3] == 0;
        c.ends += op == CONSTANT && n == 4 && (at[3] == 0x477fe000 || at[3] == 0xc77fe000);
        c.functions += op == FUNCTION;
        c.converts += op == FLOAT_CONVERT;
        c.calls += op == FLOAT_CONVERT && (last[0] & 0xffff) == FUNCTION_CALL && last[2] == at[3];
        last = at;
        i += n;
    }
    return c;
}

/* --- The rounding before conversions ---------------------------------------------------------- */

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* What one lane of a function of the module's makes of `x`: `values` are of ids, constants among
 * them. */
static uint32_t evaluate(const uint32_t *at, uint32_t *values, uint32_t x)
{
    for (;; at += at[0] >> 16) {
        const uint32_t a = at[0] >> 16 > 3 ? values[at[3]] : 0;
        const uint32_t b = at[0] >> 16 > 4 ? values[at[4]] : 0;
        switch (at[0] & 0xffff) {
        case FUNCTION:
        case LABEL:
            break;
        case FUNCTION_PARAMETER:
            values[at[2]] = x;
            break;
        case BITCAST:
            values[at[2]] = a;
            break;
        case BITWISE_AND:
            values[at[2]] = a & b;
            break;
        case FLOAT_MULTIPLY:
            values[at[2]] = bits_of(float_of(a) * float_of(b));
            break;
        case FLOAT_ADD:
            values[at[2]] = bits_of(float_of(a) + float_of(b));
            break;
        case RETURN_VALUE:
            return values[at[1]];
        default:
            fail_msg("an instruction %u", at[0] & 0xffff);
        }
    }
}

/* From `low` beyond a bfloat16, to nearest and ties to even; or up where it is odd and the middle
 * is less than a 256th of a unit away. */
static void expect_rounded(const uint32_t *function, uint32_t *values, uint32_t bfloat,
                           uint32_t low)
{
    const uint32_t x = bfloat << 16 | low, result = evaluate(function, values, x);
    const bool odd = bfloat & 1, up = low > 0x8000 || (odd && low > 0x8000 - 256);
    const uint32_t expected = (bfloat + up) << 16;
    if (result != expected)
        fail_msg("%08x becomes %08x, not %08x", x, result, expected);
}

static void expect_rounding(const uint32_t *function, uint32_t *values)
{
    static const uint32_t lows[] = {0,      1,      0x4000, 0x7f00, 0x7f01, 0x7fff,
                                    0x8000, 0x8001, 0x80ff, 0x8100, 0xc000, 0xffff};
    for (uint32_t bfloat = 0x0080; bfloat < 0x7f80; bfloat++)
        for (size_t i = 0; i < sizeof lows / sizeof *lows; i++) {
            expect_rounded(function, values, bfloat, lows[i]);
            expect_rounded(function, values, bfloat | 0x8000, lows[i]);
        }
    for (uint32_t sign = 0; sign < 2; sign++) {
        const uint32_t s = sign << 31;
        assert_int_equal(evaluate(function, values, s), s);
        assert_int_equal(evaluate(function, values, s | 0x7f800000), s | 0x7f800000);
        assert_true(isnan(float_of(evaluate(function, values, s | 0x7fffffff))));
        assert_true(isnan(float_of(evaluate(function, values, s | 0x7f800001))));
        /* a denormal stays one, or is nothing */
        assert_true((evaluate(function, values, s | 0x00010000) & 0x7fffffff) <= 0x00010000);
    }
}

/* Every function that the module's conversions call. */
static void rounds_to_nearest(const uint32_t *code, size_t words)
{
    uint32_t *values = calloc(code[3], sizeof *values), last = 0;
    const uint32_t **functions = calloc(code[3], sizeof *functions);
    assert_true(values && functions);
    for (size_t i = 5; i < words; i += code[i] >> 16) {
        const uint32_t *at = code + i, op = at[0] & 0xffff;
        if (op == CONSTANT)
            values[at[2]] = at[3];
        if (op == CONSTANT_COMPOSITE)
            values[at[2]] = values[at[3]];
        if (op == FUNCTION)
            functions[at[2]] = at;
    }
    for (size_t i = 5; i < words; i += code[i] >> 16) {
        const uint32_t *at = code + i, op = at[0] & 0xffff;
        if (op == FLOAT_CONVERT && last && functions[last])
            expect_rounding(functions[last], values);
        if (op == FLOAT_CONVERT && last)
            functions[last] = NULL;
        last = op == FUNCTION_CALL ? at[3] : 0;
    }
    free(values);
    free(functions);
}

static void every_shader_of_matrices_takes_bfloat16(void **state)
{
    (void)state;
#define SHADER(array)                                                                              \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .name = #array, .code = array,                         \
        .code_bytes = sizeof array                                                                 \
    }
    const rapt_vulkan_shader shaders[] = {SHADER(agent_attend_coop_gather_khr),
                                          SHADER(agent_attend_coop_hand_out_khr),
                                          SHADER(agent_back_coop_khr),
                                          SHADER(agent_columns_coop_khr),
                                          SHADER(agent_moved_coop_khr),
                                          SHADER(agent_slopes_coop_khr),
                                          SHADER(agent_product_coop_khr),
                                          SHADER(agent_rows_coop_khr),
                                          SHADER(cog_score_forward_khr),
                                          SHADER(core_matmul_coop_khr),
                                          SHADER(flow_apply_coop_khr),
                                          SHADER(flow_contribute_coop_khr),
                                          SHADER(flow_rows_coop_khr),
                                          SHADER(lightning_apply_coop_khr),
                                          SHADER(mta_columns_coop_khr),
                                          SHADER(mta_product_coop_khr),
                                          SHADER(mta_rows_coop_khr),
                                          SHADER(softmax_score_keys_khr),
                                          SHADER(ssa_score_queries_khr)};
    size_t ends = 0, calls = 0;
    for (size_t i = 0; i < sizeof shaders / sizeof *shaders; i++) {
        rapt_vk_words words, result;
        rapt_error error = {0};
        assert_int_equal(rapt_vk_unpack(&shaders[i], &words, &error), RAPT_OK);
        if (rapt_vk_bfloat_code(shaders[i].name, &words, &result, &error) != RAPT_OK)
            fail_msg("%s", error.message);
        const census before = count(words.code, words.bytes / 4);
        const census after = count(result.code, result.bytes / 4);
        assert_int_equal(before.halves, 1);
        assert_int_equal(after.halves, 0);
        assert_int_equal(after.bfloats, 1);
        assert_int_equal(after.capabilities, before.capabilities + 2);
        assert_int_equal(after.extensions, 1);
        assert_int_equal(after.ends, 0);
        assert_int_equal(after.converts, before.converts);
        assert_int_equal(after.calls > 0, after.functions > before.functions);
        ends += before.ends;
        calls += after.calls;
        rounds_to_nearest(result.code, result.bytes / 4);
        free(words.owned);
        free(result.owned);
    }
    assert_true(ends > 0);
    assert_true(calls > 10);
}

/* --- Modules by hand -------------------------------------------------------------------------- */

#define INSTRUCTION(words, op) ((words) << 16 | (op))
#define HEAD                   0x07230203, 0x00010500, 0, 32, 0, INSTRUCTION(2, CAPABILITY), 1
/* Ids: 1 float16, 2 float32, 3 a vector of two float16, 4 and 5 values of float16, 6 bool. */
#define TYPES                                                                                      \
    INSTRUCTION(3, TYPE_FLOAT), 1, 16, INSTRUCTION(3, TYPE_FLOAT), 2, 32, INSTRUCTION(4, 23), 3,   \
        1, 2, INSTRUCTION(2, 20), 6, INSTRUCTION(3, 46), 1, 4, INSTRUCTION(3, 46), 1, 5

static rapt_status retype(const uint32_t *code, size_t bytes, rapt_vk_words *result,
                          rapt_error *error)
{
    const rapt_vk_words words = {code, bytes, NULL};
    return rapt_vk_bfloat_code("test.bfloat", &words, result, error);
}

#define EXPECT(code_, status_, text_)                                                              \
    do {                                                                                           \
        rapt_vk_words result;                                                                      \
        rapt_error error = {0};                                                                    \
        assert_int_equal(retype(code_, sizeof(code_), &result, &error), status_);                  \
        assert_non_null(strstr(error.message, text_));                                             \
        assert_null(result.owned);                                                                 \
    } while (0)

static void what_moves_them_is_taken(void **state)
{
    (void)state;
    const uint32_t code[] = {HEAD,
                             TYPES,
                             INSTRUCTION(4, CONSTANT),
                             2,
                             7,
                             0xc77fe000,
                             INSTRUCTION(4, CONSTANT),
                             1,
                             8,
                             0,
                             INSTRUCTION(4, 115),
                             2,
                             9,
                             4,
                             INSTRUCTION(6, 169),
                             1,
                             10,
                             6,
                             4,
                             5,
                             INSTRUCTION(5, 80),
                             3,
                             11,
                             4,
                             5,
                             INSTRUCTION(5, 129),
                             2,
                             12,
                             7,
                             9};
    rapt_vk_words result;
    rapt_error error = {0};
    assert_int_equal(retype(code, sizeof code, &result, &error), RAPT_OK);
    const census c = count(result.code, result.bytes / 4);
    assert_int_equal(c.capabilities, 2); /* no matrices, so none of theirs */
    assert_int_equal(c.bfloats, 1);
    bool found = false;
    for (size_t i = 0; i < result.bytes / 4; i++)
        found |= result.code[i] == 0xff7f0000;
    assert_true(found);
    free(result.owned);
}

static void what_computes_with_them_is_refused(void **state)
{
    (void)state;
    const uint32_t sum[] = {HEAD, TYPES, INSTRUCTION(5, 129), 1, 7, 4, 5};
    const uint32_t scaled[] = {HEAD, TYPES, INSTRUCTION(5, 142), 3, 7, 8, 4};
    const uint32_t sine[] = {HEAD, TYPES, INSTRUCTION(6, 12), 1, 7, 8, 13, 4};
    const uint32_t less[] = {HEAD, TYPES, INSTRUCTION(5, 184), 6, 7, 4, 5};
    const uint32_t one[] = {HEAD, TYPES, INSTRUCTION(4, CONSTANT), 1, 7, 0x3c00};
    EXPECT(sum, RAPT_UNSUPPORTED, "computes with its 16-bit floats");
    EXPECT(scaled, RAPT_UNSUPPORTED, "computes with its 16-bit floats");
    EXPECT(sine, RAPT_UNSUPPORTED, "computes with its 16-bit floats");
    EXPECT(less, RAPT_UNSUPPORTED, "compares its 16-bit floats");
    const uint32_t again[] = {HEAD, TYPES, INSTRUCTION(4, FLOAT_CONVERT), 1, 7, 4};
    EXPECT(again, RAPT_UNSUPPORTED, "converts to 16-bit floats from others than float32");
    EXPECT(one, RAPT_UNSUPPORTED, "has constants of 16-bit floats");
}

static void what_is_no_such_module_is_refused(void **state)
{
    (void)state;
    const uint32_t none[] = {HEAD, INSTRUCTION(3, TYPE_FLOAT), 2, 32};
    const uint32_t cut[] = {HEAD, INSTRUCTION(9, TYPE_FLOAT), 1, 16};
    const uint32_t empty[] = {HEAD, 0, 0};
    const uint32_t unbound[] = {0x07230203, 0x00010500, 0, 0, 0};
    const uint32_t far[] = {HEAD, INSTRUCTION(3, TYPE_FLOAT), 99, 16};
    EXPECT(none, RAPT_INVALID, "no SPIR-V that has 16-bit floats");
    EXPECT(cut, RAPT_INVALID, "no SPIR-V");
    EXPECT(empty, RAPT_INVALID, "no SPIR-V");
    EXPECT(unbound, RAPT_INVALID, "no SPIR-V");
    EXPECT(far, RAPT_INVALID, "no SPIR-V");
}

/* Whatever a module's words become, nothing beyond them is read (AddressSanitizer sees to it). */
static void damaged_words_do_no_harm(void **state)
{
    (void)state;
    const rapt_vulkan_shader shader = {.size = sizeof shader,
                                       .name = "core_matmul_coop_khr",
                                       .code = core_matmul_coop_khr,
                                       .code_bytes = sizeof core_matmul_coop_khr};
    rapt_vk_words words, result;
    assert_int_equal(rapt_vk_unpack(&shader, &words, NULL), RAPT_OK);
    uint32_t *copy = malloc(words.bytes), random = 1;
    assert_non_null(copy);
    for (int i = 0; i < 2000; i++) {
        memcpy(copy, words.code, words.bytes);
        for (int k = 0; k < 4; k++) {
            random = random * 1664525u + 1013904223u;
            copy[3 + random % (words.bytes / 4 - 3)] ^= 1u << (random >> 27);
        }
        if (retype(copy, words.bytes, &result, NULL) == RAPT_OK)
            free(result.owned);
    }
    free(copy);
    free(words.owned);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shader_of_matrices_takes_bfloat16),
        cmocka_unit_test(what_moves_them_is_taken),
        cmocka_unit_test(what_computes_with_them_is_refused),
        cmocka_unit_test(what_is_no_such_module_is_refused),
        cmocka_unit_test(damaged_words_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
