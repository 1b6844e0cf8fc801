/* Files read and written whole. */
#ifndef RAPT_BASE_FILE_H
#define RAPT_BASE_FILE_H

#include <rapt/rapt.h>

/* A file being written next to `path` under a temporary name. */
typedef struct rapt_writer rapt_writer;

rapt_writer *rapt_writer_open(const char *path, rapt_error *error);
rapt_status rapt_writer_put(rapt_writer *writer, const void *bytes, size_t n, rapt_error *error);
/* Syncs, renames to `path`, syncs the folder; frees the writer in every case. */
rapt_status rapt_writer_commit(rapt_writer *writer, rapt_error *error);
/* Removes the temporary file and frees the writer. NULL is fine. */
void rapt_writer_abandon(rapt_writer *writer);

/* A file mapped private and copy-on-write. An empty file has data NULL. */
typedef struct rapt_mapping {
    unsigned char *data;
    size_t bytes;
} rapt_mapping;
rapt_status rapt_map_file(const char *path, rapt_mapping *mapping, rapt_error *error);
void rapt_unmap_file(rapt_mapping *mapping);

#endif
