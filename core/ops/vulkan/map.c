/* Elementwise loops and sums over dimensions: map.comp and fold.comp. */
#include "ops/vulkan/space.h"

#include "core/opcodes.glsl"
#include "core_fold_double.h"
#include "core_fold_f32.h"
#include "core_fold_half.h"
#include "core_map_double.h"
#include "core_map_f32.h"
#include "core_map_half.h"

#include <math.h>

/* The shaders number the loops as the host does. */
#define X(name) _Static_assert(OP_##name == (int)RAPT_LOOP_##name, #name);
RAPT_ELEMENTWISE(X)
#undef X

/* --- Map ------------------------------------------------------------------------------------ */

#define MAP_INPUTS 3
#define MAP_EACH   4 /* elements of an invocation */

typedef struct map_params {
    rapt_vkop_space space;
    uint32_t base[MAP_INPUTS + 1];
    uint32_t a[2], b[2];
} map_params;

static const rapt_vulkan_shader map_shaders[] = {
    RAPT_VKOP_SHADER("core.map", core_map_f32, 0, 4, map_params),
    RAPT_VKOP_SHADER("core.map.half", core_map_half, RAPT_VULKAN_STORAGE16, 4, map_params),
    RAPT_VKOP_SHADER("core.map.double", core_map_double, RAPT_VULKAN_FLOAT64, 4, map_params),
};

/* 0: float32, 1: with 16-bit elements, 2: float64. */
static int variant_of(const rapt_walk *walk)
{
    int variant = 0;
    for (int k = 0; k < walk->n; k++) {
        const rapt_dtype dtype = walk->operands[k].dtype;
        const int needs = dtype == RAPT_F64 ? 2 : rapt_vkop_half(dtype) ? 1 : 0;
        variant = needs > variant ? needs : variant;
    }
    return variant;
}

/* Whether a word of each operand is two elements of it, side by side. */
static bool paired(const rapt_walk *walk, const uint32_t *base)
{
    if (walk->ndim != 1 || walk->count % 2 != 0)
        return false;
    for (int k = 0; k < walk->n; k++)
        if (!rapt_vkop_half(walk->operands[k].dtype) || walk->operands[k].stride[0] != 1 ||
            base[k] % 2 != 0)
            return false;
    return true;
}

rapt_status rapt_vulkan_map(rapt_call *call, const rapt_walk *walk, int op, double a, double b)
{
    rapt_vulkan device;
    rapt_vulkan_buffer bound[RAPT_MAX_OPERANDS], buffers[MAP_INPUTS + 1] = {0};
    uint32_t base[RAPT_MAX_OPERANDS];
    map_params params;
    if (walk->count == 0)
        return RAPT_OK;
    const int inputs = walk->n - 1, variant = variant_of(walk);
    /* The shader knows the output as operand MAP_INPUTS. */
    rapt_walk placed = *walk;
    placed.operands[MAP_INPUTS] = walk->operands[inputs];
    placed.n = MAP_INPUTS + 1;
    for (int k = inputs; k < MAP_INPUTS; k++)
        memset(placed.operands[k].stride, 0, sizeof placed.operands[k].stride);
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.space, &placed);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&device, walk, bound, base);
    if (status != RAPT_OK)
        return status;
    const bool pairs = paired(walk, base);
    uint32_t constants[8] = {0, (uint32_t)op, (uint32_t)inputs,
                             (uint32_t)walk->operands[inputs].dtype};
    memset(params.base, 0, sizeof params.base);
    for (int k = 0; k < inputs; k++) {
        buffers[k] = bound[k];
        params.base[k] = base[k];
        constants[4 + k] = (uint32_t)walk->operands[k].dtype;
    }
    buffers[MAP_INPUTS] = bound[inputs];
    params.base[MAP_INPUTS] = base[inputs];
    rapt_vkop_number(a, variant == 2, params.a);
    rapt_vkop_number(b, variant == 2, params.b);
    constants[7] = pairs;
    return rapt_vulkan_run(
        &device, &map_shaders[variant], constants, 8,
        rapt_vulkan_groups(pairs ? walk->count / 2 : walk->count, RAPT_VKOP_LANES * MAP_EACH), 1, 1,
        buffers, NULL, &params);
}

rapt_status rapt_vulkan_fill(rapt_call *call, const rapt_view *target, double value)
{
    rapt_walk walk;
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    rapt_walk_add(&walk, target);
    rapt_walk_end(&walk);
    return rapt_vulkan_map(call, &walk, OP_fill, value, 0);
}

