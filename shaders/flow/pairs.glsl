// Sums of numbers y e^x, kept as (x, y) so that nothing overflows, along the workgroup's
// PAIRS invocations.
#ifndef PAIRS
#define PAIRS 64
#endif
const vec2 NO_PAIR = vec2(-3.4e38, 0.0);

vec2 joined(vec2 a, vec2 b)
{
    const float greatest = max(a.x, b.x);
    return vec2(greatest, a.y * exp(a.x - greatest) + b.y * exp(b.x - greatest));
}

vec2 pair_of(float value)
{
    return value == 0.0 ? NO_PAIR : vec2(0.0, value);
}

shared vec2 pair_sum[PAIRS];

// The sum of the pairs up to and with invocation t, or, with `back`, from it on.
vec2 pair_scan(vec2 x, bool back)
{
    const uint t = gl_LocalInvocationID.x, at = back ? PAIRS - 1 - t : t;
    barrier();
    pair_sum[at] = x;
    barrier();
    for (uint d = 1; d < PAIRS; d *= 2) {
        if (at >= d)
            x = joined(pair_sum[at - d], x);
        barrier();
        pair_sum[at] = x;
        barrier();
    }
    return x;
}

// After pair_scan: the sum over all.
vec2 pair_total()
{
    return pair_sum[PAIRS - 1];
}

// After pair_scan: the sum before invocation t, or behind it.
vec2 pair_before(bool back)
{
    const uint t = gl_LocalInvocationID.x, at = back ? PAIRS - 1 - t : t;
    return at > 0 ? pair_sum[at - 1] : NO_PAIR;
}
