/* What follows from a bound call: values of names, shapes, dtypes, costs. */
#include "base/checked.h"
#include "base/error.h"
#include "registry/binder.h"

#include <math.h>
#include <string.h>

static bool lookup_given(const rapt_binding *binding, const char *name, double *value)
{
    const int32_t input = rapt_schema_input(binding->schema, name);
    const int32_t attr = rapt_schema_attr(binding->schema, name);
    *value =
        input >= 0 ? binding->inputs[input] != NULL : attr >= 0 && (binding->given >> attr & 1);
    return input >= 0 || attr >= 0;
}

bool rapt_bound_lookup(void *user, const char *name, bool given, double *value)
{
    const rapt_bound_names *names = user;
    const rapt_binding *binding = names->binding;
    const unsigned char letter = name[1] ? 0 : (unsigned char)name[0];
    if (given)
        return lookup_given(binding, name, value);
    if (letter && letter < RAPT_SIZES && binding->schema->letters[letter]) {
        *value = (double)binding->sizes[letter];
        return binding->sizes[letter] >= 0;
    }
    if (names->pairs && !strcmp(name, "pairs")) {
        *value = *names->pairs;
        return true;
    }
    if (names->pairs && !strcmp(name, "leading")) {
        *value = (double)binding->sizes['.'];
        return binding->sizes['.'] >= 0;
    }
    const int32_t attr = rapt_schema_attr(binding->schema, name);
    if (attr < 0 || !binding->attrs[attr].present)
        return false;
    *value = binding->attrs[attr].f;
    return true;
}

static bool has_value(void *user, const char *name, bool given)
{
    rapt_bound_names names = {user, NULL};
    double value;
    return given || rapt_bound_lookup(&names, name, false, &value);
}

bool rapt_bound_all(const rapt_binding *binding, const rapt_expression *expression)
{
    return rapt_expression_names(expression, has_value, (void *)(uintptr_t)binding);
}

static rapt_status check_product(const rapt_binding *binding, const rapt_spec *spec, int32_t ndim,
                                 const int64_t *shape, rapt_error *error)
{
    int64_t bytes = 8; /* of the largest dtype */
    bool fits = true, empty = false;
    char text[RAPT_SHAPE_TEXT];
    for (int32_t i = 0; i < ndim; i++) {
        empty |= shape[i] == 0;
        fits = fits && rapt_mul(bytes, shape[i], &bytes);
    }
    if (fits || empty)
        return RAPT_OK;
    return rapt_fail(error, RAPT_INVALID, "%s: %s would be %s, which is too large",
                     binding->schema->op.name, spec->name, rapt_shape_text(text, ndim, shape));
}

rapt_status rapt_bound_shape(const rapt_binding *binding, const rapt_spec *spec, int32_t *ndim,
                             int64_t *shape, rapt_error *error)
{
    const char *op = binding->schema->op.name;
    const int32_t leading = spec->leading ? binding->n_leading : 0;
    int64_t sizes[2 * RAPT_MAX_DIMS];
    rapt_bound_names names = {binding, NULL};
    if (spec->any)
        return rapt_fail(error, RAPT_INTERNAL, "%s: the shape of %s is not the spec's to say", op,
                         spec->name);
    if (spec->leading && binding->sizes['.'] < 0)
        return rapt_fail(error, RAPT_INVALID, "%s: nothing given says what ... of %s is", op,
                         spec->name);
    if (leading + spec->n_dims > RAPT_MAX_DIMS)
        return rapt_fail(error, RAPT_INVALID, "%s: %s would have %d dimensions, more than %d", op,
                         spec->name, leading + spec->n_dims, RAPT_MAX_DIMS);
    memcpy(sizes, binding->leading, (size_t)leading * sizeof sizes[0]);
    for (int32_t k = 0; k < spec->n_dims; k++) {
        double value;
        const rapt_status status = rapt_expression_evaluate(
            spec->dims[k].expression, rapt_bound_lookup, &names, true, &value, error);
        if (status) {
            rapt_prefix_error(error, "%s: size %d of %s (%s)", op, k + 1, spec->name, spec->text);
            return status;
        }
        if (value < 0)
            return rapt_fail(error, RAPT_INVALID, "%s: size %d of %s (%s) would be %.17g", op,
                             k + 1, spec->name, spec->text, value);
        sizes[leading + k] = (int64_t)value;
    }
    const rapt_status status = check_product(binding, spec, leading + spec->n_dims, sizes, error);
    if (status)
        return status;
    *ndim = leading + spec->n_dims;
    memcpy(shape, sizes, (size_t)*ndim * sizeof sizes[0]);
    return RAPT_OK;
}

static rapt_dtype dtype_of(const rapt_binding *binding, uint32_t mask)
{
    return mask & RAPT_DTYPE_T ? binding->dtype : (rapt_dtype)__builtin_ctz(mask);
}

