/* The tape: gradients through graphs of every shape, leaves, errors, release. */
#include "engine_ops.h"
#include "fault.h"

static int setup(void **state)
{
    *state = open_context();
    return 0;
}

static int teardown(void **state)
{
    rapt_close(*state);
    return 0;
}

static rapt_tensor *leaf(rapt_context *context, int32_t ndim, const int64_t *shape, float start,
                         float step)
{
    rapt_tensor *x = ramp(context, ndim, shape, start, step);
    must(rapt_set_requires_grad(x, true, NULL), NULL);
    return x;
}

static rapt_tensor *mul(rapt_context *context, rapt_tensor *x, rapt_tensor *y)
{
    return call2(context, "t.mul", "x", x, "y", y);
}

static void backward(rapt_context *context, rapt_tensor *o, rapt_tensor *seed, bool retain)
{
    rapt_error error = {0};
    must(rapt_backward(context, o, seed, retain, &error), &error);
}

static void refuses(rapt_context *context, rapt_tensor *o, rapt_tensor *seed, rapt_status status,
                    const char *text)
{
    rapt_error error = {0};
    assert_int_equal(rapt_backward(context, o, seed, false, &error), status);
    expect_error(&error, status, text);
}

/* --- Gradients -------------------------------------------------------------------------------- */

static void product_rule(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(3), 1, 1), *y = leaf(*state, SHAPE(3), 5, 2);
    rapt_tensor *seed = ramp(*state, SHAPE(3), 1, 10);
    rapt_tensor *o = mul(*state, x, y);
    assert_true(rapt_requires_grad(o));
    assert_false(rapt_is_leaf(o));
    assert_true(rapt_is_leaf(x));
    backward(*state, o, seed, false);
    for (int i = 0; i < 3; i++) {
        assert_float_equal(element(*state, rapt_grad(x), i), (5 + 2 * i) * (1 + 10 * i), 0);
        assert_float_equal(element(*state, rapt_grad(y), i), (1 + i) * (1 + 10 * i), 0);
    }
    assert_null(rapt_grad(o));
    rapt_tensor_release(o);
    rapt_tensor_release(seed);
    rapt_tensor_release(x);
    rapt_tensor_release(y);
}

/* x used twice in one call, and again in another: (x x) x + ... by accumulation. */
static void one_tensor_many_uses(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(2), 2, 1), *seed = ramp(*state, SHAPE(2), 1, 0);
    rapt_tensor *square = mul(*state, x, x), *cube = mul(*state, square, x);
    rapt_tensor *sixth = mul(*state, cube, cube);
    backward(*state, sixth, seed, false);
    assert_float_equal(element(*state, rapt_grad(x), 0), 6 * 32, 0);
    assert_float_equal(element(*state, rapt_grad(x), 1), 6 * 243, 0);
    rapt_tensor_release(square);
    rapt_tensor_release(cube);
    rapt_tensor_release(sixth);
    rapt_tensor_release(seed);
    rapt_tensor_release(x);
}

/* A second backward adds to the gradient, in the same memory. */
static void gradients_accumulate(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = leaf(*state, SHAPE(2), 2, 1), *seed = ramp(*state, SHAPE(2), 1, 0);
    rapt_tensor *o = call1(*state, "t.square", "x", x);
    backward(*state, o, seed, true);
    rapt_tensor *grad = rapt_grad(x);
    const void *memory = rapt_view_data(rapt_tensor_view(grad));
    backward(*state, o, seed, false);
    assert_ptr_equal(rapt_grad(x), grad);
    assert_ptr_equal(rapt_view_data(rapt_tensor_view(grad)), memory);
    assert_float_equal(element(*state, grad, 1), 2 * 2 * 3, 0);
    assert_int_equal(rapt_backward(*state, o, seed, false, &error), RAPT_INVALID);
    expect_error(&error, RAPT_INVALID,
                 "backward: the graph behind t.square was freed by an earlier backward; give that "
                 "one retain_graph to go through it again");
    assert_float_equal(element(*state, grad, 1), 2 * 2 * 3, 0);
    rapt_clear_grad(x);
    assert_null(rapt_grad(x));
    rapt_tensor_release(o);
    rapt_tensor_release(seed);
    rapt_tensor_release(x);
}

