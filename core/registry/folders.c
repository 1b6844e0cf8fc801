/* Where plugins are looked for. */
#include "base/error.h"
#include "base/text.h"
#include "registry/loader.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char own_folder[PATH_MAX];
static pthread_once_t own_folder_once = PTHREAD_ONCE_INIT;

/* The file that holds this code: librapt, a Lua module, or the program itself, whose name among the
 * loaded objects is empty. */
static void find_own_folder(void)
{
    Dl_info info;
    void *map = NULL;
    const char *name = "";
    if (dladdr1((const void *)own_folder, &info, &map, RTLD_DL_LINKMAP) && map)
        name = ((const struct link_map *)map)->l_name;
    if (!realpath(*name ? name : "/proc/self/exe", own_folder)) {
        own_folder[0] = 0;
        return;
    }
    *strrchr(own_folder, '/') = 0;
}

const char *rapt_own_folder(void)
{
    pthread_once(&own_folder_once, find_own_folder);
    return own_folder[0] ? own_folder : NULL;
}

static bool exists(const char *folder, size_t n, const char *name)
{
    char path[PATH_MAX];
    const int length = snprintf(path, sizeof path, "%.*s/%s", (int)n, folder, name);
    return length > 0 && (size_t)length < sizeof path && access(path, F_OK) == 0;
}

/* The system's folder: rapt/plugins beside the library where it is installed or bundled; in a build
 * folder, which lies above the library, its plugins. */
static void append_system(rapt_text *text)
{
    enum { ABOVE = 3 };
    const char *own = rapt_own_folder();
    if (!own)
        return;
    size_t n = strlen(own);
    if (!exists(own, n, "rapt/plugins")) {
        for (int i = 0; i <= ABOVE && n > 0; i++) {
            if (exists(own, n, "build.ninja") && exists(own, n, "meson-private")) {
                rapt_text_append(text, "%s%.*s/plugins", text->length ? ":" : "", (int)n, own);
                return;
            }
            while (n > 0 && own[--n] != '/')
                continue;
        }
    }
    rapt_text_append(text, "%s%s/rapt/plugins", text->length ? ":" : "", own);
}

char *rapt_plugin_folders(const char *first, rapt_error *error)
{
    rapt_text text = {0};
    const char *data = secure_getenv("XDG_DATA_HOME"), *home = secure_getenv("HOME");
    if (!first)
        first = secure_getenv("RAPT_PLUGIN_PATH");
    if (first && *first)
        rapt_text_append(&text, "%s", first);
    /* By the XDG base directory specification a relative path counts as none. */
    if (data && *data == '/')
        rapt_text_append(&text, "%s%s/rapt/plugins", text.length ? ":" : "", data);
    else if (home && *home == '/')
        rapt_text_append(&text, "%s%s/.local/share/rapt/plugins", text.length ? ":" : "", home);
    append_system(&text);
    if (text.length == 0)
        rapt_text_append(&text, "%s", "");
    if (text.failed) {
        rapt_text_free(&text);
        rapt_fail_memory(error, PATH_MAX, "the folders of plugins");
    }
    return text.data;
}
