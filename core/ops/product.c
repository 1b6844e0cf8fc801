#include "ops/product.h"

#include <string.h>

#define BLOCK_MN 2048               /* rows and columns of a block of converted C */
#define BLOCK_K  512                /* depth of one pass over it */
#define GROUP    ((int64_t)1 << 20) /* elements converted together for a batch of small products */

/* --- Simplification ------------------------------------------------------------------------- */

static void swap_matrices(rapt_product *p)
{
    const rapt_matrix a = p->a;
    const int64_t m = p->m;
    rapt_matrix *all[3] = {&p->a, &p->b, &p->c};
    p->a = p->b;
    p->b = a;
    p->m = p->n;
    p->n = m;
    for (int i = 0; i < 3; i++) {
        const int64_t row = all[i]->row;
        all[i]->row = all[i]->column;
        all[i]->column = row;
    }
}

static void drop_batch(rapt_product *p, int32_t d)
{
    rapt_matrix *all[3] = {&p->a, &p->b, &p->c};
    for (int32_t i = d; i + 1 < p->n_batch; i++) {
        p->batch[i] = p->batch[i + 1];
        for (int k = 0; k < 3; k++)
            all[k]->batch[i] = all[k]->batch[i + 1];
    }
    p->n_batch--;
}

/* Joins batch dimension d with the one inside it, where all three allow. */
static bool join_batch(rapt_product *p, int32_t d)
{
    const rapt_matrix *all[3] = {&p->a, &p->b, &p->c};
    for (int k = 0; k < 3; k++)
        if (all[k]->batch[d] != all[k]->batch[d + 1] * p->batch[d + 1])
            return false;
    p->batch[d + 1] *= p->batch[d];
    drop_batch(p, d);
    return true;
}

/* The last batch dimension becomes part of m (one B for all: a row after another), of n (one A), or
 * of k (products that are summed). */
static bool fold_batch(rapt_product *p)
{
    const int32_t d = p->n_batch - 1;
    const int64_t a = p->a.batch[d], b = p->b.batch[d], c = p->c.batch[d];
    if (b == 0 && c != 0 && a == p->m * p->a.row && c == p->m * p->c.row)
        p->m *= p->batch[d];
    else if (a == 0 && c != 0 && b == p->n * p->b.column && c == p->n * p->c.column)
        p->n *= p->batch[d];
    else if (c == 0 && a == p->k * p->a.column && b == p->k * p->b.row)
        p->k *= p->batch[d];
    else
        return false;
    p->n_batch--;
    return true;
}

static void simplify(rapt_product *p)
{
    for (int32_t d = p->n_batch - 1; d >= 0; d--)
        if (p->batch[d] == 1)
            drop_batch(p, d);
    for (int32_t d = p->n_batch - 2; d >= 0; d--)
        join_batch(p, d);
    while (p->n_batch > 0 && fold_batch(p))
        ;
    /* C is written row by row */
    if (p->c.column != 1 && p->n > 1)
        swap_matrices(p);
}

/* --- Batches: a product after another, or those of the last dimension at once ----------------- */

typedef struct offsets {
    int64_t a, b, c;
    bool first; /* the first of those summed into one C */
} offsets;

/* Of batch index i, counted over dimensions [0, n). */
static offsets batch_offsets(const rapt_product *p, int32_t n, int64_t i)
{
    offsets o = {0, 0, 0, true};
    for (int32_t d = n - 1; d >= 0; d--) {
        const int64_t at = i % p->batch[d];
        i /= p->batch[d];
        o.a += at * p->a.batch[d];
        o.b += at * p->b.batch[d];
        o.c += at * p->c.batch[d];
        o.first &= p->c.batch[d] != 0 || at == 0;
    }
    return o;
}

static int64_t batch_count(const rapt_product *p, int32_t n)
{
    int64_t count = 1;
    for (int32_t d = 0; d < n; d++)
        count *= p->batch[d];
    return count;
}

static void *at(const rapt_matrix *matrix, int64_t offset)
{
    return matrix->data + offset * (int64_t)rapt_dtype_size(matrix->dtype);
}

/* --- Converting and packing ----------------------------------------------------------------- */

