/* Plugins into the table: all of a plugin's operators, or none. */
#include "base/error.h"
#include "registry/table.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A plugin that is being loaded, to take the place of `old` or to join the table. */
typedef struct loading {
    rapt_registry *registry;
    const rapt_entry *old;
    rapt_library *library;
    rapt_schema **schemas;
    size_t n;
    rapt_entry *entry;
} loading;

static void abandon(loading *l)
{
    for (size_t i = 0; i < l->n; i++)
        rapt_schema_release(l->schemas[i]);
    free(l->schemas);
    rapt_entry_free(l->entry);
    rapt_library_release(l->library);
}

static rapt_status check_name(const loading *l, const char *name, rapt_error *error)
{
    const rapt_schema *taken = rapt_table_find(l->registry, name);
    if (!strncmp(name, "core.", 5))
        return rapt_fail(error, RAPT_INVALID, "operator \"%s\": names under core. are rapt's own",
                         name);
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->schemas[i]->op.name, name))
            return rapt_fail(error, RAPT_INVALID, "operator \"%s\" is described twice", name);
    if (taken && !(l->old && taken->library == l->old->library))
        return rapt_fail(error, RAPT_INVALID, "operator \"%s\" is there already, from %s", name,
                         rapt_table_owner(taken));
    return RAPT_OK;
}

static rapt_status make_schemas(loading *l, rapt_error *error)
{
    const rapt_plugin *plugin = &l->library->plugin;
    if (plugin->n_operators == 0)
        return RAPT_OK;
    l->schemas = calloc(plugin->n_operators, sizeof *l->schemas);
    if (!l->schemas)
        return rapt_fail_memory(error, plugin->n_operators * sizeof *l->schemas, "operators");
    for (uint32_t i = 0; i < plugin->n_operators; i++) {
        rapt_schema *schema = rapt_schema_new(&plugin->operators[i], error);
        if (!schema)
            return error->status;
        const rapt_status status = check_name(l, schema->op.name, error);
        if (status) {
            rapt_schema_release(schema);
            return status;
        }
        schema->library = rapt_library_retain(l->library);
        l->schemas[l->n++] = schema;
    }
    return RAPT_OK;
}

static rapt_status check_plugin_name(const loading *l, rapt_error *error)
{
    const char *name = l->library->plugin.name;
    for (size_t i = 0; i < l->registry->n_entries; i++) {
        const rapt_entry *entry = l->registry->entries[i];
        if (entry != l->old && entry->library && !strcmp(entry->info.name, name))
            return rapt_fail(error, RAPT_INVALID, "a plugin named \"%s\" is there already, from %s",
                             name, entry->info.path);
    }
    return RAPT_OK;
}

/* The record of a plugin, with its description in terms of the schemas. */
static rapt_status make_entry(loading *l, const char *source, const char *file, rapt_error *error)
{
    const rapt_library *library = l->library;
    l->entry = rapt_entry_new(library->plugin.name, library->path, NULL, error);
    if (!l->entry)
        return error->status;
    rapt_entry *entry = l->entry;
    entry->source = strdup(source);
    entry->file = strdup(file);
    entry->operators = calloc(l->n ? l->n : 1, sizeof *entry->operators);
    if (!entry->source || !entry->file || !entry->operators)
        return rapt_fail_memory(error, strlen(source) + l->n * sizeof *entry->operators,
                                "a plugin's record");
    for (size_t i = 0; i < l->n; i++)
        entry->operators[i] = l->schemas[i]->op;
    entry->library = rapt_library_retain(l->library);
    entry->plugin = library->plugin;
    entry->plugin.operators = entry->operators;
    entry->info.version = library->plugin.version;
    entry->info.hash = library->hash;
    entry->info.plugin = &entry->plugin;
    return rapt_entry_add_operators(entry, l->schemas, l->n, error);
}

/* Everything that can fail. */
static rapt_status prepare(loading *l, const char *source, rapt_error *error)
{
    const char *slash = strrchr(source, '/');
    l->library = rapt_library_open(source, l->old != NULL, error);
    if (!l->library)
        return error->status;
    rapt_status status = make_schemas(l, error);
    if (!status)
        status = check_plugin_name(l, error);
    if (status) {
        rapt_prefix_error(error, "%s", l->library->path);
        return status;
    }
    status = make_entry(l, source, slash ? slash + 1 : source, error);
    if (!status)
        status = rapt_table_reserve(l->registry, l->n, 1, error);
    return status ? status : rapt_library_start(l->library, l->registry->host, error);
}

