/* Plugin files before they are opened: whose they are, whether they are whole, their hash. */
#include "base/error.h"
#include "registry/library.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINKS = 40, CHUNK = 65536 };

static rapt_status system_error(rapt_error *error, const char *path)
{
    const rapt_status status = errno == ENOENT || errno == ENOTDIR ? RAPT_NOT_FOUND
                               : errno == ENOMEM                   ? RAPT_NO_MEMORY
                                                                   : RAPT_IO;
    return rapt_fail(error, status, "%s: %s", path, strerror(errno));
}

rapt_status rapt_check_folder(const char *folder, rapt_error *error)
{
    struct stat found;
    if (stat(folder, &found))
        return system_error(error, folder);
    if (!S_ISDIR(found.st_mode))
        return rapt_fail(error, RAPT_IO, "%s is no folder", folder);
    if (found.st_mode & S_IWOTH)
        return rapt_fail(error, RAPT_INVALID,
                         "others can write to the folder %s (mode %04o), expected chmod o-w",
                         folder, (unsigned)found.st_mode & 07777);
    return RAPT_OK;
}

/* Checks the folder that a path lies in. */
static rapt_status check_parent(const char *path, rapt_error *error)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 0;
    if (!slash)
        return rapt_check_folder(".", error);
    memcpy(folder, path, n);
    memcpy(folder + n, n ? "" : "/", n ? 1 : 2);
    return rapt_check_folder(folder, error);
}

/* Puts the target of the link `path` in its place. */
static rapt_status follow_link(char path[PATH_MAX], rapt_error *error)
{
    char target[PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return system_error(error, path);
    char *slash = strrchr(path, '/');
    const size_t keep = target[0] == '/' || !slash ? 0 : (size_t)(slash + 1 - path);
    if (keep + (size_t)length >= PATH_MAX)
        return rapt_fail(error, RAPT_IO, "%s: %s", path, strerror(ENAMETOOLONG));
    memcpy(path + keep, target, (size_t)length);
    path[keep + (size_t)length] = 0;
    return RAPT_OK;
}

/* Whoever can write to a folder that holds a link on the way decides what is loaded. */
static rapt_status check_links(const char *path, rapt_error *error)
{
    char at[PATH_MAX];
    struct stat found;
    if (strlen(path) >= sizeof at)
        return rapt_fail(error, RAPT_IO, "%.80s...: %s", path, strerror(ENAMETOOLONG));
    strcpy(at, path);
    for (int i = 0; i < LINKS; i++) {
        if (lstat(at, &found))
            return system_error(error, at);
        rapt_status status = check_parent(at, error);
        if (status || !S_ISLNK(found.st_mode))
            return status;
        status = follow_link(at, error);
        if (status)
            return status;
    }
    return rapt_fail(error, RAPT_IO, "%s: %s", path, strerror(ELOOP));
}

rapt_status rapt_plugin_file_open(const char *path, rapt_plugin_file *file, rapt_error *error)
{
    *file = (rapt_plugin_file){.fd = -1};
    rapt_status status = check_links(path, error);
    if (status)
        return status;
    file->path = realpath(path, NULL);
    if (!file->path)
        return system_error(error, path);
    status = check_parent(file->path, error);
    if (!status) {
        file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (file->fd < 0 || fstat(file->fd, &file->stat))
            status = system_error(error, file->path);
        else if (!S_ISREG(file->stat.st_mode))
            status = rapt_fail(error, RAPT_IO, "%s is no regular file", file->path);
        else if (file->stat.st_mode & S_IWOTH)
            status = rapt_fail(error, RAPT_INVALID,
                               "others can write to the file %s (mode %04o), expected chmod o-w",
                               file->path, (unsigned)file->stat.st_mode & 07777);
    }
    if (status)
        rapt_plugin_file_close(file);
    return status;
}

void rapt_plugin_file_close(rapt_plugin_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    file->fd = -1;
    file->path = NULL;
}

/* Reads all of `n` bytes or fails. */
static bool read_at(int fd, void *bytes, size_t n, off_t offset)
{
    char *to = bytes;
    while (n > 0) {
        const ssize_t got = pread(fd, to, n, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        n -= (size_t)got;
        offset += got;
    }
    return true;
}

static rapt_status cut_short(const rapt_plugin_file *file, uint64_t need, rapt_error *error)
{
    return rapt_fail(error, RAPT_IO, "cut short: %lld bytes, but its headers speak of %llu",
                     (long long)file->stat.st_size, (unsigned long long)need);
}

/* `count` entries of `size` bytes at `offset`, or UINT64_MAX. */
static uint64_t table_end(uint64_t offset, uint64_t count, uint64_t size)
{
    uint64_t end;
    if (__builtin_mul_overflow(count, size, &end) || __builtin_add_overflow(end, offset, &end))
        return UINT64_MAX;
    return end;
}

rapt_status rapt_plugin_file_check(const rapt_plugin_file *file, rapt_error *error)
{
    const uint64_t size = (uint64_t)file->stat.st_size;
    ElfW(Ehdr) header;
    if (size < sizeof header || !read_at(file->fd, &header, sizeof header, 0) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG))
        return rapt_fail(error, RAPT_IO, "not a shared library: it has no ELF header");
    if (header.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        header.e_type != ET_DYN || header.e_phentsize != sizeof(ElfW(Phdr)))
        return rapt_fail(error, RAPT_IO, "not a shared library for this machine");

    const uint64_t headers = table_end(header.e_phoff, header.e_phnum, sizeof(ElfW(Phdr)));
    const uint64_t sections = table_end(header.e_shoff, header.e_shnum, header.e_shentsize);
    if (headers > size || sections > size)
        return cut_short(file, headers > sections ? headers : sections, error);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        ElfW(Phdr) part;
        if (!read_at(file->fd, &part, sizeof part, (off_t)(header.e_phoff + i * sizeof part)))
            return cut_short(file, headers, error);
        const uint64_t end = table_end(part.p_offset, 1, part.p_filesz);
        if (part.p_type == PT_LOAD && end > size)
            return cut_short(file, end, error);
    }
    return RAPT_OK;
}

static bool write_all(int fd, const unsigned char *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t put = write(fd, bytes, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        bytes += put;
        n -= (size_t)put;
    }
    return true;
}

rapt_status rapt_plugin_file_hash(rapt_plugin_file *file, int copy, rapt_error *error)
{
    struct sha256_ctx context;
    off_t offset = 0;
    rapt_status status = RAPT_OK;
    unsigned char *chunk = malloc(CHUNK);
    if (!chunk)
        return rapt_fail_memory(error, CHUNK, "reading a plugin");
    sha256_init(&context);
    for (;;) {
        const ssize_t n = pread(file->fd, chunk, CHUNK, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = rapt_fail(error, RAPT_IO, "cannot be read: %s", strerror(errno));
        else if (n > 0 && copy >= 0 && !write_all(copy, chunk, (size_t)n))
            status = rapt_fail(error, RAPT_IO, "cannot be copied: %s", strerror(errno));
        if (status || n == 0)
            break;
        sha256_update(&context, (size_t)n, chunk);
        offset += n;
    }
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(file->hash + 2 * i, 3, "%02x", digest[i]);
    free(chunk);
    return status;
}