rapt_dtype rapt_bound_output_dtype(const rapt_binding *binding, uint32_t output)
{
    return dtype_of(binding, binding->schema->output_dtypes[output]);
}

rapt_dtype rapt_bound_saved_dtype(const rapt_binding *binding, uint32_t kernel, uint32_t saved)
{
    return dtype_of(binding, binding->schema->saved_dtypes[kernel][saved]);
}

static double count(int32_t ndim, const int64_t *shape)
{
    double n = 1;
    for (int32_t i = 0; i < ndim; i++)
        n *= (double)shape[i];
    return n;
}

static rapt_status least_bytes(const rapt_binding *binding, double *bytes, rapt_error *error)
{
    const rapt_schema *schema = binding->schema;
    *bytes = 0;
    for (uint32_t i = 0; i < schema->op.n_inputs; i++) {
        const rapt_view *view = binding->inputs[i];
        if (view)
            *bytes +=
                count(view->ndim, view->shape) * (double)rapt_dtype_size(rapt_view_dtype(view));
    }
    for (uint32_t i = 0; i < schema->op.n_outputs; i++) {
        int32_t ndim;
        int64_t shape[RAPT_MAX_DIMS];
        if (schema->outputs[i].any || (schema->op.outputs[i].flags & RAPT_OPTIONAL))
            continue;
        const rapt_status status =
            rapt_bound_shape(binding, &schema->outputs[i], &ndim, shape, error);
        if (status)
            return status;
        *bytes += count(ndim, shape) * (double)rapt_dtype_size(rapt_bound_output_dtype(binding, i));
    }
    return RAPT_OK;
}

/* Sum of clamp(x, 0, m) over the integers x < end. */
static double clamped_below(double end, double m)
{
    if (end <= 0)
        return 0;
    if (end <= m + 1)
        return end * (end - 1) / 2;
    return m * (m + 1) / 2 + (end - 1 - m) * m;
}

/* Pairs (i, j), 0 <= i < n, 0 <= j < m, with i + m - n - left <= j <= i + m - n + right. Row i sees
 * clamp(i + m - n + right + 1) - clamp(i + m - n - left) keys, which summed over i has a closed
 * form; a bound that is not there is infinite. */
static double visible_pairs(double n, double m, double left, double right)
{
    const double after = m - n + right + 1, before = m - n - left;
    const double below =
        isinf(right) ? n * m : clamped_below(after + n, m) - clamped_below(after, m);
    const double hidden = isinf(left) ? 0 : clamped_below(before + n, m) - clamped_below(before, m);
    return below - hidden;
}

static bool is_causal(const rapt_binding *binding)
{
    const uint32_t flags = binding->schema->op.flags;
    const int32_t i = rapt_schema_attr(binding->schema, "causal");
    if (i >= 0 && binding->schema->op.attrs[i].type == RAPT_ATTR_BOOL)
        return binding->attrs[i].present && binding->attrs[i].i[0];
    return (flags & RAPT_OP_CAUSAL) && !(flags & RAPT_OP_FULL);
}

static void count_pairs(const rapt_binding *binding, rapt_cost *cost)
{
    const double n = (double)binding->sizes['N'];
    const double m = binding->sizes['M'] < 0 ? n : (double)binding->sizes['M'];
    double left = INFINITY, right = INFINITY;
    if (n < 0)
        return;
    const int32_t i = rapt_schema_attr(binding->schema, "window");
    if (i >= 0 && binding->schema->op.attrs[i].type == RAPT_ATTR_INTS &&
        binding->attrs[i].count == 2) {
        const int64_t *window = binding->attrs[i].i;
        left = window[0] < 0 ? INFINITY : (double)window[0];
        right = window[1] < 0 ? INFINITY : (double)window[1];
    }
    if (is_causal(binding))
        right = 0;
    cost->pairs_all = n * m;
    cost->pairs = visible_pairs(n, m, left, right);
}

rapt_status rapt_bound_cost(const rapt_binding *binding, rapt_cost *cost, rapt_error *error)
{
    const rapt_schema *schema = binding->schema;
    rapt_cost made = {0};
    rapt_bound_names names = {binding, &made.pairs};
    rapt_status status = RAPT_OK;
    const struct {
        const rapt_expression *expression;
        double *value;
        const char *name;
    } parts[] = {{schema->flops, &made.flops, "flops"},
                 {schema->flops_backward, &made.flops_backward, "flops_backward"},
                 {schema->bytes, &made.bytes, "bytes"}};
    count_pairs(binding, &made);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i].expression)
            continue;
        status = rapt_expression_evaluate(parts[i].expression, rapt_bound_lookup, &names, false,
                                          parts[i].value, error);
        if (status) {
            rapt_prefix_error(error, "%s: %s", schema->op.name, parts[i].name);
            return status;
        }
    }
    if (!schema->bytes)
        status = least_bytes(binding, &made.bytes, error);
    if (!status)
        *cost = made;
    return status;
}
