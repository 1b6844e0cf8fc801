/* What the description of flow and its kernels share. */
#ifndef RAPT_FLOW_H
#define RAPT_FLOW_H

#include "kit/linear_describe.h"
#include <rapt/plugin.h>

enum { FLOW_Q, FLOW_K, FLOW_V, FLOW_BORDERS_Q, FLOW_BORDERS_K, FLOW_STATE, FLOW_SUMS };
enum { FLOW_O, FLOW_FINAL_STATE, FLOW_FINAL_SUMS };
enum { FLOW_CAUSAL, FLOW_EPS, FLOW_CLAMP };

/* Rows of the state `sums` of a head, D numbers each. Of the last two only the first number counts.
 */
enum {
    FLOW_SUM_K,      /* sum of sigmoid(k) */
    FLOW_SUM_Q,      /* sum of sigmoid(q) */
    FLOW_SUM_OUT,    /* sum of out k */
    FLOW_SUM_IN,     /* sum of inc q */
    FLOW_SUM_EXP,    /* sum of exp(cr) */
    FLOW_SUM_LENGTH, /* positions so far */
    FLOW_SUM_ROWS
};

rapt_status flow_supports(rapt_call *call);
RAPT_LINEAR_DECLARE(flow);

#endif
