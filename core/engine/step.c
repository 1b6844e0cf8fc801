/* A step of decoding: one position more. */
#include "base/error.h"
#include "base/text.h"
#include "engine/decode.h"
#include <string.h>

/* --- The new rows ---------------------------------------------------------------------------- */

/* Room for one row more that no fork sees. */
static rapt_status reserve_row(const rapt_decoding *state, rapt_cell *cell, rapt_error *error)
{
    const int32_t axis = rapt_cell_axis(cell, cell->rows->view.ndim);
    if (cell->rows->shape[axis] > state->position && atomic_load(&cell->rows->references) == 1)
        return RAPT_OK;
    rapt_tensor *rows =
        rapt_rows_make(cell, cell->rows, state->position, state->position + 1, error);
    if (!rows)
        return RAPT_NO_MEMORY;
    rapt_tensor_release(cell->rows);
    cell->rows = rows;
    return RAPT_OK;
}

static rapt_status check_row(const rapt_decoding *state, const rapt_cell *cell,
                             const rapt_tensor *row, rapt_error *error)
{
    const rapt_schema *schema = state->schema;
    const char *name = schema->inputs[cell->append].name;
    if (!row)
        return rapt_fail(error, RAPT_INVALID, "%s: a step needs %s", schema->op.name, name);
    const rapt_tensor *rows = cell->rows;
    const int32_t axis = rapt_cell_axis(cell, rows->view.ndim);
    bool same = row->view.ndim == rows->view.ndim;
    for (int32_t d = 0; same && d < row->view.ndim; d++)
        same = row->shape[d] == (d == axis ? 1 : rows->shape[d]);
    int64_t expected[RAPT_MAX_DIMS];
    memcpy(expected, rows->shape, sizeof expected);
    expected[axis] = 1;
    char text[RAPT_SHAPE_TEXT], came[RAPT_SHAPE_TEXT];
    if (!same)
        return rapt_fail(error, RAPT_INVALID, "%s: %s is %s but the state takes one row of %s",
                         schema->op.name, name, rapt_shape_text(came, row->view.ndim, row->shape),
                         rapt_shape_text(text, rows->view.ndim, expected));
    if (rapt_tensor_dtype(row) != rapt_tensor_dtype(rows) ||
        row->view.device.type != rows->view.device.type ||
        row->view.device.index != rows->view.device.index) {
        char here[32], there[32];
        rapt_device_name(rows->view.device, here);
        rapt_device_name(row->view.device, there);
        return rapt_fail(error, RAPT_INVALID, "%s: %s is %s on %s but the state has %s on %s",
                         schema->op.name, name, rapt_dtype_name(rapt_tensor_dtype(row)), there,
                         rapt_dtype_name(rapt_tensor_dtype(rows)), here);
    }
    return RAPT_OK;
}

/* Writes the new row behind the others. The position does not move yet. */
static rapt_status append_row(const rapt_decoding *state, rapt_cell *cell, const rapt_tensor *row,
                              rapt_error *error)
{
    rapt_status status = check_row(state, cell, row, error);
    if (status == RAPT_OK)
        status = reserve_row(state, cell, error);
    if (status != RAPT_OK)
        return status;
    int64_t shape[RAPT_MAX_DIMS];
    const rapt_view to = rapt_rows_of(&cell->rows->view, rapt_cell_axis(cell, row->view.ndim),
                                      state->position, 1, shape);
    return rapt_transfer(&to, &row->view, error);
}

/* --- Step ------------------------------------------------------------------------------------ */

/* All that a step holds for the time of its kernel. */
typedef struct stepping {
    rapt_run run;
    rapt_named_tensor inputs[3 * RAPT_MAX_ARGS];
    size_t n_inputs;
    rapt_tensor *given[RAPT_MAX_ARGS];  /* by input, borrowed */
    rapt_tensor *caches[RAPT_MAX_ARGS]; /* by cell: the rows with the new one, as a view */
    rapt_tensor *states[RAPT_MAX_ARGS]; /* by cell: what the kernel's step sees */
    rapt_tensor *holds[RAPT_MAX_ARGS];
    rapt_tensor *outs[RAPT_MAX_ARGS];
} stepping;

static rapt_status take_given(const rapt_decoding *state, stepping *step,
                              const rapt_named_tensor *inputs, size_t n_inputs, rapt_error *error)
{
    const rapt_schema *schema = state->schema;
    for (size_t k = 0; k < n_inputs; k++) {
        if (!inputs[k].tensor)
            continue;
        const int32_t i = rapt_schema_input(schema, inputs[k].name);
        if (i >= 0 && !rapt_input_is_positional(schema, (uint32_t)i)) {
            return rapt_fail(
                error, RAPT_INVALID,
                "%s: %s is part of the state since the prefill; a step does not take it",
                schema->op.name, inputs[k].name);
        }
        if (i >= 0 && rapt_input_is_appended(schema, (uint32_t)i)) {
            step->given[i] = inputs[k].tensor;
            continue;
        }
        if (step->n_inputs == 2 * RAPT_MAX_ARGS)
            return rapt_fail(error, RAPT_INVALID, "%s: too many inputs", schema->op.name);
        step->inputs[step->n_inputs++] = inputs[k];
    }
    return RAPT_OK;
}

