/* A kernel without its function. */
#define SAMPLE_FORWARD NULL
#include "sample.h"
