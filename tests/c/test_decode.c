/* Decoding states: steps against forward, forks, cuts, files, faults. */
#include "engine_ops.h"
#include "fault.h"
#include <unistd.h>

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

/* --- A run of attention ----------------------------------------------------------------------- */

enum { B = 2, T = 150, D = 3, E = 2 };

typedef struct attention {
    rapt_context *context;
    const char *op;
    rapt_tensor *q, *k, *v, *slope;
    float whole[B * T * E]; /* forward over all positions, causal */
} attention;

static rapt_tensor *span(const attention *a, rapt_tensor *x, int64_t first, int64_t n)
{
    rapt_error error = {0};
    rapt_tensor *part = rapt_narrow(a->context, x, 1, first, n, &error);
    if (!part)
        fail_msg("%s", error.message);
    return part;
}

static attention begin(rapt_context *context, const char *op)
{
    rapt_error error = {0};
    attention a = {.context = context, .op = op};
    a.q = random_tensor(context, SHAPE(B, T, D));
    a.k = random_tensor(context, SHAPE(B, T, D));
    a.v = random_tensor(context, SHAPE(B, T, E));
    a.slope = rapt_tensor_from(context, RAPT_F32, 0, NULL, &(float){0.5f}, &error);
    const rapt_named_tensor inputs[] = {{"q", a.q}, {"k", a.k}, {"v", a.v}, {"slope", a.slope}};
    const rapt_named_value causal = {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {1}};
    rapt_named_tensor out = {0};
    must(rapt_call_operator(context, op, inputs, 4, &causal, 1, &out, 1, &error), &error);
    read_floats(context, out.tensor, a.whole);
    rapt_tensor_release(out.tensor);
    return a;
}

static void end(attention *a)
{
    rapt_tensor_release(a->q);
    rapt_tensor_release(a->k);
    rapt_tensor_release(a->v);
    rapt_tensor_release(a->slope);
}

static rapt_decoding *prefill(const attention *a, int64_t n, rapt_tensor **output,
                              rapt_error *error)
{
    rapt_tensor *q = span(a, a->q, 0, n), *k = span(a, a->k, 0, n), *v = span(a, a->v, 0, n);
    const rapt_named_tensor inputs[] = {{"v", v}, {"slope", a->slope}, {"k", k}, {"q", q}};
    const rapt_named_value scale = {.name = "scale", .type = RAPT_ATTR_FLOAT, .f = 0.1};
    const rapt_named_value window = {
        .name = "window", .type = RAPT_ATTR_INTS, .count = 2, .i = {4, -1}};
    const rapt_named_value attrs[] = {scale, window};
    rapt_decoding *state = rapt_decode(a->context, a->op, inputs, 4, attrs, 2, output, error);
    rapt_tensor_release(q);
    rapt_tensor_release(k);
    rapt_tensor_release(v);
    return state;
}

static rapt_tensor *try_step(const attention *a, rapt_decoding *state, int64_t i, rapt_error *error)
{
    rapt_tensor *q = span(a, a->q, i, 1), *k = span(a, a->k, i, 1), *v = span(a, a->v, i, 1);
    const rapt_named_tensor inputs[] = {{"q", q}, {"k", k}, {"v", v}};
    rapt_tensor *o = rapt_step(state, inputs, 3, error);
    rapt_tensor_release(q);
    rapt_tensor_release(k);
    rapt_tensor_release(v);
    return o;
}

static void step_as_forward(const attention *a, rapt_decoding *state, int64_t i)
{
    rapt_error error = {0};
    assert_int_equal(rapt_decoding_position(state), i);
    rapt_tensor *o = try_step(a, state, i, &error);
    if (!o)
        fail_msg("%s", error.message);
    for (int b = 0; b < B; b++)
        for (int e = 0; e < E; e++)
            assert_float_equal(element(a->context, o, b * E + e), a->whole[(b * T + i) * E + e],
                               1e-4);
    assert_false(rapt_requires_grad(o));
    rapt_tensor_release(o);
}

static const char *const attend_ops[] = {"t.attend", "t.attend_step"};

