/* What the description of log_linear and its kernels share. */
#ifndef RAPT_LOG_LINEAR_H
#define RAPT_LOG_LINEAR_H

#include "kit/linear_describe.h"
#include <rapt/plugin.h>

enum {
    LOG_LINEAR_Q,
    LOG_LINEAR_K,
    LOG_LINEAR_V,
    LOG_LINEAR_G,
    LOG_LINEAR_L,
    LOG_LINEAR_BORDERS,
    LOG_LINEAR_STATE
};
enum { LOG_LINEAR_O, LOG_LINEAR_FINAL };
enum { LOG_LINEAR_SCALE, LOG_LINEAR_POSITION };

rapt_status log_linear_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims);
rapt_status log_linear_cpu_forward(rapt_call *call);
rapt_status log_linear_cpu_backward(rapt_call *call);
rapt_status log_linear_cpu_step(rapt_call *call);

rapt_status log_linear_vulkan_supports(rapt_call *call);
size_t log_linear_vulkan_workspace(rapt_call *call);
rapt_status log_linear_vulkan_forward(rapt_call *call);
rapt_status log_linear_vulkan_backward(rapt_call *call);
rapt_status log_linear_vulkan_step(rapt_call *call);

#endif
