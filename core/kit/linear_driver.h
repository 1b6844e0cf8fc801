/*
 * kit/linear_driver.h - the passes of kit/linear.h, in order, and the tables they run on.
 */
#ifndef RAPT_KIT_LINEAR_DRIVER_H
#define RAPT_KIT_LINEAR_DRIVER_H

/* Chunks times heads in work at a time: for each worker, as many as its cache holds; where sums
 * meet at the borders of stretches (a tree's, backward) a fixed number, so that bits stay the same.
 */
#define LINEAR_WORKER_ITEMS 16
#define LINEAR_LEAST_ITEMS  32
#define LINEAR_TREE_ITEMS   64

/* Scratch memory for a product of sizes, all 0 or more; NULL, said, where there is none or the
 * product is out of range. */
static inline void *linear_take_product(rapt_call *call, size_t size, int n, const int64_t *factor)
{
    int64_t bytes = (int64_t)size;
    bool fits = true;
    for (int i = 0; i < n; i++)
        fits = fits && !__builtin_mul_overflow(bytes, factor[i], &bytes);
    if (fits && bytes < INT64_MAX / 2)
        return call->host->scratch(call, (size_t)bytes + 1);
    call->host->error(call, RAPT_NO_MEMORY, "the sizes need more memory than can be addressed");
    return NULL;
}

static inline void *linear_take_of(rapt_call *call, size_t size, int64_t a, int64_t b, int64_t c)
{
    const int64_t factor[] = {a, b, c};
    return linear_take_product(call, size, 3, factor);
}

static inline rapt_status rapt_linear_whole(rapt_call *call, const rapt_view *view,
                                            const float **whole)
{
    const int last = view->ndim - 1;
    const float *data = (const float *)rapt_view_data(view);
    int64_t at[RAPT_MAX_DIMS] = {0}, rows = 1;
    float *copy = (float *)linear_take_product(call, sizeof(float), view->ndim, view->shape);
    if (!copy)
        return RAPT_NO_MEMORY;
    *whole = copy;
    for (int i = 0; i < last; i++)
        rows *= view->shape[i];
    for (int64_t r = 0; r < rows; r++, copy += view->shape[last]) {
        int64_t offset = 0;
        for (int i = 0; i < last; i++)
            offset += at[i] * view->strides[i];
        memcpy(copy, data + offset, (size_t)view->shape[last] * sizeof *copy);
        for (int i = last - 1; i >= 0 && ++at[i] == view->shape[i]; i--)
            at[i] = 0;
    }
    return RAPT_OK;
}

static inline rapt_status linear_out_of_range(rapt_call *call, const char *name, int64_t i,
                                              int64_t value, int64_t n)
{
    return call->host->error(call, RAPT_INVALID,
                             "%s must rise from 0 to %lld, but entry %lld is %lld", name,
                             (long long)n, (long long)i + 1, (long long)value);
}

static inline int64_t rapt_linear_border(const rapt_view *cu_seqlens, int64_t i)
{
    const void *data = rapt_view_data(cu_seqlens);
    return rapt_view_dtype(cu_seqlens) == RAPT_I32 ? ((const int32_t *)data)[i]
                                                   : ((const int64_t *)data)[i];
}

static inline rapt_status rapt_linear_check(rapt_call *call, const char *name,
                                            const rapt_view *cu_seqlens, int64_t n)
{
    const int64_t count = cu_seqlens->shape[0];
    int64_t before = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t border = rapt_linear_border(cu_seqlens, i);
        if (border < before || border > n || (i == 0 && border != 0) ||
            (i == count - 1 && border != n))
            return linear_out_of_range(call, name, i, border, n);
        before = border;
    }
    return RAPT_OK;
}

/* The chunks of a sequence of `length` rows from row `first` on. */
static inline void linear_cut(rapt_linear *x, int64_t s, int64_t batch, int64_t first,
                              int64_t length)
{
    int64_t index = linear_origin(x), skip = x->position % RAPT_LINEAR_CHUNK;
    for (int64_t row = 0; row < length; skip = 0) {
        const int64_t room = RAPT_LINEAR_CHUNK - skip, left = length - row;
        const rapt_linear_chunk chunk = {.sequence = s,
                                         .index = index++,
                                         .batch = batch,
                                         .row = first + row,
                                         .count = left < room ? left : room,
                                         .skip = skip};
        x->chunks[x->n_chunks++] = chunk;
        row += chunk.count;
    }
}

