// What the passes over the trees share: the spans, nodes of one head and sequence, and the decay over a
// node's chunks. The shader that includes this has pushed `n`, `packed`, `slots` and `lane_states`.
#include "kit/linear.glsl"
#include "kit/linear_nodes.glsl"

layout(std430, set = 0, binding = 2) readonly buffer span_block
{
    vec4 span_of[];
};

// The number of a node's state; level `base` is where its level begins.
uint node_at(uint lane, uint base, linear_sequence sequence, uint level, uint j)
{
    return lane * lane_states + base + (sequence.first >> level) + j;
}

float node_decay(uint lane, linear_sequence sequence, uint level, uint j)
{
    const uint first = lane * slots + sequence.first + (j << level);
    const vec4 start = span_of[first], end = span_of[first + (1u << level) - 1];
    return exp(linear_gap(end.zw, start.xy));
}
