/* Safetensors: files of others, files of ours, bad files, and disks that fail. */
#include "tensor/formats.h"
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include <cmocka.h>

static rapt_error error;
static char folder[64], path[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "test_safetensors.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void assert_error(rapt_status status, const char *word)
{
    if (error.status != status || !strstr(error.message, word)) {
        print_error("%d '%s', expected %d '%s'\n", (int)error.status, error.message, (int)status,
                    word);
        fail();
    }
    assert_null(strchr(error.message, '\n'));
    error = (rapt_error){0};
}

/* --- Parsing bytes ------------------------------------------------------------------------- */

/* A file of this header and so many bytes 0, 1, 2, ... of data, `shift` bytes off alignment. */
static rapt_storage *file_bytes(const char *header, size_t length, int64_t data, int shift)
{
    rapt_storage *whole = rapt_storage_new(shift + 8 + (int64_t)length + data, true, NULL);
    assert_non_null(whole);
    unsigned char *bytes = (unsigned char *)whole->data + shift;
    const uint64_t n = length;
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, length);
    for (int64_t i = 0; i < data; i++)
        bytes[8 + (int64_t)length + i] = (unsigned char)i;
    return whole;
}

static rapt_file *parse(const char *header, int64_t data)
{
    rapt_storage *bytes = file_bytes(header, strlen(header), data, 0);
    rapt_file *file = rapt_safetensors_parse(bytes, "file", &error);
    rapt_storage_release(bytes);
    return file;
}

static void refuse(const char *header, int64_t data, const char *word)
{
    assert_null(parse(header, data));
    assert_error(RAPT_IO, word);
}

#define ENTRY(dtype, shape, begin, end)                                                            \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

static void test_parse(void **state)
{
    (void)state;
    rapt_file *file = parse(
        "{\"b\":" ENTRY("I32", "2,1", 4,
                        12) ",\"__metadata__\":{\"op\":\"cog\","
                            "\"\":\"\\u00e9\\n\"},\"a\":" ENTRY("U8", "4", 0, 4) ",\"\":" ENTRY(
                                "F64", "0,3", 4, 4) ",\"s\":" ENTRY("BF16", "", 12, 14) "}  ",
        14);
    assert_non_null(file);
    assert_int_equal(file->n_tensors, 4);
    assert_string_equal(file->tensors[0].name, "b");
    assert_string_equal(file->tensors[1].name, "a");
    assert_string_equal(file->tensors[2].name, "");
    assert_string_equal(file->tensors[3].name, "s");
    assert_int_equal(file->tensors[0].tensor->shape[0], 2);
    assert_int_equal(((int32_t *)rapt_view_data(&file->tensors[0].tensor->view))[0], 0x07060504);
    assert_int_equal(((uint8_t *)rapt_view_data(&file->tensors[1].tensor->view))[3], 3);
    assert_int_equal(rapt_tensor_count(file->tensors[2].tensor), 0);
    assert_int_equal(file->tensors[3].tensor->view.ndim, 0);
    assert_int_equal(*(uint16_t *)rapt_view_data(&file->tensors[3].tensor->view), 0x0d0c);
    assert_int_equal(file->n_metadata, 2);
    assert_string_equal(file->metadata[0].name, "op");
    assert_string_equal(file->metadata[0].text, "cog");
    assert_string_equal(file->metadata[1].text, "\xc3\xa9\n");
    rapt_tensor *kept = rapt_tensor_retain(file->tensors[0].tensor);
    rapt_file_free(file);
    assert_int_equal(((int32_t *)rapt_view_data(&kept->view))[1], 0x0b0a0908);
    rapt_tensor_release(kept);
    file = parse("{}", 0);
    assert_non_null(file);
    assert_int_equal(file->n_tensors, 0);
    rapt_file_free(file);
    rapt_file_free(NULL);
}

