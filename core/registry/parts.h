/* The parts of a schema and how each is checked. For this room only. `error` is never NULL here. */
#ifndef RAPT_REGISTRY_PARTS_H
#define RAPT_REGISTRY_PARTS_H

#include "registry/schema.h"

/* Dtypes and names, in words. */
#define RAPT_WORDS 160
const char *rapt_dtype_word(rapt_dtype dtype);
/* "f32, f16 or bf16" */
char *rapt_dtype_words(uint32_t mask, char text[RAPT_WORDS]);
/* A mask from "f32|i64|T". */
rapt_status rapt_dtype_mask(const char *text, uint32_t *mask, rapt_error *error);
/* [a-z][a-z0-9_]* parts joined by dots, at most 63 bytes. */
bool rapt_is_dotted_name(const char *name);
/* Letters, digits and underscores, first a letter, at most 63 bytes. */
bool rapt_is_plain_name(const char *name);

/* Who may be named in an expression: the sizes that inputs bind and the first `n_attrs` attributes
 * that are numbers; in costs also `pairs` and `leading`; in dimensions whole numbers only. */
typedef struct rapt_scope {
    const rapt_schema *schema;
    uint32_t n_attrs;
    bool cost, whole;
} rapt_scope;
rapt_status rapt_check_names(rapt_scope scope, const rapt_expression *expression,
                             rapt_error *error);
/* Of a spec that inputs do not bind: an output, a saved tensor, the weights. */
rapt_status rapt_check_spec_names(const rapt_schema *schema, const rapt_spec *spec,
                                  rapt_error *error);

/* The specs and dtypes of `n` arguments; *specs and *masks are to be freed by the schema also when
 * this fails. `what`: "input", "output", "saved tensor". */
rapt_status rapt_parse_args(rapt_arg *args, uint32_t n, const char *what, rapt_spec **specs,
                            uint32_t **masks, rapt_error *error);
rapt_status rapt_parse_attrs(rapt_schema *schema, rapt_error *error);
/* The arrays behind op.attrs. */
void rapt_free_attrs(rapt_schema *schema);
rapt_status rapt_parse_kernels(rapt_schema *schema, const rapt_operator *description,
                               rapt_error *error);
void rapt_free_kernels(rapt_schema *schema);

#endif
