/* Descriptions of operators: checked, copied, parsed. */
#include "registry/schema.h"
#include "base/error.h"
#include "registry/copies.h"
#include "registry/library.h"
#include "registry/parts.h"
#include "registry/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL_FLAGS                                                                                  \
    (RAPT_OP_FULL | RAPT_OP_CAUSAL | RAPT_OP_CROSS | RAPT_OP_DECODE | RAPT_OP_WEIGHTS |            \
     RAPT_OP_PRIVATE)

enum { MOST_STATES = 32 };

int32_t rapt_schema_input(const rapt_schema *schema, const char *name)
{
    for (uint32_t i = 0; i < schema->op.n_inputs; i++)
        if (!strcmp(schema->inputs[i].name, name))
            return (int32_t)i;
    return -1;
}

int32_t rapt_schema_output(const rapt_schema *schema, const char *name)
{
    for (uint32_t i = 0; i < schema->op.n_outputs; i++)
        if (!strcmp(schema->outputs[i].name, name))
            return (int32_t)i;
    return -1;
}

int32_t rapt_schema_attr(const rapt_schema *schema, const char *name)
{
    for (uint32_t i = 0; i < schema->op.n_attrs; i++)
        if (!strcmp(schema->op.attrs[i].name, name))
            return (int32_t)i;
    return -1;
}

/* Copies the operator with no arrays, which come one by one, so that whatever stands in op.inputs
 * and its like is ours to free at any time. */
static rapt_status copy_operator(rapt_schema *schema, const rapt_operator *given, rapt_error *error)
{
    rapt_operator *op = &schema->op;
    *op = *given;
    op->inputs = op->outputs = NULL;
    op->attrs = NULL;
    op->states = NULL;
    op->kernels = NULL;
    op->n_inputs = op->n_outputs = op->n_attrs = op->n_states = op->n_kernels = 0;

    if (op->flags & ~(uint32_t)ALL_FLAGS)
        return rapt_fail(error, RAPT_INVALID, "unknown flags 0x%x",
                         op->flags & ~(uint32_t)ALL_FLAGS);
    if (!op->doc || !*op->doc)
        return rapt_fail(error, RAPT_INVALID, "no doc: the catalogue is made from it");
    if (!op->title)
        op->title = op->name;
    if (!op->version)
        op->version = "";
    return RAPT_OK;
}

/* Notes the letters that inputs bind, then checks the names in all expressions of specs. */
static rapt_status check_specs(rapt_schema *schema, rapt_error *error)
{
    const rapt_operator *op = &schema->op;
    const rapt_scope scope = {schema, op->n_attrs, false, true};
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        for (int32_t k = 0; k < schema->inputs[i].n_dims; k++) {
            const rapt_dim *dim = &schema->inputs[i].dims[k];
            if (!dim->letter && rapt_check_names(scope, dim->expression, error))
                return rapt_prefix_error(error, "input \"%s\"", op->inputs[i].spec);
        }
    }
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        if (schema->outputs[i].any && !op->infer)
            return rapt_fail(error, RAPT_INVALID, "output \"%s\": \"*\", but there is no infer",
                             op->outputs[i].spec);
        if (rapt_check_spec_names(schema, &schema->outputs[i], error))
            return rapt_prefix_error(error, "output \"%s\"", op->outputs[i].spec);
    }
    return RAPT_OK;
}

static void note_letters(rapt_schema *schema)
{
    for (uint32_t i = 0; i < schema->op.n_inputs; i++)
        for (int32_t k = 0; k < schema->inputs[i].n_dims; k++)
            schema->letters[(unsigned char)schema->inputs[i].dims[k].letter] = true;
    schema->letters[0] = false;
}

