/* Plugin files opened: mapped, and their constant read. */
#include "registry/library.h"
#include "base/error.h"
#include "registry/copies.h"
#include "registry/parts.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_OPERATORS = 1024, MOST_FUNCTIONS = 1024, PATH_ROOM = 40, TRIES = 64 };

/* The dynamic loader returns what it has already opened under a path, whatever the file there holds
 * now. */
static bool is_mapped(const char *path)
{
    void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    if (handle)
        dlclose(handle);
    return handle != NULL;
}

static rapt_status open_at(rapt_library *library, const char *path, rapt_error *error)
{
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library->handle)
        return RAPT_OK;
    const char *reason = dlerror();
    return rapt_fail(error, RAPT_IO, "cannot be opened: %s", reason ? reason : "no reason given");
}

/* A memory file has no path but that of its descriptor, which stays open, and so unique, for as
 * long as it is mapped. A number that an earlier copy, never quite unmapped, still goes by is
 * passed over. */
static rapt_status open_copy(rapt_library *library, rapt_plugin_file *file, rapt_error *error)
{
    char path[PATH_ROOM];
    library->copy = memfd_create("rapt-plugin", MFD_CLOEXEC);
    if (library->copy < 0)
        return rapt_fail(error, RAPT_IO, "cannot be copied: %s", strerror(errno));
    rapt_status status = rapt_plugin_file_hash(file, library->copy, error);
    if (status)
        return status;
    for (int i = 0; i < TRIES; i++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", library->copy);
        if (!is_mapped(path))
            return open_at(library, path, error);
        const int next = fcntl(library->copy, F_DUPFD_CLOEXEC, library->copy + 1);
        if (next < 0)
            return rapt_fail(error, RAPT_IO, "cannot be copied: %s", strerror(errno));
        close(library->copy);
        library->copy = next;
    }
    return rapt_fail(error, RAPT_INTERNAL, "no descriptor is free to open a copy by");
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Opens the path itself, so that debuggers and profilers find it. What is mapped must be what was
 * hashed: the file may not have changed meanwhile. */
static rapt_status open_path(rapt_library *library, rapt_plugin_file *file, rapt_error *error)
{
    struct stat now;
    rapt_status status = rapt_plugin_file_hash(file, -1, error);
    if (!status)
        status = open_at(library, file->path, error);
    if (!status && (stat(file->path, &now) || !same_file(&now, &file->stat)))
        status = rapt_fail(error, RAPT_IO, "changed while it was being opened; try again");
    return status;
}

/* The constant, if it is this library's own and not that of one it is linked to. */
static const void *find_constant(const rapt_library *library)
{
    struct link_map *own = NULL;
    void *owner = NULL;
    Dl_info info;
    const void *constant = dlsym(library->handle, RAPT_PLUGIN_SYMBOL);
    if (!constant || dlinfo(library->handle, RTLD_DI_LINKMAP, &own) ||
        !dladdr1(constant, &info, &owner, RTLD_DL_LINKMAP))
        return NULL;
    return owner == own ? constant : NULL;
}

static rapt_status check_version(const rapt_plugin *given, rapt_error *error)
{
    struct {
        uint32_t size;
        uint16_t major, minor;
    } head;
    memcpy(&head, given, sizeof head);
    if (head.size >= sizeof head && head.major != RAPT_ABI_MAJOR)
        return rapt_fail(error, RAPT_INVALID, "made for ABI %d, but this is rapt %s with ABI %d",
                         head.major, rapt_version(), RAPT_ABI_MAJOR);
    if (head.size >= sizeof head && head.minor > RAPT_ABI_MINOR)
        return rapt_fail(error, RAPT_INVALID, "needs ABI %d.%d, but this is rapt %s with ABI %d.%d",
                         head.major, head.minor, rapt_version(), RAPT_ABI_MAJOR, RAPT_ABI_MINOR);
    return RAPT_OK;
}

static rapt_status copy_functions(rapt_library *library, rapt_error *error)
{
    rapt_plugin *plugin = &library->plugin;
    void *copies;
    rapt_status status =
        rapt_copy_structs(&rapt_struct_function, plugin->functions, plugin->n_functions,
                          MOST_FUNCTIONS, "functions", &copies, error);
    if (status)
        return status;
    plugin->functions = library->functions = copies;
    for (uint32_t i = 0; i < plugin->n_functions; i++) {
        rapt_function *function = &library->functions[i];
        const char *signature = function->signature ? function->signature : "";
        if (!function->doc)
            function->doc = "";
        status = rapt_check_signature(signature, error);
        if (!status && function->flags)
            status = rapt_fail(error, RAPT_INVALID, "unknown flags 0x%x", function->flags);
        if (!status && !function->function)
            status = rapt_fail(error, RAPT_INVALID, "there is no function");
        if (status)
            return rapt_prefix_error(error, "function %u \"%s\"", i + 1, signature);
    }
    return RAPT_OK;
}

static rapt_status read_plugin(rapt_library *library, rapt_error *error)
{
    rapt_plugin *plugin = &library->plugin;
    const rapt_plugin *given = find_constant(library);
    void *operators;
    if (!given)
        return rapt_fail(error, RAPT_INVALID, "no symbol %s, so it is no plugin",
                         RAPT_PLUGIN_SYMBOL);
    rapt_status status = check_version(given, error);
    if (!status)
        status = rapt_copy_struct(&rapt_struct_plugin, given, plugin, error);
    if (status)
        return status;
    if (!plugin->name || !rapt_is_dotted_name(plugin->name))
        return rapt_fail(error, RAPT_INVALID,
                         "plugin name \"%.80s\", expected [a-z][a-z0-9_]* parts joined by dots",
                         plugin->name ? plugin->name : "");
    if (plugin->n_operators == 0 && plugin->n_functions == 0)
        return rapt_fail(error, RAPT_INVALID, "it has no operators and no functions");
    plugin->version = plugin->version ? plugin->version : "";
    plugin->author = plugin->author ? plugin->author : "";
    plugin->license = plugin->license ? plugin->license : "";
    status = rapt_copy_structs(&rapt_struct_operator, plugin->operators, plugin->n_operators,
                               MOST_OPERATORS, "operators", &operators, error);
    if (status)
        return status;
    plugin->operators = library->operators = operators;
    return copy_functions(library, error);
}

static rapt_status open_file(rapt_library *library, rapt_plugin_file *file, bool fresh,
                             rapt_error *error)
{
    rapt_status status = rapt_plugin_file_check(file, error);
    if (!status)
        status = fresh || is_mapped(file->path) ? open_copy(library, file, error)
                                                : open_path(library, file, error);
    memcpy(library->hash, file->hash, sizeof library->hash);
    return status ? status : read_plugin(library, error);
}

rapt_library *rapt_library_open(const char *path, bool fresh, rapt_error *error)
{
    rapt_plugin_file file;
    if (rapt_plugin_file_open(path, &file, error))
        return NULL;
    rapt_library *library = calloc(1, sizeof *library);
    if (!library) {
        rapt_fail_memory(error, sizeof *library, "a plugin");
        rapt_plugin_file_close(&file);
        return NULL;
    }
    atomic_init(&library->references, 1);
    library->copy = -1;
    const rapt_status status = open_file(library, &file, fresh, error);
    if (status) {
        rapt_prefix_error(error, "%s", file.path);
        rapt_library_release(library);
        library = NULL;
    } else {
        library->path = file.path;
        file.path = NULL;
    }
    rapt_plugin_file_close(&file);
    return library;
}

rapt_status rapt_library_start(rapt_library *library, const rapt_host *host, rapt_error *error)
{
    const rapt_status status = library->plugin.init ? library->plugin.init(host) : RAPT_OK;
    library->started = status == RAPT_OK;
    return status ? rapt_fail(error, status, "%s: its init failed: %s", library->path,
                              rapt_status_name(status))
                  : RAPT_OK;
}

rapt_library *rapt_library_retain(rapt_library *library)
{
    atomic_fetch_add_explicit(&library->references, 1, memory_order_relaxed);
    return library;
}

void rapt_library_release(rapt_library *library)
{
    if (!library || atomic_fetch_sub_explicit(&library->references, 1, memory_order_acq_rel) != 1)
        return;
    if (library->started && library->plugin.fini)
        library->plugin.fini();
    if (library->handle)
        dlclose(library->handle);
    if (library->copy >= 0)
        close(library->copy);
    free(library->operators);
    free(library->functions);
    free(library->path);
    free(library);
}
