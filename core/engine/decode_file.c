/*
 * Decoding states on disk: a safetensors file.
 *
 *   metadata  format "rapt.decoding", format_version "1", operator, operator_version, position,
 *             dtype, device, sizes "B=1 H=8 ...", leading "2,3" (if any), attr.NAME
 *   tensors   rows.INPUT   the rows of an appended input, `position` of them
 *             state.INPUT  a carried state
 *             kept.INPUT   an input that every step uses
 *
 * A file is believed in nothing: every entry is checked against the operator's description, and
 * all together by binding a call that the next step could make.
 */
#include "base/error.h"
#include "engine/attributes.h"
#include "engine/decode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT        "rapt.decoding"
#define FORMAT_NUMBER "1"
#define NAME_SIZE     128
#define MOST_TENSORS  (2 * RAPT_MAX_ARGS)
#define MOST_TEXTS    (10 + RAPT_MAX_ATTRS)

/* --- Saving ---------------------------------------------------------------------------------- */

typedef struct listing {
    rapt_named_tensor tensors[MOST_TENSORS];
    char tensor_names[MOST_TENSORS][NAME_SIZE];
    size_t n_tensors;
    rapt_named_text texts[MOST_TEXTS];
    char text_names[MOST_TEXTS][NAME_SIZE];
    rapt_text values[MOST_TEXTS];
    size_t n_texts;
} listing;

static rapt_text *add_text(listing *list, const char *prefix, const char *name)
{
    const size_t k = list->n_texts++;
    snprintf(list->text_names[k], NAME_SIZE, "%s%s", prefix, name);
    list->texts[k].name = list->text_names[k];
    return &list->values[k];
}

/* The first `rows` rows (all, if negative) of a tensor, copied to the host. */
static rapt_status add_tensor(listing *list, const char *prefix, const char *name,
                              rapt_tensor *tensor, int32_t axis, int64_t rows, rapt_error *error)
{
    const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
    rapt_tensor *part =
        rows < 0 ? rapt_tensor_retain(tensor) : rapt_view_narrow(tensor, axis, 0, rows, error);
    rapt_tensor *copy = part ? rapt_copy_to(part, rapt_tensor_dtype(part), cpu, error) : NULL;
    rapt_tensor_release(part);
    if (!copy)
        return RAPT_NO_MEMORY;
    const size_t k = list->n_tensors++;
    snprintf(list->tensor_names[k], NAME_SIZE, "%s%s", prefix, name);
    list->tensors[k] = (rapt_named_tensor){list->tensor_names[k], copy};
    return RAPT_OK;
}

static void add_sizes(listing *list, const rapt_decoding *state)
{
    rapt_text *sizes = add_text(list, "", "sizes");
    rapt_text_append(sizes, "%s", "");
    for (int c = 0; c < RAPT_SIZES; c++)
        if (c != '.' && state->sizes[c] >= 0)
            rapt_text_append(sizes, "%s%c=%lld", sizes->length ? " " : "", c,
                             (long long)state->sizes[c]);
    if (state->n_leading == 0)
        return;
    rapt_text *leading = add_text(list, "", "leading");
    for (int32_t d = 0; d < state->n_leading; d++)
        rapt_text_append(leading, "%s%lld", d ? "," : "", (long long)state->leading[d]);
}

