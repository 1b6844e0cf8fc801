/*
 * A call of agent on a Vulkan device, laid out.
 *
 * Forward: agents are pooled or converted, gather from the keys in splits that are put together,
 * and hand out to the queries. Backward makes the two matrices of a chunk of positions against all
 * agents (logits and gradients of weights), first for handing out, then for gathering. Memory is
 * linear in N and M; a chunk has at most AGENT_CHUNK floats, unless 64 positions need more.
 *
 * By cooperative matrices backward of at most AGENT_TILE agents is, without biases, one pass for
 * each attention that stores no matrix (back_coop.comp): each workgroup walks over tiles of
 * positions and leaves a part of what is summed over them. Of more than AGENT_TILE features, or
 * with little shared memory, it is two: the first stores slopes and weights as operands
 * (slopes_coop.comp), the second makes the sums (moved_coop.comp).
 *
 * There is a set of agents for each head of each batch; of packed sequences, for each head of each
 * sequence, in this order. Where sequences begin and end the device alone knows, so that all work
 * is divided as if one sequence might have all positions.
 */
#ifndef RAPT_AGENT_VULKAN_PLAN_H
#define RAPT_AGENT_VULKAN_PLAN_H

#include "agent.h"
#include "kit/product_vulkan.h"

enum {
    AGENT_CHUNK = 1 << 24,
    AGENT_POSITIONS = 1024, /* of a chunk, before it takes fewer units */
    AGENT_TILE = 64,
    AGENT_BLOCKS = 4, /* runs of 16 features of a tile, and the most features of the widest: */
    AGENT_WIDEST = 128,
    AGENT_GROUPS = 2048, /* workgroups that fill any device */
    /* Of cooperative matrices, the workgroups for each processor, which begin with loading what
     * they keep or end with leaving a part each; and the tiles of one whose weights and slopes are
     * stored at a time between two passes of backward. */
    AGENT_SIDE_BY_SIDE = 2,
    AGENT_KEPT = 32,
    /* Emulated matrices are for tests. Workgroups are few, so that they walk on, and walk over few
     * tiles, as software drivers end a shader's loops after 65536 turns in all. */
    AGENT_EMULATED_PROCESSORS = 8,
    AGENT_EMULATED_KEPT = 2,
    AGENT_SPLIT = 256,   /* fewest positions of a split */
    AGENT_SLOTS = 64,    /* sums of the gradient of the convolution's kernel */
    AGENT_MOST = 1 << 29 /* positions that indices are safe for */
};

typedef struct agent_chunks {
    int64_t units, positions;
} agent_chunks;

typedef struct agent_plan {
    rapt_call *call;
    rapt_vulkan device;
    int64_t B, H, N, M, D, E, A, units; /* units: B * H */
    int64_t sequences, sets;            /* B without packed sequences; sequences * H */
    int64_t taps;                       /* R, 0 without convolution */
    int64_t grid[2], bins[2];           /* without a grid: 1 x N, 1 x A */
    bool pooled, backward, packed, weights;
    uint32_t passes; /* of backward of each attention; 0: by matrices in float32 */
    agent_chunks handing, gathering;
    int64_t hand_parts, gather_parts; /* workgroups of a unit, with passes */
    int64_t slots;
    rapt_vulkan_range a, u, most, total, parts, part_most, part_total, o, kernel;
    rapt_vulkan_range logits, grads, delta_n, delta_a, du, da, dq, dv, query_bias, agent_bias,
        kernels;
    rapt_vulkan_range greatest, scale_u, scale_du, scale_grads; /* for float16 operands */
    rapt_vulkan_range borders, da_total, sinks, moved, slopes, kept_weights, drops;
    uint64_t bytes;
} agent_plan;

static inline rapt_vulkan_buffer agent_buffer(const agent_plan *plan, rapt_vulkan_range part)
{
    return rapt_vulkan_part(plan->call, part.offset, part.bytes);
}

/* Takes a * b * c * d floats; too many to bind or count leave plan->bytes at UINT64_MAX. */
static inline rapt_vulkan_range agent_place(agent_plan *plan, int64_t a, int64_t b, int64_t c,
                                            int64_t d)
{
    return rapt_vulkan_place(&plan->device, &plan->bytes, a, b, c, d);
}

/* Runs of 16 features. */
static inline uint32_t agent_blocks(int64_t width)
{
    return (uint32_t)rapt_over(width, 16);
}

static inline bool agent_is_emulated(const agent_plan *plan)
{
    return rapt_product_way(&plan->device) == RAPT_VULKAN_EMULATED;
}

/* Workgroups of cooperative matrices that fill the device. */
static inline int64_t agent_fill(const agent_plan *plan)
{
    const int64_t processors =
        agent_is_emulated(plan) ? AGENT_EMULATED_PROCESSORS : plan->device.limits->processors;
    return rapt_least(AGENT_GROUPS, processors * AGENT_SIDE_BY_SIDE);
}

