#version 450
// attend.comp for float16 by cooperative matrices: a subgroup owns 16 of the 64 rows, a pair of its
// threads shares a row of scores. Agents and what they gather become float16 operands, which the
// agents are already (pool.comp, ROUNDED); weights are in [0, 1]. All else is float32.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "kit/element_f16.glsl"
#include "agent/bias.glsl"

layout(constant_id = 2) const uint FLOATS = 0; // handing out: 1: to `floats`, not to `o`
layout(constant_id = 3) const uint SAVE = 0;   // handing out: 1: leave the rows' statistics

#define WIDE_Q 1u // four neighbours of q (k, v, o) are read (written) at once
#define WIDE_K 2u
#define WIDE_V 4u
#define WIDE_O 8u

layout(push_constant) uniform Push {
    uint heads, units, rows, keys, width, values;
    uint q_base, q_batch, q_head, q_row;
    uint k_base, k_batch, k_head, k_row;
    uint v_base, v_batch, v_head, v_row;
    uint o_base, o_batch, o_head, o_row;
    BIAS_FIELDS
    uint split_keys;
    uint most_base, total_base;
    float scale;
    uint wide;
};

layout(local_size_x = 128) in;
#include "kit/coopmat.glsl"

BIAS_BINDINGS(3, 4)
layout(std430, binding = 6) writeonly buffer Floats { float floats[]; };
layout(std430, binding = 7) writeonly buffer Most { float most[]; };
layout(std430, binding = 8) writeonly buffer Total { float total[]; };

// Up to `left` of the four elements from `at` on, then zeros.
#define FOUR_HALVES(name, bind, Fours, fours, Ones, ones, flag)                                     \
    layout(std430, binding = bind) readonly buffer Fours { f16vec4 fours[]; };                      \
    layout(std430, binding = bind) readonly buffer Ones { float16_t ones[]; };                      \
    f16vec4 name(uint at, uint left)                                                                \
    {                                                                                               \
        if ((wide & flag) != 0u && left >= 4u)                                                      \
            return fours[at >> 2];                                                                  \
        f16vec4 x = f16vec4(0.0hf);                                                                 \
        for (uint c = 0; c < min(left, 4u); c++)                                                    \
            x[c] = ones[at + c];                                                                    \
        return x;                                                                                   \
    }
#define FOUR_FLOATS(name, bind, Ones, ones)                                                         \
    layout(std430, binding = bind) readonly buffer Ones { float ones[]; };                          \
    f16vec4 name(uint at, uint left)                                                                \
    {                                                                                               \
        vec4 x = vec4(0.0);                                                                         \
        if (left >= 4u)                                                                             \
            x = vec4(ones[at], ones[at + 1u], ones[at + 2u], ones[at + 3u]);                        \
        else                                                                                        \
            for (uint c = 0; c < left; c++)                                                         \
                x[c] = ones[at + c];                                                                \
        return f16vec4(clamp(x, -65504.0, 65504.0));                                                \
    }

#ifdef HAND_OUT
FOUR_HALVES(four_q, 0, Q4, q4, Q1, q1, WIDE_Q)
FOUR_FLOATS(four_k, 1, K1, k1)
FOUR_FLOATS(four_v, 2, V1, v1)
layout(std430, binding = 5) writeonly buffer O4 { f16vec4 o4[]; };
layout(std430, binding = 5) writeonly buffer O1 { float16_t o1[]; };
#else
FOUR_FLOATS(four_q, 0, Q1, q1)
FOUR_HALVES(four_k, 1, K4, k4, K1, k1, WIDE_K)
FOUR_HALVES(four_v, 2, V4, v4, V1, v1, WIDE_V)
#endif

#define STEP   18u // of a row of 64 numbers: two vectors more, for the banks
#define SUMS   10u // of a row of 32 sums: half a row at a time
#define LOWEST -3.4e38

shared COOP_HALF4 left_tile[64 * STEP];  // rows of q, then weights
shared COOP_HALF4 right_tile[64 * STEP]; // keys, then values
shared COOP_FLOAT4 sums_tile[64 * SUMS];
shared float factors[64];

#define LANE gl_LocalInvocationIndex

COOP_C sums[4], where;

