/*
 * rapt.edit: one edited line from a terminal, by libedit.
 *
 *   edit.read(prompt)      -> line | nil, "end of file" | nil, "interrupted"
 *   edit.remember(line)    puts a line into the history of this process
 *   edit.completer(f)      f(text before the cursor) -> length of the part to complete, candidates
 *   edit.close()
 *
 * There is one editor, for there is one terminal.
 */
#include "cli/cli.h"

#include <errno.h>
#include <histedit.h>
#include <lauxlib.h>
#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 2000, MAX_PROMPT = 256, MAX_LISTED = 200 };
/* Around bytes of a prompt that take no room on the screen. */
#define PROMPT_ESCAPE '\1'

static struct {
    EditLine *line;
    History *history;
    lua_State *L; /* the caller of edit.read, for the completer */
    int completer;
    char prompt[MAX_PROMPT];
} editor = {.completer = LUA_NOREF};

static volatile sig_atomic_t interrupted, resized, stopped;
static volatile sig_atomic_t signalled; /* since edit.read began, any of the three */
/* While a key is waited for: where Ctrl-C and Ctrl-Z go. */
static volatile sig_atomic_t waiting;
static sigjmp_buf no_key;
static pthread_t reader;

static void on_signal(int number)
{
    if (!pthread_equal(pthread_self(), reader)) { /* a driver's thread that does not block it */
        pthread_kill(reader, number);
        return;
    }
    signalled = 1;
    if (number == SIGINT)
        interrupted = 1;
    else if (number == SIGWINCH)
        resized = 1;
    else if (number == SIGTSTP)
        stopped = 1;
    if (waiting && number != SIGWINCH)
        siglongjmp(no_key, 1);
}

/* Leaves the terminal as it was before the prompt while the process is stopped. */
static void stop_process(EditLine *line)
{
    stopped = 0;
    el_set(line, EL_PREP_TERM, 0);
    raise(SIGSTOP);
    el_set(line, EL_PREP_TERM, 1);
    el_set(line, EL_REFRESH);
}

/* read() of one byte that Ctrl-C and Ctrl-Z end with EINTR even when they come just before it would
 * wait. No key is lost by that: the terminal drops what was typed before these two. The call is the
 * kernel's own, for the C library's may not be left by a jump. */
static ssize_t read_byte(char *byte)
{
    volatile ssize_t n = -1;

    if (sigsetjmp(no_key, 1) != 0) {
        waiting = 0;
        errno = EINTR;
        return -1;
    }
    waiting = 1;
    errno = EINTR;
    if (!interrupted && !stopped)
        n = syscall(SYS_read, STDIN_FILENO, byte, 1);
    waiting = 0;
    return n;
}

/* One character for libedit: 1, 0 at the end of the file, -1 when the line is given up. Bytes that
 * are no UTF-8 are passed over, and so is NUL: the kernel keeps it for a Ctrl-D typed while nobody
 * reads, and libedit would take the next key literally for it. */
static int read_character(EditLine *line, wchar_t *character)
{
    mbstate_t state;
    memset(&state, 0, sizeof state);

    for (;;) {
        char byte;
        size_t used;
        ssize_t n;

        if (interrupted) {
            errno = EINTR;
            return -1;
        }
        n = read_byte(&byte);
        if (n == -1 && errno == EINTR) {
            if (resized)
                el_resize(line);
            resized = 0;
            if (stopped)
                stop_process(line);
            continue;
        }
        if (n <= 0)
            return (int)n;
        used = mbrtowc(character, &byte, 1, &state);
        if (used == (size_t)-1)
            memset(&state, 0, sizeof state);
        else if (used != (size_t)-2 && used != 0)
            return 1;
    }
}

static const char *prompt_text(EditLine *line)
{
    (void)line;
    return editor.prompt;
}

/* --- Completion ------------------------------------------------------------------------------ */

