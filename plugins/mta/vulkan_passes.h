/* The passes of mta over a stripe, each one dispatch. A job's status is that of the first that
 * failed; after it nothing is recorded. */
#ifndef RAPT_MTA_VULKAN_PASSES_H
#define RAPT_MTA_VULKAN_PASSES_H

#include "vulkan_plan.h"
#include "vulkan_shaders.h"

/* Of what the options take. */
typedef struct mta_score_inputs {
    rapt_vulkan_rows bias, alibi, sink;
    rapt_vulkan_rows lse; /* backward: its gradient */
    uint32_t bias_key;    /* step from key to key */
    uint32_t row;         /* MTA_* of passes over rows: of the sink and lse */
} mta_score_inputs;

typedef struct mta_job {
    mta_plan plan;
    rapt_status status;
    float scale;
    mta_score_inputs inputs;
    uint32_t bf16;
    int way;           /* of products, but those of gradients of scores, which are float32 */
    mta_stripe stripe; /* with the units at hand */
} mta_job;

/* A matrix of the stripe: where its rows begin, and how it is read. */
typedef struct mta_matrix {
    rapt_vulkan_range part;
    int64_t first, rows;
    uint32_t weights, mix; /* WEIGHTS and MIX of values.glsl */
    bool coop;             /* weights, so that they can be float16 operands */
} mta_matrix;

enum { MTA_AS_IT_IS = 0, MTA_FORWARD_MIX = 1, MTA_BACK_MIX = 2 };

static void run_of(mta_job *job, const rapt_vulkan_shader *shader, const uint32_t *constants,
                   uint32_t n_constants, int64_t x, int64_t y, int64_t z,
                   const rapt_vulkan_buffer *buffers, const void *push)
{
    if (job->status == RAPT_OK)
        job->status = rapt_vulkan_run(&job->plan.device, shader, constants, n_constants,
                                      (uint32_t)x, (uint32_t)y, (uint32_t)z, buffers, push, NULL);
}

/* A pass over the matrix: the first n constants, MIXED where it mixes, and OPTIONS. Constant 0 is
 * for those that read tensors: the others serve all dtypes. */
static void run_matrix(mta_job *job, const rapt_vulkan_shader *shader, const uint32_t *constants,
                       uint32_t n, uint32_t options, int64_t x, int64_t y, int64_t z,
                       const rapt_vulkan_buffer *buffers, const void *push)
{
    uint32_t all[9] = {0, 0, 0, 0, 0, 0, 0, 1, options};
    if (constants)
        memcpy(all, constants, n * sizeof *all);
    if (all[2])
        all[7] = (uint32_t)job->plan.mixed;
    all[8] |= job->plan.options.sight & MTA_SIGHT;
    run_of(job, shader, all, 9, x, y, z, buffers, push);
}

/* Any other, with constant 0. */
static void run(mta_job *job, const rapt_vulkan_shader *shader, uint32_t bf16, int64_t x, int64_t y,
                const rapt_vulkan_buffer *buffers, const void *push)
{
    run_of(job, shader, &bf16, 1, x, y, 1, buffers, push);
}

static rapt_vulkan_rows tensor_of(mta_job *job, const rapt_view *view)
{
    rapt_vulkan_rows rows;
    memset(&rows, 0, sizeof rows);
    if (job->status == RAPT_OK)
        job->status = rapt_vulkan_bind_rows(&job->plan.device, view, &rows);
    return rows;
}

/* Constant 0 for a tensor that may not be of the call's dtype: whether it is bfloat16. */
static uint32_t is_bf16(const rapt_view *view)
{
    return rapt_view_dtype(view) == RAPT_BF16;
}

static mta_stripe_push stripe_push(const mta_job *job)
{
    const mta_plan *plan = &job->plan;
    int64_t open = plan->options.right == 0 ? plan->M - plan->N + 1 : 1 << 30;
    if (plan->options.sight)
        open = plan->N;
    const mta_stripe_push push = {
        (uint32_t)plan->H,      (uint32_t)plan->mixed,    (uint32_t)job->stripe.unit0,
        (uint32_t)plan->height, (uint32_t)job->stripe.ld, (uint32_t)plan->M,
        (int32_t)open,
    };
    return push;
}

