/*
 * Faults on purpose: the n-th allocation or system call of the code under test fails, for n = 1, 2,
 * ... until everything goes well; and nothing may be left behind on the way.
 *
 * Link the statically linked test with `fault_dep` (tests/c/meson.build): it adds fault.c and the
 * linker's --wrap for each call below. Only calls from the test's own objects and the static
 * libraries it links are caught; a shared library that lets its allocator be replaced can be given
 * fault_malloc and fault_free.
 *
 *     FAULT_EACH (FAULT_ALL) {             // the body runs again and again
 *         error = (rapt_error){0};
 *         thing *t = thing_new(&error);
 *         if (t)
 *             thing_free(t);
 *         else
 *             fault_expect_error(&error);  // a fault was due, and status and text are filled in
 *     }
 *
 * In the body a failure may only come from the fault: when none was due and the body fails, the
 * next round would never come, so fault_expect_error fails the test at once. After each round
 * blocks, files and mappings that it obtained and still holds are counted; any is a failure of the
 * test. What a first call keeps on purpose (a lazily opened library) is made before the loop.
 *
 * A fault is one call that fails; `fault_permanent` makes all later ones of the round fail too, as
 * on a full disk. Rounds: at most FAULT_ROUNDS. Counting is thread safe; arming is not.
 *
 * Kinds and what fails with which errno:
 *     FAULT_MEMORY  malloc calloc realloc aligned_alloc posix_memalign strdup strndup realpath
 *                   asprintf vasprintf                                              ENOMEM
 *     FAULT_WRITE   write pwrite fsync fdatasync rename ftruncate close fchmod      ENOSPC; fsync
 * and close: EIO FAULT_OPEN    open openat mkostemp opendir fopen EMFILE FAULT_READ    read pread
 * fstat stat lstat                                      EIO FAULT_MAP     mmap ENOMEM FAULT_THREAD
 * pthread_create                                                   EAGAIN A close that fails has
 * closed all the same, as on Linux.
 */
#ifndef RAPT_TEST_FAULT_H
#define RAPT_TEST_FAULT_H

#include <rapt/rapt.h>

enum {
    FAULT_MEMORY = 1u << 0,
    FAULT_WRITE = 1u << 1,
    FAULT_OPEN = 1u << 2,
    FAULT_READ = 1u << 3,
    FAULT_MAP = 1u << 4,
    FAULT_THREAD = 1u << 5,
    FAULT_ALL = (1u << 6) - 1,
    FAULT_ROUNDS = 100000
};

/* For FAULT_EACH. */
void fault_begin(unsigned kinds, const char *file, int line);
bool fault_next(void);
#define FAULT_EACH(kinds) for (fault_begin((kinds), __FILE__, __LINE__); fault_next();)

/* Whether this round's fault has struck. */
bool fault_struck(void);
/* For looking at what a round left behind: from `pause` to `resume` nothing fails and nothing is
 * counted. */
void fault_pause(void);
void fault_resume(void);
/* Call it before FAULT_EACH; holds for one loop. */
void fault_permanent(void);
/* Rounds of the last finished loop, the good one included. */
long fault_rounds(void);
/* The failure is the fault's: it has struck, a status other than RAPT_OK is set, and one line of
 * text. */
void fault_expect_error(const rapt_error *error);

/* One fault outside a loop: the n-th call (from 1) of `kinds` from now fails. 0: none. */
void fault_arm(unsigned kinds, long n);

/* While set, each write() takes at most `bytes`, and every other one is first interrupted (EINTR).
 * 0: as usual. */
void fault_short_writes(size_t bytes);

/* Blocks, descriptors and mappings obtained and not given back since fault_begin. */
long fault_held(void);

/* The wrapped allocator, for libraries that take one. */
void *fault_malloc(size_t size);
void fault_free(void *block);

#endif
