// Forward: a workgroup owns a tile of rows of one (b, unit) and goes through the key tiles that
// they see, or those of one part of the keys; running maxima, the output's sums in registers.
// A unit is a head, or for few queries all heads of a group, whose rows share the tiles of keys.
#include "kit/score_tile.glsl"

layout(std430, set = 0, binding = 11) buffer O { STORED o_data[]; };
layout(std430, set = 0, binding = 12) buffer Rest { STORED rest_data[]; };
layout(std430, set = 0, binding = 13) buffer Lse { float lse_data[]; };

// A row of the tile, by thread.
struct score_own {
    bool some;
    uint h, n, q;
    ivec3 sees;
    float factor; // scale tau_q
};

vec4 sums[16];

void score_write(uint id, uint b, score_own own, uint i, float reference, float sum)
{
    const uint x = id & 15u, row = score_flat(b, own.h, own.n);
    const float share = sum > 0.0 ? 1.0 / sum : 0.0;
    if (x == 0 && (call.wants & WANTS_STATISTICS) != 0) {
        reference_data[call.reference + row] =
            sum > 0.0 ? reference : uintBitsToFloat(MINUS_INFINITY);
        sum_data[call.sum + row] = sum;
    }
    if (x == 0 && (call.wants & WANTS_LSE) != 0)
        lse_data[call.out_c + row] =
            sum > 0.0 ? reference + log(sum) : uintBitsToFloat(MINUS_INFINITY);
    [[unroll]] for (uint block = 0; block < E_BLOCKS; block++)
        [[unroll]] for (uint c = 0; c < 4; c++) {
            const uint e = block * 64 + x * 4 + c;
            if (e >= call.E)
                continue;
            const float exact = sum > 0.0 ? sums[block * 4 + i][c] * share : 0.0;
            o_data[call.out_a + row * call.E + e] = STORE(exact);
#ifdef RAPT_HALF
            if ((call.wants & WANTS_REST) != 0)
                rest_data[call.out_b + row * call.E + e] = STORE(exact - element_decode(element_encode(exact)));
#endif
        }
}

// One part's share of a row, for the merging pass: its sums, then reference and sum.
void score_write_part(uint id, uint b, uint part, score_own own, uint i, float reference, float sum)
{
    const uint x = id & 15u, rows = call.B * call.H * call.N;
    const uint row = part * rows + score_flat(b, own.h, own.n);
    if (x == 0) {
        const uint at = call.partials + call.parts * rows * call.E + 2 * row;
        work[at] = reference;
        work[at + 1] = sum;
    }
    [[unroll]] for (uint block = 0; block < E_BLOCKS; block++)
        [[unroll]] for (uint c = 0; c < 4; c++) {
            const uint e = block * 64 + x * 4 + c;
            if (e < call.E)
                work[call.partials + row * call.E + e] = sums[block * 4 + i][c];
        }
}

void main()
{
    const uint id = gl_LocalInvocationIndex, x = id & 15u, y = id >> 4;
    const uint height = 8 * ROWS, rows = call.unit_heads * call.N;
    const uint tiles = (rows + height - 1) / height;
    const uint part = gl_WorkGroupID.x % call.parts;
    const uint tile = tiles - 1 - gl_WorkGroupID.x / call.parts; // the longest rows first
    const uint b = gl_WorkGroupID.z, head = gl_WorkGroupID.y * call.unit_heads;
    const uint group = head / call.share;
    const uint k_base = score_row(call.k, b, group, 0), v_base = score_row(call.v, b, group, 0);

    score_own own[4];
    float reference[4], sum[4];
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint r = tile * height + y + 8 * i, n = r % call.N;
        own[i].some = r < rows;
        own[i].h = min(head + r / call.N, call.H - 1);
        own[i].n = n;
        own[i].q = own[i].some ? score_row(call.q, b, own[i].h, n) : NOWHERE;
        own[i].sees = score_sees(n);
        own[i].factor = call.scale * score_tau_q(b, own[i].h, n);
        reference[i] = LOWEST;
        sum[i] = 0.0;
        if (HAS_SINK && part == 0) {
            const float sink = sink_data[call.sink + own[i].h];
            if (floatBitsToUint(sink) != MINUS_INFINITY) {
                reference[i] = sink;
                sum[i] = x == 0 ? 1.0 : 0.0; // each thread adds up its own columns
            }
        }
    }
    [[unroll]] for (uint i = 0; i < 16; i++)
        sums[i] = ZERO;

    const uint low = tile * height, high = min(low + height, rows) - 1;
    const bool one_head = low / call.N == high / call.N;
    const ivec3 seen_low = score_sees(one_head ? low % call.N : 0);
    const ivec3 seen_high = score_sees(one_head ? high % call.N : call.N - 1);
    const uint begin = max(uint(max(seen_low.x, 0)) & ~(OTHERS - 1), part * call.part_keys);
    const uint end = min(uint(max(seen_high.y, 0)), (part + 1) * call.part_keys);

    for (uint j0 = begin; j0 < end; j0 += OTHERS) {
        vec4 products[4], s[4], z[4];
        float most[4], shrink[4];
        SCORE_PRODUCTS(products, q_data, own[i_].q, k_data, score_at(k_base, call.k.row, j0 + row_, call.M),
                       call.D)
        s = products;
        SCORE_UNROLL for (uint i = 0; i < ROWS; i++) {
            const score_own of = own[i];
            vec4 row_s = s[i], row_z;
            SCORE_UNROLL for (uint c = 0; c < 4; c++) {
                const score_pair pair =
                    score_shape(b, of.h, of.n, j0 + x + 16 * c, of.sees, row_s[c] * of.factor);
                row_s[c] = pair.s;
#ifdef SCORE_LOGIT
                row_z[c] = pair.seen ? score_logit(score_site(b, of.h), pair.s) : LOWEST;
#else
                row_z[c] = pair.seen ? pair.s : LOWEST;
#endif
            }
            s[i] = row_s;
            z[i] = row_z;
        }
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            most[i] = max(max(z[i].x, z[i].y), max(z[i].z, z[i].w));
        score_row_most(id, most);
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            const float next = max(reference[i], most[i]);
            shrink[i] = exp(reference[i] - next);
            reference[i] = next;
            sum[i] *= shrink[i];
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const float p = z[i][c] > LOWEST ? exp(z[i][c] - next) : 0.0;
                sum[i] += p;
                float w = p;
#ifdef SCORE_FACTOR
                if (p > 0.0)
                    w *= score_factor(score_site(b, own[i].h), s[i][c]);
#endif
                if (HAS_TAU_V && p > 0.0)
                    w *= score_tau_v(b, own[i].h, j0 + x + 16 * c);
                s[i][c] = w;
            }
            [[unroll]] for (uint block = 0; block < E_BLOCKS; block++)
                sums[block * 4 + i] *= shrink[i];
        }
        score_put_tile(id, s);
        SCORE_SUMS(sums, E_BLOCKS, v_data, score_at(v_base, call.v.row, j0 + o_ + row_, call.M), call.E,
                   min(OTHERS, call.M - j0))
    }
    score_row_sum(id, sum);
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        if (!own[i].some)
            continue;
        if (call.parts > 1)
            score_write_part(id, b, part, own[i], i, reference[i], sum[i]);
        else
            score_write(id, b, own[i], i, reference[i], sum[i]);
    }
}
