/* A case of agent: random inputs, a run, and its comparison with the definition in double. */
#ifndef RAPT_TEST_AGENT_CASE_H
#define RAPT_TEST_AGENT_CASE_H

#include "reference_agent.h"
#include "score_case.h"

extern rapt_context *agent_context; /* to be opened by the test */
extern const char *const agent_names[AGENT_INPUTS];

typedef struct agent_case {
    int64_t B, H, N, M, D, E;
    int64_t n_agents; /* the attribute; 0: not given */
    int64_t given;    /* agents given as an input; 0: pooled */
    int64_t grid[2];  /* 0: none */
    int64_t R;        /* taps of the convolution; 0: none */
    bool agent_bias, query_bias, dwc_bias, sink, transposed;
    double softcap;   /* 0: none */
    double scale;     /* 0: the default */
    double magnitude; /* of the queries; 0: 1 */
    rapt_dtype dtype, bias_dtype;
    uint64_t seed;
} agent_case;

typedef struct agent_run {
    agent_case c;
    int64_t A;
    rapt_tensor *input[AGENT_INPUTS], *seed, *o;
    rapt_named_tensor inputs[AGENT_INPUTS];
    size_t n_inputs;
    rapt_named_value attrs[4];
    size_t n_attrs;
} agent_run;

/* A small case with none of the options. */
agent_case agent_plain(void);

/* The run's list of named inputs, from `input`. */
void agent_set_inputs(agent_run *run);

/* The run's list of attributes, from its case. */
void agent_set_attrs(agent_run *run);

/* Random inputs of a case; ends with agent_end_run. */
agent_run agent_make_run(const agent_case *c);

void agent_end_run(agent_run *run);

/* Sets `o`, or gives the error. */
rapt_status agent_forward(agent_run *run, rapt_error *error);

void agent_forward_backward(agent_run *run);

/* Fails unless `got` is within `tolerance` of its greatest value, or of `least_scale` where that is
 * more. */
void agent_compare(const agent_run *run, const char *what, rapt_tensor *got, const double *want,
                   double tolerance, double least_scale);

/* Compares what a run gave with the definition. `least_scale`: gradients smaller than this count as
 * cancelled to zero. */
void agent_compare_defined(const agent_run *run, double least_scale);

/* Forward, backward and weights of a case against the definition. */
void agent_check(const agent_case *c);

#endif
