/*
 * A small call of any operator, made from its description alone: sizes and attributes from its
 * example, inputs of normal numbers. What self-tests run.
 */
#include "engine/probe.h"
#include "base/error.h"
#include "engine/attributes.h"
#include "tensor/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const rapt_device host = {RAPT_DEVICE_CPU, 0};

typedef struct maker {
    const rapt_schema *schema;
    rapt_probe *probe;
    int64_t sizes[RAPT_SIZES]; /* by letter; -1: none */
    int64_t leading[RAPT_MAX_DIMS];
    int32_t n_leading;
} maker;

/* --- The example ----------------------------------------------------------------------------- */

/* Sizes that fill tiles and leave a rest, whatever the example says. */
static int64_t preferred(char letter, rapt_probe_size size)
{
    static const struct {
        char letter;
        int64_t size;
    } tiled[] = {{'B', 1},  {'H', 2},  {'G', 1},  {'N', 80}, {'M', 80}, {'D', 64},
                 {'E', 64}, {'I', 80}, {'J', 64}, {'P', 64}, {'Q', 80}};
    for (size_t i = 0; i < sizeof tiled / sizeof *tiled; i++)
        if (tiled[i].letter == letter)
            return size == RAPT_PROBE_TILED                                      ? tiled[i].size
                   : size == RAPT_PROBE_WIDE && (letter == 'D' || letter == 'E') ? tiled[i].size
                                                                                 : -1;
    return -1;
}

/* A size letter, or an attribute that is a number. */
static bool look_up(void *user, const char *name, bool given, double *value)
{
    const maker *m = user;
    *value = 1;
    if (name[0] && !name[1] && m->sizes[(unsigned char)name[0]] >= 0) {
        *value = given ? 1 : (double)m->sizes[(unsigned char)name[0]];
        return true;
    }
    for (size_t i = 0; i < m->probe->n_attrs; i++) {
        const rapt_named_value *attr = &m->probe->attrs[i];
        if (strcmp(attr->name, name) != 0)
            continue;
        if (!given)
            *value = attr->type == RAPT_ATTR_FLOAT ? attr->f : (double)attr->i[0];
        return attr->type <= RAPT_ATTR_FLOAT || given;
    }
    *value = 0;
    return given;
}

static rapt_status read_size(maker *m, char letter, const char *text, rapt_error *error)
{
    rapt_expression *expression = rapt_expression_parse(text, strlen(text), error);
    double value = 0;
    if (!expression)
        return RAPT_INVALID;
    const rapt_status status =
        rapt_expression_evaluate(expression, look_up, m, true, &value, error);
    rapt_expression_free(expression);
    if (status == RAPT_OK)
        m->sizes[(unsigned char)letter] = (int64_t)value;
    return status;
}

/* One "name=value" of the example; sizes that are no numbers wait for the second pass. */
static rapt_status read_entry(maker *m, char *name, rapt_probe_size size, bool second,
                              rapt_error *error)
{
    char *value = strchr(name, '=');
    if (!value)
        return rapt_fail(error, RAPT_INVALID, "the example has \"%s\"", name);
    *value++ = 0;
    rapt_status status = RAPT_OK;
    const int32_t attr = rapt_schema_attr(m->schema, name);
    if (attr >= 0) {
        rapt_probe *probe = m->probe;
        if (!second && (probe->n_attrs == RAPT_MAX_ATTRS ||
                        !rapt_attr_parse(m->schema, attr, value, &probe->attrs[probe->n_attrs++])))
            status = rapt_fail(error, RAPT_INVALID, "the example has \"%s=%s\"", name, value);
    } else if (strcmp(name, "...") == 0) {
        if (!rapt_ints_parse(value, m->leading, &m->n_leading))
            status = rapt_fail(error, RAPT_INVALID, "the example has \"...=%s\"", value);
    } else if (name[0] && !name[1] && (unsigned char)name[0] < RAPT_SIZES) {
        const int64_t other = preferred(name[0], size);
        if (other >= 0)
            m->sizes[(unsigned char)name[0]] = other;
        else if (second == (strspn(value, "0123456789") < strlen(value)))
            status = read_size(m, name[0], value, error);
    }
    value[-1] = '=';
    return status;
}

static rapt_status read_example(maker *m, rapt_probe_size size, rapt_error *error)
{
    const char *example = m->schema->op.example;
    if (!example)
        return rapt_fail(error, RAPT_INVALID, "%s has no example", m->schema->op.name);
    char *text = strdup(example);
    if (!text)
        return rapt_fail_memory(error, strlen(example), "an example");
    rapt_status status = RAPT_OK;
    for (int pass = 0; pass < 2; pass++) {
        for (char *at = text; status == RAPT_OK && *at;) {
            const size_t n = strcspn(at, " ");
            const char behind = at[n];
            at[n] = 0;
            if (n > 0)
                status = read_entry(m, at, size, pass == 1, error);
            at[n] = behind;
            at += n + (behind != 0);
        }
    }
    free(text);
    return status;
}

/* --- Inputs ---------------------------------------------------------------------------------- */

