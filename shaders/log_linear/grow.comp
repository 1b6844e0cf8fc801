// Nodes from their children: the left one decayed over the right one's chunks, plus the right one.
//
// Workgroups: (part of a state, head in work, sequence); an invocation has one number of each.
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 1

layout(local_size_x = 64) in;

layout(push_constant) uniform push_block
{
    uint n, packed, slots, lane_states, size; // numbers of a state
};

#include "log_linear/tree.glsl"

layout(std430, set = 0, binding = 0) buffer state_block
{
    float state[];
};

const uint AHEAD = 4; // nodes whose children are loaded together

void main()
{
    const uint i = gl_GlobalInvocationID.x, lane = gl_WorkGroupID.y;
    if (i >= size)
        return;
    const linear_sequence sequence = linear_sequence_at(gl_WorkGroupID.z, packed, n);
    for (uint level = 1; sequence.chunks >> level != 0; level++) {
        const uint nodes = sequence.chunks >> level, above = linear_tree_base(level, slots);
        const uint below = linear_tree_base(level - 1, slots);
        for (uint j = 0; j < nodes; j += AHEAD) {
            float left[AHEAD], right[AHEAD], decay[AHEAD];
            [[unroll]] for (uint u = 0; u < AHEAD; u++) {
                const uint own = min(j + u, nodes - 1);
                const uint child = node_at(lane, below, sequence, level - 1, 2 * own);
                left[u] = state[child * size + i];
                right[u] = state[(child + 1) * size + i];
                decay[u] = node_decay(lane, sequence, level - 1, 2 * own + 1);
            }
            [[unroll]] for (uint u = 0; u < AHEAD; u++)
                if (j + u < nodes)
                    state[node_at(lane, above, sequence, level, j + u) * size + i] =
                        decay[u] * left[u] + right[u];
        }
    }
}
