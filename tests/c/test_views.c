/* Views with gradients, copies between layouts and dtypes. */
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

/* A view of x whose gradient is looked at. */
typedef rapt_tensor *(*view_of)(rapt_context *context, rapt_tensor *x, rapt_error *error);

/* The gradient of sum(w * view(x)) is found by its definition: each element of x, moved by one,
 * changes the view linearly. */
static void check_view(rapt_context *context, view_of view, rapt_dtype dtype, int32_t ndim,
                       const int64_t *shape)
{
    rapt_error error = {0};
    rapt_tensor *base = ramp(context, ndim, shape, 1, 1);
    rapt_tensor *x = rapt_to(context, base, dtype, CPU, &error);
    must(rapt_set_requires_grad(x, true, &error), &error);
    rapt_tensor *o = view(context, x, &error);
    if (!o)
        fail_msg("%s", error.message);
    assert_true(o == x || (rapt_requires_grad(o) && !rapt_is_leaf(o)));
    const rapt_view *ov = rapt_tensor_view(o);
    rapt_tensor *ramped = ramp(context, ov->ndim, ov->shape, 1, 1);
    rapt_tensor *seed = rapt_to(context, ramped, rapt_tensor_dtype(o), CPU, &error);
    must(rapt_backward(context, o, seed, false, &error), &error);
    rapt_tensor *grad = rapt_grad(x);
    assert_non_null(grad);
    assert_int_equal(rapt_tensor_dtype(grad), dtype);
    const int64_t n = rapt_tensor_count(x), m = rapt_tensor_count(o);
    float *w = malloc((size_t)m * sizeof *w), *y = malloc((size_t)m * sizeof *y),
          *moved = malloc((size_t)m * sizeof *moved);
    read_floats(context, seed, w);
    read_floats(context, o, y);
    rapt_set_recording(context, false);
    for (int64_t i = 0; i < n; i++) {
        rapt_tensor *copy = rapt_clone(context, x, &error);
        rapt_tensor *flat = rapt_view_as(context, copy, 1, &n, &error);
        rapt_tensor *one = rapt_narrow(context, flat, 0, i, 1, &error);
        must(rapt_fill(context, one, element(context, x, i) + 1, &error), &error);
        rapt_tensor *after = view(context, copy, &error);
        read_floats(context, after, moved);
        double expected = 0;
        for (int64_t k = 0; k < m; k++)
            expected += (double)w[k] * (moved[k] - y[k]);
        assert_float_equal(element(context, grad, i), expected, 0);
        rapt_tensor_release(after);
        rapt_tensor_release(one);
        rapt_tensor_release(flat);
        rapt_tensor_release(copy);
    }
    rapt_set_recording(context, true);
    free(w);
    free(y);
    free(moved);
    rapt_tensor_release(seed);
    rapt_tensor_release(ramped);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
    rapt_tensor_release(base);
}

static rapt_tensor *select_last(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_select(c, x, -1, 1, e);
}
static rapt_tensor *select_first(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_select(c, x, 0, 1, e);
}
static rapt_tensor *narrow_middle(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_narrow(c, x, 1, 1, 2, e);
}
static rapt_tensor *narrow_to_nothing(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_narrow(c, x, 1, 1, 0, e);
}
static rapt_tensor *transpose_ends(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_transpose(c, x, 0, -1, e);
}
static rapt_tensor *permute_round(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_permute(c, x, 3, (const int32_t[]){2, 0, -2}, e);
}
static rapt_tensor *expand_ones(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_expand(c, x, SHAPE(4, 2, 3, 5), e);
}
static rapt_tensor *expand_kept(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_expand(c, x, SHAPE(-1, 3, -1), e);
}
static rapt_tensor *expand_scalar(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    rapt_tensor *scalar = rapt_view_as(c, x, 0, NULL, e);
    rapt_tensor *o = scalar ? rapt_expand(c, scalar, SHAPE(2, 3), e) : NULL;
    rapt_tensor_release(scalar);
    return o;
}
static rapt_tensor *view_flat(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_view_as(c, x, SHAPE(6, -1), e);
}
static rapt_tensor *reshape_turned(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    rapt_tensor *turned = rapt_transpose(c, x, 0, 2, e);
    rapt_tensor *o = turned ? rapt_reshape(c, turned, SHAPE(-1), e) : NULL;
    rapt_tensor_release(turned);
    return o;
}
static rapt_tensor *contiguous_turned(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    rapt_tensor *turned = rapt_transpose(c, x, 1, 2, e);
    rapt_tensor *o = turned ? rapt_contiguous(c, turned, e) : NULL;
    rapt_tensor_release(turned);
    return o;
}
static rapt_tensor *clone_it(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_clone(c, x, e);
}
static rapt_tensor *to_half(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_to(c, x, RAPT_F16, CPU, e);
}
static rapt_tensor *to_double(rapt_context *c, rapt_tensor *x, rapt_error *e)
{
    return rapt_to(c, x, RAPT_F64, CPU, e);
}

