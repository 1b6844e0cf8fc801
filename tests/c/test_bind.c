/* Calls checked against descriptions: the messages that users see, word for word; sizes, dtypes,
 * defaults, costs. */
#include "fault.h"
#include "registry/schema.h"
#include "sample_operator.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A call in words: inputs "k=1,8,128,32:f16@7.0 x=" (dtype f32, device 1.0 unless said), attributes
 * "causal:b=1 scale:f=2 mode:c=left window:l=1,2 tiles:i=3". */
typedef struct test_call {
    char text[512];
    rapt_view views[16];
    int64_t shapes[16][RAPT_MAX_DIMS + 2];
    rapt_named_view inputs[16];
    rapt_named_value attrs[16];
    size_t n_inputs, n_attrs;
} test_call;

static rapt_dltype dltype(const char *name)
{
    static const struct {
        const char *name;
        rapt_dltype type;
    } types[] = {{"f32", {2, 32, 1}}, {"f16", {2, 16, 1}}, {"bf16", {4, 16, 1}},
                 {"f64", {2, 64, 1}}, {"i32", {0, 32, 1}}, {"i64", {0, 64, 1}},
                 {"u8", {1, 8, 1}},   {"c64", {5, 64, 1}}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(types[i].name, name))
            return types[i].type;
    fail_msg("no dtype %s", name);
    return types[0].type;
}

static int32_t numbers(const char *text, int64_t *out)
{
    int32_t n = 0;
    while (*text) {
        char *end;
        out[n++] = strtoll(text, &end, 10);
        text = *end ? end + 1 : end;
    }
    return n;
}

static void add_input(test_call *call, char *word)
{
    const size_t i = call->n_inputs++;
    rapt_view *view = &call->views[i];
    char *equals = strchr(word, '='), *device = strchr(word, '@'), *dtype;
    *equals = 0;
    call->inputs[i] = (rapt_named_view){word, view};
    view->device = (rapt_device){RAPT_DEVICE_CPU, 0};
    if (device) {
        view->device.type = atoi(device + 1);
        view->device.index = atoi(strchr(device, '.') + 1);
        *device = 0;
    }
    dtype = strchr(equals + 1, ':');
    if (dtype)
        *dtype++ = 0;
    view->dtype = dltype(dtype ? dtype : "f32");
    view->ndim = numbers(equals + 1, call->shapes[i]);
    view->shape = view->strides = call->shapes[i];
    if (!strcmp(equals + 1, "none"))
        call->inputs[i].view = NULL;
}

static void add_attr(test_call *call, char *word)
{
    rapt_named_value *attr = &call->attrs[call->n_attrs++];
    char *equals = strchr(word, '='), *colon = strchr(word, ':');
    *colon = 0;
    attr->name = word;
    attr->i[0] = strtoll(equals + 1, NULL, 10);
    attr->f = strtod(equals + 1, NULL);
    attr->text = equals + 1;
    attr->type = colon[1] == 'b'   ? RAPT_ATTR_BOOL
                 : colon[1] == 'i' ? RAPT_ATTR_INT
                 : colon[1] == 'f' ? RAPT_ATTR_FLOAT
                 : colon[1] == 'c' ? RAPT_ATTR_CHOICE
                                   : RAPT_ATTR_INTS;
    if (attr->type == RAPT_ATTR_INTS)
        attr->count = numbers(equals + 1, attr->i);
}

