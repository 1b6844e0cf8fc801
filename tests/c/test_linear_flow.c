/* flow beside its definition; its gradients beside differences of the definition. */
#include "linear_case.h"
#include "reference_linear.h"

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

typedef struct flow_test {
    int64_t B, H, N, M, D, E;
    bool causal;
    double clamp, eps; /* 0: not given */
    double magnitude;  /* of q and k; 0: 1 */
    rapt_dtype dtype;
    linear_layout layout;
    const int64_t *borders_q, *borders_k; /* or NULL */
    int64_t sequences;
} flow_test;

static void build(const flow_test *c, linear_call *call)
{
    const int64_t q[4] = {c->B, c->H, c->N, c->D}, k[4] = {c->B, c->H, c->M, c->D};
    const int64_t v[4] = {c->B, c->H, c->M, c->E};
    const double size = c->magnitude > 0 ? c->magnitude : 1;
    call->context = context;
    call->op = "flow";
    call->seed = (uint64_t)(c->N * 7919 + c->M * 31 + c->D);
    snprintf(call->text, sizeof call->text,
             "flow B=%ld H=%ld N=%ld M=%ld D=%ld E=%ld causal=%d clamp=%g size=%g dtype=%d "
             "layout=%d sequences=%ld",
             (long)c->B, (long)c->H, (long)c->N, (long)c->M, (long)c->D, (long)c->E, c->causal,
             c->clamp, size, (int)c->dtype, (int)c->layout, (long)c->sequences);
    linear_add(call, "q", 4, q, c->dtype, c->layout, size, 0, false);
    linear_add(call, "k", 4, k, c->dtype, c->layout, size, 0, false);
    linear_add(call, "v", 4, v, c->dtype, c->layout, 1, 0, false);
    if (c->borders_q)
        linear_add_borders(call, "cu_seqlens_q", c->sequences + 1, c->borders_q, RAPT_I32);
    if (c->borders_k)
        linear_add_borders(call, "cu_seqlens_k", c->sequences + 1, c->borders_k, RAPT_I64);
    linear_want(call, "o");
    linear_attr(call, "causal", RAPT_ATTR_BOOL, c->causal);
    if (c->clamp > 0)
        linear_attr(call, "clamp", RAPT_ATTR_FLOAT, c->clamp);
    if (c->eps > 0)
        linear_attr(call, "eps", RAPT_ATTR_FLOAT, c->eps);
}

/* One head of one sequence: its rows in q, k and v, and its part of the loss sum(o . seed). */
typedef struct flow_part {
    reference_flow task;
    int64_t at_q, at_k; /* rows */
    double *input[3];   /* its rows within the arrays q, k, v: may be changed and put back */
    double *gradient[3];
    int64_t count[3];
    const double *seed;
} flow_part;

static double loss(const flow_part *x)
{
    double sum = 0;
    assert_true(reference_flow_run(&x->task));
    for (int64_t i = 0; i < x->task.N * x->task.E; i++)
        sum += x->task.o[i] * x->seed[i];
    return sum;
}

/* d loss / d element by central differences of fourth order, so close that no cr crosses the clamp.
 */
static double slope(const flow_part *x, double *element)
{
    const double h = 2e-6, at = *element;
    double value[4];
    for (int i = 0; i < 4; i++) {
        *element = at + h * (i < 2 ? i - 2 : i - 1);
        value[i] = loss(x);
    }
    *element = at;
    return (value[0] - 8 * value[1] + 8 * value[2] - value[3]) / (12 * h);
}

