/* Matrix products: matmul.comp. The tile and the pieces of the depth follow from the sizes alone.
 */
#include "ops/product.h"
#include "ops/vulkan/space.h"

#include "core_matmul_coop_emulated.h"
#include "core_matmul_coop_khr.h"
#include "core_matmul_coop_nv.h"
#include "core_matmul_double.h"
#include "core_matmul_f32.h"
#include "core_matmul_half.h"
#include "core_matmul_wide.h"
#include "core_matmul_wide_half.h"

#include <stdlib.h>

#define DEPTH         16  /* of a tile, as in the shader */
#define WIDE_TILES    64  /* the wide shader's tiles that keep a device busy */
#define ENOUGH_GROUPS 256 /* below this the depth is taken in pieces */
#define PIECE_LEAST   256
#define PIECES_MOST   64

typedef struct matmul_params {
    rapt_vkop_space batch, summed;
    uint32_t base[3];
    uint32_t m, n, k;
    uint32_t row[3], column[3];
    uint32_t tiles_n;
    uint32_t piece, piece_stride;
    uint32_t a_down, b_down;
} matmul_params;

/* matmul_coop.comp: what it needs, its tile and the numbers it loads at a time. */
#define COOP_FEATURES    (RAPT_VULKAN_STORAGE16 | RAPT_VULKAN_FLOAT16)
#define COOP_SHARED      20480
#define COOP_INVOCATIONS 256
#define COOP_SIDE        128
#define COOP_DEPTH       32
#define COOP_EIGHT       8

#define SHADER(label, array, needs) RAPT_VKOP_SHADER(label, array, needs, 3, matmul_params)
static const rapt_vulkan_shader narrow_shaders[] = {
    SHADER("core.matmul", core_matmul_f32, 0),
    SHADER("core.matmul.half", core_matmul_half, RAPT_VULKAN_STORAGE16),
    SHADER("core.matmul.double", core_matmul_double, RAPT_VULKAN_FLOAT64),
};
static const rapt_vulkan_shader wide_shaders[] = {
    SHADER("core.matmul.wide", core_matmul_wide, 0),
    SHADER("core.matmul.wide.half", core_matmul_wide_half, RAPT_VULKAN_STORAGE16),
};

#define COOP_SHADER(array, way, lanes)                                                             \
    {                                                                                              \
        .size = sizeof(rapt_vulkan_shader), .features = COOP_FEATURES | (way),                     \
        .name = "core.matmul.coop", .code = (array), .code_bytes = sizeof(array), .n_buffers = 3,  \
        .params_bytes = sizeof(matmul_params), .subgroup = (lanes)                                 \
    }
/* By RAPT_VULKAN_BY_*. */
static const rapt_vulkan_shader coop_shaders[] = {
    COOP_SHADER(core_matmul_coop_khr, RAPT_VULKAN_COOPMAT_KHR | RAPT_VULKAN_SUBGROUP, 32),
    COOP_SHADER(core_matmul_coop_nv, RAPT_VULKAN_COOPMAT_NV | RAPT_VULKAN_SUBGROUP, 32),
    COOP_SHADER(core_matmul_coop_emulated, 0, 0),
};

enum { NARROW, WIDE, COOP };

typedef struct tiling {
    int shader;
    int64_t batch, summed;    /* matrices of C; products added up in each */
    int64_t tiles_m, tiles_n; /* of one matrix */
    int64_t piece, pieces;    /* of the depth */
    int64_t results;          /* elements of C */
} tiling;

static int64_t ceiling(int64_t n, int64_t each)
{
    return (n + each - 1) / each;
}

static bool multiple(int64_t n)
{
    return n % COOP_EIGHT == 0;
}

/* Whether eight neighbours, along the matrix's unit stride, can always be read at once: `side` rows
 * of A or columns of B, with `step` elements between neighbours of the other dimension. */
static bool by_eights(const rapt_product *p, const rapt_matrix *x, bool deep, int64_t side,
                      int64_t step)
{
    bool fits = multiple(step) && multiple(deep ? p->k : side);
    for (int32_t d = 0; d < p->n_batch; d++)
        fits &= multiple(x->batch[d]);
    return fits;
}

static bool a_down(const rapt_product *p)
{
    return p->a.row == 1 && p->a.column != 1;
}