// Rows `from` .. `from` + 63 of q and of k, 64 features from d on; zeros outside.
void load_operands(uint row0, uint key0, uint end, uint q_at, uint k_at, uint d)
{
    for (uint i = LANE; i < 64u * 16u; i += 128u) {
        const uint line = i >> 4, at = d + 4u * (i & 15u), left = width - min(width, at);
        const f16vec4 zero = f16vec4(0.0hf);
        left_tile[line * STEP + (i & 15u)] = COOP_TO_HALF4(
            row0 + line < rows ? four_q(q_at + (row0 + line) * q_row + at, left) : zero);
        right_tile[line * STEP + (i & 15u)] = COOP_TO_HALF4(
            key0 + line < end ? four_k(k_at + (key0 + line) * k_row + at, left) : zero);
    }
}

void load_values(uint key0, uint end, uint v_at, uint e0)
{
    for (uint i = LANE; i < 64u * 16u; i += 128u) {
        const uint line = i >> 4, at = e0 + 4u * (i & 15u), left = values - min(values, at);
        right_tile[line * STEP + (i & 15u)] =
            COOP_TO_HALF4(key0 + line < end ? four_v(v_at + (key0 + line) * v_row + at, left)
                                            : f16vec4(0.0hf));
    }
}

// Half h of the subgroup's 16 rows of sums into sums_tile.
#define SHOW(sums, h)                                                                               \
    COOP_SYNC                                                                                       \
    COOP_STORE_C(sums[2u * (h)], sums_tile, COOP_GROUP * 16u * SUMS, SUMS);                         \
    COOP_STORE_C(sums[2u * (h) + 1u], sums_tile, COOP_GROUP * 16u * SUMS + 4u, SUMS);               \
    COOP_SYNC

// This thread's scores, unscaled: of a row, columns 16 (LANE % 2) to + 15 of both halves.
void make_scores(uint row0, uint key0, uint end, uint q_at, uint k_at, out vec4 x[8])
{
    const uint own = COOP_GROUP * 16u * STEP, at = (LANE >> 1) * SUMS + 4u * (LANE & 1u);
    COOP_C scores[4];
    [[unroll]] for (uint n = 0; n < 4; n++) {
        COOP_ZERO(scores[n]);
    }
    for (uint d = 0; d < width; d += 64u) {
        barrier();
        load_operands(row0, key0, end, q_at, k_at, d);
        barrier();
        [[unroll]] for (uint k = 0; k < 4; k++) {
            COOP_A a;
            COOP_LOAD_A(a, left_tile, own + 4u * k, STEP);
            [[unroll]] for (uint n = 0; n < 4; n++) {
                COOP_B b;
                COOP_LOAD_B_T(b, right_tile, n * 16u * STEP + 4u * k, STEP);
                COOP_MULTIPLY(scores[n], a, b);
            }
        }
    }
    [[unroll]] for (uint h = 0; h < 2; h++) {
        SHOW(scores, h)
        [[unroll]] for (uint i = 0; i < 4; i++)
            x[4u * h + i] = COOP_FROM_FLOAT4(sums_tile[at + i]);
    }
}

// The column of a tile that vector i of a thread begins at.
uint column_of(uint i)
{
    return 32u * (i >> 2) + 16u * (LANE & 1u) + 4u * (i & 3u);
}

// Weights of this thread's part of a row into left_tile; the row's maximum and the thread's share of
// its sum.
void make_weights(uint head, uint row, uint row_tile, uint key0, uint end, vec4 x[8],
                  inout float top, inout float part)
{
    float here = LOWEST;
    [[unroll]] for (uint i = 0; i < 8; i++)
        [[unroll]] for (uint c = 0; c < 4; c++) {
            const uint key = key0 + column_of(i) + c;
            x[i][c] *= scale;
            if (BIAS != 0 && row < rows && key < end)
                x[i][c] += bias_at(head, row, key);
            here = key < end ? max(here, x[i][c]) : here;
        }
    here = max(here, COOP_OTHER(here));
    const float higher = max(top, here);
    factors[row_tile] = exp(top - higher);
    part *= exp(top - higher);
    top = higher;
    [[unroll]] for (uint i = 0; i < 8; i++) {
        vec4 p = exp(x[i] - vec4(higher));
        [[unroll]] for (uint c = 0; c < 4; c++)
            p[c] = key0 + column_of(i) + c < end ? p[c] : 0.0;
        part += p.x + p.y + p.z + p.w;
        left_tile[row_tile * STEP + (column_of(i) >> 2)] = COOP_TO_HALF4(f16vec4(p));
    }
}