static const rapt_vulkan_buffer nothing = {0};

static rapt_vulkan_buffer sees_buffer(const mta_job *job)
{
    return job->plan.options.sight ? mta_buffer(&job->plan, job->plan.sees) : nothing;
}

/* The bindings that values.glsl declares, and the sixth, the table of what queries see. */
static void bind_values(const mta_job *job, const mta_matrix *matrix, rapt_vulkan_buffer *buffers)
{
    buffers[0] = mta_buffer(&job->plan, matrix->part);
    buffers[1] = mta_buffer(&job->plan, job->plan.stats);
    buffers[2] = mta_buffer(&job->plan, job->plan.mixture);
    buffers[5] = sees_buffer(job);
}

/* --- Kernels --------------------------------------------------------------------------------- */

/* A kernel [x, y, z] as contiguous float32. */
static void load_kernel(mta_job *job, const rapt_view *view, rapt_vulkan_range to)
{
    mta_load_push push;
    uint32_t strides[RAPT_MAX_DIMS];
    if (!view)
        return;
    const rapt_vulkan_rows from = tensor_of(job, view);
    rapt_vulkan_strides(view, strides);
    push.count = (uint32_t)(view->shape[0] * view->shape[1] * view->shape[2]);
    push.y = (uint32_t)view->shape[1];
    push.z = (uint32_t)view->shape[2];
    push.base = from.push.base;
    push.stride_x = strides[0];
    push.stride_y = strides[1];
    push.stride_z = strides[2];
    const rapt_vulkan_buffer buffers[2] = {from.buffer, mta_buffer(&job->plan, to)};
    run(job, &load_shader[from.half], is_bf16(view), rapt_over(push.count, 64), 1, buffers, &push);
}

/* A gradient, `size` numbers for each of `heads`, from the sums of `batches` and of `slots` each.
 */
static void store_sums(mta_job *job, rapt_vulkan_range sums, int64_t heads, int64_t batches,
                       int64_t slots, int64_t size, const rapt_view *view)
{
    if (!view)
        return;
    const rapt_vulkan_rows to = tensor_of(job, view);
    const mta_reduce_push push = {(uint32_t)heads, (uint32_t)batches, (uint32_t)slots,
                                  (uint32_t)size, to.push.base};
    const rapt_vulkan_buffer buffers[2] = {mta_buffer(&job->plan, sums), to.buffer};
    run(job, &reduce_shader[to.half], is_bf16(view), rapt_over(heads * size, 64), 1, buffers,
        &push);
}

/* That of a kernel, or of a number a head. */
static void store_kernel(mta_job *job, rapt_vulkan_range sums, int64_t heads, int64_t size,
                         const rapt_view *view)
{
    store_sums(job, sums, heads, job->plan.B, job->plan.slots, size, view);
}

/* The shader of a product; `fits`: its operands may be float16. */
static const rapt_vulkan_shader *product_way(const mta_job *job, bool fits,
                                             const rapt_vulkan_shader *coop,
                                             const rapt_vulkan_shader *plain, uint32_t half)
{
    return rapt_product_shader(fits ? job->way : RAPT_PRODUCT_PLAIN, coop, plain, half,
                               job->plan.device.limits);
}

/* --- Products -------------------------------------------------------------------------------- */

/* to = factor left right^T, where left are queries' rows and right those of key/value heads;
 * `shape`: as the options shape scores. */
static void product(mta_job *job, const rapt_vulkan_rows *left, const rapt_vulkan_rows *right,
                    int64_t width, float factor, uint32_t shape, const mta_matrix *to)
{
    const mta_score_inputs *inputs = &job->inputs;
    const mta_product_push push = {stripe_push(job),
                                   (int32_t)to->first,
                                   (uint32_t)to->rows,
                                   (uint32_t)width,
                                   left->push,
                                   right->push,
                                   (uint32_t)(job->plan.H / rapt_most(1, job->plan.G)),
                                   width > 0 ? factor : 0.0f,
                                   {inputs->bias.push, inputs->bias_key, inputs->alibi.push.base,
                                    (int32_t)(job->plan.M - job->plan.N),
                                    job->plan.options.softcap}};
    const rapt_vulkan_buffer buffers[6] = {
        left->buffer,        right->buffer,        mta_buffer(&job->plan, to->part),
        inputs->bias.buffer, inputs->alibi.buffer, sees_buffer(job)};
    run_matrix(job, product_way(job, true, product_coop_shader, product_shader, right->half),
               &job->bf16, 1, shape, rapt_over(job->stripe.ld, MTA_TILE),
               rapt_over(to->rows, MTA_TILE), job->stripe.units, buffers, &push);
}