/* dx = 2 x g with the one number g. */
rapt_status rapt_vulkan_norm2_backward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0];
    rapt_walk walk;
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    rapt_walk_begin(&walk, call, x->ndim, x->shape);
    rapt_walk_add(&walk, x);
    rapt_walk_add(&walk, call->grad_outputs[0]);
    rapt_walk_add(&walk, call->grad_inputs[0]);
    rapt_walk_end(&walk);
    return rapt_vulkan_map(call, &walk, OP_twice, 0, 0);
}

/* --- Fold ----------------------------------------------------------------------------------- */

#define FOLD_INPUTS 4
#define MEMBER_MOST 64   /* elements that one lane adds up, while the pieces are few enough */
#define PIECES_MOST 4096 /* what the second pass adds up */

typedef struct fold_params {
    rapt_vkop_space kept, reduced;
    uint32_t base[FOLD_INPUTS + 1];
    uint32_t piece_length, piece_stride;
    rapt_vkop_team team;
    uint32_t ignored[2], ignores;
    uint32_t a[2], b[2], scale[2];
} fold_params;

static const rapt_vulkan_shader fold_shaders[] = {
    RAPT_VKOP_SHADER("core.fold", core_fold_f32, 0, 5, fold_params),
    RAPT_VKOP_SHADER("core.fold.half", core_fold_half, RAPT_VULKAN_STORAGE16, 5, fold_params),
    RAPT_VKOP_SHADER("core.fold.double", core_fold_double, RAPT_VULKAN_FLOAT64, 5, fold_params),
};

/* Partial results: pieces are at least 2^7 * MEMBER_MOST / 32 = 256 long where there are several,
 * so that they number less than 2 elements / 256 in all. */
static size_t partial_room(int64_t elements, size_t size)
{
    return (size_t)(elements / 128 + 64) * size;
}

size_t rapt_vulkan_fold_workspace(rapt_call *call)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < call->op->n_inputs; i++)
        if (call->inputs[i] != NULL && rapt_elements(call->inputs[i]) > most)
            most = rapt_elements(call->inputs[i]);
    for (uint32_t i = 0; i < call->op->n_outputs; i++) {
        const rapt_view *view =
            call->phase == RAPT_BACKWARD ? call->grad_outputs[i] : call->outputs[i];
        if (view != NULL && rapt_elements(view) > most)
            most = rapt_elements(view);
    }
    return partial_room(most, call->dtype == RAPT_F64 ? 8 : 4);
}

/* Whether the last dimension with more than one index is kept. */
static bool innermost_kept(const rapt_walk *walk, uint32_t reduced)
{
    for (int32_t d = walk->ndim - 1; d >= 0; d--)
        if (walk->shape[d] != 1)
            return (reduced >> d & 1) == 0;
    return false;
}

/* One pass: `pieces` of each sum into `out`, a walk operand over the kept dimensions. */
typedef struct pass {
    const rapt_fold *fold;
    rapt_vulkan device;
    rapt_walk kept, reduced; /* ended */
    const rapt_view *out;
    int64_t out_stride[RAPT_MAX_DIMS];
    int64_t piece, pieces, piece_stride;
    double scale;
} pass;

