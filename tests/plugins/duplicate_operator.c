/* Two operators of one name. */
#define SAMPLE_N_OPERATORS 2
#define SAMPLE_SECOND_NAME "test.sample"
#include "sample.h"
