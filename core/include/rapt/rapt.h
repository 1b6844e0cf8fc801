/*
 * rapt/rapt.h - the embedding API: tensors, operators, automatic differentiation.
 *
 * Link with librapt (pkg-config rapt). The Lua module and the `rapt` program are built on what
 * stands here and add nothing of their own to it.
 *
 * Conventions
 *
 * - Errors. A function that can fail returns a rapt_status, or NULL, and takes a `rapt_error *`
 *   last, which may be NULL. On failure nothing has changed and outputs are untouched. Messages
 *   count dimensions and positions from 1.
 * - Pointers. Except for the error, a pointer may be NULL only where its declaration says so, and
 *   an array where its length is 0.
 * - Ownership. A function that returns a `rapt_tensor *` gives the caller one reference, to be
 *   given back with rapt_tensor_release. Arguments are borrowed unless said otherwise.
 * - Threads. A context serves one thread at a time. Reference counts are atomic: a tensor may be
 *   retained and released anywhere.
 * - Indices count from 0 here (in Lua: from 1).
 */
#ifndef RAPT_RAPT_H
#define RAPT_RAPT_H

#include <rapt/plugin.h>
#include <rapt/tensor.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RAPT_API        __attribute__((visibility("default")))
#define RAPT_ERROR_SIZE 1024

/* One line: what was wrong, where, what was expected, what came. */
typedef struct rapt_error {
    rapt_status status;
    char message[RAPT_ERROR_SIZE];
} rapt_error;

typedef struct rapt_context rapt_context;
typedef struct rapt_tensor rapt_tensor;

RAPT_API const char *rapt_version(void);
RAPT_API const char *rapt_status_name(rapt_status status);

/* --- Context ------------------------------------------------------------------------------- */

typedef struct rapt_options {
    uint32_t size;
    const char *plugin_path; /* folders separated by ':', searched first; NULL: RAPT_PLUGIN_PATH */
    bool no_plugins;         /* built-in operators only */
    void (*log)(void *user, rapt_log_level level, const char *line); /* NULL: standard error */
    void *user;
} rapt_options;

/* Opens the devices, registers the built-in operators and finds the plugins. A plugin that cannot
 * be loaded is no failure: it is listed with the reason (rapt_plugin_info). `options` may be NULL.
 */
RAPT_API rapt_context *rapt_open(const rapt_options *options, rapt_error *error);
RAPT_API void rapt_close(rapt_context *context); /* NULL is fine; tensors may outlive it */

/* --- Dtypes and devices -------------------------------------------------------------------- */

RAPT_API const char *rapt_dtype_name(rapt_dtype dtype); /* "f32"; "?" out of range */
RAPT_API rapt_status rapt_dtype_parse(const char *name, rapt_dtype *dtype, rapt_error *error);
/* "cpu", "vulkan:0" to a device and back; `text` holds at least 32 bytes. */
RAPT_API rapt_status rapt_device_parse(const char *name, rapt_device *device, rapt_error *error);
RAPT_API void rapt_device_name(rapt_device device, char *text);

/* --- Tensors ------------------------------------------------------------------------------- */

/* A new contiguous tensor on `device`, 64-byte aligned; its memory is not initialised (`empty`), or
 * zero (`zeros`). Sizes must not be negative and the whole must fit in 63 bits. */
RAPT_API rapt_tensor *rapt_tensor_empty(rapt_context *context, rapt_dtype dtype, rapt_device device,
                                        int32_t ndim, const int64_t *shape, rapt_error *error);
RAPT_API rapt_tensor *rapt_tensor_zeros(rapt_context *context, rapt_dtype dtype, rapt_device device,
                                        int32_t ndim, const int64_t *shape, rapt_error *error);
/* A copy of CPU memory that holds the elements in row-major order. */
RAPT_API rapt_tensor *rapt_tensor_from(rapt_context *context, rapt_dtype dtype, int32_t ndim,
                                       const int64_t *shape, const void *elements,
                                       rapt_error *error);

RAPT_API rapt_tensor *rapt_tensor_retain(rapt_tensor *tensor);
RAPT_API void rapt_tensor_release(rapt_tensor *tensor); /* NULL is fine */

