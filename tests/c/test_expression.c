/* Expressions of descriptions: values, errors, bounds. */
#include "base/error.h"
#include "fault.h"
#include "registry/expression.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* H 8, G 2, N 100, c 3, eps 0.5, big 2^52; A is unbound; bias was given, mask not. */
static bool lookup(void *user, const char *name, bool given, double *value)
{
    static const struct {
        const char *name;
        double value;
    } known[] = {{"H", 8}, {"G", 2},     {"N", 100},
                 {"c", 3}, {"eps", 0.5}, {"big", 4503599627370496.0}};
    (void)user;
    if (given) {
        *value = !strcmp(name, "bias");
        return true;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(known[i].name, name)) {
            *value = known[i].value;
            return true;
        }
    return false;
}

typedef struct sample {
    const char *text;
    double value;
    const char *error; /* NULL: none */
} sample;

static void try_samples(const sample *samples, size_t n, bool integer)
{
    for (size_t i = 0; i < n; i++) {
        rapt_error error = {0};
        double value = -1;
        rapt_expression *e =
            rapt_expression_parse(samples[i].text, strlen(samples[i].text), &error);
        if (e)
            rapt_expression_evaluate(e, lookup, NULL, integer, &value, &error);
        rapt_expression_free(e);
        if (error.status ? !samples[i].error || strcmp(error.message, samples[i].error)
                         : samples[i].error || value != samples[i].value)
            fail_msg("\"%s\": %.17g, \"%s\"; expected %.17g, \"%s\"", samples[i].text, value,
                     error.message, samples[i].value, samples[i].error ? samples[i].error : "");
        if (error.status)
            assert_int_equal(error.status, RAPT_INVALID);
    }
}

#define TRY(samples, integer) try_samples(samples, sizeof(samples) / sizeof(samples)[0], integer)

static void test_integers(void **state)
{
    static const sample samples[] = {
        {"7", 7, NULL},
        {"H*N", 800, NULL},
        {"H/G", 4, NULL},
        {"2+3*4-5", 9, NULL},
        {"(2+3)*4", 20, NULL},
        {"10-3-2", 5, NULL},
        {"24/2/3", 4, NULL},
        {"-H+10", 2, NULL},
        {"7%4", 3, NULL},
        {"-7%4", -3, NULL},
        {"ceil_log2(0)", 0, NULL},
        {"ceil_log2(1)", 0, NULL},
        {"ceil_log2(2)", 1, NULL},
        {"ceil_log2(3)", 2, NULL},
        {"ceil_log2(N)+1", 8, NULL},
        {"ceil_log2(64)", 6, NULL},
        {"ceil_log2(65)", 7, NULL},
        {"min(H,G)", 2, NULL},
        {"max(H, G, N, 3)", 100, NULL},
        {" H\t* G ", 16, NULL},
        {"sqrt(N)", 10, NULL},
        {"big+(big-1)", 9007199254740991.0, NULL},
        {"if(H > G, N, A)", 100, NULL}, /* A is not looked at */
        {"if(H < G, A, N) + if(G, if(0, A, 3), A)", 103, NULL},
        {"if(1, A, N)", 0, "A is not known here"},
        {"N/c", 0, "100 / 3 leaves a remainder"},
        {"N/(G-2)", 0, "division by zero"},
        {"N%(G-2)", 0, "division by zero"},
        {"big+big", 0, "the value is too large (2^53 or more)"},
        {"big*big*big", 0, "the value is too large (2^53 or more)"},
        {"-big*N", 0, "the value is too large (2^53 or more)"},
        {"eps", 0, "0.5 is not an integer"},
        {"sqrt(G)", 0, "1.41421 is not an integer"},
        {"sqrt(0-H)", 0, "sqrt of -8"},
        {"log2(0)", 0, "log2 of 0"},
        {"ceil_log2(0-1)", 0, "ceil_log2 of -1"},
        {"A+1", 0, "A is not known here"},
    };
    (void)state;
    TRY(samples, true);
}

static void test_reals(void **state)
{
    static const sample samples[] = {
        {"0.5", 0.5, NULL},
        {".25", 0.25, NULL},
        {"1e-6", 1e-6, NULL},
        {"1.5e+3", 1500, NULL},
        {"3.141592653589793", 3.141592653589793, NULL},
        {"1/sqrt(64)", 0.125, NULL},
        {"N/c", 100.0 / 3, NULL},
        {"floor(N/c)", 33, NULL},
        {"ceil(N/c)", 34, NULL},
        {"log2(8)", 3, NULL},
        {"H % G == 0", 1, NULL},
        {"H%c == 0 || N > 5", 1, NULL},
        {"H<G", 0, NULL},
        {"H<=8", 1, NULL},
        {"H>=9", 0, NULL},
        {"H!=G", 1, NULL},
        {"!H", 0, NULL},
        {"!(H == G)", 1, NULL},
        {"H && G", 1, NULL},
        {"H && 0 || 0 && H", 0, NULL},
        {"given(bias)", 1, NULL},
        {"given(mask)", 0, NULL},
        {"given(mask) == 0 || A <= N", 1, NULL}, /* the right side is not looked at */
        {"given(mask) && A", 0, NULL},
        {"1e308*10", 0, "the value is too large"},
        {"1/0", 0, "division by zero"},
    };
    (void)state;
    TRY(samples, false);
}