static inline rapt_status rapt_linear_sequences(rapt_linear *x, int64_t batch, int64_t n,
                                                const rapt_view *cu_seqlens)
{
    rapt_call *call = x->call;
    const rapt_status status =
        cu_seqlens ? rapt_linear_check(call, "cu_seqlens_q", cu_seqlens, n) : RAPT_OK;
    if (status != RAPT_OK)
        return status;
    x->n_sequences = cu_seqlens ? cu_seqlens->shape[0] - 1 : batch;
    if (x->n_sequences < 0)
        x->n_sequences = 0;
    /* Each sequence has at most two chunks that are not whole. */
    const int64_t bound = batch * (n / RAPT_LINEAR_CHUNK + 1) + 2 * x->n_sequences;
    x->sequences =
        (rapt_linear_sequence *)linear_take_of(call, sizeof *x->sequences, x->n_sequences, 1, 1);
    x->chunks = (rapt_linear_chunk *)linear_take_of(call, sizeof *x->chunks, bound, 1, 1);
    if (!x->sequences || !x->chunks)
        return RAPT_NO_MEMORY;
    x->n_chunks = 0;
    for (int64_t s = 0; s < x->n_sequences; s++) {
        const int64_t first = cu_seqlens ? rapt_linear_border(cu_seqlens, s) : 0;
        const int64_t length = (cu_seqlens ? rapt_linear_border(cu_seqlens, s + 1) : n) - first;
        x->sequences[s].first = x->n_chunks;
        linear_cut(x, s, cu_seqlens ? 0 : s, first, length);
        x->sequences[s].chunks = x->n_chunks - x->sequences[s].first;
    }
    return RAPT_OK;
}

static inline const rapt_linear_code *linear_level_code(const rapt_call *call)
{
    const rapt_cpu_service *cpu = (const rapt_cpu_service *)call->host->service("rapt.cpu", 1);
    const rapt_cpu_level level = cpu ? cpu->level : RAPT_CPU_PORTABLE;
    return RAPT_LEVEL_PICK(level, &linear_code);
}

/* How many heads, whole groups of them, and how many chunks are in work at a time. Bits do not
 * depend on it. */
static inline void linear_plan(rapt_linear *x, bool backward)
{
    const int64_t share = x->heads / x->groups;
    int64_t items = LINEAR_WORKER_ITEMS * x->call->host->workers();
    if (items < LINEAR_LEAST_ITEMS)
        items = LINEAR_LEAST_ITEMS;
    if (x->l.data && backward)
        items = LINEAR_TREE_ITEMS;
    int64_t groups = items / (x->n_chunks * share + 1);
    if (groups * share < x->least_heads)
        groups = (x->least_heads + share - 1) / share;
    groups = groups < 1 ? 1 : groups > x->groups ? x->groups : groups;
    x->round_heads = groups * share;
    x->stretch = x->n_chunks;
    if (x->stretch > items / x->round_heads)
        x->stretch = items / x->round_heads;
    if (x->stretch < 1)
        x->stretch = 1;
}

/* How many sequences a stretch reaches over, at most. */
static inline int64_t linear_spread(const rapt_linear *x)
{
    int64_t most = 1;
    for (int64_t from = 0; from < x->n_chunks; from += x->stretch) {
        const int64_t until = from + x->stretch < x->n_chunks ? from + x->stretch : x->n_chunks;
        const int64_t spread = x->chunks[until - 1].sequence - x->chunks[from].sequence + 1;
        most = spread > most ? spread : most;
    }
    return most;
}

/* Where the nodes lie. Unless every node has a slot, a level keeps what a stretch reads and makes:
 * its own nodes, and of each sequence in it those just before and the ones that stay incomplete. */
static inline rapt_status linear_plant(rapt_linear *x, bool whole)
{
    struct linear_tree *tree = &x->tree;
    const int64_t spread = linear_spread(x);
    tree->levels = 1;
    for (int64_t s = 0; s < x->n_sequences; s++)
        if (linear_levels_of(x, s) > tree->levels)
            tree->levels = linear_levels_of(x, s);
    tree->first = (int64_t *)linear_take_of(x->call, sizeof *tree->first, x->n_sequences + 2,
                                            tree->levels + 1, 1);
    if (!tree->first)
        return RAPT_NO_MEMORY;
    tree->base = tree->first + x->n_sequences * tree->levels;
    tree->room = tree->base + tree->levels + 1;
    tree->whole = whole;
    tree->nodes = 0;
    for (int b = 0; b < tree->levels; b++) {
        int64_t slots = 0;
        const int64_t enough = (x->stretch >> b) + 4 * spread + 4;
        for (int64_t s = 0; s < x->n_sequences; s++) {
            tree->first[s * tree->levels + b] = slots;
            slots += linear_level_slots(x, s, b);
        }
        tree->base[b] = tree->nodes;
        tree->room[b] = whole || slots < enough ? slots : enough;
        tree->nodes += tree->room[b];
    }
    const bool pieces = x->position % RAPT_LINEAR_CHUNK != 0;
    tree->base[tree->levels] = tree->nodes;
    tree->room[tree->levels] =
        pieces ? RAPT_LINEAR_CHUNK_LOG * (whole ? x->n_sequences : spread) : 0;
    tree->nodes += tree->room[tree->levels];
    return RAPT_OK;
}

