// Forward by cooperative matrices; what it computes is kit/score_forward.glsl's. A row's reference may
// stay up to SLACK below its greatest logit, so that most tiles need no rescaling of the sums.
#include "kit/score_coop.glsl"

layout(std430, set = 0, binding = 11) writeonly buffer O4 { f16vec4 o_four[]; };
layout(std430, set = 0, binding = 11) writeonly buffer OWords { uvec2 o_words[]; };
layout(std430, set = 0, binding = 12) writeonly buffer Rest4 { f16vec4 rest_four[]; };
layout(std430, set = 0, binding = 12) writeonly buffer RestWords { uvec2 rest_words[]; };
layout(std430, set = 0, binding = 13) writeonly buffer Lse { float lse_data[]; };

const float SLACK = 8.0 * LOG2E;

shared uvec4 rows[ROWS_SIZE]; // queries, then keys and values
shared COOP_HALF shares[64 * TILE_STEP]; // weights without their normaliser
shared float tau_of[KEYS]; // of the tile's keys
shared float by_row[64];
shared float shrink_of[64];
shared uint most_of[64];

// Numbers in the order of the floats, and back.
uint score_rank(float x)
{
    const uint bits = floatBitsToUint(x);
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

float score_of_rank(uint rank)
{
    return uintBitsToFloat((rank & 0x80000000u) != 0 ? rank & 0x7fffffffu : ~rank);
}

void main()
{
    const uint group = COOP_GROUP, part = 0, lane = COOP_LANE;
    const uint mine = group * 16 + (lane >> 1), side = lane & 1u; // the thread's row
    const uint tiles = (call.N + 63) / 64, tile = tiles - 1 - gl_WorkGroupID.x;
    const uint h = gl_WorkGroupID.y, b = gl_WorkGroupID.z, first = tile * 64;
    const uint q_base = score_row(call.q, b, h, 0);
    const uint k_base = score_row(call.k, b, h / call.share, 0);
    const uint v_base = score_row(call.v, b, h / call.share, 0);
    const uint n = min(first + mine, call.N - 1);
    const score_site site = score_site(b, h);
    const bool never = call.B == 0;

    COOP_A q[D_ALL];
    COOP_C o[E_BLOCKS];
    if (side == 0)
        by_row[mine] = call.scale * score_tau_q(b, h, n);
    SCORE_PLACES(row, column)
    SCORE_OWN(q, q_words, q_half, q_base, call.q.row, call.N - 1, true, D_ALL, D_STEP)
    COOP_ROLL for (uint e = 0; e < E_BLOCKS; e++)
        COOP_ZERO(o[e]);

    // A row's reference: `reference` of the thread's row, base[i] of its elements, times LOG2E.
    float reference = HIDDEN, base[COOP_EACH], sum[COOP_EACH], factor[COOP_EACH];
    SCORE_EACH {
        factor[i] = HAS_TAU_Q ? by_row[row[i]] : call.scale;
        base[i] = HIDDEN;
        sum[i] = 0.0;
    }
    if (HAS_SINK) {
        const float sink = sink_data[call.sink + h];
        if (floatBitsToUint(sink) != MINUS_INFINITY) {
            reference = sink;
            SCORE_EACH {
                base[i] = sink * LOG2E;
                sum[i] = column[i] == 0 ? 1.0 : 0.0;
            }
        }
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
        // Scores as hooks see them, and logits times LOG2E.
        float s[COLUMNS][COOP_EACH], z[COLUMNS][COOP_EACH], most[COOP_EACH];
        COOP_C x[COLUMNS];
        COOP_ROLL for (uint c = 0; c < COLUMNS; c++) {
            SCORE_PRODUCT(x[c], q, c, 0, D_STEP, D_ALL)
        }
        COOP_ROLL for (uint c = 0; c < COLUMNS; c++)
            SCORE_EACH {
#if !defined(SCORE_LOGIT) && !defined(SCORE_FACTOR)
                if (!SHAPED) {
                    z[c][i] = COOP_AT(x[c], i) * (factor[i] * LOG2E);
                    continue;
                }
#endif
                s[c][i] = COOP_AT(x[c], i) * factor[i];
                if (SHAPED) {
                    const uint own = first + row[i];
                    const score_pair pair =
                        score_shape(b, h, own, j0 + c * 16 + column[i], score_sees_row(own), s[c][i]);
                    s[c][i] = pair.s;
                    z[c][i] = pair.seen ? SCORE_Z(site, pair.s) * LOG2E : HIDDEN * LOG2E;
                } else {
                    z[c][i] = SCORE_Z(site, s[c][i]) * LOG2E;
                }
            }
        if (!SHAPED && !all_seen) {
            COOP_ROLL for (uint c = 0; c < COLUMNS; c++)
                SCORE_EACH {
                    const ivec3 sees = score_sees(min(first + row[i], call.N - 1));
                    const int j = int(j0 + c * 16 + column[i]);
                    if (j < sees.x || j >= sees.y)
                        z[c][i] = HIDDEN * LOG2E;
                }
        }
        COOP_ROLL for (uint c = 0; c < COLUMNS; c++)
            SCORE_EACH
                most[i] = c == 0 ? z[c][i] : max(most[i], z[c][i]);
        bool grows = false;
        SCORE_EACH
            grows = grows || most[i] > base[i] + SLACK;
        if (COOP_ANY(grows)) {
            if (side == 0)
                most_of[mine] = 0;
            COOP_SYNC
            SCORE_EACH
                atomicMax(most_of[row[i]], score_rank(most[i]));
            COOP_SYNC
            float greatest = score_of_rank(most_of[mine]);
            greatest = greatest > HIDDEN ? greatest / LOG2E : HIDDEN;
            const float next = greatest > reference + SLACK / LOG2E ? greatest : reference;
            // Where nothing was seen yet hidden keys must not count as the greatest.
            by_row[mine] = next > HIDDEN ? next * LOG2E : HIDDEN;
            shrink_of[mine] = exp2((reference - next) * LOG2E);
            reference = next;
            COOP_SYNC
            COOP_C shrink;
            SCORE_EACH {
                base[i] = by_row[row[i]];
                COOP_AT(shrink, i) = shrink_of[row[i]];
                sum[i] *= COOP_AT(shrink, i);
            }
            COOP_ROLL for (uint e = 0; e < E_BLOCKS; e++)
                COOP_SCALE(o[e], shrink);
        }
        COOP_ROLL for (uint c = 0; c < COLUMNS; c++)
            SCORE_EACH {
                const float p = exp2(z[c][i] - base[i]); // at most e^8
                sum[i] += p;
                float w = p;
#ifdef SCORE_FACTOR
                w = score_operand(w * score_factor(site, s[c][i]));
#endif
                if (HAS_TAU_V)
                    w = score_operand(w * tau_of[c * 16 + column[i]]);
                SCORE_WEIGH(shares, c, w)
            }
        COOP_SYNC
        SCORE_ADD(o, shares, E_BLOCKS, KEYS * D_STEP, E_STEP)
    }

    float total;
    SCORE_ROW_SUM(total, sum)
    const uint to = score_flat(b, h, first + mine);
    if (side == 0) {
        by_row[mine] = total > 0.0 ? 1.0 / total : 0.0;
        if (first + mine < call.N) {
            if ((call.wants & WANTS_STATISTICS) != 0) {
                reference_data[call.reference + to] =
                    total > 0.0 ? reference : uintBitsToFloat(MINUS_INFINITY);
                sum_data[call.sum + to] = total;
            }
            if ((call.wants & WANTS_LSE) != 0)
                lse_data[call.out_c + to] =
                    total > 0.0 ? reference + log(total) : uintBitsToFloat(MINUS_INFINITY);
        }
    }
    SCORE_HAND_OUT(o, E_BLOCKS, {
        const vec4 exact = x * by_row[r];
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
