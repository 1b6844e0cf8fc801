/* Made for another major version. */
#define SAMPLE_MAJOR (RAPT_ABI_MAJOR + 1)
#include "sample.h"
