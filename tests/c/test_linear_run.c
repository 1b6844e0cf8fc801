/* What the linear family does over several calls: golden vectors, decoding, sequences in two parts,
 * equal bits, long sequences, memory. */
#include "equal_bits.h"
#include "linear_case.h"
#include "reference_linear.h"
#include "sanitized.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rapt_context *context;
static const char *program; /* this test, to be run again */
static const char *const operators[] = {"lightning", "flow", "log_linear"};

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

/* --- Golden vectors --------------------------------------------------------------------------- */

static rapt_tensor *stored(const rapt_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return file->tensors[i].tensor;
    return NULL;
}

static const char *metadata(const rapt_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].name, name) == 0)
            return file->metadata[i].text;
    fail_msg("no metadata %s", name);
    return NULL;
}

/* In each type, the inputs rounded to it; what rounding them does to the results comes on top. */
static void golden_file(const char *name, const rapt_file *file, rapt_dtype dtype,
                        linear_layout layout)
{
    static const char *const inputs[] = {"q", "k", "v", "g", "l", "slope"};
    const score_tolerance narrow = {dtype == RAPT_F16 ? 4e-3 : 1.5e-2, 1.5e-2};
    const score_tolerance t = dtype == RAPT_F32 ? score_tolerance_of(dtype) : narrow;
    linear_call call = {.context = context, .op = metadata(file, "op"), .text = ""};
    snprintf(call.text, sizeof call.text, "%s dtype=%d layout=%d", name, (int)dtype, (int)layout);
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        rapt_tensor *x = stored(file, inputs[i]);
        if (!x)
            continue;
        const rapt_view *view = rapt_tensor_view(x);
        double *values = score_read(context, x);
        linear_add_values(&call, inputs[i], view->ndim, view->shape,
                          view->ndim == 1 ? RAPT_F32 : dtype, layout, values);
        free(values);
    }
    if (strstr(metadata(file, "attrs"), "\"causal\": true"))
        linear_attr(&call, "causal", RAPT_ATTR_BOOL, 1);
    linear_want(&call, "o");
    rapt_error error = {0};
    score_must(linear_try(&call, &error), &error);
    rapt_tensor *seed =
        rapt_to(context, stored(file, "do"), dtype, (rapt_device){RAPT_DEVICE_CPU, 0}, &error);
    assert_non_null(seed);
    score_must(rapt_backward(context, call.out[0].tensor, seed, false, &error), &error);
    rapt_tensor_release(seed);
    double *got = score_read(context, call.out[0].tensor);
    double *want = score_read(context, stored(file, "o"));
    linear_compare(&call, "o", got, want, rapt_tensor_count(call.out[0].tensor), t.forward);
    free(got);
    free(want);
    for (int i = 0; i < call.n_in; i++) {
        char gradient[16];
        snprintf(gradient, sizeof gradient, "d%s", call.in[i].name);
        assert_non_null(rapt_grad(call.in[i].tensor));
        got = score_read(context, rapt_grad(call.in[i].tensor));
        want = score_read(context, stored(file, gradient));
        linear_compare(&call, gradient, got, want, call.in[i].count, t.gradient);
        free(got);
        free(want);
    }
    linear_free(&call);
}

static void golden(void **state)
{
    static const char *const files[] = {
        "lightning_decay", "lightning_nodecay", "flow_basic",        "flow_causal",
        "flow_cross",      "log_linear_basic",  "log_linear_grouped"};
    const char *folder = getenv("RAPT_GOLDEN");
    (void)state;
    assert_non_null(folder);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        rapt_error error = {0};
        char path[1024];
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, files[i]);
        rapt_file *file = rapt_load_safetensors(path, &error);
        if (!file)
            fail_msg("%s", error.message);
        for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++)
            for (int layout = LINEAR_PLAIN; layout <= LINEAR_INSIDE; layout++)
                golden_file(files[i], file, (rapt_dtype)dtype, (linear_layout)layout);
        rapt_file_free(file);
    }
}

/* --- One sequence in parts -------------------------------------------------------------------- */

