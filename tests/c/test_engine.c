/* The engine: contexts, devices, tensors, calls, choice of kernels, messages, memory. */
#include "engine_ops.h"
#include "fault.h"
#include "tensor/convert.h"
#include <pthread.h>

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

/* --- Contexts and devices --------------------------------------------------------------------- */

static void tensors_outlive_their_context(void **state)
{
    (void)state;
    rapt_context *context = open_context();
    rapt_tensor *small = ramp(context, SHAPE(2, 3), 0, 1);
    rapt_tensor *large = ramp(context, SHAPE(300, 300), 0, 1);
    must(rapt_set_requires_grad(small, true, NULL), NULL);
    rapt_tensor *square = call1(context, "t.square", "x", small);
    rapt_close(context);
    assert_float_equal(((float *)rapt_view_data(rapt_tensor_view(square)))[5], 25, 0);
    rapt_tensor_release(small);
    rapt_tensor_release(large);
    rapt_tensor_release(square);
}

static void options_of_another_size(void **state)
{
    (void)state;
    rapt_error error = {0};
    rapt_options options = {.size = offsetof(rapt_options, log)};
    options.no_plugins = true;
    options.log = (void (*)(void *, rapt_log_level, const char *))(uintptr_t)1; /* not read */
    rapt_context *context = rapt_open(&options, &error);
    assert_non_null(context);
    rapt_close(context);
    rapt_close(NULL);
}

static void unknown_device(void **state)
{
    rapt_error error = {0};
    const rapt_device gpu = {2, 0};
    assert_null(rapt_tensor_empty(*state, RAPT_F32, gpu, SHAPE(2), &error));
    assert_int_equal(error.status, RAPT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "there are cpu"));
    assert_int_equal(rapt_synchronize(*state, gpu, NULL), RAPT_UNSUPPORTED);
    must(rapt_synchronize(*state, CPU, &error), &error);
    rapt_device_info info;
    must(rapt_device_at(*state, 0, &info), NULL);
    assert_string_equal(info.name, "cpu");
    assert_true(info.available);
    assert_int_equal(rapt_device_at(*state, rapt_device_count(*state), &info), RAPT_NOT_FOUND);
}

static void operator_names(void **state)
{
    rapt_error error = {0};
    const char **names = rapt_operator_names(*state, false, &error);
    assert_non_null(names);
    bool mul = false;
    for (const char **name = names; *name; name++) {
        mul |= strcmp(*name, "t.mul") == 0;
        assert_int_not_equal(strncmp(*name, "core.", 5), 0);
        assert_true(name == names || strcmp(name[-1], *name) < 0);
    }
    assert_true(mul);
    free(names);
    names = rapt_operator_names(*state, true, &error);
    bool add = false;
    for (const char **name = names; *name; name++)
        add |= strcmp(*name, "core.add") == 0;
    assert_true(add);
    free(names);
    assert_string_equal(rapt_find_operator(*state, "t.mul", &error)->name, "t.mul");
    assert_null(rapt_find_operator(*state, "t.mull", &error));
    assert_int_equal(error.status, RAPT_NOT_FOUND);
    assert_non_null(strstr(error.message, "t.mul"));
}

/* --- Tensors ---------------------------------------------------------------------------------- */

static void shapes_too_large(void **state)
{
    rapt_error error = {0};
    assert_null(rapt_tensor_zeros(*state, RAPT_F32, CPU, SHAPE(INT64_MAX, 2), &error));
    assert_int_equal(error.status, RAPT_INVALID);
    assert_null(rapt_tensor_zeros(*state, RAPT_F32, CPU, SHAPE(-1), &error));
    assert_int_equal(error.status, RAPT_INVALID);
    assert_null(rapt_tensor_empty(*state, RAPT_U8, CPU, SHAPE((int64_t)1 << 62), &error));
    assert_int_equal(error.status, RAPT_NO_MEMORY);
}