static void steps_equal_forward(void **state)
{
    for (int k = 0; k < 2; k++) {
        attention a = begin(*state, attend_ops[k]);
        static const int64_t prefills[] = {0, 1, 63, 64, 65, T - 1};
        for (size_t p = 0; p < sizeof prefills / sizeof *prefills; p++) {
            rapt_error error = {0};
            const int64_t n = prefills[p];
            rapt_tensor *o = NULL;
            rapt_decoding *s = prefill(&a, n, &o, &error);
            if (!s)
                fail_msg("%s", error.message);
            assert_string_equal(rapt_decoding_operator(s), attend_ops[k]);
            assert_int_equal(rapt_tensor_count(o), B * n * E);
            for (int64_t i = 0; i < n; i++)
                assert_float_equal(element(*state, o, i * E), a.whole[i * E], 1e-4);
            rapt_tensor_release(o);
            for (int64_t i = n; i < T; i++)
                step_as_forward(&a, s, i);
            rapt_decoding_free(s);
        }
        end(&a);
    }
}

static void a_step_seldom_allocates_rows(void **state)
{
    attention a = begin(*state, "t.attend_step");
    rapt_error error = {0};
    rapt_decoding *s = prefill(&a, 10, NULL, &error);
    const int64_t bytes = rapt_decoding_bytes(s), current = rapt_memory_usage().current;
    for (int64_t i = 10; i < 64; i++) {
        rapt_tensor_release(try_step(&a, s, i, &error));
        assert_int_equal(rapt_memory_usage().current, current);
    }
    assert_int_equal(rapt_decoding_bytes(s), bytes);
    rapt_tensor_release(try_step(&a, s, 64, &error));
    assert_int_equal(rapt_decoding_bytes(s), 2 * (bytes - 4) + 4);
    rapt_decoding_free(s);
    end(&a);
}

static void forks_and_cuts(void **state)
{
    attention a = begin(*state, "t.attend_step");
    rapt_error error = {0};
    rapt_decoding *s = prefill(&a, 20, NULL, &error);
    rapt_decoding *fork = rapt_decoding_fork(s, &error);
    /* The fork goes another way; the first does not see it. */
    for (int i = 0; i < 5; i++)
        rapt_tensor_release(try_step(&a, fork, 100 + i, &error));
    assert_int_equal(rapt_decoding_position(fork), 25);
    for (int64_t i = 20; i < 70; i++)
        step_as_forward(&a, s, i);
    /* Cut back, it goes on as the first did. */
    must(rapt_decoding_truncate(fork, 20, &error), &error);
    for (int64_t i = 20; i < 30; i++)
        step_as_forward(&a, fork, i);
    assert_int_equal(rapt_decoding_truncate(fork, 31, &error), RAPT_INVALID);
    expect_error(&error, RAPT_INVALID,
                 "t.attend_step: a state of 30 positions cannot be cut back to 31");
    assert_int_equal(rapt_decoding_truncate(fork, -1, &error), RAPT_INVALID);
    must(rapt_decoding_truncate(fork, 0, &error), &error);
    rapt_decoding_free(s);
    step_as_forward(&a, fork, 0);
    rapt_decoding_free(fork);
    rapt_decoding_free(NULL);
    end(&a);
}

static void refuse_step(rapt_decoding *s, const rapt_named_tensor *inputs, size_t n,
                        const char *text)
{
    rapt_error error = {0};
    const int64_t position = rapt_decoding_position(s);
    assert_null(rapt_step(s, inputs, n, &error));
    assert_string_equal(error.message, text);
    assert_int_equal(rapt_decoding_position(s), position);
}

/* A kernel that has a step and refuses it is not gone round by its forward. */
static void refused_steps(void **state)
{
    attention a = begin(*state, "t.attend_refuse");
    rapt_error error = {0};
    rapt_decoding *s = prefill(&a, 20, NULL, &error);
    rapt_tensor *q = span(&a, a.q, 20, 1), *k = span(&a, a.k, 20, 1), *v = span(&a, a.v, 20, 1);
    const rapt_named_tensor inputs[] = {{"q", q}, {"k", k}, {"v", v}};
    refuse_step(s, inputs, 3,
                "t.attend_refuse: no kernel can step on cpu with f32: cpu takes no step today");
    char *text = rapt_explain(*state, "t.attend_refuse", inputs, 3, NULL, 0, &error);
    assert_non_null(text);
    assert_non_null(strstr(text, "  in a step of decoding\n    cpu: no: takes no step today\n"));
    free(text);
    rapt_decoding_free(s);
    rapt_tensor_release(q);
    rapt_tensor_release(k);
    rapt_tensor_release(v);
    end(&a);
}