// The sums so far, times their rows' factors.
void rescale()
{
    for (uint i = 0; i < COOP_COUNT(where); i++) {
        const float factor = factors[uint(COOP_AT(where, i))];
        [[unroll]] for (uint n = 0; n < 4; n++)
            COOP_AT(sums[n], i) *= factor;
    }
}

void add_values()
{
    [[unroll]] for (uint k = 0; k < 4; k++) {
        COOP_A a;
        COOP_LOAD_A(a, left_tile, COOP_GROUP * 16u * STEP + 4u * k, STEP);
        [[unroll]] for (uint n = 0; n < 4; n++) {
            COOP_B b;
            COOP_LOAD_B(b, right_tile, k * 16u * STEP + 4u * n, STEP);
            COOP_MULTIPLY(sums[n], a, b);
        }
    }
}

// Four sums of a row, from value e on.
void put(uint at, uint o_at, uint e, vec4 x)
{
    const uint left = values - min(values, e);
#ifdef HAND_OUT
    if (FLOATS == 0) {
        if ((wide & WIDE_O) != 0u && left >= 4u)
            o4[(o_at + e) >> 2] = f16vec4(x);
        else
            for (uint c = 0; c < min(left, 4u); c++)
                o1[o_at + e + c] = float16_t(x[c]);
        return;
    }
#endif
    for (uint c = 0; c < min(left, 4u); c++)
        floats[at * values + e + c] = x[c];
}

void main()
{
    const uint unit = gl_WorkGroupID.z, split = gl_WorkGroupID.y;
    const uint batch = unit / heads, head = unit % heads;
    const uint tiles = (values + 63u) / 64u;
    const uint tile = tiles > 0u ? gl_WorkGroupID.x / tiles : gl_WorkGroupID.x;
    const uint row0 = tile * 64u, e0 = (gl_WorkGroupID.x - tile * tiles) * 64u;
    const uint end = min(keys, (split + 1u) * split_keys);
    const uint q_at = q_base + batch * q_batch + head * q_head;
    const uint k_at = k_base + batch * k_batch + head * k_head;
    const uint v_at = v_base + batch * v_batch + head * v_head;
    const uint row_tile = LANE >> 1;

    // Element of a sum to row of the tile.
    for (uint i = 0; i < 2u; i++)
        sums_tile[row_tile * SUMS + 2u * (LANE & 1u) + i] = COOP_TO_FLOAT4(vec4(float(row_tile)));
    COOP_SYNC
    COOP_LOAD_C(where, sums_tile, COOP_GROUP * 16u * SUMS, SUMS);
    [[unroll]] for (uint n = 0; n < 4; n++) {
        COOP_ZERO(sums[n]);
    }
    float top = LOWEST, part = 0.0;
    for (uint key0 = split * split_keys; key0 < end; key0 += 64u) {
        vec4 x[8];
        make_scores(row0, key0, end, q_at, k_at, x);
        barrier(); // nobody reads the operands any more
        make_weights(head, row0 + row_tile, row_tile, key0, end, x, top, part);
        load_values(key0, end, v_at, e0);
        barrier();
        if (key0 > split * split_keys)
            rescale();
        add_values();
    }
    barrier();
    part += COOP_OTHER(part);
#ifdef HAND_OUT
    const bool leave = SAVE != 0 && e0 == 0u;
    const uint first = unit * rows;
    factors[row_tile] = part > 0.0 ? 1.0 / part : 0.0;
#else
    const bool leave = e0 == 0u;
    const uint first = (split * units + unit) * rows;
    factors[row_tile] = 1.0;
#endif
    if (leave && (LANE & 1u) == 0u && row0 + row_tile < rows) {
        most[most_base + first + row0 + row_tile] = top;
        total[total_base + first + row0 + row_tile] = part;
    }
    [[unroll]] for (uint h = 0; h < 2; h++) {
        SHOW(sums, h)
        [[unroll]] for (uint i = 0; i < 4; i++) {
            const uint line = 16u * COOP_GROUP + 4u * i + (COOP_LANE >> 3), row = row0 + line;
            if (row < rows)
                put(first + row, o_base + batch * o_batch + head * o_head + row * o_row,
                    e0 + 32u * h + 4u * (COOP_LANE & 7u),
                    factors[line] *
                        COOP_FROM_FLOAT4(sums_tile[line * SUMS + (COOP_LANE & 7u)]));
        }
    }
}
