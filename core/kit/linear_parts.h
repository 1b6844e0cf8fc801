/*
 * kit/linear_parts.h - what kit/linear.h's driver and its level bodies share: rows, decays, and
 * where states and tree nodes lie.
 *
 * Tree nodes of a sequence of n chunks: level b has ceil(n / 2^b) nodes, level after level, leaves
 * first, up to the level of one node; node j of level b covers chunks j 2^b and up.
 */
#ifndef RAPT_KIT_LINEAR_PARTS_H
#define RAPT_KIT_LINEAR_PARTS_H

#include "kit/linear.h"
#include <math.h>
#include <stdbool.h>

#define LINEAR_MAX_LEVELS  48 /* levels that a sequence in memory can reach */
#define LINEAR_SLICE       4  /* rows of a state that one task carries */
#define LINEAR_ALIGN(size) (((size) + 63) / 64 * 64)

/* The tasks of one CPU level, made by linear_body.h. */
typedef struct rapt_linear_code {
    rapt_task states, carry, grow, outputs, reverse, carry_back, nodes, shed, gradients, step,
        tree_step, tree_final;
    size_t tiles_size;
} rapt_linear_code;

/* --- Rows ---------------------------------------------------------------------------------- */

/* --- Decays -------------------------------------------------------------------------------- */