static void wrong_steps(void **state)
{
    attention a = begin(*state, "t.attend_step");
    rapt_error error = {0};
    rapt_decoding *s = prefill(&a, 20, NULL, &error);
    rapt_tensor *q = span(&a, a.q, 20, 1), *k = span(&a, a.k, 20, 1), *v = span(&a, a.v, 20, 1),
                *two = span(&a, a.q, 20, 2);
    rapt_tensor *half = rapt_to(*state, v, RAPT_F16, CPU, &error);
    const rapt_named_tensor good[] = {{"q", q}, {"k", k}, {"v", v}};
    refuse_step(s, good, 2, "t.attend_step: a step needs v");
    refuse_step(s, good + 1, 2, "t.attend_step: missing input q (B N D)");
    const rapt_named_tensor wide[] = {{"q", q}, {"k", two}, {"v", v}};
    refuse_step(s, wide, 3, "t.attend_step: k is [2,2,3] but the state takes one row of [2,1,3]");
    const rapt_named_tensor many[] = {{"q", two}, {"k", k}, {"v", v}};
    refuse_step(s, many, 3, "t.attend_step: a step takes one position; N is 2");
    const rapt_named_tensor other[] = {{"q", q}, {"k", k}, {"v", half}};
    refuse_step(s, other, 3, "t.attend_step: v is f16 on cpu but the state has f32 on cpu");
    const rapt_named_tensor kept[] = {{"q", q}, {"k", k}, {"v", v}, {"slope", a.slope}};
    refuse_step(s, kept, 4,
                "t.attend_step: slope is part of the state since the prefill; a step does not take "
                "it");
    step_as_forward(&a, s, 20);
    rapt_decoding_free(s);
    rapt_tensor_release(half);
    rapt_tensor_release(two);
    rapt_tensor_release(q);
    rapt_tensor_release(k);
    rapt_tensor_release(v);
    end(&a);
}

static void operators_that_cannot(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(1, 2, 3), 0, 1);
    const rapt_named_tensor input = {"x", x};
    assert_null(rapt_decode(*state, "t.square", &input, 1, NULL, 0, NULL, &error));
    expect_error(&error, RAPT_UNSUPPORTED,
                 "t.square: has no states: it cannot go position by position");
    const rapt_named_tensor qkv[] = {{"q", x}, {"k", x}, {"v", x}};
    const rapt_named_value full = {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {0}};
    assert_null(rapt_decode(*state, "t.attend", qkv, 3, &full, 1, NULL, &error));
    expect_error(&error, RAPT_INVALID, "t.attend: decoding is causal; causal = false was given");
    assert_null(rapt_decode(*state, "t.attend", qkv, 2, NULL, 0, NULL, &error));
    expect_error(&error, RAPT_INVALID, "t.attend: missing input v (B M E)");
    rapt_tensor_release(x);
}

/* --- Carried states --------------------------------------------------------------------------- */

static rapt_tensor *carry_step(rapt_decoding *s, rapt_tensor *x, rapt_error *error)
{
    const rapt_named_tensor input = {"x", x};
    return rapt_step(s, &input, 1, error);
}

