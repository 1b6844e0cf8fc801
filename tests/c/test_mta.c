/* mta against its definition, its golden vectors, and itself over several calls. */
#include "equal_bits.h"
#include "mta_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *program; /* this test, to be run again */

static int setup(void **state)
{
    (void)state;
    mta_context = score_context();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rapt_close(mta_context);
    return 0;
}

/* --- Against the definition ------------------------------------------------------------------- */

/* Bit 0: qk_kernel, 1: qk_kernel_post, 2: head_kernel. */
static mta_case with_kernels(mta_case c, int which)
{
    if (which & 1)
        c.a = 4, c.b = 5;
    if (which & 2)
        c.r = 3, c.s = 7;
    if (which & 4)
        c.c = 2;
    return c;
}

static void sizes(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 3, 17, 63, 65, 129};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
        for (int which = 0; which < 8; which++)
            for (int full = 0; full < 2; full++) {
                const int64_t n = lengths[i];
                mta_case c = {
                    .B = n < 60 ? 2 : 1, .H = 2, .G = 2, .N = n, .M = n, .D = 16, .E = 16};
                c.full = full;
                c = with_kernels(c, which);
                mta_check(&c);
            }
}

static void groups_and_layouts(void **state)
{
    (void)state;
    for (int which = 0; which < 8; which++)
        for (int layout = LINEAR_PLAIN; layout <= LINEAR_INSIDE; layout++) {
            mta_case c = {.B = 2, .H = 4, .G = 1, .N = 35, .M = 35, .D = 7, .E = 19};
            c.G = layout == LINEAR_SWAPPED ? 2 : 1;
            c.layout = (linear_layout)layout;
            c.scale = 0.7;
            c = with_kernels(c, which);
            mta_check(&c);
        }
}

static void cross(void **state)
{
    (void)state;
    static const int64_t lengths[][2] = {{1, 40},  {40, 1},   {5, 130},
                                         {70, 66}, {130, 67}, {64, 200}};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
        for (int which = 0; which < 8; which++)
            for (int full = 0; full < 2; full++) {
                mta_case c = {.B = 1, .H = 2, .G = 1, .D = 5, .E = 3};
                c.N = lengths[i][0];
                c.M = lengths[i][1];
                c.full = full;
                c = with_kernels(c, which);
                mta_check(&c);
            }
}

/* Kernels of one tap, of more taps than positions, and wider than what registers hold. */
static void kernel_sizes(void **state)
{
    (void)state;
    static const int64_t shapes[][5] = {{1, 1, 1, 1, 1},   {1, 3, 2, 1, 4},    {6, 11, 6, 11, 2},
                                        {40, 1, 1, 33, 4}, {9, 25, 20, 13, 0}, {70, 3, 90, 15, 2},
                                        {2, 131, 3, 7, 0}, {3, 9, 2, 131, 1}};
    static const int64_t lengths[][2] = {{2, 2}, {5, 5}, {66, 66}, {20, 90}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths); l++)
            for (int full = 0; full < 2; full++) {
                const int64_t *k = shapes[i];
                const mta_case c = {.B = 1,
                                    .H = 4,
                                    .G = 2,
                                    .N = lengths[l][0],
                                    .M = lengths[l][1],
                                    .D = 4,
                                    .E = 6,
                                    .full = full,
                                    .a = k[0],
                                    .b = k[1],
                                    .r = k[2],
                                    .s = k[3],
                                    .c = k[4]};
                mta_check(&c);
            }
}

/* Blocks of queries after the first, the last of them not full: what a block left behind must not
 * count. */
static void several_blocks(void **state)
{
    (void)state;
    for (int64_t n = 1040; n < 1048; n += 3) {
        mta_case c = {.B = 1, .H = 1, .G = 1, .N = n, .M = n, .D = 3, .E = 2};
        c.a = 2;
        c.b = 5;
        c.r = 3;
        c.s = 1;
        mta_check(&c);
        c.full = true;
        c.M = 70;
        mta_check(&c);
    }
}

