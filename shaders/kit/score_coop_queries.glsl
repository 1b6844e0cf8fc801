// Gradients of queries by cooperative matrices; what it computes is kit/score_queries.glsl's.
#include "kit/score_coop.glsl"
#include "kit/score_slopes.glsl"

layout(std430, set = 0, binding = 14) readonly buffer G4 { f16vec4 g_four[]; };
layout(std430, set = 0, binding = 14) readonly buffer G1 { float16_t g_half[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradQ4 { f16vec4 grad_q_four[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradQWords { uvec2 grad_q_words[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradTauQ { STORED grad_tau_data[]; };
layout(std430, set = 0, binding = 13) writeonly buffer Slopes { float slopes_data[]; }; // of tiles

const uint MOST_STEP = D_STEP > E_STEP ? D_STEP : E_STEP;
const uint OWN_SIZE = 64 * MOST_STEP;
const uint KV_SIZE = KEYS * (D_STEP + E_STEP);

shared COOP_HALF4 rows[OWN_SIZE > KV_SIZE ? OWN_SIZE : KV_SIZE]; // own rows, then keys and values
shared COOP_HALF4 slopes[64 * TILE_STEP];
shared float tau_of[KEYS]; // of the tile's keys
shared float by_row[LANES];

void main()
{
    const uint group = COOP_GROUP & 3u, part = PARTS > 1 ? COOP_GROUP >> 2 : 0, lane = COOP_LANE;
    const uint mine = group * 16 + (lane >> 1), side = lane & 1u; // the thread's row
    const uint tiles = (call.N + 63) / 64, tile = tiles - 1 - gl_WorkGroupID.x;
    const uint h = gl_WorkGroupID.y, b = gl_WorkGroupID.z, first = tile * 64;
    const uint q_base = score_row(call.q, b, h, 0), g_base = score_row(call.g, b, h, 0);
    const uint k_base = score_row(call.k, b, h / call.share, 0);
    const uint v_base = score_row(call.v, b, h / call.share, 0);
    const uint n = first + mine, g_end = (call.wants & GIVEN_G) != 0 ? call.N : 0;
    const float up = score_scale_up(b, h / call.share), down = score_scale_down(b, h / call.share);
    const score_query query = score_query_of(b, h, n);

    COOP_A q[D_BLOCKS], g[E_BLOCKS];
    COOP_C sums[D_BLOCKS];
    SCORE_FETCH(rows, 0, D_STEP, q_four, q_half, q_base, call.q.row, first, call.N, 64, D_WIDTH)
    barrier();
    [[unroll]] for (uint d = 0; d < D_BLOCKS; d++) {
        COOP_LOAD_A(q[d], rows, group * 16 * D_STEP + (part * D_BLOCKS + d) * 4, D_STEP);
        COOP_ZERO(sums[d]);
    }
    barrier();
    SCORE_FETCH(rows, 0, E_STEP, g_four, g_half, g_base, call.g.row, first, g_end, 64, E_WIDTH)
    barrier();
    [[unroll]] for (uint e = 0; e < E_BLOCKS; e++)
        COOP_LOAD_A(g[e], rows, group * 16 * E_STEP + (part * E_BLOCKS + e) * 4, E_STEP);

    float tau = 0.0, slope = 0.0;
    const ivec3 seen_low = score_sees(first), seen_high = score_sees(min(first + 64, call.N) - 1);
    const uint begin = uint(max(seen_low.x, 0)) / KEYS * KEYS, end = uint(max(seen_high.y, 0));
    f16vec4 next_k[D_EACH], next_v[E_EACH];
    if (AHEAD && begin < end) {
        SCORE_TAKE_KEYS(begin)
    }
    for (uint j0 = begin; j0 < end; j0 += KEYS) {
        barrier();
        SCORE_PLACE_KEYS(j0)
        barrier();
        if (AHEAD && j0 + KEYS < end) {
            SCORE_TAKE_KEYS(j0 + KEYS)
        }
        SCORE_PRODUCT(q, D_BLOCKS, 0, D_STEP)
        SCORE_JOIN
        vec4 s[TILE_OWN];
        [[unroll]] for (uint t = 0; t < TILE_OWN; t++)
            s[t] = SCORE_READ(t);
        SCORE_JOIN
        SCORE_PRODUCT(g, E_BLOCKS, KEYS * D_STEP, E_STEP)
        SCORE_JOIN
        [[unroll]] for (uint t = 0; t < TILE_OWN; t++) {
            const vec4 d = SCORE_READ(t);
            vec4 x;
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const uint j = j0 + SCORE_COLUMN(t) * 4 + c;
                const float tau_v = HAS_TAU_V ? tau_of[j - j0] : 1.0;
                const score_slope result = score_slopes(b, h, n, j, query, s[t][c], d[c], tau_v);
                if (HAS_TAU_Q)
                    tau += result.ds * s[t][c] * call.scale;
                if (HAS_ALIBI)
                    slope -= result.shaped * abs(float(query.sees.z - int(j)));
                x[c] = result.ds * up;
            }
            slopes[mine * TILE_STEP + SCORE_COLUMN(t)] = COOP_TO_HALF4(score_operand(x));
        }
        SCORE_JOIN
        SCORE_ADD(sums, slopes, D_BLOCKS, 0, D_STEP)
    }

    if ((call.wants & WANTS_TAU_Q) != 0) {
        const float all = score_row_sum(tau, part, mine, side);
        if (part == 0 && side == 0 && n < call.N)
            grad_tau_data[call.out_b + score_flat(b, h, n)] = STORE(all);
    }
    if (HAS_ALIBI && (call.wants & WANTS_ALIBI) != 0) {
        // The tile's share in the gradient of the head's slope.
        by_row[gl_LocalInvocationIndex] = slope;
        barrier();
        float all = 0.0;
        for (uint i = 0; i < LANES; i++)
            all += by_row[i];
        if (gl_LocalInvocationIndex == 0)
            slopes_data[(b * call.H + h) * tiles + tile] = all;
        barrier();
    }
    if (side == 0)
        by_row[part * 64 + mine] = query.factor * down;
    SCORE_HAND_OUT(sums, D_BLOCKS, {
        if (first + r < call.N && (call.wants & WANTS_Q) != 0) {
            const uint at = call.out_a + score_flat(b, h, first + r) * call.D + feature;
            SCORE_PUT(grad_q, at, x * by_row[part * 64 + r])
        }
    })
}
