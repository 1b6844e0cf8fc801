/* How much of the machine this process may use. */
#ifndef RAPT_DEVICE_CPU_QUOTA_H
#define RAPT_DEVICE_CPU_QUOTA_H

/* Cores in the affinity mask, or fewer where a control group (v2 or v1) limits processor time;
 * at least 1. */
int rapt_usable_cores(void);

/* The same limit read from another tree, for tests: `membership` is a file like /proc/self/cgroup,
 * `root` a folder like /sys/fs/cgroup. Cores, rounded up; 0: no limit. */
int rapt_quota_cores(const char *membership, const char *root);

#endif