static inline rapt_status linear_take_states(rapt_linear *x, rapt_linear_states *states,
                                             int64_t lane)
{
    states->lane = lane;
    states->first = 0;
    states->data = (float *)linear_take_of(x->call, sizeof(float), x->round_heads, lane,
                                           x->width_d * x->width_e);
    return states->data ? RAPT_OK : RAPT_NO_MEMORY;
}

static inline rapt_status linear_prepare_backward(rapt_linear *x)
{
    const int64_t tile = RAPT_LINEAR_CHUNK * (2 * x->width_d + x->width_e);
    x->rate = (float *)linear_take_of(x->call, RAPT_LINEAR_CHUNK * sizeof(float), x->round_heads,
                                      x->n_chunks, 1);
    if (x->grads_in_tiles)
        x->grad_tiles =
            (float *)linear_take_of(x->call, sizeof(float), x->round_heads, x->stretch, tile);
    if (!x->rate || (x->grads_in_tiles && !x->grad_tiles))
        return RAPT_NO_MEMORY;
    return linear_take_states(x, &x->reverse, x->l.data ? x->tree.nodes : x->stretch);
}

/* Memory of the passes. */
static inline rapt_status linear_prepare(rapt_linear *x, bool backward)
{
    rapt_call *call = x->call;
    const rapt_host *host = call->host;
    x->width_d = (x->d + 15) / 16 * 16;
    x->width_e = (x->e + 15) / 16 * 16;
    x->math = (const rapt_math_service *)host->service("rapt.math", 1);
    if (!x->math)
        return host->error(call, RAPT_UNSUPPORTED, "the host has no service rapt.math");
    linear_plan(x, backward);
    const int64_t d = RAPT_LINEAR_CHUNK * x->width_d, e = RAPT_LINEAR_CHUNK * x->width_e;
    const int64_t tiles = 5 * d + 4 * e + (d > e ? d : e) +
                          2 * RAPT_LINEAR_CHUNK * RAPT_LINEAR_CHUNK + x->width_d * x->width_e;
    x->scratch_size = LINEAR_ALIGN((int64_t)linear_level_code(call)->tiles_size) +
                      LINEAR_ALIGN(tiles * (int64_t)sizeof(float));
    const int64_t items = x->round_heads * x->n_chunks;
    const int64_t state = x->round_heads * x->width_d * x->width_e;
    x->scratch = (char *)linear_take_of(call, 1, x->scratch_size, host->workers(), 1);
    x->decay = (double *)linear_take_of(call, sizeof(double), 4, items, 1);
    x->carried[0] = (float *)linear_take_of(call, sizeof(float), 2, state, 1);
    if (!x->scratch || !x->decay || !x->carried[0])
        return RAPT_NO_MEMORY;
    x->carried[1] = x->carried[0] + state;
    x->prefix = x->decay + items;
    x->passing = x->prefix + items;
    rapt_status status = x->l.data ? linear_plant(x, backward) : RAPT_OK;
    if (status == RAPT_OK)
        status = linear_take_states(x, &x->states,
                                    x->l.data  ? x->tree.nodes
                                    : backward ? x->n_chunks
                                               : x->stretch);
    return status == RAPT_OK && backward ? linear_prepare_backward(x) : status;
}

static inline void linear_run(rapt_linear *x, int64_t items, rapt_task task)
{
    if (items > 0)
        x->call->host->parallel_for(x->call, items, 1, task, x);
}

static inline void linear_sum_decays(rapt_linear *x)
{
    for (int64_t lane = 0; lane < x->round_heads; lane++)
        for (int64_t s = 0; s < x->n_sequences; s++) {
            double sum = 0;
            for (int64_t i = x->sequences[s].first; i < linear_range_of(x, s).end; i++) {
                const int64_t c = lane * x->n_chunks + i;
                x->prefix[c] = sum;
                sum += x->decay[c];
            }
        }
}

