/* One plugin file, opened. For this room only. */
#ifndef RAPT_REGISTRY_LIBRARY_H
#define RAPT_REGISTRY_LIBRARY_H

#include "registry/loader.h"
#include <stdatomic.h>
#include <sys/stat.h>

#define RAPT_HASH_TEXT 65 /* SHA-256 in hexadecimal, and a zero */

/* A file that was found fit to be opened. */
typedef struct rapt_plugin_file {
    int fd;
    struct stat stat; /* as it was before it was read */
    char *path;       /* real path */
    char hash[RAPT_HASH_TEXT];
} rapt_plugin_file;

/* Refuses what is no regular file, what others can write, and what lies, or is linked to from, a
 * folder that others can write. Nothing is read yet. */
rapt_status rapt_plugin_file_open(const char *path, rapt_plugin_file *file, rapt_error *error);
void rapt_plugin_file_close(rapt_plugin_file *file);
/* Whether others can write to a folder; missing and unreadable ones are RAPT_IO. */
rapt_status rapt_check_folder(const char *folder, rapt_error *error);
/* Refuses what is no shared library for this machine, or not the whole of one: the dynamic loader
 * would run into the missing end. */
rapt_status rapt_plugin_file_check(const rapt_plugin_file *file, rapt_error *error);
/* Sets file->hash, and writes what was hashed to `copy` unless that is negative. */
rapt_status rapt_plugin_file_hash(rapt_plugin_file *file, int copy, rapt_error *error);

struct rapt_library {
    atomic_int references;
    void *handle;
    int copy;                 /* the memory file that is mapped, or -1: the path itself */
    bool started;             /* init went well, so fini is owed */
    rapt_plugin plugin;       /* this version's struct; operators and functions are copies below */
    rapt_operator *operators; /* flat: their arrays are the plugin's own */
    rapt_function *functions;
    char *path;
    char hash[RAPT_HASH_TEXT];
};

/* Opens, and checks everything but the operators. `fresh`: from a copy of the bytes even if the
 * path could be mapped itself, so that another version of it may stay in use. */
rapt_library *rapt_library_open(const char *path, bool fresh, rapt_error *error);
rapt_status rapt_library_start(rapt_library *library, const rapt_host *host, rapt_error *error);
rapt_library *rapt_library_retain(rapt_library *library);
void rapt_library_release(rapt_library *library); /* NULL is fine */

/* "double slope(int head, int heads)" */
rapt_status rapt_check_signature(const char *signature, rapt_error *error);

#endif
