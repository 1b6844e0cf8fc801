/* States a size that no version has had. */
#define SAMPLE_SIZE 24
#include "sample.h"
