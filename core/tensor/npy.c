/*
 * NumPy's .npy: "\x93NUMPY", a version, the header's length (16 bits in version 1, 32 in 2 and 3),
 * and as header a Python dictionary with exactly the keys 'descr', 'fortran_order' and 'shape'. The
 * elements follow and fill the file.
 */
#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "tensor/formats.h"
#include <inttypes.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";
enum { MAGIC = 6, PREFIX = 10 /* of version 1: magic, version, 16 bits of length */ };

/* NumPy's type strings in the order of rapt_dtype; NULL: there is none. */
static const char *const descriptions[RAPT_DTYPE_COUNT] = {"<f4", "<f2", NULL,  "<f8",
                                                           "<i4", "<i8", "|u1", "|b1"};

/* The header as it is read. `at` never passes `end`. */
typedef struct cursor {
    const char *at, *end;
} cursor;

typedef struct header {
    bool has_descr, has_order, has_shape;
    char descr[16];
    bool fortran;
    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
} header;

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r'))
        c->at++;
}

static bool take(cursor *c, const char *word)
{
    const size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0)
        return false;
    c->at += n;
    return true;
}

/* A quoted string of printable ASCII without escapes, shorter than `size`. */
static bool take_string(cursor *c, char *text, size_t size)
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return false;
    const char quote = *c->at++;
    for (size_t n = 0; c->at < c->end && n < size; n++) {
        const char letter = *c->at++;
        if (letter == quote) {
            text[n] = 0;
            return true;
        }
        if (letter < ' ' || letter > '~' || letter == '\\')
            return false;
        text[n] = letter;
    }
    return false;
}

static bool take_integer(cursor *c, int64_t *value)
{
    skip_space(c);
    const char *first = c->at;
    *value = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (!rapt_mul(*value, 10, value) || !rapt_add(*value, *c->at - '0', value))
            return false;
    return c->at > first;
}

/* (), (3,), (2, 3), (2, 3,) */
static rapt_status take_shape(cursor *c, header *h, const char *name, rapt_error *error)
{
    bool ok = take(c, "(");
    h->ndim = 0;
    while (ok && !take(c, ")")) {
        if (h->ndim == RAPT_MAX_DIMS)
            return rapt_fail(error, RAPT_UNSUPPORTED,
                             "%s: has more dimensions than %d, the most a tensor has", name,
                             RAPT_MAX_DIMS);
        ok = take_integer(c, &h->shape[h->ndim++]);
        if (ok && !take(c, ",")) {
            ok = take(c, ")") && h->ndim > 1;
            break;
        }
    }
    return ok ? RAPT_OK
              : rapt_fail(error, RAPT_IO,
                          "%s: the header's shape is not a tuple of integers that fit", name);
}

static rapt_status take_entry(cursor *c, header *h, const char *name, rapt_error *error)
{
    char key[16];
    bool *seen = NULL;
    if (!take_string(c, key, sizeof key) || !take(c, ":"))
        return rapt_fail(error, RAPT_IO, "%s: the header is not a dictionary of string keys", name);
    if (strcmp(key, "descr") == 0)
        seen = &h->has_descr;
    else if (strcmp(key, "fortran_order") == 0)
        seen = &h->has_order;
    else if (strcmp(key, "shape") == 0)
        seen = &h->has_shape;
    if (!seen || *seen)
        return rapt_fail(error, RAPT_IO, "%s: the header has %s key '%s'", name,
                         seen ? "a second" : "an unknown", key);
    *seen = true;
    if (seen == &h->has_shape)
        return take_shape(c, h, name, error);
    if (seen == &h->has_order) {
        h->fortran = take(c, "True");
        if (!h->fortran && !take(c, "False"))
            return rapt_fail(error, RAPT_IO, "%s: fortran_order is neither True nor False", name);
        return RAPT_OK;
    }
    if (!take_string(c, h->descr, sizeof h->descr))
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s: descr is not the name of a plain type",
                         name);
    return RAPT_OK;
}

