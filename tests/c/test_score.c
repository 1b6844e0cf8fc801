/* softmax and cog against their definitions: sizes, heads, layouts, biases, types, hard numbers. */
#include "score_case.h"

#include <math.h>
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

static const char *const operators[] = {"softmax", "cog"};

static score_case plain(int op)
{
    return (score_case){
        .op = operators[op], .B = 1, .H = 2, .G = 2, .N = 17, .M = 17, .D = 16, .E = 16, .seed = 1};
}

static void check(const score_case *c)
{
    score_check(context, c, score_tolerance_of(c->dtype));
}

static void sizes(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 3, 17, 63, 65, 129};
    for (int op = 0; op < 2; op++)
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < 6; j++)
                for (int causal = 0; causal < 2; causal++) {
                    score_case c = plain(op);
                    c.N = lengths[i];
                    c.M = lengths[j];
                    c.causal = causal;
                    c.D = 1 + (i * 7 + j * 13) % 40;
                    c.E = 1 + (i * 11 + j * 5) % 40;
                    c.lse = (i + j) % 2;
                    c.seed = (uint64_t)(i * 6 + j);
                    check(&c);
                }
}

static void feature_sizes(void **state)
{
    (void)state;
    static const int64_t features[] = {1, 8, 15, 16, 17, 48, 64, 96, 128, 200};
    for (int op = 0; op < 2; op++)
        for (int i = 0; i < 10; i++) {
            score_case c = plain(op);
            c.N = c.M = 70;
            c.causal = true;
            c.D = features[i];
            c.E = features[(i * 3 + 1) % 10];
            check(&c);
        }
}

static void shared_heads(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++)
        for (int64_t share = 2; share <= 8; share *= 2)
            for (int64_t n = 1; n <= 129; n += 64) {
                score_case c = plain(op);
                c.B = 2;
                c.H = 8;
                c.G = 8 / share;
                c.N = n;
                c.M = 129;
                c.causal = true;
                check(&c);
            }
}

static void layouts(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++)
        for (int type = RAPT_F32; type <= RAPT_BF16; type++)
            for (int64_t n = 1; n <= 129; n += 32) {
                score_case c = plain(op);
                c.B = 2;
                c.H = 4;
                c.N = n;
                c.M = 130;
                c.D = n % 64 == 1 ? 64 : 24;
                c.E = 40;
                c.dtype = type;
                c.transposed = true;
                c.causal = n % 64 == 1;
                check(&c);
            }
}

/* A bias of every shape that B H N M broadcasts to, some of it -infinity. */
static void biases(void **state)
{
    (void)state;
    for (int mask = 0; mask < 16; mask++)
        for (int size = 0; size < 3; size++) {
            score_case c = plain(0);
            c.B = 2;
            c.H = 4;
            c.N = size == 0 ? 3 : size == 1 ? 33 : 130;
            c.M = size == 0 ? 70 : size == 1 ? 65 : 67;
            c.causal = mask % 3 == 0;
            c.lse = mask % 2;
            c.hidden = mask % 5 == 0 ? 0 : 0.3;
            const int64_t full[4] = {c.B, c.H, c.N, c.M};
            for (int d = 0; d < 4; d++)
                c.bias[d] = mask >> d & 1 ? full[d] : 1;
            if (mask == 0)
                c.hidden = 0;
            c.seed = (uint64_t)mask;
            check(&c);
        }
}

static void bias_of_another_type(void **state)
{
    (void)state;
    score_case c = plain(0);
    c.dtype = RAPT_F16;
    c.N = c.M = 70;
    c.bias[0] = 1, c.bias[1] = 2, c.bias[2] = 70, c.bias[3] = 70;
    check(&c);
    c.bias_dtype = RAPT_F16;
    check(&c);
    c.dtype = c.bias_dtype = RAPT_BF16;
    check(&c);
}

static void halves(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++)
        for (int type = RAPT_F16; type <= RAPT_BF16; type++)
            for (int64_t n = 2; n < 300; n = n * 3 + 1) {
                score_case c = plain(op);
                c.H = 4;
                c.dtype = type;
                c.N = n;
                c.M = n + 5;
                c.causal = true;
                check(&c);
            }
}