/* sum[i] = g_0 + .. + g_i of a chunk, left[i] = total - sum[i]; constant behind the last position.
 * low[i] is what float32 cuts from sum[i]: behind a decay of e^-1000, differences of later sums
 * still hold all digits. */
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
                      g);
    for (int64_t i = 0; i < RAPT_LINEAR_CHUNK; i++) {
        if (i < chunk->count) {
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

/* --- States and nodes ---------------------------------------------------------------------- */

static inline int64_t linear_level_nodes(int64_t chunks, int level)
{
    return (chunks + ((int64_t)1 << level) - 1) >> level;
}

/* Number of nodes below a level of a sequence's tree. */
static inline int64_t linear_level_base(int64_t chunks, int level)
{
    int64_t base = 0;
    for (int b = 0; b < level; b++)
        base += linear_level_nodes(chunks, b);
    return base;
}

static inline int64_t linear_tree_nodes(int64_t chunks)
{
    int64_t nodes = 0;
    for (int b = 0; chunks > 0; b++) {
        nodes += linear_level_nodes(chunks, b);
        if (linear_level_nodes(chunks, b) == 1)
            break;
    }
    return nodes;
}

static inline float *linear_slot(const rapt_linear *x, const rapt_linear_states *states,
                                 int64_t lane, int64_t number)
{
    const int64_t slot = lane * states->lane + number - states->first;
    return states->data + slot * x->width_d * x->width_e;
}

/* The state that belongs to chunk c itself. */
static inline float *linear_leaf(const rapt_linear *x, const rapt_linear_states *states,
                                 int64_t lane, int64_t c)
{
    const rapt_linear_chunk *chunk = &x->chunks[c];
    const int64_t node = x->l.data ? x->node_base[chunk->sequence] + chunk->index : c;
    return linear_slot(x, states, lane, node);
}

/* Gradients of a chunk in work as tiles, one after the other: dq, dk, dv. */
static inline float *rapt_linear_grad_tile(const rapt_linear *x, int64_t lane, int64_t c)
{
    const int64_t size = RAPT_LINEAR_CHUNK * (2 * x->width_d + x->width_e);
    return x->grad_tiles + (lane * x->stretch + c - x->from) * size;
}

/* The log decay between the start of chunk `first` and that of chunk c, of one sequence. */
static inline double linear_gap(const rapt_linear *x, int64_t lane, int64_t first, int64_t c)
{
    return x->prefix[lane * x->n_chunks + c] - x->prefix[lane * x->n_chunks + first];
}

/* The states from before a chunk that its queries read, one after the other. */
typedef struct linear_far {
    int64_t lane, chunk, index;
    int bit;      /* tree: the bit of `index` looked at last; flat: 1 when done */
    int level;    /* level weight to use, or -1 */
    int64_t node; /* in the lane */
    double decay; /* from the end of the state to the chunk's start */
} linear_far;

static inline void linear_far_start(const rapt_linear *x, int64_t lane, int64_t c, linear_far *far)
{
    far->lane = lane;
    far->chunk = c;
    far->index = x->chunks[c].index;
    far->bit = x->l.data ? -1 : 0;
}

static inline bool linear_far_next(const rapt_linear *x, linear_far *far)
{
    const rapt_linear_sequence *sequence = &x->sequences[x->chunks[far->chunk].sequence];
    if (!x->l.data) {
        if (far->bit || (!far->index && !x->state_in))
            return false;
        far->bit = 1;
        far->level = -1;
        far->node = far->chunk;
        far->decay = 0;
        return true;
    }
    do
        far->bit++;
    while (far->index >> far->bit && !(far->index >> far->bit & 1));
    if (!(far->index >> far->bit))
        return false;
    const int64_t block = far->index >> far->bit;
    far->level = RAPT_LINEAR_CHUNK_LOG + 1 + far->bit;
    far->node = x->node_base[x->chunks[far->chunk].sequence] +
                linear_level_base(sequence->chunks, far->bit) + block - 1;
    far->decay = linear_gap(x, far->lane, sequence->first + (block << far->bit), far->chunk);
    return true;
}

static inline float *linear_node(const rapt_linear *x, const rapt_linear_states *states,
                                 int64_t lane, const linear_far *far)
{
    return linear_slot(x, states, lane, far->node);
}

/* Where a node of a lane stands in its tree. */
typedef struct linear_place {
    int64_t sequence, index;
    int level;
} linear_place;

static inline linear_place linear_place_of(const rapt_linear *x, int64_t node)
{
    linear_place place = {0, 0, 0};
    int64_t low = 0, high = x->n_sequences - 1;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (x->node_base[middle] <= node)
            low = middle;
        else
            high = middle - 1;
    }
    place.sequence = low;
    place.index = node - x->node_base[low];
    while (place.index >= linear_level_nodes(x->sequences[low].chunks, place.level))
        place.index -= linear_level_nodes(x->sequences[low].chunks, place.level++);
    return place;
}

/* The chunks whose queries read a node: the block to its right, if the node is a left one. */
typedef struct linear_reader {
    int64_t first, end;
    int level;
} linear_reader;

static inline linear_reader linear_reader_of(const rapt_linear *x, int64_t node)
{
    const linear_place place = linear_place_of(x, node);
    const rapt_linear_sequence *sequence = &x->sequences[place.sequence];
    linear_reader reader = {0, 0, RAPT_LINEAR_CHUNK_LOG + 1 + place.level};
    if (place.index & 1)
        return reader;
    const int64_t first = (place.index + 1) << place.level;
    const int64_t end = (place.index + 2) << place.level;
    if (first < sequence->chunks) {
        reader.first = sequence->first + first;
        reader.end = sequence->first + (end < sequence->chunks ? end : sequence->chunks);
    }
    return reader;
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

/* The nodes of a level of a sequence's tree whose last chunk is in work. */
typedef struct linear_ending {
    int64_t first, end;
} linear_ending;

static inline linear_ending linear_ending_of(const rapt_linear *x, int64_t s, int level)
{
    const linear_range range = linear_range_of(x, s);
    const int64_t begin = x->sequences[s].first, length = (int64_t)1 << level;
    linear_ending ending = {0, 0};
    if (!range.empty) {
        ending.first = ((range.first - begin + length) >> level) - 1;
        ending.end = (range.end - begin) >> level;
    }
    return ending;
}

static inline float *linear_carried(const rapt_linear *x, int which, const linear_slice *slice)
{
    return x->carried[which] + slice->lane * x->width_d * x->width_e + slice->offset;
}

static inline float *linear_tree_slot(const rapt_linear *x, const rapt_linear_states *states,
                                      const linear_slice *slice, int level, int64_t j)
{
    const int64_t chunks = x->sequences[slice->sequence].chunks;
    const int64_t node = x->node_base[slice->sequence] + linear_level_base(chunks, level) + j;
    return linear_slot(x, states, slice->lane, node) + slice->offset;
}

/* e to the log decay over the chunks of node j of a level; the node is complete. */
static inline float linear_block_decay(const rapt_linear *x, const linear_slice *slice, int level,
                                       int64_t j)
{
    const int64_t first = x->sequences[slice->sequence].first;
    const int64_t last = first + ((j + 1) << level) - 1;
    return (float)exp(linear_gap(x, slice->lane, first + (j << level), last) +
                      x->decay[slice->lane * x->n_chunks + last]);
}

/* Positions of a sequence. */
static inline int64_t linear_sequence_length(const rapt_linear *x, int64_t s)
{
    const rapt_linear_sequence *sequence = &x->sequences[s];
    if (!sequence->chunks)
        return 0;
    return (sequence->chunks - 1) * RAPT_LINEAR_CHUNK +
           x->chunks[sequence->first + sequence->chunks - 1].count;
}

/* The log decay from position `end`, where a block of 2^bit positions ends, to the sequence's end;
 * of a block smaller than a chunk, whose state is at the end of its chunk already, 0. */
static inline double linear_tail(const rapt_linear *x, int64_t lane, int64_t s, int64_t end,
                                 int bit)
{
    const rapt_linear_sequence *sequence = &x->sequences[s];
    const int64_t last = sequence->first + sequence->chunks - 1;
    const int64_t c = sequence->first + end / RAPT_LINEAR_CHUNK;
    if (bit < RAPT_LINEAR_CHUNK_LOG || c > last)
        return 0;
    return linear_gap(x, lane, c, last) + x->decay[lane * x->n_chunks + last];
}

/* --- Gradients of weights and decays -------------------------------------------------------- */

/* level(t, s) within a chunk: the bit length of t xor s. */
static inline int linear_bits(unsigned differ)
{
    return differ ? 32 - __builtin_clz(differ) : 0;
}

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
                           level ? none : dl[i],
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
    const int64_t count = x->chunks[c].count;
    float *rate = linear_rate(x, lane, c);
    double *passing = x->passing + 2 * (lane * x->n_chunks + c);
    double tail = 0;
    passing[0] = passing[1] = 0;
    for (int64_t i = 0; i < count; i++) {
        passing[0] += key[i];
        passing[1] += query[i];
    }
    double from_keys = passing[0];
    for (int64_t i = count - 1; i >= 0; i--) {
        tail += pairs[i] + query[i];
        from_keys -= key[i];
        rate[i] = (float)(tail + from_keys + through);
    }
}

/* Adds to a tree's rates what passes through whole chunks, then hands the rates out. */
static inline void linear_finish_decay(rapt_linear *x, int64_t lane)
{
    const int64_t head = x->first_head + lane;
    double total = 0;
    for (int64_t s = 0; s < x->n_sequences; s++) {
        double crossing = 0; /* weight of the tree's pairs across the border before chunk i */
        for (int64_t i = 0; i < x->sequences[s].chunks; i++) {
            const int64_t c = x->sequences[s].first + i;
            const rapt_linear_chunk *chunk = &x->chunks[c];
            const double *passing = x->passing + 2 * (lane * x->n_chunks + c);
            float *rate = linear_rate(x, lane, c);
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
