/* Golden vectors beside a plugin: what is read, what is refused and how, faults. */
#include "engine/golden.h"
#include "engine_ops.h"
#include "fault.h"
#include <jansson.h>
#include <unistd.h>

static char folder[] = "/tmp/rapt-golden-XXXXXX";
static char plugin[64]; /* need not be there */

static int setup(void **state)
{
    assert_non_null(mkdtemp(folder));
    snprintf(plugin, sizeof plugin, "%s/some.so", folder);
    *state = open_context();
    return 0;
}

static int teardown(void **state)
{
    rapt_close(*state);
    return rmdir(folder);
}

static rapt_schema *schema_of(rapt_context *context, const char *op)
{
    rapt_error error = {0};
    rapt_schema *schema = NULL;
    must(rapt_registry_find(context->registry, op, &schema, &error), &error);
    return schema;
}

static void path_of(const char *op, char *path, size_t size)
{
    snprintf(path, size, "%s/%s.golden.safetensors", folder, op);
}

/* A file for `op` with a tensor for each of the names up to NULL; those in capitals have another
 * shape. */
static void store(rapt_context *context, const char *op, const rapt_named_text *metadata,
                  size_t n_metadata, const char *const *names)
{
    rapt_error error = {0};
    rapt_named_tensor tensors[12];
    char lower[12][32], path[128];
    size_t n = 0;
    for (; names[n]; n++) {
        const bool other = names[n][0] >= 'A' && names[n][0] <= 'Z';
        snprintf(lower[n], sizeof lower[n], "%s", names[n]);
        lower[n][0] = (char)(other ? names[n][0] + 32 : names[n][0]);
        tensors[n].name = lower[n];
        tensors[n].tensor = ramp(context, SHAPE(2, other ? 5 : 3), (float)n, 1);
    }
    path_of(op, path, sizeof path);
    must(rapt_save_safetensors(path, tensors, n, metadata, n_metadata, &error), &error);
    while (n-- > 0)
        rapt_tensor_release(tensors[n].tensor);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void drop(const char *op)
{
    char path[128];
    path_of(op, path, sizeof path);
    assert_int_equal(unlink(path), 0);
}

/* --- What is read ---------------------------------------------------------------------------- */

static void reads_all(void **state)
{
    rapt_context *context = *state;
    rapt_error error = {0};
    rapt_golden golden;
    const rapt_named_text op = {"op", "t.mul"};
    store(context, "t.mul", &op, 1, NAMES("x", "y", "o", "dx", "dy", "do", "other"));
    must(rapt_golden_load(schema_of(context, "t.mul"), plugin, &golden, &error), &error);
    assert_int_equal(golden.probe.n_attrs, 0);
    for (int i = 0; i < 2; i++) {
        const rapt_tensor *x = golden.probe.inputs[i];
        const rapt_tensor *slope = golden.want.at[RAPT_OUTCOME_GRADIENT][i];
        assert_int_equal(rapt_tensor_dtype(x), RAPT_F32);
        assert_int_equal(rapt_tensor_dtype(slope), RAPT_F64);
        assert_true(((const float *)rapt_view_data(&x->view))[5] == (float)i + 5);
        assert_true(((const double *)rapt_view_data(&slope->view))[5] == (double)i + 8);
    }
    const rapt_tensor *o = golden.want.at[RAPT_OUTCOME_OUTPUT][0];
    assert_true(((const double *)rapt_view_data(&o->view))[0] == 2);
    assert_true(((const float *)rapt_view_data(&golden.seed->view))[0] == 5);
    rapt_golden_free(&golden);
    rapt_golden_free(&golden);
    /* without gradients, and with a plugin's name alone */
    store(context, "t.mul", &op, 1, NAMES("x", "y", "o"));
    must(rapt_golden_load(schema_of(context, "t.mul"), plugin, &golden, &error), &error);
    assert_null(golden.seed);
    rapt_golden_free(&golden);
    drop("t.mul");
    assert_int_equal(rapt_golden_load(schema_of(context, "t.mul"), plugin, &golden, &error),
                     RAPT_NOT_FOUND);
    assert_int_equal(rapt_golden_load(schema_of(context, "t.mul"), "some.so", &golden, &error),
                     RAPT_NOT_FOUND);
}

static void reads_attributes(void **state)
{
    rapt_context *context = *state;
    rapt_error error = {0};
    rapt_golden golden;
    const rapt_named_text attend[] = {
        {"op", "t.attend"}, {"attrs", "{\"causal\": true, \"window\": [4, -1], \"scale\": 0.5}"}};
    store(context, "t.attend", attend, 2, NAMES("q", "k", "v", "o"));
    must(rapt_golden_load(schema_of(context, "t.attend"), plugin, &golden, &error), &error);
    assert_int_equal(golden.probe.n_attrs, 3);
    assert_null(golden.probe.inputs[3]);
    for (size_t i = 0; i < 3; i++) {
        const rapt_named_value *value = &golden.probe.attrs[i];
        if (strcmp(value->name, "causal") == 0)
            assert_int_equal(value->i[0], 1);
        else if (strcmp(value->name, "window") == 0)
            assert_true(value->count == 2 && value->i[0] == 4 && value->i[1] == -1);
        else
            assert_true(value->f == 0.5);
    }
    rapt_golden_free(&golden);
    drop("t.attend");
    const rapt_named_text choose[] = {{"op", "t.choose"}, {"attrs", "{\"want\": \"low\"}"}};
    store(context, "t.choose", choose, 2, NAMES("x", "o"));
    must(rapt_golden_load(schema_of(context, "t.choose"), plugin, &golden, &error), &error);
    assert_string_equal(golden.probe.attrs[0].text, "low");
    rapt_golden_free(&golden);
    drop("t.choose");
}

/* --- What is not ----------------------------------------------------------------------------- */

static void expect_refusal(rapt_context *context, const char *op, const char *why)
{
    rapt_error error = {0};
    rapt_golden golden;
    char text[RAPT_ERROR_SIZE];
    snprintf(text, sizeof text, "%s/%s.golden.safetensors: %s", folder, op, why);
    rapt_golden_load(schema_of(context, op), plugin, &golden, &error);
    expect_error(&error, RAPT_INVALID, text);
    assert_null(golden.probe.inputs[0]);
    drop(op);
}

static void refuses_metadata(void **state)
{
    static const struct {
        const char *attrs, *why;
    } cases[] = {
        {"", "has attrs that are no JSON object: "},
        {"[1]", "has attrs that are no JSON object: [1]"},
        {"{\"causal\": true", "has attrs that are no JSON object: {\"causal\": true"},
        {"{\"casual\": true}", "has an attribute \"casual\", which t.attend has not"},
        {"{\"causal\": 1}", "has a value of \"causal\" that is not of its type"},
        {"{\"scale\": \"1\"}", "has a value of \"scale\" that is not of its type"},
        {"{\"window\": 3}", "has a value of \"window\" that is not of its type"},
        {"{\"window\": [1, 0.5]}", "has a value of \"window\" that is not of its type"},
        {"{\"window\": [1,2,3,4,5,6,7,8,9,10]}",
         "has a value of \"window\" that is not of its type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const rapt_named_text metadata[] = {{"op", "t.attend"}, {"attrs", cases[i].attrs}};
        store(*state, "t.attend", metadata, 2, NAMES("q", "k", "v", "o"));
        expect_refusal(*state, "t.attend", cases[i].why);
    }
    const rapt_named_text choose[] = {{"op", "t.choose"}, {"attrs", "{\"want\": \"lowest\"}"}};
    store(*state, "t.choose", choose, 2, NAMES("x", "o"));
    expect_refusal(*state, "t.choose", "has a value of \"want\" that is not of its type");
    store(*state, "t.mul", NULL, 0, NAMES("x", "y", "o"));
    expect_refusal(*state, "t.mul", "is of the operator (no metadata \"op\"), expected t.mul");
    store(*state, "t.mul", choose, 1, NAMES("x", "y", "o"));
    expect_refusal(*state, "t.mul", "is of the operator t.choose, expected t.mul");
}

static void refuses_tensors(void **state)
{
    const rapt_named_text op = {"op", "t.mul"};
    store(*state, "t.mul", &op, 1, NAMES("x", "o"));
    expect_refusal(*state, "t.mul", "has no y");
    store(*state, "t.mul", &op, 1, NAMES("x", "y"));
    expect_refusal(*state, "t.mul", "has no o");
    store(*state, "t.mul", &op, 1, NAMES("x", "y", "o", "Dx", "do"));
    expect_refusal(*state, "t.mul", "has dx, but no x of its shape");
    store(*state, "t.mul", &op, 1, NAMES("x", "y", "o", "Do"));
    expect_refusal(*state, "t.mul", "has do, but no o of its shape");
    const rapt_named_text attend = {"op", "t.attend"};
    store(*state, "t.attend", &attend, 1, NAMES("q", "k", "v", "o", "dslope"));
    expect_refusal(*state, "t.attend", "has dslope, but no slope of its shape");
}

/* --- Faults ---------------------------------------------------------------------------------- */

static void survives_faults(void **state)
{
    rapt_context *context = *state;
    rapt_error error = {0};
    rapt_golden golden;
    const rapt_named_text metadata[] = {{"op", "t.attend"}, {"attrs", "{\"window\": [4, -1]}"}};
    rapt_schema *schema = schema_of(context, "t.attend");
    store(context, "t.attend", metadata, 2, NAMES("q", "k", "v", "o", "dq", "do"));
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        if (rapt_golden_load(schema, plugin, &golden, &error) == RAPT_OK)
            rapt_golden_free(&golden);
        else
            fault_expect_error(&error);
    }
    json_set_alloc_funcs(malloc, free);
    drop("t.attend");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all),        cmocka_unit_test(reads_attributes),
        cmocka_unit_test(refuses_metadata), cmocka_unit_test(refuses_tensors),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests_name("golden vectors beside plugins", tests, setup, teardown);
}
