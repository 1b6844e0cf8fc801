/* Attributes of a description: types, defaults, bounds, choices. */
#include "base/error.h"
#include "registry/parts.h"
#include "registry/program.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_CHOICES = 64 };

static bool no_value(void *user, const char *name, bool given, double *value)
{
    (void)user, (void)name, (void)given, (void)value;
    return false;
}

static bool stop(void *user, const char *name, bool given)
{
    (void)user, (void)name, (void)given;
    return false;
}

static bool is_constant(const rapt_expression *expression)
{
    return rapt_expression_names(expression, stop, NULL);
}

/* `n` bytes at `at` of the text of attribute `i`'s field `what`. */
static rapt_status parse_value(const rapt_schema *schema, uint32_t i, const char *what,
                               const char *text, const char *at, size_t n,
                               rapt_expression **expression, rapt_error *error)
{
    const rapt_scope scope = {schema, i, false, false};
    const bool whole = schema->op.attrs[i].type != RAPT_ATTR_FLOAT;
    double value;
    rapt_status status = RAPT_OK;
    *expression = rapt_expression_parse_at(at, n, (size_t)(at - text), error);
    if (!*expression)
        status = error->status;
    if (!status)
        status = rapt_check_names(scope, *expression, error);
    if (!status && is_constant(*expression))
        status = rapt_expression_evaluate(*expression, no_value, NULL, whole, &value, error);
    return status ? rapt_prefix_error(error, "%s \"%s\"", what, text) : RAPT_OK;
}

/* Checks a default that depends on no call against the bounds that depend on none. */
static rapt_status check_range(const rapt_schema *schema, uint32_t i, const rapt_expression *item,
                               rapt_error *error)
{
    const rapt_attr *attr = &schema->op.attrs[i];
    const rapt_expression *min = schema->attr_min[i], *max = schema->attr_max[i];
    double value, bound;
    if (!is_constant(item) ||
        rapt_expression_evaluate(item, no_value, NULL, false, &value, error) != RAPT_OK)
        return RAPT_OK;
    if (min && is_constant(min) &&
        !rapt_expression_evaluate(min, no_value, NULL, false, &bound, error) && value < bound)
        return rapt_fail(error, RAPT_INVALID, "default \"%s\" is less than the least value \"%s\"",
                         attr->fallback, attr->min);
    if (max && is_constant(max) &&
        !rapt_expression_evaluate(max, no_value, NULL, false, &bound, error) && value > bound)
        return rapt_fail(error, RAPT_INVALID,
                         "default \"%s\" is more than the greatest value \"%s\"", attr->fallback,
                         attr->max);
    return RAPT_OK;
}

static rapt_status parse_bounds(rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const rapt_attr *attr = &schema->op.attrs[i];
    rapt_status status = RAPT_OK;
    if ((attr->min || attr->max) &&
        (attr->type == RAPT_ATTR_BOOL || attr->type == RAPT_ATTR_CHOICE))
        return rapt_fail(error, RAPT_INVALID, "bounds, but its values have no order");
    if (attr->min)
        status = parse_value(schema, i, "least value", attr->min, attr->min, strlen(attr->min),
                             &schema->attr_min[i], error);
    if (!status && attr->max)
        status = parse_value(schema, i, "greatest value", attr->max, attr->max, strlen(attr->max),
                             &schema->attr_max[i], error);
    return status;
}

