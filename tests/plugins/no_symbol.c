/* Exports its description under another name. */
#define SAMPLE_SYMBOL rapt_plugin_v0
#include "sample.h"
