/*
 * pseudo_terminal: a program on a terminal of its own, for the specifications.
 *
 *   pseudo_terminal.start{program, argument, ...}  -> terminal | nil, why none can be made
 *   terminal:read(seconds)   -> what it wrote | nil, "late" | nil, "end" (nobody holds the terminal
 * any more) terminal:write(text)     keys typed terminal:modes()         -> {canonical =, echo =,
 * signals =}: whether lines, echo, Ctrl-C are the terminal's terminal:unread()        -> how many
 * bytes it wrote that are not read yet, as far as the system counts them terminal:ended(seconds)
 * waits so long -> nil if it still runs | "exit" or "signal", number terminal:close()         by
 * SIGKILL, if it still runs terminal.pid pseudo_terminal.now()    -> seconds on a clock that nobody
 * sets
 *
 * Whoever forgets a terminal kills its program.
 */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char type_name[] = "pseudo_terminal";

enum { MOST_ARGUMENTS = 32, CANNOT_RUN = 127 };

typedef struct terminal {
    int master; /* -1 once closed */
    pid_t pid;
    bool ended, lost;
    int status; /* as of waitpid, once it has ended and is not lost */
} terminal;

static terminal *check_terminal(lua_State *L)
{
    terminal *t = luaL_checkudata(L, 1, type_name);

    luaL_argcheck(L, t->master >= 0, 1, "the terminal is closed");
    return t;
}

static int failed(lua_State *L, const char *what)
{
    return luaL_error(L, "%s: %s", what, strerror(errno));
}

static lua_Number now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec * 1e-9;
}

/* --- Start ----------------------------------------------------------------------------------- */

/* Both ends of a new terminal of 24 lines of 80 columns; false: errno says why. */
static bool open_ends(int *master, int *slave)
{
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    char name[128];
    int why;

    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*master == -1)
        return false;
    *slave = -1;
    if (grantpt(*master) == 0 && unlockpt(*master) == 0 &&
        ptsname_r(*master, name, sizeof name) == 0)
        *slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*slave != -1 && ioctl(*slave, TIOCSWINSZ, &size) == 0)
        return true;
    why = errno;
    if (*slave != -1)
        close(*slave);
    close(*master);
    errno = why;
    return false;
}

/* In the child: only calls that are safe there, as other threads may run in the parent. */
static void become(int slave, char **arguments)
{
    static const int numbers[] = {SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGTERM, SIGTSTP, SIGCHLD};
    struct sigaction action;
    sigset_t none;
    size_t i;
    int fd;

    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigemptyset(&action.sa_mask);
    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaction(numbers[i], &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() == -1 || ioctl(slave, TIOCSCTTY, 0) == -1)
        _exit(CANNOT_RUN);
    for (fd = 0; fd <= 2; fd++)
        if (dup2(slave, fd) == -1)
            _exit(CANNOT_RUN);
    execvp(arguments[0], arguments);
    _exit(CANNOT_RUN);
}

static int l_start(lua_State *L)
{
    char *arguments[MOST_ARGUMENTS + 1];
    const lua_Integer n = luaL_len(L, 1);
    terminal *t;
    int slave;
    lua_Integer i;

    luaL_argcheck(L, n >= 1 && n <= MOST_ARGUMENTS, 1, "1 to 32 strings expected");
    luaL_checkstack(L, (int)n + 4, NULL);
    for (i = 1; i <= n; i++) {
        lua_geti(L, 1, i); /* stays on the stack, so that the string lives */
        arguments[i - 1] = (char *)luaL_checkstring(L, -1);
    }
    arguments[n] = NULL;
    t = lua_newuserdatauv(L, sizeof *t, 0);
    *t = (terminal){.master = -1, .ended = true};
    luaL_setmetatable(L, type_name);
    if (!open_ends(&t->master, &slave)) {
        t->master = -1;
        lua_pushnil(L);
        lua_pushstring(L, strerror(errno));
        return 2;
    }
    t->pid = fork();
    if (t->pid == 0)
        become(slave, arguments);
    close(slave);
    if (t->pid == -1)
        return failed(L, "fork");
    t->ended = false;
    return 1;
}

/* --- In use ---------------------------------------------------------------------------------- */