/* A problem of N positions: q, k, v, and g, l or slope. */
static void make(linear_call *call, const char *op, const int64_t *sizes, rapt_dtype dtype)
{
    const int64_t B = sizes[0], H = sizes[1], N = sizes[2], D = sizes[3], E = sizes[4];
    const bool tree = strcmp(op, "log_linear") == 0;
    const int64_t q[4] = {B, tree ? 1 : H, N, D}, v[4] = {B, H, N, E}, g[3] = {B, H, N};
    const int64_t l[4] = {B, H, N, sizes[5]};
    call->context = context;
    call->op = op;
    call->seed = (uint64_t)(N + 1);
    snprintf(call->text, sizeof call->text, "%s N=%ld dtype=%d", op, (long)N, (int)dtype);
    linear_add(call, "q", 4, q, dtype, LINEAR_SWAPPED, 1, 0, false);
    linear_add(call, "k", 4, q, dtype, LINEAR_PLAIN, 1, 0, false);
    linear_add(call, "v", 4, v, dtype, LINEAR_INSIDE, 1, 0, false);
    if (tree) {
        linear_add(call, "g", 3, g, dtype, LINEAR_PLAIN, -0.1, 0, true);
        linear_add(call, "l", 4, l, dtype, LINEAR_PLAIN, 1, 0, true);
    } else if (strcmp(op, "lightning") == 0) {
        linear_add(call, "slope", 1, &H, RAPT_F32, LINEAR_PLAIN, 0.1, 0, true);
    } else {
        linear_attr(call, "causal", RAPT_ATTR_BOOL, 1);
    }
    linear_want(call, "o");
}

/* Positions start .. start + length of the inputs; slopes whole. */
static size_t take(const linear_call *call, rapt_named_tensor *inputs, int64_t start,
                   int64_t length)
{
    for (int i = 0; i < call->n_in; i++) {
        rapt_tensor *x = call->in[i].tensor;
        inputs[i].name = call->in[i].name;
        inputs[i].tensor = rapt_tensor_view(x)->ndim < 3
                               ? rapt_tensor_retain(x)
                               : rapt_narrow(context, x, 2, start, length, NULL);
        assert_non_null(inputs[i].tensor);
    }
    return (size_t)call->n_in;
}

static void drop(rapt_named_tensor *inputs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rapt_tensor_release(inputs[i].tensor);
}

static void same_rows(const linear_call *call, rapt_tensor *got, int64_t start, double tolerance)
{
    char what[64];
    rapt_tensor *want =
        rapt_narrow(context, call->out[0].tensor, 2, start, rapt_tensor_view(got)->shape[2], NULL);
    assert_non_null(want);
    double *a = score_read(context, got), *b = score_read(context, want);
    snprintf(what, sizeof what, "o from position %ld on", (long)start);
    if (!(score_error(a, b, rapt_tensor_count(want), 0.1) <= tolerance))
        linear_compare(call, what, a, b, rapt_tensor_count(want), tolerance);
    free(a);
    free(b);
    rapt_tensor_release(want);
}

static void decode(linear_call *call, int64_t n, int64_t split, int64_t stop, double tolerance)
{
    rapt_error error = {0};
    rapt_named_tensor inputs[8];
    rapt_tensor *prefill = NULL;
    size_t count = take(call, inputs, 0, split);
    rapt_decoding *decoding =
        rapt_decode(context, call->op, inputs, count, call->attrs, (size_t)call->n_attrs,
                    split > 0 ? &prefill : NULL, &error);
    drop(inputs, count);
    if (!decoding)
        fail_msg("%s: %s", call->text, error.message);
    if (prefill)
        same_rows(call, prefill, 0, tolerance);
    rapt_tensor_release(prefill);
    for (int64_t i = split; i < n && i < stop; i++) {
        count = take(call, inputs, i, 1);
        if (strcmp(call->op, "lightning") == 0) /* kept from the prefill */
            rapt_tensor_release(inputs[--count].tensor);
        rapt_tensor *o = rapt_step(decoding, inputs, count, &error);
        drop(inputs, count);
        if (!o)
            fail_msg("%s: %s", call->text, error.message);
        same_rows(call, o, i, tolerance);
        rapt_tensor_release(o);
    }
    rapt_decoding_free(decoding);
}

