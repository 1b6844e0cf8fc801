/* .npy: NumPy's bytes, our bytes, both orders of memory, bad headers. */
#include "tensor/convert.h"
#include "tensor/formats.h"
#include <dirent.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include <cmocka.h>

static rapt_error error;
static char folder[64], path[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "test_npy.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/x.npy", folder);
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
    error = (rapt_error){0};
}

/* A file of this version and header, and so many bytes 0, 1, 2, ... of elements. */
static rapt_storage *file_bytes(int version, const char *header, int64_t data)
{
    const size_t length = strlen(header), prefix = version == 1 ? 10 : 12;
    rapt_storage *whole = rapt_storage_new((int64_t)(prefix + length) + data, true, NULL);
    assert_non_null(whole);
    unsigned char *bytes = whole->data;
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (unsigned char)version;
    bytes[8] = length & 0xff;
    bytes[9] = (unsigned char)(length >> 8);
    memcpy(bytes + prefix, header, length);
    for (int64_t i = 0; i < data; i++)
        bytes[prefix + length + (size_t)i] = (unsigned char)i;
    return whole;
}

static rapt_tensor *parse(int version, const char *header, int64_t data)
{
    rapt_storage *bytes = file_bytes(version, header, data);
    rapt_tensor *t = rapt_npy_parse(bytes, "file", &error);
    rapt_storage_release(bytes);
    return t;
}

static void refuse(rapt_status status, const char *header, int64_t data, const char *word)
{
    for (int version = 1; version <= 3; version++) {
        assert_null(parse(version, header, data));
        assert_error(status, word);
    }
}

static double element(const rapt_tensor *t, int64_t i, int64_t j)
{
    const int64_t offset = i * t->strides[0] + (t->view.ndim > 1 ? j * t->strides[1] : 0);
    const rapt_dtype dtype = rapt_tensor_dtype(t);
    return rapt_element_get(
        (char *)rapt_view_data(&t->view) + offset * (int64_t)rapt_dtype_size(dtype), dtype);
}

static void test_headers(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }   \n",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)}",
        "{\"shape\":(2,3,),\"descr\":\"<i4\",\"fortran_order\":False}\n",
        " { 'fortran_order' : False , 'shape' : ( 2 , 3 ) , 'descr' : '<i4' } ",
    };
    for (int version = 1; version <= 3; version++)
        for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
            rapt_tensor *t = parse(version, good[i], 24);
            if (!t)
                print_error("%s\n", error.message);
            assert_non_null(t);
            assert_int_equal(t->view.ndim, 2);
            assert_int_equal(t->shape[1], 3);
            assert_true(element(t, 1, 2) == 0x17161514);
            assert_int_equal((uintptr_t)rapt_view_data(&t->view) % 4, 0);
            rapt_tensor_release(t);
        }
    rapt_tensor *t = parse(1, "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}", 24);
    assert_int_equal(t->strides[0], 1);
    assert_int_equal(t->strides[1], 2);
    assert_true(element(t, 1, 2) == 0x17161514 && element(t, 0, 1) == 0x0b0a0908);
    rapt_tensor_release(t);
    t = parse(1, "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 0)}", 0);
    assert_int_equal(rapt_tensor_count(t), 0);
    rapt_tensor_release(t);
    t = parse(1, "{'descr': '<f2', 'fortran_order': False, 'shape': ()}", 2);
    assert_int_equal(t->view.ndim, 0);
    rapt_tensor_release(t);
    t = parse(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (5,)}", 5);
    assert_int_equal(t->shape[0], 5);
    rapt_tensor_release(t);
}

