// Gradients of queries: a workgroup owns a tile of them and goes through the keys that they see.
#include "kit/score_slopes.glsl"
#include "kit/score_tile.glsl"

layout(std430, set = 0, binding = 11) writeonly buffer GradQ { STORED grad_q_data[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradTauQ { STORED grad_tau_data[]; };
layout(std430, set = 0, binding = 13) writeonly buffer Slopes { float slopes_data[]; }; // of tiles

vec4 sums[16];

void main()
{
    const uint id = gl_LocalInvocationIndex, x = id & 15u, y = id >> 4;
    const uint height = 8 * ROWS, tiles = (call.N + height - 1) / height;
    const uint tile = tiles - 1 - gl_WorkGroupID.x, first = tile * height;
    const uint h = gl_WorkGroupID.y, b = gl_WorkGroupID.z, group = h / call.share;
    const uint q_base = score_row(call.q, b, h, 0), g_base = score_row(call.g, b, h, 0);
    const uint k_base = score_row(call.k, b, group, 0), v_base = score_row(call.v, b, group, 0);

    score_query query[4];
    float tau[4], slope[4];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        query[i] = score_query_of(b, h, i < ROWS ? first + y + 8 * i : call.N);
        tau[i] = slope[i] = 0.0;
    }
    [[unroll]] for (uint i = 0; i < 16; i++)
        sums[i] = ZERO;

    const ivec3 seen_low = score_sees(first), seen_high = score_sees(min(first + height, call.N) - 1);
    const uint begin = uint(max(seen_low.x, 0)) & ~(OTHERS - 1), end = uint(max(seen_high.y, 0));
    for (uint j0 = begin; j0 < end; j0 += OTHERS) {
        vec4 s[4], d[4];
        SCORE_PRODUCTS(s, q_data, score_at(q_base, call.q.row, first + row_, call.N), k_data,
                       score_at(k_base, call.k.row, j0 + row_, call.M), call.D)
        SCORE_PRODUCTS(d, g_data, score_g_at(g_base, first + row_), v_data,
                       score_at(v_base, call.v.row, j0 + row_, call.M), call.E)
        vec4 grads[4] = d;
        const vec4 products[4] = s;
        SCORE_UNROLL for (uint i = 0; i < ROWS; i++) {
            const score_query of = query[i];
            const vec4 qk = products[i], gv = grads[i];
            SCORE_UNROLL for (uint c = 0; c < 4; c++) {
                const uint j = j0 + x + 16 * c;
                const float tau_v = j < call.M ? score_tau_v(b, h, j) : 0.0;
                const score_slope result =
                    score_slopes(b, h, first + y + 8 * i, j, of, qk[c], gv[c], tau_v);
                if (HAS_TAU_Q && result.ds != 0.0)
                    tau[i] += result.ds * qk[c] * call.scale;
                if (HAS_ALIBI)
                    slope[i] -= result.shaped * abs(float(of.sees.z - int(j)));
                grads[i][c] = result.ds;
            }
        }
        score_put_tile(id, grads);
        SCORE_SUMS(sums, D_BLOCKS, k_data, score_at(k_base, call.k.row, j0 + o_ + row_, call.M), call.D,
                   min(OTHERS, call.M - j0))
    }

    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint n = first + y + 8 * i;
        if (n >= call.N || (call.wants & WANTS_Q) == 0)
            continue;
        const uint row = score_flat(b, h, n);
        [[unroll]] for (uint block = 0; block < D_BLOCKS; block++)
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const uint f = block * 64 + x * 4 + c;
                if (f < call.D)
                    grad_q_data[call.out_a + row * call.D + f] =
                        STORE(sums[block * 4 + i][c] * query[i].factor);
            }
    }
    if ((call.wants & WANTS_TAU_Q) != 0) {
        score_row_sum(id, tau);
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            const uint n = first + y + 8 * i;
            if (x == 0 && n < call.N)
                grad_tau_data[call.out_b + score_flat(b, h, n)] = STORE(tau[i]);
        }
    }
    if (HAS_ALIBI && (call.wants & WANTS_ALIBI) != 0) {
        // The tile's share in the gradient of the head's slope.
        score_row_sum(id, slope);
        barrier();
        if (x == 0)
            score_put(y, slope[0] + slope[1] + (slope[2] + slope[3]));
        barrier();
        if (id == 0) {
            const vec4 a = score_chunk[0] + score_chunk[1];
            slopes_data[(b * call.H + h) * tiles + tile] = a.x + a.y + (a.z + a.w);
        }
    }
}
