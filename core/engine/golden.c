/* Golden vectors beside a plugin: a call of an operator, with what it gives by definition. */
#include "engine/golden.h"
#include "base/error.h"
#include "engine/attributes.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const rapt_device host = {RAPT_DEVICE_CPU, 0};

typedef struct reader {
    const rapt_schema *schema;
    const rapt_file *file;
    rapt_golden *golden;
    rapt_error *error;
} reader;

/* --- Attributes ------------------------------------------------------------------------------ */

/* JSON's values are written as attributes are, but for the brackets of "[4,-1]" and the quotes of
 * "\"left\"". */
static rapt_status read_attribute(reader *r, const char *name, const json_t *json)
{
    const rapt_schema *schema = r->schema;
    rapt_probe *probe = &r->golden->probe;
    const int32_t at = rapt_schema_attr(schema, name);
    if (at < 0 || probe->n_attrs == RAPT_MAX_ATTRS)
        return rapt_fail(r->error, RAPT_INVALID, "has an attribute \"%s\", which %s has not", name,
                         schema->op.name);
    const rapt_attr_type type = schema->op.attrs[at].type;
    const bool text = json_is_string(json), list = json_is_array(json);
    char *value = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!value)
        return rapt_fail_memory(r->error, strlen(name), "the value of an attribute");
    if (text || list)
        value[strlen(value) - 1] = 0;
    const bool fine =
        text == (type == RAPT_ATTR_CHOICE) && list == (type == RAPT_ATTR_INTS) &&
        rapt_attr_parse(schema, at, value + (text || list), &probe->attrs[probe->n_attrs++]);
    free(value);
    return fine ? RAPT_OK
                : rapt_fail(r->error, RAPT_INVALID, "has a value of \"%s\" that is not of its type",
                            name);
}

static rapt_status read_metadata(reader *r)
{
    const char *op = rapt_file_text(r->file, "op");
    const char *attrs = rapt_file_text(r->file, "attrs"), *text = attrs ? attrs : "{}", *name;
    if (!op || strcmp(op, r->schema->op.name) != 0)
        return rapt_fail(r->error, RAPT_INVALID, "is of the operator %s, expected %s",
                         op ? op : "(no metadata \"op\")", r->schema->op.name);
    json_error_t why = {0};
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why), *json;
    if (!root && (why.text[0] == 0 || json_error_code(&why) == json_error_out_of_memory))
        return rapt_fail_memory(r->error, strlen(text), "parsed attributes");
    rapt_status status = RAPT_OK;
    if (!json_is_object(root))
        status = rapt_fail(r->error, RAPT_INVALID, "has attrs that are no JSON object: %s", text);
    json_object_foreach(root, name, json)
    {
        if (status == RAPT_OK)
            status = read_attribute(r, name, json);
    }
    json_decref(root);
    return status;
}

/* --- Tensors --------------------------------------------------------------------------------- */

static const rapt_tensor *find(const reader *r, const char *prefix, const char *name)
{
    const size_t n = strlen(prefix);
    for (size_t i = 0; i < r->file->n_tensors; i++) {
        const char *given = r->file->tensors[i].name;
        if (strncmp(given, prefix, n) == 0 && strcmp(given + n, name) == 0)
            return r->file->tensors[i].tensor;
    }
    return NULL;
}

/* NULL and RAPT_OK where the file has none. */
static rapt_status take(const reader *r, const char *prefix, const char *name, rapt_dtype dtype,
                        rapt_tensor **taken)
{
    const rapt_tensor *found = find(r, prefix, name);
    *taken = found ? rapt_copy_to(found, dtype, host, r->error) : NULL;
    return *taken || !found ? RAPT_OK : r->error->status;
}

static bool same_shape(const rapt_tensor *a, const rapt_tensor *b)
{
    const size_t bytes = sizeof *a->view.shape * (size_t)a->view.ndim;
    return a->view.ndim == b->view.ndim &&
           (bytes == 0 || memcmp(a->view.shape, b->view.shape, bytes) == 0);
}

