/* The table of operators, and the plugins they came from. */
#include "base/error.h"
#include "base/text.h"
#include "registry/library.h"
#include "registry/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rapt_registry *rapt_registry_new(const rapt_host *host, rapt_error *error)
{
    rapt_registry *registry = calloc(1, sizeof *registry);
    if (!registry) {
        rapt_fail_memory(error, sizeof *registry, "the registry");
        return NULL;
    }
    registry->host = host;
    return registry;
}

void rapt_registry_free(rapt_registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < registry->n_schemas; i++)
        rapt_schema_release(registry->schemas[i]);
    for (size_t i = 0; i < registry->n_entries; i++)
        rapt_entry_free(registry->entries[i]);
    free(registry->schemas);
    free(registry->entries);
    free(registry);
}

/* --- The table, sorted by name -------------------------------------------------------------- */

/* Where a name stands, or would. */
static size_t position(const rapt_registry *registry, const char *name, bool *found)
{
    size_t low = 0, high = registry->n_schemas;
    *found = false;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(registry->schemas[middle]->op.name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

rapt_schema *rapt_table_find(const rapt_registry *registry, const char *name)
{
    bool found;
    const size_t i = position(registry, name, &found);
    return found ? registry->schemas[i] : NULL;
}

static bool grow(void **list, size_t *capacity, size_t need)
{
    if (need <= *capacity)
        return true;
    const size_t more = need < 16 ? 16 : 2 * need;
    void *grown = realloc(*list, more * sizeof(void *));
    if (!grown)
        return false;
    *list = grown;
    *capacity = more;
    return true;
}

rapt_status rapt_table_reserve(rapt_registry *registry, size_t schemas, size_t entries,
                               rapt_error *error)
{
    void *list = registry->schemas;
    const bool first = grow(&list, &registry->schema_capacity, registry->n_schemas + schemas);
    registry->schemas = list;
    list = registry->entries;
    const bool second = grow(&list, &registry->entry_capacity, registry->n_entries + entries);
    registry->entries = list;
    return first && second
               ? RAPT_OK
               : rapt_fail_memory(error, (registry->n_schemas + schemas) * sizeof(void *),
                                  "the table of operators");
}

void rapt_table_insert(rapt_registry *registry, rapt_schema *schema)
{
    bool found;
    const size_t i = position(registry, schema->op.name, &found);
    memmove(&registry->schemas[i + 1], &registry->schemas[i],
            (registry->n_schemas - i) * sizeof registry->schemas[0]);
    registry->schemas[i] = schema;
    registry->n_schemas++;
}

void rapt_table_remove(rapt_registry *registry, const rapt_library *library)
{
    size_t kept = 0;
    for (size_t i = 0; i < registry->n_schemas; i++) {
        rapt_schema *schema = registry->schemas[i];
        if (schema->library == library)
            rapt_schema_release(schema);
        else
            registry->schemas[kept++] = schema;
    }
    registry->n_schemas = kept;
}

size_t rapt_registry_count(const rapt_registry *registry)
{
    return registry->n_schemas;
}

rapt_schema *rapt_registry_at(const rapt_registry *registry, size_t i)
{
    return i < registry->n_schemas ? registry->schemas[i] : NULL;
}

/* --- Finding ---------------------------------------------------------------------------------- */

/* A plugin file of the operator's name that could not be loaded explains its absence best. */
static const rapt_entry *failed_file(const rapt_registry *registry, const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < registry->n_entries; i++) {
        const rapt_entry *entry = registry->entries[i];
        if (entry->info.error && entry->file && !strncmp(entry->file, name, n) &&
            !strcmp(entry->file + n, ".so"))
            return entry;
    }
    return NULL;
}

static rapt_status not_found(const rapt_registry *registry, const char *name, rapt_error *error)
{
    char core[128];
    const rapt_entry *entry = failed_file(registry, name);
    const char *near = NULL;
    if (entry)
        return rapt_fail(error, RAPT_NOT_FOUND, "no operator \"%s\": %s", name, entry->info.error);
    snprintf(core, sizeof core, "core.%.100s", name);
    if (rapt_table_find(registry, core))
        near = core;
    if (!near && registry->n_schemas > 0) {
        const char **names = malloc(registry->n_schemas * sizeof *names);
        for (size_t i = 0; names && i < registry->n_schemas; i++)
            names[i] = registry->schemas[i]->op.name;
        near = names ? rapt_nearest(name, names, registry->n_schemas) : NULL;
        free(names);
    }
    if (near)
        return rapt_fail(error, RAPT_NOT_FOUND, "no operator \"%.100s\"; did you mean \"%s\"?",
                         name, near);
    return rapt_fail(error, RAPT_NOT_FOUND, "no operator \"%.100s\"", name);
}

rapt_status rapt_registry_find(rapt_registry *registry, const char *name, rapt_schema **schema,
                               rapt_error *error)
{
    rapt_schema *found = rapt_table_find(registry, name);
    if (!found)
        return not_found(registry, name, error);
    *schema = found;
    return RAPT_OK;
}

/* --- What rapt_plugin_info shows -------------------------------------------------------------- */

static const char no_name[] = "";

rapt_entry *rapt_entry_new(const char *name, const char *path, const char *reason,
                           rapt_error *error)
{
    rapt_entry *entry = calloc(1, sizeof *entry);
    char *texts[3] = {strdup(name), strdup(path), reason ? strdup(reason) : NULL};
    const char **operators = calloc(1, sizeof *operators);
    if (!entry || !texts[0] || !texts[1] || (reason && !texts[2]) || !operators) {
        for (int i = 0; i < 3; i++)
            free(texts[i]);
        free(operators);
        free(entry);
        rapt_fail_memory(error, sizeof *entry + strlen(name) + strlen(path), "a plugin's record");
        return NULL;
    }
    memcpy(entry->texts, texts, sizeof texts);
    entry->info = (rapt_plugin_info){.name = texts[0],
                                     .path = texts[1],
                                     .hash = no_name,
                                     .error = texts[2],
                                     .operators = operators};
    return entry;
}

void rapt_entry_free(rapt_entry *entry)
{
    if (!entry)
        return;
    for (int i = 0; i < 3; i++)
        free(entry->texts[i]);
    free(entry->file);
    free(entry->source);
    free((void *)entry->info.operators);
    free(entry->operators);
    rapt_library_release(entry->library);
    free(entry);
}

rapt_status rapt_entry_add_operators(rapt_entry *entry, rapt_schema *const *schemas, size_t n,
                                     rapt_error *error)
{
    const size_t bytes = (entry->n_operators + n + 1) * sizeof(char *);
    const char **names = realloc((void *)entry->info.operators, bytes);
    if (!names)
        return rapt_fail_memory(error, bytes, "a plugin's record");
    entry->info.operators = names;
    for (size_t i = 0; i < n; i++)
        names[entry->n_operators + i] = schemas[i]->op.name;
    entry->n_operators += n;
    names[entry->n_operators] = NULL;
    return RAPT_OK;
}

size_t rapt_registry_plugin_count(const rapt_registry *registry)
{
    return registry->n_entries;
}

const rapt_plugin_info *rapt_registry_plugin_at(const rapt_registry *registry, size_t i)
{
    return i < registry->n_entries ? &registry->entries[i]->info : NULL;
}

/* Who has a name already, for messages. */
const char *rapt_table_owner(const rapt_schema *schema)
{
    return schema->library ? schema->library->path : "rapt itself";
}
