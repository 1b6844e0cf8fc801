/*
 * The hierarchical form's work on trees, for each CPU level; included by linear_body.h.
 */

/* --- Forward: trees grown ----------------------------------------------------------------------
 * Items: (head in work, sequence, slice of a state's rows). */

/* What the state that a sequence begins with says: nodes before it, and pieces of its first chunk,
 * which they belong to. */
static void linear_plant_state(const rapt_linear *x, const linear_slice *slice)
{
    const int64_t s = slice->sequence, c = x->sequences[s].first;
    for (int bit = 0; x->position >> bit; bit++) {
        const int level = bit - RAPT_LINEAR_CHUNK_LOG;
        if (!linear_has_block(x->position, bit))
            continue;
        const int64_t number = level < 0
                                   ? linear_piece(x, s, bit)
                                   : linear_number(x, s, level, (linear_origin(x) >> level) - 1);
        float *state = linear_part(x, &x->states, slice, number);
        float *leaf = linear_leaf(x, &x->states, slice->lane, c) + slice->offset;
        linear_entry_load(x, x->levels_in, slice, bit, state);
        if (level < 0)
            linear_add(slice->size, (float)exp(x->decay[slice->lane * x->n_chunks + c]), state,
                       leaf);
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
        const int64_t s = slice.sequence;
        const linear_range range = linear_range_of(x, s);
        if (range.empty || !x->sequences[s].chunks)
            continue;
        if (range.begins)
            linear_plant_state(x, &slice);
        for (int b = 1; b < linear_levels_of(x, s); b++) {
            const linear_ending ending = linear_ending_of(x, s, b);
            for (int64_t j = ending.first; j < ending.end; j++) {
                const float *left =
                    linear_part(x, &x->states, &slice, linear_number(x, s, b - 1, 2 * j));
                const float *right =
                    linear_part(x, &x->states, &slice, linear_number(x, s, b - 1, 2 * j + 1));
                float *parent = linear_part(x, &x->states, &slice, linear_number(x, s, b, j));
                memcpy(parent, left, (size_t)slice.size * sizeof *left);
                rows_axpy(slice.size, linear_block_decay(x, slice.lane, s, b - 1, 2 * j + 1), right,
                          parent);
            }
        }
    }
}

/* t->state_t = the state of the block of 2^bit positions, less than a chunk, that a length's bit
 * stands for, at the end of the chunk. Pieces in the block are parts of it. */
static void linear_tree_part(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t c,
                             int64_t length, int bit)
{
    const rapt_linear_chunk *chunk = &x->chunks[c];
    const int64_t head = x->first_head + lane;
    const int first = linear_block_row(length, bit), count = 1 << bit;
    linear_chunk_decay(x, chunk, head, &t->decay);
    linear_exp_n(t->decay.left, t->decay.work);
    linear_load(&x->k, chunk, head * x->groups / x->heads, 1.0f, t->k, x->width_d);
    linear_load(&x->v, chunk, head, 1.0f, t->v, x->width_e);
    rows_scale(CHUNK, x->width_d, t->decay.work, t->k, t->k);
    tile_multiply(x->width_d, x->width_e, count, t->k + first * x->width_d, 1, x->width_d,
                  t->v + first * x->width_e, x->width_e, t->state_t, x->width_e, 0);
    for (int piece = 0; piece < RAPT_LINEAR_CHUNK_LOG && chunk->skip; piece++) {
        const int row = linear_piece_row(x, piece);
        if (linear_has_piece(x, piece) && row >= first && row < first + count)
            linear_add(x->width_d * x->width_e, (float)exp(t->decay.total),
                       linear_slot(x, &x->states, lane, linear_piece(x, chunk->sequence, piece)),
                       t->state_t);
    }
}

