/* agent against its definition: golden vectors, pooling, biases, the depth-wise convolution,
 * layouts, types, refusals, equal bits, memory. */
#include "agent_case.h"
#include "equal_bits.h"
#include "sanitized.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *program; /* this test, to be run again */
static const rapt_device cpu = {RAPT_DEVICE_CPU, 0};

static int setup(void **state)
{
    (void)state;
    agent_context = score_context();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rapt_close(agent_context);
    return 0;
}

/* --- Golden vectors --------------------------------------------------------------------------- */

static rapt_tensor *find(const rapt_file *file, const char *prefix, const char *name)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, whole) == 0)
            return file->tensors[i].tensor;
    return NULL;
}

static const char *attributes_of(const rapt_file *file)
{
    for (size_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].name, "attrs") == 0)
            return file->metadata[i].text;
    fail_msg("no attributes");
    return NULL;
}

static agent_run stored_run(const rapt_file *file, rapt_dtype dtype)
{
    const char *attrs = attributes_of(file), *grid = strstr(attrs, "\"grid\": [");
    const char *agents = strstr(attrs, "\"n_agents\": ");
    agent_run run = {.c.dtype = dtype};
    long size[2] = {0, 0};
    for (int i = 0; i < AGENT_INPUTS; i++) {
        rapt_tensor *stored = find(file, "", agent_names[i]);
        if (!stored)
            continue;
        rapt_tensor *own = rapt_clone(agent_context, stored, NULL);
        assert_non_null(own);
        run.input[i] = rapt_to(agent_context, own, dtype, cpu, NULL);
        assert_non_null(run.input[i]);
        rapt_tensor_release(own);
    }
    run.seed = rapt_to(agent_context, find(file, "", "do"), dtype, cpu, NULL);
    assert_non_null(run.seed);
    const int64_t *q = rapt_tensor_view(run.input[AGENT_Q])->shape;
    const int64_t *v = rapt_tensor_view(run.input[AGENT_V])->shape;
    run.c.B = q[0], run.c.H = q[1], run.c.N = q[2], run.c.D = q[3];
    run.c.M = v[2], run.c.E = v[3];
    run.c.n_agents = agents ? strtol(agents + strlen("\"n_agents\": "), NULL, 10) : 0;
    if (grid && sscanf(grid, "\"grid\": [%ld, %ld]", &size[0], &size[1]) == 2)
        run.c.grid[0] = size[0], run.c.grid[1] = size[1];
    if (run.input[AGENT_AGENTS])
        run.c.given = rapt_tensor_view(run.input[AGENT_AGENTS])->shape[2];
    if (run.input[AGENT_DWC_WEIGHT])
        run.c.R = rapt_tensor_view(run.input[AGENT_DWC_WEIGHT])->shape[3];
    run.A = run.c.given ? run.c.given : run.c.n_agents ? run.c.n_agents : 49;
    agent_set_inputs(&run);
    agent_set_attrs(&run);
    return run;
}

static void compare_stored(const agent_run *run, const rapt_file *file)
{
    double *want = score_read(agent_context, find(file, "", "o"));
    agent_compare(run, "o", run->o, want, 2e-5, 0);
    free(want);
    for (int i = 0; i < AGENT_INPUTS; i++)
        if (run->input[i]) {
            want = score_read(agent_context, find(file, "d", agent_names[i]));
            agent_compare(run, agent_names[i], rapt_grad(run->input[i]), want, 1e-4, 0);
            free(want);
        }
}

static void golden(void **state)
{
    static const char *const files[] = {"agent_agents_bias", "agent_grid_dwc", "agent_pool1d"};
    const char *folder = getenv("RAPT_GOLDEN");
    (void)state;
    assert_non_null(folder);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++) {
            rapt_error error = {0};
            char path[1024];
            snprintf(path, sizeof path, "%s/%s.safetensors", folder, files[i]);
            rapt_file *file = rapt_load_safetensors(path, &error);
            if (!file)
                fail_msg("%s", error.message);
            agent_run run = stored_run(file, dtype);
            agent_forward_backward(&run);
            agent_compare_defined(&run, 0);
            if (dtype == RAPT_F32)
                compare_stored(&run, file);
            agent_end_run(&run);
            rapt_file_free(file);
        }
}

