/* A dtype that does not exist. */
#define SAMPLE_DTYPE "f23"
#include "sample.h"
