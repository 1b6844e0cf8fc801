/*
 * The golden vectors that plugins carry for the self-tests of devices are what the definitions in
 * double give. `test_plugin_golden make FOLDER` writes them:
 * FOLDER/softmax/softmax.golden.safetensors and so on, FOLDER being plugins/ of the sources.
 *
 * 70 rows of 64 features, so that tiles of 64 are filled and leave a rest; one head but where heads
 * are mixed. Inputs have the eight bits of bfloat16, so that they are the same numbers in each
 * type; everything is stored as float16.
 */
#include "mta_case.h"
#include "reference_agent.h"
#include "reference_linear.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 70, FEATURES = 64, AGENTS = 9, LEVELS = 8, MOST = 8 };

static const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
static const char *folder;

/* --- Calls and their definitions ------------------------------------------------------------- */

/* An operator's call: `add` adds its inputs, `define` sets their gradients and the output. */
typedef struct golden {
    const char *op, *attrs;
    int64_t heads;
    void (*add)(linear_call *call);
    void (*define)(linear_call *call, bool all);
} golden;

static double *value(linear_call *call, const char *name)
{
    linear_argument *x = linear_find(call, name);
    return x ? x->value : NULL;
}

/* Of an input that is there, to be written. */
static double *gradient(linear_call *call, const char *name)
{
    linear_argument *x = linear_find(call, name);
    if (x && !x->gradient)
        x->gradient = calloc((size_t)x->count, sizeof(double));
    return x ? x->gradient : NULL;
}

static void add(linear_call *call, const char *name, int32_t ndim, const int64_t *shape,
                double factor, bool positive)
{
    linear_add(call, name, ndim, shape, RAPT_BF16, LINEAR_PLAIN, factor, 0, positive);
}

static void add_rows(linear_call *call)
{
    static const int64_t rows[4] = {1, 1, ROWS, FEATURES};
    add(call, "q", 4, rows, 1, false);
    add(call, "k", 4, rows, 1, false);
    add(call, "v", 4, rows, 1, false);
}

static void add_ssa(linear_call *call)
{
    static const int64_t tau[3] = {1, 1, ROWS};
    add_rows(call);
    add(call, "tau_q", 3, tau, 1, true);
    add(call, "tau_v", 3, tau, 1, true);
}

static void define_score(linear_call *call, bool all)
{
    const reference_attention task = {
        .B = 1,
        .H = 1,
        .G = 1,
        .N = ROWS,
        .M = ROWS,
        .D = FEATURES,
        .E = FEATURES,
        .scale = 1 / sqrt(FEATURES),
        .causal = true,
        .q = value(call, "q"),
        .k = value(call, "k"),
        .v = value(call, "v"),
        .tau_q = value(call, "tau_q"),
        .tau_v = value(call, "tau_v"),
        .o = value(call, "o"),
        .grad_o = value(call, "do"),
        .grad_q = gradient(call, "q"),
        .grad_k = gradient(call, "k"),
        .grad_v = gradient(call, "v"),
        .grad_tau_q = gradient(call, "tau_q"),
        .grad_tau_v = gradient(call, "tau_v"),
    };
    (void)all;
    assert_true(reference_attend(&task, reference_find(call->op)));
}

static void add_lightning(linear_call *call)
{
    static const int64_t slope = 1;
    add_rows(call);
    add(call, "slope", 1, &slope, 0.1, true);
}

static void add_log_linear(linear_call *call)
{
    static const int64_t g[3] = {1, 1, ROWS}, l[4] = {1, 1, ROWS, LEVELS};
    add_rows(call);
    add(call, "g", 3, g, -0.2, true);
    add(call, "l", 4, l, 0.7, true);
}

static void define_linear(linear_call *call, bool all)
{
    const reference_linear task = {
        .B = 1,
        .H = 1,
        .G = 1,
        .N = ROWS,
        .D = FEATURES,
        .E = FEATURES,
        .L = value(call, "l") ? LEVELS : 0,
        .sequences = 1,
        .scale = 1,
        .q = value(call, "q"),
        .k = value(call, "k"),
        .v = value(call, "v"),
        .g = value(call, "g"),
        .l = value(call, "l"),
        .slope = value(call, "slope"),
        .o = value(call, "o"),
        .grad_o = value(call, "do"),
        .grad_q = gradient(call, "q"),
        .grad_k = gradient(call, "k"),
        .grad_v = gradient(call, "v"),
        .grad_g = gradient(call, "g"),
        .grad_l = gradient(call, "l"),
        .grad_slope = gradient(call, "slope"),
    };
    (void)all;
    assert_true(reference_linear_run(&task));
}

