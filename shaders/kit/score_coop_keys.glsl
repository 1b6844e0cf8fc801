// Gradients of keys and values by cooperative matrices; what it computes is kit/score_keys.glsl's. Own
// rows are keys, columns queries. Weights are operands times WEIGHT_SCALE, so that small ones count.
#include "kit/score_coop.glsl"
#include "kit/score_slopes.glsl"

layout(std430, set = 0, binding = 14) readonly buffer G8 { uvec4 g_words[]; };
layout(std430, set = 0, binding = 14) readonly buffer G1 { float16_t g_half[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradK4 { f16vec4 grad_k_four[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradKWords { uvec2 grad_k_words[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradV4 { f16vec4 grad_v_four[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradVWords { uvec2 grad_v_words[]; };
layout(std430, set = 0, binding = 13) writeonly buffer GradTauV { STORED grad_tau_data[]; };

const float WEIGHT_SCALE = 1024.0;
shared uvec4 rows[ROWS_SIZE]; // own rows, then queries and their outputs' gradients
shared COOP_HALF weights[64 * TILE_STEP];
shared COOP_HALF slopes[64 * TILE_STEP];
shared vec2 queries[KEYS]; // normaliser, delta
shared float factors[KEYS];
shared float by_row[64];

// Queries of the tile from n on, their outputs' gradients, and of one query a thread what score_query_of
// reads.
#define SCORE_TAKE_QUERIES(n)                                                                      \
    {                                                                                              \
        SCORE_TAKE(next_q, q_words, q_half, q_base, call.q.row, n, call.N - 1, KEYS, D_WIDTH)      \
        SCORE_TAKE(next_g, g_words, g_half, g_base, call.g.row, n, call.N - 1, KEYS, E_WIDTH)      \
        const uint own_ = min((n) + gl_LocalInvocationIndex % KEYS, call.N - 1);                   \
        const uint flat_ = score_flat(b, h, own_);                                                 \
        next_query = vec3(reference_data[call.reference + flat_], sum_data[call.sum + flat_],      \
                          work[call.delta + flat_]);                                               \
        if (HAS_TAU_Q)                                                                             \
            next_tau = uint(tau_q_data[score_row(call.tau_q, b, h, own_)]);                        \
    }

#define SCORE_PLACE_QUERIES                                                                        \
    SCORE_PLACE(0, D_STEP, next_q, KEYS, D_WIDTH)                                                  \
    {                                                                                              \
        uvec4 given_[SCORE_SHARE(KEYS, E_WIDTH)];                                                  \
        COOP_ROLL for (uint i = 0; i < SCORE_SHARE(KEYS, E_WIDTH); i++)                            \
            given_[i] = given ? next_g[i] : uvec4(0);                                              \
        SCORE_PLACE(KEYS * D_STEP, E_STEP, given_, KEYS, E_WIDTH)                                  \
    }                                                                                              \
    if (gl_LocalInvocationIndex < KEYS) {                                                          \
        queries[gl_LocalInvocationIndex] =                                                         \
            score_statistics(n0 + gl_LocalInvocationIndex < call.N, next_query.x, next_query.y,    \
                             next_query.z);                                                        \
        if (HAS_TAU_Q)                                                                             \
            factors[gl_LocalInvocationIndex] = call.scale * element_decode(next_tau);              \
    }

// The first tile from n on that has a query that sees a key of the workgroup's.
uint score_next(uint n, uint high, int first, int last)
{
    while (PACKED && n < high &&
           (score_sees(n).x > last || score_sees(min(n + KEYS, call.N) - 1).y <= first))
        n += KEYS;
    return n;
}

void main()
{
    const uint group = COOP_GROUP & 3u, part = PARTS > 1 ? COOP_GROUP >> 2 : 0, lane = COOP_LANE;
    const uint mine = group * 16 + (lane >> 1), side = lane & 1u; // the thread's row
    const uint first = gl_WorkGroupID.x * 64, j = first + mine;
    const uint kv = gl_WorkGroupID.y, b = gl_WorkGroupID.z;
    const uint k_base = score_row(call.k, b, kv, 0), v_base = score_row(call.v, b, kv, 0);
    const bool never = call.B == 0;
    const bool given = (call.wants & GIVEN_G) != 0;
    const bool adds_k = (call.wants & WANTS_K) != 0, adds_v = (call.wants & WANTS_V) != 0 && given;
    const float up = score_scale_up(b, kv), down = score_scale_down(b, kv);

    COOP_A k[D_ALL], v[E_ALL];
    COOP_C sums_k[D_BLOCKS], sums_v[E_BLOCKS];
    SCORE_PLACES(row, column)
    SCORE_OWN(k, k_words, k_half, k_base, call.k.row, call.M - 1, true, D_ALL, D_STEP)
    SCORE_OWN(v, v_words, v_half, v_base, call.v.row, call.M - 1, true, E_ALL, E_STEP)
    COOP_ROLL for (uint d = 0; d < D_BLOCKS; d++)
        COOP_ZERO(sums_k[d]);
    COOP_ROLL for (uint e = 0; e < E_BLOCKS; e++)
        COOP_ZERO(sums_v[e]);

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
        const score_site site = score_site(b, h);
        float tau_v[COOP_EACH], tau[COOP_EACH];
        if (HAS_TAU_V) {
            barrier();
            if (part == 0 && side == 0)
                by_row[mine] = j < call.M ? score_tau_v(b, h, j) : 0.0;
            barrier();
        }
        SCORE_EACH {
            tau_v[i] = HAS_TAU_V ? by_row[row[i]] : 1.0;
            tau[i] = 0.0;
        }
        uvec4 next_q[SCORE_SHARE(KEYS, D_WIDTH)], next_g[SCORE_SHARE(KEYS, E_WIDTH)];
        vec3 next_query;
        uint next_tau = 0;
        uint next = score_next(uint(low), uint(high), int(first), last);
        if (AHEAD && next < uint(high)) {
            SCORE_TAKE_QUERIES(next)
        }
        while (next < uint(high)) {
            const uint n0 = next;
            const ivec3 seen_low = score_sees(n0), seen_high = score_sees(min(n0 + KEYS, call.N) - 1);
            const bool all_seen = int(first) >= seen_high.x && last < seen_low.y;
            if (!AHEAD) {
                SCORE_TAKE_QUERIES(n0)
            }
            barrier();
            SCORE_PLACE_QUERIES
            barrier();
            next = score_next(n0 + KEYS, uint(high), int(first), last);
            if (AHEAD) {
                SCORE_TAKE_QUERIES(next)
                COOP_HOLD(never, SCORE_PLACE_QUERIES)
            }
            COOP_ROLL for (uint c0 = 0; c0 < COLUMNS; c0 += BESIDE) {
                const uint n1 = (part * COLUMNS + c0) * 16;
                COOP_C x[BESIDE], y[BESIDE];
                COOP_ROLL for (uint c = 0; c < BESIDE; c++) {
                    SCORE_PRODUCT(x[c], k, c0 + c, 0, D_STEP, D_ALL)
                    SCORE_PRODUCT(y[c], v, c0 + c, KEYS * D_STEP, E_STEP, E_ALL)
                }
                SCORE_PAIRS(x, n0 + n1 + c * 16 + column[i], first + row[i],
                            HAS_TAU_Q ? factors[n1 + c * 16 + column[i]] : call.scale,
                            queries[n1 + c * 16 + column[i]].x)
                COOP_ROLL for (uint c = 0; c < BESIDE; c++)
                    SCORE_EACH {
                        const uint n = n1 + c * 16 + column[i];
                        const score_slope result = score_slope_of(site, pair[c][i], exp2(z[c][i]),
                                                                  queries[n].y, COOP_AT(y[c], i), tau_v[i]);
                        if (HAS_TAU_V)
                            tau[i] += result.w * COOP_AT(y[c], i);
                        SCORE_WEIGH(weights, c0 + c, score_operand(result.w * tau_v[i] * WEIGHT_SCALE))
                        SCORE_WEIGH(slopes, c0 + c,
                                    score_operand(result.ds * (HAS_TAU_Q ? factors[n] : call.scale) * up))
                    }
            }
            SCORE_JOIN
            if (adds_v) {
                SCORE_ADD(sums_v, weights, E_BLOCKS, KEYS * D_STEP, E_STEP)
            }
            if (adds_k) {
                SCORE_ADD(sums_k, slopes, D_BLOCKS, 0, D_STEP)
            }
        }
        if ((call.wants & WANTS_TAU_V) != 0) {
            float all;
            SCORE_ROW_SUM(all, tau)
            if (part == 0 && side == 0 && j < call.M)
                grad_tau_data[call.out_c + (b * call.H + h) * call.M + j] = STORE(all);
        }
    }

    const uint to = (b * call.G + kv) * call.M + first;
    barrier();
    SCORE_HAND_OUT(sums_k, D_BLOCKS, {
        if (first + r < call.M && adds_k)
            SCORE_PUT(grad_k, call.out_a + (to + r) * call.D + feature, x * down)
    })
    SCORE_HAND_OUT(sums_v, E_BLOCKS, {
        if (first + r < call.M && (call.wants & WANTS_V) != 0)
            SCORE_PUT(grad_v, call.out_b + (to + r) * call.E + feature, x * (1.0 / WEIGHT_SCALE))
    })
}
