/* Structs of exactly the sizes that minor version 0 has had. */
#include <rapt/plugin.h>
#include <stddef.h>
#define SAMPLE_SIZE (offsetof(rapt_plugin, fini) + sizeof(void (*)(void)))
#include "sample.h"
