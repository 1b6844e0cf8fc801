/*
 * libFuzzer target: the language of specs, as a whole description and a call of it. The input is
 * lines: specs of two inputs and an output, where, flops, default and greatest value of an int
 * attribute (an empty one is left out); then, in any bytes, the ranks and sizes of the two views.
 */
#include "registry/schema.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES = 7 };

typedef struct bytes {
    const uint8_t *at;
    size_t n;
} bytes;

static void check_error(const rapt_error *error)
{
    if (error->status == RAPT_OK || !error->message[0] || strchr(error->message, '\n'))
        abort();
}

static rapt_status forward(rapt_call *call)
{
    (void)call;
    return RAPT_OK;
}

static const char *unless_empty(const char *line)
{
    return *line ? line : NULL;
}

/* The next line, in memory of its own so that reading past its end is seen. */
static char *next_line(bytes *input)
{
    const uint8_t *end = input->n ? memchr(input->at, '\n', input->n) : NULL;
    const size_t n = end ? (size_t)(end - input->at) : input->n;
    char *line = malloc(n + 1);
    if (!line)
        abort();
    if (n)
        memcpy(line, input->at, n);
    line[n] = 0;
    input->at += n + (end != NULL);
    input->n -= n + (end != NULL);
    return line;
}

static unsigned next_byte(bytes *input)
{
    if (!input->n)
        return 0;
    input->n--;
    return *input->at++;
}

static void next_view(bytes *input, rapt_view *view, int64_t *shape)
{
    static const int64_t sizes[] = {0,  1,  2,   3,    4,    5,          6,         7,
                                    8,  9,  16,  33,   64,   4294967296, 1LL << 53, INT64_MAX,
                                    -1, 12, 128, 1000, 4096, 255,        1LL << 31, 10};
    *view = (rapt_view){NULL, {RAPT_DEVICE_CPU, 0}, 0, {2, 32, 1}, shape, shape, 0};
    view->ndim = (int32_t)(next_byte(input) % (RAPT_MAX_DIMS + 2));
    for (int32_t i = 0; i < view->ndim; i++)
        shape[i] = sizes[next_byte(input) % (sizeof sizes / sizeof sizes[0])];
}

static void try_call(const rapt_schema *schema, rapt_phase phase, bytes input)
{
    int64_t shapes[2][RAPT_MAX_DIMS + 2], shape[RAPT_MAX_DIMS];
    rapt_view views[2];
    rapt_error error = {0};
    rapt_binding binding;
    rapt_cost cost;
    int32_t ndim;
    next_view(&input, &views[0], shapes[0]);
    next_view(&input, &views[1], shapes[1]);
    const rapt_named_view inputs[] = {{schema->inputs[0].name, &views[0]},
                                      {schema->inputs[1].name, &views[1]}};
    const rapt_named_value attr = {.name = "tiles", .type = RAPT_ATTR_INT, .i = {views[0].ndim}};
    const size_t n = 1 + next_byte(&input) % 2, n_attrs = next_byte(&input) % 2;
    if (rapt_bind(schema, phase, inputs, n, &attr, n_attrs, &binding, &error)) {
        check_error(&error);
        return;
    }
    if (rapt_bound_cost(&binding, &cost, &error))
        check_error(&error);
    else if (!isfinite(cost.flops) || cost.pairs < 0 || cost.pairs > cost.pairs_all)
        abort();
    if (rapt_bound_shape(&binding, &schema->outputs[0], &ndim, shape, &error)) {
        check_error(&error);
        return;
    }
    for (int32_t i = 0; i < ndim; i++)
        if (shape[i] < 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bytes input = {data, size};
    char *lines[LINES];
    for (int i = 0; i < LINES; i++)
        lines[i] = next_line(&input);
    const rapt_arg inputs[] = {
        {sizeof inputs[0], 0, lines[0], NULL, RAPT_ARGUMENT, NULL, NULL, NULL},
        {sizeof inputs[0], RAPT_OPTIONAL, lines[1], NULL, RAPT_ARGUMENT, NULL, NULL, NULL}};
    const rapt_arg output = {sizeof output, 0, lines[2], NULL, RAPT_ARGUMENT, NULL, NULL, NULL};
    const rapt_attr attrs[] = {
        {sizeof attrs[0], RAPT_ATTR_INT, "tiles", unless_empty(lines[5]), NULL,
         unless_empty(lines[6]), NULL, 0, 0, NULL},
        {sizeof attrs[0], RAPT_ATTR_BOOL, "causal", "true", NULL, NULL, NULL, 0, 0, NULL}};
    const rapt_kernel kernel = {.size = sizeof kernel,
                                .name = "cpu",
                                .device = "cpu",
                                .dtypes = RAPT_DTYPES_COMPUTE,
                                .forward = forward};
    const rapt_operator op = {.size = sizeof op,
                              .name = "fuzz",
                              .doc = "For the fuzzer.",
                              .inputs = inputs,
                              .n_inputs = 2,
                              .outputs = &output,
                              .n_outputs = 1,
                              .attrs = attrs,
                              .n_attrs = 2,
                              .where = lines[3],
                              .flops = unless_empty(lines[4]),
                              .kernels = &kernel,
                              .n_kernels = 1};
    rapt_error error = {0};
    rapt_schema *schema = rapt_schema_new(&op, &error);
    if (!schema) {
        check_error(&error);
    } else {
        try_call(schema, RAPT_FORWARD, input);
        try_call(schema, RAPT_WEIGHTS, input);
    }
    rapt_schema_release(schema);
    for (int i = 0; i < LINES; i++)
        free(lines[i]);
    return 0;
}
