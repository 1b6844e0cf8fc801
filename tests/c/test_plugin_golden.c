/*
 * The golden vectors that plugins carry for the self-tests of devices are what the definitions in
 * double give. `test_plugin_golden make FOLDER` writes them:
 * FOLDER/softmax/softmax.golden.safetensors and so on, FOLDER being plugins/ of the sources.
 *
 * One head of 70 rows of 64 features, so that tiles of 64 are filled and leave a rest. All numbers
 * have eight bits, so that they are the same in each type; results are stored as float16.
 */
#include "reference_agent.h"
#include "reference_attention.h"
#include "reference_linear.h"
#include "reference_mta.h"
#include "score_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 70, FEATURES = 64, AGENTS = 9, LEVELS = 8, MOST = 8 };

static const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
static const char *folder;
static rapt_context *context;

typedef struct input {
    const char *name;
    int32_t ndim;
    int64_t shape[4], count;
    double *value, *gradient;
} input;

typedef struct vectors {
    const char *op, *attrs;
    int n;
    input in[MOST];
    int64_t heads;
    double *seed, *o;
    int64_t count; /* of each of the two */
    uint64_t state;
    bool all; /* gradients that cost much: all of them, otherwise some and NaN elsewhere */
} vectors;

/* --- Numbers --------------------------------------------------------------------------------- */

/* Normal, or nearly, by exact sums alone; to eight bits. */
static double draw(uint64_t *state, double factor)
{
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(*state >> 40) / (1 << 24);
    }
    int exponent;
    const double part = frexp(sum * factor, &exponent);
    return exponent < -12 ? 0 : ldexp(rint(ldexp(part, 8)), exponent - 8);
}

