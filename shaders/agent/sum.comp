#version 450
// to[unit][agent][e] = scale sum over splits of part[split][unit][agent][e], with ADD on top of what
// is there. Groups: elements of all units.
layout(local_size_x = 64) in;

layout(constant_id = 1) const uint ADD = 0;

layout(push_constant) uniform Push {
    uint size, splits; // elements of all units
    uint to_at;        // of the first unit
    float scale;
};

layout(std430, binding = 0) readonly buffer Part { float part[]; };
layout(std430, binding = 1) buffer To { float to[]; };

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i >= size)
        return;
    float sum = 0.0;
    for (uint s = 0; s < splits; s++)
        sum += part[s * size + i];
    to[to_at + i] = ADD != 0 ? to[to_at + i] + scale * sum : scale * sum;
}
