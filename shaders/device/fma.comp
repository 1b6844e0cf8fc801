// Multiplies and adds, and nothing else: what the arithmetic of the device reaches in float32. Sixteen
// sums go on side by side in each invocation, so that none waits for its own last step.
#version 450

layout(local_size_x = 128) in;

layout(std430, set = 0, binding = 0) writeonly buffer Out { float out_sum[]; };

layout(push_constant) uniform Push {
    uint steps;
    float factor, addend; // not known when the shader is compiled
};

void main()
{
    const vec4 m = vec4(factor);
    vec4 a = vec4(gl_LocalInvocationID.x) + vec4(0, 1, 2, 3);
    vec4 b = a + 4, c = a + 8, d = a + 12;
    for (uint i = 0; i < steps; i++) {
        a = fma(a, m, vec4(addend));
        b = fma(b, m, vec4(addend));
        c = fma(c, m, vec4(addend));
        d = fma(d, m, vec4(addend));
    }
    const vec4 sum = a + b + c + d;
    out_sum[gl_GlobalInvocationID.x] = sum.x + sum.y + sum.z + sum.w;
}
