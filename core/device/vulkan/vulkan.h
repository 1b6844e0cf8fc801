/*
 * The Vulkan device's own contract; nothing here is seen outside this room.
 *
 *   instance.c  libvulkan, the instance, the list of devices, the layers' messages
 *   features.c  what a physical device can do, and what quirks leave of it
 *   quirks.c    the table of quirks
 *   device.c    a logical device: opened at first use, closed, lost
 *   memory.c    memory handed out of larger blocks
 *   commands.c  batches of commands, submitted in order, waited for by one timeline semaphore
 *   transfer.c  bytes between the host and the device; clearing
 *   copy.c      strided copies and conversions on the device
 *   fill.c      random numbers made on the device
 *   code.c      SPIR-V as shaders carry it
 *   bfloat.c    code of float16 as code of bfloat16
 *   part.c      code for a part of a grid that is too large for the device
 *   pipeline.c  pipelines by code and constants; the cache on disk
 *   dispatch.c  dispatches checked and recorded; the service given to kernels
 *   measure.c   rates of the device
 *   verdict.c   what self-tests found, on disk
 *   profile.c   what each shader takes
 *   found.c     the list of devices as it was last found, on disk
 *   cache.c     files in the user's cache folder
 *   driver.c    the functions of rapt_device_driver
 *
 * Threads: everything of one device is guarded by its mutex; functions that are marked [locked] are
 * called with it held.
 */
#ifndef RAPT_DEVICE_VULKAN_VULKAN_H
#define RAPT_DEVICE_VULKAN_VULKAN_H

#include "device/device.h"
#include "device/vulkan/part.h"
#include "device/vulkan/table.h"
#include <pthread.h>

typedef struct rapt_vk_device rapt_vk_device;
typedef struct rapt_vk_block rapt_vk_block;
typedef struct rapt_vk_pipeline rapt_vk_pipeline;
typedef struct rapt_vk_judged rapt_vk_judged;

/* --- The instance ---------------------------------------------------------------------------- */

enum { RAPT_VK_MAX_DEVICES = 15 };

typedef struct rapt_vk_instance {
    void *library;
    rapt_vk_global global;
    rapt_vk_instance_table vk;
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV coopmat_nv;
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR coopmat_khr;
    uint32_t version;
    uint32_t layer_version; /* of Vulkan, that the validation layers know */
    bool validate;
} rapt_vk_instance;

/* Opens libvulkan and makes an instance. RAPT_UNSUPPORTED says what is missing. */
rapt_status rapt_vk_instance_open(rapt_vk_instance *instance, rapt_error *error);
void rapt_vk_instance_close(rapt_vk_instance *instance);

/* The system's libvulkan, or the one that a bundle carries beside librapt; NULL: neither. */
void *rapt_vk_loader_open(void);

/* "VK_ERROR_DEVICE_LOST" */
const char *rapt_vk_result_name(VkResult result);

/* A message of the layers is kept, counted and given to rapt_vulkan_log. */
void rapt_vk_message(const char *text);

/* --- What a device can do -------------------------------------------------------------------- */

typedef struct rapt_vk_features {
    VkPhysicalDeviceProperties properties;
    char driver_name[VK_MAX_DRIVER_NAME_SIZE];
    char driver_info[VK_MAX_DRIVER_INFO_SIZE];
    VkDriverId driver_id;
    uint8_t uuid[VK_UUID_SIZE]; /* of the device */
    uint32_t queue_family;
    uint32_t timestamp_bits;
    uint32_t subgroup_size, subgroup_min, subgroup_max; /* min, max 0: no control over it */
    uint64_t max_allocation, max_buffer;
    uint32_t processors;
    uint32_t present; /* RAPT_VULKAN_*: what the device has */
    uint32_t on;      /* what quirks leave of it */
    const char *why_off[32];
    bool software, unified, memory_budget, maintenance4, memory_model, int16, int8;
    bool subgroup_control;
    bool statistics; /* of pipelines; asked for by RAPT_VULKAN_PROFILE alone */
    bool
        hidden; /* VK_KHR_cooperative_matrix is there, but older validation layers are in the way */
    uint64_t memory_bytes; /* of the largest device-local heap */
} rapt_vk_features;

