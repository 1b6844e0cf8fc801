/* A call checked against a description: names, presence, dtypes, devices, conditions. */
#include "base/error.h"
#include "base/text.h"
#include "registry/binder.h"

#include <stdio.h>
#include <string.h>

static rapt_status unknown_name(const rapt_binder *b, const char *name)
{
    const rapt_schema *schema = b->schema;
    const char *names[RAPT_MAX_ARGS + RAPT_MAX_ATTRS];
    size_t n = 0;
    for (uint32_t i = 0; i < schema->op.n_inputs; i++)
        names[n++] = schema->inputs[i].name;
    for (uint32_t i = 0; i < schema->op.n_attrs; i++)
        names[n++] = schema->op.attrs[i].name;
    const char *near = rapt_nearest(name, names, n);
    if (near)
        return rapt_fail(b->error, RAPT_INVALID,
                         "%s: no input or attribute \"%.80s\"; did you mean \"%s\"?", b->op, name,
                         near);
    return rapt_fail(b->error, RAPT_INVALID, "%s: no input or attribute \"%.80s\"", b->op, name);
}

static rapt_status not_a_tensor(const rapt_binder *b, uint32_t attr)
{
    rapt_text text = {0};
    rapt_expected_text(b->schema, attr, &text);
    const rapt_status status =
        text.failed ? rapt_fail_memory(b->error, 64, "a message")
                    : rapt_fail(b->error, RAPT_INVALID, "%s: %s is a tensor but must be %s", b->op,
                                b->schema->op.attrs[attr].name, text.data);
    rapt_text_free(&text);
    return status;
}

/* Everything that the rest relies on when it reads a view. */
static rapt_status check_view(const rapt_binder *b, const char *name, const rapt_view *view)
{
    const rapt_dtype dtype = rapt_view_dtype(view);
    char shape[RAPT_SHAPE_TEXT];
    int64_t bytes = (int64_t)rapt_dtype_size(dtype);
    bool fits = true, empty = false;
    if (view->ndim < 0 || view->ndim > RAPT_MAX_DIMS)
        return rapt_fail(b->error, RAPT_INVALID, "%s: %s has %d dimensions, not 0 to %d", b->op,
                         name, view->ndim, RAPT_MAX_DIMS);
    if (view->ndim > 0 && (!view->shape || !view->strides))
        return rapt_fail(b->error, RAPT_INVALID, "%s: %s has no shape or no strides", b->op, name);
    if (dtype == RAPT_DTYPE_COUNT)
        return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s", b->op, name,
                         rapt_dtype_word(dtype));
    for (int32_t i = 0; i < view->ndim; i++) {
        if (view->shape[i] < 0)
            return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s: a size is negative", b->op,
                             name, rapt_shape_text(shape, view->ndim, view->shape));
        empty |= view->shape[i] == 0;
        fits = fits && !__builtin_mul_overflow(bytes, view->shape[i], &bytes);
    }
    if (!fits && !empty)
        return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s: too large, 2^63 bytes or more",
                         b->op, name, rapt_shape_text(shape, view->ndim, view->shape));
    return RAPT_OK;
}

static rapt_status place_inputs(rapt_binder *b, const rapt_named_view *inputs, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const char *name = inputs[k].name;
        if (!name)
            return rapt_fail(b->error, RAPT_INVALID, "%s: an input is given without a name", b->op);
        const int32_t i = rapt_schema_input(b->schema, name);
        if (i < 0) {
            const int32_t attr = rapt_schema_attr(b->schema, name);
            return attr < 0 ? unknown_name(b, name) : not_a_tensor(b, (uint32_t)attr);
        }
        if (!inputs[k].view)
            continue;
        if (b->binding->inputs[i])
            return rapt_fail(b->error, RAPT_INVALID, "%s: %s is given twice", b->op, name);
        const rapt_status status = check_view(b, name, inputs[k].view);
        if (status)
            return status;
        b->binding->inputs[i] = inputs[k].view;
    }
    return RAPT_OK;
}

/* Attributes that carry an unknown name are told before inputs that are missing: a misspelt
 * argument should not be reported as an absent one. */
