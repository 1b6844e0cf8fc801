/* Memory of the CPU as a device. */
#ifndef RAPT_DEVICE_CPU_MEMORY_H
#define RAPT_DEVICE_CPU_MEMORY_H

#include <stddef.h>

/* At least `bytes`, 64-byte aligned, not initialised; free() gives it back. NULL: there is none.
 * Large blocks ask the system for huge pages: a fresh block then costs a fault for each 2 MiB, not
 * for each 4 KiB, and long walks through it miss the table of pages less often. */
void *rapt_cpu_memory(size_t bytes);

#endif