/* `count` matrices rows x columns, from any strides, to float32 row major. */
typedef struct packing {
    const rapt_math_service *math;
    const char *source;
    rapt_dtype dtype;
    int64_t rows, columns, row, column, batch;
    float *target;
} packing;

#define TILE 64

/* One row whose elements lie apart. Halves are brought together before they are converted. */
static void pack_strided(const packing *p, int64_t offset, float *to)
{
    uint16_t half[TILE];
    if (p->dtype == RAPT_F32) {
        const float *single = (const float *)(const void *)p->source + offset;
        for (int64_t j = 0; j < p->columns; j++)
            to[j] = single[j * p->column];
        return;
    }
    const uint16_t *from = (const uint16_t *)(const void *)p->source + offset;
    for (int64_t begin = 0; begin < p->columns; begin += TILE) {
        const int64_t n = p->columns - begin < TILE ? p->columns - begin : TILE;
        for (int64_t j = 0; j < n; j++)
            half[j] = from[(begin + j) * p->column];
        p->math->load(n, p->dtype, half, to + begin);
    }
}

static void pack_task(void *context, int64_t begin, int64_t end, int worker)
{
    const packing *p = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const int64_t offset = i / p->rows * p->batch + i % p->rows * p->row;
        if (p->column == 1)
            p->math->load(p->columns, p->dtype,
                          p->source + offset * (int64_t)rapt_dtype_size(p->dtype),
                          p->target + i * p->columns);
        else
            pack_strided(p, offset, p->target + i * p->columns);
    }
}

static void pack(rapt_call *call, packing *p, int64_t count)
{
    if (p->rows > 0 && p->columns > 0)
        call->host->parallel_for(call, count * p->rows, rapt_grain(RAPT_PIECE, p->columns),
                                 pack_task, p);
}

/* --- float32 -------------------------------------------------------------------------------- */

/* How gemm reads a matrix: row major or transposed; false: neither, it must be packed. */
static bool layout(const rapt_matrix *x, int64_t rows, int64_t columns, int32_t *transposed,
                   int64_t *leading)
{
    if ((x->column == 1 || columns <= 1) && (rows <= 1 || x->row >= columns)) {
        *transposed = 0;
        *leading = rows <= 1 ? columns : x->row;
    } else if ((x->row == 1 || rows <= 1) && (columns <= 1 || x->column >= rows)) {
        *transposed = 1;
        *leading = columns <= 1 ? rows : x->column;
    } else {
        return false;
    }
    if (*leading < 1)
        *leading = 1;
    return true;
}

/* All matrices of an operand in one row-major copy: for strides that gemm does not know. */
static rapt_status repack(rapt_call *call, rapt_product *p, rapt_matrix *x, int64_t rows,
                          int64_t columns)
{
    rapt_matrix copy = {.dtype = RAPT_F32, .row = columns, .column = 1};
    int64_t count = 1;
    for (int32_t d = p->n_batch - 1; d >= 0; d--) {
        copy.batch[d] = x->batch[d] == 0 ? 0 : count * rows * columns;
        count *= x->batch[d] == 0 ? 1 : p->batch[d];
    }
    copy.data = call->host->scratch(call, (size_t)(count * rows * columns) * sizeof(float));
    if (copy.data == NULL)
        return RAPT_NO_MEMORY;
    rapt_product walk = *p;
    for (int32_t d = 0; d < p->n_batch; d++)
        walk.batch[d] = x->batch[d] == 0 ? 1 : p->batch[d];
    walk.a = *x;
    walk.b = copy;
    for (int64_t i = 0; i < batch_count(&walk, p->n_batch); i++) {
        const offsets o = batch_offsets(&walk, p->n_batch, i);
        packing one = {rapt_ops_math(call), at(x, o.a), RAPT_F32,      rows, columns, x->row,
                       x->column,           0,          at(&copy, o.b)};
        pack(call, &one, 1);
    }
    *x = copy;
    return RAPT_OK;
}

