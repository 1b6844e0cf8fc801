/* Every built-in operator against its plain definition, forward and backward: dtypes, layouts,
 * broadcasting, empty tensors, and the same bits whatever the number of workers. */
#include "device/cpu/services.h"
#include "sanitized.h"
#include "test_ops_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

static const ops_case cases[] = {
#define UNARY(op, kind, attrs)                                                                     \
    {op, "x=-" kind, attrs}, {op, "x=1" kind, attrs}, {op, "x=3,65" kind, attrs},                  \
        {op, "x=2,17,63" kind, attrs}, {op, "x=129" kind, attrs},                                  \
    {                                                                                              \
        op, "x=2,0,3" kind, attrs                                                                  \
    }
    UNARY("neg", "", ""),
    UNARY("abs", "", ""),
    UNARY("exp", "", ""),
    UNARY("log", ":positive", ""),
    UNARY("sqrt", ":positive", ""),
    UNARY("sin", "", ""),
    UNARY("cos", "", ""),
    UNARY("tanh", "", ""),
    UNARY("sigmoid", "", ""),
    UNARY("relu", "", ""),
    UNARY("silu", "", ""),
    UNARY("softplus", "", ""),
    UNARY("gelu", "", ""),
    UNARY("gelu", "", "approximate=tanh"),
    UNARY("scale_add", "", "scale=2.5 shift=-1"),
    UNARY("pow_scalar", ":positive", "exponent=2.5"),
    UNARY("pow_scalar", "", "exponent=2"),
    UNARY("copy", "", ""),
    {"neg", "x=5,4096", ""},
    {"gelu", "x=3,7001", ""},

#define BINARY(op, k, l)                                                                           \
    {op, "a=-" k " b=-" l, ""}, {op, "a=3,65" k " b=3,65" l, ""}, {op, "a=3,65" k " b=65" l, ""},  \
        {op, "a=65" k " b=3,65" l, ""}, {op, "a=3,1" k " b=1,17" l, ""},                           \
        {op, "a=2,1,17" k " b=5,1" l, ""}, {op, "a=-" k " b=2,63" l, ""},                          \
        {op, "a=1" k " b=129" l, ""}, {op, "a=0,3" k " b=1,3" l, ""},                              \
        {op, "a=70,1100" k " b=1100" l, ""},                                                       \
    {                                                                                              \
        op, "a=70,1" k " b=70,33" l, ""                                                            \
    }
    BINARY("add", "", ""),
    BINARY("sub", "", ""),
    BINARY("mul", "", ""),
    BINARY("div", "", ":positive"),
    BINARY("maximum", ":grid", ":between"),
    BINARY("minimum", ":grid", ":between"),
    {"where", "condition=3,65:bool a=3,65 b=3,65", ""},
    {"where", "condition=65:bool a=3,1 b=-", ""},
    {"where", "condition=2,3,1:bool a=17 b=3,17", ""},
    {"where", "condition=0,3:bool a=3 b=0,1", ""},
    {"masked_fill", "x=3,65 mask=3,65:bool", "value=-2"},
    {"masked_fill", "x=3,1 mask=2,1,17:bool", "value=0.5"},

#define MATMUL(a, b, ta, tb)                                                                       \
    {                                                                                              \
        "matmul", "a=" a " b=" b, "transpose_a=" ta " transpose_b=" tb                             \
    }
    MATMUL("1,1", "1,1", "false", "false"),
    MATMUL("3,17", "17,65", "false", "false"),
    MATMUL("17,3", "17,65", "true", "false"),
    MATMUL("3,17", "65,17", "false", "true"),
    MATMUL("17,3", "65,17", "true", "true"),
    MATMUL("5,63,17", "17,65", "false", "false"),
    MATMUL("2,3,33,17", "17,5", "false", "false"),
    MATMUL("2,3,17,33", "17,5", "true", "false"),
    MATMUL("2,3,33,17", "2,3,17,5", "false", "false"),
    MATMUL("2,3,33,17", "2,3,5,17", "false", "true"),
    MATMUL("2,1,9,17", "3,17,5", "false", "false"),
    MATMUL("1,3,9,17", "2,1,17,5", "false", "false"),
    MATMUL("9,17", "2,3,17,5", "false", "false"),
    MATMUL("9,17", "2,3,5,17", "false", "true"),
    MATMUL("4,1,65", "4,65,1", "false", "false"),
    MATMUL("129,63", "63,129", "false", "false"),
    MATMUL("0,17", "17,5", "false", "false"),
    MATMUL("3,0", "0,5", "false", "false"),
    MATMUL("2,3,0", "1,0,5", "false", "false"),
    MATMUL("0,3,4", "4,5", "false", "false"),
    MATMUL("3,4", "0,4,5", "false", "false"),
    MATMUL("3,600", "600,2100", "false", "false"),
    MATMUL("2100,3", "3,4", "false", "false"),

#define REDUCTION(op)                                                                              \
    {op, "x=-", ""}, {op, "x=1", ""}, {op, "x=3,65", ""}, {op, "x=3,65", "dims=1"},                \
        {op, "x=3,65", "dims=0"}, {op, "x=3,65", "dims=-1 keepdim=true"},                          \
        {op, "x=2,17,63", "dims=0,2"}, {op, "x=2,17,63", "dims=1 keepdim=true"},                   \
        {op, "x=3,4,5,6", "dims=1,2"}, {op, "x=3,4,5,60", "dims=1,0 keepdim=true"},                \
        {op, "x=129,1100", "dims=0"}, {op, "x=129,3", "dims=0"},                                   \
    {                                                                                              \
        op, "x=0,3", "dims=1"                                                                      \
    }
    REDUCTION("sum"),
    REDUCTION("mean"),
    REDUCTION("max"),
    REDUCTION("min"),
    {"sum", "x=0,3", "dims=0"},
    {"sum", "x=70001", ""},
    {"mean", "x=3000,30", "dims=0"},
    {"mean", "x=70001,2", "dims=0"},
    {"max", "x=70001", ""},
    {"min", "x=3000,30", "dims=0"},
    {"norm2", "x=-", ""},
    {"norm2", "x=3,65", ""},
    {"norm2", "x=0", ""},
    {"norm2", "x=300,301", ""},
    {"argmax", "x=-", ""},
    {"argmax", "x=3,65", ""},
    {"argmax", "x=3,65", "dim=0 keepdim=true"},
    {"argmax", "x=3,5:grid", ""},
    {"argmax", "x=0,5", ""},
    {"argmax", "x=2,1100", ""},
    {"sum_to", "x=3,65", "shape=65"},
    {"sum_to", "x=3,65", "shape=3,1"},
    {"sum_to", "x=2,3,65", "shape=1,1"},
    {"sum_to", "x=2,3,65", ""},
    {"sum_to", "x=2,3,65", "shape=2,3,65"},
    {"sum_to", "x=0,65", "shape=65"},

#define LINE(op)                                                                                   \
    {op, "x=-", ""}, {op, "x=1", ""}, {op, "x=3,65", ""}, {op, "x=3,65", "dim=0"},                 \
        {op, "x=2,17,63", "dim=1"}, {op, "x=2,1100", ""}, {op, "x=3,0", ""},                       \
    {                                                                                              \
        op, "x=0,3", ""                                                                            \
    }
    LINE("softmax"),
    LINE("log_softmax"),
    LINE("cumsum"),
    {"softmax", "x=2,40,37", "dim=1"},
    {"cat", "a=1", ""},
    {"cat", "a=3,65 b=2,65", ""},
    {"cat", "a=3,17 b=3,1 c=3,0 e=3,63", "dim=-1"},
    {"cat", "a=2,3,5 b=2,4,5 h=2,1,5", "dim=1"},
    {"cat", "a=0,3 b=0,3", ""},
    {"copy", "x=70,90", ""},
    {"copy", "x=3,40,50", ""},

    {"rms_norm", "x=1", ""},
    {"rms_norm", "x=3,65", ""},
    {"rms_norm", "x=3,65 weight=65", "eps=0.01"},
    {"rms_norm", "x=2,17,63 weight=63", ""},
    {"rms_norm", "x=300,17 weight=17", ""},
    {"rms_norm", "x=0,17 weight=17", ""},
    {"rms_norm", "x=3,0 weight=0", ""},
    {"rms_norm", "x=2,1100 weight=1100", ""},
    {"layer_norm", "x=3,65", ""},
    {"layer_norm", "x=3,65 weight=65", ""},
    {"layer_norm", "x=3,65 bias=65", ""},
    {"layer_norm", "x=2,17,63 weight=63 bias=63", ""},
    {"layer_norm", "x=300,17 weight=17 bias=17", ""},
    {"layer_norm", "x=0,17 weight=17 bias=17", ""},
    {"layer_norm", "x=2,1100 weight=1100 bias=1100", ""},

    {"cross_entropy", "logits=65 targets=-:i64<65", ""},
    {"cross_entropy", "logits=3,65 targets=3:i64<65", ""},
    {"cross_entropy", "logits=2,17,63 targets=2,17:u8<63", "reduction=sum"},
    {"cross_entropy", "logits=2,17,63 targets=2,17:i32<63", "reduction=none"},
    {"cross_entropy", "logits=40,5 targets=40:i32<5", "ignore_index=2"},
    {"cross_entropy", "logits=40,5 targets=40:i32<5", "ignore_index=2 reduction=none"},
    {"cross_entropy", "logits=3,5 targets=3:i32<1", "ignore_index=0"},
    {"cross_entropy", "logits=0,5 targets=0:i32<5", ""},
    {"cross_entropy", "logits=2,1100 targets=2:i64<1100", ""},

    {"embedding", "weight=11,65 ids=2,7:i64<11", ""},
    {"embedding", "weight=11,1 ids=-:i32<11", ""},
    {"embedding", "weight=3,17 ids=129:u8<3", ""},
    {"embedding", "weight=5,1100 ids=4:i32<5", ""},
    {"embedding", "weight=5,0 ids=4:i32<5", ""},
    {"embedding", "weight=5,3 ids=0:i32<5", ""},

    {"rope", "x=17,16", ""},
    {"rope", "x=2,3,17,16", "offset=1000"},
    {"rope", "x=2,130,6", "layout=pairs base=500"},
    {"rope", "x=2,0,6", ""},
    {"rope", "x=3,0", ""},

    {"merge", "a=65 a_lse=-:f32 b=65 b_lse=-:f32", ""},
    {"merge", "a=3,1 a_lse=3:f32 b=3,1 b_lse=3:f32", ""},
    {"merge", "a=2,3,17,16 a_lse=2,3,17:f32 b=2,3,17,16 b_lse=2,3,17:f32", ""},
    {"merge", "a=300,70 a_lse=300:f32 b=300,70 b_lse=300:f32", ""},
    {"merge", "a=2,1100 a_lse=2:f32 b=2,1100 b_lse=2:f32", ""},
    {"merge", "a=3,0 a_lse=3:f32 b=3,0 b_lse=3:f32", ""},
    {"merge", "a=0,3 a_lse=0:f32 b=0,3 b_lse=0:f32", ""},

    {"adamw", "param=3,65 grad=3,65 m=3,65:f32 v=3,65:f32positive",
     "lr=0.01 step=3 weight_decay=0.1 grad_scale=0.5"},
    {"adamw", "param=- grad=- m=-:f32 v=-:f32positive", "lr=0.01 step=1"},
    {"adamw", "param=0,3 grad=0,3 m=0,3:f32 v=0,3:f32positive", "lr=0.01 step=1"},
    {"adamw", "param=40000 grad=40000:f32 m=40000:f32 v=40000:f32positive", "lr=0.1 step=100"},
};

