#version 450
// delta of an agent = du . u, the same sum over the keys. Groups: agents of all units.
layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint width, u_base;
};

layout(std430, binding = 0) readonly buffer U { float u[]; };
layout(std430, binding = 1) readonly buffer Grad { float grad[]; };
layout(std430, binding = 2) writeonly buffer Delta { float delta[]; };

shared float sums[64];

void main()
{
    const uint lane = gl_LocalInvocationIndex, at = gl_WorkGroupID.x * width;
    float sum = 0.0;
    for (uint e = lane; e < width; e += 64)
        sum = fma(u[u_base + at + e], grad[at + e], sum);
    sums[lane] = sum;
    for (uint half_of = 32; half_of > 0; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            sums[lane] += sums[lane + half_of];
    }
    if (lane == 0)
        delta[gl_WorkGroupID.x] = sums[0];
}