/* Splits of `positions` for a result of `width` features of `units` sets of agents; fewer than for
 * the plan, which does not know the way of products, with fewer groups. */
static inline int64_t agent_splits_of(const agent_plan *plan, int64_t groups, int64_t units,
                                      int64_t positions, int64_t width, int64_t *each)
{
    const int64_t tiles = rapt_most(1, units) * rapt_most(1, rapt_over(plan->A, AGENT_TILE)) *
                          rapt_most(1, rapt_over(width, AGENT_TILE));
    const int64_t most = rapt_over(positions, AGENT_SPLIT);
    const int64_t wanted = rapt_most(1, rapt_least(groups / tiles, most));
    *each = rapt_most(1, rapt_over(rapt_over(positions, wanted), AGENT_TILE)) * AGENT_TILE;
    return rapt_most(1, rapt_over(positions, *each));
}

static inline int64_t agent_splits(const agent_plan *plan, int64_t units, int64_t positions,
                                   int64_t width, int64_t *each)
{
    return agent_splits_of(plan, AGENT_GROUPS, units, positions, width, each);
}

/* Chunks of the matrix of all agents against `length` positions; all units of packed sequences go
 * together. */
static inline agent_chunks agent_chunk(const agent_plan *plan, int64_t length)
{
    const int64_t agents = rapt_most(1, plan->A), units = rapt_most(1, plan->units);
    const int64_t together = AGENT_CHUNK / agents / units;
    agent_chunks chunks = {units, rapt_most(1, length)};
    if (together >= rapt_least(length, AGENT_POSITIONS)) {
        if (together < length)
            chunks.positions = together / AGENT_TILE * AGENT_TILE;
        return chunks;
    }
    if (plan->packed) {
        chunks.positions =
            rapt_least(chunks.positions, rapt_most(1, together / AGENT_TILE) * AGENT_TILE);
        return chunks;
    }
    chunks.positions = rapt_most(1, rapt_least(length, AGENT_POSITIONS));
    if (AGENT_CHUNK / agents < chunks.positions)
        chunks.positions = rapt_least(chunks.positions,
                                      rapt_most(1, AGENT_CHUNK / agents / AGENT_TILE) * AGENT_TILE);
    chunks.units = rapt_most(1, rapt_least(units, AGENT_CHUNK / agents / chunks.positions));
    return chunks;
}

static inline int64_t agent_chunk_floats(const agent_plan *plan, agent_chunks chunks)
{
    return chunks.units * chunks.positions * plan->A;
}

/* The sets of agents of some units of a chunk. */
static inline int64_t agent_sets_of(const agent_plan *plan, int64_t units)
{
    return plan->packed ? plan->sets : units;
}

/* Floats of the parts of the products of a chunk that sum over positions. */
static inline int64_t agent_part_floats(const agent_plan *plan, agent_chunks chunks)
{
    int64_t each;
    const int64_t sets = agent_sets_of(plan, chunks.units);
    const int64_t values = agent_splits(plan, sets, chunks.positions, plan->E, &each);
    const int64_t widths = agent_splits(plan, sets, chunks.positions, plan->D, &each);
    return sets * plan->A * rapt_most(values * plan->E, widths * plan->D);
}

static inline void agent_place_forward(agent_plan *plan)
{
    int64_t each;
    const int64_t splits = agent_splits(plan, plan->sets, plan->M, plan->E, &each);
    const bool saved = plan->call->saved != NULL;
    plan->u = agent_place(plan, plan->sets, plan->A, plan->E, !saved);
    plan->most = agent_place(plan, plan->sets, plan->A, !saved, 1);
    plan->total = agent_place(plan, plan->sets, plan->A, !saved, 1);
    plan->parts = agent_place(plan, splits, plan->sets, plan->A, plan->E);
    plan->part_most = agent_place(plan, splits, plan->sets, plan->A, 1);
    plan->part_total = agent_place(plan, splits, plan->sets, plan->A, 1);
    plan->o = agent_place(plan, plan->units, plan->N, plan->E, plan->taps > 0);
}

/* Shared memory that backward's first pass declares (back_coop.comp, slopes_coop.comp). */
static inline uint32_t agent_back_bytes(const agent_plan *plan, uint32_t passes)
{
    const uint32_t lines = 2 * agent_blocks(plan->D) + 2 * agent_blocks(plan->E) + 2;
    return ((3 - passes) * AGENT_TILE * lines + AGENT_TILE * 9) * 16 + 12 * AGENT_TILE + 8 +
           (agent_is_emulated(plan) ? 512 : 0);
}

