/*
 * rapt/plugin.h - the plugin ABI, and its specification.
 *
 * A plugin is a shared library that exports one constant:
 *
 *     RAPT_PLUGIN_EXPORT const rapt_plugin rapt_plugin_v1 = { sizeof(rapt_plugin), ... };
 *
 * It includes this header and links against nothing of rapt. Everything that a tool must know of
 * its operators is data in that constant, readable without calling the plugin; everything the
 * plugin needs at run time comes through the `rapt_host` that each call carries.
 *
 * Rules of the ABI
 *
 * - Sizes. Every struct begins with its size as its author knew it (sizeof). The host reads no
 *   field that lies beyond that size and takes it as zero. An array of structs is walked by the
 *   size that its first element states; all its elements state the same.
 * - Versions. The major version must be equal; minor versions only append fields. A plugin asks
 *   for the lowest minor that it needs: 0, unless RAPT_ABI_MINOR_NEEDED is defined before this
 *   header is included.
 * - Lifetime. All descriptions and strings are constant for as long as the plugin is loaded.
 *   Strings are UTF-8.
 * - Threads. Each function below says where it may be called: [load] by the loader, once, from the
 *   thread that loads; [call] from the thread that runs the kernel, during the call; [task] from a
 *   task inside parallel_for, on any thread, at the same time as others; [any] at any time from any
 *   thread.
 * - Conduct. A kernel returns a status. It never aborts, exits, prints, throws, installs signal
 *   handlers or changes the floating-point environment. When it fails it has called host->error
 *   once. It writes nothing but its outputs, its state and its workspace.
 * - Bits. The same inputs give the same bits on the same machine, whatever the number of threads:
 *   the split of work must not depend on it.
 *
 * C99 and C++ clean.
 */
#ifndef RAPT_PLUGIN_H
#define RAPT_PLUGIN_H

#include <rapt/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RAPT_ABI_MAJOR 1
#define RAPT_ABI_MINOR 0 /* the newest that this header describes */
#ifndef RAPT_ABI_MINOR_NEEDED
#define RAPT_ABI_MINOR_NEEDED 0
#endif

#if defined(__cplusplus)
#define RAPT_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define RAPT_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif
/* The name of the exported constant. */
#define RAPT_PLUGIN_SYMBOL "rapt_plugin_v1"

/* Element `i` of an array of structs that may come from another minor version. */
#define RAPT_AT(type, array, i)                                                                    \
    ((const type *)(const void *)((const char *)(array) + (size_t)(i) * (array)->size))

typedef struct rapt_call rapt_call;
typedef struct rapt_host rapt_host;
typedef struct rapt_operator rapt_operator;
typedef struct rapt_kernel rapt_kernel;

/* ---------------------------------------------------------------------------------------------
 * Arguments
 *
 * A spec is "name: dim dim ...". Each dim is an integer expression written without spaces:
 *     letters        one letter is one size, the same in all arguments of a call. B batch, H heads,
 *                    G key/value heads, N queries, M keys, D query/key features, E value features.
 *     attributes     an identifier of two or more letters is the value of an int attribute
 *     numbers, + - * / % ( )   with / the exact quotient: a remainder is an error
 *     ceil_log2(x), min(x,y), max(x,y), if(condition,then,otherwise)
 *     X?             the size X or 1: the argument is broadcast along this dimension
 *     ...            any number of leading dimensions, the same ones in all arguments that say so
 *     ...?           any number of leading dimensions, broadcast among the arguments that say so,
 *                    or to those that say `...`; an output says `...` for what comes of it
 *     *              alone: of an input any shape, of an output the one that `infer` writes
 * A lone letter binds to the size met (one that stands in `X?` dimensions alone to the size among
 * them that is not 1); any other expression is evaluated when all letters are bound, and compared.
 * The name alone, "x:", is a tensor without dimensions (a scalar).
 * ------------------------------------------------------------------------------------------- */