static void a_leaf_by_itself(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(2), 2, 1), *seed = ramp(*state, SHAPE(2), 7, 1);
    backward(*state, x, seed, false);
    backward(*state, x, seed, false);
    assert_float_equal(element(*state, rapt_grad(x), 1), 16, 0);
    assert_float_equal(element(*state, seed, 1), 8, 0); /* the seed's memory is not taken */
    rapt_tensor_release(seed);
    rapt_tensor_release(x);
}

static void outputs_kept_and_saved(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(1), 0.5f, 0);
    rapt_tensor *e = call1(*state, "t.exp", "x", x), *o = call1(*state, "t.square", "x", e);
    backward(*state, o, NULL, false);
    assert_float_equal(element(*state, rapt_grad(x), 0), 2 * expf(1.0f), 1e-5);
    rapt_tensor_release(e);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
}

/* Several outputs; only some of them, or none but the second, are differentiated. */
static void several_outputs(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = leaf(*state, SHAPE(1), 3, 0);
    const rapt_named_tensor input = {"x", x};
    rapt_named_tensor out[] = {{"o", NULL}, {"extra", NULL}, {"count", NULL}};
    must(rapt_call_operator(*state, "t.split", &input, 1, NULL, 0, out, 3, &error), &error);
    assert_false(rapt_requires_grad(out[2].tensor));
    rapt_tensor *both = mul(*state, out[0].tensor, out[1].tensor);
    backward(*state, both, NULL, true);
    assert_float_equal(element(*state, rapt_grad(x), 0), -6, 0);
    backward(*state, out[1].tensor, NULL, false);
    assert_float_equal(element(*state, rapt_grad(x), 0), -7, 0);
    rapt_tensor_release(both);
    for (int i = 0; i < 3; i++)
        rapt_tensor_release(out[i].tensor);
    rapt_tensor_release(x);
}

static void through_layouts(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = leaf(*state, SHAPE(2, 3), 1, 1);
    rapt_tensor *turned = rapt_transpose(*state, x, 0, 1, &error);
    rapt_tensor *o = call1(*state, "t.square", "x", turned);
    rapt_tensor *seed_turned = ramp(*state, SHAPE(2, 3), 0, 1);
    rapt_tensor *seed = rapt_transpose(*state, seed_turned, 0, 1, &error);
    backward(*state, o, seed, false);
    for (int i = 0; i < 6; i++)
        assert_float_equal(element(*state, rapt_grad(x), i), 2 * (1 + i) * i, 0);
    assert_true(rapt_tensor_is_contiguous(rapt_grad(x)));
    rapt_tensor_release(seed);
    rapt_tensor_release(seed_turned);
    rapt_tensor_release(o);
    rapt_tensor_release(turned);
    rapt_tensor_release(x);
}

static void halves(void **state)
{
    rapt_error error = {0};
    static const rapt_dtype dtypes[] = {RAPT_F16, RAPT_BF16, RAPT_F64};
    for (int k = 0; k < 3; k++) {
        rapt_tensor *f = ramp(*state, SHAPE(3), 1, 1);
        rapt_tensor *x = rapt_to(*state, f, dtypes[k], CPU, &error);
        must(rapt_set_requires_grad(x, true, &error), &error);
        for (int round = 1; round <= 2; round++) {
            rapt_tensor *wide = rapt_to(*state, x, RAPT_F32, CPU, &error);
            rapt_tensor *o = mul(*state, wide, wide), *seed = ramp(*state, SHAPE(3), 1, 0);
            backward(*state, o, seed, false);
            assert_int_equal(rapt_tensor_dtype(rapt_grad(x)), dtypes[k]);
            assert_float_equal(element(*state, rapt_grad(x), 2), 6 * round, 0);
            rapt_tensor_release(seed);
            rapt_tensor_release(o);
            rapt_tensor_release(wide);
        }
        rapt_tensor_release(x);
        rapt_tensor_release(f);
    }
}