/* A sequence's entry of levels_out for a bit of its length that is set. */
static void linear_final_entry(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t s,
                               int bit)
{
    const rapt_linear_sequence *sequence = &x->sequences[s];
    const int64_t length = linear_length(x, s), at = linear_entry(x, s, x->first_head + lane, bit);
    const int level = bit - RAPT_LINEAR_CHUNK_LOG;
    float *to = x->levels_out + at;
    if (!sequence->chunks) {
        if (x->levels_in)
            memcpy(to, x->levels_in + at, (size_t)(x->d * x->e) * sizeof *to);
        return;
    }
    if (level < 0)
        linear_tree_part(x, t, lane, sequence->first + sequence->chunks - 1, length, bit);
    const float *from = level < 0 ? t->state_t
                                  : linear_slot(x, &x->states, lane,
                                                linear_number(x, s, level, (length >> bit) - 1));
    const float decay =
        level < 0 ? 1.0f : (float)exp(linear_tail(x, lane, s, length >> bit << bit));
    for (int64_t d = 0; d < x->d; d++)
        for (int64_t e = 0; e < x->e; e++)
            to[d * x->e + e] = decay * from[d * x->width_e + e];
}

/* Items: (head in work, sequence). After linear_grow, for the sequences that end among the chunks
 * in work: the states of the blocks that the bits of their length stand for, decayed to the end. */
static void linear_tree_final(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    for (int64_t item = begin; item < end; item++) {
        const int64_t lane = item / x->n_sequences, s = item % x->n_sequences;
        const linear_range range = linear_range_of(x, s);
        if (range.empty || !range.ends)
            continue;
        memset(x->levels_out + linear_entry(x, s, x->first_head + lane, -1), 0,
               (size_t)(x->levels * x->d * x->e) * sizeof(float));
        for (int bit = 0; bit + 1 < x->levels && linear_length(x, s) >> bit; bit++)
            if (linear_has_block(linear_length(x, s), bit))
                linear_final_entry(x, t, lane, s, bit);
    }
}

/* --- Backward: gradients of states --------------------------------------------------------------
 */

/* What a slot's gradient begins with: that of the final state, where the slot is a part of it. */
static void linear_node_start(const rapt_linear *x, int64_t lane, const linear_place *place,
                              float *to)
{
    const int bit = place->level + RAPT_LINEAR_CHUNK_LOG;
    const int64_t s = place->sequence, length = linear_length(x, s);
    memset(to, 0, (size_t)(x->width_d * x->width_e) * sizeof *to);
    if (!x->d_levels_out || bit + 1 >= x->levels || place->piece || !x->sequences[s].chunks ||
        !linear_has_block(length, bit) || (length >> bit) - 1 != place->index)
        return;
    const float decay = (float)exp(linear_tail(x, lane, s, length >> bit << bit));
    const float *from = x->d_levels_out + linear_entry(x, s, x->first_head + lane, bit);
    for (int64_t d = 0; d < x->d; d++)
        for (int64_t e = 0; e < x->e; e++)
            to[d * x->width_e + e] = decay * from[d * x->e + e];
}

/* The rows of a whole chunk where they lie, as a tile would have them; NULL: they do not. */
static const float *linear_in_place(const rapt_rows *rows, const rapt_linear_chunk *chunk,
                                    int64_t head, int64_t ld)
{
    const bool same = rows->data && rows->dtype == RAPT_F32 && rows->width == ld &&
                      rows->row == ld && chunk->count == CHUNK &&
                      rows->feature == RAPT_FEATURE_IDENTITY && !rows->factor;
    return same ? (const float *)(const void *)rapt_row_at(rows, chunk->batch, head, chunk->row)
                : NULL;
}

/* factor[i] *= the weight that row i of a chunk has for a state. */
static void linear_weigh(const rapt_linear *x, linear_tiles *t, const rapt_linear_chunk *chunk,
                         int64_t head, const linear_reader *reader, float *factor)
{
    const linear_far far = {.level = reader->level, .row = reader->row};
    if (reader->row < 0 && x->l.dtype == RAPT_F32 && reader->level < x->levels) {
        const float *l =
            (const float *)(const void *)rapt_row_at(&x->l, chunk->batch, head, chunk->row) +
            reader->level;
        for (int64_t i = 0; i < chunk->count; i++)
            factor[chunk->skip + i] *= l[i * x->l.row];
        return;
    }
    linear_weight_rows(x, chunk, head, t);
    for (int i = 0; i < CHUNK; i++)
        factor[i] *= t->levels[i][linear_far_level(&far, i)];
}

