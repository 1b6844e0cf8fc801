/*
 * kit/score_options.h - what every operator of the score family can take besides its own arguments.
 *
 *     window         query i sees key j only where i' - left <= j <= i' + right; i' = i + M - N
 *     cu_seqlens_*   sequences packed one behind the other: queries see keys of their own alone,
 * and i' is aligned at the end of each softcap        s = c tanh(s / c), of the scaled score with
 * its bias alibi          s = s - slope_h |i' - j|, after softcap (Press et al., arXiv 2108.12409:
 * for j <= i' this is their slope_h (j - i'), up to what is the same for all keys) sink one more
 * logit a head, without a value: it takes part in the sum that divides (and so in the log-sum-exp)
 * and in nothing else tau_q, tau_v   temperatures of the rows of q, and of v, for each head: s =
 * scale tau_q_i q_i.k_j and o = P (tau_v v)
 *
 * A description lists the arguments that its operator takes; the driver finds them by name. What is
 * absent costs nothing. Part of kit/score.h.
 */
#ifndef RAPT_KIT_SCORE_OPTIONS_H
#define RAPT_KIT_SCORE_OPTIONS_H

#include "score_args.h"
#include <math.h>

/* --- What a description is made of ---------------------------------------------------------- */

#define RAPT_SCORE_INPUT_ALIBI                                                                     \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,                    \
        .spec = "alibi: H", .dtype = "f32", .role = RAPT_ARGUMENT,                                 \
        .doc = "slopes: alibi_h |i + M - N - j| is taken from the score, after softcap"            \
    }
#define RAPT_SCORE_INPUT_SINK                                                                      \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL, .spec = "sink: H", \
        .dtype = "f32", .role = RAPT_ARGUMENT,                                                     \
        .doc = "a further logit of each query, without key and value: part of the sum and of lse"  \
    }
#define RAPT_SCORE_INPUT_SEQUENCES                                                                 \
    {.size = sizeof(rapt_arg),                                                                     \
     .flags = RAPT_OPTIONAL,                                                                       \
     .spec = "cu_seqlens_q: P",                                                                    \
     .dtype = "i32|i64",                                                                           \
     .role = RAPT_ARGUMENT,                                                                        \
     .doc = "borders of packed sequences in q, from 0 to N; needs B = 1"},                         \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_OPTIONAL, .spec = "cu_seqlens_k: P",               \
        .dtype = "i32|i64", .role = RAPT_ARGUMENT,                                                 \
        .doc = "borders in k and v, from 0 to M; causal and window align at each sequence's end"   \
    }
#define RAPT_SCORE_INPUT_TAU_Q                                                                     \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,                    \
        .spec = "tau_q: B H N", .role = RAPT_STREAM, .activation = "1 + tanh",                     \
        .doc = "temperatures of the queries; absent: 1"                                            \
    }
#define RAPT_SCORE_INPUT_TAU_V                                                                     \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = RAPT_DIFFERENTIABLE | RAPT_OPTIONAL,                    \
        .spec = "tau_v: B H M", .role = RAPT_STREAM, .activation = "1 + tanh",                     \
        .doc = "temperatures of the values, for each query head; absent: 1"                        \
    }

#define RAPT_SCORE_ATTR_WINDOW                                                                     \
    {                                                                                              \
        .size = sizeof(rapt_attr), .type = RAPT_ATTR_INTS, .name = "window", .fallback = "-1,-1",  \
        .count = 2,                                                                                \
        .doc = "{left, right}: query i sees key j only where -left <= j - (i + M - N) <= right; "  \
               "a negative entry is no bound"                                                      \
    }
#define RAPT_SCORE_ATTR_SOFTCAP                                                                    \
    {                                                                                              \
        .size = sizeof(rapt_attr), .type = RAPT_ATTR_FLOAT, .name = "softcap", .fallback = "0",    \
        .min = "0", .doc = "c: scores, with their bias, become c tanh(s / c); 0: they stay"        \
    }

/* All that keeps its meaning whatever the weights are made of. */
#define RAPT_SCORE_OPTION_INPUTS RAPT_SCORE_INPUT_SINK, RAPT_SCORE_INPUT_SEQUENCES
#define RAPT_SCORE_OPTION_ATTRS  RAPT_SCORE_ATTR_WINDOW, RAPT_SCORE_ATTR_SOFTCAP
/* For `keep` and `where` of descriptions that have RAPT_SCORE_OPTION_INPUTS. */
#define RAPT_SCORE_OPTION_KEEP "sink cu_seqlens_q cu_seqlens_k"
#define RAPT_SCORE_OPTION_WHERE                                                                    \
    "H % G == 0; given(cu_seqlens_q) == given(cu_seqlens_k); !given(cu_seqlens_q) || B == 1"

/* --- A call's options ------------------------------------------------------------------------- */

typedef struct rapt_score_options {
    int64_t N, M;
    int64_t left, right; /* keys seen on either side of a query's position; negative: all */
    rapt_score_view cu_q, cu_k;
    int64_t borders;           /* entries of cu_q and cu_k */
    float softcap;             /* 0: none */
    const float *alibi, *sink; /* by head, or NULL */
    int has_alibi, has_sink;   /* known before there are data */
    int shaped;                /* scores are not what products and bias make them */
    rapt_score_view tau_q, tau_v;
    float *grad_alibi, *grad_sink; /* by head; NULL: not wanted */
    rapt_score_view grad_tau_q, grad_tau_v;
} rapt_score_options;