/* Writes the rows and lists all inputs of the call as forward would take them. */
static rapt_status gather_inputs(rapt_decoding *state, stepping *step, rapt_error *error)
{
    const rapt_schema *schema = state->schema;
    for (uint32_t s = 0; s < state->n_cells; s++) {
        rapt_cell *cell = &state->cells[s];
        if (cell->input >= 0)
            step->inputs[step->n_inputs++] =
                (rapt_named_tensor){schema->inputs[cell->input].name, cell->carried};
        if (cell->append < 0)
            continue;
        rapt_tensor *row = step->given[cell->append];
        if (!cell->rows && row)
            return rapt_fail(error, RAPT_INVALID, "%s: %s was not there at the prefill",
                             schema->op.name, schema->inputs[cell->append].name);
        if (!cell->rows)
            continue;
        const rapt_status status = append_row(state, cell, row, error);
        if (status != RAPT_OK)
            return status;
        step->caches[s] = rapt_view_narrow(cell->rows, rapt_cell_axis(cell, row->view.ndim), 0,
                                           state->position + 1, error);
        if (!step->caches[s])
            return RAPT_NO_MEMORY;
        step->inputs[step->n_inputs++] = (rapt_named_tensor){
            schema->inputs[cell->append].name, cell->letter == 'M' ? step->caches[s] : row};
    }
    for (uint32_t i = 0; i < schema->op.n_inputs; i++)
        if (state->kept[i])
            step->inputs[step->n_inputs++] =
                (rapt_named_tensor){schema->inputs[i].name, state->kept[i]};
    return RAPT_OK;
}

/* The sizes of the prefill hold for every step. */
static rapt_status check_sizes(const rapt_decoding *state, const rapt_binding *binding,
                               rapt_error *error)
{
    const char *op = state->schema->op.name;
    if (binding->sizes['N'] >= 0 && binding->sizes['N'] != 1)
        return rapt_fail(error, RAPT_INVALID, "%s: a step takes one position; N is %lld", op,
                         (long long)binding->sizes['N']);
    for (int c = 0; c < RAPT_SIZES; c++)
        if (c != 'N' && c != 'M' && state->sizes[c] >= 0 && binding->sizes[c] >= 0 &&
            binding->sizes[c] != state->sizes[c])
            return rapt_fail(error, RAPT_INVALID, "%s: %c is %lld but the state was made with %lld",
                             op, c, (long long)binding->sizes[c], (long long)state->sizes[c]);
    return RAPT_OK;
}

/* Which of the two views of an appended input the call has: its new row, or all rows. */
static void set_appended(rapt_decoding *state, stepping *step, bool rows_only)
{
    for (uint32_t s = 0; s < state->n_cells; s++) {
        const rapt_cell *cell = &state->cells[s];
        if (step->caches[s])
            step->run.binding.inputs[cell->append] =
                &(rows_only ? step->given[cell->append] : step->caches[s])->view;
        if (cell->input >= 0)
            step->run.binding.inputs[cell->input] = rows_only ? NULL : &cell->carried->view;
    }
}

/* The step of a kernel where there are such; otherwise a kernel's forward. That the steps refuse a
 * call is no reason to compute it otherwise: it is said. */
static rapt_status choose_step(rapt_decoding *state, stepping *step, rapt_error *error)
{
    rapt_run *run = &step->run;
    if (rapt_run_steps(run)) {
        run->call.phase = RAPT_STEP;
        run->call.states = run->states.at;
        set_appended(state, step, true);
        return rapt_run_choose(run, error);
    }
    run->call.phase = RAPT_FORWARD;
    run->call.states = NULL;
    set_appended(state, step, false);
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (state->cells[s].letter == 'N')
            return rapt_fail(error, RAPT_UNSUPPORTED,
                             "%s: no kernel has a step, and forward cannot stand in for it: %s "
                             "counts its rows by N, as the new position does",
                             state->schema->op.name,
                             state->schema->inputs[state->cells[s].append].name);
    return rapt_run_choose(run, error);
}

static rapt_tensor *writable_spare(rapt_cell *cell, rapt_error *error)
{
    if (cell->spare && atomic_load(&cell->spare->references) > 1) {
        rapt_tensor_release(cell->spare);
        cell->spare = NULL;
    }
    if (!cell->spare)
        cell->spare = rapt_copy_contiguous(cell->carried, error);
    else if (rapt_transfer(&cell->spare->view, &cell->carried->view, error) != RAPT_OK)
        return NULL;
    return cell->spare;
}

