/* What the processor offers: instruction set level, cache sizes, model. */
#include "device/cpu/detect.h"
#include "base/error.h"
#include "device/cpu/services.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static rapt_cpu_service table = {.size = sizeof(rapt_cpu_service), .level = RAPT_CPU_PORTABLE};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool detected;

static const char *const level_names[] = {
    [RAPT_CPU_PORTABLE] = "portable",
    [RAPT_CPU_AVX2] = "avx2",
    [RAPT_CPU_AVX512] = "avx512",
    [RAPT_CPU_NEON] = "neon",
};
enum { LEVELS = sizeof level_names / sizeof level_names[0] };

const char *rapt_cpu_level_name(rapt_cpu_level level)
{
    return (unsigned)level < LEVELS ? level_names[level] : "?";
}

#if defined(__x86_64__)
/* Registers that the operating system saves: XCR0. */
static unsigned saved_registers(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has_level(rapt_cpu_level level)
{
    enum { YMM = 0x6, ZMM = 0xe6 };
    const unsigned osxsave = 1u << 27, avx = 1u << 28, fma = 1u << 12, f16c = 1u << 29;
    const unsigned avx2 = 1u << 5;
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F DQ BW VL */
    unsigned a, b, c, d, ecx1, ebx7;
    if (level == RAPT_CPU_PORTABLE)
        return true;
    if (level == RAPT_CPU_NEON || !__get_cpuid(1, &a, &b, &ecx1, &d) ||
        !__get_cpuid_count(7, 0, &a, &ebx7, &c, &d))
        return false;
    if ((ecx1 & (osxsave | avx | fma | f16c)) != (osxsave | avx | fma | f16c) || !(ebx7 & avx2) ||
        (saved_registers() & YMM) != YMM)
        return false;
    return level == RAPT_CPU_AVX2 ||
           ((ebx7 & avx512) == avx512 && (saved_registers() & ZMM) == ZMM);
}
#elif defined(__aarch64__)
static bool has_level(rapt_cpu_level level)
{
    return level == RAPT_CPU_PORTABLE || level == RAPT_CPU_NEON;
}
#else
static bool has_level(rapt_cpu_level level)
{
    return level == RAPT_CPU_PORTABLE;
}
#endif

static rapt_cpu_level best_level(void)
{
    static const rapt_cpu_level order[] = {RAPT_CPU_AVX512, RAPT_CPU_AVX2, RAPT_CPU_NEON};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (has_level(order[i]))
            return order[i];
    return RAPT_CPU_PORTABLE;
}

static rapt_status choose_level(rapt_cpu_level *level, rapt_error *error)
{
    const char *name = getenv("RAPT_CPU");
    if (name == NULL || *name == '\0') {
        *level = best_level();
        return RAPT_OK;
    }
    for (unsigned i = 0; i < LEVELS; i++) {
        if (strcmp(name, level_names[i]) != 0)
            continue;
        *level = (rapt_cpu_level)i;
        if (has_level(*level))
            return RAPT_OK;
        return rapt_fail(error, RAPT_INVALID,
                         "RAPT_CPU is '%s', which this processor lacks: the best it has is %s",
                         name, level_names[best_level()]);
    }
    return rapt_fail(error, RAPT_INVALID,
                     "RAPT_CPU is '%.40s': expected avx512, avx2, neon or portable", name);
}

/* Reads a one-line file of sysfs; an empty text where there is none. */
static void read_line(const char *path, char *line, int size)
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

static int64_t cache_from_sysfs(int level)
{
    for (int i = 0; i < 8; i++) {
        char path[96], text[64];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
        read_line(path, text, sizeof text);
        if (atoi(text) != level)
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", i);
        read_line(path, text, sizeof text);
        if (strcmp(text, "Instruction") == 0)
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        read_line(path, text, sizeof text);
        char *unit;
        const int64_t value = strtoll(text, &unit, 10);
        return value < 0 ? 0 : value * (*unit == 'K' ? 1024 : *unit == 'M' ? 1024 * 1024 : 1);
    }
    return 0;
}

static int64_t cache_bytes(int level, int name)
{
    const long bytes = sysconf(name);
    return bytes > 0 ? bytes : cache_from_sysfs(level);
}

rapt_status rapt_cpu_detect(rapt_error *error)
{
    rapt_status status = RAPT_OK;
    pthread_mutex_lock(&lock);
    if (!detected) {
        status = choose_level(&table.level, error);
        table.l1_bytes = cache_bytes(1, _SC_LEVEL1_DCACHE_SIZE);
        table.l2_bytes = cache_bytes(2, _SC_LEVEL2_CACHE_SIZE);
        table.l3_bytes = cache_bytes(3, _SC_LEVEL3_CACHE_SIZE);
        __atomic_store_n(&detected, status == RAPT_OK, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

const rapt_cpu_service *rapt_cpu_table(void)
{
    if (!__atomic_load_n(&detected, __ATOMIC_ACQUIRE))
        (void)rapt_cpu_detect(NULL);
    return &table;
}

/* "model name" where /proc/cpuinfo has it (x86), otherwise the machine's name from the device tree,
 * otherwise the architecture. */
void rapt_cpu_model(char *model, size_t size)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file)) {
        const char *value = strchr(line, ':');
        if (value == NULL || strncmp(line, "model name", 10) != 0)
            continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(model, size, "%.*s", (int)strcspn(value, "\n"), value);
        found = *model != '\0';
    }
    if (file != NULL)
        fclose(file);
    if (found)
        return;
    read_line("/proc/device-tree/model", line, sizeof line);
#if defined(__x86_64__)
    const char *architecture = "x86-64 processor";
#elif defined(__aarch64__)
    const char *architecture = "64-bit Arm processor";
#else
    const char *architecture = "unknown processor";
#endif
    snprintf(model, size, "%s", *line ? line : architecture);
}
