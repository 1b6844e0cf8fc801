/* Specs of arguments: "name: dim dim ...". */
#include "registry/shape.h"
#include "base/error.h"
#include "registry/program.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_LENGTH = 63 };

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
    return is_name_start(c) || (c >= '0' && c <= '9') || c == '_';
}

static rapt_status refuse(rapt_error *error, const char *text, const char *at, const char *what)
{
    return rapt_fail(error, RAPT_INVALID, "column %zu: %s", (size_t)(at - text) + 1, what);
}

static char *copy(const char *begin, size_t n, rapt_error *error)
{
    char *text = strndup(begin, n);
    if (!text)
        rapt_fail_memory(error, n + 1, "a spec");
    return text;
}

/* "name:"; returns what follows, or NULL. */
static const char *parse_name(const char *text, rapt_spec *spec, rapt_error *error)
{
    const char *begin = text;
    while (is_space(*begin))
        begin++;
    if (!is_name_start(*begin)) {
        refuse(error, text, begin, "expected the argument's name");
        return NULL;
    }
    const char *end = begin;
    while (is_name(*end))
        end++;
    if (*end != ':') {
        refuse(error, text, end, "expected \":\" after the argument's name");
        return NULL;
    }
    if (end - begin > NAME_LENGTH) {
        refuse(error, text, begin, "the argument's name has more than 63 letters");
        return NULL;
    }
    spec->name = copy(begin, (size_t)(end - begin), error);
    return spec->name ? end + 1 : NULL;
}

static rapt_status parse_dim(const char *text, const char *begin, size_t n, rapt_spec *spec,
                             rapt_error *error)
{
    rapt_dim *dim = &spec->dims[spec->n_dims];
    if (spec->n_dims == RAPT_MAX_DIMS)
        return refuse(error, text, begin, "more than 8 dimensions");
    dim->broadcast = begin[n - 1] == '?';
    dim->expression =
        rapt_expression_parse_at(begin, n - dim->broadcast, (size_t)(begin - text), error);
    if (!dim->expression)
        return error ? error->status : RAPT_INVALID;
    spec->n_dims++;
    dim->letter = rapt_expression_letter(dim->expression);
    return RAPT_OK;
}

/* One word of a spec that is not the first unless `first`. */
static rapt_status parse_word(const char *text, const char *begin, size_t n, bool first,
                              rapt_spec *spec, rapt_error *error)
{
    if (spec->any)
        return refuse(error, text, begin, "nothing may follow \"*\"");
    if (n == 1 && *begin == '*') {
        spec->any = true;
        return first ? RAPT_OK : refuse(error, text, begin, "\"*\" stands alone");
    }
    if (strncmp(begin, "...", 3))
        return parse_dim(text, begin, n, spec, error);
    spec->leading = true;
    spec->leading_broadcast = n == 4 && begin[3] == '?';
    if (n > 3 && !spec->leading_broadcast)
        return refuse(error, text, begin + 3, "expected a space after \"...\"");
    return first ? RAPT_OK : refuse(error, text, begin, "\"...\" stands in front");
}

static rapt_status parse_words(const char *text, const char *at, rapt_spec *spec, rapt_error *error)
{
    for (bool first = true;; first = false) {
        while (is_space(*at))
            at++;
        if (!*at)
            return RAPT_OK;
        size_t n = 0;
        while (at[n] && !is_space(at[n]))
            n++;
        const rapt_status status = parse_word(text, at, n, first, spec, error);
        if (status)
            return status;
        at += n;
    }
}

rapt_status rapt_spec_parse(const char *text, rapt_spec *spec, rapt_error *error)
{
    rapt_error ignored;
    rapt_status status = RAPT_INVALID;
    if (!error)
        error = &ignored;
    *spec = (rapt_spec){0};
    if (strnlen(text, RAPT_EXPRESSION_TEXT + 1) > RAPT_EXPRESSION_TEXT)
        return rapt_fail(error, RAPT_INVALID, "the spec has more than %d bytes",
                         RAPT_EXPRESSION_TEXT);
    const char *dims = parse_name(text, spec, error);
    if (!dims) {
        status = error->status;
    } else {
        while (is_space(*dims))
            dims++;
        size_t n = strlen(dims);
        while (n > 0 && is_space(dims[n - 1]))
            n--;
        spec->text = copy(dims, n, error);
        status = spec->text ? parse_words(text, dims, spec, error) : error->status;
    }
    if (status)
        rapt_spec_free(spec);
    return status;
}

void rapt_spec_free(rapt_spec *spec)
{
    for (int32_t i = 0; i < spec->n_dims; i++)
        rapt_expression_free(spec->dims[i].expression);
    free(spec->name);
    free(spec->text);
    *spec = (rapt_spec){0};
}
