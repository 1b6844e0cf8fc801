/* A call of an operator of the score family, forward and backward, beside its definition. */
#ifndef RAPT_TEST_SCORE_CASE_H
#define RAPT_TEST_SCORE_CASE_H

#include "reference_attention.h"

#include <rapt/rapt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct score_case {
    const char *op;
    int64_t B, H, G, N, M, D, E;
    bool causal;
    double scale;          /* 0: the default */
    rapt_dtype dtype;      /* of q, k, v, o */
    rapt_dtype bias_dtype; /* of the bias */
    bool transposed;       /* q, k, v, do lie in memory as B N H D */
    int64_t bias[4];       /* its shape; all 0: none */
    double hidden;         /* share of the bias that is -infinity */
    double magnitude;      /* of the queries; 0: 1 */
    bool lse;              /* ask for it and feed its gradient back */
    uint64_t seed;
    /* options; 0: absent */
    bool windowed, alibi, sink, tau_q, tau_v;
    int64_t window[2];
    double softcap;
    int borders; /* entries of cu_q and cu_k */
    int64_t cu_q[8], cu_k[8];
    rapt_dtype border_type; /* RAPT_I32 or RAPT_I64 */
} score_case;

/* Tolerances relative to the greatest absolute reference value: forward, gradients. */
typedef struct score_tolerance {
    double forward, gradient;
} score_tolerance;

/* What a case of this type must keep. */
score_tolerance score_tolerance_of(rapt_dtype dtype);

/* Does this processor have the level that RAPT_CPU forces? */
bool score_level_there(void);

/* Opens a context with the plugins of the build (RAPT_TEST_PLUGINS). */
rapt_context *score_context(void);

/* Runs forward, backward and weights and compares all with the definition; fails the test with a
 * line that names the case. */
void score_check(rapt_context *context, const score_case *c, score_tolerance tolerance);

/* A tensor of normal numbers times `magnitude`, in `dtype`; `transposed`: of shape (a, b, c, d)
 * with memory in the order (a, c, b, d). The caller's. */
rapt_tensor *score_random(rapt_context *context, const int64_t *shape, rapt_dtype dtype,
                          bool transposed, double magnitude, uint64_t *seed);

/* All elements as doubles, row major; free(). */
double *score_read(rapt_context *context, rapt_tensor *tensor);

/* Greatest difference over the greatest absolute reference; infinities and NaN must match. */
double score_error(const double *got, const double *want, int64_t n, double least_scale);

void score_must(rapt_status status, const rapt_error *error);

#endif
