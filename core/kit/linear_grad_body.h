/*
 * The chunked driver's gradients, for each CPU level; included by linear_body.h.
 */

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
        rows_transpose(x->width_d, x->width_e, linear_slot(x, &x->states, lane, far.number),
                       x->width_e, t->state_t, x->width_d);
        tile_multiply(CHUNK, x->width_d, x->width_e, t->d_o, x->width_e, 1, t->state_t, x->width_d,
                      t->work, x->width_d, 0);
        for (int i = 0; i < CHUNK; i++) {
            const float *row = t->work + i * x->width_d;
            float dot = factor[i] * rows_dot(x->width_d, row, t->q + i * x->width_d);
            float *dq = t->dq + i * x->width_d;
            if (far.level >= 0) {
                const int level = linear_far_level(&far, i);
                if (dl)
                    dl[i][level] += dot;
                dot *= t->levels[i][level];
                factor[i] *= t->levels[i][level];
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
    if (x->l.data)
        linear_final_key(x, t, lane, c, key);
    if (x->grads_in_tiles)
        linear_keep_grads(x, t, rapt_linear_grad_tile(x, lane, c));
    else if (x->dv.data)
        linear_store(&x->dv, chunk, head, x->e, 1.0f, t->dv, x->width_e);
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
            linear_store(&x->dq, chunk, group, x->d, (float)x->scale, t->dq, x->width_d);
        if (x->dk.data)
            linear_store(&x->dk, chunk, group, x->d, 1.0f, t->dk, x->width_d);
    }
}
