/* ssa against its definition: temperatures of queries and values, for each query head. */
#include "score_case.h"

#include <stdlib.h>
#include <string.h>

static rapt_context *context;
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

static score_case plain(int64_t n, int64_t m)
{
    return (score_case){.op = "ssa",
                        .B = 2,
                        .H = 4,
                        .G = 2,
                        .N = n,
                        .M = m,
                        .D = 16,
                        .E = 24,
                        .tau_q = true,
                        .tau_v = true,
                        .seed = 1};
}

static void check(const score_case *c)
{
    score_check(context, c, score_tolerance_of(c->dtype));
}

static void sizes(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 3, 17, 65, 130};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++)
            for (int with = 0; with < 4; with++) {
                score_case c = plain(lengths[i], lengths[j]);
                c.D = 1 + (i * 7 + j * 13) % 40;
                c.E = 1 + (i * 11 + j * 5) % 40;
                c.causal = (i + j + with) % 2;
                c.lse = with == 3;
                c.tau_q = with & 1;
                c.tau_v = with & 2;
                c.seed = (uint64_t)(i * 5 + j);
                check(&c);
            }
}

static void heads_and_types(void **state)
{
    (void)state;
    for (int64_t g = 1; g <= 4; g *= 2)
        for (int type = RAPT_F32; type <= RAPT_BF16; type++)
            for (int64_t n = 2; n < 200; n = n * 8 + 1) {
                score_case c = plain(n, n + 2);
                c.G = g;
                c.dtype = type;
                c.causal = true;
                c.transposed = g == 2;
                check(&c);
            }
}

/* Several parts, spans and chunks; a bias beside the temperatures. */
static void long_calls(void **state)
{
    (void)state;
    score_case c = plain(700, 900);
    c.B = 1;
    c.H = c.G = 1;
    c.D = 64;
    check(&c);
    c.bias[0] = c.bias[1] = 1, c.bias[2] = 700, c.bias[3] = 900;
    check(&c);
    c = plain(2, 1500);
    c.causal = true;
    check(&c);
}

static void nothing_to_see(void **state)
{
    (void)state;
    score_case c = plain(70, 3);
    c.causal = true;
    check(&c);
    c.M = 0;
    check(&c);
    c.N = 0;
    check(&c);
}

static rapt_tensor *filled(const int64_t *shape, int32_t ndim, float value)
{
    float values[256];
    rapt_error error = {0};
    for (int i = 0; i < 256; i++)
        values[i] = value;
    rapt_tensor *x = rapt_tensor_from(context, RAPT_F32, ndim, shape, values, &error);
    if (!x)
        fail_msg("%s", error.message);
    score_must(rapt_set_requires_grad(x, true, NULL), NULL);
    return x;
}

/* A temperature of 0 flattens the weights, or hides a value; its gradient is what it always is. */
static void temperatures_of_zero(void **state)
{
    (void)state;
    const int64_t rows[4] = {1, 1, 8, 4}, each[3] = {1, 1, 8};
    uint64_t seed = 9;
    rapt_error error = {0};
    rapt_tensor *q = score_random(context, rows, RAPT_F32, false, 1, &seed);
    rapt_tensor *v = score_random(context, rows, RAPT_F32, false, 1, &seed);
    rapt_tensor *tau_q = filled(each, 3, 0), *tau_v = filled(each, 3, 0);
    rapt_tensor *ones = filled(rows, 4, 1);
    const rapt_named_tensor inputs[] = {
        {"q", q}, {"k", q}, {"v", v}, {"tau_q", tau_q}, {"tau_v", tau_v}};
    rapt_named_tensor output = {"o", NULL};
    score_must(rapt_call_operator(context, "ssa", inputs, 5, NULL, 0, &output, 1, &error), &error);
    score_must(rapt_backward(context, output.tensor, ones, false, &error), &error);
    double *o = score_read(context, output.tensor), *value = score_read(context, v);
    double *dq = score_read(context, rapt_grad(tau_q)), *dv = score_read(context, rapt_grad(tau_v));
    for (int i = 0; i < 8; i++) {
        double sum = 0;
        for (int e = 0; e < 4; e++) {
            assert_float_equal(o[i * 4 + e], 0, 0);
            sum += value[i * 4 + e];
        }
        assert_float_equal(dv[i], sum, 1e-6); /* 8 queries give each value 1/8 */
        assert_float_equal(dq[i], 0, 1e-6);   /* nothing to weigh: all values are 0 */
    }
    free(o);
    free(value);
    free(dq);
    free(dv);
    rapt_tensor_release(output.tensor);
    rapt_tensor_release(ones);
    for (int i = 0; i < 5; i++)
        rapt_tensor_release(i == 1 ? NULL : inputs[i].tensor);
}

