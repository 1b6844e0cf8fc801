/* Descriptions: what is refused, with which words, and what a good one becomes. */
#include "fault.h"
#include "registry/copies.h"
#include "registry/schema.h"
#include "sample_operator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static sample_operator s;

static rapt_status any_shape(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    (void)call, (void)shapes, (void)ndims;
    return RAPT_OK;
}

/* Each changes one field of the sample and says what must come of it. */
#define CASES(CASE)                                                                                \
    CASE(s.op.size = 40, "rapt_operator is a short struct: it states 40 bytes, but has had 184 "   \
                         "since ABI 1.0")                                                          \
    CASE(s.op.size = 70000, "rapt_operator states a size of 70000 bytes, which cannot be")         \
    CASE(s.op.name = NULL, "the operator's name is empty")                                         \
    CASE(s.op.name = "", "the operator's name is empty")                                           \
    CASE(s.op.name = "Cog", "operator name \"Cog\", expected [a-z][a-z0-9_]* parts joined by "     \
                            "dots")                                                                \
    CASE(s.op.name = "cog.", "operator name \"cog.\", expected [a-z][a-z0-9_]* parts joined by "   \
                             "dots")                                                               \
    CASE(s.op.name = "a..b", "operator name \"a..b\", expected [a-z][a-z0-9_]* parts joined by "   \
                             "dots")                                                               \
    CASE(s.op.name = "9a", "operator name \"9a\", expected [a-z][a-z0-9_]* parts joined by dots")  \
    CASE(s.op.doc = "", "cog: no doc: the catalogue is made from it")                              \
    CASE(s.op.doc = NULL, "cog: no doc: the catalogue is made from it")                            \
    CASE(s.op.flags |= 0x800, "cog: unknown flags 0x800")                                          \
    CASE(s.op.inputs = NULL, "cog: 5 inputs are announced, but there is no list of them")          \
    CASE(s.op.n_inputs = 33, "cog: 33 inputs, more than 32")                                       \
    CASE(s.op.n_outputs = 0, "cog: no outputs, and no input that it changes")                      \
    CASE(s.op.inputs[0].size, NULL)                                                                \
    CASE(s.inputs[0].size = 8, "cog: inputs: rapt_arg is a short struct: it states 8 bytes, but "  \
                               "has had 56 since ABI 1.0")                                         \
    CASE(s.inputs[2].size = 64, "cog: inputs: entry 3 states a size of 64 bytes, but the first "   \
                                "states 56")                                                       \
    CASE(s.inputs[1].spec = NULL, "cog: input 2: no spec, expected \"name: dimensions\"")          \
    CASE(s.inputs[1].spec = "k: B (G", "cog: input \"k: B (G\": column 8: expected an operator "   \
                                       "or \")\", not the end")                                    \
    CASE(s.inputs[1].spec = "k B", "cog: input \"k B\": column 2: expected \":\" after the "       \
                                   "argument's name")                                              \
    CASE(s.inputs[1].spec = "q: B G M D", "cog: input \"q: B G M D\": the name is used twice")     \
    CASE(s.inputs[4].spec = "extra: X*E", "cog: input \"extra: X*E\": \"X\" is no size that an "   \
                                          "input binds")                                           \
    CASE(s.inputs[4].spec = "extra: tile*E",                                                       \
         "cog: input \"extra: tile*E\": \"tile\" is no size that an input binds and no "           \
         "attribute; did you mean \"tiles\"?")                                                     \
    CASE(s.inputs[4].spec = "extra: scale", "cog: input \"extra: scale\": attribute scale is no "  \
                                            "integer")                                             \
    CASE(s.inputs[1].dtype = "f31", "cog: input \"k: B G M D\": unknown dtype \"f31\", expected "  \
                                    "f32, f16, bf16, f64, i32, i64, u8, bool or T; did you mean "  \
                                    "\"f32\"?")                                                    \
    CASE(s.inputs[1].dtype = "f32|", "cog: input \"k: B G M D\": unknown dtype \"\", expected "    \
                                     "f32, f16, bf16, f64, i32, i64, u8, bool or T")               \
    CASE(s.inputs[1].flags = 0x100, "cog: input \"k: B G M D\": unknown flags 0x100")              \
    CASE(s.inputs[1].role = (rapt_role)9, "cog: input \"k: B G M D\": unknown role 9")             \
    CASE((s.inputs[1].role = RAPT_STATE, s.inputs[1].dtype = "T"),                                 \
         "cog: input \"k: B G M D\": dtype \"T\", but a state is f32")                             \
    CASE(s.outputs[0].spec = "o: B H N X", "cog: output \"o: B H N X\": \"X\" is no size that an " \
                                           "input binds")                                          \
    CASE(s.outputs[0].spec = "o: ... N", "cog: output \"o: ... N\": no input says what \"...\" "   \
                                         "is")                                                     \
    CASE(s.outputs[0].spec = "o: N?",                                                              \
         "cog: output \"o: N?\": \"?\" has a meaning for inputs only")                             \
    CASE(s.outputs[0].spec = "o: *", "cog: output \"o: *\": \"*\", but there is no infer")         \
    CASE((s.outputs[0].spec = "o: *", s.op.infer = any_shape), NULL)                               \
    CASE(s.outputs[0].spec = "v: B", "cog: \"v\" is the name of an input and of an output")        \
    CASE(s.outputs[0].dtype = "f32|f16", "cog: output \"o: B H N E\": dtype \"f32|f16\" is "       \
                                         "several, expected one")                                  \
    CASE(s.op.n_attrs = 40, "cog: 40 attributes, more than 32")                                    \
    CASE(s.attrs[1].name = NULL, "cog: attribute 2 has no name")                                   \
    CASE(s.attrs[1].name = "sc ale", "cog: attribute \"sc ale\": a name is a letter and then "     \
                                     "letters, digits and underscores")                            \
    CASE(s.attrs[1].name = "causal", "cog: attribute \"causal\": the name is used twice")          \
    CASE(s.attrs[1].name = "bias", "cog: attribute \"bias\": the name is that of an input or "     \
                                   "output")                                                       \
    CASE(s.attrs[1].name = "N", "cog: attribute \"N\": the letter is a size already")              \
    CASE(s.attrs[1].name = "pairs", "cog: attribute \"pairs\": the name has a meaning of its own " \
                                    "in costs")                                                    \
    CASE(s.attrs[1].type = (rapt_attr_type)7, "cog: attribute \"scale\": unknown type 7")          \
    CASE(s.attrs[1].flags = 2, "cog: attribute \"scale\": unknown flags 0x2")                      \
    CASE(s.attrs[1].fallback = "1/", "cog: attribute \"scale\": default \"1/\": column 3: "        \
                                     "expected a number, a name or \"(\", not the end")            \
    CASE(s.attrs[1].fallback = "1/sqrt(X)", "cog: attribute \"scale\": default \"1/sqrt(X)\": "    \
                                            "\"X\" is no size that an input binds")                \
    CASE(s.attrs[1].fallback = "tiles", "cog: attribute \"scale\": default \"tiles\": attribute "  \
                                        "tiles is not known before this one")                      \
    CASE(s.attrs[1].fallback = "window",                                                           \
         "cog: attribute \"scale\": default \"window\": attribute "                                \
         "window is no number")                                                                    \
    CASE(s.attrs[1].fallback = "2", "cog: attribute \"scale\": default \"2\" is more than the "    \
                                    "greatest value \"1\"")                                        \
    CASE(s.attrs[1].fallback = "-0.5", "cog: attribute \"scale\": default \"-0.5\" is less than "  \
                                       "the least value \"0\"")                                    \
    CASE(s.attrs[1].fallback = "1/0", "cog: attribute \"scale\": default \"1/0\": division by "    \
                                      "zero")                                                      \
    CASE(s.attrs[1].flags = RAPT_REQUIRED, "cog: attribute \"scale\": required, yet it has a "     \
                                           "default \"1/sqrt(D)\"")                                \
    CASE(s.attrs[4].fallback = "2.5", "cog: attribute \"tiles\": default \"2.5\": 2.5 is not an "  \
                                      "integer")                                                   \
    CASE(s.attrs[0].fallback = "no", "cog: attribute \"causal\": default \"no\" is not true or "   \
                                     "false")                                                      \
    CASE(s.attrs[0].max = "1", "cog: attribute \"causal\": bounds, but its values have no order")  \
    CASE(s.attrs[2].fallback = "up", "cog: attribute \"mode\": default \"up\" is not one of its "  \
                                     "choices")                                                    \
    CASE(s.attrs[2].choices = NULL, "cog: attribute \"mode\": no choices, expected some as in "    \
                                    "\"none|left|right\"")                                         \
    CASE(s.attrs[2].choices = "none||left", "cog: attribute \"mode\": an empty choice in "         \
                                            "\"none||left\"")                                      \
    CASE(s.attrs[2].choices = "a|b|a", "cog: attribute \"mode\": choice \"a\" stands twice in "    \
                                       "\"a|b|a\"")                                                \
    CASE(s.attrs[1].choices = "a|b", "cog: attribute \"scale\": choices \"a|b\", but its type is " \
                                     "another")                                                    \
    CASE(s.attrs[3].fallback = "1", "cog: attribute \"window\": default \"1\" has 1 entries, "     \
                                    "expected 2")                                                  \
    CASE(s.attrs[3].fallback = "1,-2", "cog: attribute \"window\": default \"1,-2\" is less than " \
                                       "the least value \"-1\"")                                   \
    CASE(s.attrs[3].fallback = "1,,2", "cog: attribute \"window\": default \"1,,2\": column 3: "   \
                                       "expected a number, a name or \"(\", not the end")          \
    CASE(s.attrs[3].fallback = "min(1,N),2", NULL)                                                 \
    CASE(s.attrs[3].count = 9, "cog: attribute \"window\": 9 entries, expected 0 to 8")            \
    CASE(s.op.where = "H % G =", "cog: where \"H % G =\": column 7: expected an operator or the "  \
                                 "end, not \"=\"")                                                 \
    CASE(s.op.where = "H > 0; X > 1", "cog: where \"H > 0; X > 1\": \"X\" is no size that an "     \
                                      "input binds")                                               \
    CASE(s.op.where = "H > 0;", "cog: where \"H > 0;\": column 7: expected a number, a name or "   \
                                "\"(\", not the end")                                              \
    CASE(s.op.where = "given(foo)", "cog: where \"given(foo)\": given(foo) names no input and no " \
                                    "attribute")                                                   \
    CASE(s.op.where = "pairs > 1", "cog: where \"pairs > 1\": \"pairs\" is no size that an input " \
                                   "binds and no attribute")                                       \
    CASE(s.op.where = "", NULL)                                                                    \
    CASE(s.op.flops = "2*",                                                                        \
         "cog: flops \"2*\": column 3: expected a number, a name or \"(\", not "                   \
         "the end")                                                                                \
    CASE(s.op.flops_backward = "Y", "cog: flops_backward \"Y\": \"Y\" is no size that an input "   \
                                    "binds")                                                       \
    CASE(s.op.bytes = "foo", "cog: bytes \"foo\": \"foo\" is no size that an input binds and no "  \
                             "attribute")                                                          \
    CASE(s.op.bytes = "leading*4", NULL)                                                           \
    CASE(s.op.n_states = 0, "cog: RAPT_OP_DECODE without states")                                  \
    CASE(s.op.flags &= ~(uint32_t)RAPT_OP_DECODE, "cog: states without RAPT_OP_DECODE")            \
    CASE(s.states[0].append = "o", "cog: state 1: \"o\" is no input")                              \
    CASE(s.states[1].append = NULL, "cog: state 2: expected an input to append to, or an input "   \
                                    "and an output to carry")                                      \
    CASE(s.states[1].input = "v", "cog: state 2: both appended and carried")                       \
    CASE((s.states[1].append = NULL, s.states[1].input = "v", s.states[1].output = "o"),           \
         "cog: state 2: \"v\" and \"o\" must have the role RAPT_STATE")                            \
    CASE(s.states[1].flags = 1, "cog: state 2: unknown flags 0x1")                                 \
    CASE(s.op.n_kernels = 0, "cog: no kernels")                                                    \
    CASE(s.op.kernels = NULL, "cog: 1 kernels are announced, but there is no list of them")        \
    CASE(s.kernels[0].size = 20, "cog: kernels: rapt_kernel is a short struct: it states 20 "      \
                                 "bytes, but has had 104 since ABI 1.0")                           \
    CASE(s.kernels[0].forward = NULL, "cog: kernel \"cpu\": no forward function")                  \
    CASE(s.kernels[0].name = NULL, "cog: kernel 1 has no name")                                    \
    CASE(s.kernels[0].name = "c p", "cog: kernel \"c p\": a name is [a-z][a-z0-9_]* parts joined " \
                                    "by dots")                                                     \
    CASE((s.kernels[1] = s.kernels[0], s.op.n_kernels = 2),                                        \
         "cog: kernel \"cpu\": the name is used twice")                                            \
    CASE(s.kernels[0].device = NULL, "cog: kernel \"cpu\": no device, expected \"cpu\" or "        \
                                     "\"vulkan\"")                                                 \
    CASE(s.kernels[0].device = "cuda", "cog: kernel \"cpu\": device \"cuda\", expected \"cpu\", "  \
                                       "\"vulkan\" or a name in reverse domain form")              \
    CASE(s.kernels[0].device = "org.example.npu", NULL)                                            \
    CASE(s.kernels[0].dtypes = 0,                                                                  \
         "cog: kernel \"cpu\": no dtypes, but the operator has arguments "                         \
         "of dtype T")                                                                             \
    CASE(s.kernels[0].dtypes = 0x10000, "cog: kernel \"cpu\": unknown dtypes 0x10000")             \
    CASE(s.kernels[0].flags = 3, "cog: kernel \"cpu\": RAPT_ANY_STRIDES and RAPT_CONTIGUOUS "      \
                                 "exclude each other")                                             \
    CASE(s.kernels[0].flags = 64, "cog: kernel \"cpu\": unknown flags 0x40")                       \
    CASE(s.kernels[0].keep = "q kk", "cog: kernel \"cpu\": keep names \"kk\", which is no input "  \
                                     "or output")                                                  \
    CASE(s.saved[0].spec = "lse: B H X",                                                           \
         "cog: kernel \"cpu\": saved tensor \"lse: B H X\": \"X\" "                                \
         "is no size that an input binds")                                                         \
    CASE(s.saved[0].spec = "lse: *", "cog: kernel \"cpu\": saved tensor \"lse: *\": \"*\", but "   \
                                     "nothing infers its shape")                                   \
    CASE(s.saved[0].dtype = "x", "cog: kernel \"cpu\": saved tensor \"lse: B H N\": unknown "      \
                                 "dtype \"x\", expected f32, f16, bf16, f64, i32, i64, u8, bool "  \
                                 "or T")                                                           \
    CASE(s.op.weights = NULL,                                                                      \
         "cog: kernel \"cpu\": a weights function, but the operator gives no "                     \
         "shape of weights")                                                                       \
    CASE((s.op.weights = NULL, s.kernels[0].weights = NULL),                                       \
         "cog: RAPT_OP_WEIGHTS without a shape of weights")                                        \
    CASE(s.kernels[0].weights = NULL, "cog: RAPT_OP_WEIGHTS, but no kernel gives weights")         \
    CASE(s.op.weights = "B H N Z", "cog: \"weights: B H N Z\": \"Z\" is no size that an input "    \
                                   "binds")                                                        \
    CASE(s.op.weights = "B H (N", "cog: \"weights: B H (N\": column 16: expected an operator or "  \
                                  "\")\", not the end")                                            \
    CASE(s.op.example = "B=2 Z=3", "cog: example: \"Z\" is no size that an input binds and no "    \
                                   "attribute")                                                    \
    CASE(s.op.example = "B=2 H", "cog: example: \"H\", expected NAME=VALUE")                       \
    CASE((s.op.title = NULL, s.op.paper = NULL, s.op.version = NULL), NULL)

