/*
 * kit/linear_body.h - the work of kit/linear.h's driver on one chunk, state or node, for each CPU
 * level. Every function is a rapt_task over the items that its comment names; `context` is the
 * rapt_linear.
 */
#include "rows_body.h"
#include "tile.h"

#ifndef RAPT_KIT_LINEAR_BODY
#define RAPT_KIT_LINEAR_BODY
#define linear_states      RAPT_LEVEL_NAME(linear_states)
#define linear_outputs     RAPT_LEVEL_NAME(linear_outputs)
#define linear_reverse     RAPT_LEVEL_NAME(linear_reverse)
#define linear_nodes       RAPT_LEVEL_NAME(linear_nodes)
#define linear_gradients   RAPT_LEVEL_NAME(linear_gradients)
#define linear_local_mask  RAPT_LEVEL_NAME(linear_local_mask)
#define linear_decay_row   RAPT_LEVEL_NAME(linear_decay_row)
#define linear_level_row   RAPT_LEVEL_NAME(linear_level_row)
#define linear_level_sums  RAPT_LEVEL_NAME(linear_level_sums)
#define linear_near        RAPT_LEVEL_NAME(linear_near)
#define linear_pairs       RAPT_LEVEL_NAME(linear_pairs)
#define linear_by_pairs    RAPT_LEVEL_NAME(linear_by_pairs)
#define linear_by_columns  RAPT_LEVEL_NAME(linear_by_columns)
#define linear_far_output  RAPT_LEVEL_NAME(linear_far_output)
#define linear_tiles       RAPT_LEVEL_NAME(linear_tiles)
#define linear_take        RAPT_LEVEL_NAME(linear_take)
#define linear_weight_rows RAPT_LEVEL_NAME(linear_weight_rows)
#define linear_local_grad  RAPT_LEVEL_NAME(linear_local_grad)
#define linear_far_query   RAPT_LEVEL_NAME(linear_far_query)
#define linear_far_key     RAPT_LEVEL_NAME(linear_far_key)
#define linear_keep_grads  RAPT_LEVEL_NAME(linear_keep_grads)
#define linear_head_grad   RAPT_LEVEL_NAME(linear_head_grad)
#define linear_exp_n       RAPT_LEVEL_NAME(linear_exp_n)
#define linear_carry       RAPT_LEVEL_NAME(linear_carry)
#define linear_carry_back  RAPT_LEVEL_NAME(linear_carry_back)
#define linear_grow        RAPT_LEVEL_NAME(linear_grow)
#define linear_shed        RAPT_LEVEL_NAME(linear_shed)
#define linear_swap        RAPT_LEVEL_NAME(linear_swap)
#define linear_load        RAPT_LEVEL_NAME(linear_load)
#define linear_step        RAPT_LEVEL_NAME(linear_step)
#define linear_tree_step   RAPT_LEVEL_NAME(linear_tree_step)
#define linear_tree_part   RAPT_LEVEL_NAME(linear_tree_part)
#define linear_tree_final  RAPT_LEVEL_NAME(linear_tree_final)
#define linear_code        RAPT_LEVEL_NAME(linear_code)
#endif

#define CHUNK RAPT_LINEAR_CHUNK
#define HALF  (CHUNK / 2)
/* Columns of a tile of pairs that row i has: those of the quarter above the diagonal are never
 * read. */
#define COLUMNS(i) ((i) < HALF ? HALF : CHUNK)

/* y = exp(x) over a chunk. */
static void linear_exp_n(const float *x, float *y)
{
    for (int i = 0; i < CHUNK; i += SIMD_LANES)
        simd_store(y + i, simd_exp(simd_load(x + i)));
}

/* The rows of a chunk as a whole tile, through the feature and the factors. */
static void linear_load(const rapt_rows *rows, const rapt_linear_chunk *chunk, int64_t head,
                        float factor, float *tile, int64_t ld)
{
    if (!rows->data) {
        memset(tile, 0, (size_t)(CHUNK * ld) * sizeof *tile);
        return;
    }
    rows_load(rows->dtype, rapt_row_at(rows, chunk->batch, head, chunk->row), rows->row,
              chunk->count, CHUNK, rows->width, factor, tile, ld);
    if (rows->feature == RAPT_FEATURE_SIGMOID)
        rows_sigmoid(chunk->count, rows->width, tile, ld);
    if (rows->factor)
        rows_scale(chunk->count, ld,
                   rows->factor + (chunk->batch * rows->heads + head) * rows->length + chunk->row,
                   tile, tile);
}

/* The tiles of one worker. */
typedef struct linear_tiles {
    float *q, *k, *v, *k_t, *v_t, *d_o, *p, *d_p, *dq, *dk, *dv, *work, *state_t;
    linear_decay decay;
    float levels[CHUNK][LINEAR_MAX_LEVELS]; /* l of the chunk */
} linear_tiles;

