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
 * others can write (folders of links on the way too), files that are cut short, names already
 * taken, and names under "core.". Reads the file's SHA-256 before it opens it.
 *
 * The path itself is mapped, so that debuggers find it; a file that changed between hash and
 * mapping is refused. Where something is mapped under that path already (another registry of this
 * process, a reload) a copy of the bytes in memory is mapped instead: several versions live side by
 * side, each with variables of its own. Replace a plugin by a new file (as linkers and install do),
 * not by writing into the mapped one. */
rapt_status rapt_registry_load(rapt_registry *registry, const char *path, rapt_error *error);
/* Every NAME.so in the folders of `path` (separated by ':'), in order, by name within a folder; a
 * file name met before is passed over. What cannot be loaded, other files of a name met before, and
 * folders that are refused (empty, not absolute, or others can write to them) are recorded with the
 * reason. Missing folders are fine. */
void rapt_registry_scan(rapt_registry *registry, const char *path);
/* Loads the file of an operator's plugin again, whatever operators it has now. Who retained a
 * schema keeps the old plugin, whose fini runs when the last of them is released. On failure the
 * old one stays as it was. */
rapt_status rapt_registry_reload(rapt_registry *registry, const char *op, rapt_error *error);

/* RAPT_NOT_FOUND names the nearest operator. Valid until the next load or reload, unless retained.
 */
rapt_status rapt_registry_find(rapt_registry *registry, const char *name, rapt_schema **schema,
                               rapt_error *error);
size_t rapt_registry_count(const rapt_registry *registry);
rapt_schema *rapt_registry_at(const rapt_registry *registry, size_t i); /* sorted by name */
size_t rapt_registry_plugin_count(const rapt_registry *registry);
const rapt_plugin_info *rapt_registry_plugin_at(const rapt_registry *registry, size_t i);

/* Folders to search: `first` (or, if that is NULL, RAPT_PLUGIN_PATH), the user's ($XDG_DATA_HOME or
 * ~/.local/share, then rapt/plugins), the system's (rapt/plugins beside librapt, so that the whole
 * can be moved; in a build folder its plugins). Joined by ':'; freed by the caller. */
char *rapt_plugin_folders(const char *first, rapt_error *error);
/* The folder of the library or executable that holds this code, found at run time; NULL: unknown.
 */
const char *rapt_own_folder(void);

#endif