/* RAPT_UNSUPPORTED: it is no device for compute with Vulkan 1.2. */
rapt_status rapt_vk_features_read(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                                  rapt_vk_features *features, rapt_error *error);
/* A logical device with everything on that `features` names. */
VkResult rapt_vk_features_create(const rapt_vk_instance *instance, VkPhysicalDevice physical,
                                 const rapt_vk_features *features, VkDevice *device);
/* Turns off what is known not to work on this device and driver: features->on, why_off. */
void rapt_vk_quirks_apply(rapt_vk_features *features);
/* RAPT_INVALID: RAPT_VULKAN_OFF names what is no feature, or RAPT_VULKAN_BUFFERS or
 * RAPT_VULKAN_SHARED is no number that a device could have. */
rapt_status rapt_vk_quirks_check(rapt_error *error);
/* Storage buffers that a shader may bind, or fewer where RAPT_VULKAN_BUFFERS says so. */
uint32_t rapt_vk_quirks_buffers(const rapt_vk_features *features);
/* Bytes of shared memory of a workgroup, or fewer where RAPT_VULKAN_SHARED says so. */
uint32_t rapt_vk_quirks_shared(const rapt_vk_features *features);
/* Turns features off, with the reason; a pointer to it is kept. */
void rapt_vk_features_off(rapt_vk_features *features, uint32_t off, const char *why);
/* "plain on; f16 on; coopmat NV off: ..." */
void rapt_vk_features_describe(const rapt_vk_features *features, char *text, size_t size);

/* --- Memory ---------------------------------------------------------------------------------- */

/* A range of a block; what a view's data points to. */
typedef struct rapt_vk_memory {
    rapt_vk_device *device;
    rapt_vk_block *block;
    uint64_t offset, bytes; /* in the block's buffer */
    uint64_t last_use;      /* of the batches that touched it, the last; also while it is free */
    bool free;
    struct rapt_vk_memory *before, *after;  /* in the block, by offset */
    struct rapt_vk_memory *older, *younger; /* in the list of free ranges of its size */
} rapt_vk_memory;

struct rapt_vk_block {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t bytes, used;
    unsigned char *mapped; /* NULL: the host cannot reach it */
    rapt_vk_memory *first;
    rapt_vk_block *next;
};

enum { RAPT_VK_ALIGN = 256, RAPT_VK_CLASSES = 256, RAPT_VK_NOTHINGS = 256 };

typedef struct rapt_vk_heap {
    rapt_vk_block *blocks;
    rapt_vk_memory *classes[RAPT_VK_CLASSES]; /* free ranges by size */
    uint64_t reserved, used;                  /* bytes of blocks, of ranges handed out */
    uint64_t cap;                             /* RAPT_VULKAN_MEMORY; 0: none */
} rapt_vk_heap;

/* [locked] At least `bytes`, aligned to RAPT_VK_ALIGN. */
rapt_status rapt_vk_memory_take(rapt_vk_device *device, uint64_t bytes, rapt_vk_memory **memory,
                                rapt_error *error);
void rapt_vk_memory_give(rapt_vk_memory *memory); /* [locked] */
/* [locked] Bytes that blocks may have altogether. */
uint64_t rapt_vk_memory_budget(rapt_vk_device *device);
/* [locked] Gives blocks without a used range back to the driver; no command needs them any more. */
void rapt_vk_memory_trim(rapt_vk_device *device);
void rapt_vk_memory_close(rapt_vk_device *device);

/* Memory of rapt's own that the host reaches: staging, params. */
typedef struct rapt_vk_host_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    unsigned char *mapped;
    uint64_t bytes, used;
} rapt_vk_host_buffer;

typedef enum rapt_vk_host_use { RAPT_VK_UPLOAD, RAPT_VK_READBACK, RAPT_VK_PARAMS } rapt_vk_host_use;
rapt_status rapt_vk_host_buffer_make(rapt_vk_device *device, uint64_t bytes, rapt_vk_host_use use,
                                     rapt_vk_host_buffer *buffer, rapt_error *error);
