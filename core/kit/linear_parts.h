/*
 * kit/linear_parts.h - what kit/linear.h's driver and its level bodies share: decays, states along
 * the sequence, and the gradients that one pass leaves to the next.
 */
#ifndef RAPT_KIT_LINEAR_PARTS_H
#define RAPT_KIT_LINEAR_PARTS_H

#include "kit/linear_tree.h"
#include <math.h>
#include <stdbool.h>

#define LINEAR_SLICE       4 /* rows of a state that one task carries */
#define LINEAR_ALIGN(size) (((size) + 63) / 64 * 64)

/* The tasks of one CPU level, made by linear_body.h. */
typedef struct rapt_linear_code {
    rapt_task states, carry, grow, outputs, reverse, carry_back, nodes, shed, gradients, step,
        tree_step, tree_final;
    size_t tiles_size;
} rapt_linear_code;

/* --- Decays -------------------------------------------------------------------------------- */

/* sum[i] = g_0 + .. + g_i of a chunk's rows, left[i] = total - sum[i]; 0 for the rows that its
 * tiles skip, constant behind the last position. low[i] is what float32 cuts from sum[i]: behind a
 * decay of e^-1000, differences of later sums still hold all digits. */
typedef struct linear_decay {
    float sum[RAPT_LINEAR_CHUNK], low[RAPT_LINEAR_CHUNK], left[RAPT_LINEAR_CHUNK];
    float work[RAPT_LINEAR_CHUNK];
    /* Decays by distance where a chunk's are all alike: near[RAPT_LINEAR_CHUNK - 1 - n] for n
     * positions, 0 after the last entry of a distance. */
    float near[2 * RAPT_LINEAR_CHUNK];
    double total;
} linear_decay;

/* Whether the decays differ from step to step. */
static inline bool linear_steps_differ(const rapt_linear *x)
{
    return x->g.data != NULL;
}

/* Whether gradients of the decays are wanted. */
static inline bool linear_rates_wanted(const rapt_linear *x)
{
    return x->dg.data || x->d_slope;
}

static inline void linear_chunk_decay(const rapt_linear *x, const rapt_linear_chunk *chunk,
                                      int64_t head, linear_decay *decay)
{
    float g[RAPT_LINEAR_CHUNK];
    double sum[RAPT_LINEAR_CHUNK], total = 0;
    if (x->g.data)
        x->math->load(chunk->count, x->g.dtype, rapt_row_at(&x->g, chunk->batch, head, chunk->row),
                      g + chunk->skip);
    for (int64_t i = 0; i < RAPT_LINEAR_CHUNK; i++) {
        if (i >= chunk->skip && i < chunk->skip + chunk->count) {
            double step = 0;
            if (x->g.data)
                step = g[i];
            else if (x->slope)
                step = -(double)x->slope[head];
            /* e^-1e4 is 0 already; the bound keeps differences of infinities away. */
            total += step < -1e4 ? -1e4 : step;
        }
        sum[i] = total;
    }
    for (int64_t i = 0; i < RAPT_LINEAR_CHUNK; i++) {
        decay->sum[i] = (float)sum[i];
        decay->low[i] = (float)(sum[i] - (double)decay->sum[i]);
        decay->left[i] = (float)(total - sum[i]);
    }
    decay->total = total;
}

/* --- States along the sequence --------------------------------------------------------------- */

/* Gradients of a chunk in work as tiles, one after the other: dq, dk, dv. */
static inline float *rapt_linear_grad_tile(const rapt_linear *x, int64_t lane, int64_t c)
{
    const int64_t size = RAPT_LINEAR_CHUNK * (2 * x->width_d + x->width_e);
    return x->grad_tiles + (lane * x->stretch + c - x->from) * size;
}

/* A slice of whole rows of the states of one head and sequence. */
typedef struct linear_slice {
    int64_t lane, sequence, row, rows; /* rows of D */
    int64_t offset, size;              /* in a state: floats */
} linear_slice;

static inline int64_t linear_slices(const rapt_linear *x)
{
    return (x->width_d + LINEAR_SLICE - 1) / LINEAR_SLICE;
}