/* At every misalignment elements are right and lie at multiples of their size. */
static void test_unaligned(void **state)
{
    (void)state;
    const char *header = "{\"a\":" ENTRY("U8", "3", 0, 3) ",\"b\":" ENTRY("I64", "2", 3, 19) "}";
    for (int shift = 0; shift < 8; shift++) {
        rapt_storage *whole = file_bytes(header, strlen(header), 19, shift);
        rapt_storage *bytes = rapt_storage_wrap(whole->device, (char *)whole->data + shift,
                                                whole->bytes - shift, false, NULL, NULL, NULL);
        rapt_file *file = rapt_safetensors_parse(bytes, "file", &error);
        assert_non_null(file);
        const int64_t *b = rapt_view_data(&file->tensors[1].tensor->view);
        assert_int_equal((uintptr_t)b % 8, 0);
        assert_true(b[0] == INT64_C(0x0a09080706050403) && b[1] == INT64_C(0x1211100f0e0d0c0b));
        rapt_file_free(file);
        rapt_storage_release(bytes);
        rapt_storage_release(whole);
    }
}

static void refuse_bytes(const void *bytes, int64_t n, const char *word)
{
    const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
    rapt_storage *s = rapt_storage_wrap(cpu, (void *)bytes, n, false, NULL, NULL, NULL);
    assert_null(rapt_safetensors_parse(s, "file", &error));
    assert_error(RAPT_IO, word);
    rapt_storage_release(s);
}

static void test_bad_frame(void **state)
{
    (void)state;
    refuse_bytes(NULL, 0, "has 0 bytes");
    refuse_bytes("1234567", 7, "has 7 bytes");
    refuse_bytes("\0\0\0\0\0\0\0\0", 8, "does not begin with '{'");
    refuse_bytes("\2\0\0\0\0\0\0\0{", 9, "truncated: the header claims 2 bytes, 1 follow");
    refuse_bytes("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "claims 18446744073709551615");
    refuse_bytes("\x01\xe1\xf5\x05\0\0\0\0{}", 10, "limit is 100000000");
    refuse_bytes("\0\xe1\xf5\x05\0\0\0\0{}", 10, "truncated");
    refuse_bytes("\2\0\0\0\0\0\0\0[]", 10, "does not begin");
    refuse_bytes("\3\0\0\0\0\0\0\0 {}", 11, "does not begin");
}

static void test_bad_json(void **state)
{
    (void)state;
    refuse("{", 0, "not JSON");
    refuse("{}x", 0, "not JSON");
    refuse("{\"a\":}", 0, "not JSON");
    refuse("{\"a\":" ENTRY("F32", "1", 0, 4) ",\"a\":" ENTRY("F32", "1", 0, 4) "}", 4, "duplicate");
    refuse("{\"a\":" ENTRY("F32", "99999999999999999999", 0, 4) "}", 4, "not JSON");
    refuse("{\"a\\u0000b\":1}", 0, "not JSON");
    refuse("{\"\xff\":1}", 0, "not JSON");
    static char deep[200001];
    memset(deep, '[', sizeof deep - 1);
    memcpy(deep, "{\"a\":", 5);
    refuse(deep, 0, "depth");
    refuse("{\"a\":1}", 0, "'a' is described by something that is not an object");
    refuse("{\"a\":null}", 0, "not an object");
    refuse("{\"a\":{}}", 0, "no dtype");
    refuse("{\"a\":{\"dtype\":1}}", 0, "no dtype");
    refuse("{\"a\":{\"dtype\":\"F32\"}}", 0, "no shape");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":{}}}", 0, "no shape");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "no data_offsets");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no data_offsets");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "data_offsets");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4, "data_offsets");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":\"04\"}}", 4, "data_offsets");
    refuse("{\"a\":" ENTRY("F32", "-1", 0, 4) "}", 4, "size that is not");
    refuse("{\"a\":" ENTRY("F32", "1.0", 0, 4) "}", 4, "size that is not");
    refuse("{\"a\":" ENTRY("F32", "true", 0, 4) "}", 4, "size that is not");
    refuse("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
    refuse("{\"__metadata__\":{\"a\":\"x\",\"n\":5}}", 0, "metadata 'n' is not a string");
    refuse("{\"__metadata__\":{\"a\":\"x\",\"a\":\"y\"}}", 0, "duplicate");
    assert_null(parse("{\"a\":" ENTRY("F8_E4M3", "1", 0, 1) "}", 1));
    assert_error(RAPT_UNSUPPORTED, "'F8_E4M3', expected F32");
    assert_null(parse("{\"a\":" ENTRY("f32", "1", 0, 4) "}", 4));
    assert_error(RAPT_UNSUPPORTED, "'f32'");
    assert_null(parse("{\"a\":" ENTRY("U8", "1,1,1,1,1,1,1,1,1", 0, 1) "}", 1));
    assert_error(RAPT_UNSUPPORTED, "9 dimensions");
    assert_null(parse("{\"a\\nb\":1}", 0));
    assert_error(RAPT_IO, "'a?b'");
}

