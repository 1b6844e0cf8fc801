/* What softmax and cog do over several calls: decoding, equal bits, memory. */
#include "equal_bits.h"
#include "sanitized.h"
#include "score_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rapt_context *context;
static const char *program; /* this test, to be run again */
static const char *const operators[] = {"softmax", "cog"};
static const rapt_named_value causal = {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {1}};

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

/* --- Decoding --------------------------------------------------------------------------------- */

static rapt_tensor *part(rapt_tensor *x, int64_t start, int64_t length)
{
    rapt_error error = {0};
    rapt_tensor *view = rapt_narrow(context, x, 2, start, length, &error);
    if (!view)
        fail_msg("%s", error.message);
    return view;
}

static void take(rapt_named_tensor *inputs, rapt_tensor *const *x, int64_t start, int64_t length)
{
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++)
        inputs[i] = (rapt_named_tensor){names[i], part(x[i], start, length)};
}

static void drop(rapt_named_tensor *inputs)
{
    for (int i = 0; i < 3; i++)
        rapt_tensor_release(inputs[i].tensor);
}

static void same_rows(rapt_tensor *full, rapt_tensor *got, int64_t start, double tolerance)
{
    rapt_tensor *want = part(full, start, rapt_tensor_view(got)->shape[2]);
    double *a = score_read(context, got), *b = score_read(context, want);
    if (!(score_error(a, b, rapt_tensor_count(want), 0.1) <= tolerance))
        fail_msg("position %ld differs by %g", (long)start,
                 score_error(a, b, rapt_tensor_count(want), 0.1));
    free(a);
    free(b);
    rapt_tensor_release(want);
}

/* Prefill of `split` positions, then one by one to the end. */
static void decode(const char *op, rapt_tensor *const *x, rapt_tensor *full, int64_t split,
                   double tolerance)
{
    const int64_t n = rapt_tensor_view(full)->shape[2];
    rapt_error error = {0};
    rapt_named_tensor inputs[3];
    rapt_tensor *prefill = NULL;
    take(inputs, x, 0, split);
    rapt_decoding *state =
        rapt_decode(context, op, inputs, 3, &causal, 1, split > 0 ? &prefill : NULL, &error);
    drop(inputs);
    if (!state)
        fail_msg("%s", error.message);
    if (prefill)
        same_rows(full, prefill, 0, tolerance);
    rapt_tensor_release(prefill);
    for (int64_t i = split; i < n; i++) {
        take(inputs, x, i, 1);
        rapt_tensor *o = rapt_step(state, inputs, 3, &error);
        drop(inputs);
        if (!o)
            fail_msg("%s", error.message);
        same_rows(full, o, i, tolerance);
        rapt_tensor_release(o);
    }
    rapt_decoding_free(state);
}

static void steps_equal_one_call(void **state)
{
    (void)state;
    const int64_t q[4] = {2, 6, 21, 20}, k[4] = {2, 2, 21, 20}, v[4] = {2, 2, 21, 12};
    for (int op = 0; op < 2; op++)
        for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++) {
            uint64_t seed = 5;
            rapt_error error = {0};
            rapt_tensor *x[3] = {score_random(context, q, dtype, true, 1, &seed),
                                 score_random(context, k, dtype, true, 1, &seed),
                                 score_random(context, v, dtype, false, 1, &seed)};
            rapt_named_tensor inputs[3], full = {"o", NULL};
            take(inputs, x, 0, 21);
            score_must(
                rapt_call_operator(context, operators[op], inputs, 3, &causal, 1, &full, 1, &error),
                &error);
            drop(inputs);
            for (int64_t split = 0; split <= 21; split++)
                decode(operators[op], x, full.tensor, split, dtype == RAPT_F32 ? 2e-5 : 8e-3);
            rapt_tensor_release(full.tensor);
            for (int i = 0; i < 3; i++)
                rapt_tensor_release(x[i]);
        }
}