static double flow_loss(linear_call *call, const reference_flow *task)
{
    const linear_argument *seed = linear_find(call, "do");
    double sum = 0;
    assert_true(reference_flow_run(task));
    for (int64_t i = 0; i < seed->count; i++)
        sum += task->o[i] * seed->value[i];
    return sum;
}

/* Gradients are differences of the definition; unless `all`, most of them are left out, as NaN. */
static void define_flow(linear_call *call, bool all)
{
    static const char *const names[] = {"q", "k", "v"};
    const reference_flow task = {.N = ROWS,
                                 .M = ROWS,
                                 .D = FEATURES,
                                 .E = FEATURES,
                                 .eps = 1e-6,
                                 .clamp = 1,
                                 .q = value(call, "q"),
                                 .k = value(call, "k"),
                                 .v = value(call, "v"),
                                 .o = value(call, "o")};
    const double step = 1e-4;
    for (int i = 0; i < 3; i++) {
        double *x = value(call, names[i]), *slope = gradient(call, names[i]);
        for (int64_t at = 0; at < ROWS * FEATURES; at++) {
            const double was = x[at];
            slope[at] = NAN;
            if (!all && at % 151 != 0)
                continue;
            x[at] = was + step;
            const double above = flow_loss(call, &task);
            x[at] = was - step;
            slope[at] = (above - flow_loss(call, &task)) / (2 * step);
            x[at] = was;
        }
    }
    assert_true(reference_flow_run(&task));
}

static void define_agent(linear_call *call, bool all)
{
    const reference_agent task = {
        .B = 1,
        .H = 1,
        .N = ROWS,
        .M = ROWS,
        .D = FEATURES,
        .E = FEATURES,
        .A = AGENTS,
        .scale = 1 / sqrt(FEATURES),
        .input = {value(call, "q"), value(call, "k"), value(call, "v")},
        .grad = {gradient(call, "q"), gradient(call, "k"), gradient(call, "v")},
        .grad_o = value(call, "do"),
        .o = value(call, "o"),
    };
    (void)all;
    assert_true(reference_agent_run(&task));
}

static const mta_case mta = {.B = 1,
                             .H = 2,
                             .G = 2,
                             .N = ROWS,
                             .M = ROWS,
                             .D = FEATURES,
                             .E = FEATURES,
                             .a = 3,
                             .b = 5,
                             .r = 2,
                             .s = 3,
                             .c = 2,
                             .dtype = RAPT_BF16,
                             .kernels = RAPT_BF16};

static void add_mta(linear_call *call)
{
    mta_start(call, &mta);
}

static void define_mta(linear_call *call, bool all)
{
    double *want[RESULTS];
    linear_argument *o = linear_find(call, "o");
    (void)all;
    o->seed_value = value(call, "do");
    mta_define(call, &mta, want);
    o->seed_value = NULL;
    memcpy(o->value, want[OUTPUT], sizeof(double) * (size_t)o->count);
    for (int i = 0; i < RESULTS; i++) {
        linear_argument *x = i < INPUTS ? linear_find(call, mta_names[i]) : NULL;
        if (x)
            memcpy(gradient(call, x->name), want[i], sizeof(double) * (size_t)x->count);
        free(want[i]);
    }
}

static const golden files[] = {
    {"softmax", "{\"causal\": true}", 1, add_rows, define_score},
    {"cog", "{\"causal\": true}", 1, add_rows, define_score},
    {"ssa", "{\"causal\": true}", 1, add_ssa, define_score},
    {"lightning", "{}", 1, add_lightning, define_linear},
    {"log_linear", "{}", 1, add_log_linear, define_linear},
    {"flow", "{}", 1, add_rows, define_flow},
    {"agent", "{\"n_agents\": 9}", 1, add_rows, define_agent},
    {"mta", "{\"causal\": true}", 2, add_mta, define_mta},
};
enum { FILES = sizeof files / sizeof *files };

/* The inputs, the output's gradient "do" among them, and room for the output; ends with
 * linear_free. */
static linear_call start(const golden *file)
{
    const int64_t shape[4] = {1, file->heads, ROWS, FEATURES};
    linear_call call = {.context = mta_context, .op = file->op, .seed = 1};
    file->add(&call);
    add(&call, "do", 4, shape, 1, false);
    if (call.n_out == 0)
        linear_want(&call, "o");
    call.out[0].count = file->heads * ROWS * FEATURES;
    call.out[0].value = calloc((size_t)call.out[0].count, sizeof(double));
    assert_non_null(call.out[0].value);
    return call;
}

