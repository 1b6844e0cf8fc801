/* The options of the score family, one by one and in pairs, against their definition. */
#include "score_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static rapt_context *context;
static const char *const operators[] = {"softmax", "cog", "ssa"};
enum { SOFTMAX, COG, SSA, OPERATORS };

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

static score_case plain(int op)
{
    return (score_case){
        .op = operators[op], .B = 1, .H = 4, .G = 2, .N = 70, .M = 70, .D = 16, .E = 16, .seed = 1};
}

static void check(const score_case *c)
{
    score_check(context, c, score_tolerance_of(c->dtype));
}

enum { CAUSAL, WINDOW, PACKED, BIAS, ALIBI, SOFTCAP, SINK, LSE, TAU, OPTIONS };

/* Does the operator take it? */
static bool takes(int op, int option)
{
    if (option == BIAS || option == ALIBI)
        return op != COG;
    return option != TAU || op == SSA;
}

static void put(score_case *c, int option)
{
    switch (option) {
    case CAUSAL:
        c->causal = true;
        break;
    case WINDOW:
        c->windowed = true;
        c->window[0] = 20;
        c->window[1] = 9;
        break;
    case PACKED: /* an empty sequence, one without queries, one without keys, ends within tiles */
        c->borders = 7;
        memcpy(c->cu_q, (int64_t[]){0, 5, 5, 5, 40, 43, c->N}, 7 * sizeof(int64_t));
        memcpy(c->cu_k, (int64_t[]){0, 9, 9, 20, 40, 40, c->M}, 7 * sizeof(int64_t));
        c->border_type = RAPT_I32;
        break;
    case BIAS:
        c->bias[0] = 1, c->bias[1] = c->H, c->bias[2] = c->N, c->bias[3] = c->M;
        c->hidden = 0.2;
        break;
    case ALIBI:
        c->alibi = true;
        break;
    case SOFTCAP:
        c->softcap = 1.5;
        break;
    case SINK:
        c->sink = true;
        break;
    case LSE:
        c->lse = true;
        break;
    default:
        c->tau_q = c->tau_v = true;
    }
}

static void pairs(void **state)
{
    (void)state;
    for (int op = 0; op < OPERATORS; op++)
        for (int first = 0; first < OPTIONS; first++)
            for (int second = first; second < OPTIONS; second++) {
                if (!takes(op, first) || !takes(op, second))
                    continue;
                score_case c = plain(op);
                c.M = 83;
                put(&c, first);
                put(&c, second);
                c.seed = (uint64_t)(first * OPTIONS + second);
                check(&c);
            }
}

/* Everything at once, in each type and in few queries too. */
static void together(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 2, 4, 5, 70, 200};
    for (int op = 0; op < OPERATORS; op++)
        for (int type = RAPT_F32; type <= RAPT_BF16; type++)
            for (int i = 0; i < 6; i++) {
                score_case c = plain(op);
                c.N = lengths[i];
                c.M = 131;
                c.B = 2;
                c.dtype = type;
                for (int option = 0; option < OPTIONS; option++)
                    if (takes(op, option) && option != PACKED && (option != BIAS || i % 2) &&
                        (option != LSE || type == RAPT_F32))
                        put(&c, option);
                check(&c);
            }
}

static void windows(void **state)
{
    (void)state;
    static const int64_t sides[] = {-1, 0, 1, 30, 64, 1000, INT64_MAX};
    static const int64_t lengths[][2] = {{3, 200}, {130, 130}, {40, 170}, {170, 40}};
    for (int size = 0; size < 4; size++)
        for (int left = 0; left < 7; left++)
            for (int right = 0; right < 7; right++) {
                score_case c = plain((left + right) % 2 ? COG : SOFTMAX);
                c.N = lengths[size][0];
                c.M = lengths[size][1];
                c.causal = (left + right) % 3 == 0;
                c.windowed = true;
                c.window[0] = sides[left];
                c.window[1] = sides[right];
                c.lse = right % 2;
                check(&c);
            }
}

