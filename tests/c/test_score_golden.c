/* The golden vectors of softmax and cog: forward and backward, as stored and as transposed views,
 * in each type. */
#include "score_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

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

static void compare(const char *path, const char *name, rapt_tensor *got, rapt_tensor *want,
                    double tolerance)
{
    double *a = score_read(context, got), *b = score_read(context, want);
    const double error = score_error(a, b, rapt_tensor_count(want), 0);
    if (!(error <= tolerance))
        fail_msg("%s: %s is off by %g of its greatest value, allowed %g", path, name, error,
                 tolerance);
    free(a);
    free(b);
}

static void check(const char *path, const rapt_file *file, rapt_dtype dtype, bool transposed)
{
    rapt_error error = {0};
    rapt_named_tensor inputs[MOST], output = {"o", NULL};
    rapt_named_value attrs[2];
    const size_t n_attrs = attributes(file, attrs);
    const score_tolerance tolerance = score_tolerance_of(dtype);
    size_t n = 0;
    for (size_t i = 0; i < file->n_tensors && n < MOST; i++) {
        char name[64];
        snprintf(name, sizeof(name), "d%s", file->tensors[i].name);
        if (strcmp(file->tensors[i].name, "o") == 0 || !find(file, name))
            continue;
        inputs[n].name = file->tensors[i].name;
        inputs[n].tensor = prepare(file->tensors[i].tensor, dtype, transposed);
        score_must(rapt_set_requires_grad(inputs[n].tensor, true, &error), &error);
        n++;
    }
    assert_true(n >= 3);
    rapt_tensor *seed = prepare(find(file, "do"), dtype, transposed);
    score_must(rapt_call_operator(context, metadata(file, "op"), inputs, n, attrs, n_attrs, &output,
                                  1, &error),
               &error);
    compare(path, "o", output.tensor, find(file, "o"), tolerance.forward);
    score_must(rapt_backward(context, output.tensor, seed, false, &error), &error);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof(name), "d%s", inputs[i].name);
        assert_non_null(rapt_grad(inputs[i].tensor));
        compare(path, name, rapt_grad(inputs[i].tensor), find(file, name), tolerance.gradient);
        rapt_tensor_release(inputs[i].tensor);
    }
    rapt_tensor_release(seed);
    rapt_tensor_release(output.tensor);
}

static void golden(void **state)
{
    static const char *const names[] = {"softmax_basic", "softmax_causal_gqa", "softmax_cross_bias",
                                        "cog_basic",     "cog_causal",         "cog_decode"};
    const char *folder = getenv("RAPT_GOLDEN");
    (void)state;
    assert_non_null(folder);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        rapt_error error = {0};
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s.safetensors", folder, names[i]);
        rapt_file *file = rapt_load_safetensors(path, &error);
        if (!file)
            fail_msg("%s", error.message);
        for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++)
            for (int transposed = 0; transposed < 2; transposed++)
                check(names[i], file, dtype, transposed);
        rapt_file_free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden)};
    return cmocka_run_group_tests_name("score golden", tests, setup, teardown);
}