/* Where an argument comes from when a layer is built around the operator. */
typedef enum rapt_role {
    RAPT_ARGUMENT = 0,  /* only ever given by the caller: a mask, a bias, token ids */
    RAPT_STREAM = 1,    /* a linear projection of a layer's tokens, through `activation` */
    RAPT_PARAMETER = 2, /* learnable in itself, starts as `init` */
    RAPT_STATE = 3      /* a recurrent state: float32, what an earlier call returned */
} rapt_role;

enum {
    RAPT_OPTIONAL = 1u << 0,       /* may be absent: its view is NULL then; for an output: written
                                      only where the caller asks for it by name */
    RAPT_DIFFERENTIABLE = 1u << 1, /* backward gives its gradient (input), takes it (output) */
    RAPT_MUTATED = 1u << 2,        /* an input that forward also writes, in place (optimizers) */
    RAPT_VALUE_ONLY = 1u << 3      /* an input that `weights` does not need (values) */
};

typedef struct rapt_arg {
    uint32_t size;
    uint32_t flags;
    const char *spec;  /* "q: B H N D" */
    const char *dtype; /* NULL or "T": the call's compute type, one for all such arguments;
                          otherwise one or more of "f32|f16|bf16|f64|i32|i64|u8|bool|T" */
    rapt_role role;
    const char *activation; /* streams: "", "sigmoid", "-softplus", "1 + tanh", ... */
    const char *init;       /* parameters: "zeros", "ones", "identity", "trunc_normal(0.02)", ...;
                               "impulse" of a kernel: 1 in the middle of its last row, otherwise 0 */
    const char *doc;        /* one line */
} rapt_arg;

/* ---------------------------------------------------------------------------------------------
 * Attributes
 * ------------------------------------------------------------------------------------------- */

typedef enum rapt_attr_type {
    RAPT_ATTR_BOOL = 0,
    RAPT_ATTR_INT = 1,
    RAPT_ATTR_FLOAT = 2,
    RAPT_ATTR_CHOICE = 3, /* one of `choices` */
    RAPT_ATTR_INTS = 4    /* a short list of integers: {height, width}, {left, right} */
} rapt_attr_type;

typedef struct rapt_attr {
    uint32_t size;
    rapt_attr_type type;
    const char *name;
    const char *fallback; /* the default, as text: "false", "49", "1/sqrt(D)", "none|left"'s "none",
                             "1,1"; NULL: no default, `present` is 0 when the caller gives none */
    const char *min,
        *max;            /* inclusive bounds as expressions, for each entry of a list; NULL: none */
    const char *choices; /* RAPT_ATTR_CHOICE: "none|left|right" */
    int32_t count;       /* RAPT_ATTR_INTS: how many entries; 0: one to RAPT_MAX_DIMS */
    uint32_t flags;      /* RAPT_REQUIRED */
    const char *doc;
} rapt_attr;

enum { RAPT_REQUIRED = 1u << 0 }; /* an attribute that every call must give */

/* The value of an attribute in a call: checked, defaults filled in. */
typedef struct rapt_value {
    int32_t present;          /* 0: neither given nor defaulted */
    int32_t count;            /* entries of a list, otherwise 1 */
    int64_t i[RAPT_MAX_DIMS]; /* bool, int, list; for a choice i[0] is its position */
    double f;                 /* float; also the value of an int */
} rapt_value;

/* ---------------------------------------------------------------------------------------------
 * Decoding
 *
 * How one position is computed from the positions before it. The state of a decoding run is the
 * list of these tensors and the number of positions consumed. Either
 *   appended  the rows of input `append` so far: a key/value cache. The host keeps it; its spec is
 *             that of the input. Such a state can be cut back.
 *   carried   what forward returns as output `output` and takes as input `input`; float32.
 * ------------------------------------------------------------------------------------------- */

typedef struct rapt_state_arg {
    uint32_t size;
    uint32_t flags;     /* reserved, 0 */
    const char *append; /* name of an input, or NULL */
    const char *input;  /* names of an input and an output with role RAPT_STATE, or NULL */
    const char *output;
} rapt_state_arg;

