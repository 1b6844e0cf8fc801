/* The thread pool: every index once, pieces as promised, nesting, contention, fork, environment. */
#include "device/cpu/pool.h"
#include "device/cpu/quota.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 5000 };

typedef struct tally {
    int64_t n, grain;
    int counts[MOST];
    atomic_int pieces, bad;
} tally;

static void count(void *context, int64_t begin, int64_t end, int worker)
{
    tally *t = context;
    if (begin % t->grain != 0 || end > t->n || (end != t->n && end - begin != t->grain) ||
        end <= begin || worker < 0 || worker >= rapt_pool_workers())
        atomic_fetch_add(&t->bad, 1);
    for (int64_t i = begin; i < end; i++)
        t->counts[i]++;
    atomic_fetch_add(&t->pieces, 1);
}

static void check_once(int64_t n, int64_t grain)
{
    tally *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->n = n;
    t->grain = grain;
    rapt_pool_run(n, grain, count, t);
    assert_int_equal(atomic_load(&t->bad), 0);
    assert_int_equal(atomic_load(&t->pieces), (n + grain - 1) / grain);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(t->counts[i], 1);
    free(t);
}

static void test_every_index_once(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 70; n++)
        for (int64_t grain = 1; grain < 40; grain += 3)
            check_once(n, grain);
    check_once(MOST, 1);
    check_once(MOST, 4999);
    check_once(MOST, MOST + 100);
}

static void never(void *context, int64_t begin, int64_t end, int worker)
{
    (void)begin, (void)end, (void)worker;
    *(int *)context = 1;
}

static void one_piece(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    *(int64_t *)context += end - begin;
}

static void test_odd_arguments(void **state)
{
    (void)state;
    int called = 0;
    int64_t sum = 0;
    rapt_pool_run(0, 1, never, &called);
    rapt_pool_run(-3, 1, never, &called);
    assert_int_equal(called, 0);
    rapt_pool_run(INT64_MAX, INT64_MAX, one_piece, &sum);
    assert_true(sum == INT64_MAX);
    tally *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->n = 3;
    t->grain = 1;
    rapt_pool_run(3, 0, count, t); /* a grain below 1 is 1 */
    assert_int_equal(atomic_load(&t->pieces), 3);
    free(t);
}

static void sum_task(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add((atomic_llong *)context, i);
}

static void nest_task(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        rapt_pool_run(100, 7, sum_task, context);
}

static void test_nested(void **state)
{
    (void)state;
    atomic_llong sum = 0;
    rapt_pool_run(50, 1, nest_task, &sum);
    assert_true(atomic_load(&sum) == 50 * 4950);
}

static void *contender(void *context)
{
    for (int i = 0; i < 300; i++)
        rapt_pool_run(100, 3, sum_task, context);
    return NULL;
}

static void test_several_callers(void **state)
{
    (void)state;
    pthread_t threads[4];
    atomic_llong sums[4] = {0};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, contender, &sums[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_true(atomic_load(&sums[i]) == 300 * 4950);
}

static void busy_task(void *context, int64_t begin, int64_t end, int worker)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000};
    (void)worker;
    nanosleep(&pause, NULL);
    sum_task(context, begin, end, worker);
}

/* Workers that went to sleep between jobs, and a caller that waits for a long piece. */
static void test_sleepers(void **state)
{
    (void)state;
    const struct timespec pause = {.tv_nsec = 3 * 1000 * 1000};
    atomic_llong sum = 0;
    for (int i = 0; i < 20; i++) {
        nanosleep(&pause, NULL);
        rapt_pool_run(16, 1, busy_task, &sum);
    }
    assert_true(atomic_load(&sum) == 20 * 120);
}

static void test_fork(void **state)
{
    (void)state;
    atomic_llong sum = 0;
    rapt_pool_run(100, 1, sum_task, &sum);
    for (int round = 0; round < 5; round++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            atomic_llong own = 0;
            for (int i = 0; i < 50; i++)
                rapt_pool_run(100, 1, sum_task, &own);
            _exit(atomic_load(&own) == 50 * 4950 ? 0 : 1);
        }
        int status;
        rapt_pool_run(100, 1, sum_task, &sum);
        assert_true(waitpid(child, &status, 0) == child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_true(atomic_load(&sum) == 6 * 4950);
}

/* RAPT_THREADS is read once a process, so every value gets its own. */
static void check_threads(const char *value, int expected)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        rapt_error error = {0};
        setenv("RAPT_THREADS", value, 1);
        const rapt_status status = rapt_pool_configure(&error);
        if (expected > 0)
            _exit(status == RAPT_OK && rapt_pool_workers() == expected ? 0 : 1);
        const bool named = strstr(error.message, "RAPT_THREADS") && strstr(error.message, "1024") &&
                           strchr(error.message, '\n') == NULL;
        _exit(status == RAPT_INVALID && named && rapt_pool_workers() == 1 ? 0 : 1);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("RAPT_THREADS='%s'", value);
}

static void test_environment(void **state) /* first: the pool is not configured yet */
{
    (void)state;
    static const char *const bad[] = {
        "0", "-1", "1025", "two", "2x", " 2", "+2", "1.5", "99999999999999999999", "0x2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_threads(bad[i], 0);
    check_threads("1", 1);
    check_threads("3", 3);
    check_threads("1024", 1024);
    check_threads("", rapt_usable_cores());
    setenv("RAPT_THREADS", "3", 1);
    assert_int_equal(rapt_pool_workers(), 3);
}

static void write_text(const char *root, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int quota_of(const char *root, const char *membership)
{
    char path[512];
    snprintf(path, sizeof path, "%s/membership", root);
    write_text(root, "membership", membership);
    return rapt_quota_cores(path, root);
}

static void test_quota(void **state)
{
    (void)state;
    char root[] = "/tmp/rapt-quota-XXXXXX";
    assert_non_null(mkdtemp(root));
    write_text(root, "a/cpu.max", "250000 100000\n");
    write_text(root, "a/b/cpu.max", "max 100000\n");
    write_text(root, "a/b/c/cpu.max", "800000 100000\n");
    write_text(root, "cpu/docker/x/cpu.cfs_quota_us", "150000\n");
    write_text(root, "cpu/docker/x/cpu.cfs_period_us", "100000\n");
    write_text(root, "cpu/free/cpu.cfs_quota_us", "-1\n");
    write_text(root, "cpu/free/cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota_of(root, "0::/a\n"), 3);
    assert_int_equal(quota_of(root, "0::/a/b\n"), 3);
    assert_int_equal(quota_of(root, "0::/a/b/c\n"), 3);
    assert_int_equal(quota_of(root, "0::/\n"), 0);
    assert_int_equal(quota_of(root, "0::/gone/away\n"), 0);
    assert_int_equal(quota_of(root, "4:memory:/a\n3:cpu,cpuacct:/docker/x\n"), 2);
    assert_int_equal(quota_of(root, "3:cpuset:/docker/x\n2:cpu:/free\n"), 0);
    assert_int_equal(quota_of(root, "nonsense\n\n::\n"), 0);
    assert_int_equal(rapt_quota_cores("/nonexistent", root), 0);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    assert_int_equal(system(command), 0);
    assert_true(rapt_usable_cores() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_every_index_once),
        cmocka_unit_test(test_odd_arguments),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_several_callers),
        cmocka_unit_test(test_sleepers),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_quota),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
