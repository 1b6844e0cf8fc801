#include "reference_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

const rapt_value *reference_attr(const reference_call *call, const char *name)
{
    for (uint32_t i = 0; i < call->op->n_attrs; i++)
        if (strcmp(call->op->attrs[i].name, name) == 0)
            return &call->attrs[i];
    return NULL;
}

static double number(const reference_call *call, const char *name)
{
    return reference_attr(call, name)->f;
}

static int64_t whole(const reference_call *call, const char *name)
{
    return reference_attr(call, name)->i[0];
}

static void shape(reference_tensor *t, int32_t ndim, const int64_t *sizes)
{
    t->ndim = ndim;
    t->count = 1;
    for (int32_t d = 0; d < ndim; d++) {
        t->shape[d] = sizes[d];
        t->count *= sizes[d];
    }
    t->x = calloc((size_t)t->count + 1, sizeof *t->x);
}

static void same_shape(reference_call *c)
{
    shape(&c->out, c->in[0].ndim, c->in[0].shape);
}

/* Coordinates of row-major index i. */
static void coordinates(const reference_tensor *t, int64_t i, int64_t *at)
{
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
        at[d] = i % t->shape[d];
        i /= t->shape[d];
    }
}

/* Index in `t`, aligned at the end and broadcast, of coordinates in a shape of `ndim`. */
static int64_t index_at(const reference_tensor *t, int32_t ndim, const int64_t *at)
{
    int64_t index = 0;
    for (int32_t d = 0; d < t->ndim; d++)
        index = index * t->shape[d] + (t->shape[d] == 1 ? 0 : at[ndim - t->ndim + d]);
    return index;
}

static void broadcast_shape(reference_call *c, uint32_t n, int32_t tail, int64_t *sizes,
                            int32_t *ndim)
{
    *ndim = 0;
    for (uint32_t i = 0; i < n; i++)
        if (c->in[i].ndim - tail > *ndim)
            *ndim = c->in[i].ndim - tail;
    for (int32_t d = 0; d < *ndim; d++) {
        sizes[d] = 1;
        for (uint32_t i = 0; i < n; i++) {
            const int32_t own = d - (*ndim - (c->in[i].ndim - tail));
            if (own >= 0 && c->in[i].shape[own] != 1)
                sizes[d] = c->in[i].shape[own];
        }
    }
}

/* --- Elementwise ---------------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double unary(const reference_call *c, const char *name, double x, bool *known)
{
    *known = true;
#define IS(text) (strcmp(name, text) == 0)
    if (IS("neg"))
        return -x;
    if (IS("abs"))
        return fabs(x);
    if (IS("exp"))
        return exp(x);
    if (IS("log"))
        return log(x);
    if (IS("sqrt"))
        return sqrt(x);
    if (IS("sin"))
        return sin(x);
    if (IS("cos"))
        return cos(x);
    if (IS("tanh"))
        return tanh(x);
    if (IS("sigmoid"))
        return sigmoid(x);
    if (IS("relu"))
        return x > 0 ? x : 0;
    if (IS("silu"))
        return x * sigmoid(x);
    if (IS("softplus"))
        return log1p(exp(x));
    if (IS("copy"))
        return x;
    if (IS("gelu") && whole(c, "approximate") == 0)
        return x * 0.5 * erfc(-x / sqrt(2));
    if (IS("gelu"))
        return x / 2 * (1 + tanh(sqrt(2 / PI) * (x + 0.044715 * x * x * x)));
    if (IS("scale_add"))
        return number(c, "scale") * x + number(c, "shift");
    if (IS("pow_scalar"))
        return pow(x, number(c, "exponent"));
    *known = false;
    return 0;
}

static double many(const reference_call *c, const char *name, double a, double b, double z,
                   bool *known)
{
    *known = true;
    if (IS("add"))
        return a + b;
    if (IS("sub"))
        return a - b;
    if (IS("mul"))
        return a * b;
    if (IS("div"))
        return a / b;
    if (IS("maximum"))
        return fmax(a, b);
    if (IS("minimum"))
        return fmin(a, b);
    if (IS("where"))
        return a != 0 ? b : z;
    if (IS("masked_fill"))
        return b != 0 ? number(c, "value") : a;
    *known = false;
    return 0;
}

static bool elementwise(reference_call *c, const char *name)
{
    bool known;
    int64_t sizes[RAPT_MAX_DIMS], at[RAPT_MAX_DIMS];
    int32_t ndim;
    unary(c, name, 0.5, &known);
    if (known) {
        same_shape(c);
        for (int64_t i = 0; i < c->out.count; i++)
            c->out.x[i] = unary(c, name, c->in[0].x[i], &known);
        return true;
    }
    many(c, name, 1, 1, 1, &known);
    if (!known)
        return false;
    broadcast_shape(c, c->op->n_inputs, 0, sizes, &ndim);
    shape(&c->out, ndim, sizes);
    for (int64_t i = 0; i < c->out.count; i++) {
        double v[3] = {0};
        coordinates(&c->out, i, at);
        for (uint32_t k = 0; k < c->op->n_inputs; k++)
            v[k] = c->in[k].x[index_at(&c->in[k], ndim, at)];
        c->out.x[i] = many(c, name, v[0], v[1], v[2], &known);
    }
    return true;
}

/* --- matmul --------------------------------------------------------------------------------- */