/* Splits "none|left|right" into a list in one block. */
static rapt_status parse_choices(rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const char *text = schema->op.attrs[i].choices;
    if (schema->op.attrs[i].type != RAPT_ATTR_CHOICE)
        return text
                   ? rapt_fail(error, RAPT_INVALID, "choices \"%s\", but its type is another", text)
                   : RAPT_OK;
    if (!text || !*text)
        return rapt_fail(error, RAPT_INVALID,
                         "no choices, expected some as in \"none|left|right\"");
    size_t n = 1;
    for (const char *at = text; *at; at++)
        n += *at == '|';
    if (n > MOST_CHOICES)
        return rapt_fail(error, RAPT_INVALID, "%zu choices, more than %d", n, MOST_CHOICES);
    const size_t bytes = (n + 1) * sizeof(char *) + strlen(text) + 1;
    char **list = calloc(1, bytes);
    if (!list)
        return rapt_fail_memory(error, bytes, "choices");
    schema->attr_choices[i] = list;

    char *at = (char *)(list + n + 1);
    strcpy(at, text);
    for (size_t k = 0; k < n; k++) {
        list[k] = at;
        at += strcspn(at, "|");
        *at++ = 0;
        if (!*list[k])
            return rapt_fail(error, RAPT_INVALID, "an empty choice in \"%s\"", text);
        for (size_t j = 0; j < k; j++)
            if (!strcmp(list[j], list[k]))
                return rapt_fail(error, RAPT_INVALID, "choice \"%s\" stands twice in \"%s\"",
                                 list[k], text);
    }
    return RAPT_OK;
}

/* "1,min(2,N)": an expression for each entry. */
static rapt_status parse_list(rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const rapt_attr *attr = &schema->op.attrs[i];
    rapt_expression **items = schema->attr_items + (size_t)i * RAPT_MAX_DIMS;
    const char *at = attr->fallback;
    for (int32_t n = 0;; at++, n++) {
        size_t length = 0;
        int depth = 0;
        for (; at[length] && (at[length] != ',' || depth > 0); length++)
            depth += (at[length] == '(') - (at[length] == ')');
        if (n == RAPT_MAX_DIMS)
            return rapt_fail(error, RAPT_INVALID, "default \"%s\" has more than %d entries",
                             attr->fallback, RAPT_MAX_DIMS);
        rapt_status status =
            parse_value(schema, i, "default", attr->fallback, at, length, &items[n], error);
        if (!status)
            status = check_range(schema, i, items[n], error);
        if (status)
            return status;
        at += length;
        if (*at)
            continue;
        if (attr->count && n + 1 != attr->count)
            return rapt_fail(error, RAPT_INVALID, "default \"%s\" has %d entries, expected %d",
                             attr->fallback, n + 1, attr->count);
        return RAPT_OK;
    }
}

/* A default that is one of some words becomes the number of that word. */
static rapt_status parse_word(rapt_schema *schema, uint32_t i, const char *const *words,
                              rapt_error *error)
{
    static const char digits[] = "0123456789";
    const char *text = schema->op.attrs[i].fallback;
    int k = 0;
    while (words[k] && strcmp(words[k], text))
        k++;
    if (!words[k])
        return rapt_fail(error, RAPT_INVALID, "default \"%s\" is not %s", text,
                         schema->attr_choices[i] ? "one of its choices" : "true or false");
    const char number[2] = {digits[k / 10], digits[k % 10]};
    schema->attr_fallback[i] = rapt_expression_parse(number, 2, error);
    return schema->attr_fallback[i] ? RAPT_OK : error->status;
}

static rapt_status parse_fallback(rapt_schema *schema, uint32_t i, rapt_error *error)
{
    static const char *const truth[] = {"false", "true", NULL};
    const rapt_attr *attr = &schema->op.attrs[i];
    const char *text = attr->fallback;
    if (!text)
        return RAPT_OK;
    if (attr->flags & RAPT_REQUIRED)
        return rapt_fail(error, RAPT_INVALID, "required, yet it has a default \"%s\"", text);
    if (attr->type == RAPT_ATTR_BOOL)
        return parse_word(schema, i, truth, error);
    if (attr->type == RAPT_ATTR_CHOICE)
        return parse_word(schema, i, (const char *const *)schema->attr_choices[i], error);
    if (attr->type == RAPT_ATTR_INTS)
        return parse_list(schema, i, error);
    const rapt_status status = parse_value(schema, i, "default", text, text, strlen(text),
                                           &schema->attr_fallback[i], error);
    return status ? status : check_range(schema, i, schema->attr_fallback[i], error);
}