static void halves(void **state)
{
    (void)state;
    for (int dtype = RAPT_F16; dtype <= RAPT_BF16; dtype++)
        for (int kernels = 0; kernels < 2; kernels++)
            for (int which = 0; which < 8; which++) {
                mta_case c = {.B = 1, .H = 4, .G = 2, .N = 70, .M = 75, .D = 20, .E = 33};
                c.dtype = (rapt_dtype)dtype;
                c.kernels = kernels ? (rapt_dtype)dtype : RAPT_F32;
                c.layout = which & 1 ? LINEAR_SWAPPED : LINEAR_INSIDE;
                c = with_kernels(c, which);
                mta_check(&c);
            }
}

/* Logits up to thousands: some weights are 1, the others 0. */
static void large_scores(void **state)
{
    (void)state;
    for (int which = 0; which < 8; which++) {
        mta_case c = {.B = 1, .H = 2, .G = 2, .N = 40, .M = 40, .D = 8, .E = 8, .magnitude = 1000};
        linear_call call;
        double *want[RESULTS];
        c = with_kernels(c, which);
        mta_start(&call, &c);
        linear_run(&call, false);
        mta_define(&call, &c, want);
        /* Logits of 3000 have an error of 2^-13, and so have their weights. */
        mta_compare(&call, "o", call.out[0].value, want[OUTPUT], call.out[0].count, 2e-3);
        for (int i = 0; i < INPUTS; i++) {
            const linear_argument *x = linear_find(&call, mta_names[i]);
            for (int64_t j = 0; x && j < x->count; j++)
                assert_true(isfinite(x->gradient[j]));
        }
        for (int i = 0; i < RESULTS; i++)
            free(want[i]);
        linear_free(&call);
    }
}

static void nothing(void **state)
{
    (void)state;
    static const int64_t sizes_of[][7] = {
        {0, 2, 2, 3, 3, 4, 4}, {1, 2, 2, 0, 3, 4, 4}, {1, 2, 2, 3, 0, 4, 4}, {1, 2, 1, 3, 3, 4, 0}};
    for (size_t i = 0; i < sizeof(sizes_of) / sizeof(*sizes_of); i++) {
        const int64_t *x = sizes_of[i];
        mta_case c = {.B = x[0], .H = x[1], .G = x[2], .N = x[3], .M = x[4], .D = x[5], .E = x[6]};
        c = with_kernels(c, 7);
        mta_check(&c);
    }
}

/* --- Options of the family -------------------------------------------------------------------- */

static void options(void **state)
{
    (void)state;
    for (int first = 0; first < OPTIONS; first++)
        for (int second = first; second < OPTIONS; second++)
            for (int which = 0; which < 8; which++) {
                mta_case c = {.B = 2, .H = 4, .G = 2, .N = 21, .M = 26, .D = 5, .E = 6};
                c.options = 1u << first | 1u << second;
                c.full = (first + second + which) & 1;
                c = with_kernels(c, which);
                mta_check(&c);
            }
    for (int which = 0; which < 8; which++) { /* all of them, over several blocks and tiles */
        mta_case c = {.B = 1, .H = 2, .G = 1, .N = 150, .M = 170, .D = 9, .E = 7};
        c.options = (1u << OPTIONS) - 1;
        c.full = which & 1;
        c = with_kernels(c, which);
        mta_check(&c);
    }
}