/* ---------------------------------------------------------------------------------------------
 * Calls
 * ------------------------------------------------------------------------------------------- */

typedef enum rapt_phase {
    RAPT_FORWARD = 0,
    RAPT_BACKWARD = 1,
    RAPT_STEP = 2,
    RAPT_WEIGHTS = 3
} rapt_phase;

/*
 * One call of one kernel. All pointers hold until the kernel returns. Views are in the order of the
 * description. The host promises: every tensor has the shape, dtype and device that the description
 * asks for; all lie on one device; the innermost dimension is contiguous (unless the kernel has
 * RAPT_ANY_STRIDES) and outer strides are arbitrary for inputs, those of a fresh contiguous tensor
 * for outputs, saved tensors and gradients. Memory of outputs is not initialised.
 */
struct rapt_call {
    uint32_t size;
    rapt_phase phase;
    const rapt_host *host;
    const rapt_operator *op;
    const rapt_kernel *kernel;
    const rapt_view *const *inputs; /* NULL where an optional input is absent. In RAPT_STEP: the new
                                       position's rows (N = 1) */
    rapt_view *const *outputs;      /* forward, step: to write; NULL where not asked for. Backward:
                                       those that the kernel keeps, otherwise NULL. Weights: [0] is
                                       the matrix, float32, in the shape `weights` */
    rapt_view *const *saved;        /* forward: to write, or NULL when nothing will be
                                       differentiated; backward: as forward left them */
    const rapt_view *const *grad_outputs; /* backward; NULL: that gradient is zero */
    rapt_view *const *grad_inputs;        /* backward: to overwrite; NULL: not wanted */
    rapt_view *const *states;             /* step: appended states with the new rows already in;
                                             carried ones to be updated in place */
    const rapt_value *attrs;
    const int64_t *sizes; /* sizes['N'] is the size N; -1 where no argument binds the letter;
                             sizes['.'] the product of the `...` dimensions */
    rapt_dtype dtype;     /* the compute type T */
    int64_t position;     /* step: positions consumed before this one; otherwise 0 */
    void *workspace;      /* as many bytes as `workspace` asked for, 64-byte aligned */
    size_t workspace_size;
    void *internal; /* the host's; not to be touched */
};

/* A device's share in a kernel. */
enum {
    RAPT_ANY_STRIDES = 1u << 0, /* takes any strides, in the innermost dimension too */
    RAPT_CONTIGUOUS = 1u << 1   /* takes contiguous tensors only: the host copies others first */
};

struct rapt_kernel {
    uint32_t size;
    uint32_t flags;
    const char *name;      /* unique within the operator: "cpu", "vulkan", "vulkan.coopmat" */
    const char *device;    /* "cpu" or "vulkan" */
    uint32_t dtypes;       /* RAPT_DTYPE_BIT mask of the compute types it takes */
    int32_t priority;      /* of the kernels that could run, the greatest is chosen */
    const char *keep;      /* names of the inputs and outputs that backward reads, separated by
                              spaces; NULL: all inputs and no outputs */
    const rapt_arg *saved; /* further tensors that forward leaves to backward */
    uint32_t n_saved;

    /* [call] Says whether it can run this call; before any memory is made, so views have no data.
     * Not RAPT_OK: host->error has said why not, and the next kernel is asked. NULL: always can. */
    rapt_status (*supports)(rapt_call *call);
    /* [call] Bytes of workspace for call->phase; views have no data yet. NULL: none. */
    size_t (*workspace)(rapt_call *call);

    rapt_status (*forward)(rapt_call *call);  /* [call] never NULL */
    rapt_status (*backward)(rapt_call *call); /* [call] NULL: not differentiable */
    rapt_status (*step)(rapt_call *call);     /* [call] NULL: forward does it, given the appended
                                                 or carried states as inputs, and causal = true
                                                 where the operator has that attribute */
    rapt_status (*weights)(rapt_call *call);  /* [call] NULL: no matrix to see */
};

