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

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

enum { CAPABILITY = 17, TYPE_FLOAT = 22, CONSTANT = 43, EXTENSION = 10 };

/* How often each appears in a module. */
typedef struct census {
    size_t capabilities, extensions, halves, bfloats, ends, words;
} census;

static census count(const uint32_t *code, size_t words)
{
    census c = {.words = words};
    size_t i = 5;
    while (i < words) {
        const uint32_t n = code[i] >> 16, op = code[i] & 0xffff, *at = code + i;
        assert_true(n > 0 && n <= words - i);
        c.capabilities += op == CAPABILITY;
        c.extensions += op == EXTENSION && n == 6 && memcmp(at + 1, "SPV_KHR_bfloat16", 17) == 0;
        c.halves += op == TYPE_FLOAT && n == 3 && at[2] == 16;
        c.bfloats += op == TYPE_FLOAT && n == 4 && at[2] == 16 && at[3] == 0;
        c.ends += op == CONSTANT && n == 4 && (at[3] == 0x477fe000 || at[3] == 0xc77fe000);
        i += n;
    }
    return c;
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
    size_t ends = 0;
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
        assert_int_equal(after.words, before.words + 2 * 2 + 6 + 1);
        ends += before.ends;
        free(words.owned);
        free(result.owned);
    }
    assert_true(ends > 0);
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
