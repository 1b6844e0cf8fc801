/*
 * Reading safetensors: a little-endian 64-bit length, a JSON header of that length, and the bytes
 * of the tensors. The header maps each name to {"dtype", "shape", "data_offsets": [begin, end]},
 * and
 * "__metadata__" to a map from string to string. The tensors' bytes must follow each other without
 * overlap or gap and fill the file.
 */
#include "base/error.h"
#include "base/text.h"
#include "tensor/formats.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const rapt_safetensors_names[RAPT_DTYPE_COUNT] = {"F32", "F16", "BF16", "F64",
                                                              "I32", "I64", "U8",   "BOOL"};

typedef struct span {
    int64_t begin, end;
    const char *name;
} span;

typedef struct reader {
    rapt_storage *bytes;
    const char *path;
    int64_t data_begin, data_bytes; /* where the tensors' bytes lie in the file */
    rapt_file *file;
    span *spans; /* one a tensor */
    rapt_error *error;
} reader;

static rapt_status parse_header(reader *r, json_t **root)
{
    const unsigned char *data = r->bytes->data;
    const int64_t size = r->bytes->bytes;
    if (size < 8)
        return rapt_fail(r->error, RAPT_IO,
                         "%s: is not a safetensors file: it has %lld bytes, expected at least 8",
                         r->path, (long long)size);
    uint64_t length;
    memcpy(&length, data, sizeof length);
    if (length > RAPT_SAFETENSORS_HEADER)
        return rapt_fail(r->error, RAPT_IO,
                         "%s: is not a safetensors file: the header claims %llu bytes, the limit "
                         "is %d",
                         r->path, (unsigned long long)length, RAPT_SAFETENSORS_HEADER);
    if ((int64_t)length > size - 8)
        return rapt_fail(r->error, RAPT_IO,
                         "%s: is truncated: the header claims %llu bytes, %lld follow", r->path,
                         (unsigned long long)length, (long long)(size - 8));
    if (length == 0 || data[8] != '{')
        return rapt_fail(r->error, RAPT_IO,
                         "%s: is not a safetensors file: the header does not begin with '{'",
                         r->path);
    json_error_t why;
    *root = json_loadb((const char *)data + 8, (size_t)length, JSON_REJECT_DUPLICATES, &why);
    r->data_begin = 8 + (int64_t)length;
    r->data_bytes = size - r->data_begin;
    if (*root)
        return RAPT_OK;
    /* Memory that runs out inside a string token is told by jansson as a bad token, and so here. */
    if (why.text[0] == 0 || json_error_code(&why) == json_error_out_of_memory) {
        rapt_fail_memory(r->error, (size_t)length, "a parsed header");
        return rapt_prefix_error(r->error, "%s", r->path);
    }
    return rapt_fail(r->error, RAPT_IO, "%s: the header is not JSON: %s (byte %d)", r->path,
                     why.text, why.position);
}

static rapt_status fail_entry(reader *r, const char *name, const char *what)
{
    return rapt_fail(r->error, RAPT_IO, "%s: tensor '%s' %s", r->path, name, what);
}

static rapt_status read_dtype(reader *r, const char *name, const json_t *entry, rapt_dtype *dtype)
{
    const char *given = json_string_value(json_object_get(entry, "dtype"));
    if (!given)
        return fail_entry(r, name, "has no dtype, expected a string");
    for (int i = 0; i < RAPT_DTYPE_COUNT; i++)
        if (strcmp(given, rapt_safetensors_names[i]) == 0) {
            *dtype = (rapt_dtype)i;
            return RAPT_OK;
        }
    return rapt_fail(r->error, RAPT_UNSUPPORTED,
                     "%s: tensor '%s' has dtype '%s', expected F32, F16, BF16, F64, I32, I64, U8 "
                     "or BOOL",
                     r->path, name, given);
}

