/* What the description of lightning and its kernels share. */
#ifndef RAPT_LIGHTNING_H
#define RAPT_LIGHTNING_H

#include "kit/linear_describe.h"
#include <rapt/plugin.h>

enum { LIGHTNING_Q, LIGHTNING_K, LIGHTNING_V, LIGHTNING_SLOPE, LIGHTNING_BORDERS, LIGHTNING_STATE };
enum { LIGHTNING_O, LIGHTNING_FINAL };

rapt_status lightning_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims);
rapt_status lightning_cpu_forward(rapt_call *call);
rapt_status lightning_cpu_backward(rapt_call *call);
rapt_status lightning_cpu_step(rapt_call *call);

rapt_status lightning_vulkan_supports(rapt_call *call);
size_t lightning_vulkan_workspace(rapt_call *call);
rapt_status lightning_vulkan_forward(rapt_call *call);
rapt_status lightning_vulkan_backward(rapt_call *call);
rapt_status lightning_vulkan_step(rapt_call *call);

#endif
