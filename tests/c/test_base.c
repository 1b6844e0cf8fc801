/* Base: error texts, growing text, near names, files written whole. */
#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include <cmocka.h>

static char folder[64];
static char target[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "test_base.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(target, sizeof target, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(target);
    return rmdir(folder); /* fails where a temporary file was left */
}

static int files_in_folder(void)
{
    DIR *open_folder = opendir(folder);
    int n = -2;
    assert_non_null(open_folder);
    while (readdir(open_folder))
        n++;
    closedir(open_folder);
    return n;
}

static void assert_holds(const char *text)
{
    rapt_mapping mapping;
    assert_int_equal(rapt_map_file(target, &mapping, NULL), RAPT_OK);
    assert_int_equal(mapping.bytes, strlen(text));
    if (mapping.bytes)
        assert_memory_equal(mapping.data, text, mapping.bytes);
    rapt_unmap_file(&mapping);
}

static rapt_status write_text(const char *path, const char *text, rapt_error *error)
{
    rapt_writer *writer = rapt_writer_open(path, error);
    if (!writer)
        return error->status;
    const rapt_status status = rapt_writer_put(writer, text, strlen(text), error);
    if (status == RAPT_OK)
        return rapt_writer_commit(writer, error);
    rapt_writer_abandon(writer);
    return status;
}

static void test_error(void **state)
{
    (void)state;
    rapt_error error = {0};
    assert_int_equal(rapt_fail(&error, RAPT_IO, "%s is %d", "x", 3), RAPT_IO);
    assert_int_equal(error.status, RAPT_IO);
    assert_string_equal(error.message, "x is 3");
    assert_int_equal(rapt_fail(&error, RAPT_INVALID, "again: %s", error.message), RAPT_INVALID);
    assert_string_equal(error.message, "again: x is 3");
    assert_int_equal(rapt_prefix_error(&error, "op %d", 7), RAPT_INVALID);
    assert_string_equal(error.message, "op 7: again: x is 3");
    rapt_fail(&error, RAPT_IO, "a name with %s", "\n\x1b[31m and \x7f");
    assert_string_equal(error.message, "a name with ??[31m and ?");
    assert_int_equal(rapt_fail_memory(&error, 12, "a thing"), RAPT_NO_MEMORY);
    assert_string_equal(error.message, "out of memory (12 bytes for a thing)");
    assert_int_equal(rapt_fail(NULL, RAPT_IO, "%d", 1), RAPT_IO);
    assert_int_equal(rapt_fail_memory(NULL, 1, "x"), RAPT_NO_MEMORY);
    rapt_prefix_error(NULL, "x");
}

static void test_long_error(void **state)
{
    (void)state;
    static char text[3 * RAPT_ERROR_SIZE];
    rapt_error error = {0};
    for (int shift = 0; shift < 3; shift++) {
        size_t n = 0;
        for (int i = 0; i < shift; i++)
            text[n++] = 'a';
        while (n + 3 < sizeof text) {
            memcpy(text + n, "\xe2\x82\xac", 3);
            n += 3;
        }
        text[n] = 0;
        rapt_fail(&error, RAPT_IO, "%s", text);
        const size_t length = strlen(error.message);
        assert_true(length >= RAPT_ERROR_SIZE - 7 && length < RAPT_ERROR_SIZE);
        assert_string_equal(error.message + length - 3, "...");
        assert_true(rapt_utf8_valid(error.message, length));
    }
    memset(text, 'b', RAPT_ERROR_SIZE - 1);
    text[RAPT_ERROR_SIZE - 1] = 0;
    rapt_fail(&error, RAPT_IO, "%s", text);
    assert_string_equal(error.message, text);
    rapt_prefix_error(&error, "head");
    assert_memory_equal(error.message, "head: bbb", 9);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(rapt_version(), RAPT_VERSION);
    for (int i = 0; i <= RAPT_INTERNAL; i++) {
        assert_string_not_equal(rapt_status_name((rapt_status)i), "?");
        for (int j = 0; j < i; j++)
            assert_string_not_equal(rapt_status_name((rapt_status)i),
                                    rapt_status_name((rapt_status)j));
    }
    assert_string_equal(rapt_status_name((rapt_status)(RAPT_INTERNAL + 1)), "?");
    assert_string_equal(rapt_status_name((rapt_status)-1), "?");
}

static void test_checked(void **state)
{
    (void)state;
    int64_t out;
    assert_true(rapt_mul(INT64_MAX / 2, 2, &out));
    assert_false(rapt_mul(INT64_MAX / 2 + 1, 2, &out));
    assert_false(rapt_mul(INT64_MIN, -1, &out));
    assert_true(rapt_add(INT64_MAX - 1, 1, &out));
    assert_true(out == INT64_MAX);
    assert_false(rapt_add(INT64_MAX, 1, &out));
}