static void matmul(reference_call *c)
{
    const reference_tensor *a = &c->in[0], *b = &c->in[1];
    const int ta = whole(c, "transpose_a") != 0, tb = whole(c, "transpose_b") != 0;
    int64_t sizes[RAPT_MAX_DIMS], at[RAPT_MAX_DIMS], in_a[RAPT_MAX_DIMS], in_b[RAPT_MAX_DIMS];
    int32_t ndim;
    broadcast_shape(c, 2, 2, sizes, &ndim);
    sizes[ndim] = a->shape[a->ndim - 2 + ta];
    sizes[ndim + 1] = b->shape[b->ndim - 1 - tb];
    const int64_t k = a->shape[a->ndim - 1 - ta];
    shape(&c->out, ndim + 2, sizes);
    for (int64_t i = 0; i < c->out.count; i++) {
        coordinates(&c->out, i, at);
        memcpy(in_a, at, sizeof at);
        memcpy(in_b, at, sizeof at);
        in_a[ndim + ta] = at[ndim];
        in_a[ndim + 1 - ta] = 0;
        in_b[ndim + tb] = 0;
        in_b[ndim + 1 - tb] = at[ndim + 1];
        const double *row = a->x + index_at(a, ndim + 2, in_a);
        const double *column = b->x + index_at(b, ndim + 2, in_b);
        const int64_t step_a = ta ? a->shape[a->ndim - 1] : 1;
        const int64_t step_b = tb ? 1 : b->shape[b->ndim - 1];
        for (int64_t l = 0; l < k; l++)
            c->out.x[i] += row[l * step_a] * column[l * step_b];
    }
}

/* --- Reductions ----------------------------------------------------------------------------- */

static uint32_t reduced_bits(const reference_call *c, int32_t ndim)
{
    const rapt_value *dims = reference_attr(c, "dims"), *dim = reference_attr(c, "dim");
    uint32_t bits = 0;
    if (dims == NULL && dim == NULL)
        return (1u << ndim) - 1;
    if (dims == NULL)
        return ndim == 0 ? 0 : 1u << (dim->i[0] < 0 ? dim->i[0] + ndim : dim->i[0]);
    for (int32_t i = 0; dims->present && i < dims->count; i++)
        bits |= 1u << (dims->i[i] < 0 ? dims->i[i] + ndim : dims->i[i]);
    return dims->present ? bits : (1u << ndim) - 1;
}

static void reduce(reference_call *c, const char *name)
{
    const reference_tensor *x = &c->in[0];
    const uint32_t bits = reduced_bits(c, x->ndim);
    const rapt_value *keep = reference_attr(c, "keepdim");
    int64_t sizes[RAPT_MAX_DIMS], at[RAPT_MAX_DIMS], seen = 0;
    int32_t ndim = 0;
    for (int32_t d = 0; d < x->ndim; d++)
        if (!(bits >> d & 1))
            sizes[ndim++] = x->shape[d];
        else if (keep != NULL && keep->i[0])
            sizes[ndim++] = 1;
    shape(&c->out, ndim, sizes);
    double *best = calloc((size_t)c->out.count + 1, sizeof *best);
    bool *started = calloc((size_t)c->out.count + 1, sizeof *started);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t o = 0, along = 0;
        coordinates(x, i, at);
        for (int32_t d = 0; d < x->ndim; d++)
            if (bits >> d & 1)
                along = along * x->shape[d] + at[d];
            else
                o = o * x->shape[d] + at[d];
        const double v = x->x[i];
        seen = c->out.count > 0 ? x->count / c->out.count : 0;
        if (IS("sum") || IS("mean"))
            c->out.x[o] += v;
        else if (IS("norm2"))
            c->out.x[o] += v * v;
        else if (!started[o] || (IS("min") ? v < best[o] : v > best[o])) {
            best[o] = v;
            c->out.x[o] = IS("argmax") ? (double)along : v;
        }
        started[o] = true;
    }
    for (int64_t o = 0; IS("mean") && o < c->out.count; o++)
        c->out.x[o] /= (double)seen;
    free(best);
    free(started);
}

