/* Sums and extremes over dimensions: rapt_fold_run of common.h. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

#define ROWS_IN_F32 16 /* rows added in float32 before they go to float64 */
#define NARROW      16 /* kept innermost dimensions below this are walked with a stride */
#define SUM_PIECE   65536
#define MIN_ROWS    64

/* The dimensions taken apart: what is kept, what is summed, and, where the innermost dimension is
 * kept, that one (columns), so that memory is read along it. */
typedef struct plan {
    const rapt_fold *fold;
    const rapt_loops *loops;
    rapt_walk kept, reduced, columns;
    int64_t width, tiles; /* columns; blocks of columns */
    int64_t length;       /* indices of `reduced` in a piece */
    int64_t pieces;
    int64_t outputs;
    double *partial; /* [pieces][outputs], NULL for one piece */
} plan;

static const float *produce(const plan *p, const rapt_walk *walk, int64_t index, int64_t n,
                            float (*buffer)[RAPT_BLOCK])
{
    const float *in[RAPT_MAX_OPERANDS];
    for (int k = 0; k < walk->n; k++)
        in[k] = rapt_walk_load(walk, k, index, n, buffer[k]);
    if (p->fold->loop == RAPT_LOOP_copy)
        return in[0];
    p->loops->elementwise[p->fold->loop](&p->fold->args, n, in, buffer[walk->n]);
    return buffer[walk->n];
}

static void emit(const plan *p, int64_t piece, int64_t output, int64_t n, double *values)
{
    if (p->partial != NULL) {
        memcpy(p->partial + piece * p->outputs + output, values, (size_t)n * sizeof *values);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        values[i] *= p->fold->scale;
    rapt_store_values(p->kept.math, rapt_view_dtype(p->fold->out), rapt_view_data(p->fold->out),
                      output, n, values);
}

/* --- Rows: the innermost dimension is summed over ------------------------------------------- */

static double row_total(const plan *p, int64_t output, int64_t begin, int64_t end)
{
    float buffer[RAPT_MAX_OPERANDS + 1][RAPT_BLOCK];
    const rapt_fold_kind kind = p->fold->kind;
    rapt_walk walk = p->reduced;
    float best = kind == RAPT_FOLD_MAX ? -INFINITY : INFINITY;
    double total = 0;
    rapt_walk_move(&walk, &p->kept, output);
    for (int64_t index = begin; index < end; index += RAPT_BLOCK) {
        const int64_t n = end - index < RAPT_BLOCK ? end - index : RAPT_BLOCK;
        const float *x = produce(p, &walk, index, n, buffer);
        float extreme;
        if (kind == RAPT_FOLD_SUM) {
            total += p->loops->sum(n, x);
            continue;
        }
        extreme = kind == RAPT_FOLD_MAX ? p->loops->max(n, x) : p->loops->min(n, x);
        (kind == RAPT_FOLD_MAX ? p->loops->max_to : p->loops->min_to)(1, &extreme, &best);
    }
    return kind == RAPT_FOLD_SUM ? total : (double)best;
}

static double row_total_f64(const plan *p, int64_t output, int64_t begin, int64_t end)
{
    double buffer[RAPT_MAX_OPERANDS + 1][RAPT_BLOCK];
    const rapt_fold_kind kind = p->fold->kind;
    const double *in[RAPT_MAX_OPERANDS];
    rapt_walk walk = p->reduced;
    double total = kind == RAPT_FOLD_SUM ? 0 : kind == RAPT_FOLD_MAX ? -INFINITY : INFINITY;
    double *x = buffer[walk.n];
    rapt_walk_move(&walk, &p->kept, output);
    for (int64_t index = begin; index < end; index += RAPT_BLOCK) {
        const int64_t n = end - index < RAPT_BLOCK ? end - index : RAPT_BLOCK;
        for (int k = 0; k < walk.n; k++)
            in[k] = rapt_walk_load_f64(&walk, k, index, n, buffer[k]);
        p->loops->elementwise_f64[p->fold->loop](&p->fold->args, n, in, x);
        for (int64_t i = 0; i < n; i++) {
            if (kind == RAPT_FOLD_SUM)
                total += x[i];
            else if ((kind == RAPT_FOLD_MAX ? x[i] > total : x[i] < total) || x[i] != x[i])
                total = x[i];
        }
    }
    return total;
}

static void row_task(void *context, int64_t begin, int64_t end, int worker)
{
    const plan *p = context;
    const bool wide = rapt_view_dtype(p->fold->out) == RAPT_F64;
    (void)worker;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t output = unit / p->pieces, piece = unit % p->pieces;
        const int64_t first = piece * p->length, left = p->reduced.count - first;
        const int64_t last = first + (left < p->length ? left : p->length);
        double value = (wide ? row_total_f64 : row_total)(p, output, first, last);
        emit(p, piece, output, 1, &value);
    }
}

/* --- Columns: the innermost dimension is kept ----------------------------------------------- */

/* `row` becomes row r of the columns at `base`. */
static void take_row(const plan *p, rapt_walk *row, const rapt_walk *base, int64_t r)
{
    for (int k = 0; k < row->n; k++)
        row->operands[k].data =
            base->operands[k].data +
            rapt_walk_offset(&p->reduced, k, r) * (int64_t)rapt_dtype_size(row->operands[k].dtype);
}

