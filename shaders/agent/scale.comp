#version 450
// scale[unit] = the power of two that takes the greatest of a unit's numbers to 2^14 .. 2^15. Groups:
// units.
layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint count; // numbers of a unit
    uint base, unit0;
};

layout(std430, binding = 0) readonly buffer From { float from[]; };
layout(std430, binding = 1) writeonly buffer Scale { float scale[]; };

shared float greatest[64];

void main()
{
    const uint lane = gl_LocalInvocationIndex, unit = unit0 + gl_WorkGroupID.x;
    float most = 0.0;
    for (uint i = lane; i < count; i += 64)
        most = max(most, abs(from[base + unit * count + i]));
    greatest[lane] = most;
    for (uint half_of = 32; half_of > 0; half_of >>= 1) {
        barrier();
        if (lane < half_of)
            greatest[lane] = max(greatest[lane], greatest[lane + half_of]);
    }
    // 2^(14 - exponent), both within the range of normal numbers.
    if (lane == 0)
        scale[unit] = uintBitsToFloat(clamp(268u - (floatBitsToUint(greatest[0]) >> 23), 16u, 240u) << 23);
}