static rapt_status run_pass(rapt_call *call, pass *p, rapt_vkop_team team)
{
    const int inputs = p->fold->walk.n;
    rapt_vulkan_buffer buffers[FOLD_INPUTS + 1] = {0};
    fold_params params;
    memset(&params, 0, sizeof params);
    rapt_walk kept = p->kept;
    for (int k = inputs; k < FOLD_INPUTS; k++)
        kept.operands[k] = (rapt_operand){0};
    kept.n = FOLD_INPUTS + 1;
    kept.operands[FOLD_INPUTS] = (rapt_operand){.view = p->out, .dtype = rapt_view_dtype(p->out)};
    memcpy(kept.operands[FOLD_INPUTS].stride, p->out_stride, sizeof p->out_stride);
    const int variant = variant_of(&kept);
    rapt_status status = rapt_vkop_space_set(call, &params.kept, &kept);
    if (status == RAPT_OK)
        status = rapt_vkop_space_set(call, &params.reduced, &p->reduced);
    if (status == RAPT_OK)
        status = rapt_vkop_bind_walk(&p->device, &kept, buffers, params.base);
    if (status != RAPT_OK)
        return status;
    uint32_t constants[9] = {0, (uint32_t)p->fold->loop, (uint32_t)inputs,
                             (uint32_t)rapt_view_dtype(p->out)};
    for (int k = 0; k < inputs; k++)
        constants[4 + k] = (uint32_t)p->fold->walk.operands[k].dtype;
    constants[8] = (uint32_t)p->fold->kind;
    params.piece_length = (uint32_t)p->piece;
    params.piece_stride = (uint32_t)p->piece_stride;
    params.team = team;
    params.ignores = p->fold->ignored != NULL;
    if (p->fold->ignored != NULL) {
        params.ignored[0] = (uint32_t)(uint64_t)*p->fold->ignored;
        params.ignored[1] = (uint32_t)((uint64_t)*p->fold->ignored >> 32);
    }
    rapt_vkop_number(p->fold->args.a, variant == 2, params.a);
    rapt_vkop_number(p->fold->args.b, variant == 2, params.b);
    rapt_vkop_number(p->scale, variant == 2, params.scale);
    return rapt_vulkan_run(&p->device, &fold_shaders[variant], constants, 9,
                           rapt_vkop_team_groups(team, p->kept.count), (uint32_t)p->pieces, 1,
                           buffers, NULL, &params);
}

/* The strides of contiguous memory in the order of `walk`. */
static void contiguous(const rapt_walk *walk, int64_t *stride)
{
    int64_t step = 1;
    for (int32_t d = walk->ndim - 1; d >= 0; d--) {
        stride[d] = step;
        step *= walk->shape[d];
    }
}

static rapt_status fold_run(rapt_call *call, const rapt_fold *fold, bool whole);

rapt_status rapt_vkop_add_pieces(rapt_call *call, const rapt_fold *fold, const rapt_view *partial,
                                 int64_t pieces, int64_t results)
{
    const int64_t shape[2] = {pieces, results}, stride[2] = {results, 1};
    rapt_fold second = {.reduced = 1,
                        .loop = RAPT_LOOP_copy,
                        .kind = fold->kind,
                        .scale = fold->scale,
                        .out = fold->out};
    rapt_walk_begin(&second.walk, call, 2, shape);
    rapt_walk_add_view(&second.walk, partial, stride);
    return fold_run(call, &second, true);
}

/* 0 results in nothing; a sum over nothing is 0 times the scale. */
static rapt_status trivial(rapt_call *call, const rapt_fold *fold, int64_t results)
{
    return results == 0 ? RAPT_OK : rapt_vulkan_fill(call, fold->out, 0 * fold->scale);
}

/* `whole`: in one pass, whatever the length. */
static rapt_status fold_run(rapt_call *call, const rapt_fold *fold, bool whole)
{
    pass p = {.fold = fold, .out = fold->out, .pieces = 1, .scale = fold->scale};
    rapt_walk_take(&p.kept, &fold->walk, ~fold->reduced);
    rapt_walk_take(&p.reduced, &fold->walk, fold->reduced);
    const int64_t results = p.kept.count, length = p.reduced.count;
    if (results == 0 || length == 0)
        return trivial(call, fold, results);
    rapt_status status = rapt_vulkan_begin(call, &p.device);
    if (status != RAPT_OK)
        return status;
    const rapt_vkop_team team =
        rapt_vkop_team_for(results, length, !innermost_kept(&fold->walk, fold->reduced));
    contiguous(&p.kept, p.out_stride);
    p.piece = (int64_t)MEMBER_MOST << team.log_team;
    if (length > p.piece * PIECES_MOST)
        p.piece = (length + PIECES_MOST - 1) / PIECES_MOST;
    if (length <= p.piece || whole) {
        p.piece = length;
        return run_pass(call, &p, team);
    }
    p.pieces = (length + p.piece - 1) / p.piece;
    p.piece_stride = results;
    p.scale = 1;
    int64_t n = p.pieces * results, stride;
    const rapt_dtype dtype = rapt_view_dtype(fold->out) == RAPT_F64 ? RAPT_F64 : RAPT_F32;
    const rapt_view partial = rapt_vkop_room(call, fold->room, dtype, &n, &stride);
    p.out = &partial;
    status = run_pass(call, &p, team);
    return status == RAPT_OK ? rapt_vkop_add_pieces(call, fold, &partial, p.pieces, results)
                             : status;
}

rapt_status rapt_vulkan_fold(rapt_call *call, const rapt_fold *fold)
{
    return fold_run(call, fold, false);
}