static inline linear_slice linear_slice_of(const rapt_linear *x, int64_t item)
{
    const int64_t slices = linear_slices(x);
    linear_slice slice = {0};
    slice.row = item % slices * LINEAR_SLICE;
    slice.sequence = item / slices % x->n_sequences;
    slice.lane = item / slices / x->n_sequences;
    slice.rows = x->width_d - slice.row < LINEAR_SLICE ? x->width_d - slice.row : LINEAR_SLICE;
    slice.offset = slice.row * x->width_e;
    slice.size = slice.rows * x->width_e;
    return slice;
}

/* A slice of the caller's states [sequences, H, D, E] to and from its padded form. */
static inline void linear_state_load(const rapt_linear *x, const float *states,
                                     const linear_slice *slice, float *to)
{
    const int64_t head = x->first_head + slice->lane;
    memset(to, 0, (size_t)slice->size * sizeof *to);
    if (!states)
        return;
    states += (slice->sequence * x->heads + head) * x->d * x->e;
    for (int64_t r = 0; r < slice->rows && slice->row + r < x->d; r++)
        memcpy(to + r * x->width_e, states + (slice->row + r) * x->e, (size_t)x->e * sizeof *to);
}

static inline void linear_state_store(const rapt_linear *x, float *states,
                                      const linear_slice *slice, const float *from)
{
    const int64_t head = x->first_head + slice->lane;
    if (!states)
        return;
    states += (slice->sequence * x->heads + head) * x->d * x->e;
    for (int64_t r = 0; r < slice->rows && slice->row + r < x->d; r++)
        memcpy(states + (slice->row + r) * x->e, from + r * x->width_e,
               (size_t)x->e * sizeof *from);
}

/* The chunks in work of a sequence, and whether it begins and ends among them. */
typedef struct linear_range {
    int64_t first, end;
    bool begins, ends, empty;
} linear_range;

static inline linear_range linear_range_of(const rapt_linear *x, int64_t s)
{
    const rapt_linear_sequence *sequence = &x->sequences[s];
    const int64_t first = sequence->first, end = first + sequence->chunks;
    linear_range range = {.first = first > x->from ? first : x->from,
                          .end = end < x->until ? end : x->until,
                          .begins = first >= x->from,
                          .ends = end <= x->until};
    range.empty = range.first >= range.end;
    /* A sequence without chunks hands its state on once, while the first stretch is in work. */
    if (!sequence->chunks) {
        range.first = range.end = first;
        range.begins = range.ends = true;
        range.empty = x->from > 0;
    }
    return range;
}

static inline float *linear_carried(const rapt_linear *x, int which, const linear_slice *slice)
{
    return x->carried[which] + slice->lane * x->width_d * x->width_e + slice->offset;
}

/* --- States of trees ------------------------------------------------------------------------- */

/* A slice of a slot. */
static inline float *linear_part(const rapt_linear *x, const rapt_linear_states *states,
                                 const linear_slice *slice, int64_t number)
{
    return linear_slot(x, states, slice->lane, number) + slice->offset;
}

/* The same slice of an entry of the caller's states [sequences, H, L, D, E], to and from its padded
 * form. */
static inline void linear_entry_load(const rapt_linear *x, const float *states,
                                     const linear_slice *slice, int bit, float *to)
{
    memset(to, 0, (size_t)slice->size * sizeof *to);
    if (!states || bit + 1 >= x->levels)
        return;
    states += linear_entry(x, slice->sequence, x->first_head + slice->lane, bit);
    for (int64_t r = 0; r < slice->rows && slice->row + r < x->d; r++)
        memcpy(to + r * x->width_e, states + (slice->row + r) * x->e, (size_t)x->e * sizeof *to);
}

static inline void linear_entry_store(const rapt_linear *x, float *states,
                                      const linear_slice *slice, int bit, const float *from)
{
    states += linear_entry(x, slice->sequence, x->first_head + slice->lane, bit);
    for (int64_t r = 0; r < slice->rows && slice->row + r < x->d; r++)
        memcpy(states + (slice->row + r) * x->e, from + r * x->width_e,
               (size_t)x->e * sizeof *from);
}

/* --- Gradients of weights and decays -------------------------------------------------------- */