static linear_tiles *linear_take(const rapt_linear *x, int worker)
{
    char *base = x->scratch + worker * x->scratch_size;
    linear_tiles *t = (linear_tiles *)(void *)base;
    float *next = (float *)(void *)(base + LINEAR_ALIGN(sizeof *t));
    const int64_t d = CHUNK * x->width_d, e = CHUNK * x->width_e, square = CHUNK * CHUNK;
    float **tile[] = {&t->q,  &t->k,   &t->dq,   &t->dk, &t->k_t, &t->v,      &t->d_o,
                      &t->dv, &t->v_t, &t->work, &t->p,  &t->d_p, &t->state_t};
    const int64_t size[] = {
        d, d, d, d, d, e, e, e, e, d > e ? d : e, square, square, x->width_d * x->width_e};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        *tile[i] = next;
        next += size[i];
    }
    return t;
}

/* Loads the level weights of a chunk; weights that the tensor lacks are zero. */
static void linear_weight_rows(const rapt_linear *x, const rapt_linear_chunk *chunk, int64_t head,
                               linear_tiles *t)
{
    if (!x->l.data)
        return;
    const int64_t n = x->levels < LINEAR_MAX_LEVELS ? x->levels : LINEAR_MAX_LEVELS;
    memset(t->levels, 0, sizeof t->levels);
    for (int64_t i = 0; i < chunk->count; i++)
        x->math->load(n, x->l.dtype, rapt_row_at(&x->l, chunk->batch, head, chunk->row + i),
                      t->levels[i]);
}

/* --- Pairs inside a chunk ----------------------------------------------------------------------
 * A tile p[i][j] for j <= i; the quarter j >= HALF > i is left out. */

/* p[i][j] = a_i . b_j; b_t holds b transposed. */
static void linear_pairs(int64_t width, const float *a, const float *b_t, float *p)
{
    tile_multiply(HALF, HALF, width, a, width, 1, b_t, CHUNK, p, CHUNK, 0);
    tile_multiply(HALF, CHUNK, width, a + HALF * width, width, 1, b_t, CHUNK, p + HALF * CHUNK,
                  CHUNK, 0);
}

/* c_i (+)= sum_j p[i][j] b_j */
static void linear_by_pairs(int64_t width, const float *p, const float *b, float *c, int accumulate)
{
    tile_multiply(HALF, width, HALF, p, CHUNK, 1, b, width, c, width, accumulate);
    tile_multiply(HALF, width, CHUNK, p + HALF * CHUNK, CHUNK, 1, b, width, c + HALF * width, width,
                  accumulate);
}

/* c_j (+)= sum_i p[i][j] b_i */
static void linear_by_columns(int64_t width, const float *p, const float *b, float *c,
                              int accumulate)
{
    tile_multiply(HALF, width, CHUNK, p, 1, CHUNK, b, width, c, width, accumulate);
    tile_multiply(HALF, width, HALF, p + HALF * CHUNK + HALF, 1, CHUNK, b + HALF * width, width,
                  c + HALF * width, width, accumulate);
}

/* Fills decay.near, where linear_decay_row reads it. */
static void linear_near(const rapt_linear *x, int64_t head, linear_decay *decay)
{
    if (linear_steps_differ(x))
        return;
    const float step = x->slope ? -x->slope[head] : 0.0f;
    for (int i = 0; i < CHUNK; i++)
        decay->near[i] = step < 0 || step > 0 ? (float)((double)step * (CHUNK - 1 - i)) : 0.0f;
    linear_exp_n(decay->near, decay->near);
    memset(decay->near + CHUNK, 0, CHUNK * sizeof(float));
}

/* decay[j], j <= i: from position j of a chunk to position i; 0 after i, up to a whole vector. */
SIMD_FN void linear_decay_row(const rapt_linear *x, const linear_tiles *t, int i, float *decay)
{
    if (!linear_steps_differ(x)) {
        for (int j = 0; j <= i; j += SIMD_LANES)
            simd_store(decay + j, simd_load(t->decay.near + CHUNK - 1 - i + j));
        return;
    }
    const simd_f own = simd_set(t->decay.sum[i]), own_low = simd_set(t->decay.low[i]);
    for (int j = 0; j <= i; j += SIMD_LANES) {
        const simd_mask seen = simd_le_i(simd_iota() + j, simd_set_i(i));
        const simd_f low = own_low - simd_load(t->decay.low + j);
        /* The difference is meaningless, and may overflow, after i. */
        const simd_f log = simd_keep(seen, own - simd_load(t->decay.sum + j) + low);
        simd_store(decay + j, simd_keep(seen, simd_exp(log)));
    }
}

/* weight[j], j <= i, = levels[level(i, j)]; what follows in the vector of i is 0. Vectors left of
 * that one have one level each. */
SIMD_FN void linear_level_row(const float *levels, int i, float *weight)
{
    const int own = i / SIMD_LANES, inside = linear_bits(SIMD_LANES - 1);
    for (int v = 0; v < own; v++)
        simd_store(weight + v * SIMD_LANES,
                   simd_set(levels[linear_bits((unsigned)(own ^ v)) + inside]));
    simd_store(weight + own * SIMD_LANES, simd_zero());
    for (int j = own * SIMD_LANES; j <= i; j++)
        weight[j] = levels[linear_bits((unsigned)(i ^ j))];
}