/* Windows that leave whole spans, chunks and row blocks unvisited. */
static void long_windows(void **state)
{
    (void)state;
    for (int few = 0; few < 2; few++) {
        score_case c = plain(SOFTMAX);
        c.H = c.G = 1;
        c.N = few ? 3 : 900;
        c.M = few ? 1800 : 900;
        c.causal = true;
        c.windowed = true;
        c.window[0] = 40;
        c.window[1] = -1;
        c.alibi = true;
        check(&c);
    }
}

static void packed(void **state)
{
    (void)state;
    static const struct {
        int64_t n, m;
        int borders;
        int64_t q[8], k[8];
    } calls[] = {
        {0, 0, 1, {0}, {0}},
        {0, 5, 2, {0, 0}, {0, 5}},
        {5, 0, 3, {0, 2, 5}, {0, 0, 0}},
        {3, 9, 4, {0, 1, 2, 3}, {0, 2, 2, 9}},
        {200, 200, 2, {0, 200}, {0, 200}},
        {200, 200, 5, {0, 64, 128, 128, 200}, {0, 64, 128, 128, 200}},
        {200, 300, 7, {0, 0, 1, 100, 100, 199, 200}, {0, 100, 101, 102, 250, 300, 300}},
        {300, 200, 4, {0, 150, 290, 300}, {0, 10, 20, 200}},
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        for (int way = 0; way < 8; way++) {
            score_case c = plain(way % OPERATORS);
            c.N = calls[i].n;
            c.M = calls[i].m;
            c.borders = calls[i].borders;
            memcpy(c.cu_q, calls[i].q, sizeof(c.cu_q));
            memcpy(c.cu_k, calls[i].k, sizeof(c.cu_k));
            c.border_type = way & 1 ? RAPT_I64 : RAPT_I32;
            c.causal = way & 2;
            c.alibi = way & 4 && way % OPERATORS != COG;
            c.lse = way & 4;
            check(&c);
        }
}

/* --- Refusals --------------------------------------------------------------------------------- */

static rapt_tensor *ones(int32_t n, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    rapt_error error = {0};
    uint64_t seed = 1;
    rapt_tensor *x = score_random(context, (int64_t[]){a, b, c, d}, RAPT_F32, false, 1, &seed);
    rapt_tensor *view = rapt_view_as(context, x, n, shape, &error);
    assert_non_null(view);
    rapt_tensor_release(x);
    return view;
}

static rapt_tensor *integers(int64_t n, const int64_t *values)
{
    rapt_tensor *x = rapt_tensor_from(context, RAPT_I64, 1, &n, values, NULL);
    assert_non_null(x);
    return x;
}

static void refuse(const char *op, int64_t batch, const char *name, rapt_tensor *x,
                   const char *other, rapt_tensor *y, const rapt_named_value *attr,
                   const char *message)
{
    rapt_error error = {0};
    rapt_tensor *q = ones(4, batch, 2, 7, 4);
    const rapt_named_tensor inputs[] = {{"q", q}, {"k", q}, {"v", q}, {name, x}, {other, y}};
    rapt_named_tensor output = {"o", NULL};
    const rapt_status status = rapt_call_operator(context, op, inputs, 3 + !!x + !!y, attr,
                                                  attr != NULL, &output, 1, &error);
    if (status == RAPT_OK || !strstr(error.message, message))
        fail_msg("%s %s: expected \"%s\", got %s \"%s\"", op, name ? name : attr->name, message,
                 rapt_status_name(status), error.message);
    rapt_tensor_release(q);
    rapt_tensor_release(x);
    rapt_tensor_release(y);
}

static void refuse_borders(int64_t batch, int64_t n, const int64_t *q, int64_t m, const int64_t *k,
                           const char *message)
{
    refuse("softmax", batch, "cu_seqlens_q", integers(n, q), "cu_seqlens_k",
           k ? integers(m, k) : NULL, NULL, message);
}

static void refusals(void **state)
{
    (void)state;
    const int64_t good[] = {0, 3, 7};
    refuse_borders(1, 3, (int64_t[]){0, 3, 6}, 3, good,
                   "cu_seqlens_q must rise from 0 to N = 7, but entry 3 is 6");
    refuse_borders(1, 3, good, 3, (int64_t[]){1, 3, 7},
                   "cu_seqlens_k must rise from 0 to M = 7, but entry 1 is 1");
    refuse_borders(1, 3, (int64_t[]){0, 9, 7}, 3, good, "entry 2 is 9");
    refuse_borders(1, 3, (int64_t[]){0, -1, 7}, 3, good, "entry 2 is -1");
    refuse_borders(1, 4, (int64_t[]){0, 4, 3, 7}, 4, (int64_t[]){0, 4, 4, 7}, "entry 3 is 3");
    refuse_borders(1, 1, (int64_t[]){0}, 1, (int64_t[]){0}, "entry 1 is 0");
    refuse_borders(1, 0, good, 0, good, "empty");
    refuse_borders(1, 3, good, 2, good, "cu_seqlens_k");
    refuse_borders(2, 3, good, 3, good, "B == 1");
    refuse_borders(1, 3, good, 0, NULL, "given(cu_seqlens_k)");
    refuse("cog", 1, "alibi", ones(1, 2, 1, 1, 1), NULL, NULL, NULL, "alibi");
    refuse("softmax", 1, "tau_q", ones(3, 1, 2, 7, 1), NULL, NULL, NULL, "tau_q");
    refuse("softmax", 1, "sink", ones(1, 3, 1, 1, 1), NULL, NULL, NULL, "sink");
    refuse("softmax", 1, NULL, NULL, NULL, NULL,
           &(rapt_named_value){.name = "softcap", .type = RAPT_ATTR_FLOAT, .f = -1}, "softcap");
    refuse("softmax", 1, NULL, NULL, NULL, NULL,
           &(rapt_named_value){.name = "window", .type = RAPT_ATTR_INTS, .count = 1, .i = {3}},
           "window");
}

/* --- Numbers ---------------------------------------------------------------------------------- */

/* One query, logits 0 for all its keys: what a sink takes. */
static void sinks(void **state)
{
    (void)state;
    static const struct {
        float sink;
        double share;
    } calls[] = {{0, 0.25}, {-INFINITY, 0}, {-1e30f, 0}, {1e30f, 1}, {10000, 1}};
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        for (int rows = 1; rows < 9; rows += 7) {
            const int64_t q[4] = {1, 1, rows, 2}, k[4] = {1, 1, 3, 2}, one = 1;
            const float zeros[16] = {0}, values[6] = {1, 1, 1, 1, 1, 1};
            rapt_error error = {0};
            rapt_tensor *x[4] = {
                rapt_tensor_from(context, RAPT_F32, 4, q, zeros, NULL),
                rapt_tensor_from(context, RAPT_F32, 4, k, zeros, NULL),
                rapt_tensor_from(context, RAPT_F32, 4, k, values, NULL),
                rapt_tensor_from(context, RAPT_F32, 1, &one, &calls[i].sink, NULL)};
            const rapt_named_tensor inputs[] = {
                {"q", x[0]}, {"k", x[1]}, {"v", x[2]}, {"sink", x[3]}};
            rapt_named_tensor out = {"o", NULL};
            score_must(rapt_set_requires_grad(x[3], true, NULL), NULL);
            score_must(rapt_call_operator(context, "softmax", inputs, 4, NULL, 0, &out, 1, &error),
                       &error);
            score_must(rapt_backward(context, out.tensor, x[0], false, &error), &error);
            double *o = score_read(context, out.tensor);
            double *grad = score_read(context, rapt_grad(x[3]));
            for (int r = 0; r < 2 * rows; r++)
                assert_float_equal(o[r], 1 - calls[i].share, 1e-6);
            assert_true(grad[0] == 0);
            free(o);
            free(grad);
            rapt_tensor_release(out.tensor);
            for (int j = 0; j < 4; j++)
                rapt_tensor_release(x[j]);
        }
}

/* A cap of large scores, distances that outweigh everything, a cap beside a bias of -infinity. */
static void hard_numbers(void **state)
{
    (void)state;
    for (int op = 0; op < OPERATORS; op++) {
        score_case c = plain(op);
        c.magnitude = 500;
        c.softcap = 20;
        c.sink = true;
        score_check(context, &c,
                    op == COG ? (score_tolerance){4e-3, 1e-2} : (score_tolerance){1e-4, 1e-3});
    }
    score_case c = plain(SOFTMAX);
    c.N = c.M = 3000;
    c.H = c.G = 1;
    c.alibi = true;
    check(&c);
    c.N = c.M = 90;
    put(&c, BIAS);
    c.hidden = 0.95;
    c.softcap = 0.01;
    check(&c);
}

/* --- Merging ---------------------------------------------------------------------------------- */

static void attend(const char *op, rapt_named_tensor *inputs, size_t n, bool causal,
                   rapt_named_tensor *out)
{
    rapt_error error = {0};
    const rapt_named_value attr = {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {causal}};
    score_must(rapt_call_operator(context, op, inputs, n, &attr, 1, out, 2, &error), &error);
}

/* sum(x * y) fed back together for both outputs. */
static void feed_back(rapt_named_tensor *out, rapt_tensor *const *seeds)
{
    rapt_error error = {0};
    rapt_named_tensor sums[2], total = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        rapt_named_tensor product = {NULL, NULL};
        const rapt_named_tensor pair[2] = {{"a", out[i].tensor}, {"b", seeds[i]}};
        score_must(rapt_call_operator(context, "core.mul", pair, 2, NULL, 0, &product, 1, &error),
                   &error);
        const rapt_named_tensor x = {"x", product.tensor};
        sums[i] = (rapt_named_tensor){NULL, NULL};
        score_must(rapt_call_operator(context, "core.sum", &x, 1, NULL, 0, &sums[i], 1, &error),
                   &error);
        sums[i].name = i ? "b" : "a";
        rapt_tensor_release(product.tensor);
    }
    score_must(rapt_call_operator(context, "core.add", sums, 2, NULL, 0, &total, 1, &error),
               &error);
    score_must(rapt_backward(context, total.tensor, NULL, false, &error), &error);
    rapt_tensor_release(sums[0].tensor);
    rapt_tensor_release(sums[1].tensor);
    rapt_tensor_release(total.tensor);
}

