/* The inside of the registry. For this room only. */
#ifndef RAPT_REGISTRY_TABLE_H
#define RAPT_REGISTRY_TABLE_H

#include "registry/library.h"

/* A plugin, or a file or folder that could not be used. */
typedef struct rapt_entry {
    rapt_plugin_info info;
    char *texts[3]; /* info's name, path and error */
    char *file;     /* the file's name in its folder, as the search met it; NULL: none */
    char *source;   /* what to load again: the path before links were followed; or NULL */
    rapt_library *library;
    rapt_plugin plugin;       /* info.plugin points here */
    rapt_operator *operators; /* plugin.operators: the schemas' */
    size_t n_operators;       /* in info.operators */
} rapt_entry;

struct rapt_registry {
    const rapt_host *host;
    rapt_schema **schemas; /* sorted by name */
    size_t n_schemas, schema_capacity;
    rapt_entry **entries;
    size_t n_entries, entry_capacity;
};

rapt_schema *rapt_table_find(const rapt_registry *registry, const char *name);
/* Makes room, so that the insertions that follow cannot fail. */
rapt_status rapt_table_reserve(rapt_registry *registry, size_t schemas, size_t entries,
                               rapt_error *error);
void rapt_table_insert(rapt_registry *registry, rapt_schema *schema); /* takes the reference */
void rapt_table_remove(rapt_registry *registry, const rapt_library *library);
const char *rapt_table_owner(const rapt_schema *schema);

rapt_entry *rapt_entry_new(const char *name, const char *path, const char *reason,
                           rapt_error *error);
void rapt_entry_free(rapt_entry *entry); /* NULL is fine */
rapt_status rapt_entry_add_operators(rapt_entry *entry, rapt_schema *const *schemas, size_t n,
                                     rapt_error *error);

#endif
