/*
 * Decoding: position after position.
 *
 * A state keeps the rows of appended inputs in tensors with room to spare, so that a step writes
 * one row and seldom allocates; forks share them until one of them writes. Carried states are
 * replaced, not changed, so that a step that fails leaves the state as it was.
 */
#include "engine/decode.h"
#include "base/error.h"
#include <stdlib.h>
#include <string.h>

#define FEWEST_ROWS 64

/* --- Kinds of input -------------------------------------------------------------------------- */

bool rapt_input_is_appended(const rapt_schema *schema, uint32_t i)
{
    for (uint32_t s = 0; s < schema->op.n_states; s++)
        if (schema->state_append[s] == (int32_t)i)
            return true;
    return false;
}

bool rapt_input_is_carried(const rapt_schema *schema, uint32_t i)
{
    for (uint32_t s = 0; s < schema->op.n_states; s++)
        if (schema->state_input[s] == (int32_t)i)
            return true;
    return false;
}

bool rapt_input_is_positional(const rapt_schema *schema, uint32_t i)
{
    const rapt_spec *spec = &schema->inputs[i];
    for (int32_t d = 0; d < spec->n_dims; d++)
        if (spec->dims[d].letter == 'N' || spec->dims[d].letter == 'M')
            return true;
    return rapt_input_is_appended(schema, i);
}

static bool is_kept(const rapt_schema *schema, uint32_t i)
{
    return !rapt_input_is_positional(schema, i) && !rapt_input_is_carried(schema, i);
}

/* --- Making ---------------------------------------------------------------------------------- */

static rapt_status describe_cell(const rapt_schema *schema, uint32_t s, rapt_cell *cell,
                                 rapt_error *error)
{
    *cell = (rapt_cell){.append = schema->state_append[s],
                        .input = schema->state_input[s],
                        .output = schema->state_output[s]};
    if (cell->append < 0)
        return RAPT_OK;
    const rapt_spec *spec = &schema->inputs[cell->append];
    for (int32_t d = 0; d < spec->n_dims; d++) {
        const char letter = spec->dims[d].letter;
        if (letter == 'M' || (letter == 'N' && cell->letter != 'M')) {
            cell->letter = letter;
            cell->behind = spec->n_dims - d;
        }
    }
    if (!cell->letter)
        return rapt_fail(error, RAPT_INTERNAL,
                         "%s: cannot decode: %s is appended but no dimension of \"%s\" counts "
                         "positions (M or N)",
                         schema->op.name, spec->name, spec->text);
    return RAPT_OK;
}

rapt_decoding *rapt_decoding_new(rapt_context *context, rapt_schema *schema, rapt_error *error)
{
    if (schema->op.n_states == 0) {
        rapt_fail(error, RAPT_UNSUPPORTED, "%s: has no states: it cannot go position by position",
                  schema->op.name);
        return NULL;
    }
    rapt_decoding *state = calloc(1, sizeof *state);
    if (!state) {
        rapt_fail_memory(error, sizeof *state, "a decoding state");
        return NULL;
    }
    state->context = context;
    state->schema = rapt_schema_retain(schema);
    state->n_cells = schema->op.n_states;
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (describe_cell(schema, s, &state->cells[s], error) != RAPT_OK) {
            rapt_decoding_free(state);
            return NULL;
        }
    return state;
}

void rapt_decoding_free(rapt_decoding *state)
{
    if (!state)
        return;
    for (uint32_t i = 0; i < RAPT_MAX_ARGS; i++)
        rapt_tensor_release(state->kept[i]);
    for (uint32_t s = 0; s < state->n_cells; s++) {
        rapt_tensor_release(state->cells[s].rows);
        rapt_tensor_release(state->cells[s].carried);
        rapt_tensor_release(state->cells[s].spare);
    }
    rapt_schema_release(state->schema);
    free(state);
}

/* --- Rows ------------------------------------------------------------------------------------ */

