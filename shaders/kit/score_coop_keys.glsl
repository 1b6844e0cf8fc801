// Gradients of keys and values by cooperative matrices; what it computes is kit/score_keys.glsl's. Own
// rows are keys, columns queries. Weights are operands times WEIGHT_SCALE, so that small ones count.
#include "kit/score_coop.glsl"
#include "kit/score_slopes.glsl"

layout(std430, set = 0, binding = 14) readonly buffer G4 { f16vec4 g_four[]; };
layout(std430, set = 0, binding = 14) readonly buffer G1 { float16_t g_half[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradK4 { f16vec4 grad_k_four[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradKWords { uvec2 grad_k_words[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradV4 { f16vec4 grad_v_four[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradVWords { uvec2 grad_v_words[]; };
layout(std430, set = 0, binding = 13) writeonly buffer GradTauV { STORED grad_tau_data[]; };

const float WEIGHT_SCALE = 1024.0;
const uint MOST_STEP = D_STEP > E_STEP ? D_STEP : E_STEP;
const uint OWN_SIZE = 64 * MOST_STEP;
const uint QG_SIZE = KEYS * (D_STEP + E_STEP);

// Own rows, then queries and their outputs' gradients.
shared COOP_HALF4 rows[OWN_SIZE > QG_SIZE ? OWN_SIZE : QG_SIZE];
shared COOP_HALF4 operands[64 * TILE_STEP];
shared vec4 statistics[KEYS]; // of a query: reference, share, delta, factor
shared ivec3 seen_keys[KEYS];

// Queries and their outputs' gradients of the tile from n on, on their way.
#define SCORE_TAKE_QUERIES(n)                                                                      \
    SCORE_TAKE(next_q, q_four, q_half, q_base, call.q.row, n, call.N, D_WIDTH)                     \
    SCORE_TAKE(next_g, g_four, g_half, g_base, call.g.row, n, g_end, E_WIDTH)

void main()
{
    const uint group = COOP_GROUP & 3u, part = PARTS > 1 ? COOP_GROUP >> 2 : 0, lane = COOP_LANE;
    const uint mine = group * 16 + (lane >> 1), side = lane & 1u; // the thread's row
    const uint first = gl_WorkGroupID.x * 64, j = first + mine;
    const uint kv = gl_WorkGroupID.y, b = gl_WorkGroupID.z;
    const uint k_base = score_row(call.k, b, kv, 0), v_base = score_row(call.v, b, kv, 0);
    const bool given = (call.wants & GIVEN_G) != 0;
    const bool adds_k = (call.wants & WANTS_K) != 0, adds_v = (call.wants & WANTS_V) != 0 && given;
    const float up = score_scale_up(b, kv), down = score_scale_down(b, kv);

    COOP_A k[D_BLOCKS], v[E_BLOCKS];
    COOP_C sums_k[D_BLOCKS], sums_v[E_BLOCKS];
    SCORE_FETCH(rows, 0, D_STEP, k_four, k_half, k_base, call.k.row, first, call.M, 64, D_WIDTH)
    barrier();
    [[unroll]] for (uint d = 0; d < D_BLOCKS; d++) {
        COOP_LOAD_A(k[d], rows, group * 16 * D_STEP + (part * D_BLOCKS + d) * 4, D_STEP);
        COOP_ZERO(sums_k[d]);
    }
    barrier();
    SCORE_FETCH(rows, 0, E_STEP, v_four, v_half, v_base, call.v.row, first, call.M, 64, E_WIDTH)
    barrier();
    [[unroll]] for (uint e = 0; e < E_BLOCKS; e++) {
        COOP_LOAD_A(v[e], rows, group * 16 * E_STEP + (part * E_BLOCKS + e) * 4, E_STEP);
        COOP_ZERO(sums_v[e]);
    }

    // Queries that may see a key of the tile: from `low` on, less than `high`.
    const int last = int(min(first + 64, call.M)) - 1, shift = int(call.M) - int(call.N);
    int low = 0, high = int(call.N);
    if (!PACKED && call.right >= 0)
        low = clamp(int(first) - call.right - shift, 0, high);
    if (!PACKED && call.left >= 0)
        high = clamp(last + call.left - shift + 1, 0, high);
    low = low / int(KEYS) * int(KEYS);

    for (uint h = kv * call.share; h < (kv + 1) * call.share; h++) {
        const uint q_base = score_row(call.q, b, h, 0), g_base = score_row(call.g, b, h, 0);
        const float tau_v = j < call.M ? score_tau_v(b, h, j) : 0.0;
        const uint g_end = given ? call.N : 0;
        f16vec4 next_q[D_EACH], next_g[E_EACH];
        float tau = 0.0;
        if (AHEAD && !PACKED && low < high) {
            SCORE_TAKE_QUERIES(uint(low))
        }
        for (uint n0 = uint(low); n0 < uint(high); n0 += KEYS) {
            if (PACKED && (score_sees(n0).x > last ||
                           score_sees(min(n0 + KEYS, call.N) - 1).y <= int(first)))
                continue;
            // Of packed sequences tiles are left out, so that which is next is not known.
            if (AHEAD && PACKED) {
                SCORE_TAKE_QUERIES(n0)
            }
            barrier();
            if (AHEAD) {
                SCORE_PLACE(rows, 0, D_STEP, next_q, D_WIDTH)
                SCORE_PLACE(rows, KEYS * D_STEP, E_STEP, next_g, E_WIDTH)
            } else {
                SCORE_FETCH(rows, 0, D_STEP, q_four, q_half, q_base, call.q.row, n0, call.N, KEYS,
                            D_WIDTH)
                SCORE_FETCH(rows, KEYS * D_STEP, E_STEP, g_four, g_half, g_base, call.g.row, n0, g_end,
                            KEYS, E_WIDTH)
            }
            if (gl_LocalInvocationIndex < KEYS) {
                const score_query query = score_query_of(b, h, n0 + gl_LocalInvocationIndex);
                statistics[gl_LocalInvocationIndex] =
                    vec4(query.reference, query.share, query.delta, query.factor);
                seen_keys[gl_LocalInvocationIndex] = query.sees;
            }
            barrier();
            if (AHEAD && !PACKED && n0 + KEYS < uint(high)) {
                SCORE_TAKE_QUERIES(n0 + KEYS)
            }
            SCORE_PRODUCT(k, D_BLOCKS, 0, D_STEP)
            SCORE_JOIN
            vec4 s[TILE_OWN];
            [[unroll]] for (uint t = 0; t < TILE_OWN; t++)
                s[t] = SCORE_READ(t);
            SCORE_JOIN
            SCORE_PRODUCT(v, E_BLOCKS, KEYS * D_STEP, E_STEP)
            SCORE_JOIN
            [[unroll]] for (uint t = 0; t < TILE_OWN; t++) {
                const vec4 d = SCORE_READ(t);
                vec4 w;
                [[unroll]] for (uint c = 0; c < 4; c++) {
                    const uint column = SCORE_COLUMN(t) * 4 + c, n = n0 + column;
                    const vec4 of = statistics[column];
                    const score_query query =
                        score_query(seen_keys[column], of.x, of.y, of.z, of.w);
                    const score_slope result = score_slopes(b, h, n, j, query, s[t][c], d[c], tau_v);
                    if (HAS_TAU_V)
                        tau += result.w * d[c];
                    w[c] = result.w * tau_v * WEIGHT_SCALE;
                    s[t][c] = result.ds * query.factor * up;
                }
                operands[mine * TILE_STEP + SCORE_COLUMN(t)] = COOP_TO_HALF4(score_operand(w));
            }
            SCORE_JOIN
            if (adds_v) {
                SCORE_ADD(sums_v, operands, E_BLOCKS, KEYS * D_STEP, E_STEP)
            }
            SCORE_JOIN
            [[unroll]] for (uint t = 0; t < TILE_OWN; t++)
                operands[mine * TILE_STEP + SCORE_COLUMN(t)] = COOP_TO_HALF4(score_operand(s[t]));
            SCORE_JOIN
            if (adds_k) {
                SCORE_ADD(sums_k, operands, D_BLOCKS, 0, D_STEP)
            }
        }
        if ((call.wants & WANTS_TAU_V) != 0) {
            const float all = score_row_sum(tau, part, mine, side);
            if (part == 0 && side == 0 && j < call.M)
                grad_tau_data[call.out_c + (b * call.H + h) * call.M + j] = STORE(all);
        }
    }

    const uint row = (b * call.G + kv) * call.M + first;
    barrier();
    SCORE_HAND_OUT(sums_k, D_BLOCKS, {
        if (first + r < call.M && adds_k)
            SCORE_PUT(grad_k, call.out_a + (row + r) * call.D + feature, x * down)
    })
    SCORE_HAND_OUT(sums_v, E_BLOCKS, {
        if (first + r < call.M && (call.wants & WANTS_V) != 0)
            SCORE_PUT(grad_v, call.out_b + (row + r) * call.E + feature, x * (1.0 / WEIGHT_SCALE))
    })
}
