/*
 * The engine's own contract: what a context holds, one call from its arguments to its outputs, and
 * the record that differentiation reads. Nothing here is seen outside this room.
 *
 *   context.c  open, close, log, operators and plugins by name
 *   devices.c  the process's devices and the memory that tensors get from them
 *   host.c     the services handed to plugins; the arena behind scratch and workspace
 *   run.c      one call of one kernel: views, choice, invocation
 *   call.c     an operator called by name: bind, choose, place, run, record
 *   record.c   the tape's record of a call, and its backward
 *   tape.c     nodes, their release, the backward pass
 *   views.c    views and layout changes, recorded
 *   transfer.c copies between layouts, dtypes, devices and the caller
 *   fill.c     values and random numbers
 *   decode.c   decoding states; step.c: a position more; decode_file.c: on disk
 *   attributes.c attributes as texts, in files and examples
 *   vulkan.c   shaders of the caller's own over tensors
 *   selftest.c a device's kernels against golden vectors and the CPU's, once; golden.c, probe.c:
 *              the calls for it
 *   explain.c  which kernel and why; what a call costs
 */
#ifndef RAPT_ENGINE_ENGINE_H
#define RAPT_ENGINE_ENGINE_H

#include "device/device.h"
#include "registry/loader.h"
#include "tensor/tensor.h"

/* --- Devices and their memory -------------------------------------------------------------- */

#define RAPT_MAX_DEVICES 16

/* How each device is opened, in the order of the list; NULL ends it. A device that is not there is
 * an entry with `available` false, not a failure. Constant while anybody holds the devices. */
typedef rapt_status (*rapt_opener)(rapt_device_driver *driver, rapt_error *error);
extern rapt_opener rapt_openers[RAPT_MAX_DEVICES];
/* Opens the devices behind those when one that is not among them is named, or all are listed. */
typedef rapt_status (*rapt_group_opener)(rapt_device_driver *drivers, size_t room, size_t *count,
                                         rapt_error *error);
extern rapt_group_opener rapt_late_opener;

/* Opens the devices with the first holder and closes them with the last. Contexts hold them, and
 * every tensor whose memory came from one, so that tensors may outlive their context. */
rapt_status rapt_devices_hold(rapt_error *error);
void rapt_devices_drop(void);
void rapt_devices_forget(void); /* rapt_device_driver.forget on all of them */
size_t rapt_devices_count(void);
rapt_device_driver *rapt_devices_at(size_t i);
/* NULL and `no device "vulkan:0"; there are cpu`. */
rapt_device_driver *rapt_devices_find(rapt_device device, rapt_error *error);
/* Whether the host may read and write the device's memory through its handle. */
static inline bool rapt_on_host(rapt_device device)
{
    return device.type == RAPT_DEVICE_CPU;
}

/* Memory given back is kept for the next tensor of the same size up to this many bytes over all
 * devices, and an eighth of the host's memory; what is kept is in no tensor and not in
 * rapt_memory_usage. Room for the gradients of a long call: fresh pages cost as much time as the
 * work on them. Blocks smaller than RAPT_CACHE_SMALLEST go back at once. */
#define RAPT_CACHE_BYTES    ((int64_t)1 << 30)
#define RAPT_CACHE_SMALLEST ((int64_t)64 << 10)
void rapt_devices_trim(void);

/* A contiguous tensor with memory of `device`, not initialised. */
rapt_tensor *rapt_tensor_make(rapt_dtype dtype, rapt_device device, int32_t ndim,
                              const int64_t *shape, rapt_error *error);
rapt_status rapt_tensor_clear(rapt_tensor *tensor, rapt_error *error); /* contiguous; to zero */

/* --- Context ------------------------------------------------------------------------------- */

/* Memory for one call: workspace and scratch. The largest block up to RAPT_ARENA_KEPT stays for the
 * next call; only what is taken counts as used. */
#define RAPT_ARENA_KEPT ((size_t)128 << 20)
typedef struct rapt_arena_block rapt_arena_block;
typedef struct rapt_arena {
    rapt_arena_block *blocks; /* the one in use first */
    size_t taken, blocks_bytes;
    rapt_device_driver *driver; /* of `apart`: workspace on a device that the host cannot reach */
    void *apart;
    int64_t apart_bytes;
} rapt_arena;

void *rapt_arena_take(rapt_arena *arena, size_t bytes); /* 64-byte aligned; NULL: none left */
/* The same on a device, at most once before the next reset. */
rapt_status rapt_arena_take_apart(rapt_arena *arena, rapt_device_driver *driver, size_t bytes,
                                  void **memory, rapt_error *error);
void rapt_arena_reset(rapt_arena *arena); /* all of it is free again */
void rapt_arena_free(rapt_arena *arena);

struct rapt_context {
    rapt_registry *registry;
    bool recording;
    uint64_t seed, drawn; /* the generator: key, and how many numbers it gave */
    rapt_arena arena;
    void (*log)(void *user, rapt_log_level level, const char *line);
    void *log_user;
};