/* The candidates of one completion: a table on top of the Lua stack. */
static const char *candidate(lua_State *L, lua_Integer i)
{
    const char *text;

    lua_rawgeti(L, -1, i);
    text = lua_tostring(L, -1); /* the table keeps the string alive */
    lua_pop(L, 1);
    return text ? text : "";
}

static size_t common_prefix(lua_State *L, lua_Integer n)
{
    const char *first = candidate(L, 1);
    size_t length = strlen(first);
    lua_Integer i;

    for (i = 2; i <= n; i++) {
        const char *other = candidate(L, i);
        size_t k = 0;
        while (k < length && other[k] == first[k])
            k++;
        length = k;
    }
    return length;
}

static void list_candidates(lua_State *L, lua_Integer n)
{
    const lua_Integer shown = n < MAX_LISTED ? n : MAX_LISTED;
    struct winsize size = {.ws_col = 80};
    int width = 1, columns;
    lua_Integer i;

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    for (i = 1; i <= shown; i++) {
        const int length = (int)strlen(candidate(L, i)) + 2;
        width = length > width ? length : width;
    }
    columns = size.ws_col > width ? size.ws_col / width : 1;
    putchar('\n');
    for (i = 1; i <= shown; i++) {
        const bool last = i % columns == 0 || i == shown;
        printf("%-*s%s", last ? 0 : width, candidate(L, i), last ? "\n" : "");
    }
    if (shown < n)
        printf("... and %d more\n", (int)(n - shown));
    fflush(stdout);
}

/* With length of the typed part and candidates on the stack: completes as far as they agree. */
static unsigned char apply_candidates(EditLine *line, lua_State *L)
{
    const size_t typed = (size_t)lua_tointeger(L, -2);
    const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    const char *first;
    char *insertion;
    size_t common;

    if (n == 0)
        return CC_REFRESH_BEEP;
    common = common_prefix(L, n);
    if (common <= typed) {
        if (n == 1)
            return CC_NORM;
        list_candidates(L, n);
        return CC_REDISPLAY;
    }
    first = candidate(L, 1);
    insertion = strndup(first + typed, common - typed);
    if (!insertion)
        return CC_ERROR;
    el_insertstr(line, insertion);
    free(insertion);
    return CC_REFRESH;
}

static unsigned char complete(EditLine *line, int character)
{
    const LineInfo *info = el_line(line);
    lua_State *L = editor.L;
    unsigned char result = CC_REFRESH_BEEP;
    const char *p;

    (void)character;
    for (p = info->buffer; p < info->cursor && (*p == ' ' || *p == '\t'); p++)
        ;
    if (p == info->cursor) { /* nothing typed yet: Tab indents */
        el_insertstr(line, "  ");
        return CC_REFRESH;
    }
    if (editor.completer == LUA_NOREF || !lua_checkstack(L, 4))
        return result;
    lua_rawgeti(L, LUA_REGISTRYINDEX, editor.completer);
    lua_pushlstring(L, info->buffer, (size_t)(info->cursor - info->buffer));
    if (lua_pcall(L, 1, 2, 0) != LUA_OK) {
        lua_pop(L, 1);
        return result;
    }
    if (lua_isinteger(L, -2) && lua_istable(L, -1))
        result = apply_candidates(line, L);
    lua_pop(L, 2);
    return result;
}

/* --- The module ------------------------------------------------------------------------------ */

/* What the keys beside the letters send on the usual terminals; libedit knows few of them. */
static void bind_keys(EditLine *line)
{
    static const char *const keys[][2] = {
        {"\033[H", "ed-move-to-beg"},
        {"\033OH", "ed-move-to-beg"},
        {"\033[1~", "ed-move-to-beg"},
        {"\033[F", "ed-move-to-end"},
        {"\033OF", "ed-move-to-end"},
        {"\033[4~", "ed-move-to-end"},
        {"\033[3~", "ed-delete-next-char"},
        {"\033[1;5D", "ed-prev-word"},
        {"\033[1;5C", "em-next-word"},
        {"^R", "em-inc-search-prev"},
        {"\t", "rapt-complete"},
    };
    size_t i;

    for (i = 0; i < sizeof keys / sizeof keys[0]; i++)
        el_set(line, EL_BIND, keys[i][0], keys[i][1], NULL);
}

