#include "base/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `extra` more bytes and the final zero. */
static bool reserve(rapt_text *text, size_t extra)
{
    if (text->failed)
        return false;
    if (extra < text->capacity - text->length)
        return true;
    size_t need, twice;
    if (__builtin_add_overflow(text->length, extra, &need) ||
        __builtin_add_overflow(need, (size_t)1, &need)) {
        text->failed = true;
        return false;
    }
    if (__builtin_mul_overflow(text->capacity, (size_t)2, &twice) || twice < need)
        twice = need < 64 ? 64 : need;
    char *data = realloc(text->data, twice);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = twice;
    return true;
}

void rapt_text_add(rapt_text *text, const char *bytes, size_t n)
{
    if (!reserve(text, n))
        return;
    if (n > 0)
        memcpy(text->data + text->length, bytes, n);
    text->length += n;
    text->data[text->length] = 0;
}

void rapt_text_append(rapt_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        text->failed = true;
        return;
    }
    if (!reserve(text, (size_t)n))
        return;
    va_start(args, format);
    vsnprintf(text->data + text->length, (size_t)n + 1, format, args);
    va_end(args);
    text->length += (size_t)n;
}

void rapt_text_free(rapt_text *text)
{
    free(text->data);
    *text = (rapt_text){0};
}

/* Names longer than this are never offered. */
enum { NEAREST_LENGTH = 64 };

/* Edits that turn `a` into `b`: insert, delete, replace, swap of neighbours, where no part is
 * edited twice (optimal string alignment). */
static int edit_distance(const char *a, int n, const char *b, int m)
{
    int rows[3][NEAREST_LENGTH + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= m; j++)
        above[j] = j;
    for (int i = 1; i <= n; i++) {
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int least = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < least)
                least = above[j] + 1;
            if (row[j - 1] + 1 < least)
                least = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < least)
                least = before[j - 2] + 1;
            row[j] = least;
        }
        int *const oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[m];
}

const char *rapt_nearest(const char *name, const char *const *names, size_t n)
{
    const size_t length = name ? strnlen(name, NEAREST_LENGTH + 1) : 0;
    const char *best = NULL;
    int best_distance = NEAREST_LENGTH;
    if (length == 0 || length > NEAREST_LENGTH)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const size_t other = names[i] ? strnlen(names[i], NEAREST_LENGTH + 1) : 0;
        if (other == 0 || other > NEAREST_LENGTH)
            continue;
        const int distance = edit_distance(name, (int)length, names[i], (int)other);
        /* A third of the longer name may be wrong; of two letters, one. */
        const int longer = (int)(length > other ? length : other);
        const int limit = longer == 2 ? 1 : longer / 3;
        if (distance <= limit && distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

char *rapt_shape_text(char *text, int32_t ndim, const int64_t *shape)
{
    size_t at = 0;
    text[at++] = '[';
    for (int32_t i = 0; i < ndim && i < RAPT_MAX_DIMS; i++)
        at +=
            (size_t)snprintf(text + at, RAPT_SHAPE_TEXT - at, "%s%" PRId64, i ? "," : "", shape[i]);
    snprintf(text + at, RAPT_SHAPE_TEXT - at, "%s]", ndim > RAPT_MAX_DIMS ? ",..." : "");
    return text;
}

bool rapt_utf8_valid(const char *bytes, size_t n)
{
    /* The least value that needs 2, 3 or 4 bytes. */
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < n;) {
        const unsigned char lead = (unsigned char)bytes[i];
        const size_t length = lead < 0x80             ? 1
                              : (lead & 0xe0) == 0xc0 ? 2
                              : (lead & 0xf0) == 0xe0 ? 3
                              : (lead & 0xf8) == 0xf0 ? 4
                                                      : 0;
        if (length == 0 || length > n - i)
            return false;
        uint32_t value = length == 1 ? lead : lead & (0xffu >> (length + 1));
        for (size_t k = 1; k < length; k++) {
            const unsigned char next = (unsigned char)bytes[i + k];
            if ((next & 0xc0) != 0x80)
                return false;
            value = value << 6 | (next & 0x3f);
        }
        if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
            return false;
        i += length;
    }
    return true;
}