static void sum_to(reference_call *c)
{
    const reference_tensor *x = &c->in[0];
    const rapt_value *to = reference_attr(c, "shape");
    int64_t at[RAPT_MAX_DIMS];
    shape(&c->out, to->present ? to->count : 0, to->i);
    for (int64_t i = 0; i < x->count; i++) {
        coordinates(x, i, at);
        c->out.x[index_at(&c->out, x->ndim, at)] += x->x[i];
    }
}

/* --- Rows ----------------------------------------------------------------------------------- */

static void softmax(reference_call *c, bool logarithm)
{
    const reference_tensor *x = &c->in[0];
    same_shape(c);
    int64_t dim = whole(c, "dim"), inner = 1;
    dim = dim < 0 ? dim + x->ndim : dim;
    const int64_t n = x->ndim > 0 ? x->shape[dim] : 1;
    for (int32_t d = (int32_t)dim + 1; d < x->ndim; d++)
        inner *= x->shape[d];
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t first = i - i / inner % n * inner;
        double top = -INFINITY, total = 0;
        for (int64_t j = 0; j < n; j++)
            top = fmax(top, x->x[first + j * inner]);
        for (int64_t j = 0; j < n; j++)
            total += exp(x->x[first + j * inner] - top);
        c->out.x[i] = logarithm ? x->x[i] - top - log(total) : exp(x->x[i] - top) / total;
    }
}

static void norm(reference_call *c, bool layer)
{
    const reference_tensor *x = &c->in[0], *w = &c->in[1], *b = &c->in[2];
    same_shape(c);
    const int64_t n = x->shape[x->ndim - 1];
    for (int64_t row = 0; n > 0 && row < x->count; row += n) {
        double mean = 0, square = 0;
        for (int64_t j = 0; layer && j < n; j++)
            mean += x->x[row + j] / (double)n;
        for (int64_t j = 0; j < n; j++)
            square += (x->x[row + j] - mean) * (x->x[row + j] - mean) / (double)n;
        for (int64_t j = 0; j < n; j++)
            c->out.x[row + j] =
                (x->x[row + j] - mean) / sqrt(square + number(c, "eps")) * (w->x ? w->x[j] : 1) +
                (layer && b->x ? b->x[j] : 0);
    }
}

static void cross_entropy(reference_call *c)
{
    const reference_tensor *x = &c->in[0], *t = &c->in[1];
    const rapt_value *ignore = reference_attr(c, "ignore_index");
    const int64_t how = whole(c, "reduction"), n = x->shape[x->ndim - 1];
    int64_t counted = 0;
    shape(&c->out, how == 2 ? t->ndim : 0, t->shape);
    for (int64_t i = 0; i < t->count; i++) {
        const double *row = x->x + i * n;
        double top = -INFINITY, total = 0;
        if (ignore->present && (int64_t)t->x[i] == ignore->i[0])
            continue;
        counted++;
        for (int64_t j = 0; j < n; j++)
            top = fmax(top, row[j]);
        for (int64_t j = 0; j < n; j++)
            total += exp(row[j] - top);
        c->out.x[how == 2 ? i : 0] += top + log(total) - row[(int64_t)t->x[i]];
    }
    if (how == 0 && counted > 0)
        c->out.x[0] /= (double)counted;
}

static void embedding(reference_call *c)
{
    const reference_tensor *w = &c->in[0], *ids = &c->in[1];
    int64_t sizes[RAPT_MAX_DIMS];
    memcpy(sizes, ids->shape, sizeof sizes);
    sizes[ids->ndim] = w->shape[1];
    shape(&c->out, ids->ndim + 1, sizes);
    for (int64_t i = 0; i < c->out.count; i++)
        c->out.x[i] = w->x[(int64_t)ids->x[i / w->shape[1]] * w->shape[1] + i % w->shape[1]];
}