/* ---------------------------------------------------------------------------------------------
 * Operators
 * ------------------------------------------------------------------------------------------- */

enum {
    RAPT_OP_FULL = 1u << 0,    /* every query sees every key */
    RAPT_OP_CAUSAL = 1u << 1,  /* query i sees key j iff j <= i + M - N */
    RAPT_OP_CROSS = 1u << 2,   /* M may differ from N */
    RAPT_OP_DECODE = 1u << 3,  /* has states: position after position */
    RAPT_OP_WEIGHTS = 1u << 4, /* has a matrix B H N M that can be looked at */
    RAPT_OP_PRIVATE = 1u << 5  /* an implementation detail: not listed unless asked for all */
};

struct rapt_operator {
    uint32_t size;
    uint32_t flags;
    const char *name;    /* "cog"; [a-z][a-z0-9_]* parts joined by dots; "core." is the host's */
    const char *title;   /* "Cog attention" */
    const char *paper;   /* "arXiv 2411.07176", or NULL */
    const char *doc;     /* what it computes, a few sentences */
    const char *version; /* of the definition: "1.0" */
    const rapt_arg *inputs;
    uint32_t n_inputs;
    const rapt_arg *outputs;
    uint32_t n_outputs;
    const rapt_attr *attrs;
    uint32_t n_attrs;
    const char *where; /* further conditions, separated by ';': "H % G == 0; causal == 0 || N == M".
                          Expressions as in specs, plus == != < <= > >= && || ! ; NULL: none. An
                          attribute is named as itself; given(x) is 1 if argument or attribute x
                          was given */
    /* Costs are expressions in sizes, attributes, `leading` (the product of the `...` dimensions)
     * and `pairs`: the visible query-key pairs of one head, by the attributes causal and window
     * {left, right} where there are such; a negative entry of window is no bound. */
    const char *flops;          /* floating-point operations of forward */
    const char *flops_backward; /* of backward alone; NULL where there is none */
    const char *bytes;          /* least bytes that forward moves; NULL: each input read once, each
                                   output written once */
    const char *weights;        /* shape of the weight matrix, "B H N M", or NULL */
    const rapt_state_arg *states;
    uint32_t n_states;
    const char *example; /* sizes and attributes for checks: "B=2 H=4 G=2 N=33 M=33 D=16" */
    const rapt_kernel *kernels;
    uint32_t n_kernels;
    /* [call] Shapes of outputs that specs cannot express (spec "o: *"): writes shape and ndim of
     * each such output. NULL: the specs say all. Views have no data. */
    rapt_status (*infer)(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims);
};

/* A plain C function that a plugin lends to Lua. The signature is "result name(type, ...)" of the
 * types void, bool, int, int64, double, float, string, pointer, tensor. A tensor is a
 * const rapt_view * that holds during the call, and is no result. [call] */
typedef struct rapt_function {
    uint32_t size;
    uint32_t flags;        /* reserved, 0 */
    const char *signature; /* "double slope(int head, int heads)" */
    void (*function)(void);
    const char *doc;
} rapt_function;

typedef struct rapt_plugin {
    uint32_t size;
    uint16_t abi_major; /* RAPT_ABI_MAJOR */
    uint16_t abi_minor; /* RAPT_ABI_MINOR_NEEDED */
    const char *name;   /* of the plugin, usually that of its operator */
    const char *version;
    const char *author;
    const char *license;
    const rapt_operator *operators;
    uint32_t n_operators;
    const rapt_function *functions;
    uint32_t n_functions;
    /* [load] After the plugin was accepted, before its first call; not RAPT_OK: it is unloaded
     * again. May be NULL. `host` outlives the plugin. */
    rapt_status (*init)(const rapt_host *host);
    /* [load] Before it is unloaded, when no call is in flight. May be NULL. */
    void (*fini)(void);
} rapt_plugin;

