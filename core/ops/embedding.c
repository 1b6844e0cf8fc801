/* Rows of a table by number; the gradient gathers the rows of each number in their order. */
#include "ops/labels.h"

#include <string.h>

#define ROWS_IN_F32 16

/* --- Forward -------------------------------------------------------------------------------- */

typedef struct lookup {
    rapt_labels labels;
    const rapt_view *table;
    char *out;
    int64_t width; /* elements of a row */
    size_t size;   /* bytes of an element */
} lookup;

static void lookup_task(void *context, int64_t begin, int64_t end, int worker)
{
    const lookup *l = context;
    const char *table = rapt_view_data(l->table);
    const int64_t stride = l->table->strides[0];
    const size_t bytes = (size_t)l->width * l->size;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        memcpy(l->out + (size_t)i * bytes,
               table + rapt_label(&l->labels, i) * stride * (int64_t)l->size, bytes);
}

static rapt_status forward(rapt_call *call)
{
    lookup l = {.table = call->inputs[0], .out = rapt_view_data(call->outputs[0])};
    l.width = l.table->shape[1];
    l.size = rapt_dtype_size(call->dtype);
    rapt_labels_begin(&l.labels, call, call->inputs[1]);
    const rapt_status status =
        rapt_labels_check(call, &l.labels, call->inputs[1], "ids", l.table->shape[0], NULL);
    if (status == RAPT_OK && l.labels.count > 0 && l.width > 0)
        call->host->parallel_for(call, l.labels.count, rapt_grain(RAPT_PIECE, l.width), lookup_task,
                                 &l);
    return status;
}

/* --- Backward ------------------------------------------------------------------------------- */

/* The positions of each id, in order: those of id v are order[start[v]] to order[start[v + 1]]. */
typedef struct scatter {
    const rapt_loops *loops;
    const rapt_math_service *math;
    const rapt_view *grad, *target;
    rapt_walk walk; /* the rows of the gradient: one index a row */
    int64_t width;
    int64_t *start, *order;
} scatter;

static void sort_positions(const rapt_labels *labels, int64_t vocabulary, scatter *s)
{
    memset(s->start, 0, (size_t)(vocabulary + 2) * sizeof *s->start);
    for (int64_t i = 0; i < labels->count; i++)
        s->start[rapt_label(labels, i) + 2]++;
    for (int64_t v = 2; v <= vocabulary; v++)
        s->start[v] += s->start[v - 1];
    for (int64_t i = 0; i < labels->count; i++)
        s->order[s->start[rapt_label(labels, i) + 1]++] = i;
}

/* Columns [column, column + n) of table row v. */
static void add_positions(const scatter *s, int64_t v, int64_t column, int64_t n, double *total)
{
    const rapt_dtype dtype = rapt_view_dtype(s->grad);
    float group[RAPT_BLOCK], row[RAPT_BLOCK];
    memset(total, 0, (size_t)n * sizeof *total);
    for (int64_t i = s->start[v]; i < s->start[v + 1];) {
        const int64_t left = s->start[v + 1] - i,
                      stop = i + (left < ROWS_IN_F32 ? left : ROWS_IN_F32);
        memset(group, 0, (size_t)n * sizeof *group);
        for (; i < stop; i++) {
            const char *from =
                s->walk.operands[0].data + (rapt_walk_offset(&s->walk, 0, s->order[i]) + column) *
                                               (int64_t)rapt_dtype_size(dtype);
            if (dtype != RAPT_F32)
                s->math->load(n, dtype, from, row);
            s->loops->add_to(n, dtype == RAPT_F32 ? (const float *)(const void *)from : row, group);
        }
        s->loops->add_to_f64(n, group, total);
    }
}

static void scatter_task(void *context, int64_t begin, int64_t end, int worker)
{
    const scatter *s = context;
    const rapt_dtype dtype = rapt_view_dtype(s->target);
    double total[RAPT_BLOCK];
    (void)worker;
    for (int64_t v = begin; v < end; v++) {
        if (s->start[v] == s->start[v + 1]) {
            const size_t bytes = (size_t)s->width * rapt_dtype_size(dtype);
            memset((char *)rapt_view_data(s->target) + (size_t)v * bytes, 0, bytes);
            continue;
        }
        for (int64_t column = 0; column < s->width; column += RAPT_BLOCK) {
            const int64_t left = s->width - column, n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
            add_positions(s, v, column, n, total);
            rapt_store_values(s->math, dtype, rapt_view_data(s->target), v * s->width + column, n,
                              total);
        }
    }
}

static rapt_status backward(rapt_call *call)
{
    const rapt_view *target = call->grad_inputs[0], *grad = call->grad_outputs[0];
    scatter s = {.loops = rapt_loops_select(call->host),
                 .math = rapt_ops_math(call),
                 .grad = grad,
                 .target = target};
    rapt_labels labels;
    if (target == NULL || rapt_elements(target) == 0)
        return RAPT_OK;
    const int64_t vocabulary = target->shape[0];
    s.width = target->shape[1];
    rapt_labels_begin(&labels, call, call->inputs[1]);
    const rapt_status status =
        rapt_labels_check(call, &labels, call->inputs[1], "ids", vocabulary, NULL);
    if (status != RAPT_OK)
        return status;
    s.start = call->host->scratch(call, (size_t)(vocabulary + 2) * sizeof *s.start);
    s.order = call->host->scratch(call, (size_t)(labels.count + 1) * sizeof *s.order);
    if (s.start == NULL || s.order == NULL)
        return RAPT_NO_MEMORY;
    sort_positions(&labels, vocabulary, &s);
    rapt_walk_begin(&s.walk, call, grad->ndim - 1, grad->shape);
    rapt_walk_add_strided(&s.walk, rapt_view_data(grad), rapt_view_dtype(grad), grad->strides);
    rapt_walk_end(&s.walk);
    call->host->parallel_for(call, vocabulary, rapt_grain(RAPT_PIECE, s.width), scatter_task, &s);
    return RAPT_OK;
}

/* --- Description ---------------------------------------------------------------------------- */

static const rapt_arg inputs[] = {
    RAPT_LEARNT("weight: V D", 0, "trunc_normal(0.02)", "one row for each id"),
    RAPT_OTHER("ids: ...", RAPT_INTEGERS, 0, "numbers of rows, from 0"),
};
static const rapt_arg outputs[] = {RAPT_REAL("y: ... D", "the row of each id")};
static const rapt_kernel kernel[] = {{RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .keep = "ids",
                                      .forward = forward, .backward = backward},
                                     {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .keep = "ids",
                                      .workspace = rapt_vulkan_embedding_workspace,
                                      .forward = rapt_vulkan_embedding_forward,
                                      .backward = rapt_vulkan_embedding_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("embedding"), .title = "Rows of a table by number",
     .doc =
         "y[..., d] = weight[ids[...], d]. Ids must lie within 0 <= id < V. The gradient of a "
         "row adds up those of all its uses, in their order. A GPU does not wait for the ids to be "
         "looked at: there the row of a wrong one is NaN.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), .flops = "0", .flops_backward = "leading * D",
     .example = "...=2,7 V=11 D=65", RAPT_KERNEL(kernel)},
};

const rapt_group rapt_ops_embedding = {operators, RAPT_COUNT(operators)};
