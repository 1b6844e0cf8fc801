/*
 * Writing safetensors. The header is padded with spaces to a multiple of 8 bytes, and tensors of
 * larger elements come first, so that every tensor is aligned to its element in a mapped file.
 * Equal arguments give equal files.
 */
#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "tensor/formats.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static size_t element_size(const rapt_named_tensor *entry)
{
    return rapt_dtype_size(rapt_tensor_dtype(entry->tensor));
}

/* Larger elements first, then by name. */
static int by_layout(const void *a, const void *b)
{
    const rapt_named_tensor *const *x = a, *const *y = b;
    const size_t p = element_size(*x), q = element_size(*y);
    return p != q ? (p > q ? -1 : 1) : strcmp((*x)->name, (*y)->name);
}

static rapt_status check_name(const char *path, const char *what, const char *name,
                              const json_t *map, rapt_error *error)
{
    if (!name)
        return rapt_fail(error, RAPT_INVALID, "%s: a %s has no name", path, what);
    if (!rapt_utf8_valid(name, strlen(name)))
        return rapt_fail(error, RAPT_INVALID, "%s: the name of %s '%s' is not UTF-8", path, what,
                         name);
    if (json_object_get(map, name))
        return rapt_fail(error, RAPT_INVALID, "%s: two %ss are named '%s'", path, what, name);
    return RAPT_OK;
}

static rapt_status fail_header(rapt_error *error)
{
    return rapt_fail_memory(error, sizeof(json_t), "a file's header");
}

static rapt_status add_metadata(const char *path, json_t *root, const rapt_named_text *metadata,
                                size_t n, rapt_error *error)
{
    if (n == 0)
        return RAPT_OK;
    json_t *map = json_object();
    if (json_object_set_new(root, "__metadata__", map) < 0)
        return fail_header(error);
    for (size_t i = 0; i < n; i++) {
        const rapt_status status = check_name(path, "metadata entry", metadata[i].name, map, error);
        if (status != RAPT_OK)
            return status;
        if (!metadata[i].text || !rapt_utf8_valid(metadata[i].text, strlen(metadata[i].text)))
            return rapt_fail(error, RAPT_INVALID, "%s: the text of metadata '%s' is not UTF-8",
                             path, metadata[i].name);
        if (json_object_set_new(map, metadata[i].name, json_string(metadata[i].text)) < 0)
            return fail_header(error);
    }
    return RAPT_OK;
}

/* {"dtype": ..., "shape": [...], "data_offsets": [...]}; NULL without memory. */
static json_t *describe(const rapt_tensor *tensor, int64_t begin, int64_t end)
{
    json_t *entry = json_object(), *shape = json_array(), *offsets = json_array();
    int bad = json_array_append_new(offsets, json_integer(begin));
    bad |= json_array_append_new(offsets, json_integer(end));
    for (int32_t i = 0; i < tensor->view.ndim; i++)
        bad |= json_array_append_new(shape, json_integer(tensor->shape[i]));
    bad |= json_object_set_new(entry, "dtype",
                               json_string(rapt_safetensors_names[rapt_tensor_dtype(tensor)]));
    /* These take the lists over, also when they fail. */
    bad |= json_object_set_new(entry, "shape", shape);
    bad |= json_object_set_new(entry, "data_offsets", offsets);
    if (!bad)
        return entry;
    json_decref(entry);
    return NULL;
}

static rapt_status add_tensors(const char *path, json_t *root,
                               const rapt_named_tensor *const *order, size_t n, rapt_error *error)
{
    int64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = order[i]->name;
        const rapt_status status = check_name(path, "tensor", name, root, error);
        if (status != RAPT_OK)
            return status;
        const int64_t begin = end;
        if (!rapt_add(begin, rapt_tensor_count(order[i]->tensor) * (int64_t)element_size(order[i]),
                      &end))
            return rapt_fail(error, RAPT_INVALID, "%s: the tensors do not fit in 63 bits of bytes",
                             path);
        json_t *entry = describe(order[i]->tensor, begin, end);
        if (!entry || json_object_set_new(root, name, entry) < 0)
            return fail_header(error);
    }
    return RAPT_OK;
}

static int append_json(const char *bytes, size_t n, void *text)
{
    rapt_text_add(text, bytes, n);
    return ((rapt_text *)text)->failed ? -1 : 0;
}