static void from_and_read(void **state)
{
    rapt_error error = {0};
    const int64_t values[] = {1, -2, INT64_MAX, INT64_MIN, 0, 7};
    rapt_tensor *t = rapt_tensor_from(*state, RAPT_I64, SHAPE(2, 3), values, &error);
    assert_non_null(t);
    assert_int_equal((uintptr_t)rapt_view_data(rapt_tensor_view(t)) % 64, 0);
    rapt_tensor *turned = rapt_transpose(*state, t, 0, 1, &error);
    int64_t out[6];
    must(rapt_read(*state, turned, out, sizeof out, &error), &error);
    const int64_t expected[] = {1, INT64_MIN, -2, 0, INT64_MAX, 7};
    assert_memory_equal(out, expected, sizeof out);
    assert_int_equal(rapt_read(*state, turned, out, 8, &error), RAPT_INVALID);
    assert_string_equal(error.message, "read: the tensor has 48 bytes; room for 8 was given");
    rapt_tensor_release(turned);
    rapt_tensor_release(t);
    t = rapt_tensor_zeros(*state, RAPT_F16, CPU, SHAPE(0, 4), &error);
    assert_non_null(t);
    must(rapt_read(*state, t, NULL, 0, &error), &error);
    rapt_tensor_release(t);
}

static void filling(void **state)
{
    rapt_error error = {0};
    static const rapt_dtype dtypes[] = {RAPT_F32, RAPT_F16, RAPT_BF16, RAPT_F64};
    rapt_seed(*state, 7);
    rapt_tensor *first = ramp(*state, SHAPE(100, 101), 0, 0);
    must(rapt_fill_normal(*state, first, &error), &error);
    float *whole = malloc(100 * 101 * sizeof *whole), *other = malloc(100 * 101 * sizeof *other);
    read_floats(*state, first, whole);
    rapt_tensor_release(first);
    for (size_t k = 0; k < 4; k++) {
        rapt_seed(*state, 7);
        rapt_tensor *turned = rapt_tensor_empty(*state, dtypes[k], CPU, SHAPE(101, 100), &error);
        rapt_tensor *t = rapt_transpose(*state, turned, 0, 1, &error);
        must(rapt_fill_normal(*state, t, &error), &error);
        read_floats(*state, t, other);
        for (int i = 0; i < 100 * 101; i++)
            assert_float_equal(other[i], whole[i], dtypes[k] == RAPT_BF16 ? 0.02 : 0.002);
        rapt_tensor_release(t);
        rapt_tensor_release(turned);
    }
    /* The counter goes on from fill to fill. */
    rapt_seed(*state, 7);
    rapt_tensor *a = random_tensor(*state, SHAPE(5)), *b = random_tensor(*state, SHAPE(3));
    assert_float_equal(element(*state, a, 4), whole[4], 0);
    assert_float_equal(element(*state, b, 2), whole[7], 0);
    rapt_tensor *u8 = rapt_tensor_empty(*state, RAPT_U8, CPU, SHAPE(1000), &error);
    must(rapt_fill_integers(*state, u8, 250, 256, &error), &error);
    for (int i = 0; i < 1000; i++)
        assert_in_range(((uint8_t *)rapt_view_data(rapt_tensor_view(u8)))[i], 250, 255);
    assert_int_equal(rapt_fill_integers(*state, u8, 0, 257, &error), RAPT_INVALID);
    assert_string_equal(error.message, "fill_integers: [0, 257) does not fit u8");
    assert_int_equal(rapt_fill_integers(*state, u8, 3, 3, &error), RAPT_INVALID);
    assert_int_equal(rapt_fill_uniform(*state, u8, &error), RAPT_INVALID);
    must(rapt_fill(*state, u8, 9, &error), &error);
    assert_int_equal(((uint8_t *)rapt_view_data(rapt_tensor_view(u8)))[999], 9);
    rapt_tensor *i64 = rapt_tensor_empty(*state, RAPT_I64, CPU, SHAPE(64), &error);
    must(rapt_fill_integers(*state, i64, INT64_MIN, INT64_MAX, &error), &error);
    int negative = 0;
    for (int i = 0; i < 64; i++)
        negative += ((int64_t *)rapt_view_data(rapt_tensor_view(i64)))[i] < 0;
    assert_in_range(negative, 16, 48);
    rapt_tensor_release(a);
    rapt_tensor_release(b);
    rapt_tensor_release(u8);
    rapt_tensor_release(i64);
    free(whole);
    free(other);
}

/* --- Calls ------------------------------------------------------------------------------------ */

static void a_call(void **state)
{
    rapt_tensor *x = ramp(*state, SHAPE(2, 3), 1, 1), *y = ramp(*state, SHAPE(2, 3), 0, 2);
    rapt_tensor *o = call2(*state, "t.mul", "x", x, "y", y);
    for (int i = 0; i < 6; i++)
        assert_float_equal(element(*state, o, i), (1 + i) * 2 * i, 0);
    assert_false(rapt_requires_grad(o));
    rapt_tensor *sum = call2(*state, "core.add", "a", x, "b", y);
    for (int i = 0; i < 6; i++)
        assert_float_equal(element(*state, sum, i), 1 + 3 * i, 0);
    rapt_tensor_release(sum);
    rapt_tensor_release(o);
    rapt_tensor_release(x);
    rapt_tensor_release(y);
}