/* Gradients that are differences of nearly equal sums: few keys, rounded outputs. */
static void halves_that_cancel(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++)
        for (int type = RAPT_F16; type <= RAPT_BF16; type++)
            for (uint64_t seed = 0; seed < 20; seed++) {
                score_case c = plain(op);
                c.dtype = type;
                c.N = 1 + (int64_t)seed % 3;
                c.M = 2;
                c.E = 1 + 16 * ((int64_t)seed % 5);
                c.magnitude = 3;
                c.seed = seed;
                check(&c);
            }
}

/* Queries before the first key of a causal call see nothing. */
static void hidden_rows(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++)
        for (int64_t m = 0; m <= 64; m += m < 2 ? 1 : 62) {
            score_case c = plain(op);
            c.N = 130;
            c.M = m;
            c.causal = true;
            c.lse = true;
            check(&c);
            c.N = 3;
            c.causal = false;
            check(&c);
        }
}

static void nothing_at_all(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++) {
        score_case c = plain(op);
        c.N = 0;
        c.M = 5;
        check(&c);
        c.M = 0;
        check(&c);
        c.N = 4;
        c.B = 0;
        check(&c);
    }
}

static void scales(void **state)
{
    (void)state;
    static const double scale[] = {0.3, -0.5, 2.0, 1e-3};
    for (int op = 0; op < 2; op++)
        for (int i = 0; i < 4; i++) {
            score_case c = plain(op);
            c.scale = scale[i];
            c.N = 40;
            c.M = 90;
            check(&c);
        }
}

/* Several tasks, spans, chunks and parts. */
static void long_calls(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++)
        for (int causal = 0; causal < 2; causal++) {
            score_case c = plain(op);
            c.H = c.G = 1;
            c.N = c.M = 1100;
            c.D = 8;
            c.causal = causal;
            check(&c);
            c.N = 2;
            c.M = 2100;
            c.lse = true;
            check(&c);
            c.B = 5;
            c.H = 8;
            c.G = 8;
            c.N = 300;
            c.M = 330;
            c.D = 16;
            c.E = 3;
            /* Cog jumps where a score changes its sign: of millions of scores some are so near to 0
             * that float32 and double disagree on it. */
            score_check(context, &c,
                        op == 0 ? (score_tolerance){2e-5, 1e-4} : (score_tolerance){1e-2, 1e-2});
        }
}

/* A plugin with a logit and a factor that both have slopes: the general formulas. */
static void another_variant(void **state)
{
    (void)state;
    rapt_error error = {0};
    score_must(rapt_load_plugin(context, getenv("RAPT_TEST_VARIANT"), &error), &error);
    for (int type = RAPT_F32; type <= RAPT_BF16; type++)
        for (int64_t n = 1; n <= 129; n += 32)
            for (int causal = 0; causal < 2; causal++) {
                score_case c = plain(0);
                c.op = "capped";
                c.N = n;
                c.M = n + 3;
                c.causal = causal;
                c.magnitude = 4;
                c.dtype = type;
                c.lse = type == RAPT_F32;
                c.hidden = 0.3;
                if (causal)
                    c.bias[0] = 1, c.bias[1] = 2, c.bias[2] = n, c.bias[3] = n + 3;
                check(&c);
            }
}

/* --- Hard numbers ----------------------------------------------------------------------------- */

static rapt_tensor *tensor(int64_t b, int64_t h, int64_t n, int64_t d, const float *values)
{
    const int64_t shape[4] = {b, h, n, d};
    rapt_tensor *t = rapt_tensor_from(context, RAPT_F32, 4, shape, values, NULL);
    assert_non_null(t);
    score_must(rapt_set_requires_grad(t, true, NULL), NULL);
    return t;
}

/* With D = 1, q = 1 and scale = 1 the keys are the logits. */
static rapt_tensor *attend(const char *op, int64_t m, const float *logits, const float *values,
                           rapt_tensor **k, rapt_tensor **v)
{
    rapt_error error = {0};
    const float one = 1;
    rapt_tensor *q = tensor(1, 1, 1, 1, &one);
    *k = tensor(1, 1, m, 1, logits);
    *v = tensor(1, 1, m, 1, values);
    const rapt_named_tensor inputs[] = {{"q", q}, {"k", *k}, {"v", *v}};
    const rapt_named_value scale = {.name = "scale", .type = RAPT_ATTR_FLOAT, .f = 1};
    rapt_named_tensor output = {"o", NULL};
    score_must(rapt_call_operator(context, op, inputs, 3, &scale, 1, &output, 1, &error), &error);
    rapt_tensor_release(q);
    return output.tensor;
}

