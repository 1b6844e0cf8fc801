/* A call while it is being bound. For this room only. */
#ifndef RAPT_REGISTRY_BINDER_H
#define RAPT_REGISTRY_BINDER_H

#include "base/text.h"
#include "registry/parts.h"

typedef struct rapt_binder {
    rapt_binding *binding;
    const rapt_schema *schema;
    const char *op; /* its name, in front of every message */
    rapt_phase phase;
    rapt_error *error;          /* never NULL */
    int32_t source[RAPT_SIZES]; /* the input that bound a letter; '.' the leading dimensions */
    bool weak[RAPT_SIZES];      /* bound by a size of 1 in an `X?` dimension */
} rapt_binder;

/* Names in expressions under a binding. */
typedef struct rapt_bound_names {
    const rapt_binding *binding;
    const double *pairs; /* NULL where the name has no meaning */
} rapt_bound_names;
bool rapt_bound_lookup(void *user, const char *name, bool given, double *value);
/* Whether all names of an expression, given(x) aside, have values. */
bool rapt_bound_all(const rapt_binding *binding, const rapt_expression *expression);

/* Ranks and sizes: the letters, then, when attributes are known, the expressions. */
rapt_status rapt_bind_sizes(rapt_binder *binder);
rapt_status rapt_bind_expressions(rapt_binder *binder);
/* Attributes: types and choices of what is given, then defaults and bounds. */
rapt_status rapt_bind_values(rapt_binder *binder, const rapt_named_value *attrs, size_t n);
rapt_status rapt_bind_defaults(rapt_binder *binder);
/* What an attribute must be: "true or false", "one of none, left, right". Appended. */
void rapt_expected_text(const rapt_schema *schema, uint32_t attr, rapt_text *text);
/* The value of attribute `i` as a person would write it. Appended. */
void rapt_value_text(const rapt_binding *binding, uint32_t attr, rapt_text *text);

#endif
