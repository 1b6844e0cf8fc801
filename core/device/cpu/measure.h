/* The machine's rates: rapt_measure_gemm and rapt_measure_copy on the CPU. */
#ifndef RAPT_DEVICE_CPU_MEASURE_H
#define RAPT_DEVICE_CPU_MEASURE_H

#include <rapt/rapt.h>

rapt_status rapt_cpu_measure_gemm(int64_t n, double *gflops, rapt_error *error);
rapt_status rapt_cpu_measure_copy(double *gbytes, rapt_error *error);

#endif