static rapt_status product_f32(rapt_call *call, rapt_product *p)
{
    const rapt_gemm_service *service = call->host->service("rapt.gemm", 1);
    rapt_gemm g = {.size = sizeof g, .m = p->m, .n = p->n, .k = p->k, .batch = 1, .alpha = 1};
    if (!layout(&p->a, p->m, p->k, &g.transpose_a, &g.lda)) {
        const rapt_status status = repack(call, p, &p->a, p->m, p->k);
        if (status != RAPT_OK)
            return status;
        layout(&p->a, p->m, p->k, &g.transpose_a, &g.lda);
    }
    if (!layout(&p->b, p->k, p->n, &g.transpose_b, &g.ldb)) {
        const rapt_status status = repack(call, p, &p->b, p->k, p->n);
        if (status != RAPT_OK)
            return status;
        layout(&p->b, p->k, p->n, &g.transpose_b, &g.ldb);
    }
    g.ldc = p->m <= 1 ? p->n : p->c.row;
    int32_t outer = p->n_batch;
    if (outer > 0 && p->c.batch[outer - 1] != 0) {
        outer--;
        g.batch = p->batch[outer];
        g.stride_a = p->a.batch[outer];
        g.stride_b = p->b.batch[outer];
        g.stride_c = p->c.batch[outer];
    }
    const int64_t count = batch_count(p, outer);
    for (int64_t i = 0; i < count; i++) {
        const offsets o = batch_offsets(p, outer, i);
        g.a = at(&p->a, o.a);
        g.b = at(&p->b, o.b);
        g.c = at(&p->c, o.c);
        g.beta = o.first ? 0 : 1;
        const rapt_status status = service->gemm(call, &g);
        if (status != RAPT_OK)
            return status;
    }
    return RAPT_OK;
}

/* --- f16 and bf16 --------------------------------------------------------------------------- */

typedef struct half_product {
    rapt_call *call;
    const rapt_gemm_service *gemm;
    const rapt_math_service *math;
    const rapt_product *p;
    float *a, *b, *c; /* converted blocks */
    rapt_matrix target;
} half_product;

typedef struct storing {
    const half_product *h;
    char *target;
    int64_t rows, columns, row, batch;
} storing;

static void store_task(void *context, int64_t begin, int64_t end, int worker)
{
    const storing *s = context;
    const rapt_dtype dtype = s->h->p->c.dtype;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        s->h->math->store(s->columns, dtype, s->h->c + i * s->columns,
                          s->target + (i / s->rows * s->batch + i % s->rows * s->row) *
                                          (int64_t)rapt_dtype_size(dtype));
}

static void store_block(const half_product *h, char *target, int64_t m, int64_t n, int64_t batch,
                        int64_t count)
{
    storing s = {h, target, m, n, h->p->c.row, batch};
    h->call->host->parallel_for(h->call, count * m, rapt_grain(RAPT_PIECE, n), store_task, &s);
}

static void convert(const half_product *h, const rapt_matrix *x, int64_t offset, int64_t rows,
                    int64_t columns, int64_t batch, int64_t count, float *target)
{
    packing pk = {h->math, at(x, offset), x->dtype, rows,  columns,
                  x->row,  x->column,     batch,    target};
    pack(h->call, &pk, count);
}

/* Block [i, i + m) x [j, j + n) of one C, over all of k and all products summed into it. `outer`
 * batch dimensions are kept, those behind are summed. */
