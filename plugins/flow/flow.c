/*
 * flow: attention as a flow network between keys (sources) and queries (sinks).
 *
 * With q, k for their sigmoids, n = N, m = M, the full form is
 *
 *     inc_i = 1 / ((q_i + eps) . (sum_j k_j + eps))
 *     out_j = 1 / ((k_j + eps) . (sum_i q_i + eps))
 *     cs_i  = (q_i + eps) . (sum_j out_j k_j + eps)
 *     cr_j  = clip((k_j + eps) . (sum_i inc_i q_i + eps), -clamp, clamp)
 *     o_i   = sigmoid(cs_i n/m) inc_i q_i . sum_j k_j^T (m softmax_j(cr)_j v_j)
 *
 * and in the causal form (t from 1) every sum runs up to t, inc and out are multiplied by t, cs and
 * cr divided by t, and m softmax becomes t e^{cr_t} / sum_{s <= t} e^{cr_s}.
 *
 * Wu et al., "Flowformer" (arXiv 2202.06258).
 */
#include "flow.h"
#include "kit/describe.h"
#include "kit/linear_describe.h"

#define SUMS_DOC "running sums of the flow before the first position; goes with `state`"

static const rapt_arg inputs[] = {
    [FLOW_Q] = {.size = sizeof(rapt_arg),
                .flags = RAPT_DIFFERENTIABLE,
                .spec = "q: B H N D",
                .role = RAPT_STREAM,
                .doc = "queries, before their sigmoid"},
    [FLOW_K] = {.size = sizeof(rapt_arg),
                .flags = RAPT_DIFFERENTIABLE,
                .spec = "k: B H M D",
                .role = RAPT_STREAM,
                .doc = "keys, before their sigmoid"},
    [FLOW_V] = {.size = sizeof(rapt_arg),
                .flags = RAPT_DIFFERENTIABLE,
                .spec = "v: B H M E",
                .role = RAPT_STREAM,
                .doc = "values"},
    [FLOW_BORDERS_Q] = RAPT_LINEAR_INPUT_BORDERS,
    [FLOW_BORDERS_K] = {.size = sizeof(rapt_arg),
                        .flags = RAPT_OPTIONAL,
                        .spec = "cu_seqlens_k: P",
                        .dtype = "i32|i64",
                        .role = RAPT_ARGUMENT,
                        .doc = "borders of the keys' sequences where they are not the queries'"},
    [FLOW_STATE] = {.size = sizeof(rapt_arg),
                    .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,
                    .spec = "state: S H D E",
                    .dtype = "f32",
                    .role = RAPT_STATE,
                    .doc = "sum of k^T v before the first position; causal only"},
    [FLOW_SUMS] = {.size = sizeof(rapt_arg),
                   .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,
                   .spec = "sums: S H 6 D",
                   .dtype = "f32",
                   .role = RAPT_STATE,
                   .doc = SUMS_DOC},
};

static const rapt_arg outputs[] = {
    [FLOW_O] = {.size = sizeof(rapt_arg),
                .flags = RAPT_DIFFERENTIABLE,
                .spec = "o: B H N E",
                .doc = "one row of values for each query"},
    [FLOW_FINAL_STATE] = {.size = sizeof(rapt_arg),
                          .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,
                          .spec = "final_state: *",
                          .dtype = "f32",
                          .role = RAPT_STATE,
                          .doc = "`state` after the last position; causal only"},
    [FLOW_FINAL_SUMS] = {.size = sizeof(rapt_arg),
                         .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,
                         .spec = "final_sums: *",
                         .dtype = "f32",
                         .role = RAPT_STATE,
                         .doc = "`sums` after the last position; causal only"},
};

static const rapt_attr attrs[] = {
    [FLOW_CAUSAL] = {.size = sizeof(rapt_attr),
                     .type = RAPT_ATTR_BOOL,
                     .name = "causal",
                     .fallback = "false",
                     .doc = "position t sees positions up to t; needs N = M"},
    [FLOW_EPS] = {.size = sizeof(rapt_attr),
                  .type = RAPT_ATTR_FLOAT,
                  .name = "eps",
                  .fallback = "0.000001",
                  .min = "0",
                  .doc = "added to sigmoids and their sums"},
    [FLOW_CLAMP] = {.size = sizeof(rapt_attr),
                    .type = RAPT_ATTR_FLOAT,
                    .name = "clamp",
                    .fallback = "1",
                    .min = "0",
                    .max = "300",
                    .doc = "bound of the sources' competition"},
};

static const rapt_state_arg states[] = {
    {.size = sizeof(rapt_state_arg), .input = "state", .output = "final_state"},
    {.size = sizeof(rapt_state_arg), .input = "sums", .output = "final_sums"},
};

static const rapt_kernel kernels[] = {RAPT_LINEAR_KERNELS(flow, flow_supports),
                                      RAPT_LINEAR_KERNEL_COOP(flow)};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_OP_FULL | RAPT_OP_CAUSAL | RAPT_OP_CROSS | RAPT_OP_DECODE,
    .name = "flow",
    .title = "Flow attention",
    .paper = "arXiv 2202.06258",
    .doc = "Attention as a flow network: what queries take in and what keys give out is conserved, "
           "which brings back the competition that linear attention lacks. Cost and memory grow "
           "linearly with the length; the causal form decodes from a state of constant size.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where = RAPT_LINEAR_WHERE_BORDERS
    "; " RAPT_LINEAR_WHERE_STATE
    "; !causal || N == M; causal || !given(state); given(state) == given(sums); "
    "!given(cu_seqlens_k) || given(cu_seqlens_q); !causal || !given(cu_seqlens_k); "
    "causal || !given(cu_seqlens_q) || given(cu_seqlens_k) || N == M",
    .flops = "2*B*H*(N + M)*(D*E + 4*D) + causal*B*H*N*min(N,64)*(D+E)",
    .flops_backward = "2*B*H*(N + M)*(2.5*D*E + 12*D) + causal*B*H*N*min(N,64)*(3*D+2*E)",
    RAPT_DESCRIBE_LIST(states),
    .example = "B=2 H=2 N=33 M=33 D=16 E=16",
    .infer = flow_infer,
}};

RAPT_DESCRIBE_PLUGIN("flow", "1.0");
