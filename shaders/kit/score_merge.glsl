// Few queries: a row's parts of the keys, put together. A workgroup does one row.
layout(std430, set = 0, binding = 11) buffer O { STORED o_data[]; };
layout(std430, set = 0, binding = 12) buffer Rest { STORED rest_data[]; };
layout(std430, set = 0, binding = 13) buffer Lse { float lse_data[]; };

void main()
{
    const uint rows = call.B * call.H * call.N, row = gl_WorkGroupID.x;
    const uint statistics = call.partials + call.parts * rows * call.E;
    float most = LOWEST, sum = 0.0;
    for (uint part = 0; part < call.parts; part++)
        most = max(most, work[statistics + 2 * (part * rows + row)]);
    for (uint part = 0; part < call.parts; part++) {
        const uint at = statistics + 2 * (part * rows + row);
        sum += exp(work[at] - most) * work[at + 1];
    }
    if (gl_LocalInvocationIndex == 0) {
        if ((call.wants & WANTS_STATISTICS) != 0) {
            reference_data[call.reference + row] =
                sum > 0.0 ? most : uintBitsToFloat(MINUS_INFINITY);
            sum_data[call.sum + row] = sum;
        }
        if ((call.wants & WANTS_LSE) != 0)
            lse_data[call.out_c + row] =
                sum > 0.0 ? most + log(sum) : uintBitsToFloat(MINUS_INFINITY);
    }
    for (uint e = gl_LocalInvocationIndex; e < call.E; e += 128) {
        float total = 0.0;
        for (uint part = 0; part < call.parts; part++)
            total += exp(work[statistics + 2 * (part * rows + row)] - most) *
                     work[call.partials + (part * rows + row) * call.E + e];
        const float exact = sum > 0.0 ? total / sum : 0.0;
        o_data[call.out_a + row * call.E + e] = STORE(exact);
#ifdef RAPT_HALF
        if ((call.wants & WANTS_REST) != 0)
            rest_data[call.out_b + row * call.E + e] = STORE(exact - element_decode(element_encode(exact)));
#endif
    }
}
