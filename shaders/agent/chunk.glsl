// A chunk of backward: for some heads of batches (units) all agents against some positions, queries
// or keys. Two matrices [unit][agent][position] of it: logits, and gradients of weights.

#define CHUNK_FIELDS                                                                                \
    uint heads, agents;                                                                             \
    uint unit0;     /* batch * heads + head of the first */                                         \
    uint positions; /* of the tensors */                                                            \
    uint first;     /* position of the chunk */                                                     \
    uint count;     /* its positions, and the distance of rows */

#define CHUNK_UNITS                                                                                 \
    uint unit_batch(uint unit) { return (unit0 + unit) / heads; }                                   \
    uint unit_head(uint unit) { return (unit0 + unit) % heads; }

// Where the statistics of weights.glsl begin.
#define WEIGHT_FIELDS uint most_base, total_base;
