/* What the description of agent and its kernels share. */
#ifndef RAPT_AGENT_H
#define RAPT_AGENT_H

#include <rapt/plugin.h>

enum {
    AGENT_Q,
    AGENT_K,
    AGENT_V,
    AGENT_AGENTS,
    AGENT_AGENT_BIAS,
    AGENT_QUERY_BIAS,
    AGENT_DWC_WEIGHT,
    AGENT_DWC_BIAS,
    AGENT_SINK,
    AGENT_BORDERS_Q,
    AGENT_BORDERS_K,
    AGENT_INPUTS
};
enum { AGENT_N_AGENTS, AGENT_GRID, AGENT_SCALE, AGENT_SOFTCAP };
/* What forward leaves to backward. */
enum {
    AGENT_POOLED,
    AGENT_GATHERED,
    AGENT_GATHER_REFERENCE,
    AGENT_GATHER_SUM,
    AGENT_HAND_OUT_REFERENCE,
    AGENT_HAND_OUT_SUM,
    AGENT_SAVED
};

rapt_status agent_supports(rapt_call *call);
rapt_status agent_cpu_forward(rapt_call *call);
rapt_status agent_cpu_backward(rapt_call *call);
rapt_status agent_cpu_weights(rapt_call *call);

rapt_status agent_vulkan_supports(rapt_call *call);
rapt_status agent_vulkan_coopmat_supports(rapt_call *call);
size_t agent_vulkan_workspace(rapt_call *call);
rapt_status agent_vulkan_forward(rapt_call *call);
rapt_status agent_vulkan_backward(rapt_call *call);
rapt_status agent_vulkan_weights(rapt_call *call);

#endif