/* --- What is not differentiated --------------------------------------------------------------- */

static void recording_off(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(1), 3, 0);
    assert_true(rapt_set_recording(*state, false));
    rapt_tensor *o = call1(*state, "t.square", "x", x);
    assert_false(rapt_set_recording(*state, true));
    assert_false(rapt_requires_grad(o));
    assert_true(rapt_is_leaf(o));
    refuses(*state, o, NULL, RAPT_INVALID,
            "backward: the tensor does not require a gradient: it was made from tensors that do "
            "not, or with recording off");
    rapt_tensor *same = rapt_detach(x, NULL), *p = mul(*state, same, x);
    backward(*state, p, NULL, false);
    assert_float_equal(element(*state, rapt_grad(x), 0), 3, 0);
    rapt_tensor_release(p);
    rapt_tensor_release(same);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
}

static void operators_without_backward(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(1, 2), 3, 1);
    rapt_tensor *f = call1(*state, "t.floor", "x", x), *o = call1(*state, "t.square", "x", f);
    assert_true(rapt_requires_grad(o));
    rapt_tensor *seed = ramp(*state, SHAPE(1, 2), 1, 0);
    refuses(*state, o, seed, RAPT_UNSUPPORTED, "t.floor has no backward");
    assert_null(rapt_grad(x));
    rapt_tensor *i = call1(*state, "t.argmax", "x", x);
    assert_false(rapt_requires_grad(i));
    refuses(*state, i, NULL, RAPT_UNSUPPORTED, "t.argmax has no backward");
    rapt_tensor_release(i);
    rapt_tensor_release(seed);
    rapt_tensor_release(f);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
}

static void leaves_and_flags(void **state)
{
    rapt_error error = {0};
    rapt_tensor *i = rapt_tensor_zeros(*state, RAPT_I64, CPU, SHAPE(2), &error);
    assert_int_equal(rapt_set_requires_grad(i, true, &error), RAPT_INVALID);
    expect_error(&error, RAPT_INVALID,
                 "requires_grad: only tensors of a float dtype have gradients; this is i64");
    must(rapt_set_requires_grad(i, false, &error), &error);
    rapt_tensor *x = leaf(*state, SHAPE(2), 0, 1), *o = call1(*state, "t.square", "x", x);
    must(rapt_set_requires_grad(o, true, &error), &error);
    assert_int_equal(rapt_set_requires_grad(o, false, &error), RAPT_INVALID);
    must(rapt_set_requires_grad(x, false, &error), &error);
    assert_false(rapt_requires_grad(x));
    rapt_tensor_release(o);
    rapt_tensor_release(x);
    rapt_tensor_release(i);
}

static void seeds(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = leaf(*state, SHAPE(2, 3), 0, 1), *o = call1(*state, "t.square", "x", x);
    refuses(*state, o, NULL, RAPT_INVALID,
            "backward: the tensor is [2,3]; without a seed it must have one element");
    rapt_tensor *seed = ramp(*state, SHAPE(3, 2), 0, 1);
    refuses(*state, o, seed, RAPT_INVALID, "backward: the seed is [3,2]; the tensor is [2,3]");
    rapt_tensor *half = rapt_to(*state, x, RAPT_F16, CPU, &error);
    refuses(*state, o, half, RAPT_INVALID,
            "backward: the seed is f16 on cpu; the tensor is f32 on cpu");
    rapt_tensor_release(half);
    rapt_tensor_release(seed);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
}

