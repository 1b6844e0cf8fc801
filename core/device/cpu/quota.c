/* Affinity mask and control-group quota. */
#include "device/cpu/quota.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int affinity_cores(void)
{
    for (int cores = 1024; cores <= 1 << 18; cores *= 4) {
        cpu_set_t *set = CPU_ALLOC(cores);
        if (set == NULL)
            break;
        const size_t bytes = CPU_ALLOC_SIZE(cores);
        const int failed = sched_getaffinity(0, bytes, set);
        const int reason = errno;
        const int count = failed ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0)
            return count;
        if (reason != EINVAL) /* EINVAL: the mask is wider than the set */
            break;
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

/* First line of a file, without its newline; an empty text where there is none. */
static void first_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    line[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(line, size, file) == NULL)
        line[0] = '\0';
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
}

static int cores_of(double quota, double period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    const double cores = quota / period;
    if (cores >= INT_MAX)
        return 0;
    const int whole = (int)cores;
    return whole + ((double)whole < cores);
}

static int limit_v2(const char *folder)
{
    char path[PATH_MAX], line[128];
    double quota, period;
    if (snprintf(path, sizeof path, "%s/cpu.max", folder) >= (int)sizeof path)
        return 0;
    first_line(path, line, sizeof line);
    return sscanf(line, "%lf %lf", &quota, &period) == 2 ? cores_of(quota, period) : 0;
}

static int limit_v1(const char *folder)
{
    char path[PATH_MAX], quota[64], period[64];
    if (snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder) >= (int)sizeof path)
        return 0;
    first_line(path, quota, sizeof quota);
    if (snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder) >= (int)sizeof path)
        return 0;
    first_line(path, period, sizeof period);
    return cores_of(strtod(quota, NULL), strtod(period, NULL));
}

/* The least limit of the group and of the groups around it. Inside a container the group's own path
 * may not be visible: the walk then meets only the folders that exist. */
static int least_limit(const char *mount, const char *group, int (*limit)(const char *))
{
    char folder[PATH_MAX];
    const size_t base = strlen(mount);
    int least = 0;
    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder)
        return 0;
    for (;;) {
        const int cores = limit(folder);
        if (cores > 0 && (least == 0 || cores < least))
            least = cores;
        if (strlen(folder) <= base)
            return least;
        *strrchr(folder, '/') = '\0';
    }
}

static int has_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; *at; at += strcspn(at, ",")) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return 1;
    }
    return 0;
}

int rapt_quota_cores(const char *membership, const char *root)
{
    char line[PATH_MAX], mount[PATH_MAX];
    int least = 0;
    FILE *file = fopen(membership, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file)) { /* "ID:controllers:/path" */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL || group[1] != '/')
            continue;
        controllers++;
        *group++ = '\0';
        int cores = 0;
        if (*controllers == '\0') {
            cores = least_limit(root, group, limit_v2);
        } else if (has_word(controllers, "cpu") &&
                   snprintf(mount, sizeof mount, "%s/cpu", root) < (int)sizeof mount) {
            cores = least_limit(mount, group, limit_v1);
        }
        if (cores > 0 && (least == 0 || cores < least))
            least = cores;
    }
    fclose(file);
    return least;
}

int rapt_usable_cores(void)
{
    const int cores = affinity_cores();
    const int quota = rapt_quota_cores("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota > 0 && quota < cores ? quota : cores;
}