/* sums[level] += the pairs of row i on that level. */
SIMD_FN void linear_level_sums(int i, const float *pairs, float *sums)
{
    const int own = i / SIMD_LANES, inside = linear_bits(SIMD_LANES - 1);
    for (int v = 0; v < own; v++)
        sums[linear_bits((unsigned)(own ^ v)) + inside] +=
            simd_sum(simd_load(pairs + v * SIMD_LANES));
    for (int j = own * SIMD_LANES; j <= i; j++)
        sums[linear_bits((unsigned)(i ^ j))] += pairs[j];
}

/* p[i][j] *= its weight, zero above the diagonal. */
static void linear_local_mask(const rapt_linear *x, const linear_tiles *t, float *p)
{
    float decay[CHUNK], level[CHUNK];
    for (int i = 0; i < CHUNK; i++) {
        float *row = p + i * CHUNK;
        int j = 0;
        linear_decay_row(x, t, i, decay);
        if (x->l.data) {
            linear_level_row(t->levels[i], i, level);
            for (; j <= i; j += SIMD_LANES)
                simd_store(row + j,
                           simd_load(row + j) * simd_load(decay + j) * simd_load(level + j));
        }
        for (; j <= i; j += SIMD_LANES)
            simd_store(row + j, simd_load(row + j) * simd_load(decay + j));
        for (; j < COLUMNS(i); j += SIMD_LANES)
            simd_store(row + j, simd_zero());
    }
}

/* Items: chunks of the heads in work. The state of a chunk alone, at its end. */
static void linear_states(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    const int64_t chunks = x->until - x->from;
    for (int64_t item = begin; item < end; item++) {
        const int64_t lane = item / chunks, c = x->from + item % chunks;
        const int64_t head = x->first_head + lane, group = head * x->groups / x->heads;
        const rapt_linear_chunk *chunk = &x->chunks[c];
        linear_chunk_decay(x, chunk, head, &t->decay);
        x->decay[lane * x->n_chunks + c] = t->decay.total;
        linear_exp_n(t->decay.left, t->decay.work);
        linear_load(&x->k, chunk, group, 1.0f, t->k, x->width_d);
        linear_load(&x->v, chunk, head, 1.0f, t->v, x->width_e);
        rows_scale(CHUNK, x->width_d, t->decay.work, t->k, t->k);
        tile_multiply(x->width_d, x->width_e, CHUNK, t->k, 1, x->width_d, t->v, x->width_e,
                      linear_leaf(x, &x->states, lane, c), x->width_e, 0);
    }
}

/* o += what positions before the chunk give. */
static void linear_far_output(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t c,
                              float *o)
{
    linear_far far;
    for (linear_far_start(x, lane, c, &far); linear_far_next(x, &far);) {
        float factor[CHUNK];
        for (int i = 0; i < CHUNK; i++)
            factor[i] = (float)((double)t->decay.sum[i] + far.decay);
        linear_exp_n(factor, factor);
        if (far.level >= 0)
            for (int i = 0; i < CHUNK; i++)
                factor[i] *= t->levels[i][far.level];
        rows_scale(CHUNK, x->width_d, factor, t->q, t->work);
        tile_multiply(CHUNK, x->width_e, x->width_d, t->work, x->width_d, 1,
                      linear_node(x, &x->states, lane, &far), x->width_e, o, x->width_e, 1);
    }
}

/* --- Along the sequence: states carried, trees grown -------------------------------------------
 * Items: (head in work, sequence, slice of a state's rows). */

/* slot becomes what was carried to it; carried becomes factor * carried + slot. */
SIMD_FN void linear_swap(int64_t n, float factor, float *carried, float *slot)
{
    for (int64_t i = 0; i < n; i += SIMD_LANES) {
        const simd_f own = simd_load(slot + i), before = simd_load(carried + i);
        simd_store(slot + i, before);
        simd_store(carried + i, simd_fma(simd_set(factor), before, own));
    }
}

static void linear_carry(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    float *carried = linear_take(x, worker)->work;
    for (int64_t item = begin; item < end; item++) {
        const linear_slice slice = linear_slice_of(x, item);
        const linear_range range = linear_range_of(x, slice.sequence);
        const size_t bytes = (size_t)slice.size * sizeof *carried;
        if (range.empty)
            continue;
        if (range.begins)
            linear_state_load(x, x->state_in, &slice, carried);
        else
            memcpy(carried, linear_carried(x, 0, &slice), bytes);
        for (int64_t c = range.first; c < range.end; c++)
            linear_swap(slice.size, (float)exp(x->decay[slice.lane * x->n_chunks + c]), carried,
                        linear_leaf(x, &x->states, slice.lane, c) + slice.offset);
        if (range.ends)
            linear_state_store(x, x->state_out, &slice, carried);
        else
            memcpy(linear_carried(x, 1, &slice), carried, bytes);
    }
}