static rapt_status list_state(listing *list, rapt_decoding *state, rapt_error *error)
{
    const rapt_schema *schema = state->schema;
    char device[32];
    rapt_device_name(state->device, device);
    rapt_text_append(add_text(list, "", "format"), FORMAT);
    rapt_text_append(add_text(list, "", "format_version"), FORMAT_NUMBER);
    rapt_text_append(add_text(list, "", "operator"), "%s", schema->op.name);
    rapt_text_append(add_text(list, "", "operator_version"), "%s", schema->op.version);
    rapt_text_append(add_text(list, "", "position"), "%lld", (long long)state->position);
    rapt_text_append(add_text(list, "", "dtype"), "%s", rapt_dtype_name(state->dtype));
    rapt_text_append(add_text(list, "", "device"), "%s", device);
    add_sizes(list, state);
    for (uint32_t k = 0; k < state->n_attrs; k++)
        rapt_attr_print(&state->attrs[k], add_text(list, "attr.", state->attrs[k].name));
    rapt_status status = RAPT_OK;
    for (uint32_t s = 0; s < state->n_cells && status == RAPT_OK; s++) {
        const rapt_cell *cell = &state->cells[s];
        if (cell->rows)
            status =
                add_tensor(list, "rows.", schema->inputs[cell->append].name, cell->rows,
                           rapt_cell_axis(cell, cell->rows->view.ndim), state->position, error);
        else if (cell->carried)
            status = add_tensor(list, "state.", schema->inputs[cell->input].name, cell->carried, 0,
                                -1, error);
    }
    for (uint32_t i = 0; i < schema->op.n_inputs && status == RAPT_OK; i++)
        if (state->kept[i])
            status =
                add_tensor(list, "kept.", schema->inputs[i].name, state->kept[i], 0, -1, error);
    return status;
}

rapt_status rapt_decoding_save(rapt_decoding *state, const char *path, rapt_error *error)
{
    listing *list = calloc(1, sizeof *list);
    if (!list)
        return rapt_fail_memory(error, sizeof *list, "a decoding state's file");
    rapt_status status = list_state(list, state, error);
    for (size_t k = 0; k < list->n_texts; k++) {
        if (list->values[k].failed && status == RAPT_OK)
            status = rapt_fail_memory(error, NAME_SIZE, "a decoding state's file");
        list->texts[k].text = list->values[k].data;
    }
    if (status == RAPT_OK)
        status = rapt_save_safetensors(path, list->tensors, list->n_tensors, list->texts,
                                       list->n_texts, error);
    for (size_t k = 0; k < list->n_tensors; k++)
        rapt_tensor_release(list->tensors[k].tensor);
    for (size_t k = 0; k < list->n_texts; k++)
        rapt_text_free(&list->values[k]);
    free(list);
    return status;
}

/* --- Loading: metadata ----------------------------------------------------------------------- */

typedef struct loading {
    const char *path;
    const rapt_file *file;
    rapt_decoding *state;
    rapt_error *error;
} loading;

static rapt_status bad(const loading *load, const char *format, ...) RAPT_PRINTF(2, 3);
static rapt_status bad(const loading *load, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    rapt_vfail(load->error, RAPT_IO, format, args);
    va_end(args);
    rapt_prefix_error(load->error, "%s", load->path);
    return RAPT_IO;
}

static bool read_sizes(const char *text, int64_t *sizes)
{
    memset(sizes, 0xFF, RAPT_SIZES * sizeof *sizes);
    while (*text) {
        const unsigned char letter = (unsigned char)*text;
        const bool named = (letter >= 'A' && letter <= 'Z') || (letter >= 'a' && letter <= 'z');
        if (!named || text[1] != '=' || sizes[letter] >= 0 || letter == 'N' || letter == 'M')
            return false;
        text += 2;
        if (!rapt_int_parse(&text, &sizes[letter]) || sizes[letter] < 0)
            return false;
        if (*text == ' ' && text[1])
            text++;
        else if (*text)
            return false;
    }
    return true;
}