rapt_tensor *rapt_rows_make(const rapt_cell *cell, const rapt_tensor *source, int64_t filled,
                            int64_t need, rapt_error *error)
{
    const int32_t axis = rapt_cell_axis(cell, source->view.ndim);
    int64_t capacity = FEWEST_ROWS, shape[RAPT_MAX_DIMS];
    while (capacity < need && capacity <= INT64_MAX / 2)
        capacity *= 2;
    memcpy(shape, source->shape, sizeof shape);
    shape[axis] = capacity;
    rapt_tensor *rows = rapt_tensor_make(rapt_tensor_dtype(source), source->view.device,
                                         source->view.ndim, shape, error);
    if (!rows)
        return NULL;
    int64_t to_shape[RAPT_MAX_DIMS], from_shape[RAPT_MAX_DIMS];
    const rapt_view to = rapt_rows_of(&rows->view, axis, 0, filled, to_shape);
    const rapt_view from = rapt_rows_of(&source->view, axis, 0, filled, from_shape);
    if (rapt_transfer(&to, &from, error) == RAPT_OK)
        return rows;
    rapt_tensor_release(rows);
    return NULL;
}

/* --- Prefill --------------------------------------------------------------------------------- */

/* The attributes as given, in the schema's types and with its strings; causal is always true. */
static rapt_status take_attrs(rapt_decoding *state, const rapt_application *with,
                              const rapt_binding *binding, rapt_error *error)
{
    const rapt_schema *schema = state->schema;
    const int32_t causal = rapt_schema_attr(schema, "causal");
    for (size_t k = 0; k < with->n_attrs; k++) {
        const int32_t a = rapt_schema_attr(schema, with->attrs[k].name);
        if (a < 0 || state->n_attrs == RAPT_MAX_ATTRS)
            continue;
        const rapt_value *value = &binding->attrs[a];
        if (a == causal) {
            if (!value->i[0])
                return rapt_fail(error, RAPT_INVALID,
                                 "%s: decoding is causal; causal = false was given",
                                 schema->op.name);
            continue;
        }
        rapt_named_value *own = &state->attrs[state->n_attrs++];
        *own = (rapt_named_value){.name = schema->op.attrs[a].name,
                                  .type = schema->op.attrs[a].type,
                                  .count = value->count,
                                  .f = value->f};
        memcpy(own->i, value->i, sizeof own->i);
        if (own->type == RAPT_ATTR_CHOICE)
            own->text = schema->attr_choices[a][value->i[0]];
    }
    if (causal >= 0)
        state->attrs[state->n_attrs++] =
            (rapt_named_value){.name = "causal", .type = RAPT_ATTR_BOOL, .count = 1, .i = {1}};
    return RAPT_OK;
}

static void take_sizes(rapt_decoding *state, const rapt_binding *binding)
{
    state->dtype = binding->dtype;
    state->device = binding->device;
    memcpy(state->sizes, binding->sizes, sizeof state->sizes);
    state->sizes['N'] = state->sizes['M'] = -1;
    state->n_leading = binding->n_leading;
    memcpy(state->leading, binding->leading, sizeof state->leading);
}

static rapt_status take_inputs(rapt_decoding *state, const rapt_binding *binding, rapt_error *error)
{
    const rapt_schema *schema = state->schema;
    int64_t positions = binding->sizes['N'];
    const char *first = NULL; /* of the appended inputs; the others have as many rows */
    for (uint32_t s = 0; s < state->n_cells; s++) {
        rapt_cell *cell = &state->cells[s];
        const rapt_tensor *source =
            cell->append >= 0 ? rapt_view_owner(binding->inputs[cell->append]) : NULL;
        if (!source)
            continue;
        const int64_t rows = source->shape[rapt_cell_axis(cell, source->view.ndim)];
        if (first && rows != positions)
            return rapt_fail(error, RAPT_INVALID,
                             "%s: decoding needs as many rows of %s as of %s; there are %lld and "
                             "%lld",
                             schema->op.name, schema->inputs[cell->append].name, first,
                             (long long)rows, (long long)positions);
        first = schema->inputs[cell->append].name;
        positions = rows;
        cell->rows = rapt_rows_make(cell, source, positions, positions, error);
        if (!cell->rows)
            return RAPT_NO_MEMORY;
    }
    state->position = positions > 0 ? positions : 0;
    for (uint32_t i = 0; i < schema->op.n_inputs; i++) {
        const rapt_tensor *given = rapt_view_owner(binding->inputs[i]);
        if (!given || !is_kept(schema, i))
            continue;
        state->kept[i] = rapt_copy_contiguous(given, error);
        if (!state->kept[i])
            return RAPT_NO_MEMORY;
    }
    return RAPT_OK;
}