static double *numbers(int64_t n)
{
    double *x = calloc((size_t)n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* factor x, or for `positive` factor |x|. */
static void add(vectors *v, const char *name, int32_t ndim, const int64_t *shape, double factor,
                bool positive)
{
    input *x = &v->in[v->n++];
    assert_true(v->n <= MOST);
    *x = (input){.name = name, .ndim = ndim, .count = 1};
    for (int32_t d = 0; d < ndim; d++)
        x->count *= x->shape[d] = shape[d];
    x->value = numbers(x->count);
    x->gradient = numbers(x->count);
    for (int64_t i = 0; i < x->count; i++) {
        const double value = draw(&v->state, factor);
        x->value[i] = positive ? copysign(value, factor) : value;
    }
}

static input *find(vectors *v, const char *name)
{
    for (int i = 0; i < v->n; i++)
        if (strcmp(v->in[i].name, name) == 0)
            return &v->in[i];
    fail_msg("%s has no input %s", v->op, name);
    return NULL;
}

static double *value(vectors *v, const char *name)
{
    return find(v, name)->value;
}

static double *gradient(vectors *v, const char *name)
{
    return find(v, name)->gradient;
}

/* --- Calls and their definitions ------------------------------------------------------------- */

static void add_score(vectors *v)
{
    static const int64_t tau[3] = {1, 1, ROWS};
    if (strcmp(v->op, "ssa") == 0) {
        add(v, "tau_q", 3, tau, 1, true);
        add(v, "tau_v", 3, tau, 1, true);
    }
}

static void define_score(vectors *v)
{
    const bool ssa = strcmp(v->op, "ssa") == 0;
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
        .q = value(v, "q"),
        .k = value(v, "k"),
        .v = value(v, "v"),
        .o = v->o,
        .grad_o = v->seed,
        .grad_q = gradient(v, "q"),
        .grad_k = gradient(v, "k"),
        .grad_v = gradient(v, "v"),
        .tau_q = ssa ? value(v, "tau_q") : NULL,
        .tau_v = ssa ? value(v, "tau_v") : NULL,
        .grad_tau_q = ssa ? gradient(v, "tau_q") : NULL,
        .grad_tau_v = ssa ? gradient(v, "tau_v") : NULL,
    };
    assert_true(reference_attend(&task, reference_find(v->op)));
}

static void add_linear(vectors *v)
{
    static const int64_t g[3] = {1, 1, ROWS}, l[4] = {1, 1, ROWS, LEVELS}, slope = 1;
    if (strcmp(v->op, "lightning") == 0) {
        add(v, "slope", 1, &slope, 0.1, true);
    } else {
        add(v, "g", 3, g, -0.2, true);
        add(v, "l", 4, l, 0.7, true);
    }
}

static void define_linear(vectors *v)
{
    const bool lightning = strcmp(v->op, "lightning") == 0;
    const reference_linear task = {
        .B = 1,
        .H = 1,
        .G = 1,
        .N = ROWS,
        .D = FEATURES,
        .E = FEATURES,
        .L = lightning ? 0 : LEVELS,
        .sequences = 1,
        .scale = 1,
        .q = value(v, "q"),
        .k = value(v, "k"),
        .v = value(v, "v"),
        .slope = lightning ? value(v, "slope") : NULL,
        .g = lightning ? NULL : value(v, "g"),
        .l = lightning ? NULL : value(v, "l"),
        .grad_o = v->seed,
        .o = v->o,
        .grad_q = gradient(v, "q"),
        .grad_k = gradient(v, "k"),
        .grad_v = gradient(v, "v"),
        .grad_slope = lightning ? gradient(v, "slope") : NULL,
        .grad_g = lightning ? NULL : gradient(v, "g"),
        .grad_l = lightning ? NULL : gradient(v, "l"),
    };
    assert_true(reference_linear_run(&task));
}

static double flow_loss(const vectors *v, const reference_flow *task)
{
    double sum = 0;
    assert_true(reference_flow_run(task));
    for (int64_t i = 0; i < v->count; i++)
        sum += task->o[i] * v->seed[i];
    return sum;
}

/* Gradients are differences of the definition. */
static void define_flow(vectors *v)
{
    reference_flow task = {.N = ROWS,
                           .M = ROWS,
                           .D = FEATURES,
                           .E = FEATURES,
                           .eps = 1e-6,
                           .clamp = 1,
                           .q = value(v, "q"),
                           .k = value(v, "k"),
                           .v = value(v, "v"),
                           .o = numbers(v->count)};
    const double step = 1e-4;
    for (int i = 0; i < v->n; i++)
        for (int64_t at = 0; at < v->in[i].count; at++) {
            double *x = &v->in[i].value[at];
            const double was = *x;
            v->in[i].gradient[at] = NAN;
            if (!v->all && at % 151 != 0)
                continue;
            *x = was + step;
            const double above = flow_loss(v, &task);
            *x = was - step;
            v->in[i].gradient[at] = (above - flow_loss(v, &task)) / (2 * step);
            *x = was;
        }
    free(task.o);
    task.o = v->o;
    assert_true(reference_flow_run(&task));
}

static void add_nothing(vectors *v)
{
    (void)v;
}

static void define_agent(vectors *v)
{
    reference_agent task = {.B = 1,
                            .H = 1,
                            .N = ROWS,
                            .M = ROWS,
                            .D = FEATURES,
                            .E = FEATURES,
                            .A = AGENTS,
                            .scale = 1 / sqrt(FEATURES),
                            .grad_o = v->seed,
                            .o = v->o};
    static const char *const names[] = {"q", "k", "v"};
    for (int i = AGENT_Q; i <= AGENT_V; i++) {
        task.input[i] = value(v, names[i]);
        task.grad[i] = gradient(v, names[i]);
    }
    assert_true(reference_agent_run(&task));
}

static void add_mta(vectors *v)
{
    static const int64_t qk[3] = {2, 3, 5}, post[3] = {2, 2, 3}, heads[3] = {1, 2, 2};
    add(v, "qk_kernel", 3, qk, 1 / sqrt(3 * 5), false);
    add(v, "qk_kernel_post", 3, post, 1 / sqrt(2 * 3), false);
    add(v, "head_kernel", 3, heads, 1, false);
}

static void define_mta(vectors *v)
{
    double *weights = numbers(2 * ROWS * ROWS), *lse = numbers(2 * ROWS);
    const reference_mta task = {.B = 1,
                                .H = 2,
                                .G = 2,
                                .N = ROWS,
                                .M = ROWS,
                                .D = FEATURES,
                                .E = FEATURES,
                                .scale = 1 / sqrt(FEATURES),
                                .causal = true,
                                .q = value(v, "q"),
                                .k = value(v, "k"),
                                .v = value(v, "v"),
                                .a = 3,
                                .b = 5,
                                .r = 2,
                                .s = 3,
                                .c = 2,
                                .qk = value(v, "qk_kernel"),
                                .post = value(v, "qk_kernel_post"),
                                .heads = value(v, "head_kernel"),
                                .left = -1,
                                .right = -1,
                                .o = v->o,
                                .weights = weights,
                                .lse = lse,
                                .grad_o = v->seed,
                                .grad_q = gradient(v, "q"),
                                .grad_k = gradient(v, "k"),
                                .grad_v = gradient(v, "v"),
                                .grad_qk = gradient(v, "qk_kernel"),
                                .grad_post = gradient(v, "qk_kernel_post"),
                                .grad_heads = gradient(v, "head_kernel")};
    assert_true(reference_mta_attend(&task));
    free(weights);
    free(lse);
}

typedef struct golden {
    const char *op, *attrs;
    int64_t heads;
    void (*add)(vectors *v);    /* inputs beside q, k, v */
    void (*define)(vectors *v); /* results from the inputs */
} golden;

static const golden files[] = {
    {"softmax", "{\"causal\": true}", 1, add_score, define_score},
    {"cog", "{\"causal\": true}", 1, add_score, define_score},
    {"ssa", "{\"causal\": true}", 1, add_score, define_score},
    {"lightning", "{}", 1, add_linear, define_linear},
    {"log_linear", "{}", 1, add_linear, define_linear},
    {"flow", "{}", 1, add_nothing, define_flow},
    {"agent", "{\"n_agents\": 9}", 1, add_nothing, define_agent},
    {"mta", "{\"causal\": true}", 2, add_mta, define_mta},
};
enum { FILES = sizeof files / sizeof *files };

static vectors start(const golden *file)
{
    const int64_t shape[4] = {1, file->heads, ROWS, FEATURES};
    vectors v = {.op = file->op, .attrs = file->attrs, .heads = file->heads, .state = 1};
    add(&v, "q", 4, shape, 1, false);
    add(&v, "k", 4, shape, 1, false);
    add(&v, "v", 4, shape, 1, false);
    file->add(&v);
    v.count = file->heads * ROWS * FEATURES;
    v.o = numbers(v.count);
    v.seed = numbers(v.count);
    for (int64_t i = 0; i < v.count; i++)
        v.seed[i] = draw(&v.state, 1);
    return v;
}

static void end(vectors *v)
{
    for (int i = 0; i < v->n; i++) {
        free(v->in[i].value);
        free(v->in[i].gradient);
    }
    free(v->o);
    free(v->seed);
}

static void path_of(const char *op, char *path, size_t size)
{
    snprintf(path, size, "%s/%s/%s.golden.safetensors", folder, op, op);
}

/* --- To files -------------------------------------------------------------------------------- */

static rapt_tensor *tensor_of(int32_t ndim, const int64_t *shape, const double *x)
{
    rapt_error error = {0};
    rapt_tensor *wide = rapt_tensor_from(context, RAPT_F64, ndim, shape, x, &error);
    if (!wide)
        fail_msg("%s", error.message);
    rapt_tensor *half = rapt_to(context, wide, RAPT_F16, cpu, &error);
    if (!half)
        fail_msg("%s", error.message);
    rapt_tensor_release(wide);
    return half;
}

static void write_file(const golden *file)
{
    vectors v = start(file);
    rapt_named_tensor tensors[2 * MOST + 2];
    char names[MOST][32], path[1024];
    size_t n = 0;
    v.all = true;
    file->define(&v);
    for (int i = 0; i < v.n; i++) {
        const input *x = &v.in[i];
        snprintf(names[i], sizeof names[i], "d%s", x->name);
        tensors[n++] = (rapt_named_tensor){x->name, tensor_of(x->ndim, x->shape, x->value)};
        tensors[n++] = (rapt_named_tensor){names[i], tensor_of(x->ndim, x->shape, x->gradient)};
    }
    const int64_t shape[4] = {1, v.heads, ROWS, FEATURES};
    tensors[n++] = (rapt_named_tensor){"o", tensor_of(4, shape, v.o)};
    tensors[n++] = (rapt_named_tensor){"do", tensor_of(4, shape, v.seed)};
    const rapt_named_text metadata[2] = {{"op", v.op}, {"attrs", v.attrs}};
    rapt_error error = {0};
    path_of(v.op, path, sizeof path);
    score_must(rapt_save_safetensors(path, tensors, n, metadata, 2, &error), &error);
    for (size_t i = 0; i < n; i++)
        rapt_tensor_release(tensors[i].tensor);
    end(&v);
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
            return score_read(context, file->tensors[i].tensor);
        }
    fail_msg("no %s", whole);
    return NULL;
}