static void rope(reference_call *c)
{
    const reference_tensor *x = &c->in[0];
    const int64_t features = x->shape[x->ndim - 1], half = features / 2;
    const int64_t positions = x->shape[x->ndim - 2];
    const bool pairs = whole(c, "layout") != 0;
    same_shape(c);
    for (int64_t row = 0; row < x->count; row += features)
        for (int64_t i = 0; i < half; i++) {
            const double at = (double)(whole(c, "offset") + row / features % positions);
            const double angle = at * pow(number(c, "base"), -2 * (double)i / (double)features);
            const int64_t a = row + (pairs ? 2 * i : i), b = pairs ? a + 1 : a + half;
            c->out.x[a] = x->x[a] * cos(angle) - x->x[b] * sin(angle);
            c->out.x[b] = x->x[b] * cos(angle) + x->x[a] * sin(angle);
        }
}

static void adamw(reference_call *c)
{
    double *p = c->in[0].x, *g = c->in[1].x, *m = c->in[2].x, *v = c->in[3].x;
    const double beta1 = number(c, "beta1"), beta2 = number(c, "beta2"), lr = number(c, "lr");
    const double step = number(c, "step");
    for (int64_t i = 0; i < c->in[0].count; i++) {
        const double grad = g[i] * number(c, "grad_scale");
        m[i] = beta1 * m[i] + (1 - beta1) * grad;
        v[i] = beta2 * v[i] + (1 - beta2) * grad * grad;
        p[i] -= lr * number(c, "weight_decay") * p[i];
        p[i] -= lr * (m[i] / (1 - pow(beta1, step))) /
                (sqrt(v[i] / (1 - pow(beta2, step))) + number(c, "eps"));
    }
    shape(&c->out, 0, NULL);
}

static void cumsum(reference_call *c)
{
    const reference_tensor *x = &c->in[0];
    int64_t dim = whole(c, "dim"), inner = 1;
    same_shape(c);
    dim = dim < 0 ? dim + x->ndim : dim;
    for (int32_t d = (int32_t)dim + 1; d < x->ndim; d++)
        inner *= x->shape[d];
    for (int64_t i = 0; i < x->count; i++) {
        const bool first = x->ndim == 0 || i / inner % x->shape[dim] == 0;
        c->out.x[i] = x->x[i] + (first ? 0 : c->out.x[i - inner]);
    }
}

static void cat(reference_call *c)
{
    int64_t sizes[RAPT_MAX_DIMS], at[RAPT_MAX_DIMS], start = 0;
    const int64_t dim = whole(c, "dim") < 0 ? whole(c, "dim") + c->in[0].ndim : whole(c, "dim");
    memcpy(sizes, c->in[0].shape, sizeof sizes);
    for (uint32_t i = 1; i < c->op->n_inputs; i++)
        sizes[dim] += c->in[i].x ? c->in[i].shape[dim] : 0;
    shape(&c->out, c->in[0].ndim, sizes);
    for (uint32_t i = 0; i < c->op->n_inputs; i++) {
        for (int64_t k = 0; c->in[i].x && k < c->in[i].count; k++) {
            coordinates(&c->in[i], k, at);
            at[dim] += start;
            c->out.x[index_at(&c->out, c->out.ndim, at)] = c->in[i].x[k];
        }
        start += c->in[i].x ? c->in[i].shape[dim] : 0;
    }
}

/* Two outputs over disjoint keys, by their log-sum-exps. */
static void merge(reference_call *c)
{
    const reference_tensor *a = &c->in[0], *b = &c->in[2];
    const int64_t width = a->shape[a->ndim - 1];
    same_shape(c);
    for (int64_t i = 0; i < a->count; i++) {
        const double x = c->in[1].x[i / width], y = c->in[3].x[i / width];
        const double top = fmax(x, y), p = exp(x - top), q = exp(y - top);
        c->out.x[i] = (p * a->x[i] + q * b->x[i]) / (p + q);
    }
}

bool reference_run(reference_call *call)
{
    const char *name = call->op->name + strlen("core.");
    if (elementwise(call, name))
        return true;
    if (IS("matmul"))
        matmul(call);
    else if (IS("sum") || IS("mean") || IS("max") || IS("min") || IS("argmax") || IS("norm2"))
        reduce(call, name);
    else if (IS("sum_to"))
        sum_to(call);
    else if (IS("softmax") || IS("log_softmax"))
        softmax(call, IS("log_softmax"));
    else if (IS("rms_norm") || IS("layer_norm"))
        norm(call, IS("layer_norm"));
    else if (IS("cross_entropy"))
        cross_entropy(call);
    else if (IS("embedding"))
        embedding(call);
    else if (IS("rope"))
        rope(call);
    else if (IS("cumsum"))
        cumsum(call);
    else if (IS("merge"))
        merge(call);
    else if (IS("cat"))
        cat(call);
    else if (IS("adamw"))
        adamw(call);
    else
        return false;
    return true;
}
