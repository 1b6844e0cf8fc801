// Every workgroup adds one to the element of its own number, which params lay out.
#version 450
layout(local_size_x = 1) in;
layout(std430, binding = 0) buffer Y { uint y[]; };
layout(std430, binding = 1) readonly buffer Params { uint stride[3]; };

void main()
{
    y[gl_WorkGroupID.x * stride[0] + gl_WorkGroupID.y * stride[1] + gl_WorkGroupID.z * stride[2]] += 1;
}