static void test_text(void **state)
{
    (void)state;
    rapt_text text = {0};
    for (int i = 0; i < 1000; i++)
        rapt_text_append(&text, "%d,", i);
    rapt_text_add(&text, "a\0b", 3);
    rapt_text_add(&text, NULL, 0);
    assert_false(text.failed);
    assert_int_equal(text.length, 3893);
    assert_memory_equal(text.data, "0,1,2,3,", 8);
    assert_memory_equal(text.data + text.length - 3, "a\0b", 4);
    rapt_text_free(&text);
    assert_null(text.data);
    rapt_text_append(&text, "%s", "");
    assert_string_equal(text.data, "");
    rapt_text_free(&text);
}

static void test_text_without_memory(void **state)
{
    (void)state;
    FAULT_EACH(FAULT_MEMORY)
    {
        rapt_text text = {0};
        for (int i = 0; i < 200; i++)
            rapt_text_append(&text, "%d,", i);
        assert_int_equal(text.failed, fault_struck());
        if (text.failed) {
            const size_t length = text.length;
            rapt_text_add(&text, "more", 4);
            assert_int_equal(text.length, length);
        } else {
            assert_int_equal(text.length, 690);
        }
        rapt_text_free(&text);
    }
    assert_true(fault_rounds() > 2);
}

static void test_nearest(void **state)
{
    (void)state;
    const char *const names[] = {"softmax", NULL, "cog", "causal", "q", "k", "scale", ""};
    const size_t n = sizeof names / sizeof names[0];
    const struct {
        const char *name, *nearest;
    } cases[] = {{"sofmtax", "softmax"},
                 {"softmaxx", "softmax"},
                 {"oftmax", "softmax"},
                 {"casual", "causal"},
                 {"cgo", "cog"},
                 {"cog", "cog"},
                 {"Scale", "scale"},
                 {"qq", "q"},
                 {"v", NULL},
                 {"xyz", NULL},
                 {"", NULL},
                 {"attention", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *found = rapt_nearest(cases[i].name, names, n);
        if (cases[i].nearest)
            assert_string_equal(found, cases[i].nearest);
        else
            assert_null(found);
    }
    char long_name[200];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_null(rapt_nearest(long_name, names, n));
    const char *const long_names[] = {long_name};
    assert_null(rapt_nearest("aaaa", long_names, 1));
    assert_null(rapt_nearest(NULL, names, n));
    assert_null(rapt_nearest("cog", NULL, 0));
}

static void test_shape_text(void **state)
{
    (void)state;
    char text[RAPT_SHAPE_TEXT];
    const int64_t shape[9] = {2, 8, 64, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, 1};
    assert_string_equal(rapt_shape_text(text, 0, NULL), "[]");
    assert_string_equal(rapt_shape_text(text, 3, shape), "[2,8,64]");
    const int64_t least[8] = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN,
                              INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN};
    assert_int_equal(strlen(rapt_shape_text(text, 8, least)), 8 * 20 + 7 + 2);
    rapt_shape_text(text, 9, shape);
    assert_string_equal(text + strlen(text) - 5, ",...]");
}