static bool b_down(const rapt_product *p)
{
    return p->b.row == 1 && p->b.column != 1;
}

static bool suits_coop(const rapt_product *p)
{
    const bool a = a_down(p), b = b_down(p);
    if (!rapt_vkop_half(p->c.dtype) || (a ? p->a.row : p->a.column) != 1 ||
        (b ? p->b.row : p->b.column) != 1)
        return false;
    return by_eights(p, &p->a, !a, p->m, a ? p->a.column : p->a.row) &&
           by_eights(p, &p->b, b, p->n, b ? p->b.column : p->b.row);
}

/* `coop`: by cooperative matrices if the product suits them. */
static tiling plan_product(const rapt_product *p, bool coop)
{
    tiling plan = {.shader = coop && suits_coop(p) ? COOP : WIDE,
                   .batch = 1,
                   .summed = 1,
                   .piece = p->k,
                   .pieces = 1};
    int64_t depth = DEPTH;
    for (int32_t d = 0; d < p->n_batch; d++)
        *(p->c.batch[d] == 0 ? &plan.summed : &plan.batch) *= p->batch[d];
    plan.results = plan.batch * p->m * p->n;
    plan.tiles_n = ceiling(p->n, 64);
    plan.tiles_m = ceiling(p->m, 128);
    if (plan.shader == COOP) {
        plan.tiles_n = ceiling(p->n, COOP_SIDE);
        plan.tiles_m = ceiling(p->m, COOP_SIDE);
        depth = COOP_DEPTH;
    } else if (p->c.dtype == RAPT_F64 || plan.tiles_m * plan.tiles_n * plan.batch < WIDE_TILES) {
        plan.shader = NARROW;
        plan.tiles_m = ceiling(p->m, 32);
    }
    const int64_t groups = plan.tiles_m * plan.tiles_n * plan.batch;
    if (groups < ENOUGH_GROUPS && p->k >= 2 * PIECE_LEAST) {
        const int64_t wanted = ceiling(2 * ENOUGH_GROUPS, groups), most = p->k / PIECE_LEAST;
        const int64_t pieces = wanted < most ? wanted : most;
        plan.piece =
            ceiling(ceiling(p->k, pieces < PIECES_MOST ? pieces : PIECES_MOST), depth) * depth;
        plan.pieces = ceiling(p->k, plan.piece);
    }
    return plan;
}