static void linear_carry_back(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    float *carried = linear_take(x, worker)->work;
    for (int64_t item = begin; item < end; item++) {
        const linear_slice slice = linear_slice_of(x, item);
        const linear_range range = linear_range_of(x, slice.sequence);
        const size_t bytes = (size_t)slice.size * sizeof *carried;
        if (range.empty)
            continue;
        if (range.ends)
            linear_state_load(x, x->d_state_out, &slice, carried);
        else
            memcpy(carried, linear_carried(x, 0, &slice), bytes);
        for (int64_t c = range.end - 1; c >= range.first; c--)
            linear_swap(slice.size, (float)exp(x->decay[slice.lane * x->n_chunks + c]), carried,
                        linear_leaf(x, &x->reverse, slice.lane, c) + slice.offset);
        if (range.begins)
            linear_state_store(x, x->d_state_in, &slice, carried);
        else
            memcpy(linear_carried(x, 1, &slice), carried, bytes);
    }
}

/* Parents from children: the left one decayed over the right one's block, plus the right one. Those
 * that end among the chunks in work. */
static void linear_grow(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        const linear_slice slice = linear_slice_of(x, item);
        const int64_t chunks = x->sequences[slice.sequence].chunks;
        for (int b = 1; linear_level_nodes(chunks, b - 1) > 1; b++) {
            const linear_ending ending = linear_ending_of(x, slice.sequence, b);
            for (int64_t j = ending.first; j < ending.end; j++) {
                const float *left = linear_tree_slot(x, &x->states, &slice, b - 1, 2 * j);
                const float *right = linear_tree_slot(x, &x->states, &slice, b - 1, 2 * j + 1);
                float *parent = linear_tree_slot(x, &x->states, &slice, b, j);
                memcpy(parent, left, (size_t)slice.size * sizeof *left);
                rows_axpy(slice.size, linear_block_decay(x, &slice, b - 1, 2 * j + 1), right,
                          parent);
            }
        }
    }
}

/* A node whose end is among the chunks in work has all of its gradient: its readers and what its
 * parent hands down lie behind it. It hands that on to its children. */
static void linear_shed(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        const linear_slice slice = linear_slice_of(x, item);
        const int64_t chunks = x->sequences[slice.sequence].chunks;
        int top = 0;
        while (linear_level_nodes(chunks, top) > 1)
            top++;
        for (int b = top; b > 0; b--) {
            const linear_ending ending = linear_ending_of(x, slice.sequence, b);
            for (int64_t j = ending.first; j < ending.end; j++) {
                const float *parent = linear_tree_slot(x, &x->reverse, &slice, b, j);
                float *left = linear_tree_slot(x, &x->reverse, &slice, b - 1, 2 * j);
                float *right = linear_tree_slot(x, &x->reverse, &slice, b - 1, 2 * j + 1);
                const simd_f decay = simd_set(linear_block_decay(x, &slice, b - 1, 2 * j + 1));
                for (int64_t i = 0; i < slice.size; i += SIMD_LANES) {
                    const simd_f from = simd_load(parent + i);
                    simd_store(left + i, simd_fma(decay, from, simd_load(left + i)));
                    simd_store(right + i, from + simd_load(right + i));
                }
            }
        }
    }
}

/* --- Forward -----------------------------------------------------------------------------------
 */

/* Items: chunks of the heads in work. */
static void linear_outputs(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    const int64_t chunks = x->until - x->from;
    for (int64_t item = begin; item < end; item++) {
        const int64_t lane = item / chunks, c = x->from + item % chunks;
        const int64_t head = x->first_head + lane, group = head * x->groups / x->heads;
        const rapt_linear_chunk *chunk = &x->chunks[c];
        linear_chunk_decay(x, chunk, head, &t->decay);
        linear_weight_rows(x, chunk, head, t);
        linear_load(&x->q, chunk, group, (float)x->scale, t->q, x->width_d);
        linear_load(&x->k, chunk, group, 1.0f, t->k, x->width_d);
        linear_load(&x->v, chunk, head, 1.0f, t->v, x->width_e);
        rows_transpose(CHUNK, x->width_d, t->k, x->width_d, t->k_t, CHUNK);
        linear_near(x, head, &t->decay);
        linear_pairs(x->width_d, t->q, t->k_t, t->p);
        linear_local_mask(x, t, t->p);
        linear_by_pairs(x->width_e, t->p, t->v, t->dv, 0);
        linear_far_output(x, t, lane, c, t->dv);
        rows_store(x->o.dtype, rapt_row_at(&x->o, chunk->batch, head, chunk->row), x->o.row,
                   chunk->count, x->e, 1.0f, t->dv, x->width_e);
    }
}

/* Items: chunks of the heads in work; flat form. What a chunk's outputs say of the state before it.
 */