static void layouts(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(2, 3, 4), 0, 1);
    rapt_tensor *inner = rapt_transpose(*state, x, 1, 2, &error);
    rapt_tensor *outer = rapt_transpose(*state, x, 0, 1, &error);
    const char *const ops[] = {"t.square", "t.exp"};
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < 2; j++) {
            rapt_tensor *in = j ? inner : outer, *o = call1(*state, ops[k], "x", in);
            for (int i = 0; i < 24; i++) {
                const float v = element(*state, in, i);
                assert_float_equal(element(*state, o, i), k ? expf(v) : v * v, 0);
            }
            rapt_tensor_release(o);
        }
    char *text =
        rapt_explain(*state, "t.square", &(rapt_named_tensor){"x", inner}, 1, NULL, 0, &error);
    assert_string_equal(text, "t.square on cpu with f32\n"
                              "  cpu: would run (priority 0)\n"
                              "  x is copied first: the kernel takes tensors whose last dimension "
                              "is contiguous\n"
                              "  backward: cpu, as forward\n");
    free(text);
    rapt_tensor_release(inner);
    rapt_tensor_release(outer);
    rapt_tensor_release(x);
}

static void outputs_by_name(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(3), 1, 1);
    const rapt_named_tensor input = {"x", x};
    rapt_named_tensor out[] = {{"count", NULL}, {"extra", NULL}, {NULL, NULL}, {"o", NULL}};
    must(rapt_call_operator(*state, "t.split", &input, 1, NULL, 0, out, 4, &error), &error);
    assert_ptr_equal(out[2].tensor, out[3].tensor);
    int64_t count;
    must(rapt_read(*state, out[0].tensor, &count, sizeof count, &error), &error);
    assert_int_equal(count, 3);
    assert_float_equal(element(*state, out[1].tensor, 2), -3, 0);
    for (int i = 0; i < 4; i++)
        rapt_tensor_release(out[i].tensor);
    rapt_named_tensor wrong = {"extras", NULL};
    assert_int_equal(rapt_call_operator(*state, "t.split", &input, 1, NULL, 0, &wrong, 1, &error),
                     RAPT_INVALID);
    assert_string_equal(error.message, "t.split: no output \"extras\"; there are o, extra, count");
    assert_null(wrong.tensor);
    rapt_tensor_release(x);
}

static void choose(rapt_context *context, rapt_tensor *x, const char *want, float priority)
{
    rapt_error error = {0};
    const rapt_named_tensor input = {"x", x};
    const rapt_named_value attr = {.name = "want", .type = RAPT_ATTR_CHOICE, .text = want};
    rapt_named_tensor out = {0};
    must(rapt_call_operator(context, "t.choose", &input, 1, &attr, 1, &out, 1, &error), &error);
    assert_float_equal(element(context, out.tensor, 0), priority, 0);
    rapt_tensor_release(out.tensor);
}

static void choice_of_kernel(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(3), 1, 1);
    choose(*state, x, "any", 30);
    choose(*state, x, "low", 1);
    choose(*state, x, "middle", 20);
    const rapt_named_tensor input = {"x", x};
    rapt_named_value attr = {.name = "want", .type = RAPT_ATTR_CHOICE, .text = "low"};
    char *text = rapt_explain(*state, "t.choose", &input, 1, &attr, 1, &error);
    assert_string_equal(text, "t.choose on cpu with f32\n"
                              "  low: would run (priority 1)\n"
                              "  high: no: wants to be low\n"
                              "  middle: no: wants to be low\n"
                              "  elsewhere: no: is for vulkan; the tensors are on cpu\n"
                              "  half: no: takes f16; this is f32\n"
                              "  it has no backward\n");
    free(text);
    attr.text = "any";
    text = rapt_explain(*state, "t.choose", &input, 1, &attr, 1, &error);
    assert_non_null(
        strstr(text, "  low: could, but high (priority 30) goes before it (priority 1)\n"));
    free(text);
    attr.text = "none";
    rapt_named_tensor out = {0};
    error = (rapt_error){0};
    rapt_call_operator(*state, "t.choose", &input, 1, &attr, 1, &out, 1, &error);
    expect_error(&error, RAPT_UNSUPPORTED,
                 "t.choose: no kernel can run on cpu with f32: low wants to be none; high wants to "
                 "be none; middle wants to be none; elsewhere is for vulkan; the tensors are on "
                 "cpu; half takes f16; this is f32");
    rapt_tensor_release(x);
}

