/* The CPU as a device: opening, the environment, memory, services, rates. */
#include "device/cpu/memory.h"
#include "device/cpu/services.h"
#include "device/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The environment is read once a process, so every value gets its own. */
static void check_refused(const char *name, const char *value)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        rapt_device_driver driver;
        rapt_error error = {0};
        setenv(name, value, 1);
        const rapt_status status = rapt_cpu_open(&driver, &error);
        _exit(status == RAPT_INVALID && strstr(error.message, name) &&
                      strstr(error.message, value) && !strchr(error.message, '\n')
                  ? 0
                  : 1);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s=%s", name, value);
}

static void test_environment(void **state) /* first: nothing is detected yet */
{
    (void)state;
    check_refused("RAPT_CPU", "sse9");
    check_refused("RAPT_CPU", "AVX2");
#if defined(__x86_64__)
    check_refused("RAPT_CPU", "neon");
#else
    check_refused("RAPT_CPU", "avx2");
#endif
    check_refused("RAPT_THREADS", "many");
}

static rapt_device_driver open_cpu(void)
{
    rapt_device_driver driver;
    rapt_error error = {0};
    if (rapt_cpu_open(&driver, &error) != RAPT_OK)
        fail_msg("%s", error.message);
    return driver;
}

static void test_open(void **state)
{
    (void)state;
    rapt_device_driver driver = open_cpu();
    assert_int_equal(driver.device.type, RAPT_DEVICE_CPU);
    assert_int_equal(driver.device.index, 0);
    assert_string_equal(driver.kind, "cpu");
    assert_string_equal(driver.info.name, "cpu");
    assert_true(driver.info.available);
    assert_true(driver.info.model[0] != '\0');
    assert_true(driver.info.memory_bytes > 1 << 20);
    print_message("%s: %s\n", driver.info.model, driver.info.detail);
    assert_non_null(strstr(driver.info.detail, rapt_cpu_level_name(rapt_cpu_table()->level)));
    assert_non_null(strstr(driver.info.detail, "thread"));
    assert_non_null(strstr(driver.info.detail, "OpenBLAS when first used"));
    driver.close(&driver);
}

static void test_memory(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 63, 64, 65, 4096, 10 << 20};
    rapt_device_driver driver = open_cpu();
    rapt_error error = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *data = NULL;
        char byte = 7, back = 0;
        assert_int_equal(driver.allocate(&driver, sizes[i], &data, &error), RAPT_OK);
        assert_int_equal((uintptr_t)data % 64, 0);
        const uint64_t last = (uint64_t)sizes[i] - 1;
        assert_int_equal(driver.write(&driver, data, last, &byte, 1, &error), RAPT_OK);
        assert_int_equal(driver.synchronize(&driver, &error), RAPT_OK);
        assert_int_equal(driver.read(&driver, data, last, &back, 1, &error), RAPT_OK);
        assert_int_equal(back, 7);
        driver.release(&driver, data, sizes[i]);
    }
    void *data = &driver;
    assert_int_equal(driver.allocate(&driver, INT64_MAX - 100, &data, &error), RAPT_NO_MEMORY);
    assert_ptr_equal(data, &driver);
    assert_non_null(strstr(error.message, "out of memory"));
    driver.close(&driver);
}

/* Large blocks begin at a huge page; all of a block can be written. */
static void test_blocks(void **state)
{
    static const size_t sizes[] = {1, 64, 65, (4u << 20) - 1, 4u << 20, (5u << 20) + 3, 9u << 20};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *memory = rapt_cpu_memory(sizes[i]);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % (sizes[i] < (4u << 20) ? 64 : 2u << 20), 0);
        memset(memory, 1, sizes[i]);
        free(memory);
    }
    assert_null(rapt_cpu_memory(SIZE_MAX));
    assert_null(rapt_cpu_memory(SIZE_MAX - 100));
}

static void test_services(void **state)
{
    (void)state;
    rapt_device_driver driver = open_cpu();
    const rapt_cpu_service *cpu = driver.service(&driver, "rapt.cpu", 1);
    const rapt_gemm_service *gemm = driver.service(&driver, "rapt.gemm", 1);
    const rapt_math_service *math = driver.service(&driver, "rapt.math", 1);
    assert_true(cpu != NULL && cpu->size == sizeof *cpu && cpu->l1_bytes >= 0);
    assert_true(gemm != NULL && gemm->size == sizeof *gemm && gemm->gemm && gemm->tile);
    assert_true(math != NULL && math->size == sizeof *math && math->exp && math->store);
    assert_null(driver.service(&driver, "rapt.cpu", 2));
    assert_null(driver.service(&driver, "rapt.gemm", 0));
    assert_null(driver.service(&driver, "org.example.none", 1));
    driver.close(&driver);
}

static void test_rates(void **state)
{
    (void)state;
    rapt_device_driver driver = open_cpu();
    rapt_error error = {0};
    double gflops = 0, gbytes = 0;
    assert_int_equal(driver.measure_gemm(&driver, 0, &gflops, &error), RAPT_INVALID);
    assert_int_equal(driver.measure_gemm(&driver, 256, &gflops, &error), RAPT_OK);
    assert_int_equal(driver.measure_copy(&driver, &gbytes, &error), RAPT_OK);
    print_message("%.1f GFLOP/s, %.1f GB/s\n", gflops, gbytes);
    assert_true(gflops > 0.1 && gflops < 1e6);
    assert_true(gbytes > 0.1 && gbytes < 1e5);
    driver.close(&driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment), cmocka_unit_test(test_open),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_services),
        cmocka_unit_test(test_blocks),      cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests_name("cpu", tests, NULL, NULL);
}