typedef struct precision {
    rapt_dtype dtype;
    double forward, backward;
} precision;

/* Of the greatest absolute value. Sixteen-bit inputs are rounded before the reference sees them. */
static const precision precisions[] = {{RAPT_F32, 3e-6, 2e-5},
                                       {RAPT_F16, 2e-3, 4e-3},
                                       {RAPT_BF16, 6e-3, 2e-2},
                                       {RAPT_F64, 1e-12, 1e-6}};

/* Slowed by a sanitizer, every other layout, which change places from case to case. */
static void check_case(const ops_case *test, const precision *p)
{
    const int first = SANITIZED ? 3 : 1, step = SANITIZED ? 2 : 1;
    const int begin = SANITIZED ? (int)(test - cases + (p - precisions)) % 2 : 0;
    for (int layout = OPS_CONTIGUOUS + begin; layout <= OPS_REVERSED; layout += step) {
        uint64_t expected = 0;
        for (int workers = first; workers <= 3; workers += 2) {
            const ops_options options = {p->dtype, (ops_layout)layout, workers};
            ops_run *run = ops_forward(test, options);
            if (run == NULL)
                return;
            if (workers == first)
                ops_check_forward(run, p->forward);
            ops_check_backward(run, workers == first ? p->backward : 0);
            if (workers == first)
                expected = ops_hash(run);
            else if (expected != ops_hash(run))
                fail_msg("%s (%s): other bits with %d workers", test->op, test->inputs, workers);
            ops_free(run);
        }
    }
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t p = 0; p < sizeof precisions / sizeof precisions[0]; p++)
            check_case(&cases[i], &precisions[p]);
}

/* An operator nobody has a case for is an operator nobody has checked. */
static void test_every_operator_has_cases(void **state)
{
    (void)state;
    rapt_registry *registry = ops_registry();
    for (size_t i = 0; i < rapt_registry_count(registry); i++) {
        const char *name = rapt_registry_at(registry, i)->op.name;
        bool found = strcmp(name, "core.dropout") == 0; /* has a test of its own */
        for (size_t c = 0; c < sizeof cases / sizeof cases[0] && !found; c++)
            found = strcmp(name + strlen("core."), cases[c].op) == 0;
        if (!found)
            fail_msg("%s has no case", name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operator_has_cases),
        cmocka_unit_test(test_cases),
    };
    rapt_error error;
    if (rapt_cpu_detect(&error) != RAPT_OK) {
        fprintf(stderr, "skipped: %s\n", error.message);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
