/*
 * Opening OpenBLAS.
 *
 * It is not linked: loading it takes longer than all the rest of a short run. It reads its
 * environment while it is loaded, so two variables are set for that moment: one thread (the pool
 * splits the work; idle threads of its own would spin beside it) and the kernels of the level in
 * use.
 *
 * OpenBLAS takes a buffer for every thread that multiplies, keeps it for the next, and asks without
 * end where the system refuses one. So the buffers of all workers are taken at the start, after a
 * look at whether they can be had.
 */
#include "device/cpu/blas.h"
#include "base/error.h"
#include "device/cpu/pool.h"
#include "device/cpu/services.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Of a buffer: at least what OpenBLAS asks for on any processor. */
#define BUFFER_BYTES ((size_t)129 << 20)
/* More threads than this seldom multiply at once, and OpenBLAS has a table of so many at least. */
#define MOST_BUFFERS 64

static struct {
    pthread_mutex_t lock;
    const rapt_blas *ready; /* &functions once loaded */
    rapt_blas functions;
    char text[256];
    rapt_error error; /* of the attempt that failed: it is made again only if memory was short */
    bool failed;
} blas = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A variable set for a while. */
typedef struct saved_variable {
    const char *name;
    char *before; /* NULL: it was not set */
    bool changed;
} saved_variable;

static saved_variable set_variable(const char *name, const char *value)
{
    saved_variable saved = {.name = name};
    const char *before = getenv(name);
    if (before != NULL && (saved.before = strdup(before)) == NULL)
        return saved;
    saved.changed = setenv(name, value, 1) == 0;
    return saved;
}

static void restore_variable(saved_variable *saved)
{
    if (saved->changed && saved->before != NULL)
        setenv(saved->name, saved->before, 1);
    else if (saved->changed)
        unsetenv(saved->name);
    free(saved->before);
}

/* The kernels to ask for. OpenBLAS takes a processor younger than itself for a Prescott, whose
 * kernels are several times slower: the level is known here. What the user asks for at the best
 * level stays. */
static const char *kernels_of_level(void)
{
#if defined(__x86_64__)
    const rapt_cpu_level level = rapt_cpu_table()->level;
    if (level == RAPT_CPU_PORTABLE)
        return "Prescott"; /* SSE3: the least that it has */
    if (getenv("OPENBLAS_CORETYPE") != NULL && getenv("RAPT_CPU") == NULL)
        return NULL;
    return level == RAPT_CPU_AVX512 ? "SkylakeX" : "Haswell";
#else
    return NULL;
#endif
}

static void *open_library(void)
{
    const char *kernels = kernels_of_level();
    saved_variable threads = set_variable("OPENBLAS_NUM_THREADS", "1");
    saved_variable coretype = {0};
    if (kernels != NULL)
        coretype = set_variable("OPENBLAS_CORETYPE", kernels);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (kernels != NULL)
        restore_variable(&coretype);
    restore_variable(&threads);
    return library;
}

static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static void describe_library(void *library)
{
    char *(*get_config)(void);
    char *(*get_corename)(void);
    Dl_info info = {0};
    void *symbol = dlsym(library, "cblas_sgemm");
    const char *config = find(library, "openblas_get_config", &get_config) ? get_config() : "";
    const char *core = find(library, "openblas_get_corename", &get_corename) ? get_corename() : "?";
    const char *version = strncmp(config, "OpenBLAS ", 9) == 0 ? config + 9 : "";
    const char *path = symbol && dladdr(symbol, &info) && info.dli_fname ? info.dli_fname : "?";
    snprintf(blas.text, sizeof blas.text, "OpenBLAS %.*s (%s, %s)", (int)strcspn(version, " "),
             version, core, path);
}

static int buffers(void)
{
    const int workers = rapt_pool_workers();
    return workers < MOST_BUFFERS ? workers : MOST_BUFFERS;
}

/* Whether there is address space for all buffers, and as much as one for the library itself.
 * Nothing is kept. */
static rapt_status look_for_room(rapt_error *error)
{
    void *rooms[MOST_BUFFERS + 1];
    const int wanted = buffers() + 1;
    int n = 0;
    for (; n < wanted; n++) {
        rooms[n] =
            mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (rooms[n] == MAP_FAILED)
            break;
    }
    for (int i = 0; i < n; i++)
        munmap(rooms[i], BUFFER_BYTES);
    if (n == wanted)
        return RAPT_OK;
    return rapt_fail(
        error, RAPT_NO_MEMORY,
        "out of memory (%zu bytes of address space that OpenBLAS wants for %d workers)",
        (size_t)wanted * BUFFER_BYTES, buffers());
}

/* Has OpenBLAS take the buffers that it will use. */
static void take_buffers(void *library)
{
    void *(*take)(int position);
    void (*give_back)(void *buffer);
    void *taken[MOST_BUFFERS];
    const int wanted = buffers();
    if (!find(library, "blas_memory_alloc", &take) ||
        !find(library, "blas_memory_free", &give_back))
        return;
    for (int i = 0; i < wanted; i++)
        taken[i] = take(0);
    for (int i = 0; i < wanted; i++)
        if (taken[i] != NULL)
            give_back(taken[i]);
}

static rapt_status load(rapt_error *error)
{
    static const char advice[] = "matrix products need OpenBLAS (Debian: libopenblas0-pthread)";
    rapt_blas *f = &blas.functions;
    const rapt_status status = look_for_room(error);
    if (status != RAPT_OK)
        return status;
    void *library = open_library();
    if (library == NULL) {
        const char *reason = dlerror();
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s: %s", advice, reason ? reason : "not found");
    }
    if (!find(library, "cblas_sgemm", &f->sgemm) || !find(library, "cblas_sgemv", &f->sgemv) ||
        !find(library, "openblas_set_num_threads", &f->set_num_threads)) {
        dlclose(library);
        return rapt_fail(error, RAPT_UNSUPPORTED, "%s: libopenblas.so.0 lacks its functions",
                         advice);
    }
    f->set_num_threads(1);
    take_buffers(library);
    describe_library(library);
    return RAPT_OK;
}

const rapt_blas *rapt_blas_load(rapt_error *error)
{
    const rapt_blas *ready = __atomic_load_n(&blas.ready, __ATOMIC_ACQUIRE);
    if (ready != NULL)
        return ready;
    pthread_mutex_lock(&blas.lock);
    if (blas.ready == NULL && !blas.failed) {
        if (load(&blas.error) == RAPT_OK)
            __atomic_store_n(&blas.ready, &blas.functions, __ATOMIC_RELEASE);
        else
            blas.failed = blas.error.status != RAPT_NO_MEMORY;
    }
    ready = blas.ready;
    if (ready == NULL)
        rapt_fail(error, blas.error.status, "%s", blas.error.message);
    pthread_mutex_unlock(&blas.lock);
    return ready;
}

bool rapt_blas_describe(char *text, size_t size)
{
    if (__atomic_load_n(&blas.ready, __ATOMIC_ACQUIRE) == NULL)
        return false;
    snprintf(text, size, "%s", blas.text);
    return true;
}