static int wrong;

static void check(const char *what, const char *expected)
{
    rapt_error error = {0};
    rapt_schema *schema = rapt_schema_new(&s.op, &error);
    if (schema ? expected != NULL : !expected || strcmp(error.message, expected)) {
        print_error("%s: \"%s\"\nexpected \"%s\"\n", what, error.message, expected ? expected : "");
        wrong++;
    }
    if (!schema)
        assert_int_equal(error.status, RAPT_INVALID);
    assert_true(schema || !rapt_schema_new(&s.op, NULL));
    rapt_schema_release(schema);
}

static void test_refused(void **state)
{
    (void)state;
#define CASE(change, expected)                                                                     \
    sample_make(&s);                                                                               \
    (void)(change);                                                                                \
    check(#change, expected);
    CASES(CASE)
#undef CASE
    assert_int_equal(wrong, 0);
}

static void test_good(void **state)
{
    (void)state;
    rapt_error error = {0};
    sample_make(&s);
    s.kernels[1] = s.kernels[0];
    s.kernels[1].name = "vulkan.coopmat";
    s.kernels[1].device = "vulkan";
    s.kernels[1].keep = NULL;
    s.kernels[1].n_saved = 0;
    s.kernels[1].dtypes = RAPT_DTYPE_BIT(RAPT_F64);
    s.op.n_kernels = 2;
    rapt_schema *schema = rapt_schema_new(&s.op, &error);
    if (!schema)
        fail_msg("%s", error.message);

    /* Nothing of the author's structs is used afterwards. */
    memset(&s, 0xff, sizeof s);
    assert_int_equal(schema->op.n_inputs, 5);
    assert_string_equal(schema->inputs[3].name, "bias");
    assert_int_equal(rapt_schema_input(schema, "v"), 2);
    assert_int_equal(rapt_schema_input(schema, "o"), -1);
    assert_int_equal(rapt_schema_output(schema, "lse"), 1);
    assert_int_equal(rapt_schema_attr(schema, "window"), 3);
    assert_int_equal(schema->input_dtypes[0], RAPT_DTYPE_T);
    assert_int_equal(schema->input_dtypes[3], RAPT_DTYPE_T | RAPT_DTYPE_BIT(RAPT_F32));
    assert_int_equal(schema->output_dtypes[1], RAPT_DTYPE_BIT(RAPT_F32));
    assert_int_equal(schema->compute_dtypes, RAPT_DTYPES_COMPUTE | RAPT_DTYPE_BIT(RAPT_F64));
    assert_int_equal(schema->keep_inputs[0], 7);
    assert_int_equal(schema->keep_outputs[0], 2);
    assert_int_equal(schema->keep_inputs[1], 31);
    assert_int_equal(schema->keep_outputs[1], 0);
    assert_int_equal(schema->state_append[1], 2);
    assert_int_equal(schema->state_input[1], -1);
    assert_int_equal(schema->n_where, 3);
    assert_string_equal(schema->where_text[1], "given(window) == 0 || causal == 0");
    assert_string_equal(schema->attr_choices[2][1], "left");
    assert_null(schema->attr_choices[2][3]);
    assert_string_equal(schema->op.kernels[0].saved[0].spec, "lse: B H N");
    assert_string_equal(schema->op.inputs[3].doc, "");
    assert_string_equal(schema->op.inputs[3].activation, "");
    assert_true(schema->letters['c'] && !schema->letters['A']);
    assert_int_equal(RAPT_AT(rapt_kernel, schema->op.kernels, 1)->size, sizeof(rapt_kernel));

    assert_ptr_equal(rapt_schema_retain(schema), schema);
    rapt_schema_release(schema);
    assert_string_equal(schema->op.name, "cog");
    rapt_schema_release(schema);
}

/* Structs of an author who knew more fields: the host takes what it knows. */
static void test_longer_structs(void **state)
{
    (void)state;
    struct {
        rapt_arg arg;
        const char *later;
    } inputs[5];
    struct {
        rapt_operator op;
        void *later[3];
    } op;
    rapt_error error = {0};
    sample_make(&s);
    memset(inputs, 0xee, sizeof inputs);
    memset(&op, 0xee, sizeof op);
    for (int i = 0; i < 5; i++) {
        inputs[i].arg = s.inputs[i];
        inputs[i].arg.size = sizeof inputs[i];
    }
    op.op = s.op;
    op.op.size = sizeof op;
    op.op.inputs = &inputs[0].arg;
    rapt_schema *schema = rapt_schema_new(&op.op, &error);
    if (!schema)
        fail_msg("%s", error.message);
    assert_int_equal(schema->op.size, sizeof(rapt_operator));
    assert_int_equal(schema->op.inputs[4].size, sizeof(rapt_arg));
    assert_string_equal(schema->op.inputs[4].spec, "extra: G*E c");
    rapt_schema_release(schema);
}

static void test_carried_states(void **state)
{
    (void)state;
    rapt_error error = {0};
    sample_make(&s);
    s.inputs[4].spec = "before: B H D E";
    s.inputs[4].dtype = NULL;
    s.inputs[4].role = RAPT_STATE;
    s.outputs[2] = s.outputs[1];
    s.outputs[2].spec = "after: B H D E";
    s.outputs[2].dtype = NULL;
    s.outputs[2].role = RAPT_STATE;
    s.op.n_outputs = 3;
    s.op.where = NULL;
    s.states[0] = (rapt_state_arg){sizeof(rapt_state_arg), 0, NULL, "before", "after"};
    s.op.n_states = 1;
    rapt_schema *schema = rapt_schema_new(&s.op, &error);
    if (!schema)
        fail_msg("%s", error.message);
    assert_int_equal(schema->state_append[0], -1);
    assert_int_equal(schema->state_input[0], 4);
    assert_int_equal(schema->state_output[0], 2);
    assert_int_equal(schema->input_dtypes[4], RAPT_DTYPE_BIT(RAPT_F32));
    rapt_schema_release(schema);
}

static void test_faults(void **state)
{
    (void)state;
    sample_make(&s);
    s.attrs[3].fallback = "4,0";
    FAULT_EACH(FAULT_ALL)
    {
        rapt_error error = {0};
        rapt_schema *schema = rapt_schema_new(&s.op, &error);
        if (schema)
            rapt_schema_release(schema);
        else
            fault_expect_error(&error);
    }
    assert_true(fault_rounds() > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_good),
        cmocka_unit_test(test_longer_structs), cmocka_unit_test(test_carried_states),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