static void kernels_that_fail_in_backward(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = leaf(*state, SHAPE(1), 3, 0);
    const rapt_named_tensor input = {"x", x};
    const rapt_named_value how = {.name = "how", .type = RAPT_ATTR_CHOICE, .text = "backward"};
    rapt_named_tensor out = {0};
    must(rapt_call_operator(*state, "t.fail", &input, 1, &how, 1, &out, 1, &error), &error);
    rapt_tensor *both = mul(*state, out.tensor, x);
    refuses(*state, both, NULL, RAPT_INTERNAL, "t.fail: in backward: no gradient today");
    assert_null(rapt_grad(x));
    rapt_tensor_release(both);
    rapt_tensor_release(out.tensor);
    rapt_tensor_release(x);
}

/* --- In place --------------------------------------------------------------------------------- */

static void bump(rapt_context *context, rapt_tensor *x, rapt_status status, const char *text)
{
    rapt_error error = {0};
    const rapt_named_tensor input = {"x", x};
    assert_int_equal(rapt_call_operator(context, "t.bump", &input, 1, NULL, 0, NULL, 0, &error),
                     status);
    assert_string_equal(error.message, text);
}

static void changes_in_place(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(1), 3, 0), *y = ramp(*state, SHAPE(1), 4, 0);
    bump(*state, x, RAPT_INVALID,
         "t.bump: x requires its gradient: write it in place with recording off (no_grad)");
    rapt_tensor *o = mul(*state, x, y);
    bump(*state, o, RAPT_INVALID,
         "t.bump: x is the result of a recorded call (of t.mul): it cannot be written in place; "
         "detach it first");
    bump(*state, y, RAPT_OK, "");
    refuses(
        *state, o, NULL, RAPT_INVALID,
        "backward: y was changed in place after it was used by t.mul, which needs it as it was");
    rapt_tensor_release(o);
    /* What backward does not read may change. */
    o = call1(*state, "t.square", "x", x);
    rapt_set_recording(*state, false);
    bump(*state, x, RAPT_OK, "");
    rapt_set_recording(*state, true);
    backward(*state, o, NULL, false);
    assert_float_equal(element(*state, rapt_grad(x), 0), 6, 0);
    rapt_tensor_release(o);
    /* Views count as the memory they show. */
    rapt_tensor *wide = ramp(*state, SHAPE(4), 0, 1);
    rapt_tensor *part = rapt_narrow(*state, wide, 0, 0, 1, NULL);
    o = mul(*state, x, part);
    bump(*state, wide, RAPT_OK, "");
    refuses(
        *state, o, NULL, RAPT_INVALID,
        "backward: y was changed in place after it was used by t.mul, which needs it as it was");
    rapt_tensor_release(o);
    rapt_tensor_release(part);
    rapt_tensor_release(wide);
    rapt_tensor_release(x);
    rapt_tensor_release(y);
}

/* --- Depth and memory ------------------------------------------------------------------------- */

static rapt_tensor *chain(rapt_context *context, rapt_tensor *x, rapt_tensor *y, int n)
{
    rapt_tensor *o = rapt_tensor_retain(x);
    for (int i = 0; i < n; i++) {
        rapt_tensor *next = mul(context, o, y);
        rapt_tensor_release(o);
        o = next;
    }
    return o;
}

static void deep_graphs(void **state)
{
    const int64_t before = rapt_memory_usage().current;
    rapt_tensor *x = leaf(*state, SHAPE(1), 3, 0), *y = leaf(*state, SHAPE(1), 1, 0);
    rapt_tensor *o = chain(*state, x, y, 100000);
    backward(*state, o, NULL, true);
    assert_float_equal(element(*state, rapt_grad(x), 0), 1, 0);
    assert_float_equal(element(*state, rapt_grad(y), 0), 300000, 0);
    rapt_tensor_release(o); /* all of it, from the end */
    o = chain(*state, x, y, 100000);
    backward(*state, o, NULL, false);
    assert_float_equal(element(*state, rapt_grad(x), 0), 2, 0);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
    rapt_tensor_release(y);
    assert_int_equal(rapt_memory_usage().current, before);
}