static void test_bad_headers(void **state)
{
    (void)state;
    refuse(RAPT_IO, "", 0, "not a dictionary");
    refuse(RAPT_IO, "[]", 0, "not a dictionary");
    refuse(RAPT_IO, "{", 0, "string keys");
    refuse(RAPT_IO, "{}", 0, "lacks descr");
    refuse(RAPT_IO, "{'descr': '<f4'}", 0, "lacks fortran_order");
    refuse(RAPT_IO, "{'descr': '<f4', 'fortran_order': False}", 0, "lacks shape");
    refuse(RAPT_IO, "{'descr': '<f4', 'descr': '<f4'}", 0, "second key 'descr'");
    refuse(RAPT_IO, "{'desc': '<f4'}", 0, "unknown key 'desc'");
    refuse(RAPT_IO, "{'a key that is rather long': 1}", 0, "string keys");
    refuse(RAPT_IO, "{descr: '<f4'}", 0, "string keys");
    refuse(RAPT_IO, "{'descr' '<f4'}", 0, "string keys");
    refuse(RAPT_IO, "{'descr': '<f4' 'shape': ()}", 0, "does not end");
    refuse(RAPT_IO, "{'fortran_order': 1}", 0, "neither True nor False");
    refuse(RAPT_IO, "{'shape': 3}", 0, "tuple");
    refuse(RAPT_IO, "{'shape': (3)}", 0, "tuple");
    refuse(RAPT_IO, "{'shape': (3", 0, "tuple");
    refuse(RAPT_IO, "{'shape': (3,", 0, "tuple");
    refuse(RAPT_IO, "{'shape': (-3,)}", 0, "tuple");
    refuse(RAPT_IO, "{'shape': (3,,)}", 0, "tuple");
    refuse(RAPT_IO, "{'shape': (3.0,)}", 0, "tuple");
    refuse(RAPT_IO, "{'shape': (99999999999999999999,)}", 0, "tuple");
    refuse(RAPT_IO, "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", 0, "follows");
    refuse(RAPT_IO, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 7,
           "takes 8 bytes, 7");
    refuse(RAPT_IO, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 9,
           "takes 8 bytes, 9");
    refuse(RAPT_IO, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
           0, "63 bits");
    refuse(RAPT_IO, "{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", 3, "stored as 2");
    refuse(RAPT_UNSUPPORTED, "{'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1)}", 0, "more dimensions than 8");
    refuse(RAPT_UNSUPPORTED, "{'descr': [('a', '<f4')]}", 0, "plain type");
    static const char *const types[] = {">f4", "<c8", "<i2", "|S5", "|O",  "=f4",
                                        "f4",  "",    "<",   "|f4", "<f16"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char header[100], quoted[24];
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': ()}",
                 types[i]);
        snprintf(quoted, sizeof quoted, "'%s'", types[i]);
        refuse(RAPT_UNSUPPORTED, header, 4, quoted);
    }
}

static void test_bad_frame(void **state)
{
    (void)state;
    static const char *const files[] = {"", "\x93NUMPY", "\x93NUMPZ\1\0\0\0", "PK\3\4xxxxxxxx",
                                        "\x93NUMPY\1\0\1\0"};
    static const int64_t lengths[] = {0, 6, 10, 12, 10};
    const rapt_device cpu = {RAPT_DEVICE_CPU, 0};
    for (int i = 0; i < 5; i++) {
        rapt_storage *s =
            rapt_storage_wrap(cpu, (char *)files[i], lengths[i], false, NULL, NULL, NULL);
        assert_null(rapt_npy_parse(s, "file", &error));
        assert_error(RAPT_IO, i < 4 ? "not a .npy" : "truncated");
        rapt_storage_release(s);
    }
    assert_null(parse(4, "{}", 0));
    assert_error(RAPT_UNSUPPORTED, "version 4.0");
    rapt_storage *s = rapt_storage_wrap(cpu, "\x93NUMPY\2\0\1\0\0", 11, false, NULL, NULL, NULL);
    assert_null(rapt_npy_parse(s, "file", &error));
    assert_error(RAPT_IO, "truncated");
    rapt_storage_release(s);
}

/* numpy.save of numpy.array([[1, 2, 3], [4, 5, 6]], '<f4') and of numpy.int64(-2). */
static void test_known_bytes(void **state)
{
    (void)state;
    static const char numpy_f4[] =
        "\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
        "                                                          \n"
        "\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40\0\0\xc0\x40";
    static const char numpy_i8[] =
        "\x93NUMPY\1\0v\0{'descr': '<i8', 'fortran_order': False, 'shape': (), }"
        "                                                              \n"
        "\xfe\xff\xff\xff\xff\xff\xff\xff";
    const int64_t shape[] = {2, 3};
    assert_int_equal(sizeof numpy_f4 - 1, 128 + 24);
    assert_int_equal(sizeof numpy_i8 - 1, 128 + 8);
    rapt_tensor *t = rapt_tensor_new(RAPT_F32, 2, shape, false, NULL);
    for (int i = 0; i < 6; i++)
        ((float *)t->view.data)[i] = (float)(i + 1);
    assert_int_equal(rapt_save_npy(path, t, &error), RAPT_OK);
    rapt_storage *bytes = rapt_storage_map(path, &error);
    assert_int_equal(bytes->bytes, sizeof numpy_f4 - 1);
    assert_memory_equal(bytes->data, numpy_f4, sizeof numpy_f4 - 1);
    rapt_storage_release(bytes);
    rapt_tensor_release(t);
    t = rapt_tensor_new(RAPT_I64, 0, NULL, false, NULL);
    *(int64_t *)t->view.data = -2;
    assert_int_equal(rapt_save_npy(path, t, &error), RAPT_OK);
    bytes = rapt_storage_map(path, &error);
    assert_int_equal(bytes->bytes, sizeof numpy_i8 - 1);
    assert_memory_equal(bytes->data, numpy_i8, sizeof numpy_i8 - 1);
    rapt_storage_release(bytes);
    rapt_tensor_release(t);
}

