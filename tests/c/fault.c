#include "fault.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- What is held -------------------------------------------------------------------------- */

/* Open addressing over addresses; descriptors enter as 2 * fd + 1, which is no block's address. */
enum { SLOTS = 1 << 16 };
static uintptr_t slots[SLOTS];
static const uintptr_t TOMB = 2;
static long held;
static bool tracking;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t slot_of(uintptr_t key)
{
    return (size_t)(key * 0x9e3779b97f4a7c15u >> 48) % SLOTS;
}

static void hold(uintptr_t key)
{
    pthread_mutex_lock(&lock);
    if (tracking && key && held < SLOTS / 2) {
        size_t i = slot_of(key);
        while (slots[i] && slots[i] != TOMB)
            i = (i + 1) % SLOTS;
        slots[i] = key;
        held++;
    }
    pthread_mutex_unlock(&lock);
}

static void drop(uintptr_t key)
{
    pthread_mutex_lock(&lock);
    if (tracking && key) {
        size_t i = slot_of(key);
        for (int probes = 0; slots[i] && slots[i] != key && probes < SLOTS; probes++)
            i = (i + 1) % SLOTS;
        if (slots[i] == key) {
            slots[i] = TOMB;
            held--;
        }
    }
    pthread_mutex_unlock(&lock);
}

static void hold_file(int file)
{
    if (file >= 0)
        hold((uintptr_t)file * 2 + 1);
}

/* --- When it fails ------------------------------------------------------------------------- */

static struct {
    unsigned kinds;
    long at; /* the call that fails; 0: none */
    long calls;
    bool struck, permanent, paused;
    const char *file;
    int line;
    long round, rounds;
    size_t write_limit;
    bool interrupted;
} fault;

static bool fails(unsigned kind, int number)
{
    pthread_mutex_lock(&lock);
    bool now = false;
    if (fault.at > 0 && !fault.paused && (fault.kinds & kind)) {
        fault.calls++;
        now = fault.permanent ? fault.calls >= fault.at : fault.calls == fault.at;
        fault.struck |= now;
    }
    pthread_mutex_unlock(&lock);
    if (now)
        errno = number;
    return now;
}

void fault_arm(unsigned kinds, long n)
{
    fault.kinds = kinds;
    fault.at = n;
    fault.calls = 0;
    fault.struck = false;
}

void fault_begin(unsigned kinds, const char *file, int line)
{
    fault_arm(kinds, 0);
    fault.file = file;
    fault.line = line;
    fault.round = 0;
    memset(slots, 0, sizeof slots);
    held = 0;
    tracking = true;
}

bool fault_next(void)
{
    const bool more = fault.round == 0 || fault.struck;
    fault.at = 0;
    if (held != 0) {
        tracking = false;
        print_error("round %ld of the faults at %s:%d left %ld blocks, files or mappings\n",
                    fault.round, fault.file, fault.line, held);
        fail();
    }
    if (!more || fault.round == FAULT_ROUNDS) {
        assert_false(more);
        tracking = false;
        fault.rounds = fault.round;
        fault.permanent = false;
        return false;
    }
    memset(slots, 0, sizeof slots);
    fault_arm(fault.kinds, ++fault.round);
    return true;
}

bool fault_struck(void)
{
    return fault.struck;
}

void fault_pause(void)
{
    fault.paused = true;
}

void fault_resume(void)
{
    fault.paused = false;
}

void fault_permanent(void)
{
    fault.permanent = true;
}

long fault_rounds(void)
{
    return fault.rounds;
}

void fault_expect_error(const rapt_error *error)
{
    if (!fault.struck)
        print_error("failed without a fault: %s\n", error->message);
    assert_true(fault.struck);
    assert_int_not_equal(error->status, RAPT_OK);
    assert_true(error->message[0] != 0);
    assert_null(strchr(error->message, '\n'));
}

void fault_short_writes(size_t bytes)
{
    fault.write_limit = bytes;
    fault.interrupted = false;
}

long fault_held(void)
{
    return held;
}

