/* Views of a tensor: the same storage under another shape and other strides. */
#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <string.h>

/* Messages count dimensions and positions from 1. */
static long long ordinal(int64_t i)
{
    return i < INT64_MAX ? (long long)i + 1 : (long long)i;
}

/* `dim` from the front; -1 with a message if the tensor has no such dimension. */
static int32_t find_dim(const char *what, const rapt_tensor *t, int32_t dim, rapt_error *error)
{
    char text[RAPT_SHAPE_TEXT];
    const int32_t n = t->view.ndim;
    if (dim >= -n && dim < n)
        return dim < 0 ? dim + n : dim;
    rapt_fail(error, RAPT_INVALID, "%s: there is no dim %lld in a tensor %s with %d dimension%s",
              what, dim < 0 ? (long long)dim : ordinal(dim), rapt_shape_text(text, n, t->shape),
              (int)n, n == 1 ? "" : "s");
    return -1;
}

static rapt_tensor *with(rapt_tensor *t, int32_t ndim, const int64_t *shape, const int64_t *strides,
                         int64_t skipped_elements, rapt_error *error)
{
    const int64_t itemsize = (int64_t)rapt_dtype_size(rapt_tensor_dtype(t));
    return rapt_tensor_over(t->storage, rapt_tensor_dtype(t), ndim, shape, strides,
                            (int64_t)t->view.byte_offset + skipped_elements * itemsize, error);
}

rapt_tensor *rapt_view_select(rapt_tensor *t, int32_t dim, int64_t index, rapt_error *error)
{
    char text[RAPT_SHAPE_TEXT];
    const int32_t n = t->view.ndim, d = find_dim("select", t, dim, error);
    if (d < 0)
        return NULL;
    if (index < 0 || index >= t->shape[d]) {
        rapt_fail(error, RAPT_INVALID,
                  "select: position %lld of dim %d, which has 1 to %" PRId64 ", in a tensor %s",
                  ordinal(index), (int)d + 1, t->shape[d], rapt_shape_text(text, n, t->shape));
        return NULL;
    }
    int64_t shape[RAPT_MAX_DIMS], strides[RAPT_MAX_DIMS];
    for (int32_t i = 0; i < n - 1; i++) {
        shape[i] = t->shape[i < d ? i : i + 1];
        strides[i] = t->strides[i < d ? i : i + 1];
    }
    const int64_t skipped = rapt_tensor_count(t) > 0 ? index * t->strides[d] : 0;
    return with(t, n - 1, shape, strides, skipped, error);
}

rapt_tensor *rapt_view_narrow(rapt_tensor *t, int32_t dim, int64_t start, int64_t length,
                              rapt_error *error)
{
    char text[RAPT_SHAPE_TEXT];
    const int32_t n = t->view.ndim, d = find_dim("narrow", t, dim, error);
    if (d < 0)
        return NULL;
    if (start < 0 || length < 0 || start > t->shape[d] || length > t->shape[d] - start) {
        rapt_fail(error, RAPT_INVALID,
                  "narrow: %" PRId64 " positions from position %lld of dim %d, which has %" PRId64
                  ", in a tensor %s",
                  length, ordinal(start), (int)d + 1, t->shape[d],
                  rapt_shape_text(text, n, t->shape));
        return NULL;
    }
    int64_t shape[RAPT_MAX_DIMS];
    memcpy(shape, t->shape, sizeof shape);
    shape[d] = length;
    const bool empty = length == 0 || rapt_tensor_count(t) == 0;
    return with(t, n, shape, t->strides, empty ? 0 : start * t->strides[d], error);
}

rapt_tensor *rapt_view_transpose(rapt_tensor *t, int32_t a, int32_t b, rapt_error *error)
{
    const int32_t n = t->view.ndim;
    const int32_t i = find_dim("transpose", t, a, error);
    const int32_t j = i < 0 ? -1 : find_dim("transpose", t, b, error);
    if (j < 0)
        return NULL;
    int32_t order[RAPT_MAX_DIMS];
    for (int32_t d = 0; d < n; d++)
        order[d] = d == i ? j : d == j ? i : d;
    return rapt_view_permute(t, n, order, error);
}

rapt_tensor *rapt_view_permute(rapt_tensor *t, int32_t ndim, const int32_t *order,
                               rapt_error *error)
{
    char text[RAPT_SHAPE_TEXT];
    const int32_t n = t->view.ndim;
    if (ndim != n) {
        rapt_fail(error, RAPT_INVALID,
                  "permute: an order of %d dimensions was given for a tensor %s with %d", (int)ndim,
                  rapt_shape_text(text, n, t->shape), (int)n);
        return NULL;
    }
    int64_t shape[RAPT_MAX_DIMS], strides[RAPT_MAX_DIMS];
    unsigned seen = 0;
    for (int32_t i = 0; i < n; i++) {
        const int32_t d = find_dim("permute", t, order[i], error);
        if (d < 0)
            return NULL;
        if (seen & (1u << d)) {
            rapt_fail(error, RAPT_INVALID,
                      "permute: the order names dim %d twice, expected each of the %d dimensions "
                      "of %s once",
                      (int)d + 1, (int)n, rapt_shape_text(text, n, t->shape));
            return NULL;
        }
        seen |= 1u << d;
        shape[i] = t->shape[d];
        strides[i] = t->strides[d];
    }
    return with(t, n, shape, strides, 0, error);
}