static void carried_states(void **state)
{
    static const char *const ops[] = {"t.carry", "t.carry_step"};
    for (int k = 0; k < 2; k++)
        for (int64_t n = 0; n < 3; n++) {
            rapt_error error = {0};
            rapt_tensor *x = ramp(*state, SHAPE(1, n, 2), 1, 0), *o = NULL;
            const rapt_named_tensor input = {"x", x};
            rapt_decoding *s = rapt_decode(*state, ops[k], &input, 1, NULL, 0, &o, &error);
            if (!s)
                fail_msg("%s", error.message);
            assert_int_equal(rapt_tensor_count(o), 2 * n);
            rapt_tensor *one = ramp(*state, SHAPE(1, 1, 2), 1, 0);
            for (int i = 1; i <= 3; i++) {
                rapt_tensor *y = carry_step(s, one, &error);
                assert_float_equal(element(*state, y, 1), n + i, 0);
                rapt_tensor_release(y);
            }
            rapt_decoding *fork = rapt_decoding_fork(s, &error);
            for (int i = 0; i < 2; i++)
                rapt_tensor_release(carry_step(fork, one, &error));
            rapt_tensor *y = carry_step(s, one, &error), *z = carry_step(fork, one, &error);
            assert_float_equal(element(*state, y, 1), n + 4, 0);
            assert_float_equal(element(*state, z, 1), n + 6, 0);
            assert_int_equal(rapt_decoding_truncate(s, 1, &error), RAPT_UNSUPPORTED);
            char text[200];
            snprintf(text, sizeof text,
                     "%s: its state s sums up all positions so far and cannot be cut back; fork it "
                     "before",
                     ops[k]);
            assert_string_equal(error.message, text);
            rapt_decoding_free(fork);
            rapt_decoding_free(s);
            rapt_tensor_release(z);
            rapt_tensor_release(y);
            rapt_tensor_release(one);
            rapt_tensor_release(o);
            rapt_tensor_release(x);
        }
}

/* A step that fails after it wrote its state has changed nothing. */
static void a_failed_step_changes_nothing(void **state)
{
    rapt_error error = {0};
    rapt_tensor *x = ramp(*state, SHAPE(1, 4, 2), 1, 0), *one = ramp(*state, SHAPE(1, 1, 2), 1, 0),
                *bad = ramp(*state, SHAPE(1, 1, 2), NAN, 0);
    const rapt_named_tensor input = {"x", x};
    rapt_decoding *s = rapt_decode(*state, "t.carry_step", &input, 1, NULL, 0, NULL, &error);
    assert_null(carry_step(s, bad, &error));
    expect_error(&error, RAPT_INVALID, "t.carry_step: in a step: x is not a number");
    assert_int_equal(rapt_decoding_position(s), 4);
    rapt_tensor *y = carry_step(s, one, &error);
    assert_float_equal(element(*state, y, 0), 5, 0);
    rapt_tensor_release(y);
    rapt_decoding_free(s);
    rapt_tensor_release(bad);
    rapt_tensor_release(one);
    rapt_tensor_release(x);
}

/* --- Files ------------------------------------------------------------------------------------ */

static char path[64];

static const char *file(void)
{
    snprintf(path, sizeof path, "decode-test-%d.safetensors", (int)getpid());
    return path;
}

static void saved_and_loaded(void **state)
{
    rapt_error error = {0};
    for (int64_t n = 0; n <= 70; n += 35) {
        attention a = begin(*state, "t.attend_step");
        rapt_decoding *s = prefill(&a, n, NULL, &error);
        must(rapt_decoding_save(s, file(), &error), &error);
        rapt_decoding *t = rapt_decoding_load(*state, file(), &error);
        if (!t)
            fail_msg("%s", error.message);
        assert_string_equal(rapt_decoding_operator(t), "t.attend_step");
        for (int64_t i = n; i < T; i++)
            step_as_forward(&a, t, i);
        rapt_decoding_free(t);
        rapt_decoding_free(s);
        end(&a);
    }
    rapt_tensor *x = ramp(*state, SHAPE(1, 4, 2), 1, 0), *one = ramp(*state, SHAPE(1, 1, 2), 1, 0);
    const rapt_named_tensor input = {"x", x};
    rapt_decoding *s = rapt_decode(*state, "t.carry", &input, 1, NULL, 0, NULL, &error);
    must(rapt_decoding_save(s, file(), &error), &error);
    rapt_decoding *t = rapt_decoding_load(*state, file(), &error);
    rapt_tensor *y = carry_step(t, one, &error);
    assert_float_equal(element(*state, y, 0), 5, 0);
    assert_int_equal(rapt_decoding_position(t), 5);
    rapt_tensor_release(y);
    rapt_decoding_free(t);
    rapt_decoding_free(s);
    rapt_tensor_release(one);
    rapt_tensor_release(x);
    unlink(file());
}