/* What forward saved goes as backward passes. */
static void memory_is_freed_on_the_way(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(1000), 1, 0), *seed = ramp(*state, SHAPE(1000), 1, 0);
    const int64_t before = rapt_memory_usage().current;
    rapt_tensor *o = rapt_tensor_retain(x);
    for (int i = 0; i < 50; i++) {
        rapt_tensor *next = call1(*state, "t.square", "x", o);
        rapt_tensor_release(o);
        o = next;
    }
    assert_int_equal(rapt_memory_usage().current, before + 51 * 4000);
    rapt_memory_reset_peak();
    backward(*state, o, seed, false);
    assert_true(rapt_memory_usage().peak <= before + 54 * 4000);
    assert_int_equal(rapt_memory_usage().current, before + 2 * 4000); /* o, and the gradient */
    rapt_tensor_release(o);
    rapt_tensor_release(seed);
    rapt_tensor_release(x);
}

/* Many paths that join again: 2^40 of them, each node visited once. */
static void many_paths(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(1), 1, 0), *o = rapt_tensor_retain(x);
    for (int i = 0; i < 40; i++) {
        rapt_tensor *next = mul(*state, o, o);
        rapt_tensor_release(o);
        o = next;
    }
    backward(*state, o, NULL, false);
    assert_float_equal(element(*state, rapt_grad(x), 0), 1099511627776.0, 0);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
}

/* --- Faults ----------------------------------------------------------------------------------- */

static void backward_without_memory(void **state)
{
    rapt_tensor *x = leaf(*state, SHAPE(2, 3), 1, 0.1f), *seed = ramp(*state, SHAPE(3, 2), 1, 1);
    rapt_tensor *warm = call1(*state, "t.exp", "x", x);
    rapt_tensor_release(warm);
    float before[6], after[6];
    backward(*state, x, x, false); /* there is a gradient already */
    FAULT_EACH(FAULT_MEMORY)
    {
        rapt_error error = {0};
        fault_pause();
        rapt_tensor *turned = rapt_transpose(*state, x, 0, 1, NULL);
        rapt_tensor *e = call1(*state, "t.exp", "x", turned);
        rapt_tensor *s = call1(*state, "t.square", "x", e), *o = mul(*state, s, e);
        read_floats(*state, rapt_grad(x), before);
        fault_resume();
        if (rapt_backward(*state, o, seed, false, &error) != RAPT_OK) {
            fault_expect_error(&error);
            assert_int_equal(error.status, RAPT_NO_MEMORY);
            fault_pause();
            read_floats(*state, rapt_grad(x), after);
            assert_memory_equal(before, after, sizeof before);
            fault_resume();
        }
        fault_pause();
        rapt_tensor_release(turned);
        rapt_tensor_release(e);
        rapt_tensor_release(s);
        rapt_tensor_release(o);
        fault_resume();
    }
    assert_true(fault_rounds() > 10);
    FAULT_EACH(FAULT_MEMORY)
    {
        rapt_error error = {0};
        const rapt_named_tensor input = {"x", x};
        rapt_named_tensor out = {0};
        if (rapt_call_operator(*state, "t.exp", &input, 1, NULL, 0, &out, 1, &error) != RAPT_OK)
            fault_expect_error(&error);
        rapt_tensor_release(out.tensor);
    }
    rapt_tensor_release(seed);
    rapt_tensor_release(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(product_rule, setup, teardown),
        cmocka_unit_test_setup_teardown(one_tensor_many_uses, setup, teardown),
        cmocka_unit_test_setup_teardown(gradients_accumulate, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leaf_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(outputs_kept_and_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(several_outputs, setup, teardown),
        cmocka_unit_test_setup_teardown(through_layouts, setup, teardown),
        cmocka_unit_test_setup_teardown(halves, setup, teardown),
        cmocka_unit_test_setup_teardown(recording_off, setup, teardown),
        cmocka_unit_test_setup_teardown(operators_without_backward, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_and_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(seeds, setup, teardown),
        cmocka_unit_test_setup_teardown(kernels_that_fail_in_backward, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(deep_graphs, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_freed_on_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(many_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(backward_without_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("autograd", tests, NULL, NULL);
}
