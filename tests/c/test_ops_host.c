#include "test_ops_host.h"
#include "base/error.h"
#include "device/cpu/services.h"
#include "ops/ops.h"
#include "tensor/convert.h"
#include "tensor/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

#define GUARD   64
#define UNSET   0xff /* what outputs hold before: a NaN in every real dtype */
#define SAMPLES 24   /* elements of an input whose gradient is checked */
#define MANY    1000 /* of an input with more elements than this, an eighth of them */

int64_t ops_spoil_at = -1, ops_spoil_value;
const double *ops_given;

/* --- Memory with guards --------------------------------------------------------------------- */

typedef struct block {
    unsigned char *memory, *before; /* `before`: what an input held */
    size_t bytes;
    rapt_view view;
    int64_t shape[RAPT_MAX_DIMS], strides[RAPT_MAX_DIMS];
} block;

struct ops_run {
    rapt_schema *schema;
    const rapt_kernel *kernel;
    ops_options options;
    rapt_binding binding;
    rapt_value attrs[RAPT_MAX_ATTRS];
    block in[REFERENCE_MOST], out, saved[REFERENCE_MOST], grad_out, grad_in[REFERENCE_MOST];
    reference_call reference;
    rapt_call call;
    char message[RAPT_ERROR_SIZE];
    void *scratch[256];
    int n_scratch;
};

static void block_make(block *b, rapt_dtype dtype, int32_t ndim, const int64_t *shape,
                       ops_layout layout)
{
    static const rapt_dltype types[RAPT_DTYPE_COUNT] = {{2, 32, 1}, {2, 16, 1}, {4, 16, 1},
                                                        {2, 64, 1}, {0, 32, 1}, {0, 64, 1},
                                                        {1, 8, 1},  {6, 8, 1}};
    int64_t extent = 1;
    memcpy(b->shape, shape, (size_t)ndim * sizeof *shape);
    for (int32_t step = 0; step < ndim; step++) {
        int32_t d = ndim - 1 - step;
        if (layout == OPS_REVERSED)
            d = step;
        else if (layout == OPS_PADDED && step > 0)
            d = step - 1;
        b->strides[d] = layout == OPS_REVERSED && step == 0 ? 2 : extent;
        extent = b->strides[d] * (shape[d] > 0 ? shape[d] : 1) + (layout == OPS_PADDED ? 3 : 0);
    }
    b->bytes = (size_t)extent * rapt_dtype_size(dtype);
    b->memory = malloc(b->bytes + 2 * GUARD);
    assert_non_null(b->memory);
    memset(b->memory, UNSET, b->bytes + 2 * GUARD);
    b->view = (rapt_view){.data = b->memory,
                          .byte_offset = GUARD,
                          .device = {RAPT_DEVICE_CPU, 0},
                          .ndim = ndim,
                          .dtype = types[dtype],
                          .shape = b->shape,
                          .strides = b->strides};
}

static void block_free(block *b)
{
    free(b->memory);
    free(b->before);
}

static void block_guards(const block *b, const char *what)
{
    for (size_t i = 0; b->memory != NULL && i < GUARD; i++)
        if (b->memory[i] != UNSET || b->memory[GUARD + b->bytes + i] != UNSET)
            fail_msg("%s: written outside its memory", what);
}

static int64_t block_count(const block *b)
{
    int64_t count = 1;
    for (int32_t d = 0; d < b->view.ndim; d++)
        count *= b->shape[d];
    return count;
}

static void *block_element(const block *b, int64_t i)
{
    int64_t offset = 0;
    for (int32_t d = b->view.ndim - 1; d >= 0; d--) {
        offset += i % b->shape[d] * b->strides[d];
        i /= b->shape[d];
    }
    return (char *)rapt_view_data(&b->view) +
           offset * (int64_t)rapt_dtype_size(rapt_view_dtype(&b->view));
}

static double block_get(const block *b, int64_t i)
{
    return rapt_element_get(block_element(b, i), rapt_view_dtype(&b->view));
}

/* --- Host ----------------------------------------------------------------------------------- */

static int workers_now = 1;

static void host_log(const rapt_call *call, rapt_log_level level, const char *format, ...)
{
    (void)call, (void)level, (void)format;
}

