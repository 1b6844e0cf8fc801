/* The driver's caches of pipelines on disk, one for each family of shaders. */
#include "vulkan_case.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

/* The files of caches, and the last of them whose name ends so; `path` may be NULL. */
static int find_caches(const char *end, char *path, size_t size)
{
    char name[128];
    int found = 0;
    snprintf(name, sizeof name, "%s/rapt", folder);
    DIR *list = opendir(name);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) {
        const size_t n = strlen(entry->d_name);
        if (strncmp(entry->d_name, "pipelines-", 10) != 0 || n < strlen(end) ||
            strcmp(entry->d_name + n - strlen(end), end) != 0)
            continue;
        found++;
        if (path)
            snprintf(path, size, "%s/%s", name, entry->d_name);
    }
    closedir(list);
    return found;
}

/* y = factor * 1 by the shader under another name, or its own. */
static void run_one(const char *name, float factor)
{
    const vulkan_push push = {4, 0};
    float x[4] = {1, 1, 1, 1};
    void *memory = vulkan_take(256);
    const rapt_vulkan_buffer y = {memory, 0, 256};
    rapt_vulkan_dispatch scale = vulkan_scale(&y, &factor, &push);
    rapt_vulkan_shader shader = *scale.shader;
    if (name) {
        shader.name = name;
        scale.shader = &shader;
    }
    vulkan_put(memory, 0, x, sizeof x);
    assert_int_equal(vulkan_run(&scale), RAPT_OK);
    vulkan_get(memory, 0, x, sizeof x);
    assert_float_equal(x[3], factor, 0);
    vulkan_give(memory, 256);
}

static void damaged_caches_are_passed_over(void **unused)
{
    (void)unused;
    char path[512];
    struct stat s;
    run_one(NULL, 3);
    vulkan_reopen();
    assert_int_equal(find_caches("-test", path, sizeof path), 1);
    assert_int_equal(stat(path, &s), 0);
    assert_true(s.st_size > 40);
    assert_int_equal(truncate(path, s.st_size - 1), 0);
    run_one(NULL, 3);
    vulkan_reopen();
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 50, SEEK_SET), 0);
    fputc(99, file);
    fclose(file);
    run_one(NULL, 3);
    vulkan_reopen();
    assert_int_equal(chmod(path, 0666), 0); /* others could have written it */
    run_one(NULL, 3);
    vulkan_reopen();
}

static void each_family_has_its_own(void **unused)
{
    (void)unused;
    run_one(NULL, 4);
    run_one("other.scale", 5);
    run_one("other.scale.half", 6);
    vulkan_reopen();
    assert_int_equal(find_caches("-test", NULL, 0), 1);
    assert_int_equal(find_caches("-other", NULL, 0), 1);
    assert_int_equal(find_caches("-other.scale", NULL, 0), 1);
    assert_int_equal(find_caches("-shaders", NULL, 0), 0);
    const int before = find_caches("", NULL, 0);
    run_one("scale", 7);
    run_one("", 8);
    run_one("../other.scale", 9);
    run_one("a name.scale", 10);
    run_one("a_name_longer_than_a_file_should_have_for_its_end.scale", 11);
    run_one("other..scale", 12);
    run_one(".scale", 13);
    run_one("other.scale.", 14);
    vulkan_reopen();
    assert_int_equal(find_caches("-shaders", NULL, 0), 1);
    assert_int_equal(find_caches("", NULL, 0), before + 1);
}

static void families_are_counted(void **unused)
{
    (void)unused;
    const int before = find_caches("", NULL, 0);
    for (int i = 0; i < 140; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d.scale", i);
        run_one(name, 15 + (float)i);
    }
    vulkan_reopen();
    const int made = find_caches("", NULL, 0) - before;
    assert_in_range(made, 120, 128); /* the others share one */
}

static int begin(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/rapt-vulkan-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    setenv("XDG_CACHE_HOME", folder, 1);
    return vulkan_setup(state);
}

static int end(void **state)
{
    char command[128];
    const int result = vulkan_teardown(state);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? result : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_caches_are_passed_over),
        cmocka_unit_test(each_family_has_its_own),
        cmocka_unit_test(families_are_counted),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
