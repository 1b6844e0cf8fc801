/*
 * kit/score_split.h - few queries over many keys: the forward pass of kit/score_inner.h in parts of
 * the keys that run at the same time, merged by their rows' statistics.
 *
 * With fewer tasks of heads and query blocks than a machine has processors, most of them would have
 * nothing to do. Parts depend on sizes alone, so that the same input gives the same bits.
 */
#ifndef RAPT_KIT_SCORE_SPLIT_H
#define RAPT_KIT_SCORE_SPLIT_H

#include "kit/score_inner.h"

enum {
    RAPT_SPLIT_TASKS = 64, /* as many tasks as there should be */
    RAPT_SPLIT_KEYS = 512  /* the least that a part has */
};

typedef struct rapt_split {
    const rapt_inner *whole;
    int64_t chunk, parts;       /* keys of each part but the last, which may have fewer */
    int64_t rows, width;        /* B H N, E */
    float *o, *reference, *sum; /* [parts][B,H,N,(E)] */
} rapt_split;

/* In how many parts; 1: not split. Parts take the place of the batch, one sample after the other,
 * which pays only where there are more of them. */
static inline int64_t rapt_split_parts(const rapt_inner *whole)
{
    const int64_t *q = whole->q->shape, keys = whole->k->shape[2];
    const int64_t tasks = q[0] * q[1] * ((q[2] + RAPT_SCORE_ROWS - 1) / RAPT_SCORE_ROWS);
    const int64_t parts = tasks ? (RAPT_SPLIT_TASKS + tasks - 1) / tasks : 1;
    const int64_t most = keys / RAPT_SPLIT_KEYS;
    const int64_t chosen = parts < most ? parts : most;
    return chosen > q[0] && q[2] > RAPT_SCORE_FEW ? chosen : 1;
}

/* Of a [B,.,.,.] tensor the sample b, and of dimension `dim` `count` parts of `chunk` from part
 * `first` on, as the batch; dim -1, or a dimension of size 1: the whole for each part. */
static inline const rapt_view *rapt_split_view(const rapt_view *view, int64_t b, int dim,
                                               int64_t first, int64_t count, int64_t chunk,
                                               int64_t length, rapt_inner_view *holder)
{
    if (!view)
        return NULL;
    const int parted = dim >= 0 && view->shape[dim] != 1;
    const int64_t sample = view->shape[0] == 1 ? 0 : b * view->strides[0];
    const int64_t step = parted ? chunk * view->strides[dim] : 0;
    holder->view = *view;
    holder->view.shape = holder->shape;
    holder->view.strides = holder->strides;
    holder->view.byte_offset +=
        (uint64_t)(sample + first * step) * rapt_dtype_size(rapt_view_dtype(view));
    for (int i = 1; i < 4; i++) {
        holder->shape[i] = view->shape[i];
        holder->strides[i] = view->strides[i];
    }
    if (parted)
        holder->shape[dim] = length;
    holder->shape[0] = count;
    holder->strides[0] = step;
    return &holder->view;
}

/* The parts first <= p < first + count of sample b, each of `length` keys. */
static inline rapt_status rapt_split_run(const rapt_split *split, int64_t b, int64_t first,
                                         int64_t count, int64_t length, const rapt_score_code *code)
{
    const rapt_inner *whole = split->whole;
    const int64_t heads = whole->q->shape[1], n = whole->q->shape[2], chunk = split->chunk;
    const int64_t at = (b * split->parts + first) * heads * n;
    rapt_inner_view view[7];
    rapt_inner part = *whole;
    part.q = rapt_split_view(whole->q, b, -1, first, count, chunk, length, &view[0]);
    part.k = rapt_split_view(whole->k, b, 2, first, count, chunk, length, &view[1]);
    part.v = rapt_split_view(whole->v, b, 2, first, count, chunk, length, &view[2]);
    part.bias = rapt_split_view(whole->bias, b, 3, first, count, chunk, length, &view[3]);
    part.o =
        rapt_inner_floats(&view[4], split->o + at * split->width, count, heads, n, split->width);
    part.row_reference = rapt_inner_floats(&view[5], split->reference + at, count, heads, n, 1);
    part.row_sum = rapt_inner_floats(&view[6], split->sum + at, count, heads, n, 1);
    return rapt_inner_run(&part, RAPT_FORWARD, code);
}