static bool open_editor(void)
{
    HistEvent event;

    if (editor.line)
        return true;
    setlocale(LC_CTYPE, "");
    editor.history = history_init();
    if (!editor.history)
        return false;
    editor.line = el_init("rapt", stdin, stdout, stderr);
    if (!editor.line) {
        history_end(editor.history);
        editor.history = NULL;
        return false;
    }
    history(editor.history, &event, H_SETSIZE, HISTORY_LINES);
    history(editor.history, &event, H_SETUNIQUE, 1);
    el_set(editor.line, EL_EDITOR, "emacs");
    el_set(editor.line, EL_HIST, history, editor.history);
    el_set(editor.line, EL_PROMPT_ESC, prompt_text, PROMPT_ESCAPE);
    el_set(editor.line, EL_GETCFN, read_character);
    el_set(editor.line, EL_ADDFN, "rapt-complete", "Complete the name before the cursor", complete);
    bind_keys(editor.line);
    el_source(editor.line, NULL); /* ~/.editrc has the last word */
    return true;
}

static int l_close(lua_State *L)
{
    (void)L;
    if (editor.line)
        el_end(editor.line);
    if (editor.history)
        history_end(editor.history);
    editor.line = NULL;
    editor.history = NULL;
    return 0;
}

/* What el_gets returned, on the Lua stack. */
static int push_line(lua_State *L, const char *text, int length)
{
    /* A write that a signal cut short has lost some of the line's picture, and no output. */
    if (signalled)
        clearerr(stdout);
    if (interrupted) {
        el_reset(editor.line);
        fputs("^C\n", stdout);
        fflush(stdout);
        lua_pushnil(L);
        lua_pushliteral(L, "interrupted");
        return 2;
    }
    if (!text || length <= 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "end of file");
        return 2;
    }
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    lua_pushlstring(L, text, (size_t)length);
    return 1;
}

static int l_read(lua_State *L)
{
    static const int numbers[3] = {SIGINT, SIGWINCH, SIGTSTP};
    const char *prompt = luaL_checkstring(L, 1);
    struct sigaction action, before[3];
    const char *text;
    int i, length = 0;

    if (!open_editor())
        return luaL_error(L, "the terminal cannot be edited on: %s", strerror(errno));
    snprintf(editor.prompt, sizeof editor.prompt, "%s", prompt);
    editor.L = L;
    interrupted = resized = stopped = signalled = 0;
    reader = pthread_self();
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    for (i = 0; i < 3; i++)
        sigaction(numbers[i], &action, &before[i]);
    fflush(stdout);
    el_resize(editor.line);
    /* Before the prompt is shown, so that all keys that answer it are edited. */
    el_set(editor.line, EL_PREP_TERM, 1);
    text = el_gets(editor.line, &length);
    for (i = 0; i < 3; i++)
        sigaction(numbers[i], &before[i], NULL);
    return push_line(L, text, length);
}

static int l_remember(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    HistEvent event;

    if (open_editor())
        history(editor.history, &event, H_ENTER, text);
    return 0;
}

static int l_completer(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_unref(L, LUA_REGISTRYINDEX, editor.completer);
    lua_settop(L, 1);
    editor.completer = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int rapt_cli_open_edit(lua_State *L)
{
    static const luaL_Reg functions[] = {{"read", l_read},
                                         {"remember", l_remember},
                                         {"completer", l_completer},
                                         {"close", l_close},
                                         {NULL, NULL}};

    luaL_newlib(L, functions);
    return 1;
}
