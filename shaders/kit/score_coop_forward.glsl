// Forward by cooperative matrices; what it computes is kit/score_forward.glsl's. A row's reference may
// stay up to SLACK below its greatest logit, so that most tiles need no rescaling of the sums.
#include "kit/score_coop.glsl"

layout(std430, set = 0, binding = 11) writeonly buffer O4 { f16vec4 o_four[]; };
layout(std430, set = 0, binding = 11) writeonly buffer OWords { uvec2 o_words[]; };
layout(std430, set = 0, binding = 12) writeonly buffer Rest4 { f16vec4 rest_four[]; };
layout(std430, set = 0, binding = 12) writeonly buffer RestWords { uvec2 rest_words[]; };
layout(std430, set = 0, binding = 13) writeonly buffer Lse { float lse_data[]; };

const float SLACK = 8.0;
const float LOG2E = 1.44269504088896340736;
const float HIDDEN = -1e30; // the logit of a hidden key: e to its power is 0, without a test
const uint Q_SIZE = 64 * D_STEP;
const uint KV_SIZE = KEYS * (D_STEP + E_STEP);

shared COOP_HALF4 rows[Q_SIZE > KV_SIZE ? Q_SIZE : KV_SIZE]; // queries, then keys and values
shared COOP_HALF4 shares[64 * TILE_STEP]; // weights without their normaliser
shared float tau_of[KEYS]; // of the tile's keys
shared float by_row[64 * PARTS];