/* A plugin takes the place of the old one, or of the record that the same file failed before. */
static bool is_replaced(const loading *l, const rapt_entry *entry)
{
    if (l->old)
        return entry == l->old;
    return entry->info.error && !strcmp(entry->info.path, l->entry->info.path);
}

/* Nothing can fail any more. */
static void commit(loading *l)
{
    rapt_registry *registry = l->registry;
    size_t at = 0;
    if (l->old)
        rapt_table_remove(registry, l->old->library);
    for (size_t i = 0; i < l->n; i++)
        rapt_table_insert(registry, l->schemas[i]);
    while (at < registry->n_entries && !is_replaced(l, registry->entries[at]))
        at++;
    if (at < registry->n_entries)
        rapt_entry_free(registry->entries[at]);
    else
        registry->n_entries++;
    registry->entries[at] = l->entry;
    free(l->schemas);
    rapt_library_release(l->library);
}

static rapt_status load(rapt_registry *registry, const char *source, const rapt_entry *old,
                        rapt_error *error)
{
    loading l = {.registry = registry, .old = old};
    const rapt_status status = prepare(&l, source, error);
    if (status)
        abandon(&l);
    else
        commit(&l);
    return status;
}

/* The path of a file that may be a link, with its folder's real path. */
static char *absolute(const char *path, rapt_error *error)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char folder[PATH_MAX], real[PATH_MAX];
    if ((size_t)(name - path) >= sizeof folder) {
        rapt_fail(error, RAPT_IO, "%.80s...: %s", path, strerror(ENAMETOOLONG));
        return NULL;
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path);
    if (!realpath(*folder ? folder : ".", real)) {
        rapt_fail(error, errno == ENOENT || errno == ENOTDIR ? RAPT_NOT_FOUND : RAPT_IO, "%s: %s",
                  path, strerror(errno));
        return NULL;
    }
    const size_t bytes = strlen(real) + strlen(name) + 2;
    char *result = malloc(bytes);
    if (!result)
        rapt_fail_memory(error, bytes, "a path");
    else
        snprintf(result, bytes, "%s/%s", strcmp(real, "/") ? real : "", name);
    return result;
}

rapt_status rapt_registry_load(rapt_registry *registry, const char *path, rapt_error *error)
{
    rapt_error ignored;
    if (!error)
        error = &ignored;
    if (!*path)
        return rapt_fail(error, RAPT_NOT_FOUND, "the plugin's path is empty");
    char *source = absolute(path, error);
    if (!source)
        return error->status;
    const rapt_status status = load(registry, source, NULL, error);
    free(source);
    return status;
}

rapt_status rapt_registry_reload(rapt_registry *registry, const char *op, rapt_error *error)
{
    rapt_error ignored;
    rapt_schema *schema;
    if (!error)
        error = &ignored;
    const rapt_status status = rapt_registry_find(registry, op, &schema, error);
    if (status)
        return status;
    for (size_t i = 0; i < registry->n_entries && schema->library; i++)
        if (registry->entries[i]->library == schema->library)
            return load(registry, registry->entries[i]->source, registry->entries[i], error);
    return rapt_fail(error, RAPT_INVALID, "%s is part of rapt itself, and not loaded from a file",
                     op);
}

/* --- Built-in operators ----------------------------------------------------------------------- */

static rapt_entry *builtin_entry(const rapt_registry *registry)
{
    for (size_t i = 0; i < registry->n_entries; i++)
        if (!registry->entries[i]->library && !registry->entries[i]->info.error)
            return registry->entries[i];
    return NULL;
}