static void make_call(test_call *call, const char *inputs, const char *attrs)
{
    memset(call, 0, sizeof *call);
    const int n = snprintf(call->text, sizeof call->text, "%s|%s", inputs, attrs);
    assert_true(n > 0 && (size_t)n < sizeof call->text);
    char *rest = strchr(call->text, '|'), *save;
    *rest++ = 0;
    for (char *word = strtok_r(call->text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        add_input(call, word);
    for (char *word = strtok_r(rest, " ", &save); word; word = strtok_r(NULL, " ", &save))
        add_attr(call, word);
}

static rapt_status bind_call(const rapt_schema *schema, rapt_phase phase, const test_call *call,
                             rapt_binding *binding, rapt_error *error)
{
    return rapt_bind(schema, phase, call->inputs, call->n_inputs, call->attrs, call->n_attrs,
                     binding, error);
}

static rapt_schema *make_schema(const rapt_operator *op)
{
    rapt_error error = {0};
    rapt_schema *schema = rapt_schema_new(op, &error);
    if (!schema)
        fail_msg("%s", error.message);
    return schema;
}

typedef struct sample {
    const char *inputs, *attrs, *error; /* NULL: none */
} sample;

static void try_samples(const rapt_schema *schema, rapt_phase phase, const sample *samples,
                        size_t n)
{
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        rapt_error error = {0};
        rapt_binding binding;
        test_call call;
        make_call(&call, samples[i].inputs, samples[i].attrs);
        const rapt_status status = bind_call(schema, phase, &call, &binding, &error);
        const char *expected = samples[i].error ? samples[i].error : "";
        if (strcmp(error.message, expected) || !status != !samples[i].error) {
            print_error("{%s} {%s}\n    \"%s\"\nnot \"%s\"\n", samples[i].inputs, samples[i].attrs,
                        error.message, expected);
            wrong++;
        }
        assert_int_equal(status, status ? RAPT_INVALID : RAPT_OK);
        assert_int_equal(bind_call(schema, phase, &call, &binding, NULL), status);
    }
    assert_int_equal(wrong, 0);
}

#define TRY(schema, phase, samples)                                                                \
    try_samples(schema, phase, samples, sizeof(samples) / sizeof(samples)[0])

#define Q   "q=1,8,128,64"
#define K   " k=1,8,128,64"
#define V   " v=1,8,128,64"
#define QKV Q K V

static void test_messages(void **state)
{
    static const sample samples[] = {
        {QKV, "", NULL},
        {QKV " bias=none extra=none", "", NULL},
        /* names */
        {QKV " vv=1", "", "cog: no input or attribute \"vv\"; did you mean \"v\"?"},
        {QKV, "casual:b=1", "cog: no input or attribute \"casual\"; did you mean \"causal\"?"},
        {QKV, "temperature:f=1", "cog: no input or attribute \"temperature\""},
        {"q=1,8,128,64 k=1,8,128,64", "vv:f=1",
         "cog: no input or attribute \"vv\"; did you mean \"v\"?"},
        {QKV " causal=1", "", "cog: causal is a tensor but must be true or false"},
        {QKV " mode=1", "", "cog: mode is a tensor but must be one of none, left, right"},
        {QKV, "bias:f=1", "cog: bias must be a tensor (B? H? N? M?)"},
        {QKV " q=1,8,128,64", "", "cog: q is given twice"},
        {QKV, "causal:b=1 causal:b=0", "cog: causal is given twice"},
        /* presence */
        {Q K, "", "cog: missing input v (B G M E)"},
        {Q K " v=none", "", "cog: missing input v (B G M E)"},
        {"", "", "cog: missing input q (B H N D)"},
        /* views */
        {Q K " v=1,1,1,1,1,1,1,1,1", "", "cog: v has 9 dimensions, not 0 to 8"},
        {Q K " v=1,8,-128,64", "", "cog: v is [1,8,-128,64]: a size is negative"},
        {Q K " v=4294967296,4294967296,1,1", "",
         "cog: v is [4294967296,4294967296,1,1]: too large, 2^63 bytes or more"},
        {Q K " v=1,8,128,64:c64", "", "cog: v is of an element type rapt does not have"},
        /* types, choices */
        {QKV, "causal:i=1", "cog: causal is 1 but must be true or false"},
        {QKV, "causal:c=yes", "cog: causal is \"yes\" but must be true or false"},
        {QKV, "scale:b=1", "cog: scale is true but must be a number"},
        {QKV, "scale:c=x", "cog: scale is \"x\" but must be a number"},
        {QKV, "scale:f=nan", "cog: scale is nan but must be a number"},
        {QKV, "tiles:f=1.5", "cog: tiles is 1.5 but must be an integer"},
        {QKV, "tiles:f=1e300", "cog: tiles is 1e+300 but must be an integer"},
        {QKV, "tiles:f=inf", "cog: tiles is inf but must be an integer"},
        {QKV, "tiles:l=3,4", "cog: tiles is {3,4} but must be an integer"},
        {QKV, "mode:c=lef",
         "cog: mode is \"lef\" but must be one of none, left, right; did you mean \"left\"?"},
        {QKV, "mode:c=zzzzzzz", "cog: mode is \"zzzzzzz\" but must be one of none, left, right"},
        {QKV, "mode:i=1", "cog: mode is 1 but must be one of none, left, right"},
        {QKV, "window:l=1", "cog: window is {1} but must be a list of 2 integers"},
        {QKV, "window:l=", "cog: window is {} but must be a list of 2 integers"},
        {QKV, "window:i=1", "cog: window is 1 but must be a list of 2 integers"},
        /* dtypes */
        {Q " k=1,8,128,64:f16" V, "", "cog: k is f16 but q is f32"},
        {"q=1,8,128,64:bf16 k=1,8,128,64:bf16" V, "", "cog: v is f32 but q is bf16"},
        {"q=1,8,128,64:i64 k=1,8,128,64:i64 v=1,8,128,64:i64", "",
         "cog: q is i64 but must be f32, f16 or bf16"},
        {QKV " extra=512,3:f32", "", "cog: extra is f32 but must be i32 or i64"},
        {QKV " bias=1,1,1,1:f16", "", "cog: bias is f16 but must be f32"},
        {"q=1,8,128,64:f16 k=1,8,128,64:f16 v=1,8,128,64:f16 bias=1,1,1,1:bf16", "",
         "cog: bias is bf16 but must be f32 or f16"},
        {"q=1,8,128,64:f16 k=1,8,128,64:f16 v=1,8,128,64:f16 bias=1,1,1,1:f32", "", NULL},
        /* devices */
        {Q " k=1,8,128,64@7.0" V, "", "cog: k is on vulkan:0 but q is on cpu"},
        {"q=1,8,128,64@7.1 k=1,8,128,64@7.1 v=1,8,128,64@7.0", "",
         "cog: v is on vulkan:0 but q is on vulkan:1"},
        {Q K " v=1,8,128,64@2.3", "", "cog: v is on device 2:3 but q is on cpu"},
        /* ranks and sizes */
        {"q=8,128,64" K V, "", "cog: q has 3 dimensions [8,128,64] but B H N D has 4"},
        {"q=8" K V, "", "cog: q has 1 dimension [8] but B H N D has 4"},
        {Q " k=1,8,128,32" V, "", "cog: k is [1,8,128,32] but D is 64 (from q [1,8,128,64])"},
        {Q K " v=1,8,127,64", "", "cog: v is [1,8,127,64] but M is 128 (from k [1,8,128,64])"},
        {QKV " bias=1,8,3,128", "",
         "cog: bias is [1,8,3,128] but N is 128 or 1 (from q [1,8,128,64])"},
        {QKV " bias=1,8,128,1", "", NULL},
        {QKV " extra=511,3:i32", "",
         "cog: extra is [511,3] but size 1 of G*E c is 512 (G 8, E 64)"},
        {QKV " extra=512,3:i32", "", NULL},
        /* ranges */
        {QKV, "scale:i=2", "cog: scale is 2 but must be at most 1"},
        {QKV, "scale:f=-0.25", "cog: scale is -0.25 but must be at least 0"},
        {QKV, "scale:i=1", NULL},
        {QKV, "tiles:f=3", NULL},
        {QKV, "tiles:i=0", "cog: tiles is 0 but must be at least 1"},
        {QKV, "tiles:i=129", "cog: tiles is 129 but must be at most 128"},
        {QKV, "tiles:i=9223372036854775807",
         "cog: tiles is 9223372036854775807 but must be at most 128"},
        {QKV, "window:l=4,-2", "cog: window is {4,-2} but its entries must be at least -1"},
        /* a default that does not fit this call */
        {"q=1,8,0,64 k=1,8,128,64 v=1,8,128,64", "",
         "cog: tiles is 0 (the default) but must be at least 1"},
        {"q=1,8,128,0 k=1,8,128,0 v=1,8,128,64", "",
         "cog: the default of scale, 1/sqrt(D): division by zero"},
        /* conditions */
        {"q=1,4,128,64 k=1,3,128,64 v=1,3,128,64", "",
         "cog: needs H % G == 0, but H is 4 and G is 3"},
        {"q=1,4,128,64 k=1,0,128,64 v=1,0,128,64", "",
         "cog: needs H % G == 0 (division by zero), but H is 4 and G is 0"},
        {QKV, "window:l=1,2 causal:b=1",
         "cog: needs given(window) == 0 || causal == 0, but window is given and causal is true"},
        {QKV " extra=512,129:i64", "",
         "cog: needs given(extra) == 0 || c <= N, but extra is given, c is 129 and N is 128"},
    };
    (void)state;
    sample_operator s;
    sample_make(&s);
    rapt_schema *schema = make_schema(&s.op);
    test_call call;
    rapt_binding binding;
    rapt_error error = {0};
    TRY(schema, RAPT_FORWARD, samples);
    make_call(&call, QKV, "");
    call.inputs[1].name = NULL;
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, &error), RAPT_INVALID);
    assert_string_equal(error.message, "cog: an input is given without a name");
    make_call(&call, QKV, "causal:b=1");
    call.attrs[0].name = NULL;
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, &error), RAPT_INVALID);
    assert_string_equal(error.message, "cog: an attribute is given without a name");
    rapt_schema_release(schema);
}

