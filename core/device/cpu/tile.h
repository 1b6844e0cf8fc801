/* Products of small fixed sizes: JIT code where libxsmm gives it, vector code otherwise. */
#ifndef RAPT_DEVICE_CPU_TILE_H
#define RAPT_DEVICE_CPU_TILE_H

#include <rapt/plugin.h>

/* As rapt_gemm_service.tile. */
rapt_tile rapt_tile_get(int32_t m, int32_t n, int32_t k, int32_t lda, int32_t ldb, int32_t ldc,
                        int32_t accumulate);
/* "libxsmm 1.17" with the number of shapes that it refused, or that it is not in use. */
void rapt_tile_describe(char *text, size_t size);

#endif