/* What a tensor is. The view holds as long as the tensor. */
RAPT_API const rapt_view *rapt_tensor_view(const rapt_tensor *tensor);
RAPT_API int64_t rapt_tensor_count(const rapt_tensor *tensor); /* number of elements */
RAPT_API bool rapt_tensor_is_contiguous(const rapt_tensor *tensor);

/* Views: they share memory with `tensor` and are recorded for differentiation. A `dim` may count
 * from the end (-1 is the last). */
RAPT_API rapt_tensor *rapt_select(rapt_context *context, rapt_tensor *tensor, int32_t dim,
                                  int64_t index, rapt_error *error);
RAPT_API rapt_tensor *rapt_narrow(rapt_context *context, rapt_tensor *tensor, int32_t dim,
                                  int64_t start, int64_t length, rapt_error *error);
RAPT_API rapt_tensor *rapt_transpose(rapt_context *context, rapt_tensor *tensor, int32_t dim_a,
                                     int32_t dim_b, rapt_error *error);
RAPT_API rapt_tensor *rapt_permute(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                                   const int32_t *order, rapt_error *error);
/* Sizes of 1 grow to those of `shape`; -1 keeps a size; new dimensions come in front. */
RAPT_API rapt_tensor *rapt_expand(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                                  const int64_t *shape, rapt_error *error);
/* The same elements in another shape; one size may be -1. `view` fails where the strides do not
 * allow it; `reshape` copies then. */
RAPT_API rapt_tensor *rapt_view_as(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                                   const int64_t *shape, rapt_error *error);
RAPT_API rapt_tensor *rapt_reshape(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                                   const int64_t *shape, rapt_error *error);
/* The tensor itself if it is contiguous already, otherwise a copy. */
RAPT_API rapt_tensor *rapt_contiguous(rapt_context *context, rapt_tensor *tensor,
                                      rapt_error *error);
RAPT_API rapt_tensor *rapt_clone(rapt_context *context, rapt_tensor *tensor, rapt_error *error);
/* In another dtype and on another device; the tensor itself if it is so already. Differentiable. */
RAPT_API rapt_tensor *rapt_to(rapt_context *context, rapt_tensor *tensor, rapt_dtype dtype,
                              rapt_device device, rapt_error *error);
/* Writes the elements of `source` into `target` (broadcast, converted). Not recorded: fails where
 * `target` is part of a graph. */
RAPT_API rapt_status rapt_copy_into(rapt_context *context, rapt_tensor *target, rapt_tensor *source,
                                    rapt_error *error);
/* Waits for the device and copies all elements, row major, to CPU memory of `bytes` bytes. */
RAPT_API rapt_status rapt_read(rapt_context *context, rapt_tensor *tensor, void *elements,
                               size_t bytes, rapt_error *error);

/* Random numbers (Philox 4x32-10). The generator of a context is a seed and a counter; each fill
 * takes as many numbers as it has elements. Equal seeds give equal values on every machine, device
 * and number of threads. Values are made in float32 and then converted. */
RAPT_API void rapt_seed(rapt_context *context, uint64_t seed);
RAPT_API rapt_status rapt_fill_uniform(rapt_context *context, rapt_tensor *tensor,
                                       rapt_error *error); /* [0, 1) */
RAPT_API rapt_status rapt_fill_normal(rapt_context *context, rapt_tensor *tensor,
                                      rapt_error *error);
RAPT_API rapt_status rapt_fill_integers(rapt_context *context, rapt_tensor *tensor, int64_t low,
                                        int64_t high, rapt_error *error); /* [low, high) */
RAPT_API rapt_status rapt_fill(rapt_context *context, rapt_tensor *tensor, double value,
                               rapt_error *error);

/* --- DLPack -------------------------------------------------------------------------------- */

/* DLPack 1.x, DLManagedTensorVersioned, in its own layout. */
typedef struct rapt_dlpack_version {
    uint32_t major, minor;
} rapt_dlpack_version;
typedef struct rapt_dlpack {
    rapt_dlpack_version version;
    void *manager_context;
    void (*deleter)(struct rapt_dlpack *self);
    uint64_t flags; /* 1: read only, 2: is a copy */
    rapt_view view;
} rapt_dlpack;