/* --- Against the definition ------------------------------------------------------------------- */

/* sink and softcap with everything else, in both types of agents. */
static void options(void **state)
{
    (void)state;
    for (int which = 0; which < 32; which++)
        for (int dtype = RAPT_F32; dtype <= RAPT_F16; dtype++) {
            agent_case c = agent_plain();
            c.N = 30;
            c.M = which & 16 ? 30 : 41;
            c.dtype = (rapt_dtype)dtype;
            c.sink = which & 1;
            c.softcap = which & 2 ? 0.7 : 0;
            c.given = which & 4 ? 5 : 0;
            c.n_agents = which & 4 ? 0 : 4;
            c.agent_bias = c.query_bias = which & 8 && !c.given;
            c.magnitude = 3;
            if (which & 16) {
                c.grid[0] = 5, c.grid[1] = 6;
                c.R = 3;
            }
            c.seed = (uint64_t)which + 1;
            agent_check(&c);
        }
}

/* Bins that overlap, bins of one query, more agents than queries. */
static void pooled(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 2, 7, 33, 64, 130}, agents[] = {1, 3, 8, 49, 70};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 5; j++) {
            agent_case c = agent_plain();
            c.N = lengths[i];
            c.M = lengths[(i + j) % 6];
            c.n_agents = agents[j];
            c.D = 1 + (i * 7 + j * 13) % 40;
            c.E = 1 + (i * 11 + j * 5) % 40;
            c.agent_bias = j % 2;
            c.query_bias = i % 2;
            c.seed = (uint64_t)(i * 6 + j);
            agent_check(&c);
        }
}

static void pooled_from_a_grid(void **state)
{
    (void)state;
    static const int64_t grids[][2] = {{1, 1}, {1, 20}, {20, 1}, {5, 4}, {7, 9}, {2, 33}};
    for (int i = 0; i < 6; i++)
        for (int64_t side = 1; side <= 5; side++) {
            agent_case c = agent_plain();
            c.grid[0] = grids[i][0];
            c.grid[1] = grids[i][1];
            c.N = c.grid[0] * c.grid[1];
            c.M = i % 2 ? c.N : 11;
            c.n_agents = side * side;
            c.D = 8 + i * 3;
            c.seed = (uint64_t)(i * 8 + side);
            agent_check(&c);
        }
}

static void default_number_of_agents(void **state)
{
    (void)state;
    agent_case c = agent_plain();
    c.n_agents = 0;
    c.N = c.M = 200;
    agent_check(&c);
    c.grid[0] = 10;
    c.grid[1] = 20;
    agent_check(&c);
}

/* n_agents is for pooling: agents that are given may be of any number. */
static void given(void **state)
{
    (void)state;
    static const int64_t agents[] = {1, 5, 64, 100};
    for (int i = 0; i < 4; i++)
        for (int64_t n = 1; n <= 131; n += 65) {
            agent_case c = agent_plain();
            c.given = agents[i];
            c.n_agents = i % 2 ? 3 : 0;
            c.N = n;
            c.M = i == 3 ? 257 : 29;
            c.D = 24;
            c.E = 40;
            c.agent_bias = c.query_bias = i != 1;
            c.seed = (uint64_t)(i * 3 + n);
            agent_check(&c);
        }
    agent_case c = agent_plain();
    c.given = 5;
    c.grid[0] = 4, c.grid[1] = 5; /* of no account for agents that are given */
    agent_check(&c);
}

/* So many keys that agents gather from them in parts, the last one shorter. */
static void keys_in_parts(void **state)
{
    (void)state;
    for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++)
        for (int64_t b = 1; b <= 3; b++) {
            agent_case c = agent_plain();
            c.B = b;
            c.H = 1 + b % 2;
            c.M = 1024 + 513 * b;
            c.n_agents = 0;
            c.given = b == 2 ? 70 : 9;
            c.agent_bias = c.transposed = b != 1;
            c.magnitude = 4;
            c.dtype = c.bias_dtype = dtype;
            c.seed = (uint64_t)b;
            agent_check(&c);
        }
}