/* Writes the file again with one text or tensor other than it was, and expects it to be refused. */
static void refuse_file(rapt_context *context, const rapt_file *whole, const char *text_name,
                        const char *text, const char *tensor_name, rapt_tensor *tensor,
                        const char *message)
{
    rapt_error error = {0};
    rapt_named_text texts[32];
    rapt_named_tensor tensors[16];
    size_t n_texts = 0, n_tensors = 0;
    bool met = false;
    for (size_t i = 0; i < whole->n_metadata; i++) {
        const bool it = text_name && strcmp(whole->metadata[i].name, text_name) == 0;
        met |= it;
        if (!it || text)
            texts[n_texts++] =
                (rapt_named_text){whole->metadata[i].name, it ? text : whole->metadata[i].text};
    }
    if (text_name && !met)
        texts[n_texts++] = (rapt_named_text){text_name, text};
    met = false;
    for (size_t i = 0; i < whole->n_tensors; i++) {
        const bool it = tensor_name && strcmp(whole->tensors[i].name, tensor_name) == 0;
        met |= it;
        if (!it || tensor)
            tensors[n_tensors++] =
                (rapt_named_tensor){whole->tensors[i].name, it ? tensor : whole->tensors[i].tensor};
    }
    if (tensor_name && !met)
        tensors[n_tensors++] = (rapt_named_tensor){tensor_name, tensor};
    char bad[80];
    snprintf(bad, sizeof bad, "%s.bad", file());
    must(rapt_save_safetensors(bad, tensors, n_tensors, texts, n_texts, &error), &error);
    assert_null(rapt_decoding_load(context, bad, &error));
    char expected[400];
    snprintf(expected, sizeof expected, "%s: %s", bad, message);
    assert_string_equal(error.message, expected);
    unlink(bad);
}

static void files_that_are_wrong(void **state)
{
    rapt_error error = {0};
    attention a = begin(*state, "t.attend_step");
    rapt_decoding *s = prefill(&a, 5, NULL, &error);
    must(rapt_decoding_save(s, file(), &error), &error);
    rapt_decoding_free(s);
    rapt_file *f = rapt_load_safetensors(file(), &error);
    rapt_tensor *four = ramp(*state, SHAPE(B, 4, D), 0, 1), *flat = ramp(*state, SHAPE(5), 0, 1),
                *other = ramp(*state, SHAPE(B, 5, D + 1), 0, 1);
    rapt_context *c = *state;
    refuse_file(c, f, "format", NULL, NULL, NULL, "not a decoding state (format \"\")");
    refuse_file(c, f, "format", "pt", NULL, NULL, "not a decoding state (format \"pt\")");
    refuse_file(c, f, "format_version", "2", NULL, NULL,
                "version \"2\" of the format; this rapt reads 1");
    refuse_file(c, f, "operator_version", "0", NULL, NULL,
                "made by t.attend_step version 0; this one is version 1");
    refuse_file(c, f, "position", "-5", NULL, NULL,
                "position is \"-5\", not a number of positions");
    refuse_file(c, f, "position", "5x", NULL, NULL,
                "position is \"5x\", not a number of positions");
    refuse_file(c, f, "position", "99999999999999999999", NULL, NULL,
                "position is \"99999999999999999999\", not a number of positions");
    refuse_file(c, f, "position", "9223372036854775807", NULL, NULL,
                "position is \"9223372036854775807\", not a number of positions");
    refuse_file(c, f, "position", "6", NULL, NULL, "rows.k has 5 rows; the position is 6");
    refuse_file(c, f, "dtype", "f31", NULL, NULL, "dtype is \"f31\", none of rapt's");
    refuse_file(c, f, "dtype", "f16", NULL, NULL, "t.attend_step: q is f16 but must be f32");
    refuse_file(c, f, "device", "abacus", NULL, NULL, "device is \"abacus\", no device's name");
    refuse_file(c, f, "sizes", "B=2 D", NULL, NULL,
                "sizes are \"B=2 D\"; \"B=1 H=8\" was expected");
    refuse_file(c, f, "sizes", "B=2", NULL, NULL, "the sizes of q are not in the file");
    refuse_file(c, f, "sizes", "B=2 D=3 E=7", NULL, NULL, "E is 7 but the tensors have 2");
    refuse_file(c, f, "attr.scale", "much", NULL, NULL, "attribute scale cannot be \"much\"");
    refuse_file(c, f, "attr.window", "1,", NULL, NULL, "attribute window cannot be \"1,\"");
    refuse_file(c, f, "attr.causal", "yes", NULL, NULL, "attribute causal cannot be \"yes\"");
    refuse_file(c, f, "attr.colour", "red", NULL, NULL,
                "t.attend_step has no attribute \"colour\"");
    refuse_file(c, f, NULL, NULL, "rows.k", NULL, "there is no rows.k");
    refuse_file(c, f, NULL, NULL, "rows.k", four, "rows.k has 4 rows; the position is 5");
    refuse_file(c, f, NULL, NULL, "rows.k", flat, "rows.k has 0 rows; the position is 5");
    refuse_file(c, f, NULL, NULL, "rows.k", other,
                "t.attend_step: k is [2,6,4] but D is 3 (from q [2,1,3])");
    refuse_file(c, f, NULL, NULL, "rows.q", four,
                "a state of t.attend_step has no tensor \"rows.q\"");
    refuse_file(c, f, NULL, NULL, "kept.k", four,
                "a state of t.attend_step has no tensor \"kept.k\"");
    assert_null(rapt_decoding_load(c, "no such file", &error));
    assert_int_equal(error.status, RAPT_NOT_FOUND);
    rapt_tensor_release(four);
    rapt_tensor_release(flat);
    rapt_tensor_release(other);
    rapt_file_free(f);
    end(&a);
    unlink(file());
}

