// Gradients of queries by cooperative matrices; what it computes is kit/score_queries.glsl's.
#include "kit/score_coop.glsl"
#include "kit/score_slopes.glsl"

layout(std430, set = 0, binding = 14) readonly buffer G8 { uvec4 g_words[]; };
layout(std430, set = 0, binding = 14) readonly buffer G1 { float16_t g_half[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradQ4 { f16vec4 grad_q_four[]; };
layout(std430, set = 0, binding = 11) writeonly buffer GradQWords { uvec2 grad_q_words[]; };
layout(std430, set = 0, binding = 12) writeonly buffer GradTauQ { STORED grad_tau_data[]; };
layout(std430, set = 0, binding = 13) writeonly buffer Slopes { float slopes_data[]; }; // of tiles

shared uvec4 rows[ROWS_SIZE]; // own rows, then keys and values
shared COOP_HALF slopes[64 * TILE_STEP];
shared float tau_of[KEYS]; // of the tile's keys
shared vec4 queries[64]; // normaliser, delta, factor
shared float by_row[LANES];

void main()
{
    const uint group = COOP_GROUP, part = 0, lane = COOP_LANE;
    const uint mine = group * 16 + (lane >> 1), side = lane & 1u; // the thread's row
    const uint tiles = (call.N + 63) / 64, tile = tiles - 1 - gl_WorkGroupID.x;
    const uint h = gl_WorkGroupID.y, b = gl_WorkGroupID.z, first = tile * 64;
    const uint q_base = score_row(call.q, b, h, 0), g_base = score_row(call.g, b, h, 0);
    const uint k_base = score_row(call.k, b, h / call.share, 0);
    const uint v_base = score_row(call.v, b, h / call.share, 0);
    const bool given = (call.wants & GIVEN_G) != 0;
    const float up = score_scale_up(b, h / call.share), down = score_scale_down(b, h / call.share);
    const score_site site = score_site(b, h);
    const bool never = call.B == 0;

    COOP_A q[D_ALL], g[E_ALL];
    COOP_C sums[D_BLOCKS];
    if (side == 0) {
        const uint n = min(first + mine, call.N - 1), at = score_flat(b, h, n);
        queries[mine] = vec4(score_statistics(first + mine < call.N, reference_data[call.reference + at],
                                              sum_data[call.sum + at], work[call.delta + at]),
                             call.scale * score_tau_q(b, h, n), 0.0);
    }
    SCORE_PLACES(row, column)
    SCORE_OWN(q, q_words, q_half, q_base, call.q.row, call.N - 1, true, D_ALL, D_STEP)
    SCORE_OWN(g, g_words, g_half, g_base, call.g.row, call.N - 1, given, E_ALL, E_STEP)
    COOP_ROLL for (uint d = 0; d < D_BLOCKS; d++)
        COOP_ZERO(sums[d]);

    float normaliser[COOP_EACH], delta[COOP_EACH], factor[COOP_EACH], tau[COOP_EACH], slope = 0.0;
    SCORE_EACH {
        const vec4 query = queries[row[i]];
        normaliser[i] = query.x;
        delta[i] = query.y;
        factor[i] = HAS_TAU_Q ? query.z : call.scale;
        tau[i] = 0.0;
    }
    const ivec3 seen_low = score_sees(first), seen_high = score_sees(min(first + 64, call.N) - 1);
    const uint begin = uint(max(seen_low.x, 0)) / KEYS * KEYS, end = uint(max(seen_high.y, 0));
    uvec4 next_k[SCORE_SHARE(KEYS, D_WIDTH)], next_v[SCORE_SHARE(KEYS, E_WIDTH)];
    uint next_tau = 0;
    if (AHEAD && begin < end) {
        SCORE_TAKE_KEYS(begin)
    }
    for (uint j0 = begin; j0 < end; j0 += KEYS) {
        const bool all_seen = int(j0) >= seen_high.x && int(j0 + KEYS) <= seen_low.y;
        if (!AHEAD) {
            SCORE_TAKE_KEYS(j0)
        }
        barrier();
        SCORE_PLACE_KEYS
        barrier();
        if (AHEAD) {
            SCORE_TAKE_KEYS(j0 + KEYS)
            COOP_HOLD(never, SCORE_PLACE_KEYS)
        }
        COOP_ROLL for (uint c0 = 0; c0 < COLUMNS; c0 += BESIDE) {
            const uint j1 = c0 * 16;
            COOP_C x[BESIDE], y[BESIDE];
            COOP_ROLL for (uint c = 0; c < BESIDE; c++) {
                SCORE_PRODUCT(x[c], q, c0 + c, 0, D_STEP, D_ALL)
                SCORE_PRODUCT(y[c], g, c0 + c, KEYS * D_STEP, E_STEP, E_ALL)
            }
            SCORE_PAIRS(x, first + row[i], j0 + j1 + c * 16 + column[i], factor[i], normaliser[i])
            COOP_ROLL for (uint c = 0; c < BESIDE; c++)
                SCORE_EACH {
                    const uint j = j1 + c * 16 + column[i];
                    const float tau_v = HAS_TAU_V ? tau_of[j] : 1.0;
                    const score_slope result = score_slope_of(site, pair[c][i], exp2(z[c][i]), delta[i],
                                                              COOP_AT(y[c], i), tau_v);
                    if (HAS_TAU_Q)
                        tau[i] += result.ds * COOP_AT(x[c], i) * call.scale;
                    if (HAS_ALIBI)
                        slope -= result.shaped * abs(float(score_sees_row(first + row[i]).z - int(j0 + j)));
                    SCORE_WEIGH(slopes, c0 + c, score_operand(result.ds * up))
                }
        }
        COOP_SYNC
        SCORE_ADD(sums, slopes, D_BLOCKS, 0, D_STEP)
    }

    if ((call.wants & WANTS_TAU_Q) != 0) {
        float all;
        SCORE_ROW_SUM(all, tau)
        if (side == 0 && first + mine < call.N)
            grad_tau_data[call.out_b + score_flat(b, h, first + mine)] = STORE(all);
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
    }
    SCORE_HAND_OUT(sums, D_BLOCKS, {
        if (first + r < call.N && (call.wants & WANTS_Q) != 0) {
            const uint at = call.out_a + score_flat(b, h, first + r) * call.D + feature;
            SCORE_PUT(grad_q, at, x * (queries[r].z * down))
        }
    })
}
