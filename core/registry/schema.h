/*
 * An operator as the core sees it: the plugin's description, checked and parsed, in this version's
 * structs whatever minor version the plugin was built with; and a call checked against it.
 */
#ifndef RAPT_REGISTRY_SCHEMA_H
#define RAPT_REGISTRY_SCHEMA_H

#include "registry/shape.h"
#include <stdatomic.h>

struct rapt_library; /* loader.h */

/* In a mask of dtypes: the compute type T. */
#define RAPT_DTYPE_T RAPT_DTYPE_BIT(RAPT_DTYPE_COUNT)

#define RAPT_MAX_ARGS  32
#define RAPT_MAX_ATTRS 32
#define RAPT_SIZES     128

#define RAPT_SCHEMA_DEVICES 16

typedef struct rapt_schema {
    atomic_int references; /* the table, graphs and decoding states hold it */
    /* Complete copy; its arrays are arrays of this version's structs. Texts that an author left out
     * are filled in: title by the name; version, activation and docs by "". */
    rapt_operator op;
    rapt_spec *inputs, *outputs;
    uint32_t *input_dtypes, *output_dtypes; /* masks with RAPT_DTYPE_T; of an output, one bit */
    uint32_t compute_dtypes;                /* what T may be: all that some kernel takes */
    bool letters[RAPT_SIZES];               /* the sizes that inputs can bind */
    /* Per attribute; NULL where there is none. The fallback of a list is in attr_items instead. */
    rapt_expression **attr_fallback, **attr_min, **attr_max;
    rapt_expression **attr_items; /* RAPT_MAX_DIMS per attribute; NULL behind the last */
    char ***attr_choices;         /* NULL terminated */
    rapt_expression **where;
    char **where_text;
    uint32_t n_where;
    rapt_expression *flops, *flops_backward, *bytes;
    rapt_spec *weights;    /* or NULL */
    rapt_arg **saved_args; /* per kernel; what op.kernels[i].saved points to */
    rapt_spec **saved;     /* per kernel */
    uint32_t **saved_dtypes;
    uint64_t *keep_inputs, *keep_outputs; /* per kernel: masks of what backward reads */
    int32_t *state_append, *state_input, *state_output; /* indices per state, -1 none */
    struct rapt_library *library; /* keeps the plugin's code mapped; NULL for built-ins */
    /* The engine's, per device: what of the operator has been tested there, or need not be. */
    atomic_uint tested[RAPT_SCHEMA_DEVICES], tested_with[RAPT_SCHEMA_DEVICES];
} rapt_schema;

/* Checks everything that can be checked without a call: names, specs, dtypes, attribute defaults
 * and bounds, conditions, kernels with forward, states that name inputs. Errors say which field. */
rapt_schema *rapt_schema_new(const rapt_operator *description, rapt_error *error);
rapt_schema *rapt_schema_retain(rapt_schema *schema);
void rapt_schema_release(rapt_schema *schema);

int32_t rapt_schema_input(const rapt_schema *schema, const char *name); /* -1: none */
int32_t rapt_schema_output(const rapt_schema *schema, const char *name);
int32_t rapt_schema_attr(const rapt_schema *schema, const char *name);

/* A call, bound: what every argument and size is. Holds no references. */
typedef struct rapt_binding {
    const rapt_schema *schema;
    const rapt_view *inputs[RAPT_MAX_ARGS]; /* by position; NULL absent */
    rapt_value attrs[RAPT_MAX_ATTRS];
    uint32_t given; /* mask of the attributes that the caller gave */
    int64_t sizes[RAPT_SIZES];
    int32_t n_leading; /* the `...` dimensions; sizes['.'] is -1 where no argument has them */
    int64_t leading[RAPT_MAX_DIMS];
    rapt_dtype dtype; /* T */
    rapt_device device;
} rapt_binding;

typedef struct rapt_named_view {
    const char *name;
    const rapt_view *view; /* NULL: as if not given */
} rapt_named_view;

/* Places arguments by name and checks, in this order: names, presence, types and choices of
 * attributes, dtypes, devices, ranks, sizes, defaults and ranges of attributes, sizes that are
 * expressions, conditions. Messages begin with the operator's name and say where the expected size
 * came from: "cog: k is [1,8,128,32] but D is 64 (from q [1,8,128,64])".
 *
 * `inputs` are views by name. `phase` RAPT_WEIGHTS lets RAPT_VALUE_ONLY inputs be absent; what
 * depends on sizes that only they bind is left out then: conditions, and defaults (not present).
 * A letter is bound by the arguments that have it as a dimension of its own; if it stands in `X?`
 * dimensions alone, by the first of those that is not 1. */
rapt_status rapt_bind(const rapt_schema *schema, rapt_phase phase, const rapt_named_view *inputs,
                      size_t n_inputs, const rapt_named_value *attrs, size_t n_attrs,
                      rapt_binding *binding, rapt_error *error);
/* Shape of a spec under a binding, checked to fit in 63 bits of bytes. For an output "o: *" the
 * engine asks the operator instead; asking here is RAPT_INTERNAL. */
rapt_status rapt_bound_shape(const rapt_binding *binding, const rapt_spec *spec, int32_t *ndim,
                             int64_t *shape, rapt_error *error);
/* The dtype of an output, or of a tensor that a kernel saves: T, or the one it names. */
rapt_dtype rapt_bound_output_dtype(const rapt_binding *binding, uint32_t output);
rapt_dtype rapt_bound_saved_dtype(const rapt_binding *binding, uint32_t kernel, uint32_t saved);
/* Evaluates cost. `pairs` counts what one head sees, in closed form: all N x M (M is N where no
 * argument binds M), less what `causal` hides (aligned at the end; always, for an operator with
 * RAPT_OP_CAUSAL, without RAPT_OP_FULL and without such an attribute) and what lies outside
 * `window` {left, right} (a negative entry: no bound). 0 without N. Costs that the operator does
 * not state are 0, except bytes: inputs and outputs once each, without optional outputs and outputs
 * whose shape only the operator can infer. */
rapt_status rapt_bound_cost(const rapt_binding *binding, rapt_cost *cost, rapt_error *error);

#endif
