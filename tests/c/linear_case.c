#include "linear_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const rapt_device cpu = {RAPT_DEVICE_CPU, 0};

static double normal(uint64_t *seed)
{
    double u[2];
    for (int i = 0; i < 2; i++) {
        *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
        u[i] = (double)(*seed >> 11) * 0x1p-53;
    }
    return sqrt(-2 * log(1 - u[0])) * cos(6.283185307179586 * u[1]);
}

static int64_t product(int32_t ndim, const int64_t *shape)
{
    int64_t n = 1;
    for (int32_t i = 0; i < ndim; i++)
        n *= shape[i];
    return n;
}

/* A view of `shape` within a tensor that has two more rows and three more columns, all of them NaN
 * until they are written. */
static rapt_tensor *inside(rapt_context *context, int32_t ndim, const int64_t *shape,
                           rapt_dtype dtype)
{
    int64_t larger[RAPT_MAX_DIMS];
    memcpy(larger, shape, sizeof(int64_t) * (size_t)ndim);
    const int32_t rows = ndim < 3 ? 0 : 2;
    larger[rows] += 2;
    if (ndim > 3)
        larger[3] += 3;
    rapt_tensor *whole = rapt_tensor_empty(context, dtype, cpu, ndim, larger, NULL);
    assert_non_null(whole);
    score_must(rapt_fill(context, whole, NAN, NULL), NULL);
    rapt_tensor *part = rapt_narrow(context, whole, rows, 1, shape[rows], NULL);
    assert_non_null(part);
    rapt_tensor_release(whole);
    if (ndim <= 3)
        return part;
    rapt_tensor *columns = rapt_narrow(context, part, 3, 1, shape[3], NULL);
    assert_non_null(columns);
    rapt_tensor_release(part);
    return columns;
}

static rapt_tensor *place(rapt_context *context, int32_t ndim, const int64_t *shape,
                          rapt_dtype dtype, linear_layout layout, const double *values)
{
    rapt_error error = {0};
    rapt_tensor *wide = rapt_tensor_from(context, RAPT_F64, ndim, shape, values, &error);
    if (!wide)
        fail_msg("%s", error.message);
    rapt_tensor *typed = rapt_to(context, wide, dtype, cpu, &error);
    assert_non_null(typed);
    rapt_tensor_release(wide);
    if (layout == LINEAR_PLAIN || (layout == LINEAR_SWAPPED && ndim < 4))
        return typed;
    rapt_tensor *target;
    if (layout == LINEAR_INSIDE) {
        target = inside(context, ndim, shape, dtype);
    } else {
        const int64_t swapped[4] = {shape[0], shape[2], shape[1], shape[3]};
        rapt_tensor *memory = rapt_tensor_empty(context, dtype, cpu, 4, swapped, &error);
        assert_non_null(memory);
        target = rapt_transpose(context, memory, 1, 2, &error);
        assert_non_null(target);
        rapt_tensor_release(memory);
    }
    score_must(rapt_copy_into(context, target, typed, &error), &error);
    rapt_tensor_release(typed);
    return target;
}

double *linear_add_values(linear_call *call, const char *name, int32_t ndim, const int64_t *shape,
                          rapt_dtype dtype, linear_layout layout, const double *values)
{
    linear_argument *x = &call->in[call->n_in++];
    x->name = name;
    x->tensor = place(call->context, ndim, shape, dtype, layout, values);
    x->count = product(ndim, shape);
    x->value = score_read(call->context, x->tensor);
    score_must(rapt_set_requires_grad(x->tensor, true, NULL), NULL);
    return x->value;
}

double *linear_add(linear_call *call, const char *name, int32_t ndim, const int64_t *shape,
                   rapt_dtype dtype, linear_layout layout, double factor, double low, bool positive)
{
    const int64_t n = product(ndim, shape);
    double *values = malloc(sizeof(double) * (size_t)(n + 1));
    assert_non_null(values);
    for (int64_t i = 0; i < n; i++) {
        const double x = normal(&call->seed);
        values[i] = low + factor * (positive ? fabs(x) : x);
    }
    double *stored = linear_add_values(call, name, ndim, shape, dtype, layout, values);
    free(values);
    return stored;
}

void linear_add_borders(linear_call *call, const char *name, int64_t count, const int64_t *borders,
                        rapt_dtype dtype)
{
    linear_argument *x = &call->in[call->n_in++];
    rapt_tensor *wide = rapt_tensor_from(call->context, RAPT_I64, 1, &count, borders, NULL);
    assert_non_null(wide);
    x->name = name;
    x->tensor = rapt_to(call->context, wide, dtype, cpu, NULL);
    assert_non_null(x->tensor);
    rapt_tensor_release(wide);
}

void linear_attr(linear_call *call, const char *name, rapt_attr_type type, double value)
{
    call->attrs[call->n_attrs++] =
        (rapt_named_value){.name = name, .type = type, .i = {(int64_t)value}, .f = value};
}

