#include "ops/common.h"

#include <string.h>

const rapt_loops *rapt_loops_select(const rapt_host *host)
{
#if defined(__x86_64__)
    const rapt_cpu_service *cpu = host->service("rapt.cpu", 1);
    if (cpu != NULL && cpu->level == RAPT_CPU_AVX512)
        return &rapt_loops_avx512;
    if (cpu != NULL && cpu->level == RAPT_CPU_AVX2)
        return &rapt_loops_avx2;
#else
    (void)host;
#endif
    return &rapt_loops_portable;
}

const rapt_math_service *rapt_ops_math(const rapt_call *call)
{
    return call->host->service("rapt.math", 1);
}

int64_t rapt_elements(const rapt_view *view)
{
    int64_t count = 1;
    for (int32_t d = 0; d < view->ndim; d++)
        count *= view->shape[d];
    return count;
}

bool rapt_view_same_shape(const rapt_view *a, const rapt_view *b)
{
    return a->ndim == b->ndim &&
           (a->ndim == 0 || memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0);
}

int64_t rapt_grain(int64_t work, int64_t each)
{
    return each >= work ? 1 : each <= 1 ? work : work / each;
}

void rapt_rows(const rapt_view *view, int64_t *rows, int64_t *length)
{
    *rows = 1;
    *length = 1;
    for (int32_t d = 0; d < view->ndim; d++) {
        if (d == view->ndim - 1)
            *length = view->shape[d];
        else
            *rows *= view->shape[d];
    }
}

rapt_status rapt_ops_dim(rapt_call *call, int64_t given, int32_t ndim, int32_t *dim)
{
    const int32_t rank = ndim > 0 ? ndim : 1;
    if (given < -rank || given >= rank)
        return call->host->error(call, RAPT_INVALID,
                                 "dimension %lld is out of range: the tensor has %d dimensions",
                                 (long long)given, (int)ndim);
    *dim = (int32_t)(given < 0 ? given + rank : given);
    return RAPT_OK;
}

void rapt_store_values(const rapt_math_service *math, rapt_dtype dtype, void *memory, int64_t index,
                       int64_t n, const double *values)
{
    float single[RAPT_BLOCK];
    if (dtype == RAPT_F64) {
        memcpy((double *)memory + index, values, (size_t)n * sizeof *values);
        return;
    }
    for (int64_t begin = 0; begin < n; begin += RAPT_BLOCK) {
        const int64_t m = n - begin < RAPT_BLOCK ? n - begin : RAPT_BLOCK;
        for (int64_t i = 0; i < m; i++)
            single[i] = (float)values[begin + i];
        math->store(m, dtype, single,
                    (char *)memory + (size_t)(index + begin) * rapt_dtype_size(dtype));
    }
}

/* --- Map ------------------------------------------------------------------------------------ */

typedef struct map {
    const rapt_walk *walk;
    rapt_loop *loop;
    rapt_loop_f64 *loop_f64;
    const rapt_loop_args *args;
} map;

static void map_task(void *context, int64_t begin, int64_t end, int worker)
{
    const map *m = context;
    const rapt_walk *walk = m->walk;
    const int target = walk->n - 1;
    float buffer[RAPT_MAX_OPERANDS][RAPT_BLOCK];
    const float *in[RAPT_MAX_OPERANDS];
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        const int64_t index = block * RAPT_BLOCK, left = walk->count - index;
        const int64_t n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
        for (int k = 0; k < target; k++)
            in[k] = rapt_walk_load(walk, k, index, n, buffer[k]);
        float *out = rapt_walk_target(walk, target, index, buffer[target]);
        m->loop(m->args, n, in, out);
        rapt_walk_store(walk, target, index, n, out);
    }
}

static void map_task_f64(void *context, int64_t begin, int64_t end, int worker)
{
    const map *m = context;
    const rapt_walk *walk = m->walk;
    const int target = walk->n - 1;
    double buffer[RAPT_MAX_OPERANDS][RAPT_BLOCK];
    const double *in[RAPT_MAX_OPERANDS];
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        const int64_t index = block * RAPT_BLOCK, left = walk->count - index;
        const int64_t n = left < RAPT_BLOCK ? left : RAPT_BLOCK;
        for (int k = 0; k < target; k++)
            in[k] = rapt_walk_load_f64(walk, k, index, n, buffer[k]);
        double *out = rapt_walk_target_f64(walk, target, index, buffer[target]);
        m->loop_f64(m->args, n, in, out);
        rapt_walk_store_f64(walk, target, index, n, out);
    }
}

rapt_status rapt_map(rapt_call *call, const rapt_walk *walk, enum rapt_loop_id loop,
                     const rapt_loop_args *args)
{
    if (rapt_on_vulkan(call))
        return rapt_vulkan_map(call, walk, (int)loop, args->a, args->b);
    const rapt_loops *loops = rapt_loops_select(call->host);
    map m = {walk, loops->elementwise[loop], loops->elementwise_f64[loop], args};
    const int64_t blocks = (walk->count + RAPT_BLOCK - 1) / RAPT_BLOCK;
    const bool wide = walk->operands[walk->n - 1].dtype == RAPT_F64;
    if (blocks > 0)
        call->host->parallel_for(call, blocks, RAPT_PIECE / RAPT_BLOCK,
                                 wide ? map_task_f64 : map_task, &m);
    return RAPT_OK;
}

uint32_t rapt_broadcast_dims(const rapt_view *view, int32_t ndim, const int64_t *shape)
{
    const int32_t missing = ndim - view->ndim;
    uint32_t bits = 0;
    for (int32_t d = 0; d < ndim; d++)
        if (d < missing || (view->shape[d - missing] == 1 && shape[d] != 1))
            bits |= 1u << d;
    return bits;
}
