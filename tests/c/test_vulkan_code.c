/* SPIR-V as shaders carry it: plain, deflated, packed; and whatever bytes else. */
#include "device/vulkan/code.h"
#include "device/vulkan/packed.h"

#include "device_fill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

enum { ROOM = 1 << 18 };

static rapt_status unpack(const void *code, size_t bytes, rapt_vk_words *words, rapt_error *error)
{
    const rapt_vulkan_shader shader = {
        .size = sizeof shader, .name = "test.code", .code = code, .code_bytes = bytes};
    return rapt_vk_unpack(&shader, words, error);
}

/* What rapt's own shader inflates to. */
static size_t packed_fill(unsigned char *packed)
{
    uLongf size = ROOM;
    assert_int_equal(uncompress(packed, &size, (const Bytef *)device_fill, sizeof device_fill),
                     Z_OK);
    return size;
}

/* Deflates bytes and unpacks them. */
static rapt_status unpack_deflated(const unsigned char *bytes, size_t n, rapt_vk_words *words,
                                   rapt_error *error)
{
    uLongf size = compressBound(n);
    unsigned char *deflated = malloc(size);
    assert_non_null(deflated);
    assert_int_equal(compress(deflated, &size, bytes, n), Z_OK);
    const rapt_status status = unpack(deflated, size, words, error);
    free(deflated);
    return status;
}

static void every_form_gives_the_words(void **state)
{
    (void)state;
    rapt_vk_words packed, plain, deflated;
    assert_int_equal(unpack(device_fill, sizeof device_fill, &packed, NULL), RAPT_OK);
    assert_non_null(packed.owned);
    assert_true(packed.bytes > 3 * sizeof device_fill);
    for (size_t i = 5, n = packed.bytes / 4; i < n; i += packed.code[i] >> 16)
        assert_true(packed.code[i] >> 16 > 0 && packed.code[i] >> 16 <= n - i);
    assert_int_equal(unpack(packed.code, packed.bytes, &plain, NULL), RAPT_OK);
    assert_true(plain.code == packed.code && !plain.owned);
    assert_int_equal(
        unpack_deflated((const unsigned char *)packed.code, packed.bytes, &deflated, NULL),
        RAPT_OK);
    assert_int_equal(deflated.bytes, packed.bytes);
    assert_memory_equal(deflated.code, packed.code, packed.bytes);
    free(deflated.owned);
    free(packed.owned);
}

static void refuse(const unsigned char *bytes, size_t n)
{
    rapt_vk_words words;
    rapt_error error = {0};
    assert_int_equal(unpack_deflated(bytes, n, &words, &error), RAPT_INVALID);
    assert_non_null(strstr(error.message, "test.code"));
    assert_null(words.owned);
}

static void damage_is_told(void **state)
{
    (void)state;
    static unsigned char packed[ROOM];
    const size_t n = packed_fill(packed);
    refuse(packed, n - 1);
    refuse(packed, RAPT_PACKED_HEAD);
    refuse(packed, 3);
    packed[n] = 0;
    refuse(packed, n + 1); /* more than its words */
    packed[4]++;
    refuse(packed, n); /* a word more */
    memset(packed + 4, 0xff, 4);
    refuse(packed, n); /* more words than bytes */
    assert_int_equal(packed_fill(packed), n);
    packed[RAPT_PACKED_HEAD]++;
    refuse(packed, n); /* not SPIR-V's magic number */
}

/* Whatever the bytes are: words or an error, and nothing beyond them is touched. */
static void any_bytes(void **state)
{
    (void)state;
    static unsigned char packed[ROOM];
    const size_t n = packed_fill(packed);
    uint32_t random = 12345;
    for (int round = 0; round < 1500; round++) {
        rapt_vk_words words;
        unsigned char were[4];
        size_t at[4];
        for (int i = 0; i < 4; i++) {
            random = random * 1664525u + 1013904223u;
            at[i] = 4 + random % (n - 4);
            were[i] = packed[at[i]];
            packed[at[i]] = (unsigned char)(random >> 24);
        }
        if (unpack_deflated(packed, n, &words, NULL) == RAPT_OK)
            free(words.owned);
        for (int i = 3; i >= 0; i--)
            packed[at[i]] = were[i];
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_the_words),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests_name("code of shaders", tests, NULL, NULL);
}
