/* A small call of any operator, made from its description alone. For self-tests; this room only. */
#ifndef RAPT_ENGINE_PROBE_H
#define RAPT_ENGINE_PROBE_H

#include "engine/engine.h"

typedef enum rapt_probe_size {
    RAPT_PROBE_TILED,  /* 80 rows of 64 features, where the operator has such */
    RAPT_PROBE_WIDE,   /* the example's, but 64 features */
    RAPT_PROBE_EXAMPLE /* as its description says */
} rapt_probe_size;

/* Texts of attributes are the schema's. */
typedef struct rapt_probe {
    rapt_tensor *inputs[RAPT_MAX_ARGS]; /* on the host, floats as f32; NULL: absent */
    rapt_named_value attrs[RAPT_MAX_ATTRS];
    size_t n_attrs;
} rapt_probe;

/* The inputs that a call must have and, of the others, those in the mask `with`. RAPT_INVALID: the
 * description does not say enough. The sizes may be none that the operator takes. */
rapt_status rapt_probe_make(const rapt_schema *schema, uint32_t with, rapt_probe_size size,
                            rapt_probe *probe, rapt_error *error);
void rapt_probe_free(rapt_probe *probe); /* twice is fine */

#endif
