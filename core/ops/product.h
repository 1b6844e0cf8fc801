/* Batched matrix products over any strides: what matmul's forward and backward come down to. */
#ifndef RAPT_OPS_PRODUCT_H
#define RAPT_OPS_PRODUCT_H

#include "ops/common.h"

/* A matrix in memory, and the same one in each product of a batch. */
typedef struct rapt_matrix {
    char *data;            /* NULL where the host cannot follow the view's data */
    const rapt_view *view; /* that it is of */
    rapt_dtype dtype;
    int64_t row, column;          /* elements between neighbours of a column, of a row */
    int64_t batch[RAPT_MAX_DIMS]; /* elements between products, along each batch dimension */
} rapt_matrix;

/*
 * C[m x n] = sum over k of A[m x k] B[k x n], for each index of the batch dimensions. Where C has
 * stride 0 along one of them, the products are summed along it, in order. C is row major within its
 * matrices, or column major.
 */
typedef struct rapt_product {
    int64_t m, n, k;
    int32_t n_batch;
    int64_t batch[RAPT_MAX_DIMS];
    rapt_matrix a, b, c;
} rapt_product;

/* f32: straight through rapt.gemm, with a copy only of a matrix that has no unit stride. f16, bf16:
 * blocks converted to float32, float32 sums. f64: plain loops. Changes `product` as it simplifies
 * it. */
rapt_status rapt_product_run(rapt_call *call, rapt_product *product);
/* Bytes of workspace that it needs on a Vulkan device. */
size_t rapt_product_workspace(rapt_product product);

#endif
