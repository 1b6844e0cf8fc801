/* The golden vectors of softmax, cog and ssa: forward and backward, as stored and as transposed
 * views, in each type. */
#include "score_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rapt_context *context;

static int setup(void **state)
{
    (void)state;
    context = score_context();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rapt_close(context);
    return 0;
}

static rapt_tensor *find(const rapt_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return file->tensors[i].tensor;
    return NULL;
}

static const char *metadata(const rapt_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].name, name) == 0)
            return file->metadata[i].text;
    fail_msg("no metadata %s", name);
    return NULL;
}

/* The attributes these files have: causal and scale. */
static size_t attributes(const rapt_file *file, rapt_named_value *values)
{
    const char *text = metadata(file, "attrs"), *scale = strstr(text, "\"scale\":");
    size_t n = 0;
    if (strstr(text, "\"causal\": true"))
        values[n++] = (rapt_named_value){.name = "causal", .type = RAPT_ATTR_BOOL, .i = {1}};
    if (scale)
        values[n++] = (rapt_named_value){
            .name = "scale", .type = RAPT_ATTR_FLOAT, .f = strtod(scale + 8, NULL)};
    return n;
}

/* A copy in `dtype` whose memory is ordered B N H D if `transposed`. */
static rapt_tensor *prepare(rapt_tensor *source, rapt_dtype dtype, bool transposed)
{
    const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
    rapt_tensor *own = rapt_detach(source, NULL);
    assert_non_null(own);
    rapt_tensor *typed = rapt_to(context, own, dtype, cpu, NULL);
    assert_non_null(typed);
    rapt_tensor_release(own);
    if (!transposed)
        return typed;
    rapt_tensor *swapped = rapt_transpose(context, typed, 1, 2, NULL);
    rapt_tensor *copy = rapt_contiguous(context, swapped, NULL);
    rapt_tensor *view = rapt_transpose(context, copy, 1, 2, NULL);
    assert_non_null(view);
    assert_false(rapt_tensor_is_contiguous(view));
    rapt_tensor_release(typed);
    rapt_tensor_release(swapped);
    rapt_tensor_release(copy);
    return view;
}

enum { Q, K, V, BIAS, TAU_Q, TAU_V, INPUTS };
static const char *const names[INPUTS] = {"q", "k", "v", "bias", "tau_q", "tau_v"};
static const char *const gradients[INPUTS] = {"dq", "dk", "dv", "dbias", "dtau_q", "dtau_v"};

typedef struct example {
    const char *path;
    const rapt_file *file;
    rapt_dtype dtype;
    rapt_tensor *input[INPUTS], *seed, *o;
    rapt_named_value attrs[2];
    size_t n_attrs;
} example;

static void run(example *x, bool transposed)
{
    rapt_error error = {0};
    rapt_named_tensor inputs[INPUTS], output = {"o", NULL};
    size_t n = 0;
    x->n_attrs = attributes(x->file, x->attrs);
    for (int i = 0; i < INPUTS; i++) {
        rapt_tensor *stored = find(x->file, names[i]);
        if (!stored)
            continue;
        x->input[i] = prepare(stored, x->dtype, transposed && i <= BIAS);
        score_must(rapt_set_requires_grad(x->input[i], true, &error), &error);
        inputs[n++] = (rapt_named_tensor){names[i], x->input[i]};
    }
    x->seed = prepare(find(x->file, "do"), x->dtype, transposed);
    score_must(rapt_call_operator(context, metadata(x->file, "op"), inputs, n, x->attrs, x->n_attrs,
                                  &output, 1, &error),
               &error);
    x->o = output.tensor;
    score_must(rapt_backward(context, x->o, x->seed, false, &error), &error);
}

static void compare(const example *x, const char *name, rapt_tensor *got, const double *want,
                    double tolerance)
{
    assert_non_null(got);
    double *values = score_read(context, got);
    const double error = score_error(values, want, rapt_tensor_count(got), 0);
    if (!(error <= tolerance))
        fail_msg("%s as type %d: %s is off by %g of its greatest value, allowed %g", x->path,
                 (int)x->dtype, name, error, tolerance);
    free(values);
}