static rapt_status check_attr_names(const rapt_binder *b, const rapt_named_value *attrs, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const char *name = attrs[k].name;
        if (!name)
            return rapt_fail(b->error, RAPT_INVALID, "%s: an attribute is given without a name",
                             b->op);
        if (rapt_schema_attr(b->schema, name) >= 0)
            continue;
        const int32_t i = rapt_schema_input(b->schema, name);
        if (i < 0)
            return unknown_name(b, name);
        return rapt_fail(b->error, RAPT_INVALID, "%s: %s must be a tensor (%s)", b->op, name,
                         b->schema->inputs[i].text);
    }
    return RAPT_OK;
}

static rapt_status check_presence(const rapt_binder *b)
{
    const rapt_operator *op = &b->schema->op;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        const uint32_t flags = op->inputs[i].flags;
        if (b->binding->inputs[i] || (flags & RAPT_OPTIONAL) ||
            (b->phase == RAPT_WEIGHTS && (flags & RAPT_VALUE_ONLY)))
            continue;
        const char *dims = b->schema->inputs[i].text;
        return rapt_fail(b->error, RAPT_INVALID, "%s: missing input %s (%s)", b->op,
                         b->schema->inputs[i].name, *dims ? dims : "a scalar");
    }
    return RAPT_OK;
}

/* The compute type: that of the first argument that can have no other. */
static rapt_status bind_dtype(rapt_binder *b)
{
    const rapt_schema *schema = b->schema;
    const uint32_t takes = schema->compute_dtypes;
    char words[RAPT_WORDS];
    int32_t first = -1;
    for (int pass = 0; pass < 2; pass++) { /* first those that are T alone */
        for (uint32_t i = 0; i < schema->op.n_inputs; i++) {
            const uint32_t mask = schema->input_dtypes[i];
            if (!b->binding->inputs[i] || (mask == RAPT_DTYPE_T) != (pass == 0))
                continue;
            const rapt_dtype dtype = rapt_view_dtype(b->binding->inputs[i]);
            const char *name = schema->inputs[i].name;
            const uint32_t others = mask & ~RAPT_DTYPE_T;
            if (others & RAPT_DTYPE_BIT(dtype))
                continue;
            if ((mask & RAPT_DTYPE_T) && first < 0 && (takes & RAPT_DTYPE_BIT(dtype))) {
                first = (int32_t)i;
                b->binding->dtype = dtype;
                continue;
            }
            if ((mask & RAPT_DTYPE_T) && first >= 0 && dtype == b->binding->dtype)
                continue;
            if (mask == RAPT_DTYPE_T && first >= 0)
                return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s but %s is %s", b->op, name,
                                 rapt_dtype_word(dtype), schema->inputs[first].name,
                                 rapt_dtype_word(b->binding->dtype));
            const uint32_t t = first >= 0 ? RAPT_DTYPE_BIT(b->binding->dtype) : takes;
            rapt_dtype_words(others | (mask & RAPT_DTYPE_T ? t : 0), words);
            return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s but must be %s", b->op, name,
                             rapt_dtype_word(dtype), words);
        }
    }
    return RAPT_OK;
}

static void device_text(rapt_device device, char text[32])
{
    if (device.type == RAPT_DEVICE_CPU)
        snprintf(text, 32, "cpu");
    else if (device.type == RAPT_DEVICE_VULKAN)
        snprintf(text, 32, "vulkan:%d", device.index);
    else
        snprintf(text, 32, "device %d:%d", device.type, device.index);
}

static rapt_status bind_device(rapt_binder *b)
{
    int32_t first = -1;
    b->binding->device = (rapt_device){RAPT_DEVICE_CPU, 0};
    for (uint32_t i = 0; i < b->schema->op.n_inputs; i++) {
        if (!b->binding->inputs[i])
            continue;
        const rapt_device device = b->binding->inputs[i]->device;
        if (first < 0) {
            first = (int32_t)i;
            b->binding->device = device;
        } else if (device.type != b->binding->device.type ||
                   device.index != b->binding->device.index) {
            char here[32], there[32];
            device_text(device, here);
            device_text(b->binding->device, there);
            return rapt_fail(b->error, RAPT_INVALID, "%s: %s is on %s but %s is on %s", b->op,
                             b->schema->inputs[i].name, here, b->schema->inputs[first].name, there);
        }
    }
    return RAPT_OK;
}

