/* The processor's name; level and caches are in services.h. */
#ifndef RAPT_DEVICE_CPU_DETECT_H
#define RAPT_DEVICE_CPU_DETECT_H

#include <stddef.h>

/* Writes the processor's model into `model`, cut to `size` bytes; never empty. */
void rapt_cpu_model(char *model, size_t size);

#endif