static void leaves(rapt_tensor **x, int64_t m)
{
    uint64_t seed = 21;
    for (int i = 0; i < 3; i++) {
        const int64_t shape[4] = {2, i ? 2 : 4, i ? m : 40, i == 2 ? 12 : 20};
        x[i] = score_random(context, shape, RAPT_F32, false, 1, &seed);
        score_must(rapt_set_requires_grad(x[i], true, NULL), NULL);
    }
}

/* Keys from `start` on, `length` of them; the sink belongs to one part alone. */
static void attend_part(rapt_tensor *const *x, int64_t start, int64_t length, bool causal,
                        rapt_tensor *sink, rapt_named_tensor *out)
{
    rapt_error error = {0};
    rapt_named_tensor inputs[4] = {{"q", x[0]},
                                   {"k", rapt_narrow(context, x[1], 2, start, length, &error)},
                                   {"v", rapt_narrow(context, x[2], 2, start, length, &error)},
                                   {"sink", sink}};
    out[0] = (rapt_named_tensor){"o", NULL};
    out[1] = (rapt_named_tensor){"lse", NULL};
    attend("softmax", inputs, sink ? 4 : 3, causal, out);
    rapt_tensor_release(inputs[1].tensor);
    rapt_tensor_release(inputs[2].tensor);
}