static void test_values(void **state)
{
    (void)state;
    sample_operator s;
    test_call call;
    rapt_binding binding;
    sample_make(&s);
    rapt_schema *schema = make_schema(&s.op);

    make_call(&call, "v=2,2,9,5 k=2,2,9,16 q=2,4,3,16", "window:l=3,-1 mode:c=right scale:f=0.5");
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, NULL), RAPT_OK);
    assert_ptr_equal(binding.inputs[2], &call.views[0]);
    assert_null(binding.inputs[3]);
    const char *letters = "BHGNMDEc";
    const int64_t sizes[] = {2, 4, 2, 3, 9, 16, 5, -1};
    for (int i = 0; letters[i]; i++)
        assert_int_equal(binding.sizes[(unsigned char)letters[i]], sizes[i]);
    assert_int_equal(binding.sizes['.'], -1);
    assert_int_equal(binding.dtype, RAPT_F32);
    assert_int_equal(binding.device.type, RAPT_DEVICE_CPU);
    assert_int_equal(binding.given, 1u << 1 | 1u << 2 | 1u << 3);
    assert_int_equal(binding.attrs[0].present, 1);
    assert_int_equal(binding.attrs[0].i[0], 0);
    assert_true(binding.attrs[1].f == 0.5);
    assert_int_equal(binding.attrs[2].i[0], 2);
    assert_int_equal(binding.attrs[3].count, 2);
    assert_int_equal(binding.attrs[3].i[1], -1);
    assert_int_equal(binding.attrs[4].i[0], 3); /* min(4, N) */
    assert_true(binding.attrs[4].f == 3);

    make_call(&call, "q=2,4,3,16 k=2,2,9,16 v=2,2,9,5", "causal:b=7");
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, NULL), RAPT_OK);
    assert_true(binding.attrs[1].f == 0.25); /* 1/sqrt(D) */
    assert_int_equal(binding.attrs[3].present, 0);
    assert_int_equal(binding.attrs[0].i[0], 1);

    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
    assert_int_equal(rapt_bound_shape(&binding, &schema->outputs[0], &ndim, shape, NULL), RAPT_OK);
    assert_int_equal(ndim, 4);
    assert_int_equal(shape[3], 5);
    assert_int_equal(rapt_bound_shape(&binding, schema->weights, &ndim, shape, NULL), RAPT_OK);
    assert_int_equal(shape[3], 9);
    assert_int_equal(rapt_bound_output_dtype(&binding, 0), RAPT_F32);
    make_call(&call, "q=2,4,3,16:f16 k=2,2,9,16:f16 v=2,2,9,5:f16", "");
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, NULL), RAPT_OK);
    assert_int_equal(rapt_bound_output_dtype(&binding, 0), RAPT_F16);
    assert_int_equal(rapt_bound_output_dtype(&binding, 1), RAPT_F32);
    assert_int_equal(rapt_bound_saved_dtype(&binding, 0, 0), RAPT_F32);
    rapt_schema_release(schema);
}