/* A managed tensor that shares memory with `tensor` and keeps it alive until its deleter runs. */
RAPT_API rapt_dlpack *rapt_to_dlpack(rapt_tensor *tensor, rapt_error *error);
/* A tensor over somebody else's memory. Takes `managed` over on success: its deleter runs with the
 * last reference. Read-only memory is copied, so that nothing can write to it, and the deleter runs
 * at once. Refuses other major versions, other devices than the CPU, bad shapes, negative strides
 * and elements that are not aligned to their size. Bools must be 0 or 1. */
RAPT_API rapt_tensor *rapt_from_dlpack(rapt_dlpack *managed, rapt_error *error);

/* --- Files --------------------------------------------------------------------------------- */

typedef struct rapt_named_tensor {
    const char *name;
    rapt_tensor *tensor;
} rapt_named_tensor;
typedef struct rapt_named_text {
    const char *name;
    const char *text;
} rapt_named_text;

/* What a safetensors file holds. Tensors are memory mapped and read only in effect: writing to one
 * changes the process's copy, never the file. Entries are in the order of the file's header.
 * Whoever replaces the file does so by renaming: a mapped file that is cut short ends the process
 * that reads it (SIGBUS). */
typedef struct rapt_file {
    size_t n_tensors;
    rapt_named_tensor *tensors;
    size_t n_metadata;
    rapt_named_text *metadata;
} rapt_file;

RAPT_API rapt_file *rapt_load_safetensors(const char *path, rapt_error *error);
RAPT_API void rapt_file_free(rapt_file *file); /* gives its tensors' references back */
/* Written to a temporary name in the same folder, synced, renamed: `path` holds the old or the new
 * file, never a part of one. Tensors must be on the CPU. */
RAPT_API rapt_status rapt_save_safetensors(const char *path, const rapt_named_tensor *tensors,
                                           size_t n_tensors, const rapt_named_text *metadata,
                                           size_t n_metadata, rapt_error *error);
/* NumPy's .npy, versions 1 to 3, C or Fortran order; little endian. bf16 has no .npy type. */
RAPT_API rapt_tensor *rapt_load_npy(const char *path, rapt_error *error);
RAPT_API rapt_status rapt_save_npy(const char *path, rapt_tensor *tensor, rapt_error *error);

/* --- Operators ----------------------------------------------------------------------------- */

/* An attribute as the caller gives it. */
typedef struct rapt_named_value {
    const char *name;
    rapt_attr_type type;      /* of what is given; an int is taken for a float */
    int32_t count;            /* RAPT_ATTR_INTS */
    int64_t i[RAPT_MAX_DIMS]; /* bool, int, list */
    double f;
    const char *text; /* choice */
} rapt_named_value;

/* Calls an operator. `outputs` names what is wanted; a NULL name is the first output; on success
 * each `tensor` holds a new reference. Optional inputs may be left out or given as NULL tensors.
 * Records for differentiation when an input requires it and recording is on. */
RAPT_API rapt_status rapt_call_operator(rapt_context *context, const char *op,
                                        const rapt_named_tensor *inputs, size_t n_inputs,
                                        const rapt_named_value *attrs, size_t n_attrs,
                                        rapt_named_tensor *outputs, size_t n_outputs,
                                        rapt_error *error);

/* The matrix of weights, float32, for operators that have one. */
RAPT_API rapt_tensor *rapt_weights(rapt_context *context, const char *op,
                                   const rapt_named_tensor *inputs, size_t n_inputs,
                                   const rapt_named_value *attrs, size_t n_attrs,
                                   rapt_error *error);

/* Which kernel would run and why each other would not, for people; freed with free(). */
RAPT_API char *rapt_explain(rapt_context *context, const char *op, const rapt_named_tensor *inputs,
                            size_t n_inputs, const rapt_named_value *attrs, size_t n_attrs,
                            rapt_error *error);

/* The description of an operator: parsed, complete, constant until its plugin is unloaded. */
RAPT_API const rapt_operator *rapt_find_operator(rapt_context *context, const char *op,
                                                 rapt_error *error);
/* Names in order, NULL terminated, freed with free() as one block. `all`: built-ins too. */
RAPT_API const char **rapt_operator_names(rapt_context *context, bool all, rapt_error *error);

