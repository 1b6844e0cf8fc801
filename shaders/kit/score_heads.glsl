// Gradients of what each head has one of. A workgroup does one head: the tiles' shares in the slope
// of ALiBi; of the sink -p delta in each row, for it has the weight p and no value.
layout(std430, set = 0, binding = 11) writeonly buffer GradAlibi { float grad_alibi_data[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradSink { float grad_sink_data[]; };

shared float parts[128];

// Of all threads, in thread 0.
float score_total(uint id, float mine)
{
    barrier();
    parts[id] = mine;
    barrier();
    for (uint step = 64; step > 0; step >>= 1) {
        if (id < step)
            parts[id] += parts[id + step];
        barrier();
    }
    return parts[0];
}

void main()
{
    const uint id = gl_LocalInvocationIndex, h = gl_WorkGroupID.x;
    const uint tiles = (call.N + 8 * ROWS - 1) / (8 * ROWS);
    if ((call.wants & WANTS_ALIBI) != 0) {
        float sum = 0.0;
        for (uint i = id; i < call.B * tiles; i += 128)
            sum += work[call.slopes + (i / tiles * call.H + h) * tiles + i % tiles];
        sum = score_total(id, sum);
        if (id == 0)
            grad_alibi_data[call.out_a + h] = sum;
    }
    if ((call.wants & WANTS_SINK) != 0) {
        const float sink = sink_data[call.sink + h];
        float sum = 0.0;
        for (uint i = id; i < call.B * call.N; i += 128) {
            const uint row = score_flat(i / call.N, h, i % call.N);
            const float total = sum_data[call.sum + row];
            if (total > 0.0 && floatBitsToUint(sink) != MINUS_INFINITY)
                sum -= exp(sink - reference_data[call.reference + row]) / total *
                       work[call.delta + row];
        }
        sum = score_total(id, sum);
        if (id == 0)
            grad_sink_data[call.out_b + h] = sum;
    }
}
