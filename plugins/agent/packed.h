/*
 * Packed sequences: agent as it is for each, on its rows alone, with agents of its own where they
 * are pooled; given agents, the biases and the sink are everybody's. What a part writes is
 * contiguous memory of its own, and goes where it belongs afterwards. Included by cpu.c.
 */
#ifndef RAPT_AGENT_PACKED_H
#define RAPT_AGENT_PACKED_H

#include "job.h"
#include <stdbool.h>

typedef rapt_status (*agent_entry)(rapt_call *call);

/* A view with its own shape and strides. */
typedef struct agent_view {
    rapt_view view;
    int64_t shape[4], strides[4];
} agent_view;

/* The rows of one sequence: of q and o, and of k and v. */
typedef struct agent_rows {
    int64_t q, n, k, m;
} agent_rows;

/* The call for one sequence. */
typedef struct agent_part {
    rapt_call call;
    int64_t sizes[128];
    agent_view in[AGENT_INPUTS], grad[AGENT_INPUTS], out, grad_out, saved[AGENT_SAVED];
    const rapt_view *inputs[AGENT_INPUTS], *grad_outputs[1];
    rapt_view *outputs[1], *grad_inputs[AGENT_INPUTS], *saved_at[AGENT_SAVED];
} agent_part;

/* `from` with dimension `axis` narrowed to `count` entries from `first` on; axis -1: as it is. */
static rapt_view *agent_narrow(agent_view *holder, const rapt_view *from, int axis, int64_t first,
                               int64_t count)
{
    if (!from)
        return NULL;
    holder->view = *from;
    memcpy(holder->shape, from->shape, (size_t)from->ndim * sizeof *from->shape);
    memcpy(holder->strides, from->strides, (size_t)from->ndim * sizeof *from->strides);
    holder->view.shape = holder->shape;
    holder->view.strides = holder->strides;
    if (axis < 0)
        return &holder->view;
    holder->shape[axis] = count;
    holder->view.byte_offset +=
        (uint64_t)(first * holder->strides[axis]) * rapt_dtype_size(rapt_view_dtype(from));
    return &holder->view;
}

/* New contiguous memory in the shape of a view; NULL: there is none, which is said. */
static rapt_view *agent_own(rapt_call *call, agent_view *holder, const rapt_view *like)
{
    int64_t count = 1;
    agent_narrow(holder, like, -1, 0, 0);
    for (int d = like->ndim - 1; d >= 0; d--) {
        holder->strides[d] = count;
        count *= holder->shape[d];
    }
    holder->view.byte_offset = 0;
    holder->view.data =
        call->host->scratch(call, (size_t)count * rapt_dtype_size(rapt_view_dtype(like)) + 1);
    return holder->view.data ? &holder->view : NULL;
}

/* to = from, or, for float32, to += from; the last dimension is contiguous in both. */
static void agent_place(const rapt_view *from, const rapt_view *to, bool add)
{
    const int last = to->ndim - 1;
    const size_t size = rapt_dtype_size(rapt_view_dtype(to));
    int64_t rows = 1, at[4] = {0};
    for (int d = 0; d < last; d++)
        rows *= to->shape[d];
    for (int64_t r = 0; r < rows; r++) {
        int64_t source = 0, target = 0;
        for (int d = 0; d < last; d++) {
            source += at[d] * from->strides[d];
            target += at[d] * to->strides[d];
        }
        const char *x = (const char *)rapt_view_data(from) + (size_t)source * size;
        char *y = (char *)rapt_view_data(to) + (size_t)target * size;
        if (!add)
            memcpy(y, x, (size_t)to->shape[last] * size);
        for (int64_t i = 0; add && i < to->shape[last]; i++)
            ((float *)(void *)y)[i] += ((const float *)(const void *)x)[i];
        for (int d = last - 1; d >= 0 && ++at[d] == to->shape[d]; d--)
            at[d] = 0;
    }
}

/* The dimension of an input that a sequence has a part of, -1 if it has the whole. */
static int agent_axis(int input, const agent_rows *rows, int64_t *first, int64_t *count)
{
    const bool queries = input == AGENT_Q || input == AGENT_QUERY_BIAS;
    *first = queries ? rows->q : rows->k;
    *count = queries ? rows->n : rows->m;
    if (input == AGENT_Q || input == AGENT_K || input == AGENT_V || input == AGENT_AGENT_BIAS)
        return 2;
    return input == AGENT_QUERY_BIAS ? 1 : -1;
}

