/* A name that only rapt itself may give. */
#define SAMPLE_NAME "core.sample"
#include "sample.h"
