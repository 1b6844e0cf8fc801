/* Attributes of a call. */
#include "base/error.h"
#include "registry/binder.h"

#include <math.h>
#include <string.h>

static void append_choices(const rapt_schema *schema, uint32_t attr, rapt_text *text)
{
    char **choices = schema->attr_choices[attr];
    for (size_t k = 0; choices[k]; k++)
        rapt_text_append(text, "%s%s", k ? ", " : "one of ", choices[k]);
}

void rapt_expected_text(const rapt_schema *schema, uint32_t attr, rapt_text *text)
{
    const int32_t count = schema->op.attrs[attr].count;
    switch (schema->op.attrs[attr].type) {
    case RAPT_ATTR_BOOL:
        rapt_text_append(text, "true or false");
        break;
    case RAPT_ATTR_INT:
        rapt_text_append(text, "an integer");
        break;
    case RAPT_ATTR_FLOAT:
        rapt_text_append(text, "a number");
        break;
    case RAPT_ATTR_CHOICE:
        append_choices(schema, attr, text);
        break;
    case RAPT_ATTR_INTS:
        if (count == 0)
            rapt_text_append(text, "a list of 1 to %d integers", RAPT_MAX_DIMS);
        else
            rapt_text_append(text, "a list of %d integer%s", count, count == 1 ? "" : "s");
        break;
    }
}

static void append_list(const int64_t *entries, int32_t n, rapt_text *text)
{
    for (int32_t k = 0; k < n; k++)
        rapt_text_append(text, "%s%lld", k ? "," : "{", (long long)entries[k]);
    rapt_text_append(text, n > 0 ? "}" : "{}");
}

void rapt_value_text(const rapt_binding *binding, uint32_t attr, rapt_text *text)
{
    const rapt_value *value = &binding->attrs[attr];
    switch (binding->schema->op.attrs[attr].type) {
    case RAPT_ATTR_BOOL:
        rapt_text_append(text, "%s", value->i[0] ? "true" : "false");
        break;
    case RAPT_ATTR_INT:
        rapt_text_append(text, "%lld", (long long)value->i[0]);
        break;
    case RAPT_ATTR_FLOAT:
        rapt_text_append(text, "%.9g", value->f);
        break;
    case RAPT_ATTR_CHOICE:
        rapt_text_append(text, "%s", binding->schema->attr_choices[attr][value->i[0]]);
        break;
    case RAPT_ATTR_INTS:
        append_list(value->i, value->count, text);
        break;
    }
}

/* A number; one that is none has no sign that anybody gave it. */
static void append_number(double x, rapt_text *text)
{
    if (isnan(x))
        rapt_text_append(text, "nan");
    else
        rapt_text_append(text, "%.9g", x);
}

/* What the caller gave, as he would write it. */
static void append_given(const rapt_named_value *given, rapt_text *text)
{
    switch (given->type) {
    case RAPT_ATTR_BOOL:
        rapt_text_append(text, "%s", given->i[0] ? "true" : "false");
        break;
    case RAPT_ATTR_INT:
        rapt_text_append(text, "%lld", (long long)given->i[0]);
        break;
    case RAPT_ATTR_FLOAT:
        append_number(given->f, text);
        break;
    case RAPT_ATTR_CHOICE:
        rapt_text_append(text, "\"%.80s\"", given->text ? given->text : "");
        break;
    case RAPT_ATTR_INTS:
        append_list(given->i, given->count <= RAPT_MAX_DIMS ? given->count : RAPT_MAX_DIMS, text);
        break;
    }
}

static rapt_status refuse(const rapt_binder *b, uint32_t attr, const rapt_named_value *given)
{
    const rapt_schema *schema = b->schema;
    rapt_text text = {0};
    rapt_text_append(&text, "%s: %s is ", b->op, schema->op.attrs[attr].name);
    append_given(given, &text);
    rapt_text_append(&text, " but must be ");
    rapt_expected_text(schema, attr, &text);
    if (schema->attr_choices[attr] && given->type == RAPT_ATTR_CHOICE && given->text) {
        const char *const *choices = (const char *const *)schema->attr_choices[attr];
        size_t n = 0;
        while (choices[n])
            n++;
        const char *near = rapt_nearest(given->text, choices, n);
        if (near)
            rapt_text_append(&text, "; did you mean \"%s\"?", near);
    }
    const rapt_status status = text.failed ? rapt_fail_memory(b->error, 128, "a message")
                                           : rapt_fail(b->error, RAPT_INVALID, "%s", text.data);
    rapt_text_free(&text);
    return status;
}

