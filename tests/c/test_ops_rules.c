/* What the built-in operators promise at the edges: ties, NaN and infinities, refused calls,
 * dropout, accuracy of long sums. */
#include "device/cpu/services.h"
#include "test_ops_host.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

static const ops_options plain = {RAPT_F32, OPS_CONTIGUOUS, 1};

static ops_run *run_on(const char *op, const char *inputs, const char *attrs, const double *values)
{
    const ops_case test = {op, inputs, attrs};
    ops_given = values;
    return ops_forward(&test, plain);
}

/* The output for given values; NaN stands for itself. */
static void expect(const char *op, const char *inputs, const char *attrs, const double *values,
                   int64_t n, const double *expected, double tolerance)
{
    ops_run *run = run_on(op, inputs, attrs, values);
    for (int64_t i = 0; i < n; i++) {
        const double got = ops_output(run, i), want = expected[i];
        const bool same = isfinite(want) ? fabs(got - want) <= tolerance * fmax(fabs(want), 1e-30)
                                         : (isnan(want) ? isnan(got) : got == want);
        if (!same)
            fail_msg("%s(%s)[%lld] is %.9g, not %.9g", op, attrs, (long long)i, got, want);
    }
    ops_free(run);
}

static void test_special_values(void **state)
{
    (void)state;
    const double inf = INFINITY, odd = NAN;
    const double x[] = {-inf, -100, -20, 0, 20, 100, inf, odd};
    expect("exp", "x=8:given", "", x, 8,
           (double[]){0, exp(-100), exp(-20), 1, exp(20), inf, inf, odd}, 1e-5);
    expect("softplus", "x=8:given", "", x, 8,
           (double[]){0, exp(-100), log1p(exp(-20)), log(2), 20 + exp(-20), 100, inf, odd}, 1e-5);
    expect("sigmoid", "x=8:given", "", x, 8,
           (double[]){0, exp(-100), 1 / (1 + exp(20)), 0.5, 1 / (1 + exp(-20)), 1, 1, odd}, 1e-5);
    expect("tanh", "x=8:given", "", x, 8, (double[]){-1, -1, -1, 0, 1, 1, 1, odd}, 1e-6);
    expect("relu", "x=8:given", "", x, 8, (double[]){0, 0, 0, 0, 20, 100, inf, odd}, 0);
    expect("silu", "x=7:given", "", x + 1, 7,
           (double[]){-100 * exp(-100), -20 / (1 + exp(20)), 0, 20 / (1 + exp(-20)), 100, inf, odd},
           1e-5);
    expect("gelu", "x=7:given", "", x + 1, 7, (double[]){0, 0, 0, 20, 100, inf, odd}, 1e-6);
    expect("gelu", "x=7:given", "approximate=tanh", x + 1, 7,
           (double[]){0, 0, 0, 20, 100, inf, odd}, 1e-6);
    expect("log", "x=3:given", "", (double[]){0, -1, inf}, 3, (double[]){-inf, odd, inf}, 0);
    expect("sqrt", "x=3:given", "", (double[]){0, -1, inf}, 3, (double[]){0, odd, inf}, 0);
    expect("maximum", "a=3:given b=3:given", "", (double[]){odd, 1, 2, 1, odd, 3}, 3,
           (double[]){odd, odd, 3}, 0);
    expect("minimum", "a=3:given b=3:given", "", (double[]){odd, 1, 2, 1, odd, 3}, 3,
           (double[]){odd, odd, 2}, 0);
}

/* The lower tail of gelu keeps its digits: relative to its own value, not to 1. */
static void test_gelu_tail(void **state)
{
    (void)state;
    double x[64], y[64];
    for (int i = 0; i < 64; i++) {
        x[i] = -(double)(float)(0.125 * i);
        y[i] = x[i] * 0.5 * erfc(-x[i] / sqrt(2));
    }
    expect("gelu", "x=64:given", "", x, 64, y, 2e-6);
}

static void test_extremes(void **state)
{
    (void)state;
    const double inf = INFINITY, odd = NAN;
    double x[100];
    for (int i = 0; i < 100; i++)
        x[i] = i == 77 ? odd : i;
    expect("max", "x=100:given", "", x, 1, (double[]){odd}, 0);
    expect("min", "x=100:given", "", x, 1, (double[]){odd}, 0);
    expect(
        "max", "x=5,20:given", "dims=0", x, 20,
        (double[]){80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, odd, 98, 99},
        0);
    expect("argmax", "x=100:given", "", x, 1, (double[]){77}, 0);
    expect("max", "x=3:given", "", (double[]){-inf, -inf, -inf}, 1, (double[]){-inf}, 0);
    expect("argmax", "x=4:given", "", (double[]){1, 5, 5, 0}, 1, (double[]){1}, 0);
}

