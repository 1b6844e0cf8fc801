/* A spec that does not parse. */
#define SAMPLE_SPEC "x: B (N"
#include "sample.h"
