// What the passes of mta over a stripe of the matrix share. A stripe holds, for each of some units
// (a unit is one head of one batch), `height` rows of `ld` keys; row 0 is a query that each
// matrix of the stripe has for itself. What is hidden is never read, so it may hold anything.

layout(constant_id = 8) const uint OPTIONS = 0; // MTA_* of plugins/mta/vulkan_options.h

const bool SIGHT = (OPTIONS & 1) != 0;  // what a query sees is in a table (sees.comp)
const bool PACKED = (OPTIONS & 2) != 0; // kernels do not reach from one sequence into another

#define MINUS_INFINITY 0xff800000u

#define STRIPE_FIELDS                                                                               \
    uint heads;  /* H */                                                                            \
    uint mixed;  /* heads of a group, 1 without head_kernel */                                      \
    uint unit0;  /* the first unit of the stripe: batch * heads + head */                           \
    uint height; /* rows of a unit, in every matrix */                                              \
    uint ld;                                                                                        \
    uint keys;   /* M */                                                                            \
    int open;    /* M - N + 1; without a causal mask a number beyond all keys; with SIGHT N */

// A query sees the keys low <= key < seen; neither falls from one query to the next.
#define STRIPE_SEEN(sees_binding)                                                                   \
    layout(std430, binding = sees_binding) readonly buffer Sees { ivec4 sees[]; };                  \
    ivec4 sight(int query) { return sees[clamp(query, 0, open - 1)]; }                              \
    uint seen(int query)                                                                            \
    {                                                                                               \
        if (SIGHT)                                                                                  \
            return uint(sight(query).y);                                                            \
        return uint(clamp(query + open, 0, int(keys)));                                             \
    }                                                                                               \
    uint low(int query)                                                                             \
    {                                                                                               \
        if (SIGHT)                                                                                  \
            return uint(sight(query).x);                                                            \
        return 0u;                                                                                  \
    }                                                                                               \
    uint unit_batch(uint unit) { return (unit0 + unit) / heads; }                                   \
    uint unit_head(uint unit) { return (unit0 + unit) % heads; }
