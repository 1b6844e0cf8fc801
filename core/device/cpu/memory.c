/* Memory of the CPU as a device: aligned, in huge pages where it is large. */
#include "device/cpu/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LINE          ((size_t)64)
#define HUGE_PAGE     ((size_t)2 << 20)
#define LEAST_OF_HUGE (2 * HUGE_PAGE)

void *rapt_cpu_memory(size_t bytes)
{
    void *memory = NULL;
    const size_t alignment = bytes >= LEAST_OF_HUGE ? HUGE_PAGE : LINE;
    if (bytes > SIZE_MAX - LINE)
        return NULL;
    if (posix_memalign(&memory, alignment, (bytes + LINE - 1) / LINE * LINE) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    /* Whole pages alone, so that none takes more than was asked for. A system without them refuses,
     * which changes nothing but speed. */
    if (alignment == HUGE_PAGE)
        (void)madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return memory;
}
