// A chunk of backward: for some heads of batches (units) all agents against some positions, queries
// or keys. Two matrices [unit][agent][position] of it: logits, and gradients of weights. With PACKED the
// agents of a position are those of its sequence.

#define CHUNK_FIELDS                                                                                \
    uint heads, agents;                                                                             \
    uint unit0;     /* batch * heads + head of the first */                                         \
    uint positions; /* of the tensors */                                                            \
    uint first;     /* position of the chunk */                                                     \
    uint count;     /* its positions, and the distance of rows */                                   \
    uint sequences, borders_at; /* packed.glsl */

#define CHUNK_UNITS                                                                                 \
    uint unit_batch(uint unit) { return (unit0 + unit) / heads; }                                   \
    uint unit_head(uint unit) { return (unit0 + unit) % heads; }

#ifdef PRODUCT_COOP
#define PRODUCT_FOUR
// Four numbers of an operand, beyond float16's range its end; zeros where there are none.
f16vec4 operand_four(vec4 x, bool there)
{
    return there ? f16vec4(clamp(x, -65504.0, 65504.0)) : f16vec4(0.0hf);
}
#endif

// Where the statistics of weights.glsl begin; 1 / softcap.
#define WEIGHT_FIELDS                                                                               \
    uint most_base, total_base;                                                                     \
    float bend;