/* Where several elements are the largest, the first one gets the gradient, all of it. */
static void test_ties(void **state)
{
    (void)state;
    static const char *const dims[] = {"", "dims=1", "dims=0"};
    const double x[] = {1, 5, 5, 5, 5, 2};
    static const int64_t expected[3][6] = {
        {0, 1, 0, 0, 0, 0}, {0, 1, 0, 1, 0, 0}, {0, 1, 1, 1, 0, 0}};
    static const int64_t source[3][6] = {
        {0, 0, 0, 0, 0, 0}, {0, 0, 0, 1, 1, 1}, {0, 1, 2, 0, 1, 2}};
    for (int c = 0; c < 3; c++) {
        ops_run *run = run_on("max", "x=2,3:given", dims[c], x);
        ops_check_backward(run, 0);
        for (int64_t i = 0; i < 6; i++)
            assert_true(ops_gradient(run, 0, i) ==
                        (expected[c][i] ? ops_output_gradient(run, source[c][i]) : 0));
        ops_free(run);
    }
    ops_run *run = run_on("maximum", "a=3:given b=3:given", "", (double[]){1, 2, 3, 1, 3, 2});
    ops_check_backward(run, 0);
    assert_true(ops_gradient(run, 0, 0) == ops_output_gradient(run, 0));
    assert_true(ops_gradient(run, 1, 0) == 0);
    assert_true(ops_gradient(run, 1, 1) == ops_output_gradient(run, 1));
    ops_free(run);
    for (int i = 0; i < 2; i++) {
        run = run_on(i ? "abs" : "relu", "x=2:given", "", (double[]){0, -1});
        ops_check_backward(run, 0);
        assert_true(ops_gradient(run, 0, 0) == 0);
        ops_free(run);
    }
}

static void test_softmax_edges(void **state)
{
    (void)state;
    const double inf = INFINITY;
    const double x[] = {-inf, -inf, -inf, 1000, 1000, -inf};
    expect("softmax", "x=2,3:given", "", x, 6, (double[]){0, 0, 0, 0.5, 0.5, 0}, 1e-6);
    expect("log_softmax", "x=2,3:given", "", x, 6,
           (double[]){-inf, -inf, -inf, -log(2), -log(2), -inf}, 1e-6);
    for (int i = 0; i < 2; i++) {
        ops_run *run = run_on(i ? "log_softmax" : "softmax", "x=2,3:given", "", x);
        ops_check_backward(run, 0);
        for (int64_t k = 0; k < 6; k++)
            assert_true(k < 3 ? ops_gradient(run, 0, k) == 0 : isfinite(ops_gradient(run, 0, k)));
        ops_free(run);
    }
    /* a certain answer: loss and gradient are finite and small */
    ops_run *run =
        run_on("cross_entropy", "logits=1,3:given targets=1:i64<1", "", (double[]){1e4, 0, -1e4});
    ops_check_backward(run, 0);
    assert_true(ops_output(run, 0) == 0 && ops_gradient(run, 0, 0) == 0);
    ops_free(run);
}

/* A float32 sum one by one would be wrong in the fourth digit. */
static void test_long_sums(void **state)
{
    (void)state;
    static double tenth[3000000];
    double total = 0;
    for (size_t i = 0; i < sizeof tenth / sizeof tenth[0]; i++) {
        tenth[i] = (double)0.1f;
        total += tenth[i];
    }
    expect("sum", "x=3000000:given", "", tenth, 1, &total, 1e-6);
    total /= 30;
    expect("sum", "x=100000,30:given", "dims=0", tenth, 1, &total, 1e-6);
    expect("sum", "x=30,100000:given", "dims=1", tenth, 1, &total, 1e-6);
}

/* --- Dropout -------------------------------------------------------------------------------- */

static int64_t dropped(const ops_run *run, int64_t n, double scale)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const double y = ops_output(run, i), x = ops_input(run, 0, i);
        const double dx = ops_gradient(run, 0, i), g = ops_output_gradient(run, i);
        assert_true(y == 0 || fabs(y - x * scale) <= 1e-6 * fabs(x));
        assert_true((y == 0) == (dx == 0));
        assert_true(dx == 0 || fabs(dx - g * scale) <= 1e-6 * fabs(g));
        count += y == 0;
    }
    return count;
}

static void test_dropout(void **state)
{
    (void)state;
    static const char *const attrs[] = {"p=0.25 seed=7", "p=0 seed=7", "p=1 seed=7",
                                        "p=0.25 seed=8"};
    static const double scales[] = {4.0 / 3, 1, 0, 4.0 / 3}, shares[] = {0.25, 0, 1, 0.25};
    uint64_t hashes[4];
    for (int c = 0; c < 4; c++) {
        const ops_case test = {"dropout", "x=40,500", attrs[c]};
        for (int layout = 0; layout <= OPS_REVERSED; layout++)
            for (int workers = 1; workers <= 2; workers++) {
                const ops_options options = {RAPT_F32, (ops_layout)layout, workers};
                ops_run *run = ops_forward(&test, options);
                ops_check_backward(run, 0);
                const double share = (double)dropped(run, 20000, scales[c]) / 20000;
                assert_true(fabs(share - shares[c]) < 0.015);
                if (layout == 0 && workers == 1)
                    hashes[c] = ops_hash(run);
                ops_free(run);
            }
    }
    assert_true(hashes[0] != hashes[3]);
}

