/*
 * mta: attention whose scores and weights are convolved over neighbouring queries, keys and heads.
 *
 *     S = cap(scale q k^T + bias) - alibi |distance|, 0 where hidden
 *     S' = S * qk_kernel (queries before, keys around)
 *     P = softmax_j(S') under the mask;       P' = P * qk_kernel_post, 0 where hidden
 *     P''_d = sum_m P'_m head_kernel[m][d] in groups of heads;    o = P'' v
 *
 * Golovneva et al., "Multi-Token Attention" (arXiv 2504.00927).
 */
#include "mta.h"
#include "kit/describe.h"

static const rapt_arg inputs[] = {
    [MTA_Q] = {.size = sizeof(rapt_arg),
               .flags = RAPT_DIFFERENTIABLE,
               .spec = "q: B H N D",
               .role = RAPT_STREAM,
               .doc = "queries"},
    [MTA_K] = {.size = sizeof(rapt_arg),
               .flags = RAPT_DIFFERENTIABLE,
               .spec = "k: B G M D",
               .role = RAPT_STREAM,
               .doc = "keys; head h reads key/value head floor(h G / H)"},
    [MTA_V] = {.size = sizeof(rapt_arg),
               .flags = RAPT_DIFFERENTIABLE | RAPT_VALUE_ONLY,
               .spec = "v: B G M E",
               .role = RAPT_STREAM,
               .doc = "values"},
    [MTA_QK_KERNEL] = {.size = sizeof(rapt_arg),
                       .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                       .spec = "qk_kernel: H a b",
                       .dtype = "f32|T",
                       .role = RAPT_PARAMETER,
                       .init = "impulse",
                       .doc = "convolves the scores over a queries up to this one and b keys "
                              "around this one; b is odd"},
    [MTA_QK_KERNEL_POST] = {.size = sizeof(rapt_arg),
                            .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                            .spec = "qk_kernel_post: H r s",
                            .dtype = "f32|T",
                            .role = RAPT_PARAMETER,
                            .init = "impulse",
                            .doc = "the same on the weights after the softmax; s is odd"},
    [MTA_HEAD_KERNEL] = {.size = sizeof(rapt_arg),
                         .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                         .spec = "head_kernel: H/c c c",
                         .dtype = "f32|T",
                         .role = RAPT_PARAMETER,
                         .init = "identity",
                         .doc = "mixes the weights of c heads next to each other: [., m, d] is "
                                "the share of head m in head d"},
    [MTA_BIAS] = {.size = sizeof(rapt_arg),
                  .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                  .spec = "bias: B? H? N? M?",
                  .dtype = "f32|T",
                  .role = RAPT_ARGUMENT,
                  .doc = "added to the scaled scores before they are convolved; finite"},
    [MTA_ALIBI] = RAPT_SCORE_INPUT_ALIBI,
    [MTA_SINK] = RAPT_SCORE_INPUT_SINK,
    /* cu_seqlens_q and cu_seqlens_k. */
    RAPT_SCORE_INPUT_SEQUENCES,
};

static const rapt_arg outputs[] = {
    [MTA_O] = {.size = sizeof(rapt_arg),
               .flags = RAPT_DIFFERENTIABLE,
               .spec = "o: B H N E",
               .doc = "one row of values for each query"},
    [MTA_LSE] = {.size = sizeof(rapt_arg),
                 .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,
                 .spec = "lse: B H N",
                 .dtype = "f32",
                 .doc = "log of the sum of exponentials of a query's convolved scores, before "
                        "weights are convolved and mixed; -inf where it sees no key"},
};

static const rapt_attr attrs[] = {
    [MTA_CAUSAL] = {.size = sizeof(rapt_attr),
                    .type = RAPT_ATTR_BOOL,
                    .name = "causal",
                    .fallback = "true",
                    .doc = "query i sees key j only where j <= i + M - N"},
    [MTA_SCALE] = RAPT_DESCRIBE_SCALE("1/sqrt(D)", "factor of the products q.k"),
    [MTA_WINDOW] = RAPT_SCORE_ATTR_WINDOW,
    [MTA_SOFTCAP] = RAPT_SCORE_ATTR_SOFTCAP,
};

