// Reads and writes sixteen bytes an invocation, in order: what the memory of the device reaches.
#version 450

layout(local_size_x = 128) in;

layout(std430, set = 0, binding = 0) readonly buffer Source { uvec4 source[]; };
layout(std430, set = 0, binding = 1) writeonly buffer Target { uvec4 target[]; };

layout(push_constant) uniform Push { uint count; };

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i < count)
        target[i] = source[i];
}