void rapt_vk_host_buffer_free(rapt_vk_device *device, rapt_vk_host_buffer *buffer);

/* --- Commands -------------------------------------------------------------------------------- */

enum {
    RAPT_VK_BATCHES = 8,      /* in flight at most */
    RAPT_VK_BATCH_MOST = 128, /* commands of one batch at most */
    RAPT_VK_POOL_SETS = 128,
    RAPT_VK_POOL_BUFFERS = 2048,
    RAPT_VK_PARAMS_BYTES = 128 << 10,
    RAPT_VK_STAGING_BYTES = 4 << 20
};

typedef struct rapt_vk_pool {
    VkDescriptorPool handle;
    uint32_t sets, buffers; /* left */
} rapt_vk_pool;

typedef struct rapt_vk_batch {
    VkCommandPool pool;
    VkCommandBuffer commands;
    rapt_vk_pool *pools;
    uint32_t n_pools, pool_used; /* in use: 0 to pool_used */
    rapt_vk_host_buffer params, staging;
    uint64_t serial; /* 0: never submitted */
    uint32_t count;  /* commands recorded */
    bool timed;      /* its time has not been added yet */
    bool host_reads; /* the host will read what it writes */
} rapt_vk_batch;

typedef struct rapt_vk_queue {
    VkQueue handle;
    VkSemaphore timeline;
    VkQueryPool queries; /* two for each batch; may be NULL */
    rapt_vk_batch batch[RAPT_VK_BATCHES];
    uint32_t current;
    bool open;           /* the current batch is being recorded */
    uint64_t recording;  /* serial of the current batch */
    uint64_t submitted;  /* greatest serial submitted */
    uint64_t completed;  /* greatest serial known to be done */
    uint32_t target;     /* commands after which the current batch is submitted */
    bool barrier_needed; /* memory changed hands since the last barrier */
    uint32_t nothings;   /* pieces of device->nothing bound since then */
    double seconds;      /* that finished batches took */
} rapt_vk_queue;

rapt_status rapt_vk_commands_open(rapt_vk_device *device, rapt_error *error);
void rapt_vk_commands_close(rapt_vk_device *device);
/* [locked] The batch to record into, behind a barrier unless `concurrent`. */
rapt_status rapt_vk_record(rapt_vk_device *device, bool concurrent, rapt_vk_batch **batch,
                           rapt_error *error);
/* [locked] Counts a recorded command and submits the batch when it is large enough. */
rapt_status rapt_vk_recorded(rapt_vk_device *device, rapt_error *error);
rapt_status rapt_vk_submit(rapt_vk_device *device, rapt_error *error);                /* [locked] */
rapt_status rapt_vk_wait(rapt_vk_device *device, uint64_t serial, rapt_error *error); /* [locked] */
bool rapt_vk_done(rapt_vk_device *device, uint64_t serial);                           /* [locked] */

/* --- What each shader takes ------------------------------------------------------------------ */

enum { RAPT_VK_PROFILED = RAPT_VK_BATCH_MOST, RAPT_VK_SHADERS = 512, RAPT_VK_NAME = 64 };

typedef struct rapt_vk_profile {
    VkQueryPool queries;
    uint32_t n[RAPT_VK_BATCHES]; /* dispatches of a batch that are timed */
    char name[RAPT_VK_BATCHES][RAPT_VK_PROFILED][RAPT_VK_NAME];
    uint32_t n_shaders;
    rapt_vulkan_timing shader[RAPT_VK_SHADERS];
    PFN_vkGetPipelineExecutablePropertiesKHR executables; /* NULL: the driver says nothing */
    PFN_vkGetPipelineExecutableStatisticsKHR statistics;
} rapt_vk_profile;

bool rapt_vk_profile_asked(void); /* RAPT_VULKAN_PROFILE=1 */
/* All of these do nothing unless it is asked for. */
rapt_status rapt_vk_profile_open(rapt_vk_device *device, rapt_error *error);
void rapt_vk_profile_close(rapt_vk_device *device);
void rapt_vk_profile_begin(rapt_vk_device *device, const rapt_vk_batch *batch);
void rapt_vk_profile_stamp(rapt_vk_device *device, const rapt_vk_batch *batch, const char *name,
                           bool end);
