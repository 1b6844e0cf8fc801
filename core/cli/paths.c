/* Finding the scripts from the place of the binary, wherever that was moved. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LUA_FOLDER "lua/" LUA_VERSION_MAJOR "." LUA_VERSION_MINOR

/* Writes a path, whole or not at all. */
static bool join(char *path, const char *format, ...)
{
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(path, PATH_MAX, format, arguments);
    va_end(arguments);
    if (n >= 0 && n < PATH_MAX)
        return true;
    path[0] = '\0';
    return false;
}

static bool binary_folder(char *folder)
{
    const ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    char *slash;

    if (n <= 0) {
        fprintf(stderr, "rapt: cannot read /proc/self/exe: %s\n", strerror(errno));
        return false;
    }
    folder[n] = '\0';
    slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    return true;
}

/* The first line of rapt-build.txt is the root of the sources. It is made when the build folder is
 * set up and never installed. */
static bool source_scripts(const char *folder, char *scripts)
{
    char path[PATH_MAX], root[PATH_MAX];
    FILE *file;
    bool found;

    if (!join(path, "%s/rapt-build.txt", folder))
        return false;
    file = fopen(path, "re");
    if (!file)
        return false;
    found = fgets(root, sizeof root, file) != NULL;
    fclose(file);
    if (!found)
        return false;
    root[strcspn(root, "\n")] = '\0';
    return join(scripts, "%s/scripts", root);
}

static bool has_cli(const char *scripts)
{
    char path[PATH_MAX];

    return scripts[0] && join(path, "%s/rapt/cli.lua", scripts) && access(path, R_OK) == 0;
}

bool rapt_cli_find_paths(rapt_cli_paths *paths)
{
    char folder[PATH_MAX];

    paths->scripts[0] = paths->modules[0] = '\0';
    if (!binary_folder(folder))
        return false;
    if (source_scripts(folder, paths->scripts)) {
        if (has_cli(paths->scripts))
            return join(paths->modules, "%s/../lua", folder);
        fprintf(stderr, "rapt: no rapt/cli.lua in %s, named by %s/rapt-build.txt\n", paths->scripts,
                folder);
        return false;
    }
    if (join(paths->scripts, "%s/../share/" LUA_FOLDER, folder) && has_cli(paths->scripts)) {
        join(paths->modules, "%s/../lib/" LUA_FOLDER, folder);
        return true;
    }
    fprintf(stderr, "rapt: no rapt/cli.lua in %s/../share/" LUA_FOLDER "\n", folder);
    return false;
}
