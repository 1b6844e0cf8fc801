/* Plugins: found, checked, opened, reloaded; and the table of operators by name. */
#ifndef RAPT_REGISTRY_LOADER_H
#define RAPT_REGISTRY_LOADER_H

#include "registry/schema.h"

/* An open plugin file; closed when neither the table nor any schema holds it. */
typedef struct rapt_library rapt_library;

typedef struct rapt_registry rapt_registry;

/* `host` is handed to plugins' init. */
rapt_registry *rapt_registry_new(const rapt_host *host, rapt_error *error);
void rapt_registry_free(rapt_registry *registry);

/* Registers descriptions that are part of the core. */
rapt_status rapt_registry_add_builtin(rapt_registry *registry, const rapt_operator *operators,
                                      size_t n, rapt_error *error);
/* Opens one file. All of its operators are registered, or none. Refuses files and folders that
 * others can write, names already taken, and names under "core.". Reads the file's SHA-256. */
rapt_status rapt_registry_load(rapt_registry *registry, const char *path, rapt_error *error);
/* Every NAME.so in the folders of `path` (separated by ':'), in order; a file name met before is
 * passed over. What cannot be loaded is recorded with its reason. Missing folders are fine. */
void rapt_registry_scan(rapt_registry *registry, const char *path);
rapt_status rapt_registry_reload(rapt_registry *registry, const char *op, rapt_error *error);

/* RAPT_NOT_FOUND names the nearest operator. Valid until the next load or reload, unless retained.
 */
rapt_status rapt_registry_find(rapt_registry *registry, const char *name, rapt_schema **schema,
                               rapt_error *error);
size_t rapt_registry_count(const rapt_registry *registry);
rapt_schema *rapt_registry_at(const rapt_registry *registry, size_t i); /* sorted by name */
size_t rapt_registry_plugin_count(const rapt_registry *registry);
const rapt_plugin_info *rapt_registry_plugin_at(const rapt_registry *registry, size_t i);

/* Folders to search: `first` (or RAPT_PLUGIN_PATH), the user's ($XDG_DATA_HOME or ~/.local/share,
 * then rapt/plugins), the system's (beside librapt: relocatable). Joined by ':'; freed by the
 * caller. */
char *rapt_plugin_folders(const char *first, rapt_error *error);
/* The folder of this library or executable, found at run time; and whether it is a build folder. */
const char *rapt_own_folder(void);

#endif