void rapt_vk_profile_add(rapt_vk_device *device, const rapt_vk_batch *batch);
/* What the driver says of a pipeline goes to its shader's line. */
void rapt_vk_profile_compiled(rapt_vk_device *device, const char *name, VkPipeline pipeline);
/* Between two time stamps. */
double rapt_vk_seconds(const rapt_vk_device *device, uint64_t from, uint64_t to);

/* --- Pipelines ------------------------------------------------------------------------------- */

/* No shader of rapt's own binds as many as `wide`: on a device that takes so many, kernels need no
 * rehearsal. */
enum { RAPT_VK_MAX_CONSTANTS = 32, RAPT_VK_MAX_BINDINGS = 64, RAPT_VK_WIDE = 24 };

typedef struct rapt_vk_layout {
    VkDescriptorSetLayout set;
    VkPipelineLayout pipeline;
    uint32_t bindings, push_bytes;
} rapt_vk_layout;

struct rapt_vk_pipeline {
    VkPipeline handle;
    const rapt_vk_layout *layout;
    uint8_t code[32]; /* SHA-256 of the SPIR-V */
    uint32_t subgroup, n_constants;
    uint32_t as_bfloat16; /* its float16 are bfloat16 */
    uint32_t constants[RAPT_VK_MAX_CONSTANTS];
    rapt_vk_part part; /* of a grid; zeros: all of it */
    uint64_t hash;
    rapt_vk_pipeline *next;
};

/* The hash of code at an address; holds until `generation` changes. */
typedef struct rapt_vk_code {
    const uint32_t *code;
    uint64_t code_bytes;
    uint8_t hash[32];
} rapt_vk_code;

enum { RAPT_VK_FAMILY = 32 }; /* bytes of a family's name */

/* The shaders whose names begin alike, up to the first point: an operator's, all built-in ones. */
typedef struct rapt_vk_family {
    char name[RAPT_VK_FAMILY];
    VkPipelineCache cache;
    uint32_t unsaved; /* pipelines made since the cache was written */
    struct rapt_vk_family *next;
} rapt_vk_family;

typedef struct rapt_vk_pipelines {
    rapt_vk_family *families;
    rapt_vk_pipeline *bucket[256];
    rapt_vk_code *codes; /* open addressing; capacity a power of two */
    uint32_t n_codes, codes_capacity;
    rapt_vk_layout **layouts;
    uint32_t n_layouts;
    double saved_at;
} rapt_vk_pipelines;

void rapt_vk_pipelines_close(rapt_vk_device *device);
/* [locked] Code addresses may stand for other code from now on: a plugin was loaded. */
void rapt_vk_forget(rapt_vk_device *device);
/* [locked] The pipeline of a shader with the dispatch's constants, made if need be; for a part of a
 * grid, or NULL. */
rapt_status rapt_vk_pipeline_get(rapt_vk_device *device, const rapt_vulkan_dispatch *dispatch,
                                 const rapt_vk_part *part, const rapt_vk_pipeline **pipeline,
                                 rapt_error *error);
/* [locked] The family of a shader by its name; its cache is read from disk if need be. */
rapt_status rapt_vk_family_get(rapt_vk_device *device, const char *shader, rapt_vk_family **family,
                               rapt_error *error);
/* [locked] Writes to disk what came to the caches; if not `at_once`, every few seconds. */
void rapt_vk_families_save(rapt_vk_device *device, bool at_once);
void rapt_vk_families_close(rapt_vk_device *device);

/* --- A device -------------------------------------------------------------------------------- */

