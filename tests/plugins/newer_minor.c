/* Needs a minor version that does not exist yet. */
#define SAMPLE_MINOR (RAPT_ABI_MINOR + 1)
#include "sample.h"