static rapt_status parse_arguments(rapt_schema *schema, const rapt_operator *given,
                                   rapt_error *error)
{
    rapt_operator *op = &schema->op;
    void *inputs = NULL, *outputs = NULL;
    rapt_status status = rapt_copy_structs(&rapt_struct_arg, given->inputs, given->n_inputs,
                                           RAPT_MAX_ARGS, "inputs", &inputs, error);
    op->inputs = inputs;
    op->n_inputs = status ? 0 : given->n_inputs;
    if (!status)
        status = rapt_copy_structs(&rapt_struct_arg, given->outputs, given->n_outputs,
                                   RAPT_MAX_ARGS, "outputs", &outputs, error);
    op->outputs = outputs;
    op->n_outputs = status ? 0 : given->n_outputs;
    if (!status)
        status = rapt_parse_args(inputs, op->n_inputs, "input", &schema->inputs,
                                 &schema->input_dtypes, error);
    if (!status)
        status = rapt_parse_args(outputs, op->n_outputs, "output", &schema->outputs,
                                 &schema->output_dtypes, error);
    if (status)
        return status;

    bool writes = op->n_outputs > 0;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        writes |= (op->inputs[i].flags & RAPT_MUTATED) != 0;
        if (rapt_schema_output(schema, schema->inputs[i].name) >= 0)
            return rapt_fail(error, RAPT_INVALID, "\"%s\" is the name of an input and of an output",
                             schema->inputs[i].name);
    }
    note_letters(schema);
    return writes ? RAPT_OK
                  : rapt_fail(error, RAPT_INVALID, "no outputs, and no input that it changes");
}

static rapt_status parse_attributes(rapt_schema *schema, const rapt_operator *given,
                                    rapt_error *error)
{
    void *attrs;
    const rapt_status status = rapt_copy_structs(&rapt_struct_attr, given->attrs, given->n_attrs,
                                                 RAPT_MAX_ATTRS, "attributes", &attrs, error);
    if (status)
        return status;
    schema->op.attrs = attrs;
    schema->op.n_attrs = given->n_attrs;
    return rapt_parse_attrs(schema, error);
}

static char *trimmed(const char **at, size_t n, rapt_error *error)
{
    while (n > 0 && (**at == ' ' || **at == '\t')) {
        ++*at;
        n--;
    }
    while (n > 0 && ((*at)[n - 1] == ' ' || (*at)[n - 1] == '\t'))
        n--;
    char *text = strndup(*at, n);
    if (!text)
        rapt_fail_memory(error, n + 1, "a condition");
    return text;
}

static rapt_status parse_where(rapt_schema *schema, rapt_error *error)
{
    const char *text = schema->op.where, *at = text;
    const rapt_scope scope = {schema, schema->op.n_attrs, false, false};
    size_t n = 1;
    if (!text || !*text)
        return RAPT_OK;
    if (strnlen(text, 4 * RAPT_EXPRESSION_TEXT + 1) > 4 * RAPT_EXPRESSION_TEXT)
        return rapt_fail(error, RAPT_INVALID, "where has more than %d bytes",
                         4 * RAPT_EXPRESSION_TEXT);
    for (const char *c = text; *c; c++)
        n += *c == ';';
    schema->where = calloc(n, sizeof *schema->where);
    schema->where_text = calloc(n, sizeof *schema->where_text);
    if (!schema->where || !schema->where_text)
        return rapt_fail_memory(error, 2 * n * sizeof(void *), "conditions");
    for (uint32_t i = 0; i < n; i++) {
        const size_t length = strcspn(at, ";");
        const char *begin = at;
        schema->n_where = i + 1;
        schema->where_text[i] = trimmed(&begin, length, error);
        if (!schema->where_text[i])
            return error->status;
        schema->where[i] = rapt_expression_parse_at(begin, strlen(schema->where_text[i]),
                                                    (size_t)(begin - text), error);
        if (!schema->where[i] || rapt_check_names(scope, schema->where[i], error))
            return rapt_prefix_error(error, "where \"%s\"", text);
        at += length + 1;
    }
    return RAPT_OK;
}

static rapt_status parse_cost(rapt_schema *schema, const char *what, const char *text,
                              rapt_expression **expression, rapt_error *error)
{
    const rapt_scope scope = {schema, schema->op.n_attrs, true, false};
    if (!text)
        return RAPT_OK;
    *expression = rapt_expression_parse(text, strlen(text), error);
    if (!*expression || rapt_check_names(scope, *expression, error))
        return rapt_prefix_error(error, "%s \"%s\"", what, text);
    return RAPT_OK;
}

static rapt_status parse_costs(rapt_schema *schema, rapt_error *error)
{
    const rapt_operator *op = &schema->op;
    rapt_status status = parse_cost(schema, "flops", op->flops, &schema->flops, error);
    if (!status)
        status = parse_cost(schema, "flops_backward", op->flops_backward, &schema->flops_backward,
                            error);
    return status ? status : parse_cost(schema, "bytes", op->bytes, &schema->bytes, error);
}