void main()
{
    const uint group = COOP_GROUP & 3u, part = PARTS > 1 ? COOP_GROUP >> 2 : 0, lane = COOP_LANE;
    const uint mine = group * 16 + (lane >> 1), side = lane & 1u; // the thread's row
    const uint tiles = (call.N + 63) / 64, tile = tiles - 1 - gl_WorkGroupID.x;
    const uint h = gl_WorkGroupID.y, b = gl_WorkGroupID.z, first = tile * 64;
    const uint q_base = score_row(call.q, b, h, 0);
    const uint k_base = score_row(call.k, b, h / call.share, 0);
    const uint v_base = score_row(call.v, b, h / call.share, 0);
    const uint n = min(first + mine, call.N - 1);
    const ivec3 sees = score_sees(n);
    const float factor = call.scale * score_tau_q(b, h, n);
    const score_site site = score_site(b, h);

    COOP_A q[D_BLOCKS];
    COOP_C o[E_BLOCKS];
    SCORE_FETCH(rows, 0, D_STEP, q_four, q_half, q_base, call.q.row, first, call.N, 64, D_WIDTH)
    barrier();
    [[unroll]] for (uint d = 0; d < D_BLOCKS; d++)
        COOP_LOAD_A(q[d], rows, group * 16 * D_STEP + (part * D_BLOCKS + d) * 4, D_STEP);
    [[unroll]] for (uint e = 0; e < E_BLOCKS; e++)
        COOP_ZERO(o[e]);

    float reference = HIDDEN, sum = 0.0;
    if (HAS_SINK) {
        const float sink = sink_data[call.sink + h];
        if (floatBitsToUint(sink) != MINUS_INFINITY) {
            reference = sink;
            sum = part == 0 && side == 0 ? 1.0 : 0.0;
        }
    }

    const ivec3 seen_low = score_sees(first), seen_high = score_sees(min(first + 64, call.N) - 1);
    const uint begin = uint(max(seen_low.x, 0)) / KEYS * KEYS, end = uint(max(seen_high.y, 0));
    f16vec4 next_k[D_EACH], next_v[E_EACH];
    if (AHEAD && begin < end) {
        SCORE_TAKE_KEYS(begin)
    }
    for (uint j0 = begin; j0 < end; j0 += KEYS) {
        const bool all_seen = int(j0) >= seen_high.x && int(j0 + KEYS) <= seen_low.y;
        barrier();
        SCORE_PLACE_KEYS(j0)
        barrier();
        if (AHEAD && j0 + KEYS < end) {
            SCORE_TAKE_KEYS(j0 + KEYS)
        }
        SCORE_PRODUCT(q, D_BLOCKS, 0, D_STEP)
        SCORE_JOIN

        vec4 s[TILE_RUN], z[TILE_RUN];
        float most = HIDDEN;
        [[unroll]] for (uint t = 0; t < TILE_RUN; t++)
            s[t] = SCORE_READ(t) * factor;
        if (all_seen && OPTIONS == 0) {
            [[unroll]] for (uint t = 0; t < TILE_RUN; t++)
                [[unroll]] for (uint c = 0; c < 4; c++)
                    z[t][c] = SCORE_Z(site, s[t][c]);
        } else {
            [[unroll]] for (uint t = 0; t < TILE_RUN; t++)
                [[unroll]] for (uint c = 0; c < 4; c++) {
                    const uint j = j0 + SCORE_COLUMN(t) * 4 + c;
                    const score_pair pair = score_shape(b, h, n, j, sees, s[t][c]);
                    s[t][c] = pair.s;
                    z[t][c] = pair.seen ? SCORE_Z(site, pair.s) : HIDDEN;
                }
        }
        [[unroll]] for (uint t = 0; t < TILE_RUN; t++)
            most = max(most, max(max(z[t].x, z[t].y), max(z[t].z, z[t].w)));
        most = max(most, COOP_OTHER(most));
        const bool grows = most > reference + SLACK;
        const float next = grows ? most : reference;
        const float shrink = exp2((reference - next) * LOG2E);
        // Where nothing was seen yet hidden keys must not count as the greatest.
        const float base = next > HIDDEN ? next * LOG2E : 0.0;
        reference = next;
        sum *= shrink;
        [[unroll]] for (uint t = 0; t < TILE_OWN; t++) {
            vec4 w;
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const float p = exp2(z[t][c] * LOG2E - base); // at most e^SLACK
                sum += p;
                w[c] = p;
#ifdef SCORE_FACTOR
                w[c] = clamp(w[c] * score_factor(site, s[t][c]), -65504.0, 65504.0);
#endif
                if (HAS_TAU_V)
                    w[c] = clamp(w[c] * tau_of[SCORE_COLUMN(t) * 4 + c], -65504.0, 65504.0);
            }
            shares[mine * TILE_STEP + SCORE_COLUMN(t)] = COOP_TO_HALF4(f16vec4(w));
        }
        SCORE_JOIN
        // Through shared memory, where rows are known: to touch a sum's elements one by one makes
        // drivers keep it in memory all along. It is rare.
        if (COOP_ANY(grows)) {
            [[unroll]] for (uint e = 0; e < E_BLOCKS; e++) {
                COOP_STORE_C(o[e], scores, (part * 64 + group * 16) * TILE_STEP, TILE_STEP);
                COOP_SYNC
                [[unroll]] for (uint t = 0; t < 2; t++) {
                    const uint at = (part * 64 + mine) * TILE_STEP + 2 * t + side;
                    scores[at] = COOP_TO_FLOAT4(COOP_FROM_FLOAT4(scores[at]) * shrink);
                }
                COOP_SYNC
                COOP_LOAD_C(o[e], scores, (part * 64 + group * 16) * TILE_STEP, TILE_STEP);
                COOP_SYNC
            }
        }
        SCORE_ADD(o, shares, E_BLOCKS, KEYS * D_STEP, E_STEP)
    }

    sum = score_row_sum(sum, part, mine, side);
    const uint row = score_flat(b, h, first + mine);
    COOP_SYNC
    if (side == 0) {
        by_row[part * 64 + mine] = sum > 0.0 ? 1.0 / sum : 0.0;
        if (part == 0 && first + mine < call.N) {
            if ((call.wants & WANTS_STATISTICS) != 0) {
                reference_data[call.reference + row] =
                    sum > 0.0 ? reference : uintBitsToFloat(MINUS_INFINITY);
                sum_data[call.sum + row] = sum;
            }
            if ((call.wants & WANTS_LSE) != 0)
                lse_data[call.out_c + row] =
                    sum > 0.0 ? reference + log(sum) : uintBitsToFloat(MINUS_INFINITY);
        }
    }
    SCORE_HAND_OUT(o, E_BLOCKS, {
        const vec4 exact = x * by_row[part * 64 + r];
        const uint at = score_flat(b, h, first + r) * call.E + feature;
        if (first + r < call.N) {
            SCORE_PUT(o, call.out_a + at, exact)
            if ((call.wants & WANTS_REST) != 0) {
                const vec4 rest = SCORE_REST(exact);
                SCORE_PUT(rest, call.out_b + at, rest)
            }
        }
    })
}