static void failures_are_worded(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(3), 1, 1);
    const rapt_named_tensor input = {"x", x};
    rapt_named_value how = {.name = "how", .type = RAPT_ATTR_CHOICE, .text = "message"};
    rapt_named_tensor out = {0};
    const int64_t before = rapt_memory_usage().current;
    assert_int_equal(rapt_call_operator(*state, "t.fail", &input, 1, &how, 1, &out, 1, &error),
                     RAPT_UNSUPPORTED);
    expect_error(&error, RAPT_UNSUPPORTED, "t.fail: first reason 7");
    how.text = "silent";
    rapt_call_operator(*state, "t.fail", &input, 1, &how, 1, &out, 1, &error);
    expect_error(&error, RAPT_UNSUPPORTED,
                 "t.fail: kernel cpu failed without saying why (status 2)");
    how.text = "scratch";
    rapt_call_operator(*state, "t.fail", &input, 1, &how, 1, &out, 1, &error);
    assert_int_equal(error.status, RAPT_NO_MEMORY);
    assert_non_null(strstr(error.message, "t.fail: out of memory"));
    how.text = "status";
    rapt_call_operator(*state, "t.fail", &input, 1, &how, 1, &out, 1, &error);
    expect_error(&error, RAPT_INTERNAL, "t.fail: kernel cpu failed without saying why (status 99)");
    assert_int_equal(rapt_call_operator(*state, "t.fail", &input, 1, &how, 1, &out, 1, NULL),
                     RAPT_INTERNAL);
    assert_null(out.tensor);
    assert_int_equal(rapt_memory_usage().current, before);
    rapt_tensor *half = rapt_to(*state, x, RAPT_F64, CPU, &error);
    const rapt_named_tensor other = {"x", half};
    assert_int_not_equal(rapt_call_operator(*state, "t.fail", &other, 1, NULL, 0, &out, 1, &error),
                         RAPT_OK);
    assert_non_null(strstr(error.message, "f64"));
    rapt_tensor_release(half);
    rapt_tensor_release(x);
}

static void in_place(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(2, 3), 0, 1);
    rapt_tensor *turned = rapt_transpose(*state, x, 0, 1, &error);
    const rapt_named_tensor input = {"x", turned};
    must(rapt_call_operator(*state, "t.bump", &input, 1, NULL, 0, NULL, 0, &error), &error);
    for (int i = 0; i < 6; i++)
        assert_float_equal(element(*state, x, i), i + 1, 0);
    rapt_tensor *wide = rapt_narrow(*state, x, 1, 0, 1, &error);
    rapt_tensor *expanded = rapt_expand(*state, wide, SHAPE(2, 5), &error);
    const rapt_named_tensor shared = {"x", expanded};
    assert_int_equal(rapt_call_operator(*state, "t.bump", &shared, 1, NULL, 0, NULL, 0, &error),
                     RAPT_INVALID);
    assert_string_equal(error.message,
                        "t.bump: x is written in place but its elements share memory "
                        "(it is expanded along dimension 2)");
    assert_float_equal(element(*state, x, 0), 1, 0);
    rapt_tensor_release(expanded);
    rapt_tensor_release(wide);
    rapt_tensor_release(turned);
    rapt_tensor_release(x);
}

static void weights_where_there_are_none(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(3), 1, 1);
    const rapt_named_tensor input = {"x", x};
    assert_null(rapt_weights(*state, "t.mul", &input, 1, NULL, 0, &error));
    assert_string_equal(error.message, "t.mul: has no matrix of weights");
    rapt_tensor_release(x);
}

/* --- Threads ---------------------------------------------------------------------------------- */

