/*
 * log_linear: linear attention whose positions are weighted by how far back they lie, in powers of
 * two.
 *
 *     o_t = scale sum_{s <= t} l[t, level(t,s)] exp(g_{s+1} + ... + g_t) (q_t . k_s) v_s
 *
 * level(t,s) is the bit length of t xor s: 0 for s = t, otherwise 1 + the highest bit that differs.
 *
 * Guo et al., "Log-Linear Attention" (arXiv 2506.04761), on the Mamba-2 form.
 */
#include "log_linear.h"
#include "kit/describe.h"

static const rapt_arg inputs[] = {
    [LOG_LINEAR_Q] = {.size = sizeof(rapt_arg),
                      .flags = RAPT_DIFFERENTIABLE,
                      .spec = "q: B G N D",
                      .role = RAPT_STREAM,
                      .doc = "queries; value head h reads query/key head floor(h G / H)"},
    [LOG_LINEAR_K] = {.size = sizeof(rapt_arg),
                      .flags = RAPT_DIFFERENTIABLE,
                      .spec = "k: B G N D",
                      .role = RAPT_STREAM,
                      .doc = "keys"},
    [LOG_LINEAR_V] = {.size = sizeof(rapt_arg),
                      .flags = RAPT_DIFFERENTIABLE,
                      .spec = "v: B H N E",
                      .role = RAPT_STREAM,
                      .doc = "values"},
    [LOG_LINEAR_G] = {.size = sizeof(rapt_arg),
                      .flags = RAPT_DIFFERENTIABLE,
                      .spec = "g: B H N",
                      .dtype = "f32|T",
                      .role = RAPT_STREAM,
                      .activation = "-softplus",
                      .doc = "log of the decay at each position, 0 or less"},
    [LOG_LINEAR_L] = {.size = sizeof(rapt_arg),
                      .flags = RAPT_DIFFERENTIABLE,
                      .spec = "l: B H N L",
                      .dtype = "f32|T",
                      .role = RAPT_STREAM,
                      .activation = "softplus",
                      .doc = "weight of each level at each position; L >= ceil(log2 N) + 1"},
    [LOG_LINEAR_BORDERS] = RAPT_LINEAR_INPUT_BORDERS,
    [LOG_LINEAR_STATE] = {.size = sizeof(rapt_arg),
                          .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,
                          .spec = "state: S H L D E",
                          .dtype = "f32",
                          .role = RAPT_STATE,
                          .doc = "a state for each level after `position` positions, one for each "
                                 "sequence; zero if absent"},
};

static const rapt_arg outputs[] = {
    [LOG_LINEAR_O] = {.size = sizeof(rapt_arg),
                      .flags = RAPT_DIFFERENTIABLE,
                      .spec = "o: B H N E",
                      .doc = "one row of values for each position"},
    [LOG_LINEAR_FINAL] = {.size = sizeof(rapt_arg),
                          .flags = RAPT_OPTIONAL | RAPT_DIFFERENTIABLE,
                          .spec = "final_state: *",
                          .dtype = "f32",
                          .role = RAPT_STATE,
                          .doc = "the states of the levels after the last position"},
};

static const rapt_attr attrs[] = {
    [LOG_LINEAR_SCALE] = RAPT_DESCRIBE_SCALE("1", "factor of the products q.k"),
    [LOG_LINEAR_POSITION] = {.size = sizeof(rapt_attr),
                             .type = RAPT_ATTR_INT,
                             .name = "position",
                             .fallback = "0",
                             .min = "0",
                             .max = "1099511627776",
                             .doc =
                                 "positions that came before, of every sequence: `state` is what "
                                 "they left, and levels count from the first of them"},
};

static const rapt_state_arg states[] = {RAPT_LINEAR_STATES};

static const rapt_kernel kernels[] = {RAPT_LINEAR_KERNELS(log_linear, NULL)};

static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_OP_CAUSAL | RAPT_OP_DECODE,
    .name = "log_linear",
    .title = "Log-linear attention",
    .paper = "arXiv 2506.04761",
    .doc = "Linear attention with a decay at each step and a weight for each level of a Fenwick "
           "tree over the past: recent positions are told apart finely, distant ones in blocks of "
           "powers of two. Cost grows as N log N, and decoding keeps log N states.",
    .version = "1.0",
    RAPT_DESCRIBE_LISTS,
    .where =
        "H % G == 0; N == 0 || L >= ceil_log2(position + N) + 1; L >= 1; " RAPT_LINEAR_WHERE_BORDERS
        "; " RAPT_LINEAR_WHERE_STATE,
    .flops = "2*B*H*N*(D*E*(1 + ceil_log2(max(N,64)/64)/2) + min(N,64)*(D+E)/2)",
    .flops_backward = "2*B*H*N*(D*E*(3 + ceil_log2(max(N,64)/64)) + min(N,64)*(3*D+2*E)/2)",
    RAPT_DESCRIBE_LIST(states),
    .example = "B=2 H=4 G=2 N=100 D=16 E=16 L=ceil_log2(N)+1",
    .infer = log_linear_infer,
}};

RAPT_DESCRIBE_PLUGIN("log_linear", "1.0");