/* --- Automatic differentiation ------------------------------------------------------------- */

RAPT_API rapt_status rapt_set_requires_grad(rapt_tensor *tensor, bool on, rapt_error *error);
RAPT_API bool rapt_requires_grad(const rapt_tensor *tensor);
RAPT_API bool rapt_is_leaf(const rapt_tensor *tensor);
/* The gradient accumulated so far, borrowed; NULL if there is none. */
RAPT_API rapt_tensor *rapt_grad(const rapt_tensor *tensor);
RAPT_API void rapt_clear_grad(rapt_tensor *tensor);
/* The same memory outside any graph. */
RAPT_API rapt_tensor *rapt_detach(rapt_tensor *tensor, rapt_error *error);
/* Adds the gradients of `output` times `seed` to every leaf that requires them. `seed` NULL: ones,
 * for a tensor of one element. Frees what forward saved as it goes, unless `retain_graph`; a second
 * pass over a freed graph is an error. A pass that fails leaves every gradient as it was; what it
 * freed on the way stays freed. */
RAPT_API rapt_status rapt_backward(rapt_context *context, rapt_tensor *output, rapt_tensor *seed,
                                   bool retain_graph, rapt_error *error);
/* Recording on or off for this context; returns what it was. */
RAPT_API bool rapt_set_recording(rapt_context *context, bool on);

/* --- Decoding ------------------------------------------------------------------------------ */

typedef struct rapt_decoding rapt_decoding;

/* A decoding state after the positions of `inputs` (prefill), or an empty one if the appended
 * inputs have no rows. Inputs that are not positions (slopes, kernels) are kept for all steps.
 * `output`, unless NULL, receives the prefill's result. */
RAPT_API rapt_decoding *rapt_decode(rapt_context *context, const char *op,
                                    const rapt_named_tensor *inputs, size_t n_inputs,
                                    const rapt_named_value *attrs, size_t n_attrs,
                                    rapt_tensor **output, rapt_error *error);
RAPT_API rapt_tensor *rapt_step(rapt_decoding *state, const rapt_named_tensor *inputs,
                                size_t n_inputs, rapt_error *error);
RAPT_API int64_t rapt_decoding_position(const rapt_decoding *state);
RAPT_API const char *rapt_decoding_operator(const rapt_decoding *state);
RAPT_API int64_t rapt_decoding_bytes(const rapt_decoding *state);
RAPT_API rapt_decoding *rapt_decoding_fork(rapt_decoding *state, rapt_error *error);
RAPT_API rapt_status rapt_decoding_truncate(rapt_decoding *state, int64_t positions,
                                            rapt_error *error);
RAPT_API rapt_status rapt_decoding_save(rapt_decoding *state, const char *path, rapt_error *error);
RAPT_API rapt_decoding *rapt_decoding_load(rapt_context *context, const char *path,
                                           rapt_error *error);
RAPT_API void rapt_decoding_free(rapt_decoding *state);

/* --- Plugins and devices ------------------------------------------------------------------- */

typedef struct rapt_plugin_info {
    const char *name;          /* of the plugin; the file's name if it could not be loaded */
    const char *path;          /* real path; "built in" */
    const char *version;       /* or NULL */
    const char *hash;          /* SHA-256 of the file, hexadecimal; "" when built in */
    const char *error;         /* why it was not loaded, or NULL */
    const char **operators;    /* NULL terminated */
    const rapt_plugin *plugin; /* its description, NULL if not loaded */
} rapt_plugin_info;

RAPT_API rapt_status rapt_load_plugin(rapt_context *context, const char *path, rapt_error *error);
/* Loads the file of an operator's plugin again. Graphs and states that still use the old one keep
 * it in memory; nothing else sees it. On failure the old one stays. */
RAPT_API rapt_status rapt_reload(rapt_context *context, const char *op, rapt_error *error);
RAPT_API size_t rapt_plugin_count(rapt_context *context);
RAPT_API const rapt_plugin_info *rapt_plugin_at(rapt_context *context, size_t i);

