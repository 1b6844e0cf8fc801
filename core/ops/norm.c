/*
 * Normalisation of rows: root mean square (Zhang, Sennrich 2019) and layer norm (Ba, Kiros, Hinton
 * 2016). One forward and one backward serve both: a root mean square norm has mean 0 and no bias.
 */
#include "ops/common.h"

#include <math.h>
#include <string.h>

/* Rows whose weight gradients are added in float32 before they go to float64. */
#define PIECE_MOST  256
#define PIECE_LEAST 16
#define PIECES      32

enum { X, Y, G = 1, DX = 2 }; /* operands of the lines */
enum { ROW_X, ROW_Y, ROW_G, ROW_HAT, ROW_BUFFERS };

typedef struct norm {
    const rapt_loops *loops;
    rapt_lines lines;
    bool layer; /* with mean and bias */
    double eps;
    const float *weight, *bias;           /* float32, or NULL */
    float *mean, *scale;                  /* saved, one a row, or NULL */
    float *rows;                          /* ROW_BUFFERS rows for each worker */
    int64_t piece;                        /* rows */
    float *weight_partial, *bias_partial; /* one row a piece, or NULL */
} norm;

static float *buffer(const norm *c, int worker, int which)
{
    return c->rows + ((int64_t)worker * ROW_BUFFERS + which) * c->lines.length;
}

/* A vector of D elements as float32: itself or a converted copy. *out is NULL for an absent one. */
static rapt_status vector(rapt_call *call, const rapt_view *view, const float **out)
{
    *out = NULL;
    if (view == NULL)
        return RAPT_OK;
    *out = rapt_view_data(view);
    const int64_t n = view->shape[0];
    if (rapt_view_dtype(view) == RAPT_F32 || n == 0)
        return RAPT_OK;
    float *copy = call->host->scratch(call, (size_t)n * sizeof *copy);
    if (copy == NULL)
        return RAPT_NO_MEMORY;
    rapt_ops_math(call)->load(n, rapt_view_dtype(view), rapt_view_data(view), copy);
    *out = copy;
    return RAPT_OK;
}

static rapt_status begin(rapt_call *call, norm *c, bool layer, const rapt_walk *walk)
{
    c->loops = rapt_loops_select(call->host);
    c->layer = layer;
    c->eps = call->attrs[0].f;
    rapt_lines_begin(&c->lines, walk, walk->ndim - 1);
    const size_t rows = (size_t)call->host->workers() * ROW_BUFFERS;
    c->rows = call->host->scratch(call, (rows * (size_t)c->lines.length + 1) * sizeof(float));
    return c->rows != NULL ? vector(call, call->inputs[1], &c->weight) : RAPT_NO_MEMORY;
}

static float *saved(const rapt_call *call, int i)
{
    return call->saved != NULL && call->saved[i] != NULL ? rapt_view_data(call->saved[i]) : NULL;
}

/* --- Forward -------------------------------------------------------------------------------- */

static void forward_task(void *context, int64_t first, int64_t last, int worker)
{
    const norm *c = context;
    const int64_t n = c->lines.length;
    for (int64_t i = first; i < last; i++) {
        const float *x = rapt_line_load(&c->lines, X, i, buffer(c, worker, ROW_X));
        float *y = rapt_line_target(&c->lines, Y, i, buffer(c, worker, ROW_Y));
        const double mean = c->layer ? c->loops->sum(n, x) / (double)n : 0;
        const double square =
            c->layer ? c->loops->sum_squared_distance(n, x, mean) : c->loops->sum_squares(n, x);
        const float scale = (float)(1 / sqrt(square / (double)n + c->eps));
        c->loops->normalise(n, x, (float)mean, scale, c->weight, c->bias, y);
        rapt_line_store(&c->lines, Y, i, y);
        if (c->mean != NULL)
            c->mean[i] = (float)mean;
        if (c->scale != NULL)
            c->scale[i] = scale;
    }
}

static rapt_status forward(rapt_call *call, bool layer)
{
    const rapt_view *x = call->inputs[0];
    norm c = {.mean = layer ? saved(call, 1) : NULL, .scale = saved(call, 0)};
    rapt_walk walk;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    if (walk.count == 0)
        return RAPT_OK;
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, call->outputs[0]);
    rapt_status status = begin(call, &c, layer, &walk);
    if (status == RAPT_OK && layer)
        status = vector(call, call->inputs[2], &c.bias);
    if (status == RAPT_OK)
        call->host->parallel_for(call, c.lines.count, rapt_grain(RAPT_PIECE, c.lines.length),
                                 forward_task, &c);
    return status;
}

/* --- Backward ------------------------------------------------------------------------------- */