/* --- Refusals ------------------------------------------------------------------------------- */

static void refused(const char *op, const char *inputs, const char *attrs, const char *text)
{
    const ops_case test = {op, inputs, attrs};
    char message[RAPT_ERROR_SIZE];
    const rapt_status status = ops_failure(&test, plain, message, sizeof message);
    if (status != RAPT_INVALID)
        fail_msg("%s (%s; %s): status %d", op, inputs, attrs, (int)status);
    if (strstr(message, text) == NULL)
        fail_msg("%s (%s; %s): \"%s\" does not say \"%s\"", op, inputs, attrs, message, text);
    assert_null(strchr(message, '\n'));
}

static void test_refusals(void **state)
{
    (void)state;
    refused("matmul", "a=3,4 b=5,6", "", "the inner sizes differ");
    refused("matmul", "a=3,4 b=4,6", "transpose_a=true", "a is [..,3,4] transposed");
    refused("matmul", "a=2,3,4 b=3,4,6", "", "broadcast");
    refused("matmul", "a=3 b=3,4", "", "a has 1 dimension");
    refused("add", "a=3,4 b=3", "", "broadcast");
    refused("sum", "x=3,4", "dims=2", "dimension 2 is out of range: the tensor has 2");
    refused("sum", "x=3,4", "dims=0,-2", "names dimension 0 twice");
    refused("sum", "x=3,4", "dims=9", "dims");
    refused("max", "x=3,0", "", "nothing has no extreme");
    refused("min", "x=3,0", "dims=1", "nothing has no extreme");
    refused("argmax", "x=3,0", "", "nothing has no extreme");
    refused("softmax", "x=3,4", "dim=-3", "out of range");
    refused("cumsum", "x=-", "dim=1", "out of range");
    refused("sum_to", "x=3,4", "shape=2,4", "size 2 at place 0");
    refused("sum_to", "x=4", "shape=1,4", "has 2 dimensions but x has only 1");
    refused("rms_norm", "x=3,4 weight=5", "", "weight");
    refused("rope", "x=3,5", "", "D % 2");
    refused("cat", "a=3,4 b=3", "", "input 2 has 1 dimensions");
    refused("cat", "a=3,4 b=3,5", "", "size 5 where a has 4");
    refused("cat", "a=-", "", "scalar");
    refused("dropout", "x=3", "p=1.5 seed=1", "p");
    refused("dropout", "x=3", "p=0.5", "seed");
    refused("gelu", "x=3", "approximate=tan", "tanh");
    refused("adamw", "param=3 grad=3 m=3:f32 v=3:f32", "lr=0.1 step=0", "step");
    refused("adamw", "param=3 grad=3 m=3:f32 v=3:f32", "lr=0.1 step=1 beta1=1", "beta1 < 1");
    refused("adamw", "param=3 grad=4 m=3:f32 v=3:f32", "lr=0.1 step=1", "grad");
}

/* A label out of range is found before anything is written, wherever it stands. */
static void test_labels(void **state)
{
    (void)state;
    ops_spoil_at = 10;
    ops_spoil_value = 11;
    refused("embedding", "weight=11,4 ids=3,7:i64<11", "", "ids[1,3] (counted from 0) is 11");
    refused("cross_entropy", "logits=13,11 targets=13:i32<11", "", "targets[10]");
    ops_spoil_value = -1;
    refused("embedding", "weight=11,4 ids=3,7:i32<11", "", "is -1 but must be at least 0");
    refused("cross_entropy", "logits=13,11 targets=13:i64<11", "reduction=none", "is -1");
    refused("cross_entropy", "logits=13,11 targets=13:i64<11", "ignore_index=-2", "is -1");
    const ops_case ignored = {"cross_entropy", "logits=13,11 targets=13:i64<11", "ignore_index=-1"};
    ops_run *run = ops_forward(&ignored, plain);
    ops_check_forward(run, 1e-5);
    ops_free(run);
    ops_spoil_at = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_values), cmocka_unit_test(test_gelu_tail),
        cmocka_unit_test(test_extremes),       cmocka_unit_test(test_ties),
        cmocka_unit_test(test_softmax_edges),  cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_dropout),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_labels),
    };
    rapt_error error;
    if (rapt_cpu_detect(&error) != RAPT_OK) {
        fprintf(stderr, "skipped: %s\n", error.message);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
