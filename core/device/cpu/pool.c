/*
 * The thread pool.
 *
 * One job at a time. `state` says whether a job is open for joining and how many threads are inside
 * it; a worker that sleeps through a job never touches it, so a short job does not wait for slow
 * wake-ups. The job's fields are written only while `state` is zero, which is what makes them safe
 * to read for whoever joined.
 */
#include "device/cpu/pool.h"
#include "base/error.h"
#include "device/cpu/quota.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAX_WORKERS = 1024,
    SPIN_WORKER = 1000, /* pauses before a worker sleeps: some tens of microseconds */
    SPIN_CALLER = 1000
};

#define STATE_OPEN    (1u << 16)
#define STATE_WAITING (1u << 17) /* the caller sleeps until the last thread has left */
#define STATE_INSIDE  (STATE_OPEN - 1)

static struct {
    int workers;          /* 0: not configured */
    pthread_mutex_t lock; /* configuring and starting */
    atomic_bool busy;     /* a thread has the pool */
    int started;          /* threads running; only touched by who has the pool */
    _Alignas(64) atomic_uint state;
    _Alignas(64) atomic_uint epoch; /* counts jobs; workers sleep on it */
    _Alignas(64) atomic_int sleeping;
    _Alignas(64) atomic_llong next; /* first piece not handed out */
    int64_t n, grain, pieces;
    rapt_task task;
    void *context;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local int this_worker; /* its index; 0 outside the pool */
static _Thread_local int depth;       /* > 0 inside a task */

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(atomic_uint *word, unsigned value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int threads)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static void run_pieces(int worker)
{
    const int64_t pieces = pool.pieces, grain = pool.grain, n = pool.n;
    for (;;) {
        const int64_t piece = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed);
        if (piece >= pieces)
            return;
        const int64_t begin = piece * grain;
        pool.task(pool.context, begin, n - begin > grain ? begin + grain : n, worker);
    }
}

static void join_job(void)
{
    unsigned state = atomic_load_explicit(&pool.state, memory_order_relaxed);
    do {
        if (!(state & STATE_OPEN))
            return;
    } while (!atomic_compare_exchange_weak_explicit(&pool.state, &state, state + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    run_pieces(this_worker);
    state = atomic_fetch_sub_explicit(&pool.state, 1, memory_order_acq_rel) - 1;
    if (state == STATE_WAITING)
        futex_wake(&pool.state, 1);
}

static void wait_for_job(unsigned seen)
{
    for (int i = 0; i < SPIN_WORKER; i++) {
        if (atomic_load_explicit(&pool.epoch, memory_order_acquire) != seen)
            return;
        relax();
    }
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.epoch) == seen)
        futex_wait(&pool.epoch, seen);
    atomic_fetch_sub(&pool.sleeping, 1);
}

static void *worker_main(void *index)
{
    this_worker = (int)(intptr_t)index;
    depth = 1; /* a task that asks for more runs it itself */
    unsigned seen = 0;
    for (;;) {
        wait_for_job(seen);
        seen = atomic_load_explicit(&pool.epoch, memory_order_acquire);
        join_job();
    }
    return NULL;
}

/* The child of a fork has one thread: it starts its own workers when it needs them. The mutex is
 * held across the fork so that it is free on both sides. */
static void before_fork(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&pool.lock);
}

static void after_fork_child(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pool.started = 0;
    atomic_store(&pool.state, 0);
    atomic_store(&pool.epoch, 0);
    atomic_store(&pool.sleeping, 0);
    atomic_store(&pool.busy, false);
}

/* Signals belong to the program's own threads: workers block all of them. A thread that the system
 * refuses is done without; the work gets done by the others. */
