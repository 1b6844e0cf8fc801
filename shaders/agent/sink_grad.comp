#version 450
// part[slot][head] = sum over the slot's rows of the sink's weight times delta: the gradient of a logit
// without value, but for its sign. Groups: slots, heads.
layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint heads, batches, positions, slot_rows; // a head has batches * positions rows
    uint sink_base, most_base, total_base;
};

layout(std430, binding = 0) readonly buffer Sink { float sinks[]; };
layout(std430, binding = 1) readonly buffer Most { float most[]; };
layout(std430, binding = 2) readonly buffer Total { float total[]; };
layout(std430, binding = 3) readonly buffer Delta { float delta[]; };
layout(std430, binding = 4) writeonly buffer Part { float part[]; };

shared float sums[64];

void main()
{
    const uint lane = gl_LocalInvocationIndex, slot = gl_WorkGroupID.x, head = gl_WorkGroupID.y;
    const uint end = min(batches * positions, (slot + 1u) * slot_rows);
    const float sink = sinks[sink_base + head];
    float sum = 0.0;
    for (uint row = slot * slot_rows + lane; row < end; row += 64u) {
        const uint at = (row / positions * heads + head) * positions + row % positions;
        const float all = total[total_base + at];
        if (all > 0.0)
            sum = fma(exp(sink - most[most_base + at]) / all, delta[at], sum);
    }
    sums[lane] = sum;
    for (uint half_of = 32u; half_of > 0u; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            sums[lane] += sums[lane + half_of];
    }
    if (lane == 0u)
        part[slot * heads + head] = sums[0];
}