/* Queries too: a step convolves over those before it. */
static const rapt_state_arg states[] = {
    [MTA_Q] = {.size = sizeof(rapt_state_arg), .append = "q"},
    [MTA_K] = {.size = sizeof(rapt_state_arg), .append = "k"},
    [MTA_V] = {.size = sizeof(rapt_state_arg), .append = "v"},
};

static const rapt_kernel kernels[] = {
    {
        .size = sizeof(rapt_kernel),
        .name = "cpu",
        .device = "cpu",
        .dtypes = RAPT_DTYPES_COMPUTE,
        .forward = mta_cpu_forward,
        .backward = mta_cpu_backward,
        .step = mta_cpu_step,
        .weights = mta_cpu_weights,
    },
    {
        .size = sizeof(rapt_kernel),
        .name = "vulkan",
        .device = "vulkan",
        .dtypes = RAPT_DTYPES_COMPUTE,
        .keep = "q k v qk_kernel qk_kernel_post head_kernel bias alibi " RAPT_SCORE_OPTION_KEEP,
        .supports = mta_vulkan_supports,
        .workspace = mta_vulkan_workspace,
        .forward = mta_vulkan_forward,
        .backward = mta_vulkan_backward,
        .step = mta_vulkan_step,
        .weights = mta_vulkan_weights,
    },
    {
        .size = sizeof(rapt_kernel),
        .name = "vulkan.coopmat",
        .device = "vulkan",
        .dtypes = RAPT_DTYPE_BIT(RAPT_F16) | RAPT_DTYPE_BIT(RAPT_BF16),
        .priority = 1,
        .keep = "q k v qk_kernel qk_kernel_post head_kernel bias alibi " RAPT_SCORE_OPTION_KEEP,
        .supports = mta_vulkan_coopmat_supports,
        .workspace = mta_vulkan_workspace,
        .forward = mta_vulkan_forward,
        .backward = mta_vulkan_backward,
        .step = mta_vulkan_step,
        .weights = mta_vulkan_weights,
    },
};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_OP_FULL | RAPT_OP_CAUSAL | RAPT_OP_CROSS | RAPT_OP_DECODE | RAPT_OP_WEIGHTS,
    .name = "mta",
    .title = "Multi-token attention",
    .paper = "arXiv 2504.00927",
    .doc = "Softmax attention whose scores are convolved over queries before and keys around each "
           "pair (qk_kernel), whose weights may be convolved once more (qk_kernel_post) and mixed "
           "among neighbouring heads (head_kernel), so that a weight can depend on more than one "
           "query and one key. Bias, softcap and alibi shape the scores before they are convolved. "
           "What is hidden (by causal order, a window, or other sequences) counts as 0 in every "
           "convolution and stays hidden after it. A query that sees no key outputs zeros.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where = RAPT_SCORE_OPTION_WHERE
    "; !given(qk_kernel) || a >= 1; !given(qk_kernel) || b % 2 == 1; "
    "!given(qk_kernel_post) || r >= 1; !given(qk_kernel_post) || s % 2 == 1",
    .flops = "2*B*H*pairs*(D + E + if(given(qk_kernel), a*b, 0) + "
             "if(given(qk_kernel_post), r*s, 0) + if(given(head_kernel), c, 0))",
    .flops_backward = "2*B*H*pairs*(3*D + 2*E + if(given(qk_kernel), 3*a*b, 0) + "
                      "if(given(qk_kernel_post), 3*r*s, 0) + if(given(head_kernel), 3*c, 0))",
    .weights = "B H N M",
    RAPT_DESCRIBE_LIST(states),
    .example = "B=2 H=4 G=2 N=33 M=33 D=16 E=16 a=3 b=5 r=2 s=3 c=2 causal=true",
}};

RAPT_DESCRIBE_PLUGIN("mta", "1.0");