/* The last part of a causal call is a causal call itself, those before it are seen whole. */
static void merged(int64_t first, int64_t second, bool causal, bool with_sink)
{
    static const char *const names[] = {"o", "lse", "dq", "dk", "dv", "dsink"};
    rapt_tensor *x[2][3], *sink[2] = {NULL, NULL}, *flat = NULL, *seeds[2];
    rapt_named_tensor whole[2], parts[2][2], both[2] = {{"o", NULL}, {"lse", NULL}};
    uint64_t seed = 8;
    const int64_t rows[4] = {2, 4, 40, 12}, row[4] = {2, 4, 40, 1}, heads[4] = {4, 1, 1, 1};
    seeds[0] = score_random(context, rows, RAPT_F32, false, 1, &seed);
    rapt_tensor *wide = score_random(context, row, RAPT_F32, false, 1, &seed);
    seeds[1] = rapt_view_as(context, wide, 3, row, NULL);
    for (int i = 0; i < 2; i++) {
        leaves(x[i], first + second);
        if (with_sink) {
            seed = 77;
            flat = score_random(context, heads, RAPT_F32, false, 1, &seed);
            sink[i] = rapt_view_as(context, flat, 1, heads, NULL);
            score_must(rapt_set_requires_grad(sink[i], true, NULL), NULL);
            rapt_tensor_release(flat);
        }
    }
    attend_part(x[0], 0, first + second, causal, sink[0], whole);
    attend_part(x[1], 0, first, false, sink[1], parts[0]);
    attend_part(x[1], first, second, causal, NULL, parts[1]);
    rapt_named_tensor inputs[4] = {{"a", parts[0][0].tensor},
                                   {"a_lse", parts[0][1].tensor},
                                   {"b", parts[1][0].tensor},
                                   {"b_lse", parts[1][1].tensor}};
    rapt_error error = {0};
    score_must(rapt_call_operator(context, "core.merge", inputs, 4, NULL, 0, both, 2, &error),
               &error);
    if (first + second > 0 || with_sink) { /* otherwise lse is -inf, and so is the loss */
        feed_back(whole, seeds);
        feed_back(both, seeds);
    }
    for (int i = 0; i < 6; i++) {
        rapt_tensor *want = i < 2 ? whole[i].tensor : i < 5 ? rapt_grad(x[0][i - 2]) : NULL;
        rapt_tensor *have = i < 2 ? both[i].tensor : i < 5 ? rapt_grad(x[1][i - 2]) : NULL;
        if (i == 5 && with_sink)
            want = rapt_grad(sink[0]), have = rapt_grad(sink[1]);
        if (!want && !have)
            continue;
        double *a = score_read(context, have), *b = score_read(context, want);
        const double off = score_error(a, b, rapt_tensor_count(want), 0.1);
        if (!(off <= 2e-5))
            fail_msg("%ld and %ld keys, causal %d: %s is off by %g", (long)first, (long)second,
                     causal, names[i], off);
        free(a);
        free(b);
    }
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++)
            rapt_tensor_release(x[i][j]);
        rapt_tensor_release(whole[i].tensor);
        rapt_tensor_release(parts[0][i].tensor);
        rapt_tensor_release(parts[1][i].tensor);
        rapt_tensor_release(both[i].tensor);
        rapt_tensor_release(sink[i]);
        rapt_tensor_release(seeds[i]);
    }
    rapt_tensor_release(wide);
}

