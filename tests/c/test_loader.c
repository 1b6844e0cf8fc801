/* Plugins: found and refused, with which words, and what the registry knows of a good one. */
#include "plugin_files.h"
#include "registry/library.h"
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

/* The message begins with the path of the file unless it says "^". */
static void expect_refusal(rapt_registry *registry, const char *name, rapt_status status,
                           const char *message)
{
    rapt_error error = {0};
    char expected[RAPT_ERROR_SIZE];
    const size_t operators = rapt_registry_count(registry);
    const size_t plugins = rapt_registry_plugin_count(registry);
    const rapt_status came = rapt_registry_load(registry, at("%s", name), &error);
    if (message[0] == '^')
        snprintf(expected, sizeof expected, "%s", message + 1);
    else
        snprintf(expected, sizeof expected, "%s: %s", at("%s", name), message);
    assert_string_equal(error.message, expected);
    assert_int_equal(came, status);
    assert_int_equal(rapt_registry_count(registry), operators);
    assert_int_equal(rapt_registry_plugin_count(registry), plugins);
}

static void test_good(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    put("good", "good.so");
    expect_load(registry, "good.so");
    assert_string_equal(logged, "init 1.0;");
    assert_int_equal(rapt_registry_count(registry), 2);
    assert_string_equal(rapt_registry_at(registry, 0)->op.name, "test.good");
    assert_string_equal(rapt_registry_at(registry, 1)->op.name, "test.second");
    assert_null(rapt_registry_at(registry, 2));
    assert_true(run(find(registry, "test.good"), 2) == 6);

    assert_int_equal(rapt_registry_plugin_count(registry), 1);
    const rapt_plugin_info *info = rapt_registry_plugin_at(registry, 0);
    char command[PATH_MAX], hash[65] = "";
    snprintf(command, sizeof command, "sha256sum '%s'", at("good.so"));
    FILE *pipe = popen(command, "r");
    assert_int_equal(fread(hash, 1, 64, pipe), 64);
    pclose(pipe);
    assert_string_equal(info->name, "sample");
    assert_string_equal(info->path, at("good.so"));
    assert_string_equal(info->version, "1.0");
    assert_string_equal(info->hash, hash);
    assert_null(info->error);
    assert_string_equal(info->operators[1], "test.second");
    assert_null(info->operators[2]);
    assert_int_equal(info->plugin->n_operators, 2);
    assert_string_equal(info->plugin->operators[0].inputs[0].doc, "numbers");
    assert_string_equal(info->plugin->functions[0].signature, "int count_calls()");
    assert_null(rapt_registry_plugin_at(registry, 1));

    rapt_registry_free(registry);
    assert_string_equal(logged, "init 1.0;fini 1.0;");
    rapt_registry_free(NULL);
}

static void test_other_versions(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    put("minimum", "minimum.so");
    put("newer_structs", "newer.so");
    expect_load(registry, "minimum.so");
    expect_load(registry, "newer.so");
    assert_int_equal(rapt_registry_count(registry), 3);
    const rapt_schema *newer = find(registry, "test.newer");
    assert_int_equal(newer->op.size, sizeof(rapt_operator));
    assert_int_equal(newer->op.n_kernels, 2);
    assert_string_equal(newer->op.kernels[1].name, "cpu.slow");
    assert_string_equal(newer->saved[0][1].name, "w");
    assert_true(run(newer, 1) == 3);
    assert_true(run(find(registry, "test.newer.second"), 1) == 3);
    rapt_registry_free(registry);
}