/* `weights` does without values, and without what only they bind. */
static void test_weights_phase(void **state)
{
    static const sample samples[] = {
        {Q K, "", NULL},
        {QKV, "", NULL},
        {Q, "", "cog: missing input k (B G M D)"},
        {Q K " extra=512,3:i32", "", NULL},
        {"q=1,4,9,8 k=1,3,9,8", "", "cog: needs H % G == 0, but H is 4 and G is 3"},
    };
    (void)state;
    sample_operator s;
    sample_make(&s);
    s.attrs[4].fallback = "E";
    s.op.where = "H % G == 0; E > 0";
    rapt_schema *schema = make_schema(&s.op);
    TRY(schema, RAPT_WEIGHTS, samples);
    test_call call;
    rapt_binding binding;
    make_call(&call, Q K, "");
    assert_int_equal(bind_call(schema, RAPT_WEIGHTS, &call, &binding, NULL), RAPT_OK);
    assert_int_equal(binding.sizes['E'], -1);
    assert_int_equal(binding.attrs[4].present, 0);
    rapt_schema_release(schema);
}

static const rapt_kernel any_kernel = {.size = sizeof any_kernel,
                                       .name = "cpu",
                                       .device = "cpu",
                                       .dtypes = RAPT_DTYPES_COMPUTE,
                                       .forward = sample_forward};