/* Every query of the packed sequences as if it stood alone with its own keys. */
static void packed(void **state)
{
    (void)state;
    static const int64_t q[] = {0, 30, 30, 31, 96, 96}, k[] = {0, 33, 38, 39, 110, 117};
    enum { SEQUENCES = 5 };
    mta_case whole = {.B = 1, .H = 2, .G = 1, .N = 96, .M = 117, .D = 6, .E = 5};
    whole.options = 1u << OPTION_ALIBI | 1u << OPTION_SINK | 1u << OPTION_LSE;
    whole = with_kernels(whole, 7);
    linear_call all;
    mta_start(&all, &whole);
    linear_add_borders(&all, "cu_seqlens_q", SEQUENCES + 1, q, RAPT_I32);
    linear_add_borders(&all, "cu_seqlens_k", SEQUENCES + 1, k, RAPT_I64);
    linear_run(&all, true);
    for (int s = 0; s < SEQUENCES; s++) {
        rapt_named_tensor inputs[INPUTS], outputs[2] = {{"o", NULL}, {"lse", NULL}};
        rapt_error error = {0};
        size_t n = 0;
        for (int i = 0; i < INPUTS; i++) {
            const linear_argument *x = linear_find(&all, mta_names[i]);
            if (!x)
                continue;
            const int64_t first = i == Q ? q[s] : k[s], end = i == Q ? q[s + 1] : k[s + 1];
            inputs[n].name = mta_names[i];
            inputs[n++].tensor =
                i <= V ? rapt_narrow(mta_context, x->tensor, 2, first, end - first, NULL)
                       : rapt_tensor_retain(x->tensor);
        }
        score_must(rapt_call_operator(mta_context, "mta", inputs, n, NULL, 0, outputs, 2, &error),
                   &error);
        for (int out = 0; out < 2; out++) {
            rapt_tensor *part =
                rapt_narrow(mta_context, all.out[out].tensor, 2, q[s], q[s + 1] - q[s], NULL);
            double *got = score_read(mta_context, part),
                   *want = score_read(mta_context, outputs[out].tensor);
            mta_compare(&all, outputs[out].name, got, want, rapt_tensor_count(part), 1e-6);
            free(got);
            free(want);
            rapt_tensor_release(part);
            rapt_tensor_release(outputs[out].tensor);
        }
        for (size_t i = 0; i < n; i++)
            rapt_tensor_release(inputs[i].tensor);
    }
    linear_free(&all);
}

/* --- Golden vectors --------------------------------------------------------------------------- */

static rapt_tensor *find(const rapt_file *file, const char *prefix, const char *name)
{
    char whole[64];
    snprintf(whole, sizeof(whole), "%s%s", prefix, name);
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, whole) == 0)
            return file->tensors[i].tensor;
    return NULL;
}

static void check_golden(const char *name, const rapt_file *file, rapt_dtype dtype,
                         linear_layout layout)
{
    linear_call call = {.context = mta_context, .op = "mta"};
    const score_tolerance tolerance = score_tolerance_of(dtype);
    rapt_error error = {0};
    snprintf(call.text, sizeof(call.text), "%s dtype=%d layout=%d", name, (int)dtype, (int)layout);
    for (int i = 0; i < INPUTS; i++) {
        rapt_tensor *given = find(file, "", mta_names[i]);
        if (!given)
            continue;
        const rapt_view *view = rapt_tensor_view(given);
        double *values = score_read(mta_context, given);
        linear_add_values(&call, mta_names[i], view->ndim, view->shape, i <= V ? dtype : RAPT_F32,
                          layout, values);
        free(values);
    }
    assert_true(call.n_in >= 4);
    linear_want(&call, "o");
    score_must(linear_try(&call, &error), &error);
    rapt_tensor *seed = rapt_to(mta_context, find(file, "d", "o"), dtype,
                                (rapt_device){RAPT_DEVICE_CPU, 0}, &error);
    score_must(rapt_backward(mta_context, call.out[0].tensor, seed, false, &error), &error);
    rapt_tensor_release(seed);
    double *got = score_read(mta_context, call.out[0].tensor), *want;
    want = score_read(mta_context, find(file, "", "o"));
    linear_compare(&call, "o", got, want, rapt_tensor_count(call.out[0].tensor), tolerance.forward);
    free(got);
    free(want);
    for (int i = 0; i < call.n_in; i++) {
        got = score_read(mta_context, rapt_grad(call.in[i].tensor));
        want = score_read(mta_context, find(file, "d", call.in[i].name));
        linear_compare(&call, call.in[i].name, got, want, call.in[i].count, tolerance.gradient);
        free(got);
        free(want);
    }
    linear_free(&call);
}

static void golden(void **state)
{
    static const char *const files[] = {"mta_qk", "mta_full"};
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
        /* Inputs rounded to bfloat16 alone move the output by more than the tolerance. */
        for (int dtype = RAPT_F32; dtype <= RAPT_F16; dtype++)
            for (int layout = LINEAR_PLAIN; layout <= LINEAR_INSIDE; layout++)
                check_golden(files[i], file, (rapt_dtype)dtype, (linear_layout)layout);
        rapt_file_free(file);
    }
}