/* The owned rows of `to` = factor matrix right. */
static void multiply_rows(mta_job *job, const mta_matrix *matrix, const rapt_vulkan_rows *right,
                          int64_t width, float factor, const rapt_vulkan_rows *to)
{
    const mta_stripe *stripe = &job->stripe;
    int64_t keys;
    const int64_t splits = mta_splits(stripe, width, &keys);
    const mta_rows_push push = {stripe_push(job),
                                (int32_t)matrix->first,
                                (uint32_t)matrix->rows,
                                (int32_t)stripe->own,
                                (uint32_t)stripe->count,
                                (uint32_t)width,
                                right->push,
                                (uint32_t)(job->plan.H / rapt_most(1, job->plan.G)),
                                (uint32_t)stripe->units,
                                (uint32_t)splits,
                                (uint32_t)keys};
    const uint32_t constants[3] = {job->bf16, matrix->weights, matrix->mix};
    rapt_vulkan_buffer buffers[6];
    bind_values(job, matrix, buffers);
    buffers[3] = right->buffer;
    buffers[4] = mta_buffer(&job->plan, job->plan.part);
    run_matrix(job, product_way(job, matrix->coop, rows_coop_shader, rows_shader, right->half),
               constants, 3, 0, rapt_over(width, MTA_TILE) * splits,
               rapt_over(stripe->count, MTA_TILE), stripe->units, buffers, &push);

    mta_merge_push merge = {(uint32_t)job->plan.H,
                            (uint32_t)stripe->unit0,
                            (uint32_t)stripe->units,
                            (uint32_t)splits,
                            (uint32_t)stripe->count,
                            (uint32_t)width,
                            to->push,
                            factor};
    merge.to.base += (uint32_t)(stripe->own - job->plan.first) * to->push.row;
    const rapt_vulkan_buffer ends[2] = {buffers[4], to->buffer};
    run(job, &merge_shader[to->half], job->bf16, rapt_over(stripe->count * width, 64),
        stripe->units, ends, &merge);
}

/* sum[unit][key] += matrix^T right over the owned rows. */
static void multiply_columns(mta_job *job, const mta_matrix *matrix, const rapt_vulkan_rows *right,
                             int64_t width, rapt_vulkan_range sum)
{
    const mta_stripe *stripe = &job->stripe;
    const mta_columns_push push = {
        stripe_push(job),     (int32_t)matrix->first,  (uint32_t)matrix->rows,
        (int32_t)stripe->own, (uint32_t)stripe->count, (uint32_t)width,
        right->push};
    const uint32_t constants[3] = {job->bf16, matrix->weights, matrix->mix};
    rapt_vulkan_buffer buffers[6];
    bind_values(job, matrix, buffers);
    buffers[3] = right->buffer;
    buffers[4] = mta_buffer(&job->plan, sum);
    run_matrix(job,
               product_way(job, matrix->coop, columns_coop_shader, columns_shader, right->half),
               constants, 3, 0, rapt_over(width, MTA_TILE), rapt_over(stripe->end, MTA_TILE),
               stripe->units, buffers, &push);
}

/* The gradient of keys or values: the heads of each key/value head, added up. */
static void gather(mta_job *job, rapt_vulkan_range sum, int64_t width, float factor,
                   const rapt_view *view)
{
    const mta_plan *plan = &job->plan;
    if (!view)
        return;
    const rapt_vulkan_rows to = tensor_of(job, view);
    const mta_gather_push push = {(uint32_t)(plan->H / rapt_most(1, plan->G)),
                                  (uint32_t)plan->G,
                                  (uint32_t)(plan->M * width),
                                  (uint32_t)width,
                                  to.push,
                                  factor};
    const rapt_vulkan_buffer buffers[2] = {mta_buffer(plan, sum), to.buffer};
    run(job, &gather_shader[to.half], job->bf16, rapt_over(plan->M * width, 64), plan->B * plan->G,
        buffers, &push);
}