/* --- Bits ------------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, rapt_tensor *tensor)
{
    const size_t bytes = (size_t)rapt_tensor_count(tensor) *
                         rapt_dtype_size(rapt_view_dtype(rapt_tensor_view(tensor)));
    unsigned char *memory = malloc(bytes + 1);
    assert_non_null(memory);
    score_must(rapt_read(context, tensor, memory, bytes, NULL), NULL);
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ memory[i]) * 1099511628211ull;
    free(memory);
    return h;
}

static uint64_t bits_of(const char *op, rapt_dtype dtype, int64_t n, int64_t m, int64_t g)
{
    const int64_t q[4] = {1, 4, n, 40}, k[4] = {1, g, m, 40}, bias[4] = {1, 1, n, m};
    const int64_t heads[4] = {4, 1, 1, 1};
    uint64_t seed = 9, result = 14695981039346656037ull;
    rapt_error error = {0};
    rapt_tensor *flat = score_random(context, heads, RAPT_F32, false, 1, &seed);
    rapt_named_tensor inputs[6] = {{"q", score_random(context, q, dtype, false, 1, &seed)},
                                   {"k", score_random(context, k, dtype, false, 1, &seed)},
                                   {"v", score_random(context, k, dtype, false, 1, &seed)},
                                   {"bias", score_random(context, bias, dtype, false, 1, &seed)},
                                   {"alibi", rapt_view_as(context, flat, 1, heads, NULL)},
                                   {"sink", NULL}};
    inputs[5].tensor = rapt_clone(context, inputs[4].tensor, NULL);
    rapt_named_tensor output = {"o", NULL};
    const size_t count = strcmp(op, "softmax") == 0 ? 6 : 3;
    for (size_t i = 0; i < count; i++)
        score_must(rapt_set_requires_grad(inputs[i].tensor, true, NULL), NULL);
    score_must(rapt_call_operator(context, op, inputs, count, &causal, 1, &output, 1, &error),
               &error);
    result = hash(result, output.tensor);
    rapt_tensor *grad = score_random(context, q, dtype, false, 1, &seed);
    score_must(rapt_backward(context, output.tensor, grad, false, &error), &error);
    for (size_t i = 0; i < count; i++)
        result = hash(result, rapt_grad(inputs[i].tensor));
    for (int i = 0; i < 6; i++)
        rapt_tensor_release(inputs[i].tensor);
    rapt_tensor_release(flat);
    rapt_tensor_release(output.tensor);
    rapt_tensor_release(grad);
    return result;
}

static uint64_t all_bits(void)
{
    uint64_t result = 0;
    for (int op = 0; op < 2; op++)
        for (int dtype = RAPT_F32; dtype <= RAPT_F16; dtype++) {
            result = result * 31 + bits_of(operators[op], dtype, 700, 700, 4);
            result = result * 31 + bits_of(operators[op], dtype, 300, 500, 2);
            result = result * 31 + bits_of(operators[op], dtype, 2, 3000, 1);
        }
    return result;
}

static void equal_bits(void **state)
{
    (void)state;
    equal_bits_check(program, all_bits);
}

/* --- Memory ----------------------------------------------------------------------------------- */

/* Bytes at the peak of a call beyond what was there before it, inputs and output included. */
static int64_t peak_of(const char *op, int64_t n, bool backward)
{
    const int64_t shape[4] = {1, 8, n, 64};
    uint64_t seed = 1;
    rapt_error error = {0};
    rapt_tensor *x[4];
    static const char *const names[] = {"q", "k", "v"};
    rapt_named_tensor inputs[3], output = {"o", NULL};
    for (int i = 0; i < 4; i++)
        x[i] = score_random(context, shape, RAPT_F32, false, 1, &seed);
    for (int i = 0; i < 3; i++) {
        score_must(rapt_set_requires_grad(x[i], backward, NULL), NULL);
        inputs[i] = (rapt_named_tensor){names[i], x[i]};
    }
    rapt_memory_reset_peak();
    const int64_t before = rapt_memory_usage().current;
    score_must(rapt_call_operator(context, op, inputs, 3, &causal, 1, &output, 1, &error), &error);
    if (backward)
        score_must(rapt_backward(context, output.tensor, x[3], false, &error), &error);
    const int64_t peak = rapt_memory_usage().peak - before;
    rapt_tensor_release(output.tensor);
    for (int i = 0; i < 4; i++)
        rapt_tensor_release(x[i]);
    return peak;
}

static void memory_is_linear(void **state)
{
    (void)state;
    const char *forced = getenv("RAPT_CPU");
    const bool wide = forced && strcmp(forced, "avx512") == 0;
    const int64_t longest = SANITIZED ? 512 : wide ? 16384 : 4096, step = SANITIZED ? 256 : 1024;
    for (int op = 0; op < 2; op++) {
        const int64_t output = 8 * longest * 64 * 4;
        assert_true(peak_of(operators[op], longest, false) - output <= 32 << 20);
        const int64_t small = peak_of(operators[op], step, true);
        assert_true(peak_of(operators[op], 2 * step, true) <= 2 * small + (1 << 20));
    }
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
        cmocka_unit_test(steps_equal_one_call),
        cmocka_unit_test(equal_bits),
        cmocka_unit_test(memory_is_linear),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("score runs", tests, setup, teardown);
}