/* --- Decoding --------------------------------------------------------------------------------- */

/* Positions first <= i < first + n of q, k, v, and, for a prefill, the kernels. */
static size_t take(const linear_call *call, rapt_named_tensor *inputs, int64_t first, int64_t n,
                   bool prefill)
{
    size_t count = 0;
    for (int i = 0; i < call->n_in; i++) {
        const bool positions = i <= V;
        if (!positions && !prefill)
            continue;
        rapt_tensor *x = call->in[i].tensor;
        inputs[count].name = call->in[i].name;
        inputs[count].tensor =
            positions ? rapt_narrow(mta_context, x, 2, first, n, NULL) : rapt_tensor_retain(x);
        assert_non_null(inputs[count].tensor);
        count++;
    }
    return count;
}

static void drop(rapt_named_tensor *inputs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rapt_tensor_release(inputs[i].tensor);
}

static void same_rows(const linear_call *call, rapt_tensor *got, int64_t first, int64_t n)
{
    rapt_tensor *rows = rapt_narrow(mta_context, call->out[0].tensor, 2, first, n, NULL);
    assert_non_null(rows);
    double *a = score_read(mta_context, got), *b = score_read(mta_context, rows);
    const double tolerance = rapt_view_dtype(rapt_tensor_view(got)) == RAPT_F32 ? 2e-5 : 8e-3;
    mta_compare(call, "a step", a, b, rapt_tensor_count(got), tolerance);
    free(a);
    free(b);
    rapt_tensor_release(rows);
}

static void decode(linear_call *call, int64_t length, int64_t split)
{
    rapt_error error = {0};
    rapt_named_tensor inputs[INPUTS] = {{NULL, NULL}};
    rapt_tensor *prefill = NULL;
    size_t n = take(call, inputs, 0, split, true);
    rapt_decoding *state =
        rapt_decode(mta_context, "mta", inputs, n, NULL, 0, split > 0 ? &prefill : NULL, &error);
    drop(inputs, n);
    if (!state)
        fail_msg("%s: %s", call->text, error.message);
    if (prefill)
        same_rows(call, prefill, 0, split);
    rapt_tensor_release(prefill);
    for (int64_t i = split; i < length; i++) {
        n = take(call, inputs, i, 1, false);
        rapt_tensor *o = rapt_step(state, inputs, n, &error);
        drop(inputs, n);
        if (!o)
            fail_msg("%s: %s", call->text, error.message);
        same_rows(call, o, i, 1);
        rapt_tensor_release(o);
    }
    rapt_decoding_free(state);
}

static void steps_equal_one_call(void **state)
{
    (void)state;
    for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++)
        for (int which = 0; which < 8; which++) {
            mta_case c = {.B = 2, .H = 4, .G = 2, .N = 27, .M = 27, .D = 12, .E = 9};
            linear_call call;
            c.dtype = (rapt_dtype)dtype;
            c = with_kernels(c, which);
            mta_start(&call, &c);
            linear_run(&call, true);
            for (int64_t split = 0; split <= c.N; split++)
                decode(&call, c.N, split);
            linear_free(&call);
        }
}

/* Steps across the borders of tiles of keys. */
static void long_steps(void **state)
{
    (void)state;
    mta_case c = {.B = 1, .H = 2, .G = 1, .N = 200, .M = 200, .D = 8, .E = 8};
    linear_call call;
    c = with_kernels(c, 7);
    mta_start(&call, &c);
    linear_run(&call, true);
    decode(&call, c.N, 60);
    linear_free(&call);
}

/* Fewer queries than keys: the steps would not know the queries before. */
static void refuses_other_prefills(void **state)
{
    (void)state;
    mta_case c = {.B = 1, .H = 2, .G = 1, .N = 3, .M = 5, .D = 4, .E = 4};
    linear_call call;
    rapt_error error = {0};
    rapt_named_tensor inputs[INPUTS];
    mta_start(&call, &c);
    for (int i = 0; i < call.n_in; i++)
        inputs[i] = (rapt_named_tensor){call.in[i].name, call.in[i].tensor};
    assert_null(rapt_decode(mta_context, "mta", inputs, (size_t)call.n_in, NULL, 0, NULL, &error));
    assert_string_equal(error.message,
                        "mta: decoding needs as many rows of k as of q; there are 5 and 3");
    linear_free(&call);
}

