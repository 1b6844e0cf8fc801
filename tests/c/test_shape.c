/* Specs of arguments. */
#include "fault.h"
#include "registry/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_good(void **state)
{
    static const struct {
        const char *text, *name, *dims;
        bool any, leading, leading_broadcast;
        int n;
        const char *letters; /* one per dimension, '-' for none */
        const char *broadcast;
    } samples[] = {
        {"q: B H N D", "q", "B H N D", false, false, false, 4, "BHND", "...."},
        {"x:", "x", "", false, false, false, 0, "", ""},
        {"  loss :", NULL, NULL, false, false, false, 0, "", ""},
        {" x: \t", "x", "", false, false, false, 0, "", ""},
        {"bias: B? H? N M", "bias", "B? H? N M", false, false, false, 4, "BHNM", "??.."},
        {"w: H*E 1 r r", "w", "H*E 1 r r", false, false, false, 4, "--rr", "...."},
        {"k: H/c c c", "k", "H/c c c", false, false, false, 3, "-cc", "..."},
        {"l: B H max(N,M)?", "l", "B H max(N,M)?", false, false, false, 3, "BH-", "..?"},
        {"a: n_agents  D", "a", "n_agents  D", false, false, false, 2, "-D", ".."},
        {"x: ...", "x", "...", false, true, false, 0, "", ""},
        {"x: ... N D", "x", "... N D", false, true, false, 2, "ND", ".."},
        {"x: ...? D", "x", "...? D", false, true, true, 1, "D", "."},
        {"o: *", "o", "*", true, false, false, 0, "", ""},
        {"o: A B C D E F G H", "o", "A B C D E F G H", false, false, false, 8, "ABCDEFGH",
         "........"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        rapt_error error = {0};
        rapt_spec spec;
        const rapt_status status = rapt_spec_parse(samples[i].text, &spec, &error);
        if (!samples[i].name) {
            assert_int_equal(status, RAPT_INVALID);
            continue;
        }
        if (status)
            fail_msg("\"%s\": %s", samples[i].text, error.message);
        assert_string_equal(spec.name, samples[i].name);
        assert_string_equal(spec.text, samples[i].dims);
        assert_int_equal(spec.any, samples[i].any);
        assert_int_equal(spec.leading, samples[i].leading);
        assert_int_equal(spec.leading_broadcast, samples[i].leading_broadcast);
        assert_int_equal(spec.n_dims, samples[i].n);
        for (int k = 0; k < spec.n_dims; k++) {
            const char letter = samples[i].letters[k];
            assert_int_equal(spec.dims[k].letter, letter == '-' ? 0 : letter);
            assert_int_equal(spec.dims[k].broadcast, samples[i].broadcast[k] == '?');
        }
        rapt_spec_free(&spec);
    }
}

static void test_bad(void **state)
{
    static const char *const samples[][2] = {
        {"", "column 1: expected the argument's name"},
        {"q", "column 2: expected \":\" after the argument's name"},
        {"q B H", "column 2: expected \":\" after the argument's name"},
        {"3: B", "column 1: expected the argument's name"},
        {"_q: B", "column 1: expected the argument's name"},
        {"q: B H ,", "column 8: expected a number, a name or \"(\", not \",\""},
        {"q: B (H", "column 8: expected an operator or \")\", not the end"},
        {"q: B ?", "column 6: expected a number, a name or \"(\", not the end"},
        {"q: B N??", "column 7: expected an operator or the end, not \"?\""},
        {"q: B ...", "column 6: \"...\" stands in front"},
        {"q: ... ...", "column 8: \"...\" stands in front"},
        {"q: ...D", "column 7: expected a space after \"...\""},
        {"q: ..", "column 4: expected a number, a name or \"(\", not \".\""},
        {"q: * N", "column 6: nothing may follow \"*\""},
        {"q: N *", "column 6: \"*\" stands alone"},
        {"q: A B C D E F G H I", "column 20: more than 8 dimensions"},
        {"q: H\x01", "column 5: expected an operator or the end, not byte 0x01"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: B",
         "column 1: the argument's name has more than 63 letters"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        rapt_error error = {0};
        rapt_spec spec;
        assert_int_equal(rapt_spec_parse(samples[i][0], &spec, &error), RAPT_INVALID);
        if (strcmp(error.message, samples[i][1]))
            fail_msg("\"%s\": %s\nexpected %s", samples[i][0], error.message, samples[i][1]);
        assert_null(spec.name);
        assert_int_equal(rapt_spec_parse(samples[i][0], &spec, NULL), RAPT_INVALID);
    }
}

static void test_long(void **state)
{
    (void)state;
    char text[2000];
    rapt_error error = {0};
    rapt_spec spec;
    memset(text, ' ', sizeof text - 1);
    memcpy(text, "q:", 2);
    text[sizeof text - 1] = 0;
    assert_int_equal(rapt_spec_parse(text, &spec, &error), RAPT_INVALID);
    assert_string_equal(error.message, "the spec has more than 1024 bytes");
}

static void test_faults(void **state)
{
    (void)state;
    FAULT_EACH(FAULT_ALL)
    {
        rapt_error error = {0};
        rapt_spec spec;
        if (rapt_spec_parse("w: ... H*E 1 r? r", &spec, &error))
            fault_expect_error(&error);
        else
            rapt_spec_free(&spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