/* ---------------------------------------------------------------------------------------------
 * The host
 * ------------------------------------------------------------------------------------------- */

typedef enum rapt_log_level {
    RAPT_LOG_DEBUG = 0,
    RAPT_LOG_INFO = 1,
    RAPT_LOG_WARNING = 2
} rapt_log_level;

#if defined(__GNUC__)
#define RAPT_PRINTF(string, first) __attribute__((format(printf, string, first)))
#else
#define RAPT_PRINTF(string, first)
#endif

/* Part of a parallel_for: handles the indices begin <= i < end. `worker` is less than
 * host->workers() and no two tasks that run at the same time have the same. */
typedef void (*rapt_task)(void *context, int64_t begin, int64_t end, int worker);

struct rapt_host {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    const char *version; /* of rapt */

    /* [any] A line for the user's log. `call` may be NULL. */
    void (*log)(const rapt_call *call, rapt_log_level level, const char *format, ...)
        RAPT_PRINTF(3, 4);
    /* [call] Says why the call fails and returns `status`: return call->host->error(call, ...).
     * One line without a final full stop, not naming the operator: the host puts its name in front.
     * The first message of a call is kept. */
    rapt_status (*error)(rapt_call *call, rapt_status status, const char *format, ...)
        RAPT_PRINTF(3, 4);
    /* [call] Memory until the kernel returns, 64-byte aligned, not initialised; NULL when there is
     * none (the error text is set then; return RAPT_NO_MEMORY). CPU memory only. */
    void *(*scratch)(rapt_call *call, size_t bytes);
    /* [call] Runs task over 0 <= i < n in pieces of `grain` (the last may be shorter); piece
     * boundaries depend on n and grain alone. Returns when all are done. Inside a task it runs the
     * pieces in order on the thread that asks. */
    void (*parallel_for)(rapt_call *call, int64_t n, int64_t grain, rapt_task task, void *context);
    /* [any] Number of workers that tasks may run on, at least 1; fixed while the process lives. */
    int (*workers)(void);
    /* [any] A table of further functions, NULL if there is no such name in that version. rapt's own
     * are below; third parties use names in reverse domain form. */
    const void *(*service)(const char *name, uint32_t version);
};

/* service("rapt.cpu", 1): what this processor offers. */
typedef enum rapt_cpu_level {
    RAPT_CPU_PORTABLE = 0, /* the compiler's baseline for the architecture */
    RAPT_CPU_AVX2 = 1,     /* AVX2, FMA, F16C */
    RAPT_CPU_AVX512 = 2,   /* AVX-512 F, BW, DQ, VL, and the above */
    RAPT_CPU_NEON = 3      /* Armv8-A Advanced SIMD */
} rapt_cpu_level;

typedef struct rapt_cpu_service {
    uint32_t size;
    rapt_cpu_level level; /* the one to use: the best there is, or the one RAPT_CPU forces */
    int64_t l1_bytes, l2_bytes, l3_bytes; /* data caches of one core (l3: shared); 0 unknown */
} rapt_cpu_service;

/* service("rapt.gemm", 1): matrix products in float32, row major, C = alpha op(A) op(B) + beta C.
 * The same arguments give the same bits whatever the number of threads. */
typedef struct rapt_gemm {
    uint32_t size;
    int32_t transpose_a, transpose_b; /* op(A) is A^T: A is stored k x m; op(B) likewise n x k */
    int64_t m, n, k;
    int64_t lda, ldb, ldc;                /* elements between the starts of stored rows */
    int64_t batch;                        /* number of products, at least 1 */
    int64_t stride_a, stride_b, stride_c; /* elements between them; 0 repeats A or B */
    float alpha, beta;                    /* beta 0 does not read C */
    const float *a, *b;
    float *c;
} rapt_gemm;

/* A small product of fixed size, C = A B (+ C): plain pointers, [task]. */
typedef void (*rapt_tile_fn)(const float *a, const float *b, float *c, const void *plan);

