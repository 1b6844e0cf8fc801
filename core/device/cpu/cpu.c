/* The CPU as a device. */
#include "base/error.h"
#include "device/cpu/detect.h"
#include "device/cpu/measure.h"
#include "device/cpu/memory.h"
#include "device/cpu/pool.h"
#include "device/cpu/services.h"
#include "device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void cpu_close(rapt_device_driver *driver)
{
    (void)driver; /* the pool and the tables are the process's */
}

static rapt_status cpu_allocate(rapt_device_driver *driver, int64_t bytes, void **data,
                                rapt_error *error)
{
    (void)driver;
    void *memory = rapt_cpu_memory((size_t)bytes);
    if (!memory)
        return rapt_fail_memory(error, (size_t)bytes, "a tensor");
    *data = memory;
    return RAPT_OK;
}

static void cpu_release(rapt_device_driver *driver, void *data, int64_t bytes)
{
    (void)driver;
    (void)bytes;
    free(data);
}

static rapt_status cpu_write(rapt_device_driver *driver, void *data, uint64_t offset,
                             const void *source, int64_t bytes, rapt_error *error)
{
    (void)driver;
    (void)error;
    if (bytes > 0)
        memmove((char *)data + offset, source, (size_t)bytes);
    return RAPT_OK;
}

static rapt_status cpu_read(rapt_device_driver *driver, const void *data, uint64_t offset,
                            void *target, int64_t bytes, rapt_error *error)
{
    (void)driver;
    (void)error;
    if (bytes > 0)
        memmove(target, (const char *)data + offset, (size_t)bytes);
    return RAPT_OK;
}

static rapt_status cpu_synchronize(rapt_device_driver *driver, rapt_error *error)
{
    (void)driver;
    (void)error;
    return RAPT_OK; /* kernels return when they are done */
}

static const void *cpu_service(rapt_device_driver *driver, const char *name, uint32_t version)
{
    (void)driver;
    if (version != 1)
        return NULL;
    if (strcmp(name, "rapt.cpu") == 0)
        return rapt_cpu_table();
    if (strcmp(name, "rapt.gemm") == 0)
        return &rapt_gemm_table;
    if (strcmp(name, "rapt.math") == 0)
        return rapt_math_select();
    return NULL;
}

static void fill_info(rapt_device_info *info)
{
    char libraries[400];
    const int workers = rapt_pool_workers();
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "cpu");
    rapt_cpu_model(info->model, sizeof info->model);
    rapt_gemm_describe(libraries, sizeof libraries);
    snprintf(info->detail, sizeof info->detail, "%s, %d thread%s, %s",
             rapt_cpu_level_name(rapt_cpu_table()->level), workers, workers == 1 ? "" : "s",
             libraries);
    info->available = true;
    info->memory_bytes = pages > 0 && page > 0 ? (int64_t)pages * page : 0;
}

static rapt_status cpu_measure_gemm(rapt_device_driver *driver, int64_t n, double *gflops,
                                    rapt_error *error)
{
    const rapt_status status = rapt_cpu_measure_gemm(n, gflops, error);
    fill_info(&driver->info); /* OpenBLAS is loaded now and can be named */
    return status;
}

static rapt_status cpu_measure_copy(rapt_device_driver *driver, double *gbytes, rapt_error *error)
{
    (void)driver;
    return rapt_cpu_measure_copy(gbytes, error);
}

rapt_status rapt_cpu_open(rapt_device_driver *driver, rapt_error *error)
{
    rapt_status status = rapt_cpu_detect(error);
    if (status == RAPT_OK)
        status = rapt_pool_configure(error);
    if (status != RAPT_OK)
        return status;
    memset(driver, 0, sizeof *driver);
    driver->device.type = RAPT_DEVICE_CPU;
    driver->kind = "cpu";
    driver->close = cpu_close;
    driver->allocate = cpu_allocate;
    driver->release = cpu_release;
    driver->write = cpu_write;
    driver->read = cpu_read;
    driver->synchronize = cpu_synchronize;
    driver->service = cpu_service;
    driver->measure_gemm = cpu_measure_gemm;
    driver->measure_copy = cpu_measure_copy;
    fill_info(&driver->info);
    return RAPT_OK;
}
