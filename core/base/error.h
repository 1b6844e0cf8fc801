/* Error texts: the one way in which a room fills a rapt_error. */
#ifndef RAPT_BASE_ERROR_H
#define RAPT_BASE_ERROR_H

#include <rapt/rapt.h>
#include <stdarg.h>

/* Writes status and text into `error` (NULL is fine) and returns `status`. Text too long for the
 * buffer ends in "...". A call may pass error->message as an argument. */
rapt_status rapt_fail(rapt_error *error, rapt_status status, const char *format, ...)
    RAPT_PRINTF(3, 4);
rapt_status rapt_vfail(rapt_error *error, rapt_status status, const char *format, va_list args);
/* "out of memory (N bytes for WHAT)" and RAPT_NO_MEMORY. */
rapt_status rapt_fail_memory(rapt_error *error, size_t bytes, const char *what);
/* Puts "prefix: " in front of the text that is there. Returns the status. */
rapt_status rapt_prefix_error(rapt_error *error, const char *format, ...) RAPT_PRINTF(2, 3);

#endif
