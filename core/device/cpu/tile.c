/*
 * The table of small products. Entries live as long as the process and are only ever added, so
 * looking one up takes no lock.
 */
#include "device/cpu/tile.h"
#include "device/cpu/level.h"
#include "device/cpu/services.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(RAPT_HAVE_XSMM)
#include <libxsmm.h>
#endif

enum { BUCKETS = 4096, RESCUES = 32 };

typedef struct entry {
    rapt_tile_shape shape;
#if defined(RAPT_HAVE_XSMM)
    libxsmm_smmfunction jit;
#endif
    void (*plain)(const rapt_tile_shape *shape, const float *a, const float *b, float *c);
    rapt_tile_fn run;
    struct entry *next;
} entry;

static _Atomic(entry *) buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void run_plain(const float *a, const float *b, float *c, const void *plan)
{
    const entry *e = plan;
    e->plain(&e->shape, a, b, c);
}

#if defined(RAPT_HAVE_XSMM)
static atomic_int refused;

/* libxsmm is column major: the row-major product is its transpose, B^T A^T. */
static void run_jit(const float *a, const float *b, float *c, const void *plan)
{
    const entry *e = plan;
    e->jit(b, a, c);
}

static bool jit_serves(void)
{
    const rapt_cpu_level level = rapt_cpu_table()->level;
    return level == RAPT_CPU_AVX512 || level == RAPT_CPU_AVX2;
}

/* [lock held] */
static void make_jit(entry *e)
{
    static bool initialised;
    const rapt_tile_shape *s = &e->shape;
    const float alpha = 1.0f, beta = s->accumulate ? 1.0f : 0.0f;
    const int flags = LIBXSMM_GEMM_FLAG_NONE, prefetch = LIBXSMM_GEMM_PREFETCH_NONE;
    if (!jit_serves() || s->m <= 0 || s->n <= 0 || s->k <= 0)
        return;
    if (!initialised) {
        libxsmm_init();
        libxsmm_set_target_archid(rapt_cpu_table()->level == RAPT_CPU_AVX512
                                      ? LIBXSMM_X86_AVX512_CORE
                                      : LIBXSMM_X86_AVX2);
        initialised = true;
    }
    e->jit = libxsmm_smmdispatch(s->n, s->m, s->k, &s->ldb, &s->lda, &s->ldc, &alpha, &beta, &flags,
                                 &prefetch);
    if (e->jit != NULL)
        e->run = run_jit;
    else
        atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
}

void rapt_tile_describe(char *text, size_t size)
{
    const int shapes = atomic_load_explicit(&refused, memory_order_relaxed);
    if (!jit_serves())
        snprintf(text, size, "libxsmm not used at level %s",
                 rapt_cpu_level_name(rapt_cpu_table()->level));
    else if (shapes == 0)
        snprintf(text, size, "libxsmm %s", LIBXSMM_VERSION);
    else
        snprintf(text, size, "libxsmm %s (%d shapes refused, served by vector code)",
                 LIBXSMM_VERSION, shapes);
}
#else
static void make_jit(entry *e)
{
    (void)e;
}

void rapt_tile_describe(char *text, size_t size)
{
    snprintf(text, size, "built without libxsmm");
}
#endif

static unsigned hash_shape(const rapt_tile_shape *s)
{
    uint64_t h = (uint64_t)(uint32_t)s->m << 32 | (uint32_t)s->n;
    h = (h ^ ((uint64_t)(uint32_t)s->k << 32 | (uint32_t)s->lda)) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    h = (h ^ ((uint64_t)(uint32_t)s->ldb << 32 | (uint32_t)s->ldc)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 32) ^ (uint64_t)s->accumulate) * 0x94d049bb133111ebu;
    return (unsigned)(h >> 40) % BUCKETS;
}

static bool same_shape(const rapt_tile_shape *a, const rapt_tile_shape *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb &&
           a->ldc == b->ldc && a->accumulate == b->accumulate;
}

static entry *look_up(_Atomic(entry *) *bucket, const rapt_tile_shape *shape)
{
    entry *e = atomic_load_explicit(bucket, memory_order_acquire);
    while (e != NULL && !same_shape(&e->shape, shape))
        e = e->next;
    return e;
}

static void fill(entry *e, const rapt_tile_shape *shape)
{
    memset(e, 0, sizeof *e);
    e->shape = *shape;
    e->plain = rapt_level_select()->tile;
    e->run = run_plain;
}

/* With no memory for an entry the thread's own few plans take turns: right, and only ever in use
 * while the machine is about to fail anyway. */
static entry *rescue(const rapt_tile_shape *shape)
{
    static _Thread_local entry plans[RESCUES];
    static _Thread_local unsigned turn;
    entry *e = &plans[turn++ % RESCUES];
    fill(e, shape);
    return e;
}

static entry *add(_Atomic(entry *) *bucket, const rapt_tile_shape *shape)
{
    pthread_mutex_lock(&lock);
    entry *e = look_up(bucket, shape);
    if (e == NULL && (e = malloc(sizeof *e)) != NULL) {
        fill(e, shape);
        make_jit(e);
        e->next = atomic_load_explicit(bucket, memory_order_relaxed);
        atomic_store_explicit(bucket, e, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return e != NULL ? e : rescue(shape);
}

rapt_tile rapt_tile_get(int32_t m, int32_t n, int32_t k, int32_t lda, int32_t ldb, int32_t ldc,
                        int32_t accumulate)
{
    const rapt_tile_shape shape = {m, n, k, lda, ldb, ldc, accumulate != 0};
    _Atomic(entry *) *bucket = &buckets[hash_shape(&shape)];
    entry *e = look_up(bucket, &shape);
    if (e == NULL)
        e = add(bucket, &shape);
    return (rapt_tile){.run = e->run, .plan = e};
}