/* Bytes of a position's weights, or slopes, between two passes. */
enum { AGENT_KEPT_BYTES = AGENT_TILE * 2 };

/* The passes of each attention's backward; 0: it makes matrices in float32. NV's extension has no
 * shaders for passes. */
static inline uint32_t agent_passes(const agent_plan *plan)
{
    const rapt_vulkan_limits *limits = plan->device.limits;
    const int way = rapt_product_way(&plan->device);
    const int64_t least = rapt_least(rapt_least(plan->A, rapt_least(plan->D, plan->E)),
                                     rapt_least(plan->units, rapt_least(plan->N, plan->M)));
    const int64_t most = rapt_most(plan->D, plan->E), longest = rapt_most(plan->N, plan->M);
    if (way == RAPT_PRODUCT_PLAIN || way == RAPT_VULKAN_BY_NV || plan->packed || least < 1 ||
        plan->A > AGENT_TILE || most > AGENT_WIDEST || plan->call->inputs[AGENT_AGENT_BIAS] ||
        plan->call->inputs[AGENT_QUERY_BIAS])
        return 0;
    if (most <= AGENT_TILE && agent_back_bytes(plan, 1) <= limits->shared_bytes)
        return 1;
    return agent_back_bytes(plan, 2) <= limits->shared_bytes &&
                   (uint64_t)longest <= limits->buffer_bytes / AGENT_KEPT_BYTES
               ? 2
               : 0;
}

/* Units whose backward goes together; in two passes their weights and slopes are stored. */
static inline int64_t agent_together(const agent_plan *plan, int64_t positions)
{
    if (plan->passes < 2)
        return plan->units;
    const int64_t fit = (int64_t)(plan->device.limits->buffer_bytes / AGENT_KEPT_BYTES);
    const int64_t tiles = agent_is_emulated(plan) ? AGENT_EMULATED_KEPT : AGENT_KEPT;
    const int64_t kept = agent_fill(plan) * tiles * AGENT_TILE;
    return rapt_most(1, rapt_least(plan->units, rapt_least(kept, fit) / positions));
}

/* Workgroups of a unit that walk over tiles of so many positions. */
static inline int64_t agent_parts(const agent_plan *plan, int64_t positions)
{
    const int64_t groups = agent_fill(plan);
    return rapt_least(rapt_over(positions, AGENT_TILE),
                      rapt_most(1, groups / agent_together(plan, positions)));
}

static inline void agent_place_fused(agent_plan *plan)
{
    plan->hand_parts = agent_parts(plan, plan->N);
    plan->gather_parts = agent_parts(plan, plan->M);
    plan->parts = agent_place(plan, plan->hand_parts, plan->units, plan->A, plan->E);
    plan->moved =
        agent_place(plan, plan->hand_parts + plan->gather_parts, plan->units, plan->A, plan->D);
    const int64_t kept = rapt_most(agent_together(plan, plan->N) * plan->N,
                                   agent_together(plan, plan->M) * plan->M) *
                         (plan->passes == 2);
    plan->slopes = agent_place(plan, kept, AGENT_KEPT_BYTES / 4, 1, 1);
    plan->kept_weights = agent_place(plan, agent_together(plan, plan->N) * plan->N,
                                     AGENT_KEPT_BYTES / 4, plan->passes == 2, 1);
    plan->drops = agent_place(plan, kept, 1, 1, 1);
    plan->greatest = agent_place(plan, 2, plan->units, plan->passes == 2, 1);
}

static inline void agent_place_matrices(agent_plan *plan)
{
    const agent_chunks handing = plan->handing, gathering = plan->gathering;
    const int64_t matrix =
        rapt_most(agent_chunk_floats(plan, handing), agent_chunk_floats(plan, gathering));
    plan->parts = agent_place(
        plan, rapt_most(agent_part_floats(plan, handing), agent_part_floats(plan, gathering)), 1, 1,
        1);
    plan->logits = agent_place(plan, matrix, 1, 1, 1);
    plan->grads = agent_place(plan, matrix, 1, 1, 1);
    const int64_t groups = rapt_over(rapt_most(handing.positions, gathering.positions), 64);
    plan->greatest = agent_place(plan, plan->units, groups, 1, 1);
    plan->scale_u = agent_place(plan, plan->units, 1, 1, 1);
    plan->scale_du = agent_place(plan, plan->units, 1, 1, 1);
    plan->scale_grads = agent_place(plan, plan->units, 1, 1, 1);
}