static void linear_reverse(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    const int64_t chunks = x->until - x->from;
    for (int64_t item = begin; item < end; item++) {
        const int64_t lane = item / chunks, c = x->from + item % chunks;
        const int64_t head = x->first_head + lane, group = head * x->groups / x->heads;
        const rapt_linear_chunk *chunk = &x->chunks[c];
        linear_chunk_decay(x, chunk, head, &t->decay);
        linear_exp_n(t->decay.sum, t->decay.work);
        linear_load(&x->q, chunk, group, (float)x->scale, t->q, x->width_d);
        linear_load(&x->d_o, chunk, head, 1.0f, t->d_o, x->width_e);
        rows_scale(CHUNK, x->width_d, t->decay.work, t->q, t->q);
        tile_multiply(x->width_d, x->width_e, CHUNK, t->q, 1, x->width_d, t->d_o, x->width_e,
                      linear_leaf(x, &x->reverse, lane, c), x->width_e, 0);
    }
}

/* Items: tree nodes of the heads in work. The gradient of a left node's state from the block that
 * reads it, as far as that block is in work; the last stretch, which comes first, sets all to 0. */
static void linear_nodes(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    const size_t bytes = (size_t)(x->width_d * x->width_e) * sizeof(float);
    for (int64_t item = begin; item < end; item++) {
        const int64_t lane = item / x->nodes;
        const int64_t head = x->first_head + lane, group = head * x->groups / x->heads;
        float *to = linear_slot(x, &x->reverse, lane, item % x->nodes);
        const linear_reader reader = linear_reader_of(x, item % x->nodes);
        const int64_t first = reader.first > x->from ? reader.first : x->from;
        const int64_t last = reader.end < x->until ? reader.end : x->until;
        if (x->until == x->n_chunks)
            memset(to, 0, bytes);
        for (int64_t c = first; c < last; c++) {
            const rapt_linear_chunk *chunk = &x->chunks[c];
            const double gap = linear_gap(x, lane, reader.first, c);
            float factor[CHUNK];
            linear_chunk_decay(x, chunk, head, &t->decay);
            linear_weight_rows(x, chunk, head, t);
            for (int i = 0; i < CHUNK; i++)
                factor[i] = (float)((double)t->decay.sum[i] + gap);
            linear_exp_n(factor, factor);
            for (int i = 0; i < CHUNK; i++)
                factor[i] *= t->levels[i][reader.level];
            linear_load(&x->q, chunk, group, (float)x->scale, t->q, x->width_d);
            linear_load(&x->d_o, chunk, head, 1.0f, t->d_o, x->width_e);
            rows_scale(CHUNK, x->width_d, factor, t->q, t->q);
            tile_multiply(x->width_d, x->width_e, CHUNK, t->q, 1, x->width_d, t->d_o, x->width_e,
                          to, x->width_e, 1);
        }
    }
}

/* From p = q k^T and d_p = do v^T to both times their weights. `pairs`: of the decays' gradients,
 * rows less columns; `dl`, unless NULL, the gradients of the level weights. */
static void linear_local_grad(const rapt_linear *x, linear_tiles *t, double *pairs,
                              float (*dl)[LINEAR_MAX_LEVELS])
{
    float decay[CHUNK], level[CHUNK], said[CHUNK], column[CHUNK] = {0};
    const bool rates = linear_rates_wanted(x);
    for (int i = 0; i < CHUNK; i++) {
        float *p = t->p + i * CHUNK, *d_p = t->d_p + i * CHUNK;
        simd_f sum = simd_zero();
        int j = 0;
        linear_decay_row(x, t, i, decay);
        if (x->l.data)
            linear_level_row(t->levels[i], i, level);
        for (; j <= i; j += SIMD_LANES) {
            simd_f w = simd_load(decay + j);
            const simd_f a = simd_load(p + j), b = simd_load(d_p + j);
            simd_store(said + j, a * b * w);
            if (x->l.data)
                w = w * simd_load(level + j);
            if (rates) { /* a position is no decay away from itself */
                const simd_mask before = simd_lt_i(simd_iota() + j, simd_set_i(i));
                const simd_f pair = simd_keep(before, a * b * w);
                sum = sum + pair;
                simd_store(column + j, simd_load(column + j) + pair);
            }
            simd_store(p + j, a * w);
            simd_store(d_p + j, b * w);
        }
        for (; j < COLUMNS(i); j += SIMD_LANES) {
            simd_store(p + j, simd_zero());
            simd_store(d_p + j, simd_zero());
        }
        if (dl)
            linear_level_sums(i, said, dl[i]);
        pairs[i] = (double)simd_sum(sum);
    }
    for (int i = 0; i < CHUNK; i++)
        pairs[i] -= (double)column[i];
}

