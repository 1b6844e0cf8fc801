// y = FACTOR x, in f32 or, two elements to a word, f16: crooked.c.
#version 450

layout(local_size_x = 64) in;

layout(constant_id = 0) const float FACTOR = 2;
layout(constant_id = 1) const uint HALF = 0;

layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) writeonly buffer Y { uint y[]; };
layout(push_constant) uniform Push { uint words; };

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i >= words)
        return;
    y[i] = HALF != 0 ? packHalf2x16(FACTOR * unpackHalf2x16(x[i]))
                     : floatBitsToUint(FACTOR * uintBitsToFloat(x[i]));
}
