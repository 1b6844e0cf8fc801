/*
 * What was found when the devices were last looked for. Starting every driver of a machine takes
 * tens of milliseconds, which a list of devices need not: the list is kept, under a hash of all
 * that it depends on, and says that it was. Whoever uses a device starts its driver.
 */
#include "device/device.h"
#include "device/vulkan/cache.h"
#include "device/vulkan/vulkan.h"
#include <dirent.h>
#include <dlfcn.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

extern char **environ;

static const char record_name[] = "devices";

typedef struct record {
    uint8_t key[SHA256_DIGEST_SIZE];
    int64_t when; /* seconds since 1970 */
    uint64_t count;
    rapt_device_info info[RAPT_VK_MAX_DEVICES];
} record;

/* --- What it depends on ---------------------------------------------------------------------- */

static void add_text(struct sha256_ctx *key, const char *text)
{
    sha256_update(key, strlen(text) + 1, (const uint8_t *)text);
}

/* A file or folder by path, size, time and number. */
static void add_file(struct sha256_ctx *key, const char *path)
{
    struct stat s;
    add_text(key, path);
    if (stat(path, &s) != 0)
        return;
    const int64_t what[] = {(int64_t)s.st_size, (int64_t)s.st_mtim.tv_sec,
                            (int64_t)s.st_mtim.tv_nsec, (int64_t)s.st_ino};
    sha256_update(key, sizeof what, (const uint8_t *)what);
}

static int any(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void add_folder(struct sha256_ctx *key, const char *folder)
{
    struct dirent **entries;
    const int n = scandir(folder, &entries, any, alphasort);
    for (int i = 0; i < n; i++) {
        char path[1024];
        if (snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < (int)sizeof path)
            add_file(key, path);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

/* Manifests of drivers and of layers that load by themselves, below a folder of data. */
static void add_manifests(struct sha256_ctx *key, const char *base, size_t length)
{
    static const char *const below[] = {"vulkan/icd.d", "vulkan/implicit_layer.d"};
    for (int i = 0; i < 2; i++) {
        char folder[1024];
        if (length > 0 && snprintf(folder, sizeof folder, "%.*s/%s", (int)length, base, below[i]) <
                              (int)sizeof folder)
            add_folder(key, folder);
    }
}

static void add_list(struct sha256_ctx *key, const char *list)
{
    while (list && *list) {
        const size_t n = strcspn(list, ":");
        add_manifests(key, list, n);
        list += n + (list[n] == ':');
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Variables that the loader, the drivers and rapt read, in order. */
static void add_environment(struct sha256_ctx *key)
{
    static const char *const prefix[] = {"VK_",      "RAPT_VULKAN_", "MESA_",  "LVP_",     "XDG_",
                                         "NVIDIA_",  "__NV",         "RADV_",  "ANV_",     "AMD_",
                                         "DISABLE_", "ENABLE_",      "LD_LIB", "GALLIUM_", "HOME="};
    char *kept[256];
    size_t n = 0;
    for (char **v = environ; v && *v && n < sizeof kept / sizeof *kept; v++)
        for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
            if (strncmp(*v, prefix[i], strlen(prefix[i])) == 0) {
                kept[n++] = *v;
                break;
            }
    qsort(kept, n, sizeof *kept, by_text);
    for (size_t i = 0; i < n; i++)
        add_text(key, kept[i]);
}

/* The loader, found but not started. */
static void add_loader(struct sha256_ctx *key)
{
    void *library = rapt_vk_loader_open();
    void *symbol = library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
    Dl_info info;
    add_text(key, library ? "loader" : "no loader");
    if (symbol && dladdr(symbol, &info) && info.dli_fname)
        add_file(key, info.dli_fname);
    if (library)
        dlclose(library);
}

static void add_boot(struct sha256_ctx *key)
{
    char id[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return;
    if (fgets(id, sizeof id, file))
        add_text(key, id);
    fclose(file);
}

static void make_key(uint8_t *digest)
{
    struct sha256_ctx key;
    char home[1024];
    sha256_init(&key);
    add_text(&key, RAPT_VERSION);
    add_environment(&key);
    add_loader(&key);
    add_boot(&key);
    add_folder(&key, "/dev/dri");
    add_file(&key, "/dev/nvidia0");
    add_file(&key, "/dev/nvidiactl");
    add_list(&key, "/etc:/usr/local/etc:/etc/xdg:/usr/local/share:/usr/share");
    add_list(&key, getenv("XDG_CONFIG_DIRS"));
    add_list(&key, getenv("XDG_DATA_DIRS"));
    add_list(&key, getenv("XDG_CONFIG_HOME"));
    add_list(&key, getenv("XDG_DATA_HOME"));
    if (getenv("HOME") && snprintf(home, sizeof home, "%s/.local/share:%s/.config", getenv("HOME"),
                                   getenv("HOME")) < (int)sizeof home)
        add_list(&key, home);
    const char *const files[] = {getenv("VK_ICD_FILENAMES"), getenv("VK_DRIVER_FILES")};
    for (int i = 0; i < 2; i++)
        for (const char *at = files[i]; at && *at;) {
            const size_t n = strcspn(at, ":");
            char path[1024];
            if (snprintf(path, sizeof path, "%.*s", (int)n, at) < (int)sizeof path)
                add_file(&key, path);
            at += n + (at[n] == ':');
        }
    sha256_digest(&key, SHA256_DIGEST_SIZE, digest);
}

/* --- The record ------------------------------------------------------------------------------ */

static bool load(record *r, const uint8_t *key)
{
    size_t bytes = 0;
    unsigned char *data = rapt_vk_cache_load(record_name, &bytes);
    const bool whole = data && bytes == sizeof *r;
    if (whole)
        memcpy(r, data, sizeof *r);
    free(data);
    return whole && memcmp(r->key, key, sizeof r->key) == 0 && r->count >= 1 &&
           r->count <= RAPT_VK_MAX_DEVICES;
}

bool rapt_vulkan_list(rapt_device_info *infos, size_t room, size_t *count)
{
    uint8_t key[SHA256_DIGEST_SIZE];
    record *r = malloc(sizeof *r);
    make_key(key);
    const bool good = r && load(r, key);
    for (size_t i = 0; good && i < r->count && i < room; i++) {
        char date[32];
        struct tm t;
        const time_t when = (time_t)r->when;
        infos[i] = r->info[i];
        infos[i].name[sizeof infos[i].name - 1] = 0;
        infos[i].model[sizeof infos[i].model - 1] = 0;
        infos[i].detail[sizeof infos[i].detail - 1] = 0;
        const size_t used = strlen(infos[i].detail);
        if (localtime_r(&when, &t) && strftime(date, sizeof date, "%Y-%m-%d %H:%M", &t) > 0)
            snprintf(infos[i].detail + used, sizeof infos[i].detail - used, "; as found at %s",
                     date);
    }
    if (good)
        *count = r->count < room ? (size_t)r->count : room;
    free(r);
    return good;
}

void rapt_vk_found_store(const rapt_device_driver *drivers, size_t count)
{
    record *was = malloc(sizeof *was), *now = calloc(1, sizeof *now);
    if (was && now) {
        make_key(now->key);
        now->when = (int64_t)time(NULL);
        now->count = count;
        for (size_t i = 0; i < count; i++)
            now->info[i] = drivers[i].info;
        if (!load(was, now->key) || was->count != now->count ||
            memcmp(was->info, now->info, sizeof now->info) != 0)
            rapt_vk_cache_store(record_name, now, sizeof *now);
    }
    free(was);
    free(now);
}