/* Sums rows first <= r < last, in groups that are added in float32. */
static void column_sum(const plan *p, const rapt_walk *base, int64_t column, int64_t n,
                       int64_t first, int64_t last, double *total)
{
    float buffer[RAPT_MAX_OPERANDS + 1][RAPT_BLOCK], group[RAPT_BLOCK];
    rapt_walk row = *base;
    memset(total, 0, (size_t)n * sizeof *total);
    for (int64_t r = first; r < last;) {
        const int64_t stop = last - r < ROWS_IN_F32 ? last : r + ROWS_IN_F32;
        memset(group, 0, (size_t)n * sizeof *group);
        for (; r < stop; r++) {
            take_row(p, &row, base, r);
            p->loops->add_to(n, produce(p, &row, column, n, buffer), group);
        }
        p->loops->add_to_f64(n, group, total);
    }
}

static void column_extreme(const plan *p, const rapt_walk *base, int64_t column, int64_t n,
                           int64_t first, int64_t last, double *total)
{
    float buffer[RAPT_MAX_OPERANDS + 1][RAPT_BLOCK], best[RAPT_BLOCK];
    const bool greatest = p->fold->kind == RAPT_FOLD_MAX;
    rapt_walk row = *base;
    for (int64_t i = 0; i < n; i++)
        best[i] = greatest ? -INFINITY : INFINITY;
    for (int64_t r = first; r < last; r++) {
        take_row(p, &row, base, r);
        (greatest ? p->loops->max_to : p->loops->min_to)(n, produce(p, &row, column, n, buffer),
                                                         best);
    }
    for (int64_t i = 0; i < n; i++)
        total[i] = (double)best[i];
}

static void column_task(void *context, int64_t begin, int64_t end, int worker)
{
    const plan *p = context;
    double total[RAPT_BLOCK];
    (void)worker;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t piece = unit % p->pieces, tile = unit / p->pieces % p->tiles;
        const int64_t outer = unit / p->pieces / p->tiles, column = tile * RAPT_BLOCK;
        const int64_t n = p->width - column < RAPT_BLOCK ? p->width - column : RAPT_BLOCK;
        const int64_t first = piece * p->length, left = p->reduced.count - first;
        const int64_t last = first + (left < p->length ? left : p->length);
        rapt_walk at = p->columns;
        rapt_walk_move(&at, &p->kept, outer);
        (p->fold->kind == RAPT_FOLD_SUM ? column_sum : column_extreme)(p, &at, column, n, first,
                                                                       last, total);
        emit(p, piece, outer * p->width + column, n, total);
    }
}

/* --- Planning ------------------------------------------------------------------------------- */

/* Whether the last dimension with more than one index is kept. */
static bool innermost_kept(const rapt_fold *fold)
{
    for (int32_t d = fold->walk.ndim - 1; d >= 0; d--)
        if (fold->walk.shape[d] != 1)
            return (fold->reduced >> d & 1) == 0;
    return false;
}

/* Moves the last dimension of `kept` to `columns`. */
static void take_columns(plan *p)
{
    const int32_t last = p->kept.ndim - 1;
    rapt_walk_take(&p->columns, &p->kept, 1u << last);
    rapt_walk rest = p->kept;
    rapt_walk_take(&p->kept, &rest, (1u << last) - 1);
    p->width = p->columns.count;
    p->tiles = (p->width + RAPT_BLOCK - 1) / RAPT_BLOCK;
}

static void combine_task(void *context, int64_t begin, int64_t end, int worker)
{
    const plan *p = context;
    plan single = *p;
    single.partial = NULL;
    (void)worker;
    for (int64_t output = begin; output < end; output++) {
        double total = p->partial[output];
        for (int64_t piece = 1; piece < p->pieces; piece++) {
            const double value = p->partial[piece * p->outputs + output];
            if (p->fold->kind == RAPT_FOLD_SUM)
                total += value;
            else if ((p->fold->kind == RAPT_FOLD_MAX ? value > total : value < total) ||
                     value != value)
                total = value;
        }
        emit(&single, 0, output, 1, &total);
    }
}

rapt_status rapt_fold_run(rapt_call *call, rapt_fold *fold)
{
    if (rapt_on_vulkan(call))
        return rapt_vulkan_fold(call, fold);
    plan p = {.fold = fold, .loops = rapt_loops_select(call->host), .tiles = 1, .width = 1};
    rapt_task task = row_task;
    rapt_walk_take(&p.kept, &fold->walk, ~fold->reduced);
    rapt_walk_take(&p.reduced, &fold->walk, fold->reduced);
    p.outputs = p.kept.count;
    if (p.outputs == 0)
        return RAPT_OK;
    p.length = SUM_PIECE;
    if (innermost_kept(fold) && p.kept.shape[p.kept.ndim - 1] >= NARROW &&
        rapt_view_dtype(fold->out) != RAPT_F64) {
        take_columns(&p);
        task = column_task;
        p.length = SUM_PIECE / (p.width < RAPT_BLOCK ? p.width : RAPT_BLOCK);
        p.length = p.length < MIN_ROWS ? MIN_ROWS : p.length;
    }
    p.pieces = p.reduced.count > p.length ? (p.reduced.count + p.length - 1) / p.length : 1;
    if (p.pieces > 1) {
        p.partial = call->host->scratch(call, (size_t)(p.pieces * p.outputs) * sizeof(double));
        if (p.partial == NULL)
            return RAPT_NO_MEMORY;
    }
    const int64_t indices = p.reduced.count < p.length ? p.reduced.count : p.length;
    const int64_t each = indices * (p.width < RAPT_BLOCK ? p.width : RAPT_BLOCK);
    call->host->parallel_for(call, p.kept.count * p.tiles * p.pieces, rapt_grain(SUM_PIECE, each),
                             task, &p);
    if (p.pieces > 1)
        call->host->parallel_for(call, p.outputs, rapt_grain(SUM_PIECE, p.pieces), combine_task,
                                 &p);
    return RAPT_OK;
}
