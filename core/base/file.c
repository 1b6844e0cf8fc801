#include "base/file.h"
#include "base/error.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct rapt_writer {
    int file;
    char *path;      /* where the file will be; symbolic links resolved */
    char *temporary; /* where it is written, in the same folder */
};

/* "PATH: cannot DO: reason" for the errno of a failed system call. */
static rapt_status fail_system(rapt_error *error, const char *path, const char *action, int number)
{
    char reason[128];
    const rapt_status status = number == ENOENT   ? RAPT_NOT_FOUND
                               : number == ENOMEM ? RAPT_NO_MEMORY
                                                  : RAPT_IO;
    return rapt_fail(error, status, "%s: cannot %s: %s", path, action,
                     strerror_r(number, reason, sizeof reason));
}

static int open_retrying(const char *path, int flags, mode_t mode)
{
    int file;
    do
        file = open(path, flags | O_CLOEXEC, mode);
    while (file < 0 && errno == EINTR);
    return file;
}

static int sync_retrying(int file)
{
    int result;
    do
        result = fsync(file);
    while (result < 0 && errno == EINTR);
    return result;
}

static void writer_free(rapt_writer *writer)
{
    if (writer->file >= 0)
        close(writer->file);
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

/* The path that a rename must go to: where a chain of symbolic links ends, so that writing through
 * a link leaves the link. */
static char *resolve(const char *path, struct stat *old, bool *exists, rapt_error *error)
{
    *exists = stat(path, old) == 0;
    if (!*exists && errno != ENOENT) {
        fail_system(error, path, "be written", errno);
        return NULL;
    }
    if (*exists && !S_ISREG(old->st_mode)) {
        rapt_fail(error, RAPT_IO, "%s: cannot be written: %s", path,
                  S_ISDIR(old->st_mode) ? "it is a folder" : "it is not a regular file");
        return NULL;
    }
    char *resolved = *exists ? realpath(path, NULL) : strdup(path);
    if (!resolved)
        fail_system(error, path, "be written", errno);
    return resolved;
}

/* Opens a file of a fresh name beside `path`. Not mkostemp: the file that takes the place of a new
 * path has the permissions that open would give it. */
static int open_beside(rapt_writer *writer)
{
    static atomic_uint serial;
    const char *slash = strrchr(writer->path, '/');
    const int folder = slash ? (int)(slash + 1 - writer->path) : 0;
    for (int attempt = 0; attempt < 100; attempt++) {
        free(writer->temporary);
        if (asprintf(&writer->temporary, "%.*s.%.128s.%ld-%u.part", folder, writer->path,
                     writer->path + folder, (long)getpid(), atomic_fetch_add(&serial, 1)) < 0) {
            writer->temporary = NULL;
            errno = ENOMEM;
            return -1;
        }
        writer->file =
            open_retrying(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
        if (writer->file >= 0 || errno != EEXIST)
            break;
    }
    return writer->file;
}

rapt_writer *rapt_writer_open(const char *path, rapt_error *error)
{
    if (!path || !*path) {
        rapt_fail(error, RAPT_INVALID, "a file to write needs a name");
        return NULL;
    }
    rapt_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        rapt_fail_memory(error, sizeof *writer, "a file writer");
        return NULL;
    }
    writer->file = -1;
    struct stat old;
    bool exists;
    writer->path = resolve(path, &old, &exists, error);
    if (!writer->path) {
        writer_free(writer);
        return NULL;
    }
    if (open_beside(writer) < 0) {
        const int number = errno;
        rapt_fail(error,
                  number == ENOMEM   ? RAPT_NO_MEMORY
                  : number == ENOENT ? RAPT_NOT_FOUND
                                     : RAPT_IO,
                  "%s: cannot be written: %s", path,
                  number == ENOENT ? "no such folder" : strerror(number));
        writer_free(writer);
        return NULL;
    }
    if (exists && fchmod(writer->file, old.st_mode & 07777) < 0) {
        fail_system(error, path, "keep its permissions", errno);
        rapt_writer_abandon(writer);
        return NULL;
    }
    return writer;
}

rapt_status rapt_writer_put(rapt_writer *writer, const void *bytes, size_t n, rapt_error *error)
{
    const char *at = bytes;
    while (n > 0) {
        const ssize_t written = write(writer->file, at, n < SSIZE_MAX ? n : SSIZE_MAX);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return fail_system(error, writer->path, "be written", written < 0 ? errno : EIO);
        at += written;
        n -= (size_t)written;
    }
    return RAPT_OK;
}

/* The folder's entry reaches the disk too. File systems that cannot sync a folder say EINVAL. */
static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t length = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = length ? strndup(path, length) : strdup(".");
    if (!folder)
        return -1;
    const int file = open_retrying(folder, O_RDONLY | O_DIRECTORY, 0);
    free(folder);
    if (file < 0)
        return -1;
    int result = sync_retrying(file);
    const int number = errno;
    close(file);
    errno = number;
    return result < 0 && number == EINVAL ? 0 : result;
}

rapt_status rapt_writer_commit(rapt_writer *writer, rapt_error *error)
{
    rapt_status status = RAPT_OK;
    if (sync_retrying(writer->file) < 0)
        status = fail_system(error, writer->path, "be synced to disk", errno);
    if (status == RAPT_OK) {
        const int file = writer->file;
        writer->file = -1;
        /* Some file systems report a full disk only here. */
        if (close(file) < 0 && errno != EINTR)
            status = fail_system(error, writer->path, "be written", errno);
    }
    if (status == RAPT_OK && rename(writer->temporary, writer->path) < 0)
        status = fail_system(error, writer->path, "be replaced", errno);
    if (status != RAPT_OK) {
        rapt_writer_abandon(writer);
        return status;
    }
    if (sync_folder(writer->path) < 0)
        status =
            rapt_fail(error, RAPT_IO, "%s: is written, but its folder cannot be synced to disk: %s",
                      writer->path, strerror(errno));
    writer_free(writer);
    return status;
}

void rapt_writer_abandon(rapt_writer *writer)
{
    if (!writer)
        return;
    unlink(writer->temporary);
    writer_free(writer);
}

rapt_status rapt_map_file(const char *path, rapt_mapping *mapping, rapt_error *error)
{
    *mapping = (rapt_mapping){0};
    if (!path || !*path)
        return rapt_fail(error, RAPT_INVALID, "a file to read needs a name");
    /* O_NONBLOCK: a pipe is refused below instead of waited for. */
    const int file = open_retrying(path, O_RDONLY | O_NONBLOCK, 0);
    if (file < 0)
        return fail_system(error, path, "be opened", errno);
    struct stat info;
    rapt_status status = RAPT_OK;
    if (fstat(file, &info) < 0)
        status = fail_system(error, path, "be read", errno);
    else if (!S_ISREG(info.st_mode))
        status = rapt_fail(error, RAPT_IO, "%s: cannot be read: %s", path,
                           S_ISDIR(info.st_mode) ? "it is a folder" : "it is not a regular file");
    else if (info.st_size > 0) {
        /* NORESERVE: a file larger than memory can be mapped though its pages may be written. */
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_NORESERVE, file, 0);
        if (data == MAP_FAILED)
            status = fail_system(error, path, "be mapped", errno);
        else
            *mapping = (rapt_mapping){.data = data, .bytes = (size_t)info.st_size};
    }
    close(file);
    return status;
}

void rapt_unmap_file(rapt_mapping *mapping)
{
    if (mapping->data)
        munmap(mapping->data, mapping->bytes);
    *mapping = (rapt_mapping){0};
}