struct rapt_vk_device {
    pthread_mutex_t lock;
    const rapt_vk_instance *instance;
    VkPhysicalDevice physical;
    rapt_vk_features features;
    rapt_vulkan_limits limits;
    char name[32]; /* "vulkan:0" */
    bool open, lost;
    VkDevice handle;
    rapt_vk_device_table vk;
    VkPhysicalDeviceMemoryProperties memory_types;
    rapt_vk_heap heap;
    rapt_vk_queue queue;
    rapt_vk_pipelines pipelines;
    rapt_vk_host_buffer readback[2];
    _Atomic(rapt_vk_judged *) judged; /* operators, the last one first */
    atomic_bool failing;              /* some path of some operator is off for it */
    rapt_vk_profile *profile;         /* NULL: nobody asked */
    /* Bound where a shader declares a buffer that is absent, another piece each time until the next
     * barrier: what runs side by side shares nothing that is declared to be written. */
    rapt_vk_memory *nothing;
    rapt_vk_memory *normal_table; /* of fill.c; NULL until it is needed */
};

/* [locked] Opens the logical device if it is not; RAPT_DEVICE_LOST once it was lost. */
rapt_status rapt_vk_device_ready(rapt_vk_device *device, rapt_error *error);
void rapt_vk_device_close(rapt_vk_device *device);
/* [locked] Words a failed call of Vulkan; notes a lost device. `what` says what was tried. */
rapt_status rapt_vk_failed(rapt_vk_device *device, VkResult result, const char *what,
                           rapt_error *error);

/* The verdicts that are on disk, if there are any. */
void rapt_vk_verdicts_load(rapt_vk_device *device);
void rapt_vk_verdicts_free(rapt_vk_device *device);
/* [locked] The verdict on an operator, or NULL. */
const rapt_verdict *rapt_vk_verdict_find(const rapt_vk_device *device, const char *op);
/* [locked] In place of an earlier one of the operator; all of them go to disk. */
void rapt_vk_verdict_keep(rapt_vk_device *device, const rapt_verdict *verdict);
/* What the operator of a call may use: what its verdict, or the self-test that this thread runs,
 * leaves of the device's. */
const rapt_vulkan_limits *rapt_vk_verdict_limits(const rapt_vk_device *device,
                                                 const rapt_call *call);
/* As rapt_device_driver.offer. */
uint32_t rapt_vk_verdict_offer(rapt_vk_device *device, uint32_t features);
/* [locked] "failed by cog: ...; passed by 3 operators" */
void rapt_vk_verdicts_describe(const rapt_vk_device *device, char *text, size_t size);

/* Keeps the list of devices for rapt_vulkan_list, unless that is what it says already. */
void rapt_vk_found_store(const rapt_device_driver *drivers, size_t count);

/* --- Work ------------------------------------------------------------------------------------ */

/* [locked] Checks and records a dispatch. */
rapt_status rapt_vk_dispatch(rapt_vk_device *device, const rapt_vulkan_dispatch *dispatch,
                             rapt_error *error);
/* As rapt_device_driver.rehearse. */
rapt_status rapt_vk_rehearse(rapt_status (*function)(rapt_call *), rapt_call *call);
rapt_status rapt_vk_write(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                          const void *source, uint64_t bytes, rapt_error *error); /* [locked] */
rapt_status rapt_vk_read(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                         void *target, uint64_t bytes, rapt_error *error); /* [locked] */
rapt_status rapt_vk_clear(rapt_vk_device *device, rapt_vk_memory *memory, uint64_t offset,
                          uint64_t bytes, rapt_error *error); /* [locked] */
/* [locked] As rapt_device_driver.copy. */
rapt_status rapt_vk_copy(rapt_vk_device *device, const rapt_view *target, const rapt_view *source,
                         rapt_error *error);

/* [locked] As rapt_device_driver.fill. */
rapt_status rapt_vk_fill(rapt_vk_device *device, const rapt_view *target,
                         const rapt_random_fill *fill, rapt_error *error);

/* [locked] GFLOP/s of float32 multiplications and additions in registers, about 2 n^3 of them; GB/s
 * of a large copy. */
rapt_status rapt_vk_measure_fma(rapt_vk_device *device, int64_t n, double *gflops,
                                rapt_error *error);
rapt_status rapt_vk_measure_copy(rapt_vk_device *device, double *gbytes, rapt_error *error);

/* The open device of an index, or NULL. */
rapt_vk_device *rapt_vk_device_at(int32_t index);

#endif