static rapt_arg arg(const char *spec, const char *dtype, uint32_t flags)
{
    const rapt_arg made = {sizeof made, flags, spec, dtype, RAPT_ARGUMENT, NULL, NULL, NULL};
    return made;
}

static rapt_schema *make_plain(const char *name, const rapt_arg *inputs, uint32_t n,
                               const rapt_arg *output)
{
    const rapt_operator op = {.size = sizeof op,
                              .name = name,
                              .doc = "For a test.",
                              .inputs = inputs,
                              .n_inputs = n,
                              .outputs = output,
                              .n_outputs = 1,
                              .kernels = &any_kernel,
                              .n_kernels = 1};
    return make_schema(&op);
}

static void expect_shape(const rapt_schema *schema, const char *inputs, const char *expected)
{
    test_call call;
    rapt_binding binding;
    rapt_error error = {0};
    int32_t ndim;
    int64_t shape[RAPT_MAX_DIMS];
    char text[RAPT_MAX_DIMS * 24] = "";
    make_call(&call, inputs, "");
    if (bind_call(schema, RAPT_FORWARD, &call, &binding, &error) ||
        rapt_bound_shape(&binding, &schema->outputs[0], &ndim, shape, &error)) {
        assert_string_equal(error.message, expected);
        return;
    }
    for (int32_t i = 0; i < ndim; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%lld", i ? "," : "",
                 (long long)shape[i]);
    assert_string_equal(text, expected);
}