typedef struct rapt_device_info {
    char name[32];    /* "cpu", "vulkan:0" */
    char model[256];  /* of the processor or card */
    char detail[512]; /* level in use, threads, driver; why it is off */
    bool available;
    int64_t memory_bytes; /* 0 unknown */
} rapt_device_info;

RAPT_API size_t rapt_device_count(rapt_context *context);
RAPT_API rapt_status rapt_device_at(rapt_context *context, size_t i, rapt_device_info *info);
/* Waits until all work submitted to a device is done. */
RAPT_API rapt_status rapt_synchronize(rapt_context *context, rapt_device device, rapt_error *error);

/* Records a shader of the caller's own: binding i is the memory of tensors[i], of which there are
 * shader->n_buffers, contiguous and all on one Vulkan device; dispatch->buffers is not read. Bit i
 * of `written`: the shader writes it. Not recorded for differentiation. The shader and its code may
 * go when rapt_vulkan_forget has been called. */
RAPT_API rapt_status rapt_vulkan_shade(rapt_context *context, const rapt_vulkan_dispatch *dispatch,
                                       rapt_tensor *const *tensors, uint64_t written,
                                       rapt_error *error);
/* What a shader's dispatches took altogether, by the device's clock. A time stamp waits for what
 * runs before it: shaders that would run side by side do not. */
typedef struct rapt_vulkan_timing {
    char name[64];
    double seconds;
    int64_t dispatches;
    char compiled[320]; /* what the driver says of the pipeline made last, in its own words:
                           registers, spills; empty where it says nothing
                           (VK_KHR_pipeline_executable_properties) */
} rapt_vulkan_timing;
/* Waits, and gives at most `room` shaders in the order in which they came. RAPT_UNSUPPORTED
 * unless RAPT_VULKAN_PROFILE=1. */
RAPT_API rapt_status rapt_vulkan_timings(rapt_context *context, rapt_device device,
                                         rapt_vulkan_timing *timings, size_t room, size_t *count,
                                         rapt_error *error);
/* Addresses of shaders' code may hold other code from now on. */
RAPT_API void rapt_vulkan_forget(rapt_context *context);

/* What the validation layers have said in this process (RAPT_VULKAN_VALIDATE=1): how many messages,
 * and the i-th, NULL beyond the first 64. They are logged too. */
RAPT_API size_t rapt_vulkan_message_count(void);
RAPT_API const char *rapt_vulkan_message(size_t i);

/* Waits until all work submitted to a device is done, and gives the seconds that it has worked
 * since it was opened, by its own clock: a difference is what the calls in between took.
 * RAPT_UNSUPPORTED where there is none, as on the CPU. */
RAPT_API rapt_status rapt_device_seconds(rapt_context *context, rapt_device device, double *seconds,
                                         rapt_error *error);

/* --- Measuring ----------------------------------------------------------------------------- */

/* Work of one call by the operator's own cost expressions. */
typedef struct rapt_cost {
    double flops, flops_backward, bytes, pairs, pairs_all;
} rapt_cost;
RAPT_API rapt_status rapt_operator_cost(rapt_context *context, const char *op,
                                        const rapt_named_tensor *inputs, size_t n_inputs,
                                        const rapt_named_value *attrs, size_t n_attrs,
                                        rapt_cost *cost, rapt_error *error);

/* Bytes of tensor, workspace and scratch memory of this process: now, and the most since the last
 * reset. */
typedef struct rapt_memory {
    int64_t current, peak;
} rapt_memory;
RAPT_API rapt_memory rapt_memory_usage(void);
RAPT_API void rapt_memory_reset_peak(void);

/* Rates of this machine, measured now, float32: GFLOP/s of a matrix product of `n` cubed by
 * OpenBLAS on the threads in use, and GB/s of a large copy (bytes read plus bytes written). On a
 * Vulkan device the former are multiplications and additions in registers, about as many as that
 * product has: what the shaders' arithmetic can reach, matrix units apart. Medians. */
RAPT_API rapt_status rapt_measure_gemm(rapt_context *context, rapt_device device, int64_t n,
                                       double *gflops, rapt_error *error);
RAPT_API rapt_status rapt_measure_copy(rapt_context *context, rapt_device device, double *gbytes,
                                       rapt_error *error);

#ifdef __cplusplus
}
#endif
#endif