/* --- Bits ------------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, const double *x, int64_t n)
{
    const unsigned char *bytes = (const unsigned char *)x;
    for (size_t i = 0; i < (size_t)n * sizeof(double); i++)
        h = (h ^ bytes[i]) * 1099511628211ull;
    return h;
}

static uint64_t all_bits(void)
{
    uint64_t result = 14695981039346656037ull;
    for (int which = 0; which < 8; which++) {
        mta_case c = {.B = 1, .H = 4, .G = 2, .N = 300, .M = 330, .D = 24, .E = 20};
        linear_call call;
        c = with_kernels(c, which);
        mta_start(&call, &c);
        linear_run(&call, false);
        result = hash(result, call.out[0].value, call.out[0].count);
        for (int i = 0; i < call.n_in; i++)
            result = hash(result, call.in[i].gradient, call.in[i].count);
        linear_free(&call);
    }
    return result;
}

static void equal_bits(void **state)
{
    (void)state;
    equal_bits_check(program, all_bits);
}

/* --- Memory, refusals ------------------------------------------------------------------------- */

/* Bytes at the peak of forward and backward beyond what was there before. */
static int64_t peak_of(int64_t n)
{
    mta_case c = {.B = 1, .H = 4, .G = 4, .N = n, .M = n, .D = 16, .E = 16};
    linear_call call;
    c = with_kernels(c, 7);
    mta_start(&call, &c);
    rapt_error error = {0};
    rapt_memory_reset_peak();
    const int64_t before = rapt_memory_usage().current;
    score_must(linear_try(&call, &error), &error);
    score_must(rapt_backward(mta_context, call.out[0].tensor, call.in[Q].tensor, false, &error),
               &error);
    const int64_t peak = rapt_memory_usage().peak - before;
    linear_free(&call);
    return peak;
}

static void memory_is_linear(void **state)
{
    (void)state;
    const int64_t small = peak_of(700);
    assert_true(peak_of(1400) <= 2 * small + (1 << 20));
}

static void refuse(mta_case c, const char *expected)
{
    linear_call call;
    rapt_error error = {0};
    mta_start(&call, &c);
    assert_int_equal(linear_try(&call, &error), RAPT_INVALID);
    assert_string_equal(error.message, expected);
    linear_free(&call);
}

static void refuses_wrong_kernels(void **state)
{
    (void)state;
    const mta_case plain = {.B = 1, .H = 6, .G = 2, .N = 4, .M = 4, .D = 4, .E = 4};
    mta_case c = plain;
    c.a = 2, c.b = 4;
    refuse(c, "mta: needs !given(qk_kernel) || b % 2 == 1, but qk_kernel is given and b is 4");
    c = plain;
    c.r = 2, c.s = 4;
    refuse(c, "mta: needs !given(qk_kernel_post) || s % 2 == 1, but qk_kernel_post is given and "
              "s is 4");
    c = plain;
    c.c = 4;
    refuse(c, "mta: size 1 of head_kernel (H/c c c): 6 / 4 leaves a remainder");
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "bits") == 0) {
        setup(NULL);
        printf("%llx\n", (unsigned long long)all_bits());
        teardown(NULL);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(groups_and_layouts),
        cmocka_unit_test(cross),
        cmocka_unit_test(kernel_sizes),
        cmocka_unit_test(several_blocks),
        cmocka_unit_test(halves),
        cmocka_unit_test(large_scores),
        cmocka_unit_test(nothing),
        cmocka_unit_test(options),
        cmocka_unit_test(packed),
        cmocka_unit_test(golden),
        cmocka_unit_test(steps_equal_one_call),
        cmocka_unit_test(long_steps),
        cmocka_unit_test(refuses_other_prefills),
        cmocka_unit_test(equal_bits),
        cmocka_unit_test(memory_is_linear),
        cmocka_unit_test(refuses_wrong_kernels),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("mta", tests, setup, teardown);
}
