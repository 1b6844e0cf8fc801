/* What the description of mta and its kernels share. */
#ifndef RAPT_MTA_H
#define RAPT_MTA_H

#include "kit/score_options.h"
#include <rapt/plugin.h>

enum {
    MTA_Q,
    MTA_K,
    MTA_V,
    MTA_QK_KERNEL,
    MTA_QK_KERNEL_POST,
    MTA_HEAD_KERNEL,
    MTA_BIAS,
    MTA_ALIBI,
    MTA_SINK,
    MTA_BORDERS_Q,
    MTA_BORDERS_K,
    MTA_INPUTS
};
enum { MTA_O, MTA_LSE };
enum { MTA_CAUSAL, MTA_SCALE, MTA_WINDOW, MTA_SOFTCAP };

rapt_status mta_cpu_forward(rapt_call *call);
rapt_status mta_cpu_backward(rapt_call *call);
rapt_status mta_cpu_step(rapt_call *call);
rapt_status mta_cpu_weights(rapt_call *call);

rapt_status mta_vulkan_supports(rapt_call *call);
rapt_status mta_vulkan_coopmat_supports(rapt_call *call);
size_t mta_vulkan_workspace(rapt_call *call);
rapt_status mta_vulkan_forward(rapt_call *call);
rapt_status mta_vulkan_backward(rapt_call *call);
rapt_status mta_vulkan_step(rapt_call *call);
rapt_status mta_vulkan_weights(rapt_call *call);

#endif
