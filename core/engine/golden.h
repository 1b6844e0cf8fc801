/* What a call gives, and what a file says that it gives. For self-tests; this room only. */
#ifndef RAPT_ENGINE_GOLDEN_H
#define RAPT_ENGINE_GOLDEN_H

#include "engine/probe.h"

enum { RAPT_OUTCOME_OUTPUT, RAPT_OUTCOME_GRADIENT, RAPT_OUTCOME_MUTATED, RAPT_OUTCOME_KINDS };

/* By kind and the argument's place, on the host as f64; NULL: nothing. */
typedef struct rapt_outcome {
    rapt_tensor *at[RAPT_OUTCOME_KINDS][RAPT_MAX_ARGS];
} rapt_outcome;

void rapt_outcome_free(rapt_outcome *outcome); /* twice is fine */

typedef struct rapt_golden {
    rapt_probe probe;
    rapt_tensor *seed; /* the gradient of the first output, f32 on the host; NULL: no backward */
    rapt_outcome want;
} rapt_golden;

/*
 * Reads FOLDER/OPERATOR.golden.safetensors, FOLDER being that of `plugin`, the plugin's file:
 * tensors by the names of the operator's inputs and outputs, "d" and such a name for gradients,
 * which need the first output's. Metadata: "op", the operator, and "attrs", a JSON object.
 * RAPT_NOT_FOUND: there is no such file. Other errors name the file and what is wrong with it; that
 * the operator takes the inputs and the shapes of results are not looked at.
 */
rapt_status rapt_golden_load(const rapt_schema *schema, const char *plugin, rapt_golden *golden,
                             rapt_error *error);
void rapt_golden_free(rapt_golden *golden); /* twice is fine */

#endif
