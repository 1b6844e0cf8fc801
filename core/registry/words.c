/* Dtypes and names, in words. */
#include "base/error.h"
#include "base/text.h"
#include "registry/parts.h"

#include <stdio.h>
#include <string.h>

static const char *const words[] = {"f32", "f16", "bf16", "f64", "i32", "i64", "u8", "bool", "T"};

enum { WORDS = sizeof words / sizeof words[0], NAME_LENGTH = 63 };
_Static_assert(WORDS == RAPT_DTYPE_COUNT + 1, "a word for each dtype, and T");

const char *rapt_dtype_word(rapt_dtype dtype)
{
    return (unsigned)dtype < RAPT_DTYPE_COUNT ? words[dtype]
                                              : "of an element type rapt does not have";
}

char *rapt_dtype_words(uint32_t mask, char text[RAPT_WORDS])
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < WORDS; i++) {
        if (!(mask >> i & 1))
            continue;
        const char *joint = at == 0 ? "" : mask >> i == 1 ? " or " : ", ";
        at += (size_t)snprintf(text + at, RAPT_WORDS - at, "%s%s", joint, words[i]);
    }
    return text;
}

static rapt_status unknown_dtype(const char *word, size_t n, rapt_error *error)
{
    char copy[24], all[RAPT_WORDS];
    snprintf(copy, sizeof copy, "%.*s", (int)n, word);
    const char *near = rapt_nearest(copy, words, WORDS);
    rapt_fail(error, RAPT_INVALID, "unknown dtype \"%s\", expected %s", copy,
              rapt_dtype_words((1u << WORDS) - 1, all));
    if (near)
        rapt_fail(error, RAPT_INVALID, "%s; did you mean \"%s\"?", error->message, near);
    return RAPT_INVALID;
}

rapt_status rapt_dtype_mask(const char *text, uint32_t *mask, rapt_error *error)
{
    *mask = 0;
    for (;; text++) {
        const size_t n = strcspn(text, "|");
        int i = 0;
        while (i < WORDS && (strlen(words[i]) != n || memcmp(words[i], text, n)))
            i++;
        if (i == WORDS)
            return unknown_dtype(text, n, error);
        *mask |= 1u << i;
        text += n;
        if (!*text)
            return RAPT_OK;
    }
}

static bool is_digit_or(char c)
{
    return (c >= '0' && c <= '9') || c == '_';
}

bool rapt_is_dotted_name(const char *name)
{
    bool start = true;
    if (!*name || strnlen(name, NAME_LENGTH + 1) > NAME_LENGTH)
        return false;
    for (; *name; name++) {
        const bool letter = *name >= 'a' && *name <= 'z';
        if (start ? !letter : !letter && !is_digit_or(*name) && *name != '.')
            return false;
        start = *name == '.';
    }
    return !start;
}

bool rapt_is_plain_name(const char *name)
{
    if (!*name || is_digit_or(*name) || strnlen(name, NAME_LENGTH + 1) > NAME_LENGTH)
        return false;
    for (; *name; name++)
        if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
              is_digit_or(*name)))
            return false;
    return true;
}
