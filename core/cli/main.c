/*
 * The `rapt` program: a Lua 5.4 interpreter with the rapt module built in. Everything it does is in
 * scripts/rapt/cli.lua; here stands only what Lua cannot do for itself: finding those scripts next
 * to the binary, signals, and the exit status.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int luaopen_rapt_core(lua_State *L);
int luaopen_rapt_png(lua_State *L);

enum { EXIT_WRONG = 1 };

/* --- Interruption ---------------------------------------------------------------------------- */

/* The state whose code a SIGINT stops. Set before the handler is installed, then constant. */
static lua_State *main_state;
static volatile sig_atomic_t interrupted; /* since interrupts are caught */

static void stop_hook(lua_State *L, lua_Debug *where)
{
    int level = 0;

    lua_sethook(L, NULL, 0, 0);
    /* The line of Lua that was stopped: its function, or the one that called a C function. A hook
     * has no level of its own. */
    while (lua_getstack(L, level, where) && lua_getinfo(L, "l", where) && where->currentline < 0)
        level++;
    luaL_where(L, level);
    lua_pushliteral(L, "interrupted");
    lua_concat(L, 2);
    lua_error(L);
}

/* lua_sethook is the one function of Lua that may be called from a signal handler. The error itself
 * is raised by the interpreter when it next runs an instruction. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
    lua_sethook(main_state, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT,
                1);
}

static void handle_interrupts(void (*handler)(int), int flags)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(SIGINT, &action, NULL);
}

void rapt_cli_catch_interrupts(bool on)
{
    interrupted = 0;
    /* The second SIGINT finds the default action and ends the process, whatever it is doing. No
     * SA_RESTART: a read that waits for input must return. */
    handle_interrupts(on ? on_interrupt : SIG_DFL, on ? (int)SA_RESETHAND : 0);
    if (!on)
        lua_sethook(main_state, NULL, 0, 0);
}

/* host.catch_interrupts(on): from here on a SIGINT becomes the Lua error "interrupted" (once), or
 * ends the process. */
static int l_catch_interrupts(lua_State *L)
{
    rapt_cli_catch_interrupts(lua_toboolean(L, 1));
    return 0;
}

/* host.ignore_interrupts(): until catch_interrupts is called next. */
static int l_ignore_interrupts(lua_State *L)
{
    (void)L;
    handle_interrupts(SIG_IGN, 0);
    lua_sethook(main_state, NULL, 0, 0);
    /* A write that an interrupt cut short was to end: the exit status does not tell of it. */
    if (interrupted)
        clearerr(stdout);
    interrupted = 0;
    return 0;
}

/* host.columns(): of the terminal that output goes to; nil if there is none. */
static int l_columns(lua_State *L)
{
    struct winsize size = {0};
    int fd;

    for (fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
            lua_pushinteger(L, size.ws_col);
            return 1;
        }
    lua_pushnil(L);
    return 1;
}

/* --- The Lua state --------------------------------------------------------------------------- */

static int open_host(lua_State *L)
{
    static const luaL_Reg functions[] = {{"catch_interrupts", l_catch_interrupts},
                                         {"ignore_interrupts", l_ignore_interrupts},
                                         {"columns", l_columns},
                                         {NULL, NULL}};

    luaL_newlib(L, functions);
    lua_pushliteral(L, RAPT_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}

static void preload(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* Puts `patterns` in front of package[field]. */
static void prepend(lua_State *L, const char *field, const char *patterns)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, field);
    lua_pushfstring(L, "%s;%s", patterns, lua_tostring(L, -1));
    lua_setfield(L, -3, field);
    lua_pop(L, 2);
}

static int add_traceback(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

/* Runs require("rapt.cli").main(arg): its result is the exit status. */
static int run_cli(lua_State *L)
{
    const rapt_cli_paths *paths = lua_touserdata(L, 1);
    char **argv = lua_touserdata(L, 2);
    int i;

    luaL_checkversion(L);
    luaL_openlibs(L);
    preload(L, "rapt.core", luaopen_rapt_core);
    preload(L, "rapt.png", luaopen_rapt_png);
    preload(L, "rapt.edit", rapt_cli_open_edit);
    preload(L, "rapt.host", open_host);
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua", paths->scripts, paths->scripts);
    prepend(L, "path", lua_tostring(L, -1));
    if (paths->modules[0]) {
        lua_pushfstring(L, "%s/?.so", paths->modules);
        prepend(L, "cpath", lua_tostring(L, -1));
    }

    lua_newtable(L);
    for (i = 0; argv[i]; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");

    lua_getglobal(L, "require");
    lua_pushliteral(L, "rapt.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_getglobal(L, "arg");
    lua_call(L, 1, 1);
    return 1;
}

static int run(lua_State *L, const rapt_cli_paths *paths, char **argv)
{
    int status = EXIT_WRONG;

    lua_pushcfunction(L, add_traceback);
    lua_pushcfunction(L, run_cli);
    lua_pushlightuserdata(L, (void *)(uintptr_t)paths);
    lua_pushlightuserdata(L, argv);
    if (lua_pcall(L, 2, 1, 1) == LUA_OK)
        status = (int)lua_tointeger(L, -1);
    else if (lua_tostring(L, -1))
        fprintf(stderr, "rapt: %s\n", lua_tostring(L, -1));
    else
        fprintf(stderr, "rapt: an error of type %s\n", luaL_typename(L, -1));
    return status;
}

/* Files opened later must not become standard input, output or error. Where one of these is closed
 * it is opened so that using it fails. */
static void keep_standard_streams(void)
{
    int fd;

    for (fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    rapt_cli_paths paths;
    lua_State *L;
    int status;

    (void)argc;
    keep_standard_streams();
    signal(SIGPIPE, SIG_DFL); /* `rapt list | head -1` ends quietly */
    if (!rapt_cli_find_paths(&paths))
        return EXIT_WRONG;
    L = luaL_newstate();
    if (!L) {
        fprintf(stderr, "rapt: not enough memory\n");
        return EXIT_WRONG;
    }
    main_state = L;
    status = run(L, &paths, argv);
    signal(SIGINT, SIG_DFL);
    lua_close(L);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "rapt: cannot write to standard output: %s\n", strerror(errno));
        status = status ? status : EXIT_WRONG;
    }
    return status;
}
