#version 450
// Puts the splits of gathering together: u = sum_s e^(most_s - most) part_s / total. Groups: 256 values of
// all agents, 1, batch * heads + head.

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint units, agents, values, splits;
    uint u_base, most_base, total_base;
};

layout(std430, binding = 0) readonly buffer Part { float part[]; }; // [split][unit][agent][e]
layout(std430, binding = 1) readonly buffer PartMost { float part_most[]; };
layout(std430, binding = 2) readonly buffer PartTotal { float part_total[]; };
layout(std430, binding = 3) writeonly buffer U { float u[]; };
layout(std430, binding = 4) writeonly buffer Most { float most[]; };
layout(std430, binding = 5) writeonly buffer Total { float total[]; };

void main()
{
    const uint across = max(values, 1u), agent = gl_GlobalInvocationID.x / across;
    const uint row = gl_WorkGroupID.z * agents + agent, e = gl_GlobalInvocationID.x % across;
    if (agent >= agents)
        return;
    float top = -3.4e38, sum = 0.0, value = 0.0;
    for (uint s = 0; s < splits; s++)
        top = max(top, part_most[s * units * agents + row]);
    for (uint s = 0; s < splits; s++) {
        const uint at = s * units * agents + row;
        const float factor = exp(part_most[at] - top);
        sum = fma(factor, part_total[at], sum);
        if (e < values)
            value = fma(factor, part[at * values + e], value);
    }
    if (e < values)
        u[u_base + row * values + e] = sum > 0.0 ? value / sum : 0.0;
    if (e == 0) {
        most[most_base + row] = top;
        total[total_base + row] = sum;
    }
}
