/* OpenBLAS, opened when first needed. */
#ifndef RAPT_DEVICE_CPU_BLAS_H
#define RAPT_DEVICE_CPU_BLAS_H

#include <rapt/rapt.h>

enum { BLAS_ROW_MAJOR = 101, BLAS_NO_TRANS = 111, BLAS_TRANS = 112 };

/* CBLAS with 32-bit integers, as Debian builds it. */
typedef struct rapt_blas {
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
    void (*sgemv)(int order, int trans, int m, int n, float alpha, const float *a, int lda,
                  const float *x, int incx, float beta, float *y, int incy);
    void (*set_num_threads)(int threads);
} rapt_blas;

/* The library with one thread to a call; NULL where it is missing (RAPT_UNSUPPORTED)
 * or its buffers cannot be had (RAPT_NO_MEMORY). The first
 * call must not come from two threads that also change the environment. */
const rapt_blas *rapt_blas_load(rapt_error *error);
/* "OpenBLAS 0.3.21 (SkylakeX, /usr/lib/...)" when it was loaded; otherwise false. */
bool rapt_blas_describe(char *text, size_t size);

#endif
