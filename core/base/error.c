#include "base/error.h"
#include <stdio.h>
#include <string.h>

const char *rapt_version(void)
{
    return RAPT_VERSION;
}

const char *rapt_status_name(rapt_status status)
{
    static const char *const names[] = {"ok", "invalid",   "unsupported", "no memory",
                                        "io", "not found", "device lost", "internal"};
    const size_t i = (size_t)status;
    return i < sizeof names / sizeof names[0] ? names[i] : "?";
}

/* Ends a text that was cut in "...", never in the middle of a UTF-8 sequence. */
static void mark_cut(char *text, size_t size)
{
    size_t end = size - 4;
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
        end--;
    memcpy(text + end, "...", 4);
}

/* Names in a message may come from a file; a message is one line whatever they hold. */
static void keep_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

rapt_status rapt_vfail(rapt_error *error, rapt_status status, const char *format, va_list args)
{
    if (!error)
        return status;
    /* Formatted aside, because error->message may be among the arguments. */
    char text[RAPT_ERROR_SIZE];
    const int length = vsnprintf(text, sizeof text, format, args);
    if (length < 0)
        snprintf(text, sizeof text, "%s", rapt_status_name(status));
    else if ((size_t)length >= sizeof text)
        mark_cut(text, sizeof text);
    keep_one_line(text);
    error->status = status;
    memcpy(error->message, text, sizeof text);
    return status;
}

rapt_status rapt_fail(rapt_error *error, rapt_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    rapt_vfail(error, status, format, args);
    va_end(args);
    return status;
}

rapt_status rapt_fail_memory(rapt_error *error, size_t bytes, const char *what)
{
    return rapt_fail(error, RAPT_NO_MEMORY, "out of memory (%zu bytes for %s)", bytes, what);
}

rapt_status rapt_prefix_error(rapt_error *error, const char *format, ...)
{
    if (!error)
        return RAPT_INTERNAL;
    char prefix[RAPT_ERROR_SIZE];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    if (length < 0)
        return error->status;
    return rapt_fail(error, error->status, "%s: %s", prefix, error->message);
}