static void start_workers(void)
{
    static bool registered;
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_mutex_lock(&pool.lock);
    if (!registered)
        registered = pthread_atfork(before_fork, after_fork_parent, after_fork_child) == 0;
    pthread_mutex_unlock(&pool.lock);
    if (!registered || pthread_attr_init(&attributes) != 0)
        return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.started < pool.workers - 1) {
        pthread_t thread;
        const intptr_t index = pool.started + 1;
        if (pthread_create(&thread, &attributes, worker_main, (void *)index) != 0)
            break;
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* Closes the job and waits until nobody is inside. */
static void finish_job(void)
{
    unsigned state = atomic_fetch_and(&pool.state, ~STATE_OPEN) & ~STATE_OPEN;
    for (int i = 0; i < SPIN_CALLER && state != 0; i++) {
        relax();
        state = atomic_load_explicit(&pool.state, memory_order_acquire);
    }
    if (state == 0)
        return;
    state = atomic_fetch_or(&pool.state, STATE_WAITING) | STATE_WAITING;
    while (state & STATE_INSIDE) {
        futex_wait(&pool.state, state);
        state = atomic_load_explicit(&pool.state, memory_order_acquire);
    }
    atomic_store_explicit(&pool.state, 0, memory_order_relaxed);
}

static void run_parallel(int64_t n, int64_t grain, int64_t pieces, rapt_task task, void *context)
{
    if (pool.started < pool.workers - 1)
        start_workers();
    pool.n = n;
    pool.grain = grain;
    pool.pieces = pieces;
    pool.task = task;
    pool.context = context;
    atomic_store_explicit(&pool.next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.state, STATE_OPEN, memory_order_release);
    atomic_fetch_add(&pool.epoch, 1);
    const int sleeping = atomic_load(&pool.sleeping);
    if (sleeping > 0)
        futex_wake(&pool.epoch, pieces - 1 < sleeping ? (int)(pieces - 1) : sleeping);
    depth++;
    run_pieces(0);
    depth--;
    finish_job();
}

static void run_inline(int64_t n, int64_t grain, rapt_task task, void *context)
{
    depth++;
    for (int64_t begin = 0; begin < n; begin += grain) {
        const bool last = n - begin <= grain;
        task(context, begin, last ? n : begin + grain, this_worker);
        if (last)
            break;
    }
    depth--;
}

void rapt_pool_run(int64_t n, int64_t grain, rapt_task task, void *context)
{
    if (n <= 0)
        return;
    if (grain < 1)
        grain = 1;
    const int64_t pieces = n / grain + (n % grain != 0);
    bool idle = false;
    if (pieces == 1 || depth > 0 || rapt_pool_workers() == 1 ||
        !atomic_compare_exchange_strong_explicit(&pool.busy, &idle, true, memory_order_acquire,
                                                 memory_order_relaxed)) {
        run_inline(n, grain, task, context);
        return;
    }
    run_parallel(n, grain, pieces, task, context);
    atomic_store_explicit(&pool.busy, false, memory_order_release);
}

static rapt_status workers_from_environment(int *workers, rapt_error *error)
{
    const char *text = getenv("RAPT_THREADS");
    *workers = 0;
    if (text == NULL || *text == '\0')
        return RAPT_OK;
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || value < 1 ||
        value > MAX_WORKERS)
        return rapt_fail(error, RAPT_INVALID,
                         "RAPT_THREADS is '%.40s': expected a whole number from 1 to %d", text,
                         MAX_WORKERS);
    *workers = (int)value;
    return RAPT_OK;
}

rapt_status rapt_pool_configure(rapt_error *error)
{
    rapt_status status = RAPT_OK;
    pthread_mutex_lock(&pool.lock);
    if (pool.workers == 0) {
        int workers;
        status = workers_from_environment(&workers, error);
        if (status == RAPT_OK && workers == 0) {
            workers = rapt_usable_cores();
            workers = workers > MAX_WORKERS ? MAX_WORKERS : workers;
        }
        if (status == RAPT_OK)
            __atomic_store_n(&pool.workers, workers, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&pool.lock);
    return status;
}

int rapt_pool_workers(void)
{
    int workers = __atomic_load_n(&pool.workers, __ATOMIC_ACQUIRE);
    if (workers == 0 && rapt_pool_configure(NULL) == RAPT_OK)
        workers = __atomic_load_n(&pool.workers, __ATOMIC_ACQUIRE);
    return workers > 0 ? workers : 1;
}
