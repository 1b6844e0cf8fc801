/* How much shared memory a shader takes: one made for it, rapt's own, and damaged words. */
#include "device/vulkan/shared.h"

#include "agent_back_coop_khr.h"
#include "flow_pass_f32.h"
#include "shared.h"
#include "softmax_score_forward_f32.h"
#include "softmax_score_forward_khr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

static uint64_t bytes_of(const uint32_t *constants, uint32_t n)
{
    const rapt_vk_words words = {shared_code, sizeof shared_code, NULL};
    uint64_t bytes = 0;
    assert_true(rapt_vk_shared_bytes(&words, constants, n, &bytes));
    return bytes;
}

static uint64_t pad(uint64_t bytes, uint64_t align)
{
    return (bytes + align - 1) / align * align;
}

/* Of tests/c/shaders/shared.comp, in the order of its declarations. */
static uint64_t expected(uint64_t lanes, uint64_t rows, bool first, bool wide)
{
    const uint64_t step = wide ? 2 * rows + 1 : rows;
    return pad(16 + 16 * rows + 4 * lanes, 16) + 2 * 32 + 8 * (first ? 5 : 1) * 2 * step;
}

static void sizes_follow_the_constants(void **state)
{
    (void)state;
    assert_int_equal(bytes_of(NULL, 0), expected(1, 3, false, false));
    for (uint32_t lanes = 1; lanes < 200; lanes += 33)
        for (uint32_t rows = 1; rows < 9; rows += 3)
            for (uint32_t bits = 0; bits < 4; bits++) {
                const uint32_t constants[] = {lanes, rows, bits & 1, bits >> 1};
                assert_int_equal(bytes_of(constants, 4),
                                 expected(lanes, rows, !(bits & 1), bits >> 1));
                assert_int_equal(bytes_of(constants, 2), expected(lanes, rows, false, false));
            }
}

/* More than any device has is not mistaken for less. */
static void sizes_beyond_all_are_great(void **state)
{
    (void)state;
    const uint32_t lanes[] = {1u << 31, 1, 1, 0}, rows[] = {1, UINT32_MAX, 1, 0};
    assert_int_equal(bytes_of(lanes, 4), expected(1u << 31, 1, false, false));
    assert_true(bytes_of(rows, 4) > (uint64_t)1 << 35);
}

static void those_of_our_own_are_known(void **state)
{
    (void)state;
    static const struct {
        const void *code;
        uint64_t bytes, least, most;
    } shaders[] = {{softmax_score_forward_f32, sizeof softmax_score_forward_f32, 4096, 16384},
                   {softmax_score_forward_khr, sizeof softmax_score_forward_khr, 8192, 49152},
                   {agent_back_coop_khr, sizeof agent_back_coop_khr, 8192, 49152},
                   {flow_pass_f32, sizeof flow_pass_f32, 0, 16384}};
    for (size_t i = 0; i < sizeof shaders / sizeof *shaders; i++) {
        const rapt_vulkan_shader shader = {.size = sizeof shader,
                                           .name = "test.shared",
                                           .code = shaders[i].code,
                                           .code_bytes = shaders[i].bytes};
        rapt_vk_words words;
        uint64_t bytes = 0;
        assert_int_equal(rapt_vk_unpack(&shader, &words, NULL), RAPT_OK);
        assert_true(rapt_vk_shared_bytes(&words, NULL, 0, &bytes));
        assert_in_range(bytes, shaders[i].least, shaders[i].most);
        free(words.owned);
    }
}

/* Whatever a module's words become, nothing beyond them is read (AddressSanitizer sees to it). */
static void damaged_words_do_no_harm(void **state)
{
    (void)state;
    uint32_t copy[sizeof shared_code / 4], random = 1;
    const size_t n = sizeof copy / 4;
    uint64_t bytes;
    for (int i = 0; i < 20000; i++) {
        memcpy(copy, shared_code, sizeof copy);
        for (int k = 0; k < 4; k++) {
            random = random * 1664525u + 1013904223u;
            copy[3 + random % (n - 3)] ^= 1u << (random >> 27);
        }
        const rapt_vk_words words = {copy, 4 * (i % 3 ? n : random % n), NULL};
        (void)rapt_vk_shared_bytes(&words, NULL, 0, &bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_follow_the_constants),
        cmocka_unit_test(sizes_beyond_all_are_great),
        cmocka_unit_test(those_of_our_own_are_known),
        cmocka_unit_test(damaged_words_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
