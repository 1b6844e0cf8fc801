#include "score_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const rapt_device cpu = {RAPT_DEVICE_CPU, 0};

void score_must(rapt_status status, const rapt_error *error)
{
    if (status != RAPT_OK)
        fail_msg("%s: %s", rapt_status_name(status), error ? error->message : "");
}

score_tolerance score_tolerance_of(rapt_dtype dtype)
{
    return dtype == RAPT_F32 ? (score_tolerance){2e-5, 1e-4} : (score_tolerance){4e-3, 1.5e-2};
}

bool score_level_there(void)
{
    rapt_error error = {0};
    const rapt_options options = {.size = sizeof(options), .no_plugins = true};
    rapt_context *context = rapt_open(&options, &error);
    rapt_close(context);
    if (!context)
        fprintf(stderr, "%s\n", error.message);
    return context || !strstr(error.message, "RAPT_CPU");
}

rapt_context *score_context(void)
{
    rapt_error error = {0};
    const rapt_options options = {.size = sizeof(options),
                                  .plugin_path = getenv("RAPT_TEST_PLUGINS")};
    rapt_context *context = rapt_open(&options, &error);
    if (!context)
        fail_msg("%s", error.message);
    return context;
}

static double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(*seed >> 11) * 0x1p-53;
}

static double normal(uint64_t *seed)
{
    const double u = uniform(seed), v = uniform(seed);
    return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
}

static rapt_tensor *from_floats(rapt_context *context, const float *values, const int64_t *shape,
                                rapt_dtype dtype, bool transposed)
{
    rapt_error error = {0};
    const int64_t swapped[4] = {shape[0], shape[2], shape[1], shape[3]};
    rapt_tensor *plain =
        rapt_tensor_from(context, RAPT_F32, 4, transposed ? swapped : shape, values, &error);
    if (!plain)
        fail_msg("%s", error.message);
    rapt_tensor *typed = rapt_to(context, plain, dtype, cpu, &error);
    assert_non_null(typed);
    rapt_tensor_release(plain);
    if (!transposed)
        return typed;
    rapt_tensor *view = rapt_transpose(context, typed, 1, 2, &error);
    assert_non_null(view);
    rapt_tensor_release(typed);
    return view;
}

rapt_tensor *score_random(rapt_context *context, const int64_t *shape, rapt_dtype dtype,
                          bool transposed, double magnitude, uint64_t *seed)
{
    const int64_t n = shape[0] * shape[1] * shape[2] * shape[3];
    float *values = malloc(sizeof(float) * (size_t)(n + 1));
    assert_non_null(values);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)(normal(seed) * magnitude);
    rapt_tensor *tensor = from_floats(context, values, shape, dtype, transposed);
    free(values);
    return tensor;
}

double *score_read(rapt_context *context, rapt_tensor *tensor)
{
    rapt_error error = {0};
    const int64_t n = rapt_tensor_count(tensor);
    rapt_tensor *wide = rapt_to(context, tensor, RAPT_F64, cpu, &error);
    if (!wide)
        fail_msg("%s", error.message);
    double *values = malloc(sizeof(double) * (size_t)(n + 1));
    assert_non_null(values);
    score_must(rapt_read(context, wide, values, sizeof(double) * (size_t)n, &error), &error);
    rapt_tensor_release(wide);
    return values;
}

double score_error(const double *got, const double *want, int64_t n, double least_scale)
{
    double most = least_scale, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isinf(want[i]) || isnan(want[i])) {
            if (memcmp(&got[i], &want[i], sizeof(double)) != 0)
                return INFINITY;
            continue;
        }
        const double error = fabs(got[i] - want[i]);
        if (!(error <= worst))
            worst = error;
        most = fmax(most, fabs(want[i]));
    }
    return worst == 0 ? 0 : worst / most;
}

/* --- One case --------------------------------------------------------------------------------- */

/* Differentiable inputs, then the others. */
enum { Q, K, V, BIAS, ALIBI, SINK, TAU_Q, TAU_V, INPUTS };
enum { GO = INPUTS, GL, CU_Q, CU_K, O, LSE, WEIGHTS, ARRAYS };
static const char *const input_names[] = {"q", "k", "v", "bias", "alibi", "sink", "tau_q", "tau_v"};

typedef struct score_run {
    const score_case *c;
    rapt_context *context;
    score_tolerance tolerance;
    rapt_tensor *tensor[ARRAYS];
    double *value[ARRAYS]; /* inputs as given, outputs as came */
    double *want[ARRAYS], *gradient[INPUTS];
    rapt_named_tensor inputs[INPUTS + 2];
    size_t n_inputs;
    rapt_named_value attrs[4];
    size_t n_attrs;
} score_run;