static void test_refused(void **state)
{
    static const struct {
        const char *plugin;
        rapt_status status;
        const char *message;
    } samples[] = {
        {"no_symbol", RAPT_INVALID, "no symbol rapt_plugin_v1, so it is no plugin"},
        {"wrong_major", RAPT_INVALID,
         "made for ABI 2, but this is rapt " RAPT_VERSION " with ABI 1"},
        {"newer_minor", RAPT_INVALID,
         "needs ABI 1.1, but this is rapt " RAPT_VERSION " with ABI 1.0"},
        {"short_struct", RAPT_INVALID,
         "rapt_plugin is a short struct: it states 24 bytes, but has had 88 since ABI 1.0"},
        {"no_operators", RAPT_INVALID, "it has no operators and no functions"},
        {"duplicate_operator", RAPT_INVALID, "operator \"test.sample\" is described twice"},
        {"empty_name", RAPT_INVALID, "the operator's name is empty"},
        {"malformed_shape", RAPT_INVALID,
         "test.sample: input \"x: B (N\": column 8: expected an operator or \")\", not the end"},
        {"no_kernel", RAPT_INVALID, "test.sample: no kernels"},
        {"no_forward", RAPT_INVALID, "test.sample: kernel \"cpu\": no forward function"},
        {"core_name", RAPT_INVALID, "operator \"core.sample\": names under core. are rapt's own"},
        {"bad_default", RAPT_INVALID,
         "test.sample: attribute \"factor\": default \"11\" is more than the greatest value "
         "\"10\""},
        {"unknown_dtype", RAPT_INVALID,
         "test.sample: input \"x: B N\": unknown dtype \"f23\", expected f32, f16, bf16, f64, i32, "
         "i64, u8, bool or T; did you mean \"f32\"?"},
        {"second_bad", RAPT_INVALID,
         "operator name \"Second\", expected [a-z][a-z0-9_]* parts joined by dots"},
        {"bad_function", RAPT_INVALID,
         "function 1 \"int one(complex x)\": column 9: expected bool, int, int64, double, float, "
         "string, pointer or tensor"},
        {"init_fails", RAPT_UNSUPPORTED, "its init failed: unsupported"},
        {"missing_library", RAPT_IO,
         "cannot be opened: librapt_test_absent.so.9: cannot open shared object file: No such file "
         "or "
         "directory"},
    };
    (void)state;
    rapt_registry *registry = new_registry();
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        put(samples[i].plugin, "x.so");
        expect_refusal(registry, "x.so", samples[i].status, samples[i].message);
    }
    assert_string_equal(logged, "init;"); /* and no fini */

    rapt_error error = {0};
    put("unresolved", "x.so");
    assert_int_equal(rapt_registry_load(registry, at("x.so"), &error), RAPT_IO);
    assert_non_null(strstr(error.message, "undefined symbol: rapt_test_nobody_has_this"));
    assert_int_equal(rapt_registry_load(registry, at("x.so"), NULL), RAPT_IO);
    rapt_registry_free(registry);
}

static void test_not_plugins(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    char text[PATH_MAX + 200];
    write_text("text.so",
               "This is no library, whatever its name says, though it is long enough.\n");
    expect_refusal(registry, "text.so", RAPT_IO, "not a shared library: it has no ELF header");
    write_text("empty.so", "");
    expect_refusal(registry, "empty.so", RAPT_IO, "not a shared library: it has no ELF header");
    make_folder("folder.so", 0755);
    snprintf(text, sizeof text, "^%s is no regular file", at("folder.so"));
    expect_refusal(registry, "folder.so", RAPT_IO, text);
    assert_int_equal(mkfifo(at("pipe.so"), 0644), 0);
    snprintf(text, sizeof text, "^%s is no regular file", at("pipe.so"));
    expect_refusal(registry, "pipe.so", RAPT_IO, text);
    expect_refusal(registry, "absent.so", RAPT_NOT_FOUND, "No such file or directory");
    expect_refusal(registry, "nofolder/x.so", RAPT_NOT_FOUND, "No such file or directory");
    assert_int_equal(symlink("loop.so", at("loop.so")), 0);
    expect_refusal(registry, "loop.so", RAPT_IO, "Too many levels of symbolic links");
    rapt_error error = {0};
    assert_int_equal(rapt_registry_load(registry, "", &error), RAPT_NOT_FOUND);
    assert_string_equal(error.message, "the plugin's path is empty");
    rapt_registry_free(registry);
}

/* Wherever a file is cut, it is refused, and nothing crashes. */
static void test_cut_short(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    struct stat whole;
    const char *from = built_plugin("good");
    rapt_error error = {0};
    assert_int_equal(stat(from, &whole), 0);
    for (off_t n = 0; n < whole.st_size; n += whole.st_size / 61 + 1) {
        unlink(at("cut.so"));
        copy_part(from, at("cut.so"), (size_t)n);
        assert_int_equal(rapt_registry_load(registry, at("cut.so"), &error), RAPT_IO);
        assert_non_null(strstr(error.message, n < 64 ? "no ELF header" : ": cut short: "));
    }
    unlink(at("cut.so"));
    copy_part(from, at("cut.so"), (size_t)whole.st_size - 1);
    assert_int_equal(rapt_registry_load(registry, at("cut.so"), &error), RAPT_IO);
    assert_int_equal(rapt_registry_count(registry), 0);
    rapt_registry_free(registry);
}