static void compare(const char *op, const char *name, double *got, double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (isnan(want[i]))
            got[i] = want[i] = 0;
    const double error = score_error(got, want, n, 0);
    if (!(error <= 0x1p-11)) /* half a unit of float16 */
        fail_msg("%s: %s is off by %g of its greatest value", op, name, error);
}

static void check(void **state)
{
    const golden *file = *state;
    vectors v = start(file);
    rapt_error error = {0};
    char path[1024];
    path_of(v.op, path, sizeof path);
    rapt_file *stored = rapt_load_safetensors(path, &error);
    if (!stored)
        fail_msg("%s", error.message);
    assert_int_equal(stored->n_tensors, 2 * v.n + 2);
    for (int i = 0; i < v.n; i++) {
        free(v.in[i].value);
        v.in[i].value = read_tensor(stored, "", v.in[i].name, v.in[i].count);
    }
    free(v.seed);
    v.seed = read_tensor(stored, "", "do", v.count);
    file->define(&v);
    double *o = read_tensor(stored, "", "o", v.count);
    compare(v.op, "o", o, v.o, v.count);
    free(o);
    for (int i = 0; i < v.n; i++) {
        double *got = read_tensor(stored, "d", v.in[i].name, v.in[i].count);
        compare(v.op, v.in[i].name, got, v.in[i].gradient, v.in[i].count);
        free(got);
    }
    rapt_file_free(stored);
    end(&v);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[FILES];
    context = score_context();
    folder = argc == 3 ? argv[2] : getenv("RAPT_TEST_SOURCES");
    for (int i = 0; argc == 3 && strcmp(argv[1], "make") == 0 && i < FILES; i++)
        write_file(&files[i]);
    for (int i = 0; i < FILES; i++)
        tests[i] = (struct CMUnitTest){
            .name = files[i].op, .test_func = check, .initial_state = (void *)(uintptr_t)&files[i]};
    const int failed = cmocka_run_group_tests_name("golden vectors of plugins", tests, NULL, NULL);
    rapt_close(context);
    return failed;
}