/* --- What lies between ----------------------------------------------------------------------- */

/* COLUMNS and SHIFT of window.glsl. */
static uint32_t window_columns(const mta_taps *taps)
{
    return (uint32_t)rapt_least(taps->columns, MTA_PIECE_COLUMNS);
}

static uint32_t window_shift(const mta_taps *taps)
{
    return (uint32_t)(3 - (taps->half + 3) % 4);
}

/* `to` = matrix convolved with the taps; `back`: with the transposed kernel, a gradient. */
static void convolve(mta_job *job, const mta_matrix *matrix, const mta_taps *taps,
                     rapt_vulkan_range values, bool back, const mta_matrix *to)
{
    const mta_convolve_push push = {stripe_push(job),
                                    (int32_t)matrix->first,
                                    (uint32_t)matrix->rows,
                                    (int32_t)to->first,
                                    (uint32_t)to->rows,
                                    (uint32_t)taps->rows,
                                    (uint32_t)taps->columns,
                                    (uint32_t)taps->half,
                                    back,
                                    back ? 0 : (int32_t)(1 - taps->rows)};
    const uint32_t constants[6] = {0, matrix->weights,      matrix->mix,
                                   0, window_columns(taps), window_shift(taps)};
    rapt_vulkan_buffer buffers[6];
    bind_values(job, matrix, buffers);
    buffers[3] = mta_buffer(&job->plan, values);
    buffers[4] = mta_buffer(&job->plan, to->part);
    run_matrix(job, &convolve_shader, constants, 6, job->plan.options.sight & MTA_PACKED,
               rapt_over(job->stripe.ld, MTA_TILE), rapt_over(to->rows, MTA_WINDOW_ROWS),
               job->stripe.units, buffers, &push);
}

/* What stats.comp makes of each row of logits; in forward lse of the owned ones. */
static void take_stats(mta_job *job, const mta_matrix *logits)
{
    const mta_plan *plan = &job->plan;
    const mta_score_inputs *inputs = &job->inputs;
    const mta_stats_push push = {stripe_push(job),         (int32_t)logits->first,
                                 (int32_t)job->stripe.own, (uint32_t)job->stripe.count,
                                 inputs->sink.push.base,   inputs->lse.push,
                                 (int32_t)plan->first};
    const rapt_vulkan_buffer buffers[5] = {mta_buffer(plan, logits->part),
                                           mta_buffer(plan, plan->stats), inputs->sink.buffer,
                                           inputs->lse.buffer, sees_buffer(job)};
    uint32_t options = inputs->row & (MTA_HAS_SINK | MTA_HAS_LSE);
    if (plan->backward && options & MTA_HAS_LSE)
        options |= MTA_IS_BACKWARD;
    run_matrix(job, &stats_shader, NULL, 0, options, logits->rows, job->stripe.units, 1, buffers,
               &push);
}

/* `to` = the gradient of logits, from that of weights: `grad`, or `to` itself. Adds to the gradient
 * of the sink. */
static void softmax_back(mta_job *job, const mta_matrix *p, const mta_matrix *grad,
                         const mta_matrix *to)
{
    const bool in_place = grad == to;
    const mta_softmax_back_push push = {stripe_push(job),        (int32_t)p->first,
                                        (uint32_t)p->rows,       (int32_t)to->first,
                                        (int32_t)grad->first,    (uint32_t)job->stripe.count,
                                        (uint32_t)job->plan.rows};
    const uint32_t constants[4] = {0, 1, grad->mix, in_place};
    rapt_vulkan_buffer buffers[7];
    bind_values(job, p, buffers);
    buffers[3] = mta_buffer(&job->plan, grad->part);
    buffers[4] = mta_buffer(&job->plan, to->part);
    buffers[6] = mta_buffer(&job->plan, job->plan.d_sink);
    run_matrix(job, &softmax_back_shader, constants, 4,
               job->inputs.row & (MTA_WANTS_SINK | MTA_HAS_LSE), to->rows, job->stripe.units, 1,
               buffers, &push);
}

