/* A default outside of its bounds. */
#define SAMPLE_DEFAULT "11"
#include "sample.h"
