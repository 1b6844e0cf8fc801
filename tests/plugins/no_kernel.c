/* An operator that nothing computes. */
#define SAMPLE_N_KERNELS 0
#include "sample.h"