/* dq of this head += what states give; far[i] = q_i . that; dl of the states' levels. */
static void linear_far_query(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t c,
                             double *far_sum, float (*dl)[LINEAR_MAX_LEVELS])
{
    linear_far far;
    for (linear_far_start(x, lane, c, &far); linear_far_next(x, &far);) {
        float factor[CHUNK];
        for (int i = 0; i < CHUNK; i++)
            factor[i] = (float)((double)t->decay.sum[i] + far.decay);
        linear_exp_n(factor, factor);
        rows_transpose(x->width_d, x->width_e, linear_node(x, &x->states, lane, &far), x->width_e,
                       t->state_t, x->width_d);
        tile_multiply(CHUNK, x->width_d, x->width_e, t->d_o, x->width_e, 1, t->state_t, x->width_d,
                      t->work, x->width_d, 0);
        for (int i = 0; i < CHUNK; i++) {
            const float *row = t->work + i * x->width_d;
            float dot = factor[i] * rows_dot(x->width_d, row, t->q + i * x->width_d);
            float *dq = t->dq + i * x->width_d;
            if (far.level >= 0) {
                if (dl)
                    dl[i][far.level] = dot;
                dot *= t->levels[i][far.level];
                factor[i] *= t->levels[i][far.level];
            }
            far_sum[i] += dot;
            for (int64_t col = 0; col < x->width_d; col += SIMD_LANES)
                simd_store(dq + col, simd_fma(simd_set(factor[i]), simd_load(row + col),
                                              simd_load(dq + col)));
        }
    }
}

/* dk, dv of this head += what the state after the chunk says; far[j] = k_j . that. */
static void linear_far_key(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t c,
                           double *far_sum)
{
    const float *after = linear_leaf(x, &x->reverse, lane, c);
    linear_exp_n(t->decay.left, t->decay.work);
    rows_transpose(x->width_d, x->width_e, after, x->width_e, t->state_t, x->width_d);
    rows_scale(CHUNK, x->width_e, t->decay.work, t->v, t->work);
    tile_multiply(CHUNK, x->width_d, x->width_e, t->work, x->width_e, 1, t->state_t, x->width_d,
                  t->k_t, x->width_d, 0);
    for (int i = 0; i < CHUNK; i++) {
        const float *row = t->k_t + i * x->width_d;
        far_sum[i] = rows_dot(x->width_d, row, t->k + i * x->width_d);
        rows_axpy(x->width_d, 1.0f, row, t->dk + i * x->width_d);
    }
    rows_scale(CHUNK, x->width_d, t->decay.work, t->k, t->work);
    tile_multiply(CHUNK, x->width_e, x->width_d, t->work, x->width_d, 1, after, x->width_e, t->dv,
                  x->width_e, 1);
}

/* The tiles of a chunk's gradients, for the caller. */
static void linear_keep_grads(const rapt_linear *x, const linear_tiles *t, float *to)
{
    const int64_t d = CHUNK * x->width_d, e = CHUNK * x->width_e;
    for (int64_t i = 0; i < d; i += SIMD_LANES)
        simd_store(to + i, simd_set((float)x->scale) * simd_load(t->dq + i));
    memcpy(to + d, t->dk, (size_t)d * sizeof *to);
    memcpy(to + 2 * d, t->dv, (size_t)e * sizeof *to);
}

/* One head of one chunk: adds to t->dq and t->dk, writes dv, the level gradients and the decay's.
 */
static void linear_head_grad(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t c)
{
    const rapt_linear_chunk *chunk = &x->chunks[c];
    const int64_t head = x->first_head + lane;
    double pairs[CHUNK], query[CHUNK] = {0}, key[CHUNK], through = 0;
    float dl[CHUNK][LINEAR_MAX_LEVELS];
    if (x->dl.data)
        memset(dl, 0, sizeof dl);
    linear_chunk_decay(x, chunk, head, &t->decay);
    linear_near(x, head, &t->decay);
    linear_weight_rows(x, chunk, head, t);
    linear_load(&x->v, chunk, head, 1.0f, t->v, x->width_e);
    linear_load(&x->d_o, chunk, head, 1.0f, t->d_o, x->width_e);
    rows_transpose(CHUNK, x->width_d, t->k, x->width_d, t->k_t, CHUNK);
    rows_transpose(CHUNK, x->width_e, t->v, x->width_e, t->v_t, CHUNK);
    linear_pairs(x->width_d, t->q, t->k_t, t->p);
    linear_pairs(x->width_e, t->d_o, t->v_t, t->d_p);
    linear_local_grad(x, t, pairs, x->dl.data ? dl : NULL);
    linear_by_pairs(x->width_d, t->d_p, t->k, t->dq, 1);
    linear_by_columns(x->width_d, t->d_p, t->q, t->dk, 1);
    linear_by_columns(x->width_e, t->p, t->d_o, t->dv, 0);
    linear_far_query(x, t, lane, c, query, x->dl.data ? dl : NULL);
    linear_far_key(x, t, lane, c, key);
    if (x->grads_in_tiles)
        linear_keep_grads(x, t, rapt_linear_grad_tile(x, lane, c));
    else if (x->dv.data)
        rows_store(x->dv.dtype, rapt_row_at(&x->dv, chunk->batch, head, chunk->row), x->dv.row,
                   chunk->count, x->e, 1.0f, t->dv, x->width_e);
    linear_store_levels(x, chunk, head, dl);
    if (!x->l.data && linear_rates_wanted(x))
        through = exp(t->decay.total) * rows_dot(x->width_d * x->width_e,
                                                 linear_leaf(x, &x->states, lane, c),
                                                 linear_leaf(x, &x->reverse, lane, c));
    linear_keep_decay(x, lane, c, pairs, query, key, through);
}