static void test_leading(void **state)
{
    (void)state;
    const rapt_arg two[] = {arg("a: ...? N?", NULL, 0), arg("b: ...? N?", NULL, 0)};
    const rapt_arg y = arg("y: ... N", NULL, 0);
    rapt_schema *add = make_plain("add", two, 2, &y);
    expect_shape(add, "a=2,3,4 b=4", "2,3,4");
    expect_shape(add, "a=4 b=2,3,1", "2,3,4");
    expect_shape(add, "a=2,1,4 b=3,1", "2,3,4");
    expect_shape(add, "a=1 b=1", "1");
    expect_shape(add, "a=0,4 b=1,4", "0,4");
    expect_shape(add, "a=2,3,4 b=2,4",
                 "add: b is [2,4] but does not broadcast with [2,3] (from a [2,3,4])");
    expect_shape(add, "a=2,4 b=2,5", "add: b is [2,5] but N is 4 or 1 (from a [2,4])");
    expect_shape(add, "a= b=3", "add: a has 0 dimensions [] but ...? N? has at least 1");
    rapt_schema_release(add);

    const rapt_arg fixed[] = {arg("x: ... D", NULL, 0), arg("w: D", NULL, 0),
                              arg("r: ... D", NULL, RAPT_OPTIONAL),
                              arg("b: ...? D", NULL, RAPT_OPTIONAL)};
    const rapt_arg o = arg("o: ... 2*D", NULL, 0);
    rapt_schema *norm = make_plain("norm", fixed, 4, &o);
    expect_shape(norm, "x=2,3,4 w=4", "2,3,8");
    expect_shape(norm, "x=4 w=4", "8");
    expect_shape(norm, "x=2,3,4 w=4 r=2,3,4 b=3,4", "2,3,8");
    expect_shape(norm, "x=2,3,4 w=4 r=3,4", "norm: r is [3,4] but ... is [2,3] (from x [2,3,4])");
    expect_shape(norm, "x=1,4 w=4 b=3,4", "norm: b is [3,4] but ... is [1] (from x [1,4])");
    expect_shape(norm, "x=4 w=4 b=1,4", "norm: b is [1,4] but ... is [] (from x [4])");
    expect_shape(norm, "x=2,2,2,2,2,2,2,4 w=4", "2,2,2,2,2,2,2,8");
    expect_shape(norm, "x=1152921504606846975,1 w=1",
                 "norm: o would be [1152921504606846975,2], which is too large");
    rapt_schema_release(norm);

    const rapt_arg one[] = {arg("x: ... ", NULL, 0)};
    const rapt_arg more = arg("o: ... 3", NULL, 0);
    rapt_schema *stack = make_plain("stack", one, 1, &more);
    expect_shape(stack, "x=1,1,1,1,1,1,1,1", "stack: o would have 9 dimensions, more than 8");
    expect_shape(stack, "x=", "3");
    rapt_schema_release(stack);
}