/* The compute type, the device and the sizes. */
static rapt_status read_frame(const loading *load)
{
    rapt_decoding *state = load->state;
    const char *position = rapt_file_text(load->file, "position"), *at = position;
    if (!position || !rapt_int_parse(&at, &state->position) || *at || state->position < 0 ||
        state->position == INT64_MAX)
        return bad(load, "position is \"%s\", not a number of positions", position ? position : "");
    const char *dtype = rapt_file_text(load->file, "dtype");
    if (!dtype || rapt_dtype_parse(dtype, &state->dtype, NULL) != RAPT_OK)
        return bad(load, "dtype is \"%s\", none of rapt's", dtype ? dtype : "");
    const char *device = rapt_file_text(load->file, "device");
    if (!device || rapt_device_parse(device, &state->device, NULL) != RAPT_OK)
        return bad(load, "device is \"%s\", no device's name", device ? device : "");
    const char *sizes = rapt_file_text(load->file, "sizes");
    if (!sizes || !read_sizes(sizes, state->sizes))
        return bad(load, "sizes are \"%s\"; \"B=1 H=8\" was expected", sizes ? sizes : "");
    const char *leading = rapt_file_text(load->file, "leading");
    if (leading && !rapt_ints_parse(leading, state->leading, &state->n_leading))
        return bad(load, "leading is \"%s\", not a list of sizes", leading);
    int64_t product = 1;
    for (int32_t d = 0; d < state->n_leading; d++)
        if (state->leading[d] < 0 || __builtin_mul_overflow(product, state->leading[d], &product))
            return bad(load, "leading is \"%s\", not a list of sizes", leading);
    return RAPT_OK;
}

static rapt_status read_attrs(const loading *load)
{
    rapt_decoding *state = load->state;
    for (size_t k = 0; k < load->file->n_metadata; k++) {
        const rapt_named_text *entry = &load->file->metadata[k];
        if (strncmp(entry->name, "attr.", 5) != 0)
            continue;
        const int32_t a = rapt_schema_attr(state->schema, entry->name + 5);
        if (a < 0 || state->n_attrs == RAPT_MAX_ATTRS)
            return bad(load, "%s has no attribute \"%.64s\"", state->schema->op.name,
                       entry->name + 5);
        if (!rapt_attr_parse(state->schema, a, entry->text, &state->attrs[state->n_attrs++]))
            return bad(load, "attribute %s cannot be \"%.64s\"", entry->name + 5, entry->text);
    }
    return RAPT_OK;
}

/* --- Loading: tensors ------------------------------------------------------------------------ */

static rapt_status take_rows(const loading *load, rapt_cell *cell, const rapt_named_tensor *entry)
{
    rapt_decoding *state = load->state;
    const rapt_view *view = &entry->tensor->view;
    const int32_t axis = rapt_cell_axis(cell, view->ndim);
    if (axis < 0 || view->shape[axis] != state->position)
        return bad(load, "%s has %lld rows; the position is %lld", entry->name,
                   axis < 0 ? 0LL : (long long)view->shape[axis], (long long)state->position);
    rapt_tensor *there =
        rapt_copy_to(entry->tensor, rapt_tensor_dtype(entry->tensor), state->device, load->error);
    if (!there)
        return RAPT_NO_MEMORY;
    cell->rows = rapt_rows_make(cell, there, state->position, state->position, load->error);
    rapt_tensor_release(there);
    return cell->rows ? RAPT_OK : RAPT_NO_MEMORY;
}

static rapt_status take_copy(const loading *load, rapt_tensor **slot,
                             const rapt_named_tensor *entry)
{
    *slot = rapt_copy_to(entry->tensor, rapt_tensor_dtype(entry->tensor), load->state->device,
                         load->error);
    return *slot ? RAPT_OK : RAPT_NO_MEMORY;
}

static rapt_status take_tensor(const loading *load, const rapt_named_tensor *entry)
{
    rapt_decoding *state = load->state;
    const rapt_schema *schema = state->schema;
    const char *dot = strchr(entry->name, '.');
    const size_t kind = dot ? (size_t)(dot - entry->name) : 0;
    const int32_t i = dot ? rapt_schema_input(schema, dot + 1) : -1;
    for (uint32_t s = 0; i >= 0 && s < state->n_cells; s++) {
        rapt_cell *cell = &state->cells[s];
        if (kind == 4 && !strncmp(entry->name, "rows", 4) && cell->append == i && !cell->rows)
            return take_rows(load, cell, entry);
        if (kind == 5 && !strncmp(entry->name, "state", 5) && cell->input == i && !cell->carried) {
            if (rapt_tensor_dtype(entry->tensor) != RAPT_F32)
                return bad(load, "%s is %s; a carried state is f32", entry->name,
                           rapt_dtype_name(rapt_tensor_dtype(entry->tensor)));
            return take_copy(load, &cell->carried, entry);
        }
    }
    if (i >= 0 && kind == 4 && !strncmp(entry->name, "kept", 4) &&
        !rapt_input_is_positional(schema, (uint32_t)i) &&
        !rapt_input_is_carried(schema, (uint32_t)i) && !state->kept[i])
        return take_copy(load, &state->kept[i], entry);
    return bad(load, "a state of %s has no tensor \"%.80s\"", schema->op.name, entry->name);
}