static void gradients_of_views(void **state)
{
    static const rapt_dtype dtypes[] = {RAPT_F32, RAPT_F16, RAPT_BF16};
    for (int k = 0; k < 3; k++) {
        const rapt_dtype d = dtypes[k];
        check_view(*state, select_last, d, SHAPE(2, 3, 4));
        check_view(*state, select_first, d, SHAPE(2, 3, 4));
        check_view(*state, narrow_middle, d, SHAPE(2, 3, 4));
        check_view(*state, narrow_to_nothing, d, SHAPE(2, 3, 4));
        check_view(*state, transpose_ends, d, SHAPE(2, 3, 4));
        check_view(*state, permute_round, d, SHAPE(2, 3, 4));
        check_view(*state, view_flat, d, SHAPE(2, 3, 4));
        check_view(*state, reshape_turned, d, SHAPE(2, 3, 4));
        check_view(*state, contiguous_turned, d, SHAPE(2, 3, 4));
        check_view(*state, clone_it, d, SHAPE(2, 3));
        check_view(*state, to_half, d, SHAPE(2, 3));
        check_view(*state, to_double, d, SHAPE(2, 3));
    }
    check_view(*state, expand_ones, RAPT_F32, SHAPE(2, 1, 5));
    check_view(*state, expand_scalar, RAPT_F32, SHAPE(1, 1));
    check_view(*state, expand_kept, RAPT_F32, SHAPE(2, 1, 4));
}

static void nothing_is_recorded_in_vain(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(2, 3), 0, 1);
    rapt_tensor *a = rapt_select(*state, x, 0, 0, &error);
    assert_false(rapt_requires_grad(a));
    must(rapt_set_requires_grad(x, true, &error), &error);
    rapt_set_recording(*state, false);
    rapt_tensor *b = rapt_select(*state, x, 0, 0, &error);
    rapt_set_recording(*state, true);
    assert_false(rapt_requires_grad(b));
    rapt_tensor *c = rapt_to(*state, x, RAPT_I64, CPU, &error);
    assert_false(rapt_requires_grad(c));
    assert_ptr_equal(rapt_to(*state, x, RAPT_F32, CPU, &error), x);
    assert_ptr_equal(rapt_contiguous(*state, x, &error), x);
    rapt_tensor *d = rapt_detach(x, &error);
    assert_false(rapt_requires_grad(d));
    assert_ptr_equal(rapt_view_data(rapt_tensor_view(d)), rapt_view_data(rapt_tensor_view(x)));
    rapt_tensor_release(x);
    rapt_tensor_release(x);
    rapt_tensor_release(a);
    rapt_tensor_release(b);
    rapt_tensor_release(c);
    rapt_tensor_release(d);
    rapt_tensor_release(x);
}

static void wrong_views(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(2, 3), 0, 1);
    assert_null(rapt_select(*state, x, 2, 0, &error));
    assert_int_equal(error.status, RAPT_INVALID);
    assert_int_equal(strncmp(error.message, "select: ", 8), 0);
    assert_null(strstr(error.message + 8, "select"));
    assert_null(rapt_select(*state, x, 1, 3, &error));
    assert_null(rapt_narrow(*state, x, 1, 2, 2, &error));
    assert_null(rapt_expand(*state, x, SHAPE(2, 4), &error));
    assert_null(rapt_permute(*state, x, 2, (const int32_t[]){0, 0}, &error));
    assert_null(rapt_reshape(*state, x, SHAPE(4), &error));
    rapt_tensor *turned = rapt_transpose(*state, x, 0, 1, &error);
    assert_null(rapt_view_as(*state, turned, SHAPE(6), &error));
    assert_string_equal(error.message,
                        "view: the layout of this [3,2] does not allow [6] without a "
                        "copy; reshape makes one");
    assert_null(rapt_to(*state, x, (rapt_dtype)77, CPU, &error));
    assert_null(rapt_to(*state, x, RAPT_F32, (rapt_device){RAPT_DEVICE_VULKAN, 63}, &error));
    assert_int_equal(error.status, RAPT_UNSUPPORTED);
    rapt_tensor_release(turned);
    rapt_tensor_release(x);
}

