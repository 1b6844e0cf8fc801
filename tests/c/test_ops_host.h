/* Runs built-in operators outside the engine: a host of its own whose number of workers and order
 * of tasks a test chooses, memory with guards, and every layout that the plugin interface promises.
 */
#ifndef RAPT_TESTS_OPS_HOST_H
#define RAPT_TESTS_OPS_HOST_H

#include "reference_ops.h"
#include "registry/loader.h"

/* How inputs lie in memory. */
typedef enum ops_layout {
    OPS_CONTIGUOUS,
    OPS_PADDED,  /* gaps between rows, outer dimensions in reverse order; rows without gaps */
    OPS_REVERSED /* the last dimension has the greatest stride, and every stride a gap */
} ops_layout;

typedef struct ops_options {
    rapt_dtype dtype;
    ops_layout layout;
    int workers; /* more than 1: tasks run in reverse order, on changing workers */
} ops_options;

/*
 * A call in words. inputs: "NAME=SIZES[:KIND]" separated by spaces, sizes by commas, "-" for none;
 * kinds: normal (default), positive, bool, multiples of 1/4 ("grid") or values halfway "between"
 * them, f32 for any compute type, or a label type and its limit ("i32<11"). attrs: "NAME=VALUE"
 * separated by spaces.
 */
typedef struct ops_case {
    const char *op;
    const char *inputs;
    const char *attrs;
} ops_case;

rapt_registry *ops_registry(void); /* with the built-ins; one for the process */
const rapt_host *ops_host(int workers);

/* A call made and its memory. */
typedef struct ops_run ops_run;
/* NULL: the kernel does not take the dtype, or the layout. Fails the test if forward does. */
ops_run *ops_forward(const ops_case *test, ops_options options);
/* The status and message of a call that should fail: nothing may have been written. */
rapt_status ops_failure(const ops_case *test, ops_options options, char *message, size_t size);
/* What inputs of the kind "given" are made of, in order. */
extern const double *ops_given;
/* Gives the label at place i of an input another value, for calls that should fail. */
extern int64_t ops_spoil_at, ops_spoil_value; /* at < 0: off */
void ops_check_forward(ops_run *run, double tolerance);
/* Runs backward and, unless the tolerance is 0, compares with central differences of the reference;
 * false: no backward. */
bool ops_check_backward(ops_run *run, double tolerance);
/* Element i of the output; of the gradient of input `which`. */
double ops_output(const ops_run *run, int64_t i);
double ops_gradient(const ops_run *run, int which, int64_t i);
double ops_input(const ops_run *run, int which, int64_t i);
double ops_output_gradient(const ops_run *run, int64_t i);
uint64_t ops_hash(const ops_run *run); /* of all that was written */
const rapt_schema *ops_schema(const ops_run *run);
void ops_free(ops_run *run);

#endif