static rapt_status host_error(rapt_call *call, rapt_status status, const char *format, ...)
{
    ops_run *run = call->internal;
    va_list list;
    va_start(list, format);
    vsnprintf(run->message, sizeof run->message, format, list);
    va_end(list);
    return status;
}

static void *host_scratch(rapt_call *call, size_t bytes)
{
    ops_run *run = call->internal;
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(memory);
    assert_true(run->n_scratch < 256);
    memset(memory, UNSET, bytes);
    run->scratch[run->n_scratch++] = memory;
    return memory;
}

static void host_parallel_for(rapt_call *call, int64_t n, int64_t grain, rapt_task task,
                              void *context)
{
    const int64_t pieces = (n + grain - 1) / grain;
    (void)call;
    assert_true(n >= 0 && grain >= 1);
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t piece = workers_now > 1 ? pieces - 1 - i : i;
        const int64_t begin = piece * grain, left = n - begin;
        task(context, begin, begin + (left < grain ? left : grain), (int)(piece % workers_now));
    }
}

static int host_workers(void)
{
    return workers_now;
}

static const void *host_service(const char *name, uint32_t version)
{
    static const rapt_random_service random = {sizeof random, rapt_philox_bits, rapt_philox_uniform,
                                               rapt_philox_normal};
    assert_int_equal(version, 1);
    if (strcmp(name, "rapt.cpu") == 0)
        return rapt_cpu_table();
    if (strcmp(name, "rapt.gemm") == 0)
        return &rapt_gemm_table;
    if (strcmp(name, "rapt.math") == 0)
        return rapt_math_select();
    return strcmp(name, "rapt.random") == 0 ? &random : NULL;
}

const rapt_host *ops_host(int workers)
{
    static const rapt_host host = {sizeof host,  RAPT_ABI_MAJOR, RAPT_ABI_MINOR, "test",
                                   host_log,     host_error,     host_scratch,   host_parallel_for,
                                   host_workers, host_service};
    workers_now = workers;
    return &host;
}

static rapt_status add(void *user, const rapt_operator *operators, size_t n)
{
    rapt_error error;
    const rapt_status status = rapt_registry_add_builtin(user, operators, n, &error);
    if (status != RAPT_OK)
        fail_msg("%s", error.message);
    return status;
}

rapt_registry *ops_registry(void)
{
    static rapt_registry *registry;
    rapt_error error;
    if (registry == NULL) {
        registry = rapt_registry_new(ops_host(1), &error);
        assert_non_null(registry);
        assert_int_equal(rapt_register_builtins(add, registry), RAPT_OK);
    }
    return registry;
}

/* --- Cases ---------------------------------------------------------------------------------- */

typedef struct input_text {
    char name[32], kind[16];
    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
} input_text;

static const char *parse_input(const char *at, input_text *out)
{
    int used = 0;
    memset(out, 0, sizeof *out);
    assert_int_equal(sscanf(at, " %31[^=]=%n", out->name, &used), 1);
    at += used;
    if (*at == '-')
        at++;
    while (*at >= '0' && *at <= '9') {
        out->shape[out->ndim++] = strtoll(at, (char **)(uintptr_t)&at, 10);
        at += *at == ',';
    }
    if (*at == ':') {
        assert_int_equal(sscanf(at, ":%15s%n", out->kind, &used), 1);
        at += used;
    }
    return at + strspn(at, " ");
}

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) / 9007199254740992.0;
}

static double normal(uint64_t *state)
{
    const double u = uniform(state) + 1e-12;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * uniform(state));
}

static rapt_dtype kind_dtype(const char *kind, rapt_dtype compute)
{
    if (strncmp(kind, "i32", 3) == 0)
        return RAPT_I32;
    if (strncmp(kind, "i64", 3) == 0)
        return RAPT_I64;
    if (strncmp(kind, "u8", 2) == 0)
        return RAPT_U8;
    if (strncmp(kind, "f32", 3) == 0)
        return RAPT_F32;
    return strncmp(kind, "bool", 4) == 0 ? RAPT_BOOL : compute;
}

