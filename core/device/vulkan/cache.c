/* Files in the user's cache folder, each behind a hash of its bytes. */
#include "device/vulkan/cache.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };
static const char magic[8] = "raptvk1";

bool rapt_vk_cache_folder(char *path, size_t size)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (base && base[0] == '/')
        n = snprintf(path, size, "%s/rapt", base);
    else if (home && home[0] == '/')
        n = snprintf(path, size, "%s/.cache/rapt", home);
    else
        return false;
    return n > 0 && (size_t)n < size;
}

/* Ours, and nobody else's to write. */
static bool trusted(const char *path, mode_t kind)
{
    struct stat s;
    return stat(path, &s) == 0 && (s.st_mode & S_IFMT) == kind &&
           (s.st_uid == geteuid() || s.st_uid == 0) && !(s.st_mode & S_IWOTH);
}

static bool path_of(const char *name, char *folder, char *path)
{
    if (!rapt_vk_cache_folder(folder, PATH_SIZE))
        return false;
    const int n = snprintf(path, PATH_SIZE, "%s/%s", folder, name);
    return n > 0 && n < PATH_SIZE;
}

static void hash(const void *data, size_t bytes, uint8_t *digest)
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, bytes, data);
    sha256_digest(&context, SHA256_DIGEST_SIZE, digest);
}

unsigned char *rapt_vk_cache_load(const char *name, size_t *bytes)
{
    const size_t head = sizeof magic + SHA256_DIGEST_SIZE;
    char folder[PATH_SIZE], path[PATH_SIZE];
    uint8_t digest[SHA256_DIGEST_SIZE];
    rapt_mapping file;
    if (!path_of(name, folder, path) || !trusted(folder, S_IFDIR) || !trusted(path, S_IFREG) ||
        rapt_map_file(path, &file, NULL) != RAPT_OK)
        return NULL;
    unsigned char *data = NULL;
    if (file.bytes > head && memcmp(file.data, magic, sizeof magic) == 0) {
        hash(file.data + head, file.bytes - head, digest);
        if (memcmp(digest, file.data + sizeof magic, sizeof digest) == 0)
            data = malloc(file.bytes - head);
    }
    if (data) {
        *bytes = file.bytes - head;
        memcpy(data, file.data + head, *bytes);
    }
    rapt_unmap_file(&file);
    return data;
}

static bool make_folder(char *folder)
{
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        const bool made = mkdir(folder, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return mkdir(folder, 0700) == 0 || errno == EEXIST;
}

void rapt_vk_cache_store(const char *name, const void *data, size_t bytes)
{
    char folder[PATH_SIZE], path[PATH_SIZE];
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (!path_of(name, folder, path) || !make_folder(folder) || !trusted(folder, S_IFDIR))
        return;
    rapt_writer *writer = rapt_writer_open(path, NULL);
    if (!writer)
        return;
    hash(data, bytes, digest);
    if (rapt_writer_put(writer, magic, sizeof magic, NULL) == RAPT_OK &&
        rapt_writer_put(writer, digest, sizeof digest, NULL) == RAPT_OK &&
        rapt_writer_put(writer, data, bytes, NULL) == RAPT_OK)
        (void)rapt_writer_commit(writer, NULL);
    else
        rapt_writer_abandon(writer);
}