static void parts_merge_to_the_whole(void **state)
{
    (void)state;
    for (int with_sink = 0; with_sink < 2; with_sink++) {
        merged(30, 40, true, with_sink);
        merged(1, 90, false, with_sink);
        merged(100, 3, false, with_sink);
        merged(0, 40, true, with_sink);
        merged(50, 0, false, with_sink);
        merged(0, 0, false, with_sink);
    }
}

/* Rows that no part has a key for: 0, -infinity, and gradients of 0 beside rows that have. */
static void rows_of_nothing_merge(void **state)
{
    (void)state;
    const int64_t rows[4] = {1, 1, 3, 2}, each[3] = {1, 1, 3};
    const float a[6] = {1, 2, NAN, NAN, NAN, NAN}, b[6] = {3, 4, 5, 6, NAN, NAN};
    const float la[3] = {0, -INFINITY, -INFINITY}, lb[3] = {0, 2, -INFINITY};
    rapt_error error = {0};
    rapt_tensor *x[4] = {rapt_tensor_from(context, RAPT_F32, 4, rows, a, NULL),
                         rapt_tensor_from(context, RAPT_F32, 3, each, la, NULL),
                         rapt_tensor_from(context, RAPT_F32, 4, rows, b, NULL),
                         rapt_tensor_from(context, RAPT_F32, 3, each, lb, NULL)};
    const rapt_named_tensor inputs[4] = {
        {"a", x[0]}, {"a_lse", x[1]}, {"b", x[2]}, {"b_lse", x[3]}};
    rapt_named_tensor out[2] = {{"o", NULL}, {"lse", NULL}};
    for (int i = 0; i < 4; i++)
        score_must(rapt_set_requires_grad(x[i], true, NULL), NULL);
    score_must(rapt_call_operator(context, "core.merge", inputs, 4, NULL, 0, out, 2, &error),
               &error);
    double *o = score_read(context, out[0].tensor), *lse = score_read(context, out[1].tensor);
    const double want[6] = {2, 3, 5, 6, 0, 0};
    for (int i = 0; i < 6; i++)
        assert_float_equal(o[i], want[i], 1e-6);
    assert_float_equal(lse[0], log(2), 1e-6);
    assert_true(lse[1] == 2 && lse[2] == -INFINITY);
    rapt_tensor *seed =
        rapt_tensor_from(context, RAPT_F32, 4, rows, (float[]){1, 1, 1, 1, 1, 1}, NULL);
    score_must(rapt_backward(context, out[0].tensor, seed, false, &error), &error);
    rapt_tensor_release(seed);
    const double grads[4][6] = {
        {0.5, 0.5, 0, 0, 0, 0}, {-1, 0, 0}, {0.5, 0.5, 1, 1, 0, 0}, {1, 0, 0}};
    for (int i = 0; i < 4; i++) {
        double *grad = score_read(context, rapt_grad(x[i]));
        for (int j = 0; j < (i % 2 ? 3 : 6); j++)
            assert_float_equal(grad[j], grads[i][j], 1e-6);
        free(grad);
        rapt_tensor_release(x[i]);
    }
    free(o);
    free(lse);
    rapt_tensor_release(out[0].tensor);
    rapt_tensor_release(out[1].tensor);
}

