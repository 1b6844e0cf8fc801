/* A case of mta: random inputs, a run, and its comparison with the definition in double. */
#ifndef RAPT_TEST_MTA_CASE_H
#define RAPT_TEST_MTA_CASE_H

#include "linear_case.h"
#include "reference_mta.h"

typedef struct mta_case {
    int64_t B, H, G, N, M, D, E;
    bool full;
    double scale;       /* 0: the default */
    int64_t a, b;       /* qk_kernel; 0: none */
    int64_t r, s;       /* qk_kernel_post */
    int64_t c;          /* head_kernel */
    rapt_dtype dtype;   /* of q, k, v, o */
    rapt_dtype kernels; /* of the kernels */
    linear_layout layout;
    double magnitude; /* of the queries; 0: 1 */
    unsigned options; /* bits of OPTION_* */
} mta_case;

enum { OPTION_BIAS, OPTION_ALIBI, OPTION_SINK, OPTION_SOFTCAP, OPTION_WINDOW, OPTION_LSE, OPTIONS };
enum { Q, K, V, QK, POST, HEADS, BIAS, ALIBI, SINK, INPUTS };
enum { OUTPUT = INPUTS, WEIGHTS, LSE, RESULTS };

extern rapt_context *mta_context; /* to be opened by the test */
extern const char *const mta_names[INPUTS];

/* Random inputs of a case; ends with linear_free. */
void mta_start(linear_call *call, const mta_case *c);

/* `want` has the gradients of the inputs, o, the weights and lse, to be freed each. */
void mta_define(linear_call *call, const mta_case *c, double **want);

/* Fails unless the greatest difference is within `tolerance` of the greatest value. */
void mta_compare(const linear_call *call, const char *what, const double *got, const double *want,
                 int64_t n, double tolerance);

/* Forward, backward and weights of a case against the definition. */
void mta_check(const mta_case *c);

#endif