static double draw(const char *kind, uint64_t *state)
{
    const char *limit = strchr(kind, '<');
    if (limit != NULL)
        return floor(uniform(state) * strtod(limit + 1, NULL));
    if (strcmp(kind, "given") == 0)
        return *ops_given++;
    if (strcmp(kind, "bool") == 0)
        return uniform(state) < 0.5;
    if (strstr(kind, "positive") != NULL)
        return 0.5 + 2 * uniform(state);
    if (strcmp(kind, "grid") == 0)
        return floor(uniform(state) * 16) / 4 - 2;
    if (strcmp(kind, "between") == 0)
        return floor(uniform(state) * 16) / 4 - 1.875;
    return normal(state);
}

/* The input in memory and, with the same rounding, in the reference. */
static void make_input(ops_run *run, uint32_t i, const input_text *text, uint64_t *state)
{
    const rapt_dtype dtype = kind_dtype(text->kind, run->options.dtype);
    reference_tensor *t = &run->reference.in[i];
    block *b = &run->in[i];
    block_make(b, dtype, text->ndim, text->shape, run->options.layout);
    t->ndim = text->ndim;
    t->count = block_count(b);
    memcpy(t->shape, text->shape, sizeof t->shape);
    t->x = calloc((size_t)t->count + 1, sizeof *t->x);
    assert_non_null(t->x);
    for (int64_t k = 0; k < t->count; k++) {
        rapt_element_set(block_element(b, k), dtype, draw(text->kind, state));
        if (k == ops_spoil_at && strchr(text->kind, '<') != NULL)
            rapt_element_set(block_element(b, k), dtype, (double)ops_spoil_value);
        t->x[k] = block_get(b, k);
    }
    b->before = malloc(b->bytes + 1);
    assert_non_null(b->before);
    memcpy(b->before, b->memory + GUARD, b->bytes);
}

static size_t parse_attrs(const rapt_schema *schema, const char *text, rapt_named_value *values,
                          char (*names)[2][64])
{
    size_t n = 0;
    int used = 0;
    for (; sscanf(text, " %63[^=]=%63s%n", names[n][0], names[n][1], &used) == 2; text += used) {
        rapt_named_value *v = &values[n];
        const char *at = names[n][1];
        memset(v, 0, sizeof *v);
        v->name = names[n++][0];
        const int32_t index = rapt_schema_attr(schema, v->name);
        v->type = index >= 0 ? schema->op.attrs[index].type : RAPT_ATTR_INT;
        v->f = strtod(at, NULL);
        v->i[0] = v->type == RAPT_ATTR_BOOL ? strcmp(at, "true") == 0 : strtoll(at, NULL, 10);
        v->text = at;
        while (v->type == RAPT_ATTR_INTS && *at != 0) {
            v->i[v->count++] = strtoll(at, (char **)(uintptr_t)&at, 10);
            at += *at == ',';
        }
    }
    return n;
}

/* --- Forward -------------------------------------------------------------------------------- */

static bool takes_layout(const ops_run *run)
{
    return run->options.layout != OPS_REVERSED || (run->kernel->flags & RAPT_ANY_STRIDES);
}

static rapt_status bind(ops_run *run, const ops_case *test)
{
    rapt_named_value values[RAPT_MAX_ATTRS];
    rapt_named_view views[REFERENCE_MOST];
    char names[RAPT_MAX_ATTRS][2][64];
    char input_names[REFERENCE_MOST][32];
    uint64_t state = 12345;
    rapt_error error;
    size_t n = 0;
    for (const char *at = test->inputs; *at != 0; n++) {
        input_text text;
        at = parse_input(at, &text);
        const int32_t i = rapt_schema_input(run->schema, text.name);
        assert_true(i >= 0);
        make_input(run, (uint32_t)i, &text, &state);
        memcpy(input_names[n], text.name, sizeof text.name);
        views[n] = (rapt_named_view){input_names[n], &run->in[i].view};
    }
    const size_t n_attrs = parse_attrs(run->schema, test->attrs, values, names);
    const rapt_status status =
        rapt_bind(run->schema, RAPT_FORWARD, views, n, values, n_attrs, &run->binding, &error);
    if (status != RAPT_OK)
        snprintf(run->message, sizeof run->message, "%s", error.message);
    return status;
}

