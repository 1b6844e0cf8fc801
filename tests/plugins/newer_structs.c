/* An author with a later minor version, who needs none of it: every struct is longer than the host
 * knows, and what lies beyond holds anything. */
#define SAMPLE_NO_PLUGIN
#define SAMPLE_OPERATORS unused
#include "sample.h"

#define LATER                                                                                      \
    {                                                                                              \
        -1, -1, -1                                                                                 \
    }

static const struct later_arg {
    rapt_arg now;
    int64_t later[3];
} later_inputs[] = {
    {{sizeof(struct later_arg), 0, "x: B N", NULL, RAPT_ARGUMENT, NULL, NULL, NULL}, LATER},
    {{sizeof(struct later_arg), RAPT_OPTIONAL, "w: N", NULL, RAPT_ARGUMENT, NULL, NULL, NULL},
     LATER},
};

static const struct later_kernel {
    rapt_kernel now;
    int64_t later[3];
} later_kernels[] = {
    {{.size = sizeof(struct later_kernel),
      .name = "cpu",
      .device = "cpu",
      .dtypes = RAPT_DTYPE_BIT(RAPT_F32),
      .saved = &later_inputs[0].now,
      .n_saved = 2,
      .forward = forward},
     LATER},
    {{.size = sizeof(struct later_kernel),
      .name = "cpu.slow",
      .device = "cpu",
      .dtypes = RAPT_DTYPE_BIT(RAPT_F32),
      .priority = -1,
      .forward = forward},
     LATER},
};

static const struct later_operator {
    rapt_operator now;
    int64_t later[3];
} later_operators[] = {
    {{.size = sizeof(struct later_operator),
      .name = "test.newer",
      .doc = "Multiplies by a factor.",
      .inputs = &later_inputs[0].now,
      .n_inputs = 2,
      .outputs = outputs,
      .n_outputs = 1,
      .attrs = attrs,
      .n_attrs = 1,
      .kernels = &later_kernels[0].now,
      .n_kernels = 2},
     LATER},
    {{.size = sizeof(struct later_operator),
      .name = "test.newer.second",
      .doc = "Multiplies by a factor.",
      .inputs = &later_inputs[0].now,
      .n_inputs = 1,
      .outputs = outputs,
      .n_outputs = 1,
      .attrs = attrs,
      .n_attrs = 1,
      .kernels = kernels,
      .n_kernels = 1},
     LATER},
};

typedef struct later_plugin {
    rapt_plugin now;
    int64_t later[3];
} later_plugin;

RAPT_PLUGIN_EXPORT const later_plugin rapt_plugin_v1 = {{.size = sizeof(later_plugin),
                                                         .abi_major = RAPT_ABI_MAJOR,
                                                         .abi_minor = 0,
                                                         .name = "newer",
                                                         .operators = &later_operators[0].now,
                                                         .n_operators = 2},
                                                        LATER};
