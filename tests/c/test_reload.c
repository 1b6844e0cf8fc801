/* Plugins: reloaded, in several registries at once, found from a folder that was moved, and with
 * every allocation and system call failing in turn. */
#include "fault.h"
#include "plugin_files.h"
#include "sample_operator.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int count_calls(const rapt_registry *registry)
{
    const rapt_plugin *plugin = rapt_registry_plugin_at(registry, 0)->plugin;
    return ((int (*)(void))plugin->functions[0].function)();
}

static void test_reload(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    rapt_error error = {0};
    char text[PATH_MAX + 100], first_hash[65];
    put("good", "good.so");
    expect_load(registry, "good.so");
    rapt_schema *old = rapt_schema_retain(find(registry, "test.good"));
    assert_int_equal(count_calls(registry), 1);
    assert_int_equal(count_calls(registry), 2);
    strcpy(first_hash, rapt_registry_plugin_at(registry, 0)->hash);

    /* The same file again is a copy with variables of its own. */
    assert_int_equal(rapt_registry_reload(registry, "test.second", &error), RAPT_OK);
    assert_int_equal(count_calls(registry), 1);
    assert_string_equal(logged, "init 1.0;init 1.0;");
    assert_true(run(old, 2) == 6); /* still mapped */
    assert_true(find(registry, "test.good") != old);

    /* Another file, with another set of operators. */
    put("good_again", "good.so");
    assert_int_equal(rapt_registry_reload(registry, "test.good", &error), RAPT_OK);
    assert_string_equal(logged, "init 1.0;init 1.0;init 2.0;fini 1.0;");
    assert_string_equal(find(registry, "test.third")->op.version, "2.0");
    assert_string_equal(rapt_registry_plugin_at(registry, 0)->version, "2.0");
    assert_string_not_equal(rapt_registry_plugin_at(registry, 0)->hash, first_hash);
    assert_int_equal(rapt_registry_plugin_count(registry), 1);
    assert_int_equal(rapt_registry_count(registry), 2);
    rapt_schema *gone;
    assert_int_equal(rapt_registry_find(registry, "test.second", &gone, &error), RAPT_NOT_FOUND);

    /* What cannot be loaded leaves everything as it was. */
    rapt_schema *now = find(registry, "test.good");
    put("no_kernel", "good.so");
    assert_int_equal(rapt_registry_reload(registry, "test.good", &error), RAPT_INVALID);
    snprintf(text, sizeof text, "%s: test.sample: no kernels", at("good.so"));
    assert_string_equal(error.message, text);
    unlink(at("good.so"));
    assert_int_equal(rapt_registry_reload(registry, "test.good", &error), RAPT_NOT_FOUND);
    assert_ptr_equal(find(registry, "test.good"), now);
    assert_true(run(now, 1) == 3);
    assert_int_equal(rapt_registry_plugin_count(registry), 1);

    /* The first one goes with its last user. */
    assert_string_equal(old->op.version, "1.0");
    rapt_schema_release(old);
    assert_string_equal(logged, "init 1.0;init 1.0;init 2.0;fini 1.0;fini 1.0;");
    assert_int_equal(rapt_registry_reload(registry, "nothing", &error), RAPT_NOT_FOUND);
    rapt_registry_free(registry);

    registry = new_registry();
    sample_operator s;
    sample_make(&s);
    s.op.name = "core.cog";
    assert_int_equal(rapt_registry_add_builtin(registry, &s.op, 1, NULL), RAPT_OK);
    assert_int_equal(rapt_registry_reload(registry, "core.cog", &error), RAPT_INVALID);
    assert_string_equal(error.message,
                        "core.cog is part of rapt itself, and not loaded from a file");
    rapt_registry_free(registry);
}

/* Many reloads, some with a user of the old version: nothing runs out, and no copy is mistaken for
 * another. */
static void test_many_reloads(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    rapt_schema *kept[8] = {0};
    put("good", "good.so");
    expect_load(registry, "good.so");
    for (int i = 0; i < 48; i++) {
        rapt_schema_release(kept[i % 8]);
        kept[i % 8] = i % 3 ? rapt_schema_retain(find(registry, "test.good")) : NULL;
        put(i % 2 ? "good" : "good_again", "good.so");
        assert_int_equal(rapt_registry_reload(registry, "test.good", NULL), RAPT_OK);
        assert_string_equal(find(registry, "test.good")->op.version, i % 2 ? "1.0" : "2.0");
        assert_int_equal(count_calls(registry), 1);
        logged[0] = 0;
    }
    for (int i = 0; i < 8; i++) {
        if (kept[i])
            assert_true(run(kept[i], 1) == 3);
        rapt_schema_release(kept[i]);
    }
    rapt_registry_free(registry);
}

/* Two registries of one process do not share a plugin's variables; nor is an old file that is still
 * mapped under a path taken for the new one there. */
static void test_two_registries(void **state)
{
    (void)state;
    rapt_registry *first = new_registry(), *second = new_registry();
    put("good", "good.so");
    expect_load(first, "good.so");
    expect_load(second, "good.so");
    assert_int_equal(count_calls(first), 1);
    assert_int_equal(count_calls(second), 1);
    rapt_registry_free(second);
    second = new_registry();
    put("good_again", "good.so");
    expect_load(second, "good.so");
    assert_string_equal(rapt_registry_plugin_at(second, 0)->version, "2.0");
    assert_string_equal(find(second, "test.good")->op.version, "2.0");
    assert_string_equal(find(first, "test.good")->op.version, "1.0");
    rapt_registry_free(first);
    assert_int_equal(count_calls(second), 1);
    rapt_registry_free(second);
}

