/* A call of an operator with any inputs and outputs, forward and backward, as arrays of doubles. */
#ifndef RAPT_TEST_LINEAR_CASE_H
#define RAPT_TEST_LINEAR_CASE_H

#include "score_case.h"

/* How a tensor lies in memory: row major; dimensions 1 and 2 swapped; inside a larger tensor of
 * NaN, with more rows and longer rows. */
typedef enum linear_layout { LINEAR_PLAIN, LINEAR_SWAPPED, LINEAR_INSIDE } linear_layout;

typedef struct linear_argument {
    const char *name;
    rapt_tensor *tensor;
    int64_t count;
    double *value;    /* as stored: rounded to the dtype */
    double *gradient; /* inputs, after the run; NULL: none came */
    rapt_tensor *seed;
    double *seed_value; /* outputs: the gradient fed back */
} linear_argument;

typedef struct linear_call {
    rapt_context *context;
    const char *op;
    char text[256]; /* names the case in failures */
    linear_argument in[12], out[3];
    int n_in, n_out;
    rapt_named_value attrs[6];
    int n_attrs;
    uint64_t seed;
} linear_call;

/* Adds an input of normal numbers: value = low + factor x, or, for `positive`, low + factor |x|.
 * Returns its values. */
double *linear_add(linear_call *call, const char *name, int32_t ndim, const int64_t *shape,
                   rapt_dtype dtype, linear_layout layout, double factor, double low,
                   bool positive);
/* Adds an input with these values. */
double *linear_add_values(linear_call *call, const char *name, int32_t ndim, const int64_t *shape,
                          rapt_dtype dtype, linear_layout layout, const double *values);
void linear_add_borders(linear_call *call, const char *name, int64_t count, const int64_t *borders,
                        rapt_dtype dtype);
void linear_attr(linear_call *call, const char *name, rapt_attr_type type, double value);
/* An output that is wanted. */
void linear_want(linear_call *call, const char *name);

/* Runs forward and, unless `forward_only`, backward of sum over outputs of (output . seed). */
void linear_run(linear_call *call, bool forward_only);
rapt_status linear_try(linear_call *call, rapt_error *error);
linear_argument *linear_find(linear_call *call, const char *name);
/* Fails the test where they differ by more than tolerance of the greatest value. */
void linear_compare(const linear_call *call, const char *what, const double *got,
                    const double *want, int64_t n, double tolerance);
void linear_free(linear_call *call);

#endif