/* Items: (chunk, query head) of the heads in work: the value heads of a group in order. */
static void linear_gradients(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    const int64_t share = x->heads / x->groups, chunks = x->until - x->from;
    for (int64_t item = begin; item < end; item++) {
        const int64_t c = x->from + item % chunks, first = item / chunks * share;
        const int64_t group = (x->first_head + first) / share;
        const rapt_linear_chunk *chunk = &x->chunks[c];
        linear_load(&x->q, chunk, group, (float)x->scale, t->q, x->width_d);
        linear_load(&x->k, chunk, group, 1.0f, t->k, x->width_d);
        memset(t->dq, 0, (size_t)(CHUNK * x->width_d) * sizeof(float));
        memset(t->dk, 0, (size_t)(CHUNK * x->width_d) * sizeof(float));
        for (int64_t i = 0; i < share; i++)
            linear_head_grad(x, t, first + i, c);
        if (x->dq.data)
            rows_store(x->dq.dtype, rapt_row_at(&x->dq, chunk->batch, group, chunk->row), x->dq.row,
                       chunk->count, x->d, (float)x->scale, t->dq, x->width_d);
        if (x->dk.data)
            rows_store(x->dk.dtype, rapt_row_at(&x->dk, chunk->batch, group, chunk->row), x->dk.row,
                       chunk->count, x->d, 1.0f, t->dk, x->width_d);
    }
}

/* --- One position ------------------------------------------------------------------------------
 */

/* Items: (batch, head), N = 1. state_out = e^g state_out + k v^T in place, o = scale q . state_out.
 */
static void linear_step(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    for (int64_t item = begin; item < end; item++) {
        const int64_t b = item / x->heads, head = item % x->heads;
        const int64_t group = head * x->groups / x->heads;
        const rapt_linear_chunk *chunk = &x->chunks[b];
        linear_chunk_decay(x, chunk, head, &t->decay);
        const simd_f decay = simd_set((float)exp(t->decay.total));
        rows_load(x->q.dtype, rapt_row_at(&x->q, b, group, 0), 0, 1, 1, x->d, (float)x->scale, t->q,
                  x->width_d);
        rows_load(x->k.dtype, rapt_row_at(&x->k, b, group, 0), 0, 1, 1, x->d, 1.0f, t->k,
                  x->width_d);
        rows_load(x->v.dtype, rapt_row_at(&x->v, b, head, 0), 0, 1, 1, x->e, 1.0f, t->v,
                  x->width_e);
        memset(t->dv, 0, (size_t)x->width_e * sizeof(float));
        for (int64_t d = 0; d < x->d; d++) {
            float *state = x->state_out + ((b * x->heads + head) * x->d + d) * x->e;
            const simd_f key = simd_set(t->k[d]), query = simd_set(t->q[d]);
            for (int64_t e = 0; e < x->e; e += SIMD_LANES) {
                const int n = x->e - e < SIMD_LANES ? (int)(x->e - e) : SIMD_LANES;
                const simd_f old =
                    n == SIMD_LANES ? simd_load(state + e) : simd_load_n(state + e, n);
                const simd_f now = simd_fma(key, simd_load(t->v + e), decay * old);
                simd_store(t->dv + e, simd_fma(query, now, simd_load(t->dv + e)));
                simd_store_n(state + e, now, n);
            }
        }
        rows_store(x->o.dtype, rapt_row_at(&x->o, b, head, 0), 0, 1, x->e, 1.0f, t->dv, x->width_e);
    }
}

/* Items: (batch, head), N = 1, hierarchical. levels_out holds, at l + 1, the state of the 2^l
 * positions that bit l of `position` stands for; the new position joins them as a counter counts.
 */
