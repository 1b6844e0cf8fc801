// The parts of a bias's gradient, added in order.
layout(std430, set = 0, binding = 11) writeonly buffer GradBias { STORED grad_bias_data[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradBiasF32 { float grad_bias_f32[]; };

void main()
{
    const uint elements = call.bias_B * call.bias_H * call.bias_N * call.bias_M;
    const uint at = gl_GlobalInvocationID.x;
    if (at >= elements)
        return;
    float sum = 0.0;
    for (uint part = 0; part < call.parts; part++)
        sum += work[call.partials + part * elements + at];
    if (BIAS_IS_F32)
        grad_bias_f32[call.out_a + at] = sum;
    else
        grad_bias_data[call.out_a + at] = STORE(sum);
}