rapt_tensor *rapt_view_expand(rapt_tensor *t, int32_t ndim, const int64_t *shape, rapt_error *error)
{
    char from[RAPT_SHAPE_TEXT], to[RAPT_SHAPE_TEXT];
    const int32_t n = t->view.ndim, front = ndim - n;
    if (ndim < n || ndim > RAPT_MAX_DIMS) {
        rapt_fail(error, RAPT_INVALID,
                  "expand: a tensor %s expands to %d to %d dimensions, not to %d",
                  rapt_shape_text(from, n, t->shape), (int)n, RAPT_MAX_DIMS, (int)ndim);
        return NULL;
    }
    int64_t sizes[RAPT_MAX_DIMS], strides[RAPT_MAX_DIMS];
    for (int32_t i = 0; i < ndim; i++) {
        const int64_t old = i < front ? 1 : t->shape[i - front];
        const bool keep = shape[i] == -1 && i >= front;
        sizes[i] = keep ? old : shape[i];
        strides[i] = i < front || sizes[i] != old ? 0 : t->strides[i - front];
        if (sizes[i] < 0 || (sizes[i] != old && old != 1)) {
            rapt_fail(error, RAPT_INVALID,
                      "expand: %s does not expand to %s: dim %d is %" PRId64
                      " and must be %s%" PRId64,
                      rapt_shape_text(from, n, t->shape), rapt_shape_text(to, ndim, shape),
                      (int)i + 1, shape[i], old == 1 ? "at least " : "", old == 1 ? 0 : old);
            return NULL;
        }
    }
    return with(t, ndim, sizes, strides, 0, error);
}

/* Fills in the one size that may be -1, and checks that the count of elements stays. */
static rapt_status resolve_shape(const rapt_tensor *t, int32_t ndim, const int64_t *shape,
                                 int64_t *sizes, rapt_error *error)
{
    char from[RAPT_SHAPE_TEXT], to[RAPT_SHAPE_TEXT];
    if (ndim < 0 || ndim > RAPT_MAX_DIMS)
        return rapt_fail(error, RAPT_INVALID, "reshape: a tensor has 0 to %d dimensions, not %d",
                         RAPT_MAX_DIMS, (int)ndim);
    const int64_t have = rapt_tensor_count(t);
    int64_t count;
    int32_t open = -1;
    for (int32_t i = 0; i < ndim; i++) {
        sizes[i] = shape[i];
        if (shape[i] != -1)
            continue;
        if (open >= 0)
            return rapt_fail(error, RAPT_INVALID, "reshape: only one size of %s may be -1",
                             rapt_shape_text(to, ndim, shape));
        open = i;
        sizes[i] = 1;
    }
    const rapt_status status = rapt_shape_count(rapt_tensor_dtype(t), ndim, sizes, &count, error);
    if (status != RAPT_OK) {
        rapt_prefix_error(error, "reshape");
        return status;
    }
    if (open >= 0 && count > 0) {
        sizes[open] = have / count;
        count *= sizes[open];
    } else if (open >= 0)
        return rapt_fail(error, RAPT_INVALID,
                         "reshape: the size -1 of %s is not determined where another size is 0",
                         rapt_shape_text(to, ndim, shape));
    if (count != have)
        return rapt_fail(
            error, RAPT_INVALID, "reshape: %s has %" PRId64 " elements, which do not make %s",
            rapt_shape_text(from, t->view.ndim, t->shape), have, rapt_shape_text(to, ndim, shape));
    return RAPT_OK;
}

/* Strides under which the elements of `t`, in row-major order, take the shape `sizes`; false where
 * there are none. Both shapes are cut into the shortest runs of dimensions with equal products; a
 * run of the old shape must step evenly through memory. Neither has a size of 0. */
static bool reshape_strides(const rapt_tensor *t, int32_t ndim, const int64_t *sizes,
                            int64_t *strides)
{
    int64_t old_shape[RAPT_MAX_DIMS], old_strides[RAPT_MAX_DIMS];
    int32_t n = 0, i = 0, j = 0;
    for (int32_t d = 0; d < t->view.ndim; d++)
        if (t->shape[d] != 1) {
            old_shape[n] = t->shape[d];
            old_strides[n++] = t->strides[d];
        }
    while (i < n) {
        const int32_t first_old = i, first_new = j;
        int64_t old_count = old_shape[i++], new_count = sizes[j++], run;
        while (old_count != new_count) {
            if (old_count < new_count)
                old_count *= old_shape[i++];
            else
                new_count *= sizes[j++];
        }
        for (int32_t k = first_old; k + 1 < i; k++)
            if (!rapt_mul(old_shape[k + 1], old_strides[k + 1], &run) || old_strides[k] != run)
                return false;
        int64_t stride = old_strides[i - 1];
        for (int32_t k = j - 1; k >= first_new; k--) {
            strides[k] = stride;
            stride *= k > first_new ? sizes[k] : 1;
        }
    }
    for (; j < ndim; j++)
        strides[j] = 1;
    return true;
}

rapt_tensor *rapt_view_reshape(rapt_tensor *t, int32_t ndim, const int64_t *shape, bool *possible,
                               rapt_error *error)
{
    int64_t sizes[RAPT_MAX_DIMS], strides[RAPT_MAX_DIMS];
    *possible = true;
    if (resolve_shape(t, ndim, shape, sizes, error) != RAPT_OK)
        return NULL;
    if (rapt_tensor_count(t) == 0)
        return with(t, ndim, sizes, NULL, 0, error);
    if (!reshape_strides(t, ndim, sizes, strides)) {
        *possible = false;
        return NULL;
    }
    return with(t, ndim, sizes, strides, 0, error);
}