static void test_round_trip(void **state)
{
    (void)state;
    const int64_t shapes[][3] = {{2, 3, 4}, {5, 0, 1}, {7, 0, 0}};
    const int32_t ranks[] = {3, 3, 1};
    for (int d = 0; d < RAPT_DTYPE_COUNT; d++)
        for (int s = 0; s < 3; s++) {
            rapt_tensor *t = rapt_tensor_new((rapt_dtype)d, ranks[s], shapes[s], true, NULL);
            for (int64_t i = 0; i < t->storage->bytes; i++)
                ((unsigned char *)t->view.data)[i] = (unsigned char)(d == RAPT_BOOL ? i & 1 : i);
            rapt_tensor *v = rapt_view_transpose(t, 0, -1, NULL);
            if (d == RAPT_BF16) {
                assert_int_equal(rapt_save_npy(path, v, &error), RAPT_UNSUPPORTED);
                assert_error(RAPT_UNSUPPORTED, "bf16");
            } else {
                rapt_tensor *packed = rapt_tensor_packed(v, NULL);
                assert_int_equal(rapt_save_npy(path, v, &error), RAPT_OK);
                rapt_tensor *back = rapt_load_npy(path, &error);
                assert_non_null(back);
                assert_int_equal(back->view.ndim, ranks[s]);
                assert_memory_equal(back->shape, v->shape, (size_t)ranks[s] * sizeof(int64_t));
                assert_int_equal(rapt_tensor_dtype(back), d);
                if (t->storage->bytes)
                    assert_memory_equal(rapt_view_data(&back->view), packed->view.data,
                                        (size_t)t->storage->bytes);
                rapt_tensor_release(back);
                rapt_tensor_release(packed);
            }
            rapt_tensor_release(v);
            rapt_tensor_release(t);
        }
    assert_null(rapt_load_npy("no/such/file", &error));
    assert_error(RAPT_NOT_FOUND, "no/such/file");
    assert_null(rapt_load_npy(NULL, &error));
    assert_error(RAPT_INVALID, "name");
}

static void test_mutations(void **state)
{
    (void)state;
    const char *header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }\n";
    int good = 0, bad = 0;
    for (size_t i = 0; i < strlen(header) + 10; i++)
        for (int value = 0; value < 256; value += 3) {
            rapt_storage *bytes = file_bytes(1, header, 24);
            ((unsigned char *)bytes->data)[i] = (unsigned char)value;
            rapt_tensor *t = rapt_npy_parse(bytes, "file", value % 2 ? &error : NULL);
            good += t != NULL;
            bad += t == NULL;
            rapt_tensor_release(t);
            rapt_storage_release(bytes);
        }
    assert_true(good > 20 && bad > 1000);
    error = (rapt_error){0};
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

static void test_faults(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3}, old_shape[] = {1};
    rapt_tensor *t = rapt_tensor_new(RAPT_F32, 2, shape, true, NULL);
    rapt_tensor *v = rapt_view_transpose(t, 0, 1, NULL);
    rapt_tensor *old = rapt_tensor_new(RAPT_F32, 1, old_shape, true, NULL);
    assert_int_equal(rapt_save_npy(path, old, &error), RAPT_OK);
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        const rapt_status status = rapt_save_npy(path, v, &error);
        const rapt_error why = error;
        fault_pause();
        assert_int_equal(files_in_folder(), 1);
        rapt_tensor *now = rapt_load_npy(path, &error);
        assert_non_null(now);
        assert_true(rapt_tensor_count(now) == 6 ||
                    (status != RAPT_OK && rapt_tensor_count(now) == 1));
        rapt_tensor_release(now);
        assert_int_equal(rapt_save_npy(path, old, &error), RAPT_OK);
        fault_resume();
        assert_int_equal(status, why.status);
        if (status != RAPT_OK)
            fault_expect_error(&why);
    }
    assert_true(fault_rounds() > 10);
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        rapt_tensor *now = rapt_load_npy(path, &error);
        if (now)
            rapt_tensor_release(now);
        else
            fault_expect_error(&error);
    }
    assert_true(fault_rounds() > 4);
    rapt_tensor_release(old);
    rapt_tensor_release(v);
    rapt_tensor_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_frame),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test_setup_teardown(test_known_bytes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_round_trip, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_faults, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