static rapt_status shape_output(ops_run *run, int32_t *ndim, int64_t *shape)
{
    int64_t shapes[1][RAPT_MAX_DIMS] = {{0}};
    rapt_error error;
    if (!run->schema->outputs[0].any) {
        const rapt_status status =
            rapt_bound_shape(&run->binding, &run->schema->outputs[0], ndim, shape, &error);
        if (status != RAPT_OK)
            snprintf(run->message, sizeof run->message, "%s", error.message);
        return status;
    }
    const rapt_status status = run->schema->op.infer(&run->call, shapes, ndim);
    memcpy(shape, shapes[0], sizeof shapes[0]);
    return status;
}

static rapt_status prepare(ops_run *run, const ops_case *test)
{
    static const rapt_view *inputs[REFERENCE_MOST];
    const rapt_status status = bind(run, test);
    if (status != RAPT_OK)
        return status;
    for (int i = 0; i < REFERENCE_MOST; i++)
        inputs[i] = run->in[i].memory != NULL ? &run->in[i].view : NULL;
    run->reference.op = &run->schema->op;
    run->reference.attrs = run->binding.attrs;
    run->call = (rapt_call){.size = sizeof run->call,
                            .phase = RAPT_FORWARD,
                            .host = ops_host(run->options.workers),
                            .op = &run->schema->op,
                            .kernel = run->kernel,
                            .inputs = inputs,
                            .attrs = run->binding.attrs,
                            .sizes = run->binding.sizes,
                            .dtype = run->binding.dtype,
                            .internal = run};
    return RAPT_OK;
}

static rapt_status forward(ops_run *run)
{
    static rapt_view *outputs[2], *saved[REFERENCE_MOST]; /* a second output is not asked for */
    int64_t shape[RAPT_MAX_DIMS];
    int32_t ndim;
    rapt_error error;
    if (run->schema->op.n_outputs > 0) {
        const rapt_status status = shape_output(run, &ndim, shape);
        if (status != RAPT_OK)
            return status;
        block_make(&run->out, rapt_bound_output_dtype(&run->binding, 0), ndim, shape,
                   OPS_CONTIGUOUS);
    }
    for (uint32_t i = 0; i < run->kernel->n_saved; i++) {
        assert_int_equal(
            rapt_bound_shape(&run->binding, &run->schema->saved[0][i], &ndim, shape, &error),
            RAPT_OK);
        block_make(&run->saved[i], rapt_bound_saved_dtype(&run->binding, 0, i), ndim, shape,
                   OPS_CONTIGUOUS);
        saved[i] = &run->saved[i].view;
    }
    outputs[0] = &run->out.view;
    run->call.outputs = outputs;
    run->call.saved = saved;
    return run->kernel->forward(&run->call);
}

static ops_run *start(const ops_case *test, ops_options options, rapt_status *status)
{
    ops_run *run = calloc(1, sizeof *run);
    char name[64];
    rapt_error error;
    assert_non_null(run);
    snprintf(name, sizeof name, "core.%s", test->op);
    if (rapt_registry_find(ops_registry(), name, &run->schema, &error) != RAPT_OK)
        fail_msg("%s", error.message);
    run->kernel = run->schema->op.kernels;
    run->options = options;
    if (!(run->kernel->dtypes & RAPT_DTYPE_BIT(options.dtype)) || !takes_layout(run)) {
        free(run);
        return NULL;
    }
    *status = prepare(run, test);
    return run;
}

static void check_unharmed(const ops_run *run)
{
    char what[128];
    for (uint32_t i = 0; i < run->schema->op.n_inputs; i++) {
        snprintf(what, sizeof what, "%s: %s", run->schema->op.name, run->schema->inputs[i].name);
        block_guards(&run->in[i], what);
        if (!(run->schema->op.inputs[i].flags & RAPT_MUTATED) && run->in[i].memory != NULL &&
            memcmp(run->in[i].before, run->in[i].memory + GUARD, run->in[i].bytes) != 0)
            fail_msg("%s: an input was written", what);
        block_guards(&run->grad_in[i], what);
    }
    block_guards(&run->out, run->schema->op.name);
    for (uint32_t i = 0; i < run->kernel->n_saved; i++)
        block_guards(&run->saved[i], run->schema->op.name);
}