/* Where a matrix begins is known only when it is run: whichever way it then goes, there is room. */
size_t rapt_vulkan_product_workspace(const rapt_product *product)
{
    const size_t size = product->c.dtype == RAPT_F64 ? 8 : 4;
    size_t most = 0;
    for (int coop = 0; coop <= 1; coop++) {
        const tiling plan = plan_product(product, coop);
        const size_t bytes = plan.pieces > 1 ? (size_t)(plan.pieces * plan.results) * size : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

rapt_status rapt_vulkan_supports_coop(rapt_call *call)
{
    rapt_vulkan device;
    rapt_status status = rapt_vulkan_supports(call);
    if (status == RAPT_OK)
        status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vulkan_require_coop(&device);
    if (status == RAPT_OK && (device.limits->shared_bytes < COOP_SHARED ||
                              device.limits->invocations < COOP_INVOCATIONS))
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "needs %d bytes of shared memory and workgroups of %d; the device "
                                 "has %u and %u",
                                 COOP_SHARED, COOP_INVOCATIONS, device.limits->shared_bytes,
                                 device.limits->invocations);
    return status;
}

/* The batch dimensions along which C moves, or those along which products are added up. */
static rapt_status batch_space(rapt_call *call, const rapt_product *p, const int64_t *c_batch,
                               bool summed, rapt_vkop_space *space)
{
    int64_t shape[RAPT_MAX_DIMS] = {0}, stride[3][RAPT_MAX_DIMS] = {{0}};
    rapt_walk walk;
    int32_t n = 0;
    for (int32_t d = 0; d < p->n_batch; d++) {
        if ((p->c.batch[d] == 0) != summed)
            continue;
        shape[n] = p->batch[d];
        stride[0][n] = p->a.batch[d];
        stride[1][n] = p->b.batch[d];
        stride[2][n++] = c_batch[d];
    }
    rapt_walk_begin(&walk, call, n, shape);
    for (int k = 0; k < (summed ? 2 : 3); k++)
        rapt_walk_add_strided(&walk, NULL, RAPT_F32, stride[k]);
    rapt_walk_end(&walk);
    return rapt_vkop_space_set(call, space, &walk);
}

/* Records the products into `target`, where C's strides are `row`, `column` and `c_batch`. */
static rapt_status record(rapt_call *call, const rapt_product *p, const tiling *plan,
                          const rapt_view *target, int64_t row, int64_t column,
                          const int64_t *c_batch)
{
    const rapt_view *const views[3] = {p->a.view, p->b.view, target};
    const rapt_dtype dtype = p->c.dtype, out = rapt_view_dtype(target);
    rapt_vulkan device;
    rapt_vulkan_buffer buffers[3];
    matmul_params params;
    memset(&params, 0, sizeof params);
    rapt_status status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = batch_space(call, p, c_batch, false, &params.batch);
    if (status == RAPT_OK)
        status = batch_space(call, p, c_batch, true, &params.summed);
    for (int i = 0; i < 3 && status == RAPT_OK; i++)
        status = rapt_vkop_bind(&device, views[i], &buffers[i], &params.base[i]);
    if (status != RAPT_OK)
        return status;
    params.m = (uint32_t)p->m;
    params.n = (uint32_t)p->n;
    params.k = (uint32_t)p->k;
    const int64_t rows[3] = {p->a.row, p->b.row, row},
                  columns[3] = {p->a.column, p->b.column, column};
    for (int i = 0; i < 3; i++) {
        params.row[i] = (uint32_t)rows[i];
        params.column[i] = (uint32_t)columns[i];
    }
    params.tiles_n = (uint32_t)plan->tiles_n;
    params.piece = (uint32_t)plan->piece;
    params.piece_stride = (uint32_t)plan->results;
    params.a_down = a_down(p);
    params.b_down = b_down(p);
    const uint32_t groups = (uint32_t)(plan->tiles_m * plan->tiles_n);
    if (plan->shader == COOP) {
        const uint32_t constants[] = {0, (uint32_t)out, params.a_down, params.b_down};
        return rapt_vulkan_run(&device, &coop_shaders[rapt_vulkan_coop_way(&device)], constants, 4,
                               groups, (uint32_t)plan->pieces, (uint32_t)plan->batch, buffers, NULL,
                               &params);
    }
    const uint32_t constants[] = {0, (uint32_t)dtype, (uint32_t)out};
    const int variant = dtype == RAPT_F64 ? 2 : rapt_vkop_half(dtype) ? 1 : 0;
    return rapt_vulkan_run(
        &device, (plan->shader == WIDE ? wide_shaders : narrow_shaders) + variant, constants, 3,
        groups, (uint32_t)plan->pieces, (uint32_t)plan->batch, buffers, NULL, &params);
}

/* Whether A and B begin on a multiple of eight elements. */
static bool begins_on_eight(const rapt_product *p)
{
    const uint64_t bytes = COOP_EIGHT * 2;
    return p->a.view->byte_offset % bytes == 0 && p->b.view->byte_offset % bytes == 0;
}

rapt_status rapt_vulkan_product(rapt_call *call, const rapt_product *p)
{
    const bool coop = strcmp(call->kernel->name, "vulkan.coopmat") == 0 && begins_on_eight(p);
    const tiling plan = plan_product(p, coop);
    if (plan.pieces == 1)
        return record(call, p, &plan, p->c.view, p->c.row, p->c.column, p->c.batch);
    /* C is fresh and contiguous in the order of its dimensions: the pieces lie as it does. */
    int64_t n = plan.pieces * plan.results, stride, batch[RAPT_MAX_DIMS] = {0}, step = p->m * p->n;
    const rapt_view partial =
        rapt_vkop_room(call, 0, p->c.dtype == RAPT_F64 ? RAPT_F64 : RAPT_F32, &n, &stride);
    for (int32_t d = p->n_batch - 1; d >= 0; d--)
        if (p->c.batch[d] != 0) {
            batch[d] = step;
            step *= p->batch[d];
        }
    const rapt_fold sum = {.kind = RAPT_FOLD_SUM, .scale = 1, .out = p->c.view};
    const rapt_status status = record(call, p, &plan, &partial, p->n, 1, batch);
    return status == RAPT_OK ? rapt_vkop_add_pieces(call, &sum, &partial, plan.pieces, plan.results)
                             : status;
}