static void linear_tree_step(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    const int64_t position = x->call->position, size = x->d * x->e;
    int carry = 0;
    while (position >> carry & 1)
        carry++;
    for (int64_t item = begin; item < end; item++) {
        const int64_t b = item / x->heads, head = item % x->heads;
        const int64_t group = head * x->groups / x->heads;
        float *levels = x->levels_out + item * x->levels * size;
        linear_chunk_decay(x, &x->chunks[b], head, &t->decay);
        linear_weight_rows(x, &x->chunks[b], head, t);
        const simd_f decay = simd_set((float)exp(t->decay.total));
        rows_load(x->q.dtype, rapt_row_at(&x->q, b, group, 0), 0, 1, 1, x->d, (float)x->scale, t->q,
                  x->width_d);
        rows_load(x->k.dtype, rapt_row_at(&x->k, b, group, 0), 0, 1, 1, x->d, 1.0f, t->k,
                  x->width_d);
        rows_load(x->v.dtype, rapt_row_at(&x->v, b, head, 0), 0, 1, 1, x->e, 1.0f, t->v,
                  x->width_e);
        memset(t->dv, 0, (size_t)x->width_e * sizeof(float));
        for (int64_t d = 0; d < x->d; d++)
            for (int64_t e = 0; e < x->e; e += SIMD_LANES) {
                const int n = x->e - e < SIMD_LANES ? (int)(x->e - e) : SIMD_LANES;
                const simd_f own = simd_set(t->k[d]) * simd_load(t->v + e);
                simd_f seen = simd_set(t->levels[0][0]) * own, joined = own;
                for (int bit = 0; bit + 1 < x->levels && position >> bit; bit++) {
                    float *at = levels + (bit + 1) * size + d * x->e + e;
                    if (!(position >> bit & 1))
                        continue;
                    const simd_f old = decay * simd_load_n(at, n);
                    seen = simd_fma(simd_set(t->levels[0][bit + 1]), old, seen);
                    if (bit < carry)
                        joined = joined + old;
                    simd_store_n(at, bit < carry ? simd_zero() : old, n);
                }
                if (carry + 1 < x->levels)
                    simd_store_n(levels + (carry + 1) * size + d * x->e + e, joined, n);
                simd_store(t->dv + e, simd_fma(simd_set(t->q[d]), seen, simd_load(t->dv + e)));
            }
        rows_store(x->o.dtype, rapt_row_at(&x->o, b, head, 0), 0, 1, x->e, 1.0f, t->dv, x->width_e);
    }
}

/* t->state_t = the state of `count` positions of a chunk from position `first` of its sequence,
 * decayed to the chunk's end. */
static void linear_tree_part(const rapt_linear *x, linear_tiles *t, int64_t head, int64_t c,
                             int64_t first, int64_t count)
{
    const rapt_linear_chunk *chunk = &x->chunks[c];
    const int64_t from = first % CHUNK;
    linear_chunk_decay(x, chunk, head, &t->decay);
    linear_exp_n(t->decay.left, t->decay.work);
    linear_load(&x->k, chunk, head * x->groups / x->heads, 1.0f, t->k, x->width_d);
    linear_load(&x->v, chunk, head, 1.0f, t->v, x->width_e);
    rows_scale(CHUNK, x->width_d, t->decay.work, t->k, t->k);
    tile_multiply(x->width_d, x->width_e, count, t->k + from * x->width_d, 1, x->width_d,
                  t->v + from * x->width_e, x->width_e, t->state_t, x->width_e, 0);
}

/* Items: (head in work, sequence). After linear_grow: the states of the blocks that the bits of the
 * sequence's length stand for, decayed to its end, into levels_out. */
static void linear_tree_final(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    for (int64_t item = begin; item < end; item++) {
        const int64_t lane = item / x->n_sequences, s = item % x->n_sequences;
        const rapt_linear_sequence *sequence = &x->sequences[s];
        const int64_t head = x->first_head + lane;
        const int64_t last = sequence->first + sequence->chunks - 1;
        float *levels = x->levels_out + (s * x->heads + head) * x->levels * x->d * x->e;
        memset(levels, 0, (size_t)(x->levels * x->d * x->e) * sizeof *levels);
        const int64_t length = linear_sequence_length(x, s);
        for (int bit = 0; bit + 1 < x->levels && length >> bit; bit++) {
            if (!(length >> bit & 1))
                continue;
            float *to = levels + (bit + 1) * x->d * x->e;
            if (bit < RAPT_LINEAR_CHUNK_LOG)
                linear_tree_part(x, t, head, last, ((length >> bit) - 1) << bit, 1 << bit);
            const int64_t node = x->node_base[s] + (length >> bit) - 1 +
                                 linear_level_base(sequence->chunks, bit - RAPT_LINEAR_CHUNK_LOG);
            const float *from =
                bit < RAPT_LINEAR_CHUNK_LOG ? t->state_t : linear_slot(x, &x->states, lane, node);
            const float decay = (float)exp(linear_tail(x, lane, s, length >> bit << bit, bit));
            for (int64_t d = 0; d < x->d; d++)
                for (int64_t e = 0; e < x->e; e++)
                    to[d * x->e + e] = decay * from[d * x->width_e + e];
        }
    }
}

static const rapt_linear_code linear_code = {
    .states = linear_states,
    .carry = linear_carry,
    .grow = linear_grow,
    .outputs = linear_outputs,
    .reverse = linear_reverse,
    .carry_back = linear_carry_back,
    .nodes = linear_nodes,
    .shed = linear_shed,
    .gradients = linear_gradients,
    .step = linear_step,
    .tree_step = linear_tree_step,
    .tree_final = linear_tree_final,
    .tiles_size = sizeof(linear_tiles),
};
#undef CHUNK
#undef HALF
#undef COLUMNS