static rapt_status parse_header(cursor *c, header *h, const char *name, rapt_error *error)
{
    if (!take(c, "{"))
        return rapt_fail(error, RAPT_IO, "%s: the header is not a dictionary", name);
    while (!take(c, "}")) {
        const rapt_status status = take_entry(c, h, name, error);
        if (status != RAPT_OK)
            return status;
        if (!take(c, ",")) {
            if (!take(c, "}"))
                return rapt_fail(error, RAPT_IO, "%s: the header's dictionary does not end", name);
            break;
        }
    }
    skip_space(c);
    if (c->at != c->end)
        return rapt_fail(error, RAPT_IO, "%s: something follows the header's dictionary", name);
    if (!h->has_descr || !h->has_order || !h->has_shape)
        return rapt_fail(error, RAPT_IO, "%s: the header lacks %s", name,
                         !h->has_descr   ? "descr"
                         : !h->has_order ? "fortran_order"
                                         : "shape");
    return RAPT_OK;
}

static rapt_status find_dtype(const header *h, const char *name, rapt_dtype *dtype,
                              rapt_error *error)
{
    const char *type = h->descr[0] ? h->descr + 1 : "";
    const bool byte = strcmp(type, "u1") == 0 || strcmp(type, "b1") == 0;
    for (int i = 0; i < RAPT_DTYPE_COUNT; i++)
        if (descriptions[i] && strcmp(type, descriptions[i] + 1) == 0 &&
            (h->descr[0] == '<' || (byte && (h->descr[0] == '|' || h->descr[0] == '>')))) {
            *dtype = (rapt_dtype)i;
            return RAPT_OK;
        }
    return rapt_fail(error, RAPT_UNSUPPORTED,
                     "%s: has elements of type '%s', expected <f4, <f2, <f8, <i4, <i8, |u1 or |b1",
                     name, h->descr);
}

/* Finds the header; *data is where the elements begin. */
static rapt_status find_header(const rapt_storage *bytes, const char *name, cursor *c,
                               int64_t *data, rapt_error *error)
{
    const unsigned char *const p = bytes->data;
    if (bytes->bytes < PREFIX || memcmp(p, magic, MAGIC) != 0)
        return rapt_fail(error, RAPT_IO, "%s: is not a .npy file", name);
    const int version = p[6];
    if (version < 1 || version > 3 || p[7] != 0)
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s: is .npy version %d.%d, expected 1.0 to 3.0",
                         name, version, p[7]);
    const int64_t begin = version == 1 ? PREFIX : PREFIX + 2;
    int64_t length = p[8] | p[9] << 8;
    if (version > 1 && bytes->bytes >= begin)
        length |= (int64_t)p[10] << 16 | (int64_t)p[11] << 24;
    if (bytes->bytes < begin || length > bytes->bytes - begin)
        return rapt_fail(error, RAPT_IO, "%s: is truncated in its header of %lld bytes", name,
                         (long long)length);
    *c = (cursor){(const char *)p + begin, (const char *)p + begin + length};
    *data = begin + length;
    return RAPT_OK;
}

