/* Whole numbers that name rows or classes: token ids, labels. */
#ifndef RAPT_OPS_LABELS_H
#define RAPT_OPS_LABELS_H

#include "ops/common.h"

/* Any of i32, i64, u8, any strides; read in row-major order. */
typedef struct rapt_labels {
    rapt_walk walk;
    int64_t count;
} rapt_labels;

void rapt_labels_begin(rapt_labels *labels, const rapt_call *call, const rapt_view *view);
int64_t rapt_label(const rapt_labels *labels, int64_t i); /* [task] */
/* Every label must be 0 <= label < limit, or `*ignored` (unless NULL). The error names the
 * argument, the position and the value. */
rapt_status rapt_labels_check(rapt_call *call, const rapt_labels *labels, const rapt_view *view,
                              const char *name, int64_t limit, const int64_t *ignored);

#endif