static void compare_stored(const example *x, score_tolerance tolerance)
{
    double *want = score_read(context, find(x->file, "o"));
    compare(x, "o", x->o, want, tolerance.forward);
    free(want);
    for (int i = 0; i < INPUTS; i++)
        if (x->input[i]) {
            want = score_read(context, find(x->file, gradients[i]));
            compare(x, gradients[i], rapt_grad(x->input[i]), want, tolerance.gradient);
            free(want);
        }
}

static void compare_defined(const example *x, score_tolerance tolerance)
{
    const int64_t *q = rapt_tensor_view(x->input[Q])->shape;
    const int64_t *k = rapt_tensor_view(x->input[K])->shape;
    const int64_t *v = rapt_tensor_view(x->input[V])->shape;
    double *value[INPUTS] = {0}, *want[INPUTS] = {0};
    for (int i = 0; i < INPUTS; i++)
        if (x->input[i]) {
            value[i] = score_read(context, x->input[i]);
            want[i] = score_read(context, x->input[i]); /* to be overwritten */
        }
    double *seed = score_read(context, x->seed), *o = score_read(context, x->seed);
    reference_attention task = {.B = q[0],
                                .H = q[1],
                                .G = k[1],
                                .N = q[2],
                                .M = k[2],
                                .D = q[3],
                                .E = v[3],
                                .scale = 1 / sqrt((double)q[3]),
                                .q = value[Q],
                                .k = value[K],
                                .v = value[V],
                                .bias = value[BIAS],
                                .o = o,
                                .grad_o = seed,
                                .grad_q = want[Q],
                                .grad_k = want[K],
                                .grad_v = want[V],
                                .grad_bias = want[BIAS],
                                .tau_q = value[TAU_Q],
                                .tau_v = value[TAU_V],
                                .grad_tau_q = want[TAU_Q],
                                .grad_tau_v = want[TAU_V]};
    if (x->input[BIAS])
        memcpy(task.bias_shape, rapt_tensor_view(x->input[BIAS])->shape, sizeof(task.bias_shape));
    for (size_t i = 0; i < x->n_attrs; i++) {
        if (strcmp(x->attrs[i].name, "causal") == 0)
            task.causal = x->attrs[i].i[0];
        else
            task.scale = x->attrs[i].f;
    }
    assert_true(reference_attend(&task, reference_find(metadata(x->file, "op"))));
    compare(x, "o", x->o, o, tolerance.forward);
    for (int i = 0; i < INPUTS; i++) {
        if (x->input[i])
            compare(x, gradients[i], rapt_grad(x->input[i]), want[i], tolerance.gradient);
        free(value[i]);
        free(want[i]);
    }
    free(seed);
    free(o);
}

static void check(const char *path, const rapt_file *file, rapt_dtype dtype, bool transposed)
{
    example x = {.path = path, .file = file, .dtype = dtype};
    const bool jumps = strcmp(metadata(file, "op"), "cog") == 0 && dtype == RAPT_BF16;
    run(&x, transposed);
    compare_defined(&x, score_tolerance_of(dtype));
    if (dtype == RAPT_F32)
        compare_stored(&x, (score_tolerance){2e-5, 1e-4});
    else if (!jumps)
        compare_stored(&x, dtype == RAPT_F16 ? (score_tolerance){4e-3, 4e-3}
                                             : (score_tolerance){1.5e-2, 1.5e-2});
    for (int i = 0; i < INPUTS; i++)
        rapt_tensor_release(x.input[i]);
    rapt_tensor_release(x.seed);
    rapt_tensor_release(x.o);
}

static void golden(void **state)
{
    static const char *const files[] = {"softmax_basic", "softmax_causal_gqa", "softmax_cross_bias",
                                        "cog_basic",     "cog_causal",         "cog_decode",
                                        "ssa_basic",     "ssa_causal"};
    const char *folder = getenv("RAPT_GOLDEN");
    (void)state;
    assert_non_null(folder);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        rapt_error error = {0};
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s.safetensors", folder, files[i]);
        rapt_file *file = rapt_load_safetensors(path, &error);
        if (!file)
            fail_msg("%s", error.message);
        for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++)
            for (int transposed = 0; transposed < 2; transposed++)
                check(files[i], file, dtype, transposed);
        rapt_file_free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden)};
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("score golden", tests, setup, teardown);
}