static void convolution(void **state)
{
    (void)state;
    static const int64_t grids[][2] = {{1, 1}, {4, 5}, {3, 17}, {9, 2}, {1, 30}};
    for (int i = 0; i < 5; i++)
        for (int64_t taps = 1; taps <= 7; taps += 2) {
            agent_case c = agent_plain();
            c.B = 2;
            c.grid[0] = grids[i][0];
            c.grid[1] = grids[i][1];
            c.N = c.M = c.grid[0] * c.grid[1];
            c.R = taps;
            c.dwc_bias = i % 2 || taps == 5;
            c.D = 8;
            c.E = 5 + i * 9;
            c.given = i == 3 ? 6 : 0;
            c.agent_bias = c.query_bias = taps == 3;
            c.seed = (uint64_t)(i * 8 + taps);
            agent_check(&c);
        }
}

static void layouts(void **state)
{
    (void)state;
    for (int dtype = RAPT_F32; dtype <= RAPT_BF16; dtype++)
        for (int given = 0; given < 2; given++)
            for (int d = 0; d < 2; d++) {
                agent_case c = agent_plain();
                c.B = 2;
                c.H = 3;
                c.grid[0] = 6, c.grid[1] = 7;
                c.N = c.M = 42;
                c.D = d ? 64 : 12;
                c.E = d ? 10 : 32;
                c.given = given ? 9 : 0;
                c.R = 5;
                c.dwc_bias = c.agent_bias = c.query_bias = c.transposed = true;
                c.dtype = dtype;
                c.bias_dtype = given ? dtype : RAPT_F32;
                agent_check(&c);
            }
}

static void halves(void **state)
{
    (void)state;
    for (int dtype = RAPT_F16; dtype <= RAPT_BF16; dtype++)
        for (int64_t n = 1; n <= 300; n = n * 3 + 2) {
            agent_case c = agent_plain();
            c.dtype = dtype;
            c.N = n;
            c.M = n + 5;
            c.n_agents = 7;
            c.seed = (uint64_t)n;
            agent_check(&c);
            c.given = 3;
            c.agent_bias = c.query_bias = true;
            agent_check(&c);
        }
}

static void scales_and_large_logits(void **state)
{
    (void)state;
    static const double scale[] = {0.7, -0.3, 1e-3};
    for (int i = 0; i < 3; i++) {
        agent_case c = agent_plain();
        c.N = c.M = 90;
        c.scale = scale[i];
        agent_check(&c);
    }
    /* All rows equal to one agent's answer: every softmax has one key that outweighs the rest. */
    agent_case c = agent_plain();
    c.given = 4;
    c.N = c.M = 64;
    c.magnitude = 1e4;
    agent_run run = agent_make_run(&c);
    agent_forward_backward(&run);
    double *o = score_read(agent_context, run.o),
           *dq = score_read(agent_context, rapt_grad(run.input[0]));
    for (int64_t i = 0; i < rapt_tensor_count(run.o); i++)
        assert_true(isfinite(o[i]) && isfinite(dq[i]));
    free(o);
    free(dq);
    agent_end_run(&run);
}

/* No keys: agents gather nothing and outputs are zero. No queries, no samples, no given agents:
 * nothing to do, and gradients of zero. */
static void nothing(void **state)
{
    (void)state;
    agent_case c = agent_plain();
    c.M = 0;
    agent_check(&c);
    c = agent_plain();
    c.given = 3;
    c.N = 0;
    agent_check(&c);
    c = agent_plain();
    c.N = 0; /* agents pooled from no queries are zero */
    agent_check(&c);
    c.B = 0;
    agent_check(&c);
    c = agent_plain();
    c.given = 3;
    c.agent_bias = c.query_bias = true;
    agent_run run = agent_make_run(&c);
    rapt_tensor *none = rapt_narrow(agent_context, run.input[AGENT_AGENTS], 2, 0, 0, NULL);
    assert_non_null(none);
    run.inputs[3].tensor = none;
    run.n_inputs = 4;
    agent_forward_backward(&run);
    double *o = score_read(agent_context, run.o);
    for (int64_t i = 0; i < rapt_tensor_count(run.o); i++)
        assert_true(o[i] == 0);
    free(o);
    rapt_tensor_release(none);
    agent_end_run(&run);
}

