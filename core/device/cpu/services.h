/* The CPU's services (rapt/plugin.h): level, gemm, math. */
#ifndef RAPT_DEVICE_CPU_SERVICES_H
#define RAPT_DEVICE_CPU_SERVICES_H

#include <rapt/rapt.h>

/* Reads RAPT_CPU ("avx512", "avx2", "neon", "portable") and the processor; an unknown name or a
 * level that the processor lacks is RAPT_INVALID. */
rapt_status rapt_cpu_detect(rapt_error *error);
const char *rapt_cpu_level_name(rapt_cpu_level level);

extern const rapt_gemm_service rapt_gemm_table;
const rapt_cpu_service *rapt_cpu_table(void);
const rapt_math_service *rapt_math_select(void); /* for the level in use */

/* gemm without a call: what the service does, errors into `error`. */
rapt_status rapt_gemm_run(const rapt_gemm *gemm, rapt_error *error);
/* Which libraries serve: "OpenBLAS when first used, libxsmm 1.17, SLEEF 3.5.1"; loads nothing. Once
 * OpenBLAS is loaded its version, kernels and file are named; once libxsmm refused shapes their
 * number is. `text` holds `size` bytes. */
void rapt_gemm_describe(char *text, size_t size);

#endif