static void test_bad_places(void **state)
{
    (void)state;
    refuse("{\"a\":" ENTRY("F32", "2", 0, 4) "}", 4, "has 4 bytes, but [2] of f32 takes 8");
    refuse("{\"a\":" ENTRY("F32", "1", 0, 8) "}", 8, "has 8 bytes");
    refuse("{\"a\":" ENTRY("F32", "1", 4, 0) "}", 4, "bytes 4 to 0");
    refuse("{\"a\":" ENTRY("F32", "1", -4, 0) "}", 4, "bytes -4 to 0");
    refuse("{\"a\":" ENTRY("F32", "2", 0, 8) "}", 7, "bytes 0 to 8 of the data, which has 7");
    refuse("{\"a\":" ENTRY("U8", "1", 9223372036854775806, 9223372036854775807) "}", 1, "9223372");
    refuse("{\"a\":" ENTRY("F32", "4611686018427387904,4", 0, 4) "}", 4, "63 bits");
    refuse("{\"a\":" ENTRY("F32", "4294967296,4294967296,0", 0, 0) "}", 0, "63 bits");
    refuse("{\"a\":" ENTRY("U8", "4", 0, 4) ",\"b\":" ENTRY("U8", "4", 3, 7) "}", 7,
           "'a' and 'b' overlap at byte 3");
    refuse("{\"a\":" ENTRY("U8", "4", 0, 4) ",\"b\":" ENTRY("U8", "4", 0, 4) "}", 4, "overlap");
    refuse("{\"b\":" ENTRY("U8", "2", 5, 7) ",\"a\":" ENTRY("U8", "4", 0, 4) "}", 7,
           "bytes from 4 of the data, which has 7, are no tensor's");
    refuse("{\"a\":" ENTRY("U8", "4", 1, 5) "}", 5, "bytes from 0");
    refuse("{\"a\":" ENTRY("U8", "4", 0, 4) "}", 5, "bytes from 4");
    refuse("{}", 1, "bytes from 0");
    refuse("{\"a\":" ENTRY("BOOL", "3", 0, 3) "}", 3, "a bool is stored as 2");
}

/* Every single byte of a good file set to every third value: parsed or refused, never worse. */
static void test_mutations(void **state)
{
    (void)state;
    const char *header = "{\"a\":" ENTRY("I32", "2", 0, 8) ",\"__metadata__\":{\"k\":\"v\"}}";
    int good = 0, bad = 0;
    for (size_t i = 0; i < strlen(header) + 8; i++)
        for (int value = 0; value < 256; value += 3) {
            rapt_storage *bytes = file_bytes(header, strlen(header), 8, 0);
            ((unsigned char *)bytes->data)[i] = (unsigned char)value;
            rapt_file *file = rapt_safetensors_parse(bytes, "file", value % 2 ? &error : NULL);
            good += file != NULL;
            bad += file == NULL;
            if (!file && value % 2)
                assert_true(error.status == RAPT_IO || error.status == RAPT_UNSUPPORTED);
            rapt_file_free(file);
            rapt_storage_release(bytes);
        }
    assert_true(good > 100 && bad > 1000);
    error = (rapt_error){0};
}

/* --- Files --------------------------------------------------------------------------------- */

