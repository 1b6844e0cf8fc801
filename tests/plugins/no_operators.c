/* A description of nothing. */
#define SAMPLE_N_OPERATORS 0
#include "sample.h"