/* to += what the queries of a chunk say of a state that they read. */
static void linear_node_read(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t c,
                             const linear_reader *reader, float *to)
{
    const rapt_linear_chunk *chunk = &x->chunks[c];
    const int64_t head = x->first_head + lane, group = head * x->groups / x->heads;
    const double gap = linear_gap(x, lane, reader->first, c);
    const float *q = linear_in_place(&x->q, chunk, group, x->width_d);
    const float *d_o = linear_in_place(&x->d_o, chunk, head, x->width_e);
    float factor[CHUNK];
    linear_chunk_decay(x, chunk, head, &t->decay);
    for (int i = 0; i < CHUNK; i++)
        factor[i] = (float)((double)t->decay.sum[i] + gap);
    linear_exp_n(factor, factor);
    linear_weigh(x, t, chunk, head, reader, factor);
    for (int i = 0; i < CHUNK; i++)
        factor[i] *= (float)x->scale;
    if (!q)
        linear_load(&x->q, chunk, group, 1.0f, t->q, x->width_d);
    if (!d_o)
        linear_load(&x->d_o, chunk, head, 1.0f, t->d_o, x->width_e);
    rows_scale(CHUNK, x->width_d, factor, q ? q : t->q, t->q);
    tile_multiply(x->width_d, x->width_e, CHUNK, t->q, 1, x->width_d, d_o ? d_o : t->d_o,
                  x->width_e, to, x->width_e, 1);
}

/* Items: slots of the heads in work. The gradient of a state from those who read it, as far as they
 * are in work; the last stretch, which comes first, sets where all begin. */
static void linear_nodes(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    for (int64_t item = begin; item < end; item++) {
        const int64_t lane = item / x->tree.nodes, number = item % x->tree.nodes;
        float *to = linear_slot(x, &x->reverse, lane, number);
        const linear_place place = linear_place_of(x, number);
        const linear_reader reader = linear_reader_of(x, &place);
        const int64_t first = reader.first > x->from ? reader.first : x->from;
        const int64_t last = reader.end < x->until ? reader.end : x->until;
        if (x->until == x->n_chunks)
            linear_node_start(x, lane, &place, to);
        for (int64_t c = first; c < last; c++)
            linear_node_read(x, t, lane, c, &reader, to);
    }
}

/* A piece's gradient, apart from what reads it: that of the first chunk's state, and that of the
 * final state where the sequence ends in that chunk. */
static void linear_piece_back(const rapt_linear *x, linear_tiles *t, const linear_slice *slice,
                              int bit, float *to)
{
    const rapt_linear_sequence *sequence = &x->sequences[slice->sequence];
    const int64_t c = sequence->first, length = linear_length(x, slice->sequence);
    const float decay = (float)exp(x->decay[slice->lane * x->n_chunks + c]);
    const int row = linear_piece_row(x, bit);
    linear_add(slice->size, decay, linear_leaf(x, &x->reverse, slice->lane, c) + slice->offset, to);
    for (int block = 0; block < RAPT_LINEAR_CHUNK_LOG; block++) {
        const int first = linear_block_row(length, block);
        if (!x->d_levels_out || sequence->chunks > 1 || !linear_has_block(length, block) ||
            row < first || row >= first + (1 << block))
            continue;
        linear_entry_load(x, x->d_levels_out, slice, block, t->work);
        linear_add(slice->size, decay, t->work, to);
    }
}

