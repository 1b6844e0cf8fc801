/* One row of elements from dtype to dtype: the inner loops of rapt_view_copy. */
#ifndef RAPT_TENSOR_ROWS_H
#define RAPT_TENSOR_ROWS_H

#include <rapt/tensor.h>

/* target[i * target_stride] = source[i * source_stride] for i in [0, n). Strides count elements of
 * their own dtype. Both dtypes are valid; the rows do not overlap. Integers and bools stay exact
 * where they fit, and saturate; to bool is != 0; float to integer truncates; NaN becomes 0. */
void rapt_row_copy(void *target, rapt_dtype target_dtype, int64_t target_stride, const void *source,
                   rapt_dtype source_dtype, int64_t source_stride, int64_t n);

#endif
