/* Attributes and lists of numbers as texts, and back. */
#include "engine/attributes.h"
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

/* --- To texts -------------------------------------------------------------------------------- */

static locale_t point_locale(void)
{
    return newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
}

static void print_float(rapt_text *text, double number)
{
    const locale_t plain = point_locale();
    if (!plain) {
        text->failed = true;
        return;
    }
    const locale_t before = uselocale(plain);
    rapt_text_append(text, "%.17g", number);
    uselocale(before);
    freelocale(plain);
}

void rapt_attr_print(const rapt_named_value *value, rapt_text *text)
{
    switch (value->type) {
    case RAPT_ATTR_BOOL:
        rapt_text_append(text, "%s", value->i[0] ? "true" : "false");
        break;
    case RAPT_ATTR_INT:
        rapt_text_append(text, "%lld", (long long)value->i[0]);
        break;
    case RAPT_ATTR_FLOAT:
        print_float(text, value->f);
        break;
    case RAPT_ATTR_CHOICE:
        rapt_text_append(text, "%s", value->text);
        break;
    case RAPT_ATTR_INTS:
        for (int32_t i = 0; i < value->count; i++)
            rapt_text_append(text, "%s%lld", i ? "," : "", (long long)value->i[i]);
        break;
    }
}

/* --- From texts ------------------------------------------------------------------------------ */

static bool parse_float(const char *text, double *number)
{
    char *end;
    const locale_t plain = point_locale();
    if (!plain)
        return false;
    *number = strtod_l(text, &end, plain);
    freelocale(plain);
    return end != text && *end == 0;
}

bool rapt_int_parse(const char **text, int64_t *value)
{
    char *end;
    errno = 0;
    const char first = **text;
    if (first != '-' && (first < '0' || first > '9'))
        return false;
    const long long n = strtoll(*text, &end, 10);
    if (errno || end == *text)
        return false;
    *text = end;
    *value = n;
    return true;
}

bool rapt_ints_parse(const char *text, int64_t *values, int32_t *count)
{
    *count = 0;
    do {
        if (*count == RAPT_MAX_DIMS || !rapt_int_parse(&text, &values[*count]))
            return false;
        ++*count;
    } while (*text == ',' && text++);
    return *text == 0;
}

bool rapt_attr_parse(const rapt_schema *schema, int32_t a, const char *text,
                     rapt_named_value *value)
{
    const rapt_attr *attr = &schema->op.attrs[a];
    *value = (rapt_named_value){.name = attr->name, .type = attr->type, .count = 1};
    switch (attr->type) {
    case RAPT_ATTR_BOOL:
        value->i[0] = strcmp(text, "true") == 0;
        return value->i[0] || strcmp(text, "false") == 0;
    case RAPT_ATTR_INT:
        return rapt_int_parse(&text, &value->i[0]) && *text == 0;
    case RAPT_ATTR_FLOAT:
        return parse_float(text, &value->f);
    case RAPT_ATTR_CHOICE:
        for (char **choice = schema->attr_choices[a]; *choice; choice++)
            if (strcmp(*choice, text) == 0)
                value->text = *choice;
        return value->text != NULL;
    case RAPT_ATTR_INTS:
        return rapt_ints_parse(text, value->i, &value->count);
    }
    return false;
}

const char *rapt_file_text(const rapt_file *file, const char *name)
{
    for (size_t k = 0; k < file->n_metadata; k++)
        if (strcmp(file->metadata[k].name, name) == 0)
            return file->metadata[k].text;
    return NULL;
}
