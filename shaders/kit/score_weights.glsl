// The matrix of weights: a workgroup makes one tile, given its rows' references and sums.
#include "kit/score_tile.glsl"

layout(std430, set = 0, binding = 11) writeonly buffer Matrix { float matrix_data[]; };

void main()
{
    const uint id = gl_LocalInvocationIndex, x = id & 15u, y = id >> 4;
    const uint j0 = gl_WorkGroupID.x * OTHERS, first = gl_WorkGroupID.y * 8 * ROWS;
    const uint b = gl_WorkGroupID.z / call.H, h = gl_WorkGroupID.z % call.H;
    const uint k_base = score_row(call.k, b, h / call.share, 0);
    const uint q_base = score_row(call.q, b, h, 0);
    vec4 s[4];
    SCORE_PRODUCTS(s, q_data, score_at(q_base, call.q.row, first + row_, call.N), k_data,
                   score_at(k_base, call.k.row, j0 + row_, call.M), call.D)
    SCORE_UNROLL for (uint i = 0; i < ROWS; i++) {
        const uint n = first + y + 8 * i;
        if (n >= call.N)
            continue;
        const uint row = score_flat(b, h, n);
        const ivec3 sees = score_sees(n);
        const float sum = sum_data[call.sum + row], reference = reference_data[call.reference + row];
        const float factor = call.scale * score_tau_q(b, h, n);
        SCORE_UNROLL for (uint c = 0; c < 4; c++) {
            const uint j = j0 + x + 16 * c;
            if (j >= call.M)
                continue;
            const score_pair pair = score_shape(b, h, n, j, sees, s[i][c] * factor);
            float w = 0.0;
            if (pair.seen && sum > 0.0) {
#ifdef SCORE_LOGIT
                w = exp(score_logit(score_site(b, h), pair.s) - reference) / sum;
#else
                w = exp(pair.s - reference) / sum;
#endif
#ifdef SCORE_FACTOR
                w *= score_factor(score_site(b, h), pair.s);
#endif
                w *= score_tau_v(b, h, j);
            }
            matrix_data[call.out_a + row * call.M + j] = w;
        }
    }
}