/* A context of its own, the process's devices and kept blocks shared. */
static void *use_a_context(void *result)
{
    const rapt_options options = {.size = sizeof options, .no_plugins = true};
    const int64_t large = 40000;
    *(bool *)result = true;
    for (int round = 0; round < 20; round++) {
        rapt_context *context = rapt_open(&options, NULL);
        rapt_tensor *x = rapt_tensor_empty(context, RAPT_F32, CPU, 1, &large, NULL);
        bool fine = rapt_fill(context, x, round, NULL) == RAPT_OK &&
                    rapt_set_requires_grad(x, true, NULL) == RAPT_OK;
        const rapt_named_tensor inputs[] = {{"a", x}, {"b", x}};
        rapt_named_tensor out = {0};
        fine = fine && rapt_call_operator(context, "core.mul", inputs, 2, NULL, 0, &out, 1, NULL) ==
                           RAPT_OK;
        fine = fine && rapt_backward(context, out.tensor, x, false, NULL) == RAPT_OK;
        fine = fine && ((float *)rapt_view_data(rapt_tensor_view(rapt_grad(x))))[large - 1] ==
                           (float)(2 * round * round);
        rapt_close(context);
        rapt_tensor_release(out.tensor);
        rapt_tensor_release(x);
        *(bool *)result = *(bool *)result && fine;
    }
    return NULL;
}

static void contexts_on_many_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    bool fine[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_a_context, &fine[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(fine[i]);
    }
}

/* --- The log ---------------------------------------------------------------------------------- */

static char logged[200];

static void keep_line(void *user, rapt_log_level level, const char *line)
{
    snprintf(logged, sizeof logged, "%s %d %s", (const char *)user, (int)level, line);
}

static void lines_of_the_log(void **state)
{
    (void)state;
    const rapt_options options = {
        .size = sizeof options, .no_plugins = true, .log = keep_line, .user = (void *)"me"};
    rapt_context *context = rapt_open(&options, NULL);
    rapt_run run = {.context = context};
    rapt_call call = {.size = sizeof call, .internal = &run};
    rapt_host_table.log(&call, RAPT_LOG_WARNING, "two\nlines %d", 2);
    assert_string_equal(logged, "me 2 two lines 2");
    rapt_loading = context;
    rapt_host_table.log(NULL, RAPT_LOG_DEBUG, "loading");
    assert_string_equal(logged, "me 0 loading");
    rapt_loading = NULL;
    rapt_close(context);
}

static void services_by_name(void **state)
{
    (void)state;
    const rapt_random_service *random = rapt_host_table.service("rapt.random", 1);
    float value[2];
    random->uniform(1, 0, 5, 2, value);
    assert_true(value[0] >= 0 && value[0] < 1);
    assert_non_null(rapt_host_table.service("rapt.cpu", 1));
    assert_non_null(rapt_host_table.service("rapt.gemm", 1));
    assert_non_null(rapt_host_table.service("rapt.math", 1));
    assert_null(rapt_host_table.service("rapt.math", 2));
    assert_null(rapt_host_table.service("rapt.random", 2));
    assert_null(rapt_host_table.service("org.example.none", 1));
    assert_null(rapt_host_table.service(NULL, 1));
    assert_true(rapt_host_table.workers() >= 1);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void memory_is_counted(void **state)
{
    rapt_error error = {0};
    const int64_t before = rapt_memory_usage().current;
    rapt_tensor *x = ramp(*state, SHAPE(1000), 0, 0);
    assert_int_equal(rapt_memory_usage().current, before + 4000);
    rapt_memory_reset_peak();
    rapt_tensor *o = call1(*state, "t.exp", "x", x);
    assert_int_equal(rapt_memory_usage().current, before + 8000);
    assert_int_equal(rapt_memory_usage().peak, before + 8000 + 512); /* workspace and scratch */
    rapt_tensor_release(o);
    rapt_tensor_release(x);
    assert_int_equal(rapt_memory_usage().current, before);
    /* Blocks that are kept for the next tensor are in no tensor. */
    const int64_t large = 1 << 20;
    x = rapt_tensor_empty(*state, RAPT_F32, CPU, 1, &large, &error);
    void *address = rapt_view_data(rapt_tensor_view(x));
    rapt_tensor_release(x);
    assert_int_equal(rapt_memory_usage().current, before);
    x = rapt_tensor_empty(*state, RAPT_F32, CPU, 1, &large, &error);
    assert_ptr_equal(address, rapt_view_data(rapt_tensor_view(x)));
    rapt_tensor *y = rapt_tensor_zeros(*state, RAPT_F32, CPU, 1, &large, &error);
    assert_ptr_not_equal(address, rapt_view_data(rapt_tensor_view(y)));
    rapt_tensor_release(x);
    x = rapt_tensor_zeros(*state, RAPT_F32, CPU, 1, &large, &error);
    assert_float_equal(element(*state, x, large - 1), 0, 0);
    rapt_tensor_release(x);
    rapt_tensor_release(y);
}

/* More blocks, and more bytes, than are kept. */
static void kept_blocks_are_bounded(void **state)
{
    rapt_error error = {0};
    rapt_tensor *many[300];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            const int64_t n = RAPT_CACHE_SMALLEST + (int64_t)i * (round ? 8192 : 64);
            many[i] = rapt_tensor_empty(*state, RAPT_U8, CPU, 1, &n, &error);
            assert_non_null(many[i]);
            memset(rapt_view_data(rapt_tensor_view(many[i])), 1, (size_t)n);
        }
        for (int i = 0; i < 300; i++)
            rapt_tensor_release(many[(i * 7) % 300]);
    }
    rapt_devices_trim();
}

