// The gradient of a bias. A workgroup owns 8 ROWS rows by 64 columns of it and goes through the
// batches and heads that share it. Where it is the same for all queries (keys), a workgroup goes
// through the tiles y, y + row_parts ... (x, x + key_parts ...), and the parts are added afterwards.
#include "kit/score_slopes.glsl"
#include "kit/score_tile.glsl"

layout(std430, set = 0, binding = 11) buffer GradBias { STORED grad_bias_data[]; };
layout(std430, set = 0, binding = 11) buffer GradBiasF32 { float grad_bias_f32[]; };

void score_store_bias(uint part, uint b, uint h, uint n, uint j, float sum)
{
    const uint at = ((b * call.bias_H + h) * call.bias_N + n) * call.bias_M + j;
    if (call.parts > 1)
        work[call.partials + part * (call.bias_B * call.bias_H * call.bias_N * call.bias_M) + at] = sum;
    else if (BIAS_IS_F32)
        grad_bias_f32[call.out_a + at] = sum;
    else
        grad_bias_data[call.out_a + at] = STORE(sum);
}

vec4 sums[4];

void score_bias_tile(uint id, uint b, uint h, uint first, uint j0)
{
    const uint x = id & 15u, y = id >> 4, group = h / call.share;
    const uint last = min(first + 8 * ROWS, call.N) - 1;
    if (score_sees(first).x >= int(j0 + OTHERS) || score_sees(last).y <= int(j0))
        return;
    const uint q_base = score_row(call.q, b, h, 0), g_base = score_row(call.g, b, h, 0);
    const uint k_base = score_row(call.k, b, group, 0), v_base = score_row(call.v, b, group, 0);
    vec4 s[4], d[4];
    SCORE_PRODUCTS(s, q_data, score_at(q_base, call.q.row, first + row_, call.N), k_data,
                   score_at(k_base, call.k.row, j0 + row_, call.M), call.D)
    SCORE_PRODUCTS(d, g_data, score_g_at(g_base, first + row_), v_data,
                   score_at(v_base, call.v.row, j0 + row_, call.M), call.E)
    vec4 grads[4] = d;
    const vec4 products[4] = s;
    SCORE_UNROLL for (uint i = 0; i < ROWS; i++) {
        const uint n = first + y + 8 * i;
        const score_query query = score_query_of(b, h, n);
        const vec4 qk = products[i], gv = grads[i];
        SCORE_UNROLL for (uint c = 0; c < 4; c++) {
            const uint j = j0 + x + 16 * c;
            const float tau_v = j < call.M ? score_tau_v(b, h, j) : 0.0;
            grads[i][c] = score_slopes(b, h, n, j, query, qk[c], gv[c], tau_v).ds;
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        sums[i] += grads[i];
}

void main()
{
    const uint id = gl_LocalInvocationIndex, x = id & 15u, y = id >> 4;
    const uint height = 8 * ROWS;
    const bool flat_rows = call.bias_N == 1, flat_keys = call.bias_M == 1;
    const uint bias_b = gl_WorkGroupID.z / call.bias_H, bias_h = gl_WorkGroupID.z % call.bias_H;
    const uint b_first = call.bias_B == 1 ? 0 : bias_b, b_end = call.bias_B == 1 ? call.B : bias_b + 1;
    const uint h_first = call.bias_H == 1 ? 0 : bias_h, h_end = call.bias_H == 1 ? call.H : bias_h + 1;
    const uint first = gl_WorkGroupID.y * height, j_first = gl_WorkGroupID.x * OTHERS;
    const uint row_step = call.row_parts * height, key_step = call.key_parts * OTHERS;
    const uint row_end = flat_rows ? call.N : min(call.N, first + 1);
    const uint key_end = flat_keys ? call.M : min(call.M, j_first + 1);
    [[unroll]] for (uint i = 0; i < 4; i++)
        sums[i] = ZERO;
    for (uint b = b_first; b < b_end; b++)
        for (uint h = h_first; h < h_end; h++)
            for (uint n0 = first; n0 < row_end; n0 += row_step)
                for (uint j0 = j_first; j0 < key_end; j0 += key_step)
                    score_bias_tile(id, b, h, n0, j0);

    const uint part = (flat_rows ? gl_WorkGroupID.y : 0) * call.key_parts +
                      (flat_keys ? gl_WorkGroupID.x : 0);
    if (!flat_rows && !flat_keys) {
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const uint n = first + y + 8 * i, j = j_first + x + 16 * c;
                if (n < call.N && j < call.M)
                    score_store_bias(part, bias_b, bias_h, n, j, sums[i][c]);
            }
        return;
    }
    if (flat_keys) {
        float total[4];
        [[unroll]] for (uint i = 0; i < 4; i++)
            total[i] = sums[i].x + sums[i].y + (sums[i].z + sums[i].w);
        score_row_sum(id, total);
        if (!flat_rows) {
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                if (x == 0 && first + y + 8 * i < call.N)
                    score_store_bias(part, bias_b, bias_h, first + y + 8 * i, 0, total[i]);
            return;
        }
        barrier();
        if (x == 0)
            score_put(y, total[0] + total[1] + (total[2] + total[3]));
        barrier();
        const vec4 all = score_chunk[0] + score_chunk[1];
        if (id == 0)
            score_store_bias(part, bias_b, bias_h, 0, 0, all.x + all.y + (all.z + all.w));
        return;
    }
    const vec4 column = sums[0] + sums[1] + (sums[2] + sums[3]);
    barrier();
    [[unroll]] for (uint c = 0; c < 4; c++)
        score_put(y * 64 + x + 16 * c, column[c]);
    barrier();
    if (id < OTHERS && j_first + id < call.M) {
        float total = 0.0;
        for (uint t = 0; t < 8; t++)
            total += score_chunk[t * 16 + (id >> 2)][id & 3u];
        score_store_bias(part, bias_b, bias_h, 0, j_first + id, total);
    }
}