static void test_utf8(void **state)
{
    (void)state;
    const char *const good[] = {"",
                                "abc",
                                "\xc2\x80",
                                "\xdf\xbf",
                                "\xe0\xa0\x80",
                                "\xed\x9f\xbf",
                                "\xee\x80\x80",
                                "\xf0\x90\x80\x80",
                                "\xf4\x8f\xbf\xbf"};
    const char *const bad[] = {
        "\x80",         "\xc2",         "\xc0\x80",         "\xc1\xbf",
        "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xff",         "\xe2\x82",     "a\xe2(\xa1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(rapt_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(rapt_utf8_valid(bad[i], strlen(bad[i])));
}

static void test_write(void **state)
{
    (void)state;
    rapt_error error = {0};
    struct stat info;
    const mode_t mask = umask(027);
    assert_int_equal(write_text(target, "first", &error), RAPT_OK);
    umask(mask);
    assert_holds("first");
    assert_int_equal(stat(target, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    assert_int_equal(chmod(target, 0604), 0);
    assert_int_equal(write_text(target, "second", &error), RAPT_OK);
    assert_holds("second");
    assert_int_equal(stat(target, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0604);
    rapt_writer *writer = rapt_writer_open(target, &error);
    assert_non_null(writer);
    assert_int_equal(rapt_writer_put(writer, "half", 4, &error), RAPT_OK);
    assert_int_equal(files_in_folder(), 2);
    rapt_writer_abandon(writer);
    rapt_writer_abandon(NULL);
    assert_holds("second");
    assert_int_equal(files_in_folder(), 1);
}

static void test_write_through_link(void **state)
{
    (void)state;
    char path[160];
    struct stat info;
    rapt_error error = {0};
    snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(write_text(target, "old", &error), RAPT_OK);
    assert_int_equal(symlink("file", path), 0);
    assert_int_equal(write_text(path, "new", &error), RAPT_OK);
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_holds("new");
    unlink(path);
}

static void test_write_refused(void **state)
{
    (void)state;
    rapt_error error = {0};
    char path[160];
    assert_int_equal(write_text(NULL, "x", &error), RAPT_INVALID);
    assert_int_equal(write_text("", "x", &error), RAPT_INVALID);
    assert_int_equal(write_text(folder, "x", &error), RAPT_IO);
    assert_non_null(strstr(error.message, "folder"));
    assert_int_equal(write_text("/dev/null", "x", &error), RAPT_IO);
    assert_non_null(strstr(error.message, "/dev/null"));
    snprintf(path, sizeof path, "%s/no/file", folder);
    assert_int_equal(write_text(path, "x", &error), RAPT_NOT_FOUND);
    assert_non_null(strstr(error.message, "no such folder"));
    char long_path[600];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    assert_int_equal(write_text(long_path, "x", &error), RAPT_IO);
    assert_int_equal(files_in_folder(), 0);
}

static void test_short_writes(void **state)
{
    (void)state;
    rapt_error error = {0};
    fault_short_writes(3);
    const rapt_status status = write_text(target, "a text of several pieces", &error);
    fault_short_writes(0);
    assert_int_equal(status, RAPT_OK);
    assert_holds("a text of several pieces");
}

/* Whatever fails, the file holds the old text or the new one, and nothing lies beside it. */
static void write_with_faults(void)
{
    rapt_error error = {0};
    assert_int_equal(write_text(target, "old", &error), RAPT_OK);
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        const rapt_status status = write_text(target, "new!", &error);
        const bool struck = fault_struck();
        fault_pause();
        assert_int_equal(files_in_folder(), 1);
        rapt_mapping mapping;
        assert_int_equal(rapt_map_file(target, &mapping, NULL), RAPT_OK);
        const bool is_new = mapping.bytes == 4;
        assert_memory_equal(mapping.data, is_new ? "new!" : "old", mapping.bytes);
        rapt_unmap_file(&mapping);
        if (status == RAPT_OK) {
            assert_true(is_new);
        } else {
            assert_true(struck);
            assert_int_equal(error.status, status);
            assert_non_null(strstr(error.message, "file"));
        }
        if (is_new)
            assert_int_equal(write_text(target, "old", NULL), RAPT_OK);
        fault_resume();
    }
    assert_true(fault_rounds() > 10);
}

static void test_write_faults(void **state)
{
    (void)state;
    write_with_faults();
    fault_permanent();
    write_with_faults();
}

static void test_map(void **state)
{
    (void)state;
    rapt_mapping mapping;
    rapt_error error = {0};
    assert_int_equal(write_text(target, "mapped", &error), RAPT_OK);
    assert_int_equal(rapt_map_file(target, &mapping, &error), RAPT_OK);
    mapping.data[0] = 'M';
    rapt_unmap_file(&mapping);
    assert_holds("mapped");
    assert_int_equal(write_text(target, "", &error), RAPT_OK);
    assert_int_equal(rapt_map_file(target, &mapping, &error), RAPT_OK);
    assert_null(mapping.data);
    assert_int_equal(mapping.bytes, 0);
    rapt_unmap_file(&mapping);
    assert_int_equal(rapt_map_file(NULL, &mapping, &error), RAPT_INVALID);
    assert_int_equal(rapt_map_file(folder, &mapping, &error), RAPT_IO);
    assert_int_equal(rapt_map_file("/dev/zero", &mapping, &error), RAPT_IO);
    assert_int_equal(rapt_map_file("no/such/file", &mapping, &error), RAPT_NOT_FOUND);
    assert_non_null(strstr(error.message, "no/such/file"));
    unlink(target);
    assert_int_equal(mkfifo(target, 0600), 0);
    assert_int_equal(rapt_map_file(target, &mapping, &error), RAPT_IO);
}

static void test_map_faults(void **state)
{
    (void)state;
    rapt_error error = {0};
    assert_int_equal(write_text(target, "mapped", &error), RAPT_OK);
    FAULT_EACH(FAULT_ALL)
    {
        rapt_mapping mapping;
        error = (rapt_error){0};
        if (rapt_map_file(target, &mapping, &error) == RAPT_OK)
            rapt_unmap_file(&mapping);
        else
            fault_expect_error(&error);
    }
    assert_true(fault_rounds() > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_long_error),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_checked),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_without_memory),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_shape_text),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test_setup_teardown(test_write, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_write_through_link, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_write_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_short_writes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_write_faults, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_map, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_map_faults, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
