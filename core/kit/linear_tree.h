/*
 * kit/linear_tree.h - the trees of kit/linear.h's hierarchical form: where nodes lie, and who reads
 * them.
 *
 * Chunks are counted from position 0 of all: a sequence begins with chunk `origin`, the same for
 * all sequences. Node j of level b covers the chunks from j 2^b on, 2^b of them. A sequence has the
 * nodes that reach into it, and for each bit of the origin that is set the node before those, which
 * is a part of the state it began with. What that state says of blocks smaller than a chunk are
 * `pieces`: each stands for a row that the first chunk's tiles skip, as if that row had a state in
 * place of a key and a value.
 *
 * Slots are numbered level after level, in a level sequence after sequence. Where the tree is not
 * `whole`, a level has as many slots as a stretch needs and they are used in turn.
 */
#ifndef RAPT_KIT_LINEAR_TREE_H
#define RAPT_KIT_LINEAR_TREE_H

#include "kit/linear.h"
#include <math.h>
#include <stdbool.h>

#define LINEAR_MAX_LEVELS 48 /* levels that a sequence in memory can reach */

/* The bit length of a number. */
static inline int linear_bits(uint64_t number)
{
    return number ? 64 - __builtin_clzll(number) : 0;
}

static inline int64_t linear_origin(const rapt_linear *x)
{
    return x->position / RAPT_LINEAR_CHUNK;
}

/* Levels of a sequence's tree: as many as its last chunk's number, counted from 1, has bits. */
static inline int linear_levels_of(const rapt_linear *x, int64_t s)
{
    const int64_t chunks = x->sequences[s].chunks;
    return chunks ? linear_bits((uint64_t)(linear_origin(x) + chunks)) : 0;
}

/* Slots of a level of a sequence's tree. */
static inline int64_t linear_level_slots(const rapt_linear *x, int64_t s, int level)
{
    const int64_t begin = linear_origin(x), end = begin + x->sequences[s].chunks;
    if (level >= linear_levels_of(x, s))
        return 0;
    return ((end + ((int64_t)1 << level) - 1) >> level) - (begin >> level) + 1;
}

/* The slot, in a lane, of node j of a level; j is at least the number of the node before the
 * sequence. */
static inline int64_t linear_number(const rapt_linear *x, int64_t s, int level, int64_t j)
{
    const struct linear_tree *tree = &x->tree;
    const int64_t at = tree->first[s * tree->levels + level] + j - (linear_origin(x) >> level) + 1;
    return tree->base[level] + at % tree->room[level];
}

/* The slot of a piece: of the block of 2^bit positions. */
static inline int64_t linear_piece(const rapt_linear *x, int64_t s, int bit)
{
    const struct linear_tree *tree = &x->tree;
    const int64_t at = s * RAPT_LINEAR_CHUNK_LOG + bit;
    return tree->base[tree->levels] + at % tree->room[tree->levels];
}

/* Whether the state before had a block of 2^bit positions, less than a chunk; the row that stands
 * for it. */
static inline bool linear_has_piece(const rapt_linear *x, int bit)
{
    return x->position >> bit & 1;
}

static inline int linear_piece_row(const rapt_linear *x, int bit)
{
    return (int)(x->position % RAPT_LINEAR_CHUNK >> bit << bit) - 1;
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
    return linear_slot(x, states, lane,
                       x->l.data ? linear_number(x, chunk->sequence, 0, chunk->index) : c);
}

/* The log decay between the start of chunk `first` and that of chunk c, of one sequence. */
static inline double linear_gap(const rapt_linear *x, int64_t lane, int64_t first, int64_t c)
{
    return x->prefix[lane * x->n_chunks + c] - x->prefix[lane * x->n_chunks + first];
}

/* The place in the table of a chunk of a sequence by its number; of those before it, the first. */
static inline int64_t linear_chunk_at(const rapt_linear *x, int64_t s, int64_t index)
{
    const int64_t from = index - linear_origin(x);
    return x->sequences[s].first + (from > 0 ? from : 0);
}