extern const rapt_host rapt_host_table;
void rapt_context_log(const rapt_context *context, rapt_log_level level, const char *line);
/* The context whose log takes lines that come without a call, on this thread (plugins' init). */
extern _Thread_local const rapt_context *rapt_loading;

/* --- One call of one kernel ---------------------------------------------------------------- */

/* The views of one kind of argument. An entry that is in use points to the arrays beside it. */
typedef struct rapt_slots {
    rapt_view *at[RAPT_MAX_ARGS]; /* NULL: absent */
    rapt_view view[RAPT_MAX_ARGS];
    int64_t shape[RAPT_MAX_ARGS][RAPT_MAX_DIMS];
    int64_t strides[RAPT_MAX_ARGS][RAPT_MAX_DIMS];
} rapt_slots;

/* NULL strides: contiguous. The view has no data. */
void rapt_slot_set(rapt_slots *slots, uint32_t i, rapt_dtype dtype, rapt_device device,
                   int32_t ndim, const int64_t *shape, const int64_t *strides);
/* The view of a tensor, with its data. */
void rapt_slot_tensor(rapt_slots *slots, uint32_t i, const rapt_tensor *tensor);

typedef struct rapt_run {
    rapt_context *context;
    const rapt_schema *schema;
    const rapt_kernel *kernel; /* chosen */
    uint32_t kernel_index;
    rapt_device_driver *driver;
    rapt_call call;
    bool said; /* `message` holds the call's first error */
    char message[RAPT_ERROR_SIZE];
    rapt_slots inputs, outputs, saved, grad_outputs, grad_inputs, states;
    rapt_binding binding;
} rapt_run;

/* Fields of the call that hold in every phase; all slots empty. `binding` in the run is bound, or
 * the caller sets attributes and sizes itself. */
void rapt_run_begin(rapt_run *run, rapt_context *context, const rapt_schema *schema,
                    rapt_phase phase, rapt_device_driver *driver);
/* Whether a kernel must be given a copy of an input laid out so. */
bool rapt_kernel_copies(const rapt_kernel *kernel, const rapt_view *view);
/* RAPT_OK if kernel `k` can run the call as it is bound; otherwise `why`, without the kernel's
 * name: "takes f32, f16; this is f64". */
rapt_status rapt_run_try(rapt_run *run, uint32_t k, rapt_error *why);
/* The kernel of the greatest priority that can; RAPT_UNSUPPORTED lists each with its reason. */
/* Whether a kernel for the call's device and type has a step of its own; otherwise forward serves.
 */
bool rapt_run_steps(const rapt_run *run);
rapt_status rapt_run_choose(rapt_run *run, rapt_error *error);
/* Takes the workspace. Views have no data yet. */
rapt_status rapt_run_workspace(rapt_run *run, rapt_error *error);
/* Calls the kernel's function of this phase and words its failure; empties the arena. */
rapt_status rapt_run_invoke(rapt_run *run, rapt_error *error);

/* The dtype of an argument whose description says "T", or one or more names: the first. */
rapt_dtype rapt_arg_dtype(const rapt_arg *arg, rapt_dtype compute);

/* --- An operator called -------------------------------------------------------------------- */

/* What the caller of rapt_apply gives and gets. */
typedef struct rapt_application {
    const rapt_named_tensor *inputs;
    size_t n_inputs;
    const rapt_named_value *attrs;
    size_t n_attrs;
    rapt_named_tensor *outputs;
    size_t n_outputs;
} rapt_application;

rapt_status rapt_apply(rapt_context *context, rapt_schema *schema, const rapt_application *with,
                       rapt_error *error);
/* Binds into run->binding and finds the device. */
rapt_status rapt_run_bind(rapt_run *run, rapt_context *context, const rapt_schema *schema,
                          rapt_phase phase, const rapt_application *with, rapt_error *error);
/* Shapes of all outputs into run->outputs: those the caller wants or must take (mask). */
rapt_status rapt_run_shape_outputs(rapt_run *run, uint64_t wanted, rapt_error *error);
/* The tensor whose view a binding holds. */
rapt_tensor *rapt_view_owner(const rapt_view *view);
/* Gives every input its data, copied to a layout that the kernel takes where it must be; holds[i]
 * is a new reference to what the kernel sees. */
rapt_status rapt_run_place_inputs(rapt_run *run, rapt_tensor **holds, rapt_error *error);

/* The first time that an operator runs on a device and driver in a dtype, with optional inputs or
 * recorded, runs it so on each path of the device and on the CPU, and the golden vectors beside its
 * plugin on each path, and has the paths turned off for it that differ. The verdict is kept; a call
 * that comes later finds it. RAPT_UNSUPPORTED: no path is right. The operator is not named. */
rapt_status rapt_selftest(rapt_context *context, rapt_schema *schema, const rapt_binding *binding,
                          rapt_device_driver *driver, rapt_error *error);

/* --- Differentiation ----------------------------------------------------------------------- */