static void test_other_sizes(void **state)
{
    (void)state;
    const rapt_arg kernel[] = {arg("w: C 1 r r", NULL, 0), arg("x: N? C/2", NULL, RAPT_OPTIONAL),
                               arg("any: *", "i64|bool", RAPT_OPTIONAL)};
    const rapt_arg o = arg("o: N-3", NULL, 0);
    rapt_schema *conv = make_plain("conv", kernel, 3, &o);
    expect_shape(conv, "w=8,1,3,5", "conv: w is [8,1,3,5] but r cannot be both 3 and 5");
    expect_shape(conv, "w=8,2,3,3", "conv: w is [8,2,3,3] but size 2 of C 1 r r is 1");
    expect_shape(conv, "w=7,1,3,3 x=4,3", "conv: size 2 of x (N? C/2): 7 / 2 leaves a remainder");
    expect_shape(conv, "w=8,1,3,3 x=4,4", "1");
    expect_shape(conv, "w=8,1,3,3 x=1,4", "conv: size 1 of o (N-3) would be -2");
    expect_shape(conv, "w=8,1,3,3", "conv: size 1 of o (N-3): N is not known here");
    expect_shape(conv, "w=8,1,3,3 x=4,4 any=3,1,2:i64", "1");
    expect_shape(conv, "w=8,1,3,3 any=3:f32", "conv: any is f32 but must be i64 or bool");
    expect_shape(conv, "w=2305843009213693952,0,1,1",
                 "conv: w is [2305843009213693952,0,1,1] but size 2 of C 1 r r is 1");
    rapt_schema_release(conv);

    /* No argument of type T: T is f32. A scalar. */
    const rapt_arg ids[] = {arg("ids: ...", "i32|i64", 0), arg("p:", "f64", 0)};
    const rapt_arg y = arg("y: ...", NULL, 0);
    rapt_schema *embed = make_plain("embed", ids, 2, &y);
    test_call call;
    rapt_binding binding;
    make_call(&call, "ids=3,4:i64 p=:f64", "");
    assert_int_equal(bind_call(embed, RAPT_FORWARD, &call, &binding, NULL), RAPT_OK);
    assert_int_equal(rapt_bound_output_dtype(&binding, 0), RAPT_F32);
    assert_int_equal(binding.sizes['.'], 12);
    expect_shape(embed, "ids=3:i32 p=1:f64", "embed: p has 1 dimension [1] but a scalar has 0");
    expect_shape(embed, "ids=3:i32", "embed: missing input p (a scalar)");
    rapt_schema_release(embed);
}

static void test_required(void **state)
{
    (void)state;
    sample_operator s;
    sample_make(&s);
    s.attrs[1].fallback = NULL;
    s.attrs[1].flags = RAPT_REQUIRED;
    rapt_schema *schema = make_schema(&s.op);
    const sample samples[] = {{QKV, "", "cog: missing attribute scale (a number)"},
                              {QKV, "scale:f=1", NULL}};
    TRY(schema, RAPT_FORWARD, samples);
    rapt_schema_release(schema);
}

/* --- Costs --------------------------------------------------------------------------------- */

static double counted_pairs(int n, int m, bool causal, int left, int right)
{
    double pairs = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            const int at = i + m - n;
            pairs += (!causal || j <= at) && (left < 0 || j >= at - left) &&
                     (right < 0 || j <= at + right);
        }
    return pairs;
}

static void test_pairs(void **state)
{
    (void)state;
    sample_operator s;
    sample_make(&s);
    s.op.where = NULL;
    s.op.n_attrs = 4;
    rapt_schema *schema = make_schema(&s.op);
    for (int n = 1; n <= 9; n += 2)
        for (int m = 0; m <= 12; m += 3)
            for (int causal = 0; causal < 2; causal++)
                for (int left = -1; left <= 11; left += 3)
                    for (int right = -1; right <= 11; right += 3) {
                        char inputs[128], attrs[64];
                        test_call call;
                        rapt_binding binding;
                        rapt_cost cost;
                        snprintf(inputs, sizeof inputs, "q=2,4,%d,8 k=2,2,%d,8 v=2,2,%d,3", n, m,
                                 m);
                        snprintf(attrs, sizeof attrs, "causal:b=%d window:l=%d,%d", causal, left,
                                 right);
                        make_call(&call, inputs, attrs);
                        assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, NULL),
                                         RAPT_OK);
                        assert_int_equal(rapt_bound_cost(&binding, &cost, NULL), RAPT_OK);
                        const double pairs = counted_pairs(n, m, causal, left, right);
                        assert_true(cost.pairs == pairs);
                        assert_true(cost.pairs_all == n * m);
                        assert_true(cost.flops == 2 * 2 * 4 * pairs * (8 + 3));
                        assert_true(cost.flops_backward == 5 * 2 * 4 * pairs * (8 + 3));
                        const double bytes = 2 * 4 * n * 8 + 2 * 2 * m * (8 + 3) + 2 * 4 * n * 3;
                        assert_true(cost.bytes == 4 * bytes);
                    }
    rapt_schema_release(schema);
}