static rapt_status check_name(const rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const char *name = schema->op.attrs[i].name;
    if (!rapt_is_plain_name(name))
        return rapt_fail(error, RAPT_INVALID,
                         "a name is a letter and then letters, digits and underscores");
    if (!name[1] && schema->letters[(unsigned char)name[0]])
        return rapt_fail(error, RAPT_INVALID, "the letter is a size already");
    if (!strcmp(name, "pairs") || !strcmp(name, "leading"))
        return rapt_fail(error, RAPT_INVALID, "the name has a meaning of its own in costs");
    for (uint32_t j = 0; j < i; j++)
        if (!strcmp(schema->op.attrs[j].name, name))
            return rapt_fail(error, RAPT_INVALID, "the name is used twice");
    if (rapt_schema_input(schema, name) >= 0 || rapt_schema_output(schema, name) >= 0)
        return rapt_fail(error, RAPT_INVALID, "the name is that of an input or output");
    return RAPT_OK;
}

static rapt_status parse_attr(rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const rapt_attr *attr = &schema->op.attrs[i];
    rapt_status status = check_name(schema, i, error);
    if (status)
        return status;
    if ((unsigned)attr->type > RAPT_ATTR_INTS)
        return rapt_fail(error, RAPT_INVALID, "unknown type %d", (int)attr->type);
    if (attr->flags & ~(uint32_t)RAPT_REQUIRED)
        return rapt_fail(error, RAPT_INVALID, "unknown flags 0x%x",
                         attr->flags & ~(uint32_t)RAPT_REQUIRED);
    if (attr->count < 0 || attr->count > RAPT_MAX_DIMS)
        return rapt_fail(error, RAPT_INVALID, "%d entries, expected 0 to %d", attr->count,
                         RAPT_MAX_DIMS);
    status = parse_choices(schema, i, error);
    if (!status)
        status = parse_bounds(schema, i, error);
    return status ? status : parse_fallback(schema, i, error);
}

rapt_status rapt_parse_attrs(rapt_schema *schema, rapt_error *error)
{
    const size_t n = schema->op.n_attrs;
    if (n == 0)
        return RAPT_OK;
    schema->attr_fallback = calloc(n, sizeof *schema->attr_fallback);
    schema->attr_min = calloc(n, sizeof *schema->attr_min);
    schema->attr_max = calloc(n, sizeof *schema->attr_max);
    schema->attr_items = calloc(n * RAPT_MAX_DIMS, sizeof *schema->attr_items);
    schema->attr_choices = calloc(n, sizeof *schema->attr_choices);
    if (!schema->attr_fallback || !schema->attr_min || !schema->attr_max || !schema->attr_items ||
        !schema->attr_choices)
        return rapt_fail_memory(error, n * (RAPT_MAX_DIMS + 4) * sizeof(void *), "attributes");
    rapt_attr *attrs = (rapt_attr *)schema->op.attrs;
    for (uint32_t i = 0; i < n; i++) {
        if (!attrs[i].name)
            return rapt_fail(error, RAPT_INVALID, "attribute %u has no name", i + 1);
        if (!attrs[i].doc)
            attrs[i].doc = "";
    }
    for (uint32_t i = 0; i < n; i++) {
        if (parse_attr(schema, i, error))
            return rapt_prefix_error(error, "attribute \"%s\"", attrs[i].name);
    }
    return RAPT_OK;
}

void rapt_free_attrs(rapt_schema *schema)
{
    for (uint32_t i = 0; i < schema->op.n_attrs; i++) {
        if (schema->attr_fallback)
            rapt_expression_free(schema->attr_fallback[i]);
        if (schema->attr_min)
            rapt_expression_free(schema->attr_min[i]);
        if (schema->attr_max)
            rapt_expression_free(schema->attr_max[i]);
        if (schema->attr_choices)
            free(schema->attr_choices[i]);
        for (int k = 0; schema->attr_items && k < RAPT_MAX_DIMS; k++)
            rapt_expression_free(schema->attr_items[i * RAPT_MAX_DIMS + (size_t)k]);
    }
    free(schema->attr_fallback);
    free(schema->attr_min);
    free(schema->attr_max);
    free(schema->attr_items);
    free(schema->attr_choices);
}