static rapt_status half_block(half_product *h, offsets o, int64_t i, int64_t j, int64_t m,
                              int64_t n, int64_t summed, int32_t kept)
{
    const rapt_product *p = h->p;
    rapt_product inner = *p;
    bool first = true;
    inner.n_batch = p->n_batch - kept;
    for (int32_t d = 0; d < inner.n_batch; d++) {
        inner.batch[d] = p->batch[kept + d];
        inner.a.batch[d] = p->a.batch[kept + d];
        inner.b.batch[d] = p->b.batch[kept + d];
        inner.c.batch[d] = 0;
    }
    for (int64_t s = 0; s < summed; s++) {
        const offsets in = batch_offsets(&inner, inner.n_batch, s);
        for (int64_t l = 0; l < p->k; l += BLOCK_K, first = false) {
            const int64_t k = p->k - l < BLOCK_K ? p->k - l : BLOCK_K;
            convert(h, &p->a, o.a + in.a + i * p->a.row + l * p->a.column, m, k, 0, 1, h->a);
            convert(h, &p->b, o.b + in.b + l * p->b.row + j * p->b.column, k, n, 0, 1, h->b);
            const rapt_gemm g = {.size = sizeof g,
                                 .m = m,
                                 .n = n,
                                 .k = k,
                                 .lda = k,
                                 .ldb = n,
                                 .ldc = n,
                                 .batch = 1,
                                 .alpha = 1,
                                 .beta = first ? 0 : 1,
                                 .a = h->a,
                                 .b = h->b,
                                 .c = h->c};
            const rapt_status status = h->gemm->gemm(h->call, &g);
            if (status != RAPT_OK)
                return status;
        }
    }
    store_block(h, at(&p->c, o.c + i * p->c.row + j), m, n, 0, 1);
    return RAPT_OK;
}

/* A run of small products along the last batch dimension, converted and multiplied together. */
static rapt_status half_group(half_product *h, offsets o, int32_t d, int64_t count)
{
    const rapt_product *p = h->p;
    const int64_t stride_a = p->a.batch[d], stride_b = p->b.batch[d];
    convert(h, &p->a, o.a, p->m, p->k, stride_a, stride_a == 0 ? 1 : count, h->a);
    convert(h, &p->b, o.b, p->k, p->n, stride_b, stride_b == 0 ? 1 : count, h->b);
    const rapt_gemm g = {.size = sizeof g,
                         .m = p->m,
                         .n = p->n,
                         .k = p->k,
                         .lda = p->k,
                         .ldb = p->n,
                         .ldc = p->n,
                         .batch = count,
                         .stride_a = stride_a == 0 ? 0 : p->m * p->k,
                         .stride_b = stride_b == 0 ? 0 : p->k * p->n,
                         .stride_c = p->m * p->n,
                         .alpha = 1,
                         .a = h->a,
                         .b = h->b,
                         .c = h->c};
    const rapt_status status = h->gemm->gemm(h->call, &g);
    if (status == RAPT_OK)
        store_block(h, at(&p->c, o.c), p->m, p->n, p->c.batch[d], count);
    return status;
}

/* Kept batch dimensions to the front, summed ones behind; returns the number of kept ones. */
static int32_t order_batch(rapt_product *p)
{
    rapt_product from = *p;
    int32_t n = 0, kept = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t d = 0; d < from.n_batch; d++) {
            if ((from.c.batch[d] == 0) != (pass == 1))
                continue;
            p->batch[n] = from.batch[d];
            p->a.batch[n] = from.a.batch[d];
            p->b.batch[n] = from.b.batch[d];
            p->c.batch[n++] = from.c.batch[d];
        }
        kept = pass == 0 ? n : kept;
    }
    return kept;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool half_scratch(half_product *h, int64_t a, int64_t b, int64_t c)
{
    h->a = h->call->host->scratch(h->call, (size_t)(a + b + c + 48) * sizeof(float));
    if (h->a == NULL)
        return false;
    h->b = h->a + (a + 15) / 16 * 16;
    h->c = h->b + (b + 15) / 16 * 16;
    return true;
}

static rapt_status product_groups(half_product *h, int32_t kept, int64_t group)
{
    const rapt_product *p = h->p;
    const int32_t d = kept - 1;
    if (!half_scratch(h, group * p->m * p->k, group * p->k * p->n, group * p->m * p->n))
        return RAPT_NO_MEMORY;
    for (int64_t i = 0; i < batch_count(p, d); i++) {
        for (int64_t first = 0; first < p->batch[d]; first += group) {
            offsets o = batch_offsets(p, d, i);
            o.a += first * p->a.batch[d];
            o.b += first * p->b.batch[d];
            o.c += first * p->c.batch[d];
            const rapt_status status = half_group(h, o, d, least(group, p->batch[d] - first));
            if (status != RAPT_OK)
                return status;
        }
    }
    return RAPT_OK;
}