static void describe(const score_case *c, char *text, size_t size)
{
    snprintf(
        text, size,
        "%s B=%ld H=%ld G=%ld N=%ld M=%ld D=%ld E=%ld causal=%d dtype=%d transposed=%d "
        "bias=[%ld,%ld,%ld,%ld] lse=%d seed=%lu window=%d{%ld,%ld} softcap=%g alibi=%d sink=%d "
        "tau=%d%d borders=%d",
        c->op, (long)c->B, (long)c->H, (long)c->G, (long)c->N, (long)c->M, (long)c->D, (long)c->E,
        c->causal, (int)c->dtype, c->transposed, (long)c->bias[0], (long)c->bias[1],
        (long)c->bias[2], (long)c->bias[3], c->lse, (unsigned long)c->seed, c->windowed,
        (long)c->window[0], (long)c->window[1], c->softcap, c->alibi, c->sink, c->tau_q, c->tau_v,
        c->borders);
}

static void compare(const score_run *run, const char *what, const double *got, const double *want,
                    int64_t n, double tolerance, double least_scale)
{
    const double error = score_error(got, want, n, least_scale);
    char text[512];
    if (error <= tolerance)
        return;
    describe(run->c, text, sizeof(text));
    fail_msg("%s: %s is off by %g of its greatest value, allowed %g", text, what, error, tolerance);
}

/* A tensor of n dimensions of normal numbers around `middle`. */
static rapt_tensor *scattered(score_run *run, int32_t n, int64_t a, int64_t b, int64_t c,
                              rapt_dtype dtype, double middle, double magnitude, uint64_t *seed)
{
    const int64_t shape[4] = {a, b, c, 1}, flat[3] = {a, b, c};
    rapt_error error = {0};
    rapt_tensor *x = score_random(run->context, shape, RAPT_F32, false, magnitude, seed);
    float *values = rapt_view_data(rapt_tensor_view(x));
    for (int64_t i = 0; i < rapt_tensor_count(x); i++)
        values[i] += (float)middle;
    rapt_tensor *typed = rapt_to(run->context, x, dtype, cpu, &error);
    assert_non_null(typed);
    rapt_tensor *view = rapt_view_as(run->context, typed, n, flat, &error);
    if (!view)
        fail_msg("%s", error.message);
    rapt_tensor_release(x);
    rapt_tensor_release(typed);
    return view;
}

static void make_options(score_run *run, uint64_t *seed)
{
    const score_case *c = run->c;
    if (c->alibi)
        run->tensor[ALIBI] = scattered(run, 1, c->H, 1, 1, RAPT_F32, 0.3, 0.2, seed);
    if (c->sink)
        run->tensor[SINK] = scattered(run, 1, c->H, 1, 1, RAPT_F32, 1, 2, seed);
    if (c->tau_q)
        run->tensor[TAU_Q] = scattered(run, 3, c->B, c->H, c->N, c->dtype, 1, 0.5, seed);
    if (c->tau_v)
        run->tensor[TAU_V] = scattered(run, 3, c->B, c->H, c->M, c->dtype, 1, 0.5, seed);
    const int64_t *borders[2] = {c->cu_q, c->cu_k};
    for (int side = 0; c->borders && side < 2; side++) {
        const int64_t n = c->borders;
        rapt_tensor *wide = rapt_tensor_from(run->context, RAPT_I64, 1, &n, borders[side], NULL);
        assert_non_null(wide);
        run->tensor[CU_Q + side] = rapt_to(run->context, wide, c->border_type, cpu, NULL);
        assert_non_null(run->tensor[CU_Q + side]);
        rapt_tensor_release(wide);
    }
}

static void name_options(score_run *run)
{
    const score_case *c = run->c;
    static const char *const names[] = {"cu_seqlens_q", "cu_seqlens_k"};
    for (int side = 0; c->borders && side < 2; side++)
        run->inputs[run->n_inputs++] = (rapt_named_tensor){names[side], run->tensor[CU_Q + side]};
    if (c->softcap > 0)
        run->attrs[run->n_attrs++] =
            (rapt_named_value){.name = "softcap", .type = RAPT_ATTR_FLOAT, .f = c->softcap};
    if (c->windowed)
        run->attrs[run->n_attrs++] = (rapt_named_value){.name = "window",
                                                        .type = RAPT_ATTR_INTS,
                                                        .count = 2,
                                                        .i = {c->window[0], c->window[1]}};
}