/* Adds to the gradient of a kernel: `grad` of what the convolution of `matrix` gave. */
static void correlate(mta_job *job, const mta_matrix *matrix, const mta_matrix *grad,
                      const mta_taps *taps, rapt_vulkan_range sums)
{
    const mta_stripe *stripe = &job->stripe;
    const mta_correlate_push push = {
        stripe_push(job),          (int32_t)matrix->first,  (uint32_t)matrix->rows,
        (int32_t)stripe->own,      (uint32_t)stripe->count, (int32_t)grad->first,
        (uint32_t)taps->rows,      (uint32_t)taps->columns, (uint32_t)taps->half,
        (uint32_t)job->plan.slots, MTA_SLOT_KEYS,           (uint32_t)stripe->stripe_slots};
    const int64_t pieces = rapt_most(1, rapt_over(taps->rows, MTA_PIECE_ROWS));
    const int64_t piece_rows = rapt_most(1, rapt_over(taps->rows, pieces));
    const uint32_t constants[7] = {0,
                                   matrix->weights,
                                   0,
                                   grad->mix == MTA_BACK_MIX,
                                   window_columns(taps),
                                   window_shift(taps),
                                   (uint32_t)piece_rows};
    rapt_vulkan_buffer buffers[6];
    bind_values(job, matrix, buffers);
    buffers[3] = mta_buffer(&job->plan, grad->part);
    buffers[4] = mta_buffer(&job->plan, sums);
    run_matrix(job, &correlate_shader, constants, 7, job->plan.options.sight & MTA_PACKED,
               rapt_over(stripe->count, MTA_WINDOW_ROWS) * stripe->stripe_slots,
               rapt_over(taps->rows, piece_rows) * rapt_over(taps->columns, MTA_PIECE_COLUMNS),
               stripe->units, buffers, &push);
}

/* Adds to the gradient of head_kernel. */
static void mix_grad(mta_job *job, const mta_matrix *matrix, const mta_matrix *grad,
                     rapt_vulkan_range sums)
{
    const mta_stripe *stripe = &job->stripe;
    const int64_t mixed = job->plan.mixed;
    const mta_mix_grad_push push = {
        stripe_push(job),          (int32_t)matrix->first,  (uint32_t)matrix->rows,
        (int32_t)stripe->own,      (uint32_t)stripe->count, (int32_t)grad->first,
        (uint32_t)job->plan.slots, MTA_SLOT_KEYS,           (uint32_t)stripe->stripe_slots};
    const uint32_t constants[2] = {0, matrix->weights};
    rapt_vulkan_buffer buffers[6];
    bind_values(job, matrix, buffers);
    buffers[3] = mta_buffer(&job->plan, grad->part);
    buffers[4] = mta_buffer(&job->plan, sums);
    run_matrix(job, &mix_grad_shader, constants, 2, 0,
               rapt_over(stripe->count, MTA_SLOT_ROWS) * stripe->stripe_slots, mixed * mixed,
               stripe->units / mixed, buffers, &push);
}

/* The owned rows of the matrix itself, to the float32 tensor [B, H, N, M] of `weights`. */
static void show(mta_job *job, const mta_matrix *matrix, const rapt_vulkan_rows *to)
{
    const mta_weights_push push = {stripe_push(job),       (int32_t)matrix->first,
                                   (uint32_t)matrix->rows, (int32_t)job->stripe.own,
                                   to->push.base,          (uint32_t)job->plan.N};
    const uint32_t constants[3] = {0, matrix->weights, matrix->mix};
    rapt_vulkan_buffer buffers[6];
    bind_values(job, matrix, buffers);
    buffers[3] = to->buffer;
    buffers[4] = buffers[5];
    run_matrix(job, &weights_shader, constants, 3, 0, rapt_over(job->plan.M, 64), job->stripe.count,
               job->stripe.units, buffers, &push);
}

#endif