static void arena_grows_and_shrinks(void **state)
{
    (void)state;
    rapt_arena arena = {0};
    assert_null(rapt_arena_take(&arena, SIZE_MAX));
    for (int i = 0; i < 100; i++) {
        void *p = rapt_arena_take(&arena, 1000 + (size_t)i);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, i, 1000 + (size_t)i);
    }
    assert_non_null(rapt_arena_take(&arena, RAPT_ARENA_KEPT + 1));
    rapt_arena_reset(&arena);
    assert_true(arena.blocks_bytes <= RAPT_ARENA_KEPT && arena.blocks_bytes > 0);
    assert_int_equal(arena.taken, 0);
    rapt_arena_free(&arena);
}

/* --- Faults ----------------------------------------------------------------------------------- */

static void calls_without_memory(void **state)
{
    rapt_error error;
    rapt_tensor *x = ramp(*state, SHAPE(4, 4), 0, 0.1f);
    rapt_tensor *turned = rapt_transpose(*state, x, 0, 1, NULL);
    rapt_tensor_release(call1(*state, "t.exp", "x", turned)); /* the arena has its block */
    FAULT_EACH(FAULT_MEMORY)
    {
        error = (rapt_error){0};
        const rapt_named_tensor input = {"x", turned};
        rapt_named_tensor out = {0};
        if (rapt_call_operator(*state, "t.exp", &input, 1, NULL, 0, &out, 1, &error) == RAPT_OK)
            rapt_tensor_release(out.tensor);
        else {
            fault_expect_error(&error);
            assert_int_equal(error.status, RAPT_NO_MEMORY);
            assert_null(out.tensor);
        }
    }
    assert_true(fault_rounds() > 4);
    /* Without an error to fill the status is the same. */
    FAULT_EACH(FAULT_MEMORY)
    {
        const rapt_named_tensor input = {"x", turned};
        rapt_named_tensor out = {0};
        const rapt_status status =
            rapt_call_operator(*state, "t.exp", &input, 1, NULL, 0, &out, 1, NULL);
        assert_true(status == RAPT_OK || (fault_struck() && status == RAPT_NO_MEMORY));
        rapt_tensor_release(out.tensor);
    }
    FAULT_EACH(FAULT_MEMORY)
    {
        error = (rapt_error){0};
        char *text =
            rapt_explain(*state, "t.choose", &(rapt_named_tensor){"x", x}, 1, NULL, 0, &error);
        if (!text)
            fault_expect_error(&error);
        free(text);
    }
    rapt_tensor_release(turned);
    rapt_tensor_release(x);
}

static void opening_without_memory(void **state)
{
    (void)state;
    const rapt_options options = {.size = sizeof options, .no_plugins = true};
    FAULT_EACH(FAULT_MEMORY)
    {
        rapt_error error = {0};
        rapt_context *context = rapt_open(&options, &error);
        if (context)
            rapt_close(context);
        else
            fault_expect_error(&error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_outlive_their_context),
        cmocka_unit_test(options_of_another_size),
        cmocka_unit_test_setup_teardown(unknown_device, setup, teardown),
        cmocka_unit_test_setup_teardown(operator_names, setup, teardown),
        cmocka_unit_test_setup_teardown(shapes_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(from_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(filling, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(layouts, setup, teardown),
        cmocka_unit_test_setup_teardown(outputs_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(choice_of_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_are_worded, setup, teardown),
        cmocka_unit_test_setup_teardown(in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_where_there_are_none, setup, teardown),
        cmocka_unit_test(contexts_on_many_threads),
        cmocka_unit_test(lines_of_the_log),
        cmocka_unit_test_setup_teardown(services_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_blocks_are_bounded, setup, teardown),
        cmocka_unit_test(arena_grows_and_shrinks),
        cmocka_unit_test_setup_teardown(calls_without_memory, setup, teardown),
        cmocka_unit_test(opening_without_memory),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