static void test_folders(void **state)
{
    (void)state;
    const char *own = rapt_own_folder();
    char exe[PATH_MAX], build[PATH_MAX], expected[3 * PATH_MAX];
    assert_non_null(realpath("/proc/self/exe", exe));
    *strrchr(exe, '/') = 0;
    assert_string_equal(own, exe);
    /* This test is linked statically: the build folder lies two above it. */
    strcpy(build, exe);
    for (int i = 0; i < 2; i++)
        *strrchr(build, '/') = 0;

    setenv("XDG_DATA_HOME", "/data", 1);
    setenv("RAPT_PLUGIN_PATH", "/one:/two", 1);
    char *folders = rapt_plugin_folders(NULL, NULL);
    snprintf(expected, sizeof expected, "/one:/two:/data/rapt/plugins:%s/plugins", build);
    assert_string_equal(folders, expected);
    free(folders);
    folders = rapt_plugin_folders("/three", NULL);
    snprintf(expected, sizeof expected, "/three:/data/rapt/plugins:%s/plugins", build);
    assert_string_equal(folders, expected);
    free(folders);
    setenv("XDG_DATA_HOME", "data", 1); /* relative: does not count */
    setenv("RAPT_PLUGIN_PATH", "", 1);
    setenv("HOME", "/home/someone", 1);
    folders = rapt_plugin_folders(NULL, NULL);
    snprintf(expected, sizeof expected, "/home/someone/.local/share/rapt/plugins:%s/plugins",
             build);
    assert_string_equal(folders, expected);
    free(folders);
    unsetenv("XDG_DATA_HOME");
    unsetenv("HOME");
    unsetenv("RAPT_PLUGIN_PATH");
    folders = rapt_plugin_folders(NULL, NULL);
    snprintf(expected, sizeof expected, "%s/plugins", build);
    assert_string_equal(folders, expected);
    free(folders);
    FAULT_EACH(FAULT_ALL)
    {
        rapt_error error = {0};
        folders = rapt_plugin_folders("/x", &error);
        if (!folders)
            fault_expect_error(&error);
        free(folders);
    }
}

/* Installed or bundled: rapt/plugins beside the code, wherever that was moved. Run as a copy. */
static void test_moved(void **state)
{
    (void)state;
    char command[PATH_MAX + 80], line[PATH_MAX] = "", expected[PATH_MAX];
    make_folder("lib", 0755);
    assert_int_equal(mkdir(at("lib/rapt"), 0755), 0);
    assert_int_equal(mkdir(at("lib/rapt/plugins"), 0755), 0);
    copy_part("/proc/self/exe", at("lib/copy"), SIZE_MAX);
    assert_int_equal(chmod(at("lib/copy"), 0755), 0);
    snprintf(command, sizeof command, "cd / && env -u HOME -u XDG_DATA_HOME '%s' --folders",
             at("lib/copy"));
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof line, pipe));
    assert_int_equal(pclose(pipe), 0);
    line[strcspn(line, "\n")] = 0;
    snprintf(expected, sizeof expected, "%s", at("lib/rapt/plugins"));
    assert_string_equal(line, expected);
}

/* What stays mapped is the dynamic loader's; everything else comes back, and a failure leaves the
 * table as it was. */
static void test_faults(void **state)
{
    (void)state;
    char path[PATH_MAX];
    put("good", "good.so");
    strcpy(path, at("good.so"));
    FAULT_EACH(FAULT_ALL)
    {
        rapt_error error = {0};
        logged[0] = 0;
        rapt_registry *registry = rapt_registry_new(&test_host, &error);
        if (registry && rapt_registry_load(registry, path, &error) == RAPT_OK) {
            assert_int_equal(rapt_registry_count(registry), 2);
            if (rapt_registry_reload(registry, "test.good", &error)) {
                fault_expect_error(&error);
                assert_int_equal(rapt_registry_count(registry), 2);
                assert_string_equal(logged, "init 1.0;");
            }
        } else {
            fault_expect_error(&error);
            assert_int_equal(registry ? rapt_registry_count(registry) : 0, 0);
            assert_string_equal(logged, "");
        }
        rapt_registry_free(registry);
    }
    assert_true(fault_rounds() > 100);

    make_folder("many", 0755);
    put("good", "many/a.so");
    put("no_kernel", "many/b.so");
    strcpy(path, at("many"));
    FAULT_EACH(FAULT_ALL)
    {
        rapt_error error = {0};
        rapt_registry *registry = rapt_registry_new(&test_host, &error);
        if (registry)
            rapt_registry_scan(registry, path);
        else
            fault_expect_error(&error);
        rapt_registry_free(registry);
    }

    sample_operator s;
    sample_make(&s);
    FAULT_EACH(FAULT_ALL)
    {
        rapt_error error = {0};
        rapt_registry *registry = rapt_registry_new(&test_host, &error);
        if (registry && rapt_registry_add_builtin(registry, &s.op, 1, &error)) {
            fault_expect_error(&error);
            assert_int_equal(rapt_registry_count(registry), 0);
            assert_int_equal(rapt_registry_plugin_count(registry), 0);
        }
        rapt_registry_free(registry);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--folders")) {
        char *folders = rapt_plugin_folders("", NULL);
        printf("%s\n", folders ? folders : "");
        free(folders);
        return 0;
    }
    if (!know_plugins())
        return 2;
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_reload),  TEST(test_many_reloads), TEST(test_two_registries),
        TEST(test_folders), TEST(test_moved),        TEST(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