static void steps_equal_one_call(void **state)
{
    static const int64_t small[] = {2, 4, 21, 18, 7, 6}, large[] = {1, 2, 150, 5, 20, 9};
    (void)state;
    for (int op = 0; op < 3; op++) {
        for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++) {
            linear_call call = {0};
            make(&call, operators[op], small, (rapt_dtype)dtype);
            linear_run(&call, true);
            for (int64_t split = 0; split <= 21; split++)
                decode(&call, 21, split, 21, dtype == RAPT_F32 ? 2e-5 : 8e-3);
            linear_free(&call);
        }
        linear_call call = {0};
        make(&call, operators[op], large, RAPT_F32);
        linear_run(&call, true);
        decode(&call, 150, 0, 150, 2e-5);
        for (int64_t split = 1; split <= 150; split++)
            decode(&call, 150, split, split + 2, 2e-5);
        linear_free(&call);
    }
}

/* The inputs of a part of a sequence, copied into a call of its own. */
static void make_part(linear_call *part, const linear_call *whole, int64_t start, int64_t length)
{
    rapt_named_tensor views[8];
    const size_t n = take(whole, views, start, length);
    part->context = context;
    part->op = whole->op;
    snprintf(part->text, sizeof part->text, "%.200s, %ld from %ld", whole->text, (long)length,
             (long)start);
    memcpy(part->attrs, whole->attrs, sizeof part->attrs);
    part->n_attrs = whole->n_attrs;
    for (size_t i = 0; i < n; i++) {
        const rapt_view *view = rapt_tensor_view(views[i].tensor);
        double *values = score_read(context, views[i].tensor);
        linear_add_values(part, views[i].name, view->ndim, view->shape, RAPT_F32, LINEAR_PLAIN,
                          values);
        free(values);
    }
    drop(views, n);
    linear_want(part, "o");
}

static const char *const carried[2][3] = {{"final_state", "state", NULL},
                                          {"final_sums", "sums", NULL}};

/* sum(x . seed) added to *loss. */
static void weigh(rapt_tensor **loss, rapt_tensor *x, rapt_tensor *seed)
{
    rapt_named_tensor product = {0}, sum = {0}, total = {0};
    const rapt_named_tensor factors[2] = {{"a", x}, {"b", seed}};
    score_must(rapt_call_operator(context, "core.mul", factors, 2, NULL, 0, &product, 1, NULL),
               NULL);
    const rapt_named_tensor one = {"x", product.tensor};
    score_must(rapt_call_operator(context, "core.sum", &one, 1, NULL, 0, &sum, 1, NULL), NULL);
    rapt_tensor_release(product.tensor);
    if (!*loss) {
        *loss = sum.tensor;
        return;
    }
    const rapt_named_tensor both[2] = {{"a", *loss}, {"b", sum.tensor}};
    score_must(rapt_call_operator(context, "core.add", both, 2, NULL, 0, &total, 1, NULL), NULL);
    rapt_tensor_release(*loss);
    rapt_tensor_release(sum.tensor);
    *loss = total.tensor;
}

/* Runs a part after the states of the part before; leaves its own in `states`. */
static void run_part(linear_call *part, rapt_tensor **states, int n_states)
{
    rapt_error error = {0};
    for (int i = 0; i < n_states; i++) {
        if (states[i]) {
            part->in[part->n_in].name = carried[i][1];
            part->in[part->n_in++].tensor = states[i];
        }
        linear_want(part, carried[i][0]);
    }
    if (linear_try(part, &error) != RAPT_OK)
        fail_msg("%s: %s", part->text, error.message);
    for (int i = 0; i < n_states; i++)
        states[i] = rapt_tensor_retain(part->out[i + 1].tensor);
}

