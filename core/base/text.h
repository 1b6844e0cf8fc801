/* Growing text, names that are nearly right, shapes in words. */
#ifndef RAPT_BASE_TEXT_H
#define RAPT_BASE_TEXT_H

#include <rapt/rapt.h>
#include <stdarg.h>

/* A string that grows. Start from {0}. After a failed allocation `failed` stays set and further
 * appends do nothing, so that a caller checks once, at the end. */
typedef struct rapt_text {
    char *data; /* zero terminated once something was appended */
    size_t length, capacity;
    bool failed;
} rapt_text;

void rapt_text_append(rapt_text *text, const char *format, ...) RAPT_PRINTF(2, 3);
void rapt_text_add(rapt_text *text, const char *bytes, size_t n);
void rapt_text_free(rapt_text *text);

/* Whether n bytes are well-formed UTF-8: no overlong forms, surrogates, or values past U+10FFFF. */
bool rapt_utf8_valid(const char *bytes, size_t n);

/* The entry of names[0..n) nearest to `name` by edit distance (insert, delete, replace, swap), if
 * it is near enough to be meant; otherwise NULL. NULL entries are passed over. */
const char *rapt_nearest(const char *name, const char *const *names, size_t n);

/* "[2,8,64]" into text, which holds RAPT_SHAPE_TEXT bytes; returns text. */
#define RAPT_SHAPE_TEXT 192
char *rapt_shape_text(char *text, int32_t ndim, const int64_t *shape);

#endif
