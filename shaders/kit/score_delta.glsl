// Backward, first: delta_i = do_i . o_i - dlse_i, which is sum_j p_ij dp_ij. A workgroup does 8
// rows, 16 threads each.
layout(std430, set = 0, binding = 11) readonly buffer O { STORED o_data[]; };
layout(std430, set = 0, binding = 12) readonly buffer Rest { STORED rest_data[]; };
layout(std430, set = 0, binding = 13) readonly buffer GLse { float g_lse_data[]; };
layout(std430, set = 0, binding = 14) readonly buffer G { STORED g_data[]; };

shared float parts[128], greatest[128];

void main()
{
    const uint id = gl_LocalInvocationIndex, x = id & 15u;
    const uint row = gl_WorkGroupID.x * 8 + (id >> 4), rows = call.B * call.H * call.N;
    float sum = 0.0, most = 0.0;
    if (row < rows && (call.wants & GIVEN_G) != 0) {
        const uint head = row / call.N;
        const uint g = score_row(call.g, head / call.H, head % call.H, row % call.N);
        for (uint e = x; e < call.E; e += 16) {
            float o = LOAD(o_data[call.out_a + row * call.E + e]);
#ifdef RAPT_HALF
            if ((call.wants & WANTS_REST) != 0)
                o += LOAD(rest_data[call.out_b + row * call.E + e]);
#endif
            const float x = LOAD(g_data[g + e]);
            sum += o * x;
            most = max(most, abs(x));
        }
    }
    parts[id] = sum;
    greatest[id] = most;
    barrier();
    // A maximum does not depend on the order in which it is taken, so atomics keep the bits the same.
    if ((call.wants & WANTS_SCALE) != 0 && id < 8 && gl_WorkGroupID.x * 8 + id < rows) {
        const uint head = (gl_WorkGroupID.x * 8 + id) / call.N;
        for (uint i = 0; i < 16; i++)
            most = max(most, greatest[id * 16 + i]);
        if ((call.wants & GIVEN_LSE) != 0)
            most = max(most, abs(g_lse_data[call.out_c + gl_WorkGroupID.x * 8 + id]));
        atomicMax(work_uints[call.greatest + head / call.H * call.G + head % call.H / call.share],
                  floatBitsToUint(most));
    }
    if (x != 0 || row >= rows)
        return;
    for (uint i = 1; i < 16; i++)
        sum += parts[id + i];
    if ((call.wants & GIVEN_LSE) != 0)
        sum -= g_lse_data[call.out_c + row];
    work[call.delta + row] = sum;
}