/* Sum of u h, in the names below. With a mean, h is made first: x times g would lose what is left
 * after the mean is taken away. */
static double project(const norm *c, int64_t n, const float *x, float mean, float scale,
                      const float *g, float *hat)
{
    if (!c->layer)
        return (double)scale *
               (c->weight != NULL ? c->loops->dot3(n, g, c->weight, x) : c->loops->dot(n, g, x));
    c->loops->normalise(n, x, mean, scale, NULL, NULL, hat);
    return c->weight != NULL ? c->loops->dot3(n, g, c->weight, hat) : c->loops->dot(n, g, hat);
}

/* With h = (x - mean) scale and u = g weight: dx = scale (u - h mean(u h) - mean(u)), the last term
 * for a layer norm only; dweight = sum of g h, dbias = sum of g over the rows. */
static void backward_row(const norm *c, int64_t i, int worker, float *weight_sum, float *bias_sum)
{
    const int64_t n = c->lines.length;
    const float *x = rapt_line_load(&c->lines, X, i, buffer(c, worker, ROW_X));
    const float *g = rapt_line_load(&c->lines, G, i, buffer(c, worker, ROW_G));
    const float mean = c->mean != NULL ? c->mean[i] : 0, scale = c->scale[i];
    if (c->lines.along.n > DX) {
        float *dx = rapt_line_target(&c->lines, DX, i, buffer(c, worker, ROW_Y));
        double sum = 0;
        const double dot = project(c, n, x, mean, scale, g, buffer(c, worker, ROW_HAT));
        if (c->layer)
            sum = c->weight != NULL ? c->loops->dot(n, g, c->weight) : c->loops->sum(n, g);
        c->loops->normalise_grad(n, x, mean, scale, c->weight, g, (float)(dot / (double)n),
                                 (float)(sum / (double)n), dx);
        rapt_line_store(&c->lines, DX, i, dx);
    }
    if (weight_sum != NULL)
        c->loops->normalise_weight_grad(n, x, mean, scale, g, weight_sum);
    if (bias_sum != NULL)
        c->loops->add_to(n, g, bias_sum);
}

static void backward_task(void *context, int64_t first, int64_t last, int worker)
{
    const norm *c = context;
    const int64_t n = c->lines.length;
    for (int64_t piece = first; piece < last; piece++) {
        const int64_t left = c->lines.count - piece * c->piece;
        const int64_t rows = left < c->piece ? left : c->piece;
        float *weight_sum = c->weight_partial ? c->weight_partial + piece * n : NULL;
        float *bias_sum = c->bias_partial ? c->bias_partial + piece * n : NULL;
        if (weight_sum != NULL)
            memset(weight_sum, 0, (size_t)n * sizeof *weight_sum);
        if (bias_sum != NULL)
            memset(bias_sum, 0, (size_t)n * sizeof *bias_sum);
        for (int64_t i = 0; i < rows; i++)
            backward_row(c, piece * c->piece + i, worker, weight_sum, bias_sum);
    }
}

/* target[j] = sum over the pieces of partial[piece][j]. */
static rapt_status add_pieces(rapt_call *call, float *partial, int64_t pieces,
                              const rapt_view *target)
{
    const int64_t shape[2] = {pieces, target->shape[0]}, stride[2] = {target->shape[0], 1};
    rapt_fold fold = {.reduced = 1, .loop = RAPT_LOOP_copy, .scale = 1, .out = target};
    rapt_walk_begin(&fold.walk, call, 2, shape);
    rapt_walk_add_strided(&fold.walk, partial, RAPT_F32, stride);
    return rapt_fold_run(call, &fold);
}

static float *partial_rows(rapt_call *call, const norm *c, int64_t pieces)
{
    return call->host->scratch(call, (size_t)(pieces * c->lines.length) * sizeof(float));
}

static rapt_status clear_grads(rapt_call *call)
{
    for (uint32_t i = 0; i < call->op->n_inputs; i++) {
        const rapt_view *dx = call->grad_inputs[i];
        const size_t n = dx != NULL ? (size_t)rapt_elements(dx) : 0;
        if (n > 0)
            memset(rapt_view_data(dx), 0, n * rapt_dtype_size(rapt_view_dtype(dx)));
    }
    return RAPT_OK;
}