static void compare_rows(const linear_call *whole, const char *what, rapt_tensor *all,
                         rapt_tensor *got, int64_t start)
{
    rapt_tensor *want = rapt_narrow(context, all, 2, start, rapt_tensor_view(got)->shape[2], NULL);
    assert_non_null(want);
    double *a = score_read(context, got), *b = score_read(context, want);
    double *all_values = score_read(context, all), most = 0;
    for (int64_t i = 0; i < rapt_tensor_count(all); i++)
        most = fmax(most, fabs(all_values[i]));
    const double error = score_error(a, b, rapt_tensor_count(got), most);
    if (!(error <= 5e-5))
        fail_msg("%s: %s from position %ld on is off by %g", whole->text, what, (long)start, error);
    free(a);
    free(b);
    free(all_values);
    rapt_tensor_release(want);
}

enum { MOST_PARTS = 4 };

/* A sequence in calls that hand the state on, each up to one of the `ends`, is one call, forward
 * and backward: of the outputs and of the states after the last position. */
static void in_parts(const char *op, const int64_t *sizes, const int64_t *ends, int n_parts,
                     int n_states)
{
    const bool tree = strcmp(op, "log_linear") == 0;
    linear_call whole = {0}, part[MOST_PARTS];
    rapt_tensor *states[2] = {NULL, NULL}, *loss = NULL;
    rapt_error error = {0};
    memset(part, 0, sizeof part);
    make(&whole, op, sizes, RAPT_F32);
    for (int i = 0; i < n_states; i++)
        linear_want(&whole, carried[i][0]);
    linear_run(&whole, false);
    for (int p = 0; p < n_parts; p++) {
        const int64_t start = p ? ends[p - 1] : 0;
        make_part(&part[p], &whole, start, ends[p] - start);
        if (tree)
            linear_attr(&part[p], "position", RAPT_ATTR_INT, (double)start);
        run_part(&part[p], states, n_states);
        compare_rows(&whole, "o", whole.out[0].tensor, part[p].out[0].tensor, start);
        rapt_tensor *seed =
            rapt_narrow(context, whole.out[0].seed, 2, start, ends[p] - start, NULL);
        weigh(&loss, part[p].out[0].tensor, seed);
        rapt_tensor_release(seed);
    }
    for (int i = 0; i < n_states; i++) {
        compare_rows(&whole, carried[i][0], whole.out[i + 1].tensor, states[i], 0);
        weigh(&loss, states[i], whole.out[i + 1].seed);
        rapt_tensor_release(states[i]);
    }
    score_must(rapt_backward(context, loss, NULL, false, &error), &error);
    rapt_tensor_release(loss);
    for (int p = 0; p < n_parts; p++) {
        for (int i = 0; i < (tree ? 5 : 3); i++)
            compare_rows(&whole, part[p].in[i].name, rapt_grad(whole.in[i].tensor),
                         rapt_grad(part[p].in[i].tensor), p ? ends[p - 1] : 0);
        linear_free(&part[p]);
    }
    linear_free(&whole);
}

static void two_parts(const char *op, const int64_t *sizes, int64_t split, int n_states)
{
    const int64_t ends[] = {split, sizes[2]};
    in_parts(op, sizes, ends, 2, n_states);
}

static void parts_equal_one_call(void **state)
{
    static const int64_t sizes[] = {2, 2, 150, 9, 6, 9};
    static const int64_t splits[] = {1, 63, 64, 100, 149};
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        two_parts("lightning", sizes, splits[i], 1);
        two_parts("flow", sizes, splits[i], 2);
        two_parts("log_linear", sizes, splits[i], 1);
    }
    /* Parts that begin and end inside a chunk, and whole blocks of chunks before. */
    static const int64_t narrow[4] = {69, 70, 77, 150}, wide[4] = {448, 575, 580, 700};
    static const int64_t longer[] = {1, 2, 700, 5, 4, 11};
    in_parts("log_linear", sizes, narrow, 4, 1);
    in_parts("log_linear", longer, wide, 4, 1);
    /* So long that a head is not in work at once. */
    const int64_t length[] = {1, 1, 40000, 3, 2, 17};
    two_parts("lightning", length, 9000, 1);
    two_parts("flow", length, 24000, 2);
    two_parts("log_linear", length, 9000, 1);
}