/* Items: heads of all samples. Puts the parts of their rows together. */
static inline void rapt_split_merge(void *context, int64_t begin, int64_t end, int worker)
{
    const rapt_split *split = (const rapt_split *)context;
    const rapt_inner *whole = split->whole;
    const int64_t heads = whole->q->shape[1], n = whole->q->shape[2], width = split->width;
    (void)worker;
    for (int64_t row = begin * n; row < end * n; row++) {
        const int64_t first = row / (heads * n) * split->parts * heads * n + row % (heads * n);
        float *o = (float *)rapt_view_data(whole->o) + row * width;
        float most = -INFINITY, sum = 0.0f;
        for (int64_t p = 0; p < split->parts; p++)
            most = fmaxf(most, split->reference[first + p * heads * n]);
        memset(o, 0, (size_t)width * sizeof *o);
        for (int64_t p = 0; p < split->parts; p++) {
            const int64_t at = first + p * heads * n;
            const float share =
                split->sum[at] == 0.0f ? 0.0f : split->sum[at] * expf(split->reference[at] - most);
            sum += share;
            for (int64_t e = 0; e < width; e++)
                o[e] += share * split->o[at * width + e];
        }
        for (int64_t e = 0; e < width && sum != 0.0f; e++)
            o[e] /= sum;
        if (whole->row_sum) {
            ((float *)rapt_view_data(whole->row_reference))[row] = most;
            ((float *)rapt_view_data(whole->row_sum))[row] = sum;
        }
    }
}

/* Forward of a rapt_inner whose o is float32 and contiguous, split where that pays. [call] */
static inline rapt_status rapt_split_forward(const rapt_inner *whole, const rapt_score_code *code)
{
    const int64_t *q = whole->q->shape, keys = whole->k->shape[2];
    const rapt_host *host = whole->outer->host;
    rapt_split split = {.whole = whole, .parts = rapt_split_parts(whole)};
    rapt_status status = RAPT_OK;
    if (split.parts <= 1)
        return rapt_inner_run(whole, RAPT_FORWARD, code);
    split.chunk = (keys + split.parts - 1) / split.parts;
    split.chunk = (split.chunk + RAPT_SCORE_KEYS - 1) / RAPT_SCORE_KEYS * RAPT_SCORE_KEYS;
    split.parts = (keys + split.chunk - 1) / split.chunk;
    split.rows = q[0] * q[1] * q[2];
    split.width = whole->v->shape[3];
    const size_t floats = (size_t)(split.rows * split.parts);
    split.o =
        (float *)host->scratch(whole->outer, floats * (size_t)split.width * sizeof(float) + 1);
    split.reference = (float *)host->scratch(whole->outer, floats * sizeof(float));
    split.sum = (float *)host->scratch(whole->outer, floats * sizeof(float));
    if (!split.o || !split.reference || !split.sum)
        return RAPT_NO_MEMORY;
    const int64_t full = keys / split.chunk, rest = keys % split.chunk;
    for (int64_t b = 0; b < q[0] && status == RAPT_OK; b++) {
        status = rapt_split_run(&split, b, 0, full, split.chunk, code);
        if (status == RAPT_OK && rest)
            status = rapt_split_run(&split, b, full, 1, rest, code);
    }
    if (status == RAPT_OK)
        host->parallel_for(whole->outer, q[0] * q[1], 1, rapt_split_merge, &split);
    return status;
}

#endif
