/* core.matmul: products of batches of matrices, with gradients. */
#include "ops/product.h"

static const rapt_arg inputs[] = {
    RAPT_REAL("a: ...? I J", "matrices M x K, or K x M with transpose_a"),
    RAPT_REAL("b: ...? P Q", "matrices K x N, or N x K with transpose_b"),
};
static const rapt_arg outputs[] = {
    RAPT_REAL("c: *", "matrices M x N, in the common leading shape")};
static const rapt_attr attrs[] = {
    RAPT_ATTR("transpose_a", RAPT_ATTR_BOOL, "false", "take each matrix of a transposed"),
    RAPT_ATTR("transpose_b", RAPT_ATTR_BOOL, "false", "take each matrix of b transposed"),
};

static bool transposed(const rapt_call *call, int i)
{
    return call->attrs[i].i[0] != 0;
}

static rapt_status infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    const rapt_view *a = call->inputs[0], *b = call->inputs[1];
    const int64_t *last_a = a->shape + a->ndim - 2, *last_b = b->shape + b->ndim - 2;
    const int64_t k = last_a[transposed(call, 0) ? 0 : 1], l = last_b[transposed(call, 1) ? 1 : 0];
    const int32_t ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    if (k != l)
        return call->host->error(
            call, RAPT_INVALID,
            "the inner sizes differ: a is [..,%lld,%lld]%s and b is [..,%lld,%lld]%s, so %lld "
            "columns meet %lld rows",
            (long long)last_a[0], (long long)last_a[1], transposed(call, 0) ? " transposed" : "",
            (long long)last_b[0], (long long)last_b[1], transposed(call, 1) ? " transposed" : "",
            (long long)k, (long long)l);
    for (int32_t d = 0; d < ndim - 2; d++) {
        const int32_t da = d - (ndim - a->ndim), db = d - (ndim - b->ndim);
        const int64_t size = da < 0 ? 1 : a->shape[da];
        shapes[0][d] = size == 1 && db >= 0 ? b->shape[db] : size;
    }
    shapes[0][ndim - 2] = last_a[transposed(call, 0) ? 1 : 0];
    shapes[0][ndim - 1] = last_b[transposed(call, 1) ? 0 : 1];
    ndims[0] = ndim;
    return RAPT_OK;
}

/* The matrices of `view` over the leading shape of `like`; broadcast dimensions have stride 0. */
static rapt_matrix matrix(const rapt_view *view, const rapt_view *like, bool transpose)
{
    const int32_t n = view->ndim, missing = like->ndim - n;
    rapt_matrix x = {.view = view, .dtype = rapt_view_dtype(view)};
    x.data = view->device.type == RAPT_DEVICE_CPU ? rapt_view_data(view) : NULL;
    x.row = view->strides[transpose ? n - 1 : n - 2];
    x.column = view->strides[transpose ? n - 2 : n - 1];
    for (int32_t d = 0; d < like->ndim - 2; d++)
        x.batch[d] = d < missing || (view->shape[d - missing] == 1 && like->shape[d] != 1)
                         ? 0
                         : view->strides[d - missing];
    return x;
}

/* target = left right, over the leading dimensions of `like`. */
static rapt_product product(const rapt_view *like, rapt_matrix left, rapt_matrix right,
                            rapt_matrix target, int64_t m, int64_t n, int64_t k)
{
    rapt_product p = {.m = m, .n = n, .k = k, .a = left, .b = right, .c = target};
    for (int32_t d = 0; d < like->ndim - 2; d++)
        p.batch[p.n_batch++] = like->shape[d];
    return p;
}

static int64_t inner_size(const rapt_call *call, const rapt_view *a)
{
    return a->shape[transposed(call, 0) ? a->ndim - 2 : a->ndim - 1];
}

static rapt_product forward_product(const rapt_call *call)
{
    const rapt_view *a = call->inputs[0], *b = call->inputs[1], *c = call->outputs[0];
    return product(c, matrix(a, c, transposed(call, 0)), matrix(b, c, transposed(call, 1)),
                   matrix(c, c, false), c->shape[c->ndim - 2], c->shape[c->ndim - 1],
                   inner_size(call, a));
}

/* dA = dC B^T, dB = A^T dC, summed where the leading dimensions were broadcast. */
static rapt_product grad_product(const rapt_call *call, int i)
{
    const rapt_view *a = call->inputs[0], *b = call->inputs[1], *g = call->grad_outputs[0];
    const rapt_matrix target = matrix(call->grad_inputs[i], g, transposed(call, i));
    const int64_t m = g->shape[g->ndim - 2], n = g->shape[g->ndim - 1], k = inner_size(call, a);
    if (i == 0)
        return product(g, matrix(g, g, false), matrix(b, g, !transposed(call, 1)), target, m, k, n);
    return product(g, matrix(a, g, !transposed(call, 0)), matrix(g, g, false), target, k, n, m);
}

static rapt_status forward(rapt_call *call)
{
    rapt_product p = forward_product(call);
    return rapt_product_run(call, &p);
}

static rapt_status backward(rapt_call *call)
{
    rapt_status status = RAPT_OK;
    for (int i = 0; i < 2 && status == RAPT_OK; i++) {
        if (call->grad_inputs[i] == NULL)
            continue;
        rapt_product p = grad_product(call, i);
        status = rapt_product_run(call, &p);
    }
    return status;
}

static size_t workspace(rapt_call *call)
{
    size_t most = 0;
    if (call->phase != RAPT_BACKWARD)
        return rapt_product_workspace(forward_product(call));
    for (int i = 0; i < 2; i++)
        if (call->grad_inputs[i] != NULL) {
            const size_t bytes = rapt_product_workspace(grad_product(call, i));
            most = bytes > most ? bytes : most;
        }
    return most;
}

static const rapt_kernel kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .forward = forward,
     .backward = backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_REAL, .flags = RAPT_ANY_STRIDES, .workspace = workspace,
     .forward = forward, .backward = backward},
    {.size = sizeof(rapt_kernel),
     .name = "vulkan.coopmat",
     .device = "vulkan",
     .priority = 1,
     .supports = rapt_vulkan_supports_coop,
     .dtypes = RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16),
     .flags = RAPT_ANY_STRIDES,
     .workspace = workspace,
     .forward = forward,
     .backward = backward}};

#define PRODUCTS "leading * I * J * (transpose_b * P + (1 - transpose_b) * Q)"

static const rapt_operator operators[] = {
    {RAPT_CORE("matmul"), .title = "Matrix product",
     .doc =
         "c = a b for each matrix of a batch. Leading dimensions are broadcast; one matrix b for "
         "a whole batch is one product. Transposed views are read where they lie. float32 sums "
         "for f16 and bf16.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), RAPT_ATTRS(attrs), .flops = "2 * " PRODUCTS,
     .flops_backward = "4 * " PRODUCTS, .example = "...=2 I=33 J=17 P=17 Q=65", RAPT_KERNEL(kernel),
     .infer = infer},
};

const rapt_group rapt_ops_matmul = {operators, RAPT_COUNT(operators)};
