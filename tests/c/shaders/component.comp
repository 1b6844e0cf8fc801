// Reads a component of its number that the host chooses.
#version 450
layout(local_size_x = 1) in;
layout(std430, binding = 0) buffer Y { uint y[]; };
layout(push_constant) uniform Push { uint component; };

void main()
{
    y[gl_WorkGroupID[component]] = 1;
}
