/* The thread pool: one for the process, started at the first parallel call. */
#ifndef RAPT_DEVICE_CPU_POOL_H
#define RAPT_DEVICE_CPU_POOL_H

#include <rapt/rapt.h>

/* Number of workers including the calling thread: RAPT_THREADS, or the cores this process may use
 * (its affinity mask and control-group quota). RAPT_INVALID for a RAPT_THREADS that is no number
 * from 1 to 1024. Read once. */
rapt_status rapt_pool_configure(rapt_error *error);
int rapt_pool_workers(void);
/* As host->parallel_for. Nested calls and calls while another thread has the pool run on the
 * caller. */
void rapt_pool_run(int64_t n, int64_t grain, rapt_task task, void *context);

#endif