static void agent_part_begin(agent_part *part, rapt_call *call, const agent_rows *rows)
{
    memset(part, 0, sizeof *part);
    part->call = *call;
    memcpy(part->sizes, call->sizes, sizeof part->sizes);
    part->sizes['N'] = rows->n;
    part->sizes['M'] = rows->m;
    for (int i = 0; i < AGENT_BORDERS_Q; i++) {
        int64_t first, count;
        const int axis = agent_axis(i, rows, &first, &count);
        part->inputs[i] = agent_narrow(&part->in[i], call->inputs[i], axis, first, count);
    }
    part->call.sizes = part->sizes;
    part->call.inputs = part->inputs;
    part->call.outputs = part->outputs;
    part->call.saved = NULL;
    part->call.grad_outputs = part->grad_outputs;
    part->call.grad_inputs = part->grad_inputs;
}

/* Where a part's output belongs: its queries' rows, of a matrix its keys' columns. */
static rapt_view *agent_target(agent_view *holder, const rapt_view *whole, const agent_rows *rows,
                               bool matrix)
{
    rapt_view *target = agent_narrow(holder, whole, 2, rows->q, rows->n);
    if (matrix) {
        holder->shape[3] = rows->m;
        holder->view.byte_offset += (uint64_t)rows->k * sizeof(float);
    }
    return target;
}

static rapt_status agent_part_forward(rapt_call *call, const agent_rows *rows, agent_entry entry)
{
    agent_part part;
    agent_view target;
    agent_part_begin(&part, call, rows);
    agent_target(&target, call->outputs[0], rows, call->phase == RAPT_WEIGHTS);
    part.outputs[0] = agent_own(call, &part.out, &target.view);
    const rapt_status status = part.outputs[0] ? entry(&part.call) : RAPT_NO_MEMORY;
    if (status == RAPT_OK)
        agent_place(part.outputs[0], &target.view, false);
    return status;
}

/* What forward leaves to backward, of one sequence: made again. */
static rapt_status agent_part_save(rapt_call *call, agent_part *part)
{
    const int64_t heads = call->sizes['H'], n = part->sizes['N'];
    const int64_t agents =
        call->inputs[AGENT_AGENTS] ? call->sizes['A'] : call->attrs[AGENT_N_AGENTS].i[0];
    const int64_t pooled = call->inputs[AGENT_AGENTS] ? 0 : agents;
    const int64_t shape[AGENT_SAVED][4] = {
        [AGENT_POOLED] = {1, heads, pooled, call->sizes['D']},
        [AGENT_GATHERED] = {1, heads, agents, call->sizes['E']},
        [AGENT_GATHER_REFERENCE] = {1, heads, agents, 1},
        [AGENT_GATHER_SUM] = {1, heads, agents, 1},
        [AGENT_HAND_OUT_REFERENCE] = {1, heads, n, 1},
        [AGENT_HAND_OUT_SUM] = {1, heads, n, 1},
    };
    for (int i = 0; i < AGENT_SAVED; i++) {
        rapt_inner_view like;
        rapt_inner_floats(&like, NULL, shape[i][0], shape[i][1], shape[i][2], shape[i][3]);
        part->saved_at[i] = agent_own(call, &part->saved[i], &like.view);
        if (!part->saved_at[i])
            return RAPT_NO_MEMORY;
        if (i >= AGENT_GATHER_REFERENCE)
            part->saved[i].view.ndim = 3;
    }
    agent_view o;
    agent_narrow(&o, call->inputs[AGENT_V], 2, 0, n);
    o.shape[0] = 1;
    o.shape[1] = heads;
    part->outputs[0] = agent_own(call, &part->out, &o.view);
    if (!part->outputs[0])
        return RAPT_NO_MEMORY;
    part->call.saved = part->saved_at;
    part->call.phase = RAPT_FORWARD;
    const rapt_status status = agent_cpu_forward(&part->call);
    part->call.phase = RAPT_BACKWARD;
    return status;
}

