/*
 * agent: attention through a few agents that stand between queries and keys.
 *
 *     u_a = softmax_j(scale a . k_j + agent_bias_aj) v_j
 *     o_i = softmax_a(scale q_i . a + query_bias_ia) u_a   (+ depth-wise convolution of v)
 *
 * Absent agents are pooled from q by adaptive averages: bin i of A covers [floor(i N/A),
 * ceil((i+1) N/A)), on both axes of a grid if there is one.
 *
 * Han et al., "Agent Attention" (arXiv 2312.08874).
 */
#include "agent.h"
#include "kit/describe.h"

static const rapt_arg inputs[] = {
    [AGENT_Q] = {.size = sizeof(rapt_arg),
                 .flags = RAPT_DIFFERENTIABLE,
                 .spec = "q: B H N D",
                 .role = RAPT_STREAM,
                 .doc = "queries"},
    [AGENT_K] = {.size = sizeof(rapt_arg),
                 .flags = RAPT_DIFFERENTIABLE,
                 .spec = "k: B H M D",
                 .role = RAPT_STREAM,
                 .doc = "keys"},
    [AGENT_V] = {.size = sizeof(rapt_arg),
                 .flags = RAPT_DIFFERENTIABLE | RAPT_VALUE_ONLY,
                 .spec = "v: B H M E",
                 .role = RAPT_STREAM,
                 .doc = "values"},
    [AGENT_AGENTS] = {.size = sizeof(rapt_arg),
                      .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                      .spec = "agents: B H A D",
                      .role = RAPT_ARGUMENT,
                      .doc = "the agents; absent: averages of the queries"},
    [AGENT_AGENT_BIAS] = {.size = sizeof(rapt_arg),
                          .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                          .spec = "agent_bias: H A M",
                          .dtype = "f32|T",
                          .role = RAPT_PARAMETER,
                          .init = "trunc_normal(0.02)",
                          .doc = "added to the agents' scores of the keys"},
    [AGENT_QUERY_BIAS] = {.size = sizeof(rapt_arg),
                          .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                          .spec = "query_bias: H N A",
                          .dtype = "f32|T",
                          .role = RAPT_PARAMETER,
                          .init = "trunc_normal(0.02)",
                          .doc = "added to the queries' scores of the agents"},
    [AGENT_DWC_WEIGHT] = {.size = sizeof(rapt_arg),
                          .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL | RAPT_VALUE_ONLY,
                          .spec = "dwc_weight: H*E 1 R R",
                          .dtype = "f32|T",
                          .role = RAPT_PARAMETER,
                          .init = "trunc_normal(0.02)",
                          .doc = "depth-wise R x R convolution of v on the grid, channel h E + e"},
    [AGENT_DWC_BIAS] = {.size = sizeof(rapt_arg),
                        .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL | RAPT_VALUE_ONLY,
                        .spec = "dwc_bias: H*E",
                        .dtype = "f32|T",
                        .role = RAPT_PARAMETER,
                        .init = "zeros",
                        .doc = "added to the convolution"},
    [AGENT_SINK] = {.size = sizeof(rapt_arg),
                    .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                    .spec = "sink: H",
                    .dtype = "f32",
                    .role = RAPT_ARGUMENT,
                    .doc = "a further logit of each query among the agents', without value"},
    [AGENT_BORDERS_Q] = {.size = sizeof(rapt_arg),
                         .flags = RAPT_OPTIONAL,
                         .spec = "cu_seqlens_q: P",
                         .dtype = "i32|i64",
                         .role = RAPT_ARGUMENT,
                         .doc = "borders of packed sequences in q, from 0 to N; needs B = 1"},
    [AGENT_BORDERS_K] = {.size = sizeof(rapt_arg),
                         .flags = RAPT_OPTIONAL,
                         .spec = "cu_seqlens_k: P",
                         .dtype = "i32|i64",
                         .role = RAPT_ARGUMENT,
                         .doc = "borders in k and v, from 0 to M; agents are pooled of each "
                                "sequence, given ones serve all"},
};

static const rapt_arg outputs[] = {
    {.size = sizeof(rapt_arg),
     .flags = RAPT_DIFFERENTIABLE,
     .spec = "o: B H N E",
     .doc = "one row of values for each query"},
};

static const rapt_attr attrs[] = {
    [AGENT_N_AGENTS] = {.size = sizeof(rapt_attr),
                        .type = RAPT_ATTR_INT,
                        .name = "n_agents",
                        .fallback = "49",
                        .min = "1",
                        .doc = "number of pooled agents; a square number on a grid"},
    [AGENT_GRID] = {.size = sizeof(rapt_attr),
                    .type = RAPT_ATTR_INTS,
                    .name = "grid",
                    .min = "1",
                    .count = 2,
                    .doc = "height and width of the grid that the positions fill, row by row"},
    [AGENT_SCALE] = RAPT_DESCRIBE_SCALE("1/sqrt(D)", "factor of both products"),
    [AGENT_SOFTCAP] = {.size = sizeof(rapt_attr),
                       .type = RAPT_ATTR_FLOAT,
                       .name = "softcap",
                       .fallback = "0",
                       .min = "0",
                       .doc =
                           "c: scores of both attentions, with their bias, become c tanh(s / c); "
                           "0: they stay"},
};