/* --- The wrapped calls --------------------------------------------------------------------- */

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t size)
{
    void *block = fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_malloc(size);
    hold((uintptr_t)block);
    return block;
}

WRAP(void *, calloc, size_t n, size_t size)
{
    void *block = fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_calloc(n, size);
    hold((uintptr_t)block);
    return block;
}

WRAP(void *, realloc, void *old, size_t size)
{
    if (fails(FAULT_MEMORY, ENOMEM))
        return NULL;
    const uintptr_t before = (uintptr_t)old;
    void *block = __real_realloc(old, size);
    if (block) {
        drop(before);
        hold((uintptr_t)block);
    }
    return block;
}

WRAP(void *, aligned_alloc, size_t alignment, size_t size)
{
    void *block = fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_aligned_alloc(alignment, size);
    hold((uintptr_t)block);
    return block;
}

WRAP(int, posix_memalign, void **block, size_t alignment, size_t size)
{
    if (fails(FAULT_MEMORY, ENOMEM))
        return ENOMEM;
    const int result = __real_posix_memalign(block, alignment, size);
    if (result == 0)
        hold((uintptr_t)*block);
    return result;
}

WRAP(void, free, void *block)
{
    drop((uintptr_t)block);
    __real_free(block);
}

WRAP(char *, strdup, const char *text)
{
    char *copy = fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_strdup(text);
    hold((uintptr_t)copy);
    return copy;
}

WRAP(char *, strndup, const char *text, size_t n)
{
    char *copy = fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_strndup(text, n);
    hold((uintptr_t)copy);
    return copy;
}

WRAP(char *, realpath, const char *path, char *resolved)
{
    char *result = fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_realpath(path, resolved);
    if (!resolved)
        hold((uintptr_t)result);
    return result;
}

WRAP(int, vasprintf, char **text, const char *format, va_list args)
{
    const int n = fails(FAULT_MEMORY, ENOMEM) ? -1 : __real_vasprintf(text, format, args);
    if (n >= 0)
        hold((uintptr_t)*text);
    return n;
}

int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = __wrap_vasprintf(text, format, args);
    va_end(args);
    return n;
}

void *fault_malloc(size_t size)
{
    return __wrap_malloc(size);
}

void fault_free(void *block)
{
    __wrap_free(block);
}

WRAP(ssize_t, write, int file, const void *bytes, size_t n)
{
    if (fails(FAULT_WRITE, ENOSPC))
        return -1;
    if (fault.write_limit > 0) {
        fault.interrupted = !fault.interrupted;
        if (fault.interrupted) {
            errno = EINTR;
            return -1;
        }
        n = n < fault.write_limit ? n : fault.write_limit;
    }
    return __real_write(file, bytes, n);
}

WRAP(ssize_t, pwrite, int file, const void *bytes, size_t n, off_t at)
{
    return fails(FAULT_WRITE, ENOSPC) ? -1 : __real_pwrite(file, bytes, n, at);
}

WRAP(int, fsync, int file)
{
    return fails(FAULT_WRITE, EIO) ? -1 : __real_fsync(file);
}

WRAP(int, fdatasync, int file)
{
    return fails(FAULT_WRITE, EIO) ? -1 : __real_fdatasync(file);
}

WRAP(int, rename, const char *from, const char *to)
{
    return fails(FAULT_WRITE, ENOSPC) ? -1 : __real_rename(from, to);
}

WRAP(int, ftruncate, int file, off_t size)
{
    return fails(FAULT_WRITE, ENOSPC) ? -1 : __real_ftruncate(file, size);
}

WRAP(int, fchmod, int file, mode_t mode)
{
    return fails(FAULT_WRITE, ENOSPC) ? -1 : __real_fchmod(file, mode);
}