static void path_of(const char *op, char *path, size_t size)
{
    snprintf(path, size, "%s/%s/%s.golden.safetensors", folder, op, op);
}

/* --- To files -------------------------------------------------------------------------------- */

static rapt_tensor *stored_as(const rapt_tensor *like, const double *x)
{
    rapt_error error = {0};
    const rapt_view *view = rapt_tensor_view(like);
    rapt_tensor *wide = rapt_tensor_from(mta_context, RAPT_F64, view->ndim, view->shape, x, &error);
    rapt_tensor *half = wide ? rapt_to(mta_context, wide, RAPT_F16, cpu, &error) : NULL;
    if (!half)
        fail_msg("%s", error.message);
    rapt_tensor_release(wide);
    return half;
}

static void write_file(const golden *file)
{
    linear_call call = start(file);
    rapt_named_tensor tensors[2 * MOST];
    char names[MOST][32], path[1024];
    size_t n = 0;
    file->define(&call, true);
    for (int i = 0; i < call.n_in; i++) {
        const linear_argument *x = &call.in[i];
        tensors[n++] = (rapt_named_tensor){x->name, stored_as(x->tensor, x->value)};
        snprintf(names[i], sizeof names[i], "d%s", x->name);
        if (x->gradient)
            tensors[n++] = (rapt_named_tensor){names[i], stored_as(x->tensor, x->gradient)};
    }
    tensors[n++] =
        (rapt_named_tensor){"o", stored_as(linear_find(&call, "do")->tensor, call.out[0].value)};
    const rapt_named_text metadata[2] = {{"op", file->op}, {"attrs", file->attrs}};
    rapt_error error = {0};
    path_of(file->op, path, sizeof path);
    score_must(rapt_save_safetensors(path, tensors, n, metadata, 2, &error), &error);
    for (size_t i = 0; i < n; i++)
        rapt_tensor_release(tensors[i].tensor);
    linear_free(&call);
}

/* --- From files ------------------------------------------------------------------------------ */

static double *read_tensor(const rapt_file *file, const char *prefix, const char *name,
                           int64_t count)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, whole) == 0) {
            assert_int_equal(rapt_tensor_count(file->tensors[i].tensor), count);
            return score_read(mta_context, file->tensors[i].tensor);
        }
    fail_msg("no %s", whole);
    return NULL;
}

/* The stored tensor beside `want`, where that is not NaN. */
static void compare(const linear_call *call, const rapt_file *file, const char *prefix,
                    const char *name, double *want, int64_t n)
{
    double *got = read_tensor(file, prefix, name, n);
    for (int64_t i = 0; i < n; i++)
        if (isnan(want[i]))
            got[i] = want[i] = 0;
    linear_compare(call, name, got, want, n, 0x1p-11); /* half a unit of float16 */
    free(got);
}

static void check(void **state)
{
    const golden *file = *state;
    linear_call call = start(file);
    rapt_error error = {0};
    path_of(file->op, call.text, sizeof call.text);
    rapt_file *stored = rapt_load_safetensors(call.text, &error);
    if (!stored)
        fail_msg("%s", error.message);
    for (int i = 0; i < call.n_in; i++) {
        linear_argument *x = &call.in[i];
        free(x->value);
        x->value = read_tensor(stored, "", x->name, x->count);
    }
    file->define(&call, false);
    compare(&call, stored, "", "o", call.out[0].value, call.out[0].count);
    size_t n = 1;
    for (int i = 0; i < call.n_in; i++) {
        linear_argument *x = &call.in[i];
        n += x->gradient ? 2 : 1;
        if (x->gradient)
            compare(&call, stored, "d", x->name, x->gradient, x->count);
    }
    assert_int_equal(stored->n_tensors, n);
    rapt_file_free(stored);
    linear_free(&call);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[FILES];
    mta_context = score_context();
    folder = argc == 3 ? argv[2] : getenv("RAPT_TEST_SOURCES");
    for (int i = 0; argc == 3 && strcmp(argv[1], "make") == 0 && i < FILES; i++)
        write_file(&files[i]);
    for (int i = 0; i < FILES; i++)
        tests[i] = (struct CMUnitTest){
            .name = files[i].op, .test_func = check, .initial_state = (void *)(uintptr_t)&files[i]};
    const int failed = cmocka_run_group_tests_name("golden vectors of plugins", tests, NULL, NULL);
    rapt_close(mta_context);
    return failed;
}
