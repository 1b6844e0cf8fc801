/*
 * The chunked driver's recurrent form, for each CPU level; included by linear_body.h.
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