#define AGENTS "if(given(agents),A,n_agents)"

/* The agents and what they gathered, and of each row of both attentions the reference of its
 * exponents and their sum; `sets` of agents. */
#define SAVED_BY(sets)                                                                             \
    {                                                                                              \
        [AGENT_POOLED] = KEPT("pooled: " sets " H if(given(agents),0,n_agents) D"),                \
        [AGENT_GATHERED] = KEPT("gathered: " sets " H " AGENTS " E"),                              \
        [AGENT_GATHER_REFERENCE] = KEPT("gather_reference: " sets " H " AGENTS),                   \
        [AGENT_GATHER_SUM] = KEPT("gather_sum: " sets " H " AGENTS),                               \
        [AGENT_HAND_OUT_REFERENCE] = KEPT("hand_out_reference: B H N"),                            \
        [AGENT_HAND_OUT_SUM] = KEPT("hand_out_sum: B H N"),                                        \
    }
#define KEPT(text)                                                                                 \
    {                                                                                              \
        .size = sizeof(rapt_arg), .spec = text, .dtype = "f32"                                     \
    }

static const rapt_arg saved[] = SAVED_BY("B");

/* On Vulkan packed sequences have their own agents side by side, in the place of a batch. */
static const rapt_arg saved_vulkan[] = SAVED_BY("if(given(cu_seqlens_q),max(P-1,1),B)");

static const rapt_kernel kernels[] = {
    {
        .size = sizeof(rapt_kernel),
        .name = "cpu",
        .device = "cpu",
        .dtypes = RAPT_DTYPES_COMPUTE,
        .keep = "q k v agents agent_bias query_bias dwc_weight dwc_bias sink cu_seqlens_q "
                "cu_seqlens_k o",
        .saved = saved,
        .n_saved = AGENT_SAVED,
        .supports = agent_supports,
        .forward = agent_cpu_forward,
        .backward = agent_cpu_backward,
        .weights = agent_cpu_weights,
    },
    {
        .size = sizeof(rapt_kernel),
        .name = "vulkan",
        .device = "vulkan",
        .dtypes = RAPT_DTYPES_COMPUTE,
        .keep = "q k v agents agent_bias query_bias dwc_weight dwc_bias sink cu_seqlens_q "
                "cu_seqlens_k",
        .saved = saved_vulkan,
        .n_saved = AGENT_SAVED,
        .supports = agent_vulkan_supports,
        .workspace = agent_vulkan_workspace,
        .forward = agent_vulkan_forward,
        .backward = agent_vulkan_backward,
        .weights = agent_vulkan_weights,
    },
    {
        .size = sizeof(rapt_kernel),
        .name = "vulkan.coopmat",
        .device = "vulkan",
        .dtypes = RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16),
        .priority = 1,
        .keep = "q k v agents agent_bias query_bias dwc_weight dwc_bias sink cu_seqlens_q "
                "cu_seqlens_k",
        .saved = saved_vulkan,
        .n_saved = AGENT_SAVED,
        .supports = agent_vulkan_coopmat_supports,
        .workspace = agent_vulkan_workspace,
        .forward = agent_vulkan_forward,
        .backward = agent_vulkan_backward,
        .weights = agent_vulkan_weights,
    },
};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_OP_FULL | RAPT_OP_CROSS | RAPT_OP_WEIGHTS,
    .name = "agent",
    .title = "Agent attention",
    .paper = "arXiv 2312.08874",
    .doc = "A few agents first gather from all keys, then hand out to all queries: two small "
           "softmax attentions in place of one large one, at a cost that grows linearly with the "
           "length. Agents are given, or pooled from the queries. There is no causal form, since "
           "every agent sees every key.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where = "given(agents) || !given(agent_bias) && !given(query_bias) || A == n_agents; "
             "!given(dwc_weight) || given(grid); !given(dwc_weight) || R % 2 == 1; "
             "!given(dwc_weight) || N == M; !given(dwc_bias) || given(dwc_weight); "
             "given(cu_seqlens_q) == given(cu_seqlens_k); !given(cu_seqlens_q) || B == 1; "
             "!given(cu_seqlens_q) || !given(grid)",
    .flops = "2*B*H*(N+M)*" AGENTS "*(D+E) + if(given(dwc_weight), 2*B*H*E*N*R*R, 0)",
    .flops_backward = "2*B*H*(N+M)*" AGENTS "*(3*D+2*E) + if(given(dwc_weight), 4*B*H*E*N*R*R, 0)",
    .weights = "B H N M",
    .example = "B=2 H=2 N=36 M=36 D=8 E=8 A=9 n_agents=9",
}};

RAPT_DESCRIBE_PLUGIN("agent", "1.0");
