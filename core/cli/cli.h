/* The parts of the `rapt` program. */
#ifndef RAPT_CLI_CLI_H
#define RAPT_CLI_CLI_H

#include <limits.h>
#include <lua.h>
#include <stdbool.h>

/* Where the Lua files lie. */
typedef struct rapt_cli_paths {
    char scripts[PATH_MAX]; /* holds rapt/cli.lua */
    char modules[PATH_MAX]; /* compiled modules that travel with the scripts, or "" */
} rapt_cli_paths;

/* Finds them relative to the running binary: in a build folder (the file rapt-build.txt beside the
 * binary names the sources), or under the prefix whose bin/ holds it. Returns false after saying on
 * standard error where it looked. */
bool rapt_cli_find_paths(rapt_cli_paths *paths);

/* From here on a SIGINT becomes the Lua error "interrupted", once; `on` false: the default action.
 */
void rapt_cli_catch_interrupts(bool on);

/* The module rapt.edit: line editing with history and completion on a terminal. */
int rapt_cli_open_edit(lua_State *L);

#endif
