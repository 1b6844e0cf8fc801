/* Which names an expression of a description may use. */
#include "base/error.h"
#include "base/text.h"
#include "registry/parts.h"

#include <string.h>

typedef struct visitor {
    rapt_scope scope;
    rapt_error *error;
} visitor;

static bool is_given_name(const rapt_schema *schema, const char *name)
{
    return rapt_schema_input(schema, name) >= 0 || rapt_schema_attr(schema, name) >= 0;
}

static void suggest(const visitor *check, const char *name)
{
    const rapt_operator *op = &check->scope.schema->op;
    const char *names[RAPT_MAX_ATTRS];
    for (uint32_t i = 0; i < op->n_attrs; i++)
        names[i] = op->attrs[i].name;
    const char *near = rapt_nearest(name, names, op->n_attrs);
    if (near && strcmp(near, name))
        rapt_fail(check->error, RAPT_INVALID, "%s; did you mean \"%s\"?", check->error->message,
                  near);
}

static bool visit(void *user, const char *name, bool given)
{
    const visitor *check = user;
    const rapt_scope *scope = &check->scope;
    const unsigned char letter = name[1] ? 0 : (unsigned char)name[0];
    if (given) {
        if (is_given_name(scope->schema, name))
            return true;
        rapt_fail(check->error, RAPT_INVALID, "given(%s) names no input and no attribute", name);
        return false;
    }
    if (letter && scope->schema->letters[letter])
        return true;
    if (scope->cost && (!strcmp(name, "pairs") || !strcmp(name, "leading")))
        return true;

    const int32_t i = rapt_schema_attr(scope->schema, name);
    if (i < 0) {
        rapt_fail(check->error, RAPT_INVALID, "\"%s\" is no size that an input binds%s", name,
                  letter ? "" : " and no attribute");
        if (!letter)
            suggest(check, name);
        return false;
    }
    const rapt_attr_type type = scope->schema->op.attrs[i].type;
    if (type == RAPT_ATTR_INTS || (scope->whole && type != RAPT_ATTR_INT)) {
        rapt_fail(check->error, RAPT_INVALID, "attribute %s is no %s", name,
                  scope->whole ? "integer" : "number");
        return false;
    }
    if ((uint32_t)i >= scope->n_attrs) {
        rapt_fail(check->error, RAPT_INVALID, "attribute %s is not known before this one", name);
        return false;
    }
    return true;
}

rapt_status rapt_check_names(rapt_scope scope, const rapt_expression *expression, rapt_error *error)
{
    visitor check = {scope, error};
    return rapt_expression_names(expression, visit, &check) ? RAPT_OK : error->status;
}

static bool any_leading(const rapt_schema *schema)
{
    for (uint32_t i = 0; i < schema->op.n_inputs; i++)
        if (schema->inputs[i].leading)
            return true;
    return false;
}

rapt_status rapt_check_spec_names(const rapt_schema *schema, const rapt_spec *spec,
                                  rapt_error *error)
{
    const rapt_scope scope = {schema, schema->op.n_attrs, false, true};
    if (spec->leading && !any_leading(schema))
        return rapt_fail(error, RAPT_INVALID, "no input says what \"...\" is");
    for (int32_t i = 0; i < spec->n_dims; i++) {
        if (spec->dims[i].broadcast)
            return rapt_fail(error, RAPT_INVALID, "\"?\" has a meaning for inputs only");
        const rapt_status status = rapt_check_names(scope, spec->dims[i].expression, error);
        if (status)
            return status;
    }
    return RAPT_OK;
}