static void test_golden(void **state)
{
    (void)state;
    const char *golden = getenv("RAPT_GOLDEN");
    assert_non_null(golden);
    DIR *open_folder = opendir(golden);
    assert_non_null(open_folder);
    int files = 0;
    for (struct dirent *entry; (entry = readdir(open_folder));) {
        char name[600];
        if (!strstr(entry->d_name, ".safetensors"))
            continue;
        snprintf(name, sizeof name, "%s/%s", golden, entry->d_name);
        rapt_file *file = rapt_load_safetensors(name, &error);
        if (!file)
            print_error("%s\n", error.message);
        assert_non_null(file);
        assert_true(file->n_tensors > 0);
        for (size_t i = 0; i < file->n_tensors; i++)
            assert_true(rapt_tensor_count(file->tensors[i].tensor) > 0);
        rapt_file_free(file);
        files++;
    }
    closedir(open_folder);
    assert_true(files >= 20);
}

enum { N_TENSORS = RAPT_DTYPE_COUNT + 2 };
static const rapt_named_text metadata[] = {{"op", "cog"}, {"note", "\xe2\x82\xac \"quoted\"\n"}};

/* One tensor of each dtype, a transposed view and an empty tensor. */
static void make_tensors(rapt_named_tensor *named)
{
    static const char *const names[N_TENSORS] = {"f32", "f16", "bf16", "f64",        "i32",
                                                 "i64", "u8",  "bool", "transposed", "em/\"pty"};
    const int64_t shape[] = {3, 5}, empty[] = {2, 0};
    for (int d = 0; d < RAPT_DTYPE_COUNT; d++) {
        rapt_tensor *t = rapt_tensor_new((rapt_dtype)d, 2, shape, true, NULL);
        unsigned char *bytes = t->view.data;
        for (int64_t i = 0; i < t->storage->bytes; i++)
            bytes[i] = (unsigned char)(d == RAPT_BOOL ? i % 2 : i + 16 * d);
        named[d] = (rapt_named_tensor){names[d], t};
    }
    named[8] = (rapt_named_tensor){names[8], rapt_view_transpose(named[0].tensor, 0, 1, NULL)};
    named[9] = (rapt_named_tensor){names[9], rapt_tensor_new(RAPT_F32, 2, empty, true, NULL)};
}

static void release_tensors(rapt_named_tensor *named)
{
    for (int i = 0; i < N_TENSORS; i++)
        rapt_tensor_release(named[i].tensor);
}

static const rapt_tensor *find(const rapt_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return file->tensors[i].tensor;
    return NULL;
}

static void check_file(const rapt_named_tensor *named)
{
    rapt_file *file = rapt_load_safetensors(path, &error);
    if (!file)
        print_error("%s\n", error.message);
    assert_non_null(file);
    assert_int_equal(file->n_tensors, N_TENSORS);
    assert_int_equal(file->n_metadata, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(file->metadata[i].name, metadata[i].name);
        assert_string_equal(file->metadata[i].text, metadata[i].text);
    }
    for (int i = 0; i < N_TENSORS; i++) {
        const rapt_tensor *t = find(file, named[i].name);
        rapt_tensor *packed = rapt_tensor_packed(named[i].tensor, NULL);
        assert_non_null(t);
        assert_int_equal(rapt_tensor_dtype(t), rapt_tensor_dtype(packed));
        assert_int_equal(t->view.ndim, 2);
        assert_memory_equal(t->shape, packed->shape, 2 * sizeof *t->shape);
        const size_t bytes = (size_t)rapt_tensor_count(t) * rapt_dtype_size(rapt_tensor_dtype(t));
        if (bytes)
            assert_memory_equal(rapt_view_data(&t->view), packed->view.data, bytes);
        /* Mapped, not copied: the writer aligned it. */
        assert_true(bytes == 0 || t->storage->counted == false);
        rapt_tensor_release(packed);
    }
    rapt_file_free(file);
}