/* The carried states before the first position: what the caller gives, or zeros in the shape that
 * forward would return them in. */
static rapt_status start_carried(rapt_decoding *state, rapt_run *run, rapt_error *error)
{
    uint64_t returned = 0;
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (state->cells[s].output >= 0)
            returned |= (uint64_t)1 << state->cells[s].output;
    const rapt_status status = rapt_run_shape_outputs(run, returned, error);
    if (status != RAPT_OK)
        return status;
    for (uint32_t s = 0; s < state->n_cells; s++) {
        rapt_cell *cell = &state->cells[s];
        if (cell->input < 0)
            continue;
        const rapt_tensor *given = rapt_view_owner(run->binding.inputs[cell->input]);
        if (given) {
            cell->carried = rapt_copy_contiguous(given, error);
        } else {
            const rapt_view *like = run->outputs.at[cell->output];
            cell->carried =
                rapt_tensor_make(RAPT_F32, state->device, like->ndim, like->shape, error);
            if (cell->carried && rapt_tensor_clear(cell->carried, error) != RAPT_OK)
                return RAPT_NO_MEMORY;
        }
        if (!cell->carried)
            return RAPT_NO_MEMORY;
    }
    return RAPT_OK;
}

/* The result of no position: a tensor without elements. */
static rapt_status empty_output(rapt_run *run, rapt_tensor **output, rapt_error *error)
{
    if (!output || run->schema->op.n_outputs == 0)
        return RAPT_OK;
    const rapt_status status = rapt_run_shape_outputs(run, 1, error);
    if (status != RAPT_OK)
        return status;
    const rapt_view *view = run->outputs.at[0];
    *output = rapt_tensor_make(rapt_view_dtype(view), view->device, view->ndim, view->shape, error);
    if (!*output)
        return RAPT_NO_MEMORY;
    return rapt_tensor_clear(*output, error);
}

/* Forward over the prefill; takes the carried states that it returns. */
static rapt_status prefill(rapt_decoding *state, const rapt_application *with, rapt_tensor **output,
                           rapt_error *error)
{
    rapt_named_tensor outputs[1 + RAPT_MAX_ARGS] = {{0}};
    size_t n = 1;
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (state->cells[s].output >= 0)
            outputs[n++].name = state->schema->outputs[state->cells[s].output].name;
    const rapt_application call = {with->inputs,   with->n_inputs, state->attrs,
                                   state->n_attrs, outputs,        n};
    const bool was = rapt_set_recording(state->context, false);
    const rapt_status status = rapt_apply(state->context, state->schema, &call, error);
    rapt_set_recording(state->context, was);
    if (status != RAPT_OK)
        return status;
    n = 1;
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (state->cells[s].output >= 0) {
            rapt_tensor_release(state->cells[s].carried);
            state->cells[s].carried = outputs[n++].tensor;
        }
    if (output)
        *output = outputs[0].tensor;
    else
        rapt_tensor_release(outputs[0].tensor);
    return RAPT_OK;
}