/* --- Reading ------------------------------------------------------------------------------- */

/* The states from before a chunk that its queries read, one after the other. */
typedef struct linear_far {
    int64_t lane, chunk, index;
    int bit;        /* tree: the bit looked at last, of positions; flat: 1 when done */
    int level;      /* level weight to use, or -1 */
    int row;        /* a piece's row, which says the level; otherwise -1 */
    int64_t number; /* of the slot */
    double decay;   /* from the end of the state to the chunk's start */
} linear_far;

static inline void linear_far_start(const rapt_linear *x, int64_t lane, int64_t c, linear_far *far)
{
    far->lane = lane;
    far->chunk = c;
    far->index = x->chunks[c].index;
    far->bit = x->l.data ? -1 : 0;
    far->row = -1;
}

static inline bool linear_far_flat(const rapt_linear *x, linear_far *far)
{
    if (far->bit || (!far->index && !x->state_in))
        return false;
    far->bit = 1;
    far->level = -1;
    far->number = far->chunk;
    far->decay = 0;
    return true;
}

static inline bool linear_far_next(const rapt_linear *x, linear_far *far)
{
    const int64_t s = x->chunks[far->chunk].sequence;
    const bool first = far->chunk == x->sequences[s].first;
    if (!x->l.data)
        return linear_far_flat(x, far);
    for (far->bit++; far->bit < RAPT_LINEAR_CHUNK_LOG; far->bit++)
        if (first && linear_has_piece(x, far->bit)) {
            far->row = linear_piece_row(x, far->bit);
            far->level = 0;
            far->number = linear_piece(x, s, far->bit);
            far->decay = 0;
            return true;
        }
    far->row = -1;
    for (int b = far->bit - RAPT_LINEAR_CHUNK_LOG; far->index >> b;
         b = ++far->bit - RAPT_LINEAR_CHUNK_LOG)
        if (far->index >> b & 1) {
            const int64_t block = far->index >> b;
            far->level = far->bit + 1;
            far->number = linear_number(x, s, b, block - 1);
            far->decay = linear_gap(x, far->lane, linear_chunk_at(x, s, block << b), far->chunk);
            return true;
        }
    return false;
}

/* Which level weight row i of the chunk's tiles has for it. */
static inline int linear_far_level(const linear_far *far, int i)
{
    return far->row < 0 ? far->level : linear_bits((uint64_t)(i ^ far->row));
}

/* --- Where a slot stands: whole trees ------------------------------------------------------ */

typedef struct linear_place {
    int64_t sequence, index; /* node of the level; of a piece, its bit */
    int level;
    bool piece;
} linear_place;

static inline linear_place linear_place_of(const rapt_linear *x, int64_t number)
{
    const struct linear_tree *tree = &x->tree;
    linear_place place = {0, 0, 0, false};
    if (number >= tree->base[tree->levels]) {
        number -= tree->base[tree->levels];
        place.piece = true;
        place.sequence = number / RAPT_LINEAR_CHUNK_LOG;
        place.index = number % RAPT_LINEAR_CHUNK_LOG;
        return place;
    }
    while (number >= tree->base[place.level + 1])
        place.level++;
    number -= tree->base[place.level];
    int64_t low = 0, high = x->n_sequences - 1;
    while (low < high) { /* the last that begins at or before it */
        const int64_t middle = (low + high + 1) / 2;
        if (tree->first[middle * tree->levels + place.level] <= number)
            low = middle;
        else
            high = middle - 1;
    }
    place.sequence = low;
    place.index = number - tree->first[low * tree->levels + place.level] - 1 +
                  (linear_origin(x) >> place.level);
    return place;
}

/* The chunks whose queries read a slot: of a left node the block to its right, of a piece the
 * first chunk. */
typedef struct linear_reader {
    int64_t first, end;
    int level, row; /* as in linear_far */
} linear_reader;