ops_run *ops_forward(const ops_case *test, ops_options options)
{
    rapt_status status;
    ops_run *run = start(test, options, &status);
    if (run == NULL)
        return NULL;
    if (status == RAPT_OK)
        status = forward(run);
    if (status != RAPT_OK)
        fail_msg("%s (%s; %s): %s", test->op, test->inputs, test->attrs, run->message);
    check_unharmed(run);
    return run;
}

rapt_status ops_failure(const ops_case *test, ops_options options, char *message, size_t size)
{
    rapt_status status;
    ops_run *run = start(test, options, &status);
    assert_non_null(run);
    if (status == RAPT_OK)
        status = forward(run);
    snprintf(message, size, "%s", run->message);
    for (size_t i = 0; run->out.memory != NULL && i < run->out.bytes; i++)
        if (status != RAPT_OK && run->out.memory[GUARD + i] != UNSET)
            fail_msg("%s: wrote its output and then failed", test->op);
    check_unharmed(run);
    ops_free(run);
    return status;
}

/* --- Comparing ------------------------------------------------------------------------------ */

static void compare(const ops_run *run, const block *b, const reference_tensor *t, const char *what,
                    double tolerance)
{
    double greatest = 0;
    assert_int_equal(b->view.ndim, t->ndim);
    for (int32_t d = 0; d < t->ndim; d++)
        assert_int_equal(b->shape[d], t->shape[d]);
    for (int64_t i = 0; i < t->count; i++)
        greatest = fmax(greatest, fabs(t->x[i]));
    for (int64_t i = 0; i < t->count; i++) {
        const double got = block_get(b, i);
        if (!(fabs(got - t->x[i]) <= tolerance * fmax(greatest, 1e-3)))
            fail_msg("%s: %s[%lld] is %.9g, not %.9g (%s, layout %d)", run->schema->op.name, what,
                     (long long)i, got, t->x[i],
                     rapt_dtype_size(run->options.dtype) == 4   ? "f32"
                     : rapt_dtype_size(run->options.dtype) == 8 ? "f64"
                                                                : "half",
                     (int)run->options.layout);
    }
}

void ops_check_forward(ops_run *run, double tolerance)
{
    if (!reference_run(&run->reference))
        fail_msg("%s: no reference", run->schema->op.name);
    if (run->schema->op.n_outputs > 0)
        compare(run, &run->out, &run->reference.out, "output", tolerance);
    for (uint32_t i = 0; i < run->schema->op.n_inputs; i++)
        if (run->schema->op.inputs[i].flags & RAPT_MUTATED)
            compare(run, &run->in[i], &run->reference.in[i], run->schema->inputs[i].name,
                    tolerance);
}

/* Sum of the output times the weights, at element k of input i moved by h. */
static double objective(ops_run *run, uint32_t i, int64_t k, double h)
{
    reference_call call = run->reference;
    double total = 0;
    call.in[i].x[k] += h;
    reference_run(&call);
    call.in[i].x[k] -= h;
    for (int64_t o = 0; o < call.out.count; o++)
        total += call.out.x[o] * block_get(&run->grad_out, o);
    free(call.out.x);
    return total;
}

static void check_gradient(ops_run *run, uint32_t i, double tolerance)
{
    const block *b = &run->grad_in[i];
    const int64_t count = block_count(b), samples = count > MANY ? SAMPLES / 8 : SAMPLES;
    const int64_t step = count / samples + 1;
    double expected[SAMPLES + 1], greatest = 0;
    int n = 0;
    for (int64_t k = 0; k < count; k++)
        if (!isfinite(block_get(b, k)))
            fail_msg("%s: gradient of %s[%lld] is not finite", run->schema->op.name,
                     run->schema->inputs[i].name, (long long)k);
    for (int64_t k = 0; k < count; k += step, n++) {
        const double h = 1e-5;
        expected[n] = (objective(run, i, k, h) - objective(run, i, k, -h)) / (2 * h);
        greatest = fmax(greatest, fabs(expected[n]));
    }
    n = 0;
    for (int64_t k = 0; k < count; k += step, n++)
        if (!(fabs(block_get(b, k) - expected[n]) <= tolerance * fmax(greatest, 0.1)))
            fail_msg("%s: gradient of %s[%lld] is %.9g, not %.9g (dtype %d, layout %d)",
                     run->schema->op.name, run->schema->inputs[i].name, (long long)k,
                     block_get(b, k), expected[n], (int)run->options.dtype,
                     (int)run->options.layout);
}