static void expect(const char *op, int64_t m, const float *logits, const float *values, double o,
                   double tolerance)
{
    rapt_tensor *k, *v, *out = attend(op, m, logits, values, &k, &v);
    double *got = score_read(context, out);
    assert_float_equal(got[0], o, tolerance);
    score_must(rapt_backward(context, out, NULL, false, NULL), NULL);
    double *grad = score_read(context, rapt_grad(k));
    for (int64_t j = 0; j < m; j++)
        assert_true(isfinite(grad[j]));
    free(grad);
    free(got);
    rapt_tensor_release(k);
    rapt_tensor_release(v);
    rapt_tensor_release(out);
}

static void hard_logits(void **state)
{
    (void)state;
    const float values[4] = {1, 2, 4, 8};
    expect("softmax", 4, (float[]){1e4f, -1e4f, 0, 9999}, values, (1 + 8 * exp(-1)) / (1 + exp(-1)),
           1e-5);
    expect("softmax", 4, (float[]){-1e4f, -1e4f, -1e4f, -1e4f}, values, 3.75, 1e-5);
    expect("softmax", 2, (float[]){1e4f, -1e4f}, values, 1, 0);
    expect("softmax", 3, (float[]){-1e4f, 1e4f, 1e4f}, values, 3, 1e-6);
    expect("softmax", 3, (float[]){1e30f, -1e30f, 0}, values, 1, 0);
    expect("cog", 3, (float[]){1e4f, -1e4f, 0}, values, -0.5, 1e-6);
    expect("cog", 2, (float[]){-1e4f, 3}, values, -1, 0);
    expect("cog", 3, (float[]){0, 0, 0}, values, 0, 0);
    expect("cog", 2, (float[]){0, -0.0f}, values, 0, 0);
}

static void large_logits_in_blocks(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++) {
        score_case c = plain(op);
        c.N = c.M = 200;
        c.magnitude = 2000;
        c.lse = false;
        /* Products of this size carry an absolute error of about 1e-3 in float32. */
        score_check(context, &c, (score_tolerance){4e-3, 1e-2});
    }
}

/* What is no number comes through, but only where it belongs. */
static void not_a_number(void **state)
{
    (void)state;
    const float values[3] = {1, 2, 4};
    for (int op = 0; op < 2; op++) {
        rapt_tensor *k, *v;
        rapt_tensor *out = attend(operators[op], 3, (float[]){1, NAN, 2}, values, &k, &v);
        double *got = score_read(context, out);
        assert_true(isnan(got[0]));
        free(got);
        rapt_tensor_release(k);
        rapt_tensor_release(v);
        rapt_tensor_release(out);
    }
    uint64_t seed = 3;
    const int64_t shape[4] = {1, 1, 100, 4};
    rapt_tensor *x = score_random(context, shape, RAPT_F32, false, 1, &seed);
    rapt_tensor *v = score_random(context, shape, RAPT_F32, false, 1, &seed);
    ((float *)rapt_view_data(rapt_tensor_view(x)))[4 * 70] = NAN;
    const rapt_named_tensor inputs[] = {{"q", x}, {"k", x}, {"v", v}};
    const rapt_named_value causal = {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {1}};
    rapt_named_tensor output = {"o", NULL};
    rapt_error error = {0};
    score_must(rapt_call_operator(context, "softmax", inputs, 3, &causal, 1, &output, 1, &error),
               &error);
    double *got = score_read(context, output.tensor);
    for (int i = 0; i < 100; i++)
        assert_int_equal(isnan(got[4 * i]) != 0, i >= 70);
    free(got);
    rapt_tensor_release(output.tensor);
    rapt_tensor_release(x);
    rapt_tensor_release(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(feature_sizes),
        cmocka_unit_test(shared_heads),
        cmocka_unit_test(layouts),
        cmocka_unit_test(biases),
        cmocka_unit_test(bias_of_another_type),
        cmocka_unit_test(halves),
        cmocka_unit_test(halves_that_cancel),
        cmocka_unit_test(hidden_rows),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(scales),
        cmocka_unit_test(long_calls),
        cmocka_unit_test(another_variant),
        cmocka_unit_test(hard_logits),
        cmocka_unit_test(large_logits_in_blocks),
        cmocka_unit_test(not_a_number),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("score", tests, setup, teardown);
}