/* Where a sequence begins among the chunks in work: the gradient of the state before it. */
static void linear_state_back(const rapt_linear *x, linear_tiles *t, const linear_slice *slice)
{
    const int64_t s = slice->sequence;
    for (int bit = -1; bit + 1 < x->levels || x->position >> (bit < 0 ? 0 : bit); bit++) {
        const int level = bit - RAPT_LINEAR_CHUNK_LOG;
        float *from = t->work;
        memset(from, 0, (size_t)slice->size * sizeof *from);
        if (bit >= 0 && linear_has_block(x->position, bit)) {
            if (!x->sequences[s].chunks) {
                linear_entry_load(x, x->d_levels_out, slice, bit, from);
            } else {
                from = linear_part(
                    x, &x->reverse, slice,
                    level < 0 ? linear_piece(x, s, bit)
                              : linear_number(x, s, level, (linear_origin(x) >> level) - 1));
                if (level < 0)
                    linear_piece_back(x, t, slice, bit, from);
            }
        }
        if (x->d_levels_in && bit + 1 < x->levels)
            linear_entry_store(x, x->d_levels_in, slice, bit, from);
    }
}

/* Items: as of linear_grow. A node whose end is among the chunks in work has all of its gradient:
 * its readers and what its parent hands down lie behind it. It hands that on to its children. */
static void linear_shed(void *context, int64_t begin, int64_t end, int worker)
{
    rapt_linear *x = (rapt_linear *)context;
    linear_tiles *t = linear_take(x, worker);
    for (int64_t item = begin; item < end; item++) {
        const linear_slice slice = linear_slice_of(x, item);
        const int64_t s = slice.sequence;
        const linear_range range = linear_range_of(x, s);
        if (range.empty)
            continue;
        for (int b = linear_levels_of(x, s) - 1; b > 0; b--) {
            const linear_ending ending = linear_ending_of(x, s, b);
            for (int64_t j = ending.first; j < ending.end; j++) {
                const float *parent =
                    linear_part(x, &x->reverse, &slice, linear_number(x, s, b, j));
                float *left =
                    linear_part(x, &x->reverse, &slice, linear_number(x, s, b - 1, 2 * j));
                float *right =
                    linear_part(x, &x->reverse, &slice, linear_number(x, s, b - 1, 2 * j + 1));
                linear_add(slice.size, linear_block_decay(x, slice.lane, s, b - 1, 2 * j + 1),
                           parent, left);
                linear_add(slice.size, 1.0f, parent, right);
            }
        }
        if (range.begins && (x->d_levels_in || x->levels_in))
            linear_state_back(x, t, &slice);
    }
}

/* dk, dv of a sequence's last chunk += what the gradient of the final state says of the blocks in
 * it that are smaller than a chunk; far[j] += k_j . that. */
static void linear_final_key(const rapt_linear *x, linear_tiles *t, int64_t lane, int64_t c,
                             double *far_sum)
{
    const rapt_linear_chunk *chunk = &x->chunks[c];
    const rapt_linear_sequence *sequence = &x->sequences[chunk->sequence];
    const int64_t length = linear_length(x, chunk->sequence), head = x->first_head + lane;
    if (!x->d_levels_out || c != sequence->first + sequence->chunks - 1)
        return;
    linear_exp_n(t->decay.left, t->decay.work);
    for (int bit = 0; bit < RAPT_LINEAR_CHUNK_LOG && bit + 1 < x->levels; bit++) {
        const int first = linear_block_row(length, bit), count = 1 << bit;
        if (!linear_has_block(length, bit))
            continue;
        const float *grad = x->d_levels_out + linear_entry(x, chunk->sequence, head, bit);
        for (int j = first; j < first + count; j++) {
            const float *k = t->k + j * x->width_d, *v = t->v + j * x->width_e;
            float *dk = t->dk + j * x->width_d, *dv = t->dv + j * x->width_e;
            const float decay = t->decay.work[j];
            for (int64_t d = 0; d < x->d; d++) {
                float said = 0;
                for (int64_t e = 0; e < x->e; e++) {
                    said += grad[d * x->e + e] * v[e];
                    dv[e] += decay * k[d] * grad[d * x->e + e];
                }
                dk[d] += decay * said;
                far_sum[j] += (double)(decay * said * k[d]);
            }
        }
    }
}