/* Numbers of a scripting language come as floats or ints; each is taken for the other where that
 * loses nothing. */
static bool take_int(const rapt_named_value *given, rapt_value *value)
{
    const double two63 = 9223372036854775808.0;
    if (given->type == RAPT_ATTR_INT)
        value->i[0] = given->i[0];
    else if (given->type == RAPT_ATTR_FLOAT && given->f >= -two63 && given->f < two63 &&
             given->f == floor(given->f))
        value->i[0] = (int64_t)given->f;
    else
        return false;
    value->f = (double)value->i[0];
    return true;
}

static bool take_float(const rapt_named_value *given, rapt_value *value)
{
    if (given->type == RAPT_ATTR_INT)
        value->f = (double)given->i[0];
    else if (given->type == RAPT_ATTR_FLOAT && !isnan(given->f))
        value->f = given->f;
    else
        return false;
    return true;
}

static bool take_choice(const rapt_named_value *given, char **choices, rapt_value *value)
{
    if (given->type != RAPT_ATTR_CHOICE || !given->text)
        return false;
    for (int64_t k = 0; choices[k]; k++) {
        if (strcmp(choices[k], given->text))
            continue;
        value->i[0] = k;
        value->f = (double)k;
        return true;
    }
    return false;
}

static bool take_list(const rapt_named_value *given, int32_t count, rapt_value *value)
{
    if (given->type != RAPT_ATTR_INTS || given->count < 1 || given->count > RAPT_MAX_DIMS ||
        (count && given->count != count))
        return false;
    memcpy(value->i, given->i, (size_t)given->count * sizeof value->i[0]);
    value->count = given->count;
    return true;
}

static bool take(const rapt_schema *schema, uint32_t attr, const rapt_named_value *given,
                 rapt_value *value)
{
    value->count = 1;
    switch (schema->op.attrs[attr].type) {
    case RAPT_ATTR_BOOL:
        value->i[0] = given->i[0] != 0;
        value->f = (double)value->i[0];
        return given->type == RAPT_ATTR_BOOL;
    case RAPT_ATTR_INT:
        return take_int(given, value);
    case RAPT_ATTR_FLOAT:
        return take_float(given, value);
    case RAPT_ATTR_CHOICE:
        return take_choice(given, schema->attr_choices[attr], value);
    case RAPT_ATTR_INTS:
        return take_list(given, schema->op.attrs[attr].count, value);
    }
    return false;
}

rapt_status rapt_bind_values(rapt_binder *b, const rapt_named_value *attrs, size_t n)
{
    const rapt_operator *op = &b->schema->op;
    for (size_t k = 0; k < n; k++) {
        const uint32_t i = (uint32_t)rapt_schema_attr(b->schema, attrs[k].name);
        rapt_value *value = &b->binding->attrs[i];
        if (value->present)
            return rapt_fail(b->error, RAPT_INVALID, "%s: %s is given twice", b->op, attrs[k].name);
        if (!take(b->schema, i, &attrs[k], value))
            return refuse(b, i, &attrs[k]);
        value->present = 1;
        b->binding->given |= 1u << i;
    }
    for (uint32_t i = 0; i < op->n_attrs; i++) {
        if (!(op->attrs[i].flags & RAPT_REQUIRED) || b->binding->attrs[i].present)
            continue;
        rapt_text text = {0};
        rapt_expected_text(b->schema, i, &text);
        const rapt_status status =
            text.failed ? rapt_fail_memory(b->error, 64, "a message")
                        : rapt_fail(b->error, RAPT_INVALID, "%s: missing attribute %s (%s)", b->op,
                                    op->attrs[i].name, text.data);
        rapt_text_free(&text);
        return status;
    }
    return RAPT_OK;
}

