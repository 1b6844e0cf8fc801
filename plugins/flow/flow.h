/* What the description of flow and its kernels share. */
#ifndef RAPT_FLOW_H
#define RAPT_FLOW_H

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

rapt_status flow_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims);
rapt_status flow_supports(rapt_call *call);
rapt_status flow_cpu_forward(rapt_call *call);
rapt_status flow_cpu_backward(rapt_call *call);
rapt_status flow_cpu_step(rapt_call *call);

rapt_status flow_vulkan_supports(rapt_call *call);
size_t flow_vulkan_workspace(rapt_call *call);
rapt_status flow_vulkan_forward(rapt_call *call);
rapt_status flow_vulkan_backward(rapt_call *call);
rapt_status flow_vulkan_step(rapt_call *call);

#endif