WRAP(int, close, int file)
{
    if (file >= 0)
        drop((uintptr_t)file * 2 + 1);
    const int result = __real_close(file);
    return fails(FAULT_WRITE, EIO) ? -1 : result;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    const int file = fails(FAULT_OPEN, EMFILE) ? -1 : __real_open(path, flags, mode);
    hold_file(file);
    return file;
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    const int file = fails(FAULT_OPEN, EMFILE) ? -1 : __real_openat(folder, path, flags, mode);
    hold_file(file);
    return file;
}

WRAP(int, mkostemp, char *pattern, int flags)
{
    const int file = fails(FAULT_OPEN, EMFILE) ? -1 : __real_mkostemp(pattern, flags);
    hold_file(file);
    return file;
}

WRAP(DIR *, opendir, const char *path)
{
    DIR *folder = fails(FAULT_OPEN, EMFILE) ? NULL : __real_opendir(path);
    hold((uintptr_t)folder);
    return folder;
}

WRAP(int, closedir, DIR *folder)
{
    drop((uintptr_t)folder);
    return __real_closedir(folder);
}

WRAP(FILE *, fopen, const char *path, const char *mode)
{
    FILE *file = fails(FAULT_OPEN, EMFILE) ? NULL : __real_fopen(path, mode);
    hold((uintptr_t)file);
    return file;
}

WRAP(int, fclose, FILE *file)
{
    drop((uintptr_t)file);
    return __real_fclose(file);
}

WRAP(ssize_t, read, int file, void *bytes, size_t n)
{
    return fails(FAULT_READ, EIO) ? -1 : __real_read(file, bytes, n);
}

WRAP(ssize_t, pread, int file, void *bytes, size_t n, off_t at)
{
    return fails(FAULT_READ, EIO) ? -1 : __real_pread(file, bytes, n, at);
}

WRAP(int, fstat, int file, struct stat *info)
{
    return fails(FAULT_READ, EIO) ? -1 : __real_fstat(file, info);
}

WRAP(int, stat, const char *path, struct stat *info)
{
    return fails(FAULT_READ, EIO) ? -1 : __real_stat(path, info);
}

WRAP(int, lstat, const char *path, struct stat *info)
{
    return fails(FAULT_READ, EIO) ? -1 : __real_lstat(path, info);
}

WRAP(void *, mmap, void *at, size_t n, int protection, int flags, int file, off_t offset)
{
    if (fails(FAULT_MAP, ENOMEM))
        return MAP_FAILED;
    void *data = __real_mmap(at, n, protection, flags, file, offset);
    if (data != MAP_FAILED)
        hold((uintptr_t)data);
    return data;
}

WRAP(int, munmap, void *data, size_t n)
{
    drop((uintptr_t)data);
    return __real_munmap(data, n);
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes,
     void *(*start)(void *), void *argument)
{
    return fails(FAULT_THREAD, EAGAIN) ? EAGAIN
                                       : __real_pthread_create(thread, attributes, start, argument);
}

/* Where file offsets are asked for in 64 bits these calls go by other names; on 64-bit machines
 * they are the same functions. */
#define ALSO(type, name, same, ...)                                                                \
    type __wrap_##name(__VA_ARGS__) __attribute__((alias("__wrap_" #same)))

ALSO(int, open64, open, const char *path, int flags, ...);
ALSO(int, openat64, openat, int folder, const char *path, int flags, ...);
ALSO(int, mkostemp64, mkostemp, char *pattern, int flags);
ALSO(FILE *, fopen64, fopen, const char *path, const char *mode);
ALSO(ssize_t, pread64, pread, int file, void *bytes, size_t n, off_t at);
ALSO(ssize_t, pwrite64, pwrite, int file, const void *bytes, size_t n, off_t at);
ALSO(int, ftruncate64, ftruncate, int file, off_t size);
ALSO(int, fstat64, fstat, int file, struct stat *info);
ALSO(int, stat64, stat, const char *path, struct stat *info);
ALSO(int, lstat64, lstat, const char *path, struct stat *info);
ALSO(void *, mmap64, mmap, void *at, size_t n, int protection, int flags, int file, off_t offset);

/* Under AddressSanitizer an allocation beyond all memory fails as it does without, instead of
 * ending the test. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
