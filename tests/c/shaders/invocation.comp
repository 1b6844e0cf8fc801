// Every invocation adds its whole grid's height to the element of its own number.
#version 450
layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer Y { uint y[]; };

void main()
{
    const uvec3 id = gl_GlobalInvocationID;
    const uint row = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    y[(id.z * gl_NumWorkGroups.y + id.y) * row + id.x] += gl_NumWorkGroups[1];
}
