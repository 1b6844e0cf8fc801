/* Plain double-precision definitions of the built-in operators, for tests: contiguous, forward
 * only, no thought of speed. */
#ifndef RAPT_TESTS_REFERENCE_OPS_H
#define RAPT_TESTS_REFERENCE_OPS_H

#include <rapt/plugin.h>
#include <stdbool.h>

typedef struct reference_tensor {
    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
    int64_t count;
    double *x; /* row major; NULL: absent */
} reference_tensor;

#define REFERENCE_MOST 8

typedef struct reference_call {
    const rapt_operator *op;
    reference_tensor in[REFERENCE_MOST];
    reference_tensor out; /* x is allocated by reference_run, freed by its caller */
    const rapt_value *attrs;
} reference_call;

/* false: there is no definition for call->op->name. Mutating operators change `in`. */
bool reference_run(reference_call *call);
const rapt_value *reference_attr(const reference_call *call, const char *name);

#endif