/* `total`: sums, in float32, of what all sequences say of the agents and of the sink. */
static rapt_status agent_part_backward(rapt_call *call, const agent_rows *rows,
                                       rapt_view *const *total)
{
    agent_part part;
    agent_view target[AGENT_INPUTS];
    agent_part_begin(&part, call, rows);
    rapt_status status = agent_part_save(call, &part);
    part.grad_outputs[0] = agent_narrow(&part.grad_out, call->grad_outputs[0], 2, rows->q, rows->n);
    for (int i = 0; status == RAPT_OK && i < AGENT_BORDERS_Q; i++) {
        int64_t first, count;
        const int axis = agent_axis(i, rows, &first, &count);
        if (!agent_narrow(&target[i], total[i] ? total[i] : call->grad_inputs[i], axis, first,
                          count))
            continue;
        part.grad_inputs[i] = agent_own(call, &part.grad[i], &target[i].view);
        if (!part.grad_inputs[i])
            status = RAPT_NO_MEMORY;
    }
    if (status == RAPT_OK)
        status = agent_cpu_backward(&part.call);
    for (int i = 0; status == RAPT_OK && i < AGENT_BORDERS_Q; i++)
        if (part.grad_inputs[i])
            agent_place(part.grad_inputs[i], &target[i].view, total[i] != NULL);
    return status;
}

static int64_t agent_elements(const rapt_view *view)
{
    int64_t count = 1;
    for (int d = 0; d < view->ndim; d++)
        count *= view->shape[d];
    return count;
}

static void agent_clear(const rapt_view *view)
{
    memset(rapt_view_data(view), 0,
           (size_t)agent_elements(view) * rapt_dtype_size(rapt_view_dtype(view)));
}

/* Sums over sequences, of those gradients that are wanted. */
static rapt_status agent_totals(rapt_call *call, agent_view *holder, rapt_view **total)
{
    for (int i = 0; i < AGENT_BORDERS_Q; i++) {
        const rapt_view *grad = call->grad_inputs[i];
        if (grad)
            agent_clear(grad);
        if (!grad || (i != AGENT_AGENTS && i != AGENT_SINK))
            continue;
        agent_view like;
        agent_narrow(&like, grad, -1, 0, 0);
        like.view.dtype = (rapt_dltype){2, 32, 1};
        total[i] = agent_own(call, &holder[i], &like.view);
        if (!total[i])
            return RAPT_NO_MEMORY;
        agent_clear(total[i]);
    }
    return RAPT_OK;
}

/* Borders are good and agree in number. */
static rapt_status agent_check_borders(rapt_call *call, rapt_score_view *q, rapt_score_view *k)
{
    *q = rapt_score_view_of(call->inputs[AGENT_BORDERS_Q]);
    *k = rapt_score_view_of(call->inputs[AGENT_BORDERS_K]);
    const rapt_status status = rapt_score_check_borders(call, q, "cu_seqlens_q", 'N');
    return status == RAPT_OK ? rapt_score_check_borders(call, k, "cu_seqlens_k", 'M') : status;
}

/* Forward, weights or backward, by the call's phase. */
static rapt_status agent_packed(rapt_call *call, agent_entry entry)
{
    const rapt_math_service *math = (const rapt_math_service *)call->host->service("rapt.math", 1);
    agent_view holder[AGENT_INPUTS];
    rapt_view *total[AGENT_INPUTS] = {NULL};
    rapt_score_view q, k;
    rapt_status status = agent_check_borders(call, &q, &k);
    if (status == RAPT_OK && call->phase == RAPT_BACKWARD)
        status = agent_totals(call, holder, total);
    if (status == RAPT_OK && call->phase == RAPT_WEIGHTS)
        agent_clear(call->outputs[0]);
    for (int64_t s = 0; status == RAPT_OK && s + 1 < q.shape[0]; s++) {
        const agent_rows rows = {
            rapt_score_border(&q, s), rapt_score_border(&q, s + 1) - rapt_score_border(&q, s),
            rapt_score_border(&k, s), rapt_score_border(&k, s + 1) - rapt_score_border(&k, s)};
        if (rows.n > 0)
            status = call->phase == RAPT_BACKWARD ? agent_part_backward(call, &rows, total)
                                                  : agent_part_forward(call, &rows, entry);
    }
    for (int i = 0; status == RAPT_OK && i < AGENT_BORDERS_Q; i++)
        if (total[i])
            math->store(agent_elements(total[i]), rapt_view_dtype(call->grad_inputs[i]),
                        (const float *)rapt_view_data(total[i]),
                        rapt_view_data(call->grad_inputs[i]));
    return status;
}
#endif