static rapt_status take_tensors(const loading *load)
{
    rapt_decoding *state = load->state;
    const rapt_schema *schema = state->schema;
    for (size_t k = 0; k < load->file->n_tensors; k++) {
        const rapt_status status = take_tensor(load, &load->file->tensors[k]);
        if (status != RAPT_OK)
            return status;
    }
    for (uint32_t s = 0; s < state->n_cells; s++) {
        const rapt_cell *cell = &state->cells[s];
        if (cell->append >= 0 && !cell->rows &&
            !(schema->op.inputs[cell->append].flags & RAPT_OPTIONAL))
            return bad(load, "there is no rows.%s", schema->inputs[cell->append].name);
        if (cell->input >= 0 && !cell->carried)
            return bad(load, "there is no state.%s", schema->inputs[cell->input].name);
    }
    return RAPT_OK;
}

/* --- Loading: all together ------------------------------------------------------------------- */

/* Keys in the next step: with those of the appended rows; without such rows, the step's own. */
static int64_t next_keys(const rapt_decoding *state)
{
    for (uint32_t s = 0; s < state->n_cells; s++)
        if (state->cells[s].append >= 0 && state->cells[s].letter == 'M')
            return state->position + 1;
    return 1;
}

/* The view that an input would have in the next step, without data. False: its shape cannot be told
 * from the file. */
static bool imagine(const rapt_decoding *state, uint32_t i, rapt_view *view, int64_t *shape,
                    int64_t *strides)
{
    const rapt_spec *spec = &state->schema->inputs[i];
    const int64_t keys = next_keys(state);
    int32_t n = 0;
    if (spec->leading || spec->leading_broadcast)
        for (; n < state->n_leading; n++)
            shape[n] = state->leading[n];
    if (n + spec->n_dims > RAPT_MAX_DIMS)
        return false;
    for (int32_t d = 0; d < spec->n_dims; d++) {
        const unsigned char letter = (unsigned char)spec->dims[d].letter;
        shape[n] = letter == 'N' ? 1 : letter == 'M' ? keys : letter ? state->sizes[letter] : -1;
        if (shape[n++] < 0)
            return false;
    }
    rapt_contiguous_strides(n, shape, strides);
    *view = (rapt_view){
        .device = state->device,
        .ndim = n,
        .dtype = rapt_dltype_of(rapt_arg_dtype(&state->schema->op.inputs[i], state->dtype)),
        .shape = shape,
        .strides = strides};
    return true;
}

static bool has_expression(const rapt_spec *spec)
{
    for (int32_t d = 0; d < spec->n_dims; d++)
        if (!spec->dims[d].letter)
            return true;
    return false;
}

