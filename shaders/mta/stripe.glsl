// What the passes of mta over a stripe of the matrix share. A stripe holds, for each of some units
// (a unit is one head of one batch), `height` rows of `ld` keys; row 0 is a query that each
// matrix of the stripe has for itself. What is hidden is never read, so it may hold anything.

#define STRIPE_FIELDS                                                                               \
    uint heads;  /* H */                                                                            \
    uint mixed;  /* heads of a group, 1 without head_kernel */                                      \
    uint unit0;  /* the first unit of the stripe: batch * heads + head */                           \
    uint height; /* rows of a unit, in every matrix */                                              \
    uint ld;                                                                                        \
    uint keys;   /* M */                                                                            \
    int open;    /* M - N + 1; without a causal mask a number beyond all keys */

#define STRIPE_SEEN                                                                                 \
    uint seen(int query) { return uint(clamp(query + open, 0, int(keys))); }                        \
    uint unit_batch(uint unit) { return (unit0 + unit) / heads; }                                   \
    uint unit_head(uint unit) { return (unit0 + unit) % heads; }
