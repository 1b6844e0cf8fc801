/* The first operator is right and the second is not: neither may be registered. */
#define SAMPLE_N_OPERATORS 2
#define SAMPLE_SECOND_NAME "Second"
#include "sample.h"