rapt_tensor *rapt_npy_parse(rapt_storage *bytes, const char *name, rapt_error *error)
{
    cursor c = {0};
    header h = {0};
    rapt_dtype dtype = RAPT_F32;
    int64_t data = 0, count, strides[RAPT_MAX_DIMS];
    char text[RAPT_SHAPE_TEXT];
    if (find_header(bytes, name, &c, &data, error) != RAPT_OK ||
        parse_header(&c, &h, name, error) != RAPT_OK ||
        find_dtype(&h, name, &dtype, error) != RAPT_OK)
        return NULL;
    rapt_error why;
    if (rapt_shape_count(dtype, h.ndim, h.shape, &count, &why) != RAPT_OK) {
        rapt_fail(error, RAPT_IO, "%s: %s", name, why.message);
        return NULL;
    }
    const int64_t expected = count * (int64_t)rapt_dtype_size(dtype);
    if (bytes->bytes - data != expected) {
        rapt_fail(error, RAPT_IO, "%s: %s of %s takes %lld bytes, %lld follow the header", name,
                  rapt_shape_text(text, h.ndim, h.shape), rapt_dtype_name(dtype),
                  (long long)expected, (long long)(bytes->bytes - data));
        return NULL;
    }
    rapt_contiguous_strides(h.ndim, h.shape, strides);
    if (h.fortran && count > 0)
        for (int32_t i = 0; i < h.ndim; i++)
            strides[i] = i == 0 ? 1 : strides[i - 1] * h.shape[i - 1];
    rapt_tensor *tensor =
        rapt_tensor_from_bytes(bytes, dtype, h.ndim, h.shape, strides, data, &why);
    if (!tensor)
        rapt_fail(error, why.status, "%s: %s", name, why.message);
    return tensor;
}

rapt_tensor *rapt_load_npy(const char *path, rapt_error *error)
{
    rapt_storage *bytes = rapt_storage_map(path, error);
    if (!bytes)
        return NULL;
    rapt_tensor *tensor = rapt_npy_parse(bytes, path, error);
    rapt_storage_release(bytes);
    return tensor;
}

/* A version 1 header, padded so that the elements begin at a multiple of 64. */
static bool write_header(const rapt_tensor *t, rapt_text *text)
{
    enum { ALIGNMENT = 64 };
    rapt_text_add(text, magic, MAGIC);
    rapt_text_add(text, "\1\0\0\0", 4);
    rapt_text_append(text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     descriptions[rapt_tensor_dtype(t)]);
    for (int32_t i = 0; i < t->view.ndim; i++)
        rapt_text_append(text, "%s%" PRId64, i ? ", " : "", t->shape[i]);
    rapt_text_append(text, t->view.ndim == 1 ? ",), }" : "), }");
    while (!text->failed && (text->length + 1) % ALIGNMENT != 0)
        rapt_text_add(text, " ", 1);
    rapt_text_add(text, "\n", 1);
    if (text->failed)
        return false;
    text->data[8] = (char)((text->length - PREFIX) & 0xff);
    text->data[9] = (char)((text->length - PREFIX) >> 8);
    return true;
}

rapt_status rapt_save_npy(const char *path, rapt_tensor *tensor, rapt_error *error)
{
    rapt_error why = {0};
    rapt_text text = {0};
    rapt_writer *writer = NULL;
    if (!path || !*path)
        return rapt_fail(error, RAPT_INVALID, "a file to write needs a name");
    if (!descriptions[rapt_tensor_dtype(tensor)])
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s: %s has no .npy type; save it as f32", path,
                         rapt_dtype_name(rapt_tensor_dtype(tensor)));
    rapt_tensor *packed = rapt_tensor_packed(tensor, &why);
    if (!packed)
        return rapt_fail(error, why.status, "%s: %s", path, why.message);
    if (!write_header(packed, &text))
        rapt_fail_memory(&why, text.length, "a file's header");
    else
        writer = rapt_writer_open(path, &why);
    if (writer) {
        const size_t bytes =
            (size_t)rapt_tensor_count(packed) * rapt_dtype_size(rapt_tensor_dtype(packed));
        if (rapt_writer_put(writer, text.data, text.length, &why) == RAPT_OK &&
            rapt_writer_put(writer, rapt_view_data(&packed->view), bytes, &why) == RAPT_OK)
            rapt_writer_commit(writer, &why);
        else
            rapt_writer_abandon(writer);
    }
    rapt_text_free(&text);
    rapt_tensor_release(packed);
    return why.status == RAPT_OK ? RAPT_OK : rapt_fail(error, why.status, "%s", why.message);
}