/* --- Faults ----------------------------------------------------------------------------------- */

static void decoding_without_memory(void **state)
{
    attention a = begin(*state, "t.attend_step");
    rapt_error error = {0};
    rapt_tensor *q = span(&a, a.q, 0, 64), *k = span(&a, a.k, 0, 64), *v = span(&a, a.v, 0, 64);
    rapt_tensor *q1 = span(&a, a.q, 64, 1), *k1 = span(&a, a.k, 64, 1), *v1 = span(&a, a.v, 64, 1);
    const rapt_named_tensor all[] = {{"q", q}, {"k", k}, {"v", v}, {"slope", a.slope}};
    const rapt_named_tensor one[] = {{"q", q1}, {"k", k1}, {"v", v1}};
    FAULT_EACH(FAULT_MEMORY)
    {
        error = (rapt_error){0};
        rapt_tensor *o = NULL;
        rapt_decoding *s = rapt_decode(*state, a.op, all, 4, NULL, 0, &o, &error);
        if (!s) {
            fault_expect_error(&error);
            assert_null(o);
        }
        rapt_tensor_release(o);
        rapt_decoding_free(s);
    }
    assert_true(fault_rounds() > 10);
    rapt_decoding *s = rapt_decode(*state, a.op, all, 4, NULL, 0, NULL, &error);
    FAULT_EACH(FAULT_MEMORY)
    {
        error = (rapt_error){0};
        rapt_decoding *fork = rapt_decoding_fork(s, &error);
        rapt_tensor *o = fork ? rapt_step(fork, one, 3, &error) : NULL;
        if (!o)
            fault_expect_error(&error);
        else
            assert_int_equal(rapt_decoding_position(fork), 65);
        rapt_tensor_release(o);
        rapt_decoding_free(fork);
    }
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        rapt_decoding *t = NULL;
        if (rapt_decoding_save(s, file(), &error) == RAPT_OK)
            t = rapt_decoding_load(*state, file(), &error);
        if (!t)
            fault_expect_error(&error);
        rapt_decoding_free(t);
    }
    unlink(file());
    rapt_decoding_free(s);
    rapt_tensor *const parts[] = {q, k, v, q1, k1, v1};
    for (int i = 0; i < 6; i++)
        rapt_tensor_release(parts[i]);
    end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(steps_equal_forward, setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_seldom_allocates_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(forks_and_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(operators_that_cannot, setup, teardown),
        cmocka_unit_test_setup_teardown(carried_states, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_step_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(saved_and_loaded, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_are_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(decoding_without_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