bool ops_check_backward(ops_run *run, double tolerance)
{
    static rapt_view *grad_inputs[REFERENCE_MOST], *outputs[2];
    static const rapt_view *grad_outputs[2], *inputs[REFERENCE_MOST];
    uint64_t state = 777;
    if (run->kernel->backward == NULL)
        return false;
    const rapt_dtype dtype = rapt_view_dtype(&run->out.view);
    block_make(&run->grad_out, dtype, run->out.view.ndim, run->out.shape, OPS_CONTIGUOUS);
    for (int64_t i = 0; i < block_count(&run->grad_out); i++)
        rapt_element_set(block_element(&run->grad_out, i), dtype, normal(&state));
    grad_outputs[0] = &run->grad_out.view;
    for (uint32_t i = 0; i < run->schema->op.n_inputs; i++) {
        inputs[i] = run->schema->keep_inputs[0] >> i & 1 ? run->call.inputs[i] : NULL;
        grad_inputs[i] = NULL;
        if (run->call.inputs[i] == NULL || !(run->schema->op.inputs[i].flags & RAPT_DIFFERENTIABLE))
            continue;
        block_make(&run->grad_in[i], rapt_view_dtype(&run->in[i].view), run->in[i].view.ndim,
                   run->in[i].shape, OPS_CONTIGUOUS);
        grad_inputs[i] = &run->grad_in[i].view;
    }
    outputs[0] = run->schema->keep_outputs[0] & 1 ? &run->out.view : NULL;
    run->call.phase = RAPT_BACKWARD;
    run->call.inputs = inputs;
    run->call.outputs = outputs;
    run->call.grad_outputs = grad_outputs;
    run->call.grad_inputs = grad_inputs;
    if (run->kernel->backward(&run->call) != RAPT_OK)
        fail_msg("%s: backward: %s", run->schema->op.name, run->message);
    check_unharmed(run);
    for (uint32_t i = 0; tolerance > 0 && i < run->schema->op.n_inputs; i++)
        if (grad_inputs[i] != NULL)
            check_gradient(run, i, tolerance);
    return true;
}

double ops_output(const ops_run *run, int64_t i)
{
    return block_get(&run->out, i);
}

double ops_gradient(const ops_run *run, int which, int64_t i)
{
    return block_get(&run->grad_in[which], i);
}

double ops_input(const ops_run *run, int which, int64_t i)
{
    return block_get(&run->in[which], i);
}

double ops_output_gradient(const ops_run *run, int64_t i)
{
    return block_get(&run->grad_out, i);
}

static uint64_t hash_block(uint64_t hash, const block *b)
{
    for (size_t i = 0; b->memory != NULL && i < b->bytes; i++)
        hash = (hash ^ b->memory[GUARD + i]) * 1099511628211u;
    return hash;
}

uint64_t ops_hash(const ops_run *run)
{
    uint64_t hash = hash_block(14695981039346656037u, &run->out);
    for (int i = 0; i < REFERENCE_MOST; i++) {
        hash = hash_block(hash, &run->in[i]);
        hash = hash_block(hash_block(hash, &run->saved[i]), &run->grad_in[i]);
    }
    return hash;
}

const rapt_schema *ops_schema(const ops_run *run)
{
    return run->schema;
}

void ops_free(ops_run *run)
{
    for (int i = 0; i < REFERENCE_MOST; i++) {
        block_free(&run->in[i]);
        block_free(&run->saved[i]);
        block_free(&run->grad_in[i]);
        free(run->reference.in[i].x);
    }
    block_free(&run->out);
    block_free(&run->grad_out);
    free(run->reference.out.x);
    for (int i = 0; i < run->n_scratch; i++)
        free(run->scratch[i]);
    free(run);
}
