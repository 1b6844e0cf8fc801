// Backward, first: delta_i = do_i . o_i - dlse_i, which is sum_j p_ij dp_ij. A workgroup does 8
// rows, 16 threads each.
layout(std430, set = 0, binding = 11) readonly buffer O { STORED o_data[]; };
layout(std430, set = 0, binding = 12) readonly buffer Rest { STORED rest_data[]; };
layout(std430, set = 0, binding = 13) readonly buffer GLse { float g_lse_data[]; };
layout(std430, set = 0, binding = 14) readonly buffer G { STORED g_data[]; };

shared float parts[128];

void main()
{
    const uint id = gl_LocalInvocationIndex, x = id & 15u;
    const uint row = gl_WorkGroupID.x * 8 + (id >> 4), rows = call.B * call.H * call.N;
    float sum = 0.0;
    if (row < rows && (call.wants & GIVEN_G) != 0) {
        const uint head = row / call.N;
        const uint g = score_row(call.g, head / call.H, head % call.H, row % call.N);
        for (uint e = x; e < call.E; e += 16) {
            float o = LOAD(o_data[call.out_a + row * call.E + e]);
#ifdef RAPT_HALF
            if ((call.wants & WANTS_REST) != 0)
                o += LOAD(rest_data[call.out_b + row * call.E + e]);
#endif
            sum += o * LOAD(g_data[g + e]);
        }
    }
    parts[id] = sum;
    barrier();
    if (x != 0 || row >= rows)
        return;
    for (uint i = 1; i < 16; i++)
        sum += parts[id + i];
    if ((call.wants & GIVEN_LSE) != 0)
        sum -= g_lse_data[call.out_c + row];
    work[call.delta + row] = sum;
}