void linear_want(linear_call *call, const char *name)
{
    call->out[call->n_out++].name = name;
}

rapt_status linear_try(linear_call *call, rapt_error *error)
{
    rapt_named_tensor inputs[12], outputs[3] = {{NULL, NULL}};
    for (int i = 0; i < call->n_in; i++)
        inputs[i] = (rapt_named_tensor){call->in[i].name, call->in[i].tensor};
    for (int i = 0; i < call->n_out; i++)
        outputs[i].name = call->out[i].name;
    const rapt_status status =
        rapt_call_operator(call->context, call->op, inputs, (size_t)call->n_in, call->attrs,
                           (size_t)call->n_attrs, outputs, (size_t)call->n_out, error);
    for (int i = 0; i < call->n_out; i++)
        call->out[i].tensor = outputs[i].tensor;
    return status;
}

static rapt_tensor *apply(rapt_context *context, const char *op, const char *a, rapt_tensor *x,
                          const char *b, rapt_tensor *y)
{
    rapt_error error = {0};
    const rapt_named_tensor inputs[2] = {{a, x}, {b, y}};
    rapt_named_tensor output = {NULL, NULL};
    score_must(rapt_call_operator(context, op, inputs, y ? 2 : 1, NULL, 0, &output, 1, &error),
               &error);
    return output.tensor;
}

static rapt_tensor *loss_of(linear_call *call)
{
    rapt_tensor *loss = NULL;
    for (int i = 0; i < call->n_out; i++) {
        rapt_tensor *weighed =
            apply(call->context, "core.mul", "a", call->out[i].tensor, "b", call->out[i].seed);
        rapt_tensor *sum = apply(call->context, "core.sum", "x", weighed, NULL, NULL);
        rapt_tensor_release(weighed);
        if (!loss) {
            loss = sum;
            continue;
        }
        rapt_tensor *both = apply(call->context, "core.add", "a", loss, "b", sum);
        rapt_tensor_release(loss);
        rapt_tensor_release(sum);
        loss = both;
    }
    return loss;
}

static void feed_back(linear_call *call)
{
    rapt_error error = {0};
    if (call->n_out == 1) {
        score_must(
            rapt_backward(call->context, call->out[0].tensor, call->out[0].seed, false, &error),
            &error);
        return;
    }
    rapt_tensor *loss = loss_of(call);
    score_must(rapt_backward(call->context, loss, NULL, false, &error), &error);
    rapt_tensor_release(loss);
}

void linear_run(linear_call *call, bool forward_only)
{
    rapt_error error = {0};
    const rapt_status status = linear_try(call, &error);
    if (status != RAPT_OK)
        fail_msg("%s: %s", call->text, error.message);
    for (int i = 0; i < call->n_out; i++) {
        linear_argument *x = &call->out[i];
        const rapt_view *view = rapt_tensor_view(x->tensor);
        x->count = rapt_tensor_count(x->tensor);
        x->value = score_read(call->context, x->tensor);
        double *seed = malloc(sizeof(double) * (size_t)(x->count + 1));
        assert_non_null(seed);
        for (int64_t j = 0; j < x->count; j++)
            seed[j] = normal(&call->seed);
        x->seed = place(call->context, view->ndim, view->shape, rapt_view_dtype(view), LINEAR_PLAIN,
                        seed);
        x->seed_value = score_read(call->context, x->seed);
        free(seed);
    }
    if (forward_only)
        return;
    feed_back(call);
    for (int i = 0; i < call->n_in; i++)
        if (rapt_grad(call->in[i].tensor))
            call->in[i].gradient = score_read(call->context, rapt_grad(call->in[i].tensor));
}

linear_argument *linear_find(linear_call *call, const char *name)
{
    for (int i = 0; i < call->n_in; i++)
        if (strcmp(call->in[i].name, name) == 0)
            return &call->in[i];
    for (int i = 0; i < call->n_out; i++)
        if (strcmp(call->out[i].name, name) == 0)
            return &call->out[i];
    return NULL;
}

void linear_compare(const linear_call *call, const char *what, const double *got,
                    const double *want, int64_t n, double tolerance)
{
    if (!got)
        fail_msg("%s: no %s", call->text, what);
    const double error = score_error(got, want, n, 0);
    if (!(error <= tolerance))
        fail_msg("%s: %s is off by %g of its greatest value, allowed %g", call->text, what, error,
                 tolerance);
}

void linear_free(linear_call *call)
{
    for (int i = 0; i < call->n_in + call->n_out; i++) {
        linear_argument *x = i < call->n_in ? &call->in[i] : &call->out[i - call->n_in];
        rapt_tensor_release(x->tensor);
        rapt_tensor_release(x->seed);
        free(x->value);
        free(x->gradient);
        free(x->seed_value);
    }
}
