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
#define linear_add         RAPT_LEVEL_NAME(linear_add)
#define linear_store       RAPT_LEVEL_NAME(linear_store)
#define linear_plant_state RAPT_LEVEL_NAME(linear_plant_state)
#define linear_final_entry RAPT_LEVEL_NAME(linear_final_entry)
#define linear_node_start  RAPT_LEVEL_NAME(linear_node_start)
#define linear_node_read   RAPT_LEVEL_NAME(linear_node_read)
#define linear_piece_back  RAPT_LEVEL_NAME(linear_piece_back)
#define linear_state_back  RAPT_LEVEL_NAME(linear_state_back)
#define linear_final_key   RAPT_LEVEL_NAME(linear_final_key)
#define linear_in_place    RAPT_LEVEL_NAME(linear_in_place)
#define linear_weigh       RAPT_LEVEL_NAME(linear_weigh)
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
    const int64_t skipped = rows->data ? chunk->skip : CHUNK;
    memset(tile, 0, (size_t)(skipped * ld) * sizeof *tile);
    if (!rows->data)
        return;
    tile += skipped * ld;
    rows_load(rows->dtype, rapt_row_at(rows, chunk->batch, head, chunk->row), rows->row,
              chunk->count, CHUNK - skipped, rows->width, factor, tile, ld);
    if (rows->feature == RAPT_FEATURE_SIGMOID)
        rows_sigmoid(chunk->count, rows->width, tile, ld);
    if (rows->factor)
        rows_scale(chunk->count, ld,
                   rows->factor + (chunk->batch * rows->heads + head) * rows->length + chunk->row,
                   tile, tile);
}

/* to += factor * from over n floats, n a multiple of SIMD_LANES. */
static void linear_add(int64_t n, float factor, const float *from, float *to)
{
    const simd_f scale = simd_set(factor);
    for (int64_t i = 0; i < n; i += SIMD_LANES)
        simd_store(to + i, simd_fma(scale, simd_load(from + i), simd_load(to + i)));
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
                      t->levels[chunk->skip + i]);
}

/* The rows of a tile that stand for positions, to a tensor. */
static void linear_store(const rapt_rows *rows, const rapt_linear_chunk *chunk, int64_t head,
                         int64_t width, float factor, const float *tile, int64_t ld)
{
    rows_store(rows->dtype, rapt_row_at(rows, chunk->batch, head, chunk->row), rows->row,
               chunk->count, width, factor, tile + chunk->skip * ld, ld);
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
                factor[i] *= t->levels[i][linear_far_level(&far, i)];
        rows_scale(CHUNK, x->width_d, factor, t->q, t->work);
        tile_multiply(CHUNK, x->width_e, x->width_d, t->work, x->width_d, 1,
                      linear_slot(x, &x->states, lane, far.number), x->width_e, o, x->width_e, 1);
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
        linear_store(&x->o, chunk, head, x->e, 1.0f, t->dv, x->width_e);
    }
}

#include "linear_tree_body.h"
/* Backward reads what trees do. */
#include "linear_grad_body.h"
/* One position. */
#include "linear_step_body.h"

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
