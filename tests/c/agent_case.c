#include "agent_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rapt_context *agent_context;

const char *const agent_names[AGENT_INPUTS] = {
    "q", "k", "v", "agents", "agent_bias", "query_bias", "dwc_weight", "dwc_bias", "sink"};

static void describe(const agent_case *c, char *text, size_t size)
{
    snprintf(text, size,
             "B=%ld H=%ld N=%ld M=%ld D=%ld E=%ld n_agents=%ld given=%ld grid=%ldx%ld R=%ld "
             "biases=%d%d%d sink=%d softcap=%g transposed=%d dtype=%d seed=%lu",
             (long)c->B, (long)c->H, (long)c->N, (long)c->M, (long)c->D, (long)c->E,
             (long)c->n_agents, (long)c->given, (long)c->grid[0], (long)c->grid[1], (long)c->R,
             c->agent_bias, c->query_bias, c->dwc_bias, c->sink, c->softcap, c->transposed,
             (int)c->dtype, (unsigned long)c->seed);
}

agent_case agent_plain(void)
{
    return (agent_case){
        .B = 1, .H = 2, .N = 20, .M = 20, .D = 16, .E = 16, .n_agents = 4, .seed = 1};
}

/* The same numbers without the leading dimensions of size 1. */
static rapt_tensor *drop_front(rapt_tensor *tensor, int count)
{
    for (int i = 0; i < count; i++) {
        rapt_tensor *inner = rapt_select(agent_context, tensor, 0, 0, NULL);
        assert_non_null(inner);
        rapt_tensor_release(tensor);
        tensor = inner;
    }
    return tensor;
}

static void add(agent_run *run, int i, int64_t a, int64_t b, int64_t c, int64_t d, uint64_t *seed)
{
    const int64_t shape[4] = {a, b, c, d};
    const bool bias = i >= AGENT_AGENT_BIAS;
    const double size = i == AGENT_Q && run->c.magnitude > 0 ? run->c.magnitude : bias ? 0.5 : 1;
    const rapt_dtype dtype = i == AGENT_SINK ? RAPT_F32 : bias ? run->c.bias_dtype : run->c.dtype;
    rapt_tensor *tensor = score_random(agent_context, shape, dtype, run->c.transposed, size, seed);
    tensor = drop_front(tensor, i == AGENT_DWC_BIAS || i == AGENT_SINK           ? 3
                                : i == AGENT_AGENT_BIAS || i == AGENT_QUERY_BIAS ? 1
                                                                                 : 0);
    run->input[i] = tensor;
}

void agent_set_inputs(agent_run *run)
{
    for (int i = 0; i < AGENT_INPUTS; i++)
        if (run->input[i]) {
            score_must(rapt_set_requires_grad(run->input[i], true, NULL), NULL);
            run->inputs[run->n_inputs++] = (rapt_named_tensor){agent_names[i], run->input[i]};
        }
}

void agent_set_attrs(agent_run *run)
{
    const agent_case *c = &run->c;
    if (c->n_agents)
        run->attrs[run->n_attrs++] =
            (rapt_named_value){.name = "n_agents", .type = RAPT_ATTR_INT, .i = {c->n_agents}};
    if (c->grid[0])
        run->attrs[run->n_attrs++] = (rapt_named_value){
            .name = "grid", .type = RAPT_ATTR_INTS, .count = 2, .i = {c->grid[0], c->grid[1]}};
    if (c->scale != 0)
        run->attrs[run->n_attrs++] =
            (rapt_named_value){.name = "scale", .type = RAPT_ATTR_FLOAT, .f = c->scale};
    if (c->softcap > 0)
        run->attrs[run->n_attrs++] =
            (rapt_named_value){.name = "softcap", .type = RAPT_ATTR_FLOAT, .f = c->softcap};
}

agent_run agent_make_run(const agent_case *c)
{
    agent_run run = {.c = *c, .A = c->given ? c->given : c->n_agents ? c->n_agents : 49};
    uint64_t seed = c->seed * 7919 + 1;
    add(&run, AGENT_Q, c->B, c->H, c->N, c->D, &seed);
    add(&run, AGENT_K, c->B, c->H, c->M, c->D, &seed);
    add(&run, AGENT_V, c->B, c->H, c->M, c->E, &seed);
    if (c->given)
        add(&run, AGENT_AGENTS, c->B, c->H, c->given, c->D, &seed);
    if (c->agent_bias)
        add(&run, AGENT_AGENT_BIAS, 1, c->H, run.A, c->M, &seed);
    if (c->query_bias)
        add(&run, AGENT_QUERY_BIAS, 1, c->H, c->N, run.A, &seed);
    if (c->R)
        add(&run, AGENT_DWC_WEIGHT, c->H * c->E, 1, c->R, c->R, &seed);
    if (c->dwc_bias)
        add(&run, AGENT_DWC_BIAS, 1, 1, 1, c->H * c->E, &seed);
    if (c->sink)
        add(&run, AGENT_SINK, 1, 1, 1, c->H, &seed);
    const int64_t o[4] = {c->B, c->H, c->N, c->E};
    run.seed = score_random(agent_context, o, c->dtype, c->transposed, 1, &seed);
    agent_set_inputs(&run);
    agent_set_attrs(&run);
    return run;
}