static int l_read(lua_State *L)
{
    terminal *t = check_terminal(L);
    const lua_Number seconds = luaL_checknumber(L, 2);
    struct pollfd ready = {.fd = t->master, .events = POLLIN};
    char text[4096];
    ssize_t n;
    int count;

    luaL_argcheck(L, seconds <= 1e6, 2, "too long");
    do
        count = poll(&ready, 1, seconds > 0 ? (int)(seconds * 1000) + 1 : 0);
    while (count == -1 && errno == EINTR);
    if (count == -1)
        return failed(L, "poll");
    if (count == 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "late");
        return 2;
    }
    do
        n = read(t->master, text, sizeof text);
    while (n == -1 && errno == EINTR);
    if (n == -1 && errno != EIO)
        return failed(L, "read");
    if (n <= 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "end");
        return 2;
    }
    lua_pushlstring(L, text, (size_t)n);
    return 1;
}

static int l_write(lua_State *L)
{
    terminal *t = check_terminal(L);
    size_t length;
    const char *text = luaL_checklstring(L, 2, &length);

    while (length > 0) {
        const ssize_t n = write(t->master, text, length);
        if (n == -1 && errno != EINTR)
            return failed(L, "write");
        if (n > 0) {
            text += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

static int l_modes(lua_State *L)
{
    terminal *t = check_terminal(L);
    struct termios modes;

    if (tcgetattr(t->master, &modes) == -1) /* of the slave, by way of its master */
        return failed(L, "tcgetattr");
    lua_newtable(L);
    lua_pushboolean(L, (modes.c_lflag & ICANON) != 0);
    lua_setfield(L, -2, "canonical");
    lua_pushboolean(L, (modes.c_lflag & ECHO) != 0);
    lua_setfield(L, -2, "echo");
    lua_pushboolean(L, (modes.c_lflag & ISIG) != 0);
    lua_setfield(L, -2, "signals");
    return 1;
}

static int l_unread(lua_State *L)
{
    terminal *t = check_terminal(L);
    int n = 0;

    if (ioctl(t->master, FIONREAD, &n) == -1)
        return failed(L, "FIONREAD");
    lua_pushinteger(L, n);
    return 1;
}

/* --- The end --------------------------------------------------------------------------------- */

/* Whether it has ended. Nobody else waits for the process, so that waitpid cannot fail; if it does,
 * it counts as ended in no way: by signal 0. */
static bool reap(terminal *t, int options)
{
    pid_t pid;

    if (t->ended)
        return true;
    do
        pid = waitpid(t->pid, &t->status, options);
    while (pid == -1 && errno == EINTR);
    t->ended = pid != 0;
    t->lost = pid == -1;
    return t->ended;
}

static int l_ended(lua_State *L)
{
    terminal *t = check_terminal(L);
    const lua_Number until = now() + luaL_optnumber(L, 2, 0);
    const struct timespec pause = {.tv_nsec = 2000000};

    while (!reap(t, WNOHANG)) {
        if (now() >= until)
            return 0;
        nanosleep(&pause, NULL);
    }
    if (t->lost || WIFSIGNALED(t->status)) {
        lua_pushliteral(L, "signal");
        lua_pushinteger(L, t->lost ? 0 : WTERMSIG(t->status));
    } else {
        lua_pushliteral(L, "exit");
        lua_pushinteger(L, WEXITSTATUS(t->status));
    }
    return 2;
}

static void kill_program(terminal *t)
{
    if (!reap(t, WNOHANG)) {
        kill(t->pid, SIGKILL);
        reap(t, 0);
    }
}

/* For the garbage collector as well. */
static int l_close(lua_State *L)
{
    terminal *t = luaL_checkudata(L, 1, type_name);

    if (t->master == -1)
        return 0;
    kill_program(t);
    close(t->master);
    t->master = -1;
    return 0;
}

static int l_index(lua_State *L)
{
    const terminal *t = luaL_checkudata(L, 1, type_name);

    if (strcmp(luaL_checkstring(L, 2), "pid") == 0)
        lua_pushinteger(L, t->pid);
    else
        lua_rawget(L, lua_upvalueindex(1)); /* the key is on top */
    return 1;
}

static int l_now(lua_State *L)
{
    lua_pushnumber(L, now());
    return 1;
}

__attribute__((visibility("default"))) int luaopen_pseudo_terminal(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", l_read},     {"write", l_write}, {"modes", l_modes},
                                       {"unread", l_unread}, {"ended", l_ended}, {"close", l_close},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"start", l_start}, {"now", l_now}, {NULL, NULL}};

    luaL_newmetatable(L, type_name);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_pushcclosure(L, l_index, 1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
