/* libFuzzer target: expressions, parsed from any bytes and evaluated with values that provoke. */
#include "registry/expression.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lookup(void *user, const char *name, bool given, double *value)
{
    static const double values[] = {0, 1, 2, 3, 64, 0.5, -1, 1e6, 4503599627370496.0, 1e300};
    const size_t i = (size_t)(unsigned char)name[0] + strlen(name);
    (void)user;
    *value = given ? i % 2 : values[i % (sizeof values / sizeof values[0])];
    return i % 13 != 0;
}

static bool count(void *user, const char *name, bool given)
{
    size_t *n = user;
    *n += strlen(name) + given;
    return true;
}

static void check_error(const rapt_error *error)
{
    if (error->status == RAPT_OK || !error->message[0] || strchr(error->message, '\n'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rapt_error error = {0};
    double whole, real;
    size_t n = 0;
    rapt_expression *expression = rapt_expression_parse((const char *)data, size, &error);
    if (!expression) {
        check_error(&error);
        return 0;
    }
    rapt_expression_names(expression, count, &n);
    const char letter = rapt_expression_letter(expression);
    if (letter && !memchr(data, letter, size))
        abort();
    const rapt_status as_real =
        rapt_expression_evaluate(expression, lookup, NULL, false, &real, &error);
    if (as_real)
        check_error(&error);
    else if (!isfinite(real))
        abort();
    if (rapt_expression_evaluate(expression, lookup, NULL, true, &whole, &error))
        check_error(&error);
    else if (as_real || whole != real || whole != floor(whole) || fabs(whole) >= 9007199254740992.0)
        abort(); /* exact integers are what doubles give too */
    rapt_expression_free(expression);
    return 0;
}