/* The states as the kernel's step sees them. */
static rapt_status place_states(rapt_decoding *state, stepping *step, rapt_error *error)
{
    for (uint32_t s = 0; s < state->n_cells; s++) {
        rapt_cell *cell = &state->cells[s];
        step->run.states.at[s] = NULL;
        rapt_tensor *seen = NULL;
        if (step->caches[s])
            seen = rapt_kernel_copies(step->run.kernel, &step->caches[s]->view)
                       ? rapt_copy_contiguous(step->caches[s], error)
                       : rapt_tensor_retain(step->caches[s]);
        else if (cell->input >= 0)
            seen = writable_spare(cell, error) ? rapt_tensor_retain(cell->spare) : NULL;
        else
            continue;
        if (!seen)
            return RAPT_NO_MEMORY;
        step->states[s] = seen;
        rapt_slot_tensor(&step->run.states, s, seen);
    }
    return RAPT_OK;
}

static uint64_t carried_outputs(const rapt_decoding *state)
{
    uint64_t mask = 1;
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (state->cells[s].output >= 0)
            mask |= (uint64_t)1 << state->cells[s].output;
    return mask;
}

static rapt_status make_outputs(stepping *step, rapt_error *error)
{
    rapt_slots *slots = &step->run.outputs;
    for (uint32_t i = 0; i < step->run.schema->op.n_outputs; i++) {
        const rapt_view *view = slots->at[i];
        if (!view)
            continue;
        step->outs[i] =
            rapt_tensor_make(rapt_view_dtype(view), view->device, view->ndim, view->shape, error);
        if (!step->outs[i])
            return RAPT_NO_MEMORY;
        rapt_slot_tensor(slots, i, step->outs[i]);
    }
    return RAPT_OK;
}

/* Nothing of the state has changed until here; from here on nothing fails. */
static void commit_step(rapt_decoding *state, stepping *step)
{
    for (uint32_t s = 0; s < state->n_cells; s++) {
        rapt_cell *cell = &state->cells[s];
        if (cell->input < 0)
            continue;
        rapt_tensor *old = cell->carried;
        if (step->run.call.phase == RAPT_STEP) {
            cell->carried = cell->spare;
            cell->spare = old;
        } else if (cell->output >= 0) {
            cell->carried = step->outs[cell->output];
            step->outs[cell->output] = NULL;
            rapt_tensor_release(old);
        }
    }
    state->position++;
}

static rapt_status run_step(rapt_decoding *state, stepping *step, rapt_error *error)
{
    rapt_run *run = &step->run;
    const rapt_application with = {step->inputs,   step->n_inputs, state->attrs,
                                   state->n_attrs, NULL,           0};
    rapt_status status =
        rapt_run_bind(run, state->context, state->schema, RAPT_FORWARD, &with, error);
    if (status != RAPT_OK)
        return status;
    status = check_sizes(state, &run->binding, error);
    if (status != RAPT_OK)
        return status;
    run->call.position = state->position;
    status = rapt_run_shape_outputs(run, carried_outputs(state), error);
    if (status == RAPT_OK)
        status = choose_step(state, step, error);
    if (status == RAPT_OK && run->call.phase == RAPT_STEP)
        for (uint32_t s = 0; s < state->n_cells; s++)
            if (state->cells[s].output >= 0 &&
                state->schema->op.outputs[state->cells[s].output].flags & RAPT_OPTIONAL)
                run->outputs.at[state->cells[s].output] = NULL;
    if (status == RAPT_OK && run->call.phase == RAPT_STEP)
        status = place_states(state, step, error);
    if (status == RAPT_OK)
        status = rapt_run_workspace(run, error);
    if (status == RAPT_OK)
        status = rapt_run_place_inputs(run, step->holds, error);
    if (status == RAPT_OK)
        status = make_outputs(step, error);
    return status == RAPT_OK ? rapt_run_invoke(run, error) : status;
}

rapt_tensor *rapt_step(rapt_decoding *state, const rapt_named_tensor *inputs, size_t n_inputs,
                       rapt_error *error)
{
    const rapt_operator *op = &state->schema->op;
    stepping step;
    step.n_inputs = 0;
    memset(step.given, 0, op->n_inputs * sizeof *step.given);
    memset(step.caches, 0, state->n_cells * sizeof *step.caches);
    memset(step.states, 0, state->n_cells * sizeof *step.states);
    memset(step.holds, 0, op->n_inputs * sizeof *step.holds);
    memset(step.outs, 0, (op->n_outputs + 1) * sizeof *step.outs);
    rapt_status status = take_given(state, &step, inputs, n_inputs, error);
    if (status == RAPT_OK)
        status = gather_inputs(state, &step, error);
    if (status == RAPT_OK)
        status = run_step(state, &step, error);
    rapt_tensor *result = NULL;
    if (status == RAPT_OK) {
        result = step.outs[0];
        step.outs[0] = NULL;
        commit_step(state, &step);
    }
    rapt_arena_reset(&state->context->arena);
    for (uint32_t s = 0; s < state->n_cells; s++) {
        rapt_tensor_release(step.caches[s]);
        rapt_tensor_release(step.states[s]);
    }
    for (uint32_t i = 0; i < op->n_inputs; i++)
        rapt_tensor_release(step.holds[i]);
    for (uint32_t i = 0; i < op->n_outputs; i++)
        rapt_tensor_release(step.outs[i]);
    return result;
}
