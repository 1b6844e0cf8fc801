// Sums of two floats along 64 invocations.
#include "kit/linear.glsl"

layout(local_size_x = 64) in;

shared vec2 scan_of[CHUNK];

// The sum of x over this invocation and those before it.
vec2 linear_scan(vec2 x)
{
    const uint t = gl_LocalInvocationID.x;
    barrier();
    scan_of[t] = x;
    barrier();
    for (uint d = 1; d < CHUNK; d *= 2) {
        if (t >= d)
            x = linear_two_sum(scan_of[t - d], x);
        barrier();
        scan_of[t] = x;
        barrier();
    }
    return x;
}
