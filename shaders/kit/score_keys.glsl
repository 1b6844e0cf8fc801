// Gradients of keys and values: a workgroup owns a tile of keys of one (b, group) and goes through
// the heads of the group and the query tiles that see a key of it. Tiles stand here on their side:
// own rows are keys, columns queries.
#include "kit/score_slopes.glsl"
#include "kit/score_tile.glsl"

layout(std430, set = 0, binding = 11) writeonly buffer GradK { STORED grad_k_data[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradV { STORED grad_v_data[]; };
layout(std430, set = 0, binding = 13) writeonly buffer GradTauV { STORED grad_tau_data[]; };

vec4 sums_k[16], sums_v[16];

void main()
{
    const uint id = gl_LocalInvocationIndex, x = id & 15u, y = id >> 4;
    const uint height = 8 * ROWS, first = gl_WorkGroupID.x * height;
    const uint group = gl_WorkGroupID.y, b = gl_WorkGroupID.z;
    const uint k_base = score_row(call.k, b, group, 0), v_base = score_row(call.v, b, group, 0);
    const bool adds_k = (call.wants & WANTS_K) != 0;
    const bool adds_v = (call.wants & WANTS_V) != 0 && (call.wants & GIVEN_G) != 0;
    [[unroll]] for (uint i = 0; i < 16; i++)
        sums_k[i] = sums_v[i] = ZERO;

    // Queries that may see a key of the tile: from `low` on, less than `high`.
    const int last = int(min(first + height, call.M)) - 1, shift = int(call.M) - int(call.N);
    int low = 0, high = int(call.N);
    if (!PACKED && call.right >= 0)
        low = clamp(int(first) - call.right - shift, 0, high);
    if (!PACKED && call.left >= 0)
        high = clamp(last + call.left - shift + 1, 0, high);
    low &= ~int(OTHERS - 1);

    for (uint h = group * call.share; h < (group + 1) * call.share; h++) {
        const uint q_base = score_row(call.q, b, h, 0), g_base = score_row(call.g, b, h, 0);
        float tau[4], tau_v[4];
        [[unroll]] for (uint i = 0; i < 4; i++) {
            const uint j = first + y + 8 * i;
            tau_v[i] = i < ROWS && j < call.M ? score_tau_v(b, h, min(j, call.M - 1)) : 0.0;
            tau[i] = 0.0;
        }
        for (uint n0 = uint(low); n0 < uint(high); n0 += OTHERS) {
            if (PACKED && (score_sees(n0).x > last ||
                           score_sees(min(n0 + OTHERS, call.N) - 1).y <= int(first)))
                continue;
            vec4 s[4], d[4];
            SCORE_PRODUCTS(s, k_data, score_at(k_base, call.k.row, first + row_, call.M), q_data,
                           score_at(q_base, call.q.row, n0 + row_, call.N), call.D)
            SCORE_PRODUCTS(d, v_data, score_at(v_base, call.v.row, first + row_, call.M), g_data,
                           score_g_at(g_base, n0 + row_), call.E)
            score_query query[4];
            [[unroll]] for (uint c = 0; c < 4; c++)
                query[c] = score_query_of(b, h, n0 + x + 16 * c);
            vec4 weights[4] = d, grads[4] = s;
            SCORE_UNROLL for (uint i = 0; i < ROWS; i++) {
                const vec4 qk = grads[i], gv = weights[i];
                SCORE_UNROLL for (uint c = 0; c < 4; c++) {
                    const score_slope result =
                        score_slopes(b, h, n0 + x + 16 * c, first + y + 8 * i, query[c], qk[c],
                                     gv[c], tau_v[i]);
                    if (HAS_TAU_V)
                        tau[i] += result.w * gv[c];
                    weights[i][c] = result.w * tau_v[i];
                    grads[i][c] = result.ds * query[c].factor;
                }
            }
            const uint count = min(OTHERS, call.N - n0);
            if (adds_v) {
                score_put_tile(id, weights);
                SCORE_SUMS(sums_v, E_BLOCKS, g_data, score_g_at(g_base, n0 + o_ + row_), call.E, count)
                barrier();
            }
            if (adds_k) {
                score_put_tile(id, grads);
                SCORE_SUMS(sums_k, D_BLOCKS, q_data,
                           score_at(q_base, call.q.row, n0 + o_ + row_, call.N), call.D, count)
            }
        }
        if ((call.wants & WANTS_TAU_V) != 0) {
            score_row_sum(id, tau);
            [[unroll]] for (uint i = 0; i < ROWS; i++) {
                const uint j = first + y + 8 * i;
                if (x == 0 && j < call.M)
                    grad_tau_data[call.out_c + (b * call.H + h) * call.M + j] = STORE(tau[i]);
            }
        }
    }

    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint j = first + y + 8 * i, row = (b * call.G + group) * call.M + j;
        if (j >= call.M)
            continue;
        [[unroll]] for (uint c = 0; c < 4; c++) {
            [[unroll]] for (uint block = 0; block < D_BLOCKS; block++) {
                const uint f = block * 64 + x * 4 + c;
                if (adds_k && f < call.D)
                    grad_k_data[call.out_a + row * call.D + f] = STORE(sums_k[block * 4 + i][c]);
            }
            [[unroll]] for (uint block = 0; block < E_BLOCKS; block++) {
                const uint f = block * 64 + x * 4 + c;
                if ((call.wants & WANTS_V) != 0 && f < call.E)
                    grad_v_data[call.out_b + row * call.E + f] = STORE(sums_v[block * 4 + i][c]);
            }
        }
    }
}
