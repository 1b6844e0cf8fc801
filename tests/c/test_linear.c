/* lightning and log_linear beside their definition, forward and backward. */
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

typedef enum decays { NO_DECAY, ZERO_DECAY, DECAY, HARD_DECAY } decays;

typedef struct linear_test {
    int64_t B, H, G, N, D, E; /* G: 0 for lightning */
    int64_t more_levels;      /* beyond those that N needs */
    decays decay;
    rapt_dtype dtype;
    linear_layout layout;
    const int64_t *borders; /* or NULL */
    int64_t sequences;      /* with borders */
    bool state;             /* feed one in, and take the final one */
    double scale;           /* 0: not given */
} linear_test;

static int64_t levels_of(const linear_test *c)
{
    return reference_level(c->N > 1 ? c->N - 1 : 0, 0) + 1 + c->more_levels;
}

static void describe(const linear_test *c, linear_call *call)
{
    snprintf(call->text, sizeof call->text,
             "%s B=%ld H=%ld G=%ld N=%ld D=%ld E=%ld decay=%d dtype=%d layout=%d sequences=%ld "
             "state=%d",
             call->op, (long)c->B, (long)c->H, (long)c->G, (long)c->N, (long)c->D, (long)c->E,
             (int)c->decay, (int)c->dtype, (int)c->layout, (long)c->sequences, c->state);
}

/* Decays of 1 exactly, of e^-50, and some between, next to each other. */
static void hard_decays(double *g, int64_t n)
{
    static const double some[] = {0, -50, -0.01, -1e-4, 0, -3, -50, -50, -0.5, -400, -1e-3};
    for (int64_t i = 0; i < n; i++)
        g[i] = some[i % 11];
}

static void add_decays(const linear_test *c, linear_call *call)
{
    const int64_t g[3] = {c->B, c->H, c->N}, n = c->B * c->H * c->N;
    double *values = calloc((size_t)(n + c->H + 1), sizeof *values);
    assert_non_null(values);
    if (c->decay == HARD_DECAY)
        hard_decays(values, c->G ? n : c->H);
    for (int64_t h = 0; h < c->H && !c->G; h++)
        values[h] = c->decay == DECAY ? 0.02 + 0.3 * (double)h : -values[h];
    if (!c->G && c->decay != NO_DECAY)
        linear_add_values(call, "slope", 1, &c->H, RAPT_F32, LINEAR_PLAIN, values);
    else if (c->G && c->decay == DECAY)
        linear_add(call, "g", 3, g, c->dtype, c->layout, -0.2, 0, true);
    else if (c->G)
        linear_add_values(call, "g", 3, g, RAPT_F32, LINEAR_PLAIN, values);
    free(values);
}

static void build(const linear_test *c, linear_call *call)
{
    const int64_t G = c->G ? c->G : c->H, L = levels_of(c);
    const int64_t q[4] = {c->B, G, c->N, c->D}, v[4] = {c->B, c->H, c->N, c->E};
    const int64_t l[4] = {c->B, c->H, c->N, L};
    const int64_t state[4] = {c->borders ? c->sequences : c->B, c->H, c->D, c->E};
    call->context = context;
    call->op = c->G ? "log_linear" : "lightning";
    call->seed = (uint64_t)(c->N * 7919 + c->D * 31 + c->E);
    describe(c, call);
    linear_add(call, "q", 4, q, c->dtype, c->layout, 1, 0, false);
    linear_add(call, "k", 4, q, c->dtype, c->layout, 1, 0, false);
    linear_add(call, "v", 4, v, c->dtype, c->layout, 1, 0, false);
    add_decays(c, call);
    if (c->G)
        linear_add(call, "l", 4, l, c->dtype, c->layout, 0.7, 0, true);
    if (c->borders)
        linear_add_borders(call, "cu_seqlens_q", c->sequences + 1, c->borders,
                           c->sequences % 2 ? RAPT_I32 : RAPT_I64);
    linear_want(call, "o");
    if (c->state) {
        linear_add(call, "state", 4, state, RAPT_F32, c->layout, 1, 0, false);
        linear_want(call, "final_state");
    }
    if (c->scale != 0)
        linear_attr(call, "scale", RAPT_ATTR_FLOAT, c->scale);
}

