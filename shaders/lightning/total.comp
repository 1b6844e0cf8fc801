// The gradient of each head's slope, from its chunks'. Workgroups: heads.
#version 450

layout(local_size_x = 128) in;

layout(push_constant) uniform push_block
{
    uint slots, to;
};

layout(std430, set = 0, binding = 0) readonly buffer rate_block
{
    float rate_of[];
};
layout(std430, set = 0, binding = 1) writeonly buffer to_block
{
    float to_of[];
};

shared float partial[128];

void main()
{
    const uint i = gl_LocalInvocationID.x, head = gl_WorkGroupID.x;
    float total = 0.0;
    for (uint slot = i; slot < slots; slot += 128)
        total += rate_of[head * slots + slot];
    partial[i] = total;
    for (uint half_way = 64; half_way > 0; half_way /= 2) {
        barrier();
        if (i < half_way)
            partial[i] += partial[i + half_way];
    }
    if (i == 0)
        to_of[to + head] = -partial[0];
}