/* The header as it stands in the file, its length in front. */
static rapt_status write_header(const char *path, const json_t *root, rapt_text *text,
                                rapt_error *error)
{
    uint64_t length = 0;
    rapt_text_add(text, (const char *)&length, sizeof length);
    if (json_dump_callback(root, append_json, text, JSON_COMPACT) < 0)
        return fail_header(error);
    while (!text->failed && text->length % 8 != 0)
        rapt_text_add(text, " ", 1);
    if (text->failed)
        return fail_header(error);
    length = text->length - sizeof length;
    if (length > RAPT_SAFETENSORS_HEADER)
        return rapt_fail(error, RAPT_INVALID,
                         "%s: names and metadata take %llu bytes, the limit is %d", path,
                         (unsigned long long)length, RAPT_SAFETENSORS_HEADER);
    memcpy(text->data, &length, sizeof length);
    return RAPT_OK;
}

static rapt_status put_tensors(const char *path, rapt_writer *writer,
                               const rapt_named_tensor *const *order, size_t n, rapt_error *error)
{
    for (size_t i = 0; i < n; i++) {
        rapt_tensor *packed = rapt_tensor_packed(order[i]->tensor, error);
        if (!packed) {
            rapt_prefix_error(error, "%s: tensor '%s'", path, order[i]->name);
            return error ? error->status : RAPT_NO_MEMORY;
        }
        const size_t bytes = (size_t)rapt_tensor_count(packed) * element_size(order[i]);
        const rapt_status status =
            rapt_writer_put(writer, rapt_view_data(&packed->view), bytes, error);
        rapt_tensor_release(packed);
        if (status != RAPT_OK)
            return status;
    }
    return RAPT_OK;
}

static rapt_status write_file(const char *path, const rapt_text *header,
                              const rapt_named_tensor *const *order, size_t n, rapt_error *error)
{
    rapt_status status = RAPT_OK;
    rapt_error why = {0};
    rapt_writer *writer = rapt_writer_open(path, &why);
    if (!writer)
        return rapt_fail(error, why.status, "%s", why.message);
    status = rapt_writer_put(writer, header->data, header->length, error);
    if (status == RAPT_OK)
        status = put_tensors(path, writer, order, n, error);
    if (status == RAPT_OK)
        return rapt_writer_commit(writer, error);
    rapt_writer_abandon(writer);
    return status;
}

/* Everything that can be wrong with the arguments is found before a file is opened. */
static rapt_status check_tensors(const char *path, const rapt_named_tensor *tensors, size_t n,
                                 rapt_error *error)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = tensors[i].name ? tensors[i].name : "";
        if (!tensors[i].name || !tensors[i].tensor)
            return rapt_fail(error, RAPT_INVALID, "%s: entry %zu has no %s", path, i + 1,
                             tensors[i].name ? "tensor" : "name");
        if (strcmp(name, "__metadata__") == 0)
            return rapt_fail(error, RAPT_INVALID, "%s: no tensor can be named __metadata__", path);
        const rapt_device device = tensors[i].tensor->view.device;
        char text[32];
        rapt_device_name(device, text);
        if (device.type != RAPT_DEVICE_CPU)
            return rapt_fail(error, RAPT_INVALID, "%s: tensor '%s' lies on %s, expected the cpu",
                             path, name, text);
    }
    return RAPT_OK;
}

rapt_status rapt_save_safetensors(const char *path, const rapt_named_tensor *tensors,
                                  size_t n_tensors, const rapt_named_text *metadata,
                                  size_t n_metadata, rapt_error *error)
{
    if (!path || !*path)
        return rapt_fail(error, RAPT_INVALID, "a file to write needs a name");
    rapt_status status = check_tensors(path, tensors, n_tensors, error);
    if (status != RAPT_OK)
        return status;
    const rapt_named_tensor **order = calloc(n_tensors + 1, sizeof *order);
    json_t *root = json_object();
    rapt_text header = {0};
    if (!order || !root)
        status = fail_header(error);
    if (status == RAPT_OK) {
        for (size_t i = 0; i < n_tensors; i++)
            order[i] = &tensors[i];
        qsort(order, n_tensors, sizeof *order, by_layout);
        status = add_metadata(path, root, metadata, n_metadata, error);
    }
    if (status == RAPT_OK)
        status = add_tensors(path, root, order, n_tensors, error);
    if (status == RAPT_OK)
        status = write_header(path, root, &header, error);
    if (status == RAPT_OK)
        status = write_file(path, &header, order, n_tensors, error);
    rapt_text_free(&header);
    json_decref(root);
    free(order);
    return status;
}