static double *numbers(int64_t n)
{
    double *x = calloc((size_t)n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

static const double *value_of(linear_call *call, const char *name)
{
    const linear_argument *x = linear_find(call, name);
    return x ? x->value : NULL;
}

static void compare_all(const linear_test *c, linear_call *call, const reference_linear *want)
{
    const score_tolerance t = score_tolerance_of(c->dtype);
    const struct {
        const char *name;
        const double *gradient;
    } inputs[] = {{"q", want->grad_q},        {"k", want->grad_k}, {"v", want->grad_v},
                  {"g", want->grad_g},        {"l", want->grad_l}, {"slope", want->grad_slope},
                  {"state", want->grad_state}};
    const linear_argument *o = linear_find(call, "o");
    linear_compare(call, "o", o->value, want->o, o->count, t.forward);
    if (c->state) {
        const linear_argument *final = linear_find(call, "final_state");
        linear_compare(call, "final_state", final->value, want->final, final->count, t.forward);
    }
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        const linear_argument *x = linear_find(call, inputs[i].name);
        if (x)
            linear_compare(call, x->name, x->gradient, inputs[i].gradient, x->count, t.gradient);
    }
}

static void check(const linear_test *c)
{
    linear_call call = {0};
    build(c, &call);
    linear_run(&call, false);
    const int64_t G = c->G ? c->G : c->H, sequences = c->borders ? c->sequences : c->B;
    const int64_t nq = c->B * G * c->N * c->D, nv = c->B * c->H * c->N * c->E;
    const int64_t ng = c->B * c->H * c->N, nl = ng * levels_of(c);
    const int64_t ns = sequences * c->H * c->D * c->E;
    const reference_linear want = {
        .B = c->B,
        .H = c->H,
        .G = G,
        .N = c->N,
        .D = c->D,
        .E = c->E,
        .L = levels_of(c),
        .sequences = sequences,
        .scale = c->scale != 0 ? (double)(float)c->scale : 1,
        .borders = c->borders,
        .q = value_of(&call, "q"),
        .k = value_of(&call, "k"),
        .v = value_of(&call, "v"),
        .g = value_of(&call, "g"),
        .l = value_of(&call, "l"),
        .slope = value_of(&call, "slope"),
        .state = value_of(&call, "state"),
        .grad_o = linear_find(&call, "o")->seed_value,
        .grad_final = c->state ? linear_find(&call, "final_state")->seed_value : NULL,
        .o = numbers(nv),
        .final = c->state ? numbers(ns) : NULL,
        .grad_q = numbers(nq),
        .grad_k = numbers(nq),
        .grad_v = numbers(nv),
        .grad_g = numbers(ng),
        .grad_l = numbers(nl),
        .grad_slope = numbers(c->H),
        .grad_state = c->state ? numbers(ns) : NULL,
    };
    assert_true(reference_linear_run(&want));
    compare_all(c, &call, &want);
    double *all[] = {want.o,      want.final,  want.grad_q,     want.grad_k,    want.grad_v,
                     want.grad_g, want.grad_l, want.grad_slope, want.grad_state};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    linear_free(&call);
}

static void sizes(void **state)
{
    static const int64_t lengths[] = {1, 3, 17, 63, 64, 65, 129, 200};
    static const int64_t widths[][2] = {{1, 1},  {5, 17}, {17, 5},  {1, 16},
                                        {32, 8}, {48, 1}, {33, 40}, {5, 5}};
    (void)state;
    for (size_t i = 0; i < 8; i++)
        for (int64_t tree = 0; tree < 2; tree++) {
            linear_test c = {.B = 2,
                             .H = 4,
                             .G = tree * (1 + (int64_t)i % 3 % 2),
                             .N = lengths[i],
                             .D = widths[i][0],
                             .E = widths[i][1],
                             .decay = DECAY,
                             .layout = (linear_layout)(i % 3)};
            if (tree && i == 4)
                c.G = 4;
            c.more_levels = i % 2 ? 3 : 0;
            check(&c);
            c.D = widths[7 - i][0];
            c.E = widths[7 - i][1];
            c.layout = (linear_layout)((i + 1) % 3);
            c.B = 1;
            check(&c);
        }
}

static void every_decay(void **state)
{
    (void)state;
    for (int decay = NO_DECAY; decay <= HARD_DECAY; decay++)
        for (int64_t tree = 0; tree < 2; tree++) {
            const linear_test c = {.B = 1,
                                   .H = 11,
                                   .G = tree,
                                   .N = 150,
                                   .D = 7,
                                   .E = 6,
                                   .decay = (decays)decay,
                                   .scale = 0.25};
            check(&c);
        }
}

static void half_types(void **state)
{
    (void)state;
    for (int dtype = RAPT_F16; dtype <= RAPT_BF16; dtype++)
        for (int layout = LINEAR_PLAIN; layout <= LINEAR_INSIDE; layout++)
            for (int64_t tree = 0; tree < 2; tree++) {
                const linear_test c = {.B = 2,
                                       .H = 4,
                                       .G = 2 * tree,
                                       .N = 130,
                                       .D = 20,
                                       .E = 9,
                                       .decay = DECAY,
                                       .dtype = (rapt_dtype)dtype,
                                       .layout = (linear_layout)layout};
                check(&c);
            }
}

static void states(void **state)
{
    static const int64_t lengths[] = {1, 63, 64, 130};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (int decay = NO_DECAY; decay <= HARD_DECAY; decay += 2) {
            const linear_test c = {.B = 2,
                                   .H = 3,
                                   .N = lengths[i],
                                   .D = 5,
                                   .E = 18,
                                   .decay = (decays)decay,
                                   .state = true,
                                   .layout = (linear_layout)(i % 3),
                                   .scale = 0.5};
            check(&c);
        }
}

static void packed(void **state)
{
    static const int64_t mixed[] = {0, 0, 1, 65, 65, 129, 200, 200};
    static const int64_t one[] = {0, 200}, long_first[] = {0, 137, 200};
    (void)state;
    for (int64_t tree = 0; tree < 2; tree++)
        for (int with_state = 0; with_state < 2 - (int)tree; with_state++) {
            linear_test c = {.B = 1,
                             .H = 2,
                             .G = tree,
                             .N = 200,
                             .D = 9,
                             .E = 4,
                             .decay = DECAY,
                             .borders = mixed,
                             .sequences = 7,
                             .state = with_state,
                             .layout = LINEAR_INSIDE};
            check(&c);
            c.borders = one;
            c.sequences = 1;
            check(&c);
            c.borders = long_first;
            c.sequences = 2;
            c.decay = tree ? HARD_DECAY : NO_DECAY;
            check(&c);
        }
}

/* So many heads share a key head that only two chunks of them are in work at a time: trees that
 * grow and are taken down over many stretches. */
static void stretches(void **state)
{
    static const int64_t borders[] = {0, 130, 130, 420, 700};
    linear_test c = {.B = 1, .H = 128, .G = 1, .N = 700, .D = 3, .E = 2, .decay = DECAY};
    (void)state;
    check(&c);
    c.borders = borders;
    c.sequences = 4;
    check(&c);
    /* One head, more chunks than are in work at a time, states through sequences without any. */
    static const int64_t far[] = {0, 0, 1000, 1000, 2600, 2600};
    const linear_test flat = {.B = 1,
                              .H = 1,
                              .N = 2600,
                              .D = 3,
                              .E = 2,
                              .decay = DECAY,
                              .borders = far,
                              .sequences = 5,
                              .state = true};
    check(&flat);
}

/* --- Refusals --------------------------------------------------------------------------------- */

static void refused(const char *op, int64_t count, const int64_t *borders, const char *message)
{
    const int64_t shape[4] = {1, 2, 20, 4}, g[3] = {1, 2, 20}, l[4] = {1, 2, 20, 6};
    linear_call call = {.context = context, .op = op, .text = "refused", .seed = 3};
    rapt_error error = {0};
    linear_add(&call, "q", 4, shape, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "k", 4, shape, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "v", 4, shape, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    if (strcmp(op, "log_linear") == 0) {
        linear_add(&call, "g", 3, g, RAPT_F32, LINEAR_PLAIN, -1, 0, true);
        linear_add(&call, "l", 4, l, RAPT_F32, LINEAR_PLAIN, 1, 0, true);
    }
    linear_add_borders(&call, "cu_seqlens_q", count, borders, RAPT_I32);
    linear_want(&call, "o");
    if (linear_try(&call, &error) == RAPT_OK)
        fail_msg("%s took borders that do not rise to N", op);
    if (!strstr(error.message, message))
        fail_msg("%s said \"%s\", expected \"%s\"", op, error.message, message);
    linear_free(&call);
}

static void bad_borders(void **state)
{
    static const char *const operators[] = {"lightning", "log_linear", "flow"};
    static const int64_t falls[] = {0, 12, 7, 20}, beyond[] = {0, 21, 20};
    static const int64_t late[] = {1, 20}, early[] = {0, 19}, below[] = {0, -4, 20}, zero[] = {0};
    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *op = operators[i];
        refused(op, 4, falls, "cu_seqlens_q must rise from 0 to 20, but entry 3 is 7");
        refused(op, 3, beyond, "cu_seqlens_q must rise from 0 to 20, but entry 2 is 21");
        refused(op, 2, late, "cu_seqlens_q must rise from 0 to 20, but entry 1 is 1");
        refused(op, 2, early, "cu_seqlens_q must rise from 0 to 20, but entry 2 is 19");
        refused(op, 3, below, "cu_seqlens_q must rise from 0 to 20, but entry 2 is -4");
        refused(op, 1, zero, "cu_seqlens_q must rise from 0 to 20, but entry 1 is 0");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),     cmocka_unit_test(every_decay), cmocka_unit_test(half_types),
        cmocka_unit_test(states),    cmocka_unit_test(packed),      cmocka_unit_test(bad_borders),
        cmocka_unit_test(stretches),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("linear", tests, setup, teardown);
}