static inline linear_reader linear_reader_of(const rapt_linear *x, const linear_place *place)
{
    const rapt_linear_sequence *sequence = &x->sequences[place->sequence];
    linear_reader reader = {0, 0, RAPT_LINEAR_CHUNK_LOG + 1 + place->level, -1};
    if (place->piece) {
        reader.first = sequence->first;
        reader.end = sequence->first + (linear_has_piece(x, (int)place->index) && sequence->chunks);
        reader.row = linear_piece_row(x, (int)place->index);
        return reader;
    }
    if (place->index & 1)
        return reader;
    reader.first = linear_chunk_at(x, place->sequence, (place->index + 1) << place->level);
    reader.end = linear_chunk_at(x, place->sequence, (place->index + 2) << place->level);
    if (reader.end > sequence->first + sequence->chunks)
        reader.end = sequence->first + sequence->chunks;
    return reader;
}

/* --- The end of a sequence ----------------------------------------------------------------- */

/* Positions of a sequence, with those before it. */
static inline int64_t linear_length(const rapt_linear *x, int64_t s)
{
    const rapt_linear_sequence *sequence = &x->sequences[s];
    if (!sequence->chunks)
        return x->position;
    const rapt_linear_chunk *last = &x->chunks[sequence->first + sequence->chunks - 1];
    return last->index * RAPT_LINEAR_CHUNK + last->skip + last->count;
}

/* The log decay from position `end` (of all), where a block ends, to the sequence's end; from
 * behind its last chunk 0. */
static inline double linear_tail(const rapt_linear *x, int64_t lane, int64_t s, int64_t end)
{
    const rapt_linear_sequence *sequence = &x->sequences[s];
    const int64_t last = sequence->first + sequence->chunks - 1;
    const int64_t c = linear_chunk_at(x, s, end / RAPT_LINEAR_CHUNK);
    return c > last ? 0 : linear_gap(x, lane, c, last) + x->decay[lane * x->n_chunks + last];
}

/* Whether bit `bit` of a length has a block, and the first row of its tile where it is smaller than
 * a chunk. */
static inline bool linear_has_block(int64_t length, int bit)
{
    return length >> bit & 1;
}

static inline int linear_block_row(int64_t length, int bit)
{
    return (int)(((length >> bit) - 1) * ((int64_t)1 << bit) % RAPT_LINEAR_CHUNK);
}

/* Entry of the caller's states [sequences, H, L, D, E] for a block of 2^bit positions. */
static inline int64_t linear_entry(const rapt_linear *x, int64_t s, int64_t head, int bit)
{
    return ((s * x->heads + head) * x->levels + bit + 1) * x->d * x->e;
}

/* The decay of a head over the chunks of node j of a level that belong to the sequence. */
static inline float linear_block_decay(const rapt_linear *x, int64_t lane, int64_t s, int level,
                                       int64_t j)
{
    const int64_t first = linear_chunk_at(x, s, j << level);
    const int64_t last = linear_chunk_at(x, s, ((j + 1) << level) - 1);
    return (float)exp(linear_gap(x, lane, first, last) + x->decay[lane * x->n_chunks + last]);
}

/* The nodes of a level of a sequence's tree whose last chunk is in work. */
typedef struct linear_ending {
    int64_t first, end;
} linear_ending;

static inline linear_ending linear_ending_of(const rapt_linear *x, int64_t s, int level)
{
    const int64_t length = (int64_t)1 << level, begin = x->sequences[s].first;
    const int64_t from = x->from > begin ? x->from : begin;
    const int64_t end = begin + x->sequences[s].chunks;
    const int64_t until = x->until < end ? x->until : end;
    linear_ending ending = {0, 0};
    if (from < until) {
        ending.first = ((from - begin + linear_origin(x) + length) >> level) - 1;
        ending.end = (until - begin + linear_origin(x)) >> level;
    }
    return ending;
}
#endif