typedef struct rapt_node rapt_node;

/* An output of a node: what tensor->autograd points to. */
typedef struct rapt_port {
    rapt_node *node;
    uint32_t index;
} rapt_port;

/* Where the gradient of a node's input goes: to an output of an earlier node, or to a leaf. Both
 * NULL: nowhere. */
typedef struct rapt_edge {
    rapt_port *port;
    rapt_tensor *leaf;
} rapt_edge;

typedef struct rapt_node_class {
    /* What the user called, for messages: "cog", "narrow". */
    const char *(*name)(const rapt_node *node);
    /* Gradients of the inputs that have an edge: grad_inputs[i] is a new reference (in the input's
     * shape and dtype), NULL for zero. grads[i] is NULL where no gradient came. */
    rapt_status (*backward)(rapt_context *context, rapt_node *node, rapt_tensor *const *grads,
                            rapt_tensor **grad_inputs, rapt_error *error);
    void (*drop)(rapt_node *node); /* gives back what backward reads; may be called twice */
    void (*end)(rapt_node *node);  /* the node goes: gives back the rest */
} rapt_node_class;

/* Edges lead to nodes of a smaller order only, so that the greatest order first is an order in
 * which every gradient is complete when it is used. */
struct rapt_node {
    atomic_int references;
    const rapt_node_class *class;
    uint64_t order;
    uint32_t n_edges, n_ports;
    rapt_edge *edges;
    rapt_port *ports;
    rapt_tensor **grads; /* per port, during a pass */
    bool freed, queued;
    rapt_node *next_dead;
    void *body; /* the class's */
};

/* A node with `body_bytes` zeroed bytes at body. One reference. */
rapt_node *rapt_node_new(const rapt_node_class *class, uint32_t n_edges, uint32_t n_ports,
                         size_t body_bytes, rapt_error *error);
void rapt_node_release(rapt_node *node); /* NULL is fine; any depth of graph */
/* Leads edge `i` to the origin of `tensor`, if gradients go there at all. */
void rapt_node_connect(rapt_node *node, uint32_t i, rapt_tensor *tensor);
/* Makes `tensor` output `i` of the node. Cannot fail. */
void rapt_node_attach(rapt_node *node, uint32_t i, rapt_tensor *tensor);
/* Whether a gradient of `tensor` is of use to anybody. */
static inline bool rapt_tensor_tracked(const rapt_tensor *tensor)
{
    return tensor->requires_grad || tensor->autograd;
}
/* Refuses writes in place that differentiation could not follow. `what` names the argument. */
rapt_status rapt_check_writable(const rapt_context *context, const rapt_tensor *tensor,
                                const char *what, rapt_error *error);
static inline void rapt_tensor_written(rapt_tensor *tensor)
{
    atomic_fetch_add_explicit(&tensor->storage->version, 1, memory_order_release);
}

/* The record of a call that is about to run: everything but what the kernel writes. holds[i] are
 * the inputs as the kernel sees them, outs[i] the outputs, saved[i] what it leaves to backward. */
rapt_node *rapt_record_call(const rapt_run *run, rapt_tensor *const *holds,
                            rapt_tensor *const *outs, rapt_tensor *const *saved, rapt_error *error);
/* A record of the kind "has no backward": any backward through it fails with that text. */
rapt_node *rapt_record_refusal(const rapt_run *run, rapt_error *error);

/* --- Copies -------------------------------------------------------------------------------- */

/* target[...] = source[...]: same shape, any layout, dtypes and devices; no overlap. */
rapt_status rapt_transfer(const rapt_view *target, const rapt_view *source, rapt_error *error);
/* A contiguous copy, not recorded. */
rapt_tensor *rapt_copy_contiguous(const rapt_tensor *tensor, rapt_error *error);
/* The tensor itself or a contiguous copy; not recorded. A new reference in either case. */
rapt_tensor *rapt_as_contiguous(rapt_tensor *tensor, rapt_error *error);
/* A copy in another dtype or on another device, contiguous, not recorded. */
rapt_tensor *rapt_copy_to(const rapt_tensor *tensor, rapt_dtype dtype, rapt_device device,
                          rapt_error *error);
/* The same memory without history. */
rapt_tensor *rapt_alias(const rapt_tensor *tensor, rapt_error *error);
/* a + b in a new tensor, or in `a` itself where nobody else holds its memory. Takes over the
 * reference to `a`, also on failure. Same shape and dtype. */
rapt_tensor *rapt_sum_gradients(rapt_context *context, rapt_tensor *a, rapt_tensor *b,
                                rapt_error *error);
/* target += source on the host; same shape and dtype; cannot fail. */
void rapt_add_into(const rapt_view *target, const rapt_view *source);
/* The sum over the dimensions along which `shape` was expanded to that of `tensor`; not recorded.
 */
rapt_tensor *rapt_sum_expanded(rapt_context *context, rapt_tensor *tensor, int32_t ndim,
                               const int64_t *shape, rapt_error *error);

#endif