/* Gradients of some inputs alone are those of all of them. */
static void single_gradients(void **state)
{
    (void)state;
    agent_case c = agent_plain();
    c.grid[0] = 4, c.grid[1] = 5;
    c.R = 3;
    c.agent_bias = c.query_bias = c.dwc_bias = true;
    for (int pool = 0; pool < 2; pool++) {
        c.given = pool ? 0 : 4;
        agent_run all = agent_make_run(&c);
        agent_forward_backward(&all);
        for (int only = 0; only < AGENT_INPUTS; only++) {
            agent_run run = agent_make_run(&c);
            if (!run.input[only]) {
                agent_end_run(&run);
                continue;
            }
            for (int i = 0; i < AGENT_INPUTS; i++)
                if (run.input[i])
                    score_must(rapt_set_requires_grad(run.input[i], i == only, NULL), NULL);
            agent_forward_backward(&run);
            double *want = score_read(agent_context, rapt_grad(all.input[only]));
            agent_compare(&run, agent_names[only], rapt_grad(run.input[only]), want, 0, 0);
            free(want);
            agent_end_run(&run);
        }
        agent_end_run(&all);
    }
}

/* --- Refusals --------------------------------------------------------------------------------- */

static void refused(const agent_case *c, const rapt_named_value *more, const char *first,
                    const char *second)
{
    rapt_error error = {0};
    agent_run run = agent_make_run(c);
    if (more)
        run.attrs[run.n_attrs++] = *more;
    const rapt_status status = agent_forward(&run, &error);
    assert_int_not_equal(status, RAPT_OK);
    assert_null(run.o);
    if (!strstr(error.message, "agent") || !strstr(error.message, first) ||
        !strstr(error.message, second) || strchr(error.message, '\n'))
        fail_msg("'%s' lacks '%s' or '%s'", error.message, first, second);
    agent_end_run(&run);
}

static void refusals(void **state)
{
    (void)state;
    const rapt_named_value causal = {.name = "causal", .type = RAPT_ATTR_BOOL, .i = {1}};
    agent_case c = agent_plain();
    refused(&c, &causal, "causal", "");
    c.grid[0] = 4, c.grid[1] = 6;
    refused(&c, NULL, "grid is 4 x 6", "N is 20");
    c.grid[0] = INT64_MAX, c.grid[1] = 20;
    refused(&c, NULL, "grid", "N is 20");
    c.grid[0] = 4, c.grid[1] = 5;
    c.n_agents = 7;
    refused(&c, NULL, "n_agents is 7", "square");
    c = agent_plain();
    c.grid[0] = 4, c.grid[1] = 5;
    c.R = 4;
    refused(&c, NULL, "R % 2 == 1", "");
    c.R = 3;
    c.grid[0] = 0;
    refused(&c, NULL, "given(grid)", "");
    c = agent_plain();
    c.dwc_bias = true;
    refused(&c, NULL, "given(dwc_weight)", "");
    c = agent_plain();
    c.grid[0] = 4, c.grid[1] = 5;
    c.R = 3;
    c.M = 21;
    refused(&c, NULL, "N == M", "");
    c = agent_plain();
    c.n_agents = -1;
    c.agent_bias = false;
    c.given = 3;
    refused(&c, NULL, "n_agents", "-1");
}

/* A bias says how many agents there are; pooling must make as many. */
static void bias_of_other_agents(void **state)
{
    (void)state;
    agent_case c = agent_plain();
    rapt_error error = {0};
    c.agent_bias = true;
    agent_run run = agent_make_run(&c);
    run.attrs[0].i[0] = 9;
    assert_int_equal(agent_forward(&run, &error), RAPT_INVALID);
    assert_non_null(strstr(error.message, "A == n_agents"));
    agent_end_run(&run);
}

/* More agents than any memory holds, or than a shape can say. */
static void too_many_agents(void **state)
{
    (void)state;
    static const int64_t counts[] = {INT64_MAX, INT64_MAX / 8, (int64_t)1 << 50};
    for (int i = 0; i < 6; i++) {
        agent_case c = agent_plain();
        rapt_error error = {0};
        agent_run run = agent_make_run(&c);
        run.attrs[0].i[0] = counts[i / 2];
        for (size_t j = 0; j < run.n_inputs && i % 2; j++)
            score_must(rapt_set_requires_grad(run.inputs[j].tensor, false, NULL), NULL);
        const rapt_status status = agent_forward(&run, &error);
        assert_true(status == RAPT_NO_MEMORY || (status == RAPT_INVALID && i % 2 == 0));
        assert_non_null(strstr(error.message, "agent"));
        assert_null(run.o);
        agent_end_run(&run);
    }
}