static inline void linear_store_levels(const rapt_linear *x, const rapt_linear_chunk *chunk,
                                       int64_t head, float (*dl)[LINEAR_MAX_LEVELS])
{
    static const float none[LINEAR_MAX_LEVELS] = {0};
    if (!x->dl.data)
        return;
    for (int64_t i = 0; i < chunk->count; i++)
        for (int64_t level = 0; level < x->levels; level += LINEAR_MAX_LEVELS) {
            const int64_t left = x->levels - level;
            char *to = rapt_row_at(&x->dl, chunk->batch, head, chunk->row + i);
            x->math->store(left < LINEAR_MAX_LEVELS ? left : LINEAR_MAX_LEVELS, x->dl.dtype,
                           level ? none : dl[chunk->skip + i],
                           to + level * (int64_t)rapt_dtype_size(x->dl.dtype));
        }
}

static inline float *linear_rate(const rapt_linear *x, int64_t lane, int64_t c)
{
    return x->rate + (lane * x->n_chunks + c) * RAPT_LINEAR_CHUNK;
}

/*
 * What one chunk knows of its decays' gradients. The decay g_r multiplies every pair (t, s) with
 * s < r <= t, so its gradient is the sum of their weights W(t,s): pairs inside the chunk (`pairs`:
 * rows less columns), pairs that end here (`query`), that begin here (`key`), and those that pass
 * through
 * (`through`; of a tree they are found later, from what begins and ends).
 */
static inline void linear_keep_decay(const rapt_linear *x, int64_t lane, int64_t c,
                                     const double *pairs, const double *query, const double *key,
                                     double through)
{
    if (!linear_rates_wanted(x))
        return;
    const int64_t first = x->chunks[c].skip, end = first + x->chunks[c].count;
    float *rate = linear_rate(x, lane, c);
    double *passing = x->passing + 2 * (lane * x->n_chunks + c);
    double tail = 0;
    passing[0] = passing[1] = 0;
    for (int64_t i = first; i < end; i++) {
        passing[0] += key[i];
        passing[1] += query[i];
    }
    double from_keys = passing[0];
    for (int64_t i = end - 1; i >= first; i--) {
        tail += pairs[i] + query[i];
        from_keys -= key[i];
        rate[i] = (float)(tail + from_keys + through);
    }
}

/* What the state that a sequence began with and its gradient say together: the weight of all pairs
 * that begin before it. */
static inline double linear_began(const rapt_linear *x, int64_t lane, int64_t s)
{
    double sum = 0;
    if (!x->levels_in || !x->sequences[s].chunks)
        return 0;
    for (int bit = 0; bit + 1 < x->levels && x->position >> bit; bit++) {
        const int level = bit - RAPT_LINEAR_CHUNK_LOG;
        if (!linear_has_block(x->position, bit) || level >= linear_levels_of(x, s))
            continue;
        const int64_t number = level < 0
                                   ? linear_piece(x, s, bit)
                                   : linear_number(x, s, level, (linear_origin(x) >> level) - 1);
        const float *state = linear_slot(x, &x->states, lane, number);
        const float *grad = linear_slot(x, &x->reverse, lane, number);
        for (int64_t i = 0; i < x->width_d * x->width_e; i++)
            sum += (double)state[i] * (double)grad[i];
    }
    return sum;
}

/* Adds to a tree's rates what passes through whole chunks, then hands the rates out. */
static inline void linear_finish_decay(rapt_linear *x, int64_t lane)
{
    const int64_t head = x->first_head + lane;
    double total = 0;
    for (int64_t s = 0; s < x->n_sequences; s++) {
        /* Weight of the tree's pairs across the border before chunk i. */
        double crossing = x->l.data ? linear_began(x, lane, s) : 0;
        for (int64_t i = 0; i < x->sequences[s].chunks; i++) {
            const int64_t c = x->sequences[s].first + i;
            const rapt_linear_chunk *chunk = &x->chunks[c];
            const double *passing = x->passing + 2 * (lane * x->n_chunks + c);
            float *rate = linear_rate(x, lane, c) + chunk->skip;
            crossing -= x->l.data ? passing[1] : 0;
            for (int64_t r = 0; r < chunk->count; r++) {
                rate[r] += (float)crossing;
                total += rate[r];
            }
            if (x->dg.data)
                x->math->store(chunk->count, x->dg.dtype, rate,
                               rapt_row_at(&x->dg, chunk->batch, head, chunk->row));
            crossing += x->l.data ? passing[0] : 0;
        }
    }
    if (x->d_slope)
        x->d_slope[head] = (float)-total;
}
#endif
