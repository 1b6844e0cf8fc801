/* Specs of arguments ("q: B H N D"), parsed and matched. The language stands in rapt/plugin.h. */
#ifndef RAPT_REGISTRY_SHAPE_H
#define RAPT_REGISTRY_SHAPE_H

#include "registry/expression.h"

typedef struct rapt_dim {
    rapt_expression *expression;
    char letter;    /* lone letter, "N" or "N?"; otherwise 0 */
    bool broadcast; /* "?": the size or 1 */
} rapt_dim;

typedef struct rapt_spec {
    char *name;
    bool any; /* "o: *": of an output, shape by the operator's infer function; of an input, any */
    bool leading, leading_broadcast; /* "..." , "...?" */
    int32_t n_dims;
    rapt_dim dims[RAPT_MAX_DIMS];
    char *text; /* the dims as written, for messages */
} rapt_spec;

/* Errors say the column of `text` and what was expected there. On failure `spec` is zero. */
rapt_status rapt_spec_parse(const char *text, rapt_spec *spec, rapt_error *error);
void rapt_spec_free(rapt_spec *spec);

#endif
