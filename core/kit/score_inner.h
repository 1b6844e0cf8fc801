/*
 * kit/score_inner.h - a score operator inside another operator's kernel.
 *
 * The low-rank family is made of small attentions (agents to keys, queries to agents). Its kernels
 * fill a rapt_inner with views and run the score driver of kit/score.h on it, with the plugin's own
 * hooks:
 *
 *     o = softmax(cap(scale q k^T + bias)) v,  rows' statistics kept, and its gradients
 *
 * with a sink among the logits, as in kit/score_options.h, where there is one.
 *
 * All views are [B,H,.,.] with the feature contiguous; they may be of different dtypes. The
 * gradient of q is float32 and contiguous, whatever q is. Workspace is the outer call's scratch,
 * kept until it returns. [call]
 */
#ifndef RAPT_KIT_SCORE_INNER_H
#define RAPT_KIT_SCORE_INNER_H

#include "kit/score.h"

typedef struct rapt_inner {
    rapt_call *outer;
    double scale, softcap;             /* softcap 0: none */
    const rapt_view *q, *k, *v, *bias; /* bias [1|B, 1|H, 1|N, 1|M] or NULL */
    const rapt_view *sink;             /* [H], float32, or NULL */
    rapt_view *o; /* forward: written; backward: as forward wrote it, float32 */
    rapt_view *row_reference, *row_sum; /* [B,H,N], float32; NULL: not kept */
    const rapt_view *grad_o;            /* backward */
    rapt_view *grad_q, *grad_k, *grad_v, *grad_bias, *grad_sink; /* NULL: not wanted */
} rapt_inner;

/* A view with its own shape and strides. */
typedef struct rapt_inner_view {
    rapt_view view;
    int64_t shape[4], strides[4];
} rapt_inner_view;

/* `data` as a contiguous tensor [a, b, c, d] of float32. The view holds as long as `holder`. */
static inline rapt_view *rapt_inner_floats(rapt_inner_view *holder, float *data, int64_t a,
                                           int64_t b, int64_t c, int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    memcpy(holder->shape, shape, sizeof shape);
    holder->strides[3] = 1;
    for (int i = 2; i >= 0; i--)
        holder->strides[i] = holder->strides[i + 1] * shape[i + 1];
    holder->view = (rapt_view){.data = data,
                               .device = {RAPT_DEVICE_CPU, 0},
                               .ndim = 4,
                               .dtype = {2, 32, 1},
                               .shape = holder->shape,
                               .strides = holder->strides};
    return &holder->view;
}

static const rapt_arg rapt_inner_inputs[] = {RAPT_SCORE_INPUTS, RAPT_SCORE_INPUT_BIAS,
                                             RAPT_SCORE_INPUT_SINK};
static const rapt_arg rapt_inner_outputs[] = {RAPT_SCORE_OUTPUTS};
static const rapt_attr rapt_inner_attrs[] = {RAPT_SCORE_ATTRS, RAPT_SCORE_ATTR_SOFTCAP};
static const rapt_arg rapt_inner_saved[] = {RAPT_SCORE_SAVED};
static const rapt_kernel rapt_inner_kernel = {.size = sizeof(rapt_kernel),
                                              .name = "inner",
                                              .device = "cpu",
                                              .saved = rapt_inner_saved,
                                              .n_saved = 2};
static const rapt_operator rapt_inner_operator = {
    .size = sizeof(rapt_operator),
    .name = "inner",
    .inputs = rapt_inner_inputs,
    .n_inputs = 5,
    .outputs = rapt_inner_outputs,
    .n_outputs = 2,
    .attrs = rapt_inner_attrs,
    .n_attrs = 3,
};

/* Runs the driver in `phase` (RAPT_FORWARD, RAPT_BACKWARD, RAPT_WEIGHTS with o as the matrix). */
static inline rapt_status rapt_inner_run(const rapt_inner *inner, rapt_phase phase,
                                         const rapt_score_code *code)
{
    int64_t sizes[128];
    rapt_value attrs[3];
    const rapt_view *inputs[] = {inner->q, inner->k, inner->v, inner->bias, inner->sink};
    rapt_view *outputs[] = {inner->o, NULL}, *saved[] = {inner->row_reference, inner->row_sum};
    const rapt_view *grad_outputs[] = {inner->grad_o, NULL};
    rapt_view *grad_inputs[] = {inner->grad_q, inner->grad_k, inner->grad_v, inner->grad_bias,
                                inner->grad_sink};
    rapt_call call = *inner->outer;
    memset(attrs, 0, sizeof attrs);
    attrs[0].present = attrs[1].present = attrs[2].present = 1;
    attrs[1].f = inner->scale;
    attrs[2].f = inner->softcap;
    for (int i = 0; i < 128; i++)
        sizes[i] = -1;
    sizes['B'] = inner->q->shape[0];
    sizes['H'] = inner->q->shape[1];
    sizes['G'] = inner->k->shape[1];
    sizes['N'] = inner->q->shape[2];
    sizes['M'] = inner->k->shape[2];
    sizes['D'] = inner->q->shape[3];
    sizes['E'] = inner->v ? inner->v->shape[3] : 0;
    call.phase = phase;
    call.op = &rapt_inner_operator;
    call.kernel = &rapt_inner_kernel;
    call.inputs = inputs;
    call.outputs = outputs;
    call.saved = inner->row_sum ? saved : NULL;
    call.grad_outputs = grad_outputs;
    call.grad_inputs = grad_inputs;
    call.attrs = attrs;
    call.sizes = sizes;
    call.dtype = RAPT_F32;
    call.workspace_size = rapt_score_workspace(&call);
    call.workspace = call.host->scratch(inner->outer, call.workspace_size + 1);
    if (!call.workspace)
        return RAPT_NO_MEMORY;
    if (phase == RAPT_BACKWARD)
        return rapt_score_backward(&call, code);
    if (phase == RAPT_WEIGHTS)
        return rapt_score_weights(&call, code);
    return rapt_score_forward(&call, code);
}

#endif