static void make_inputs(score_run *run)
{
    const score_case *c = run->c;
    uint64_t seed = c->seed * 7919 + 1;
    const int64_t q[4] = {c->B, c->H, c->N, c->D}, k[4] = {c->B, c->G, c->M, c->D};
    const int64_t v[4] = {c->B, c->G, c->M, c->E}, o[4] = {c->B, c->H, c->N, c->E};
    const int64_t l[4] = {c->B, c->H, c->N, 1};
    const double size = c->magnitude > 0 ? c->magnitude : 1;
    run->tensor[Q] = score_random(run->context, q, c->dtype, c->transposed, size, &seed);
    run->tensor[K] = score_random(run->context, k, c->dtype, c->transposed, 1, &seed);
    run->tensor[V] = score_random(run->context, v, c->dtype, c->transposed, 1, &seed);
    run->tensor[GO] = score_random(run->context, o, c->dtype, c->transposed, 1, &seed);
    if (c->lse) {
        rapt_tensor *flat = score_random(run->context, l, RAPT_F32, false, 1, &seed);
        run->tensor[GL] = rapt_view_as(run->context, flat, 3, l, NULL);
        assert_non_null(run->tensor[GL]);
        rapt_tensor_release(flat);
    }
    if (c->bias[0]) {
        rapt_tensor *bias = score_random(run->context, c->bias, RAPT_F32, false, 1, &seed);
        float *x = rapt_view_data(rapt_tensor_view(bias));
        for (int64_t i = 0; i < rapt_tensor_count(bias); i++)
            if (uniform(&seed) < c->hidden)
                x[i] = -INFINITY;
        run->tensor[BIAS] = rapt_to(run->context, bias, c->bias_dtype, cpu, NULL);
        assert_non_null(run->tensor[BIAS]);
        rapt_tensor_release(bias);
    }
    make_options(run, &seed);
    for (int i = Q; i <= GL; i++)
        if (run->tensor[i])
            run->value[i] = score_read(run->context, run->tensor[i]);
    for (int i = Q; i < INPUTS; i++)
        if (run->tensor[i]) {
            score_must(rapt_set_requires_grad(run->tensor[i], true, NULL), NULL);
            run->inputs[run->n_inputs++] = (rapt_named_tensor){input_names[i], run->tensor[i]};
        }
    run->attrs[run->n_attrs++] =
        (rapt_named_value){.name = "causal", .type = RAPT_ATTR_BOOL, .i = {c->causal}};
    if (c->scale != 0)
        run->attrs[run->n_attrs++] =
            (rapt_named_value){.name = "scale", .type = RAPT_ATTR_FLOAT, .f = c->scale};
    name_options(run);
}

static void define(score_run *run)
{
    const score_case *c = run->c;
    const int64_t sizes[ARRAYS] = {[Q] = c->B * c->H * c->N * c->D,
                                   [K] = c->B * c->G * c->M * c->D,
                                   [V] = c->B * c->G * c->M * c->E,
                                   [BIAS] = c->bias[0] * c->bias[1] * c->bias[2] * c->bias[3],
                                   [ALIBI] = c->H,
                                   [SINK] = c->H,
                                   [TAU_Q] = c->B * c->H * c->N,
                                   [TAU_V] = c->B * c->H * c->M,
                                   [O] = c->B * c->H * c->N * c->E,
                                   [LSE] = c->B * c->H * c->N,
                                   [WEIGHTS] = c->B * c->H * c->N * c->M};
    for (int i = 0; i < ARRAYS; i++) {
        run->want[i] = calloc((size_t)sizes[i] + 1, sizeof(double));
        assert_non_null(run->want[i]);
    }
    reference_attention task = {.B = c->B,
                                .H = c->H,
                                .G = c->G,
                                .N = c->N,
                                .M = c->M,
                                .D = c->D,
                                .E = c->E,
                                .scale = c->scale != 0 ? c->scale : 1 / sqrt((double)c->D),
                                .causal = c->causal,
                                .q = run->value[Q],
                                .k = run->value[K],
                                .v = run->value[V],
                                .bias = run->value[BIAS],
                                .bias_shape = {c->bias[0], c->bias[1], c->bias[2], c->bias[3]},
                                .o = run->want[O],
                                .lse = run->want[LSE],
                                .weights = run->want[WEIGHTS],
                                .grad_o = run->value[GO],
                                .grad_lse = run->value[GL],
                                .grad_q = run->want[Q],
                                .grad_k = run->want[K],
                                .grad_v = run->want[V],
                                .grad_bias = c->bias[0] ? run->want[BIAS] : NULL,
                                .windowed = c->windowed,
                                .window = {c->window[0], c->window[1]},
                                .softcap = c->softcap,
                                .alibi = run->value[ALIBI],
                                .sink = run->value[SINK],
                                .tau_q = run->value[TAU_Q],
                                .tau_v = run->value[TAU_V],
                                .cu_q = c->cu_q,
                                .cu_k = c->cu_k,
                                .borders = c->borders,
                                .grad_alibi = c->alibi ? run->want[ALIBI] : NULL,
                                .grad_sink = c->sink ? run->want[SINK] : NULL,
                                .grad_tau_q = c->tau_q ? run->want[TAU_Q] : NULL,
                                .grad_tau_v = c->tau_v ? run->want[TAU_V] : NULL};
    assert_true(reference_attend(&task, reference_find(c->op)));
}