static rapt_status parse_weights(rapt_schema *schema, rapt_error *error)
{
    const char *shape = schema->op.weights;
    const bool flag = schema->op.flags & RAPT_OP_WEIGHTS;
    bool any = false;
    if (!shape && !flag)
        return RAPT_OK;
    if (!shape || !flag)
        return rapt_fail(error, RAPT_INVALID, "%s",
                         flag ? "RAPT_OP_WEIGHTS without a shape of weights"
                              : "a shape of weights without RAPT_OP_WEIGHTS");
    for (uint32_t i = 0; i < schema->op.n_kernels; i++)
        any |= schema->op.kernels[i].weights != NULL;
    if (!any)
        return rapt_fail(error, RAPT_INVALID, "RAPT_OP_WEIGHTS, but no kernel gives weights");

    const size_t bytes = strlen("weights: ") + strlen(shape) + 1;
    char *text = malloc(bytes);
    schema->weights = calloc(1, sizeof *schema->weights);
    if (!text || !schema->weights) {
        free(text);
        return rapt_fail_memory(error, bytes + sizeof *schema->weights, "the shape of weights");
    }
    snprintf(text, bytes, "weights: %s", shape);
    rapt_status status = rapt_spec_parse(text, schema->weights, error);
    if (!status && schema->weights->any)
        status = rapt_fail(error, RAPT_INVALID, "\"*\", but nothing infers it");
    if (!status)
        status = rapt_check_spec_names(schema, schema->weights, error);
    if (status)
        rapt_prefix_error(error, "\"%s\"", text);
    free(text);
    return status;
}

static rapt_status parse_state(rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const rapt_state_arg *state = &schema->op.states[i];
    if (state->flags)
        return rapt_fail(error, RAPT_INVALID, "unknown flags 0x%x", state->flags);
    if (state->append) {
        if (state->input || state->output)
            return rapt_fail(error, RAPT_INVALID, "both appended and carried");
        schema->state_append[i] = rapt_schema_input(schema, state->append);
        return schema->state_append[i] >= 0
                   ? RAPT_OK
                   : rapt_fail(error, RAPT_INVALID, "\"%s\" is no input", state->append);
    }
    if (!state->input || !state->output)
        return rapt_fail(error, RAPT_INVALID,
                         "expected an input to append to, or an input and an output to carry");
    const int32_t input = rapt_schema_input(schema, state->input);
    const int32_t output = rapt_schema_output(schema, state->output);
    if (input < 0)
        return rapt_fail(error, RAPT_INVALID, "\"%s\" is no input", state->input);
    if (output < 0)
        return rapt_fail(error, RAPT_INVALID, "\"%s\" is no output", state->output);
    if (schema->op.inputs[input].role != RAPT_STATE ||
        schema->op.outputs[output].role != RAPT_STATE)
        return rapt_fail(error, RAPT_INVALID, "\"%s\" and \"%s\" must have the role RAPT_STATE",
                         state->input, state->output);
    schema->state_input[i] = input;
    schema->state_output[i] = output;
    return RAPT_OK;
}

static rapt_status parse_states(rapt_schema *schema, const rapt_operator *given, rapt_error *error)
{
    const uint32_t n = given->n_states;
    const bool flag = schema->op.flags & RAPT_OP_DECODE;
    void *states;
    if (flag != (n > 0))
        return rapt_fail(error, RAPT_INVALID, "%s",
                         flag ? "RAPT_OP_DECODE without states" : "states without RAPT_OP_DECODE");
    const rapt_status status = rapt_copy_structs(&rapt_struct_state, given->states, n, MOST_STATES,
                                                 "states", &states, error);
    if (status || n == 0)
        return status;
    schema->op.states = states;
    schema->op.n_states = n;
    schema->state_append = malloc(n * sizeof *schema->state_append);
    schema->state_input = malloc(n * sizeof *schema->state_input);
    schema->state_output = malloc(n * sizeof *schema->state_output);
    if (!schema->state_append || !schema->state_input || !schema->state_output)
        return rapt_fail_memory(error, 3 * n * sizeof(int32_t), "states");
    for (uint32_t i = 0; i < n; i++) {
        schema->state_append[i] = schema->state_input[i] = schema->state_output[i] = -1;
        if (parse_state(schema, i, error))
            return rapt_prefix_error(error, "state %u", i + 1);
    }
    return RAPT_OK;
}

/* "B=2 N=33 causal=true ...=3,65": each word a size, an attribute or the leading sizes, and its
 * value. */
