// States along the sequences: each slot's becomes what is before its chunk (REVERSE: after it), and what is
// left in the end is the final state (the gradient of the first).
//
// Workgroups: (part of a state, head in work, sequence); an invocation carries one number.
#define LINEAR_TABLE 1
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 2) const uint REVERSE = 0;

layout(push_constant) uniform push_block
{
    linear_rows from; // of the state that comes in: [sequence, head, row, column]
    uint to;          // where the one that goes out begins, contiguous
    uint n, packed, lane_states;
    uint height, width;
    uint heads, first_head; // of the call; the first in work
    uint flags, slope;
};

const uint HAS_FROM = 1;
const uint HAS_TO = 2;
const uint HAS_SLOPE = 4;

layout(std430, set = 0, binding = 0) buffer state_block
{
    float state[];
};
layout(std430, set = 0, binding = 2) readonly buffer from_block
{
    float from_of[];
};
layout(std430, set = 0, binding = 3) writeonly buffer to_block
{
    float to_of[];
};
layout(std430, set = 0, binding = 4) readonly buffer slope_block
{
    float slope_of[];
};

const uint AHEAD = 8; // loads in flight

void main()
{
    const uint i = gl_GlobalInvocationID.x, lane = gl_WorkGroupID.y, s = gl_WorkGroupID.z;
    const uint size = height * width;
    if (i >= size)
        return;
    const linear_sequence sequence = linear_sequence_at(s, packed, n);
    const float step = (flags & HAS_SLOPE) != 0 ? max(-slope_of[slope + lane], NOTHING) : 0.0;
    const float whole = exp(step * float(CHUNK));
    const uint chunks = sequence.chunks;
    const float rest = chunks == 0 ? 1.0 : exp(step * float(sequence.positions - (chunks - 1) * CHUNK));
    float carried = 0.0;
    if ((flags & HAS_FROM) != 0)
        carried = from_of[linear_row(from, s, lane, i / width) + i % width];
    const uint base = (lane * lane_states + sequence.first) * size + i;
    for (uint c = 0; c < chunks; c += AHEAD) {
        float own[AHEAD];
        [[unroll]] for (uint u = 0; u < AHEAD; u++) {
            const uint at = REVERSE != 0 ? chunks - 1 - (c + u) : c + u;
            own[u] = c + u < chunks ? state[base + at * size] : 0.0;
        }
        [[unroll]] for (uint u = 0; u < AHEAD; u++)
            if (c + u < chunks) {
                const uint at = REVERSE != 0 ? chunks - 1 - (c + u) : c + u;
                state[base + at * size] = carried;
                carried = (at + 1 == chunks ? rest : whole) * carried + own[u];
            }
    }
    if ((flags & HAS_TO) != 0)
        to_of[to + (s * heads + first_head + lane) * size + i] = carried;
}