static void test_writable(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    char text[PATH_MAX + 200];
    put("good", "good.so");
    assert_int_equal(chmod(at("good.so"), 0646), 0);
    snprintf(text, sizeof text, "^others can write to the file %s (mode 0646), expected chmod o-w",
             at("good.so"));
    expect_refusal(registry, "good.so", RAPT_INVALID, text);

    make_folder("open", 0777);
    put("good", "open/good.so");
    snprintf(text, sizeof text,
             "^others can write to the folder %s (mode 0777), expected chmod o-w", at("open"));
    expect_refusal(registry, "open/good.so", RAPT_INVALID, text);
    /* Through a link to the file, through a link to the folder. */
    assert_int_equal(symlink("open/good.so", at("link.so")), 0);
    expect_refusal(registry, "link.so", RAPT_INVALID, text);
    assert_int_equal(symlink("open", at("way")), 0);
    expect_refusal(registry, "way/good.so", RAPT_INVALID, text);
    /* The link itself lies where others can change it; so does a link in the middle. */
    make_folder("closed", 0755);
    put("good", "closed/good.so");
    assert_int_equal(symlink(at("closed/good.so"), at("open/link.so")), 0);
    expect_refusal(registry, "open/link.so", RAPT_INVALID, text);
    assert_int_equal(symlink("../open/link.so", at("closed/far.so")), 0);
    snprintf(text, sizeof text,
             "^others can write to the folder %s/../open (mode 0777), expected "
             "chmod o-w",
             at("closed"));
    expect_refusal(registry, "closed/far.so", RAPT_INVALID, text);
    /* Whoever may write there may put a file in front of another's, sticky or not. */
    assert_int_equal(chmod(at("open"), 01777), 0);
    assert_int_not_equal(rapt_registry_load(registry, at("open/good.so"), NULL), RAPT_OK);

    assert_int_equal(symlink("closed/good.so", at("fine.so")), 0);
    expect_load(registry, "fine.so");
    assert_string_equal(rapt_registry_plugin_at(registry, 0)->path, at("closed/good.so"));
    rapt_registry_free(registry);
}

static void test_names(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    sample_operator s;
    rapt_error error = {0};
    rapt_schema *schema = NULL;
    char text[PATH_MAX + 100];
    sample_make(&s);
    s.op.name = "core.matmul";
    assert_int_equal(rapt_registry_add_builtin(registry, &s.op, 1, &error), RAPT_OK);
    assert_int_equal(rapt_registry_add_builtin(registry, &s.op, 1, &error), RAPT_INVALID);
    assert_string_equal(error.message, "operator \"core.matmul\" is there already");
    rapt_operator twice[2] = {s.op, s.op};
    twice[0].name = twice[1].name = "core.add";
    assert_int_equal(rapt_registry_add_builtin(registry, twice, 2, &error), RAPT_INVALID);
    assert_string_equal(error.message, "operator \"core.add\" is described twice");
    twice[0].name = "core.sum";
    twice[1].doc = NULL;
    assert_int_equal(rapt_registry_add_builtin(registry, twice, 2, &error), RAPT_INVALID);
    assert_int_equal(rapt_registry_count(registry), 1);
    assert_int_equal(rapt_registry_add_builtin(registry, twice, 1, NULL), RAPT_OK);
    const rapt_plugin_info *info = rapt_registry_plugin_at(registry, 0);
    assert_string_equal(info->path, "built in");
    assert_string_equal(info->hash, "");
    assert_string_equal(info->operators[1], "core.sum");
    assert_null(info->plugin);
    assert_int_equal(rapt_registry_plugin_count(registry), 1);

    put("good", "good.so");
    put("good_again", "again.so");
    expect_load(registry, "good.so");
    snprintf(text, sizeof text, "operator \"test.good\" is there already, from %s", at("good.so"));
    expect_refusal(registry, "again.so", RAPT_INVALID, text);
    expect_refusal(registry, "good.so", RAPT_INVALID, text);
    put("minimum", "minimum.so"); /* another operator in a plugin of the same name */
    snprintf(text, sizeof text, "a plugin named \"sample\" is there already, from %s",
             at("good.so"));
    expect_refusal(registry, "minimum.so", RAPT_INVALID, text);

    assert_int_equal(rapt_registry_find(registry, "test.god", &schema, &error), RAPT_NOT_FOUND);
    assert_string_equal(error.message, "no operator \"test.god\"; did you mean \"test.good\"?");
    assert_int_equal(rapt_registry_find(registry, "matmul", &schema, &error), RAPT_NOT_FOUND);
    assert_string_equal(error.message, "no operator \"matmul\"; did you mean \"core.matmul\"?");
    assert_int_equal(rapt_registry_find(registry, "zzzzzzzzzzzz", &schema, &error), RAPT_NOT_FOUND);
    assert_string_equal(error.message, "no operator \"zzzzzzzzzzzz\"");
    assert_null(schema);
    rapt_registry_free(registry);
}

static const char *reason_of(const rapt_registry *registry, const char *path)
{
    for (size_t i = 0; i < rapt_registry_plugin_count(registry); i++) {
        const rapt_plugin_info *info = rapt_registry_plugin_at(registry, i);
        if (!strcmp(info->path, path)) {
            assert_non_null(info->operators);
            return info->error ? info->error : "loaded";
        }
    }
    return NULL;
}