typedef struct rapt_tile {
    rapt_tile_fn run; /* run(a, b, c, plan) */
    const void *plan;
} rapt_tile;

typedef struct rapt_gemm_service {
    uint32_t size;
    /* [call] On all workers; inside a task, on that thread alone. */
    rapt_status (*gemm)(rapt_call *call, const rapt_gemm *gemm);
    /* [call, task] The fastest code for C[m x n] = A[m x k] B[k x n] + (accumulate ? C : 0), row
     * major with the given leading dimensions. Cached for the life of the process; cheap to ask
     * again. `run` is never NULL. */
    rapt_tile (*tile)(int32_t m, int32_t n, int32_t k, int32_t lda, int32_t ldb, int32_t ldc,
                      int32_t accumulate);
} rapt_gemm_service;

/* service("rapt.math", 1): elementwise over n floats; x and y may be the same, [task]. Errors are
 * at most 1 ulp for exp and log, 2 ulp for tanh, sigmoid and erf. */
typedef struct rapt_math_service {
    uint32_t size;
    void (*exp)(int64_t n, const float *x, float *y);
    void (*log)(int64_t n, const float *x, float *y);
    void (*tanh)(int64_t n, const float *x, float *y);
    void (*sigmoid)(int64_t n, const float *x, float *y);
    void (*erf)(int64_t n, const float *x, float *y);
    /* to and from float32; `dtype` is RAPT_F16 or RAPT_BF16 (rounding to nearest even) or RAPT_F32
     */
    void (*load)(int64_t n, rapt_dtype dtype, const void *x, float *y);
    void (*store)(int64_t n, rapt_dtype dtype, const float *x, void *y);
} rapt_math_service;

/* service("rapt.random", 1): counter-based random numbers (Philox 4x32-10, Salmon et al. 2011). The
 * i-th value of (seed, stream) is a function of the three alone, [task]. */
typedef struct rapt_random_service {
    uint32_t size;
    void (*bits)(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, uint32_t *out);
    void (*uniform)(uint64_t seed, uint64_t stream, uint64_t first, int64_t n,
                    float *out); /* [0,1) */
    void (*normal)(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out);
} rapt_random_service;

/* ---------------------------------------------------------------------------------------------
 * service("rapt.vulkan", 1): compute on the Vulkan device of the call.
 *
 * A kernel whose device is "vulkan" sees views whose data is a handle of the device's memory and
 * cannot be followed; call->workspace is such a handle too (host->scratch is the host's memory as
 * ever). It records dispatches of SPIR-V compute shaders and returns; they run in the order in
 * which they were recorded, each after everything before it is done and visible. Nothing waits: a
 * result is waited for where somebody reads it.
 * ------------------------------------------------------------------------------------------- */

/* What a device can do and what a shader needs. */
enum {
    RAPT_VULKAN_STORAGE16 = 1u << 0,   /* 16-bit elements in storage buffers */
    RAPT_VULKAN_FLOAT16 = 1u << 1,     /* float16 arithmetic */
    RAPT_VULKAN_INT64 = 1u << 2,       /* 64-bit integers */
    RAPT_VULKAN_SUBGROUP = 1u << 3,    /* subgroup basic, vote, arithmetic, ballot, shuffle */
    RAPT_VULKAN_COOPMAT_NV = 1u << 4,  /* VK_NV_cooperative_matrix: 16x16x16, f16 to f32 */
    RAPT_VULKAN_COOPMAT_KHR = 1u << 5, /* VK_KHR_cooperative_matrix: the same */
    RAPT_VULKAN_FLOAT64 = 1u << 6,     /* float64 arithmetic */
    RAPT_VULKAN_BFLOAT16 = 1u << 7     /* RAPT_VULKAN_COOPMAT_KHR with bfloat16 for float16, too */
};