static rapt_tensor *call(rapt_context *context, const char *op, const char *a, rapt_tensor *x,
                         const char *b, rapt_tensor *y)
{
    rapt_error error = {0};
    const rapt_named_tensor inputs[2] = {{a, x}, {b, y}};
    rapt_named_tensor output = {NULL, NULL};
    score_must(rapt_call_operator(context, op, inputs, y ? 2 : 1, NULL, 0, &output, 1, &error),
               &error);
    return output.tensor;
}

/* sum(x * y) */
static rapt_tensor *dot(rapt_context *context, rapt_tensor *x, rapt_tensor *y)
{
    rapt_tensor *product = call(context, "core.mul", "a", x, "b", y);
    rapt_tensor *sum = call(context, "core.sum", "x", product, NULL, NULL);
    rapt_tensor_release(product);
    return sum;
}

/* Feeds `do` back, and with it the gradient of the log-sum-exp where the case has one. */
static void feed_back(score_run *run)
{
    rapt_error error = {0};
    if (!run->c->lse) {
        score_must(rapt_backward(run->context, run->tensor[O], run->tensor[GO], false, &error),
                   &error);
        return;
    }
    rapt_tensor *values = dot(run->context, run->tensor[O], run->tensor[GO]);
    rapt_tensor *logs = dot(run->context, run->tensor[LSE], run->tensor[GL]);
    rapt_tensor *loss = call(run->context, "core.add", "a", values, "b", logs);
    score_must(rapt_backward(run->context, loss, NULL, false, &error), &error);
    rapt_tensor_release(values);
    rapt_tensor_release(logs);
    rapt_tensor_release(loss);
}

static void run_operator(score_run *run)
{
    rapt_error error = {0};
    const score_case *c = run->c;
    rapt_named_tensor outputs[2] = {{"o", NULL}, {"lse", NULL}};
    score_must(rapt_call_operator(run->context, c->op, run->inputs, run->n_inputs, run->attrs,
                                  run->n_attrs, outputs, c->lse ? 2 : 1, &error),
               &error);
    run->tensor[O] = outputs[0].tensor;
    run->tensor[LSE] = outputs[1].tensor;
    feed_back(run);
    rapt_named_tensor seen[INPUTS + 2];
    size_t n = 0;
    for (size_t i = 0; i < run->n_inputs; i++)
        if (strcmp(run->inputs[i].name, "v") != 0)
            seen[n++] = run->inputs[i];
    run->tensor[WEIGHTS] =
        rapt_weights(run->context, c->op, seen, n, run->attrs, run->n_attrs, &error);
    if (!run->tensor[WEIGHTS])
        fail_msg("%s", error.message);
    for (int i = O; i < ARRAYS; i++)
        if (run->tensor[i])
            run->value[i] = score_read(run->context, run->tensor[i]);
    for (int i = Q; i < INPUTS; i++)
        if (run->tensor[i]) {
            assert_non_null(rapt_grad(run->tensor[i]));
            run->gradient[i] = score_read(run->context, rapt_grad(run->tensor[i]));
        }
}

static void compare_all(const score_run *run)
{
    const score_case *c = run->c;
    static const char *const names[] = {"dq",     "dk",    "dv",     "dbias",
                                        "dalibi", "dsink", "dtau_q", "dtau_v"};
    const score_tolerance t = run->tolerance;
    const int64_t rows = c->B * c->H * c->N;
    compare(run, "o", run->value[O], run->want[O], rows * c->E, t.forward, 0);
    if (c->lse)
        compare(run, "lse", run->value[LSE], run->want[LSE], rows, 2e-5, 1);
    compare(run, "weights", run->value[WEIGHTS], run->want[WEIGHTS], rows * c->M,
            t.forward > 4e-3 ? t.forward : fmax(2e-5, c->magnitude * 2e-6), 0);
    for (int i = Q; i < INPUTS; i++)
        if (run->gradient[i])
            /* A single key, or a bias that is the same for all keys, has no influence on a softmax:
             * gradients that cancel to 0. */
            compare(run, names[i], run->gradient[i], run->want[i],
                    rapt_tensor_count(run->tensor[i]), t.gradient, i >= BIAS ? 1 : 0.1);
}

void score_check(rapt_context *context, const score_case *c, score_tolerance tolerance)
{
    score_run run = {.c = c, .context = context, .tolerance = tolerance};
    make_inputs(&run);
    define(&run);
    run_operator(&run);
    compare_all(&run);
    for (int i = 0; i < ARRAYS; i++) {
        rapt_tensor_release(run.tensor[i]);
        free(run.value[i]);
        free(run.want[i]);
    }
    for (int i = 0; i < INPUTS; i++)
        free(run.gradient[i]);
}