static rapt_status read_shape(reader *r, const char *name, const json_t *entry, int32_t *ndim,
                              int64_t *shape)
{
    const json_t *list = json_object_get(entry, "shape");
    if (!json_is_array(list))
        return fail_entry(r, name, "has no shape, expected a list of sizes");
    const size_t n = json_array_size(list);
    if (n > RAPT_MAX_DIMS)
        return rapt_fail(r->error, RAPT_UNSUPPORTED,
                         "%s: tensor '%s' has %zu dimensions, expected at most %d", r->path, name,
                         n, RAPT_MAX_DIMS);
    for (size_t i = 0; i < n; i++) {
        const json_t *size = json_array_get(list, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return fail_entry(r, name, "has a size that is not an integer of 0 or more");
        shape[i] = json_integer_value(size);
    }
    *ndim = (int32_t)n;
    return RAPT_OK;
}

static rapt_status read_offsets(reader *r, const char *name, const json_t *entry, span *place)
{
    const json_t *list = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(list, 0), *end = json_array_get(list, 1);
    if (json_array_size(list) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return fail_entry(r, name, "has no data_offsets, expected two integers");
    *place = (span){json_integer_value(begin), json_integer_value(end), name};
    if (place->begin < 0 || place->begin > place->end || place->end > r->data_bytes)
        return rapt_fail(r->error, RAPT_IO,
                         "%s: tensor '%s' lies at bytes %lld to %lld of the data, which has %lld",
                         r->path, name, (long long)place->begin, (long long)place->end,
                         (long long)r->data_bytes);
    return RAPT_OK;
}

/* Copies a name of the header for rapt_file. */
static char *keep(reader *r, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        rapt_fail_memory(r->error, strlen(text) + 1, "a name");
    return copy;
}

static rapt_status read_tensor(reader *r, const char *name, const json_t *entry)
{
    rapt_dtype dtype = RAPT_F32;
    int32_t ndim = 0;
    int64_t shape[RAPT_MAX_DIMS], count;
    char text[RAPT_SHAPE_TEXT];
    span *place = &r->spans[r->file->n_tensors];
    if (!json_is_object(entry))
        return fail_entry(r, name, "is described by something that is not an object");
    rapt_status status = read_dtype(r, name, entry, &dtype);
    if (status == RAPT_OK)
        status = read_shape(r, name, entry, &ndim, shape);
    if (status == RAPT_OK)
        status = read_offsets(r, name, entry, place);
    if (status != RAPT_OK)
        return status;
    if (rapt_shape_count(dtype, ndim, shape, &count, r->error) != RAPT_OK) {
        if (r->error)
            r->error->status = RAPT_IO;
        rapt_prefix_error(r->error, "%s: tensor '%s'", r->path, name);
        return RAPT_IO;
    }
    if (place->end - place->begin != count * (int64_t)rapt_dtype_size(dtype))
        return rapt_fail(
            r->error, RAPT_IO, "%s: tensor '%s' has %lld bytes, but %s of %s takes %lld", r->path,
            name, (long long)(place->end - place->begin), rapt_shape_text(text, ndim, shape),
            rapt_dtype_name(dtype), (long long)(count * (int64_t)rapt_dtype_size(dtype)));
    rapt_named_tensor *slot = &r->file->tensors[r->file->n_tensors];
    slot->name = keep(r, name);
    if (!slot->name)
        return RAPT_NO_MEMORY;
    r->file->n_tensors++; /* from here rapt_file_free gives the name back */
    rapt_error why;
    slot->tensor = rapt_tensor_from_bytes(r->bytes, dtype, ndim, shape, NULL,
                                          r->data_begin + place->begin, &why);
    if (!slot->tensor)
        return rapt_fail(r->error, why.status, "%s: tensor '%s': %s", r->path, name, why.message);
    return RAPT_OK;
}

static rapt_status read_metadata(reader *r, json_t *map)
{
    if (!json_is_object(map))
        return rapt_fail(r->error, RAPT_IO, "%s: __metadata__ is not an object", r->path);
    r->file->metadata = calloc(json_object_size(map) + 1, sizeof *r->file->metadata);
    if (!r->file->metadata)
        return rapt_fail_memory(r->error, json_object_size(map) * sizeof *r->file->metadata,
                                "metadata");
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        if (!json_is_string(value))
            return rapt_fail(r->error, RAPT_IO,
                             "%s: metadata '%s' is not a string, which it must be", r->path, name);
        rapt_named_text *slot = &r->file->metadata[r->file->n_metadata++];
        slot->name = keep(r, name);
        slot->text = slot->name ? keep(r, json_string_value(value)) : NULL;
        if (!slot->text)
            return RAPT_NO_MEMORY;
    }
    return RAPT_OK;
}

static int by_place(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The tensors' bytes follow each other and fill the data. */
static rapt_status check_places(reader *r)
{
    const size_t n = r->file->n_tensors;
    int64_t end = 0;
    if (n > 0)
        qsort(r->spans, n, sizeof *r->spans, by_place);
    for (size_t i = 0; i < n; i++) {
        const span *s = &r->spans[i];
        if (s->begin < end)
            return rapt_fail(r->error, RAPT_IO,
                             "%s: tensors '%s' and '%s' overlap at byte %lld of the data", r->path,
                             r->spans[i - 1].name, s->name, (long long)s->begin);
        if (s->begin > end)
            break;
        end = s->end;
    }
    if (end != r->data_bytes)
        return rapt_fail(r->error, RAPT_IO,
                         "%s: the bytes from %lld of the data, which has %lld, are no tensor's",
                         r->path, (long long)end, (long long)r->data_bytes);
    return RAPT_OK;
}

static rapt_status read_entries(reader *r, json_t *root)
{
    const size_t n = json_object_size(root) + 1;
    const char *name;
    json_t *value;
    r->file = calloc(1, sizeof *r->file);
    r->spans = calloc(n, sizeof *r->spans);
    if (r->file)
        r->file->tensors = calloc(n, sizeof *r->file->tensors);
    if (!r->file || !r->spans || !r->file->tensors)
        return rapt_fail_memory(r->error, n * (sizeof *r->file->tensors + sizeof *r->spans),
                                "a table of tensors");
    json_object_foreach(root, name, value)
    {
        const rapt_status status = strcmp(name, "__metadata__") == 0 ? read_metadata(r, value)
                                                                     : read_tensor(r, name, value);
        if (status != RAPT_OK)
            return status;
    }
    return check_places(r);
}

rapt_file *rapt_safetensors_parse(rapt_storage *bytes, const char *path, rapt_error *error)
{
    reader r = {.bytes = bytes, .path = path, .error = error};
    json_t *root = NULL;
    rapt_status status = parse_header(&r, &root);
    if (status == RAPT_OK)
        status = read_entries(&r, root);
    free(r.spans);
    json_decref(root);
    if (status == RAPT_OK)
        return r.file;
    rapt_file_free(r.file);
    return NULL;
}

rapt_file *rapt_load_safetensors(const char *path, rapt_error *error)
{
    rapt_storage *bytes = rapt_storage_map(path, error);
    if (!bytes)
        return NULL;
    rapt_file *file = rapt_safetensors_parse(bytes, path, error);
    rapt_storage_release(bytes);
    return file;
}

void rapt_file_free(rapt_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->n_tensors; i++) {
        rapt_tensor_release(file->tensors[i].tensor);
        free((char *)file->tensors[i].name);
    }
    for (size_t i = 0; i < file->n_metadata; i++) {
        free((char *)file->metadata[i].name);
        free((char *)file->metadata[i].text);
    }
    free(file->tensors);
    free(file->metadata);
    free(file);
}