/* --- Decoding --------------------------------------------------------------------------------- */

enum { N_DECODED = 90 };

/* Position after position with every option that a state can keep, over more than one block. */
static void steps_equal_one_call(void **state)
{
    (void)state;
    rapt_error error = {0};
    uint64_t seed = 4;
    const int64_t shape[4] = {1, 2, N_DECODED, 8}, heads[4] = {2, 1, 1, 1};
    rapt_tensor *x = score_random(context, shape, RAPT_F32, false, 2, &seed);
    rapt_tensor *flat = score_random(context, heads, RAPT_F32, false, 0.3, &seed);
    rapt_tensor *each = rapt_view_as(context, flat, 1, heads, NULL);
    const rapt_named_value attrs[] = {
        {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {1}},
        {.name = "window", .type = RAPT_ATTR_INTS, .count = 2, .i = {70, 3}},
        {.name = "softcap", .type = RAPT_ATTR_FLOAT, .f = 2}};
    const rapt_named_tensor inputs[] = {
        {"q", x}, {"k", x}, {"v", x}, {"alibi", each}, {"sink", each}};
    rapt_named_tensor full = {"o", NULL};
    score_must(rapt_call_operator(context, "softmax", inputs, 5, attrs, 3, &full, 1, &error),
               &error);
    double *want = score_read(context, full.tensor);
    for (int64_t split = 0; split <= N_DECODED; split += 15) {
        rapt_tensor *start = rapt_narrow(context, x, 2, 0, split, &error);
        const rapt_named_tensor first[] = {
            {"q", start}, {"k", start}, {"v", start}, {"alibi", each}, {"sink", each}};
        rapt_decoding *run = rapt_decode(context, "softmax", first, 5, attrs, 3, NULL, &error);
        if (!run)
            fail_msg("%s", error.message);
        for (int64_t i = split; i < N_DECODED; i++) {
            rapt_tensor *row = rapt_narrow(context, x, 2, i, 1, &error);
            const rapt_named_tensor one[] = {{"q", row}, {"k", row}, {"v", row}};
            rapt_tensor *o = rapt_step(run, one, 3, &error);
            if (!o)
                fail_msg("%s", error.message);
            double *got = score_read(context, o);
            for (int h = 0; h < 2; h++)
                for (int e = 0; e < 8; e++)
                    assert_float_equal(got[h * 8 + e], want[(h * N_DECODED + i) * 8 + e], 2e-5);
            free(got);
            rapt_tensor_release(o);
            rapt_tensor_release(row);
        }
        rapt_decoding_free(run);
        rapt_tensor_release(start);
    }
    free(want);
    rapt_tensor_release(full.tensor);
    rapt_tensor_release(x);
    rapt_tensor_release(flat);
    rapt_tensor_release(each);
}

