// y[i] = factor * y[i] + add for i < n; the factor is constant 0 (bits of a float) over constant 1.
#version 450
layout(local_size_x = 64) in;
layout(constant_id = 0) const float FACTOR = 1;
layout(std430, binding = 0) buffer Y { float y[]; };
layout(push_constant) uniform Push { uint n; float add; };

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i < n)
        y[i] = FACTOR * y[i] + add;
}