static inline void agent_place_backward(agent_plan *plan)
{
    rapt_view *const *grads = plan->call->grad_inputs;
    plan->passes = agent_passes(plan);
    if (plan->passes)
        agent_place_fused(plan);
    else
        agent_place_matrices(plan);
    plan->delta_n = agent_place(plan, plan->units, plan->N, 1, 1);
    plan->delta_a = agent_place(plan, plan->sets, plan->A, 1, 1);
    plan->du = agent_place(plan, plan->sets, plan->A, plan->E, 1);
    plan->da = agent_place(plan, plan->sets, plan->A, plan->D, 1);
    plan->da_total = agent_place(plan, plan->units, plan->A, plan->D,
                                 plan->packed && grads[AGENT_AGENTS] != NULL);
    plan->sinks = agent_place(plan, AGENT_SLOTS, plan->H, grads[AGENT_SINK] != NULL, 1);
    plan->dq = agent_place(plan, plan->units, plan->N, plan->D, plan->pooled && grads[AGENT_Q]);
    plan->dv = agent_place(plan, plan->units, plan->M, plan->E, plan->taps && grads[AGENT_V]);
    plan->query_bias =
        agent_place(plan, plan->H, plan->N, plan->A, grads[AGENT_QUERY_BIAS] != NULL);
    plan->agent_bias =
        agent_place(plan, plan->H, plan->A, plan->M, grads[AGENT_AGENT_BIAS] != NULL);
    plan->kernels = agent_place(plan, plan->slots, plan->taps * plan->taps + 1, plan->H * plan->E,
                                grads[AGENT_DWC_WEIGHT] || grads[AGENT_DWC_BIAS]);
}

static inline void agent_measure(agent_plan *plan)
{
    const rapt_call *call = plan->call;
    const rapt_value *grid = &call->attrs[AGENT_GRID];
    plan->B = call->sizes['B'];
    plan->H = call->sizes['H'];
    plan->N = call->sizes['N'];
    plan->M = call->sizes['M'];
    plan->D = call->sizes['D'];
    plan->E = call->phase == RAPT_WEIGHTS ? call->sizes['M'] : call->sizes['E'];
    plan->units = plan->B * plan->H;
    plan->packed = call->inputs[AGENT_BORDERS_Q] != NULL;
    plan->sequences = plan->packed ? rapt_most(1, call->sizes['P'] - 1) : plan->B;
    plan->sets = plan->sequences * plan->H;
    plan->pooled = !call->inputs[AGENT_AGENTS];
    plan->backward = call->phase == RAPT_BACKWARD;
    plan->weights = call->phase == RAPT_WEIGHTS;
    plan->A = plan->pooled ? call->attrs[AGENT_N_AGENTS].i[0] : call->sizes['A'];
    plan->taps = call->inputs[AGENT_DWC_WEIGHT] && !plan->weights ? call->sizes['R'] : 0;
    plan->grid[0] = grid->present ? grid->i[0] : 1;
    plan->grid[1] = grid->present ? grid->i[1] : plan->N;
    plan->bins[0] = 1;
    if (grid->present && plan->pooled)
        while ((plan->bins[0] + 1) <= plan->A / (plan->bins[0] + 1))
            plan->bins[0]++;
    plan->bins[1] = plan->A / plan->bins[0];
}

static inline rapt_status agent_plan_call(rapt_call *call, agent_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    const rapt_status status = rapt_vulkan_begin(call, &plan->device);
    if (status != RAPT_OK)
        return status;
    plan->call = call;
    if (call->attrs[AGENT_N_AGENTS].i[0] > AGENT_MOST || call->sizes['N'] > AGENT_MOST ||
        call->sizes['M'] > AGENT_MOST || call->sizes['A'] > AGENT_MOST ||
        call->sizes['P'] > AGENT_MOST)
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "N, M or the number of agents or of borders is beyond %d, which "
                                 "this kernel reaches at most",
                                 AGENT_MOST);
    agent_measure(plan);
    plan->handing = agent_chunk(plan, plan->N);
    plan->gathering = agent_chunk(plan, plan->M);
    plan->slots = rapt_most(1, rapt_least(AGENT_SLOTS, plan->B * plan->grid[0]));
    plan->borders = agent_place(plan, 2, plan->sequences + 1, plan->packed, 1);
    plan->a = agent_place(plan, plan->pooled ? plan->sets : plan->units, plan->A, plan->D,
                          !(plan->pooled && call->saved));
    plan->kernel = agent_place(plan, plan->taps * plan->taps + 1, plan->H, plan->E, plan->taps > 0);
    if (plan->weights)
        plan->logits = agent_place(plan, plan->units, plan->A, plan->M, 1);
    else if (plan->backward)
        agent_place_backward(plan);
    else
        agent_place_forward(plan);
    if (plan->bytes == UINT64_MAX)
        return call->host->error(
            call, RAPT_UNSUPPORTED,
            "what %lld agents gather, or a gradient in float32, does not fit a buffer of this "
            "device (%llu bytes)",
            (long long)plan->A, (unsigned long long)plan->device.limits->buffer_bytes);
    return RAPT_OK;
}

#endif