static rapt_status check_example(const rapt_schema *schema, rapt_error *error)
{
    const char *at = schema->op.example ? schema->op.example : "";
    while (*at) {
        const size_t n = strcspn(at, " ");
        char word[80];
        if (n == 0) {
            at++;
            continue;
        }
        snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word - 1), at);
        at += n;
        char *equals = strchr(word, '=');
        if (!equals || equals == word || !equals[1])
            return rapt_fail(error, RAPT_INVALID, "example: \"%s\", expected NAME=VALUE", word);
        *equals = 0;
        const unsigned char first = (unsigned char)word[0];
        const bool letter = !word[1] && first < RAPT_SIZES && schema->letters[first];
        const bool leading = strcmp(word, "...") == 0; /* "...=3,65": their sizes */
        if (!letter && !leading && rapt_schema_attr(schema, word) < 0)
            return rapt_fail(error, RAPT_INVALID,
                             "example: \"%s\" is no size that an input binds and no attribute",
                             word);
    }
    return RAPT_OK;
}

static rapt_status fill(rapt_schema *schema, const rapt_operator *given, rapt_error *error)
{
    rapt_status status = copy_operator(schema, given, error);
    if (!status)
        status = parse_arguments(schema, given, error);
    if (!status)
        status = parse_attributes(schema, given, error);
    if (!status)
        status = check_specs(schema, error);
    if (!status)
        status = parse_where(schema, error);
    if (!status)
        status = parse_costs(schema, error);
    if (!status)
        status = parse_states(schema, given, error);
    if (!status)
        status = rapt_parse_kernels(schema, given, error);
    if (!status)
        status = parse_weights(schema, error);
    return status ? status : check_example(schema, error);
}

static void destroy(rapt_schema *schema)
{
    rapt_operator *op = &schema->op;
    for (uint32_t i = 0; schema->inputs && i < op->n_inputs; i++)
        rapt_spec_free(&schema->inputs[i]);
    for (uint32_t i = 0; schema->outputs && i < op->n_outputs; i++)
        rapt_spec_free(&schema->outputs[i]);
    for (uint32_t i = 0; i < schema->n_where; i++) {
        rapt_expression_free(schema->where[i]);
        free(schema->where_text[i]);
    }
    rapt_expression_free(schema->flops);
    rapt_expression_free(schema->flops_backward);
    rapt_expression_free(schema->bytes);
    if (schema->weights)
        rapt_spec_free(schema->weights);
    rapt_free_kernels(schema);
    rapt_free_attrs(schema);
    free(schema->inputs);
    free(schema->outputs);
    free(schema->input_dtypes);
    free(schema->output_dtypes);
    free(schema->where);
    free(schema->where_text);
    free(schema->weights);
    free(schema->state_append);
    free(schema->state_input);
    free(schema->state_output);
    free((void *)op->inputs);
    free((void *)op->outputs);
    free((void *)op->attrs);
    free((void *)op->states);
    struct rapt_library *library = schema->library;
    free(schema);
    rapt_library_release(library);
}

rapt_schema *rapt_schema_new(const rapt_operator *description, rapt_error *error)
{
    rapt_error ignored;
    rapt_operator given;
    if (!error)
        error = &ignored;
    if (rapt_copy_struct(&rapt_struct_operator, description, &given, error))
        return NULL;
    if (!given.name || !*given.name) {
        rapt_fail(error, RAPT_INVALID, "the operator's name is empty");
        return NULL;
    }
    if (!rapt_is_dotted_name(given.name)) {
        rapt_fail(error, RAPT_INVALID,
                  "operator name \"%.80s\", expected [a-z][a-z0-9_]* parts joined by dots",
                  given.name);
        return NULL;
    }
    rapt_schema *schema = calloc(1, sizeof *schema);
    if (!schema) {
        rapt_fail_memory(error, sizeof *schema, "an operator");
        return NULL;
    }
    atomic_init(&schema->references, 1);
    if (fill(schema, &given, error)) {
        rapt_prefix_error(error, "%s", given.name);
        destroy(schema);
        return NULL;
    }
    return schema;
}

rapt_schema *rapt_schema_retain(rapt_schema *schema)
{
    atomic_fetch_add_explicit(&schema->references, 1, memory_order_relaxed);
    return schema;
}

void rapt_schema_release(rapt_schema *schema)
{
    if (schema && atomic_fetch_sub_explicit(&schema->references, 1, memory_order_acq_rel) == 1)
        destroy(schema);
}