static void test_round_trip(void **state)
{
    (void)state;
    rapt_named_tensor named[N_TENSORS];
    make_tensors(named);
    assert_int_equal(rapt_save_safetensors(path, named, N_TENSORS, metadata, 2, &error), RAPT_OK);
    check_file(named);
    /* The order of the arguments does not show in the file. */
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    rapt_storage *first = rapt_storage_map(path, &error);
    const rapt_named_tensor swapped = named[0];
    named[0] = named[5];
    named[5] = swapped;
    assert_int_equal(rapt_save_safetensors(path, named, N_TENSORS, metadata, 2, &error), RAPT_OK);
    rapt_storage *second = rapt_storage_map(path, &error);
    assert_int_equal(first->bytes, second->bytes);
    assert_memory_equal(first->data, second->data, (size_t)first->bytes);
    rapt_storage_release(first);
    rapt_storage_release(second);
    /* Writing to a mapped tensor leaves the file. */
    rapt_file *file = rapt_load_safetensors(path, &error);
    *(float *)rapt_view_data(&find(file, "f32")->view) = 1e9f;
    rapt_file_free(file);
    check_file(named);
    fault_short_writes(100);
    assert_int_equal(rapt_save_safetensors(path, named, N_TENSORS, metadata, 2, &error), RAPT_OK);
    fault_short_writes(0);
    check_file(named);
    release_tensors(named);
    assert_int_equal(rapt_save_safetensors(path, NULL, 0, NULL, 0, &error), RAPT_OK);
    file = rapt_load_safetensors(path, &error);
    assert_int_equal(file->n_tensors + file->n_metadata, 0);
    rapt_file_free(file);
}

/* The bytes of a small file, as the reference implementation would write it. */
static void test_known_bytes(void **state)
{
    (void)state;
    static const char expected[] =
        "\x38\0\0\0\0\0\0\0{\"x\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}  "
        "\1\0\0\0\xff\xff\xff\xff";
    const int64_t shape[] = {2};
    rapt_tensor *t = rapt_tensor_new(RAPT_I32, 1, shape, false, NULL);
    ((int32_t *)t->view.data)[0] = 1;
    ((int32_t *)t->view.data)[1] = -1;
    const rapt_named_tensor named = {"x", t};
    assert_int_equal(rapt_save_safetensors(path, &named, 1, NULL, 0, &error), RAPT_OK);
    rapt_storage *bytes = rapt_storage_map(path, &error);
    assert_int_equal(bytes->bytes, sizeof expected - 1);
    assert_memory_equal(bytes->data, expected, sizeof expected - 1);
    rapt_storage_release(bytes);
    rapt_tensor_release(t);
}

