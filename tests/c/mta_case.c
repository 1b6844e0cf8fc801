#include "mta_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rapt_context *mta_context;

const char *const mta_names[INPUTS] = {
    "q", "k", "v", "qk_kernel", "qk_kernel_post", "head_kernel", "bias", "alibi", "sink"};

static bool has(const mta_case *c, int option)
{
    return c->options >> option & 1;
}

static void add_options(linear_call *call, const mta_case *c)
{
    const int64_t bias[4] = {1, c->H, c->N, 1};
    if (has(c, OPTION_BIAS))
        linear_add(call, "bias", 4, bias, c->kernels, LINEAR_PLAIN, 1, 0, false);
    if (has(c, OPTION_ALIBI))
        linear_add(call, "alibi", 1, &c->H, RAPT_F32, LINEAR_PLAIN, 0.1, 0, true);
    if (has(c, OPTION_SINK))
        linear_add(call, "sink", 1, &c->H, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    if (has(c, OPTION_SOFTCAP))
        linear_attr(call, "softcap", RAPT_ATTR_FLOAT, 2.5);
    if (has(c, OPTION_WINDOW)) {
        linear_attr(call, "window", RAPT_ATTR_INTS, 9);
        call->attrs[call->n_attrs - 1].count = 2;
        call->attrs[call->n_attrs - 1].i[1] = 4;
    }
}

static void add_inputs(linear_call *call, const mta_case *c)
{
    const int64_t q[4] = {c->B, c->H, c->N, c->D}, k[4] = {c->B, c->G, c->M, c->D};
    const int64_t v[4] = {c->B, c->G, c->M, c->E}, qk[3] = {c->H, c->a, c->b};
    const int64_t post[3] = {c->H, c->r, c->s}, heads[3] = {c->c ? c->H / c->c : 0, c->c, c->c};
    const double size = c->magnitude > 0 ? c->magnitude : 1;
    linear_add(call, "q", 4, q, c->dtype, c->layout, size, 0, false);
    linear_add(call, "k", 4, k, c->dtype, c->layout, 1, 0, false);
    linear_add(call, "v", 4, v, c->dtype, c->layout, 1, 0, false);
    /* As large as keeps the logits near those of a kernel that changes nothing. */
    if (c->a)
        linear_add(call, "qk_kernel", 3, qk, c->kernels, c->layout, 1 / sqrt((double)(c->a * c->b)),
                   0, false);
    if (c->r)
        linear_add(call, "qk_kernel_post", 3, post, c->kernels, c->layout,
                   1 / sqrt((double)(c->r * c->s)), 0, false);
    if (c->c)
        linear_add(call, "head_kernel", 3, heads, c->kernels, c->layout, 1, 0, false);
    if (c->full)
        linear_attr(call, "causal", RAPT_ATTR_BOOL, 0);
    if (c->scale != 0)
        linear_attr(call, "scale", RAPT_ATTR_FLOAT, c->scale);
    add_options(call, c);
    linear_want(call, "o");
    if (has(c, OPTION_LSE))
        linear_want(call, "lse");
}

void mta_start(linear_call *call, const mta_case *c)
{
    *call = (linear_call){.context = mta_context, .op = "mta", .seed = 11};
    snprintf(call->text, sizeof(call->text),
             "mta B=%ld H=%ld G=%ld N=%ld M=%ld D=%ld E=%ld full=%d a=%ld b=%ld r=%ld s=%ld c=%ld "
             "dtype=%d/%d layout=%d options=%x",
             (long)c->B, (long)c->H, (long)c->G, (long)c->N, (long)c->M, (long)c->D, (long)c->E,
             c->full, (long)c->a, (long)c->b, (long)c->r, (long)c->s, (long)c->c, (int)c->dtype,
             (int)c->kernels, (int)c->layout, c->options);
    add_inputs(call, c);
}

static double *numbers(int64_t n)
{
    double *x = calloc((size_t)n + 1, sizeof(double));
    assert_non_null(x);
    return x;
}

static const double *value_of(linear_call *call, int i)
{
    const linear_argument *x = linear_find(call, mta_names[i]);
    return x ? x->value : NULL;
}

void mta_define(linear_call *call, const mta_case *c, double **want)
{
    const int64_t sizes[RESULTS] = {[Q] = c->B * c->H * c->N * c->D,
                                    [K] = c->B * c->G * c->M * c->D,
                                    [V] = c->B * c->G * c->M * c->E,
                                    [QK] = c->H * c->a * c->b,
                                    [POST] = c->H * c->r * c->s,
                                    [HEADS] = c->H * c->c,
                                    [BIAS] = c->H * c->N,
                                    [ALIBI] = c->H,
                                    [SINK] = c->H,
                                    [LSE] = c->B * c->H * c->N,
                                    [OUTPUT] = c->B * c->H * c->N * c->E,
                                    [WEIGHTS] = c->B * c->H * c->N * c->M};
    for (int i = 0; i < RESULTS; i++)
        want[i] = numbers(sizes[i]);
    const reference_mta task = {.B = c->B,
                                .H = c->H,
                                .G = c->G,
                                .N = c->N,
                                .M = c->M,
                                .D = c->D,
                                .E = c->E,
                                .scale = c->scale != 0 ? c->scale : 1 / sqrt((double)c->D),
                                .causal = !c->full,
                                .q = value_of(call, Q),
                                .k = value_of(call, K),
                                .v = value_of(call, V),
                                .a = c->a,
                                .b = c->b,
                                .r = c->r,
                                .s = c->s,
                                .c = c->c,
                                .qk = value_of(call, QK),
                                .post = value_of(call, POST),
                                .heads = value_of(call, HEADS),
                                .bias = value_of(call, BIAS),
                                .alibi = value_of(call, ALIBI),
                                .sink = value_of(call, SINK),
                                .softcap = has(c, OPTION_SOFTCAP) ? 2.5 : 0,
                                .left = has(c, OPTION_WINDOW) ? 9 : -1,
                                .right = has(c, OPTION_WINDOW) ? 4 : -1,
                                .o = want[OUTPUT],
                                .weights = want[WEIGHTS],
                                .lse = want[LSE],
                                .grad_o = call->out[0].seed_value,
                                .grad_lse = has(c, OPTION_LSE) ? call->out[1].seed_value : NULL,
                                .grad_bias = want[BIAS],
                                .grad_alibi = want[ALIBI],
                                .grad_sink = want[SINK],
                                .grad_q = want[Q],
                                .grad_k = want[K],
                                .grad_v = want[V],
                                .grad_qk = want[QK],
                                .grad_post = want[POST],
                                .grad_heads = want[HEADS]};
    assert_true(reference_mta_attend(&task));
}

void mta_compare(const linear_call *call, const char *what, const double *got, const double *want,
                 int64_t n, double tolerance)
{
    /* A single key has no influence on a softmax: gradients that cancel to 0. */
    const double error = got ? score_error(got, want, n, 0.1) : INFINITY;
    if (!(error <= tolerance))
        fail_msg("%s: %s is off by %g of its greatest value, allowed %g", call->text, what, error,
                 tolerance);
}

static void compare_weights(linear_call *call, const double *want, double tolerance)
{
    rapt_error error = {0};
    rapt_named_tensor inputs[INPUTS];
    size_t n = 0;
    for (int i = 0; i < call->n_in; i++)
        if (strcmp(call->in[i].name, "v") != 0)
            inputs[n++] = (rapt_named_tensor){call->in[i].name, call->in[i].tensor};
    rapt_tensor *weights =
        rapt_weights(mta_context, "mta", inputs, n, call->attrs, (size_t)call->n_attrs, &error);
    if (!weights)
        fail_msg("%s: %s", call->text, error.message);
    double *got = score_read(mta_context, weights);
    mta_compare(call, "weights", got, want, rapt_tensor_count(weights), tolerance);
    free(got);
    rapt_tensor_release(weights);
}

void mta_check(const mta_case *c)
{
    linear_call call;
    double *want[RESULTS];
    const score_tolerance tolerance = score_tolerance_of(c->dtype);
    mta_start(&call, c);
    linear_run(&call, false);
    mta_define(&call, c, want);
    mta_compare(&call, "o", call.out[0].value, want[OUTPUT], call.out[0].count, tolerance.forward);
    if (has(c, OPTION_LSE))
        mta_compare(&call, "lse", call.out[1].value, want[LSE], call.out[1].count, 2e-5);
    compare_weights(&call, want[WEIGHTS], 2e-5);
    for (int i = 0; i < INPUTS; i++) {
        const linear_argument *x = linear_find(&call, mta_names[i]);
        if (x)
            mta_compare(&call, mta_names[i], x->gradient, want[i], x->count, tolerance.gradient);
    }
    for (int i = 0; i < RESULTS; i++)
        free(want[i]);
    linear_free(&call);
}