static void copying_into(void **state)
{
    rapt_error error = {0};
    rapt_tensor *target = ramp(*state, SHAPE(2, 3), 0, 0), *row = ramp(*state, SHAPE(3), 1, 1);
    must(rapt_copy_into(*state, target, row, &error), &error);
    assert_float_equal(element(*state, target, 5), 3, 0);
    /* Onto itself, turned: as if the source had been copied before. */
    rapt_tensor *square = ramp(*state, SHAPE(3, 3), 0, 1);
    rapt_tensor *turned = rapt_transpose(*state, square, 0, 1, &error);
    must(rapt_copy_into(*state, square, turned, &error), &error);
    assert_float_equal(element(*state, square, 1), 3, 0);
    assert_float_equal(element(*state, square, 3), 1, 0);
    assert_int_equal(rapt_copy_into(*state, row, target, &error), RAPT_INVALID);
    assert_int_equal(strncmp(error.message, "copy_into: ", 11), 0);
    must(rapt_set_requires_grad(target, true, &error), &error);
    assert_int_equal(rapt_copy_into(*state, target, row, &error), RAPT_INVALID);
    assert_string_equal(error.message, "copy_into: the target requires its gradient: write it in "
                                       "place with recording off (no_grad)");
    rapt_set_recording(*state, false);
    must(rapt_copy_into(*state, target, row, &error), &error);
    rapt_set_recording(*state, true);
    rapt_tensor *made = rapt_select(*state, target, 0, 0, &error);
    assert_int_equal(rapt_copy_into(*state, made, row, &error), RAPT_INVALID);
    assert_string_equal(error.message, "copy_into: the target is the result of a recorded call (of "
                                       "select): it cannot be written in place; detach it first");
    rapt_tensor_release(made);
    rapt_tensor_release(turned);
    rapt_tensor_release(square);
    rapt_tensor_release(row);
    rapt_tensor_release(target);
}

/* Large enough that several workers copy. */
static void large_copies(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = random_tensor(*state, SHAPE(3, 301, 257));
    rapt_tensor *turned = rapt_transpose(*state, x, 1, 2, &error);
    rapt_tensor *there = rapt_contiguous(*state, turned, &error);
    rapt_tensor *back = rapt_transpose(*state, there, 1, 2, &error);
    rapt_tensor *again = rapt_contiguous(*state, back, &error);
    assert_memory_equal(rapt_view_data(rapt_tensor_view(again)),
                        rapt_view_data(rapt_tensor_view(x)), 3 * 301 * 257 * sizeof(float));
    rapt_add_into(&again->view, &back->view);
    for (int64_t i = 0; i < 3 * 301 * 257; i += 997)
        assert_float_equal(((float *)rapt_view_data(&again->view))[i],
                           2 * ((float *)rapt_view_data(&x->view))[i], 0);
    rapt_tensor_release(again);
    rapt_tensor_release(back);
    rapt_tensor_release(there);
    rapt_tensor_release(turned);
    rapt_tensor_release(x);
}

static void views_without_memory(void **state)
{
    rapt_tensor *x = ramp(*state, SHAPE(2, 3, 4), 0, 1);
    must(rapt_set_requires_grad(x, true, NULL), NULL);
    static const view_of views[] = {select_last,       narrow_middle, transpose_ends,
                                    permute_round,     view_flat,     reshape_turned,
                                    contiguous_turned, clone_it,      to_half};
    for (size_t k = 0; k < sizeof views / sizeof *views; k++)
        FAULT_EACH(FAULT_MEMORY)
        {
            rapt_error error = {0};
            rapt_tensor *o = NULL;
            o = views[k](*state, x, &error);
            if (!o) {
                fault_expect_error(&error);
                assert_int_equal(error.status, RAPT_NO_MEMORY);
            }
            rapt_tensor_release(o);
        }
    rapt_tensor_release(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gradients_of_views, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_recorded_in_vain, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_views, setup, teardown),
        cmocka_unit_test_setup_teardown(copying_into, setup, teardown),
        cmocka_unit_test_setup_teardown(large_copies, setup, teardown),
        cmocka_unit_test_setup_teardown(views_without_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
