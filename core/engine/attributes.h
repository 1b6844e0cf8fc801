/* Attributes as texts: in files, in an operator's example. This room only. */
#ifndef RAPT_ENGINE_ATTRIBUTES_H
#define RAPT_ENGINE_ATTRIBUTES_H

#include "base/text.h"
#include "engine/engine.h"

/* "true", "4", "0.5", "left", "1,-1": numbers with a point, whatever the locale of the process. */
void rapt_attr_print(const rapt_named_value *value, rapt_text *text);
/* The same back; false: `text` is no value of attribute `a`. Texts of the value are the schema's.
 * Bounds are not looked at. */
bool rapt_attr_parse(const rapt_schema *schema, int32_t a, const char *text,
                     rapt_named_value *value);

/* A whole number at *text, which moves behind it. */
bool rapt_int_parse(const char **text, int64_t *value);
/* "1,2,3": 1 to RAPT_MAX_DIMS entries. */
bool rapt_ints_parse(const char *text, int64_t *values, int32_t *count);

/* An entry of a file's metadata; NULL: there is none. */
const char *rapt_file_text(const rapt_file *file, const char *name);

#endif