rapt_status rapt_registry_add_builtin(rapt_registry *registry, const rapt_operator *operators,
                                      size_t n, rapt_error *error)
{
    rapt_error ignored;
    if (!error)
        error = &ignored;
    rapt_entry *entry = builtin_entry(registry), *made = NULL;
    rapt_status status = RAPT_OK;
    loading l = {.registry = registry, .schemas = calloc(n ? n : 1, sizeof *l.schemas)};
    if (!l.schemas)
        status = rapt_fail_memory(error, n * sizeof *l.schemas, "operators");
    for (size_t i = 0; !status && i < n; i++) {
        const rapt_operator *at = RAPT_AT(rapt_operator, operators, i);
        rapt_schema *schema = rapt_schema_new(at, error);
        if (!schema)
            status = error->status;
        else
            l.schemas[l.n++] = schema;
        for (size_t k = 0; !status && k + 1 < l.n; k++)
            if (!strcmp(l.schemas[k]->op.name, schema->op.name))
                status = rapt_fail(error, RAPT_INVALID, "operator \"%s\" is described twice",
                                   schema->op.name);
        if (!status && rapt_table_find(registry, schema->op.name))
            status =
                rapt_fail(error, RAPT_INVALID, "operator \"%s\" is there already", schema->op.name);
    }
    if (!status && !entry) {
        entry = made = rapt_entry_new("core", "built in", NULL, error);
        status = made ? RAPT_OK : error->status;
    }
    if (!status)
        status = rapt_table_reserve(registry, n, 1, error);
    if (!status)
        status = rapt_entry_add_operators(entry, l.schemas, l.n, error);
    if (status) {
        l.entry = made;
        abandon(&l);
        return status;
    }
    if (made) {
        made->info.version = rapt_version();
        registry->entries[registry->n_entries++] = made;
    }
    for (size_t i = 0; i < l.n; i++)
        rapt_table_insert(registry, l.schemas[i]);
    free(l.schemas);
    return RAPT_OK;
}

/* --- Searching -------------------------------------------------------------------------------- */

/* Notes that a file or folder is not used. Without memory for the note there is none: the operators
 * that are missing then are said to be missing when they are asked for. */
static void record(rapt_registry *registry, const char *name, const char *path, const char *file,
                   const char *reason)
{
    if (rapt_table_reserve(registry, 0, 1, NULL))
        return;
    rapt_entry *entry = rapt_entry_new(name, path, reason, NULL);
    if (!entry)
        return;
    entry->file = file ? strdup(file) : NULL;
    registry->entries[registry->n_entries++] = entry;
}

static const rapt_entry *met_before(const rapt_registry *registry, const char *file)
{
    for (size_t i = 0; i < registry->n_entries; i++)
        if (registry->entries[i]->file && !strcmp(registry->entries[i]->file, file))
            return registry->entries[i];
    return NULL;
}

static int is_plugin_name(const struct dirent *entry)
{
    const size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n > 3 && !strcmp(entry->d_name + n - 3, ".so");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void scan_file(rapt_registry *registry, const char *folder, const char *file)
{
    rapt_error error;
    char path[PATH_MAX], real[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    const rapt_entry *before = met_before(registry, file);
    if (n < 0 || (size_t)n >= sizeof path) {
        record(registry, file, folder, file, strerror(ENAMETOOLONG));
    } else if (!before) {
        if (load(registry, path, NULL, &error))
            record(registry, file, path, file, error.message);
    } else if (realpath(path, real) && strcmp(real, before->info.path) &&
               strcmp(path, before->info.path)) {
        char reason[RAPT_ERROR_SIZE];
        snprintf(reason, sizeof reason, "passed over: %s was met first", before->info.path);
        record(registry, file, path, NULL, reason);
    }
}

static void scan_folder(rapt_registry *registry, const char *given)
{
    rapt_error error;
    struct dirent **files;
    char folder[PATH_MAX];
    if (given[0] != '/') {
        record(registry, given, given, NULL,
               *given ? "passed over: a folder of plugins must be an absolute path"
                      : "passed over: an empty folder would be the current one");
        return;
    }
    if (!realpath(given, folder)) {
        if (errno != ENOENT)
            record(registry, given, given, NULL, strerror(errno));
        return;
    }
    if (rapt_check_folder(folder, &error)) {
        record(registry, folder, folder, NULL, error.message);
        return;
    }
    const int n = scandir(folder, &files, is_plugin_name, by_name);
    if (n < 0) {
        record(registry, folder, folder, NULL, strerror(errno));
        return;
    }
    for (int i = 0; i < n; i++) {
        scan_file(registry, folder, files[i]->d_name);
        free(files[i]);
    }
    free(files);
}

void rapt_registry_scan(rapt_registry *registry, const char *path)
{
    char folder[PATH_MAX];
    if (!*path)
        return;
    for (;; path++) {
        const size_t n = strcspn(path, ":");
        if (n < sizeof folder) {
            memcpy(folder, path, n);
            folder[n] = 0;
            scan_folder(registry, folder);
        } else {
            record(registry, "folder", "folder", NULL, strerror(ENAMETOOLONG));
        }
        path += n;
        if (!*path)
            return;
    }
}