static rapt_status read_inputs(reader *r)
{
    const rapt_schema *schema = r->schema;
    rapt_golden *g = r->golden;
    for (uint32_t i = 0; i < schema->op.n_inputs; i++) {
        const char *name = schema->inputs[i].name;
        const rapt_dtype exact = rapt_arg_dtype(&schema->op.inputs[i], RAPT_F32);
        rapt_tensor **gradient = &g->want.at[RAPT_OUTCOME_GRADIENT][i];
        rapt_status status = take(r, "", name, exact, &g->probe.inputs[i]);
        if (status == RAPT_OK)
            status = take(r, "d", name, RAPT_F64, gradient);
        if (status != RAPT_OK)
            return status;
        if (!g->probe.inputs[i] && !(schema->op.inputs[i].flags & RAPT_OPTIONAL))
            return rapt_fail(r->error, RAPT_INVALID, "has no %s", name);
        if (*gradient && (!g->probe.inputs[i] || !same_shape(*gradient, g->probe.inputs[i])))
            return rapt_fail(r->error, RAPT_INVALID, "has d%s, but no %s of its shape", name, name);
    }
    return RAPT_OK;
}

static rapt_status read_outputs(reader *r)
{
    const rapt_schema *schema = r->schema;
    rapt_golden *g = r->golden;
    rapt_tensor **outputs = g->want.at[RAPT_OUTCOME_OUTPUT];
    for (uint32_t i = 0; i < schema->op.n_outputs; i++) {
        if (schema->op.outputs[i].flags & RAPT_OPTIONAL)
            continue;
        const rapt_status status = take(r, "", schema->outputs[i].name, RAPT_F64, &outputs[i]);
        if (status != RAPT_OK)
            return status;
        if (!outputs[i])
            return rapt_fail(r->error, RAPT_INVALID, "has no %s", schema->outputs[i].name);
    }
    const char *first = schema->op.n_outputs > 0 ? schema->outputs[0].name : "";
    const rapt_status status = take(r, "d", first, RAPT_F32, &g->seed);
    if (status == RAPT_OK && g->seed && (!outputs[0] || !same_shape(g->seed, outputs[0])))
        return rapt_fail(r->error, RAPT_INVALID, "has d%s, but no %s of its shape", first, first);
    return status;
}

/* --- The file -------------------------------------------------------------------------------- */

static rapt_text path_of(const rapt_schema *schema, const char *plugin)
{
    const char *end = strrchr(plugin, '/');
    rapt_text path = {0};
    rapt_text_append(&path, "%.*s%s.golden.safetensors", end ? (int)(end - plugin) + 1 : 0, plugin,
                     schema->op.name);
    return path;
}

rapt_status rapt_golden_load(const rapt_schema *schema, const char *plugin, rapt_golden *golden,
                             rapt_error *error)
{
    memset(golden, 0, sizeof *golden);
    rapt_text path = path_of(schema, plugin);
    rapt_file *file = NULL;
    if (path.failed)
        rapt_fail_memory(error, strlen(plugin), "a path");
    else
        file = rapt_load_safetensors(path.data, error);
    rapt_status status = file ? RAPT_OK : error->status;
    if (file) {
        reader r = {schema, file, golden, error};
        status = read_metadata(&r);
        if (status == RAPT_OK)
            status = read_inputs(&r);
        if (status == RAPT_OK)
            status = read_outputs(&r);
        if (status != RAPT_OK)
            status = rapt_prefix_error(error, "%s", path.data);
        rapt_file_free(file);
    }
    rapt_text_free(&path);
    if (status != RAPT_OK)
        rapt_golden_free(golden);
    return status;
}

void rapt_golden_free(rapt_golden *golden)
{
    rapt_probe_free(&golden->probe);
    rapt_outcome_free(&golden->want);
    rapt_tensor_release(golden->seed);
    golden->seed = NULL;
}

void rapt_outcome_free(rapt_outcome *outcome)
{
    for (int kind = 0; kind < RAPT_OUTCOME_KINDS; kind++)
        for (int i = 0; i < RAPT_MAX_ARGS; i++) {
            rapt_tensor_release(outcome->at[kind][i]);
            outcome->at[kind][i] = NULL;
        }
}