static void test_bad_texts(void **state)
{
    static const sample samples[] = {
        {"", 0, "column 1: expected a number, a name or \"(\", not the end"},
        {"H*", 0, "column 3: expected a number, a name or \"(\", not the end"},
        {"H*)", 0, "column 3: expected a number, a name or \"(\", not \")\""},
        {"(H", 0, "column 3: expected an operator or \")\", not the end"},
        {"H E", 0, "column 3: expected an operator or the end, not \"E\""},
        {"H=G", 0, "column 2: expected an operator or the end, not \"=\""},
        {"1<2<3", 0, "column 4: expected an operator or the end, not \"<\""},
        {"2N", 0, "column 2: expected an operator after the number, not \"N\""},
        {"1.2.3", 0, "column 4: expected an operator after the number, not \".\""},
        {"1e", 0, "column 3: expected the digits of an exponent, not the end"},
        {"1e999", 0, "column 1: the number is too large"},
        {"12345678901234567890123456789012345678901", 0,
         "column 1: the number has too many digits"},
        {"foo(3)", 0,
         "column 1: expected one of the functions sqrt, log2, ceil_log2, ceil, floor, min, max, "
         "if, "
         "given, not \"foo\""},
        {"min(3)", 0, "column 6: expected \",\", not \")\""},
        {"if(3,4)", 0, "column 7: expected \",\", not \")\""},
        {"if(3,4,5,6)", 0, "column 9: expected \")\", not \",\""},
        {"sqrt(3,4)", 0, "column 7: expected \")\", not \",\""},
        {"given(3)", 0, "column 7: expected the name of an input or attribute, not \"3\""},
        {"given(q", 0, "column 8: expected \")\", not the end"},
        {"H & G", 0, "column 3: expected an operator or the end, not \"&\""},
        {"--H", 0, "column 2: expected a number, a name or \"(\", not \"-\""},
        {"H\x01", 0, "column 2: expected an operator or the end, not byte 0x01"},
        {"\xc3\xa9", 0, "column 1: expected a number, a name or \"(\", not byte 0xc3"},
    };
    (void)state;
    TRY(samples, false);
}

static char *repeat(const char *piece, size_t n)
{
    const size_t length = strlen(piece);
    char *text = malloc(n * length + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * length, piece, length);
    text[n * length] = 0;
    return text;
}

static void expect_failure(const char *text, const char *message)
{
    rapt_error error = {0};
    assert_null(rapt_expression_parse(text, strlen(text), &error));
    assert_string_equal(error.message, message);
}

static void test_bounds(void **state)
{
    (void)state;
    char *deep = repeat("(", 1000), *long_text = repeat("1+", 600), *many = repeat("1+", 300);
    char *wide = repeat("N+(", 31);
    expect_failure(deep, "column 33: brackets are nested too deeply");
    expect_failure(long_text, "the expression has 1200 bytes, more than 1024");
    expect_failure(many, "column 258: the expression is too long");
    rapt_error error = {0};
    assert_null(rapt_expression_parse(wide, strlen(wide), &error));
    free(deep);
    free(long_text);
    free(many);
    free(wide);
    /* A text with a zero in it is not taken for a shorter one. */
    assert_null(rapt_expression_parse("H\0G", 3, &error));
    assert_string_equal(error.message, "column 2: expected an operator or the end, not byte 0x00");
    assert_null(rapt_expression_parse("H", 0, NULL));
}

static bool append(void *user, const char *name, bool given)
{
    char *text = user;
    strcat(text, given ? "?" : "");
    strcat(text, name);
    strcat(text, " ");
    return strcmp(name, "stop") != 0;
}

static void test_names(void **state)
{
    (void)state;
    char text[80] = "";
    rapt_expression *e = rapt_expression_parse("H*E + given(bias)*min(n_agents,3)", 33, NULL);
    assert_true(rapt_expression_names(e, append, text));
    assert_string_equal(text, "H E ?bias n_agents ");
    assert_int_equal(rapt_expression_letter(e), 0);
    rapt_expression_free(e);

    text[0] = 0;
    e = rapt_expression_parse("a+stop+b", 8, NULL);
    assert_false(rapt_expression_names(e, append, text));
    assert_string_equal(text, "a stop ");
    rapt_expression_free(e);

    const char *single[] = {"N", "nn", "1", "-N", "(N)", "given(N)"};
    const char letters[] = {'N', 0, 0, 0, 'N', 0};
    for (size_t i = 0; i < sizeof letters; i++) {
        e = rapt_expression_parse(single[i], strlen(single[i]), NULL);
        assert_non_null(e);
        assert_int_equal(rapt_expression_letter(e), letters[i]);
        rapt_expression_free(e);
    }
}

static void test_faults(void **state)
{
    (void)state;
    FAULT_EACH(FAULT_ALL)
    {
        rapt_error error = {0};
        rapt_expression *e = rapt_expression_parse("H*E", 3, &error);
        if (e)
            rapt_expression_free(e);
        else
            fault_expect_error(&error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),  cmocka_unit_test(test_reals),
        cmocka_unit_test(test_bad_texts), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