static double greatest(const double *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

/* Up to 20 elements of each input of a part. Where a gradient cancels to almost nothing (a single
 * query of a single feature) it is measured against a thousandth of what the output weighs. */
static void compare_slopes(const linear_call *call, const flow_part *x, const double *whole,
                           double tolerance)
{
    static const char *const names[] = {"q", "k", "v"};
    const double weight =
        greatest(x->task.o, x->task.N * x->task.E) * greatest(x->seed, x->task.N * x->task.E);
    for (int i = 0; i < 3; i++) {
        const int64_t step = x->count[i] > 20 ? x->count[i] / 20 | 1 : 1;
        for (int64_t j = 0; j < x->count[i]; j += step) {
            const double want = slope(x, &x->input[i][j]), got = x->gradient[i][j];
            const double scale = fmax(fmax(whole[i], fabs(want)), i < 2 ? 1e-3 * weight : 0);
            if (!(fabs(got - want) <= tolerance * scale + 1e-12))
                fail_msg("%s: the gradient of %s at %ld is %g instead of %g, greatest %g",
                         call->text, names[i], (long)j, got, want, whole[i]);
        }
    }
}

static void check_part(const flow_test *c, linear_call *call, int64_t sequence, int64_t head,
                       const double *whole, double *want_o)
{
    const int64_t b = c->borders_q ? 0 : sequence;
    const int64_t *borders_k = c->borders_k ? c->borders_k : c->borders_q;
    const int64_t first_q = c->borders_q ? c->borders_q[sequence] : 0;
    const int64_t first_k = borders_k ? borders_k[sequence] : 0;
    flow_part x = {.task = {.N = c->borders_q ? c->borders_q[sequence + 1] - first_q : c->N,
                            .M = borders_k ? borders_k[sequence + 1] - first_k : c->M,
                            .D = c->D,
                            .E = c->E,
                            .causal = c->causal,
                            .eps = c->eps > 0 ? c->eps : 1e-6,
                            .clamp = c->clamp > 0 ? c->clamp : 1}};
    const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) {
        const linear_argument *a = linear_find(call, names[i]);
        const int64_t row = (b * c->H + head) * (i ? c->M : c->N) + (i ? first_k : first_q);
        const int64_t width = i == 2 ? c->E : c->D;
        x.input[i] = a->value + row * width;
        x.gradient[i] = a->gradient + row * width;
        x.count[i] = (i ? x.task.M : x.task.N) * width;
    }
    const int64_t at_o = ((b * c->H + head) * c->N + first_q) * c->E;
    x.task.q = x.input[0];
    x.task.k = x.input[1];
    x.task.v = x.input[2];
    x.seed = linear_find(call, "o")->seed_value + at_o;
    x.task.o = malloc(sizeof(double) * (size_t)(x.task.N * c->E + 1));
    assert_non_null(x.task.o);
    loss(&x);
    memcpy(want_o + at_o, x.task.o, sizeof(double) * (size_t)(x.task.N * c->E));
    compare_slopes(call, &x, whole, score_tolerance_of(c->dtype).gradient);
    free(x.task.o);
}

static void check(const flow_test *c)
{
    linear_call call = {0};
    build(c, &call);
    linear_run(&call, false);
    const linear_argument *o = linear_find(&call, "o");
    double *want = calloc((size_t)o->count + 1, sizeof *want), whole[3];
    assert_non_null(want);
    for (int i = 0; i < 3; i++) {
        assert_non_null(call.in[i].gradient);
        whole[i] = greatest(call.in[i].gradient, call.in[i].count);
    }
    for (int64_t s = 0; s < (c->borders_q ? c->sequences : c->B); s++)
        for (int64_t head = 0; head < c->H; head++)
            check_part(c, &call, s, head, whole, want);
    linear_compare(&call, "o", o->value, want, o->count, score_tolerance_of(c->dtype).forward);
    free(want);
    linear_free(&call);
}

static void sizes(void **state)
{
    static const int64_t lengths[] = {1, 3, 17, 63, 64, 65, 129, 200};
    static const int64_t widths[][2] = {{1, 1},  {5, 17}, {17, 5}, {1, 16},
                                        {32, 8}, {20, 1}, {9, 33}, {5, 5}};
    (void)state;
    for (size_t i = 0; i < 8; i++)
        for (int form = 0; form < 3; form++) { /* full, causal, cross */
            const flow_test c = {.B = 1 + (int64_t)i % 2,
                                 .H = 2,
                                 .N = lengths[i],
                                 .M = form == 2 ? lengths[(i + 3) % 8] : lengths[i],
                                 .D = widths[i][0],
                                 .E = widths[i][1],
                                 .causal = form == 1,
                                 .layout = (linear_layout)((i + (size_t)form) % 3)};
            check(&c);
        }
}