static void save_refused(const rapt_named_tensor *named, size_t n, const rapt_named_text *texts,
                         size_t m, const char *word)
{
    assert_int_equal(rapt_save_safetensors(path, named, n, texts, m, &error), RAPT_INVALID);
    assert_error(RAPT_INVALID, word);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_save_refused(void **state)
{
    (void)state;
    const int64_t shape[] = {2};
    rapt_tensor *t = rapt_tensor_new(RAPT_F32, 1, shape, true, NULL);
    rapt_tensor *u = rapt_tensor_new(RAPT_U8, 1, shape, true, NULL);
    const rapt_device device = {RAPT_DEVICE_VULKAN, 2};
    rapt_storage *s = rapt_storage_wrap(device, t, 8, false, NULL, NULL, NULL);
    rapt_tensor *far = rapt_tensor_over(s, RAPT_F32, 1, shape, NULL, 0, NULL);
    save_refused((rapt_named_tensor[]){{"a", t}, {"b", u}, {"a", u}}, 3, NULL, 0, "named 'a'");
    save_refused((rapt_named_tensor[]){{NULL, t}}, 1, NULL, 0, "entry 1 has no name");
    save_refused((rapt_named_tensor[]){{"a", NULL}}, 1, NULL, 0, "entry 1 has no tensor");
    save_refused((rapt_named_tensor[]){{"__metadata__", t}}, 1, NULL, 0, "__metadata__");
    save_refused((rapt_named_tensor[]){{"a\xff", t}}, 1, NULL, 0, "not UTF-8");
    save_refused((rapt_named_tensor[]){{"a", far}}, 1, NULL, 0, "'a' lies on vulkan:2");
    save_refused(NULL, 0, (rapt_named_text[]){{"k", "v"}, {"k", "w"}}, 2, "named 'k'");
    save_refused(NULL, 0, (rapt_named_text[]){{NULL, "v"}}, 1, "no name");
    save_refused(NULL, 0, (rapt_named_text[]){{"k", NULL}}, 1, "'k'");
    save_refused(NULL, 0, (rapt_named_text[]){{"k", "\xc0\x80"}}, 1, "not UTF-8");
    assert_int_equal(rapt_save_safetensors(NULL, NULL, 0, NULL, 0, &error), RAPT_INVALID);
    assert_int_equal(rapt_save_safetensors(folder, NULL, 0, NULL, 0, &error), RAPT_IO);
    assert_error(RAPT_IO, "folder");
    assert_int_equal(rapt_save_safetensors("no/such/file", NULL, 0, NULL, 0, &error),
                     RAPT_NOT_FOUND);
    assert_null(rapt_load_safetensors("no/such/file", &error));
    assert_error(RAPT_NOT_FOUND, "no/such/file");
    assert_null(rapt_load_safetensors(NULL, &error));
    rapt_tensor_release(far);
    rapt_storage_release(s);
    rapt_tensor_release(t);
    rapt_tensor_release(u);
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

/* Whatever fails, `path` holds the old file or the new one, whole, and nothing lies beside it. */
static void save_with_faults(void)
{
    rapt_named_tensor named[N_TENSORS];
    make_tensors(named);
    assert_int_equal(rapt_save_safetensors(path, NULL, 0, NULL, 0, &error), RAPT_OK);
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        const rapt_status status =
            rapt_save_safetensors(path, named, N_TENSORS, metadata, 2, &error);
        const rapt_error why = error;
        fault_pause();
        struct stat info;
        assert_int_equal(files_in_folder(), 1);
        assert_int_equal(stat(path, &info), 0);
        if (info.st_size > 16)
            check_file(named);
        else
            assert_int_equal(info.st_size, 16);
        assert_true(status != RAPT_OK || info.st_size > 16);
        assert_int_equal(rapt_save_safetensors(path, NULL, 0, NULL, 0, &error), RAPT_OK);
        fault_resume();
        assert_int_equal(status, why.status);
        if (status != RAPT_OK)
            fault_expect_error(&why);
    }
    assert_true(fault_rounds() > 50);
    release_tensors(named);
}

static void test_save_faults(void **state)
{
    (void)state;
    save_with_faults();
    fault_permanent();
    save_with_faults();
}

static void test_load_faults(void **state)
{
    (void)state;
    rapt_named_tensor named[N_TENSORS];
    make_tensors(named);
    assert_int_equal(rapt_save_safetensors(path, named, N_TENSORS, metadata, 2, &error), RAPT_OK);
    release_tensors(named);
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        rapt_file *file = rapt_load_safetensors(path, &error);
        if (file)
            rapt_file_free(file);
        else
            fault_expect_error(&error);
    }
    assert_true(fault_rounds() > 50);
    const char *header = "{\"a\":" ENTRY("U8", "3", 0, 3) ",\"b\":" ENTRY("I64", "2", 3, 19) "}";
    rapt_storage *bytes = file_bytes(header, strlen(header), 19, 0);
    FAULT_EACH(FAULT_MEMORY)
    {
        error = (rapt_error){0};
        rapt_file *file = rapt_safetensors_parse(bytes, "file", &error);
        if (file) {
            rapt_file_free(file);
        } else {
            /* The parser tells some failed allocations as bad tokens. */
            fault_expect_error(&error);
            assert_true(error.status == RAPT_NO_MEMORY || strstr(error.message, "near '\""));
        }
    }
    rapt_storage_release(bytes);
}

int main(void)
{
    json_set_alloc_funcs(fault_malloc, fault_free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_unaligned),
        cmocka_unit_test(test_bad_frame),
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_bad_places),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_golden),
        cmocka_unit_test_setup_teardown(test_round_trip, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_known_bytes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_save_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_save_faults, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_load_faults, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