/* --- Equal bits ------------------------------------------------------------------------------- */

static void same_bits_again(void **state)
{
    (void)state;
    double *first[3] = {NULL};
    for (int round = 0; round < 3; round++) {
        uint64_t seed = 11;
        rapt_error error = {0};
        const int64_t shape[4] = {1, 2, 300, 16}, heads[4] = {2, 1, 1, 1};
        rapt_tensor *q = score_random(context, shape, RAPT_F32, false, 1, &seed);
        rapt_tensor *flat = score_random(context, heads, RAPT_F32, false, 1, &seed);
        rapt_tensor *alibi = rapt_view_as(context, flat, 1, heads, NULL);
        rapt_tensor *sink = rapt_clone(context, alibi, NULL);
        score_must(rapt_set_requires_grad(alibi, true, NULL), NULL);
        score_must(rapt_set_requires_grad(sink, true, NULL), NULL);
        const rapt_named_tensor inputs[] = {
            {"q", q}, {"k", q}, {"v", q}, {"alibi", alibi}, {"sink", sink}};
        rapt_named_tensor out = {"o", NULL};
        score_must(rapt_call_operator(context, "softmax", inputs, 5, NULL, 0, &out, 1, &error),
                   &error);
        score_must(rapt_backward(context, out.tensor, q, false, &error), &error);
        rapt_tensor *made[3] = {out.tensor, rapt_grad(alibi), rapt_grad(sink)};
        for (int i = 0; i < 3; i++) {
            double *got = score_read(context, made[i]);
            if (round == 0) {
                first[i] = got;
                continue;
            }
            assert_memory_equal(got, first[i], sizeof(double) * (size_t)rapt_tensor_count(made[i]));
            free(got);
        }
        rapt_tensor_release(out.tensor);
        rapt_tensor_release(q);
        rapt_tensor_release(flat);
        rapt_tensor_release(alibi);
        rapt_tensor_release(sink);
    }
    for (int i = 0; i < 3; i++)
        free(first[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs),
        cmocka_unit_test(together),
        cmocka_unit_test(windows),
        cmocka_unit_test(long_windows),
        cmocka_unit_test(packed),
        cmocka_unit_test(refusals),
        cmocka_unit_test(sinks),
        cmocka_unit_test(hard_numbers),
        cmocka_unit_test(parts_merge_to_the_whole),
        cmocka_unit_test(rows_of_nothing_merge),
        cmocka_unit_test(steps_equal_one_call),
        cmocka_unit_test(same_bits_again),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("score options", tests, setup, teardown);
}