static void attributes(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        flow_test c = {.B = 1, .H = 2, .N = 70, .M = 70, .D = 8, .E = 6, .causal = causal};
        c.clamp = 5;
        check(&c);
        c.clamp = 0.9; /* cr lies about 1: some are clipped, some are not */
        check(&c);
        c.clamp = 200;
        c.eps = 0.01;
        check(&c);
    }
}

static void half_types(void **state)
{
    (void)state;
    for (int dtype = RAPT_F16; dtype <= RAPT_BF16; dtype++)
        for (int causal = 0; causal < 2; causal++) {
            const flow_test c = {.B = 2,
                                 .H = 2,
                                 .N = 70,
                                 .M = causal ? 70 : 45,
                                 .D = 12,
                                 .E = 10,
                                 .causal = causal,
                                 .dtype = (rapt_dtype)dtype,
                                 .layout = LINEAR_INSIDE};
            check(&c);
        }
}

/* Sigmoids that are 0 or 1 to the last digit. */
static void large(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++)
        for (int clamp = 1; clamp <= 5; clamp += 4) {
            const flow_test c = {.B = 1,
                                 .H = 2,
                                 .N = 66,
                                 .M = causal ? 66 : 40,
                                 .D = 16,
                                 .E = 4,
                                 .causal = causal,
                                 .magnitude = 50,
                                 .clamp = clamp};
            check(&c);
        }
}

static void packed(void **state)
{
    static const int64_t q[] = {0, 1, 1, 66, 130}, k[] = {0, 5, 9, 70, 90};
    (void)state;
    for (int form = 0; form < 3; form++) {
        const flow_test c = {.B = 1,
                             .H = 2,
                             .N = 130,
                             .M = form == 2 ? 90 : 130,
                             .D = 6,
                             .E = 7,
                             .causal = form == 1,
                             .borders_q = q,
                             .sequences = 4,
                             .borders_k = form == 2 ? k : NULL,
                             .layout = LINEAR_INSIDE};
        check(&c);
    }
}

/* A sequence without queries: its keys and values change nothing. One without keys: zeros. */
static void packed_empty_sides(void **state)
{
    static const int64_t q[] = {0, 10, 20}, k[] = {0, 0, 15};
    const int64_t qs[4] = {1, 1, 20, 4}, ks[4] = {1, 1, 15, 4};
    linear_call call = {.context = context, .op = "flow", .text = "no keys", .seed = 4};
    (void)state;
    linear_add(&call, "q", 4, qs, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "k", 4, ks, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "v", 4, ks, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add_borders(&call, "cu_seqlens_q", 3, q, RAPT_I32);
    linear_add_borders(&call, "cu_seqlens_k", 3, k, RAPT_I32);
    linear_want(&call, "o");
    linear_run(&call, false);
    for (int64_t i = 0; i < 40; i++) {
        assert_true(linear_find(&call, "o")->value[i] == 0);
        assert_true(linear_find(&call, "q")->gradient[i] == 0);
    }
    for (int i = 0; i < 3; i++)
        for (int64_t j = 0; j < call.in[i].count; j++)
            assert_true(isfinite(call.in[i].gradient[j]));
    linear_free(&call);
}

static void refusals(void **state)
{
    const int64_t q[4] = {1, 2, 8, 4}, k[4] = {1, 2, 9, 4};
    linear_call call = {.context = context, .op = "flow", .text = "refused", .seed = 4};
    rapt_error error = {0};
    (void)state;
    linear_add(&call, "q", 4, q, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "k", 4, k, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "v", 4, k, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_want(&call, "final_sums");
    assert_int_not_equal(linear_try(&call, &error), RAPT_OK);
    assert_non_null(
        strstr(error.message, "final_state and final_sums exist in the causal form only"));
    call.out[0].name = "o";
    linear_attr(&call, "causal", RAPT_ATTR_BOOL, 1);
    assert_int_not_equal(linear_try(&call, &error), RAPT_OK);
    assert_non_null(strstr(error.message, "N == M"));
    linear_free(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),      cmocka_unit_test(attributes),
        cmocka_unit_test(half_types), cmocka_unit_test(large),
        cmocka_unit_test(packed),     cmocka_unit_test(packed_empty_sides),
        cmocka_unit_test(refusals),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("flow", tests, setup, teardown);
}