void agent_end_run(agent_run *run)
{
    for (int i = 0; i < AGENT_INPUTS; i++)
        rapt_tensor_release(run->input[i]);
    rapt_tensor_release(run->seed);
    rapt_tensor_release(run->o);
}

rapt_status agent_forward(agent_run *run, rapt_error *error)
{
    rapt_named_tensor output = {"o", NULL};
    const rapt_status status =
        rapt_call_operator(agent_context, "agent", run->inputs, run->n_inputs, run->attrs,
                           run->n_attrs, &output, 1, error);
    run->o = output.tensor;
    return status;
}

void agent_forward_backward(agent_run *run)
{
    rapt_error error = {0};
    score_must(agent_forward(run, &error), &error);
    score_must(rapt_backward(agent_context, run->o, run->seed, false, &error), &error);
}

void agent_compare(const agent_run *run, const char *what, rapt_tensor *got, const double *want,
                   double tolerance, double least_scale)
{
    char text[320];
    assert_non_null(got);
    double *values = score_read(agent_context, got);
    const double error = score_error(values, want, rapt_tensor_count(got), least_scale);
    free(values);
    if (error <= tolerance)
        return;
    describe(&run->c, text, sizeof text);
    fail_msg("%s: %s%s is off by %g of its greatest value, allowed %g", text,
             got == run->o ? "" : "gradient of ", what, error, tolerance);
}

/* The product of both attentions' weights. */
static rapt_tensor *weigh(const agent_run *run)
{
    rapt_named_tensor inputs[AGENT_INPUTS] = {{NULL, NULL}};
    rapt_error error = {0};
    size_t n = 0;
    for (int i = 0; i < AGENT_INPUTS; i++)
        if (run->input[i] && i != AGENT_V && i != AGENT_DWC_WEIGHT && i != AGENT_DWC_BIAS)
            inputs[n++] = (rapt_named_tensor){agent_names[i], run->input[i]};
    rapt_tensor *weights =
        rapt_weights(agent_context, "agent", inputs, n, run->attrs, run->n_attrs, &error);
    if (!weights)
        fail_msg("%s", error.message);
    return weights;
}

void agent_compare_defined(const agent_run *run, double least_scale)
{
    const agent_case *c = &run->c;
    const score_tolerance tolerance = score_tolerance_of(c->dtype);
    double *value[AGENT_INPUTS] = {0};
    reference_agent task = {.B = c->B,
                            .H = c->H,
                            .N = c->N,
                            .M = c->M,
                            .D = c->D,
                            .E = c->E,
                            .A = run->A,
                            .grid = {c->grid[0], c->grid[1]},
                            .R = c->R,
                            .softcap = c->softcap,
                            .scale = c->scale != 0 ? c->scale : 1 / sqrt((double)c->D)};
    for (int i = 0; i < AGENT_INPUTS; i++)
        if (run->input[i]) {
            task.input[i] = value[i] = score_read(agent_context, run->input[i]);
            task.grad[i] = score_read(agent_context, run->input[i]); /* to be overwritten */
        }
    double *seed = score_read(agent_context, run->seed);
    task.grad_o = seed;
    task.o = score_read(agent_context, run->o); /* to be overwritten */
    rapt_tensor *weights = weigh(run);
    task.weights = score_read(agent_context, weights); /* to be overwritten */
    assert_true(reference_agent_run(&task));
    agent_compare(run, "the weights", weights, task.weights, c->dtype == RAPT_F32 ? 2e-5 : 2e-3, 0);
    rapt_tensor_release(weights);
    free(task.weights);
    agent_compare(run, "o", run->o, task.o, tolerance.forward, 0);
    for (int i = 0; i < AGENT_INPUTS; i++) {
        if (run->input[i])
            agent_compare(run, agent_names[i], rapt_grad(run->input[i]), task.grad[i],
                          tolerance.gradient, least_scale);
        free(value[i]);
        free(task.grad[i]);
    }
    free(seed);
    free(task.o);
}

void agent_check(const agent_case *c)
{
    agent_run run = agent_make_run(c);
    agent_forward_backward(&run);
    agent_compare_defined(&run, 0.1);
    agent_end_run(&run);
}
