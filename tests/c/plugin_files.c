#include "plugin_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *built; /* where the plugins lie */
char home[128], logged[512];

static void log_line(const rapt_call *call, rapt_log_level level, const char *format, ...)
{
    va_list args;
    (void)call, (void)level;
    va_start(args, format);
    const size_t n = strlen(logged);
    vsnprintf(logged + n, sizeof logged - n, format, args);
    va_end(args);
    strncat(logged, ";", sizeof logged - strlen(logged) - 1);
}

const rapt_host test_host = {
    .size = sizeof test_host, .abi_major = 1, .version = "test", .log = log_line};

const char *at(const char *format, ...)
{
    static char paths[4][PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    va_list args;
    const int n = snprintf(path, PATH_MAX, "%s/", home);
    va_start(args, format);
    vsnprintf(path + n, (size_t)(PATH_MAX - n), format, args);
    va_end(args);
    return path;
}

void copy_part(const char *from, const char *to, size_t most)
{
    char buffer[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n;
    if (!in || !out)
        fail_msg("%s to %s: %s", from, to, strerror(errno));
    while (most > 0 &&
           (n = fread(buffer, 1, most < sizeof buffer ? most : sizeof buffer, in)) > 0) {
        assert_int_equal(fwrite(buffer, 1, n, out), n);
        most -= n;
    }
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fchmod(fileno(out), 0644), 0);
    assert_int_equal(fclose(out), 0);
}

bool know_plugins(void)
{
    built = getenv("RAPT_TEST_PLUGINS");
    if (!built)
        fprintf(stderr, "RAPT_TEST_PLUGINS does not say where the plugins of tests/plugins are\n");
    return built != NULL;
}

const char *built_plugin(const char *plugin)
{
    static char paths[2][PATH_MAX];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, PATH_MAX, "%s/%s.so", built, plugin);
    return path;
}

void put(const char *plugin, const char *as)
{
    unlink(at("%s", as));
    copy_part(built_plugin(plugin), at("%s", as), SIZE_MAX);
}

void write_text(const char *name, const char *text)
{
    FILE *out = fopen(at("%s", name), "wb");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(at("%s", name), 0644), 0);
}

void make_folder(const char *name, mode_t mode)
{
    assert_int_equal(mkdir(at("%s", name), 0755), 0);
    assert_int_equal(chmod(at("%s", name), mode), 0);
}

static void remove_all(const char *folder)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_MAX];
        struct stat found;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_int_equal(lstat(path, &found), 0);
        if (S_ISDIR(found.st_mode))
            remove_all(path);
        else
            assert_int_equal(unlink(path), 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

int set_up(void **state)
{
    char made[] = "/tmp/rapt-loader-XXXXXX", real[PATH_MAX];
    (void)state;
    if (!mkdtemp(made) || !realpath(made, real) || strlen(real) >= sizeof home)
        return -1;
    strcpy(home, real);
    logged[0] = 0;
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    remove_all(home);
    return 0;
}

rapt_registry *new_registry(void)
{
    rapt_registry *registry = rapt_registry_new(&test_host, NULL);
    assert_non_null(registry);
    return registry;
}

void expect_load(rapt_registry *registry, const char *name)
{
    rapt_error error = {0};
    if (rapt_registry_load(registry, at("%s", name), &error))
        fail_msg("%s: %s", name, error.message);
}

float run(const rapt_schema *schema, float x)
{
    int64_t shape[2] = {1, 1};
    float y = -1;
    rapt_view in = {&x, {RAPT_DEVICE_CPU, 0}, 2, {2, 32, 1}, shape, shape, 0}, out = in;
    const rapt_view *inputs[1] = {&in};
    rapt_view *outputs[1] = {&out};
    const rapt_value factor = {1, 1, {0}, 3};
    rapt_call call = {.size = sizeof call,
                      .host = &test_host,
                      .op = &schema->op,
                      .kernel = schema->op.kernels,
                      .inputs = inputs,
                      .outputs = outputs,
                      .attrs = &factor};
    out.data = &y;
    assert_int_equal(schema->op.kernels->forward(&call), RAPT_OK);
    return y;
}

rapt_schema *find(rapt_registry *registry, const char *name)
{
    rapt_schema *schema = NULL;
    rapt_error error = {0};
    if (rapt_registry_find(registry, name, &schema, &error))
        fail_msg("%s", error.message);
    return schema;
}
