/*
 * What a device is. The engine keeps a list of these and never asks which one it has.
 *
 * Memory of a device is a handle in rapt_view.data plus a byte offset. Work is submitted in order;
 * a kernel's outputs may be read by later kernels of the same device without waiting, by the host
 * after `synchronize` or `read`.
 */
#ifndef RAPT_DEVICE_DEVICE_H
#define RAPT_DEVICE_DEVICE_H

#include <rapt/rapt.h>
#include <stdatomic.h>

typedef struct rapt_device_driver rapt_device_driver;

/* What the self-test of one operator found, and of what code. */
typedef struct rapt_verdict {
    char op[64];       /* the operator */
    char code[96];     /* which kernels were tested */
    uint32_t tested;   /* RAPT_TESTED of what was */
    uint32_t with;     /* optional inputs that took part, by place */
    uint32_t compared; /* RAPT_COMPARED_*; 0: there was nothing to judge */
    uint32_t failed;   /* RAPT_VULKAN_* whose path gave wrong answers */
    uint32_t wrong;    /* RAPT_DTYPE_BIT of dtypes for which the path that needs nothing did */
    uint32_t fresh;    /* 1: by this process */
    char why[256];     /* of the failures, in words */
} rapt_verdict;

/* What a kernel's results were compared with. */
enum { RAPT_COMPARED_CPU = 1, RAPT_COMPARED_GOLDEN = 2 };

/* Forward, or with it backward, in one dtype. */
#define RAPT_TESTED(dtype, backward) (((backward) ? 0x101u : 1u) << (unsigned)(dtype))

/* Random numbers for the elements of a contiguous view, in order: what core/tensor/random.h gives
 * for numbers first, first + 1, ... of stream 0, rounded to the view's dtype. */
typedef enum rapt_fill_kind {
    RAPT_FILL_UNIFORM,
    RAPT_FILL_NORMAL,
    RAPT_FILL_INTEGERS /* low + floor(word * range / 2^64): 32 bits of stream 0 above 32 of stream 1
                        */
} rapt_fill_kind;

typedef struct rapt_random_fill {
    rapt_fill_kind kind;
    uint64_t seed, first;
    int64_t low;
    uint64_t range;        /* 0: 2^64 */
    const uint32_t *table; /* of normal numbers: rapt_normal_table */
    size_t table_bytes;
} rapt_random_fill;

struct rapt_device_driver {
    rapt_device device;
    const char *kind;      /* what kernels call it: "cpu", "vulkan" */
    rapt_device_info info; /* filled when opened */
    void *self;
    bool software; /* no hardware behind it: slow, and made for tests */

    void (*close)(rapt_device_driver *driver);
    /* At least `bytes` (> 0), 64-byte aligned. *data is the handle. */
    rapt_status (*allocate)(rapt_device_driver *driver, int64_t bytes, void **data,
                            rapt_error *error);
    void (*release)(rapt_device_driver *driver, void *data, int64_t bytes);
    /* Contiguous bytes between the host and the device. */
    rapt_status (*write)(rapt_device_driver *driver, void *data, uint64_t offset,
                         const void *source, int64_t bytes, rapt_error *error);
    rapt_status (*read)(rapt_device_driver *driver, const void *data, uint64_t offset, void *target,
                        int64_t bytes, rapt_error *error);
    /* target[...] = source[...] on this device: same shape, any layout and dtypes, no overlap;
     * recorded like a dispatch. Devices whose memory the host reaches have NULL here. */
    rapt_status (*copy)(rapt_device_driver *driver, const rapt_view *target,
                        const rapt_view *source, rapt_error *error);
    /* Zero bytes into a range; offset and bytes are multiples of 4. NULL as above. */
    rapt_status (*clear)(rapt_device_driver *driver, void *data, uint64_t offset, int64_t bytes,
                         rapt_error *error);
    /* Numbers that lie in the range of the dtype; recorded like a dispatch. NULL: the device makes
     * none, and the host's are written to it. */
    rapt_status (*fill)(rapt_device_driver *driver, const rapt_view *target,
                        const rapt_random_fill *fill, rapt_error *error);
    /* Records a shader's dispatch. NULL: it is no Vulkan device. */
    rapt_status (*dispatch)(rapt_device_driver *driver, const rapt_vulkan_dispatch *dispatch,
                            rapt_error *error);
    /* Runs a kernel's function with nothing recorded: RAPT_UNSUPPORTED if the device lacks what a
     * dispatch of it needs; host->error has the reason. Views need no data. NULL: the device has
     * what every kernel needs that `supports` does not ask for. */
    rapt_status (*rehearse)(rapt_device_driver *driver, rapt_status (*function)(rapt_call *),
                            rapt_call *call);
    rapt_status (*synchronize)(rapt_device_driver *driver, rapt_error *error);
    /* A service of this device, or NULL: what host->service returns. */
    const void *(*service)(rapt_device_driver *driver, const char *name, uint32_t version);
    /* Waits; the seconds that the device has worked since it was opened, by its own clock. NULL: it
     * has none. */
    rapt_status (*seconds)(rapt_device_driver *driver, double *seconds, rapt_error *error);
    /* Waits; what each shader took so far, at most `room` of them. NULL: nobody counts. */
    rapt_status (*timings)(rapt_device_driver *driver, rapt_vulkan_timing *timings, size_t room,
                           size_t *count, rapt_error *error);
    /* Addresses of code may stand for other code from now on: a plugin was loaded. NULL: it does
     * not care. */
    void (*forget)(rapt_device_driver *driver);
    /* The verdict on an operator on this device and driver; false: there is none. NULL: the device
     * needs no self-test. */
    bool (*judged)(rapt_device_driver *driver, const char *op, rapt_verdict *verdict);
    /* While this thread tests an operator: of the features that are on, offers it no others than
     * these; returns those that are. UINT32_MAX ends it. */
    uint32_t (*offer)(rapt_device_driver *driver, uint32_t features);
    /* The end of a self-test: keeps the verdict, in place of an earlier one of the operator, and
     * offers it no more what failed. `info` says so. */
    void (*judge)(rapt_device_driver *driver, const rapt_verdict *verdict);
    /* Rates for `bench`: see rapt_measure_gemm and rapt_measure_copy. */
    rapt_status (*measure_gemm)(rapt_device_driver *driver, int64_t n, double *gflops,
                                rapt_error *error);
    rapt_status (*measure_copy)(rapt_device_driver *driver, double *gbytes, rapt_error *error);
};

/* The Vulkan devices of this machine, the software one last: fills at most `room` drivers, *count
 * says how many. Without any there is one that is not available, whose detail says why. */
rapt_status rapt_vulkan_open(rapt_device_driver *drivers, size_t room, size_t *count,
                             rapt_error *error);

/* The same devices as they were found last time, without starting a driver, if nothing has changed
 * since; each detail says so. false: there is no such record. */
bool rapt_vulkan_list(rapt_device_info *infos, size_t room, size_t *count);
/* The service "rapt.vulkan"; its limits are NULL while the call's device is not open. */
const rapt_vulkan_service *rapt_vulkan_table(void);
/* Takes the lines of the validation layers (RAPT_VULKAN_VALIDATE=1); NULL: nobody. Set before a
 * device is opened. */
extern void (*rapt_vulkan_log)(rapt_log_level level, const char *line);

/* The CPU, always there: RAPT_INVALID when RAPT_CPU or RAPT_THREADS make no sense. */
rapt_status rapt_cpu_open(rapt_device_driver *driver, rapt_error *error);

#endif
