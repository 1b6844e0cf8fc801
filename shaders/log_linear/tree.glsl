// What the passes over the trees share: the spans, nodes of one head and sequence, and the decay over a
// node's chunks. The shader that includes this has pushed `n`, `packed`, `slots`, `lane_states`, `origin` and
// `flags`.
#include "kit/linear.glsl"
#define LINEAR_GOES_ON 2
#include "kit/linear_nodes.glsl"

layout(std430, set = 0, binding = 2) readonly buffer span_block
{
    vec4 span_of[];
};

// The number of the state of a node of sequence s; level `base` is where its level begins.
uint node_at(uint lane, uint base, uint s, linear_sequence sequence, uint level, uint j)
{
    return lane * lane_states + linear_tree_place(base, s, sequence.first, level, j);
}

// Over the chunks of a complete node that are the sequence's.
float node_decay(uint lane, linear_sequence sequence, uint level, uint j)
{
    const uint first = lane * slots + sequence.first;
    const vec4 start = span_of[first + tree_start(j, level)];
    const vec4 end = span_of[first + tree_start(j + 1, level) - 1];
    return exp(linear_gap(end.zw, start.xy));
}