/* --- Bits, memory ----------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, rapt_tensor *tensor)
{
    const size_t bytes = (size_t)rapt_tensor_count(tensor) *
                         rapt_dtype_size(rapt_view_dtype(rapt_tensor_view(tensor)));
    unsigned char *memory = malloc(bytes + 1);
    assert_non_null(memory);
    score_must(rapt_read(agent_context, tensor, memory, bytes, NULL), NULL);
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ memory[i]) * 1099511628211ull;
    free(memory);
    return h;
}

static uint64_t all_bits(void)
{
    uint64_t result = 14695981039346656037ull;
    for (int kind = 0; kind < 3; kind++)
        for (int dtype = RAPT_F32; dtype <= RAPT_F16; dtype++) {
            agent_case c = agent_plain();
            c.H = kind == 2 ? 1 : 4;
            c.N = c.M = kind == 2 ? 2500 : 600;
            c.D = 40;
            c.n_agents = 49;
            c.dtype = dtype;
            c.agent_bias = c.query_bias = kind > 0;
            if (kind == 1) {
                c.grid[0] = 20, c.grid[1] = 30;
                c.R = 3;
                c.dwc_bias = true;
            }
            agent_run run = agent_make_run(&c);
            agent_forward_backward(&run);
            result = hash(result, run.o);
            for (int i = 0; i < AGENT_INPUTS; i++)
                if (run.input[i])
                    result = hash(result, rapt_grad(run.input[i]));
            agent_end_run(&run);
        }
    return result;
}

static void equal_bits(void **state)
{
    (void)state;
    equal_bits_check(program, all_bits);
}

static agent_case long_case(int64_t n)
{
    agent_case c = agent_plain();
    c.N = c.M = n;
    c.D = c.E = 32;
    c.n_agents = 49;
    return c;
}

/* Bytes at the peak of a call, outputs and gradients included. */
static int64_t peak_of(int64_t n, bool backward)
{
    const agent_case c = long_case(n);
    agent_run run = agent_make_run(&c);
    rapt_error error = {0};
    for (size_t i = 0; i < run.n_inputs && !backward; i++)
        score_must(rapt_set_requires_grad(run.inputs[i].tensor, false, NULL), NULL);
    rapt_memory_reset_peak();
    const int64_t before = rapt_memory_usage().current;
    if (backward)
        agent_forward_backward(&run);
    else
        score_must(agent_forward(&run, &error), &error);
    const int64_t peak = rapt_memory_usage().peak - before;
    agent_end_run(&run);
    return peak;
}

static void memory_is_linear(void **state)
{
    (void)state;
    const int64_t n = SANITIZED ? 1024 : 4096;
    for (int backward = 0; backward < 2; backward++)
        assert_true(peak_of(8 * n, backward) <= 8 * peak_of(n, backward) + (1 << 20));
    /* beyond the output, forward needs what does not grow with the length */
    const int64_t output = 2 * 32 * 4;
    assert_true(peak_of(16 * n, false) - 16 * n * output <= 4 << 20);
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
        cmocka_unit_test(pooled),
        cmocka_unit_test(options),
        cmocka_unit_test(pooled_from_a_grid),
        cmocka_unit_test(default_number_of_agents),
        cmocka_unit_test(given),
        cmocka_unit_test(keys_in_parts),
        cmocka_unit_test(convolution),
        cmocka_unit_test(layouts),
        cmocka_unit_test(halves),
        cmocka_unit_test(scales_and_large_logits),
        cmocka_unit_test(nothing),
        cmocka_unit_test(single_gradients),
        cmocka_unit_test(refusals),
        cmocka_unit_test(bias_of_other_agents),
        cmocka_unit_test(too_many_agents),
        cmocka_unit_test(equal_bits),
        cmocka_unit_test(memory_is_linear),
    };
    if (!score_level_there())
        return 77; /* this processor lacks the level: the test is skipped */
    return cmocka_run_group_tests_name("agent", tests, setup, teardown);
}