typedef struct rapt_vulkan_limits {
    uint32_t size;
    uint32_t features;         /* what is on: the device has it, and no quirk turns it off */
    uint32_t vendor;           /* PCI vendor */
    uint32_t subgroup_size;    /* what a shader gets that asks for none: 4 to 128 */
    uint32_t shared_bytes;     /* of a workgroup, at least 16384 */
    uint32_t invocations;      /* of a workgroup, at least 128 */
    uint32_t offset_alignment; /* of a buffer's offset, a power of two, at most 256 */
    uint32_t processors;       /* how many workgroups run well side by side; a guess, at least 1 */
    uint64_t buffer_bytes;     /* the greatest range that one binding may show, at least 128 MiB */
    uint32_t buffers;          /* that a shader may bind, params included: at least 4, at most 64 */
} rapt_vulkan_limits;

/* A shader: constant data. Set 0, bindings 0 to n_buffers - 1 are storage buffers; with
 * params_bytes binding n_buffers is a read-only storage buffer that holds the dispatch's params. */
typedef struct rapt_vulkan_shader {
    uint32_t size;
    uint32_t features; /* RAPT_VULKAN_* that the device must have on */
    const char *name;  /* "cog.forward.half": in messages and timings */
    const uint32_t
        *code; /* SPIR-V with the entry point main, as it is or deflated by zlib (RFC 1950) */
    uint64_t code_bytes;
    uint32_t n_buffers;
    uint32_t push_bytes;   /* push constants: at most 128, a multiple of 4 */
    uint32_t params_bytes; /* at most 4096, a multiple of 4 */
    uint32_t subgroup;     /* the subgroup size it must run with, in full subgroups; 0: any */
} rapt_vulkan_shader;

/* A range of device memory: `memory` is the data of a view or the call's workspace. NULL: no
 * memory; the shader may declare the binding but touches nothing of it. */
typedef struct rapt_vulkan_buffer {
    const void *memory;
    uint64_t offset; /* bytes; a multiple of limits->offset_alignment */
    uint64_t bytes;  /* at most limits->buffer_bytes; the shader touches nothing beyond */
} rapt_vulkan_buffer;

enum {
    /* The dispatch needs nothing that the dispatches since the last barrier wrote, and writes
     * nothing that they touch: it may run beside them. */
    RAPT_VULKAN_CONCURRENT = 1u << 0,
    /* The shader's float16 are bfloat16 in this dispatch (SPV_KHR_bfloat16; the device must have
     * RAPT_VULKAN_BFLOAT16 on): in buffers, shared memory, conversions and matrices. It may compute
     * with float32 alone. Its float32 constants 65504 and -65504, the ends of float16, become the
     * ends of bfloat16. */
    RAPT_VULKAN_AS_BFLOAT16 = 1u << 1
};

typedef struct rapt_vulkan_dispatch {
    uint32_t size;
    uint32_t flags;
    const rapt_vulkan_shader *shader;
    const uint32_t *constants; /* specialization constants with ids 0, 1, ...; 32 bits each */
    uint32_t n_constants;      /* never made of sequence lengths: every combination is a pipeline */
    uint32_t groups[3];        /* any number: where the device counts less far, in parts whose
                                  numbers of workgroups are the whole grid's; 0: nothing */
    const rapt_vulkan_buffer *buffers;
    const void *push;   /* shader->push_bytes, copied */
    const void *params; /* shader->params_bytes, copied */
} rapt_vulkan_dispatch;

typedef struct rapt_vulkan_service {
    uint32_t size;
    /* [call] Of the device of the call; holds while the device is open. In `supports` too. */
    const rapt_vulkan_limits *(*limits)(const rapt_call *call);
    /* [call] Records a dispatch. A shader that asks for what the device lacks, a bad range or a
     * lost device is an error, worded. */
    rapt_status (*dispatch)(rapt_call *call, const rapt_vulkan_dispatch *dispatch);
    /* [call] Zero bytes into a range; offset and length are multiples of 4. */
    rapt_status (*clear)(rapt_call *call, const rapt_vulkan_buffer *range);
} rapt_vulkan_service;

#ifdef __cplusplus
}
#endif
#endif