static double flow_loss(linear_call *call, rapt_tensor *seed)
{
    rapt_error error = {0};
    score_must(linear_try(call, &error), &error);
    double *o = score_read(context, call->out[0].tensor), *s = score_read(context, seed), sum = 0;
    for (int64_t i = 0; i < rapt_tensor_count(seed); i++)
        sum += o[i] * s[i];
    free(o);
    free(s);
    for (int i = 0; i < call->n_out; i++) {
        rapt_tensor_release(call->out[i].tensor);
        call->out[i].tensor = NULL;
    }
    return sum;
}

/* d_sums of flow beside differences, the length among them, to the digits that float32 leaves. */
static void flow_sums_gradient(void **state)
{
    const int64_t sums[4] = {1, 1, 6, 4}, kv[4] = {1, 1, 4, 3}, sizes[] = {1, 1, 5, 4, 3, 0};
    const double start[24] = {3, 4, 5,   3.5, 4,  3, 3.5, 5, 2, 1, 2.5, 2,
                              1, 2, 1.5, 1,   17, 0, 0,   0, 7, 0, 0,   0};
    linear_call call = {0};
    (void)state;
    make(&call, "flow", sizes, RAPT_F32);
    linear_attr(&call, "clamp", RAPT_ATTR_FLOAT, 3);
    linear_add(&call, "state", 4, kv, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add_values(&call, "sums", 4, sums, RAPT_F32, LINEAR_PLAIN, start);
    linear_run(&call, false);
    rapt_tensor *seed = rapt_tensor_retain(call.out[0].seed);
    const linear_argument *x = linear_find(&call, "sums");
    float *memory = rapt_view_data(rapt_tensor_view(x->tensor));
    double most = 0;
    for (int i = 0; i < 24; i++)
        most = fmax(most, fabs(x->gradient[i]));
    rapt_set_recording(context, false);
    rapt_tensor_release(call.out[0].tensor);
    for (int i = 0; i <= 20; i++) {
        if (i > 16 && i < 20)
            continue; /* only the first number of these rows counts */
        const float at = memory[i], h = 0.01f * at;
        memory[i] = at + h;
        const double above = flow_loss(&call, seed);
        memory[i] = at - h;
        const double want = (above - flow_loss(&call, seed)) / (2 * (double)h);
        memory[i] = at;
        if (!(fabs(want - x->gradient[i]) <= 1e-3 * most))
            fail_msg("flow: the gradient of sums at %d is %g instead of %g, greatest %g", i,
                     x->gradient[i], want, most);
    }
    rapt_set_recording(context, true);
    rapt_tensor_release(seed);
    linear_free(&call);
}

static void packed_is_separate(const char *op, const int64_t *sizes, int64_t sequences,
                               const int64_t *borders)
{
    linear_call whole = {0};
    make(&whole, op, sizes, RAPT_F32);
    linear_add_borders(&whole, "cu_seqlens_q", sequences + 1, borders, RAPT_I64);
    linear_run(&whole, true);
    rapt_tensor_release(whole.in[--whole.n_in].tensor); /* not for the parts */
    for (int64_t s = 0; s < sequences; s++) {
        linear_call part = {0};
        if (borders[s] == borders[s + 1])
            continue;
        make_part(&part, &whole, borders[s], borders[s + 1] - borders[s]);
        linear_run(&part, true);
        same_rows(&whole, part.out[0].tensor, borders[s], 0);
        linear_free(&part);
    }
    linear_free(&whole);
}

/* Packed sequences give the bits that each gives alone. */
static void packed_equals_separate(void **state)
{
    static const int64_t borders[] = {0, 0, 70, 71, 200, 200, 230}, sizes[] = {1, 2, 230, 6, 9, 9};
    static const int64_t far[] = {0, 9000, 9000, 34000, 35000}, large[] = {1, 2, 35000, 3, 2, 17};
    (void)state;
    for (int op = 0; op < 3; op++) {
        packed_is_separate(operators[op], sizes, 6, borders);
        packed_is_separate(operators[op], large, 4, far);
    }
}

/* --- Bits ------------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, const double *values, int64_t n)
{
    const unsigned char *bytes = (const unsigned char *)values;
    for (size_t i = 0; i < sizeof(double) * (size_t)n; i++)
        h = (h ^ bytes[i]) * 1099511628211ull;
    return h;
}

static uint64_t all_bits(void)
{
    static const int64_t sizes[2][6] = {{2, 4, 300, 20, 33, 10}, {1, 2, 6000, 5, 7, 14}};
    uint64_t result = 14695981039346656037ull;
    for (int op = 0; op < 3; op++)
        for (int c = 0; c < 4; c++) {
            linear_call call = {0};
            make(&call, operators[op], sizes[c / 2], c % 2 ? RAPT_F16 : RAPT_F32);
            linear_run(&call, false);
            result = hash(result, call.out[0].value, call.out[0].count);
            for (int i = 0; i < call.n_in; i++)
                result = hash(result, call.in[i].gradient, call.in[i].count);
            linear_free(&call);
        }
    return result;
}

static void equal_bits(void **state)
{
    (void)state;
    equal_bits_check(program, all_bits);
}

/* --- Length ----------------------------------------------------------------------------------- */

/* 100,000 positions: the error stays below 1e-3 of the greatest value, without decay too. */
static void long_sequences(void **state)
{
    static const double slopes[] = {0, 1e-5, 0.01, 50};
    const int64_t n = 100000, sizes[] = {1, 4, n, 4, 3, 0};
    linear_call call = {0};
    (void)state;
    make(&call, "lightning", sizes, RAPT_F32);
    linear_argument *slope = linear_find(&call, "slope");
    float *memory = rapt_view_data(rapt_tensor_view(slope->tensor));
    double *want = malloc(sizeof(double) * (size_t)(n * 3));
    assert_non_null(want);
    for (int h = 0; h < 4; h++)
        memory[h] = (float)slopes[h];
    linear_run(&call, true);
    for (int64_t h = 0; h < 4; h++) {
        assert_true(reference_linear_long(n, 4, 3, (double)memory[h], call.in[0].value + h * n * 4,
                                          call.in[1].value + h * n * 4,
                                          call.in[2].value + h * n * 3, want));
        linear_compare(&call, "o", call.out[0].value + h * n * 3, want, n * 3, 1e-3);
    }
    free(want);
    linear_free(&call);
}

/* log_linear with one decay and all weights 1 is lightning with that slope. */
static void long_tree(void **state)
{
    const int64_t n = 100000, q[4] = {1, 1, n, 4}, v[4] = {1, 1, n, 3}, g[3] = {1, 1, n};
    const int64_t l[4] = {1, 1, n, 18};
    linear_call call = {.context = context, .op = "log_linear", .text = "long tree", .seed = 8};
    double *want = malloc(sizeof(double) * (size_t)(n * 3));
    (void)state;
    assert_non_null(want);
    linear_add(&call, "q", 4, q, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "k", 4, q, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "v", 4, v, RAPT_F32, LINEAR_PLAIN, 1, 0, false);
    linear_add(&call, "g", 3, g, RAPT_F32, LINEAR_PLAIN, 0, -0.25 / 1024, false);
    linear_add(&call, "l", 4, l, RAPT_F32, LINEAR_PLAIN, 0, 1, false);
    linear_want(&call, "o");
    linear_run(&call, true);
    assert_true(reference_linear_long(n, 4, 3, 0.25 / 1024, call.in[0].value, call.in[1].value,
                                      call.in[2].value, want));
    linear_compare(&call, "o", call.out[0].value, want, n * 3, 1e-3);
    free(want);
    linear_free(&call);
}

/* flow's definition in time linear in N, in double. */
static void long_flow_definition(const linear_call *call, int64_t n, double *o)
{
    double sum[4][4] = {{0}}, state[4][3] = {{0}}, z = 0;
    for (int64_t i = 0; i < n; i++) {
        const double t = (double)(i + 1), eps = 1e-6;
        double q[4], k[4], inc = 0, out = 0, cs = 0, cr = 0;
        for (int c = 0; c < 4; c++) {
            q[c] = 1 / (1 + exp(-call->in[0].value[i * 4 + c]));
            k[c] = 1 / (1 + exp(-call->in[1].value[i * 4 + c]));
            sum[0][c] += k[c];
            sum[1][c] += q[c];
            inc += (q[c] + eps) * (sum[0][c] + eps);
            out += (k[c] + eps) * (sum[1][c] + eps);
        }
        inc = t / inc;
        out = t / out;
        for (int c = 0; c < 4; c++) {
            sum[2][c] += out * k[c];
            sum[3][c] += inc * q[c];
            cs += (q[c] + eps) * (sum[2][c] + eps) / t;
            cr += (k[c] + eps) * (sum[3][c] + eps) / t;
        }
        const double weight = exp(fmin(fmax(cr, -1), 1));
        z += weight;
        for (int e = 0; e < 3; e++) {
            double row = 0;
            for (int c = 0; c < 4; c++) {
                state[c][e] += k[c] * t * weight / z * call->in[2].value[i * 3 + e];
                row += q[c] * state[c][e];
            }
            o[i * 3 + e] = row * inc / t / (1 + exp(-cs));
        }
    }
}

static void long_flow(void **state)
{
    const int64_t n = 100000, sizes[] = {1, 1, n, 4, 3, 0};
    linear_call call = {0};
    double *want = malloc(sizeof(double) * (size_t)(n * 3));
    (void)state;
    assert_non_null(want);
    make(&call, "flow", sizes, RAPT_F32);
    linear_run(&call, true);
    long_flow_definition(&call, n, want);
    linear_compare(&call, "o", call.out[0].value, want, n * 3, 1e-3);
    /* The last thousand alone: what is small at the end is right too. */
    linear_compare(&call, "o at the end", call.out[0].value + (n - 1000) * 3, want + (n - 1000) * 3,
                   3000, 1e-3);
    free(want);
    linear_free(&call);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static int64_t peak_of(const char *op, int64_t n, bool backward)
{
    const int64_t sizes[] = {1, 2, n, 64, 64, 14};
    linear_call call = {0};
    make(&call, op, sizes, RAPT_F32);
    rapt_set_recording(context, backward);
    rapt_memory_reset_peak();
    const int64_t before = rapt_memory_usage().current;
    linear_run(&call, !backward);
    const int64_t peak = rapt_memory_usage().peak - before;
    rapt_set_recording(context, true);
    linear_free(&call);
    return peak;
}

static void memory_is_linear(void **state)
{
    (void)state;
    const long n = SANITIZED ? 512 : 2048;
    for (int op = 0; op < 3; op++)
        for (int backward = 0; backward < 2; backward++) {
            const int64_t small = peak_of(operators[op], n, backward);
            const int64_t large = peak_of(operators[op], 2 * n, backward);
            if (large > 2 * small + (1 << 18))
                fail_msg("%s: %ld bytes for %ld positions, %ld for twice as many", operators[op],
                         (long)small, n, (long)large);
        }
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "bits") == 0) {
        setup(NULL);
        printf("%llx\n", (unsigned long long)all_bits());
        teardown(NULL);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(steps_equal_one_call),
        cmocka_unit_test(parts_equal_one_call),
        cmocka_unit_test(flow_sums_gradient),
        cmocka_unit_test(packed_equals_separate),
        cmocka_unit_test(equal_bits),
        cmocka_unit_test(long_sequences),
        cmocka_unit_test(long_tree),
        cmocka_unit_test(long_flow),
        cmocka_unit_test(memory_is_linear),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("linear runs", tests, setup, teardown);
}