/* Binds the next step as far as the file tells it. */
static rapt_status check_whole(const loading *load)
{
    rapt_decoding *state = load->state;
    const rapt_schema *schema = state->schema;
    rapt_slots slots;
    rapt_named_view named[RAPT_MAX_ARGS];
    size_t n = 0;
    for (uint32_t i = 0; i < schema->op.n_inputs; i++) {
        const rapt_tensor *tensor = state->kept[i];
        rapt_view *view = &slots.view[i];
        bool known = tensor != NULL;
        if (tensor)
            *view = tensor->view;
        for (uint32_t s = 0; s < state->n_cells; s++) {
            const rapt_cell *cell = &state->cells[s];
            if (cell->append == (int32_t)i && cell->rows) {
                *view =
                    rapt_rows_of(&cell->rows->view, rapt_cell_axis(cell, cell->rows->view.ndim), 0,
                                 cell->letter == 'M' ? state->position + 1 : 1, slots.shape[i]);
                known = true;
            } else if (cell->input == (int32_t)i) {
                *view = cell->carried->view;
                known = true;
            }
        }
        if (!known && (schema->op.inputs[i].flags & RAPT_OPTIONAL))
            continue;
        if (!known && has_expression(&schema->inputs[i]))
            return RAPT_OK; /* the next step, which brings this input, binds them all */
        if (!known && !imagine(state, i, view, slots.shape[i], slots.strides[i]))
            return rapt_input_is_positional(schema, i)
                       ? bad(load, "the sizes of %s are not in the file", schema->inputs[i].name)
                       : bad(load, "there is no kept.%s", schema->inputs[i].name);
        named[n++] = (rapt_named_view){schema->inputs[i].name, view};
    }
    rapt_binding binding;
    if (rapt_bind(schema, RAPT_FORWARD, named, n, state->attrs, state->n_attrs, &binding,
                  load->error) != RAPT_OK) {
        rapt_prefix_error(load->error, "%s", load->path);
        return RAPT_IO;
    }
    state->sizes['.'] = binding.sizes['.'];
    for (int c = 0; c < RAPT_SIZES; c++) /* those of carried states alone are not in the file */
        if (c != 'N' && c != 'M' && binding.sizes[c] >= 0 && state->sizes[c] >= 0 &&
            state->sizes[c] != binding.sizes[c])
            return bad(load, "%c is %lld but the tensors have %lld", c, (long long)state->sizes[c],
                       (long long)binding.sizes[c]);
    return binding.dtype == state->dtype
               ? RAPT_OK
               : bad(load, "dtype is %s but the tensors are %s", rapt_dtype_name(state->dtype),
                     rapt_dtype_name(binding.dtype));
}

static rapt_schema *find_schema(rapt_context *context, const loading *load)
{
    const char *format = rapt_file_text(load->file, "format");
    const char *number = rapt_file_text(load->file, "format_version");
    const char *op = rapt_file_text(load->file, "operator");
    const char *version = rapt_file_text(load->file, "operator_version");
    if (!format || strcmp(format, FORMAT) != 0 || !op || !version) {
        bad(load, "not a decoding state (format \"%.40s\")", format ? format : "");
        return NULL;
    }
    if (!number || strcmp(number, FORMAT_NUMBER) != 0) {
        bad(load, "version \"%.40s\" of the format; this rapt reads " FORMAT_NUMBER,
            number ? number : "");
        return NULL;
    }
    rapt_schema *schema;
    if (rapt_registry_find(context->registry, op, &schema, load->error) != RAPT_OK) {
        rapt_prefix_error(load->error, "%s", load->path);
        return NULL;
    }
    if (strcmp(schema->op.version, version) != 0) {
        bad(load, "made by %s version %.40s; this one is version %s", op, version,
            schema->op.version);
        return NULL;
    }
    return schema;
}

rapt_decoding *rapt_decoding_load(rapt_context *context, const char *path, rapt_error *error)
{
    rapt_file *file = rapt_load_safetensors(path, error);
    if (!file)
        return NULL;
    loading load = {path, file, NULL, error};
    rapt_schema *schema = find_schema(context, &load);
    load.state = schema ? rapt_decoding_new(context, schema, error) : NULL;
    rapt_status status = load.state ? read_frame(&load) : RAPT_IO;
    if (status == RAPT_OK && !rapt_devices_find(load.state->device, error)) {
        rapt_prefix_error(error, "%s", path);
        status = RAPT_UNSUPPORTED;
    }
    if (status == RAPT_OK)
        status = read_attrs(&load);
    if (status == RAPT_OK)
        status = take_tensors(&load);
    if (status == RAPT_OK)
        status = check_whole(&load);
    rapt_file_free(file);
    if (status == RAPT_OK)
        return load.state;
    rapt_decoding_free(load.state);
    return NULL;
}