static rapt_status backward(rapt_call *call, bool layer)
{
    const rapt_view *x = call->inputs[0], *dweight = call->grad_inputs[1];
    const rapt_view *dbias = layer ? call->grad_inputs[2] : NULL;
    norm c = {.mean = layer ? saved(call, 1) : NULL, .scale = saved(call, 0)};
    rapt_walk walk;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    if (walk.count == 0)
        return clear_grads(call);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, call->grad_outputs[0]);
    if (call->grad_inputs[0] != NULL)
        rapt_walk_add(&walk, call->grad_inputs[0]);
    rapt_status status = begin(call, &c, layer, &walk);
    if (status != RAPT_OK)
        return status;
    c.piece = (c.lines.count + PIECES - 1) / PIECES;
    c.piece = c.piece < PIECE_LEAST ? PIECE_LEAST : c.piece > PIECE_MOST ? PIECE_MOST : c.piece;
    const int64_t pieces = (c.lines.count + c.piece - 1) / c.piece;
    if (dweight != NULL && (c.weight_partial = partial_rows(call, &c, pieces)) == NULL)
        return RAPT_NO_MEMORY;
    if (dbias != NULL && (c.bias_partial = partial_rows(call, &c, pieces)) == NULL)
        return RAPT_NO_MEMORY;
    call->host->parallel_for(call, pieces, rapt_grain(RAPT_PIECE, c.piece * c.lines.length),
                             backward_task, &c);
    if (dweight != NULL)
        status = add_pieces(call, c.weight_partial, pieces, dweight);
    if (status == RAPT_OK && dbias != NULL)
        status = add_pieces(call, c.bias_partial, pieces, dbias);
    return status;
}

/* --- Descriptions --------------------------------------------------------------------------- */

static rapt_status rms_forward(rapt_call *call)
{
    return forward(call, false);
}

static rapt_status rms_backward(rapt_call *call)
{
    return backward(call, false);
}

static rapt_status layer_forward(rapt_call *call)
{
    return forward(call, true);
}

static rapt_status layer_backward(rapt_call *call)
{
    return backward(call, true);
}

static const rapt_arg inputs[] = {
    RAPT_REAL("x: ... D", "rows of D"),
    RAPT_LEARNT("weight: D", RAPT_OPTIONAL, "ones", "a factor for each feature; 1 if absent"),
    RAPT_LEARNT("bias: D", RAPT_OPTIONAL, "zeros", "a shift for each feature; 0 if absent"),
};
static const rapt_arg outputs[] = {RAPT_REAL("y: ... D", "in the shape of x")};
static const rapt_attr rms_attrs[] = {
    RAPT_ATTR("eps", RAPT_ATTR_FLOAT, "1e-6", "added to the mean square", .min = "0")};
static const rapt_attr layer_attrs[] = {
    RAPT_ATTR("eps", RAPT_ATTR_FLOAT, "1e-5", "added to the variance", .min = "0")};
static const rapt_arg saved_args[] = {
    RAPT_OTHER("scale: ...", "f32", 0, "1 / sqrt(mean square + eps) of each row"),
    RAPT_OTHER("mean: ...", "f32", 0, "of each row"),
};
/* Of Vulkan: what the sums over rows need. */
static size_t norm_workspace(rapt_call *call)
{
    return call->phase == RAPT_BACKWARD ? rapt_vulkan_fold_workspace(call) : 0;
}

static const rapt_kernel rms_kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .saved = saved_args, .n_saved = 1,
     .forward = rms_forward, .backward = rms_backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .saved = saved_args, .n_saved = 1,
     .workspace = norm_workspace, .forward = rapt_vulkan_rms_norm_forward,
     .backward = rapt_vulkan_rms_norm_backward}};
static const rapt_kernel layer_kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .saved = saved_args, .n_saved = 2, .keep = "x weight",
     .forward = layer_forward, .backward = layer_backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .saved = saved_args, .n_saved = 2,
     .keep = "x weight", .workspace = norm_workspace, .forward = rapt_vulkan_layer_norm_forward,
     .backward = rapt_vulkan_layer_norm_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("rms_norm"), .title = "Root mean square norm", .paper = "arXiv 1910.07467",
     .doc = "y = x / sqrt(mean(x^2) + eps) * weight, over the last dimension.", .inputs = inputs,
     .n_inputs = 2, RAPT_OUTPUTS(outputs), RAPT_ATTRS(rms_attrs), .flops = "4 * leading * D",
     .flops_backward = "11 * leading * D", .example = "...=5 D=65", RAPT_KERNEL(rms_kernel)},
    {RAPT_CORE("layer_norm"), .title = "Layer norm", .paper = "arXiv 1607.06450",
     .doc = "y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, over the last dimension; "
            "the variance divides by D.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), RAPT_ATTRS(layer_attrs),
     .flops = "8 * leading * D", .flops_backward = "14 * leading * D", .example = "...=5 D=65",
     RAPT_KERNEL(layer_kernel)},
};

const rapt_group rapt_ops_norm = {operators, RAPT_COUNT(operators)};