static bool takes_float(rapt_dtype dtype)
{
    return dtype == RAPT_F32 || dtype == RAPT_F16 || dtype == RAPT_BF16 || dtype == RAPT_F64;
}

/* "-softplus", "1 + tanh": a function of a normal number, which keeps it where the operator wants
 * it. */
static double activate(const char *activation, double x)
{
    const double y = strstr(activation, "softplus")  ? log1p(exp(x))
                     : strstr(activation, "sigmoid") ? 1 / (1 + exp(-x))
                     : strstr(activation, "tanh")    ? tanh(x)
                     : strstr(activation, "exp")     ? exp(x)
                     : strstr(activation, "relu")    ? fmax(x, 0)
                                                     : x;
    return activation[0] == '-' ? -y : strncmp(activation, "1 + ", 4) == 0 ? 1 + y : y;
}

static void shape_values(const rapt_arg *arg, int64_t n, float *x)
{
    const char *init = arg->init ? arg->init : "";
    const bool parameter = arg->role == RAPT_PARAMETER;
    for (int64_t i = 0; i < n; i++) {
        if (parameter && strcmp(init, "ones") == 0)
            x[i] = 1;
        else if (arg->role == RAPT_STATE || (parameter && strcmp(init, "zeros") == 0))
            x[i] = 0;
        else if (arg->activation && *arg->activation)
            x[i] = (float)activate(arg->activation, (double)x[i]);
        else if (parameter)
            x[i] *= 0.1f;
        else if (arg->role == RAPT_ARGUMENT && arg->flags & RAPT_OPTIONAL)
            x[i] = fabsf(x[i]) * 0.05f; /* a bias, a rate of decay */
    }
}

static rapt_status shape_of(maker *m, const rapt_spec *spec, int32_t *ndim, int64_t *shape,
                            rapt_error *error)
{
    *ndim = 0;
    for (int32_t d = 0; (spec->leading || spec->any) && d < m->n_leading; d++)
        shape[(*ndim)++] = m->leading[d];
    for (int32_t d = 0; d < spec->n_dims; d++) {
        double value;
        if (*ndim == RAPT_MAX_DIMS)
            return rapt_fail(error, RAPT_INVALID, "%s has too many dimensions", spec->name);
        const rapt_status status =
            rapt_expression_evaluate(spec->dims[d].expression, look_up, m, true, &value, error);
        if (status != RAPT_OK)
            return status;
        shape[(*ndim)++] = (int64_t)value;
    }
    return RAPT_OK;
}

/* Floats as f32, to be rounded by whoever uses them; of other dtypes zeros and ones. */
static rapt_status make_input(maker *m, uint32_t i, rapt_error *error)
{
    const rapt_arg *arg = &m->schema->op.inputs[i];
    int64_t shape[RAPT_MAX_DIMS];
    int32_t ndim;
    rapt_dtype dtype = rapt_arg_dtype(arg, RAPT_F32);
    const bool real = takes_float(dtype);
    rapt_status status = shape_of(m, &m->schema->inputs[i], &ndim, shape, error);
    rapt_tensor *x =
        status == RAPT_OK ? rapt_tensor_make(RAPT_F32, host, ndim, shape, error) : NULL;
    if (!x)
        return status == RAPT_OK ? RAPT_NO_MEMORY : status;
    const int64_t n = rapt_tensor_count(x);
    float *values = n > 0 ? rapt_view_data(&x->view) : NULL;
    const uint64_t seed = 0x7a917 + i;
    if (n > 0 && real) {
        rapt_philox_normal(seed, 0, 0, n, values);
        shape_values(arg, n, values);
    } else if (n > 0) {
        rapt_philox_uniform(seed, 0, 0, n, values);
        for (int64_t k = 0; k < n; k++)
            values[k] = values[k] < 0.5f ? 0.0f : 1.0f;
    }
    m->probe->inputs[i] = real ? rapt_tensor_retain(x) : rapt_copy_to(x, dtype, host, error);
    rapt_tensor_release(x);
    return m->probe->inputs[i] ? RAPT_OK : RAPT_NO_MEMORY;
}

rapt_status rapt_probe_make(const rapt_schema *schema, uint32_t with, rapt_probe_size size,
                            rapt_probe *probe, rapt_error *error)
{
    memset(probe, 0, sizeof *probe);
    maker m = {.schema = schema, .probe = probe};
    memset(m.sizes, 0xFF, sizeof m.sizes);
    rapt_status status = read_example(&m, size, error);
    for (uint32_t i = 0; status == RAPT_OK && i < schema->op.n_inputs; i++)
        if (!(schema->op.inputs[i].flags & RAPT_OPTIONAL) || with >> i & 1)
            status = make_input(&m, i, error);
    if (status != RAPT_OK)
        rapt_probe_free(probe);
    return status;
}

void rapt_probe_free(rapt_probe *probe)
{
    for (uint32_t i = 0; i < RAPT_MAX_ARGS; i++)
        rapt_tensor_release(probe->inputs[i]);
    memset(probe, 0, sizeof *probe);
}