static void test_costs(void **state)
{
    (void)state;
    sample_operator s;
    test_call call;
    rapt_binding binding;
    rapt_cost cost;
    rapt_error error = {0};
    sample_make(&s);
    s.op.bytes = "4*B*H*N*D + 100*given(bias)";
    s.op.flops = "c";
    rapt_schema *schema = make_schema(&s.op);
    make_call(&call, "q=1,1,1000000,8 k=1,1,1000000,8 v=1,1,1000000,8 bias=1,1,1,1", "causal:b=1");
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, NULL), RAPT_OK);
    assert_int_equal(rapt_bound_cost(&binding, &cost, &error), RAPT_INVALID);
    assert_string_equal(error.message, "cog: flops: c is not known here");
    rapt_schema_release(schema);

    s.op.flops = NULL;
    s.op.flops_backward = NULL;
    schema = make_schema(&s.op);
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, NULL), RAPT_OK);
    assert_int_equal(rapt_bound_cost(&binding, &cost, NULL), RAPT_OK);
    assert_true(cost.pairs == 500000500000.0);
    assert_true(cost.bytes == 32000100 && cost.flops == 0 && cost.flops_backward == 0);
    rapt_schema_release(schema);

    /* One sequence only, and never anything but causal. */
    const rapt_arg x[] = {arg("x: ... N D", NULL, 0)};
    const rapt_arg y = arg("y: ... N D", NULL, 0);
    const rapt_operator op = {.size = sizeof op,
                              .flags = RAPT_OP_CAUSAL,
                              .name = "scan",
                              .doc = "For a test.",
                              .inputs = x,
                              .n_inputs = 1,
                              .outputs = &y,
                              .n_outputs = 1,
                              .flops = "leading*pairs*D",
                              .kernels = &any_kernel,
                              .n_kernels = 1};
    schema = make_schema(&op);
    make_call(&call, "x=2,3,10,4:bf16", "");
    assert_int_equal(bind_call(schema, RAPT_FORWARD, &call, &binding, NULL), RAPT_OK);
    assert_int_equal(rapt_bound_cost(&binding, &cost, NULL), RAPT_OK);
    assert_true(cost.pairs == 55 && cost.pairs_all == 100 && cost.flops == 6 * 55 * 4);
    assert_true(cost.bytes == 2 * 2 * 240);
    rapt_schema_release(schema);
}

/* Messages need memory; without it there is still an error, and nothing is left behind. */
static void test_faults(void **state)
{
    static const sample samples[] = {
        {QKV, "mode:c=lef", NULL},
        {QKV, "scale:i=2", NULL},
        {QKV " causal=1", "", NULL},
        {QKV " extra=511,3:i32", "", NULL},
        {"q=1,4,128,64 k=1,3,128,64 v=1,3,128,64", "", NULL},
    };
    (void)state;
    sample_operator s;
    sample_make(&s);
    rapt_schema *schema = make_schema(&s.op);
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        test_call call;
        make_call(&call, samples[i].inputs, samples[i].attrs);
        FAULT_EACH(FAULT_ALL)
        {
            rapt_error error = {0};
            rapt_binding binding;
            const rapt_status status = bind_call(schema, RAPT_FORWARD, &call, &binding, &error);
            assert_int_equal(status, fault_struck() ? RAPT_NO_MEMORY : RAPT_INVALID);
            assert_int_equal(error.status, status);
            assert_int_equal(strncmp(error.message, fault_struck() ? "out of memory" : "cog: ", 5),
                             0);
        }
        assert_true(fault_rounds() > 1);
    }
    rapt_schema_release(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),      cmocka_unit_test(test_values),
        cmocka_unit_test(test_weights_phase), cmocka_unit_test(test_leading),
        cmocka_unit_test(test_other_sizes),   cmocka_unit_test(test_required),
        cmocka_unit_test(test_pairs),         cmocka_unit_test(test_costs),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