static rapt_status begin_decoding(rapt_decoding *state, const rapt_application *with,
                                  rapt_tensor **output, rapt_error *error)
{
    rapt_run run;
    rapt_status status =
        rapt_run_bind(&run, state->context, state->schema, RAPT_FORWARD, with, error);
    if (status != RAPT_OK)
        return status;
    take_sizes(state, &run.binding);
    status = take_attrs(state, with, &run.binding, error);
    if (status == RAPT_OK)
        status = take_inputs(state, &run.binding, error);
    if (status == RAPT_OK && state->position == 0) {
        status = start_carried(state, &run, error);
        return status == RAPT_OK ? empty_output(&run, output, error) : status;
    }
    return status == RAPT_OK ? prefill(state, with, output, error) : status;
}

rapt_decoding *rapt_decode(rapt_context *context, const char *op, const rapt_named_tensor *inputs,
                           size_t n_inputs, const rapt_named_value *attrs, size_t n_attrs,
                           rapt_tensor **output, rapt_error *error)
{
    rapt_schema *schema;
    if (rapt_registry_find(context->registry, op, &schema, error) != RAPT_OK)
        return NULL;
    rapt_decoding *state = rapt_decoding_new(context, schema, error);
    if (!state)
        return NULL;
    const rapt_application with = {inputs, n_inputs, attrs, n_attrs, NULL, 0};
    rapt_tensor *result = NULL;
    if (begin_decoding(state, &with, output ? &result : NULL, error) != RAPT_OK) {
        rapt_tensor_release(result);
        rapt_decoding_free(state);
        return NULL;
    }
    if (output)
        *output = result;
    return state;
}

/* --- What a state is, and other states from it ----------------------------------------------- */

int64_t rapt_decoding_position(const rapt_decoding *state)
{
    return state->position;
}

const char *rapt_decoding_operator(const rapt_decoding *state)
{
    return state->schema->op.name;
}

static int64_t bytes_of(const rapt_tensor *tensor)
{
    return tensor ? tensor->storage->bytes : 0;
}

int64_t rapt_decoding_bytes(const rapt_decoding *state)
{
    int64_t bytes = 0;
    for (uint32_t s = 0; s < state->n_cells; s++)
        bytes += bytes_of(state->cells[s].rows) + bytes_of(state->cells[s].carried) +
                 bytes_of(state->cells[s].spare);
    for (uint32_t i = 0; i < RAPT_MAX_ARGS; i++)
        bytes += bytes_of(state->kept[i]);
    return bytes;
}

static rapt_tensor *shared(rapt_tensor *tensor)
{
    return tensor ? rapt_tensor_retain(tensor) : NULL;
}

rapt_decoding *rapt_decoding_fork(rapt_decoding *state, rapt_error *error)
{
    rapt_decoding *fork = malloc(sizeof *fork);
    if (!fork) {
        rapt_fail_memory(error, sizeof *fork, "a decoding state");
        return NULL;
    }
    *fork = *state;
    rapt_schema_retain(fork->schema);
    for (uint32_t s = 0; s < fork->n_cells; s++) {
        shared(fork->cells[s].rows);
        shared(fork->cells[s].carried);
        fork->cells[s].spare = NULL;
    }
    for (uint32_t i = 0; i < RAPT_MAX_ARGS; i++)
        shared(fork->kept[i]);
    return fork;
}

rapt_status rapt_decoding_truncate(rapt_decoding *state, int64_t positions, rapt_error *error)
{
    const rapt_schema *schema = state->schema;
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (state->cells[s].input >= 0)
            return rapt_fail(
                error, RAPT_UNSUPPORTED,
                "%s: its state %s sums up all positions so far and cannot be cut back; "
                "fork it before",
                schema->op.name, schema->inputs[state->cells[s].input].name);
    if (positions < 0 || positions > state->position)
        return rapt_fail(error, RAPT_INVALID,
                         "%s: a state of %lld positions cannot be cut back to %lld",
                         schema->op.name, (long long)state->position, (long long)positions);
    state->position = positions;
    return RAPT_OK;
}