static inline int64_t linear_chunk_items(const rapt_linear *x)
{
    return x->round_heads * (x->until - x->from);
}

static inline int64_t linear_slice_items(const rapt_linear *x)
{
    return x->round_heads * x->n_sequences * linear_slices(x);
}

/* Number of stretches; at least one, so that sequences without chunks hand their states on. */
static inline int64_t linear_stretches(const rapt_linear *x)
{
    return x->n_chunks ? (x->n_chunks + x->stretch - 1) / x->stretch : 1;
}

/* Takes a stretch into work, and what was carried out of the one before. */
static inline void linear_enter(rapt_linear *x, int64_t stretch)
{
    float *written = x->carried[1];
    x->carried[1] = x->carried[0];
    x->carried[0] = written;
    x->from = stretch * x->stretch;
    x->until = x->from + x->stretch < x->n_chunks ? x->from + x->stretch : x->n_chunks;
}

/* The states that queries read, of the chunks and heads in work. */
static inline void linear_make_states(rapt_linear *x, const rapt_linear_code *code)
{
    if (x->enter)
        x->enter(x);
    linear_run(x, linear_chunk_items(x), code->states);
    if (x->l.data)
        linear_sum_decays(x);
    linear_run(x, linear_slice_items(x), x->l.data ? code->grow : code->carry);
}

/* The heads from first_head on; false behind the last. */
static inline bool linear_next_heads(rapt_linear *x, int64_t round)
{
    if (x->first_head >= x->heads)
        return false;
    const int64_t left = x->heads - x->first_head;
    x->round_heads = left < round ? left : round;
    return true;
}

static inline rapt_status rapt_linear_forward(rapt_linear *x)
{
    if (!x->groups) /* no heads, nothing to write */
        return RAPT_OK;
    const rapt_linear_code *code = linear_level_code(x->call);
    const rapt_status status = linear_prepare(x, false);
    if (status != RAPT_OK)
        return status;
    const int64_t round = x->round_heads;
    for (x->first_head = 0; linear_next_heads(x, round); x->first_head += round) {
        for (int64_t i = 0; i < linear_stretches(x); i++) {
            linear_enter(x, i);
            x->states.first = x->l.data ? 0 : x->from;
            linear_make_states(x, code);
            linear_run(x, linear_chunk_items(x), code->outputs);
            if (x->levels_out)
                linear_run(x, x->round_heads * x->n_sequences, code->tree_final);
        }
    }
    return RAPT_OK;
}

static inline rapt_status rapt_linear_step(rapt_linear *x)
{
    if (!x->groups) /* no heads, nothing to write */
        return RAPT_OK;
    const rapt_status status = linear_prepare(x, false);
    const rapt_linear_code *code = linear_level_code(x->call);
    if (status == RAPT_OK)
        linear_run(x, x->call->sizes['B'] * x->heads, x->l.data ? code->tree_step : code->step);
    return status;
}

static inline rapt_status rapt_linear_backward(rapt_linear *x)
{
    if (!x->groups) /* no heads, nothing to write */
        return RAPT_OK;
    const rapt_linear_code *code = linear_level_code(x->call);
    const rapt_status status = linear_prepare(x, true);
    if (status != RAPT_OK)
        return status;
    const int64_t round = x->round_heads, share = x->heads / x->groups;
    for (x->first_head = 0; linear_next_heads(x, round); x->first_head += round) {
        for (int64_t i = 0; i < linear_stretches(x); i++) {
            linear_enter(x, i);
            linear_make_states(x, code);
        }
        for (int64_t i = linear_stretches(x) - 1; i >= 0; i--) {
            linear_enter(x, i);
            x->reverse.first = x->l.data ? 0 : x->from;
            linear_run(x, x->l.data ? x->round_heads * x->tree.nodes : linear_chunk_items(x),
                       x->l.data ? code->nodes : code->reverse);
            linear_run(x, linear_slice_items(x), x->l.data ? code->shed : code->carry_back);
            linear_run(x, linear_chunk_items(x) / share, code->gradients);
            if (x->leave)
                x->leave(x);
        }
        for (int64_t lane = 0; linear_rates_wanted(x) && lane < x->round_heads; lane++)
            linear_finish_decay(x, lane);
    }
    return RAPT_OK;
}
#endif