static void test_scan(void **state)
{
    (void)state;
    rapt_registry *registry = new_registry();
    char path[2 * PATH_MAX], text[PATH_MAX + 100];
    rapt_error error = {0};
    rapt_schema *schema;
    make_folder("a", 0755);
    make_folder("b", 0755);
    make_folder("open", 0777);
    put("no_kernel", "a/broken.so");
    put("newer_structs", "a/newer.so");
    put("good", "b/newer.so");
    put("good", "b/good.so");
    put("good", "b/.hidden.so");
    put("good", "b/other.txt");
    put("good", "open/opened.so");
    assert_int_equal(symlink("a", at("same")), 0);
    snprintf(path, sizeof path, "%s:relative/x::%s/absent:%s:%s:%s:%s/b/other.txt", at("a"), home,
             at("b"), at("open"), at("same"), home);
    rapt_registry_scan(registry, path);

    assert_string_equal(reason_of(registry, at("a/newer.so")), "loaded");
    assert_string_equal(reason_of(registry, at("b/good.so")), "loaded");
    snprintf(text, sizeof text, "%s: test.sample: no kernels", at("a/broken.so"));
    assert_string_equal(reason_of(registry, at("a/broken.so")), text);
    snprintf(text, sizeof text, "passed over: %s was met first", at("a/newer.so"));
    assert_string_equal(reason_of(registry, at("b/newer.so")), text);
    assert_string_equal(reason_of(registry, "relative/x"),
                        "passed over: a folder of plugins must be an absolute path");
    assert_string_equal(reason_of(registry, ""),
                        "passed over: an empty folder would be the current one");
    snprintf(text, sizeof text, "others can write to the folder %s (mode 0777), expected chmod o-w",
             at("open"));
    assert_string_equal(reason_of(registry, at("open")), text);
    snprintf(text, sizeof text, "%s is no folder", at("b/other.txt"));
    assert_string_equal(reason_of(registry, at("b/other.txt")), text);
    assert_int_equal(rapt_registry_plugin_count(registry), 8);
    assert_int_equal(rapt_registry_count(registry), 4);

    assert_int_equal(rapt_registry_find(registry, "broken", &schema, &error), RAPT_NOT_FOUND);
    snprintf(text, sizeof text, "no operator \"broken\": %s: test.sample: no kernels",
             at("a/broken.so"));
    assert_string_equal(error.message, text);

    snprintf(text, sizeof text, "operator \"test.good\" is there already, from %s",
             at("b/good.so"));
    put("good_again", "a/broken.so");
    expect_refusal(registry, "a/broken.so", RAPT_INVALID, text);
    rapt_registry_scan(registry, "");
    assert_int_equal(rapt_registry_plugin_count(registry), 8);
    rapt_registry_free(registry);

    /* A file that is mended takes the place of its record. */
    registry = new_registry();
    put("no_kernel", "a/broken.so");
    rapt_registry_scan(registry, at("a"));
    assert_int_equal(rapt_registry_plugin_count(registry), 2);
    put("good", "a/broken.so");
    expect_load(registry, "a/broken.so");
    assert_int_equal(rapt_registry_plugin_count(registry), 2);
    assert_string_equal(reason_of(registry, at("a/broken.so")), "loaded");
    rapt_registry_free(registry);
}

static void test_signatures(void **state)
{
    static const char *const samples[][2] = {
        {"void f()", NULL},
        {"double slope(int head, int heads)", NULL},
        {" pointer  f_2 ( tensor x , string, float y3 ) ", NULL},
        {"", "column 1: expected void, bool, int, int64, double, float, string or pointer"},
        {"tensor f()",
         "column 1: expected void, bool, int, int64, double, float, string or pointer"},
        {"int", "column 4: expected the function's name"},
        {"int f", "column 6: expected \"(\""},
        {"int f(", "column 7: expected bool, int, int64, double, float, string, pointer or tensor"},
        {"int f(void)",
         "column 7: expected bool, int, int64, double, float, string, pointer or tensor"},
        {"int f(int,)",
         "column 11: expected bool, int, int64, double, float, string, pointer or tensor"},
        {"int f(int a b)", "column 13: expected \",\" or \")\""},
        {"int f(int) x", "column 12: expected the end"},
        {"int f(int,int,int,int,int,int,int,int,int,int,int,int,int,int,int,int,int)",
         "more than 16 parameters"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        rapt_error error = {0};
        const rapt_status status = rapt_check_signature(samples[i][0], &error);
        assert_string_equal(error.message, samples[i][1] ? samples[i][1] : "");
        assert_int_equal(status, samples[i][1] ? RAPT_INVALID : RAPT_OK);
    }
}

int main(void)
{
    if (!know_plugins())
        return 2;
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_good),        TEST(test_other_versions), TEST(test_refused),
        TEST(test_not_plugins), TEST(test_cut_short),      TEST(test_writable),
        TEST(test_names),       TEST(test_scan),           TEST(test_signatures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