/* The names of a condition, each once, with what they are in this call. */
typedef struct values {
    const rapt_binding *binding;
    const char *names[16];
    bool given[16];
    size_t n;
} values;

static bool collect(void *user, const char *name, bool given)
{
    values *v = user;
    for (size_t i = 0; i < v->n; i++)
        if (!strcmp(v->names[i], name) && v->given[i] == given)
            return true;
    if (v->n == sizeof v->names / sizeof v->names[0])
        return false;
    v->names[v->n] = name;
    v->given[v->n++] = given;
    return true;
}

static void append_value(const values *v, size_t i, rapt_text *text)
{
    const rapt_bound_names names = {v->binding, NULL};
    const int32_t attr = rapt_schema_attr(v->binding->schema, v->names[i]);
    double value = 0;
    const bool known =
        rapt_bound_lookup((void *)(uintptr_t)&names, v->names[i], v->given[i], &value);
    rapt_text_append(text, "%s is ", v->names[i]);
    if (v->given[i])
        rapt_text_append(text, "%s", value != 0 ? "given" : "not given");
    else if (!known)
        rapt_text_append(text, "not known");
    else if (attr >= 0)
        rapt_value_text(v->binding, (uint32_t)attr, text);
    else
        rapt_text_append(text, "%.17g", value);
}

static rapt_status refuse_condition(const rapt_binder *b, uint32_t i, const char *reason)
{
    values v = {.binding = b->binding};
    rapt_text text = {0};
    rapt_expression_names(b->schema->where[i], collect, &v);
    rapt_text_append(&text, "%s: needs %s", b->op, b->schema->where_text[i]);
    if (reason)
        rapt_text_append(&text, " (%s)", reason);
    for (size_t k = 0; k < v.n; k++) {
        rapt_text_append(&text, "%s", k == 0 ? ", but " : k + 1 == v.n ? " and " : ", ");
        append_value(&v, k, &text);
    }
    const rapt_status status = text.failed ? rapt_fail_memory(b->error, 128, "a message")
                                           : rapt_fail(b->error, RAPT_INVALID, "%s", text.data);
    rapt_text_free(&text);
    return status;
}

static rapt_status check_conditions(const rapt_binder *b)
{
    rapt_bound_names names = {b->binding, NULL};
    for (uint32_t i = 0; i < b->schema->n_where; i++) {
        const rapt_expression *where = b->schema->where[i];
        rapt_error why;
        double value;
        if (!rapt_expression_evaluate(where, rapt_bound_lookup, &names, false, &value, &why)) {
            if (value == 0)
                return refuse_condition(b, i, NULL);
        } else if (b->phase != RAPT_WEIGHTS || rapt_bound_all(b->binding, where)) {
            return refuse_condition(b, i, why.message);
        }
    }
    return RAPT_OK;
}

rapt_status rapt_bind(const rapt_schema *schema, rapt_phase phase, const rapt_named_view *inputs,
                      size_t n_inputs, const rapt_named_value *attrs, size_t n_attrs,
                      rapt_binding *binding, rapt_error *error)
{
    rapt_error ignored;
    rapt_binder b = {.binding = binding, .schema = schema, .op = schema->op.name, .phase = phase};
    b.error = error ? error : &ignored;
    memset(binding, 0, sizeof *binding);
    binding->schema = schema;
    binding->dtype = RAPT_F32;
    for (int i = 0; i < RAPT_SIZES; i++)
        binding->sizes[i] = -1;

    rapt_status status = place_inputs(&b, inputs, n_inputs);
    if (!status)
        status = check_attr_names(&b, attrs, n_attrs);
    if (!status)
        status = check_presence(&b);
    if (!status)
        status = rapt_bind_values(&b, attrs, n_attrs);
    if (!status)
        status = bind_dtype(&b);
    if (!status)
        status = bind_device(&b);
    if (!status)
        status = rapt_bind_sizes(&b);
    if (!status)
        status = rapt_bind_defaults(&b);
    if (!status)
        status = rapt_bind_expressions(&b);
    return status ? status : check_conditions(&b);
}
