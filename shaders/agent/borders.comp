#version 450
// The borders of packed sequences as packed.glsl wants them. Those that do not rise from 0 to the number
// of positions cannot be refused here: a border below an earlier one becomes that, and the ends are set.
// Groups: q, k.
layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    uint given, sequences;   // borders that are given; sequences, at least 1
    uint q_base, q_row, q_wide, q_count; // of 64 bits if wide; the number of positions
    uint k_base, k_row, k_wide, k_count;
};

layout(std430, binding = 0) readonly buffer Q { int q[]; };
layout(std430, binding = 1) readonly buffer K { int k[]; };
layout(std430, binding = 2) writeonly buffer Borders { uint borders[]; };

shared uint greatest[128];

bool keys;

uint given_at(uint i)
{
    const uint base = keys ? k_base : q_base, row = keys ? k_row : q_row, count = keys ? k_count : q_count;
    const bool wide = (keys ? k_wide : q_wide) != 0u;
    const uint at = wide ? 2u * (base + i * row) : base + i * row;
    const int low = keys ? k[at] : q[at];
    const int high = !wide ? (low < 0 ? -1 : 0) : keys ? k[at + 1u] : q[at + 1u];
    return high != 0 ? (high < 0 ? 0u : count) : min(uint(low), count);
}

void main()
{
    keys = gl_WorkGroupID.x != 0u;
    const uint lane = gl_LocalInvocationIndex, each = (given + 127u) / 128u;
    const uint first = min(given, lane * each), end = min(given, first + each);
    const uint at = keys ? sequences + 1u : 0u, count = keys ? k_count : q_count;
    uint most = 0u;
    for (uint i = first; i < end; i++)
        most = max(most, given_at(i));
    greatest[lane] = most;
    barrier();
    most = 0u;
    for (uint i = 0u; i < lane; i++)
        most = max(most, greatest[i]);
    for (uint i = first; i < end; i++) {
        most = max(most, given_at(i));
        if (i > 0u && i < sequences)
            borders[at + i] = most;
    }
    if (lane == 0u) {
        borders[at] = 0u;
        borders[at + sequences] = count;
    }
}