/* RAPT_OK with *value untouched: left out, because `weights` does without what it depends on. */
static rapt_status evaluate(const rapt_binder *b, const rapt_expression *expression, uint32_t attr,
                            const char *what, const char *source, bool *known, double *value)
{
    const bool whole = b->schema->op.attrs[attr].type != RAPT_ATTR_FLOAT;
    rapt_bound_names names = {b->binding, NULL};
    rapt_error why;
    *known = true;
    if (!rapt_expression_evaluate(expression, rapt_bound_lookup, &names, whole, value, &why))
        return RAPT_OK;
    *known = false;
    if (b->phase == RAPT_WEIGHTS && !rapt_bound_all(b->binding, expression))
        return RAPT_OK;
    return rapt_fail(b->error, why.status, "%s: %s of %s, %s: %s", b->op, what,
                     b->schema->op.attrs[attr].name, source, why.message);
}

static rapt_status set_default(const rapt_binder *b, uint32_t i)
{
    const char *source = b->schema->op.attrs[i].fallback;
    rapt_expression **items = b->schema->attr_items + (size_t)i * RAPT_MAX_DIMS;
    const bool list = b->schema->op.attrs[i].type == RAPT_ATTR_INTS;
    rapt_value value = {.present = 1, .count = 1};
    double number = 0;
    bool known;
    for (int32_t k = 0; k < RAPT_MAX_DIMS; k++) {
        const rapt_expression *item = list ? items[k] : k == 0 ? b->schema->attr_fallback[i] : NULL;
        if (!item)
            break;
        const rapt_status status = evaluate(b, item, i, "the default", source, &known, &number);
        if (status || !known)
            return status;
        if (b->schema->op.attrs[i].type != RAPT_ATTR_FLOAT)
            value.i[k] = (int64_t)number;
        value.count = k + 1;
    }
    value.f = number;
    b->binding->attrs[i] = value;
    return RAPT_OK;
}

static rapt_status out_of_range(const rapt_binder *b, uint32_t i, const char *which, double bound)
{
    const rapt_attr *attr = &b->schema->op.attrs[i];
    rapt_text text = {0};
    rapt_value_text(b->binding, i, &text);
    const rapt_status status =
        text.failed
            ? rapt_fail_memory(b->error, 64, "a message")
            : rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s%s but %smust be at %s %.9g", b->op,
                        attr->name, text.data, b->binding->given >> i & 1 ? "" : " (the default)",
                        attr->type == RAPT_ATTR_INTS ? "its entries " : "", which, bound);
    rapt_text_free(&text);
    return status;
}

/* -1, 0, 1; an int beyond 2^53 is compared exactly, which a double would not. */
static int compare(rapt_attr_type type, const rapt_value *value, int32_t k, double bound)
{
    if (type == RAPT_ATTR_FLOAT)
        return (value->f > bound) - (value->f < bound);
    const int64_t whole = (int64_t)bound;
    return (value->i[k] > whole) - (value->i[k] < whole);
}

static rapt_status check_bound(const rapt_binder *b, uint32_t i, const rapt_expression *expression,
                               const char *source, int sign)
{
    const rapt_value *value = &b->binding->attrs[i];
    bool known;
    double bound;
    if (!expression)
        return RAPT_OK;
    const rapt_status status =
        evaluate(b, expression, i, sign < 0 ? "the least value" : "the greatest value", source,
                 &known, &bound);
    if (status || !known)
        return status;
    for (int32_t k = 0; k < value->count; k++)
        if (compare(b->schema->op.attrs[i].type, value, k, bound) == sign)
            return out_of_range(b, i, sign < 0 ? "least" : "most", bound);
    return RAPT_OK;
}

rapt_status rapt_bind_defaults(rapt_binder *b)
{
    const rapt_schema *schema = b->schema;
    rapt_status status = RAPT_OK;
    for (uint32_t i = 0; !status && i < schema->op.n_attrs; i++) {
        const rapt_attr *attr = &schema->op.attrs[i];
        if (!b->binding->attrs[i].present && attr->fallback)
            status = set_default(b, i);
        if (status || !b->binding->attrs[i].present)
            continue;
        status = check_bound(b, i, schema->attr_min[i], attr->min, -1);
        if (!status)
            status = check_bound(b, i, schema->attr_max[i], attr->max, 1);
    }
    return status;
}