static inline const float *rapt_score_head_floats(const rapt_call *call, const char *name, int *has)
{
    const int i = rapt_score_find_input(call->op, name);
    *has = i >= 0 && call->inputs[i];
    return *has ? rapt_score_floats(call->inputs[i]) : NULL;
}

static inline float *rapt_score_head_grad(const rapt_call *call, const char *name)
{
    const int i = rapt_score_find_input(call->op, name);
    return i < 0 ? NULL : rapt_score_floats(call->grad_inputs[i]);
}

static inline void rapt_score_bind_options(rapt_score_options *o, const rapt_call *call)
{
    const int64_t most = call->sizes['N'] + call->sizes['M'];
    const rapt_value *causal = rapt_score_attr(call, "causal");
    const rapt_value *window = rapt_score_attr(call, "window");
    const rapt_value *softcap = rapt_score_attr(call, "softcap");
    o->N = call->sizes['N'], o->M = call->sizes['M'];
    o->left = window ? rapt_score_min(window->i[0], most) : -1;
    o->right = window ? rapt_score_min(window->i[1], most) : -1;
    if (causal && causal->i[0])
        o->right = 0;
    o->softcap = softcap ? (float)softcap->f : 0.0f;
    o->cu_q = rapt_score_input(call, "cu_seqlens_q");
    o->cu_k = rapt_score_input(call, "cu_seqlens_k");
    o->borders = o->cu_q.shape[0];
    o->alibi = rapt_score_head_floats(call, "alibi", &o->has_alibi);
    o->sink = rapt_score_head_floats(call, "sink", &o->has_sink);
    o->shaped = o->has_alibi || o->softcap > 0.0f;
    o->tau_q = rapt_score_input(call, "tau_q");
    o->tau_v = rapt_score_input(call, "tau_v");
    if (call->phase != RAPT_BACKWARD)
        return;
    o->grad_alibi = rapt_score_head_grad(call, "alibi");
    o->grad_sink = rapt_score_head_grad(call, "sink");
    o->grad_tau_q = rapt_score_grad(call, "tau_q");
    o->grad_tau_v = rapt_score_grad(call, "tau_v");
}

/* --- Packed sequences ------------------------------------------------------------------------- */

static inline int64_t rapt_score_border(const rapt_score_view *borders, int64_t i)
{
    const char *at =
        borders->data + i * borders->stride[0] * (int64_t)rapt_dtype_size(borders->dtype);
    int64_t wide;
    int32_t narrow;
    if (borders->dtype == RAPT_I32) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

static inline rapt_status rapt_score_check_borders(rapt_call *call, const rapt_score_view *borders,
                                                   const char *name, char letter)
{
    const int64_t n = borders->shape[0], total = call->sizes[(unsigned char)letter];
    int64_t least = 0;
    if (n == 0)
        return call->host->error(call, RAPT_INVALID,
                                 "%s must rise from 0 to %c = %lld, but it is "
                                 "empty",
                                 name, letter, (long long)total);
    for (int64_t i = 0; i < n; i++) {
        const int64_t x = rapt_score_border(borders, i);
        const int right = i == 0 ? x == 0 : x >= least && x <= total;
        if (!right || (i == n - 1 && x != total))
            return call->host->error(
                call, RAPT_INVALID, "%s must rise from 0 to %c = %lld, but entry %lld is %lld",
                name, letter, (long long)total, (long long)i + 1, (long long)x);
        least = x;
    }
    return RAPT_OK;
}

/* Refuses borders that are none. [call] */
static inline rapt_status rapt_score_check_options(const rapt_score_options *o, rapt_call *call)
{
    if (!o->cu_q.given)
        return RAPT_OK;
    const rapt_status status = rapt_score_check_borders(call, &o->cu_q, "cu_seqlens_q", 'N');
    if (status != RAPT_OK)
        return status;
    return rapt_score_check_borders(call, &o->cu_k, "cu_seqlens_k", 'M');
}

/* --- Visibility ------------------------------------------------------------------------------- */

/* The keys lo <= j < hi that query i sees, none if lo >= hi; returns the key position that it
 * stands at. Whatever narrows what a query sees to one run of keys (causal order, a window, packed
 * sequences) is said here and nowhere else. lo and hi never fall as i grows. */
static inline int64_t rapt_score_sees(const rapt_score_options *o, int64_t i, int64_t *lo,
                                      int64_t *hi)
{
    int64_t first = 0, end = o->M, at = i + o->M - o->N;
    if (o->cu_q.given) {
        int64_t below = 0, above = o->borders - 1; /* border `below` <= i < border `above` */
        while (above - below > 1) {
            const int64_t middle = (below + above) / 2;
            if (rapt_score_border(&o->cu_q, middle) <= i)
                below = middle;
            else
                above = middle;
        }
        first = rapt_score_border(&o->cu_k, below);
        end = rapt_score_border(&o->cu_k, above);
        at = i + end - rapt_score_border(&o->cu_q, above);
    }
    *lo = o->left < 0 ? first : rapt_score_max(first, rapt_score_min(end, at - o->left));
    *hi = o->right < 0 ? end : rapt_score_max(first, rapt_score_min(end, at + o->right + 1));
    return at;
}

#endif
