/*
 * kit/rows.h - the rows of a tensor, as the chunked drivers take them.
 */
#ifndef RAPT_KIT_ROWS_H
#define RAPT_KIT_ROWS_H

#include <rapt/plugin.h>

/* The rows of a tensor [B, H, N, width] or [B, H, N] (width 1), f32, f16 or bf16. Strides count
 * elements. data NULL: the tensor is absent. */
typedef enum rapt_feature { RAPT_FEATURE_IDENTITY = 0, RAPT_FEATURE_SIGMOID = 1 } rapt_feature;

typedef struct rapt_rows {
    char *data;
    rapt_dtype dtype;
    int64_t batch, head, row, width;
    /* What the driver computes with, when it loads: factor * feature(row). `factor` is NULL or
     * one number for each row, [B, H, N] contiguous over `heads` and `length`. */
    rapt_feature feature;
    const float *factor;
    int64_t heads, length;
} rapt_rows;

/* What a view says, as rows; absent for NULL. */
static inline rapt_rows rapt_rows_of(const rapt_view *view)
{
    rapt_rows rows = {0};
    if (!view)
        return rows;
    rows.data = (char *)rapt_view_data(view);
    rows.dtype = rapt_view_dtype(view);
    rows.batch = view->strides[0];
    rows.head = view->strides[1];
    rows.row = view->strides[2];
    rows.width = view->ndim > 3 ? view->shape[3] : 1;
    return rows;
}

/* The first element of a row. */
static inline char *rapt_row_at(const rapt_rows *rows, int64_t batch, int64_t head, int64_t row)
{
    return rows->data + (batch * rows->batch + head * rows->head + row * rows->row) *
                            (int64_t)rapt_dtype_size(rows->dtype);
}

#endif
