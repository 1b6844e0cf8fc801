/* An operator without a name. */
#define SAMPLE_NAME ""
#include "sample.h"
