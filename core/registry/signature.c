/* Signatures of the functions that plugins lend: "result name(type, ...)". */
#include "base/error.h"
#include "registry/library.h"

#include <string.h>

enum { MOST_PARAMETERS = 16 };

typedef struct reader {
    const char *text, *at;
    rapt_error *error;
} reader;

static rapt_status expected(const reader *r, const char *what)
{
    return rapt_fail(r->error, RAPT_INVALID, "column %zu: expected %s",
                     (size_t)(r->at - r->text) + 1, what);
}

static void skip_spaces(reader *r)
{
    while (*r->at == ' ')
        r->at++;
}

/* Reads a word; its length, 0 if there is none. */
static size_t read_word(reader *r)
{
    size_t n = 0;
    skip_spaces(r);
    for (const char *c = r->at;; c++, n++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!letter && !(n > 0 && *c >= '0' && *c <= '9'))
            break;
    }
    r->at += n;
    return n;
}

static rapt_status read_type(reader *r, bool result)
{
    /* The first is for results alone, the last for parameters alone. */
    static const char *const types[] = {"void",  "bool",   "int",     "int64", "double",
                                        "float", "string", "pointer", "tensor"};
    enum { TYPES = sizeof types / sizeof types[0] };
    skip_spaces(r);
    const char *begin = r->at;
    const size_t n = read_word(r);
    for (size_t i = result ? 0 : 1; i < (result ? TYPES - 1 : TYPES); i++)
        if (strlen(types[i]) == n && !memcmp(types[i], begin, n))
            return RAPT_OK;
    r->at = begin;
    return expected(r, result ? "void, bool, int, int64, double, float, string or pointer"
                              : "bool, int, int64, double, float, string, pointer or tensor");
}

/* "type", or "type name". */
static rapt_status read_parameter(reader *r)
{
    const rapt_status status = read_type(r, false);
    if (!status)
        read_word(r);
    return status;
}

static rapt_status read_parameters(reader *r)
{
    skip_spaces(r);
    if (*r->at == ')')
        return RAPT_OK;
    for (int n = 1;; n++) {
        const rapt_status status = read_parameter(r);
        if (status)
            return status;
        if (n > MOST_PARAMETERS)
            return rapt_fail(r->error, RAPT_INVALID, "more than %d parameters", MOST_PARAMETERS);
        skip_spaces(r);
        if (*r->at == ')')
            return RAPT_OK;
        if (*r->at != ',')
            return expected(r, "\",\" or \")\"");
        r->at++;
    }
}

rapt_status rapt_check_signature(const char *signature, rapt_error *error)
{
    reader r = {signature, signature, error};
    rapt_status status = read_type(&r, true);
    if (status)
        return status;
    if (read_word(&r) == 0)
        return expected(&r, "the function's name");
    skip_spaces(&r);
    if (*r.at != '(')
        return expected(&r, "\"(\"");
    r.at++;
    status = read_parameters(&r);
    if (status)
        return status;
    r.at++;
    skip_spaces(&r);
    return *r.at ? expected(&r, "the end") : RAPT_OK;
}
