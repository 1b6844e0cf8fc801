/*
 * An operator as the core sees it: the plugin's description, checked and parsed, in this version's
 * structs whatever minor version the plugin was built with; and a call checked against it.
 */
#ifndef RAPT_REGISTRY_SCHEMA_H
#define RAPT_REGISTRY_SCHEMA_H

#include "registry/shape.h"
#include <stdatomic.h>

struct rapt_library; /* loader.h */

typedef struct rapt_schema {
    atomic_int references; /* the table, graphs and decoding states hold it */
    rapt_operator op;      /* complete copy; its arrays are arrays of this version's structs */
    rapt_spec *inputs, *outputs;
    uint32_t *input_dtypes, *output_dtypes; /* masks; bit RAPT_DTYPE_COUNT stands for "T" */
    rapt_expression **attr_fallback, **attr_min, **attr_max;
    char ***attr_choices; /* per attribute: NULL terminated, or NULL */
    rapt_expression **where;
    char **where_text;
    uint32_t n_where;
    rapt_expression *flops, *flops_backward, *bytes;
    rapt_spec *weights;                   /* or NULL */
    rapt_spec **saved;                    /* per kernel */
    uint64_t *keep_inputs, *keep_outputs; /* per kernel: masks of what backward reads */
    int32_t *state_append, *state_input, *state_output; /* indices per state, -1 none */
    struct rapt_library *library; /* keeps the plugin's code mapped; NULL for built-ins */
} rapt_schema;

/* Checks everything that can be checked without a call: names, specs, dtypes, attribute defaults
 * and bounds, conditions, kernels with forward, states that name inputs. Errors say which field. */
rapt_schema *rapt_schema_new(const rapt_operator *description, rapt_error *error);
rapt_schema *rapt_schema_retain(rapt_schema *schema);
void rapt_schema_release(rapt_schema *schema);

int32_t rapt_schema_input(const rapt_schema *schema, const char *name); /* -1: none */
int32_t rapt_schema_output(const rapt_schema *schema, const char *name);
int32_t rapt_schema_attr(const rapt_schema *schema, const char *name);

#define RAPT_MAX_ARGS  32
#define RAPT_MAX_ATTRS 32
#define RAPT_SIZES     128

/* A call, bound: what every argument and size is. Holds no references. */
typedef struct rapt_binding {
    const rapt_schema *schema;
    const rapt_view *inputs[RAPT_MAX_ARGS]; /* by position; NULL absent */
    rapt_value attrs[RAPT_MAX_ATTRS];
    int64_t sizes[RAPT_SIZES];
    int32_t n_leading; /* the `...` dimensions */
    int64_t leading[RAPT_MAX_DIMS];
    rapt_dtype dtype; /* T */
    rapt_device device;
} rapt_binding;

/* Places arguments by name and checks names, presence, dtypes, devices, ranks, sizes, attribute
 * types, ranges and choices, and conditions. `phase` RAPT_WEIGHTS lets RAPT_VALUE_ONLY inputs be
 * absent. `inputs` are views by name. Messages begin with the operator's name and say where the
 * expected size came from: "cog: k is [1,8,128,32] but D is 64 (from q [1,8,128,64])". */
typedef struct rapt_named_view {
    const char *name;
    const rapt_view *view; /* NULL: as if not given */
} rapt_named_view;
rapt_status rapt_bind(const rapt_schema *schema, rapt_phase phase, const rapt_named_view *inputs,
                      size_t n_inputs, const rapt_named_value *attrs, size_t n_attrs,
                      rapt_binding *binding, rapt_error *error);
/* Shape of a spec under a binding; *dtype from the argument's dtype (its first choice). For an
 * output "o: *" the engine asks the operator instead. */
rapt_status rapt_bound_shape(const rapt_binding *binding, const rapt_spec *spec, int32_t *ndim,
                             int64_t *shape, rapt_error *error);
/* The dtype of output i under a binding: T, or the one it names. */
rapt_dtype rapt_bound_output_dtype(const rapt_binding *binding, uint32_t output);
/* Evaluates cost; `pairs` honours causal (aligned at the end) and `window`, where the operator has
 * such attributes. */
rapt_status rapt_bound_cost(const rapt_binding *binding, rapt_cost *cost, rapt_error *error);

#endif