/* --- Decoding --------------------------------------------------------------------------------- */

enum { INPUTS = 5 };
static const char *const names[INPUTS] = {"q", "k", "v", "tau_q", "tau_v"};

static void take(rapt_named_tensor *part, rapt_tensor *const *x, int64_t start, int64_t length)
{
    rapt_error error = {0};
    for (int i = 0; i < INPUTS; i++) {
        part[i] =
            (rapt_named_tensor){names[i], rapt_narrow(context, x[i], 2, start, length, &error)};
        if (!part[i].tensor)
            fail_msg("%s", error.message);
    }
}

static void drop(rapt_named_tensor *part)
{
    for (int i = 0; i < INPUTS; i++)
        rapt_tensor_release(part[i].tensor);
}

static void same_row(rapt_tensor *full, rapt_tensor *got, int64_t row, double tolerance)
{
    rapt_tensor *want = rapt_narrow(context, full, 2, row, 1, NULL);
    double *a = score_read(context, got), *b = score_read(context, want);
    const double error = score_error(a, b, rapt_tensor_count(want), 0.1);
    if (!(error <= tolerance))
        fail_msg("position %ld differs by %g", (long)row, error);
    free(a);
    free(b);
    rapt_tensor_release(want);
}

static void decode(rapt_tensor *const *x, rapt_tensor *full, int64_t split, double tolerance)
{
    rapt_error error = {0};
    rapt_named_tensor part[INPUTS];
    rapt_tensor *prefill = NULL;
    take(part, x, 0, split);
    rapt_decoding *state =
        rapt_decode(context, "ssa", part, INPUTS, &causal, 1, split > 0 ? &prefill : NULL, &error);
    drop(part);
    if (!state)
        fail_msg("%s", error.message);
    rapt_tensor_release(prefill);
    for (int64_t i = split; i < rapt_tensor_view(full)->shape[2]; i++) {
        take(part, x, i, 1);
        rapt_tensor *o = rapt_step(state, part, INPUTS, &error);
        drop(part);
        if (!o)
            fail_msg("%s", error.message);
        same_row(full, o, i, tolerance);
        rapt_tensor_release(o);
    }
    rapt_decoding_free(state);
}

static void steps_equal_one_call(void **state)
{
    (void)state;
    const int64_t shapes[INPUTS][4] = {
        {2, 6, 21, 20}, {2, 2, 21, 20}, {2, 2, 21, 12}, {2, 6, 21, 1}, {2, 6, 21, 1}};
    for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++) {
        uint64_t seed = 5;
        rapt_error error = {0};
        rapt_tensor *x[INPUTS];
        rapt_named_tensor inputs[INPUTS], full = {"o", NULL};
        for (int i = 0; i < INPUTS; i++) {
            x[i] = score_random(context, shapes[i], dtype, false, 1, &seed);
            if (i > 2) {
                rapt_tensor *flat = rapt_view_as(context, x[i], 3, shapes[i], &error);
                assert_non_null(flat);
                rapt_tensor_release(x[i]);
                x[i] = flat;
            }
            inputs[i] = (rapt_named_tensor){names[i], x[i]};
        }
        score_must(rapt_call_operator(context, "ssa", inputs, INPUTS, &causal, 1, &full, 1, &error),
                   &error);
        for (int64_t split = 0; split <= 21; split++)
            decode(x, full.tensor, split, dtype == RAPT_F32 ? 2e-5 : 8e-3);
        rapt_tensor_release(full.tensor);
        for (int i = 0; i < INPUTS; i++)
            rapt_tensor_release(x[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(heads_and_types),
        cmocka_unit_test(long_calls),
        cmocka_unit_test(nothing_to_see),
        cmocka_unit_test(temperatures_of_zero),
        cmocka_unit_test(steps_equal_one_call),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("ssa", tests, setup, teardown);
}