static rapt_status product_half(rapt_call *call, rapt_product *p)
{
    half_product h = {.call = call,
                      .gemm = call->host->service("rapt.gemm", 1),
                      .math = rapt_ops_math(call),
                      .p = p};
    const int32_t kept = order_batch(p);
    const int64_t largest = p->m * p->k + p->k * p->n + p->m * p->n;
    if (kept > 0 && kept == p->n_batch && largest <= GROUP / 2)
        return product_groups(&h, kept, least(GROUP / largest, p->batch[kept - 1]));
    const int64_t m = least(p->m, BLOCK_MN), n = least(p->n, BLOCK_MN), k = least(p->k, BLOCK_K);
    int64_t summed = 1;
    for (int32_t d = kept; d < p->n_batch; d++)
        summed *= p->batch[d];
    if (!half_scratch(&h, m * k, k * n, m * n))
        return RAPT_NO_MEMORY;
    for (int64_t c = 0; c < batch_count(p, kept); c++) {
        const offsets o = batch_offsets(p, kept, c);
        for (int64_t i = 0; i < p->m; i += BLOCK_MN)
            for (int64_t j = 0; j < p->n; j += BLOCK_MN) {
                const rapt_status status =
                    half_block(&h, o, i, j, least(m, p->m - i), least(n, p->n - j), summed, kept);
                if (status != RAPT_OK)
                    return status;
            }
    }
    return RAPT_OK;
}

/* --- f64 ------------------------------------------------------------------------------------ */

typedef struct double_product {
    const rapt_product *p;
    offsets o;
} double_product;

static void double_task(void *context, int64_t begin, int64_t end, int worker)
{
    const double_product *d = context;
    const rapt_product *p = d->p;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const double *a = at(&p->a, d->o.a + i * p->a.row);
        double *c = at(&p->c, d->o.c + i * p->c.row);
        if (d->o.first)
            memset(c, 0, (size_t)p->n * sizeof *c);
        for (int64_t l = 0; l < p->k; l++) {
            const double *b = at(&p->b, d->o.b + l * p->b.row);
            const double factor = a[l * p->a.column];
            for (int64_t j = 0; j < p->n; j++)
                c[j] += factor * b[j * p->b.column];
        }
    }
}

static rapt_status product_f64(rapt_call *call, const rapt_product *p)
{
    for (int64_t i = 0; i < batch_count(p, p->n_batch); i++) {
        double_product d = {p, batch_offsets(p, p->n_batch, i)};
        call->host->parallel_for(call, p->m, rapt_grain(RAPT_PIECE, p->n * p->k), double_task, &d);
    }
    return RAPT_OK;
}

/* --- Entry ---------------------------------------------------------------------------------- */

/* C of a sum over nothing. C's matrices fill its memory without gaps. */
static void clear(const rapt_product *p)
{
    size_t bytes = (size_t)(p->m * p->n) * rapt_dtype_size(p->c.dtype);
    for (int32_t d = 0; d < p->n_batch; d++)
        bytes *= p->c.batch[d] == 0 ? 1 : (size_t)p->batch[d];
    if (bytes > 0)
        memset(p->c.data, 0, bytes);
}

static bool empty(const rapt_product *p)
{
    int64_t count = p->k;
    for (int32_t d = 0; d < p->n_batch; d++)
        count *= p->batch[d];
    return count == 0;
}

rapt_status rapt_product_run(rapt_call *call, rapt_product *p)
{
    const bool vulkan = rapt_on_vulkan(call);
    if (p->m == 0 || p->n == 0 || empty(p)) {
        if (vulkan)
            return rapt_vulkan_fill(call, p->c.view, 0);
        clear(p);
        return RAPT_OK;
    }
    simplify(p);
    if (vulkan)
        return rapt_vulkan_product(call, p);
    if (p->c.dtype == RAPT_F64)
        return product_f64(call, p);
    return p->c.dtype == RAPT_F32 ? product_f32(call, p) : product_half(call, p);
}

size_t rapt_product_workspace(rapt_product product)
{
    if (product.m == 0 || product.n == 0 || empty(&product))
        return 0;
    simplify(&product);
    return rapt_vulkan_product_workspace(&product);
}
